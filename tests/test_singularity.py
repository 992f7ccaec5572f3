"""Singularities: the weakest motions of the tip by MuJoCo's Jacobian, those that are lost, and their words."""

from __future__ import annotations

import re
from math import pi

import numpy as np
import pytest
from models import GANTRY, mjcf, robot_of

from hybrid_ik import LMConfig
from hybrid_ik.diagnosis.diagnosis import diagnose
from hybrid_ik.diagnosis.singularity import NEAR_SINGULAR, half_reach, smallest_singular_values, weakest_motions


def _scaled(robot, q):
    """MuJoCo's Jacobian with lengths in units of half the reach, slides too."""
    h = half_reach(robot.chain)
    return robot.jacobian(q) * np.repeat([1 / h, 1.0], 3)[:, None] * np.where(robot.chain.hinges, 1.0, h)


@pytest.mark.parametrize("orientation", [True, False])
def test_the_weakest_motion_is_that_of_mujocos_jacobian(robot, orientation):
    chain, rows = robot.chain, 6 if orientation else 3
    for q in np.random.default_rng(0).uniform(chain.sample_lower, chain.sample_upper, (10, chain.dof)):
        U, sigma, _ = np.linalg.svd(_scaled(robot, q)[:rows])
        k = min(rows, chain.dof) - 1
        weakest, *others = weakest_motions(chain, q, orientation)
        assert weakest.singular_value == pytest.approx(sigma[k], abs=1e-9)
        assert smallest_singular_values(chain, q[None], orientation)[0] == pytest.approx(sigma[k], abs=1e-9)
        assert len(others) == (sigma[:k] < NEAR_SINGULAR).sum()
        assert abs(weakest.direction[:rows] @ U[:, k]) == pytest.approx(1.0, abs=1e-6)
        assert np.linalg.norm(weakest.direction) == pytest.approx(1.0) and not weakest.direction[rows:].any()
        np.testing.assert_allclose(weakest.twist[:3], weakest.direction[:3] * half_reach(chain))


@pytest.mark.parametrize("turn", [0.0, 0.5, -2.0])
def test_a_stretched_planar_arm_has_lost_the_motion_outwards(planar, turn):
    outwards = np.array([np.cos(turn), np.sin(turn), 0.0, 0.0, 0.0, 0.0])
    for bend in (0.0, 1e-8, 1e-4):
        (lost,) = weakest_motions(planar.robot.chain, np.array([turn, bend, 0.0]))
        assert abs(lost.direction @ outwards) > 0.999 and lost.singular_value <= 2 * bend + 1e-12
        assert np.linalg.norm(lost.twist[:3]) == pytest.approx(half_reach(planar.robot.chain), rel=1e-3)
    found = planar.diagnose(planar.robot.forward_kinematics([turn, 0.0, 0.0]))
    assert found.reachable and found.near_singular and found.best_singular_value < NEAR_SINGULAR
    assert "it is the pose that is singular" in str(found)


def test_a_planar_arm_is_not_singular_everywhere(planar):
    """It never leaves its plane; that is no singularity. Nor is it that five joints leave one motion out."""
    for robot in (planar.robot, robot_of(GANTRY)):
        for orientation in (True, False):
            values = smallest_singular_values(robot.chain, np.array([[0.3] * robot.dof]), orientation)
            assert values[0] > NEAR_SINGULAR


def test_joints_near_a_singularity_where_others_are_not(solver):
    """The upper arm upright, the elbow turned aside, and the wrist straight: the Panda has lost one motion."""
    robot, q = solver.robot, np.array([0.2, 0.0, pi / 2, -1.5, 0.0, 1.6, 0.4])
    pose = robot.forward_kinematics(q)
    found = diagnose(robot.chain, LMConfig(), pose, solver.refiner.refine(pose, q[None])[0])
    np.testing.assert_allclose(found.q, q)
    U, sigma, _ = np.linalg.svd(_scaled(robot, q))
    assert found.smallest_singular_value == pytest.approx(sigma[5], abs=1e-9)
    assert abs(found.lost_motion.direction @ U[:, 5]) == pytest.approx(1.0, abs=1e-6)
    assert found.near_singular and found.best_singular_value > found.singular_threshold
    assert "Near a singularity there" in str(found) and "Other joints meet it away from singularities" in str(found)


def test_a_wrist_whose_axes_coincide_has_lost_a_turn():
    wrist = robot_of(
        mjcf(
            "<body><joint name='a' axis='0 0 1'/><geom size='.1'/><body><joint name='b' axis='0 1 0'/><geom size='.1'/>"
            "<body><joint name='c' axis='0 0 1'/><geom size='.1'/><site name='tip'/></body></body></body>"
        )
    )
    (lost,) = weakest_motions(wrist.chain, np.array([0.4, 0.0, 0.0]))
    assert lost.singular_value < 1e-12 and str(lost) == "rotation about (0.92, 0.39, 0.00) [base frame]"
    assert smallest_singular_values(wrist.chain, np.array([[0.4, 1.0, 0.0]]))[0] > 0.3
    (at_rest,) = weakest_motions(wrist.chain, np.array([0.4, 1.0, 0.0]), orientation=False)
    assert at_rest.singular_value == 0.0  # turns alone never move the tip


def test_two_motions_lost_at_once(solver):
    """Whatever is below the threshold is told, the weakest first."""
    chain = solver.robot.chain
    q = np.array([0.0, 0.0, 0.0, -0.0698, 0.0, 0.0, 0.0])
    sigma = np.linalg.svd(_scaled(solver.robot, q), compute_uv=False)[::-1]
    motions = weakest_motions(chain, q)
    assert len(motions) == max(1, (sigma < NEAR_SINGULAR).sum())
    np.testing.assert_allclose([motion.singular_value for motion in motions], sigma[: len(motions)], atol=1e-9)


def test_motions_in_words(planar, panda):
    axis = r"\(-?\d\.\d\d, -?\d\.\d\d, -?\d\.\d\d\)"
    both = rf"translation along {axis} with rotation about {axis}, \d+\.\d\d m per rad"
    words = re.compile(rf"(translation along {axis}|rotation about {axis}|{both}) \[base frame\]")
    for q in np.random.default_rng(0).uniform(panda.lower, panda.upper, (50, 7)):
        for motion in weakest_motions(panda.chain, q):
            assert words.fullmatch(str(motion)) and "-0.00" not in str(motion)
    (lost,) = weakest_motions(planar.robot.chain, np.zeros(3))
    assert str(lost) == "translation along (1.00, 0.00, 0.00) [base frame]"
