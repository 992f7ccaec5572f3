"""From poses to what a network is told of them, compiled: the twin of `samplers.base.inner_pose` and `Encoder.encode`.

For one pose it takes a microsecond, the same in numpy 37.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.encoding import TINY
from hybrid_ik.kernels.entries import compiled, inlined
from hybrid_ik.kernels.quaternion import rotation_of

Array = NDArray[np.float64]
rotation = inlined(rotation_of)


@compiled
def encode_poses(
    position: Array,
    quaternion: Array,
    valid: NDArray[np.bool_],
    mount_tool: Array,
    reach: float,
    slide: bool,
    turns: bool,
    inner: Array,
    features: NDArray[Any],
) -> None:
    """Inner poses, and their features of the "invariant" encoding, of tip poses in the base.

    Args:
        position: (m, 3) [m].
        quaternion: (m, 4), wxyz.
        valid: (m,); a row that is no pose counts as the identity.
        mount_tool: [R_first_base by rows, p_first_base, R_tip_last by rows, p_tip_last].
        reach: of the arm [m].
        slide: whether the first joint slides.
        turns: whether the last joint turns.
        inner: (m, 12), written: p_first_last, then R_first_last by rows.
        features: (m, n_features) float32, written.
    """
    for row in range(len(position)):
        if valid[row]:
            _take_off(position[row], quaternion[row], mount_tool, inner[row])
        else:
            for i in range(12):
                inner[row, i] = 1.0 if i in (3, 7, 11) else 0.0
        _features(inner[row], reach, slide, turns, features[row])


@compiled
def _take_off(p: Array, q: Array, at: Array, out: Array) -> None:
    R = rotation(q[0], q[1], q[2], q[3])
    for i in range(3):
        a, b, c = at[3 * i], at[3 * i + 1], at[3 * i + 2]
        r0 = a * R[0] + b * R[3] + c * R[6]
        r1 = a * R[1] + b * R[4] + c * R[7]
        r2 = a * R[2] + b * R[5] + c * R[8]
        out[i] = a * p[0] + b * p[1] + c * p[2] + r0 * at[21] + r1 * at[22] + r2 * at[23] + at[9 + i]
        for j in range(3):
            out[3 + 3 * i + j] = r0 * at[12 + j] + r1 * at[15 + j] + r2 * at[18 + j]


@compiled
def _features(T: Array, reach: float, slide: bool, turns: bool, out: NDArray[Any]) -> None:
    x, y = T[0] / reach, T[1] / reach
    if slide:
        out[0], out[1], cosine, sine = x, y, 1.0, 0.0
    else:
        radius = sqrt(x * x + y * y)
        cosine, sine = x / (radius + TINY), y / (radius + TINY)
        out[0], out[1] = radius, T[2] / reach
    first = 2 if turns else 0  # of the columns of R
    for k in range(first, 3 if turns else 2):
        a, b, at = T[3 + k], T[6 + k], 2 + 3 * (k - first)
        out[at], out[at + 1], out[at + 2] = cosine * a + sine * b, cosine * b - sine * a, T[9 + k]
