"""The curves of joints that meet one pose, followed whole: all answers of an arm with one spare joint.

Without limits, the answers of such an arm are at most 16 closed curves (Burdick, 1989, "On the inverse kinematics of
redundant manipulators: characterization of the self-motion manifolds"), where a joint that has gone round is where it
was. They are few, long, and found by nearly every start. What lies within the limits is cut out of them afterwards, and
so short pieces, which hardly any start would lead to, are found with the curve that they are part of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.cpu import forward_kinematics
from hybrid_ik.kernels.curves import CLOSED, load_curve_kernel
from hybrid_ik.kinematics import chord
from hybrid_ik.pose import Pose
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solution_sets.hermite import Segments

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

# Lengths in rad, or m. Panda, 150 poses: steps of at most 0.25 and a cosine of 0.95 find the curves that steps of at
# most 0.05 and a cosine of 0.995 find, with a fifth of the points.
FIRST, LONGEST, SHORTEST, STRAIGHT, TOO_LONG = 0.05, 0.25, 1e-5, 0.95, 100.0
CLEARANCE = 1.0  # share of the least singular value, in units of half the reach, that a step may always take
CLOSE = 1e-4  # m and rad: points between which curves are interpolated need no more
EXACT = 1e-6  # of starts, so that they are seen again when a curve comes back to them
BARELY = 1e-9  # rad, or m: joints as little beyond a limit are moved onto it
NEAR = 0.3  # rad, or m: how far along a curve a limit is looked for
DAMPING, MOST_STEPS = 0.1, 25
MOST_POINTS = 2048  # of one curve

FIRST_STARTS, MOST_STARTS = 32, 1024
FOLLOWED_FIRST = 12  # starts that are followed before the others are looked for on what they led to


class Settled(NamedTuple):
    """Joints on a curve."""

    q: Array
    """`(m, dof)`."""
    tangent: Array
    """Unit vectors `(m, dof)`."""
    errors: Array
    """Position and orientation error `(m, 2)` [m, rad]."""
    success: Mask


class Ways(NamedTuple):
    """Curves that were followed: what `follow_loops.follow_rows` writes."""

    points: Array
    tangents: Array
    winding: Array
    n_points: NDArray[np.int32]
    verdict: NDArray[np.int32]
    limit: NDArray[np.int32]


@dataclass(frozen=True)
class Loops:
    """Closed curves, or points of arms without a spare joint, and how they were found."""

    segments: Segments
    first: Indices
    """Number of the first segment of each curve, and at the end how many there are: `(k + 1,)`."""
    winding: Array
    """By how much joints that go round are farther on at the end of each curve, `(k, dof)` [rad]."""
    hits: NDArray[np.int64]
    """How many starts led to each, `(k,)`."""
    n_starts: int
    """Starts tried."""

    @property
    def missing(self) -> float:
        """See `missing_chance`."""
        return missing_chance(self.hits)


def missing_chance(hits: NDArray[np.int64]) -> float:
    """The chance that something is missing, where each thing found was led to by so many starts; 1 where there is none.

    The larger of two estimates. Good's and Turing's (Good, 1953): the share of starts that led to what no other one led
    to is the chance that the next one leads to something new. Where each thing was hit more than once it says nothing;
    then the chance counts with which all starts would have missed a thing as rare as the rarest of these.
    """
    n = int(hits.sum())
    if n == 0:
        return 1.0
    return max(int((hits == 1).sum()) / n, (1.0 - int(hits.min()) / n) ** n)


class CurveFollower:
    """Finds and follows the curves of poses of one arm.

    Args:
        chain: the arm with its mount and tool; its limits count for nothing here.
        orientation: whether the orientation of the tip is part of the pose.
    """

    def __init__(self, chain: Chain, orientation: bool = True) -> None:
        self.chain, self._kernel = chain, load_curve_kernel(chain)
        scale = 0.5 * chain.reach  # makes lengths of turns, so that neither outweighs the other
        self._tool = np.array([*chain.T_last_tip[:3, 3], scale if orientation else 0.0])
        around = np.array(chain.kinds) == "hinge"
        self._period = np.where(around, [[2 * np.pi], [0.5 / np.pi]], 0.0)
        self._scale, self._orientation = scale, orientation
        self._steps = self.step_options(FIRST, LONGEST)
        self._starts = UniformSampler(chain)

    def step_options(self, first: float, longest: float, paired: bool = False) -> Array:
        """Options of `follow`, for steps of these lengths [rad, or m]."""
        steps = first, longest, SHORTEST, STRAIGHT, CLEARANCE / self._scale, TOO_LONG, float(paired)
        return np.array([CLOSE**2, CLOSE**2 if self._orientation else np.inf, *steps])

    def targets(self, pose: Pose) -> Array:
        """Poses `(m,)` as the kernels take them, `(m, 12)`: [R_first_last by rows, p_first_tip]."""
        position, rotation = self.chain.first_last(pose)
        position = position + rotation @ self._tool[:3]
        return np.concatenate([rotation.reshape(-1, 9), position.reshape(-1, 3)], 1)

    def target_of(self, q: Array) -> Array:
        """The targets that joints `(m, dof)` meet."""
        position, rotation = forward_kinematics(self.chain, q)
        position = position + rotation @ self._tool[:3]
        return np.concatenate([rotation.reshape(-1, 9), position], 1)

    def settle(
        self,
        target: Array,
        q0: Array,
        border: Array | None = None,
        offset: Array | None = None,
        tolerance: tuple[float, float] = (EXACT, EXACT),
        most_steps: int = MOST_STEPS,
    ) -> Settled:
        """Joints onto the curves of a target, one of `targets` or one for each row; see `kinematics.curve_step`.

        Without a border they come from afar, by the steps of Levenberg and Marquardt.
        """
        m, dof = q0.shape
        far = border is None
        border = np.zeros((m, dof)) if border is None else border
        offset = np.zeros(m) if offset is None else offset
        turn = chord(tolerance[1]) ** 2 if self._orientation else np.inf
        options = np.array([tolerance[0] ** 2, turn, DAMPING if far else 0.0, most_steps])
        q, tangent, errors, info = np.empty((m, dof)), np.empty((m, dof)), np.empty((m, 3)), np.empty(m, np.int32)
        rows = np.ascontiguousarray(q0), target, self._tool, options, border, offset
        self._kernel.settle_rows(*rows, q, tangent, errors, info)
        errors = np.sqrt(errors[:, :2])
        errors[:, 1] = 2.0 * np.arcsin(np.minimum(0.5 * errors[:, 1], 1.0))
        return Settled(q, tangent, errors, info >= 0)

    def settle_within(self, target: Array, q: Array, tangent: Array, tolerance: tuple[float, float]) -> Settled:
        """Joints across their tangents onto the curves; where that leads beyond a limit, along the curve back to it.

        Success means that they meet the target within the limits.
        """
        lower, upper = self.chain.lower, self.chain.upper
        settled = self.settle(target, q, tangent, tolerance=tolerance)
        beyond = np.maximum(lower - settled.q, settled.q - upper)
        out = np.flatnonzero(settled.success & (beyond > BARELY).any(1))
        if len(out):
            joint, x = np.argmax(beyond[out], axis=1), settled.q[out]
            limit = np.clip(x, lower, upper)[np.arange(len(out)), joint]
            own = target if len(target) == 1 else target[out]
            offset = limit - x[np.arange(len(out)), joint]
            moved = self.settle(own, x, np.eye(x.shape[1])[joint], offset, tolerance)
            moved.q[np.arange(len(out)), joint] = limit
            same_way = np.where(np.einsum("ij,ij->i", moved.tangent, tangent[out]) < 0.0, -1.0, 1.0)
            settled.q[out], settled.tangent[out] = moved.q, same_way[:, None] * moved.tangent
            settled.errors[out] = moved.errors
            settled.success[out] = moved.success & (np.abs(moved.q - x) < NEAR).all(1)
        inside = ((settled.q >= lower - BARELY) & (settled.q <= upper + BARELY)).all(1)
        return settled._replace(q=np.clip(settled.q, lower, upper), success=settled.success & inside)

    def loops(self, target: Array, miss: float) -> Loops:
        """The closed curves of one target `(1, 12)`, until the chance that one is missing is at most `miss`."""
        found, n, tried = _Found(self.chain.dof, self.find), FIRST_STARTS, 0
        while True:
            settled = self.settle(target, self._starts.table(n)[tried:])
            lost = found.count(settled.q[settled.success])
            for some in (lost[:FOLLOWED_FIRST], lost[FOLLOWED_FIRST:]):
                lost = found.count(some)
                if len(lost):
                    self._add(target, lost, found)
                    found.count(lost)
            loops, tried = found.loops(n), n
            if loops.missing <= miss or n >= MOST_STARTS:
                return loops
            n *= 2

    def _add(self, target: Array, starts: Array, found: _Found) -> None:
        """Follows the curves through some starts, and keeps those that have closed and are new."""
        any_way = np.tile(1.0 / np.arange(1.0, self.chain.dof + 1.0), (len(starts), 1))
        nowhere = np.tile([[-np.inf], [np.inf]], self.chain.dof)
        ways = self.follow(target, starts, any_way, nowhere, self._steps)
        for row in np.flatnonzero(ways.verdict == CLOSED):
            if not found.has(starts[row]):
                n = ways.n_points[row]
                found.add(ways.points[row, :n], ways.tangents[row, :n], ways.winding[row])

    def follow(self, target: Array, starts: Array, border: Array, limits: Array, steps: Array) -> Ways:
        """See `follow_loops.follow_rows`."""
        m, dof = starts.shape
        points, tangents = np.empty((2, m, MOST_POINTS, dof))
        winding, info = np.zeros((m, dof)), np.empty((m, 3), np.int32)
        rows = np.ascontiguousarray(starts), target, self._tool, steps, border, self._period, limits
        self._kernel.follow_rows(*rows, points, tangents, winding, info)
        return Ways(points, tangents, winding, *info.T)

    def cheapest_ways(
        self, q: Array, before: Array, cost: Array, period: Array, most: float
    ) -> tuple[NDArray[np.int32], Array]:
        """See `follow_loops.cheapest_ways`."""
        parent, least = np.empty(len(q), np.int32), np.empty(len(q))
        rows = np.ascontiguousarray(q), np.ascontiguousarray(before), np.ascontiguousarray(cost)
        self._kernel.cheapest_ways(*rows, period, most, parent, least)
        return parent, least

    def find(self, q: Array, segments: Segments) -> NDArray[np.int32]:
        """The segment that each of the joints `(m, dof)` lies on, or -1."""
        out = np.empty(len(q), np.int32)
        self._kernel.find_on_curves(np.ascontiguousarray(q), segments.q0, segments.q1, self._period, out)
        return out


class _Found:
    """Closed curves, as they are found."""

    def __init__(self, dof: int, find: Callable[[Array, Segments], NDArray[np.int32]]) -> None:
        none = np.empty((0, dof))
        self.segments, self._owner, self._find = Segments(none, none, none, none), np.empty(0, np.intp), find
        self._winding: list[Array] = []
        self._hits: list[int] = []

    def add(self, q: Array, tangent: Array, winding: Array) -> None:
        """A curve of points `(n, dof)`, whose last one is a step away from the first one, `winding` farther on."""
        new = q, np.concatenate([q[1:], q[:1] + winding]), tangent, np.concatenate([tangent[1:], tangent[:1]])
        old = self.segments
        parts = zip((old.q0, old.q1, old.t0, old.t1), new, strict=True)
        self.segments = Segments(*(np.concatenate(pair) for pair in parts))
        self._owner = np.concatenate([self._owner, np.full(len(q), len(self._winding))])
        self._winding.append(winding)
        self._hits.append(0)

    def has(self, q: Array) -> bool:
        """Whether joints `(dof,)` lie on a curve."""
        return bool(len(self._owner)) and self._find(q[None], self.segments)[0] >= 0

    def count(self, q: Array) -> Array:
        """Counts how many of the joints `(m, dof)` lie on each curve, and gives those that lie on none."""
        if not len(self._owner) or not len(q):
            return q
        segment = self._find(q, self.segments)
        for curve in self._owner[segment[segment >= 0]]:
            self._hits[curve] += 1
        return q[segment < 0]

    def loops(self, n_starts: int) -> Loops:
        """What was found."""
        k, dof = len(self._winding), self.segments.q0.shape[1]
        first = np.searchsorted(self._owner, np.arange(k + 1))
        winding = np.array(self._winding).reshape(k, dof)
        return Loops(self.segments, first, winding, np.array(self._hits, int), n_starts)
