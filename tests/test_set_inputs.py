"""Empty solution sets, wrong input, pictures, and covers of what is more than a curve."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from set_cases import check_answers, joints, least_singular_value, reachable, solver

from hybrid_ik import HybridSolver, InvalidInputError, Pose

UNREACHABLE = Pose([3.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def panda_set():
    return solver("panda").solve_all(reachable(solver("panda"), 0)[0])


@pytest.mark.parametrize("name", ["panda", "KR6", "five joints"])
def test_a_pose_out_of_reach_has_an_empty_set(name):
    found = solver(name).solve_all(UNREACHABLE)
    dof = solver(name).robot.dof
    assert (len(found), found.missing, found.length, found.q.shape, found.piece.shape) == (0, 1.0, 0.0, (0, dof), (0,))
    assert list(found) == [] and found.pieces == () and "0 pieces" in repr(found)
    assert found.distance(np.zeros(dof)) == np.inf and not found.contains(np.zeros(dof))
    assert_array_equal(found.distance(np.zeros((2, 3, dof))), np.full((2, 3), np.inf))
    assert_array_equal(found.contains(np.zeros((2, dof))), [False, False])
    for ask in (lambda: found.nearest(np.zeros(dof)), lambda: found.sample(3)):
        with pytest.raises(InvalidInputError, match="this solution set is empty"):
            ask()


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "wide", None])
@pytest.mark.parametrize("name", ["spacing", "miss"])
def test_spacing_and_miss_must_be_positive_numbers(name, value):
    with pytest.raises(InvalidInputError, match=f"{name} must be positive and finite, got {value!r}"):
        solver("panda").solve_all(reachable(solver("panda"), 0)[0], **{name: value})


@pytest.mark.parametrize("value", [0, -3, 2.5, True, None])
def test_most_points_must_be_a_count(value):
    with pytest.raises(InvalidInputError, match=f"most_points must be a whole number of at least 1, got {value!r}"):
        solver("panda").solve_all(reachable(solver("panda"), 0)[0], most_points=value)


def test_poses_come_one_by_one_and_are_numbers():
    poses = solver("panda").robot.forward_kinematics(np.zeros((2, 7)))
    with pytest.raises(InvalidInputError, match=r"expected one pose, got a batch of shape \(2,\): call it for each"):
        solver("panda").solve_all(poses)
    with pytest.raises(InvalidInputError, match="not a pose"):
        solver("panda").solve_all(Pose([np.nan, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]))
    with pytest.raises(InvalidInputError, match="not a rotation matrix"):
        solver("panda").solve_all(np.full((4, 4), np.nan))
    rows = Pose(np.array([[0.4, 0.0, 0.4], [np.nan, 0.0, 0.4]]), np.tile([0.0, 1.0, 0.0, 0.0], (2, 1)))
    with pytest.raises(InvalidInputError, match="not a pose"):
        solver("panda").solve_all(rows[1])
    with pytest.raises(InvalidInputError):
        solver("panda").solve_all(np.zeros(7))


def test_a_homogeneous_matrix_is_a_pose(panda_set):
    pose = reachable(solver("panda"), 0)[0]
    assert_allclose(solver("panda").solve_all(pose.matrix()).length, panda_set.length, rtol=1e-9)


@pytest.mark.parametrize(
    "q", [np.zeros(6), np.zeros((7, 1)), 0.0, np.full(7, np.nan), [np.inf] * 7, "home", [[1], [2, 3]]]
)
def test_joints_of_another_shape_are_refused(panda_set, q):
    for ask in (panda_set.nearest, panda_set.distance, panda_set.contains):
        with pytest.raises(InvalidInputError, match=r"expected finite joints \(\*batch, 7\), got "):
            ask(q)


@pytest.mark.parametrize("n", [-1, 2.5, None, True])
def test_the_number_of_samples_must_be_one(panda_set, n):
    with pytest.raises(InvalidInputError, match="n must be a whole number of at least 0, got"):
        panda_set.sample(n)


def test_a_set_is_a_sequence_of_its_pieces(panda_set):
    assert len(panda_set) == len(panda_set.pieces) > 1
    assert panda_set[0] is panda_set.pieces[0] and panda_set[-1] is panda_set.pieces[-1]
    assert list(panda_set[:2]) == list(panda_set.pieces[:2]) and panda_set[1] in panda_set
    assert_array_equal(panda_set.q[panda_set.piece == 1], panda_set[1].q)
    assert f"{len(panda_set)} pieces" in repr(panda_set)


@pytest.mark.parametrize("name", ["panda", "endless roll", "KR6", "five joints"])
def test_a_picture_has_a_line_for_each_piece(name):
    figures = pytest.importorskip("matplotlib.figure")
    found = solver(name).solve_all(reachable(solver(name), 1)[0], spacing=0.3)
    figure = found.plot()
    assert isinstance(figure, figures.Figure)
    (axes,) = figure.axes
    assert len(axes.lines) == len(found)
    names = [f"{joint} [rad]" for joint in solver(name).robot.joint_names]
    assert axes.get_xlabel() in names and axes.get_ylabel() in names
    chosen = found.plot((2, 0)).axes[0]
    assert (chosen.get_xlabel(), chosen.get_ylabel()) == (names[2], names[0])
    assert_array_equal(chosen.lines[0].get_xydata()[: len(found[0])], found[0].q[:, [2, 0]])


def test_pictures_of_empty_sets_are_empty_and_of_joints_that_are_not_there_refused(panda_set):
    pytest.importorskip("matplotlib")
    assert solver("panda").solve_all(UNREACHABLE).plot().axes[0].lines[:] == []
    with pytest.raises(InvalidInputError, match=r"joints must be two of 0 to 6, got \(0, 9\)"):
        panda_set.plot((0, 9))


def _check_cover(arm, pose, found, spacing, n=256):
    """Verified points, none nearer than 0.7 spacing to another, and the share of answers that is farther than it."""
    check_answers(arm, pose, found.q)
    assert all(len(piece) and piece.ends is None and not piece.closed for piece in found)
    apart = np.linalg.norm(found.q[:, None] - found.q, axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= 0.7 * spacing
    rng = np.random.default_rng(99)
    starts = rng.uniform(arm.robot.chain.sample_lower, arm.robot.chain.sample_upper, (n, arm.robot.dof))
    answers = arm.refiner.refine(pose, starts)
    q = answers.q[answers.success]
    assert len(q) > 10
    return float((np.linalg.norm(q[:, None] - found.q, axis=-1).min(1) > spacing).mean())


@pytest.mark.parametrize("spacing", [0.2, 0.4])
def test_a_cover_of_a_surface_is_even_and_complete(spacing):
    arm = solver("five joints")
    for seed in range(3):
        pose, q = reachable(arm, seed)
        found = arm.solve_all(pose, spacing=spacing)
        assert len(found.q) > 20 and found.missing <= 1e-3
        assert _check_cover(arm, pose, found, spacing) < 0.02
        assert found.distance(q) <= spacing


def test_pieces_of_a_cover_hang_together_and_lie_apart():
    arm, spacing = solver("five joints"), 0.3
    for seed in range(4):
        found = arm.solve_all(reachable(arm, seed)[0], spacing=spacing)
        for i, piece in enumerate(found):
            for other in found[:i]:
                assert np.linalg.norm(piece.q[:, None] - other.q, axis=-1).min() > 1.5 * spacing
            apart = np.linalg.norm(piece.q[:, None] - piece.q, axis=-1)
            np.fill_diagonal(apart, np.inf)
            assert len(piece) == 1 or apart.min(1).max() <= 1.5 * spacing


def test_the_cover_of_nine_joints_is_coarse_but_right():
    """Three spare joints: a body in joint space."""
    arm, spacing = solver("panda_rail"), 1.2
    pose, _ = reachable(arm, 0)
    found = arm.solve_all(pose, spacing=spacing, miss=0.01, most_points=2000)
    assert arm.robot.dof == 9 and 10 < len(found.q) < 2000 and found.missing <= 0.01
    assert _check_cover(arm, pose, found, spacing) < 0.05


@pytest.mark.parametrize("most", [1, 7, 60])
def test_a_cover_has_no_more_points_than_asked_for(most):
    arm = solver("panda_rail")
    pose, _ = reachable(arm, 0)
    found = arm.solve_all(pose, spacing=0.5, most_points=most)
    assert len(found.q) == most and found.missing > 1e-3
    check_answers(arm, pose, found.q)


def test_samples_and_the_nearest_of_a_cover_are_of_its_points():
    arm = solver("five joints")
    pose, _ = reachable(arm, 1)
    found = arm.solve_all(pose, spacing=0.3)
    rows = {tuple(q) for q in found.q}
    assert {tuple(q) for q in found.sample(50, 0)} <= rows
    q = joints(arm, 7)
    assert tuple(found.nearest(q)) in rows
    assert_allclose(found.distance(q), np.linalg.norm(found.q - q, axis=1).min())


def test_only_the_position_of_a_panda_leaves_a_cover():
    """Four spare joints."""
    config = dataclasses.replace(solver("panda").refiner.config, orientation_weight=0.0)
    arm = HybridSolver(solver("panda").robot, config=config)
    pose = reachable(arm, 3)[0]
    found = arm.solve_all(pose, spacing=1.5, miss=0.05, most_points=300)
    assert 10 < len(found.q) <= 300
    check_answers(arm, pose, found.q)
    assert least_singular_value(arm, found.q).shape == (len(found.q),)
