"""Dynamic programming over the solution sets of a path of poses."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pose import Pose
from hybrid_ik.solution_sets.finder import SetFinder
from hybrid_ik.solution_sets.following import BARELY, Settled
from hybrid_ik.solution_sets.solution_set import Limit
from hybrid_ik.tracking.layers import CurveLayers, Points
from hybrid_ik.tracking.path import Jump, TrackedPath
from hybrid_ik.tracking.point_layers import CloudLayers, PointLayers
from hybrid_ik.tracking.smoothing import Smoother

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

# Layers are made for waypoints between which the tip moves by so much: its way in halves of the reach, and its turn.
# A fifth of it makes layers three times as many, and ways no cheaper.
STRIDE = 0.8
# Distances [rad, or m] between neighbouring points of a layer: a share of the largest step, within bounds. Of 70 paths
# that could be followed, one was found to break with distances of 0.2 and the largest step 0.3, none with 0.1.
COARSE, FINE = (0.5, 0.02, 0.15), (0.25, 0.01, 0.08)
SLACK = 0.5  # of these distances, by which steps may be too long before they are smoothed
NO_ANSWER = "the pose has no answer"
NONE = -1  # the parent of what begins a part of the path


class Layer(NamedTuple):
    """The answers of one pose that a path may go through."""

    points: Points
    cost: Array
    """Of the cheapest way that leads to each `(n,)`."""
    parent: Indices
    """The point of the layer before it that this way comes from `(n,)`."""
    motion: Array
    """The last step of this way `(n, dof)`."""


class Chosen(NamedTuple):
    """Joints for some waypoints of a path."""

    waypoints: list[int]
    q: Array
    """`(n, dof)`; NaN where a pose has no answer."""
    tangent: Array
    jumps: list[Jump]
    layers: list[Layer | None]


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
        self._layers = self._layers_of(COARSE)
        half = 0.5 * (self._chain.upper - self._chain.lower)
        self._middle = np.where(np.isfinite(half), self._chain.middle, 0.0)
        self._stiffness = limit_weight / half**2  # 0 where there is no limit
        self._slack, self._too_far = 0.0, f", farther than max_step = {max_step:.3g}"
        self._smoother = Smoother(finder, self._middle, self._stiffness, max_step)

    def track(self, poses: Pose, start: Array | None) -> TrackedPath:
        """See `HybridSolver.track`."""
        if not len(poses):
            return self._judged(np.empty((0, 12)), np.empty((0, self._chain.dof)), ())
        path = self._attempt(poses, start, COARSE, self._knots(poses), SLACK if self._finder.dimension == 1 else 0.0)
        if any(self._doubtful(jump, poses, path.q) for jump in path.jumps):  # a way may have been missed
            path = min(path, self._attempt(poses, start, FINE, list(range(len(poses))), 0.0), key=_badness)
        return path

    def _doubtful(self, jump: Jump, poses: Pose, q: Array) -> bool:
        """Whether a jump may not be needed: not where even the joints beside it lead to no answer."""
        i = jump.waypoint
        beside = q[max(i - 1, 0) : i + 2]
        beside = beside[np.isfinite(beside).all(1)]
        if jump.reason != NO_ANSWER or not len(beside):
            return jump.reason != NO_ANSWER
        settled = self._follower.settle(self._follower.targets(poses[i : i + 1]), beside)
        return bool(settled.within(self._chain).success.any())

    def _attempt(
        self, poses: Pose, start: Array | None, spacing: tuple[float, float, float], waypoints: list[int], slack: float
    ) -> TrackedPath:
        """A path by layers of some waypoints, and of more where they do not do."""
        self._layers, targets = self._layers_of(spacing), self._follower.targets(poses)
        self._slack = slack * self._layers.spacing
        chosen = self._through(poses, targets, waypoints, start, [], [])
        while True:
            q, tangent, torn = self._between(targets, chosen)
            if not torn:
                return self._path(targets, q, tangent, chosen.jumps, start)
            n = int(np.searchsorted(chosen.waypoints, min(torn)))  # what comes before stays as it is
            jumps = [jump for jump in chosen.jumps if jump.waypoint < min(torn)]
            waypoints = sorted({*chosen.waypoints, *torn})
            chosen = self._through(poses, targets, waypoints, start, chosen.layers[:n], jumps)

    def _layers_of(self, spacing: tuple[float, float, float]) -> PointLayers | CurveLayers:
        distance = float(np.clip(spacing[0] * self.max_step, *spacing[1:]))
        if self._finder.dimension == 1:
            return CurveLayers(self._finder, distance, thorough=spacing is FINE)
        return (CloudLayers if self._finder.dimension else PointLayers)(self._finder, distance)

    def _knots(self, poses: Pose) -> list[int]:
        """Waypoints that are looked at first: the first and last, and so many between that the tip moves little."""
        turn = 2.0 * np.arccos(np.minimum(1.0, np.abs((poses.quaternion[1:] * poses.quaternion[:-1]).sum(1))))
        way = np.linalg.norm(np.diff(poses.position, axis=0), axis=1) / self._follower.scale + turn
        number = np.floor(np.concatenate([[0.0], np.cumsum(way)]) / STRIDE)
        return sorted({*np.flatnonzero(np.diff(number, prepend=-1.0) > 0).tolist(), len(poses) - 1})

    def _through(
        self,
        poses: Pose,
        targets: Array,
        waypoints: list[int],
        start: Array | None,
        layers: list[Layer | None],
        jumps: list[Jump],
    ) -> Chosen:
        """The cheapest way through the layers of some waypoints; of more, where no way leads from one to the next.

        The first layers may be known, and the jumps among them.
        """
        waypoints, known = list(waypoints), [layer for layer in layers if layer is not None]
        first = None if start is None else self._from(start)
        last, before = known[-1] if known else first, waypoints[len(layers) - 1] if layers else -1
        gone = (layers[-1] if layers else first) is None
        while len(layers) < len(waypoints):
            i = waypoints[len(layers)]
            layer = None if gone or last is None else self._next(last, targets[i : i + 1], i - before)
            if layer is None and not gone and i - before > 1:
                waypoints[len(layers) : len(layers)] = range(before + 1, i)
                continue
            if layer is None:
                layer = self._anew(last, poses[i])
                if layer is None:
                    jumps.append(Jump(i, NO_ANSWER))
                elif last is not None and not gone:
                    jumps.append(self._jump(i, last, targets[i : i + 1]))
            layers.append(layer)
            last, before, gone = layer or last, i, layer is None
        return Chosen(waypoints, *self._backwards(layers), jumps, layers)

    def _from(self, q: Array) -> Layer:
        """A layer of these joints alone."""
        none, rows = np.zeros_like(q[None]), q[None]
        settled = self._follower.settle(self._follower.target_of(rows), rows, none + 1.0, most_steps=0)
        return Layer(Points(rows, settled.tangent, np.zeros(1, int)), np.zeros(1), np.full(1, NONE), none)

    def _next(self, last: Layer, target: Array, n_steps: int) -> Layer | None:
        """The answers that can be reached from the last layer in so many steps, if there are any."""
        carried = self._layers.carry(last.points, n_steps * last.motion, target)
        most = n_steps * self.max_step + self._slack
        return self._cheapest(last, self._layers.around(carried, target), most, n_steps)

    def _anew(self, last: Layer | None, pose: Pose) -> Layer | None:
        """All answers of a pose, whatever the way there, if there are any."""
        points = self._layers.everything(pose)
        if last is not None:
            return self._cheapest(last, points, np.inf)
        cost = self._from_middle(points.q)
        return Layer(points, cost, np.full(len(cost), NONE), np.zeros_like(points.q)) if len(cost) else None

    def _cheapest(self, last: Layer, points: Points, most: float, n_steps: int = 1) -> Layer | None:
        """The points that a way leads to, if there are any; a way of several steps costs as much as even ones."""
        parent, cost = self._follower.cheapest_ways(points.q, last.points.q, n_steps * last.cost, most)
        kept = np.flatnonzero(parent >= 0)
        if not len(kept):
            return None
        points, before = Points(points.q[kept], points.tangent[kept], points.piece[kept]), parent[kept].astype(int)
        motion = (points.q - last.points.q[before]) / n_steps * (most < np.inf)
        return Layer(points, cost[kept] / n_steps + n_steps * self._from_middle(points.q), before, motion)

    def _from_middle(self, q: Array) -> Array:
        return (q - self._middle) ** 2 @ self._stiffness

    def _jump(self, i: int, last: Layer, target: Array) -> Jump:
        """Why the way ends: by the answers that come nearest to going on, limits aside."""
        chain = self._chain
        carried = self._follower.settle(target, last.points.q, last.points.tangent)
        if not carried.success.any():
            return Jump(i, "no answer lies near those of the waypoint before")
        q, before = carried.q[carried.success], last.points.q[carried.success]
        beyond = chain.beyond(q)
        nearest = int(np.argmin(beyond.max(1)))
        joint = int(np.argmax(beyond[nearest]))
        name = chain.joint_names[joint]
        if beyond[nearest, joint] > BARELY:
            side = "upper" if q[nearest, joint] > chain.upper[joint] else "lower"
            return Jump(i, f"{name} would pass its {side} limit", Limit(joint, name, side))
        step = np.abs(q - before)[nearest]
        if step.max() <= self.max_step:
            return Jump(i, "the answers near those of the waypoint before cannot be followed")
        return self._long_step(i, step)

    def _long_step(self, i: int, step: Array) -> Jump:
        return Jump(i, f"{self._chain.joint_names[int(np.argmax(step))]} would move by {step.max():.3g}{self._too_far}")

    def _between(self, targets: Array, chosen: Chosen) -> tuple[Array, Array, list[int]]:
        """Joints of all waypoints, evenly between those that were chosen; waypoints at which that does not do."""
        at, n, torn = np.array(chosen.waypoints), len(targets), []
        q, tangent = np.full((2, n, self._chain.dof), np.nan)
        q[at], tangent[at] = chosen.q, chosen.tangent
        gap = np.flatnonzero(np.diff(at) > 1)
        if len(gap):
            own = np.concatenate([np.arange(at[g] + 1, at[g + 1]) for g in gap])
            g = np.searchsorted(at, own) - 1
            share = ((own - at[g]) / (at[g + 1] - at[g]))[:, None]
            rows = (1.0 - share) * chosen.q[g] + share * chosen.q[g + 1]
            aim = (1.0 - share) * chosen.tangent[g] + share * chosen.tangent[g + 1]
            settled = self._onto(targets[own], rows, aim)
            q[own], tangent[own] = settled.q, settled.tangent
            long = np.abs(np.diff(q, axis=0)).max(1) > self.max_step + self._slack
            bad = np.unique(np.concatenate([g[~settled.success], np.searchsorted(at, np.flatnonzero(long) + 1) - 1]))
            torn = [i for k in bad if at[k + 1] - at[k] > 1 for i in range(at[k] + 1, at[k + 1])]
        return q, tangent, torn

    def _onto(self, targets: Array, q: Array, tangent: Array) -> Settled:
        if self._finder.dimension == 1:
            return self._follower.settle_within(targets, q, tangent, self._finder.tolerance)
        return self._follower.settle(targets, q, tolerance=self._finder.tolerance).within(self._chain)

    def _path(self, targets: Array, q: Array, tangent: Array, jumps: list[Jump], start: Array | None) -> TrackedPath:
        """The path, smoothed between its breaks."""
        breaks = {jump.waypoint for jump in jumps} | {int(i) + 1 for i in np.flatnonzero(np.isnan(q[:, 0]))}
        for a, b in pairwise(sorted({0, len(q), *(i for i in breaks if i <= len(q))})):
            if b > a and not np.isnan(q[a, 0]) and self._finder.dimension == 1:
                before = start if a == 0 and 0 not in breaks else None
                q[a:b] = self._smoother.smooth(targets[a:b], q[a:b], tangent[a:b], before)
        steps = np.abs(np.diff(q, axis=0, prepend=q[:1] if start is None else start[None]))
        long = np.flatnonzero((steps > self.max_step + BARELY).any(1))
        jumps = jumps + [self._long_step(i, steps[i]) for i in long.tolist() if i not in breaks]
        return self._judged(targets, q, tuple(sorted(jumps, key=lambda jump: jump.waypoint)))

    def _backwards(self, layers: list[Layer | None]) -> tuple[Array, Array]:
        """The cheapest way through the layers; NaN where there is none."""
        q, tangent = np.full((2, len(layers), self._chain.dof), np.nan)
        k = NONE
        for i in reversed(range(len(layers))):
            layer = layers[i]
            if layer is None:
                continue  # the layer after it comes from the one before it
            k = int(np.argmin(layer.cost)) if k == NONE else k
            q[i], tangent[i], k = layer.points.q[k], layer.points.tangent[k], int(layer.parent[k])
        return q, tangent

    def _judged(self, targets: Array, q: Array, jumps: tuple[Jump, ...]) -> TrackedPath:
        known = np.isfinite(q).all(1)
        settled = self._follower.settle(
            targets[known], q[known], np.ones_like(q[known]), tolerance=self._finder.tolerance, most_steps=0
        )
        success, errors = np.zeros(len(q), bool), np.full((len(q), 2), np.nan)
        success[known], errors[known] = settled.success & self._chain.within(q[known]), settled.errors
        steps = np.diff(q, axis=0)
        steps[[jump.waypoint - 1 for jump in jumps if jump.waypoint > 0]] = 0.0
        cost = float(np.nansum(steps**2) + np.nansum(self._from_middle(q)))
        return TrackedPath(q, success, errors[:, 0], errors[:, 1], jumps, cost)


def _badness(path: TrackedPath) -> tuple[int, float]:
    return len(path.jumps), path.cost
