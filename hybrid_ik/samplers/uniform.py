"""Starts spread evenly over the joint range, whatever the pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.pose import Pose
from hybrid_ik.samplers.base import check_count

Array = NDArray[np.float64]

NARROW = 1 / 15  # share of the range that the first narrow start is drawn from
WIDENING = 32  # starts after which the whole range is in use


class UniformSampler:
    """The same low-discrepancy starts for every pose, over the sample range of the chain.

    Start k is frac(shift + k a), a_i = g^-(i+1), where g is the positive root of g^(dof+1) = g + 1: the additive
    recurrence of the generalised golden ratio (Roberts, 2018, "The unreasonable effectiveness of quasirandom
    sequences"). Any first n of them are spread evenly, and no generator has to be kept.

    Args:
        chain: the arm.
        seed: 0 for the plain sequence; others shift it by a random vector.
        narrow: draw the first starts near the middle of the range, later ones ever wider. Starts in the middle converge
            more often, wide ones find more of the different answers: narrow for one answer, wide for many.
    """

    name = "uniform"

    def __init__(self, chain: Chain, seed: int = 0, narrow: bool = False) -> None:
        self.narrow = narrow
        self._shift = np.full(chain.dof, 0.5) if seed == 0 else np.random.default_rng(seed).random(chain.dof)
        self._steps = golden_steps(chain.dof)
        self._middle = 0.5 * (chain.sample_upper + chain.sample_lower)
        self._half = 0.5 * (chain.sample_upper - chain.sample_lower)
        self._kept = np.empty((0, chain.dof))

    def sample(self, pose: Pose, n: int) -> Array:
        """The first `n` starts, once for each pose: `(*batch, n, dof)`; see `Sampler.sample`."""
        kept = self._kept
        if len(kept) < check_count(n):
            kept = self._kept = self._sequence(max(64, n))
        q0 = np.empty((*pose.shape, n, kept.shape[1]))
        q0[...] = kept[:n]
        return q0

    def _sequence(self, n: int) -> Array:
        k = np.arange(n)[:, None]
        spread = np.minimum(1.0, NARROW * NARROW ** (-k / WIDENING)) if self.narrow else 1.0
        unit = (self._shift + (k + 1) * self._steps) % 1.0
        return self._middle + spread * self._half * (2.0 * unit - 1.0)


def golden_steps(dim: int) -> Array:
    """Steps `(dim,)` of the additive recurrence: powers of 1/g with g^(dim+1) = g + 1, by fixed-point iteration."""
    g = 2.0
    for _ in range(64):
        g = (1.0 + g) ** (1.0 / (dim + 1))
    return g ** -np.arange(1.0, dim + 1)
