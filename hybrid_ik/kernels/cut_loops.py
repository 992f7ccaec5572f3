"""Closed curves cut at the joint limits, and points on what is left of them.

Places along a curve are lengths from its first point. A curve goes on beyond its length, as far as joints have gone
round by then.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hybrid_ik.kernels.entries import compiled, inlined
from hybrid_ik.kernels.hermite_loops import cubic, root, turning_points

TURN = 2.0 * np.pi
WHOLE, LOWER, UPPER = 0, -1, 1  # what ends a part: nothing, or a joint at this limit
NOWHERE = -1
FARTHEST = 1.5  # no joint of a segment comes farther from its value at the beginning, in lengths of the segment


class Curves(NamedTuple):
    """Closed curves: segment k goes from q0[k] to q1[k]; those of curve c are numbers first[c] to first[c + 1]."""

    q0: Any
    q1: Any
    t0: Any
    t1: Any
    length: Any
    begin: Any
    """Place of each segment along its curve."""
    first: Any
    whole: Any
    """Length of each curve."""
    winding: Any


class Limits(NamedTuple):
    """Of the joints, as `cut_curves` is given them."""

    middle: Any
    half: Any
    around: Any
    copy: Any


class Parts(NamedTuple):
    """What `cut_curves` writes."""

    span: Any
    place: Any
    shift: Any
    n: Any


@compiled
def cut_curves(
    q0,
    q1,
    t0,
    t1,
    length,
    begin,
    first,
    whole,
    winding,
    middle,
    half,
    around,
    copy,
    events,
    crossed,
    span,
    place,
    shift,
    n,
):
    """The parts of curves within the limits `middle` +- `half`, (dof,), of joints that are turned by `copy`.

    Joints that go round, `around`, are within them wherever whole turns take them there.

    Written: events, (m,) and crossed, (m, 2), the places of a curve where a joint crosses a limit, the joint, and
    `LOWER` or `UPPER`; span, (m, 5), of each part the curve, the joints that meet their limits at both ends, and which
    limits, or `WHOLE`; place, (m, 2), where it begins and ends; shift, (m, dof), whole turns to be added to the joints;
    n, (2,), how many parts there are, and how many events a curve has at most: either may be more than there is room
    for.
    """
    curves = Curves(q0, q1, t0, t1, length, begin, first, whole, winding)
    limits, parts = Limits(middle, half, around, copy), Parts(span, place, shift, n)
    n[0] = n[1] = 0
    for c in range(len(whole)):
        count = 0
        for k in range(first[c], first[c + 1]):
            count = cross_limits(curves, k, limits, events, crossed, count)
        n[1] = max(n[1], count)
        if count == 0:
            keep_part(curves, c, 0.0, whole[c], NOWHERE, NOWHERE, crossed, limits, parts)
        for e in range(min(count, len(events))):
            after = e + 1 if e + 1 < count else 0
            end = events[after] + (0.0 if e + 1 < count else whole[c])
            keep_part(curves, c, events[e], end, e, after, crossed, limits, parts)


@inlined
def cross_limits(curves, k, limits, events, crossed, count):
    """Adds the places where joints cross limits on a segment, in order; returns how many there are so far."""
    before = count
    for j in range(len(limits.middle)):
        c0, half = curves.q0[k, j], limits.half[j]
        origin = limits.middle[j] - limits.copy[j]
        if limits.around[j]:
            origin += TURN * np.rint((c0 - origin) / TURN)
        away = abs(abs(c0 - origin) - half)
        if limits.around[j]:  # a turn beyond the limits the other ones come
            away = min(away, abs(TURN - half - abs(c0 - origin)))
        if away < FARTHEST * curves.length[k]:
            _, c1, c2, c3 = cubic(curves.q0, curves.q1, curves.t0, curves.t1, k, curves.length[k], j)
            end = curves.q1[k, j]
            # Bezier's control points bound the segment.
            second, third = c0 + c1 / 3.0, end - curves.length[k] * curves.t1[k, j] / 3.0
            low, high = min(min(c0, end), min(second, third)), max(max(c0, end), max(second, third))
            for which in range(4 if limits.around[j] else 2):
                sign = -1.0 if which % 2 == 0 else 1.0
                level = origin + sign * half - (sign * TURN if which > 1 else 0.0)
                if low <= level and level <= high:
                    count = cross(
                        curves, k, c0 - level, c1, c2, c3, end - level, j, int(sign), events, crossed, before, count
                    )
    return count


@compiled
def cross(curves, k, c0, c1, c2, c3, end, joint, side, events, crossed, before, count):
    """Adds the roots of a cubic to the events of a segment, which begin at `before`; `end` is its value at 1."""
    first, second = turning_points(c1, c2, c3)
    left, f_left = 0.0, c0
    for part in range(3):
        right = first if part == 0 else (second if part == 1 else 1.0)
        f_right = end if right == 1.0 else c0 + right * (c1 + right * (c2 + right * c3))
        if np.signbit(f_left) != np.signbit(f_right):
            if count < len(events):
                at = curves.begin[k] + curves.length[k] * root(c0, c1, c2, c3, left, right, f_left, f_right)
                i = count
                while i > before and events[i - 1] > at:
                    events[i], crossed[i, 0], crossed[i, 1] = events[i - 1], crossed[i - 1, 0], crossed[i - 1, 1]
                    i -= 1
                events[i], crossed[i, 0], crossed[i, 1] = at, joint, side
            count += 1
        left, f_left = right, f_right
    return count


@inlined
def keep_part(curves, c, begin, end, e, after, crossed, limits, parts):
    """Keeps the part of a curve between two events if its middle is within the limits, so that all of it is."""
    at, n = 0.5 * (begin + end), parts.n
    k, u, rounds = segment_at(curves, c, at)
    inside = True
    for j in range(len(limits.middle)):
        x = joint_at(curves, k, u, j) + rounds * curves.winding[c, j]
        turns = TURN * np.rint((limits.middle[j] - x) / TURN) if limits.around[j] else limits.copy[j]
        if n[0] < len(parts.span):
            parts.shift[n[0], j] = turns
        inside = inside and (abs(x + turns - limits.middle[j]) <= limits.half[j])
    if inside:
        i = n[0]
        if i < len(parts.span):
            parts.span[i, 0], parts.place[i, 0], parts.place[i, 1] = c, begin, end
            for side in range(2):
                event = e if side == 0 else after
                parts.span[i, 1 + side] = crossed[event, 0] if event >= 0 else NOWHERE
                parts.span[i, 3 + side] = crossed[event, 1] if event >= 0 else WHOLE
        n[0] += 1


@inlined
def segment_at(curves, c, place):
    """The segment at a place along a curve, the share of it, and how many rounds come before."""
    rounds = np.floor(place / curves.whole[c])
    rest = place - rounds * curves.whole[c]
    low, high = curves.first[c], curves.first[c + 1]
    while high - low > 1:
        half = (low + high) // 2
        if curves.begin[half] <= rest:
            low = half
        else:
            high = half
    return low, (rest - curves.begin[low]) / curves.length[low], rounds


@inlined
def joint_at(curves, k, u, j):
    """A joint at a share of a segment."""
    c0, c1, c2, c3 = cubic(curves.q0, curves.q1, curves.t0, curves.t1, k, curves.length[k], j)
    return c0 + u * (c1 + u * (c2 + u * c3))


@inlined
def tangent_at(curves, k, u, j):
    """Derivative of a joint by the share of a segment."""
    _, c1, c2, c3 = cubic(curves.q0, curves.q1, curves.t0, curves.t1, k, curves.length[k], j)
    return c1 + u * (2.0 * c2 + 3.0 * u * c3)


class Rules(NamedTuple):
    """Where points are put."""

    spacing: Any
    """Largest distance from one to the next."""
    curvature: Any
    """Segments bent more than this get points at their ends."""
    bend: Any
    """How far a curve turns from one of these to the next [rad]."""
    steep: Any
    """Least share of a joint in the tangent where it meets its limit; else a part ends before it, by `flat`."""
    flat: Any


class Points(NamedTuple):
    """What `place_points` writes."""

    q: Any
    tangent: Any
    border: Any
    offset: Any
    """To where a joint meets its limit, along the border."""
    limit: Any
    """Twice the number of this joint, and one more where the limit is the upper one; or `NOWHERE`."""
    part: Any
    n: Any


@compiled
def place_points(
    q0,
    q1,
    t0,
    t1,
    length,
    begin,
    first,
    whole,
    winding,
    lower,
    upper,
    rules,
    span,
    place,
    shift,
    q,
    tangent,
    border,
    offset,
    limit,
    part,
    n,
):
    """Points on the parts of curves, evenly spaced, and more where a curve turns off sharply; see `Points`.

    `place` is changed where a joint only just touches its limit, so that nobody knows where. n, (1,), says how many
    points there are, which may be more than there is room for.
    """
    curves = Curves(q0, q1, t0, t1, length, begin, first, whole, winding)
    points = Points(q, tangent, border, offset, limit, part, n)
    given = Rules(rules[0], rules[1], rules[2], rules[3], rules[4])
    n[0] = 0
    for i in range(len(span)):
        leave_flat_ends(curves, span, place, i, given)
        c, start, end, closed = span[i, 0], place[i, 0], place[i, 1], span[i, 3] == WHOLE
        parts = max(1, int(np.ceil((end - start) / given.spacing)))
        k, _, rounds = segment_at(curves, c, start)
        turned, corner = 0.0, rounds * whole[c] + begin[k] + length[k]
        for e in range(parts if closed else parts + 1):
            at = start + (end - start) * e / parts if e < parts else end
            while corner < at:
                turn = bent(curves, k, given.curvature)
                if np.floor((turned + turn) / given.bend) > np.floor(turned / given.bend):
                    add_point(curves, c, corner, i, NOWHERE, shift, lower, upper, points)
                turned += turn
                k += 1
                if k == first[c + 1]:
                    k, rounds = first[c], rounds + 1.0
                corner = rounds * whole[c] + begin[k] + length[k]
            aim = limit_at(curves, span, i, at, e, parts, given.steep)
            add_point(curves, c, at, i, aim, shift, lower, upper, points)


@inlined
def limit_at(curves, span, i, at, e, parts, steep):
    """The limit that ends a part at its point e of `parts`, as in `Points`; `NOWHERE` where it is too flat, or none."""
    if span[i, 3] == WHOLE or (e > 0 and e < parts):
        return NOWHERE
    side = 0 if e == 0 else 1
    aim = 2 * span[i, 1 + side] + (1 if span[i, 3 + side] == UPPER else 0)
    return aim if is_steep(curves, span[i, 0], at, aim, steep) else NOWHERE


@inlined
def leave_flat_ends(curves, span, place, i, rules):
    """Makes a part a little shorter where a joint only just touches its limit."""
    half = 0.5 * (place[i, 1] - place[i, 0])
    for side in range(2):
        if span[i, 3 + side] != WHOLE and not is_steep(
            curves, span[i, 0], place[i, side], 2 * span[i, 1 + side], rules.steep
        ):
            place[i, side] += min(rules.flat, half) * (1.0 if side == 0 else -1.0)


@inlined
def is_steep(curves, c, at, aim, steep):
    """Whether a joint has at least this share in the tangent at a place."""
    if aim < 0:
        return False
    k, u, _ = segment_at(curves, c, at)
    square = 0.0
    for j in range(curves.q0.shape[1]):
        square += tangent_at(curves, k, u, j) ** 2
    return abs(tangent_at(curves, k, u, aim // 2)) >= steep * np.sqrt(square)


@inlined
def bent(curves, k, curvature):
    """How far a segment turns, if that is more than this for its length; otherwise 0."""
    cosine = 0.0
    for j in range(curves.q0.shape[1]):
        cosine += curves.t0[k, j] * curves.t1[k, j]
    turn = np.arccos(min(max(cosine, -1.0), 1.0))
    return turn if turn > curvature * curves.length[k] else 0.0


@compiled
def add_point(curves, c, at, i, aim, shift, lower, upper, points):
    """Adds a point of a part, that is to be moved across its tangent, or to where a joint meets its limit."""
    row = points.n[0]
    points.n[0] += 1
    if row >= len(points.q):
        return
    k, u, rounds = segment_at(curves, c, at)
    square = 0.0
    for j in range(curves.q0.shape[1]):
        points.q[row, j] = joint_at(curves, k, u, j) + rounds * curves.winding[c, j] + shift[i, j]
        points.tangent[row, j] = tangent_at(curves, k, u, j)
        square += points.tangent[row, j] ** 2
    for j in range(curves.q0.shape[1]):
        points.tangent[row, j] /= np.sqrt(max(square, 1e-300))
        points.border[row, j] = points.tangent[row, j] if aim < 0 else (1.0 if j == aim // 2 else 0.0)
    points.offset[row], points.limit[row], points.part[row] = 0.0, aim, i
    if aim >= 0:
        points.offset[row] = (upper[aim // 2] if aim % 2 else lower[aim // 2]) - points.q[row, aim // 2]
