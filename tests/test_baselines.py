"""Other people's solvers behind our interface: they do what they can, and are judged by what they bring."""

from __future__ import annotations

import subprocess
import sys

import mujoco
import numpy as np
import pytest
from models import ARMS
from numpy.testing import assert_allclose, assert_array_equal

from hybrid_ik.errors import HybridIKError, InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.refiners.baselines import AdamRefiner, DmControlRefiner, MinimizeRefiner, ScipyRefiner
from hybrid_ik.refiners.rows import judge
from hybrid_ik.result import Status
from hybrid_ik.robot import Robot

needs_mujoco_3 = pytest.mark.skipif(
    int(mujoco.__version__.split(".")[0]) > 3, reason="dm_control 1.0.50 does not work with mujoco 4"
)
EXACT = [ScipyRefiner, MinimizeRefiner, pytest.param(DmControlRefiner, marks=needs_mujoco_3)]
KINDS = [*EXACT, AdamRefiner]


def _problem(robot, n, spread=0.1):
    rng = np.random.default_rng(0)
    middle, half = (robot.lower + robot.upper) / 2, (robot.upper - robot.lower) / 2
    q = middle + 0.8 * half * rng.uniform(-1, 1, (n, robot.dof))
    return robot.forward_kinematics(q), np.clip(q + spread * rng.normal(size=q.shape), robot.lower, robot.upper)[
        :, None
    ]


@pytest.mark.parametrize("kind", EXACT)
def test_from_near_they_converge(panda, kind):
    target, q0 = _problem(panda, 10)
    result = kind(panda).refine(target, q0)
    assert result.success.mean() >= 0.9
    assert ((result.iterations > 0) & (result.iterations <= 100)).all()
    error = panda.forward_kinematics(result.q[:, 0]).position - target.position
    assert_allclose(result.position_error[:, 0], np.linalg.norm(error, axis=-1), atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_one_bad_row_leaves_the_others_alone(panda, kind):
    target, q0 = _problem(panda, 3)
    q0[1, 0, 2] = np.nan
    result = kind(panda, LMConfig(max_iterations=3)).refine(target, q0)
    assert_array_equal(result.status[:, 0] == Status.INVALID_INPUT, [False, True, False])
    assert np.isfinite(result.q[[0, 2]]).all() and np.isnan(result.q[1]).all()


@pytest.mark.parametrize("kind", [ScipyRefiner, MinimizeRefiner])
def test_they_know_unlimited_joints_and_the_posture_as_a_sum(kind):
    robot = Robot(mujoco.MjSpec.from_string(ARMS["unlimited joint"]), tip="tip")
    target = robot.forward_kinematics([[0.3, 4.0, 0.2]])
    start = np.array([[[0.2, 4.1, 0.1]]])
    assert kind(robot).refine(target, start).success.all()
    pulled = kind(robot, LMConfig(regularization=0.02, regularization_mode="sum")).refine(target, start)
    assert not pulled.success.any() and 1e-6 < pulled.position_error < 0.1
    with pytest.raises(InvalidInputError, match="regularization_mode='sum'"):
        kind(robot, LMConfig(regularization=0.1))


def test_both_methods_of_scipy(panda):
    target, q0 = _problem(panda, 5)
    a, b = (ScipyRefiner(panda, method=method).refine(target, q0) for method in ("dogbox", "trf"))
    assert a.success.all() and b.success.any()  # trf keeps away from limits and takes its time


@needs_mujoco_3
def test_dm_control_is_given_the_target_in_the_world_and_needs_names(panda):
    other = Robot(panda, base="link2", tip="hand_tcp")
    target, q0 = _problem(other, 5, spread=0.02)
    assert (
        DmControlRefiner(other, LMConfig(orientation_weight=0.0, max_iterations=100)).refine(target, q0).success.all()
    )
    with pytest.raises(InvalidInputError, match="not body 'link7'"):
        DmControlRefiner(Robot(panda, tip="link7"))
    nameless = mujoco.MjSpec.from_string(
        "<mujoco><worldbody><body><joint/><geom size='.1'/><site name='tip'/></body></worldbody></mujoco>"
    )
    with pytest.raises(InvalidInputError, match="joints without one"):
        DmControlRefiner(Robot(nameless, tip="tip"))


def test_a_dm_control_that_does_not_fit_says_so(panda, monkeypatch):
    pytest.importorskip("dm_control")
    wrapper = pytest.importorskip("dm_control.mujoco.wrapper")

    def broken(model):
        raise AttributeError("'MjModel' object has no attribute 'flex_vertedge'")

    monkeypatch.setattr(wrapper, "MjModel", broken)
    with pytest.raises(HybridIKError, match=r"does not work with mujoco .*flex_vertedge.*go together"):
        DmControlRefiner(panda)


def test_adam_comes_nearer_and_stays_within_the_limits(panda):
    target, q0 = _problem(panda, 20, spread=0.2)
    q0[0, 0] = panda.upper
    refiner = AdamRefiner(panda, LMConfig(max_iterations=200))
    result, before = refiner.refine(target, q0), AdamRefiner(panda, LMConfig(max_iterations=0)).refine(target, q0)
    assert np.median(result.position_error) < 0.1 * np.median(before.position_error)
    assert (result.q >= panda.lower).all() and (result.q <= panda.upper).all()
    assert_array_equal(refiner.refine(target[3:5], q0[3:5]).q, result.q[3:5])


def test_the_gradient_of_adams_loss(panda):
    target, q0 = _problem(panda, 20, spread=1.0)
    q, step = q0[:, 0], 1e-6

    def loss(q):
        tip = panda.forward_kinematics(q)
        cosine = (tip.quaternion * target.quaternion).sum(-1)
        return ((tip.position - target.position) ** 2).mean(-1) + 0.1 * (1 - cosine**2)

    numeric = [(loss(q + offset) - loss(q - offset)) / (2 * step) for offset in step * np.eye(7)]
    assert_allclose(AdamRefiner(panda).gradient(target, q), np.stack(numeric, -1), atol=1e-8)


def test_the_judge_believes_nobody(panda):
    target = panda.forward_kinematics(np.stack([panda.home] * 4))
    q = np.stack([panda.home, panda.home + 1e-3, panda.home, panda.home])
    q[2, 0] += 2 * np.pi  # the right pose, a turn beyond the limit
    claimed = np.array([Status.MAX_ITERATIONS, Status.CONVERGED, Status.CONVERGED, Status.CONVERGED], np.int8)
    turned = Pose(target.position, np.concatenate([target.quaternion[:3], [[1.0, 0.0, 0.0, 0.0]]]))
    result = judge(panda, turned, (q, np.zeros(4, np.int32), claimed), LMConfig())
    assert_array_equal(result.success, [True, False, False, False])
    assert_array_equal(result.status, [Status.CONVERGED, Status.STALLED, Status.STALLED, Status.STALLED])
    assert result.position_error[2] < 1e-12
    free = judge(panda, turned, (q, np.zeros(4, np.int32), claimed), LMConfig(orientation_weight=0.0))
    assert_array_equal(free.success, [True, False, False, True])


def test_the_libraries_are_imported_late():
    late = "any(name in sys.modules for name in ('scipy', 'dm_control', 'torch'))"
    code = f"import sys, hybrid_ik.refiners.baselines; sys.exit({late})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
