"""Cameras, zeros of the joints and places of the dots together, from one recording: all that is not known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.cameras.calibration import CalibrationConfig, moved_camera, parameter_jacobian
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.cameras.robust_fit import RobustFit
from hybrid_ik.pixels.cameras.triangulation import views

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ArmFit:
    """What a recording says of cameras and arm."""

    cameras: tuple[Camera, ...]
    """The cameras, solved for again."""
    offsets: Array
    """(dof,): the model's joints are those recorded plus these [rad, or m]."""
    dots: ArmDots
    """The dots with their shifts; a `PixelRefiner` takes them in place of names."""
    rms: float
    """Root of the mean squared distance between pixels and projected dots, of the inliers [pixels]."""
    inliers: NDArray[np.bool_]
    """`(m, n_cameras, n_dots)`: which pixels it was fitted to."""


def calibrate_arm(
    dots: ArmDots,
    q: ArrayLike,
    pixels: ArrayLike,
    cameras: Sequence[Camera],
    config: CalibrationConfig = CalibrationConfig(),  # noqa: B008
    *,
    offset_deviation: float = 0.1,
    shift_deviation: float = 0.02,
    held: Sequence[str] = (),
) -> ArmFit:
    r"""Cameras, offsets a of the joints, and shifts s of the dots that explain a recording.

    min of the sum of rho(|project_c(p_k(q + a) + R_k(q + a) s_k) - u_ck|) + |a / sigma_a|^2 + |s / sigma_s|^2 [px^2],
    with rho of `RobustFit`. What pixels cannot tell (a turn of the whole arm from one of the cameras, a dot's turn from
    one of the last joint) is left to the priors: it changes nothing of what is seen.

    Args:
        dots: on the arm, where they are believed to be.
        q: joints of the frames as recorded `(m, dof)` [rad, or m].
        pixels: `(m, n_cameras, n_dots, 2)`; NaN where a dot is not seen.
        cameras: from `calibrate_cameras`.
        config: what of the cameras is solved for.
        offset_deviation: sigma_a, how far zeros may be off [rad, or m].
        shift_deviation: sigma_s, how far dots may be off [m].
        held: names of joints whose offset stays 0.

    Raises:
        InvalidInputError: shapes that do not go together, no pixels, or a camera that no dot is before.
    """
    joints, seen = np.asarray(q, dtype=float), views(cameras, pixels, dots.n_dots)
    if joints.shape != (len(seen), dots.robot.dof) or seen.ndim != 4:
        raise InvalidInputError(
            f"expected joints (m, {dots.robot.dof}) and pixels (m, {len(cameras)}, {dots.n_dots}, 2), "
            f"got {joints.shape} and {seen.shape}"
        )
    if not (np.isfinite(joints).all(-1)[:, None, None] & np.isfinite(seen).all(-1)).any():
        raise InvalidInputError("pixels: all dots are missing")
    _check_before(dots, joints, cameras)
    weights = np.repeat([1 / offset_deviation, 1 / shift_deviation], [dots.robot.dof, 3 * dots.n_dots])
    free = np.array([name not in held for name in dots.robot.joint_names])
    problem = _ArmProblem(dots, joints, seen, config.basis(), weights, free)
    start = _State(tuple(cameras), np.zeros(len(weights)))
    state, good = problem.trimmed(problem.robust(start))
    inliers = np.zeros(seen.shape[:-1], dtype=bool)
    inliers[problem.valid] = good
    rms = float(np.sqrt(np.square(problem.errors(state)[good]).mean()))
    offsets, shifts = problem.split(state)
    placed = ArmDots(dots.robot, dots.sites, dots.shifts + shifts)
    return ArmFit(cameras=state.cameras, offsets=offsets, dots=placed, rms=rms, inliers=inliers)


def _check_before(dots: ArmDots, q: Array, cameras: Sequence[Camera]) -> None:
    points = dots.positions(q)
    for i, camera in enumerate(cameras):
        if not np.isfinite(camera.project(points)).any():
            raise InvalidInputError(
                f"camera {i}: no dot is before it in any of {len(q)} frames; take those that calibrate_cameras found "
                "for this recording"
            )


@dataclass(frozen=True)
class _State:
    cameras: tuple[Camera, ...]
    arm: Array
    """Offsets (dof,), then shifts (n_dots * 3,)."""


class _ArmProblem(RobustFit[_State]):
    """The unknowns: k of each camera after the other, offsets, shifts."""

    def __init__(
        self,
        dots: ArmDots,
        q: Array,
        pixels: Array,
        basis: Array,
        weights: Array,
        free: NDArray[np.bool_] | bool = True,
    ) -> None:
        self.dots, self.q, self.pixels, self.basis, self.weights, self.free = dots, q, pixels, basis, weights, free
        self.valid: NDArray[np.bool_] = np.all(np.isfinite(pixels), -1) & np.all(np.isfinite(q), -1)[:, None, None]
        self.k = basis.shape[1]

    def split(self, state: _State) -> tuple[Array, Array]:
        """Offsets (dof,) and shifts (n_dots, 3)."""
        dof = self.dots.robot.dof
        return state.arm[:dof], state.arm[dof:].reshape(-1, 3)

    def residuals(self, state: _State) -> Array:
        """See `RobustFit`."""
        offsets, shifts = self.split(state)
        points = self._placed(shifts).positions(self.q + offsets)
        return (np.stack([camera.project(points) for camera in state.cameras], 1) - self.pixels)[self.valid]

    def jacobian(self, state: _State) -> Array:
        """See `RobustFit`."""
        offsets, shifts = self.split(state)
        q, placed = self.q + offsets, self._placed(shifts)
        points, J_dots = placed.jacobians(q)
        R_world_dot, (m, n_dots, _), dof = placed.rotations(q), points.shape, self.dots.robot.dof
        J = np.zeros((m, len(state.cameras), n_dots, 2, self.k * len(state.cameras) + len(self.weights)))
        for c, camera in enumerate(state.cameras):
            own = parameter_jacobian(camera, points.reshape(-1, 3)) @ self.basis
            J[:, c, :, :, c * self.k : (c + 1) * self.k] = own.reshape(m, n_dots, 2, self.k)
            by_point = camera.jacobian(points)
            arm = J[:, c, :, :, -len(self.weights) :]
            arm[..., :dof] = by_point @ J_dots * self.free
            for d in range(n_dots):
                arm[:, d, :, dof + 3 * d : dof + 3 * d + 3] = by_point[:, d] @ R_world_dot[:, d]
        return J[self.valid]

    def moved(self, state: _State, step: Array) -> _State | None:
        """See `RobustFit`."""
        own = [self.basis @ step[c * self.k : (c + 1) * self.k] for c in range(len(state.cameras))]
        cameras = [moved_camera(camera, x) for camera, x in zip(state.cameras, own, strict=True)]
        good = tuple(camera for camera in cameras if camera is not None)
        return _State(good, state.arm + step[-len(self.weights) :]) if len(good) == len(cameras) else None

    def prior(self, state: _State) -> tuple[float, Array, Array]:
        """See `RobustFit`."""
        square = np.concatenate([np.zeros(self.k * len(state.cameras)), self.weights**2])
        off = np.concatenate([np.zeros(self.k * len(state.cameras)), state.arm])
        return float((square * off**2).sum()), square * off, square

    def _placed(self, shifts: Array) -> ArmDots:
        return ArmDots(self.dots.robot, self.dots.sites, self.dots.shifts + shifts)
