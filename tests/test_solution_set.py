"""Solution sets through the solver: every point an answer, every answer in the set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import cKDTree
from set_cases import (
    CURVES,
    POINTS,
    beside_points,
    check_answers,
    errors,
    hausdorff,
    joints,
    least_singular_value,
    reachable,
    solver,
    to_polyline,
)

from hybrid_ik import HybridSolver, LMConfig

TURN = 2.0 * np.pi
SPACING = 0.05
SEEDS = range(4)
some = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)


@pytest.mark.parametrize("name", CURVES + POINTS)
def test_every_point_is_a_verified_answer(name):
    arm = solver(name)
    for seed in SEEDS:
        pose, q = reachable(arm, seed)
        found = arm.solve_all(pose)
        assert len(found) > 0 and found.missing <= 1e-3 and found.n_seeds >= 32
        check_answers(arm, pose, found.q)
        for piece in found:
            claimed = np.stack([piece.position_error, piece.orientation_error], 1)
            missed = errors(arm, pose, piece.q)
            assert_allclose(claimed[:, 0], missed[:, 0], atol=1e-9)
            if arm.refiner.config.orientation_weight > 0:
                assert_allclose(claimed[:, 1], missed[:, 1], atol=1e-7)
        assert found.distance(q) < 1e-3


@pytest.mark.parametrize("name", CURVES)
def test_neighbours_of_a_curve_are_evenly_spaced_and_its_length_is_theirs(name):
    arm = solver(name)
    for seed in SEEDS:
        for piece in arm.solve_all(reachable(arm, seed)[0], spacing=SPACING):
            steps = piece.segments.length
            assert piece.length > 0 and (steps <= 1.05 * SPACING).all()
            assert_allclose(steps.sum(), piece.length, rtol=5e-3, atol=0.01)
            assert_allclose(np.linalg.norm(piece.tangent, axis=1), 1.0, atol=1e-9)
            assert len(piece) >= piece.length / SPACING


@pytest.mark.parametrize("name", CURVES)
def test_arcs_end_exactly_on_the_limits_that_they_name_and_nowhere_else(name):
    arm = solver(name)
    for seed in SEEDS:
        for piece in arm.solve_all(reachable(arm, seed)[0]):
            assert piece.closed == (piece.ends is None)
            assert (piece.winding == 0.0).all() or piece.closed
            for q, end in zip(piece.q[[0, -1]], piece.ends or (), strict=False):
                assert end.side in ("lower", "upper") and arm.robot.joint_names[end.joint] == end.name
                assert q[end.joint] == getattr(arm.robot, end.side)[end.joint]
                assert str(end) == f"{end.side} limit of {end.name}" and str(end) in repr(piece)
            inside = piece.q[1:-1] if piece.ends else piece.q
            gap = np.minimum(inside - arm.robot.lower, arm.robot.upper - inside)
            assert (gap > 0.0).all()


@pytest.mark.parametrize("name", POINTS)
def test_separate_answers_are_points(name):
    arm = solver(name)
    for seed in SEEDS:
        found = arm.solve_all(reachable(arm, seed)[0])
        assert found.length == 0.0
        for piece in found:
            assert len(piece) == 1 and not piece.closed and piece.ends is None and piece.length == 0.0
            assert "point" in repr(piece)
        apart = np.linalg.norm(found.q[:, None] - found.q, axis=-1) + np.eye(len(found))
        assert apart.min() > 1e-3


@pytest.mark.parametrize("name", CURVES)
def test_no_two_pieces_are_the_same(name):
    arm = solver(name)
    for seed in SEEDS:
        found = arm.solve_all(reachable(arm, seed)[0])
        for i, piece in enumerate(found):
            assert all(to_polyline(piece.q, other).max() > 5e-3 for other in found[:i])


def test_pieces_come_with_the_longest_first():
    found = solver("panda").solve_all(reachable(solver("panda"), 1)[0])
    lengths = [piece.length for piece in found]
    assert len(lengths) > 1 and lengths == sorted(lengths, reverse=True)
    assert_allclose(found.length, sum(lengths))


@pytest.mark.parametrize("name", ["panda", "KR6", "four joints"])
def test_the_set_does_not_depend_on_the_seed_sampler_and_refiner(name):
    arm, pose = solver(name), reachable(solver(name), 5)[0]
    other = HybridSolver(arm.robot, seed=9, sampler="uniform", refiner="mujoco", config=arm.refiner.config)
    a, b = arm.solve_all(pose), other.solve_all(pose)
    assert_array_equal(a.q, b.q)
    assert hausdorff(a, b) < 1e-6


def test_other_starts_find_the_same_set():
    """A pose turned about the first axis has the same answers, but for the first joint, and is met by other starts."""
    arm = solver("panda")
    for seed in range(4):
        q = joints(arm, seed)
        q[0] = 0.0
        pieces = []
        for turned in (0.0, 0.4):
            found = arm.solve_all(arm.robot.forward_kinematics(q + turned * np.eye(7)[0]))
            within = [
                piece for piece in found if np.abs(piece.q[:, 0]).max() < 2.4
            ]  # whole, whichever way it is turned
            pieces.append([piece.q - turned * np.eye(7)[0] for piece in within])
        for one, other in (pieces, pieces[::-1]):
            for points in one:
                if np.abs(points[:, 0]).max() < 2.0:
                    assert min(_far(points, candidate) for candidate in other) < 0.03


def _far(a, b):
    return np.linalg.norm(a[:, None] - b, axis=-1).min(1).max()


@pytest.mark.parametrize("name", [*CURVES, *POINTS])
def test_every_answer_of_the_solver_lies_in_the_set(name):
    arm = solver(name)
    for seed in range(3):
        pose = reachable(arm, 50 + seed)[0]
        found = arm.solve_all(pose)
        for other in range(3):
            answers = solver(name, other).solve(pose, n_solutions=32)
            q = answers.q[answers.success]
            assert len(q)
            q = q[least_singular_value(arm, q) > 2e-3]  # where answers fold over, the tolerance reaches farther
            assert (found.distance(q) < 1e-3).all() and found.contains(q).all()


@pytest.mark.parametrize("name", ["KR6", "SO-100"])
def test_separate_answers_on_a_limit_are_in_the_set(name):
    arm = solver(name)
    for seed in range(8):
        q, robot = joints(arm, seed), arm.robot
        q[seed % robot.dof] = (robot.lower, robot.upper)[seed % 2][seed % robot.dof]
        if least_singular_value(arm, q[None])[0] < 5e-3:
            continue
        pose = robot.forward_kinematics(q)
        found = arm.solve_all(pose)
        check_answers(arm, pose, found.q)
        assert found.contains(q)


def test_where_answers_are_a_surface_the_set_says_that_much_is_missing():
    """Shoulder and wrist of an arm like a human's aligned: four joints turn about two lines, whatever they do."""
    arm = solver("iiwa14")
    for seed in range(8):
        pose = arm.robot.forward_kinematics(joints(arm, seed) * [1, 0, 1, 1, 1, 0, 1])
        answers, found = arm.solve(pose, n_solutions=32), arm.solve_all(pose)
        assert found.missing > 0.2 or found.contains(answers.q[answers.success]).all()


def test_answers_of_a_stretched_arm_are_in_the_set():
    arm = solver("iiwa14")
    q = joints(arm, 0) * [1, 1, 1, 0, 1, 1, 1]
    assert arm.solve_all(arm.robot.forward_kinematics(q)).contains(q, tolerance=0.01)


@some
@given(seed=seeds, from_seed=seeds)
def test_nothing_that_the_solver_finds_is_nearer_than_the_nearest(seed, from_seed):
    for name in ("panda", "four joints", "three joints"):
        arm = solver(name)
        pose, q = reachable(arm, seed)[0], joints(arm, from_seed)
        found = arm.solve_all(pose)
        nearest = found.nearest(q)
        check_answers(arm, pose, nearest[None])
        assert_allclose(found.distance(q), np.linalg.norm(nearest - q), atol=1e-12)
        answers = arm.solve(pose, n_solutions=16)
        others = np.concatenate([answers.q[answers.success], arm.solve(pose, near=q).q[None]])
        others = others[least_singular_value(arm, others) > 5e-3]
        assert (np.linalg.norm(nearest - q) <= np.linalg.norm(others - q, axis=1) + 5e-4).all()


@some
@given(seed=seeds, from_seed=seeds)
def test_no_point_of_a_finer_set_is_nearer_than_the_nearest(seed, from_seed):
    arm = solver("panda")
    pose, q = reachable(arm, seed)[0], joints(arm, from_seed)
    found, fine = arm.solve_all(pose), arm.solve_all(pose, spacing=0.01)
    assert found.distance(found.q[::7]).max() < 1e-6
    assert found.distance(q) <= np.linalg.norm(fine.q - q, axis=1).min() + 3e-4
    assert found.distance(fine.q[::29]).max() < 1e-3


def test_answers_where_a_curve_bends_sharply_are_in_the_set():
    """Next to a singular posture the foot on a segment of 0.05 rad is 0.017 rad off."""
    arm, q = solver("panda"), np.array([-0.526, 0.223, 0.292, -0.392, 1.652, 0.438, 1.931])
    pose = arm.robot.forward_kinematics(q)
    found = arm.solve_all(pose)
    assert found.contains(q)
    check_answers(arm, pose, found.nearest(q)[None])


def test_joints_without_limits_are_near_the_short_way_round():
    arm = solver("endless roll")
    found = arm.solve_all(arm.robot.forward_kinematics([0.3, 0.4, 0.9, 0.0]))
    for turns in (0, 1, -3):
        q = np.array([0.3, 0.4, 0.9, 1.0 + TURN * turns])
        assert found.distance(q) < 1e-5 and found.contains(q)


def test_shapes_of_joints_are_kept():
    arm = solver("panda")
    found = arm.solve_all(reachable(arm, 0)[0])
    q = np.stack([joints(arm, k) for k in range(6)]).reshape(2, 3, 7)
    assert found.nearest(q).shape == (2, 3, 7) and found.distance(q).shape == found.contains(q).shape == (2, 3)
    assert np.shape(found.distance(q[0, 0])) == np.shape(found.contains(q[0, 0])) == ()
    assert found.nearest(q[:0]).shape == (0, 3, 7)
    assert_array_equal(found.nearest(q)[1, 2], found.nearest(q[1, 2].tolist()))


def test_contains_is_within_the_tolerance():
    arm = solver("panda")
    found = arm.solve_all(reachable(arm, 0)[0])
    i = len(found[0]) // 2
    across = np.linalg.svd(found[0].tangent[i][None])[2][1]
    for far in (5e-4, 2e-3, 0.02):
        q = found[0].q[i] + far * across
        assert_allclose(found.distance(q), far, rtol=0.05)
        assert found.contains(q) == (far < 1e-3)
        assert found.contains(q, tolerance=1.1 * far) and not found.contains(q, tolerance=0.9 * far)


@pytest.mark.parametrize("name", ["panda", "wide roll", "KR6"])
def test_samples_are_verified_answers_and_the_same_for_a_seed(name):
    arm = solver(name)
    for seed in SEEDS:
        pose = reachable(arm, seed)[0]
        found = arm.solve_all(pose)
        q = found.sample(200, 3)
        check_answers(arm, pose, q)
        assert q.shape == (200, arm.robot.dof)
        assert_array_equal(q, found.sample(200, np.random.default_rng(3)))
        assert (found.sample(200, 4) != q).any() and (found.sample(200) != found.sample(200)).any()
        assert found.sample(0).shape == (0, arm.robot.dof)


@pytest.mark.parametrize("spacing", [0.05, 0.2])
def test_samples_are_spread_evenly_by_length(spacing):
    """Counts in bins of known length along each piece: their chi-square is that of even chance."""
    arm, n = solver("panda"), 4000
    found = arm.solve_all(reachable(arm, 2)[0], spacing=spacing)
    q = found.sample(n, 0)
    points, shares = [], []
    for piece in found:
        segments = piece.segments
        k = len(segments.q0)
        points.append(segments.at(np.repeat(np.arange(k), 10), np.tile(np.arange(10) / 10 + 0.05, k))[0])
        shares.append(np.repeat(segments.length / 10, 10))
    shares = np.concatenate(shares)
    place = np.cumsum(shares)[cKDTree(np.concatenate(points)).query(q)[1]] / shares.sum()
    counts, _ = np.histogram(np.minimum(place, 1.0), bins=20, range=(0.0, 1.0))
    assert counts.sum() == n
    assert ((counts - n / 20) ** 2 / (n / 20)).sum() < 45.0  # 19 degrees of freedom: 43.8 once in 1,000


def test_samples_of_points_take_each_of_them_as_often():
    found = solver("KR6").solve_all(reachable(solver("KR6"), 1)[0])
    q = found.sample(3000, 0)
    counts = (np.linalg.norm(q[:, None] - found.q, axis=-1) == 0.0).sum(0)
    assert counts.sum() == 3000 and (np.abs(counts - 3000 / len(found)) < 5 * np.sqrt(3000 / len(found))).all()


@pytest.mark.parametrize("name", ["panda", "endless roll"])
def test_answers_beside_points_lie_between_them_along_the_curve(name):
    arm = solver(name)
    found, beside = beside_points(arm, reachable(arm, 1)[0])
    assert_allclose(beside[:, 1], found.q, atol=1e-5)
    for piece in range(len(found)):
        own = beside[found.piece == piece]
        assert_allclose(own[:-1, 3], own[1:, 1], atol=1e-5)
        assert_allclose(np.linalg.norm(own[1:, 0] - own[1:, 1], axis=1), 0.025, atol=0.003)
        if found[piece].ends:
            assert_allclose(own[[0, -1], [0, 3]], own[[0, -1], 1], atol=1e-5)


@pytest.mark.parametrize("spacing", [0.02, 0.3, 1.0, 30.0])
def test_the_spacing_does_not_change_what_is_found(spacing):
    for name in ("panda", "endless roll"):
        arm = solver(name)
        pose = reachable(arm, 3)[0]
        fine, found = arm.solve_all(pose), arm.solve_all(pose, spacing=spacing)
        assert len(found) == len(fine)
        assert_allclose([piece.length for piece in found], [piece.length for piece in fine], rtol=1e-9)
        check_answers(arm, pose, found.q)
        check_answers(arm, pose, found.sample(200, 0))
        assert found.distance(fine.q).max() < 1e-3
        assert all((piece.segments.length <= 1.05 * spacing).all() for piece in found)


def test_a_joint_that_turns_freely_leaves_the_curves_that_are_known():
    """Two answers for the elbow, and the fourth joint goes through all of its range."""
    q = np.array([0.3, 0.4, 0.9, 0.1])
    expected = {"endless roll": TURN, "narrow roll": 3.0, "wide roll": 12.2}
    for name, length in expected.items():
        arm = solver(name)
        found = arm.solve_all(arm.robot.forward_kinematics(q))
        assert_allclose([piece.length for piece in found], [length, length], rtol=1e-6)
        for piece in found:
            assert_allclose(piece.q[:, :3], np.tile(piece.q[0, :3], (len(piece), 1)), atol=1e-4)
            if name == "endless roll":
                assert piece.closed and "closed" in repr(piece)
                assert_allclose(np.abs(piece.winding), [0.0, 0.0, 0.0, TURN], atol=1e-9)
            else:
                assert [str(end) for end in piece.ends] == ["lower limit of roll", "upper limit of roll"]
                assert_array_equal(piece.q[[0, -1], 3], [arm.robot.lower[3], arm.robot.upper[3]])


def test_looser_tolerances_are_kept_to():
    config = LMConfig(position_tolerance=1e-4, orientation_tolerance=1e-3)
    arm = HybridSolver(solver("panda").robot, config=config)
    pose = reachable(arm, 0)[0]
    found, strict = arm.solve_all(pose), solver("panda").solve_all(pose)
    missed = errors(arm, pose, found.q)
    assert (missed <= [1e-4, 1e-3]).all()
    assert_allclose(found.length, strict.length, rtol=1e-3)
