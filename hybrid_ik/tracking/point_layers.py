"""Layers of arms whose answers are no curves: separate points, or the points of a cloud."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pose import Pose
from hybrid_ik.solution_sets.finder import SetFinder
from hybrid_ik.solution_sets.following import EXACT
from hybrid_ik.tracking.layers import Points

Array = NDArray[np.float64]

MOST_POINTS = 64  # of a layer
PULLS = 1.0, 4.0  # how far points of a cloud are moved, in distances between them
SAME = 1e-5  # rad, or m: answers of an arm without a spare joint that are as near are one


class PointLayers:
    """Layers of arms without a spare joint: each answer goes its own way.

    Args:
        finder: of the arm.
        spacing: how far points move at most where they are not held [rad, or m].
    """

    def __init__(self, finder: SetFinder, spacing: float) -> None:
        self._finder, self._follower, self.spacing = finder, finder.follower, spacing

    def everything(self, pose: Pose) -> Points:
        """All answers of a pose."""
        return self._points(self._finder.find(pose, self.spacing, miss=1e-3, most_points=MOST_POINTS).q)

    def carry(self, points: Points, motion: Array, target: Array) -> Points:
        """Where points come to lie by the shortest ways to answers of the target; see `CurveLayers.carry`."""
        return self._points(self._answers(np.concatenate([points.q + motion, points.q]), target))

    def around(self, points: Points, target: Array) -> Points:
        """The points themselves, each once."""
        return self._points(_apart(points.q, SAME, MOST_POINTS))

    def _answers(self, q: Array, target: Array) -> Array:
        settled = self._follower.settle(target, q, tolerance=(EXACT, EXACT)).within(self._finder.chain)
        return settled.q[settled.success]

    def _points(self, q: Array) -> Points:
        return Points(q, np.zeros_like(q), np.zeros(len(q), int))


class CloudLayers(PointLayers):
    """Layers of arms with two spare joints or more: points, and others around them."""

    def around(self, points: Points, target: Array) -> Points:
        """The points, others nearer to the middle of the ranges, and others anywhere; of these so many, spread out."""
        chain, q = self._finder.chain, points.q
        if not len(q):
            return self._points(q)
        half = 0.5 * (chain.upper - chain.lower)
        finite = np.isfinite(half)
        off = np.where(finite, (chain.middle - q) / np.where(finite, half, 1.0), 0.0)
        rng = np.random.default_rng(0)
        moved = [q + length * self.spacing * off for length in PULLS]
        moved += [q + length * self.spacing * rng.normal(size=q.shape) for length in PULLS]
        q = np.concatenate([q, self._answers(np.concatenate(moved), target)])
        share = np.abs((q - chain.middle)[:, finite] / half[finite]).max(1, initial=0.0)
        return self._points(_spread(q[np.argsort(share, kind="stable")], 0.5 * self.spacing, MOST_POINTS))


def _spread(q: Array, distance: float, most: int) -> Array:
    """So many of the joints `(m, dof)` at most: the first, then whichever is farthest from those before it."""
    kept, far = [0], np.abs(q - q[0]).max(1)
    while len(kept) < min(most, len(q)) and far.max() > distance:
        kept.append(int(np.argmax(far)))
        far = np.minimum(far, np.abs(q - q[kept[-1]]).max(1))
    return q[kept]


def _apart(q: Array, distance: float, most: int) -> Array:
    """The first of the joints `(m, dof)` that are not near to an earlier one in all joints, so many at most."""
    kept: list[int] = []
    for i in range(len(q)):
        if len(kept) < most and (np.abs(q[kept] - q[i]).max(1) > distance).all():
            kept.append(i)
    return q[kept]
