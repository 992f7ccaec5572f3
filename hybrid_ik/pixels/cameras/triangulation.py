"""Points of the world from their pixels in several cameras."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.cameras.camera import Camera

Array = NDArray[np.float64]

# Square of the angle [rad] between rays that are as good as parallel: what is seen lies anywhere along them.
PARALLEL = 1e-8
MOST_STEPS = 10  # of Gauss and Newton; noise of some pixels takes 2 to 4
AT_REST = 1e-9  # m
SINGULAR = 1e-12  # a determinant, in units of the cube of the mean diagonal: no step is taken


def triangulate(cameras: Sequence[Camera], pixels: ArrayLike) -> Array:
    r"""The points whose reprojection errors are least: min over X of the sum of |project_c(X) - u_c|^2.

    That is what Hartley and Sturm (1997, "Triangulation") make least, who solve a polynomial for two cameras. Here, for
    any number and with lenses, Gauss and Newton's method starts at the midpoint of the rays, which is linear: min of
    the sum of |(I - d_c d_c^T)(X - o_c)|^2 for rays from o_c along d_c.

    Args:
        cameras: n_cameras of them.
        pixels: `(*batch, n_cameras, 2)`; views that are missing are NaN.

    Returns:
        `(*batch, 3)` [m]; NaN where there are fewer than two views, where their rays are parallel, or where they meet
        behind a camera.

    Raises:
        InvalidInputError: the last axes of `pixels` are not `(n_cameras, 2)`.
    """
    seen = views(cameras, pixels)
    rows = seen.reshape(-1, len(cameras), 2)
    points = ray_midpoint(cameras, rows)
    cost = _cost(cameras, points, rows)
    for _ in range(MOST_STEPS):
        step = _gauss_newton_step(cameras, points, rows)
        moved = points + step
        new = _cost(cameras, moved, rows)
        better = new < cost
        points, cost = np.where(better[:, None], moved, points), np.where(better, new, cost)
        if not (better & (np.abs(step).max(-1) > AT_REST)).any():
            break
    points = np.where(np.isfinite(cost)[:, None], points, np.nan)
    return points.reshape(*seen.shape[:-2], 3)


def ray_midpoint(cameras: Sequence[Camera], pixels: Array) -> Array:
    """The points nearest to all rays `(*batch, 3)` [m], for pixels `(*batch, n_cameras, 2)`; see `triangulate`."""
    along = np.stack([camera.directions(pixels[..., i, :]) for i, camera in enumerate(cameras)], -2)
    valid: NDArray[np.bool_] = np.all(np.isfinite(along), axis=-1)
    along = np.where(valid[..., None], along, 0.0)
    across = valid[..., None, None] * np.eye(3) - along[..., :, None] * along[..., None, :]
    origins = np.stack([camera.position for camera in cameras])
    A, b = across.sum(-3), (across @ origins[..., None])[..., 0].sum(-2)
    good = (np.linalg.eigvalsh(A)[..., 0] > 0.5 * PARALLEL) & (valid.sum(-1) > 1)
    A = np.where(good[..., None, None], A, np.eye(3))
    return np.where(good[..., None], np.linalg.solve(A, b[..., None])[..., 0], np.nan)


def reprojection_errors(cameras: Sequence[Camera], points_world: ArrayLike, pixels: ArrayLike) -> Array:
    """Distances between pixels and where points `(*batch, 3)` [m] are seen: `(*batch, n_cameras)` [pixels].

    Raises:
        InvalidInputError: the last axes of `pixels` are not `(n_cameras, 2)`.
    """
    projected = np.stack([camera.project(points_world) for camera in cameras], -2)
    with np.errstate(over="ignore"):
        return np.sqrt(np.square(projected - views(cameras, pixels)).sum(-1))


def views(cameras: Sequence[Camera], pixels: ArrayLike, n_dots: int | None = None) -> Array:
    """Pixels as `(*batch, n_cameras, 2)`, or `(*batch, n_cameras, n_dots, 2)`; NaN for a view half of which is missing.

    Raises:
        InvalidInputError: another shape, or no cameras.
    """
    tail = (len(cameras), *(() if n_dots is None else (n_dots,)), 2)
    try:
        seen = np.array(pixels, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"pixels: expected numbers of shape (*batch, {tail}), got {pixels!r}") from error
    if not len(cameras) or seen.ndim < len(tail) or seen.shape[-len(tail) :] != tail:
        wanted = ", ".join(str(n) for n in tail)
        raise InvalidInputError(
            f"pixels: expected shape (*batch, {wanted}) for {len(cameras)} cameras, got {seen.shape}; "
            "missing views are NaN"
        )
    seen[~np.isfinite(seen).all(-1)] = np.nan
    return seen


def _cost(cameras: Sequence[Camera], points: Array, pixels: Array) -> Array:
    """Sum of the squared errors of all views `(n,)`; infinite for a point that is not before a camera that sees it."""
    errors = reprojection_errors(cameras, points, pixels)
    missing = np.isnan(pixels).any(-1)
    squares = np.where(missing, 0.0, np.where(np.isnan(errors), np.inf, errors**2))
    return squares.sum(-1)


def _gauss_newton_step(cameras: Sequence[Camera], points: Array, pixels: Array) -> Array:
    """-(J^T J)^-1 J^T e `(n, 3)` [m]; 0 where it cannot be had."""
    A, g = np.zeros((len(points), 3, 3)), np.zeros((len(points), 3))
    for i, camera in enumerate(cameras):
        e, J = camera.project(points) - pixels[:, i], camera.jacobian(points)
        seen: NDArray[np.bool_] = np.all(np.isfinite(e), axis=-1)
        e, J = np.where(seen[:, None], e, 0.0), np.where(seen[:, None, None], J, 0.0)
        A += np.swapaxes(J, -1, -2) @ J
        g += (np.swapaxes(J, -1, -2) @ e[..., None])[..., 0]
    scale = np.trace(A, axis1=-2, axis2=-1) / 3
    good = np.linalg.det(A) > SINGULAR * scale**3
    A = np.where(good[:, None, None], A, np.eye(3))
    return np.where(good[:, None], -np.linalg.solve(A, g[..., None])[..., 0], 0.0)
