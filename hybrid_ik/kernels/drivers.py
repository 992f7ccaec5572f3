"""Loops around the recorded programs: they feed the lanes, test when to stop, and refill lanes that are done.

What follows the marker is copied behind the recorded functions of one arm into a module of its own, where numba
compiles all of it together (a compiled function that is handed to another as an argument can neither be inlined nor
cached). Here the names of that module are only declared.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LANES = 8
DOF = 0
WITH_POSTURE = False
LOWER = UPPER = np.empty(0)
CONVERGED, MAX_ITERATIONS, STALLED, INVALID_INPUT = range(4)


def step(w):
    """The recorded `kinematics.lm_step` of the arm."""


def forward(w):
    """The recorded `kinematics.forward_kinematics` of the arm."""


# ---- copied from here on

# Slots of the step's workspace, in the order of `program.record_step`.
TARGET = DOF
TIP = TARGET + 12
WEIGHT = TIP + 3
WANTED = WEIGHT + 2
NEW = WANTED + (DOF + 2 if WITH_POSTURE else 0)
POSITION_ERROR_SQUARED = NEW + DOF
ANGLE = POSITION_ERROR_SQUARED + 1
LENGTH_SQUARED = ANGLE + 1
SIZE = LENGTH_SQUARED + 1

# Entries of `options`.
O_TIP, O_WEIGHT, O_DAMPING, O_POSTURE = 0, 3, 4, 5
O_POSITION, O_ORIENTATION, O_STEP, O_MAX_STEPS, O_PULLED_STEPS = 7, 8, 9, 10, 11

# Columns: what a lane works on, and how far a row is.
ROW, START, STEPS, CLIPPED = 0, 1, 2, 3
WINNER, TRIED = 0, 1

POSES, STARTS, OPTIONS = "f8[:,::1], f8[:,::1], f8[::1]", "i8, f8[:,:,::1]", "f8[::1], f8[::1], b1[::1]"
SIGNATURE = f"void({POSES}, {STARTS}, {OPTIONS}, f8[:,::1], f8[:,::1], i4[:,::1])"


@njit("void(f8[:,::1], f8[:,::1])", nogil=True, cache=True)
def forward_rows(q, out):
    """Poses of the last joint frame in the first, [p, R by rows], for joints (m, DOF)."""
    w = np.zeros((DOF + 12) * LANES)
    for first in range(0, len(q), LANES):
        count = min(LANES, len(q) - first)
        for i in range(DOF):
            for lane in range(count):
                w[lane + LANES * i] = q[first + lane, i]
        forward(w)
        for lane in range(count):
            for i in range(12):
                out[first + lane, i] = w[lane + LANES * (DOF + i)]


@njit("void(f8[:,::1], f8[:,::1], f8[::1], f8[:,::1])", nogil=True, cache=True)
def target_rows(position, quaternion, mount_tool, out):
    """[R_first_last by rows, p_first_tip] of poses T_base_tip: the mount, and the turn of the tool, taken off.

    `mount_tool` is [R_first_base by rows, p_first_base, R_tip_last by rows].
    """
    R, RT = np.empty((3, 3)), np.empty((3, 3))
    for m in range(len(position)):
        w, x, y, z = quaternion[m, 0], quaternion[m, 1], quaternion[m, 2], quaternion[m, 3]
        R[0, 0], R[0, 1], R[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
        R[1, 0], R[1, 1], R[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
        R[2, 0], R[2, 1], R[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
        for i in range(3):
            for j in range(3):
                RT[i, j] = R[i, 0] * mount_tool[12 + j] + R[i, 1] * mount_tool[15 + j] + R[i, 2] * mount_tool[18 + j]
        for i in range(3):
            a, b, c = mount_tool[3 * i], mount_tool[3 * i + 1], mount_tool[3 * i + 2]
            for j in range(3):
                out[m, 3 * i + j] = a * RT[0, j] + b * RT[1, j] + c * RT[2, j]
            out[m, 9 + i] = a * position[m, 0] + b * position[m, 1] + c * position[m, 2] + mount_tool[9 + i]


@njit(nogil=True, cache=True)
def prepare(w, options, wanted):
    """Writes what is the same for every row into all lanes."""
    for lane in range(LANES):
        for i in range(3):
            w[lane + LANES * (TIP + i)] = options[O_TIP + i]
        w[lane + LANES * WEIGHT] = options[O_WEIGHT]
        w[lane + LANES * (WEIGHT + 1)] = options[O_DAMPING]
        if WITH_POSTURE:
            for i in range(DOF):
                w[lane + LANES * (WANTED + i)] = wanted[i]
            w[lane + LANES * (WANTED + DOF)] = options[O_POSTURE]


@njit(nogil=True, cache=True)
def fill(w, lane, lanes, target, start, options):
    """Puts a problem into a lane, its start moved onto the limits; says whether the start is of finite numbers."""
    if WITH_POSTURE:
        w[lane + LANES * (WANTED + DOF + 1)] = options[O_POSTURE + 1]
    lanes[lane, STEPS], lanes[lane, CLIPPED] = 0, 0
    for i in range(DOF):
        if not np.isfinite(start[i]):
            return False
        w[lane + LANES * i] = min(max(start[i], LOWER[i]), UPPER[i])
        if w[lane + LANES * i] != start[i]:
            lanes[lane, CLIPPED] = 1
    for i in range(12):
        w[lane + LANES * (TARGET + i)] = target[i]
    return True


@njit(nogil=True, cache=True)
def verdict(w, lane, steps, options):
    """Status of a lane after a step: -1 while it is worth going on."""
    square, angle = w[lane + LANES * POSITION_ERROR_SQUARED], w[lane + LANES * ANGLE]
    reached = square <= options[O_POSITION] ** 2 and (angle <= options[O_ORIENTATION] or options[O_WEIGHT] == 0.0)
    settled = not w[lane + LANES * LENGTH_SQUARED] > options[O_STEP] ** 2  # also where the step is not a number
    last = steps >= options[O_MAX_STEPS]
    if reached and (settled or last or not WITH_POSTURE):
        return CONVERGED
    if settled:
        return STALLED
    return MAX_ITERATIONS if last else -1


@njit(nogil=True, cache=True)
def take_work(lanes, rows, n_starts, valid, next_row):
    """A row for a free lane, or -1, and the next row that nobody has taken yet."""
    while next_row < len(valid):
        next_row += 1
        if valid[next_row - 1]:
            return next_row - 1, next_row
    for lane in range(LANES):
        row = lanes[lane, ROW]
        if row >= 0 and rows[row, WINNER] == n_starts and rows[row, TRIED] < n_starts:
            return row, next_row
    return -1, next_row


@njit(nogil=True, cache=True)
def put_to_work(lanes, lane, rows, row):
    """Gives a lane the next start of a row; it is filled before the next step."""
    lanes[lane, ROW], lanes[lane, START], lanes[lane, STEPS] = row, rows[row, TRIED], -1
    rows[row, TRIED] += 1


@njit(nogil=True, cache=True)
def keep_better(w, lane, lanes, status, rows, n_starts, options, cost, q, errors, info):
    """Writes a finished lane into its row if no earlier start has converged and none came nearer."""
    row, k = lanes[lane, ROW], lanes[lane, START]
    square, angle = w[lane + LANES * POSITION_ERROR_SQUARED], w[lane + LANES * ANGLE]
    if status == CONVERGED:
        if k > rows[row, WINNER]:
            return
        rows[row, WINNER] = k
    else:
        missed = square + (options[O_WEIGHT] * angle) ** 2
        if rows[row, WINNER] < n_starts or not (missed < cost[row] or (missed == cost[row] and k < info[row, 2])):
            return
        cost[row] = missed
    for i in range(DOF):
        q[row, i] = w[lane + LANES * i]
    errors[row, 0], errors[row, 1] = np.sqrt(square), angle
    info[row, 0], info[row, 1], info[row, 2], info[row, 3] = lanes[lane, STEPS], status, k, lanes[lane, CLIPPED]


@njit(nogil=True, cache=True)
def release(lanes, lane, status, rows, n_starts):
    """Frees a finished lane: for the next start of its row, or, when the row is decided, for another row."""
    row, k = lanes[lane, ROW], lanes[lane, START]
    lanes[lane, ROW] = -1
    if status == CONVERGED:  # later starts of this row cannot win any more
        for other in range(LANES):
            if lanes[other, ROW] == row and lanes[other, START] > k:
                lanes[other, ROW] = -1
    elif rows[row, WINNER] == n_starts and rows[row, TRIED] < n_starts:
        put_to_work(lanes, lane, rows, row)


@njit(SIGNATURE, nogil=True, cache=True)
def solve_rows(position, quaternion, mount_tool, group, starts, options, wanted, valid, q, errors, info):
    """Refines starts until each row has its answer: the first of its starts, in their order, that converges.

    Row r reaches for pose r // group of the tip in the base, from `starts[r]`, (n_starts, DOF), or from `starts[0]`
    where all rows share them. Free lanes first take new rows; when there are none left, they take later starts of rows
    that others work on, and of several that converge the earliest start counts. So an answer does not depend on the
    company it is solved in.

    Starts are moved onto the limits; those that are not of finite numbers are passed over.

    Written: q (rows, DOF); position and orientation error (rows, 2); steps, status, the start's number and whether it
    was moved (rows, 4). A row without an answer holds the start that came nearest; an invalid one NaN.

    It is the one entry, for one pose and for many: a second one would hold a second copy of the steps, in which the
    compiler would round otherwise.
    """
    n_rows, n_starts = len(valid), starts.shape[1]
    targets = np.empty((len(position), 12))
    target_rows(position, quaternion, mount_tool, targets)
    q[:], errors[:], info[:] = np.nan, np.nan, 0
    info[:, 1] = INVALID_INPUT
    rows, cost = np.zeros((n_rows, 2), np.int64), np.full(n_rows, np.inf)
    rows[:, WINNER] = n_starts
    lanes = np.full((LANES, 4), -1)
    w = np.zeros(SIZE * LANES)
    prepare(w, options, wanted)
    next_row = 0
    while True:
        working = False
        for lane in range(LANES):
            filled = lanes[lane, ROW] >= 0 and lanes[lane, STEPS] >= 0
            while not filled:
                if lanes[lane, ROW] < 0:
                    row, next_row = take_work(lanes, rows, n_starts, valid, next_row)
                    if row < 0:
                        break
                    put_to_work(lanes, lane, rows, row)
                row, start = lanes[lane, ROW], lanes[lane, START]
                filled = fill(
                    w, lane, lanes, targets[row // group], starts[row if len(starts) > 1 else 0, start], options
                )
                if not filled:
                    release(lanes, lane, STALLED, rows, n_starts)
            working = working or filled
        if not working:
            return
        step(w)
        for lane in range(LANES):
            if lanes[lane, ROW] >= 0:
                status = verdict(w, lane, lanes[lane, STEPS], options)
                if status < 0:
                    lanes[lane, STEPS] += 1
                    if WITH_POSTURE and lanes[lane, STEPS] >= options[O_PULLED_STEPS]:
                        w[lane + LANES * (WANTED + DOF + 1)] = 0.0
                else:
                    keep_better(w, lane, lanes, status, rows, n_starts, options, cost, q, errors, info)
                    release(lanes, lane, status, rows, n_starts)
        for i in range(DOF * LANES):
            w[i] = w[NEW * LANES + i]
