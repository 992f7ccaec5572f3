"""What of closed curves lies within the joint limits."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.curves import load_curve_loops
from hybrid_ik.solution_sets.hermite import Segments
from hybrid_ik.solution_sets.loops import TURN, Loops

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

WHOLE, LOWER, UPPER = 0, -1, 1  # what ends a span: nothing, or a joint at this limit
ROOM = 64  # spans, and crossings of a curve; more is made where there are more


class Spans(NamedTuple):
    """Parts of curves; each array has an entry for each of them."""

    span: Indices
    """`(k, 5)`: the curve; the joints that meet a limit at its beginning and end; and these limits, see `side`."""
    place: Array
    """Where they begin and end along the curve `(k, 2)` [rad, or m]; beyond its length they go on at its beginning."""
    shift: Array
    """Whole turns to be added to the joints `(k, dof)` [rad]."""

    @property
    def curve(self) -> Indices:
        """The curve that each is a part of."""
        return self.span[:, 0]

    @property
    def joint(self) -> Indices:
        """The joints that meet a limit at both ends `(k, 2)`."""
        return self.span[:, 1:3]

    @property
    def side(self) -> Indices:
        """`LOWER` or `UPPER` there, `(k, 2)`, or `WHOLE`."""
        return self.span[:, 3:]

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which of them are whole curves."""
        return np.asarray(self.span[:, 3] == WHOLE)

    def chosen(self, which: NDArray[np.bool_]) -> Spans:
        """Some of them."""
        return Spans(self.span[which], self.place[which], self.shift[which])


def cut(loops: Loops, chain: Chain) -> list[Spans]:
    """The parts of curves within the limits of an arm.

    Joints that go round are within the limits wherever a whole number of turns takes them there. A joint whose range is
    wider than a turn has several such places: then there are parts for each of them. A curve along which such a joint
    goes round leaves its limits only after some rounds.
    """
    middle, half, around, wide = _limits(chain)
    if not wide.any():
        return [_cut(loops, middle, half, around, np.zeros(chain.dof), ROOM)]
    spans = _cut_all(loops, middle, half, around, _copies(loops, middle, half, wide))
    n_turns = np.where(wide, np.abs(np.round(loops.winding / TURN)), 0.0).astype(int)
    rolls: NDArray[np.bool_] = np.any(n_turns, axis=1)
    if rolls.any():
        spans = [some.chosen(~rolls[some.curve]) for some in spans]
        for curve in np.flatnonzero(rolls).tolist():
            joint = int(np.argmax(n_turns[curve] > 0))
            line, place = _unrolled(loops, curve, joint, middle[joint], half[joint])
            copies = _copies(line, middle, half, wide)
            copies[joint] = TURN * np.arange(n_turns[curve, joint])  # farther on are the next rounds
            for some in _cut_all(line, middle, half, around, copies):
                some.span[:, 0] += curve
                spans.append(some._replace(place=some.place + place))
    return spans


@lru_cache(maxsize=64)
def _limits(chain: Chain) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Middle and half of the ranges; which joints go round to where they were; which have more than a turn."""
    half = 0.5 * (chain.upper - chain.lower)
    middle = np.where(np.isfinite(half), chain.middle, 0.0)
    around, wide = chain.hinges & (half < np.pi), chain.hinges & (half >= np.pi) & np.isfinite(half)
    return middle, half, np.asarray(around), np.asarray(wide)


def _unrolled(loops: Loops, curve: int, joint: int, middle: float, half: float) -> tuple[Loops, float]:
    """A curve round after round, from beyond one limit of a joint that goes round to beyond the other one.

    Also the place along the curve where it begins.
    """
    own, winding = slice(loops.first[curve], loops.first[curve + 1]), loops.winding[curve]
    q0, q1, t0, t1 = (getattr(loops.segments, name)[own] for name in ("q0", "q1", "t0", "t1"))
    x, w = q0[:, joint], winding[joint]
    ends = np.array([middle - half - x.max() - abs(w), middle + half - x.min() + abs(w)]) / w
    rounds = np.arange(np.floor(ends.min()), np.ceil(ends.max()) + 1)
    q0, q1 = ((rounds[:, None, None] * winding + q).reshape(-1, q.shape[1]) for q in (q0, q1))
    t0, t1 = (np.tile(t, (len(rounds), 1)) for t in (t0, t1))
    line, first = Segments(q0, q1, t0, t1), np.array([0, len(q0)])
    place = rounds[0] * loops.segments.length[own].sum()
    unrolled = replace(loops, segments=line, first=first, winding=len(rounds) * winding[None], hits=loops.hits[[curve]])
    return unrolled, float(place)


def _copies(loops: Loops, middle: Array, half: Array, wide: NDArray[np.bool_]) -> list[Array]:
    """For each joint the turns by which curves are moved; more than none only where its range is wider than a turn."""
    copies = [np.zeros(1)] * len(half)
    if len(loops.segments.q0):
        least, most = (f(bound, axis=0) for f, bound in zip((np.min, np.max), loops.segments.bounds, strict=True))
        for j in np.flatnonzero(wide):
            first, last = (middle[j] - half[j] - most[j]) / TURN, (middle[j] + half[j] - least[j]) / TURN
            copies[j] = TURN * np.arange(np.ceil(first), np.floor(last) + 1)
    return copies


def _cut_all(loops: Loops, middle: Array, half: Array, around: NDArray[np.bool_], copies: list[Array]) -> list[Spans]:
    return [_cut(loops, middle, half, around, np.array(copy), ROOM) for copy in product(*copies)]


def _cut(loops: Loops, middle: Array, half: Array, around: NDArray[np.bool_], copy: Array, room: int) -> Spans:
    """See `cut_loops.cut_curves`."""
    events, crossed = np.empty(room), np.empty((room, 2), np.int64)
    span, place, shift = np.empty((room, 5), np.int64), np.empty((room, 2)), np.empty((room, len(half)))
    n = np.empty(2, np.int64)
    limits = middle, half, around, copy
    load_curve_loops()["cut_curves"](*loops.arrays, *limits, events, crossed, span, place, shift, n)
    if n.max() > room:
        return _cut(loops, middle, half, around, copy, int(n.max()))
    return Spans(span[: n[0]], place[: n[0]], shift[: n[0]])
