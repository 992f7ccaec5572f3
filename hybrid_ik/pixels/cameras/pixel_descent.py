"""Levenberg-Marquardt on the reprojection errors of dots, all starts side by side, some of them farther than others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pixels.cameras.pixel_residual import Observation, PixelResidual, Quadratic
from hybrid_ik.refiners.base import clip_starts

if TYPE_CHECKING:
    from hybrid_ik.pixels.cameras.pixel_refiner import PixelRefinerConfig

Array = NDArray[np.float64]

# What a step that was taken, or refused, makes of the damping. From starts within 0.6 rad per joint, 0.978 of frames
# are explained with a first damping of 0.1, 0.962 with 0.01, 0.942 with 0.001; other factors change the steps by 5 %.
LESS, MORE = 0.1, 4.0
MOST_DAMPING = 1e9  # where no step is any good: at rest
# Of the cost, what a step gains where it is at rest: along joints that the pixels hardly fix, steps stay long.
LITTLE = 1e-6


class PixelDescent:
    """Joints on their way from their starts to the least cost.

    Args:
        residual: what is made least.
        held: which joints keep the values they start from `(dof,)`.
        config: damping and tolerances.
        seen: what was seen, in n rows.
        starts: joints `(n, dof)` [rad, or m]; those outside the limits are moved onto them.
    """

    def __init__(
        self,
        residual: PixelResidual,
        held: NDArray[np.bool_],
        config: PixelRefinerConfig,
        seen: Observation,
        starts: Array,
    ) -> None:
        self.residual, self.held, self.config, self.seen = residual, held, config, seen
        self.chain = residual.dots.robot.chain
        q, self.start_clipped = clip_starts(self.chain, starts)
        known: NDArray[np.bool_] = np.all(np.isfinite(q) & np.isfinite(seen.prior), axis=-1)
        self.valid: NDArray[np.bool_] = np.asarray(np.any(seen.weights > 0, axis=(1, 2)) & known)
        self.q = np.where(self.valid[:, None], q, np.nan)
        self.steps, self.at_rest = np.zeros(len(q), np.int32), ~self.valid
        self._mu, self._state = np.full(len(q), config.damping), residual.expand(self.q, seen)

    @property
    def cost(self) -> Array:
        """At the joints now `(n,)` [pixels^2]; infinite for rows that are not valid, or with a dot behind a camera."""
        return np.where(self.valid, self._state.cost, np.inf)

    def go_on(self, n_steps: int, among: NDArray[np.intp] | None = None) -> None:
        """Try so many more steps of some rows, by default of all; those at rest stay where they are."""
        among = np.arange(len(self.q)) if among is None else among
        for _ in range(n_steps):
            rows = among[~self.at_rest[among] & np.isfinite(self._state.cost[among])]
            if not len(rows):
                break
            self._try_step(rows)

    def _try_step(self, rows: NDArray[np.intp]) -> None:
        """Take a step where it lessens the cost, and damp the next one less; elsewhere damp it more."""
        here = Quadratic(*(array[rows] for array in self._state))
        new = self._step(self.q[rows], here, self._mu[rows])
        length = np.linalg.norm(new - self.q[rows], axis=-1)
        there = self.residual.expand(new, self.seen.rows(rows))
        better = there.cost < here.cost
        self._mu[rows] *= np.where(better, LESS, MORE)
        little = better & (here.cost - there.cost <= LITTLE * here.cost)
        self.at_rest[rows] = (length < self.config.step_tolerance) | little | (self._mu[rows] > MOST_DAMPING)
        self.steps[rows] += 1
        self.q[rows[better]] = new[better]
        for kept, found in zip(self._state, there, strict=True):
            kept[rows[better]] = found[better]

    def _step(self, q: Array, here: Quadratic, mu: Array) -> Array:
        """Joints after one step, within their limits; those pressed against a limit take no part, as in `lm_step`.

        (A + mu mean(diag A) I) dq = -g over the others.
        """
        g, chain = here.gradient, self.chain
        free = ~(((q <= chain.lower) & (g > 0)) | ((q >= chain.upper) & (g < 0)) | self.held)
        A = here.A * (free[:, :, None] & free[:, None, :])
        scale = np.trace(A, axis1=1, axis2=2) / np.maximum(free.sum(-1), 1)
        damped = A + (mu * scale + 1e-12)[:, None, None] * np.eye(q.shape[1]) + ~free[:, :, None] * np.eye(q.shape[1])
        dq = -np.linalg.solve(damped, (g * free)[..., None])[..., 0]
        return np.where(free, np.clip(q + dq, chain.lower, chain.upper), q)
