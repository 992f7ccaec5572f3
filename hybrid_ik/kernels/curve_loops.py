"""Loops around the recorded curve step of an arm: they settle joints onto the curves of a pose, and follow these.

The loops are the same for every arm, as those of `drivers`, and as little as they do these make arrays or raise
exceptions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hybrid_ik.kernels.cpu import FINE_LANES as LANES
from hybrid_ik.kernels.curves import CLOSED, LONG, LOST, OPEN, SAME
from hybrid_ik.kernels.entries import compiled, inlined, run_lanes
from hybrid_ik.kernels.pools import doubles, integers
from hybrid_ik.kernels.program import CurveSlots

OFFSET, DAMPING, TARGET, TIP = CurveSlots.OFFSET, CurveSlots.DAMPING, CurveSlots.TARGET, CurveSlots.TIP
ERRORS, CORRECTION = CurveSlots.ERRORS, CurveSlots.CORRECTION

# Options that both loops know: squared tolerances [m^2] and of the chord.
POSITION_SQUARED, CHORD_SQUARED = 0, 1
# Of `settle_rows`.
SETTLE_DAMPING, MAX_STEPS = 2, 3
# Of `follow_rows`: lengths of steps [rad, or m]; the least cosine between tangents; the clearance, in units of the
# inverse root of the inverse trace; the length at which a curve is given up.
FIRST, LONGEST, SHORTEST, STRAIGHT, CLEARANCE, TOO_LONG = 2, 3, 4, 5, 6, 7

# Columns of `info` of `follow_rows`: how many points, and what became of the curve.
N_POINTS, VERDICT = 0, 1

CORRECTIONS = 3  # of one step; where more are needed, half a step is tried
EASY = 1  # after so few of them the next step is longer
GROWTH = 1.5
BASIN = 0.5  # how long corrections may be, in units of the clearance
BOLD = 4.0  # how long steps may be at most, in the same units
ACCURACY = 0.01  # how far from the curve points may be, in lengths of a step
AT_REST = 1e-20  # squared length of a step that changes nothing any more
WIDTH = 0.01  # square of the distance from a chord, in units of its length, within which joints are on its curve
BEYOND = 0.02  # and how far beyond its ends: where two chords meet at an angle, there is a gap between them


class Lanes(NamedTuple):
    """The workspace: slot i of a lane is `w[lane + LANES i]`; joints, border, then `CurveSlots`."""

    w: Any
    dof: Any
    row: Any
    """Of each lane; -1 where it is free."""
    steps: Any
    """Since the row, or the prediction, began."""


class Curves(NamedTuple):
    """What `follow_rows` is given and writes."""

    starts: Any
    options: Any
    period: Any
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


@compiled
def settle_rows(step, q0, targets, tool, options, border, offset, q, tangent, errors, info):
    """Takes curve steps from each row of q0, (m, dof), until its errors are within the tolerances.

    Row r reaches for `targets[r]`, or for the only one: [R_first_last by rows, p_first_tip]. `tool` is [p_last_tip,
    orientation weight]. See `kinematics.curve_step` for border, (m, dof), and offset, (m,), which counts in the first
    step alone.

    Written: q; unit tangents (m, dof); errors (m, 3), squares of the position error and of the chord of the turn, and
    the inverse trace; info (m,), steps taken, or -1 where the row is not within the tolerances.
    """
    dof = q0.shape[1]
    lanes = Lanes(doubles((4 * dof + CORRECTION) * LANES), dof, integers(LANES), integers(LANES))
    prepare(lanes, tool, options[SETTLE_DAMPING])
    following, busy = 0, True
    while busy:
        busy = False
        for lane in range(LANES):
            if lanes.row[lane] < 0 and following < len(q0):
                lanes.row[lane], lanes.steps[lane] = following, 0
                aim(lanes, lane, q0[following], border[following], targets, following)
                lanes.w[lane + LANES * (2 * dof + OFFSET)] = offset[following]
                following += 1
            busy = busy or lanes.row[lane] >= 0
        if busy:
            run_lanes(step, lanes.w)
            for lane in range(LANES):
                if lanes.row[lane] >= 0:
                    settle(lanes, lane, options, q, tangent, errors, info)


@inlined
def settle(lanes, lane, options, q, tangent, errors, info):
    """Takes the step of a lane, or writes its row and frees it."""
    row, dof = lanes.row[lane], lanes.dof
    square = 0.0
    for i in range(dof):
        square += read(lanes, 2 * dof + CORRECTION + i, lane) ** 2
    within = is_within(lanes, lane, options)
    if not within and square > AT_REST and lanes.steps[lane] < options[MAX_STEPS]:
        lanes.steps[lane] += 1
        lanes.w[lane + LANES * (2 * dof + OFFSET)] = 0.0
        correct(lanes, lane)
        return
    norm = length(lanes, 3 * dof + CORRECTION, lane)
    for i in range(dof):
        q[row, i] = read(lanes, i, lane)
        tangent[row, i] = read(lanes, 3 * dof + CORRECTION + i, lane) / norm
    for i in range(3):
        errors[row, i] = read(lanes, 2 * dof + ERRORS + i, lane)
    info[row] = lanes.steps[lane] if within else -1
    lanes.row[lane] = -1


@compiled
def follow_rows(step, starts, targets, tool, options, period, points, tangents, winding, info):
    """Follows the curves through the starts, (m, dof), which must lie on them, until each is back where it began.

    The next point is predicted along the tangent, bent as it was bent before, and corrected. Steps are halved where
    that takes long or the tangent turns, and are never longer than the arm is clear of places where curves meet.

    A curve that passes the start of another row is followed once: the other one is given up as the `SAME`.

    Written: points and unit tangents (m, most, dof), of which `info` (m, 2) says how many count, and what became of
    the curve; `winding` (m, dof), by how much joints that go round are farther on when a curve has closed.
    """
    dof = starts.shape[1]
    lanes = Lanes(doubles((4 * dof + CORRECTION) * LANES), dof, integers(LANES), integers(LANES))
    progress = Progress(doubles(LANES), doubles(LANES), doubles(LANES), doubles(LANES))
    curves = Curves(starts, options, period, points, tangents, winding, info)
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
                    aim(lanes, lane, starts[following], starts[following], targets, following)
                    for i in range(dof):  # any direction will do that is not across the curve
                        lanes.w[lane + LANES * (dof + i)] = 1.0 / (1.0 + i)
                following += 1
            busy = busy or lanes.row[lane] >= 0
        if busy:
            run_lanes(step, lanes.w)
            for lane in range(LANES):
                if lanes.row[lane] >= 0:
                    advance(lanes, lane, progress, curves)


@inlined
def prepare(lanes, tool, damping):
    """Frees all lanes, and writes into them what is the same for every row."""
    lanes.row[:] = -1
    lanes.w[:] = 0.0
    for lane in range(LANES):
        for i in range(4):
            lanes.w[lane + LANES * (2 * lanes.dof + TIP + i)] = tool[i]
        lanes.w[lane + LANES * (2 * lanes.dof + DAMPING)] = damping


@inlined
def aim(lanes, lane, q, border, targets, row):
    """Puts a row into a lane."""
    target = targets[row if len(targets) > 1 else 0]
    for i in range(lanes.dof):
        lanes.w[lane + LANES * i] = q[i]
        lanes.w[lane + LANES * (lanes.dof + i)] = border[i]
    for i in range(12):
        lanes.w[lane + LANES * (2 * lanes.dof + TARGET + i)] = target[i]


@inlined
def read(lanes, slot, lane):
    """The number in a slot of a lane."""
    return lanes.w[lane + LANES * slot]


@inlined
def length(lanes, slot, lane):
    """Length of the joint vector that begins in a slot."""
    square = 0.0
    for i in range(lanes.dof):
        square += read(lanes, slot + i, lane) ** 2
    return np.sqrt(square)


@inlined
def is_within(lanes, lane, options):
    """Whether the errors of a lane are within the tolerances."""
    first = 2 * lanes.dof + ERRORS
    return (
        read(lanes, first, lane) < options[POSITION_SQUARED] and read(lanes, first + 1, lane) < options[CHORD_SQUARED]
    )


@inlined
def correct(lanes, lane):
    """Takes the step that was found."""
    for i in range(lanes.dof):
        lanes.w[lane + LANES * i] += read(lanes, 2 * lanes.dof + CORRECTION + i, lane)


@inlined
def advance(lanes, lane, progress, curves):
    """What follows from an evaluated point: it is corrected, becomes the next of its curve, or a shorter step is tried.

    The tangent y has border . y = 1, so 1 / |y| is the cosine between them where the border is the last unit tangent.
    """
    dof, row = lanes.dof, lanes.row[lane]
    n = curves.info[row, N_POINTS]
    norm = length(lanes, 3 * dof + CORRECTION, lane)
    astray = length(lanes, 2 * dof + CORRECTION, lane) / progress.step[lane]
    within = is_within(lanes, lane, curves.options) and astray < ACCURACY
    if within and (n == 0 or norm * curves.options[STRAIGHT] < 1.0):
        keep(lanes, lane, progress, curves, norm)
    elif not within and lanes.steps[lane] < CORRECTIONS and is_safe(lanes, lane, progress, curves):
        lanes.steps[lane] += 1
        correct(lanes, lane)
    elif n > 0 and progress.step[lane] > curves.options[SHORTEST]:
        progress.step[lane] *= 0.5
        predict(lanes, lane, progress, curves)
    else:
        finish(lanes, lane, curves, LOST)


@inlined
def is_safe(lanes, lane, progress, curves):
    """Whether the correction leads to the nearest curve: where it is short before the clearance (Kantorovich, 1948)."""
    correction = length(lanes, 2 * lanes.dof + CORRECTION, lane)
    return correction < progress.step[lane] and correction < BASIN * clearance(lanes, lane, curves)


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
        return
    if n > 0:
        give_up_same(lanes, curves, row, n)
    if n + 2 > curves.points.shape[1] or progress.travelled[lane] > curves.options[TOO_LONG]:
        finish(lanes, lane, curves, LONG)
        return
    grown = GROWTH * progress.step[lane] if lanes.steps[lane] <= EASY else progress.step[lane]
    clear = next_clearance(lanes, lane, progress, curves)
    progress.step[lane] = max(min(grown, clear, curves.options[LONGEST]), curves.options[SHORTEST])
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
    for other in range(len(curves.starts)):
        if other != row and curves.info[other, VERDICT] == OPEN:
            if passes(curves.starts[other], curves.points[row], n, curves.period):
                curves.info[other, VERDICT] = SAME
                for lane in range(LANES):
                    if lanes.row[lane] == other:
                        lanes.row[lane] = -1


@inlined
def passes(q, points, n, period):
    """Whether joints lie on the part of a curve between points n - 1 and n."""
    return is_between(q, points[n - 1], points[n], period)


@inlined
def is_between(q, a, b, period):
    """Whether joints lie beside the chord from a to b, nearer to it than a curve strays from its chords."""
    chord = along = across = 0.0
    for i in range(len(q)):
        chord += (b[i] - a[i]) ** 2
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
    for row in range(len(q)):
        found[row] = -1
        for i in range(len(points)):
            if is_between(q[row], points[i], ends[i], period):
                found[row] = i
                break
