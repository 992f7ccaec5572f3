"""The loop that follows curves of joints that meet a pose; the same for every arm, as those of `drivers`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hybrid_ik.kernels.cpu import FINE_LANES as LANES
from hybrid_ik.kernels.curve_lanes import CORRECTION, ERRORS, Lanes, aim, correct, is_within, length, prepare, read
from hybrid_ik.kernels.curves import CLOSED, ENDED, LONG, LOST, OPEN, SAME
from hybrid_ik.kernels.entries import compiled, inlined, run_lanes
from hybrid_ik.kernels.pools import doubles, integers

# Options, after the tolerances: lengths of steps [rad, or m]; the least cosine between tangents; the clearance, in
# units of the inverse root of the inverse trace; the length at which a curve is given up; 1 where rows come in pairs.
FIRST, LONGEST, SHORTEST, STRAIGHT, CLEARANCE, TOO_LONG, PAIRED = 2, 3, 4, 5, 6, 7, 8

N_POINTS, VERDICT = 0, 1  # columns of `info`: how many points, and what became of the curve
NOWHERE = -1

CORRECTIONS = 3  # of one step; where more are needed, half a step is tried
EASY = 1  # after so few of them the next step is longer
GROWTH = 1.5
BASIN = 0.5  # how long corrections may be, in units of the clearance
BOLD = 6.0  # how long steps may be at most, in the same units
# Where curves come nearer than this to each other, they are taken to cross, and gone over by a leap [rad, or m]: to
# turn off with the curve would take steps as small, and where they do cross there is no end to that.
CROSSING, LEAP = 1e-3, 0.03
ACCURACY = 0.01  # how far from the curve points may be, in lengths of a step
WIDTH = 0.01  # square of the distance from a chord, in units of its length, within which joints are on its curve
AT_ONCE = 64  # ways whose costs are worked out together
BEYOND = 0.02  # and how far beyond its ends: where two chords meet at an angle, there is a gap between them


class Curves(NamedTuple):
    """What `follow_rows` is given and writes."""

    starts: Any
    options: Any
    period: Any
    limits: Any
    points: Any
    tangents: Any
    winding: Any
    info: Any


class Progress(NamedTuple):
    """Of each lane that follows a curve: the length of its next and of its last step, and of all of them."""

    step: Any
    last: Any
    travelled: Any
    clear: Any
    ending: Any
    """The limit that is aimed at, twice the number of its joint, and one more for the upper one; or `NOWHERE`."""
    leaping: Any
    """1 while a step is meant to go over a place where curves cross."""


@compiled
def follow_rows(step, starts, targets, tool, options, border, period, limits, points, tangents, winding, info):
    """Follows the curves through the starts, (m, dof), which must lie on them, as the border, (m, dof), points.

    Each is followed until it is back where it began, or until a joint meets one of the limits, (2, dof).

    The next point is predicted along the tangent, bent as it was bent before, and corrected. Steps are halved where
    that takes long or the tangent turns, and are never longer than the arm is clear of places where curves meet.

    A curve that passes the start of another row is followed once: the other one is given up as the `SAME`. Where rows
    come in pairs, of one start and two ways, that holds for pairs.

    Written: points and unit tangents (m, most, dof), of which `info` (m, 2) says how many count, and what became of
    the curve; `winding` (m, dof), by how much joints that go round are farther on when a curve has closed.
    """
    dof = starts.shape[1]
    lanes = Lanes(doubles((4 * dof + CORRECTION) * LANES), dof, integers(LANES), integers(LANES))
    progress = Progress(
        doubles(LANES), doubles(LANES), doubles(LANES), doubles(LANES), integers(LANES), integers(LANES)
    )
    curves = Curves(starts, options, period, limits, points, tangents, winding, info)
    prepare(lanes, tool, 0.0)
    info[:] = 0
    following, busy = 0, True
    while busy:
        busy = False
        for lane in range(LANES):
            while lanes.row[lane] < 0 and following < len(starts):
                if info[following, VERDICT] == OPEN:
                    lanes.row[lane], lanes.steps[lane] = following, 0
                    progress.step[lane], progress.travelled[lane], progress.clear[lane] = options[FIRST], 0.0, 0.0
                    progress.ending[lane], progress.leaping[lane] = NOWHERE, 0
                    aim(lanes, lane, starts[following], border[following], targets, following)
                following += 1
            busy = busy or lanes.row[lane] >= 0
        if busy:
            run_lanes(step, lanes.w)
            for lane in range(LANES):
                if lanes.row[lane] >= 0:
                    advance(lanes, lane, progress, curves)


@inlined
def advance(lanes, lane, progress, curves):
    """What follows from an evaluated point: it is corrected, becomes the next of its curve, or a shorter step is tried.

    The tangent y has border . y = 1, so 1 / |y| is the cosine between them where the border is the last unit tangent.
    """
    dof, row = lanes.dof, lanes.row[lane]
    n = curves.info[row, N_POINTS]
    norm = length(lanes, 3 * dof + CORRECTION, lane)
    astray = length(lanes, 2 * dof + CORRECTION, lane)
    # After a leap the next step may be a short one, which a point as far astray as leaps are long would spoil.
    scale = min(progress.step[lane], max(clearance(lanes, lane, curves), CROSSING))
    within = is_within(lanes, lane, curves.options) and astray < ACCURACY * scale
    if progress.ending[lane] != NOWHERE:
        end(lanes, lane, progress, curves, norm, within)
    elif within and (n == 0 or norm * curves.options[STRAIGHT] < 1.0):
        if n == 0 or not meets_limit(lanes, lane, progress, curves):
            keep(lanes, lane, progress, curves, norm)
    elif not within and lanes.steps[lane] < CORRECTIONS and is_safe(lanes, lane, progress, curves):
        lanes.steps[lane] += 1
        correct(lanes, lane)
    elif n > 0 and progress.step[lane] > curves.options[SHORTEST]:
        progress.step[lane] *= 0.5
        if progress.leaping[lane] and progress.step[lane] < CROSSING:
            progress.leaping[lane], progress.step[lane] = 0, max(progress.clear[lane], curves.options[SHORTEST])
        predict(lanes, lane, progress, curves)
    else:
        finish(lanes, lane, curves, LOST)


@inlined
def end(lanes, lane, progress, curves, norm, within):
    """Goes on to where a joint meets its limit, and ends the curve there; or before it, where they hardly meet."""
    dof, row = lanes.dof, lanes.row[lane]
    joint, upper = progress.ending[lane] // 2, progress.ending[lane] % 2
    if not within and lanes.steps[lane] < CORRECTIONS and is_safe(lanes, lane, progress, curves):
        lanes.steps[lane] += 1
        correct(lanes, lane)
        return
    n = curves.info[row, N_POINTS]
    if within:
        sign = 1.0 if upper else -1.0  # the tangent y has border . y = 1, and the border points to the upper limit
        for i in range(dof):
            curves.points[row, n, i] = read(lanes, i, lane)
            curves.tangents[row, n, i] = sign * read(lanes, 3 * dof + CORRECTION + i, lane) / norm
        curves.points[row, n, joint] = curves.limits[upper, joint]
        curves.info[row, N_POINTS] = n + 1
    finish(lanes, lane, curves, ENDED)


@inlined
def meets_limit(lanes, lane, progress, curves):
    """Whether a joint has gone beyond a limit since the last point; aims at the first place where one did."""
    dof, last = lanes.dof, curves.points[lanes.row[lane], curves.info[lanes.row[lane], N_POINTS] - 1]
    share, ending = 1.0, NOWHERE
    for i in range(dof):
        x = read(lanes, i, lane)
        side = 1 if x > curves.limits[1, i] else 0
        bound = curves.limits[side, i]
        if (side or x < bound) and (ending == NOWHERE or (bound - last[i]) / (x - last[i]) < share):
            share, ending = (bound - last[i]) / (x - last[i]), 2 * i + side
    if ending == NOWHERE:
        return False
    progress.ending[lane], lanes.steps[lane] = ending, 0
    for i in range(dof):
        lanes.w[lane + LANES * i] = last[i] + share * (read(lanes, i, lane) - last[i])
        lanes.w[lane + LANES * (dof + i)] = 1.0 if i == ending // 2 else 0.0
    return True


@inlined
def is_safe(lanes, lane, progress, curves):
    """Whether the correction leads to the nearest curve: where it is short before the clearance (Kantorovich, 1948).

    A start is what it is, and a leap is meant to go where nothing is clear.
    """
    correction = length(lanes, 2 * lanes.dof + CORRECTION, lane)
    free = progress.leaping[lane] or curves.info[lanes.row[lane], N_POINTS] == 0
    return correction < progress.step[lane] and (free or correction < BASIN * clearance(lanes, lane, curves))


@inlined
def finish(lanes, lane, curves, verdict):
    """Ends a curve and frees its lane."""
    curves.info[lanes.row[lane], VERDICT] = verdict
    lanes.row[lane] = -1


@inlined
def keep(lanes, lane, progress, curves, norm):
    """Makes a point the next one of its curve, and looks whether that has closed."""
    dof, row, info = lanes.dof, lanes.row[lane], curves.info
    n = info[row, N_POINTS]
    square = 0.0
    for i in range(dof):
        curves.points[row, n, i] = read(lanes, i, lane)
        curves.tangents[row, n, i] = read(lanes, 3 * dof + CORRECTION + i, lane) / norm
        square += (read(lanes, i, lane) - curves.points[row, max(n - 1, 0), i]) ** 2
    info[row, N_POINTS] = n + 1
    progress.last[lane] = np.sqrt(square)
    progress.travelled[lane] += progress.last[lane]
    if n > 2 and same_way(curves, row, n) and passes(curves.starts[row], curves.points[row], n, curves.period):
        for i in range(dof):
            way = curves.points[row, n - 1, i] - curves.starts[row, i]
            curves.winding[row, i] = curves.period[0, i] * np.rint(way * curves.period[1, i])
        info[row, N_POINTS] = n
        finish(lanes, lane, curves, CLOSED)
        if curves.options[PAIRED] > 0.0:
            give_up(lanes, curves, row ^ 1)
        return
    if n > 0:
        give_up_same(lanes, curves, row, n)
    if n + 2 > curves.points.shape[1] or progress.travelled[lane] > curves.options[TOO_LONG]:
        finish(lanes, lane, curves, LONG)
        return
    grown = GROWTH * progress.step[lane] if lanes.steps[lane] <= EASY else progress.step[lane]
    clear = next_clearance(lanes, lane, progress, curves)
    progress.leaping[lane] = 1 if clear < CROSSING else 0
    step = LEAP if progress.leaping[lane] else min(grown, clear)
    progress.step[lane] = max(min(step, curves.options[LONGEST]), curves.options[SHORTEST])
    predict(lanes, lane, progress, curves)


@inlined
def next_clearance(lanes, lane, progress, curves):
    """How far the next step may go, so that it does not cross to another curve where two come near.

    There the least singular value falls to nearly 0, in proportion to the way that is left: half of that way is gone,
    as far as the last step tells. A value that stays small is no danger by itself.
    """
    now, before = clearance(lanes, lane, curves), progress.clear[lane]
    left = 0.5 * now * progress.last[lane] / (before - now) if now < before else now * BOLD
    progress.clear[lane] = now
    return max(now, min(left, BOLD * now))


@inlined
def clearance(lanes, lane, curves):
    """The least singular value as a length in joint space: curves do not cross within it."""
    return curves.options[CLEARANCE] / np.sqrt(read(lanes, 2 * lanes.dof + ERRORS + 2, lane))


@inlined
def predict(lanes, lane, progress, curves):
    """Puts the point that comes next, as far as the last ones tell, into the lane."""
    row, h = lanes.row[lane], progress.step[lane]
    n = curves.info[row, N_POINTS]
    bend = 0.5 * h * h / progress.last[lane] if n > 1 else 0.0
    lanes.steps[lane] = 0
    for i in range(lanes.dof):
        t, before = curves.tangents[row, n - 1, i], curves.tangents[row, max(n - 2, 0), i]
        lanes.w[lane + LANES * i] = curves.points[row, n - 1, i] + h * t + bend * (t - before)
        lanes.w[lane + LANES * (lanes.dof + i)] = t


@inlined
def same_way(curves, row, n):
    """Whether a curve goes the way in which it began."""
    cosine = 0.0
    for i in range(curves.starts.shape[1]):
        cosine += curves.tangents[row, 0, i] * curves.tangents[row, n, i]
    return cosine > 0.5


@inlined
def give_up_same(lanes, curves, row, n):
    """Gives up the rows whose starts lie on the newest part of this curve."""
    paired = curves.options[PAIRED] > 0.0
    for other in range(len(curves.starts)):
        verdict = curves.info[other, VERDICT]
        own = other == row or (paired and other // 2 == row // 2)
        if not own and (verdict == OPEN or (paired and verdict != SAME)):
            if passes(curves.starts[other], curves.points[row], n, curves.period):
                give_up(lanes, curves, other)


@inlined
def give_up(lanes, curves, row):
    """Gives up a row because its curve is followed by another one."""
    curves.info[row, VERDICT] = SAME
    for lane in range(LANES):
        if lanes.row[lane] == row:
            lanes.row[lane] = -1


@inlined
def passes(q, points, n, period):
    """Whether joints lie on the part of a curve between points n - 1 and n."""
    return is_between(q, points[n - 1], points[n], square_of_chord(points[n - 1], points[n]), period)


@inlined
def square_of_chord(a, b):
    """Square of the distance from a to b."""
    square = 0.0
    for i in range(len(a)):
        square += (b[i] - a[i]) ** 2
    return square


@inlined
def is_between(q, a, b, chord, period):
    """Whether joints lie beside the chord from a to b, nearer to it than a curve strays from its chords.

    `chord` is the square of its length.
    """
    along = across = 0.0
    for i in range(len(q)):
        d = q[i] - a[i]
        d -= period[0, i] * np.rint(d * period[1, i])
        if d * d > 1.3 * chord:
            return False
        along += d * (b[i] - a[i])
        across += d * d
    share = along / chord
    return -BEYOND <= share and share < 1.0 + BEYOND and across - share * along < WIDTH * chord


@compiled
def find_on_curves(q, points, ends, period, found):
    """The first of the chords from `points` to `ends`, (n, dof), that each row of q, (m, dof), lies on; -1 for none."""
    found[:] = -1
    for i in range(len(points)):
        chord = square_of_chord(points[i], ends[i])
        for row in range(len(q)):
            if found[row] < 0 and is_between(q[row], points[i], ends[i], chord, period):
                found[row] = i


@compiled
def join_closed(points, tangents, winding, info, begin, q0, q1, t0, t1):
    """Segments of the curves that `follow_rows` closed, one after another from row `begin` on: ends, and tangents."""
    k = begin
    for row in range(len(info)):
        if info[row, VERDICT] == CLOSED:
            n = info[row, N_POINTS]
            for i in range(n):
                after = i + 1 if i + 1 < n else 0
                for j in range(points.shape[2]):
                    q0[k, j], t0[k, j] = points[row, i, j], tangents[row, i, j]
                    q1[k, j] = points[row, after, j] + (winding[row, j] if after == 0 else 0.0)
                    t1[k, j] = tangents[row, after, j]
                k += 1


@compiled
def cheapest_ways(q, before, cost, period, most, parent, least):
    """For each row of q, (n, dof), the cheapest way from a column of `before`, (dof, m), by a step not too long.

    A way costs as much as the one to where it comes from, (m,), and the square of the step. No joint may move farther
    than `most`. Written: which column it comes from, (n,), -1 where there is none, and the cost, (n,).
    """
    square = doubles(AT_ONCE)
    for i in range(len(q)):
        parent[i], least[i] = -1, np.inf
        for first in range(0, len(cost), AT_ONCE):
            count = min(AT_ONCE, len(cost) - first)
            square_steps(q[i], before, first, count, period, most, square)
            for j in range(count):
                if cost[first + j] + square[j] < least[i]:
                    parent[i], least[i] = first + j, cost[first + j] + square[j]


@inlined
def square_steps(q, before, first, count, period, most, square):
    """Squares of the steps to q from some columns, all of them at a time; infinite where a joint moves too far."""
    for j in range(count):
        square[j] = 0.0
    for k in range(len(q)):
        turn, inverse, x, column = period[0, k], period[1, k], q[k], before[k, first : first + count]
        for j in range(count):
            d = x - column[j]
            d -= turn * np.rint(d * inverse)
            square[j] += d * d if abs(d) <= most else np.inf
