"""The analytic Jacobian of the residual against finite differences, also where the angle is delicate."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.mujoco import TipError, check_jacobian

ANGLES = [0.0, 1e-8, 1e-4, 1.0, 3.0, np.pi - 1e-6, np.pi]


def _turned(robot, q, angle, rng):
    """A target that is `angle` away from the tip at q, and some way off."""
    u = rng.normal(size=3)
    turn = np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * u / np.linalg.norm(u)])
    tip = robot.forward_kinematics(q)
    return Pose(tip.position + 0.1 * rng.normal(size=3), tip.quaternion) @ Pose([0, 0, 0], turn)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_jacobian_of_the_residual_is_right(robot, angle):
    rng, chain = np.random.default_rng(0), robot.chain
    for q in rng.uniform(chain.sample_lower, chain.sample_upper, (5, chain.dof)):
        target = _turned(robot, q, angle, rng)
        assert check_jacobian(robot, q, target, orientation_weight=0.7, regularization=0.1) < 1e-8
        assert check_jacobian(robot, q, target, orientation_weight=0.0) < 1e-8


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("wrong", ["sign", "transposed", "position"])
def test_a_wrong_jacobian_is_caught(panda, monkeypatch, angle, wrong):
    right = TipError.jacobian
    q = panda.home + 0.1

    def jacobian(self, q):
        J = right(self, q)
        if wrong == "sign":
            J[3:] *= -1
        elif wrong == "position":
            J[0, 2] += 1e-6
        else:  # the outer frame's Jacobian in place of the tip's: the same but for the sign of the cross product
            r = self(q)[3:]
            J[3:] += np.cross(r, J[3:], axisb=0, axisc=0)
        return J

    monkeypatch.setattr(TipError, "jacobian", jacobian)
    if wrong == "transposed" and angle < 1e-6:
        pytest.skip("both are the identity here")
    assert check_jacobian(panda, q, _turned(panda, q, angle, np.random.default_rng(1))) > 5e-7


def test_bad_arguments_are_named(panda):
    target = panda.forward_kinematics(panda.home)
    with pytest.raises(InvalidInputError, match=r"shape \(7,\)"):
        check_jacobian(panda, np.zeros(6), target)
    with pytest.raises(InvalidInputError, match="finite"):
        check_jacobian(panda, np.full(7, np.nan), target)
    with pytest.raises(InvalidInputError, match="one target"):
        check_jacobian(panda, panda.home, panda.forward_kinematics(np.zeros((2, 7))))
