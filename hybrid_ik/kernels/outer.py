"""From a network's output to starts, compiled: the twin of `Encoder.complete`, done for every start of every solve.

For 64 starts of one pose it takes 9 us, the same in numpy 67.
"""

from __future__ import annotations

from math import atan2, cos, pi, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.encoding import ORIENTATION_WEIGHT
from hybrid_ik.kernels.entries import compiled
from hybrid_ik.kernels.tools import GROUP

Array = NDArray[np.float64]
Floats = NDArray[Any]  # float32
SQUARE = ORIENTATION_WEIGHT**2


@compiled
def place_starts(u: Floats, base: Floats, half_range: Floats, lower: Array, upper: Array, first: int, q: Array) -> None:
    """q = base - u half_range, inside the limits: one pass over what took four in numpy.

    Args:
        u: (m, at least n, n_joints) velocities, float32.
        base: (n, n_joints) noises in units of joints.
        half_range: (n_joints,).
        lower: (n_joints,) limits.
        upper: (n_joints,) limits.
        first: the joint that the first column belongs to.
        q: (m, n, dof), of which the joints from `first` on are written.
    """
    for row in range(len(q)):
        for i in range(q.shape[1]):
            for j in range(u.shape[2]):
                q[row, i, first + j] = min(max(base[i, j] - u[row, i, j] * half_range[j], lower[j]), upper[j])


@compiled
def complete_starts(
    q: Array,
    poses: Array,
    targets: Array,
    lower: Array,
    upper: Array,
    slide: bool,
    turns: bool,
    inside: NDArray[np.bool_],
) -> None:
    """Writes the outer joints into starts whose other joints are set.

    Args:
        q: starts (m, n, dof), inside the limits; the first joint, and the last where it turns, are 0 on entry.
        poses: (m, n, 12) what they reach: `p_first_last`, then `R_first_last` row by row.
        targets: (m, 12) what they should reach.
        lower: (dof,) lower ends of the ranges.
        upper: (dof,) upper ends of the ranges.
        slide: whether the first joint slides.
        turns: whether the last joint turns; otherwise it is set already.
        inside: (m, n), written: whether the outer joints could be set without moving them onto a limit.
    """
    m, n, dof = q.shape
    for row in range(m):
        for i in range(n):
            T, goal, x = poses[row, i], targets[row], q[row, i]
            first = goal[2] - T[2] if slide else _first_angle(T, goal, turns)
            x[0], inside[row, i] = _into_limits(first, lower[0], upper[0], not slide)
            if turns:
                last = _last_angle(T, goal, 0.0 if slide else x[0])
                x[-1], within = _into_limits(last, lower[dof - 1], upper[dof - 1], True)
                inside[row, i] = inside[row, i] and within


@compiled
def use_spares(q: Array, inside: NDArray[np.bool_], n: int) -> None:
    """Puts spare start n + k in the place of the first of the starts 4 k .. 4 k + 3 that is not inside."""
    for row in range(len(q)):
        for spare in range(n, q.shape[1]):
            if inside[row, spare]:
                begin = GROUP * (spare - n)
                for i in range(begin, min(begin + GROUP, n)):
                    if not inside[row, i]:
                        for j in range(q.shape[2]):
                            q[row, i, j] = q[row, spare, j]
                        break


@compiled
def _first_angle(T: Array, goal: Array, turns: bool) -> float:
    cosine = T[0] * goal[0] + T[1] * goal[1]
    sine = T[0] * goal[1] - T[1] * goal[0]
    for k in range(2 if turns else 0, 3):
        x, y, X, Y = T[3 + k], T[6 + k], goal[3 + k], goal[6 + k]
        cosine += SQUARE * (x * X + y * Y)
        sine += SQUARE * (x * Y - y * X)
    return atan2(sine, cosine)


@compiled
def _last_angle(T: Array, goal: Array, first: float) -> float:
    c, s = cos(first), sin(first)
    cosine = sine = 0.0
    for i in range(3):
        if i == 0:
            x, y = c * T[3] - s * T[6], c * T[4] - s * T[7]
        elif i == 1:
            x, y = s * T[3] + c * T[6], s * T[4] + c * T[7]
        else:
            x, y = T[9], T[10]
        X, Y = goal[3 + 3 * i], goal[4 + 3 * i]
        cosine += x * X + y * Y
        sine += y * X - x * Y
    return atan2(sine, cosine)


@compiled
def _into_limits(x: float, lower: float, upper: float, turn: bool) -> tuple[float, bool]:
    if turn:
        middle = 0.5 * (lower + upper)
        x = middle + (x - middle + pi) % (2.0 * pi) - pi
    return min(max(x, lower), upper), lower <= x <= upper
