"""The GPU refiner under Triton's interpreter, which runs its kernels in numpy: the same answers as the lanes give.

`test_gpu` runs these in a process of their own, for Triton asks for the interpreter once, when it is imported.
"""

from __future__ import annotations

import os

import mujoco
import numpy as np
import pytest
import torch
from models import GANTRY, arm
from numpy.testing import assert_allclose, assert_array_equal

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels import gpu
from hybrid_ik.pose import Pose
from hybrid_ik.refiners import gpu as refiners
from hybrid_ik.refiners import gpu_rows, lanes
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.refiners.gpu import GpuRefiner
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.result import ARRAYS, Status
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver
from hybrid_ik.tensor_pose import TensorPose

# On a machine with a GPU, and without TRITON_INTERPRET=1, the same cases run on it.
DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1" else "cpu"
# The interpreter takes as long for one lane as for hundreds.
BLOCK = 128

SIX = arm(*(f"<joint name='j{i}' axis='{axis}' range='-2 2'/>" for i, axis in enumerate(["0 0 1", "0 1 0"] * 3)))


@pytest.fixture(scope="module")
def six():
    return Robot(mujoco.MjSpec.from_string(SIX), tip="tip")


@pytest.fixture(scope="module")
def gantry():
    return Robot(mujoco.MjSpec.from_string(GANTRY), tip="tip")


@pytest.fixture(params=["panda", "six", "gantry"])
def arm_of_three(request):
    """Seven hinges, six hinges, and five joints of which two are slides and one has no limits."""
    return request.getfixturevalue(request.param)


def _refiner(robot, config=LMConfig(), **options):  # noqa: B008
    return GpuRefiner(robot.chain, config, DEVICE, block=BLOCK, **options)


def _starts(robot, *shape, seed=1):
    chain = robot.chain
    return np.random.default_rng(seed).uniform(chain.sample_lower, chain.sample_upper, (*shape, robot.dof))


def _target(robot, n, seed=0):
    return robot.forward_kinematics(_starts(robot, n, seed=seed))


def _assert_errors_are_those_of_forward_kinematics(robot, target, result):
    rows = np.isfinite(result.q).all(-1)
    actual = robot.forward_kinematics(result.q[rows])
    distance = np.linalg.norm(actual.position - target.position[rows], axis=-1)
    cosine = np.abs((actual.quaternion * target.quaternion[rows]).sum(-1))
    angle = 2 * np.arctan2(np.sqrt(np.maximum(0, 1 - np.minimum(cosine, 1) ** 2)), cosine)
    assert_allclose(result.position_error[rows], distance, rtol=0, atol=1e-12)
    assert_allclose(result.orientation_error[rows], angle, rtol=0, atol=1e-7)


def _assert_within_limits(robot, q):
    q = q[np.isfinite(q).all(-1)]
    assert (q >= robot.chain.lower).all() and (q <= robot.chain.upper).all()


# ---- twins


@pytest.mark.parametrize(
    ("name", "weight"), [("panda", 0.25), ("six", 0.25), ("gantry", 0.25), ("panda", 0.0)], ids=str
)
def test_steps_in_double_precision_are_those_of_the_lanes(request, name, weight):
    """A weight of 0 leaves the orientation free."""
    robot, config = request.getfixturevalue(name), LMConfig(orientation_weight=weight)
    target, q0 = _target(robot, 128), _starts(robot, 128, 1)
    expected = LaneRefiner(robot.chain, config, single_first=False).refine(target, q0)
    found = _refiner(robot, config, single_first=False).refine(target, q0)
    for name in ("success", "status", "iterations", "start_clipped"):
        assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    both = expected.success
    assert both.mean() > 0.2
    assert_allclose(found.q[both], expected.q[both], rtol=0, atol=1e-6)
    _assert_errors_are_those_of_forward_kinematics(robot, target, found[:, 0])
    _assert_within_limits(robot, found.q)


def test_first_steps_in_single_precision_end_as_those_of_the_lanes(arm_of_three):
    """Both meet the pose; where an arm can move while it holds one, rounding decides where along that way they stop."""
    robot, config = arm_of_three, LMConfig(position_tolerance=1e-9, orientation_tolerance=1e-9)
    target, q0 = _target(robot, 128), _starts(robot, 128, 1)
    expected, found = (r.refine(target, q0) for r in (LaneRefiner(robot.chain, config), _refiner(robot, config)))
    assert (found.success == expected.success).mean() > 0.99
    both = expected.success & found.success
    apart = np.abs(found.q[both] - expected.q[both]).max(-1)
    assert np.quantile(apart, 0.9) < 1e-4 if robot.dof > 6 else apart.max() < 1e-6
    assert found.position_error[found.success].max() < 1e-9
    _assert_errors_are_those_of_forward_kinematics(robot, target, found[:, 0])
    _assert_within_limits(robot, found.q)


@pytest.mark.parametrize("mode", ["exact", "sum"])
def test_twins_with_a_posture(panda, mode):
    config = LMConfig(regularization=0.01, regularization_mode=mode, posture=tuple(panda.home), max_iterations=16)
    q = _starts(panda, 60, seed=0)
    q0 = np.clip(q + np.random.default_rng(3).normal(size=q.shape) * 0.3, panda.lower, panda.upper)[:, None]
    target = panda.forward_kinematics(q)
    expected, found = (r.refine(target, q0) for r in (LaneRefiner(panda.chain, config), _refiner(panda, config)))
    assert_array_equal(found.status, expected.status)
    assert_allclose(found.q, expected.q, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("at_once", "rounds"), [(33792, 12), (34, 12), (34, 2), (1, 1)], ids=["at once", "in rounds", "in two", "in one"]
)
def test_a_search_takes_the_first_start_that_converges(panda, monkeypatch, at_once, rounds):
    """17 rows: 34 lanes take two starts of each at a time, and then the one that is left, or all the others."""
    monkeypatch.setattr(gpu_rows, "LANES_AT_ONCE", at_once)
    monkeypatch.setattr(refiners, "ROUNDS", rounds)
    target, q0 = _target(panda, 17), _starts(panda, 17, 5)
    expected = LaneRefiner(panda.chain, single_first=False).search(target, q0)
    found = _refiner(panda, single_first=False).search(target, q0)
    assert expected.success.mean() > 0.9
    assert_array_equal(found.status, expected.status)
    assert_allclose(found.q, expected.q, rtol=0, atol=1e-6)


def test_open_rows_share_the_lanes():
    """A million rows: one start for each of them, then more for each that is left, and in the end all."""
    lanes, n_starts = gpu_rows.LANES_AT_ONCE, 256
    rounds = _problem_of(1_000_000, n_starts).rounds(refiners.ROUNDS)
    assert len(rounds) == refiners.ROUNDS and [here.last for here in rounds] == [0] * 11 + [1]
    tried, n_open = 0, 1_000_000
    for here in rounds:
        tried += min(here.n_starts - tried, here.most, max(1, here.capacity // n_open))
        n_open = max(1, n_open // 3)
    assert tried == n_starts
    assert [here.most for here in _problem_of(1, n_starts).rounds(12)] == [16, 256]
    assert len(_problem_of(lanes // 3, 6).rounds(12)) == 2
    assert len(_problem_of(0, 6).rounds(12)) == 1


def _problem_of(n_rows, n_starts):
    return gpu_rows.Problem(*(torch.empty(0),) * 5, 1, n_rows, n_starts, 0)


@pytest.mark.parametrize("missed", [[np.nan, 3.0, 2.0, np.nan], [np.nan, np.nan, np.inf, 1.0]], ids=str)
def test_a_search_without_a_number_neither_wins_nor_blocks(panda, missed):
    refiner, problem = _refiner(panda), _problem_of(1, 4)._replace(hopeful=torch.ones(1, dtype=torch.bool))
    q, errors = (torch.arange(4.0, device=DEVICE).double()[:, None].repeat(1, n) for n in (7, 2))
    errors[:, 0] = torch.tensor(missed)
    info = torch.tensor([[9, Status.STALLED, 0]] * 4, dtype=torch.int32, device=DEVICE)
    best, left = refiner._no_answers(1), refiner._lists(1, 1)[0]
    everything = refiner._all_rows(1)
    problem = problem._replace(hopeful=problem.hopeful.to(DEVICE))
    for some in (slice(0, 1), slice(1, 4)):  # one, and then the others against its record
        found = gpu_rows.Found(q[some].contiguous(), errors[some].contiguous(), info[some].contiguous())
        n = len(found.q)
        refiner._choose(problem, refiner._options, everything, found, best, left, gpu_rows.Round(n, n, n, 0))
    assert best.q[0, 0] == np.nanargmin(missed)
    assert best.info[0, 1] == Status.STALLED and left.state[0] == 2


def test_rows_out_of_reach_are_not_tried(panda, monkeypatch):
    monkeypatch.setattr(lanes, "PATIENCE", 2)
    target, q0 = _target(panda, 3), _starts(panda, 3, 4)
    refiner = _refiner(panda, LMConfig(max_iterations=8))
    found = refiner.search(target, q0, out_of_reach=torch.tensor([False, True, False], device=DEVICE))
    expected = refiner.search(target, q0)
    assert np.isnan(found.q[1]).all() and not found.success[1] and found.iterations[1] == 0
    assert_array_equal(found.q[[0, 2]], expected.q[[0, 2]])
    assert np.isfinite(refiner.closest(target, found, q0).q).all()


def test_all_targets_may_share_their_starts(panda):
    target, table = _target(panda, 5), _starts(panda, 4)
    refiner = _refiner(panda, single_first=False)
    each = refiner.search(target, np.repeat(table[None], 5, 0))
    assert_array_equal(refiner.search(target, np.broadcast_to(table, (5, 4, 7))).q, each.q)


# ---- what they are given


def test_answers_do_not_depend_on_the_batch(panda):
    target, q0 = _target(panda, 17), _starts(panda, 17, 2)
    none, one, all_17 = (_refiner(panda).search(target[:n], q0[:n]) for n in (0, 1, 17))
    assert none.shape == (0,) and none.q.shape == (0, 7)
    assert one.shape == (1,) and all_17.q.shape == (17, 7)
    assert_array_equal(one.q[0], all_17.q[0])


def test_one_pose_gives_scalars(panda):
    found = _refiner(panda).search(_target(panda, 1)[0], _starts(panda, 8))
    assert isinstance(found.success, np.bool_) and found.success and found.q.shape == (7,)


def test_what_is_no_number_is_marked_and_the_others_are_solved(panda):
    target, q0 = _target(panda, 6), _starts(panda, 6, 2)
    expected = _refiner(panda).refine(target, q0)
    position = target.position.copy()
    position[1, 2] = np.nan
    q0[3, 0, 4] = np.inf
    found = _refiner(panda).refine(Pose(position, target.quaternion), q0)
    bad = np.zeros((6, 2), bool)
    bad[1], bad[3, 0] = True, True
    assert (found.status[bad] == Status.INVALID_INPUT).all() and np.isnan(found.q[bad]).all()
    assert_array_equal(found.q[~bad], expected.q[~bad])
    searched = _refiner(panda).search(Pose(position, target.quaternion), q0)
    assert searched.status[1] == Status.INVALID_INPUT and np.isnan(searched.position_error[1])
    assert searched.status[3] == expected.status[3, 1]


def test_starts_outside_the_limits_are_moved_onto_them(panda):
    target, q0 = _target(panda, 2), _starts(panda, 2, 1)
    q0[1, 0, 0] = panda.upper[0] + 1.0
    found = _refiner(panda, LMConfig(max_iterations=0)).refine(target, q0)
    assert_array_equal(found.start_clipped[:, 0], [False, True])
    assert found.q[1, 0, 0] == panda.upper[0]


def test_the_nearest_joints_to_a_target_out_of_reach(panda, monkeypatch):
    position = np.array([[3.0, 0.0, 0.5], *_target(panda, 1).position])
    target, q0 = Pose(position, np.tile([1.0, 0.0, 0.0, 0.0], (2, 1))), _starts(panda, 2, 4)
    target = Pose(position, np.concatenate([target.quaternion[:1], _target(panda, 1).quaternion]))
    q0[1, 0] = _starts(panda, 1, seed=0)[0]  # the answer itself
    monkeypatch.setattr(lanes, "PATIENCE", 5)
    config = LMConfig(max_iterations=4)
    reference, refiner = LaneRefiner(panda.chain, config), _refiner(panda, config)
    found = refiner.search(target, q0)
    assert_array_equal(found.success, [False, True])
    nearest, expected = refiner.closest(target, found, q0), reference.closest(target[:1], found[:1], q0[:1])
    assert_array_equal(nearest.q[1], found.q[1])
    assert nearest.position_error[0] < found.position_error[0]
    assert_allclose(nearest.position_error[0], expected.position_error[0], rtol=1e-3)


def test_tensors_in_and_out(panda):
    target, q0 = _target(panda, 3), _starts(panda, 3, 4)
    expected = _refiner(panda).search(target, q0)
    poses = TensorPose.of(torch.tensor(target.position), torch.tensor(target.quaternion))
    found = _refiner(panda).search(poses, torch.tensor(q0))
    assert all(isinstance(getattr(found, name), torch.Tensor) for name in ARRAYS)
    assert found.chain is panda.chain
    assert found.q.dtype == torch.float64 and found.success.dtype == torch.bool
    assert_allclose(found.q.cpu().numpy(), expected.q, rtol=0, atol=1e-6)
    assert found[1:].q.shape == (2, 7) and found.reshape(3, 1).shape == (3, 1)


# ---- in the solver


def _poses(panda):
    """One in reach, one beyond it, and one that is none."""
    near = _target(panda, 1)
    position = np.array([near.position[0], [5.0, 0.0, 0.0], [np.nan, 0.0, 0.0]])
    return Pose(position, np.repeat(near.quaternion, 3, 0))


def _solvers(panda):
    config = LMConfig(max_iterations=8)
    return HybridSolver(panda, config=config), HybridSolver(panda, config=config, device=DEVICE)


def test_a_solver_on_a_device_answers_as_one_without(panda, monkeypatch):
    monkeypatch.setattr(lanes, "PATIENCE", 10)
    pose, (cpu, gpu) = _poses(panda), _solvers(panda)
    expected, found = (solver.solve(pose, n_seeds=16) for solver in (cpu, gpu))
    assert_array_equal(found.status, [Status.CONVERGED, Status.BEYOND_REACH, Status.INVALID_INPUT])
    assert_array_equal(found.status, expected.status)
    assert_allclose(found.position_error[1], expected.position_error[1], rtol=1e-3)
    assert found.position_error[0] < 1e-6 and np.isnan(found.q[2]).all()
    assert_allclose(found.q[0], expected.q[0], rtol=0, atol=1e-4)
    one = gpu.solve(pose[0], n_seeds=16)
    assert isinstance(one.success, np.bool_)
    assert_array_equal(one.q, found.q[0])


class Exported:
    """What another library exports through DLPack."""

    def __init__(self, values):
        self._tensor = torch.tensor(values)
        self.__dlpack__, self.__dlpack_device__ = self._tensor.__dlpack__, self._tensor.__dlpack_device__


def test_other_libraries_come_through_dlpack(panda):
    pose = _target(panda, 3)
    read = TensorPose.of(Exported(pose.position), Exported(pose.quaternion))
    assert_array_equal(read.to_host().position, pose.position)
    assert_allclose(read.to_host().quaternion, pose.quaternion, rtol=0, atol=1e-15)
    found = _refiner(panda).refine(read, Exported(_starts(panda, 3, 1)))
    assert isinstance(found.q, torch.Tensor) and found.q.shape == (3, 1, 7)


def test_a_solver_takes_tensors_and_gives_them(panda):
    pose, (cpu, gpu) = _poses(panda)[:1], _solvers(panda)
    tensors = TensorPose.of(torch.tensor(pose.position), torch.tensor(pose.quaternion))
    one, near = gpu.solve(tensors, n_seeds=16), gpu.solve(tensors, near=torch.tensor(panda.home), n_seeds=8)
    many = cpu.solve(tensors, n_solutions=4)
    assert one.q.shape == (1, 7) and near.q.shape == (1, 7) and many.q.shape == (1, 4, 7)
    for result in (one, near, many):
        assert all(isinstance(getattr(result, name), torch.Tensor) for name in ARRAYS)
    assert one.success.all() and near.success.all()
    assert_array_equal(many.q.cpu().numpy(), cpu.solve(pose, n_solutions=4).q)


def test_a_device_has_its_own_refiner(panda):
    with pytest.raises(InvalidInputError, match="refiner='lanes' or None beside it, got 'mujoco'"):
        HybridSolver(panda, refiner="mujoco", device=DEVICE)


# ---- what they refuse


def test_tensors_that_are_no_poses():
    with pytest.raises(InvalidInputError, match=r"quaternion: expected shape \(\*batch, 4\), got \(2, 3\)"):
        TensorPose.of(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(InvalidInputError, match="do not have the same batch shape"):
        TensorPose.of(torch.zeros(2, 3), torch.zeros(3, 4))
    assert not TensorPose.of(torch.zeros(3), torch.zeros(4)).valid


def test_starts_of_the_wrong_shape(panda):
    with pytest.raises(InvalidInputError, match=r"starts: expected shape \(3, n, 7\).*got \(2, 4, 7\)"):
        _refiner(panda).refine(_target(panda, 3), _starts(panda, 2, 4))
    with pytest.raises(InvalidInputError, match="starts: expected shape"):
        _refiner(panda).refine(_target(panda, 3), np.zeros((3, 4, 6)))


def test_a_device_that_is_not_there(panda):
    with pytest.raises(InvalidInputError, match=r"'cuda:97' cannot run .* torch .* finds .*LaneRefiner"):
        GpuRefiner(panda.chain, device="cuda:97")
    with pytest.raises(InvalidInputError, match=r"none of torch's"):
        GpuRefiner(panda.chain, device="toaster")


# ---- the text of the kernels


def test_a_damaged_file_is_written_again(panda, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_IK_CACHE", str(tmp_path))
    monkeypatch.setattr(gpu, "MODULES", {})
    gpu.load_kernels(panda.chain)
    (path,) = tmp_path.glob("gpu_*.py")
    text = path.read_text()
    path.write_text("broken")
    gpu.MODULES.clear()
    gpu.load_kernels(panda.chain)
    assert path.read_text() == text
