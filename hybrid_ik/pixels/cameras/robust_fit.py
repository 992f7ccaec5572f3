"""Least squares with wrong pairs among the right ones: soft L1, then squares of those that are no outliers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
State = TypeVar("State")

TO_SIGMA = 1.0 / 1.1774  # of the median length of errors that are normal in both directions (Rayleigh)
FAR = 4.0  # standard deviations beyond which a pair is an outlier: 1 of 3,000 good ones
LEAST_SIGMA = 0.05  # px: closer than this nothing is measured
BEHIND = 1e4  # px, the error of a point that is not before the camera
SCALES = 8  # of the robust sum, each from the errors left by the one before
MOST_STEPS = 60


class RobustFit(ABC, Generic[State]):
    r"""Finds the unknowns of a `State` that make n pairs of pixels meet.

    First the sum of rho(|e_i|) is made least, rho(e) = 2 s^2 (sqrt(1 + e^2 / s^2) - 1), whose scale s follows the
    median error down; then that of the squares over pairs within 4 standard deviations, which the median error tells.
    """

    @abstractmethod
    def residuals(self, state: State) -> Array:
        """e `(n, 2)` [pixels]; NaN for points that are not before their camera."""

    @abstractmethod
    def jacobian(self, state: State) -> Array:
        """de / d step `(n, 2, k)`; its rows may be NaN where e is."""

    @abstractmethod
    def moved(self, state: State, step: Array) -> State | None:
        """The state after a step (k,); None where it would be none."""

    def prior(self, state: State) -> tuple[float, Array | float, Array | float]:
        """What is added to the sum whatever the pixels: its value, half its gradient (k,), half its curvatures (k,)."""
        return 0.0, 0.0, 0.0

    def errors(self, state: State) -> Array:
        """|e| `(n,)` [pixels]."""
        e = self.residuals(state)
        return np.where(np.isfinite(e).all(-1), np.linalg.norm(e, axis=-1), BEHIND)

    def sigma(self, state: State) -> float:
        """Standard deviation of the errors in one direction, from their median [pixels]."""
        return max(LEAST_SIGMA, TO_SIGMA * float(np.median(self.errors(state))))

    def robust(self, state: State) -> State:
        """The state of the least soft L1 sum, whose scale shrinks with the errors."""
        last = np.inf
        for _ in range(SCALES):
            scale = 2.0 * self.sigma(state)
            if scale > 0.95 * last:
                break
            state, last = self.descend(state, scale), scale
        return state

    def trimmed(self, state: State) -> tuple[State, NDArray[np.bool_]]:
        """The state of the least squares over pairs that are no outliers, and which these are (n,)."""
        for _ in range(3):
            good = self.errors(state) <= FAR * self.sigma(state)
            state = self.descend(state, np.inf, good)
        return state, good

    def descend(self, state: State, scale: float, rows: NDArray[np.bool_] | None = None) -> State:
        """Levenberg and Marquardt's method, the damping in units of the diagonal: the unknowns have many units."""
        mu, cost = 1e-3, self.cost(state, scale, rows)
        A, g = self.normal_equations(state, scale, rows)
        for _ in range(MOST_STEPS):
            damped = A + mu * np.diag(np.diag(A) + 1e-12 * np.trace(A))
            step = np.asarray(np.linalg.solve(damped, -g), dtype=np.float64)
            moved = self.moved(state, step) if np.isfinite(step).all() else None
            new = np.inf if moved is None else self.cost(moved, scale, rows)
            if moved is None or not new < cost:
                mu *= 8
                if mu > 1e8:
                    break
                continue
            gain, state, cost, mu = cost - new, moved, new, mu / 5
            if gain <= 1e-9 * cost:
                break
            A, g = self.normal_equations(state, scale, rows)
        return state

    def cost(self, state: State, scale: float, rows: NDArray[np.bool_] | None = None) -> float:
        """The sum of squares, or for a finite scale [pixels] the soft L1 sum, of some pairs [pixels^2]."""
        squares = np.square(self.errors(state))
        squares = squares if rows is None else squares[rows]
        if np.isfinite(scale):
            squares = 2 * scale**2 * (np.sqrt(1 + squares / scale**2) - 1)
        return float(squares.sum()) + self.prior(state)[0]

    def normal_equations(
        self, state: State, scale: float, rows: NDArray[np.bool_] | None = None
    ) -> tuple[Array, Array]:
        """J^T W J (k, k) and J^T W e (k,) of some pairs, W = rho' of each."""
        e, J = self.residuals(state), self.jacobian(state)
        counted = np.isfinite(e).all(-1) if rows is None else np.isfinite(e).all(-1) & rows
        e, J = e[counted], J[counted]
        weights = 1.0 / np.sqrt(1 + np.square(e).sum(-1) / scale**2)
        J_flat, e_flat = J.reshape(-1, J.shape[-1]), e.ravel()
        weighted = J_flat * np.repeat(weights, 2)[:, None]
        _, g, curvature = self.prior(state)
        return weighted.T @ J_flat + np.diag(np.broadcast_to(curvature, J.shape[-1:])), weighted.T @ e_flat + g
