"""The arm's mathematics over floats, arrays and tensors, against MuJoCo, finite differences and numpy."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from hybrid_ik.kinematics import (
    Posture,
    chord,
    curve_step,
    forward_kinematics,
    geometric_jacobian,
    joint_frames,
    lm_step,
    pose_residual,
)
from hybrid_ik.learning.torch_math import TorchMath
from hybrid_ik.pose import Pose
from hybrid_ik.scalar_math import Cholesky, NumpyMath, cross, damped_least_squares, dot, solve_positive_definite

MATH = NumpyMath()
ANGLES = [0.0, 1e-8, 1e-4, 0.0099, 0.0101, 0.5, 2.0, 3.1, np.pi - 1e-6]


def _random_q(chain, n, seed=0):
    return np.random.default_rng(seed).uniform(chain.sample_lower, chain.sample_upper, (n, chain.dof))


def _unit(rng, *shape):
    u = rng.normal(size=(*shape, 3))
    return u / np.linalg.norm(u, axis=-1, keepdims=True)


def _tip_terms(chain, q, math=MATH):
    """R, p of the tip's point, and the Jacobian's columns, in the first joint frame."""
    R, p_last, axes, origins = joint_frames(chain, q, math)
    p = [p_last[k] + dot(R[k], chain.T_last_tip[:3, 3].tolist()) for k in range(3)]
    return R, p, geometric_jacobian(chain, axes, origins, p)


def _stack(columns, like):
    return np.stack([np.stack([x + 0 * like for x in column], -1) for column in columns], -1)


def _residual(r):
    """The residual of a tip at the identity whose target is turned by the rotation vector r."""
    R_target = Rotation.from_rotvec(r).as_matrix().tolist()
    return pose_residual(np.eye(3).tolist(), [0.0, 0.0, 0.0], R_target, [0.1, 0.2, 0.3], MATH)


def _step_arguments(chain, target):
    p_first_last, R_first_last = chain.first_last(target)
    p_last_tip = chain.T_last_tip[:3, 3]
    R = [[R_first_last[..., i, j] for j in range(3)] for i in range(3)]
    return R, list(np.moveaxis(p_first_last + R_first_last @ p_last_tip, -1, 0)), p_last_tip.tolist()


def _step_problem(robot, weights):
    """Joints, two of them on the limits, the target arguments of `lm_step`, and the posture."""
    chain, q = robot.chain, _random_q(robot.chain, 8)
    q[0], q[1] = chain.sample_lower, chain.sample_upper
    target = robot.forward_kinematics(_random_q(chain, 8, seed=1))
    wanted = ((chain.sample_lower + chain.sample_upper) / 2).tolist()
    return q, _step_arguments(chain, target), None if weights is None else Posture(wanted, *weights)


def test_forward_kinematics_and_jacobian_are_those_of_mujoco(robot):
    chain, q = robot.chain, _random_q(robot.chain, 50)
    expected = robot.forward_kinematics(q)
    R, p, columns = _tip_terms(chain, list(q.T))
    R_base_first, p_base_first = chain.T_base_first[:3, :3], chain.T_base_first[:3, 3]
    assert_allclose(np.stack(p, -1) @ R_base_first.T + p_base_first, expected.position, rtol=0, atol=1e-12)
    R_first_last = np.moveaxis(np.array([[x + 0 * q[:, 0] for x in row] for row in R]), -1, 0)
    R_base_tip = R_base_first @ R_first_last @ chain.T_last_tip[:3, :3]
    assert_allclose(R_base_tip, expected.rotation_matrix(), rtol=0, atol=1e-12)
    J = _stack(columns, q[:, 0])
    assert_allclose(
        np.concatenate([R_base_first @ J[:, :3], R_base_first @ J[:, 3:]], 1), robot.jacobian(q), atol=1e-12
    )


def test_the_jacobian_meets_finite_differences(panda):
    chain, step = panda.chain, 1e-6
    q = _random_q(chain, 1)[0]
    _, _, columns = _tip_terms(chain, list(q))
    for i, offset in enumerate(step * np.eye(chain.dof)):
        (Ra, pa, _), (Rb, pb, _) = (_tip_terms(chain, list(x)) for x in (q + offset, q - offset))
        assert_allclose(columns[i][:3], np.subtract(pa, pb) / (2 * step), atol=1e-9)
        turn = Rotation.from_matrix(np.array(Ra) @ np.array(Rb).T).as_rotvec()
        assert_allclose(columns[i][3:], turn / (2 * step), atol=1e-9)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_residual_is_the_chord_of_mju_sub_quat(angle):
    rng = np.random.default_rng(2)
    for u in _unit(rng, 20):
        actual = rng.normal(size=4)
        actual /= np.linalg.norm(actual)
        turn = np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * u])
        target = np.empty(4)
        mujoco.mju_mulQuat(target, turn, actual)  # turned about u in the outer frame
        R, R_target = (Pose([0, 0, 0], x).rotation_matrix().tolist() for x in (actual, target))
        residual = pose_residual(R, [1.0, 2.0, 3.0], R_target, [1.5, 2.0, 2.0], MATH)
        in_tip, in_outer = np.empty(3), np.empty(3)
        mujoco.mju_subQuat(in_tip, target, actual)
        mujoco.mju_rotVecQuat(in_outer, in_tip, actual)
        expected = in_outer * (chord(angle) / angle if angle > 0 else 1.0)
        # Matrices hold a turn to 1e-16; near half a turn the skew part is divided by a cosine that is not much longer.
        assert_allclose(residual.rotation, expected, rtol=0, atol=2e-3 if angle > 3.14 else 1e-12)
        assert_allclose(np.sqrt(residual.chord_squared), chord(angle), rtol=0, atol=1e-14)
        assert residual.position == [0.5, 0.0, -1.0]
        assert residual.position_error_squared == 1.25


def test_half_a_turn_has_the_right_chord():
    for u in _unit(np.random.default_rng(3), 50):
        residual = _residual(np.pi * u)
        assert_allclose(residual.chord_squared, 4.0, rtol=0, atol=1e-15)
        assert np.linalg.norm(residual.rotation) <= 2.0  # its axis is rounding, but nothing overflows


@pytest.mark.parametrize("angle", [0.0, 1e-8, 1e-4, 0.5, 2.0, 3.1])
def test_a_turn_changes_the_residual_by_its_axis_up_to_the_residual(angle):
    """-dr/dq = w z + v x z of the quaternion (w, v) that is left: z, but for O(|r|)."""
    rng, step = np.random.default_rng(5), 1e-6
    for u in _unit(rng, 10):
        z, target = _unit(rng), Rotation.from_rotvec(angle * u)
        after, before = (
            np.array(_residual((target * Rotation.from_rotvec(-s * z)).as_rotvec()).rotation) for s in (step, -step)
        )
        w, v = np.cos(angle / 2), np.sin(angle / 2) * u
        assert_allclose((before - after) / (2 * step), w * z + np.cross(v, z), rtol=0, atol=1e-6)
        assert np.linalg.norm((before - after) / (2 * step) - z) <= 0.51 * angle + 1e-6


def test_the_chord_of_an_angle():
    assert chord(0.0) == 0.0
    assert_allclose([chord(1e-6), chord(np.pi / 3), chord(np.pi), chord(7.0)], [1e-6, 1.0, 2.0, 2.0], rtol=1e-12)


@pytest.mark.parametrize("n", [1, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("mu", [1e-6, 1.0])
def test_damped_least_squares_is_that_of_numpy(n, mu):
    rng = np.random.default_rng(n)
    J, e = rng.normal(size=(6, n)), rng.normal(size=6)
    tall = np.concatenate([J, np.sqrt(mu) * np.eye(n)])
    expected = np.linalg.lstsq(tall, np.concatenate([e, np.zeros(n)]), rcond=None)[0]
    assert_allclose(damped_least_squares(J.T.tolist(), e.tolist(), mu, MATH), expected, rtol=1e-8, atol=1e-9)


def test_solve_positive_definite_is_that_of_numpy():
    rng = np.random.default_rng(0)
    rows, b = rng.normal(size=(5, 8)), rng.normal(size=5)
    x = solve_positive_definite(rows.tolist(), b.tolist(), 0.1, MATH)
    assert_allclose(x, np.linalg.solve(rows @ rows.T + 0.1 * np.eye(5), b), rtol=1e-12)


def test_dot_and_cross():
    a, b = np.random.default_rng(0).normal(size=(2, 3))
    assert_allclose(dot(a, b), a @ b)
    assert_allclose(cross(a.tolist(), b.tolist()), np.cross(a, b))


@pytest.mark.parametrize("weights", [None, (0.0, 0.3), (0.1, 0.0)])
def test_a_step_over_floats_and_arrays_is_the_same(robot, weights):
    chain = robot.chain
    q, (R, p, tip), posture = _step_problem(robot, weights)
    arrays = lm_step(chain, list(q.T), R, p, tip, 0.25, 0.1, MATH, posture)
    for i in range(len(q)):
        Ri, pi = [[x[i] for x in row] for row in R], [x[i] for x in p]
        floats = lm_step(chain, q[i].tolist(), Ri, pi, tip, 0.25, 0.1, MATH, posture)
        assert_allclose(floats.q, [x[i] for x in arrays.q], rtol=0, atol=1e-9)
        assert_allclose(floats[1:], [x[i] for x in arrays[1:]], rtol=1e-7)
    assert (np.stack(arrays.q, -1) >= chain.lower).all() and (np.stack(arrays.q, -1) <= chain.upper).all()


@pytest.mark.parametrize("weights", [None, (0.0, 0.3), (0.1, 0.0)])
def test_a_step_over_tensors_is_the_same(robot, weights):
    chain = robot.chain
    q, (R, p, tip), posture = _step_problem(robot, weights)
    arrays = lm_step(chain, list(q.T), R, p, tip, 0.25, 0.1, MATH, posture)
    rows = [[torch.from_numpy(x) for x in row] for row in R]
    tensors = lm_step(
        chain, list(torch.from_numpy(q).T), rows, [torch.from_numpy(x) for x in p], tip, 0.25, 0.1, TorchMath(), posture
    )
    assert_allclose(torch.stack(tensors.q).numpy(), np.stack(arrays.q), rtol=0, atol=1e-9)
    assert_allclose(tensors.chord_squared.numpy(), arrays.chord_squared, rtol=1e-12)


def test_tensors_are_differentiable(panda):
    chain, q = panda.chain, _random_q(panda.chain, 1)[0]

    def position(x):
        return torch.stack(forward_kinematics(chain, list(x), TorchMath())[1])

    J = torch.autograd.functional.jacobian(position, torch.from_numpy(q))
    _, p, axes, origins = joint_frames(chain, list(q), MATH)
    assert_allclose(J.numpy(), np.array(geometric_jacobian(chain, axes, origins, p)).T[:3], atol=1e-12)


def test_a_joint_pressed_against_its_limit_stays_and_comes_back(panda):
    chain = panda.chain
    q = ((chain.lower + chain.upper) / 2).copy()
    for limit, offset in ((chain.upper, 0.3), (chain.lower, -0.3)):
        q[0] = limit[0]
        for direction, stays in ((offset, True), (-offset, False)):
            goal = q.copy()
            goal[0] += direction  # turning the first joint alone would bring the tip there
            R, p, tip = _step_arguments(chain, panda.forward_kinematics(goal))
            step = lm_step(chain, q.tolist(), R, p, tip, 0.25, 0.1, MATH)
            assert (step.q[0] == limit[0]) == stays


def test_a_step_without_orientation_only_looks_at_the_position(panda):
    chain, q = panda.chain, _random_q(panda.chain, 1)[0]
    goal = panda.forward_kinematics(_random_q(panda.chain, 1, seed=1)[0])
    turned = Pose(goal.position, [0.0, 1.0, 0.0, 0.0])
    steps = []
    for target in (goal, turned):
        R, p, tip = _step_arguments(chain, target)
        steps.append(lm_step(chain, q.tolist(), R, p, tip, 0.0, 0.1, MATH).q)
    assert_allclose(steps[0], steps[1], atol=1e-10)


def test_numpy_math_speaks_for_floats_and_arrays():
    assert MATH.where_less(1.0, 2.0, 3.0, 4.0) == 3.0
    assert_array_equal(MATH.where_less(np.array([1.0, 3.0]), 2.0, 5.0, 6.0), [5.0, 6.0])
    assert MATH.inverse_sqrt(4.0) == 0.5
    assert (MATH.maximum(1.0, 2.0), MATH.minimum(1.0, 2.0)) == (2.0, 1.0)


def test_the_inverse_trace_of_a_cholesky_factor_is_that_of_numpy():
    rng = np.random.default_rng(0)
    for n, m, mu in ((1, 3, 0.0), (4, 4, 0.1), (7, 7, 0.0), (7, 3, 1e-3)):
        rows = rng.normal(size=(n, m))
        expected = np.trace(np.linalg.inv(rows @ rows.T + mu * np.eye(n)))
        assert_allclose(Cholesky(rows.tolist(), mu, MATH).inverse_trace(), expected, rtol=1e-9)


def _curve_system(robot, q, target, weight):
    """[J; b] without b, and e, from MuJoCo's Jacobian and poses."""
    chain = robot.chain
    R_first_base = chain.T_base_first[:3, :3].T
    J = robot.jacobian(q)
    J = np.concatenate([R_first_base @ J[:3], weight * R_first_base @ J[3:]])
    actual = robot.forward_kinematics(q)
    turn = target.rotation_matrix() @ actual.rotation_matrix().T
    r = Rotation.from_matrix(turn).as_rotvec()
    angle = np.linalg.norm(r)
    chord_vector = r * (2 * np.sin(angle / 2) / angle if angle > 1e-9 else 1.0)
    return J, np.concatenate([R_first_base @ (target.position - actual.position), weight * R_first_base @ chord_vector])


def _curve_step(chain, q, border, offset, target, weight=0.3, damping=0.0):
    return curve_step(chain, q.tolist(), list(border), offset, *_step_arguments(chain, target), weight, damping, MATH)


def test_a_curve_step_solves_the_bordered_equations(panda):
    """[J; b] x = [e; offset] and [J; b] y = [0; 1]."""
    rng, checked = np.random.default_rng(0), 0
    for q in _random_q(panda.chain, 30):
        target = panda.forward_kinematics(q + rng.uniform(-0.3, 0.3, 7))
        border, offset = rng.normal(size=7), rng.normal()
        J, e = _curve_system(panda, q, target, 0.3)
        A = np.concatenate([J, border[None]])
        if np.linalg.cond(A) > 1e3:
            continue
        step, checked = _curve_step(panda.chain, q, border, offset, target), checked + 1
        assert_allclose(step.correction, np.linalg.solve(A, [*e, offset]), rtol=1e-5, atol=1e-6)
        assert_allclose(step.tangent, np.linalg.solve(A, [0.0] * 6 + [1.0]), rtol=1e-5, atol=1e-6)
        assert_allclose(step.inverse_trace, (1.0 / np.linalg.svd(A)[1] ** 2).sum(), rtol=1e-5)
        assert_allclose(step.position_error_squared, e[:3] @ e[:3], rtol=1e-9)
        assert_allclose(step.chord_squared, e[3:] @ e[3:] / 0.09, rtol=1e-9)
    assert checked > 20


def test_a_damped_curve_step_is_a_regularised_least_squares_one_for_every_arm(robot):
    chain, rng = robot.chain, np.random.default_rng(1)
    for q, goal in zip(_random_q(chain, 5), _random_q(chain, 5, seed=1), strict=True):
        target, border, offset = robot.forward_kinematics(goal), rng.normal(size=chain.dof), rng.normal()
        J, e = _curve_system(robot, q, target, 0.3)
        A, mu = np.concatenate([J, border[None]]), 0.1 * e @ e + 1e-12
        augmented = np.concatenate([A, np.sqrt(mu) * np.eye(chain.dof)])
        zeros = np.zeros(chain.dof)
        step = _curve_step(chain, q, border, offset, target, damping=0.1)
        x = np.linalg.lstsq(augmented, np.concatenate([e, [offset], zeros]))[0]
        y = np.linalg.lstsq(augmented, np.concatenate([np.zeros(6), [1.0], zeros]))[0]
        assert_allclose(step.correction, x, rtol=0, atol=1e-8 * max(1.0, np.abs(x).max()))
        assert_allclose(step.tangent, y, rtol=0, atol=1e-8 * max(1.0, np.abs(y).max()))


def test_a_curve_step_leads_to_the_curve_and_along_it_by_finite_differences(panda):
    """A step of the offset h along the unit tangent misses the pose by O(h^2)."""
    q = _random_q(panda.chain, 1)[0]
    target = panda.forward_kinematics(q)
    null = np.linalg.svd(panda.jacobian(q))[2][-1]
    missed = []
    for h in (1e-3, 5e-4):
        step = _curve_step(panda.chain, q, null, h, target)
        assert_allclose(step.correction, h * null, atol=1e-9)
        missed.append(np.linalg.norm(panda.forward_kinematics(q + step.correction).position - target.position))
    assert 1e-9 < missed[1] and 3.5 < missed[0] / missed[1] < 4.5


@pytest.mark.parametrize("joint", range(7))
def test_a_border_that_is_a_unit_vector_moves_its_joint_by_the_offset(panda, joint):
    q = _random_q(panda.chain, 1, seed=3)[0]
    target = panda.forward_kinematics(q + 0.05)
    step = _curve_step(panda.chain, q, np.eye(7)[joint], -0.02, target)
    assert_allclose(step.correction[joint], -0.02, atol=1e-8)
    assert_allclose(step.tangent[joint], 1.0, atol=1e-8)
    J, e = _curve_system(panda, q, target, 0.3)
    assert_allclose(J @ step.correction, e, atol=1e-7)
    assert_allclose(J @ step.tangent, 0.0, atol=1e-7)


def test_a_curve_step_without_a_border_is_one_of_levenberg_and_marquardt(robot):
    chain = replace(robot.chain, lower=np.full(robot.dof, -np.inf), upper=np.full(robot.dof, np.inf))
    for q, goal in zip(_random_q(robot.chain, 4), _random_q(robot.chain, 4, seed=1), strict=True):
        target = robot.forward_kinematics(goal)
        step = _curve_step(chain, q, np.zeros(chain.dof), 0.0, target, damping=0.1)
        expected = lm_step(chain, q.tolist(), *_step_arguments(chain, target), 0.3, 0.1, MATH)
        assert_allclose(step.correction, np.subtract(expected.q, q), rtol=0, atol=1e-7)
        assert_array_equal(step.tangent, np.zeros(chain.dof))
        assert_allclose(step[2:4], expected[1:3], rtol=1e-12)


@pytest.mark.parametrize("bend", [1e-2, 1e-4, 1e-6, 0.0])
def test_near_a_singular_posture_a_curve_step_stays_finite_and_warns_by_the_inverse_trace(panda, bend):
    """Stretched shoulder and wrist: axes 1, 3 and 5, 7 are nearly parallel."""
    q = np.array([0.3, bend, -0.2, -1.0, 0.4, bend, 0.1])
    target = panda.forward_kinematics(q)
    J, _ = _curve_system(panda, q, target, 0.3)
    border = np.linalg.svd(J)[2][-1]
    step = _curve_step(panda.chain, q, border, 0.0, target)
    assert_allclose(step.correction, 0.0, atol=1e-9)
    assert np.isfinite(step.tangent).all() and np.linalg.norm(step.tangent) > 0.5
    assert_allclose(J @ step.tangent, 0.0, atol=1e-4)
    smallest = np.linalg.svd(np.concatenate([J, border[None]]))[1][-1]
    assert step.inverse_trace > 0.9 / (smallest**2 + 2e-12)
