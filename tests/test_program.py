"""Recorded programs: what they compute, and what is left out of them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hybrid_ik.kernels.program import (
    DOUBLE,
    SINGLE,
    CurveSlots,
    Program,
    RecordingMath,
    horner,
    is_constant,
    record_curve_step,
    record_forward,
    record_step,
)
from hybrid_ik.kinematics import Posture, curve_step, forward_kinematics, lm_step
from hybrid_ik.scalar_math import NumpyMath


def _run(build, *inputs):
    """Value of a recorded expression: `build(math, *symbols)` at numbers."""
    program = Program()
    value = build(RecordingMath(program), *program.read(len(inputs)))
    return program.recording(list(value) if isinstance(value, tuple) else [value]).evaluate(inputs)


def test_sine_and_cosine_are_exact_to_rounding():
    rng = np.random.default_rng(0)
    quarters = np.arange(-8, 9) * math.pi / 4
    for x in [0.0, *quarters, *(quarters + 1e-9), *rng.uniform(-7, 7, 300), *rng.uniform(-100, 100, 300)]:
        s, c = _run(lambda math, x: math.sin_cos(x), x)
        assert abs(s - math.sin(x)) < 1e-15 and abs(c - math.cos(x)) < 1.5e-15


def _half_sine(x):
    return 2 * np.sin(np.sqrt(x) / 2) / np.sqrt(x)


def _half_cosine(x):
    return np.cos(np.sqrt(x) / 2)


@pytest.mark.parametrize(("precision", "bound"), [(DOUBLE, 3e-16), (SINGLE, 3e-8)], ids=["double", "single"])
def test_the_polynomials_hold_their_precision(precision, bound):
    x = np.linspace(1e-9, math.pi**2, 20001)
    for coefficients, function in ((precision.sine, _half_sine), (precision.cosine, _half_cosine)):
        exact = np.polynomial.Polynomial([Fraction(c) for c in coefficients])
        error = max(abs(float(exact(Fraction(t))) - function(t)) for t in x[::97])
        assert error < bound + 2e-16  # of the reference's own rounding


def test_horner_evaluates_a_polynomial():
    (value,) = _run(lambda _, x: horner([1.0, -2.0, 0.0, 4.0], x), 0.3)
    assert_allclose(value, 1 - 2 * 0.3 + 4 * 0.3**3, rtol=1e-15)


def test_zeros_and_ones_leave_no_trace():
    program = Program()
    (x,) = program.read(1)
    before = len(program.statements)
    assert (x + 0.0).number == (0.0 + x).number == (x - 0.0).number == (x * 1.0).number == (1.0 * x).number == x.number
    assert is_constant(x * 0.0, 0.0) and is_constant(0.0 * x, 0.0)
    assert len(program.statements) == before
    assert (x * -1.0).number == (-x).number == (0.0 - x).number


def test_equal_expressions_are_recorded_once():
    program = Program()
    x, y = program.read(2)
    assert (x * y).number == (y * x).number and (x + y).number == (y + x).number
    assert (x - y).number != (y - x).number
    assert len(program.statements) == 2 + 4


def test_a_constant_is_not_taken_for_the_statement_of_that_number():
    program = Program()
    x, y = program.read(2)
    outputs = [x * 1.5, x - 1.0, x - y, x / 1.0, x / y]
    assert program.recording(outputs).evaluate([3.0, 2.0]) == [4.5, 2.0, 1.0, 3.0, 1.5]


def test_the_arm_has_no_idle_statements(panda):
    recording = record_forward(panda.chain)
    constants = {i: s.constant for i, s in enumerate(recording.statements) if s.operation == "constant"}
    for operation, operands, _ in recording.statements:
        known = {constants[i] for i in operands if operation != "input" and i in constants}
        assert not (operation == "multiply" and known & {0.0, 1.0, -1.0})
        assert not (operation in ("add", "subtract") and 0.0 in known)
    assert recording.n_inputs == 7 and len(recording.outputs) == 12


def test_recorded_forward_kinematics_runs_as_python(robot):
    chain = robot.chain
    recording = record_forward(chain)
    for q in np.random.default_rng(0).uniform(chain.sample_lower, chain.sample_upper, (5, chain.dof)):
        R, p = forward_kinematics(chain, q.tolist(), NumpyMath())
        assert_allclose(recording.evaluate(q), [*p, *np.ravel(R)], rtol=0, atol=5e-15)


def _problem(robot, seed=0):
    """Starts, one of them on the limits, and the inputs of a step that belong to targets."""
    chain, rng = robot.chain, np.random.default_rng(seed)
    q, goals = rng.uniform(chain.sample_lower, chain.sample_upper, (2, 5, chain.dof))
    q[0] = chain.sample_lower
    p_last, R = chain.first_last(robot.forward_kinematics(goals))
    p_last_tip = chain.T_last_tip[:3, 3]
    return q, R, p_last + R @ p_last_tip, p_last_tip


TOLERANCES = [1e-12, 1e-12, 1e-18, 20.0]  # squares of position, chord and step; most steps
ERRORS = [0.0, 0.0, 0.0]  # their places are only written


@pytest.mark.parametrize("with_posture", [False, True])
def test_a_recorded_step_runs_as_python(robot, with_posture):
    chain = robot.chain
    recording = record_step(chain, with_posture, DOUBLE)
    for start, R, p, p_last_tip in zip(*_problem(robot)[:3], [chain.T_last_tip[:3, 3]] * 5, strict=True):
        weights = [*start[::-1], 0.01, 0.2, 14.0] if with_posture else []
        posture = Posture(weights[:-3], 0.01, 0.2) if with_posture else None
        step = lm_step(
            chain, start.tolist(), R.tolist(), p.tolist(), p_last_tip.tolist(), 0.25, 0.1, NumpyMath(), posture
        )
        inputs = [*start, 3.0, *R.ravel(), *p, *p_last_tip, 0.25, 0.1, *TOLERANCES, *ERRORS, *weights]
        found = recording.evaluate(inputs)
        assert_allclose(found[: chain.dof], step.q, rtol=0, atol=1e-9)
        assert found[chain.dof] == 4.0 and found[-1] == 0.0
        assert_allclose(found[chain.dof + 1 : -1], step[1:], rtol=1e-8)


def _verdict(panda, steps=0.0, tolerances=TOLERANCES, precision=DOUBLE, q=None, with_posture=False):
    """Joints, steps and the verdict after one step."""
    starts, R, p, p_last_tip = _problem(panda)
    start = starts[1] if q is None else q
    posture = [*start, 0.0, 0.0, 0.0] if with_posture else []
    inputs = [*start, steps, *R[1].ravel(), *p[1], *p_last_tip, 0.25, 0.1, *tolerances, *ERRORS, *posture]
    out = record_step(panda.chain, with_posture, precision).evaluate(inputs)
    return start, np.array(out[:7]), out[7], out[-1]


def test_a_finished_search_keeps_its_joints_in_double_and_moves_on_in_single(panda):
    goes_on = _verdict(panda)
    assert goes_on[3] == 0.0 and np.abs(goes_on[1] - goes_on[0]).max() > 1e-3
    near = [10.0, 10.0, 1e-18, 20.0]
    start, q, steps, finished = _verdict(panda, tolerances=near)
    assert finished == 1.0 and steps == 0.0 and (q == start).all()
    start, q, steps, finished = _verdict(panda, tolerances=near, precision=SINGLE)
    assert finished == 1.0 and steps == 1.0 and np.abs(q - start).max() > 1e-3


def test_why_a_search_is_finished(panda):
    assert _verdict(panda, steps=20.0)[3] == 1.0
    assert _verdict(panda, tolerances=[1e-12, 1e-12, 1e3, 20.0])[3] == 1.0  # a step shorter than that
    assert _verdict(panda, q=np.full(7, np.nan))[3] == 1.0
    assert _verdict(panda, tolerances=[10.0, 1e-12, 1e-18, 20.0])[3] == 0.0  # one of two errors is not enough
    assert _verdict(panda, tolerances=[10.0, 10.0, 1e-18, 20.0], with_posture=True)[3] == 0.0  # it goes on to rest


@pytest.mark.parametrize("weight", [0.25, 0.0])
def test_a_recorded_curve_step_runs_as_python(robot, weight):
    chain, rng = robot.chain, np.random.default_rng(2)
    recording = record_curve_step(chain)
    for start, R, p, p_last_tip in zip(*_problem(robot)[:3], [chain.T_last_tip[:3, 3]] * 5, strict=True):
        for border in (rng.normal(size=chain.dof), np.eye(chain.dof)[0], np.zeros(chain.dof)):
            arguments = R.tolist(), p.tolist(), p_last_tip.tolist(), weight
            step = curve_step(chain, start.tolist(), border.tolist(), 0.02, *arguments, 0.1, NumpyMath())
            inputs = [*start, *border, 0.02, 0.1, *R.ravel(), *p, *p_last_tip, weight]
            found = recording.evaluate(inputs)
            assert_allclose(found[:3], [step.position_error_squared, step.chord_squared, step.inverse_trace], rtol=1e-7)
            assert_allclose(found[3:], [*step.correction, *step.tangent], rtol=0, atol=1e-7)
    assert recording.n_inputs == 2 * chain.dof + CurveSlots.ERRORS


def test_the_slots_of_a_curve_step_follow_each_other(panda):
    """Each place begins where the one before it ends: offset, damping, target, tip, weight, errors, correction."""
    sizes = {"OFFSET": 1, "DAMPING": 1, "TARGET": 12, "TIP": 3, "WEIGHT": 1, "ERRORS": 3}
    first = 0
    for name, size in sizes.items():
        assert getattr(CurveSlots, name) == first, name
        first += size
    assert first == CurveSlots.CORRECTION
    assert len(record_curve_step(panda.chain).outputs) == 3 + 2 * panda.dof
