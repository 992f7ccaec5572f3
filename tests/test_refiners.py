"""The fast refiner and its readable twin: the same steps, verdicts and answers; and what both owe to their callers."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest
from models import GANTRY
from numpy.testing import assert_allclose, assert_array_equal

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels.cpu import load_kernel
from hybrid_ik.pose import Pose
from hybrid_ik.refiners import lanes
from hybrid_ik.refiners.base import LMConfig, best_of
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.refiners.mujoco import MujocoRefiner
from hybrid_ik.result import IKResult, Status
from hybrid_ik.robot import Robot

LONG = LMConfig(max_iterations=100)


@pytest.fixture(scope="module")
def gantry():
    return Robot(mujoco.MjSpec.from_string(GANTRY), tip="tip")


def _random_q(robot, n, seed=0):
    return np.random.default_rng(seed).uniform(robot.chain.sample_lower, robot.chain.sample_upper, (n, robot.dof))


def _problem(robot, n, spread, seed=0):
    """Reachable targets (n,) and one start (n, 1, dof) for each: anywhere (None), or this far from an answer."""
    q = _random_q(robot, n, seed)
    rng = np.random.default_rng(seed + 1)
    start = _random_q(robot, n, seed + 2) if spread is None else q + rng.normal(size=q.shape) * spread
    return robot.forward_kinematics(q), np.clip(start, robot.lower, robot.upper)[:, None]


def _twins(robot, config=LMConfig()):  # noqa: B008
    return MujocoRefiner(robot, config), LaneRefiner(robot.chain, config, single_first=False)


def _assert_same(a: IKResult, b: IKResult):
    for field in dataclasses.fields(IKResult):
        assert_array_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)


def _assert_twins(reference, lanes):
    assert_array_equal(lanes.success, reference.success)
    assert_array_equal(lanes.status, reference.status)
    assert_array_equal(lanes.iterations, reference.iterations)
    both = reference.success
    assert_allclose(lanes.q[both], reference.q[both], rtol=0, atol=1e-6)
    assert_allclose(lanes.position_error[both], reference.position_error[both], rtol=0, atol=1e-9)


# ---- twins


@pytest.mark.parametrize("spread", [0.05, 0.3, None], ids=["near", "middling", "anywhere"])
def test_twins_take_the_same_steps(robot, spread):
    target, q0 = _problem(robot, 100, spread)
    reference, lanes = (refiner.refine(target, q0) for refiner in _twins(robot))
    assert reference.success.mean() > (0.25 if spread is None else 0.8)
    _assert_twins(reference, lanes)


@pytest.mark.parametrize("weight", [0.25, 0.0], ids=["pose", "position only"])
def test_twins_with_slides_and_an_unlimited_joint(gantry, weight):
    config = LMConfig(orientation_weight=weight)
    for spread in (0.05, 0.3, None):
        target, q0 = _problem(gantry, 100, spread)
        _assert_twins(*(refiner.refine(target, q0) for refiner in _twins(gantry, config)))


@pytest.mark.parametrize("mode", ["exact", "sum"])
def test_twins_with_a_posture(panda, mode):
    config = LMConfig(regularization=0.01, regularization_mode=mode, posture=tuple(panda.home), max_iterations=50)
    target, q0 = _problem(panda, 60, 0.3)
    _assert_twins(*(refiner.refine(target, q0) for refiner in _twins(panda, config)))


def test_twins_without_damping(panda):
    """Gauss-Newton far from the target is chaotic: what differs in the 16th digit may end elsewhere."""
    config = LMConfig(damping=0.0)
    target, q0 = _problem(panda, 200, 0.05)
    reference, lanes = (refiner.refine(target, q0) for refiner in _twins(panda, config))
    assert reference.success.mean() > 0.95
    assert (reference.success == lanes.success).mean() > 0.99
    both = reference.success & lanes.success
    assert (np.abs(reference.q - lanes.q).max(-1)[both] < 1e-6).mean() > 0.99


def test_twins_near_singular_poses(panda):
    """Arm stretched out, wrist aligned, elbow on its limit."""
    q = np.repeat(panda.home[None], 40, 0)
    q[:10, 3] = panda.upper[3]
    q[10:20, [1, 3, 5]] = 0.0, panda.upper[3], 0.0
    q[20:30, 5] = 0.0
    q[30:, 1] = 0.0
    q = np.clip(q, panda.lower, panda.upper)
    target = panda.forward_kinematics(q)
    q0 = np.clip(q + np.random.default_rng(0).normal(size=q.shape) * 0.02, panda.lower, panda.upper)[:, None]
    reference, lanes = (refiner.refine(target, q0) for refiner in _twins(panda))
    assert_array_equal(reference.success, lanes.success)
    assert lanes.success.mean() > 0.9
    assert_allclose(lanes.q[lanes.success], reference.q[lanes.success], rtol=0, atol=1e-6)


def test_twins_search_alike(panda):
    target, _ = _problem(panda, 40, None)
    q0 = _random_q(panda, 40 * 8, seed=5).reshape(40, 8, 7)
    reference, lanes = (refiner.search(target, q0) for refiner in _twins(panda))
    assert lanes.success.mean() > 0.9
    assert_array_equal(lanes.success, reference.success)
    assert_allclose(lanes.q[lanes.success], reference.q[lanes.success], rtol=0, atol=1e-6)


# ---- what the posture does


def test_an_exact_posture_reaches_the_pose_and_a_sum_misses_it(panda):
    target, q0 = _problem(panda, 60, 0.05)
    found = {}
    for mode in ("exact", "sum"):
        config = LMConfig(regularization=0.01, regularization_mode=mode, posture=tuple(panda.home), max_iterations=200)
        found[mode] = LaneRefiner(panda.chain, config).refine(target, q0)
    assert found["exact"].success.mean() > 0.95
    assert found["exact"].position_error[found["exact"].success].max() < 1e-6
    assert not found["sum"].success.any()
    assert 1e-6 < np.median(found["sum"].position_error) < 1e-2


def test_an_exact_posture_acts_in_the_null_space(panda):
    target, q0 = _problem(panda, 60, 0.2)
    home = panda.home
    plain = LaneRefiner(panda.chain, LONG).refine(target, q0)
    config = LMConfig(regularization=1.0, posture=tuple(home), max_iterations=200)
    drawn = LaneRefiner(panda.chain, config).refine(target, q0)
    both = plain.success & drawn.success
    assert both.mean() > 0.7
    distance = [np.linalg.norm(result.q - home, axis=-1)[both].mean() for result in (plain, drawn)]
    assert distance[1] < 0.9 * distance[0]


# ---- why they stop, and what they are given


@pytest.mark.parametrize("kind", [MujocoRefiner, LaneRefiner])
def test_statuses(panda, kind):
    def refine(config, target, q0):
        return kind(panda if kind is MujocoRefiner else panda.chain, config).refine(target, q0)

    target, q0 = _problem(panda, 1, 0.3)
    there = panda.forward_kinematics(q0[:, 0])
    assert refine(LMConfig(), there, q0).status == Status.CONVERGED
    assert refine(LMConfig(), there, q0).iterations == 0
    short = refine(LMConfig(max_iterations=1), target, q0)
    assert (short.status, short.iterations) == (Status.MAX_ITERATIONS, 1)
    far = Pose([[3.0, 0.0, 0.5]], [[1.0, 0.0, 0.0, 0.0]])
    unreachable = refine(LMConfig(max_iterations=500), far, q0)
    assert not unreachable.success and unreachable.status in (Status.STALLED, Status.MAX_ITERATIONS)
    assert 1.5 < unreachable.position_error < 3.0
    assert (unreachable.q >= panda.lower).all() and (unreachable.q <= panda.upper).all()


@pytest.mark.parametrize("kind", [MujocoRefiner, LaneRefiner])
def test_the_errors_are_those_of_forward_kinematics(panda, kind):
    target, q0 = _problem(panda, 50, None)
    result = kind(panda if kind is MujocoRefiner else panda.chain).refine(target, q0)
    actual = panda.forward_kinematics(result.q[:, 0])
    assert_allclose(result.position_error[:, 0], np.linalg.norm(actual.position - target.position, axis=-1), atol=1e-12)
    cosine = np.abs((actual.quaternion * target.quaternion).sum(-1))
    sine = np.sqrt(np.maximum(0, 1 - np.minimum(cosine, 1) ** 2))
    assert_allclose(result.orientation_error[:, 0], 2 * np.arctan2(sine, cosine), atol=1e-7)
    assert (result.q >= panda.lower).all() and (result.q <= panda.upper).all()


@pytest.mark.parametrize("kind", [MujocoRefiner, LaneRefiner])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_row_is_marked_and_the_others_are_solved(panda, kind, bad):
    refiner = kind(panda if kind is MujocoRefiner else panda.chain)
    target, q0 = _problem(panda, 6, 0.05)
    expected = refiner.refine(target, q0)
    position = target.position.copy()
    position[1, 2] = bad
    starts = q0.copy()
    starts[4, 0, 3] = bad
    result = refiner.refine(Pose(position, target.quaternion), starts)
    marked = np.isin(np.arange(6), [1, 4])
    assert (result.status[marked] == Status.INVALID_INPUT).all() and not result.success[marked].any()
    assert np.isnan(result.q[marked]).all() and np.isnan(result.position_error[marked]).all()
    assert_array_equal(result.q[~marked], expected.q[~marked])
    assert_array_equal(refiner.search(Pose(position, target.quaternion), starts).status, result.status[:, 0])


@pytest.mark.parametrize("kind", [MujocoRefiner, LaneRefiner])
def test_a_start_outside_the_limits_is_moved_and_flagged(panda, kind):
    refiner = kind(panda if kind is MujocoRefiner else panda.chain)
    target, q0 = _problem(panda, 3, 0.05)
    q0[1, 0, 0] = panda.upper[0] + 1.0
    given = q0.copy()
    result = refiner.refine(target, q0)
    assert_array_equal(result.start_clipped[:, 0], [False, True, False])
    assert_array_equal(q0, given)  # the caller's array is left alone
    assert_array_equal(result.q, refiner.refine(target, np.clip(q0, panda.lower, panda.upper)).q)
    assert_array_equal(refiner.search(target, q0).start_clipped, [False, True, False])


@pytest.mark.parametrize("kind", [MujocoRefiner, LaneRefiner])
def test_any_array_will_do(panda, kind):
    refiner = kind(panda if kind is MujocoRefiner else panda.chain)
    target, q0 = _problem(panda, 3, 0.05)
    q0 = q0.astype(np.float32).astype(float)
    expected = refiner.refine(target, q0)
    locked = q0.copy()
    locked.setflags(write=False)
    strided = np.repeat(q0, 2, axis=0)[::2]
    for starts in (q0.astype(np.float32), q0.tolist(), locked, strided, np.asfortranarray(q0)):
        _assert_same(refiner.refine(target, starts), expected)
        _assert_same(refiner.search(target, starts), expected[:, 0])


@pytest.mark.parametrize("kind", [MujocoRefiner, LaneRefiner])
def test_shapes(panda, kind):
    refiner = kind(panda if kind is MujocoRefiner else panda.chain)
    target, q0 = _problem(panda, 6, 0.05)
    one = refiner.refine(target[0], q0[0])
    assert one.shape == (1,) and one.q.shape == (1, 7)
    _assert_same(one, refiner.refine(target, q0)[0])
    grid = refiner.refine(target.reshape(2, 3), q0.reshape(2, 3, 1, 7))
    assert grid.q.shape == (2, 3, 1, 7)
    assert_array_equal(grid.q.reshape(6, 1, 7), refiner.refine(target, q0).q)
    assert refiner.search(target[0], q0[0]).success.shape == ()
    for batch, n in (((0,), 4), ((2, 0), 1), ((3,), 0)):
        poses = Pose(np.zeros((*batch, 3)), np.tile([1.0, 0, 0, 0], (*batch, 1)))
        empty = refiner.refine(poses, np.zeros((*batch, n, 7)))
        assert empty.q.shape == (*batch, n, 7) and not empty.success.any()
    assert refiner.search(Pose(np.zeros((0, 3)), np.zeros((0, 4))), np.zeros((4, 7))).q.shape == (0, 7)


@pytest.mark.parametrize("kind", [MujocoRefiner, LaneRefiner])
def test_wrong_shapes_are_named(panda, kind):
    refiner = kind(panda if kind is MujocoRefiner else panda.chain)
    target, q0 = _problem(panda, 3, 0.05)
    with pytest.raises(InvalidInputError, match=r"\(3, n, 7\).*got \(3, 1, 6\)"):
        refiner.refine(target, q0[..., :6])
    with pytest.raises(InvalidInputError, match=r"got \(2, 1, 7\)"):
        refiner.refine(target, q0[:2])
    with pytest.raises(InvalidInputError, match="expected numbers"):
        refiner.refine(target, [[["a"] * 7]] * 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"damping": -1.0}, "damping must be finite and not negative"),
        ({"position_tolerance": 0.0}, "position_tolerance must be positive"),
        ({"orientation_weight": np.nan}, "orientation_weight"),
        ({"max_iterations": -1}, "max_iterations must not be negative"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InvalidInputError, match=message):
        LMConfig(**options)


def test_a_posture_of_another_arm_is_refused(panda):
    for refiner in (lambda c: LaneRefiner(panda.chain, c), lambda c: MujocoRefiner(panda, c)):
        with pytest.raises(InvalidInputError, match="7 finite joints"):
            refiner(LMConfig(posture=(0.0,) * 6))


def test_a_base_that_is_not_the_world(panda):
    """The same arm seen from another frame finds the same joints."""
    other = Robot(panda, base="link0", tip="hand_tcp")
    target, q0 = _problem(other, 30, 0.1)
    reference, lanes = (refiner.refine(target, q0) for refiner in _twins(other))
    _assert_twins(reference, lanes)
    mounted = Robot(mujoco.MjSpec.from_string(GANTRY), tip="tip", base="b1")
    target, q0 = _problem(mounted, 30, 0.1)
    assert np.linalg.norm(mounted.T_world_base.position) > 0.1
    found = MujocoRefiner(mounted, LMConfig(orientation_weight=0.0)).refine(target, q0)
    assert found.success.mean() > 0.9
    error = mounted.forward_kinematics(found.q[:, 0]).position - target.position
    assert_allclose(np.linalg.norm(error, axis=-1), found.position_error[:, 0], atol=1e-12)


# ---- answers do not depend on company


def test_answers_do_not_depend_on_the_batch(panda):
    refiner = LaneRefiner(panda.chain)
    target, _ = _problem(panda, 50, None)
    q0 = _random_q(panda, 50 * 5, seed=3).reshape(50, 5, 7)
    whole, searched = refiner.refine(target, q0), refiner.search(target, q0)
    for i in (0, 7, 49):
        _assert_same(refiner.refine(target[i], q0[i]), whole[i])
        _assert_same(refiner.search(target[i], q0[i]), searched[i])
    _assert_same(refiner.refine(target[10:33], q0[10:33]), whole[10:33])
    _assert_same(refiner.search(target[10:33], q0[10:33]), searched[10:33])
    order = np.random.default_rng(0).permutation(50)
    _assert_same(refiner.search(target[order], q0[order]), searched[order])


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_answers_do_not_depend_on_threads(panda, monkeypatch, n_threads):
    monkeypatch.setattr("hybrid_ik.refiners.lanes.SMALLEST_PIECE", 8)  # so that there is something for each thread
    target, _ = _problem(panda, 50, None)
    q0 = _random_q(panda, 50 * 3, seed=3).reshape(50, 3, 7)
    one, many = (LaneRefiner(panda.chain, n_threads=n) for n in (1, n_threads))
    _assert_same(many.refine(target, q0), one.refine(target, q0))
    _assert_same(many.search(target, q0), one.search(target, q0))
    _assert_same(many.search(target, q0[0]), one.search(target, q0[0]))  # starts shared by all targets


@pytest.mark.parametrize("n, smallest, n_threads", [(0, 1, 2), (1, 1, 2), (1000, 64, 2), (1000, 64, 7), (7, 100, 3)])
def test_pieces_are_all_rows_in_order(n, smallest, n_threads):
    pieces = lanes._pieces(n, smallest, n_threads)
    assert [row for a, b in pieces for row in range(a, b)] == list(range(n))
    assert all(b - a >= min(smallest, n - a) for a, b in pieces)


@pytest.mark.parametrize("kind", [MujocoRefiner, LaneRefiner])
def test_a_search_gives_the_first_start_that_converges(panda, kind):
    refiner = kind(panda if kind is MujocoRefiner else panda.chain)
    target, _ = _problem(panda, 30, None)
    position = target.position.copy()
    position[::10, 0] += 3.0  # some out of reach: the start that came nearest
    target = Pose(position, target.quaternion)
    q0 = _random_q(panda, 30 * 6, seed=3).reshape(30, 6, 7)
    every = refiner.refine(target, q0)
    found, expected = refiner.search(target, q0), best_of(every, refiner.config.orientation_weight)
    assert 0 < found.success.sum() < 30
    assert_array_equal(found.success, expected.success)
    assert_array_equal(found.iterations[found.success], expected.iterations[found.success])
    missed = [x.position_error**2 + (0.25 * x.orientation_error) ** 2 for x in (found, expected)]
    assert (missed[0] <= missed[1] + 1e-9).all()  # the lanes go on looking for the nearest
    first = np.argmax(every.success, -1)[found.success]
    assert_array_equal(found.q[found.success], every.q[found.success, first])
    shared = refiner.search(target, q0[0])
    assert_array_equal(shared.q, refiner.search(target, np.broadcast_to(q0[0], (30, 6, 7))).q)


def test_tools_and_mounts_share_one_kernel(panda):
    from_link0 = Robot(panda, base="link0", tip="hand_tcp")
    assert load_kernel(panda.chain) is load_kernel(from_link0.chain)
    assert load_kernel(panda.chain) is not load_kernel(panda.chain, with_posture=True)


# ---- single precision first


@pytest.mark.parametrize("spread", [0.3, None], ids=["middling", "anywhere"])
def test_single_precision_first_finds_the_same_answers(robot, spread):
    """What converges ends as exactly; few starts end elsewhere than in double precision."""
    target, q0 = _problem(robot, 300, spread)
    double, single = (LaneRefiner(robot.chain, single_first=first).refine(target, q0) for first in (False, True))
    assert abs(single.success.mean() - double.success.mean()) < 0.03
    both = single.success & double.success
    assert (np.abs(single.q - double.q).max(-1)[both] < 1e-2).mean() > 0.95  # where on its curve differs
    actual = robot.forward_kinematics(single.q[:, 0])
    distance = np.linalg.norm(actual.position - target.position, axis=-1)
    assert_allclose(single.position_error[:, 0], distance, atol=1e-12)
    assert distance[single.success[:, 0]].max() < 1e-6


def test_a_start_that_is_an_answer_comes_back_as_it_is(panda):
    """To the last bit, though single precision looks at it first."""
    q0 = _random_q(panda, 20)[:, None]
    result = LaneRefiner(panda.chain).refine(panda.forward_kinematics(q0[:, 0]), q0)
    assert_array_equal(result.q, q0)
    assert not result.iterations.any()
