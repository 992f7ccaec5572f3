"""Other joints that turn three consecutive links in the same way, as a shoulder or a wrist can."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kinematics import joint_frames
from hybrid_ik.scalar_math import NumpyMath

Array = NDArray[np.float64]

POINT = 1e-9  # m: axes that miss each other by less meet
PARALLEL = 1e-6  # length of the part across of one of two axes that are taken to be parallel


class Twins:
    """The second triples of angles of consecutive hinges i, i + 1, i + 2 with the same rotation between their links.

    Between the axes of the first and the last of three hinges there is an angle that depends on the middle one alone,
    and is the same at q and at 2 c - q, where c is the angle at which the axes are most nearly aligned. The others
    follow, as Euler angles do. Where the three axes meet in a point, as in shoulders and wrists, the tip stays where it
    is, and the twin of an answer is an answer. Other hinges are left out.
    """

    def __init__(self, chain: Chain) -> None:
        self._links = [T[:3, :3] for T in chain.T_link]
        turns = [kind == "hinge" for kind in chain.kinds]
        self._first = [i for i in range(chain.dof - 2) if all(turns[i : i + 3]) and self._bends(i)]
        self._first = [i for i in self._first if _meet(chain, i)]

    def _bends(self, i: int) -> bool:
        a, b = self._links[i][2, :2], self._links[i + 1][:2, 2]
        return bool(min(np.linalg.norm(a), np.linalg.norm(b)) > PARALLEL)

    def of(self, q: Array) -> Array:
        """All twins of joints `(m, dof)`: `(m, k, dof)`."""
        twins, m = np.repeat(q[:, None], len(self._first), 1), len(q)
        for k, i in enumerate(self._first):
            a, b = self._links[i][2], self._links[i + 1][:, 2]
            aligned = np.arctan2(a[1] * b[0] - a[0] * b[1], a[0] * b[0] + a[1] * b[1])
            twins[:, k, i + 1] = 2.0 * aligned - q[:, i + 1]
            first, last = self._outer_angles(i, np.concatenate([q[:, i + 1], twins[:, k, i + 1]]))
            twins[:, k, i] += first[:m] - first[m:]
            twins[:, k, i + 2] += last[m:] - last[:m]
        return twins

    def _outer_angles(self, i: int, q: Array) -> tuple[Array, Array]:
        """Euler's angles of R_a Z(q) R_b about z, before and after, but for the signs and constants that both have."""
        Ra, Rb, c, s = self._links[i], self._links[i + 1], np.cos(q), np.sin(q)
        a, b = Ra[2], Rb[:, 2]
        column = Ra[:2] @ np.stack([c * b[0] - s * b[1], s * b[0] + c * b[1], np.full(len(q), b[2])])
        row = Rb[:, :2].T @ np.stack([a[0] * c + a[1] * s, a[1] * c - a[0] * s, np.full(len(q), a[2])])
        return np.arctan2(column[1], column[0]), np.arctan2(row[1], row[0])


def _meet(chain: Chain, i: int) -> bool:
    """Whether the axes of hinges i, i + 1, i + 2 have a point in common."""
    _, _, axes, origins = joint_frames(chain, [0.3] * chain.dof, NumpyMath())
    z, o = np.array(axes[i : i + 3], float), np.array(origins[i : i + 3], float)
    # The point nearest to all three: sum of (I - z z^T)(x - o) = 0.
    across = np.eye(3) - z[:, :, None] * z[:, None, :]
    x = np.linalg.lstsq(across.sum(0), np.einsum("kij,kj->i", across, o), rcond=None)[0]
    return bool(np.abs(np.einsum("kij,kj->ki", across, x - o)).max() < POINT)
