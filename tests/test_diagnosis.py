"""Diagnoses: every verdict on poses that are made for it, limits that are named, the words."""

from __future__ import annotations

from math import inf, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import ARMS, GANTRY, arm, robot_of

from hybrid_ik import HybridSolver, InvalidInputError, LMConfig, Pose, Verdict, pose_error
from hybrid_ik.chain import Chain
from hybrid_ik.diagnosis.diagnosis import diagnose
from hybrid_ik.diagnosis.limits import whole_turns_away
from hybrid_ik.diagnosis.singularity import half_reach
from hybrid_ik.diagnosis.words import angle, metres
from hybrid_ik.solution_sets.following import CurveFollower

BEYOND = 0.2  # rad, or m
ALL_ARMS = {**ARMS, "gantry": GANTRY}


@pytest.fixture(params=ALL_ARMS, ids=str)
def small_robot(request):
    return robot_of(ALL_ARMS[request.param])


def _out_of(chain, distance):
    """A pose so far [m] beyond the span of an arm."""
    position = chain.T_base_first[:3, 3] + np.array([chain.span + distance, 0.0, 0.0])
    return Pose(position, [1, 0, 0, 0])


def _beyond(chain, q):
    return np.maximum(np.maximum(chain.lower - q, q - chain.upper), 0.0)


def _violation(chain, q):
    """Summed over the joints, slides in units of half the reach."""
    weight = np.where(chain.hinges, 1.0, 1.0 / half_reach(chain))
    return _beyond(chain, q) @ weight


def _check(robot, pose, found, config=LMConfig()):  # noqa: B008
    """What holds of every diagnosis: fields agree with one another and with MuJoCo."""
    chain, tolerance = robot.chain, 1e-6
    rows = 6 if found.orientation_counts else 3
    assert (found.q >= chain.lower).all() and (found.q <= chain.upper).all()
    error = pose_error(pose, robot.forward_kinematics(found.q))
    assert found.position_error == pytest.approx(np.linalg.norm(error[:3]), abs=1e-9)
    assert found.orientation_error == pytest.approx(np.linalg.norm(error[3:]), abs=1e-7)
    assert found.reachable == (np.abs([np.linalg.norm(error[:3]), np.linalg.norm(error[3:rows])]) < 1.01e-6).all()
    assert (found.q_position >= chain.lower).all() and (found.q_position <= chain.upper).all()
    gap = np.linalg.norm(pose_error(pose, robot.forward_kinematics(found.q_position))[:3])
    assert found.position_reachable == (gap <= 1.01 * tolerance)
    assert found.position_gap == pytest.approx(0.0 if found.position_reachable else gap, abs=1e-9)
    assert found.beyond_reach >= 0.0 and (found.beyond_reach == 0.0 or not found.reachable)
    assert (found.q_without_limits is not None) == (found.verdict is Verdict.BEYOND_LIMITS)
    assert bool(found.limits_in_the_way) == (found.verdict is Verdict.BEYOND_LIMITS)
    if found.q_without_limits is not None:
        error = pose_error(pose, robot.forward_kinematics(found.q_without_limits))
        assert np.linalg.norm(error[:3]) < 1.1e-6 and np.linalg.norm(error[3:rows]) < 1.1e-6
        amounts = np.zeros(chain.dof)
        for limit in found.limits_in_the_way:
            amounts[limit.joint] = limit.amount
            assert limit.name == chain.joint_names[limit.joint] and limit.kind == chain.kinds[limit.joint]
            assert limit.limit == (chain.lower if limit.side == "lower" else chain.upper)[limit.joint]
        np.testing.assert_allclose(amounts, _beyond(chain, found.q_without_limits), atol=2e-6)
    _check_words(found)


def _check_words(found):
    lines = str(found).splitlines()
    assert 2 <= len(lines) <= 6 + len(found.limits_in_the_way) + len(found.weakest_motions)
    assert all(0 < len(line) <= 120 for line in lines)
    assert not {"nan", "None", "array", "-0.00,"} & set(str(found).replace("(", " ").split())
    assert lines[0].startswith("Reachable" if found.reachable else "Not reachable")
    assert len(repr(found)) < 160 and "\n" not in repr(found) and found.verdict.value in repr(found)


def test_a_pose_beyond_the_links_says_by_how_much(solver):
    pose = _out_of(solver.robot.chain, 0.3)
    found = solver.diagnose(pose)
    assert found.verdict is Verdict.BEYOND_REACH and not found.reachable and not found.position_reachable
    assert found.beyond_reach == pytest.approx(0.3, abs=1e-12)
    assert found.position_gap >= 0.3 and found.position_error >= found.position_gap - 1e-3
    assert "Not reachable: 0.300 m farther from the first joint than links and tool" in str(found)
    assert found.near_singular  # stretched out: the motion lost is the one that would go on
    along = found.lost_motion.direction[:3]
    assert abs(along[0]) / np.linalg.norm(along) > 0.98
    _check(solver.robot, pose, found)


def test_a_pose_reached_in_position_only(solver):
    pose = Pose([0.85, 0.0, 0.3], [1, 0, 0, 0])
    found = solver.diagnose(pose)
    assert found.verdict is Verdict.POSITION_ONLY and found.position_reachable and not found.limits_in_the_way
    assert 0.1 < found.turned_by < pi and found.position_gap == 0.0 and found.beyond_reach == 0.0
    assert "The position alone can be met; the orientation is then" in str(found)
    _check(solver.robot, pose, found)


def test_the_orientation_is_met_as_far_as_the_position_allows(solver):
    """No other start of many meets the position with a smaller turn."""
    pose = Pose([0.85, 0.0, 0.3], [1, 0, 0, 0])
    loose = HybridSolver(solver.robot, config=LMConfig(orientation_weight=0.0))
    others = loose.solve(pose, n_solutions=200, n_seeds=2000, min_distance=0.01)
    turns = np.linalg.norm(
        [pose_error(pose, solver.robot.forward_kinematics(q))[3:] for q in others.q[others.success]], axis=1
    )
    assert solver.diagnose(pose).turned_by <= turns.min() + 1e-3


def test_a_pose_within_the_span_that_no_joints_meet(planar):
    """A planar arm cannot leave its plane."""
    found = planar.diagnose(Pose([0.3, 0.1, 0.05], [1, 0, 0, 0]))
    assert found.verdict is Verdict.OUT_OF_WORKSPACE and found.beyond_reach == 0.0
    assert found.position_gap == pytest.approx(0.05, abs=1e-4)
    assert "no joints were found that meet it, not even beyond their limits" in str(found)


def test_the_joint_whose_limit_is_in_the_way_is_named(solver):
    q = solver.robot.home.copy()
    q[1] = solver.robot.upper[1] + BEYOND
    pose = solver.robot.forward_kinematics(q)
    found = solver.diagnose(pose)
    every = solver.solve_all(pose)
    assert len(every) == 0 and not solver.solve(pose, n_solutions=1, n_seeds=4096).success.any()
    (limit,) = found.limits_in_the_way
    assert (limit.joint, limit.name, limit.side, limit.kind) == (1, "joint2", "upper", "hinge")
    assert limit.amount == pytest.approx(BEYOND, abs=1e-5) and limit.limit == solver.robot.upper[1]
    assert "joint2: 0.200 rad (11.5 deg) beyond its upper limit of 1.763 rad" in str(found)
    _check(solver.robot, pose, found)


def test_joints_beyond_a_limit_are_named_or_shown_to_need_less(robot):
    """Every robot, every limit: joints 0.2 beyond it make a pose; the answer found needs no more than that."""
    solver, chain = HybridSolver(robot), robot.chain
    for j in np.flatnonzero(np.isfinite(chain.lower) & np.isfinite(chain.upper)):
        for q_j in (chain.lower[j] - BEYOND, chain.upper[j] + BEYOND):
            q = robot.home.copy()
            q[j] = q_j
            pose = robot.forward_kinematics(q)
            found = solver.diagnose(pose)
            _check(robot, pose, found)
            assert found.verdict in (Verdict.REACHABLE, Verdict.BEYOND_LIMITS)
            if not found.reachable:
                assert _violation(chain, found.q_without_limits) <= _violation(chain, q) + 1e-5
                if chain.dof <= 7:
                    assert len(solver.solve_all(pose)) == 0


@pytest.mark.parametrize("orientation_weight", [0.25, 0.0])
def test_small_arms(small_robot, orientation_weight):
    """Joints within the limits are reachable, joints beyond them are so or for no more than that."""
    solver = HybridSolver(small_robot, config=LMConfig(orientation_weight=orientation_weight))
    chain, rng = small_robot.chain, np.random.default_rng(0)
    for k in range(8):
        q = rng.uniform(chain.sample_lower, chain.sample_upper)
        j = rng.integers(chain.dof)
        if k % 2 and np.isfinite(chain.upper[j]):
            q[j] = chain.upper[j] + BEYOND
        pose = small_robot.forward_kinematics(q)
        found = solver.diagnose(pose)
        _check(small_robot, pose, found)
        assert found.reachable or (k % 2 and found.verdict is Verdict.BEYOND_LIMITS)
        if not found.reachable:
            assert _violation(chain, found.q_without_limits) <= _violation(chain, q) + 1e-5


def test_far_poses_of_small_arms(small_robot):
    solver = HybridSolver(small_robot)
    pose = _out_of(small_robot.chain, 0.5)
    found = solver.diagnose(pose)
    _check(small_robot, pose, found)
    assert found.beyond_reach == pytest.approx(0.5) and found.verdict in (Verdict.BEYOND_REACH, Verdict.BEYOND_LIMITS)


def test_a_slide_is_named_in_metres():
    robot = robot_of(ARMS["slides"])
    found = HybridSolver(robot).diagnose(robot.forward_kinematics([0.0, 0.7, 0.5]))
    (limit,) = found.limits_in_the_way
    assert (limit.name, limit.side, limit.kind) == ("z", "upper", "slide")
    assert limit.amount == pytest.approx(0.2, abs=1e-6)
    assert "z: 0.200 m beyond its upper limit of 0.500 m" in str(found)


def test_an_endless_slide_spans_everything():
    robot = robot_of(arm("<joint name='x' type='slide' axis='1 0 0'/>", "<joint name='a' range='-2 2'/>"))
    found = HybridSolver(robot).diagnose(Pose([100.0, 30.0, 0.0], [1, 0, 0, 0]))
    assert found.span == inf and found.beyond_reach == 0.0 and found.verdict is Verdict.OUT_OF_WORKSPACE


def test_no_answer_on_the_whole_curve_violates_the_limits_less(solver):
    """The answers of a pose without limits are closed curves; the least violation along them, densely sampled."""
    chain, rng, n = solver.robot.chain, np.random.default_rng(1), 0
    follower = CurveFollower(chain)
    while n < 8:
        q = rng.uniform(chain.lower, chain.upper)
        for j in rng.integers(chain.dof, size=2):
            q[j] = chain.upper[j] + rng.uniform(0, 0.6)
        pose = solver.robot.forward_kinematics(q)
        found = solver.diagnose(pose)
        if found.reachable:
            continue
        n += 1
        curves = follower.loops(follower.targets(pose.reshape(1)), 1e-3).segments
        every = np.arange(len(curves.q0))
        dense = np.concatenate([curves.at(every, np.full(len(every), u))[0] for u in np.linspace(0, 1, 40)])
        least = _violation(chain, whole_turns_away(chain, dense)).min()
        assert sum(limit.amount for limit in found.limits_in_the_way) <= min(least, _violation(chain, q)) + 1e-4


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=4, max_size=4), st.floats(-3, 3), st.floats(0.1, 8))
def test_whole_turns_bring_hinges_where_they_are_least_beyond_their_limits(q, lower, width):
    chain = Chain(
        T_base_first=np.eye(4),
        T_link=np.tile(np.eye(4), (3, 1, 1)),
        T_last_tip=np.eye(4),
        kinds=("hinge", "slide", "hinge", "hinge"),
        lower=np.array([lower, -1.0, -inf, lower]),
        upper=np.array([lower + width, 1.0, inf, inf]),
        joint_names=("a", "b", "c", "d"),
    )
    turned = whole_turns_away(chain, np.array([q]))[0]
    turns = (turned - q) / (2 * pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-9)
    assert turns[1] == 0 and abs(turned[2]) <= pi + 1e-9 and turned[3] >= lower - 1e-9
    others = turned[0] + 2 * pi * np.arange(-3, 4)
    least = np.maximum(np.maximum(lower - others, others - lower - width), 0).min()
    assert _beyond(chain, turned)[0] <= least + 1e-9


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3),
    st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1),
)
def test_whatever_the_pose_the_diagnosis_is_of_a_piece(solver, position, quaternion):
    pose = Pose(position, np.array(quaternion) / np.linalg.norm(quaternion))
    found = solver.diagnose(pose)
    _check(solver.robot, pose, found)
    assert found.reachable or not solver.solve(pose).success


@settings(max_examples=40, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-pi, pi))
def test_a_planar_arm_whatever_the_pose(planar, x, y, turn):
    pose = Pose([x, y, 0.0], [np.cos(turn / 2), 0, 0, np.sin(turn / 2)])
    found = planar.diagnose(pose)
    _check(planar.robot, pose, found)
    wrist = np.linalg.norm([x - 0.1 * np.cos(turn), y - 0.1 * np.sin(turn)])
    if not 0.1 - 1e-3 < wrist < 0.5 + 1e-3:  # the first two links reach no such place
        assert found.verdict not in (Verdict.REACHABLE, Verdict.BEYOND_LIMITS)
    if 0.1 + 1e-3 < wrist < 0.5 - 1e-3:
        assert found.verdict in (Verdict.REACHABLE, Verdict.BEYOND_LIMITS)


def test_five_joints_and_the_orientation(planar):
    """Position-only solvers count no orientation, and do not speak of it."""
    loose = HybridSolver(planar.robot, config=LMConfig(orientation_weight=0.0))
    found = loose.diagnose(Pose([0.3, 0.1, 0.0], [0.5, 0.5, 0.5, 0.5]))
    assert found.reachable and not found.orientation_counts and "rad" not in str(found)
    far = loose.diagnose(Pose([0.9, 0.0, 0.0], [1, 0, 0, 0]))
    assert far.verdict is Verdict.BEYOND_REACH and far.beyond_reach == pytest.approx(0.3)
    assert "rad" not in str(far) and far.position_gap == pytest.approx(far.position_error)


@pytest.mark.parametrize(
    "options",
    [
        {"refiner": None},
        {"refiner": "mujoco"},
        {"sampler": "lookup"},
        {"config": LMConfig(max_iterations=0)},
        {"config": LMConfig(regularization=0.1, regularization_mode="sum")},
    ],
    ids=str,
)
def test_other_parts_give_the_same_verdicts(options, panda):
    """A pose counts as reachable even where this solver would miss it."""
    solver = HybridSolver(panda, **options)
    assert solver.diagnose(panda.forward_kinematics(panda.home)).reachable
    assert solver.diagnose(_out_of(panda.chain, 0.3)).beyond_reach == pytest.approx(0.3)


def test_a_pose_that_the_solver_missed_is_found(panda):
    """One start and one step do not get there; the diagnosis does not take that for an answer."""
    solver = HybridSolver(panda, config=LMConfig(max_iterations=1))
    pose = panda.forward_kinematics(panda.upper)
    missed = solver.refiner.refine(pose, panda.home[None])[0]
    assert not missed.success and diagnose(panda.chain, solver.refiner.config, pose, missed).reachable


def test_tolerances_that_no_joints_meet(panda):
    config = LMConfig(position_tolerance=1e-30, orientation_tolerance=1e-30)
    found = HybridSolver(panda, config=config).diagnose(Pose([0.4, 0.1, 0.5], [0, 1, 0, 0]))
    assert not found.reachable and not found.limits_in_the_way and found.q_without_limits is None
    assert found.position_error < 1e-9
    _check_words(found)


def test_the_same_words_every_time(planar):
    texts = {str(HybridSolver(planar.robot, seed=0).diagnose(_out_of(planar.robot.chain, 0.3))) for _ in range(3)}
    assert len(texts) == 1


def test_the_words_of_each_verdict(planar):
    joints = [0.5, 2.2, 0.0]
    assert str(planar.diagnose(planar.robot.forward_kinematics(joints))).splitlines()[:2] == [
        "Not reachable: joint limits are in the way. The least found that would do:",
        "  b: 0.200 rad (11.5 deg) beyond its upper limit of 2.000 rad",
    ]
    reached = str(planar.diagnose(planar.robot.forward_kinematics([0.5, 1.0, 0.2]))).splitlines()
    assert reached[0].startswith("Reachable: joints within their limits meet it to ")
    assert reached[1].startswith("No singularity is near: smallest singular value ") and len(reached) == 2
    far = str(planar.diagnose(Pose([0.9, 0.0, 0.0], [1, 0, 0, 0]))).splitlines()
    assert far[0] == "Not reachable: 0.300 m farther from the first joint than links and tool together span (0.600 m)."
    assert far[1] == "The position alone cannot be met: the tip comes within 0.300 m of it."
    assert far[2].startswith("The nearest joints miss it by 0.300 m and ")
    assert far[3].startswith("Near a singularity at the nearest joints: smallest singular value ")
    assert far[4].startswith("  translation along (1.00, ")


def test_lengths_and_angles_in_words():
    assert [metres(x) for x in (0.3124, 0.0123, 4.1e-7, 0.0)] == ["0.312 m", "12.3 mm", "4.1e-07 m", "0.0e+00 m"]
    assert [angle(x) for x in (0.2, 3.2e-7)] == ["0.200 rad (11.5 deg)", "3.2e-07 rad"]


def test_batches_and_what_is_no_pose_are_refused(solver):
    poses = solver.robot.forward_kinematics(np.tile(solver.robot.home, (3, 1)))
    with pytest.raises(InvalidInputError, match=r"one pose, got a batch of shape \(3,\): call it for each"):
        solver.diagnose(poses)
    broken = Pose([[0.4, 0.1, np.nan], [0.4, 0.1, 0.5]], [0, 1, 0, 0])
    with pytest.raises(InvalidInputError, match=r"not a pose.*finite numbers"):
        solver.diagnose(broken[0])
    assert solver.diagnose(broken[1]).reachable
    with pytest.raises(InvalidInputError, match="expected a Pose"):
        solver.diagnose([0.4, 0.1, 0.5, 0, 1, 0, 0])
    assert solver.diagnose(poses[0].matrix()).reachable
