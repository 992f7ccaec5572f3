"""Whole curves of answers: joints settled onto them, followed until they close, and how many may be missing."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from conftest import MODELS
from models import ARMS, FOUR_JOINTS, roll_arm
from numpy.testing import assert_allclose

from hybrid_ik import Pose, Robot, pose_error
from hybrid_ik.kinematics import curve_step
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.scalar_math import NumpyMath
from hybrid_ik.solution_sets.following import BARELY, CLOSE, LONGEST, CurveFollower, Settled
from hybrid_ik.solution_sets.loops import missing_chance

TURN = 2.0 * np.pi
IIWA = MODELS / "kuka_iiwa_14" / "iiwa14.xml"


class Case:
    """An arm, its follower, and poses that it reaches."""

    def __init__(self, source, orientation=True, **frames):
        self.robot, self.orientation = Robot(source, **frames), orientation
        self.chain = self.robot.chain
        self.follower = CurveFollower(self.chain, orientation)

    def joints(self, n, seed=0):
        rng = np.random.default_rng(seed)
        return rng.uniform(self.chain.sample_lower, self.chain.sample_upper, (n, self.robot.dof))

    def target(self, pose):
        return self.follower.targets(pose.reshape(1))

    def error(self, pose, q):
        """Largest of the position and, where it counts, the orientation error of each row, by MuJoCo."""
        error = pose_error(pose, self.robot.forward_kinematics(q))
        return np.abs(error if self.orientation else error[..., :3]).max(-1)

    def jacobian(self, q):
        J = self.robot.jacobian(q)
        return J if self.orientation else J[..., :3, :]


def _make(name):
    if name == "panda":
        return Case("panda")
    if name == "iiwa":
        if not IIWA.is_file():
            pytest.skip(f"no model {IIWA}; set HYBRID_IK_ROBOTS to a folder that has it")
        return Case(str(IIWA))
    return Case(mujoco.MjModel.from_xml_string(FOUR_JOINTS), orientation=False, tip="tip")


@pytest.fixture(scope="module", params=["panda", "iiwa", "four joints, position only"])
def case(request):
    return _make(request.param)


@pytest.fixture(scope="module")
def panda_case():
    return _make("panda")


def test_settled_joints_meet_the_pose_from_afar(case):
    pose = case.robot.forward_kinematics(case.joints(1)[0])
    settled = case.follower.settle(case.target(pose), case.joints(64, seed=1))
    assert settled.success.mean() > 0.5
    assert (case.error(pose, settled.q[settled.success]) < 1.01e-6).all()
    missed = pose_error(pose, case.robot.forward_kinematics(settled.q))
    assert_allclose(settled.errors[:, 0], np.linalg.norm(missed[:, :3], axis=1), atol=1e-9)
    if case.orientation:
        assert_allclose(settled.errors[:, 1], np.linalg.norm(missed[:, 3:], axis=1), atol=1e-6)


def test_each_row_settles_onto_its_own_target(case):
    goals = case.joints(9, seed=2)
    poses = case.robot.forward_kinematics(goals)
    near = goals + np.random.default_rng(3).normal(scale=0.01, size=goals.shape)
    settled = case.follower.settle(case.follower.targets(poses), near)
    assert settled.success.sum() >= 8
    assert (case.error(poses, settled.q)[settled.success] < 1.01e-6).all()
    assert np.linalg.norm(settled.q - goals, axis=1)[settled.success].max() < 0.2


def test_without_steps_joints_are_judged_where_they_are(case):
    goals = case.joints(5, seed=4)
    poses = case.robot.forward_kinematics(goals)
    target, beside = case.follower.targets(poses), goals + 1e-3
    on = case.follower.settle(target, goals, border=goals, most_steps=0)
    off = case.follower.settle(target, beside, border=goals, most_steps=0)
    assert on.success.all() and not off.success.any()
    assert (on.q == goals).all() and (off.q == beside).all()


def test_an_offset_moves_a_joint_by_so_much_and_stays_on_the_curve(case):
    q = case.joints(1, seed=5)
    pose = case.robot.forward_kinematics(q[0])
    joint = int(np.argmax(np.abs(np.linalg.svd(case.jacobian(q[0]))[2][-1])))
    border = np.eye(case.robot.dof)[joint][None]
    beside = q + 1e-4  # joints that already meet the pose stay where they are
    moved = case.follower.settle(case.target(pose), beside, border, np.array([0.01]))
    assert moved.success.all() and case.error(pose, moved.q)[0] < 1.01e-6
    assert_allclose(moved.q[0, joint] - beside[0, joint], 0.01, atol=1e-9)


def test_compiled_steps_are_those_of_the_plain_formula(case):
    """Tangent and errors at some joints, from `kinematics.curve_step`."""
    q, goals = case.joints(6, seed=6), case.joints(6, seed=7)
    target = case.follower.targets(case.robot.forward_kinematics(goals))
    border = np.random.default_rng(8).normal(size=q.shape)
    found = case.follower.settle(target, q, border, most_steps=0)
    tip = case.chain.T_last_tip[:3, 3].tolist()
    weight = 0.5 * case.chain.reach if case.orientation else 0.0
    for i in range(len(q)):
        R, p = target[i, :9].reshape(3, 3).tolist(), target[i, 9:].tolist()
        step = curve_step(case.chain, q[i].tolist(), border[i].tolist(), 0.0, R, p, tip, weight, 0.0, NumpyMath())
        tangent = np.array(step.tangent)
        assert_allclose(found.tangent[i], tangent / np.linalg.norm(tangent), atol=1e-6)
        assert_allclose(found.errors[i, 0] ** 2, step.position_error_squared, rtol=1e-9)


def _loops(case, q):
    pose = case.robot.forward_kinematics(q)
    return pose, case.follower.loops(case.target(pose), 1e-3)


def test_followed_curves_close_and_every_point_meets_the_pose(case):
    for q in case.joints(6, seed=9):
        pose, loops = _loops(case, q)
        segments, n = loops.segments, len(loops.hits)
        assert 1 <= n <= 16  # Burdick (1989)
        assert loops.first[0] == 0 and loops.first[-1] == len(segments.q0) and (np.diff(loops.first) > 2).all()
        for k in range(n):
            own = slice(loops.first[k], loops.first[k + 1])
            q0, q1 = segments.q0[own], segments.q1[own]
            assert_allclose(q1[:-1], q0[1:], atol=0)
            assert_allclose(q1[-1], q0[0] + loops.winding[k], atol=1e-12)
            assert_allclose(segments.t1[own][-1], segments.t0[own][0], atol=0)
        assert (np.linalg.norm(segments.q1 - segments.q0, axis=1) < 1.1 * LONGEST).all()
        assert (case.error(pose, segments.q0) < 1.01 * CLOSE).all()
        for u in (0.25, 0.5, 0.75):
            between, _ = segments.at(np.arange(len(segments.q0)), np.full(len(segments.q0), u))
            assert (case.error(pose, between) < 1e-3).all()


def test_tangents_are_unit_null_vectors_that_do_not_turn_back(case):
    for q in case.joints(4, seed=10):
        _, loops = _loops(case, q)
        segments = loops.segments
        assert_allclose(np.linalg.norm(segments.t0, axis=1), 1.0, atol=1e-12)
        assert np.abs(np.einsum("nij,nj->ni", case.jacobian(segments.q0), segments.t0)).max() < 1e-6
        assert (np.einsum("ij,ij->i", segments.t0, segments.t1) > 0.5).all()
        assert (np.einsum("ij,ij->i", segments.t0, segments.q1 - segments.q0) > 0.0).all()


def _apart(a, b):
    """Least distance between joints of two sets, where whole turns make no difference."""
    d = a[:, None] - b
    return np.linalg.norm(d - TURN * np.round(d / TURN), axis=-1).min()


def test_no_curve_is_found_twice(case):
    for q in case.joints(8, seed=11):
        _, loops = _loops(case, q)
        points = np.split(loops.segments.q0, loops.first[1:-1])
        for i in range(len(points)):
            assert all(_apart(points[i][::3], other) > 0.02 for other in points[:i])


def test_every_start_leads_to_a_curve_that_was_found(case):
    q = case.joints(1, seed=12)[0]
    pose, loops = _loops(case, q)
    starts = UniformSampler(case.chain, seed=7).table(64)
    settled = case.follower.settle(case.target(pose), starts)
    u, n = np.linspace(0.0, 1.0, 9), len(loops.segments.q0)
    points, _ = loops.segments.at(np.repeat(np.arange(n), 9), np.tile(u, n))
    for row in settled.q[settled.success]:
        assert _apart(row[None], points) < 0.05


@pytest.mark.parametrize("seed", range(4))
def test_other_starts_find_the_same_curves(panda_case, seed):
    """A pose turned about the first axis has the same curves, but for the first joint, and is met by other starts.

    Those that lie beyond the limits, and that few starts lead to, need not be found.
    """
    q, found = panda_case.joints(1, seed=20 + seed)[0], []
    for turned in (0.0, 0.7, -1.1):
        _, loops = _loops(panda_case, q + turned * np.eye(7)[0])
        found.append((np.add.reduceat(loops.segments.length, loops.first[:-1]), loops.hits / loops.hits.sum()))
    for lengths, share in found:
        for others, _ in found:
            for length in lengths[share > 0.1]:
                assert np.abs(others / length - 1.0).min() < 0.01


def test_a_joint_that_goes_round_is_counted_in_the_winding():
    case = Case(mujoco.MjModel.from_xml_string(roll_arm("range='-1 2'")), orientation=False, tip="tip")
    _, loops = _loops(case, np.array([0.3, 0.4, 0.9, 0.1]))
    assert_allclose(np.abs(loops.winding), [[0, 0, 0, TURN]] * 4, atol=1e-9)
    assert_allclose(np.add.reduceat(loops.segments.length, loops.first[:-1]), [TURN] * 4, rtol=1e-6)
    for k in range(4):
        q = loops.segments.q0[loops.first[k] : loops.first[k + 1]]
        assert_allclose(q[:, :3], np.tile(q[0, :3], (len(q), 1)), atol=1e-4)


def test_windings_are_whole_turns_of_hinges(case):
    for q in case.joints(6, seed=13):
        _, loops = _loops(case, q)
        assert_allclose(loops.winding, TURN * np.round(loops.winding / TURN), atol=1e-12)


@pytest.mark.parametrize("n_before", [1, 63, 64, 65, 200])
def test_the_cheapest_ways_are_the_cheapest_of_all(n_before):
    """With a joint that goes round without end; against all ways at once in numpy."""
    arm = Case(mujoco.MjSpec.from_string(ARMS["unlimited joint"]), orientation=False, tip="tip")
    rng = np.random.default_rng(n_before)
    before, q, cost = rng.normal(0, 4, (n_before, 3)), rng.normal(0, 4, (50, 3)), rng.uniform(0, 9, n_before)
    parent, least = arm.follower.cheapest_ways(q, before, cost, 3.0)
    way = arm.chain.shortest_way(q[:, None] - before)
    every = np.where((np.abs(way) <= 3.0).all(-1), (way**2).sum(-1) + cost, np.inf)
    none = np.isinf(every).all(1)
    assert (parent[none] == -1).all() and np.isinf(least[none]).all() and not none.all()
    assert (parent[~none] == every.argmin(1)[~none]).all()
    assert_allclose(least[~none], every.min(1)[~none], rtol=1e-12)


def test_joints_are_found_on_the_first_curve_that_they_lie_on(panda_case):
    """Wherever whole turns take them; halfway along each chord, and away from all of them."""
    loops = panda_case.follower.loops(
        panda_case.target(panda_case.robot.forward_kinematics(panda_case.joints(1)[0])), 1e-3
    )
    segments, rng = loops.segments, np.random.default_rng(0)
    middle = 0.5 * (segments.q0 + segments.q1)
    turned = middle + TURN * rng.integers(-1, 2, middle.shape)
    assert (panda_case.follower.find(turned, segments.q0, segments.q1) == np.arange(len(middle))).all()
    assert (panda_case.follower.find(middle + 0.3, segments.q0, segments.q1) == -1).all()
    twice = np.tile(segments.q0, (2, 1)), np.tile(segments.q1, (2, 1))
    assert (panda_case.follower.find(turned, *twice) == np.arange(len(middle))).all()


def test_joints_barely_beyond_a_limit_are_moved_onto_it(panda_case):
    chain = panda_case.chain
    q = np.tile(chain.upper, (4, 1)) + np.array([[-0.1], [0.5 * BARELY], [2.0 * BARELY], [0.0]])
    given = Settled(q, np.zeros_like(q), np.zeros((4, 2)), np.array([True, True, True, False]))
    within = given.within(chain)
    assert within.success.tolist() == [True, True, False, False] and chain.within(within.q).all()
    assert_allclose(within.q, q, atol=3.0 * BARELY)


def test_a_pose_out_of_reach_has_no_curves(panda_case):
    loops = panda_case.follower.loops(panda_case.target(Pose([3.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])), 1e-3)
    assert len(loops.hits) == 0 and len(loops.winding) == 0 and loops.first.tolist() == [0]
    assert loops.missing == 1.0 and loops.n_starts >= 1024


@pytest.mark.parametrize(
    ("hits", "chance"),
    [
        ([], 1.0),
        ([1], 1.0),
        ([1, 1, 1], 1.0),
        ([1, 9], 0.9**10),  # the rarest: more than the share of singletons, 0.1
        ([1, 1, 98], 0.99**100),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 10], 0.5),  # as many singletons as all else
        ([5, 5], 0.5**10),
        ([20], 0.0),
        ([2, 30], (1 - 2 / 32) ** 32),
    ],
)
def test_the_chance_that_something_is_missing_of_known_counts(hits, chance):
    assert_allclose(missing_chance(np.array(hits, int)), chance, rtol=1e-12)


def test_what_is_as_rare_as_the_rest_is_not_missing_where_the_chance_is_small():
    """Draws from 7 things that are nearly as rare as each other: where the estimate is small, none is missing."""
    rng, weights = np.random.default_rng(0), np.array([0.16] * 5 + [0.1] * 2)
    promised, missed = [], []
    for _ in range(2000):
        counts = rng.multinomial(rng.choice([8, 16, 32, 64]), weights)
        promised.append(missing_chance(counts[counts > 0]))
        missed.append((counts == 0).any())
    sure = np.array(promised) < 0.01
    assert sure.sum() > 200 and np.array(missed)[sure].mean() < 0.01
