"""Answers by what a user prefers, bounded steps, and motions that leave the tool at rest."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from path_cases import solver
from set_cases import beside_points, check_answers, errors, joints, reachable

from hybrid_ik import HybridSolver, Pose, Status, pose_error
from hybrid_ik.errors import InvalidInputError

TURN = 2.0 * np.pi
CURVES = ("panda", "iiwa14", "four joints", "endless roll")
SLACK = 1e-12


def batch(arm, n, seed=0):
    """Random joints (n, dof) and their poses."""
    q = np.array([joints(arm, seed + k) for k in range(n)]).reshape(n, arm.robot.dof)
    return arm.robot.forward_kinematics(q), q


def moved(arm, q, near):
    """How far each joint has moved, the short way round where there is no limit."""
    d = np.abs(q - near)
    around = np.isinf(arm.robot.upper) & arm.robot.chain.hinges
    return np.where(around, np.minimum(d % TURN, TURN - d % TURN), d)


@pytest.mark.parametrize("name", ["panda", "KR6", "four joints", "panda_rail", "endless KR6"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 4)])
def test_no_joint_moves_farther_than_the_largest_step(name, shape):
    arm = solver(name)
    poses, _ = batch(arm, int(np.prod(shape)), seed=3)
    _, near = batch(arm, int(np.prod(shape)), seed=70)
    poses, near = poses.reshape(*shape), near.reshape(*shape, -1)
    for max_step in (1e-3, 0.2, 1.5):
        found = arm.solve(poses, near=near, max_step=max_step)
        free = arm.solve(poses, near=near)
        far = moved(arm, free.q, near).max(-1) > max_step
        assert found.shape == shape and found.q.shape == (*shape, arm.robot.dof)
        assert (np.abs(found.q - near) <= max_step + SLACK).all() or (
            moved(arm, found.q, near) <= max_step + SLACK
        ).all()
        assert_array_equal(found.status == Status.TOO_FAR, far)
        assert_array_equal(found.success, free.success & ~far)
        assert_array_equal(found.q[~far], free.q[~far])
        error = pose_error(poses, arm.robot.forward_kinematics(found.q))
        assert_allclose(found.position_error, np.linalg.norm(error[..., :3], axis=-1), atol=1e-9)
        if arm.refiner.config.orientation_weight > 0:
            assert_allclose(found.orientation_error, np.linalg.norm(error[..., 3:], axis=-1), atol=1e-7)


def test_joints_that_may_not_go_all_the_way_go_straight_towards_the_nearest_answer():
    arm = solver("panda")
    pose, near = reachable(arm, 1)[0], joints(arm, 5)
    answer = arm.solve(pose, near=near).q
    found = arm.solve(pose, near=near, max_step=0.05)
    way, whole = found.q - near, answer - near
    assert_allclose(way / np.linalg.norm(way), whole / np.linalg.norm(whole), atol=1e-12)
    assert_allclose(np.abs(way).max(), 0.05, atol=SLACK)
    assert Status(found.status) is Status.TOO_FAR and not found.success and "largest step" in Status.TOO_FAR.message


def test_many_small_steps_lead_to_the_pose():
    arm = solver("KR6")
    q, goal = joints(arm, 3), joints(arm, 4)
    pose = arm.robot.forward_kinematics(goal)
    for _ in range(400):
        found = arm.solve(pose, near=q, max_step=0.05)
        assert np.abs(found.q - q).max() <= 0.05 + SLACK
        q = found.q
        if found.success:
            break
    assert found.success
    check_answers(arm, pose, q[None])


def test_an_endless_joint_goes_the_short_way_round():
    arm = solver("endless KR6")
    q = np.array([0.2, -1.2, 1.5, 0.4, 0.8, 3.0])
    pose = arm.robot.forward_kinematics(q + 0.3 * np.eye(6)[5])  # on the other side of half a turn
    for turns in (0.0, TURN, -3 * TURN):
        near = q + turns * np.eye(6)[5]
        there = arm.solve(pose, near=near, max_step=0.4)
        assert there.success and moved(arm, there.q, near).max() < 0.31
        part = arm.solve(pose, near=near, max_step=0.1)
        assert part.status == Status.TOO_FAR and np.abs(part.q - near).max() <= 0.1 + SLACK
        assert_allclose(part.q - near, 0.1 * np.eye(6)[5], atol=1e-3)


def test_a_pose_out_of_reach_is_approached_by_the_step():
    arm = solver("panda")
    pose, q = reachable(arm, 1)
    far = Pose(pose.position + 3.0, pose.quaternion)
    found = arm.solve(far, near=q, max_step=0.1)
    assert not found.success and np.abs(found.q - q).max() <= 0.1 + SLACK
    assert found.status == Status.TOO_FAR and found.position_error > 3.0


def test_arguments_that_do_not_go_together_are_refused():
    arm = solver("panda")
    pose, q = reachable(arm, 1)
    together = "max_step goes with near, prefer with neither of them"
    for options in (
        {"max_step": 0.1},
        {"near": q, "max_step": 0.1, "n_solutions": 3},
        {"near": q, "prefer": "limits"},
        {"near": q, "prefer": "limits", "max_step": 0.1},
        {"prefer": "limits", "n_solutions": 2},
        {"prefer": "limits", "max_step": 0.2},
    ):
        with pytest.raises(InvalidInputError, match=together):
            arm.solve(pose, **options)
    for max_step in (0.0, -1.0, np.nan, np.inf, "far", True):
        with pytest.raises(InvalidInputError, match="max_step must be positive and finite"):
            arm.solve(pose, near=q, max_step=max_step)


def costs(arm):
    """What the names of preferences mean, and two functions."""
    lower, upper = arm.robot.lower, arm.robot.upper
    limited = np.isfinite(upper - lower)
    middle, half = 0.5 * (lower + upper)[limited], 0.5 * (upper - lower)[limited]
    rows = 6 if arm.refiner.config.orientation_weight > 0 else 3

    def manipulability(q):
        J = arm.robot.jacobian(q)[:, :rows]
        return -np.sqrt(np.maximum(np.linalg.det(J @ np.swapaxes(J, 1, 2)), 0.0))

    return {
        "limits": lambda q: (np.abs(q[:, limited] - middle) / half).max(1),
        "manipulability": manipulability,
        "waves": lambda q: np.sin(3.0 * q).sum(1),
        "kink": lambda q: np.abs(q[:, 1] - 0.3),
    }


@pytest.mark.filterwarnings("ignore:invalid value encountered in add:RuntimeWarning")
@pytest.mark.parametrize("name", [*CURVES, "KR6"])
@pytest.mark.parametrize("cost", ["limits", "manipulability", "waves", "kink"])
def test_the_preferred_answer_is_as_good_as_the_best_of_a_dense_set(name, cost):
    arm = solver(name)
    value = costs(arm)[cost]
    for seed in range(3):
        pose = reachable(arm, seed)[0]
        found = arm.solve(pose, prefer=cost if cost in ("limits", "manipulability") else value)
        assert found.success and found.shape == ()
        check_answers(arm, pose, found.q[None])
        assert value(found.q[None])[0] <= value(arm.solve_all(pose, spacing=0.005).q).min() + 1e-6


@pytest.mark.parametrize("name", [*CURVES, "KR6"])
def test_preferred_joints_give_the_nearest_of_all_answers(name):
    arm = solver(name)
    for seed in range(3):
        (pose, q), to = reachable(arm, seed), joints(arm, 50 + seed)
        found = arm.solve(pose, prefer=to)
        check_answers(arm, pose, found.q[None])
        dense = moved(arm, arm.solve_all(pose, spacing=0.005).q, to)
        assert np.linalg.norm(moved(arm, found.q, to)) <= np.linalg.norm(dense, axis=1).min() + 1e-6
        own = arm.solve(pose, prefer=q.tolist())
        assert np.linalg.norm(moved(arm, own.q, q)) < 1e-5 and own.success


def test_what_a_function_is_given_are_answers():
    arm = solver("panda")
    pose, given = reachable(arm, 2)[0], []

    def cost(q):
        given.append(q)
        return q[:, 0]

    arm.solve(pose, prefer=cost)
    check_answers(arm, pose, np.concatenate(given))


@pytest.mark.parametrize("shape", [(1,), (2, 3), (0,)])
def test_a_batch_is_answered_as_its_poses_are(shape):
    arm = solver("panda")
    poses, _ = batch(arm, int(np.prod(shape)))
    found = arm.solve(poses.reshape(*shape), prefer="limits")
    assert found.shape == shape and found.q.shape == (*shape, 7) and found.success.all()
    for i, q in enumerate(found.q.reshape(-1, 7)):
        assert_allclose(q, arm.solve(poses[i], prefer="limits").q, atol=1e-12)


def test_the_preferred_answer_does_not_depend_on_seed_and_sampler():
    arm, other = solver("panda"), HybridSolver("panda", sampler="uniform", seed=4)
    pose = reachable(arm, 3)[0]
    assert_array_equal(arm.solve(pose, prefer="limits").q, other.solve(pose, prefer="limits").q)


def test_a_pose_without_an_answer_gets_the_closest_joints_whatever_is_preferred():
    arm = solver("panda")
    pose, q = reachable(arm, 1)
    far = Pose(np.stack([pose.position + 3.0, pose.position, [np.nan] * 3]), np.tile(pose.quaternion, (3, 1)))
    plain = arm.solve(far)
    for prefer in ("limits", "manipulability", q, lambda q: q[:, 0]):
        found = arm.solve(far, prefer=prefer)
        assert found.success.tolist() == [False, True, False]
        assert found.status.tolist() == [Status.BEYOND_REACH, Status.CONVERGED, Status.INVALID_INPUT]
        assert_array_equal(found.q[0], plain.q[0])
        assert_array_equal(found.position_error[[0, 2]], plain.position_error[[0, 2]])


def test_wrong_preferences_are_refused_whether_or_not_there_is_an_answer():
    arm = solver("panda")
    pose, q = reachable(arm, 1)
    for target in (pose, Pose(pose.position + 3.0, pose.quaternion)):
        for prefer in ("limit", "", 3.0, q[:3], q[None], np.full(7, np.nan), ["a"] * 7, {}):
            with pytest.raises(InvalidInputError, match="prefer: expected 'limits', 'manipulability', 7 joints, or a"):
                arm.solve(target, prefer=prefer)
    for cost in (
        lambda q: q,
        lambda q: 1.0,
        lambda q: None,
        lambda q: ["a"] * len(q),
        lambda q: q[:, 0] * np.nan,
        lambda q: q[:-1, 0],
        lambda q: q[:, :1],
    ):
        with pytest.raises(InvalidInputError, match=r"prefer: the function was given joints .* must return a cost"):
            arm.solve(pose, prefer=cost)


@pytest.mark.parametrize("name", ["panda", "iiwa14", "four joints", "narrow roll", "endless roll", "panda_rail"])
def test_the_tool_rests_while_the_arm_glides_as_far_as_asked_or_to_a_limit(name):
    arm = solver(name)
    for seed in range(3):
        pose, q = reachable(arm, seed)
        for length, spacing in ((0.37, 0.05), (2.0, 0.2)):
            way = arm.self_motion(q, length, spacing=spacing)
            steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
            assert_array_equal(way[0], q)
            assert (errors(arm, pose, way) <= 1.001e-6).all()
            assert (way >= arm.robot.lower).all() and (way <= arm.robot.upper).all()
            assert (steps <= spacing * (1.0 + 1e-8)).all() and steps.sum() <= length + 1e-8
            if steps.sum() < length - 1e-8:
                assert ((way[-1] == arm.robot.lower) | (way[-1] == arm.robot.upper)).any()
            else:
                assert len(way) <= 2 * length / spacing + 2


def test_a_motion_that_meets_a_limit_ends_where_the_curve_of_answers_does():
    arm = solver("panda")
    for seed in range(4):
        pose, q = reachable(arm, seed)
        ends = []
        for sign in (1.0, -1.0):
            towards = sign * (arm.self_motion(q, 0.01)[-1] - q)
            ends.append(arm.self_motion(q, 50.0, towards=towards)[-1])
        own = min(arm.solve_all(pose), key=lambda piece: np.abs(piece.q - q).max(1).min())
        given = own.q[[0, -1]] if np.abs(own.q[0] - ends[0]).max() < 1e-3 else own.q[[-1, 0]]
        assert own.ends is not None
        assert_allclose(ends, given, atol=1e-4)


def test_it_begins_in_the_direction_that_is_asked_for():
    arm = solver("panda")
    _, q = reachable(arm, 3)
    there = arm.self_motion(q, 0.1)[1] - q
    for towards in (there, -there, np.eye(7)[2], -np.eye(7)[4]):
        step = arm.self_motion(q, 0.1, towards=towards)[1] - q
        assert step @ towards > 0.0
    assert np.argmax(there) == np.argmax(np.abs(there))  # the joint that moves most increases
    rail = solver("panda_rail")
    q = joints(rail, 1)
    ways = [rail.self_motion(q, 0.05, towards=towards)[-1] - q for towards in np.eye(9)[:3]]
    assert np.linalg.matrix_rank(ways, tol=1e-3) == 3


def test_closed_curves_go_round_more_than_once():
    """The last joint of this arm turns about the tip itself, and has no limits."""
    arm = solver("endless roll")
    q, roll = joints(arm, 1), np.eye(4)[3]
    assert_allclose(arm.self_motion(q, 2.5 * TURN, towards=roll, spacing=0.1)[-1], q + 2.5 * TURN * roll, atol=1e-6)
    assert_allclose(arm.self_motion(q, TURN, towards=-roll)[-1], q - TURN * roll, atol=1e-6)


def test_motions_that_cannot_be_are_refused():
    arm = solver("panda")
    _, q = reachable(arm, 1)
    across = np.linalg.svd(arm.robot.jacobian(q))[2][0]
    for towards in (across, np.zeros(7)):
        with pytest.raises(InvalidInputError, match="no motion that leaves the tool at rest goes towards"):
            arm.self_motion(q, 0.5, towards=towards)
    for name in ("KR6", "SO-100"):
        with pytest.raises(InvalidInputError, match="no joint to spare"):
            solver(name).self_motion(joints(solver(name), 1), 0.5)
    for towards in (q[:3], np.full(7, np.nan), "up"):
        with pytest.raises(InvalidInputError, match="towards: expected 7 finite joints"):
            arm.self_motion(q, 0.5, towards=towards)
    for value in (0.0, -1.0, np.nan, np.inf, "long"):
        with pytest.raises(InvalidInputError, match="length must be positive and finite"):
            arm.self_motion(q, value)
        with pytest.raises(InvalidInputError, match="spacing must be positive and finite"):
            arm.self_motion(q, 1.0, spacing=value)
    with pytest.raises(InvalidInputError, match="q: joint3 beyond their limits"):
        arm.self_motion(np.where(np.arange(7) == 2, 3.0, q), 1.0)
    with pytest.raises(InvalidInputError, match="q: expected 7 finite joints"):
        arm.self_motion(q[:3], 1.0)


@pytest.mark.parametrize("name", CURVES)
def test_answers_beside_a_point_lie_along_its_curve_and_end_where_arcs_do(name):
    arm = solver(name)
    found, beside = beside_points(arm, reachable(arm, 2)[0])
    assert_allclose(beside[:, 1], found.q, atol=2e-6)
    for number, piece in enumerate(found):
        own = beside[found.piece == number]
        after = np.concatenate([piece.q[1:], piece.q[:1] + piece.winding if piece.closed else piece.q[-1:]])
        assert moved(arm, own[:, 3], after).max() < 2e-6
        if piece.ends is not None:
            assert_allclose(own[0, 0], piece.q[0], atol=2e-6)
