"""The refiner on pixels: Levenberg-Marquardt on the reprojection errors of dots, all frames side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.cameras.pixel_descent import PixelDescent
from hybrid_ik.pixels.cameras.pixel_residual import Observation, PixelResidual
from hybrid_ik.pixels.cameras.pixel_result import PixelResult
from hybrid_ik.pixels.cameras.triangulation import views
from hybrid_ik.pose import Pose
from hybrid_ik.result import IKResult, Status
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]

# Steps that all starts of a search take, and how many go on then: the others seldom get anywhere. Of 1200 synthetic
# frames with 16 random starts, this takes 0.42 of the time of all starts to the end, and 2 (6) answers have an error
# that is more than 0.01 px larger where 6 (4) go on; of 300 frames of a drawn recording none.
FEW_STEPS, FEW = 8, 6
# px: less than this is noise, and does not tell which dot was followed wrongly. Of 400 frames with one dot 20 px off,
# started 0.1 (0.3) rad off, 0.93 (0.89) of the tips came within 3 mm with the answer nearest to the start among those
# that leave less, 0.79 (0.82) with that of the least error, 0.07 (0.07) with all dots.
NOISE = 1.0


@dataclass(frozen=True, kw_only=True)
class PixelRefinerConfig:
    """How the refiner steps, what it weighs, and when it stops."""

    max_iterations: int = 50
    """Steps tried of one start."""
    pixel_tolerance: float = 3.0
    """Success threshold on `PixelResult.pixel_error` [pixels]."""
    step_tolerance: float = 1e-7
    """Joints whose step is shorter than this [rad or m] have come to rest."""
    damping: float = 0.1
    """At the start, in units of the mean diagonal of J^T W J; then it follows the success of the steps."""
    robust_scale: float | None = None
    """Distance [pixels] from which on a dot counts by its distance rather than its square; None for squares."""
    prior_weight: float = 0.0
    """Pull towards the prior [pixels per rad or m]; 0 for none. It decides what the pixels leave open."""

    def __post_init__(self) -> None:
        for name in ("pixel_tolerance", "step_tolerance", "damping"):
            if not 0 < getattr(self, name) < np.inf:
                raise InvalidInputError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if self.robust_scale is not None and not 0 < self.robust_scale < np.inf:
            raise InvalidInputError(f"robust_scale must be None or positive, got {self.robust_scale}")
        if not 0 <= self.prior_weight < np.inf:
            raise InvalidInputError(f"prior_weight must be at least 0, got {self.prior_weight}")
        if self.max_iterations < 0:
            raise InvalidInputError(f"max_iterations must not be negative, got {self.max_iterations}")


class PixelRefiner:
    """Joints from the pixels of dots in several cameras. Each thread needs one of its own.

    Args:
        robot: the arm; with a tip on a jaw that moves, the jaw's joint is among its joints.
        cameras: calibrated, in the world of the robot's model.
        sites: names of the dots, sites of the robot's model (`with_dots` adds some); or the dots themselves.
        held: names of joints that keep the values they start from, as that of the jaw.
        config: steps, weights and tolerances.

    Raises:
        RobotError: no such site.
        InvalidInputError: no cameras, or no such joint.
    """

    def __init__(
        self,
        robot: Robot,
        cameras: Sequence[Camera],
        sites: Sequence[str] | ArmDots,
        held: Sequence[str] = (),
        config: PixelRefinerConfig = PixelRefinerConfig(),
    ) -> None:
        if unknown := sorted(set(held) - set(robot.joint_names)):
            raise InvalidInputError(
                f"held: no joints {unknown} in {robot.name!r}; joints: {', '.join(robot.joint_names)}"
            )
        if not cameras:
            raise InvalidInputError("cameras: expected at least one, got none")
        self.robot, self.config, self.cameras = robot, config, tuple(cameras)
        self.dots = ArmDots(robot, sites.sites, sites.shifts) if isinstance(sites, ArmDots) else ArmDots(robot, sites)
        self.residual = PixelResidual(self.dots, self.cameras, config.robust_scale, config.prior_weight)
        self._held = np.array([name in held for name in robot.joint_names])

    def refine(
        self, pixels: ArrayLike, q0: ArrayLike, *, weights: ArrayLike | None = None, prior: ArrayLike | None = None
    ) -> PixelResult:
        """Joints of the least cost near their starts; the cost is that of `PixelResidual`.

        Args:
            pixels: `(*batch, n_cameras, n_dots, 2)`; dots that are not seen are NaN.
            q0: starts `(*batch, dof)` [rad, or m]; those outside the limits are moved onto them and flagged. Batches
                broadcast: one start for all frames, or several starts for each.
            weights: of the squared distances, `(*batch, n_cameras, n_dots)`, at least 0; by default all 1.
            prior: joints that `prior_weight` pulls to; by default the starts.

        Returns:
            Results over `(*batch,)`. Where fewer numbers are seen than there are joints, those stay near their start
            that the pixels do not fix.

        Raises:
            InvalidInputError: shapes that do not go together, or negative weights.
        """
        seen, starts, batch = self._prepared(pixels, q0, weights, prior)
        descent = PixelDescent(self.residual, self._held, self.config, seen, starts)
        descent.go_on(self.config.max_iterations)
        return self._judged(descent, np.arange(len(starts))).reshape(*batch)

    def refine_without_one(
        self, pixels: ArrayLike, q0: ArrayLike, *, weights: ArrayLike | None = None, prior: ArrayLike | None = None
    ) -> PixelResult:
        """As `refine`; frames that miss their pixels are tried again without each of the dots in each camera.

        The one that is left out for the least error counts, if that is within tolerance: it was followed wrongly. Of
        answers that explain the others to within a pixel, each as good as the next, the nearest to its start. Two
        cameras and two dots give 8 numbers for 5 joints, 6 without one of them: just enough to tell which one.

        Raises:
            InvalidInputError: see `refine`.
        """
        first = self.refine(pixels, q0, weights=weights, prior=prior)
        seen, starts, batch = self._prepared(pixels, q0, weights, prior)
        found = first.reshape(len(starts))
        rows = np.flatnonzero(~found.success & (found.n_views > 2))
        n_cameras, n_dots = len(self.cameras), self.dots.n_dots
        without = 1.0 - np.eye(n_cameras * n_dots).reshape(-1, n_cameras, n_dots)
        again = self.refine(
            seen.pixels[rows, None],
            starts[rows, None],
            weights=seen.weights[rows, None] * without,
            prior=seen.prior[rows, None],
        )
        away = np.linalg.norm(again.q - starts[rows, None], axis=-1)
        worth = np.where(again.success, 1e3 * np.maximum(again.pixel_error, NOISE) + away, np.inf)
        best = again[np.arange(len(rows)), np.argmin(worth, -1)]
        for field in fields(PixelResult):
            getattr(found, field.name)[rows[best.success]] = getattr(best, field.name)[best.success]
        return found.reshape(*batch)

    def search(self, pixels: ArrayLike, q0: ArrayLike, *, weights: ArrayLike | None = None) -> PixelResult:
        """One answer for each frame: that of its starts `(*batch, n, dof)` which ends with the least error.

        All of them take 8 steps. Then the 6 of the least cost go on to the end, and where these miss the pixels, the
        others.

        Raises:
            InvalidInputError: see `refine`.
        """
        frames = views(self.cameras, pixels, self.dots.n_dots)[..., None, :, :, :]
        weighed = None if weights is None else self._checked_weights(weights)[..., None, :, :]
        seen, starts, batch = self._prepared(frames, q0, weighed, None)
        if not batch[-1]:
            raise InvalidInputError(f"q0: expected starts (*batch, n, {self.robot.dof}), n > 0, got {np.shape(q0)}")
        descent = PixelDescent(self.residual, self._held, self.config, seen, starts)
        best = np.argmin(self._search(descent, batch[-1]), -1)
        return self._judged(descent, np.arange(len(best)) * batch[-1] + best).reshape(*batch[:-1])

    def _search(self, descent: PixelDescent, n: int) -> Array:
        """Pixel errors `(m, n)` of the n starts of each frame, of which not all have gone on to the end; see `search`.

        They are infinite where there is none.
        """
        most = self.config.max_iterations
        descent.go_on(min(most, FEW_STEPS))
        rows = np.argsort(descent.cost.reshape(-1, n), -1, kind="stable") + n * np.arange(len(descent.q) // n)[:, None]
        descent.go_on(most - FEW_STEPS, rows[:, :FEW].ravel())
        errors = self.residual.rms(descent.q, descent.seen).reshape(-1, n)
        others = rows[~(errors <= self.config.pixel_tolerance).any(-1), FEW:].ravel()
        descent.go_on(most - FEW_STEPS, others)
        errors.flat[others] = self.residual.rms(descent.q[others], descent.seen.rows(others))
        return np.where(np.isnan(errors), np.inf, errors)

    def _judged(self, descent: PixelDescent, rows: NDArray[np.intp]) -> PixelResult:
        """What became of some rows of a descent."""
        q, seen, valid = descent.q[rows], descent.seen.rows(rows), descent.valid[rows]
        error = self.residual.rms(q, seen)
        success = error <= self.config.pixel_tolerance
        missed = np.where(descent.at_rest[rows] | ~np.isfinite(error), Status.STALLED, Status.MAX_ITERATIONS)
        status = np.where(valid, np.where(success, Status.CONVERGED, missed), Status.INVALID_INPUT)
        deviation = np.full(q.shape, np.inf)
        deviation[valid] = self.residual.deviation(q[valid], seen.rows(np.flatnonzero(valid)), self._held)
        return PixelResult(
            q=q,
            success=success,
            status=status.astype(np.int8),
            pixel_error=error,
            n_views=(seen.weights > 0).sum((1, 2)).astype(np.int32),
            deviation=deviation,
            iterations=descent.steps[rows],
            start_clipped=descent.start_clipped[rows],
        )

    def _prepared(
        self, pixels: ArrayLike, q0: ArrayLike, weights: ArrayLike | None, prior: ArrayLike | None
    ) -> tuple[Observation, Array, tuple[int, ...]]:
        """What was seen and the starts (n, dof), both of one flat batch, and the shape of the batch."""
        n_cameras, n_dots, dof = len(self.cameras), self.dots.n_dots, self.robot.dof
        frames = views(self.cameras, pixels, n_dots)
        views_shape = n_cameras, n_dots
        weighed = np.ones(views_shape) if weights is None else self._checked_weights(weights)
        starts = _checked("q0", q0, (dof,))
        wanted = starts if prior is None else _checked("prior", prior, (dof,))
        tails = (*views_shape, 2), views_shape, (dof,), (dof,)
        batch, (frames, weighed, starts, wanted) = _flattened((frames, weighed, starts, wanted), tails)
        missing: NDArray[np.bool_] = np.any(np.isnan(frames), axis=-1)
        weighed = np.where(missing, 0.0, weighed)
        return Observation(np.where(missing[..., None], 0.0, frames), weighed, wanted), starts, batch

    def _checked_weights(self, weights: ArrayLike) -> Array:
        weighed = _checked("weights", weights, (len(self.cameras), self.dots.n_dots))
        if not ((weighed >= 0) & (weighed < np.inf)).all():
            raise InvalidInputError("weights: expected finite numbers of at least 0")
        return weighed


def _checked(name: str, values: ArrayLike, tail: tuple[int, ...]) -> Array:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: expected numbers, got {values!r}") from error
    if array.shape[-len(tail) :] != tail:
        raise InvalidInputError(f"{name}: expected shape (*batch, {', '.join(map(str, tail))}), got {array.shape}")
    return array


def _flattened(arrays: Sequence[Array], tails: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[Array, ...]]:
    """The batch shape that arrays `(*batch, *tail)` have in common, and the arrays over all of it, as `(n, *tail)`."""
    leads = [array.shape[: array.ndim - len(tail)] for array, tail in zip(arrays, tails, strict=True)]
    try:
        batch = np.broadcast_shapes(*leads)
    except ValueError as error:
        raise InvalidInputError(
            f"no batch shape in common: pixels {leads[0]}, weights {leads[1]}, q0 {leads[2]}, prior {leads[3]}"
        ) from error
    n = math.prod(batch)
    return batch, tuple(
        np.broadcast_to(array, (*batch, *tail)).reshape(n, *tail) for array, tail in zip(arrays, tails, strict=True)
    )


def refine_on_point(solver: HybridSolver, points_world: ArrayLike, near: ArrayLike) -> IKResult:
    """The simpler variant: joints near given ones that put the solver's tip on points, as triangulated ones.

    Two dots fix five joints, their midpoint only three: the others stay about where `near` has them.

    Args:
        solver: with the site to be placed as its tip, and `LMConfig(orientation_weight=0)`.
        points_world: `(*batch, 3)` [m]; rows with NaN come back with `Status.INVALID_INPUT`.
        near: joints `(dof,)` or `(*batch, dof)` to stay close to.

    Returns:
        Results over `(*batch,)`; their `orientation_error` means nothing.

    Raises:
        InvalidInputError: shapes that do not go together, or a solver to which the orientation counts.
    """
    weight = solver.refiner.config.orientation_weight
    if weight != 0:
        raise InvalidInputError(
            f"solver: a point has no orientation, and orientation_weight is {weight}; "
            "make it with config=LMConfig(orientation_weight=0)"
        )
    points = np.asarray(points_world, dtype=float)
    if points.ndim == 0 or points.shape[-1] != 3:
        raise InvalidInputError(f"points_world: expected shape (*batch, 3), got {points.shape}")
    rows = points.reshape(-1, 3)
    T_world_point = Pose(rows, np.broadcast_to([1.0, 0.0, 0.0, 0.0], (len(rows), 4)))
    joints = np.broadcast_to(near, (*points.shape[:-1], solver.robot.dof)).reshape(-1, solver.robot.dof)
    found = solver.solve(solver.robot.T_world_base.inverse() @ T_world_point, near=joints)
    return found.reshape(*points.shape[:-1])
