"""Cameras from a recording: the joints are known, so is where the dots were, and the pixels say how it was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.cameras.calibration_start import first_guesses
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.cameras.lens import coefficient_jacobian, distort
from hybrid_ik.pixels.cameras.robust_fit import RobustFit
from hybrid_ik.pose import Pose, multiply_quaternions

Array = NDArray[np.float64]

MIN_POINTS = 12
STILL = 1e-3  # m: the points are spread less than this
LEAST_MOTION = 2.0  # px: of what moves, pixels are spread more than this
FLAT = 0.01  # the smallest spread of the points, as a share of the largest
POSE = slice(9, 15)


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig:
    """What of a camera is solved for, besides its pose: the fewer, the less must be seen in the recording."""

    square_pixels: bool = True
    """One focal length, not two."""
    principal_point: bool = True
    """Solved for; else it stays in the middle of the picture."""
    distortion_terms: int = 2
    """The first so many of (k1, k2, p1, p2, k3), from 0 to 5; the others stay 0."""

    def __post_init__(self) -> None:
        if self.distortion_terms not in range(6):
            raise InvalidInputError(
                f"CalibrationConfig.distortion_terms: expected 0 to 5, got {self.distortion_terms!r}"
            )

    def basis(self) -> Array:
        """(15, k): which of (fx, fy, cx, cy, k1, k2, p1, p2, k3, turn, shift) each unknown changes."""
        B = np.eye(15)
        focal = [B[:, 0] + B[:, 1]] if self.square_pixels else [B[:, 0], B[:, 1]]
        center = [B[:, 2], B[:, 3]] if self.principal_point else []
        lens = [B[:, 4 + i] for i in range(self.distortion_terms)]
        return np.stack([*focal, *center, *lens, *B.T[POSE]], -1)


@dataclass(frozen=True, kw_only=True)
class CameraFit:
    """A camera, and how well it explains what it was found from."""

    camera: Camera
    """Its calibration and pose."""
    rms: float
    """Root of the mean squared distance between pixels and projected points, of the inliers [pixels]."""
    median: float
    """Median of that distance over all pairs [pixels]."""
    inliers: NDArray[np.bool_]
    """`(*batch,)`: which pairs the camera was fitted to; the others are missing, or farther off than 4 sigma."""
    n_points: int
    """Pairs that were given and not NaN."""
    focal_deviation: float
    """Standard deviation of the focal length fx [pixels]; large where the recording does not fix it."""
    position_deviation: Array
    """Standard deviations of the camera's place in its own axes (3,) [m]."""

    @property
    def n_inliers(self) -> int:
        """How many of the pairs it was fitted to."""
        return int(self.inliers.sum())


def calibrate_cameras(
    dots: ArmDots,
    q: ArrayLike,
    pixels: ArrayLike,
    sizes: Sequence[tuple[int, int]],
    config: CalibrationConfig = CalibrationConfig(),
    rng: np.random.Generator | None = None,
) -> tuple[CameraFit, ...]:
    """Each camera of a recording of joints and of the pixels of dots; see `calibrate_camera`.

    Pixels and joints must belong together row by row: a lag between them is the caller's to take out.

    Args:
        dots: on the arm.
        q: joints of the frames `(m, dof)` [rad, or m].
        pixels: `(m, n_cameras, n_dots, 2)`; NaN where a dot is not seen.
        sizes: width and height of each camera [pixels].
        config: what is solved for.
        rng: see `calibrate_camera`.

    Raises:
        InvalidInputError: as `calibrate_camera`, with the camera's number; or shapes that do not go together.
    """
    points = dots.positions(q)
    seen = np.asarray(pixels, dtype=float)
    wanted = (*points.shape[:-2], len(sizes), dots.n_dots, 2)
    if seen.shape != wanted:
        raise InvalidInputError(f"pixels: expected shape {wanted} for joints {np.shape(q)}, got {seen.shape}")
    fits = []
    for i, (width, height) in enumerate(sizes):
        try:
            fits.append(calibrate_camera(points, seen[..., i, :, :], width, height, config, rng))
        except InvalidInputError as error:
            raise InvalidInputError(f"camera {i}: {error}") from error
    return tuple(fits)


def calibrate_camera(
    points_world: ArrayLike,
    pixels: ArrayLike,
    width: int,
    height: int,
    config: CalibrationConfig = CalibrationConfig(),
    rng: np.random.Generator | None = None,
) -> CameraFit:
    r"""The camera that sees points of the world at given pixels: min of the sum of rho(|project(X_i) - u_i|).

    From linear guesses (`first_guesses`), Levenberg and Marquardt's method on a soft L1 sum, then on the squares of the
    pairs that are no outliers; see `RobustFit`. A third of the pairs may be wrong.

    Args:
        points_world: `(*batch, 3)` [m].
        pixels: `(*batch, 2)`; pairs of which one is NaN are left out.
        width: of the picture [pixels].
        height: of the picture [pixels].
        config: what is solved for.
        rng: chooses samples for the first guess; by default always the same ones.

    Raises:
        InvalidInputError: shapes that do not go together, fewer than 12 pairs, or points that do not move, or lie on
            one line or in one plane, or pixels that do not move: these do not fix a camera.
    """
    points, seen, valid = _pairs(points_world, pixels)
    _check_spread(points[valid])
    _check_motion(seen[valid])
    rng = np.random.default_rng(0) if rng is None else rng
    fit = CameraProblem(points[valid], seen[valid], config.basis())
    guesses = first_guesses(fit.points, fit.pixels, (width, height), rng)
    pose_and_focal = CalibrationConfig(principal_point=False, distortion_terms=0).basis()
    coarse = CameraProblem(fit.points, fit.pixels, pose_and_focal)
    camera = min((coarse.robust(guess) for guess in guesses), key=lambda camera: float(np.median(fit.errors(camera))))
    camera, good = fit.trimmed(fit.robust(camera))
    inliers = np.zeros(len(points), dtype=bool)
    inliers[valid] = good
    return _report(fit, camera, good, inliers.reshape(np.shape(points_world)[:-1]))


class CameraProblem(RobustFit[Camera]):
    """A camera that sees points (n, 3) at pixels (n, 2), and which of its 15 unknowns may change (15, k)."""

    def __init__(self, points: Array, pixels: Array, basis: Array) -> None:
        self.points, self.pixels, self.basis = points, pixels, basis

    def residuals(self, state: Camera) -> Array:
        """See `RobustFit`."""
        return state.project(self.points) - self.pixels

    def jacobian(self, state: Camera) -> Array:
        """See `RobustFit`."""
        return parameter_jacobian(state, self.points) @ self.basis

    def moved(self, state: Camera, step: Array) -> Camera | None:
        """See `RobustFit`."""
        return moved_camera(state, self.basis @ step)


def parameter_jacobian(camera: Camera, points: Array) -> Array:
    """d pixel / d (fx, fy, cx, cy, k1, k2, p1, p2, k3, w, v) `(n, 2, 15)` for points `(n, 3)` [m].

    w [rad] and v [m] move the camera's frame: points R X + t in it become exp(w) R X + t + v.
    """
    turned = points @ camera.R_camera_world.T
    in_camera = turned + camera.T_camera_world.position
    rays = in_camera[:, :2] / in_camera[:, 2:]
    J = np.zeros((len(points), 2, 15))
    seen = distort(rays, camera.distortion)
    J[:, 0, 0], J[:, 1, 1] = seen[:, 0], seen[:, 1]
    J[:, 0, 2] = J[:, 1, 3] = 1.0
    J[:, :, 4:9] = camera.focal_lengths[:, None] * coefficient_jacobian(rays)
    J[:, :, 12:15] = camera.camera_jacobian(points)
    J[:, :, 9:12] = np.cross(turned[:, None], J[:, :, 12:15])  # a . (w x p) = w . (p x a)
    return J


def moved_camera(camera: Camera, step: Array) -> Camera | None:
    """The camera after a step (15,) of `parameter_jacobian`; None where it would be none."""
    focal = camera.focal_lengths + step[:2]
    if not (focal > 0.05 * camera.focal_lengths).all():
        return None
    matrix = camera.matrix.copy()
    matrix[[0, 1], [0, 1]] = focal
    matrix[:2, 2] += step[2:4]
    angle = np.linalg.norm(step[9:12])
    turn = np.append(np.cos(angle / 2), 0.5 * np.sinc(angle / (2 * np.pi)) * step[9:12])
    pose = camera.T_camera_world
    moved = Pose(pose.position + step[12:15], multiply_quaternions(turn, pose.quaternion))
    return replace(camera, matrix=matrix, distortion=camera.distortion + step[4:9], T_camera_world=moved)


def _report(fit: CameraProblem, camera: Camera, good: NDArray[np.bool_], inliers: NDArray[np.bool_]) -> CameraFit:
    errors = fit.errors(camera)
    rms = float(np.sqrt(np.square(errors[good]).mean()))
    A, _ = fit.normal_equations(camera, np.inf, good)
    covariance = fit.basis @ np.linalg.pinv(A, hermitian=True) @ fit.basis.T * 0.5 * rms**2
    # The place c = -R^T t in the camera's axes changes by -v + w x t.
    t = camera.T_camera_world.position
    D = np.concatenate([np.cross(np.eye(3), t).T, -np.eye(3)], -1)
    position = D @ covariance[POSE, POSE] @ D.T
    return CameraFit(
        camera=camera,
        rms=rms,
        median=float(np.median(errors)),
        inliers=inliers,
        n_points=len(errors),
        focal_deviation=float(np.sqrt(covariance[0, 0])),
        position_deviation=np.sqrt(np.diag(position)),
    )


def _pairs(points_world: ArrayLike, pixels: ArrayLike) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Points (n, 3), pixels (n, 2), and which of them are finite (n,)."""
    points, seen = np.asarray(points_world, dtype=float), np.asarray(pixels, dtype=float)
    if points.shape[-1:] != (3,) or seen.shape != (*points.shape[:-1], 2):
        raise InvalidInputError(
            f"expected points (*batch, 3) and pixels (*batch, 2) of one batch shape, got {points.shape}, {seen.shape}"
        )
    points, seen = points.reshape(-1, 3), seen.reshape(-1, 2)
    valid = np.isfinite(points).all(-1) & np.isfinite(seen).all(-1)
    if valid.sum() < MIN_POINTS:
        raise InvalidInputError(
            f"a camera needs at least {MIN_POINTS} points with their pixels, got {valid.sum()} that are not NaN, of "
            f"{len(points)}"
        )
    return points, seen, valid


def _check_spread(points: Array) -> None:
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False) / np.sqrt(len(points))
    thin = spread < (STILL, FLAT * spread[0], FLAT * spread[0])
    if thin.any():
        what = ("do not move", "lie on one line", "lie in one plane")[int(np.argmax(thin))]
        sizes = ", ".join(f"{x:.2g}" for x in spread)
        raise InvalidInputError(
            f"the points {what} (their spread along three axes is {sizes} m): these do not fix a camera; record "
            "motions of all joints"
        )


def _check_motion(pixels: Array) -> None:
    """A camera that is infinitely far away explains any points by one pixel."""
    extent = float(np.linalg.norm(np.ptp(pixels, axis=0)))
    if extent < LEAST_MOTION:
        raise InvalidInputError(
            f"the pixels do not move (all within {extent:.1f} px of each other), as of a dot that was not followed, "
            f"and belong to {len(pixels)} points that do; look at the dots with `hybrid-ik pixels verify-dots`"
        )
