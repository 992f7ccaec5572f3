"""Recorded programs: what they compute, and what is left out of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hybrid_ik.kernels.program import (
    ARCSINE,
    COSINE,
    SINE,
    Program,
    RecordingMath,
    horner,
    is_constant,
    record_forward,
    record_step,
)
from hybrid_ik.kinematics import NumpyMath, Posture, forward_kinematics, lm_step


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
        assert abs(s - math.sin(x)) < 8e-16 and abs(c - math.cos(x)) < 8e-16


def test_the_angle_is_exact_to_rounding():
    rng = np.random.default_rng(0)
    small = 10.0 ** np.arange(-20, 0)
    for a in [
        0.0,
        *small,
        *(math.pi - small),
        math.pi / 4,
        math.pi / 2,
        3 * math.pi / 4,
        *rng.uniform(0, math.pi, 300),
    ]:
        (angle,) = _run(lambda math, s, c: math.angle(s, c), math.sin(a), math.cos(a))
        assert abs(angle - a) < 1.5e-15
        if a < 1e-3:
            assert_allclose(angle, a, rtol=1e-15)


@pytest.mark.parametrize(
    ("coefficients", "function", "upper"),
    [
        (SINE, lambda x: np.sin(np.sqrt(x)) / np.sqrt(x), (math.pi / 4) ** 2),
        (COSINE, lambda x: np.cos(np.sqrt(x)), (math.pi / 4) ** 2),
        (ARCSINE, lambda x: np.arcsin(np.sqrt(x)) / np.sqrt(x), 0.5),
    ],
    ids=["sine", "cosine", "arcsine"],
)
def test_the_polynomials_hold_their_precision(coefficients, function, upper):
    x = np.linspace(1e-9, upper, 20001)
    assert np.abs(np.polynomial.Polynomial(coefficients)(x) - function(x)).max() < 1.5e-15


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


def ones_of_selections(recording):
    """Constants that a choice is made between, as the signs of a sine."""
    return {i for s in recording.statements if s.operation == "where_less" for i in s.operands}


def test_the_arm_has_no_idle_statements(panda):
    recording = record_forward(panda.chain)
    constants = {i for i, s in enumerate(recording.statements) if s.operation == "constant" and s.constant in (0, 1)}
    used = {i for s in recording.statements if s.operation != "input" for i in s.operands}
    assert not constants & used - ones_of_selections(recording)
    assert recording.n_inputs == 7 and len(recording.outputs) == 12


def test_recorded_forward_kinematics_runs_as_python(robot):
    chain = robot.chain
    recording = record_forward(chain)
    for q in np.random.default_rng(0).uniform(chain.sample_lower, chain.sample_upper, (5, chain.dof)):
        R, p = forward_kinematics(chain, q.tolist(), NumpyMath())
        assert_allclose(recording.evaluate(q), [*p, *np.ravel(R)], rtol=0, atol=5e-15)


@pytest.mark.parametrize("with_posture", [False, True])
def test_a_recorded_step_runs_as_python(robot, with_posture):
    chain, rng = robot.chain, np.random.default_rng(0)
    recording = record_step(chain, with_posture)
    q, goals = rng.uniform(chain.sample_lower, chain.sample_upper, (2, 5, chain.dof))
    q[0] = chain.sample_lower
    p_last_tip = chain.T_last_tip[:3, 3]
    for start, goal in zip(q, goals, strict=True):
        p_last, R = (x for x in chain.first_last(robot.forward_kinematics(goal)))
        p = p_last + R @ p_last_tip
        weights = [*start[::-1], 0.01, 0.2] if with_posture else []
        posture = Posture(weights[:-2], 0.01, 0.2) if with_posture else None
        step = lm_step(
            chain, start.tolist(), R.tolist(), p.tolist(), p_last_tip.tolist(), 0.25, 0.1, NumpyMath(), posture
        )
        found = recording.evaluate([*start, *R.ravel(), *p, *p_last_tip, 0.25, 0.1, *weights])
        assert_allclose(found[: chain.dof], step.q, rtol=0, atol=1e-9)
        assert_allclose(found[chain.dof :], step[1:], rtol=1e-8)
