"""Pieces of curves: cut at the joint limits, as evenly spaced, verified points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.curves import load_curve_loops
from hybrid_ik.solution_sets.cutting import Spans, cut
from hybrid_ik.solution_sets.following import CurveFollower, Settled
from hybrid_ik.solution_sets.loops import Loops
from hybrid_ik.solution_sets.solution_set import Limit, Piece

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MARGIN = 0.1  # share of the tolerances that points are brought within, so that they stay so when they are clipped
BARELY = 1e-6  # rad, or m: points as little beyond a limit are moved onto it
STEEP = 2e-3  # least share of a joint in the tangent where it meets its limit
FLAT = 5e-3  # rad, or m: how much of an end is left out where the share is less
SHARP, BEND = 0.3, 0.1  # rad: curves that turn more than this between two points get others, so far apart
WIDEST = 0.25  # rad, or m: points farther apart say too little about the curve between them
FAR = 0.05  # rad, or m: interpolated points are nearer to their curve than this


class Placed(NamedTuple):
    """Points on parts of curves, as far as cubics tell; see `cut_loops.Points`."""

    q: Array
    tangent: Array
    border: Array
    offset: Array
    limit: Indices
    part: Indices


def curve_pieces(
    follower: CurveFollower, target: Array, loops: Loops, spacing: float, tolerance: tuple[float, float]
) -> list[Piece]:
    """What closed curves leave within the limits, the longest piece first."""
    pieces = []
    for spans in cut(loops, follower.chain):
        if len(spans.span):
            pieces += _pieces(follower, target, loops, spans, spacing, tolerance)
    return sorted(pieces, key=lambda piece: -piece.length)


def _pieces(
    follower: CurveFollower, target: Array, loops: Loops, spans: Spans, spacing: float, tolerance: tuple[float, float]
) -> list[Piece]:
    placed = _placed(loops, spans, follower.chain, min(spacing, WIDEST))
    points = _settled(follower, target, placed, tolerance)
    good, pieces = points.success, []
    q, tangent, errors = points.q[good], points.tangent[good], points.errors[good]
    bounds = np.searchsorted(placed.part[good], np.arange(len(spans.span) + 1)).tolist()
    length = (spans.place[:, 1] - spans.place[:, 0]).tolist()
    for k, whole in enumerate(spans.whole.tolist()):
        own = slice(bounds[k], bounds[k + 1])
        if own.start < own.stop:
            winding = loops.winding[spans.curve[k]] * whole
            ends = None if whole else _limits(follower.chain, spans.joint[k].tolist(), spans.side[k].tolist())
            pieces.append(_piece(q[own], tangent[own], errors[own], length[k], ends, winding))
    return pieces


def _placed(loops: Loops, spans: Spans, chain: Chain, spacing: float) -> Placed:
    """See `cut_loops.place_points`."""
    rules = np.array([spacing, SHARP / spacing, BEND, STEEP, FLAT])
    room = int((spans.place[:, 1] - spans.place[:, 0]).sum() / spacing) + 2 * len(spans.span) + 64
    count = np.empty(1, np.int64)
    while True:
        q, tangent, border = np.empty((3, room, chain.dof))
        placed = Placed(q, tangent, border, np.empty(room), *np.empty((2, room), np.int64))
        given = chain.lower, chain.upper, rules, spans.span, spans.place, spans.shift
        load_curve_loops()["place_points"](*loops.arrays, *given, *placed, count)
        if count[0] <= room:
            return Placed._make(column[: count[0]] for column in placed)
        room = int(count[0])


def _settled(follower: CurveFollower, target: Array, placed: Placed, tolerance: tuple[float, float]) -> Settled:
    """Points moved across the tangents onto their curves, ends to where the joint meets its limit; then judged."""
    chain, strict = follower.chain, (MARGIN * tolerance[0], MARGIN * tolerance[1])
    settled = follower.settle(target, placed.q, placed.border, placed.offset, strict)
    inside = np.clip(settled.q, chain.lower, chain.upper)
    ends = np.flatnonzero(placed.limit >= 0)
    joint, upper = placed.limit[ends] // 2, placed.limit[ends] % 2
    inside[ends, joint] = np.where(upper, chain.upper[joint], chain.lower[joint])
    near = ((np.abs(inside - settled.q) < BARELY) & (np.abs(inside - placed.q) < FAR)).all(1)
    moved = np.flatnonzero((inside != settled.q).any(1) | (placed.limit >= 0))
    judged = follower.settle(target, inside[moved], placed.tangent[moved], tolerance=tolerance, most_steps=0)
    for ours, theirs in zip(settled, judged, strict=True):
        ours[moved] = theirs
    return settled._replace(success=settled.success & near)


def _piece(q: Array, tangent: Array, errors: Array, length: float, ends: Any, winding: Array) -> Piece:
    """A piece whose direction does not depend on how it was found."""
    backwards = tuple(q[-1]) < tuple(q[0]) if ends else tangent[0, np.argmax(np.abs(tangent[0]))] < 0
    if backwards:
        q, tangent, errors, winding = q[::-1], -tangent[::-1], errors[::-1], -winding
        ends = ends and ends[::-1]
    return Piece(q, tangent, errors[:, 0], errors[:, 1], ends is None, length, ends, winding)


def _limits(chain: Chain, joints: list[int], sides: list[int]) -> tuple[Limit, Limit]:
    first, last = (
        Limit(j, chain.joint_names[j], "lower" if s < 0 else "upper") for j, s in zip(joints, sides, strict=True)
    )
    return first, last
