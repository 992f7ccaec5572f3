"""The answers of one pose of a path, as far as they matter to those of the next one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.kernels.curves import CLOSED, SAME
from hybrid_ik.kinematics import tip_jacobian
from hybrid_ik.pose import Pose
from hybrid_ik.solution_sets.finder import SetFinder
from hybrid_ik.solution_sets.following import EXACT

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

EACH = 6  # of so many points in a row one is carried on
ROUNDS = 4  # in which pieces are followed that no point in the middle of another one led to


class Points(NamedTuple):
    """Answers of a pose, in the order in which they lie along their curves."""

    q: Array
    """`(n, dof)`."""
    tangent: Array
    """`(n, dof)`; zero where there is no curve."""
    piece: Indices
    """The curve that each belongs to `(n,)`."""


class CurveLayers:
    """Layers of arms with one spare joint: pieces of curves as points, `spacing` apart.

    Args:
        finder: of the arm.
        spacing: between neighbouring points [rad, or m].
        thorough: whether points are carried on in two ways.
    """

    def __init__(self, finder: SetFinder, spacing: float, thorough: bool = False) -> None:
        self._finder, self._follower, self.spacing, self._thorough = finder, finder.follower, spacing, thorough
        self._limits = np.stack([finder.chain.lower, finder.chain.upper])
        self._steps = self._follower.step_options(spacing, spacing, paired=True)

    def everything(self, pose: Pose) -> Points:
        """All answers of a pose."""
        found = self._finder.find(pose, self.spacing, miss=1e-3, most_points=1)
        tangents = [np.empty((0, self._finder.chain.dof)), *(piece.tangent for piece in found)]
        return Points(found.q, np.concatenate(tangents), found.piece)

    def carry(self, points: Points, motion: Array, target: Array) -> Points:
        """Where points come to lie on the curves of the target, within the limits: from where they are, and ahead.

        Ahead means a step as long as the last one, `motion`, farther on: so the way goes straight through places where
        curves cross, or all but do. Where a curve has shrunk so much that none of its points lies across from it, they
        come by steps of Levenberg and Marquardt; where this is to be thorough, all do so too, as those across lead far
        away where the arm is nearly stretched, and some points are looked for on both sides of such a place.
        """
        some = self._some(points.piece)
        q, motion = points.q[some], motion[some]
        ways = [q, q + motion, *(self._sides(q) if self._thorough else ())]
        rows = np.stack(ways, 1).reshape(-1, q.shape[1])
        tangent, piece = np.repeat(points.tangent[some], len(ways), 0), np.repeat(points.piece[some], len(ways))
        settled = self._follower.settle_within(target, rows, tangent, (EXACT, EXACT))
        good = settled.success
        alive = np.zeros(piece[-1] + 1, bool)
        alive[piece[good]] = not self._thorough
        again = np.flatnonzero(~alive[piece])
        if not len(again):
            return Points(settled.q[good], settled.tangent[good], piece[good])
        found = self._follower.settle(target, rows[again]).within(self._finder.chain)
        q, again = np.concatenate([settled.q[good], found.q[found.success]]), again[found.success]
        others = points.piece[-1] + 1 + piece[again]
        return Points(q, np.concatenate([settled.tangent[good], tangent[again]]), np.concatenate([piece[good], others]))

    def _sides(self, q: Array) -> tuple[Array, Array]:
        """Joints on both sides of these, across the curve, in the direction that moves the tool least."""
        rows = self._follower.n_rows
        v = np.linalg.svd(tip_jacobian(self._finder.chain, q)[:, :rows])[2][:, rows - 1]
        return q + self.spacing * v, q - self.spacing * v

    def _some(self, piece: Indices) -> Indices:
        """Some points of each piece, both ends among them: enough to see it again if it is cut into several."""
        own = np.arange(len(piece))
        kept, border = own % EACH == EACH // 2, piece[1:] != piece[:-1]
        kept[1:] |= border
        kept[:-1] |= border
        kept[[0, -1]] = True
        return np.flatnonzero(kept)

    def around(self, points: Points, target: Array) -> Points:
        """The whole pieces that some points of them lie on.

        Where the arm is all but stretched, curves shrink to points or meet, and cannot be followed: there points stay
        as they are, so that a way leads on through them.
        """
        q, tangent, piece = points
        found: list[tuple[Array, Array]] = []
        stuck: list[tuple[Array, Array]] = []
        for _ in range(ROUNDS):
            if not len(q):
                break
            first = np.concatenate([[0], np.flatnonzero(piece[1:] != piece[:-1]) + 1])
            middle = (first + np.append(first[1:], len(piece))) // 2
            arcs, lost_piece = self._follow(q[middle], tangent[middle], target)
            for arc in arcs:
                if self._is_new(arc[0], found):
                    found.append(arc)
            unknown = self._follower.find(q, *self._chords(found)) < 0
            if lost_piece:
                alone = np.isin(piece, piece[middle[lost_piece]])
                stuck.append((q[alone], tangent[alone]))
                unknown &= ~alone
            unknown[middle] = False
            lost = np.flatnonzero(unknown)
            lost = lost[self._inside_of_ends(q[lost], found)]
            q, tangent, piece = q[lost], tangent[lost], piece[lost]
        return self._points([*(self._thinned(*arc) for arc in found), *stuck])

    def _points(self, arcs: list[tuple[Array, Array]]) -> Points:
        """Of arcs of points and tangents."""
        none = np.empty((0, self._limits.shape[1]))
        q, tangent = ([none, *column] for column in zip(*arcs, strict=True)) if arcs else ([none], [none])
        return Points(
            np.concatenate(q), np.concatenate(tangent), np.repeat(np.arange(len(arcs)), [len(x) for x in q[1:]])
        )

    def _chords(self, arcs: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        """Beginnings and ends of the chords of arcs."""
        none = np.empty((0, self._limits.shape[1]))
        return np.concatenate([none, *(q[:-1] for q, _ in arcs)]), np.concatenate([none, *(q[1:] for q, _ in arcs)])

    def _is_new(self, arc: Array, found: list[tuple[Array, Array]]) -> bool:
        """Whether no arc that was found has the same ends: beside a tight bend a start may be seen as on none."""
        close = 0.2 * self.spacing
        for known, _ in found:
            there = np.abs(known[[0, -1]] - arc[[0, -1]]).max() < close
            if there or np.abs(known[[0, -1]] - arc[[-1, 0]]).max() < close:
                return False
        return True

    def _inside_of_ends(self, q: Array, arcs: list[tuple[Array, Array]]) -> NDArray[np.bool_]:
        """Which joints are not as good as at an end of an arc, which may be beside the last chord."""
        ends = np.concatenate([arc[[0, -1]] for arc, _ in arcs]) if arcs else np.empty((0, q.shape[1]))
        return np.asarray((np.abs(q[:, None] - ends).max(2) > 0.2 * self.spacing).all(1))

    def _follow(self, q: Array, tangent: Array, target: Array) -> tuple[list[tuple[Array, Array]], list[int]]:
        """The pieces through some points, both ways to their ends; and the points from which no way leads anywhere."""
        ways = self._follower.follow(
            target,
            np.repeat(q, 2, 0),
            np.stack([tangent, -tangent], 1).reshape(-1, q.shape[1]),
            self._limits,
            self._steps,
        )
        arcs, lost = [], []
        verdict, n_points = ways.verdict.tolist(), ways.n_points.tolist()
        for row in range(0, len(verdict), 2):
            closed = [r for r in (row, row + 1) if verdict[r] == CLOSED]
            if closed:
                own = closed[0], slice(n_points[closed[0]])
                arcs.append((ways.points[own], ways.tangents[own]))
            elif verdict[row] == SAME:
                continue
            elif not n_points[row] + n_points[row + 1]:
                lost.append(row // 2)
            else:
                there, back = (row, slice(n_points[row])), (row + 1, slice(1, n_points[row + 1]))
                points = np.concatenate([ways.points[back][::-1], ways.points[there]])
                arcs.append((points, np.concatenate([-ways.tangents[back][::-1], ways.tangents[there]])))
        return [arc for arc in arcs if len(arc[0])], lost

    def _thinned(self, q: Array, tangent: Array) -> tuple[Array, Array]:
        """Fewer points, where there are many because curves come near to each other; both ends stay."""
        d = q[1:] - q[:-1]
        place = np.concatenate([[0.0], np.cumsum(np.sqrt(np.einsum("ij,ij->i", d, d)))])
        if len(q) < 2.0 * place[-1] / self.spacing + 3.0:
            return q, tangent
        number = np.floor(place / (0.99 * self.spacing))
        kept = np.diff(number, prepend=-1.0) > 0
        kept[-1] = True
        return q[kept], tangent[kept]
