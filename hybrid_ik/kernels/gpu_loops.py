"""What the GPU kernels of every arm share. Nothing here runs as Python: `gpu` copies these functions into the module
that it writes for an arm, where Triton compiles them.

A lane is one number of a block; blocks are numbered along one axis, and lane k of block b is lane b BLOCK + k in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid_ik.kernels.program import Options
from hybrid_ik.kernels.quaternion import rotation_of
from hybrid_ik.result import Status

if TYPE_CHECKING:
    import triton.language as tl

CONVERGED, MAX_ITERATIONS, STALLED = int(Status.CONVERGED), int(Status.MAX_ITERATIONS), int(Status.STALLED)
INVALID_INPUT = int(Status.INVALID_INPUT)

# Columns of `info`: steps, status, whether the start was moved onto the limits.
I_STEPS, I_STATUS, I_MOVED, N_INFO = 0, 1, 2, 3

O_WEIGHT, O_DAMPING, O_LIMITS = Options.WEIGHT, Options.DAMPING, Options.TOLERANCES
O_POSTURE, O_COARSE = Options.POSTURE, Options.COARSE

CONSTANTS = {name: value for name, value in globals().items() if name.isupper() and isinstance(value, int)}

# Arguments that change from launch to launch; no kernels are made for special values of them.
NUMBERS = (
    "n",
    "n_starts",
    "most",
    "capacity",
    "last",
    "group",
    "row_stride",
    "spread",
    "place",
    "tried",
    "total",
    "n_picks",
)


def share(state, n_starts, most, capacity, last):
    """How the starts are dealt out in a round, from [open rows, starts of each that were tried] of its state.

    Each open row gets as many lanes as there are for it, at least one and up to `most`, and each lane one start; in the
    last round as many as are left to be tried, one after another.

    Returns:
        The first of these starts, lanes of a row, and starts of a lane.
    """
    n_open, first = tl.load(state), tl.load(state + 1)
    left = n_starts - first
    count = tl.minimum(tl.minimum(left, most), tl.maximum(capacity // tl.maximum(n_open, 1), 1))
    each = (left + count - 1) // tl.maximum(count, 1)
    return first, count, tl.where(last > 0, each, 1)


def read_pose(position, quaternion, pose, usable):
    """Position [m] and unit quaternion (wxyz) of a pose for each lane; the identity where a lane is not usable."""
    x, y, z = (
        tl.load(position + 3 * pose, mask=usable, other=0.0),
        tl.load(position + 3 * pose + 1, mask=usable, other=0.0),
        tl.load(position + 3 * pose + 2, mask=usable, other=0.0),
    )
    qw, qx, qy, qz = (
        tl.load(quaternion + 4 * pose, mask=usable, other=1.0),
        tl.load(quaternion + 4 * pose + 1, mask=usable, other=0.0),
        tl.load(quaternion + 4 * pose + 2, mask=usable, other=0.0),
        tl.load(quaternion + 4 * pose + 3, mask=usable, other=0.0),
    )
    return x, y, z, qw, qx, qy, qz


def multiply_row(a, b, c, B):
    """The row (a, b, c) times the matrix of nine numbers that B points to."""
    return (
        a * tl.load(B) + b * tl.load(B + 3) + c * tl.load(B + 6),
        a * tl.load(B + 1) + b * tl.load(B + 4) + c * tl.load(B + 7),
        a * tl.load(B + 2) + b * tl.load(B + 5) + c * tl.load(B + 8),
    )


def place_row(A, x, y, z, c0, c1, c2, c3, c4, c5, c6, c7, c8):
    """The row of three numbers that A points to, times a vector, and times the matrix of c0 to c8."""
    a, b, c = tl.load(A), tl.load(A + 1), tl.load(A + 2)
    return (
        a * x + b * y + c * z,
        a * c0 + b * c3 + c * c6,
        a * c1 + b * c4 + c * c7,
        a * c2 + b * c5 + c * c8,
    )


def place_target(position, quaternion, mount_tool, pose, usable):
    """[R_first_last by rows, p_first_tip] of a pose T_base_tip: the mount, and the turn of the tool, taken off.

    `mount_tool` points to [R_first_base by rows, p_first_base, R_tip_last by rows].
    """
    x, y, z, qw, qx, qy, qz = read_pose(position, quaternion, pose, usable)
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = rotation_of(qw, qx, qy, qz)
    c0, c1, c2 = multiply_row(r0, r1, r2, mount_tool + 12)
    c3, c4, c5 = multiply_row(r3, r4, r5, mount_tool + 12)
    c6, c7, c8 = multiply_row(r6, r7, r8, mount_tool + 12)
    p0, R0, R1, R2 = place_row(mount_tool, x, y, z, c0, c1, c2, c3, c4, c5, c6, c7, c8)
    p1, R3, R4, R5 = place_row(mount_tool + 3, x, y, z, c0, c1, c2, c3, c4, c5, c6, c7, c8)
    p2, R6, R7, R8 = place_row(mount_tool + 6, x, y, z, c0, c1, c2, c3, c4, c5, c6, c7, c8)
    p0, p1, p2 = p0 + tl.load(mount_tool + 9), p1 + tl.load(mount_tool + 10), p2 + tl.load(mount_tool + 11)
    return R0, R1, R2, R3, R4, R5, R6, R7, R8, p0, p1, p2


def clip(x, lower: tl.constexpr, upper: tl.constexpr, BLOCK: tl.constexpr):
    """x in double precision, moved into [lower, upper]; NaN stays NaN."""
    low, high = tl.full([BLOCK], lower, tl.float64), tl.full([BLOCK], upper, tl.float64)
    x = tl.where(x < low, low, x)
    return tl.where(x > high, high, x)


def any_lane(flag):
    """Whether a flag is set in any lane of the block."""
    return tl.max(flag.to(tl.int32), axis=0) > 0


def verdict(position_squared, chord_squared, step_squared, position_limit, chord_limit, step_limit, at_rest):
    """What became of a finished search: `Status` as a number."""
    within = (position_squared < position_limit) & (chord_squared < chord_limit)
    unfinished = tl.where(step_squared > step_limit, tl.where(at_rest, STALLED, MAX_ITERATIONS), STALLED)
    return tl.where(within, CONVERGED, unfinished)


def better(status, missed, least_status, least):
    """Whether a search beats the best one of its row so far: it converged first, or came nearer where none has."""
    first = least_status == INVALID_INPUT
    nearer = (status == CONVERGED) | (missed < least)
    return (status != INVALID_INPUT) & (least_status != CONVERGED) & (first | nearer)


def miss(distance_squared, angle, weight):
    """Squared distance [m^2] and squared, weighted angle together; without end where a step led to no number.

    So such a search is never nearer than another, and any other is nearer.
    """
    missed = distance_squared + weight * weight * angle * angle
    return tl.where(missed == missed, missed, float("inf"))


def recorded_miss(errors, at, mask, weight):
    """`miss` of the errors in this place."""
    distance, angle = tl.load(errors + 2 * at, mask=mask, other=0.0), tl.load(errors + 2 * at + 1, mask=mask, other=0.0)
    return miss(distance * distance, angle, weight)


def choose(
    rows,
    state,
    q,
    errors,
    info,
    best_q,
    best_errors,
    best_info,
    hopeful,
    open_rows,
    next_state,
    options,
    n_starts,
    most,
    capacity,
    last,
    DOF: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Writes the best search of a round of each open row over its record, if it is better, and lists what stays open.

    Lane k works for row `rows[k]`, whose searches, `count` of them, stand one after another in q, errors and info from
    place k count on. Searches that came earlier win over equal ones. Appended to `open_rows`: the rows without an
    answer of which there is hope. Their order is that in which blocks come; nothing depends on it.
    """
    first_lane = tl.program_id(0).to(tl.int64) * BLOCK
    if first_lane >= tl.load(state):
        return
    first, count, depth = share(state, n_starts, most, capacity, last)
    lane = first_lane + tl.arange(0, BLOCK)
    active = lane < tl.load(state)
    row = tl.load(rows + lane, mask=active, other=0).to(tl.int64)
    weight = tl.load(options + O_WEIGHT)
    status = tl.load(best_info + N_INFO * row + I_STATUS, mask=active, other=CONVERGED)
    least = recorded_miss(best_errors, row, active, weight)
    winner, j = lane * 0 - 1, count * 0
    while j < count:  # the interpreters of old Tritons take no range of a number that they are given
        at = lane * count + j
        its_status = tl.load(info + N_INFO * at + I_STATUS, mask=active, other=INVALID_INPUT)
        missed = recorded_miss(errors, at, active, weight)
        wins = better(its_status, missed, status, least)
        status, least = tl.where(wins, its_status, status), tl.where(wins, missed, least)
        winner = tl.where(wins, at, winner)
        j += 1
    found = active & (winner >= 0)
    for i in tl.static_range(DOF):
        x = tl.load(q + DOF * winner + i, mask=found, other=0.0)
        tl.store(best_q + DOF * row + i, x, mask=found)
    for i in tl.static_range(2):
        x = tl.load(errors + 2 * winner + i, mask=found, other=0.0)
        tl.store(best_errors + 2 * row + i, x, mask=found)
    for i in tl.static_range(N_INFO):
        x = tl.load(info + N_INFO * winner + i, mask=found, other=0)
        tl.store(best_info + N_INFO * row + i, x, mask=found)
    hope = tl.load(hopeful + row, mask=active, other=0) != 0
    append(open_rows, next_state, row, active & hope & (status != CONVERGED))
    tl.store(next_state + 1, tl.minimum(first + count * depth, n_starts))  # the same from every block


def pick(
    rows,
    state,
    q,
    info,
    valid,
    near,
    ranges,
    rule,
    picks,
    costs,
    open_rows,
    next_state,
    tried,
    total,
    n_picks,
    BY_DISTANCE: tl.constexpr,
    DOF: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The picks of `distinct.pick_distinct` for the open rows, a block for each; lists the rows that lack answers.

    Lane i works for search i of `tried` ones; each row has places for `total`. With BY_DISTANCE the cost is the
    distance from `near` (rows, DOF) and the cheapest are picked, without it nearness to a joint limit, and they are
    spread. `ranges` points to the middles, halves and periods of the joints' ranges, `rule` to the least squared
    distance of two picks, and to the cost from which on a pick does not count as an answer. Written are `picks`, -1
    for none, and their costs (rows, n_picks), in the order in which they are picked.
    """
    program = tl.program_id(0)
    if program >= tl.load(state):
        return
    row = tl.load(rows + program).to(tl.int64)
    i = tl.arange(0, BLOCK)
    there = i < tried
    at = row * total + i
    status = tl.load(info + N_INFO * at + I_STATUS, mask=there, other=INVALID_INPUT)
    least, far = tl.load(rule), tl.load(rule + 1)
    nothing = tl.zeros([BLOCK], tl.float64)
    cost = nothing
    for j in tl.static_range(DOF):
        x = tl.load(q + DOF * at + j, mask=there, other=0.0)
        if BY_DISTANCE:
            d = around(x - tl.load(near + DOF * row + j), tl.load(ranges + 2 * DOF + j))
            cost += d * d
        else:
            from_middle = tl.abs((x - tl.load(ranges + j)) / tl.load(ranges + DOF + j))
            cost = tl.where(from_middle > cost, from_middle, cost)
    if BY_DISTANCE:
        cost = tl.sqrt(cost)
    gap = tl.where(there & (status == CONVERGED), nothing + float("inf"), nothing - 1.0)
    k, lacking = n_picks * 0, n_picks * 0
    while k < n_picks:
        able = gap >= least
        if BY_DISTANCE == 0:
            able = able & (gap == tl.max(tl.where(able, gap, -1.0), axis=0))
        cheapest = tl.min(tl.where(able, cost, float("inf")), axis=0)
        best = tl.min(tl.where(able & (cost == cheapest), i, BLOCK), axis=0)
        is_one = best < BLOCK
        tl.store(picks + row * n_picks + k, tl.where(is_one, best, -1))
        tl.store(costs + row * n_picks + k, cheapest)
        lacking = tl.where(cheapest >= far, 1, lacking)
        square = nothing
        for j in tl.static_range(DOF):
            x = tl.load(q + DOF * at + j, mask=there, other=0.0)
            its = tl.load(q + DOF * (row * total + best) + j, mask=is_one, other=0.0)
            d = around(x - its, tl.load(ranges + 2 * DOF + j))
            square += d * d
        gap = tl.where(is_one & (square < gap), square, gap)
        k += 1
    lacking = tl.where(tl.load(valid + row) != 0, lacking, 0)
    place = tl.atomic_add(next_state, lacking)
    tl.store(open_rows + place, row.to(tl.int32), mask=lacking > 0)


def around(d, period):
    """A difference of joints, the short way round where they have a period."""
    turned = d - period * tl.floor(d / tl.where(period > 0, period, 1.0) + 0.5)
    return tl.where(period > 0, turned, d)


def append(rows, n_rows, row, wanted):
    """Appends the rows of the wanted lanes to a list: one atomic addition for a block, not one for a lane."""
    flag = wanted.to(tl.int32)
    place = tl.atomic_add(n_rows, tl.sum(flag, axis=0)) + tl.cumsum(flag, axis=0) - 1
    tl.store(rows + place, row.to(tl.int32), mask=wanted)


HELPERS = (
    share,
    read_pose,
    rotation_of,
    multiply_row,
    place_row,
    place_target,
    clip,
    any_lane,
    verdict,
    better,
    miss,
    recorded_miss,
    append,
    around,
)
