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
        links = [T[:3, :3] for T in chain.T_link]
        some = [i for i in range(chain.dof - 2) if chain.hinges[i : i + 3].all() and _bends(links[i], links[i + 1])]
        self._triples = [(i, *_middle(links[i], links[i + 1])) for i in some if _meet(chain, i)]

    def of(self, q: Array) -> Array:
        """All twins of joints `(m, dof)`: `(m, k, dof)`."""
        twins, m = np.repeat(q[:, None], len(self._triples), 1), len(q)
        for k, (i, aligned, outer) in enumerate(self._triples):
            twins[:, k, i + 1] = 2.0 * aligned - q[:, i + 1]
            both = np.concatenate([q[:, i + 1], twins[:, k, i + 1]])
            x, y, z, w = np.cos(both) * outer[0] + np.sin(both) * outer[1] + outer[2]
            first, last = np.arctan2(y, x), np.arctan2(w, z)
            twins[:, k, i] += first[:m] - first[m:]
            twins[:, k, i + 2] += last[m:] - last[:m]
        return twins


def _bends(Ra: Array, Rb: Array) -> bool:
    """Whether the angle between the outer axes depends on the middle joint."""
    return bool(min(np.linalg.norm(Ra[2, :2]), np.linalg.norm(Rb[:2, 2])) > PARALLEL)


def _middle(Ra: Array, Rb: Array) -> tuple[float, Array]:
    """What the middle joint does between links R_a and R_b: the angle that aligns the outer axes, and `(3, 4, 1)`.

    The latter are coefficients of cos(q), sin(q) and 1 in four entries of R_a Z(q) R_b: two of its last column, and two
    of its last row, of which Euler's angles about z are made.
    """
    a, b = Ra[2], Rb[:, 2]
    aligned = np.arctan2(a[1] * b[0] - a[0] * b[1], a[0] * b[0] + a[1] * b[1])
    entries = []
    for Z in (np.diag([1.0, 1.0, 0.0]), np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 0]]), np.diag([0, 0, 1.0])):
        R = Ra @ Z @ Rb
        entries.append([R[0, 2], R[1, 2], R[2, 0], R[2, 1]])
    return float(aligned), np.array(entries)[..., None]


def _meet(chain: Chain, i: int) -> bool:
    """Whether the axes of hinges i, i + 1, i + 2 have a point in common."""
    _, _, axes, origins = joint_frames(chain, [0.3] * chain.dof, NumpyMath())
    z, o = np.array(axes[i : i + 3], float), np.array(origins[i : i + 3], float)
    # The point nearest to all three: sum of (I - z z^T)(x - o) = 0.
    across = np.eye(3) - z[:, :, None] * z[:, None, :]
    x = np.linalg.lstsq(across.sum(0), np.einsum("kij,kj->i", across, o), rcond=None)[0]
    return bool(np.abs(np.einsum("kij,kj->ki", across, x - o)).max() < POINT)
