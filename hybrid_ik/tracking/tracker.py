"""Dynamic programming over the solution sets of a path of poses."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pose import Pose
from hybrid_ik.solution_sets.finder import SetFinder
from hybrid_ik.solution_sets.solution_set import Limit
from hybrid_ik.tracking.layers import CurveLayers, Points
from hybrid_ik.tracking.path import Jump, TrackedPath
from hybrid_ik.tracking.smoothing import Smoother

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

# Distances [rad, or m] between neighbouring points of a layer are a third of a step, within these.
SPACINGS = 0.02, 0.12
BARELY = 1e-9  # rad, or m
NO_ANSWER = "the pose has no answer"
NONE = -1  # the parent of what begins a part of the path


class Layer(NamedTuple):
    """The answers of one pose that a path may go through."""

    points: Points
    cost: Array
    """Of the cheapest way that leads to each `(n,)`."""
    parent: Indices
    """The point of the layer before it that this way comes from `(n,)`."""


class Tracker:
    """Finds joints along paths of poses of one arm.

    Args:
        finder: of the arm.
        max_step: how far a joint may move from one pose to the next [rad, or m].
        limit_weight: weight of the squared distances from the middle of the ranges, in units of half the range.
    """

    def __init__(self, finder: SetFinder, max_step: float, limit_weight: float) -> None:
        self._finder, self.max_step, self.limit_weight = finder, max_step, limit_weight
        self._chain, self._follower = finder.chain, finder.follower
        endless = np.isinf(self._chain.upper - self._chain.lower) & (np.array(self._chain.kinds) == "hinge")
        self._period = np.where(endless, [[2.0 * np.pi], [0.5 / np.pi]], 0.0)
        self._layers = CurveLayers(finder, float(np.clip(max_step / 3.0, *SPACINGS)))
        half = 0.5 * (self._chain.upper - self._chain.lower)
        self._middle = np.where(np.isfinite(half), 0.5 * (self._chain.lower + self._chain.upper), 0.0)
        self._stiffness = limit_weight / half**2  # 0 where there is no limit
        self._smoother = Smoother(finder, self._middle, self._stiffness, max_step)

    def track(self, poses: Pose, start: Array | None) -> TrackedPath:
        """See `HybridSolver.track`."""
        targets = self._follower.targets(poses)
        layers: list[Layer | None] = []
        jumps: list[Jump] = []
        last = None if start is None else self._from(start)
        for i in range(len(poses)):
            layer = None
            if last is not None:
                carried = self._layers.carry(last.points, targets[i : i + 1])
                layer = self._next(last, self._layers.around(carried, targets[i : i + 1]))
                if layer is None:
                    jumps.append(self._jump(i, last, targets[i : i + 1]))
            layer = self._anew(last, poses[i]) if layer is None else layer
            if layer is None and not (jumps and jumps[-1].waypoint == i):
                jumps.append(Jump(i, NO_ANSWER))
            layers.append(layer)
            last = layer
        return self._path(targets, layers, jumps, start)

    def _from(self, q: Array) -> Layer:
        """A layer of these joints alone."""
        target = self._follower.target_of(q[None])
        settled = self._follower.settle(target, q[None], np.ones((1, len(q))), most_steps=0)
        return Layer(Points(q[None], settled.tangent, np.zeros(1, int)), np.zeros(1), np.full(1, NONE))

    def _next(self, last: Layer, points: Points) -> Layer | None:
        """The points that can be reached from the last layer, if there are any."""
        return self._cheapest(last, points, self.max_step + 0.5 * self._layers.spacing)  # smoothing makes steps shorter

    def _anew(self, last: Layer | None, pose: Pose) -> Layer | None:
        """All answers of a pose, whatever the way there, if there are any."""
        points = self._layers.everything(pose)
        if last is not None:
            return self._cheapest(last, points, np.inf)
        cost = self._from_middle(points.q)
        return Layer(points, cost, np.full(len(cost), NONE)) if len(cost) else None

    def _cheapest(self, last: Layer, points: Points, most: float) -> Layer | None:
        """The points that a way leads to, if there are any."""
        parent, cost = self._follower.cheapest_ways(points.q, last.points.q, last.cost, self._period, most)
        kept = np.flatnonzero(parent >= 0)
        if not len(kept):
            return None
        points = Points(points.q[kept], points.tangent[kept], points.piece[kept])
        return Layer(points, cost[kept] + self._from_middle(points.q), parent[kept].astype(int))

    def _from_middle(self, q: Array) -> Array:
        return (q - self._middle) ** 2 @ self._stiffness

    def _jump(self, i: int, last: Layer, target: Array) -> Jump:
        """Why the way ends: by the answers that come nearest to going on, limits aside."""
        chain = self._chain
        carried = self._follower.settle(target, last.points.q, last.points.tangent)
        if not carried.success.any():
            return Jump(i, "no answer lies near those of the waypoint before")
        q, before = carried.q[carried.success], last.points.q[carried.success]
        beyond = np.maximum(np.maximum(chain.lower - q, q - chain.upper), 0.0)
        nearest = int(np.argmin(beyond.max(1)))
        joint = int(np.argmax(beyond[nearest]))
        name = chain.joint_names[joint]
        if beyond[nearest, joint] > BARELY:
            side = "upper" if q[nearest, joint] > chain.upper[joint] else "lower"
            return Jump(i, f"{name} would pass its {side} limit", Limit(joint, name, side))
        step = np.abs(q - before)[nearest]
        name = chain.joint_names[int(np.argmax(step))]
        return Jump(i, f"{name} would move by {step.max():.3g}, farther than max_step = {self.max_step:.3g}")

    def _path(self, targets: Array, layers: list[Layer | None], jumps: list[Jump], start: Array | None) -> TrackedPath:
        q, tangent = self._backwards(layers)
        breaks = {jump.waypoint for jump in jumps} | {i + 1 for i, layer in enumerate(layers) if layer is None}
        ends = sorted({0, len(layers), *(b for b in breaks if b <= len(layers))})
        for a, b in pairwise(ends):
            if b > a and layers[a] is not None:
                before = start if a == 0 and 0 not in breaks else None
                q[a:b] = self._smoother.smooth(targets[a:b], q[a:b], tangent[a:b], before)
        return self._judged(targets, q, tuple(jumps))

    def _backwards(self, layers: list[Layer | None]) -> tuple[Array, Array]:
        """The cheapest way through the layers; NaN where there is none."""
        q, tangent = np.full((2, len(layers), self._chain.dof), np.nan)
        k = NONE
        for i in reversed(range(len(layers))):
            layer = layers[i]
            if layer is None:
                k = NONE
                continue
            k = int(np.argmin(layer.cost)) if k == NONE else k
            q[i], tangent[i], k = layer.points.q[k], layer.points.tangent[k], int(layer.parent[k])
        return q, tangent

    def _judged(self, targets: Array, q: Array, jumps: tuple[Jump, ...]) -> TrackedPath:
        known = np.isfinite(q).all(1)
        settled = self._follower.settle(
            targets[known], q[known], np.ones_like(q[known]), tolerance=self._finder.tolerance, most_steps=0
        )
        success, errors = np.zeros(len(q), bool), np.full((len(q), 2), np.nan)
        success[known], errors[known] = settled.success, settled.errors
        steps = np.diff(q, axis=0)
        cost = float(np.nansum(steps**2) + np.nansum(self._from_middle(q)))
        return TrackedPath(q, success, errors[:, 0], errors[:, 1], jumps, cost)
