"""Joints along paths of poses: continuous wherever there is such a way, and every break of one named."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from models import mjcf
from numpy.testing import assert_allclose, assert_array_equal
from path_cases import MAX_STEP, along_path, breaks, check_continuous, check_rows, cost_of, greedy, joint_path, solver
from set_cases import errors, least_singular_value

from hybrid_ik import HybridSolver, Pose, Robot
from hybrid_ik.errors import InvalidInputError

ONE_SPARE = ("panda", "iiwa14", "four joints", "endless roll")
NONE_SPARE = ("KR6", "SO-100", "endless KR6")
TURN = 2.0 * np.pi
BENT = np.array([0.0, -1.2, 1.5, 0.4, 0.8, 0.0])  # joints of the KR6 in the middle of their ranges


def tracked(arm, seed):
    """A path that `track` found, without a jump, and the joints it was made from."""
    poses, q = along_path(arm, seed)
    path = arm.track(poses, start=q[0])
    check_continuous(arm, poses, path, q[0])
    return path, q


@pytest.mark.parametrize("name", ONE_SPARE)
def test_a_path_made_from_joints_is_tracked_without_a_jump_and_costs_hardly_more(name):
    arm = solver(name)
    for seed in range(3):
        path, q = tracked(arm, seed)
        assert_allclose(path.cost, cost_of(arm.robot, path.q), rtol=1e-9)
        assert path.cost < 1.1 * cost_of(arm.robot, q)


@pytest.mark.parametrize("name", NONE_SPARE)
def test_an_arm_without_a_spare_joint_comes_back_to_the_joints_that_a_path_was_made_from(name):
    arm = solver(name)
    for seed in range(3):
        path, q = tracked(arm, seed)
        plain = least_singular_value(arm, q) > 0.02  # elsewhere joints move a lot for what the tip hardly sees
        assert_allclose(path.q[plain], q[plain], atol=0.01)
        assert path.cost < 1.02 * cost_of(arm.robot, q)


@pytest.mark.parametrize("name", ["panda_rail", "five joints"])
def test_arms_with_two_spare_joints_or_more_are_tracked_too(name):
    arm = solver(name)
    for seed in range(4):
        path, q = tracked(arm, seed)
        assert path.cost < 2.0 * cost_of(arm.robot, q)


@pytest.mark.parametrize(("name", "seeds"), [("panda", range(3)), ("iiwa14", range(3)), ("four joints", range(3))])
def test_a_path_may_begin_on_another_curve_or_anywhere(name, seeds):
    arm = solver(name)
    for seed in seeds:
        poses, q = along_path(arm, seed)
        poses = poses[: len(poses) // 3]
        free = arm.track(poses)
        check_continuous(arm, poses, free)
        assert free.cost <= 1.1 * cost_of(arm.robot, q[: len(poses)])
        others = arm.solve_all(poses[0])
        start = others[-1].q[len(others[-1]) // 2]
        path = arm.track(poses, start=start)
        check_rows(arm, poses, path)
        assert path.success.all() and np.abs(path.q[0] - start).max() <= MAX_STEP
        assert breaks(path.q, start) == [jump.waypoint for jump in path.jumps]


@pytest.mark.parametrize(("name", "seed"), [("panda", 3), ("iiwa14", 1)])
def test_it_goes_through_where_a_greedy_follower_is_led_into_a_dead_end(name, seed):
    arm = solver(name)
    poses, q = along_path(arm, seed)
    assert len(greedy(arm, poses, q[0])) < len(poses)
    check_continuous(arm, poses, arm.track(poses, start=q[0]), q[0])


@pytest.mark.parametrize(("name", "seed", "n"), [("panda", 0, 250), ("panda", 3, 250), ("iiwa14", 3, 250)])
def test_no_step_is_longer_than_max_step_where_that_is_tight(name, seed, n):
    arm = solver(name)
    q = joint_path(arm.robot, seed, knots=6)
    max_step = 1.03 * np.abs(np.diff(q, axis=0)).max()
    poses = arm.robot.forward_kinematics(q)
    check_continuous(arm, poses, arm.track(poses, start=q[0], max_step=max_step), q[0], max_step)


def test_a_step_that_is_too_long_is_a_jump_of_an_arm_without_a_spare_joint():
    arm = solver("SO-100")
    poses, q = along_path(arm, 1)
    steps = np.abs(np.diff(q, axis=0)).max(1)
    max_step = float(np.sort(steps)[-3:-1].mean())
    path = arm.track(poses, start=q[0], max_step=max_step)
    check_rows(arm, poses, path)
    assert path.success.all() and not path.continuous
    assert [jump.waypoint for jump in path.jumps] == (np.flatnonzero(steps > max_step) + 1).tolist()
    assert all(f"farther than max_step = {max_step:.3g}" in str(jump) and jump.limit is None for jump in path.jumps)


@pytest.mark.parametrize("elbow", [0.0, 1e-5, -3e-4, 1e-3, 0.02])
def test_it_goes_through_poses_that_stretch_the_arm(elbow):
    """There curves shrink and meet, and none can be followed; the path may not end at it, nor lack an answer."""
    arm = solver("iiwa14")
    q = np.linspace([0.3, 0.5, 0.2, -0.9, 0.4, 0.8, 0.1], [0.5, 0.6, 0.3, 0.9, 0.3, 0.7, -0.2], 31)
    q[15, 3] = elbow
    assert (least_singular_value(arm, q[15:16]) < 1e-4) == (abs(elbow) < 1e-3)
    poses = arm.robot.forward_kinematics(q)
    check_continuous(arm, poses, arm.track(poses, start=q[0]), q[0])


def test_a_joint_without_limits_goes_round_as_often_as_the_path_does():
    arm = solver("endless KR6")
    q = np.linspace(BENT, BENT + np.array([0.5, 0.2, -0.3, 0.3, 0.2, 3 * TURN]), 120)
    poses = arm.robot.forward_kinematics(q)
    path = arm.track(poses, start=q[0])
    check_continuous(arm, poses, path, q[0])
    assert_allclose(path.q, q, atol=1e-5)


def test_a_wrist_whose_joints_lie_in_one_point_has_no_reach_and_is_tracked_all_the_same():
    axes = ("0 0 1", "0 1 0", "1 0 0")
    joints = "".join(f"<joint name='j{i}' axis='{axis}' range='-2 2'/>" for i, axis in enumerate(axes))
    wrist = mjcf(f"<body>{joints}<geom size='.1'/><site name='tip' pos='.1 0 .2'/></body>")
    arm = HybridSolver(Robot(mujoco.MjSpec.from_string(wrist), tip="tip"))
    poses, q = along_path(arm, 0)
    assert arm.robot.chain.reach == 0.0
    check_continuous(arm, poses, arm.track(poses, start=q[0]), q[0])


def test_a_pose_out_of_reach_has_no_answer_and_the_path_goes_on_after_it():
    arm = solver("panda")
    poses, q = along_path(arm, 2)
    poses = poses[:60]
    far = Pose(poses.position + 3.0 * np.isin(np.arange(60), [0, 30, 31])[:, None], poses.quaternion)
    for rows, gaps in ((np.arange(10, 60), [20, 21]), (np.arange(20), [0])):
        path = arm.track(far[rows], start=q[rows[0]])
        check_rows(arm, far[rows], path)
        assert np.flatnonzero(~path.success).tolist() == gaps and not path.continuous
        assert [jump.waypoint for jump in path.jumps] == gaps
        assert all(jump.limit is None and "has no answer" in str(jump) for jump in path.jumps)
        known = np.flatnonzero(path.success)
        inner = known[np.isin(known - 1, known)]
        assert (np.abs(path.q[inner] - path.q[inner - 1]) <= MAX_STEP).all()
    path = arm.track(far[rows * 0], start=q[0])
    assert not path.success.any() and np.isnan(path.q).all() and path.cost == 0.0


def test_a_limit_that_forces_a_jump_is_named():
    arm, way = solver("KR6"), np.eye(6)[0]
    for side, sign in (("upper", 1.0), ("lower", -1.0)):
        q = np.linspace(BENT, BENT + sign * 3.5 * way, 60)
        poses = arm.robot.forward_kinematics(q)
        path = arm.track(poses, start=BENT)
        check_rows(arm, poses, path)
        (jump,) = path.jumps
        assert path.success.all() and not path.continuous
        assert jump.limit.joint == 0 and jump.limit.name == "joint_a1" and jump.limit.side == side
        assert jump.waypoint == np.flatnonzero(np.abs(q[:, 0]) > arm.robot.upper[0])[0]
        assert f"waypoint {jump.waypoint}: joint_a1 would pass its {side} limit" == str(jump)
        assert breaks(path.q, BENT) == [jump.waypoint]


def test_there_are_no_more_jumps_than_a_full_turn_needs():
    """The first joint turns by 5.93 at most: ahead or backwards, no way of reaching out goes all the way round."""
    arm = solver("KR6")
    q = BENT + np.linspace(0.0, TURN, 120)[:, None] * np.eye(6)[0]
    poses = arm.robot.forward_kinematics(q)
    for start in (None, BENT):
        path = arm.track(poses, start=start)
        check_rows(arm, poses, path)
        assert len(path.jumps) == 2 and path.success.all()
        assert all(jump.limit.name == "joint_a1" for jump in path.jumps)
        assert_allclose(path.cost, cost_of(arm.robot, path.q) - _length(path.q, path.jumps), rtol=1e-6)


def _length(q, jumps):
    at = np.array([jump.waypoint for jump in jumps])
    return float(((q[at] - q[at - 1]) ** 2).sum())


def test_a_seventh_joint_is_turned_so_that_none_is_forced():
    """The first joint of the Panda meets its limit on the way; others make room for it before that."""
    arm = solver("panda")
    q = np.array([0.1, -0.5, 0.3, -1.6, 0.2, 1.8, 0.6]) + np.linspace(0.0, 3.1, 60)[:, None] * np.eye(7)[0]
    assert q[-1, 0] > arm.robot.upper[0]
    poses = arm.robot.forward_kinematics(q)
    check_continuous(arm, poses, arm.track(poses, start=q[0]), q[0])


@pytest.mark.parametrize("name", ["panda", "KR6", "panda_rail"])
def test_a_path_of_one_pose_or_of_none_or_of_the_same_one(name):
    arm = solver(name)
    poses, q = along_path(arm, 1)
    for start in (None, q[0]):
        check_continuous(arm, poses[:1], arm.track(poses[:1], start=start), start)
        same = poses[np.zeros(12, int)]
        path = arm.track(same, start=start)
        check_continuous(arm, same, path, start)
        none = arm.track(poses[:0], start=start)
        assert none.q.shape == (0, arm.robot.dof) and len(none) == 0
        assert none.continuous and none.jumps == () and none.cost == 0.0
    if name == "KR6":
        assert_allclose(path.q, path.q[:1] + np.zeros((12, 1)), atol=1e-5)


def test_a_start_that_is_far_from_the_first_pose_is_a_jump_at_the_beginning():
    arm = solver("panda")
    poses, q = along_path(arm, 2)
    poses, start = poses[:30], np.array([-1.0, -1.0, 1.0, -2.8, 1.5, 3.0, -2.0])
    assert np.abs(start - q[0]).max() > 1.0
    path = arm.track(poses, start=start)
    check_rows(arm, poses, path)
    (jump,) = path.jumps
    assert jump.waypoint == 0 and not path.continuous and path.success.all()
    assert breaks(path.q) == [] and str(jump).startswith("waypoint 0: ")


def test_poses_as_matrices_are_the_same():
    arm = solver("KR6")
    poses, q = along_path(arm, 0)
    a, b = arm.track(poses[:20], start=q[0]), arm.track(poses[:20].matrix(), start=q[0].tolist())
    assert_allclose(a.q, b.q, atol=1e-9)


def test_the_path_does_not_depend_on_the_sampler_refiner_and_seed():
    arm = solver("panda")
    poses, q = along_path(arm, 1)
    other = HybridSolver(arm.robot, sampler="uniform", refiner="mujoco", seed=9)
    for start in (None, q[0]):
        assert_array_equal(arm.track(poses[:60], start=start).q, other.track(poses[:60], start=start).q)


@pytest.mark.parametrize("name", ["panda", "iiwa14"])
def test_more_weight_on_the_limits_keeps_farther_from_them(name):
    arm = solver(name)
    middle, half = 0.5 * (arm.robot.lower + arm.robot.upper), 0.5 * (arm.robot.upper - arm.robot.lower)
    for seed in range(2):
        poses, _ = along_path(arm, seed)
        poses = poses[:80]
        paths = [arm.track(poses, limit_weight=weight) for weight in (0.0, 1e-2, 1.0)]
        off = [(((path.q - middle) / half) ** 2).sum() for path in paths]
        way = [(np.diff(path.q, axis=0) ** 2).sum() for path in paths]
        assert off == sorted(off, reverse=True) and off[0] > 1.02 * off[2]
        assert way[0] < 0.98 * way[2]
        for path in paths:
            check_continuous(arm, poses, path)


def test_what_is_no_path_is_refused():
    arm = solver("panda")
    poses, q = along_path(arm, 1)
    position = poses.position.copy()
    position[[3, 7]] = np.nan
    with pytest.raises(InvalidInputError, match=r"waypoints \[3, 7\] are no poses"):
        arm.track(Pose(position, poses.quaternion))
    for batch in (poses[0], poses[:4].reshape(2, 2)):
        with pytest.raises(InvalidInputError, match=r"expected a path of poses \(m,\)"):
            arm.track(batch)
    for start in (q[0, :3], q[:2], np.full(7, np.nan), "home"):
        with pytest.raises(InvalidInputError, match="start: expected 7 finite joints"):
            arm.track(poses, start=start)
    beyond = np.where(np.arange(7) == 1, 3.0, q[0])
    with pytest.raises(InvalidInputError, match="start: joint2 beyond their limits"):
        arm.track(poses, start=beyond)


@pytest.mark.parametrize("value", [0.0, -0.1, np.nan, np.inf, True, "far"])
def test_a_max_step_that_is_none_is_refused(value):
    arm = solver("KR6")
    with pytest.raises(InvalidInputError, match="max_step must be positive and finite"):
        arm.track(along_path(arm, 0)[0], max_step=value)


@pytest.mark.parametrize("value", [-1e-3, np.nan, np.inf, "heavy", None])
def test_a_limit_weight_that_is_none_is_refused(value):
    arm = solver("KR6")
    with pytest.raises(InvalidInputError, match="limit_weight must be finite and not negative"):
        arm.track(along_path(arm, 0)[0], limit_weight=value)


def test_what_is_printed_says_where_and_why_a_path_breaks():
    arm = solver("KR6")
    poses = arm.robot.forward_kinematics(np.linspace(BENT, BENT + 3.5 * np.eye(6)[0], 60))
    path = arm.track(poses, start=BENT)
    text = str(path.jumps[0])
    assert repr(path) == f"<TrackedPath of 60 poses, 1 jump: {text}>"
    assert repr(arm.track(poses[:20], start=BENT)) == "<TrackedPath of 20 poses, continuous>"
    assert errors(arm, poses, path.q).max() < 1.001e-6
    far = Pose(poses.position[:30] + 5.0, poses.quaternion[:30])
    assert len(repr(arm.track(far))) < 600


def test_a_pose_whose_set_is_lost_because_the_arm_is_stretched_is_not_called_one_without_an_answer():
    arm = solver("panda")
    q = np.array([-0.5086993, -0.02002103, 1.32075181, -0.4673912, 0.00240347, 2.16679585, -0.53482858])
    q = q + np.arange(-12, 13)[:, None] * np.array([-0.0415, -0.021, -0.03, -0.0028, 0.0099, 0.031, 0.0056])
    assert least_singular_value(arm, q[12:13]) < 2e-5
    poses = arm.robot.forward_kinematics(q)
    check_continuous(arm, poses, arm.track(poses, start=q[0]), q[0])
