"""Chooses answers that differ: greedy picks out of many candidates, compiled because it is done for every pose."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from hybrid_ik.kernels.entries import compiled, stack_array

Array = NDArray[np.float64]
doubles = stack_array(types.float64)


@compiled
def pick_distinct(
    q: Array,
    usable: NDArray[np.bool_],
    cost: Array,
    min_distance: float,
    period: Array,
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
    m, n, dof = q.shape
    joints, gap, square = doubles(dof * n), doubles(n), doubles(n)
    out[:] = -1
    for row in range(m):
        for i in range(n):
            gap[i] = np.inf if usable[row, i] else -1.0
            for j in range(dof):
                joints[j * n + i] = q[row, i, j]
        for k in range(out.shape[1]):
            best = _best(gap, cost[row], min_distance * min_distance, spread and k > 0)
            if best < 0:
                break
            out[row, k] = best
            _narrow(joints, period, best, gap, square)
        _sort(out[row], cost[row])


@compiled
def _best(gap: Array, cost: Array, least: float, spread: bool) -> int:
    """The farthest candidate, or the cheapest, of those that are at least so far from all picks; -1 if none is."""
    best = -1
    for i in range(len(gap)):
        if gap[i] >= least:
            by_cost = not spread or gap[i] == gap[best]
            if best < 0 or (cost[i] < cost[best] if by_cost else gap[i] > gap[best]):
                best = i
    return best


@compiled
def _narrow(joints: Array, period: Array, pick: int, gap: Array, square: Array) -> None:
    """Takes the squared distances from one more pick into account, for all candidates at a time, joint by joint."""
    n = len(gap)
    for i in range(n):
        square[i] = 0.0
    for j in range(len(period)):
        at = joints[j * n + pick]
        if period[j] > 0.0:
            for i in range(n):
                d = joints[j * n + i] - at
                d -= period[j] * np.floor(d / period[j] + 0.5)
                square[i] += d * d
        else:
            for i in range(n):
                d = joints[j * n + i] - at
                square[i] += d * d
    for i in range(n):
        gap[i] = min(gap[i], square[i])


@compiled
def _sort(picks: NDArray[np.int64], cost: Array) -> None:
    """Insertion sort by cost; -1 stay behind."""
    for k in range(1, len(picks)):
        pick, at = picks[k], k
        while at > 0 and pick >= 0 and cost[picks[at - 1]] > cost[pick]:
            picks[at] = picks[at - 1]
            at -= 1
        picks[at] = pick
