"""All answers of a pose: curves of joints for arms with one spare joint, points for arms with none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.plotting import new_figure
from hybrid_ik.solution_sets.following import CurveFollower
from hybrid_ik.solution_sets.hermite import Segments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

FOOT_STEPS = 4  # Newton steps to the nearest point of a curve
LONGEST_STEP = 0.1  # rad, or m: of those that are taken on the curve itself
SHARES = np.array([1.0, 0.5, 0.2, 0.05])  # of such a step that are tried: far from q a curve may bend away from it
NO_NEARER = 1e-9  # rad, or m
SLACK = 0.3  # chords whose distance is larger than the least by this share of their length are looked at too


@dataclass(frozen=True)
class Limit:
    """The joint limit at which a piece ends."""

    joint: int
    """Number of the joint."""
    name: str
    """Its name."""
    side: str
    """"lower" or "upper"."""

    def __str__(self) -> str:
        return f"{self.side} limit of {self.name}"


@dataclass(frozen=True, eq=False)
class Piece:
    """One connected piece of a solution set: an arc between two joint limits, a closed curve, or a single point."""

    q: Array
    """Verified joints `(n, dof)` [rad, or m], in order and evenly spaced; a closed curve does not repeat its first."""
    tangent: Array
    """Unit tangents `(n, dof)`; zero for a single point."""
    position_error: Array
    """Distance of the tip from the pose `(n,)` [m], by forward kinematics."""
    orientation_error: Array
    """Angle between the tip and the pose `(n,)` [rad], by forward kinematics."""
    closed: bool
    """Whether the last point is followed by the first one, which may be whole turns away."""
    length: float
    """Length of the curve [rad, or m]; 0 for a single point."""
    ends: tuple[Limit, Limit] | None
    """What ends it, before the first point and after the last; None for closed curves and points."""
    winding: Array
    """By how much the joints are farther on when a closed curve has come round `(dof,)` [rad]."""

    def __len__(self) -> int:
        return len(self.q)

    @cached_property
    def segments(self) -> Segments:
        """The parts between neighbouring points; none where the points do not lie on a curve."""
        if self.length == 0.0:
            return Segments(self.q[:0], self.q[:0], self.tangent[:0], self.tangent[:0])
        if self.closed:
            after = np.concatenate([self.q[1:], self.q[:1] + self.winding])
            return Segments(self.q, after, self.tangent, np.concatenate([self.tangent[1:], self.tangent[:1]]))
        return Segments(self.q[:-1], self.q[1:], self.tangent[:-1], self.tangent[1:])

    def __repr__(self) -> str:
        if self.ends is not None:
            return f"<arc of {self.length:.3f} from {self.ends[0]} to {self.ends[1]}, {len(self.q)} points>"
        return f"<closed curve of {self.length:.3f}, {len(self.q)} points>" if self.closed else f"<point {self.q[0]}>"


class SolutionSet(Sequence[Piece]):
    """Every answer of one pose, as pieces, the longest first; made by `HybridSolver.solve_all`.

    `len(set)` is the number of pieces, `set.q` all their points. The curves go on between these: `sample` and
    `nearest` give joints anywhere on them, verified like the points.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        missing: float,
        n_seeds: int,
        chain: Chain,
        target: Array,
        follower: CurveFollower,
        tolerance: tuple[float, float],
    ) -> None:
        self.pieces = tuple(pieces)
        self.missing = missing
        """The estimated chance that a piece is missing; 1 where no start led to an answer."""
        self.n_seeds = n_seeds
        """Starts tried."""
        self._chain, self._target, self._follower, self._tolerance = chain, target, follower, tolerance

    def __len__(self) -> int:
        return len(self.pieces)

    def __iter__(self) -> Iterator[Piece]:
        return iter(self.pieces)

    def __getitem__(self, index: Any) -> Any:
        return self.pieces[index]

    @cached_property
    def q(self) -> Array:
        """The points of all pieces, one after another `(n, dof)` [rad, or m]."""
        return np.concatenate([np.empty((0, self._chain.dof)), *(piece.q for piece in self.pieces)])

    @cached_property
    def piece(self) -> NDArray[np.intp]:
        """The piece that each row of `q` belongs to `(n,)`."""
        return np.repeat(np.arange(len(self.pieces)), [len(piece) for piece in self.pieces])

    @property
    def length(self) -> float:
        """Length of all curves together [rad, or m]."""
        return float(sum(piece.length for piece in self.pieces))

    def sample(self, n: int, rng: np.random.Generator | int | None = None) -> Array:
        """Random answers `(n, dof)`, evenly by the length of the curves, or by number where they are points; verified.

        Raises:
            InvalidInputError: the set is empty, or n is not a number of answers.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise InvalidInputError(f"n must be a whole number of at least 0, got {n!r}")
        self._check_not_empty()
        rng = np.random.default_rng(rng)
        if self.length == 0.0:
            return self.q[rng.integers(len(self.q), size=n)]
        ends = np.cumsum(self._segments.length)
        place = rng.random(n) * ends[-1]
        segment = np.minimum(np.searchsorted(ends, place, side="right"), len(ends) - 1)
        u = 1.0 - (ends[segment] - place) / self._segments.length[segment]
        q, _ = self._settled(segment, u)
        return q

    def along(self, point: NDArray[np.intp], offset: Array) -> Array:
        """Answers `(m, k, dof)` beside rows `point` `(m,)` of `q`, along their curves; verified.

        Args:
            point: rows of `q` that lie on curves.
            offset: `(m, k)`, in numbers of points: 0.5 is half the way to the next. Arcs end; closed curves go on.
        """
        count = np.array([len(piece) for piece in self.pieces])
        parts = np.array([len(piece.segments.q0) for piece in self.pieces])
        own = self.piece[point]
        place = (point - (np.cumsum(count) - count)[own])[:, None] + offset
        n_parts, round_ = parts[own][:, None], (parts == count)[own][:, None]
        place = np.where(round_, np.mod(place, n_parts), np.clip(place, 0.0, n_parts))
        part = np.minimum(place.astype(int), n_parts - 1)
        first = (np.cumsum(parts) - parts)[own][:, None]
        found, _ = self._settled((first + part).ravel(), (place - part).ravel())
        return found.reshape(*offset.shape, -1)

    def nearest(self, q: ArrayLike) -> Array:
        """The answers nearest to joints `(dof,)` or `(m, dof)`, anywhere on the curves; verified.

        Raises:
            InvalidInputError: the set is empty, or joints of another shape, or not finite.
        """
        joints = self._checked(q)
        self._check_not_empty()
        found = np.array([self._nearest(row) for row in joints.reshape(-1, self._chain.dof)])
        return found.reshape(joints.shape)

    def distance(self, q: ArrayLike) -> Array:
        """How far joints `(dof,)` or `(m, dof)` are from the nearest answer [rad, or m]; infinite for an empty set."""
        joints = self._checked(q)
        if not self.pieces:
            return np.full(joints.shape[:-1], np.inf)[()]
        d = joints - self.nearest(joints)
        return np.linalg.norm(self._chain.shortest_way(d), axis=-1)

    def contains(self, q: ArrayLike, tolerance: float = 1e-3) -> NDArray[np.bool_]:
        """Whether joints `(dof,)` or `(m, dof)` lie within `tolerance` [rad, or m] of an answer."""
        return np.asarray(self.distance(q) <= tolerance)[()]

    def plot(self, joints: tuple[int, int] | None = None) -> Figure:
        """The pieces, each in its colour, as the values of two joints; by default of those that vary most.

        Needs matplotlib, which comes with the extra `viewer`.

        Raises:
            InvalidInputError: there are no such joints.
            MissingPackageError: matplotlib is not installed.
        """
        spread = np.ptp(self.q, axis=0) if len(self.q) else np.zeros(self._chain.dof)
        x, y = joints or sorted(np.argsort(-spread, kind="stable")[:2].tolist())
        if not {x, y} <= set(range(self._chain.dof)):
            raise InvalidInputError(f"joints must be two of 0 to {self._chain.dof - 1}, got {joints!r}")
        figure = new_figure(6.0, 5.0)
        axes = figure.subplots()
        for piece in self.pieces:
            line = np.concatenate([piece.q, piece.q[:1] + piece.winding]) if piece.closed else piece.q
            marker = "o" if len(line) == 1 else ""
            axes.plot(line[:, x], line[:, y], marker=marker, label=f"{piece.length:.2f}")
        names = self._chain.joint_names
        axes.set_xlabel(f"{names[x]} [{self._unit(x)}]"), axes.set_ylabel(f"{names[y]} [{self._unit(y)}]")
        if 0 < len(self.pieces) <= 16:
            axes.legend(title="length", fontsize="small")
        return figure

    def __repr__(self) -> str:
        return (
            f"<SolutionSet of {len(self.pieces)} pieces, length {self.length:.2f}, {len(self.q)} points, "
            f"missing one with a chance of {self.missing:.1g}>"
        )

    @cached_property
    def _segments(self) -> Segments:
        """All segments of all curves."""
        none = np.empty((0, self._chain.dof))
        parts = [Segments(none, none, none, none), *(piece.segments for piece in self.pieces)]
        return Segments(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("q0", "q1", "t0", "t1")))

    def _nearest(self, q: Array) -> Array:
        """The nearest of the points, and of the feet of q on the segments that may be nearest."""
        feet, tangents = self._settled(*self._feet(q))
        answers = np.concatenate([feet, self.q])
        nearest = np.argmin(np.linalg.norm(self._chain.shortest_way(answers - q), axis=1))
        if not self.length:
            return answers[nearest]
        tangent = np.concatenate([tangents, *(piece.tangent for piece in self.pieces)])[nearest]
        return self._nearer(answers[nearest], tangent, q)

    def _nearer(self, answer: Array, tangent: Array, q: Array) -> Array:
        """Goes on along the curve as long as that leads nearer: where it bends, feet on its segments are not yet it."""
        for _ in range(FOOT_STEPS):
            way = self._chain.shortest_way(q - answer)
            steps = np.clip(way @ tangent, -LONGEST_STEP, LONGEST_STEP) * SHARES
            on, tangents, success = self._verified(
                answer + steps[:, None] * tangent, np.tile(tangent, (len(SHARES), 1))
            )
            distance = np.where(success, np.linalg.norm(self._chain.shortest_way(on - q), axis=1), np.inf)
            nearest = np.argmin(distance)
            if distance[nearest] > np.linalg.norm(way) - NO_NEARER:
                break
            answer, tangent = on[nearest], tangents[nearest]
        return answer

    def _feet(self, q: Array) -> tuple[NDArray[np.intp], Array]:
        """Segments, and where on them the way to q is shortest: from its foot on the chord by Newton's method."""
        chord = self._segments.q1 - self._segments.q0
        way = self._chain.shortest_way(q - self._segments.q0)
        square = np.einsum("ij,ij->i", chord, chord)
        u = np.clip(np.einsum("ij,ij->i", way, chord) / square, 0.0, 1.0)
        far = np.linalg.norm(way - u[:, None] * chord, axis=1)
        segment = np.flatnonzero(
            far <= (far - SLACK * np.sqrt(square)).min(initial=np.inf) + 2 * SLACK * np.sqrt(square)
        )
        c, way, u = self._segments.coefficients[1:, segment], way[segment], u[segment]
        for _ in range(FOOT_STEPS):
            x = u[:, None]
            off = x * (c[0] + x * (c[1] + x * c[2])) - way
            first, second = c[0] + x * (2.0 * c[1] + 3.0 * x * c[2]), 2.0 * c[1] + 6.0 * x * c[2]
            speed = np.einsum("ij,ij->i", first, first)
            slope = speed + np.einsum("ij,ij->i", off, second)
            u = np.clip(u - np.einsum("ij,ij->i", off, first) / np.maximum(slope, 0.1 * speed), 0.0, 1.0)
        return segment, u

    def _settled(self, segment: NDArray[np.intp], u: Array) -> tuple[Array, Array]:
        """Verified joints at these places, and the tangents there.

        The first point of a segment where the way to the curve is not found.
        """
        on, tangent, success = self._verified(*self._segments.at(segment, u))
        q0, t0 = self._segments.q0[segment], self._segments.t0[segment]
        return np.where(success[:, None], on, q0), np.where(success[:, None], tangent, t0)

    def _verified(self, q: Array, tangent: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Joints moved across the tangents onto the curve and to within the limits, the tangents, which are answers."""
        settled = self._follower.settle(self._target, q, border=tangent, tolerance=self._tolerance)
        on = np.clip(settled.q, self._chain.lower, self._chain.upper)
        judged = self._follower.settle(self._target, on, border=tangent, tolerance=self._tolerance, most_steps=0)
        return on, judged.tangent, settled.success & judged.success

    def _checked(self, q: ArrayLike) -> Array:
        try:
            joints = np.asarray(q, dtype=float)
        except (TypeError, ValueError):
            joints = np.empty(0)
        if joints.shape[-1:] != (self._chain.dof,) or not np.isfinite(joints).all():
            raise InvalidInputError(f"expected finite joints (*batch, {self._chain.dof}), got {q!r}")
        return joints

    def _check_not_empty(self) -> None:
        if not self.pieces:
            raise InvalidInputError("this solution set is empty: its pose has no answers, so none is the nearest")

    def _unit(self, joint: int) -> str:
        return "rad" if self._chain.hinges[joint] else "m"
