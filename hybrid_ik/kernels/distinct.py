"""Chooses answers that differ: greedy picks out of many candidates, compiled because it is done for every pose."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from hybrid_ik.kernels.entries import compiled, stack_array

doubles = stack_array(types.float64)


@compiled
def _distance(a: NDArray[np.float64], b: NDArray[np.float64], period: NDArray[np.float64]) -> float:
    total = 0.0
    for j in range(len(a)):
        d = abs(a[j] - b[j])
        if period[j] > 0.0:
            d = abs(d - period[j] * np.floor(d / period[j] + 0.5))
        total += d * d
    return np.sqrt(total)


@compiled
def pick_distinct(
    q: NDArray[np.float64],
    usable: NDArray[np.bool_],
    cost: NDArray[np.float64],
    min_distance: float,
    period: NDArray[np.float64],
    spread: bool,
    out: NDArray[np.int64],
) -> None:
    """Indices of candidates no two of which are nearer than `min_distance`; -1 where there are no more.

    The first pick is the cheapest. After it, with `spread` always the one farthest from all picks so far (Gonzalez,
    1985: at most twice the best possible covering radius), without it the next cheapest. Picks come back by cost.

    Args:
        q: candidates (m, n, dof).
        usable: (m, n), which of them may be picked.
        cost: (m, n), lower is better.
        min_distance: Euclidean distance in joint space [rad, m].
        period: (dof,), 2 pi for joints that go round, 0 for others.
        spread: cover the set, rather than take the cheapest.
        out: (m, n_picks), written.
    """
    m, n = usable.shape
    n_picks = out.shape[1]
    gap = doubles(n)
    out[:] = -1
    for row in range(m):
        gap[:] = np.inf
        for k in range(n_picks):
            best = -1
            for i in range(n):
                if usable[row, i] and gap[i] >= min_distance:
                    by_cost = not spread or k == 0 or gap[i] == gap[best]
                    if best < 0 or (cost[row, i] < cost[row, best] if by_cost else gap[i] > gap[best]):
                        best = i
            if best < 0:
                break
            out[row, k] = best
            for i in range(n):
                if usable[row, i]:
                    gap[i] = min(gap[i], _distance(q[row, i], q[row, best], period))
        for k in range(1, n_picks):  # insertion sort by cost
            pick, at = out[row, k], k
            while at > 0 and pick >= 0 and cost[row, out[row, at - 1]] > cost[row, pick]:
                out[row, at] = out[row, at - 1]
                at -= 1
            out[row, at] = pick
