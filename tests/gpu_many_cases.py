"""Many answers, and answers near given joints, on a device: chosen as on the processor; run as `gpu_cases` are."""

from __future__ import annotations

import os

import mujoco
import numpy as np
import pytest
import torch
from models import GANTRY
from numpy.testing import assert_allclose, assert_array_equal
from torch.utils._python_dispatch import TorchDispatchMode

from hybrid_ik import device_solver
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners import gpu as refiners
from hybrid_ik.refiners import lanes
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.refiners.gpu import GpuRefiner
from hybrid_ik.result import ARRAYS, Status
from hybrid_ik.robot import Robot
from hybrid_ik.samplers import device_network
from hybrid_ik.samplers.device_network import DeviceSampler
from hybrid_ik.samplers.lookup import LookupSampler
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.samplers.shipped import require_shipped_network
from hybrid_ik.solver import HybridSolver
from hybrid_ik.tensor_pose import TensorPose

DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1" else "cpu"
BLOCK = 128  # the interpreter takes as long for one lane as for hundreds
CONFIG = LMConfig(max_iterations=12)


@pytest.fixture(scope="module")
def gantry():
    """It has a joint that goes round without end."""
    return Robot(mujoco.MjSpec.from_string(GANTRY), tip="tip")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(lanes, "PATIENCE", 3)


def _starts(robot, *shape, seed=1):
    chain = robot.chain
    return np.random.default_rng(seed).uniform(chain.sample_lower, chain.sample_upper, (*shape, robot.dof))


def _poses(robot, n):
    """The last one is none, if there are more than two."""
    pose = robot.forward_kinematics(_starts(robot, n, seed=0))
    position = pose.position.copy()
    position[2:][-1:] = np.nan
    return Pose(position, pose.quaternion)


def _tensors(pose):
    return TensorPose.of_pose(pose, DEVICE)


def _arrays(result):
    return {name: getattr(result, name).cpu().numpy() for name in ARRAYS}


def _assert_same(found, expected):
    for name in ARRAYS:
        assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


# ---- the choice


@pytest.mark.parametrize("nearby", [False, True], ids=["spread", "near"])
@pytest.mark.parametrize("n", [1, 3, 20])
@pytest.mark.parametrize("arm", ["panda", "gantry"])
def test_picks_are_those_of_the_processor(request, arm, n, nearby):
    """Out of the very same candidates: more than there are, too."""
    robot = request.getfixturevalue(arm)
    refiner, solver = (
        GpuRefiner(robot.chain, CONFIG, DEVICE, block=BLOCK),
        HybridSolver(robot, sampler="uniform", config=CONFIG),
    )
    pose, q0 = _poses(robot, 5), _starts(robot, 5, 12)
    near = _starts(robot, 5, seed=3) if nearby else None
    expected = solver._host._choose(refiner.refine(pose, q0), n, near, 0.2)
    found = refiner.distinct(pose, [q0], n, 0.2, None if near is None else refiner.tensor(near))
    assert expected.success.any() and (n < 20 or not expected.success.all())
    _assert_same(found, expected)


def test_later_rounds_are_for_rows_that_lack_answers(panda):
    refiner = GpuRefiner(panda.chain, CONFIG, DEVICE, block=BLOCK)
    pose, q0 = _poses(panda, 9), _starts(panda, 9, 12)
    all_at_once = refiner.distinct(pose, [q0], 3, 0.1)
    few = refiner.distinct(pose, [q0[:, :4]], 3, 0.1)
    found = refiner.distinct(pose, [q0[:, :4], q0[:, 4:8], q0[:, 8:]], 3, 0.1)
    some = refiner.distinct(pose, [q0[:, :8]], 3, 0.1)
    full, later = few.success.all(-1), some.success.all(-1)
    assert 0 < full.sum() < later.sum() < 9
    assert_array_equal(
        found.q, np.where(full[:, None, None], few.q, np.where(later[:, None, None], some.q, all_at_once.q))
    )


def test_an_answer_that_is_far_away_is_not_enough(panda):
    refiner = GpuRefiner(panda.chain, CONFIG, DEVICE, block=BLOCK)
    near = _starts(panda, 3, seed=0)
    pose = panda.forward_kinematics(near)
    q0 = near[:, None] + np.array([[0.0], [1.0], [0.0]])[..., None]
    found = refiner.distinct(pose, [q0, near[:, None]], 1, 0.0, refiner.tensor(near), 0.5)
    assert_allclose(found.q[:, 0], near, rtol=0, atol=1e-4)


# ---- in the solver


@pytest.fixture(scope="module", params=["uniform", "meanflow"])
def solvers(request, panda):
    cpu, gpu = (HybridSolver(panda, sampler=request.param, config=CONFIG, device=device) for device in (None, DEVICE))
    gpu.refiner.block = BLOCK
    return cpu, gpu


@pytest.mark.parametrize("nearby", [False, True], ids=["spread", "near"])
def test_many_answers(panda, solvers, nearby):
    pose, near = _poses(panda, 3), panda.home if nearby else None
    expected, found = (solver.solve(pose, n_solutions=5, n_seeds=24, near=near) for solver in solvers)
    assert found.shape == (3, 5)
    assert (found.status[2] == Status.INVALID_INPUT).all() and np.isnan(found.q[2]).all()
    assert abs(found.success.sum() - expected.success.sum()) <= 1
    assert found.success.sum() > 4
    for row in range(2):
        q = found.q[row][found.success[row]]
        apart = np.linalg.norm(q[:, None] - q[None], axis=-1)[np.triu_indices(len(q), 1)]
        assert (apart >= 0.1).all()
        assert np.abs(panda.forward_kinematics(q).position - pose.position[row]).max() < 1e-6
        cost = np.linalg.norm(q - panda.home, axis=-1) if nearby else solvers[0]._host._from_limits(q)
        assert (np.diff(cost) >= 0).all()


def test_where_answers_are_lacking_more_starts_are_tried(panda):
    solver = HybridSolver(panda, config=CONFIG, device=DEVICE)
    few, more = (solver._device.many(_poses(panda, 2), 20, 8, most, None, 0.1) for most in (8, 32))
    assert more.success.sum() > few.success.sum()


def test_tensors_in_and_out(panda, solvers):
    pose, solver = _poses(panda, 2).reshape(2, 1), solvers[1]
    many = solver.solve(_tensors(pose), n_solutions=3, n_seeds=16)
    near = solver.solve(_tensors(pose), near=torch.tensor(panda.home, device=DEVICE), n_seeds=16)
    assert many.q.shape == (2, 1, 3, 7) and near.q.shape == (2, 1, 7)
    for result in (many, near):
        assert all(isinstance(getattr(result, name), torch.Tensor) for name in ARRAYS)
    _assert_same(solver.solve(pose, n_solutions=3, n_seeds=16), type(many)(**_arrays(many)))
    one = solver.solve(pose[0, 0], n_solutions=3, n_seeds=16)
    assert one.shape == (3,) and isinstance(solver.solve(pose[0, 0], near=panda.home, n_seeds=16).success, np.bool_)


def test_an_answer_near_joints(panda, solvers):
    """What they lead to; where that is far, the nearest one; where there is none, the closest joints."""
    q = _starts(panda, 2, seed=0)
    pose = panda.forward_kinematics(q)
    position = np.concatenate([pose.position, [[5.0, 0.0, 0.0], [np.nan, 0.0, 0.0]]])
    pose = Pose(position, np.concatenate([pose.quaternion, pose.quaternion]))
    near = np.concatenate([q[:1] + 0.01, np.tile(panda.home, (3, 1))])
    near[0, 0] = panda.upper[0] + 0.1  # flagged; the answer is far from it, for it lies inside
    expected, found = (solver.solve(pose, near=near, n_seeds=32) for solver in solvers)
    assert_array_equal(found.status, expected.status)
    assert_array_equal(found.start_clipped, expected.start_clipped)
    assert_array_equal(found.status[2:], [Status.BEYOND_REACH, Status.INVALID_INPUT])
    far, farthest = (np.linalg.norm(result.q[:2] - near[:2], axis=-1) for result in (found, expected))
    assert (far < farthest + 0.3).all()


class NothingWaits(TorchDispatchMode):
    """Raises where a value is asked for, or made of the host's: there a device is waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        aten = torch.ops.aten
        waiting = aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.lift_fresh, aten.equal
        assert func.overloadpacket not in waiting, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("sampler", ["uniform", "meanflow"])
@pytest.mark.parametrize("n_solutions", [None, 4])
@pytest.mark.parametrize("nearby", [False, True], ids=["anywhere", "near"])
def test_nothing_waits_for_the_device(panda, monkeypatch, sampler, n_solutions, nearby):
    """The kernels are left out: what follows does not look at what they wrote."""
    for module in (refiners, device_network):
        monkeypatch.setattr(module, "launch", lambda *_: lambda *arguments, **options: None)
    solver = HybridSolver(panda, sampler=sampler, device=DEVICE)
    poses, near = _tensors(_poses(panda, 3)), torch.tensor(panda.home, device=DEVICE) if nearby else None
    solver.solve(poses, n_solutions=n_solutions, near=near)  # tables are made once
    with NothingWaits():
        found = solver.solve(poses, n_solutions=n_solutions, near=near)
    assert found.shape == ((3,) if n_solutions is None else (3, 4))


def test_poses_are_solved_in_pieces(panda, monkeypatch):
    solver = HybridSolver(panda, sampler="uniform", config=CONFIG, device=DEVICE)
    pose = _poses(panda, 3)
    whole = solver.solve(pose, n_solutions=2, n_seeds=8)
    monkeypatch.setattr(device_solver, "STARTS_AT_ONCE", 8)
    _assert_same(solver.solve(pose, n_solutions=2, n_seeds=8), whole)
    none = solver.solve(pose[:0], n_solutions=2, n_seeds=8)
    assert none.shape == (0, 2) and none.q.shape == (0, 2, 7)


def test_a_sampler_of_the_device_is_used_as_it_is(panda):
    """And one of the host works there."""
    network = MeanFlowSampler(require_shipped_network(panda.chain), panda.chain)
    for sampler in (DeviceSampler(network, DEVICE, "bfloat16"), LookupSampler(panda.chain, size=3000)):
        solver = HybridSolver(panda, sampler=sampler, config=CONFIG, device=DEVICE)
        assert solver.solve(_poses(panda, 2), n_solutions=2, n_seeds=16).success.all()
        assert solver.solve(_poses(panda, 2), n_seeds=4).success.all()


def test_near_joints_of_the_wrong_shape(panda):
    solver = HybridSolver(panda, device=DEVICE)
    with pytest.raises(InvalidInputError, match=r"near: expected 7 joints, or one row.*\(2,\), got \(3, 7\)"):
        solver.solve(_poses(panda, 2), near=torch.zeros(3, 7))
