r"""What a lens does to rays: OpenCV's radial and tangential distortion, its derivatives, and its inverse.

A ray is the point (x, y) = (X/Z, Y/Z) where it meets the plane Z = 1 in front of the camera. With r^2 = x^2 + y^2 and
coefficients (k1, k2, p1, p2, k3), in OpenCV's order, it is seen at

.. math:: x_d = x s + 2 p_1 x y + p_2 (r^2 + 2 x^2), \quad y_d = y s + p_1 (r^2 + 2 y^2) + 2 p_2 x y, \quad
          s = 1 + k_1 r^2 + k_2 r^4 + k_3 r^6.

Source: OpenCV, "Camera Calibration and 3D Reconstruction" (Brown, 1971, "Close-range camera calibration").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_STEPS = 50  # of Newton's method; from the distorted ray 3 to 6 are the rule
INVERSE_TOLERANCE = 1e-12  # of a ray that is put back, as a share of the focal length


def distort(rays: Array, coefficients: Array) -> Array:
    """Distorted rays `(*batch, 2)` of rays `(*batch, 2)` [focal lengths]; the formula stands above."""
    x, y = rays[..., 0], rays[..., 1]
    p1, p2 = coefficients[2:4]
    r2, s = _radial(rays, coefficients)
    return np.stack(
        [x * s + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * s + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
    )


def distortion_jacobian(rays: Array, coefficients: Array) -> Array:
    """d(x_d, y_d) / d(x, y) `(*batch, 2, 2)`, a symmetric matrix."""
    x, y = rays[..., 0], rays[..., 1]
    k1, k2, p1, p2, k3 = coefficients
    r2, s = _radial(rays, coefficients)
    slope = k1 + r2 * (2 * k2 + 3 * k3 * r2)  # ds / d(r^2)
    D = np.empty((*r2.shape, 2, 2))
    D[..., 0, 0] = s + 2 * slope * x * x + 2 * p1 * y + 6 * p2 * x
    D[..., 1, 1] = s + 2 * slope * y * y + 6 * p1 * y + 2 * p2 * x
    D[..., 0, 1] = D[..., 1, 0] = 2 * slope * x * y + 2 * p1 * x + 2 * p2 * y
    return D


def coefficient_jacobian(rays: Array) -> Array:
    """d(x_d, y_d) / d(k1, k2, p1, p2, k3) `(*batch, 2, 5)`; the distortion is linear in them."""
    r2 = np.square(rays).sum(-1)
    J = np.empty((*r2.shape, 2, 5))
    for column, power in ((0, 1), (1, 2), (4, 3)):
        J[..., column] = rays * (r2**power)[..., None]
    across = 2 * rays[..., 0] * rays[..., 1]
    J[..., 0, 2], J[..., 1, 2] = across, r2 + 2 * rays[..., 1] ** 2
    J[..., 0, 3], J[..., 1, 3] = r2 + 2 * rays[..., 0] ** 2, across
    return J


def undistort(distorted: Array, coefficients: Array) -> Array:
    """Rays `(*batch, 2)` that are seen at `distorted`, by Newton's method from there.

    Barrel distortion folds over beyond the radius at which x_d is largest; points that no ray reaches are NaN.
    """
    rays = distorted
    with np.errstate(all="ignore"):
        for _ in range(MOST_STEPS):
            error = distorted - distort(rays, coefficients)
            if not (np.abs(error) > INVERSE_TOLERANCE).any():
                break
            rays = rays + _solve_2x2(distortion_jacobian(rays, coefficients), error)
        met = (np.abs(distorted - distort(rays, coefficients)) <= 1e3 * INVERSE_TOLERANCE).all(-1)
        ahead = (rays * distorted).sum(-1) >= 0  # beyond the fold there are rays that are seen on the other side
        unfolded = np.linalg.det(distortion_jacobian(rays, coefficients)) > 0
    return np.where((met & ahead & unfolded)[..., None], rays, np.nan)


def _radial(rays: Array, coefficients: Array) -> tuple[Array, Array]:
    """r^2 and s, `(*batch,)`."""
    k1, k2, _, _, k3 = coefficients
    r2 = np.square(rays).sum(-1)
    return r2, 1 + r2 * (k1 + r2 * (k2 + r2 * k3))


def _solve_2x2(A: Array, b: Array) -> Array:
    determinant = A[..., 0, 0] * A[..., 1, 1] - A[..., 0, 1] * A[..., 1, 0]
    x = (A[..., 1, 1] * b[..., 0] - A[..., 0, 1] * b[..., 1]) / determinant
    y = (A[..., 0, 0] * b[..., 1] - A[..., 1, 0] * b[..., 0]) / determinant
    return np.stack([x, y], -1)
