"""The refiner on pixels: its derivative, what it recovers, and what it says of frames that fix too little."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import MODELS
from pixel_cases import DOTS, jaw_arm, joints, look_at, seen, two_cameras

from hybrid_ik import HybridSolver, LMConfig, Status
from hybrid_ik.errors import InvalidInputError, RobotError
from hybrid_ik.pixels.cameras import pixel_refiner
from hybrid_ik.pixels.cameras.arm_dots import ArmDots, with_dots
from hybrid_ik.pixels.cameras.pixel_refiner import PixelRefiner, PixelRefinerConfig, refine_on_point
from hybrid_ik.pixels.cameras.pixel_residual import Observation, PixelResidual
from hybrid_ik.pixels.cameras.triangulation import triangulate
from hybrid_ik.robot import Robot

NOISE = 0.5  # px


@pytest.fixture(scope="module")
def arm():
    """Six joints, the jaw among them."""
    return jaw_arm()


@pytest.fixture(scope="module")
def frames(arm):
    """Joints of 100 frames, and their pixels without noise."""
    q = joints(arm, 100, np.random.default_rng(2))
    return q, seen(two_cameras(), ArmDots(arm, DOTS), q)


def refiner(arm, held=("jaw",), cameras=None, **config):
    return PixelRefiner(arm, cameras or two_cameras(), DOTS, held, PixelRefinerConfig(**config))


def _near(q, rng, spread=0.2):
    """Starts around joints; the jaw is known."""
    return q + spread * rng.normal(size=q.shape) * (np.arange(q.shape[-1]) != 5)


def test_the_jacobian_of_the_residual_is_that_of_finite_differences(arm, frames):
    q, pixels = frames
    residual, h = refiner(arm).residual, 1e-6
    J = residual.jacobian(q)
    for i, d in enumerate(h * np.eye(arm.dof)):
        difference = (residual.errors(q + d, pixels) - residual.errors(q - d, pixels)) / (2 * h)
        np.testing.assert_allclose(J[..., i], difference, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("scale", [None, 2.0])
def test_the_gradient_of_the_cost_is_that_of_finite_differences(arm, frames, scale):
    q, pixels = frames[0] + 0.05, frames[1]
    residual = PixelResidual(ArmDots(arm, DOTS), two_cameras(), scale, prior_weight=3.0)
    rng = np.random.default_rng(0)
    observation = Observation(pixels, rng.uniform(0, 2, pixels.shape[:-1]), frames[0])
    gradient, h = residual.expand(q, observation).gradient, 1e-6
    for i, d in enumerate(h * np.eye(arm.dof)):
        up, down = (residual.expand(q + s * d, observation).cost for s in (1, -1))
        np.testing.assert_allclose(2 * gradient[:, i], (up - down) / (2 * h), rtol=1e-4, atol=0.05)


def test_dots_agree_with_forward_kinematics(arm, frames):
    q = frames[0]
    points, J = ArmDots(arm, DOTS).jacobians(q)
    for k, name in enumerate(DOTS):
        robot = Robot(arm, tip=name)
        own = q[:, : robot.dof]
        np.testing.assert_allclose(points[:, k], robot.forward_kinematics(own).position, atol=1e-12)
        np.testing.assert_allclose(J[:, k, :, : robot.dof], robot.jacobian(own)[:, :3], atol=1e-12)
    assert (J[:, 0, :, 5] == 0).all()  # the jaw does not move the fixed dot


def test_shifted_dots_are_those_of_sites_elsewhere(arm, frames):
    places = {"a": ("hand", [0.02, 0.08, 0.0]), "b": ("jaw", [0.001, 0.06, 0.002])}
    moved = ArmDots(with_dots(arm, places), ["a", "b"])
    shifted = ArmDots(arm, DOTS, [[0.005, -0.01, -0.005], [0.001, -0.01, 0.006]])
    for ours, theirs in zip(shifted.jacobians(frames[0]), moved.jacobians(frames[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    pixels = seen(two_cameras(), shifted, frames[0])
    result = PixelRefiner(arm, two_cameras(), shifted, ["jaw"]).refine(pixels, frames[0])
    assert (result.pixel_error < 1e-6).all()


@pytest.mark.parametrize("held", [("jaw",), ()])
def test_exact_pixels_give_the_joints_back(arm, frames, held):
    q, pixels = frames
    result = refiner(arm, held).refine(pixels, _near(q, np.random.default_rng(0)))
    fixed = result.deviation.max(-1) < 0.2
    assert result.success.all() and fixed.mean() > 0.5
    same = np.abs(result.q - q).max(-1) < 1e-4
    assert same[fixed].mean() > 0.95  # the others found another posture with the same dots
    assert (result.pixel_error[same] < 1e-2).all()
    if held:
        assert (result.q[:, 5] == q[:, 5]).all() and (result.deviation[:, 5] == 0).all()


def test_the_deviation_tells_how_far_noise_moves_the_joints(arm, frames):
    q, pixels = frames
    noise = NOISE * np.random.default_rng(1).normal(size=(20, *pixels.shape))
    result = refiner(arm).refine(pixels + noise, q)
    off = np.sqrt(np.square(result.q - q).mean(0))[:, :5]  # over the 20 draws
    told = NOISE * refiner(arm, max_iterations=0).refine(pixels, q).deviation[:, :5]
    sharp = (told < 0.03).all(-1)
    assert sharp.sum() > 30
    np.testing.assert_allclose(off[sharp], told[sharp], rtol=0.5)
    assert result.success.all() and 0.1 < np.median(result.pixel_error) < 1.0


def test_a_robust_scale_leaves_one_wrong_dot_without_effect(arm, frames):
    q, pixels = frames
    cameras = [*two_cameras(), look_at([0.1, 0.9, 0.7], [0, 0.1, 0.1])]
    pixels = seen(cameras, ArmDots(arm, DOTS), q)
    pixels[:, 1, 0] += 40.0
    plain = refiner(arm, cameras=cameras).refine(pixels, q)
    robust = refiner(arm, cameras=cameras, robust_scale=1.0).refine(pixels, q)
    assert np.median(np.abs(robust.q - q).max(-1)) < 0.2 * np.median(np.abs(plain.q - q).max(-1))
    weights = np.ones((3, 2))
    weights[1, 0] = 0
    left_out = refiner(arm, cameras=cameras).refine(pixels, q, weights=weights)
    assert left_out.success.all() and (left_out.n_views == 5).all()
    assert np.median(np.abs(left_out.q - q).max(-1)) < 1e-6


def test_frames_with_one_wrong_dot_are_explained_by_the_others(arm, frames):
    q, pixels = frames[0], frames[1].copy()
    rng = np.random.default_rng(6)
    i, camera, dot = np.arange(30), rng.integers(2, size=30), rng.integers(2, size=30)
    pixels[i, camera, dot] += 60.0 * rng.choice([-1, 1], (30, 2))
    start = _near(q, rng, 0.1)
    plain, result = refiner(arm).refine(pixels, start), refiner(arm).refine_without_one(pixels, start)
    assert plain.success[30:].all() and plain.success[:30].mean() < 0.3
    assert result.success.mean() > 0.95 and (result.n_views[30:] == 4).all()
    assert np.median(np.abs(result.q - q)[:30].max(-1)) < 1e-3
    assert refiner(arm).refine_without_one(pixels[0], start[0]).n_views == 3


def test_a_dot_that_one_camera_misses_is_made_up_for_by_the_other(arm, frames):
    q, pixels = frames[0], frames[1].copy()
    pixels[:, 1, 0, 0] = np.nan  # half of a dot is none
    result = refiner(arm).refine(pixels, _near(q, np.random.default_rng(0), 0.05))
    assert (result.n_views == 3).all() and result.success.all()
    assert np.median(np.abs(result.q - q).max(-1)) < 1e-3


def test_joints_that_nothing_fixes_stay_near_the_start_and_say_so(arm, frames):
    q, pixels = frames[0], frames[1].copy()
    pixels[:, :, 1] = np.nan  # the moving jaw's dot in no camera: three numbers for five joints
    start = _near(q, np.random.default_rng(0), 0.05)
    result = refiner(arm).refine(pixels, start)
    assert result.success.all() and np.isinf(result.deviation[:, :5]).any(-1).all()
    assert np.abs(result.q - start).max(-1).mean() < 0.4
    pulled = refiner(arm, prior_weight=1.0).refine(pixels, start, prior=q)
    assert np.abs(pulled.q - q).max(-1).mean() < 0.02


def test_a_single_camera_fixes_less(arm, frames):
    q, pixels = frames
    one = refiner(arm, cameras=two_cameras()[:1]).refine(pixels[:, :1], q)
    assert one.success.all() and np.isinf(one.deviation).any(-1).all()


def test_views_almost_from_one_place_are_told_by_the_deviation(arm, frames):
    q = frames[0]
    near = [look_at([0.8, 0.15 + d, 0.4], [0, 0.12, 0.15]) for d in (0.0, 0.002)]
    result = refiner(arm, cameras=near).refine(seen(near, ArmDots(arm, DOTS), q), q)
    apart = refiner(arm).refine(frames[1], q)
    assert np.median(result.deviation[:, :5].max(-1)) > 20 * np.median(apart.deviation[:, :5].max(-1))


def test_frames_without_any_dot_are_told_by_their_status(arm, frames):
    q, pixels = frames[0][:4], frames[1][:4].copy()
    start = q.copy()
    pixels[1], start[2, 0] = np.nan, np.nan
    result = refiner(arm).refine(pixels, start)
    assert result.status.tolist() == [Status.CONVERGED, Status.INVALID_INPUT, Status.INVALID_INPUT, Status.CONVERGED]
    assert np.isnan(result.q[1:3]).all() and result.n_views.tolist() == [4, 0, 4, 4]
    nothing = refiner(arm).refine(np.full((2, 2, 2), np.nan), q[0])
    assert nothing.status == Status.INVALID_INPUT and not nothing.success


def test_pixels_that_no_joints_explain_are_not_a_success(arm, frames):
    q, pixels = frames[0][:5], frames[1][:5].copy()
    pixels[:, :, 1, 0] += 200.0
    result = refiner(arm).refine(pixels, q)
    assert not result.success.any() and (result.pixel_error > 3).all()
    assert set(result.status) <= {Status.STALLED, Status.MAX_ITERATIONS}
    assert ((result.q >= arm.lower) & (result.q <= arm.upper)).all()
    assert refiner(arm, max_iterations=1).refine(pixels, q).status.tolist() == [Status.MAX_ITERATIONS] * 5


def test_starts_outside_the_limits_are_moved_onto_them_and_answers_stay_within(arm):
    q = np.array([1.8, 1.2, -0.4, 0.3, 0.5, 0.4])  # two joints on their limits
    pixels = seen(two_cameras(), ArmDots(arm, DOTS), q)
    pixels = pixels + NOISE * np.random.default_rng(0).normal(size=(50, *pixels.shape))
    result = refiner(arm).refine(pixels, q + np.array([0.5, 0.5, 0.1, 0.1, 0.1, 0.0]))
    assert result.start_clipped.all() and result.success.mean() > 0.9
    assert ((result.q >= arm.lower) & (result.q <= arm.upper)).all()


@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (0,)])
def test_one_or_many_is_a_leading_axis(arm, frames, shape):
    q, pixels = frames[0][0], frames[1][0]
    result = refiner(arm).refine(np.broadcast_to(pixels, (*shape, 2, 2, 2)), q + 0.01)
    assert result.shape == shape and result.q.shape == (*shape, 6) and np.all(result.success)
    if shape:
        assert result[:1].shape == (min(shape[0], 1), *shape[1:])


def test_many_starts_find_the_joints_from_far_away(arm, frames):
    q, pixels = frames
    starts = np.broadcast_to(joints(arm, 12, np.random.default_rng(4)), (100, 12, 6)).copy()
    starts[..., 5] = q[:, None, 5]
    result = refiner(arm, max_iterations=30).search(pixels, starts)
    assert result.shape == (100,) and result.success.mean() > 0.95


@pytest.mark.parametrize("few", [1, 6])
def test_a_search_explains_what_any_of_its_starts_explains(arm, frames, few, monkeypatch):
    """Where the starts that go on miss the pixels, the others go on too."""
    monkeypatch.setattr(pixel_refiner, "FEW", few)
    q, pixels = frames[0], frames[1].copy()
    pixels[0] = np.nan
    pixels[1:5, 0] += 90.0  # no joints explain that
    starts = np.broadcast_to(joints(arm, 8, np.random.default_rng(9), 1.0), (100, 8, 6)).copy()
    starts[..., 5] = q[:, None, 5]
    starts[6, 3] = np.nan
    every, found = refiner(arm).refine(pixels[:, None], starts), refiner(arm).search(pixels, starts)
    np.testing.assert_array_equal(found.success, every.success.any(-1))
    assert 0.5 < found.success.mean() < 1.0 and not every.success[every.success.any(-1)].all()
    assert found.status[0] == Status.INVALID_INPUT and np.isnan(found.q[0]).all()
    weighed = refiner(arm).search(pixels, starts, weights=np.full((100, 2, 2), 2.0))
    np.testing.assert_array_equal(weighed.success, found.success)


def test_a_search_of_few_starts_or_steps_ends_where_each_of_them_does(arm, frames):
    q, pixels = frames[0][:20], frames[1][:20]
    starts = _near(q, np.random.default_rng(3))[:, None]
    for options in ({"max_iterations": 3}, {"max_iterations": 50}):
        one, alone = (
            refiner(arm, **options).search(pixels, starts),
            refiner(arm, **options).refine(pixels, starts[:, 0]),
        )
        np.testing.assert_allclose(one.q, alone.q, atol=1e-9)
        np.testing.assert_array_equal(one.iterations, alone.iterations)
        np.testing.assert_array_equal(one.status, alone.status)


def test_frames_are_solved_alike_alone_and_together(arm, frames):
    q, pixels = frames[0][:10], frames[1][:10]
    start = _near(q, np.random.default_rng(0), 0.1)
    together = refiner(arm).refine(pixels, start)
    alone = [refiner(arm).refine(pixels[i], start[i]).q for i in range(10)]
    np.testing.assert_allclose(together.q, alone, atol=1e-6)


def test_misuse_is_refused(arm, frames):
    q, pixels = frames
    with pytest.raises(InvalidInputError, match=r"held: no joints .'thumb'.*joints: turn, lift"):
        refiner(arm, held=("thumb",))
    with pytest.raises(InvalidInputError, match="at least one"):
        PixelRefiner(arm, [], DOTS)
    with pytest.raises(RobotError, match="no site 'nose' in the model; sites: dot_fixed, grip, dot_moving"):
        PixelRefiner(arm, two_cameras(), ["nose"])
    with pytest.raises(InvalidInputError, match=r"pixels: expected shape \(\*batch, 2, 2, 2\)"):
        refiner(arm).refine(pixels[:, 0], q)
    with pytest.raises(InvalidInputError, match=r"q0: expected shape \(\*batch, 6\)"):
        refiner(arm).refine(pixels, q[:, :4])
    with pytest.raises(InvalidInputError, match="no batch shape in common"):
        refiner(arm).refine(pixels, q[:7])
    with pytest.raises(InvalidInputError, match="weights: expected finite numbers of at least 0"):
        refiner(arm).refine(pixels, q, weights=-np.ones((2, 2)))
    with pytest.raises(InvalidInputError, match="q0: expected numbers, got 'home'"):
        refiner(arm).refine(pixels, "home")
    with pytest.raises(InvalidInputError, match=r"pixels: expected shape \(\*batch, 2, 2, 2\)"):
        refiner(arm).search(pixels[0, 0, 0], q)
    with pytest.raises(InvalidInputError, match=r"weights: expected shape \(\*batch, 2, 2\), got \(3,\)"):
        refiner(arm).search(pixels, q[:, None], weights=np.ones(3))
    with pytest.raises(InvalidInputError, match=r"q0: expected starts \(\*batch, n, 6\), n > 0, got \(100, 0, 6\)"):
        refiner(arm).search(pixels, q[:, None][:, :0])
    with pytest.raises(InvalidInputError, match="q: expected shape"):
        ArmDots(arm, DOTS).positions(q[:, :4])
    for wrong in ({"damping": 0.0}, {"robust_scale": -1.0}, {"prior_weight": -1.0}, {"max_iterations": -1}):
        with pytest.raises(InvalidInputError, match=f"{next(iter(wrong))}"):
            PixelRefinerConfig(**wrong)


def test_refinement_on_the_triangulated_point_puts_the_tip_there(arm, frames):
    cameras, robot = two_cameras(), Robot(arm, tip="grip")
    q = frames[0][:20, :5]
    grip = ArmDots(robot, ["grip"])
    points = triangulate(cameras, seen(cameras, grip, q)[:, :, 0])
    points[3] = np.nan
    solver = HybridSolver(robot, config=LMConfig(orientation_weight=0, position_tolerance=1e-5))
    result = refine_on_point(solver, points, q + 0.05)
    good = np.arange(20) != 3
    assert result.success[good].all() and result.status[3] == Status.INVALID_INPUT
    np.testing.assert_allclose(grip.positions(result.q[good])[:, 0], points[good], atol=1e-5)
    assert np.abs(result.q - q)[good].max() < 0.5
    assert refine_on_point(solver, points[0], q[0]).success
    with pytest.raises(InvalidInputError, match=r"orientation_weight is 0\.25"):
        refine_on_point(HybridSolver(robot), points, q)
    with pytest.raises(InvalidInputError, match="points_world: expected shape"):
        refine_on_point(solver, points[:, :2], q)


def test_dots_are_added_to_a_full_model():
    path = MODELS / "trs_so_arm100" / "so_arm100.xml"
    if not path.is_file():
        pytest.skip(f"no model {path}; set HYBRID_IK_ROBOTS to a folder that has it")
    places = {"dot_fixed": ("Fixed_Jaw", [0.01, -0.1, 0.012]), "dot_moving": ("Moving_Jaw", [-0.01, -0.07, 0.012])}
    robot = with_dots(Robot(path, tip="Moving_Jaw"), places, tip="dot_moving")
    assert robot.joint_names[-1] == "Jaw" and robot.dof == 6
    dots = ArmDots(robot, places)
    q = robot.home + 0.3 * np.random.default_rng(0).uniform(-1, 1, (50, 6))
    q = np.clip(q, robot.lower, robot.upper)
    middle = dots.positions(robot.home).mean(0)
    cameras = [look_at(middle + d, middle) for d in ([0.6, -0.3, 0.4], [-0.5, -0.5, 0.5])]
    result = PixelRefiner(robot, cameras, tuple(places), held=["Jaw"]).refine(
        seen(cameras, dots, q), np.concatenate([np.tile(robot.home[:5], (50, 1)), q[:, 5:]], 1)
    )
    assert result.success.mean() > 0.9
    with pytest.raises(RobotError, match="no body 'Thumb' in"):
        with_dots(robot, {"dot": ("Thumb", [0, 0, 0])})
    with pytest.raises(RobotError, match="already has a site of that name"):
        with_dots(robot, places)
