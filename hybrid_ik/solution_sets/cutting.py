"""What of closed curves lies within the joint limits."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.solution_sets.hermite import Segments, crossings
from hybrid_ik.solution_sets.loops import TURN, Loops

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

WHOLE, LOWER, UPPER = 0, -1, 1  # what ends a span: nothing, or a joint at this limit

SIDES = np.array([LOWER, UPPER, LOWER, UPPER])  # a turn beyond the limits the other ones come


class Spans(NamedTuple):
    """Parts of curves; each array has an entry for each of them."""

    curve: Indices
    begin: Array
    """Place along the curve [rad, or m]."""
    end: Array
    """Beyond the length of the curve where the part goes on at its beginning."""
    shift: Array
    """Whole turns to be added to the joints `(k, dof)` [rad]."""
    joint: Indices
    """The joints that meet a limit at both ends, `(k, 2)`."""
    side: Indices
    """`LOWER` or `UPPER` there, `(k, 2)`; `WHOLE` where a whole curve lies within the limits."""


class Events(NamedTuple):
    """Places where a joint crosses a limit, in the order of curves and of places along them."""

    curve: Indices
    place: Array
    joint: Indices
    side: Indices


def cut(loops: Loops, chain: Chain) -> list[Spans]:
    """The parts of curves within the limits of an arm.

    Joints that go round are within the limits wherever a whole number of turns takes them there. A joint whose range is
    wider than a turn has several such places: then there are parts for each of them. A curve along which such a joint
    goes round leaves its limits only after some rounds.
    """
    middle, half = chain.middle, 0.5 * (chain.upper - chain.lower)
    middle, hinge = np.where(np.isfinite(half), middle, 0.0), np.array(chain.kinds) == "hinge"
    around, wide = hinge & (half < np.pi), hinge & (half >= np.pi) & np.isfinite(half)
    n_turns = np.abs(np.round(loops.winding / TURN)).astype(int) * wide
    spans = _cut_all(loops, middle, half, around, _copies(loops, middle, half, wide))
    if n_turns.any():
        spans = [_chosen(some, ~n_turns.any(1)[some.curve]) for some in spans]
        for curve in np.flatnonzero(n_turns.any(1)).tolist():
            joint = int(np.argmax(n_turns[curve] > 0))
            line, place = _unrolled(loops, curve, joint, middle[joint], half[joint])
            copies = _copies(line, middle, half, wide)
            copies[joint] = TURN * np.arange(n_turns[curve, joint])  # farther on are the next rounds
            spans += [
                some._replace(curve=some.curve + curve, begin=some.begin + place, end=some.end + place)
                for some in _cut_all(line, middle, half, around, copies)
            ]
    return spans


def _chosen(spans: Spans, which: NDArray[np.bool_]) -> Spans:
    return Spans._make(column[which] for column in spans)


def _cut_all(loops: Loops, middle: Array, half: Array, around: NDArray[np.bool_], copies: list[Array]) -> list[Spans]:
    return [_cut(loops, middle, half, around, np.array(copy)) for copy in product(*copies)]


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
    if len(loops.segments.q0) and wide.any():
        least, most = (f(bound, axis=0) for f, bound in zip((np.min, np.max), loops.segments.bounds, strict=True))
        for j in np.flatnonzero(wide):
            first, last = (middle[j] - half[j] - most[j]) / TURN, (middle[j] + half[j] - least[j]) / TURN
            copies[j] = TURN * np.arange(np.ceil(first), np.floor(last) + 1)
    return copies


def _cut(loops: Loops, middle: Array, half: Array, around: NDArray[np.bool_], copy: Array) -> Spans:
    places = loops.places
    events = _events(loops, middle - copy, half, around)
    n, k = len(events.place), len(loops.winding)
    first = np.searchsorted(events.curve, np.arange(k + 1))
    following = np.arange(1, n + 1)
    last = first[events.curve + 1] - 1
    following[last] = first[events.curve[last]]
    length = places.length[events.curve]
    end = events.place[following] + np.where(np.arange(n) == last, length, 0.0)

    free = np.flatnonzero(np.diff(first) == 0)  # curves that cross no limit: all of them is within, or nothing
    curve = np.concatenate([events.curve, free])
    begin, end = np.concatenate([events.place, np.zeros(len(free))]), np.concatenate([end, places.length[free]])
    q, _ = places.at(curve, 0.5 * (begin + end))
    turns = np.where(around, TURN * np.round((middle - q) / TURN), copy)
    inside = (np.abs(q + turns - middle) <= half).all(1)
    joint = np.concatenate([np.stack([events.joint, events.joint[following]], 1), np.full((len(free), 2), -1)])
    side = np.concatenate([np.stack([events.side, events.side[following]], 1), np.full((len(free), 2), WHOLE)])
    return Spans(curve[inside], begin[inside], end[inside], turns[inside], joint[inside], side[inside])


def _events(loops: Loops, middle: Array, half: Array, around: NDArray[np.bool_]) -> Events:
    """All crossings of limits: a joint that goes round meets the same ones a turn farther on."""
    segments, places = loops.segments, loops.places
    low, high = segments.bounds
    origin = middle + np.where(around, TURN * np.round((segments.q0 - middle) / TURN), 0.0)
    beyond = np.where(around, TURN - half, np.inf)
    offset = np.stack([-half, half, beyond, -beyond])
    level = origin[:, None] + offset
    s, i, j = np.nonzero((low[:, None] <= level) & (high[:, None] >= level))
    which, u = crossings(segments.cubics(s, j), level[s, i, j], segments.q1[s, j])
    s, j, side = s[which], j[which], SIDES[i[which]]
    curve, place = places.curve[s], places.begin[s] + u * segments.length[s]
    order = np.lexsort([place, curve])
    return Events(curve[order], place[order], j[order], side[order])
