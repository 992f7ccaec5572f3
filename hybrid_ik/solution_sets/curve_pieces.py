"""Pieces of curves: cut at the joint limits, as evenly spaced, verified points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.solution_sets.cutting import LOWER, WHOLE, Spans, cut
from hybrid_ik.solution_sets.following import CurveFollower, Settled
from hybrid_ik.solution_sets.loops import Loops, Places
from hybrid_ik.solution_sets.solution_set import Limit, Piece

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

MARGIN = 0.1  # share of the tolerances that points are brought within, so that they stay so when they are clipped
BARELY = 1e-6  # rad, or m: points as little beyond a limit are moved onto it
STEEP = 2e-3  # least share of a joint in the tangent where it meets its limit
FLAT = 5e-3  # rad, or m: how much of an end is left out where the share is less
SHARP = 0.3  # rad: curves that turn more than this between two points get others between them
WIDEST = 0.25  # rad, or m: points farther apart say too little about the curve between them
FAR = 0.05  # rad, or m: interpolated points are nearer to their curve than this


def curve_pieces(
    follower: CurveFollower, target: Array, loops: Loops, spacing: float, tolerance: tuple[float, float]
) -> list[Piece]:
    """What closed curves leave within the limits, the longest piece first."""
    places = loops.places
    pieces = []
    for spans in cut(loops, follower.chain):
        if len(spans.curve):
            pieces += _pieces(follower, target, places, spans, spacing, tolerance)
    return sorted(pieces, key=lambda piece: -piece.length)


def _pieces(
    follower: CurveFollower, target: Array, places: Places, spans: Spans, spacing: float, tolerance: tuple[float, float]
) -> list[Piece]:
    spans = _without_flat_ends(places, spans)
    whole, length = spans.side[:, 0] == WHOLE, spans.end - spans.begin
    span, place = _points(places, spans, whole, spacing)
    first = np.searchsorted(span, np.arange(len(length) + 1))
    q, tangent = places.at(spans.curve[span], place)
    points = _settled(
        follower, target, q + spans.shift[span], tangent, _ends(follower.chain, spans, first, tangent), tolerance
    )
    pieces = []
    for k in range(len(length)):
        rows = np.arange(first[k], first[k + 1])[points.success[first[k] : first[k + 1]]]
        if len(rows):
            winding = places.winding[spans.curve[k]] * whole[k]
            q, tangent, errors = points.q[rows], points.tangent[rows], points.errors[rows]
            ends = None if whole[k] else _limits(follower.chain, spans.joint[k], spans.side[k])
            pieces.append(_piece(q, tangent, errors, float(length[k]), ends, winding))
    return pieces


def _points(places: Places, spans: Spans, whole: NDArray[np.bool_], spacing: float) -> tuple[Indices, Array]:
    """Which span each point belongs to, and its place: evenly spaced, and more where a curve turns off sharply."""
    length = spans.end - spans.begin
    n_parts = np.maximum(1, np.ceil(length / min(spacing, WIDEST)).astype(int))
    n_points = np.where(whole, n_parts, n_parts + 1)
    span = np.repeat(np.arange(len(n_points)), n_points)
    share = (np.arange(len(span)) - (np.cumsum(n_points) - n_points)[span]) / n_parts[span]
    place = spans.begin[span] + share * length[span]
    curve, corner = places.corners(SHARP / min(spacing, WIDEST))
    if len(curve):
        for rounds in (0.0, 1.0):  # a span may go on at the beginning of its curve
            at = corner + rounds * places.length[curve]
            own, k = np.nonzero(
                (spans.curve[:, None] == curve) & (spans.begin[:, None] < at) & (at < spans.end[:, None])
            )
            span, place = np.concatenate([span, own]), np.concatenate([place, at[k]])
        order = np.lexsort([place, span])
        span, place = span[order], place[order]
    return span, place


def _without_flat_ends(places: Places, spans: Spans) -> Spans:
    """The same, a little shorter where a joint only just touches its limit, so that nobody knows where."""
    half, place = 0.5 * (spans.end - spans.begin), [spans.begin, spans.end]
    for i, inwards in ((0, 1.0), (1, -1.0)):
        _, tangent = places.at(spans.curve, place[i])
        flat = np.abs(tangent[np.arange(len(half)), spans.joint[:, i]]) < STEEP
        place[i] = place[i] + np.where(flat & (spans.side[:, i] != WHOLE), inwards * np.minimum(FLAT, half), 0.0)
    return spans._replace(begin=place[0], end=place[1])


class Ends(NamedTuple):
    """Rows of points that lie on a limit: which, whose limit, and where that is."""

    rows: Indices
    joint: Indices
    limit: Array


def _ends(chain: Chain, spans: Spans, first: Indices, tangent: Array) -> Ends:
    """First and last points of arcs; without those where the joint hardly moves, so that it cannot be aimed with."""
    arcs = np.flatnonzero(spans.side[:, 0] != WHOLE)
    rows = np.concatenate([first[arcs], first[arcs + 1] - 1])
    joint, side = spans.joint[arcs].T.ravel(), spans.side[arcs].T.ravel()
    limit = np.where(side == LOWER, chain.lower[joint], chain.upper[joint])
    steep = np.abs(tangent[rows, joint]) > STEEP
    return Ends(rows[steep], joint[steep], limit[steep])


def _settled(
    follower: CurveFollower, target: Array, q: Array, tangent: Array, ends: Ends, tolerance: tuple[float, float]
) -> Settled:
    """Points moved across the tangents onto their curves, ends to where the joint meets its limit; then judged."""
    border, offset = tangent.copy(), np.zeros(len(q))
    border[ends.rows] = 0.0
    border[ends.rows, ends.joint], offset[ends.rows] = 1.0, ends.limit - q[ends.rows, ends.joint]
    strict = MARGIN * tolerance[0], MARGIN * tolerance[1]
    settled = follower.settle(target, q, border, offset, strict)
    inside = np.clip(settled.q, follower.chain.lower, follower.chain.upper)
    inside[ends.rows, ends.joint] = ends.limit
    judged = follower.settle(target, inside, tangent, tolerance=tolerance, most_steps=0)
    near = (np.abs(inside - settled.q) < BARELY).all(1) & (np.abs(inside - q) < FAR).all(1)
    return judged._replace(success=judged.success & near)


def _piece(q: Array, tangent: Array, errors: Array, length: float, ends: Any, winding: Array) -> Piece:
    """A piece whose direction does not depend on how it was found."""
    backwards = tuple(q[-1]) < tuple(q[0]) if ends else tangent[0, np.argmax(np.abs(tangent[0]))] < 0
    if backwards:
        q, tangent, errors, winding = q[::-1], -tangent[::-1], errors[::-1], -winding
        ends = ends and ends[::-1]
    return Piece(q, tangent, errors[:, 0], errors[:, 1], ends is None, length, ends, winding)


def _limits(chain: Chain, joint: Indices, side: Indices) -> tuple[Limit, Limit]:
    first, last = (
        Limit(int(j), chain.joint_names[j], "lower" if s == LOWER else "upper")
        for j, s in zip(joint, side, strict=True)
    )
    return first, last
