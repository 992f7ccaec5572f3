"""The curves of joints that meet one pose, followed whole: all answers of an arm with one spare joint.

Without limits, the answers of such an arm are at most 16 closed curves (Burdick, 1989, "On the inverse kinematics of
redundant manipulators: characterization of the self-motion manifolds"), where a joint that has gone round is where it
was. They are few, long, and found by nearly every start. What lies within the limits is cut out of them afterwards, and
so short pieces, which hardly any start would lead to, are found with the curve that they are part of.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.cpu import forward_kinematics
from hybrid_ik.kernels.curves import CLOSED, LONG, load_curve_kernel
from hybrid_ik.kernels.quaternion import rotation_of
from hybrid_ik.kinematics import chord
from hybrid_ik.pose import Pose, n_rows
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solution_sets.hermite import Segments
from hybrid_ik.solution_sets.loops import TURN, Loops
from hybrid_ik.solution_sets.twins import Twins

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

# Lengths in rad, or m. Panda, 150 poses: steps of at most 0.35 and a cosine of 0.93 find the curves that steps of at
# most 0.05 and a cosine of 0.995 find, with a sixth of the points.
FIRST, LONGEST, SHORTEST, STRAIGHT, TOO_LONG = 0.05, 0.35, 1e-5, 0.93, 100.0
CLEARANCE = 1.0  # share of the least singular value, in units of half the reach, that a step may always take
CLOSE = 1e-4  # m and rad: points between which curves are interpolated need no more
EXACT = 1e-9  # of starts, so that they are seen again when a curve comes back to them
BARELY = 1e-9  # rad, or m: joints as little beyond a limit are moved onto it
NEAR = 0.3  # rad, or m: how far along a curve a limit is looked for
DAMPING, MOST_STEPS = 0.1, 25
# Room for points of one curve, and more for arms that are nearly singular all along one, so that steps are short.
MOST_POINTS, EVEN_MORE_POINTS = 1024, 32_768

# Of 400 random Panda poses, on average 0.04 % lack a curve after 96 starts with their twins, 4.3 % after 32; without
# twins 2.8 % and 37 %.
FIRST_STARTS, MOST_STARTS = 96, 1536
FOLLOWED_AT_ONCE = 12  # starts that are followed before the others are looked for on what they led to


class Settled(NamedTuple):
    """Joints on a curve."""

    q: Array
    """`(m, dof)`."""
    tangent: Array
    """Unit vectors `(m, dof)`."""
    errors: Array
    """Position and orientation error `(m, 2)` [m, rad]."""
    success: Mask

    def within(self, chain: Chain) -> Settled:
        """These with those that are beyond a limit by no more than `BARELY` moved onto it; farther ones are none."""
        inside = ((self.q >= chain.lower - BARELY) & (self.q <= chain.upper + BARELY)).all(1)
        return self._replace(q=np.clip(self.q, chain.lower, chain.upper), success=self.success & inside)


class Ways(NamedTuple):
    """Curves that were followed: what `follow_loops.follow_rows` writes."""

    points: Array
    tangents: Array
    winding: Array
    info: NDArray[np.int32]

    @property
    def n_points(self) -> NDArray[np.int32]:
        """How many points count."""
        return self.info[:, 0]

    @property
    def verdict(self) -> NDArray[np.int32]:
        """What became of each."""
        return self.info[:, 1]


class CurveFollower:
    """Finds and follows the curves of poses of one arm.

    Args:
        chain: the arm with its mount and tool; its limits count for nothing here.
        orientation: whether the orientation of the tip is part of the pose.
    """

    def __init__(self, chain: Chain, orientation: bool = True) -> None:
        self.chain, self._kernel = chain, load_curve_kernel(chain)
        self.scale = 0.5 * chain.reach or 1.0  # m: makes lengths of turns, so that neither outweighs the other
        self._mount_tool = chain.mount_and_tool
        self._tool = np.array([*chain.T_last_tip[:3, 3], self.scale if orientation else 0.0])
        self._period, self._endless_period = _period(chain.hinges), _period(chain.periods > 0)
        self._orientation = orientation
        self._steps = self.step_options(FIRST, LONGEST)
        self._any_way = np.tile(1.0 / np.arange(1.0, chain.dof + 1.0), (FOLLOWED_AT_ONCE, 1))
        self._nowhere = np.tile([[-np.inf], [np.inf]], chain.dof)
        self._starts, self.twins = UniformSampler(chain), Twins(chain)

    @property
    def n_rows(self) -> int:
        """Numbers that a pose fixes."""
        return n_rows(self._orientation)

    def step_options(self, first: float, longest: float, paired: bool = False) -> Array:
        """Options of `follow`, for steps of these lengths [rad, or m]."""
        steps = first, longest, SHORTEST, STRAIGHT, CLEARANCE / self.scale, TOO_LONG, float(paired)
        return np.array([CLOSE**2, CLOSE**2 if self._orientation else np.inf, *steps])

    def targets(self, pose: Pose) -> Array:
        """Poses `(m,)` as the kernels take them, `(m, 12)`: [R_first_last by rows, p_first_tip]."""
        rotation = np.array([rotation_of(*q) for q in pose.quaternion.tolist()]).reshape(-1, 3, 3)
        first_base, tip_last = self._mount_tool[:9].reshape(3, 3), self._mount_tool[12:21].reshape(3, 3)
        position = pose.position @ first_base.T + self._mount_tool[9:12]
        return np.concatenate([(first_base @ rotation @ tip_last).reshape(-1, 9), position], 1)

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
        settled = self.settle(target, q, tangent, tolerance=tolerance)
        within = settled.within(self.chain)
        out = np.flatnonzero(settled.success & ~within.success)
        if len(out):
            x, clipped, every = settled.q[out], within.q[out], np.arange(len(out))
            joint = np.argmax(np.abs(x - clipped), axis=1)
            limit = clipped[every, joint]
            own = target if len(target) == 1 else target[out]
            moved = self.settle(own, x, np.eye(x.shape[1])[joint], limit - x[every, joint], tolerance)
            moved.q[every, joint] = limit
            near = (np.abs(moved.q - x) < NEAR).all(1)
            same_way = np.where(np.einsum("ij,ij->i", moved.tangent, tangent[out]) < 0.0, -1.0, 1.0)
            moved = moved.within(self.chain)
            within.q[out], within.tangent[out] = moved.q, same_way[:, None] * moved.tangent
            within.errors[out], within.success[out] = moved.errors, moved.success & near
        return within

    def loops(self, target: Array, miss: float) -> Loops:
        """The closed curves of one target `(1, 12)`, until the chance that one is missing is at most `miss`."""
        found, n, tried = _Found(self), FIRST_STARTS, 0
        while True:
            settled = self.settle(target, self._starts.table(n)[tried:])
            unknown = found.count(settled.q[settled.success])
            while len(unknown):
                some, unknown = unknown[:FOLLOWED_AT_ONCE], unknown[FOLLOWED_AT_ONCE:]
                found.add(self._follow_whole(target, some))
                found.lose(found.count(some))
                while len(twins := found.unknown_twins()):
                    found.add(self._follow_whole(target, twins))
                unknown = found.count(unknown)
            loops, tried = found.loops(n), n
            if loops.unseen <= miss or n >= MOST_STARTS:
                return loops
            n *= 2

    def _follow_whole(self, target: Array, starts: Array) -> Ways:
        return self.follow(target, starts, self._any_way[: len(starts)], self._nowhere, self._steps)

    def follow(
        self, target: Array, starts: Array, border: Array, limits: Array, steps: Array, room: int = MOST_POINTS
    ) -> Ways:
        """See `follow_loops.follow_rows`."""
        m, dof = starts.shape
        points, tangents = np.empty((2, m, room, dof))
        winding, info = np.zeros((m, dof)), np.empty((m, 2), np.int32)
        rows = np.ascontiguousarray(starts), target, self._tool, steps, border, self._period, limits
        self._kernel.follow_rows(*rows, points, tangents, winding, info)
        if room < EVEN_MORE_POINTS and (info[:, 1] == LONG).any():
            return self.follow(target, starts, border, limits, steps, EVEN_MORE_POINTS)
        return Ways(points, tangents, winding, info)

    def cheapest_ways(self, q: Array, before: Array, cost: Array, most: float) -> tuple[NDArray[np.int32], Array]:
        """See `follow_loops.cheapest_ways`; only joints without limits may go the shorter way round."""
        parent, least = np.empty(len(q), np.int32), np.empty(len(q))
        rows = np.ascontiguousarray(q), np.ascontiguousarray(before.T), np.ascontiguousarray(cost)
        self._kernel.cheapest_ways(*rows, self._endless_period, most, parent, least)
        return parent, least

    def join_closed(self, ways: Ways, begin: int, *ends: Array) -> None:
        """See `follow_loops.join_closed`."""
        self._kernel.join_closed(ways.points, ways.tangents, ways.winding, ways.info, begin, *ends)

    def find(self, q: Array, q0: Array, q1: Array) -> NDArray[np.int32]:
        """The chord from q0 to q1, `(n, dof)`, that each of the joints `(m, dof)` lies on, or -1."""
        out = np.empty(len(q), np.int32)
        self._kernel.find_on_curves(np.ascontiguousarray(q), q0, q1, self._period, out)
        return out


def _period(around: Mask) -> Array:
    """`(2, dof)`, as the kernels take it: a turn and its inverse for joints that go round, zeros for others."""
    return np.where(around, [[TURN], [1.0 / TURN]], 0.0)


class _Found:
    """Closed curves, as they are found."""

    def __init__(self, follower: CurveFollower) -> None:
        none = np.empty((0, follower.chain.dof))
        self._follower, self._segments = follower, Segments(none, none, none, none)
        self._owner, self._winding, self._hits = np.empty(0, np.intp), none, np.empty(0, np.intp)
        self._n_lost = 0
        self._kin: list[set[int]] = []

    def add(self, ways: Ways) -> None:
        """Adds the curves that have closed, each once."""
        closed = np.flatnonzero(ways.verdict == CLOSED)
        if not len(closed):
            return
        k, n = len(self._winding), ways.n_points[closed]
        old, before = self._segments, len(self._owner)
        q0, q1, t0, t1 = np.empty((4, before + n.sum(), old.q0.shape[1]))
        for new, known in ((q0, old.q0), (q1, old.q1), (t0, old.t0), (t1, old.t1)):
            new[:before] = known
        self._follower.join_closed(ways, before, q0, q1, t0, t1)
        self._segments = Segments(q0, q1, t0, t1)
        self._owner = np.concatenate([self._owner, np.repeat(np.arange(k, k + len(closed)), n)])
        self._winding = np.concatenate([self._winding, ways.winding[closed]])
        self._hits = np.concatenate([self._hits, np.zeros(len(closed), np.intp)])
        first = self._owner[self._find(ways.points[closed, 0])]
        self._drop(np.flatnonzero(first < np.arange(k, k + len(closed))) + k)

    def _drop(self, curves: Indices) -> None:
        """Takes curves away that are followed twice."""
        if len(curves):
            kept = np.setdiff1d(np.arange(len(self._winding)), curves)
            own = np.isin(self._owner, kept)
            s = self._segments
            self._segments = Segments(s.q0[own], s.q1[own], s.t0[own], s.t1[own])
            self._owner = np.searchsorted(kept, self._owner[own])
            self._winding, self._hits = self._winding[kept], self._hits[kept]

    def unknown_twins(self) -> Array:
        """Twins of the curves that nobody has asked for before, where they lie on no curve; others make curves kin."""
        k, n = len(self._winding), len(self._kin)
        if k == n:
            return np.empty((0, self._segments.q0.shape[1]))
        q = self._segments.q0[np.searchsorted(self._owner, np.arange(n, k))]
        twins = self._follower.twins.of(q)
        segment = self._find(twins.reshape(-1, q.shape[1])).reshape(twins.shape[:2])
        self._kin += [set(self._owner[own[own >= 0]].tolist()) for own in segment]
        return twins[segment < 0][:FOLLOWED_AT_ONCE]

    def count(self, q: Array) -> Array:
        """Counts how many of the joints `(m, dof)` lie on each curve, and gives those that lie on none."""
        if not len(self._owner) or not len(q):
            return q
        segment = self._find(q)
        self._hits += np.bincount(self._owner[segment[segment >= 0]], minlength=len(self._hits))
        return q[segment < 0]

    def _find(self, q: Array) -> NDArray[np.int32]:
        return self._follower.find(q, self._segments.q0, self._segments.q1)

    def lose(self, q: Array) -> None:
        """Counts those of the joints `(m, dof)` that are within the limits, as lying on no curve."""
        if not len(q):
            return
        chain = self._follower.chain
        turns = np.where(chain.hinges, TURN * np.round((q - chain.middle) / TURN), 0.0)
        self._n_lost += int(chain.within(q - turns).sum())

    def loops(self, n_starts: int) -> Loops:
        """What was found."""
        first = np.searchsorted(self._owner, np.arange(len(self._winding) + 1))
        return Loops(self._segments, first, self._winding, self._hits, self._kinds(), n_starts, self._n_lost)

    def _kinds(self) -> Indices:
        """A number for each curve, the same for those that are kin."""
        kind = np.arange(len(self._winding))
        for curve, others in enumerate(self._kin):
            for other in others:
                kind[kind == kind[other]] = kind[curve]
        return kind
