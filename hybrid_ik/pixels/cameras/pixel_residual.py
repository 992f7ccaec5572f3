"""The sum of squares that pixels make of joints, its gradient, and what the pixels fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.cameras.camera import Camera

Array = NDArray[np.float64]

UNFIXED = 1e-10  # an eigenvalue of J^T J, as a share of the largest: the joints along it are not fixed


class Observation(NamedTuple):
    """What was seen, in n frames."""

    pixels: Array
    """`(n, n_cameras, n_dots, 2)`; 0 where a dot is missing."""
    weights: Array
    """`(n, n_cameras, n_dots)`, of the squared distances; 0 where a dot is missing."""
    prior: Array
    """`(n, dof)`: joints that the prior pulls to."""

    def rows(self, index: NDArray[np.intp]) -> Observation:
        """Some of the frames."""
        return Observation(self.pixels[index], self.weights[index], self.prior[index])


class Quadratic(NamedTuple):
    """The cost at joints, and its model around them: cost + 2 g dq + dq A dq."""

    cost: Array
    """`(n,)` [pixels^2]; infinite where a dot that was seen is not before its camera."""
    gradient: Array
    """`(n, dof)`: half the gradient, J^T W e."""
    A: Array
    """`(n, dof, dof)`: J^T W J."""


class PixelResidual:
    r"""The reprojection errors of dots in cameras, and the cost made of them.

    .. math:: e_{ck}(q) = \pi_c(p_k(q)) - u_{ck}, \qquad
              \frac{\partial e_{ck}}{\partial q} = \frac{\partial \pi_c}{\partial p} J_k(q), \qquad
              \sum_{ck} w_{ck}\, \rho(|e_{ck}|) + |\lambda (q - q_{prior})|^2

    p_k is the place of dot k, J_k its Jacobian by `mj_jac`, pi_c the projection of camera c, u the pixels, rho(e) =
    e^2, or 2 s^2 (sqrt(1 + e^2 / s^2) - 1) for a robust scale s.

    Args:
        dots: on the arm.
        cameras: that see them.
        robust_scale: s [pixels]; None for squares.
        prior_weight: lambda [pixels per rad or m].
    """

    def __init__(
        self, dots: ArmDots, cameras: Sequence[Camera], robust_scale: float | None = None, prior_weight: float = 0.0
    ) -> None:
        self.dots, self.cameras = dots, tuple(cameras)
        self.robust_scale, self.prior_weight = robust_scale, prior_weight

    def errors(self, q: Array, pixels: Array) -> Array:
        """e `(n, n_cameras, n_dots, 2)` [pixels] for joints `(n, dof)`; NaN for dots that are not before a camera."""
        points = self.dots.positions(q)
        return np.stack([camera.project(points) for camera in self.cameras], 1) - pixels

    def jacobian(self, q: Array) -> Array:
        """de/dq `(n, n_cameras, n_dots, 2, dof)` [pixels per rad or m]."""
        points, J = self.dots.jacobians(q)
        return np.stack([camera.jacobian(points) @ J for camera in self.cameras], 1)

    def expand(self, q: Array, seen: Observation) -> Quadratic:
        """Cost, gradient and A at joints `(n, dof)`, the weights of rho' in A."""
        points, J_dots = self.dots.jacobians(q)
        e = np.stack([camera.project(points) for camera in self.cameras], 1) - seen.pixels
        J = np.stack([camera.jacobian(points) @ J_dots for camera in self.cameras], 1)
        n, dof = q.shape
        missing = seen.weights == 0
        e, J = np.where(missing[..., None], 0.0, e), np.where(missing[..., None, None], 0.0, J)
        rho, slope = self._robust(np.square(e).sum(-1))
        rows = e[0].size if n else 0
        e, J = e.reshape(n, rows), J.reshape(n, rows, dof)
        weighted = J * np.repeat((seen.weights * slope).reshape(n, rows // 2), 2, axis=1)[..., None]
        A = np.swapaxes(weighted, 1, 2) @ J
        gradient = (np.swapaxes(weighted, 1, 2) @ e[..., None])[..., 0]
        off, square = q - seen.prior, self.prior_weight**2
        cost = (seen.weights * rho).sum((1, 2)) + square * np.square(off).sum(-1)
        cost = np.where(np.isfinite(cost), cost, np.inf)
        return Quadratic(cost, gradient + square * off, A + square * np.eye(dof))

    def rms(self, q: Array, seen: Observation) -> Array:
        """Root of the weighted mean of |e|^2 `(n,)` [pixels]; NaN where no dot was seen, or one behind its camera."""
        squares = np.square(self.errors(q, seen.pixels)).sum(-1)
        squares = np.where(seen.weights > 0, squares, 0.0)
        with np.errstate(invalid="ignore"):
            return np.sqrt((seen.weights * squares).sum((1, 2)) / seen.weights.sum((1, 2)))

    def deviation(self, q: Array, seen: Observation, held: NDArray[np.bool_]) -> Array:
        """Root of the diagonal of (J^T W J)^-1 `(n, dof)` [rad or m per pixel], without prior and robust weights."""
        plain = PixelResidual(self.dots, self.cameras)
        A = plain.expand(q, seen).A[:, ~held][:, :, ~held]
        A = np.where(np.isfinite(A), A, 0.0)
        values, vectors = np.linalg.eigh(A)
        fixed = values > UNFIXED * np.maximum(values[:, -1:], 1e-300)
        shares = np.square(vectors) / np.where(fixed, values, 1.0)[:, None]
        shares = np.where(fixed[:, None], shares, np.where(np.square(vectors) > 1e-6, np.inf, 0.0))
        out = np.zeros(q.shape)
        out[:, ~held] = np.sqrt(shares.sum(-1))
        return out

    def _robust(self, squares: Array) -> tuple[Array, Array]:
        """rho and its derivative by e^2."""
        if self.robust_scale is None:
            return squares, np.ones_like(squares)
        s2 = self.robust_scale**2
        root = np.sqrt(1 + squares / s2)
        return 2 * s2 * (root - 1), 1 / root
