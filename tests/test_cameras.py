"""Cameras: derivatives, OpenCV and MuJoCo's pictures as twins, calibration from recordings."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_cases import DOTS, LENS, jaw_arm, joints, look_at, seen, two_cameras

from hybrid_ik.apps import offscreen
from hybrid_ik.errors import InvalidInputError, RobotError
from hybrid_ik.pixels.cameras.arm_calibration import _ArmProblem, _State, calibrate_arm
from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.cameras.calibration import (
    CalibrationConfig,
    calibrate_camera,
    calibrate_cameras,
    moved_camera,
    parameter_jacobian,
)
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.cameras.triangulation import reprojection_errors, triangulate
from hybrid_ik.pose import Pose

needs_rendering = pytest.mark.skipif(offscreen.working_backend() is None, reason=offscreen.REMEDY)
SIZES = [(640, 480)] * 2
seeds = st.integers(0, 2**32 - 1)


def random_camera(rng) -> Camera:
    """Somewhere around the origin, with a random lens that does not fold inside the picture."""
    position = rng.normal(size=3)
    position *= rng.uniform(0.7, 1.5) / np.linalg.norm(position)
    lens = rng.uniform(-1, 1, 5) * [0.2, 0.05, 2e-3, 2e-3, 0.01]
    return look_at(position, 0.1 * rng.normal(size=3), rng.uniform(450, 900), lens, roll=rng.uniform(-3, 3))


def points_in_view(rng, shape=(40,)):
    return rng.uniform(-0.15, 0.15, (*shape, 3))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_projection_has_the_derivative_of_finite_differences(seed):
    rng = np.random.default_rng(seed)
    camera, points, h = random_camera(rng), points_in_view(rng), 1e-6
    differences = [(camera.project(points + h * d) - camera.project(points - h * d)) / (2 * h) for d in np.eye(3)]
    np.testing.assert_allclose(camera.jacobian(points), np.stack(differences, -1), rtol=1e-6, atol=1e-5)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_derivative_by_lens_and_pose_is_that_of_finite_differences(seed):
    rng = np.random.default_rng(seed)
    camera, points = random_camera(rng), points_in_view(rng)
    J, h = parameter_jacobian(camera, points), 1e-6
    for i, step in enumerate(h * np.eye(15)):
        difference = (moved_camera(camera, step).project(points) - moved_camera(camera, -step).project(points)) / (
            2 * h
        )
        np.testing.assert_allclose(J[..., i], difference, rtol=1e-5, atol=1e-5)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_projection_and_undistortion_are_opencvs(seed):
    rng = np.random.default_rng(seed)
    camera, points = random_camera(rng), points_in_view(rng)
    turn = cv2.Rodrigues(camera.R_camera_world)[0]
    theirs, _ = cv2.projectPoints(points, turn, camera.T_camera_world.position, camera.matrix, camera.distortion)
    np.testing.assert_allclose(camera.project(points), theirs[:, 0], atol=1e-7)

    pixels = camera.project(points)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-14)
    rays = cv2.undistortPoints(pixels[:, None], camera.matrix, camera.distortion, criteria=criteria)[:, 0]
    np.testing.assert_allclose(camera.undistort(pixels), rays, atol=1e-8)
    in_camera = camera.to_camera(points)
    np.testing.assert_allclose(camera.undistort(pixels), in_camera[:, :2] / in_camera[:, 2:], atol=1e-10)


@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (0,)])
def test_one_or_many_is_a_leading_axis(shape):
    camera, points = two_cameras()[0], points_in_view(np.random.default_rng(0), shape)
    pixels = camera.project(points)
    assert pixels.shape == (*shape, 2) and camera.jacobian(points).shape == (*shape, 2, 3)
    assert camera.undistort(pixels).shape == (*shape, 2)
    seen = np.stack([c.project(points) for c in two_cameras()], -2)
    np.testing.assert_allclose(triangulate(two_cameras(), seen), points, atol=1e-9)


def test_points_that_are_not_before_the_camera_are_nan():
    camera = look_at([0, -1, 0], [0, 0, 0])
    points = [[0, -2, 0], [0, -1, 0.3], [np.nan, 0, 0], [0, 0, 0]]
    assert np.isnan(camera.project(points)).all(-1).tolist() == [True, True, True, False]
    assert np.isnan(camera.jacobian(points)).all((-1, -2)).tolist()[:3] == [True, True, True]


def test_pixels_that_no_ray_reaches_are_nan():
    camera = look_at([0, -1, 0], [0, 0, 0], distortion=[-0.5, 0, 0, 0, 0])  # seen at most at 0.544 focal lengths
    pixels = camera.center + np.array([[500.0, 0.0], [300.0, 0.0], [np.nan, 0.0]])
    assert np.isnan(camera.undistort(pixels)).any(-1).tolist() == [True, False, True]


def test_plain_data_makes_the_same_camera_again():
    camera = two_cameras()[1]
    again = Camera.from_dict(json.loads(json.dumps(camera.to_dict())))
    points = points_in_view(np.random.default_rng(0))
    np.testing.assert_allclose(again.project(points), camera.project(points), atol=1e-9)
    with pytest.raises(InvalidInputError, match="not the plain data of a camera"):
        Camera.from_dict({"matrix": np.eye(3)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix": np.eye(4)}, r"Camera.matrix: expected finite numbers of shape \(3, 3\)"),
        ({"matrix": [[500, 2, 1], [0, 500, 1], [0, 0, 1]]}, "fx and fy > 0"),
        ({"distortion": [0.1, 0.2]}, r"Camera.distortion: .* \(5,\)"),
        ({"T_camera_world": Pose(np.zeros((2, 3)), [1, 0, 0, 0])}, "expected one pose"),
        ({"width": 0}, "Camera.width must be positive"),
    ],
)
def test_what_is_no_camera_is_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        replace(two_cameras()[0], **change)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_triangulation_is_the_way_back_and_opencvs(seed):
    rng = np.random.default_rng(seed)
    cameras = [random_camera(rng) for _ in range(3)]
    points = points_in_view(rng)
    pixels = np.stack([camera.project(points) for camera in cameras], -2)
    found = triangulate(cameras, pixels)
    apart = np.linalg.norm(cameras[0].position - cameras[1].position) > 0.3
    if apart:
        np.testing.assert_allclose(found, points, atol=1e-8)
        two = cameras[:2]
        Ps = [camera.T_camera_world.matrix()[:3] for camera in two]
        rays = [camera.undistort(pixels[:, i]).T for i, camera in enumerate(two)]
        theirs = cv2.triangulatePoints(*Ps, *rays)
        np.testing.assert_allclose(triangulate(two, pixels[:, :2]), (theirs[:3] / theirs[3]).T, atol=1e-6)


def test_triangulation_has_the_least_reprojection_error():
    rng, cameras = np.random.default_rng(0), two_cameras()
    points = points_in_view(rng) + np.array([0, 0.1, 0.15])
    pixels = np.stack([camera.project(points) for camera in cameras], -2) + rng.normal(size=(40, 2, 2))
    found = triangulate(cameras, pixels)
    squares = np.square(reprojection_errors(cameras, found, pixels)).sum(-1)
    for d in 1e-4 * np.concatenate([np.eye(3), -np.eye(3)]):
        assert (np.square(reprojection_errors(cameras, found + d, pixels)).sum(-1) > squares).all()


def test_missing_views_are_left_out_and_one_view_is_not_enough():
    rng = np.random.default_rng(1)
    cameras = [*two_cameras(), look_at([0.1, 0.9, 0.7], [0, 0.1, 0.1])]
    points = points_in_view(rng) + np.array([0, 0.1, 0.15])
    pixels = np.stack([camera.project(points) for camera in cameras], -2)
    pixels[:10, 0] = np.nan
    pixels[10:20, 1, 1] = np.nan  # half of a view is none
    pixels[20, :2] = pixels[21] = np.nan
    found = triangulate(cameras, pixels)
    assert np.flatnonzero(np.isnan(found).any(-1)).tolist() == [20, 21]
    good = np.isfinite(found).all(-1)
    np.testing.assert_allclose(found[good], points[good], atol=1e-9)


def test_views_from_one_place_fix_no_point():
    camera = two_cameras()[0]
    pixels = np.stack([camera.project([0, 0.1, 0.1])] * 2)
    assert np.isnan(triangulate([camera, camera], pixels)).all()


def test_pixels_of_another_number_of_cameras_are_refused():
    with pytest.raises(InvalidInputError, match=r"expected shape \(\*batch, 2, 2\) for 2 cameras, got \(3, 2\)"):
        triangulate(two_cameras(), np.zeros((3, 2)))


# What a lens of MuJoCo is given by: the angle, or a sensor with a principal point away from its middle.
LENSES = ["fovy='50'", "sensorsize='.0048 .0036' focal='.004 .005' resolution='320 240' principal='.0004 -.0002'"]


def _scene(lens: str):
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><visual><map znear='.01'/><headlight ambient='1 1 1' diffuse='0 0 0' specular='0 0 0'/></visual>"
        f"<worldbody><camera name='eye' pos='1 -.8 .9' xyaxes='.6 .8 .05 -.35 .2 .9' {lens}/>"
        "<camera name='flat' projection='orthographic'/>"
        "<geom type='sphere' size='.03' pos='.1 .1 .2' rgba='1 0 0 1'/></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@needs_rendering
@pytest.mark.parametrize("lens", LENSES)
def test_a_camera_of_mujoco_sees_what_mujoco_draws(lens):
    model, data = _scene(lens)
    width, height = 320, 240
    context = offscreen.open_context(width, height)
    drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, drawing)
    view, scene = mujoco.MjvCamera(), mujoco.MjvScene(model, 10)
    view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
    everything = mujoco.mjtCatBit.mjCAT_ALL
    mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), mujoco.MjvPerturb(), view, everything, scene)
    picture, frame = np.empty((height, width, 3), np.uint8), mujoco.MjrRect(0, 0, width, height)
    mujoco.mjr_render(frame, scene, drawing)
    mujoco.mjr_readPixels(picture, None, frame, drawing)
    drawing.free()
    context.free()
    red = np.argwhere((picture[::-1, :, 0] > 100) & (picture[::-1, :, 1] < 60))
    camera = Camera.from_mujoco(model, data, "eye", width, height)
    assert len(red) > 50
    np.testing.assert_allclose(camera.project([0.1, 0.1, 0.2]), red.mean(0)[::-1], atol=0.15)


def test_a_camera_that_is_not_there_or_no_pinhole_is_refused():
    model, data = _scene(LENSES[0])
    with pytest.raises(RobotError, match="no camera 'ear' in the model; cameras: eye, flat"):
        Camera.from_mujoco(model, data, "ear", 320, 240)
    with pytest.raises(RobotError, match="orthographic"):
        Camera.from_mujoco(model, data, "flat", 320, 240)


@pytest.fixture(scope="module")
def recording():
    """An arm with dots, joints of 300 frames, and pixels with half a pixel of noise, 5 % of them anywhere."""
    rng, cameras = np.random.default_rng(3), two_cameras()
    dots = ArmDots(jaw_arm(), DOTS)
    q = joints(dots.robot, 300, rng)
    pixels = seen(cameras, dots, q)
    pixels += rng.normal(size=pixels.shape) * 0.5
    wrong = rng.random(pixels.shape[:-1]) < 0.05
    pixels[wrong] = rng.uniform(0, 480, (wrong.sum(), 2))
    pixels[:20, 0] = np.nan
    return dots, q, pixels, wrong


def _arm_error(fits, dots) -> np.ndarray:
    """How far points of the arm lie off when the cameras found triangulate what the true ones see [m]."""
    q = joints(dots.robot, 200, np.random.default_rng(8))
    pixels = np.moveaxis(seen(two_cameras(), dots, q), -3, -2)
    return np.linalg.norm(triangulate([fit.camera for fit in fits], pixels) - dots.positions(q), axis=-1)


def test_calibration_finds_the_cameras_of_a_noisy_recording(recording):
    dots, q, pixels, wrong = recording
    fits = calibrate_cameras(dots, q, pixels, SIZES)
    for i, (fit, camera) in enumerate(zip(fits, two_cameras(), strict=True)):
        assert 0.9 * 0.5 * np.sqrt(2) < fit.rms < 1.1 * 0.5 * np.sqrt(2)
        assert fit.n_points == np.isfinite(pixels[:, i]).all(-1).sum() and fit.n_inliers < fit.n_points
        assert (fit.inliers & wrong[:, i]).sum() <= 2 and (~fit.inliers & ~wrong[:, i]).sum() - (
            40 if i == 0 else 0
        ) < 8
        off = fit.camera.R_camera_world @ (fit.camera.position - camera.position)
        assert (np.abs(off) < 5 * fit.position_deviation).all() and np.abs(off).max() < 5e-3
        assert abs(fit.camera.matrix[0, 0] - camera.matrix[0, 0]) < 5 * fit.focal_deviation
    error = _arm_error(fits, dots)
    assert error.mean() < 2e-4 and np.quantile(error, 0.99) < 1e-3 and error.max() < 2e-3


def test_calibration_without_noise_is_exact():
    dots = ArmDots(jaw_arm(), DOTS)
    q = joints(dots.robot, 60, np.random.default_rng(0))
    fits = calibrate_cameras(dots, q, seen(two_cameras(), dots, q), SIZES, CalibrationConfig(distortion_terms=5))
    assert all(fit.rms < 1e-3 for fit in fits)
    assert _arm_error(fits, dots).max() < 1e-5


def test_a_third_of_the_pairs_may_be_wrong():
    rng, dots = np.random.default_rng(5), ArmDots(jaw_arm(), DOTS)
    q = joints(dots.robot, 200, rng)
    pixels = seen(two_cameras(), dots, q) + rng.normal(size=(200, 2, 2, 2)) * 0.5
    wrong = rng.random(pixels.shape[:-1]) < 0.33
    pixels[wrong] = rng.uniform(0, 480, (wrong.sum(), 2))
    assert _arm_error(calibrate_cameras(dots, q, pixels, SIZES), dots).max() < 2e-3


def test_fewer_unknowns_keep_what_they_leave_out(recording):
    dots, q, pixels, _ = recording
    config = CalibrationConfig(principal_point=False, distortion_terms=1, square_pixels=False)
    camera = calibrate_cameras(dots, q, pixels, SIZES, config)[0].camera
    assert camera.center.tolist() == [319.5, 239.5] and (camera.distortion[1:] == 0).all()
    assert camera.matrix[0, 0] != camera.matrix[1, 1]


def test_the_derivative_by_cameras_and_arm_is_that_of_finite_differences(recording):
    dots, q, pixels, _ = recording
    problem = _ArmProblem(dots, q[:10], pixels[:10], CalibrationConfig().basis(), np.full(12, 3.0))
    state, h = _State(tuple(two_cameras()), 0.01 * np.arange(12.0)), 1e-6
    J = problem.jacobian(state)
    for i, step in enumerate(h * np.eye(J.shape[-1])):
        up, down = problem.moved(state, step), problem.moved(state, -step)
        difference = (problem.residuals(up) - problem.residuals(down)) / (2 * h)
        np.testing.assert_allclose(J[..., i], difference, rtol=1e-5, atol=1e-4)
        slope = (problem.prior(up)[0] - problem.prior(down)[0]) / (2 * h)
        np.testing.assert_allclose(2 * problem.prior(state)[1][i], slope, atol=1e-6)


def test_zeros_of_joints_and_places_of_dots_are_found_with_the_cameras():
    rng, believed = np.random.default_rng(7), ArmDots(jaw_arm(), DOTS)
    offsets = np.radians([0.0, 1.5, -2.0, 1.0, -1.5, 0.0])
    true = ArmDots(believed.robot, DOTS, [[0.003, -0.002, 0.004], [-0.002, 0.003, 0.002]])
    q = joints(believed.robot, 200, rng)
    pixels = seen(two_cameras(), true, q + offsets)
    pixels += rng.normal(size=pixels.shape) * 0.5
    wrong = rng.random(pixels.shape[:-1]) < 0.05
    pixels[wrong] = rng.uniform(0, 480, (wrong.sum(), 2))
    rough = calibrate_cameras(believed, q, pixels, SIZES)
    fit = calibrate_arm(believed, q, pixels, [fit.camera for fit in rough])
    assert min(fit.rms for fit in rough) > 2.0 and 0.6 < fit.rms < 0.8
    assert np.degrees(np.abs(fit.offsets - offsets)[1:4]).max() < 0.2
    assert np.abs(fit.dots.shifts - true.shifts)[0].max() < 1e-3
    assert (fit.inliers & wrong).sum() <= 3 and fit.inliers.shape == wrong.shape
    fresh = joints(believed.robot, 100, rng)
    places = np.stack([camera.project(fit.dots.positions(fresh + fit.offsets)) for camera in fit.cameras], 1)
    assert np.median(np.linalg.norm(places - seen(two_cameras(), true, fresh + offsets), axis=-1)) < 0.2


def test_arms_that_cannot_be_calibrated_are_refused(recording):
    dots, q, pixels, _ = recording
    with pytest.raises(InvalidInputError, match=r"expected joints \(m, 6\)"):
        calibrate_arm(dots, q[:5], pixels, two_cameras())
    with pytest.raises(InvalidInputError, match="all dots are missing"):
        calibrate_arm(dots, q, np.full_like(pixels, np.nan), two_cameras())
    away = [two_cameras()[0], look_at([0.8, 0.15, 0.4], [2.0, 0.1, 0.1])]
    with pytest.raises(InvalidInputError, match=r"camera 1: no dot is before it.*calibrate_cameras"):
        calibrate_arm(dots, q, pixels, away)
    with pytest.raises(InvalidInputError, match=r"shifts: expected shape \(2, 3\)"):
        ArmDots(dots.robot, DOTS, [1.0, 2.0, 3.0])


def test_what_does_not_fix_a_camera_is_refused():
    rng, camera = np.random.default_rng(0), two_cameras()[0]
    points = points_in_view(rng, (50,))
    few = np.where(np.arange(50)[:, None] < 9, camera.project(points), np.nan)
    with pytest.raises(InvalidInputError, match=r"at least 12 points .* got 9 that are not NaN, of 50"):
        calibrate_camera(points, few, 640, 480)
    with pytest.raises(InvalidInputError, match="got 0 that are not NaN"):
        calibrate_camera(points, np.full((50, 2), np.nan), 640, 480)
    for scale, message in (([1, 1, 0], "in one plane"), ([1, 0, 0], "on one line"), ([0, 0, 0], "do not move")):
        with pytest.raises(InvalidInputError, match=message):
            calibrate_camera(points * scale, camera.project(points * scale), 640, 480)
    with pytest.raises(
        InvalidInputError, match=r"the pixels do not move \(all within 0.[23] px of each other\).* 50 points"
    ):
        calibrate_camera(points, [100.0, 200.0] + 0.1 * rng.uniform(-1, 1, (50, 2)), 640, 480)
    with pytest.raises(InvalidInputError, match="of one batch shape"):
        calibrate_camera(points, np.zeros((49, 2)), 640, 480)
    with pytest.raises(InvalidInputError, match="distortion_terms: expected 0 to 5"):
        CalibrationConfig(distortion_terms=6)
    dots = ArmDots(jaw_arm(), DOTS)
    q = np.tile(dots.robot.home, (30, 1))
    with pytest.raises(InvalidInputError, match="camera 0: the points"):  # an arm at rest: two points
        calibrate_cameras(dots, q, seen(two_cameras(), dots, q), SIZES)
    with pytest.raises(InvalidInputError, match=r"pixels: expected shape \(30, 2, 2, 2\)"):
        calibrate_cameras(dots, q, np.zeros((30, 2, 1, 2)), SIZES)


def test_the_lens_of_the_tests_does_not_fold_in_the_picture():
    corners = np.array([[0, 0], [639, 0], [0, 479], [639, 479]])
    assert np.isfinite(look_at([0, -1, 0], [0, 0, 0], 550.0, LENS).undistort(corners)).all()
