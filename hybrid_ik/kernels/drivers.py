"""Loops around the recorded programs of an arm: they feed the lanes, and refill those that are done.

A search starts in a coarse lane, in single precision, of which a register holds twice as many. When its errors are
small, or it is given up, it moves to a fine lane, where the last steps are done and judged in double precision.

The loops are the same for every arm: its programs come as the addresses of functions. numba compiles them; none of them
makes arrays or raises exceptions.
"""

from __future__ import annotations

from math import asin
from typing import Any, NamedTuple

import numpy as np

from hybrid_ik.kernels.cpu import COARSE_LANES, FINE_LANES
from hybrid_ik.kernels.entries import compiled, inlined, run_lanes
from hybrid_ik.kernels.pools import (
    doubles,
    free_lane,
    free_later,
    integers,
    pool_of,
    read,
    singles,
    works,
    write_all,
)
from hybrid_ik.kernels.program import Options, Slots
from hybrid_ik.kernels.quaternion import rotation_of
from hybrid_ik.result import Status

CONVERGED, MAX_ITERATIONS, STALLED = int(Status.CONVERGED), int(Status.MAX_ITERATIONS), int(Status.STALLED)
INVALID_INPUT = int(Status.INVALID_INPUT)
STEPS, TARGET, TIP, TOLERANCES = Slots.STEPS, Slots.TARGET, Slots.TIP, Slots.POSITION_SQUARED
MAX_STEPS, ERRORS, WANTED = Slots.MAX_STEPS, Slots.ERRORS, Slots.WANTED
O_WEIGHT, O_TOLERANCES, O_MAX_STEPS = Options.WEIGHT, Options.TOLERANCES, Options.MAX_STEPS
N_LIKE_SLOTS, O_POSTURE, O_COARSE = Options.LIKE_SLOTS, Options.POSTURE, Options.COARSE

# Columns of `info`: steps, status, the start and whether it was moved onto the limits, how many starts were tried.
I_STEPS, I_STATUS, I_START, I_MOVED, I_TRIED = 0, 1, 2, 3, 4

# What there is still to do: the next row that nobody has taken yet, how many rows wait for their next start, and which.
# Between two looks at the list no more can come to wait than there are lanes.
NEXT_ROW, N_WAITING, WAITING = 0, 1, 2
QUEUE = WAITING + 4 * (COARSE_LANES + FINE_LANES)


rotation = inlined(rotation_of)


class Problem(NamedTuple):
    """What `solve_rows` is given."""

    dof: Any
    limits: Any
    position: Any
    quaternion: Any
    mount_tool: Any
    group: Any
    starts: Any
    options: Any
    valid: Any


class Answers(NamedTuple):
    """What it writes."""

    q: Any
    errors: Any
    info: Any


@compiled
def solve_rows(
    coarse_step,
    fine_step,
    limits,
    position,
    quaternion,
    mount_tool,
    group,
    starts,
    options,
    wanted,
    valid,
    q,
    errors,
    info,
):
    """Refines starts until each row has its answer: the first of its starts, in their order, that converges.

    Row r reaches for pose r // group of the tip in the base, from `starts[r]`, (n_starts, dof), or from `starts[0]`
    where all rows share them. Free lanes first take new rows; when there are none left, they take later starts of rows
    that others work on, and of several that converge the earliest start counts. So an answer does not depend on the
    company it is solved in.

    Starts are moved onto the limits; those that are not of finite numbers are passed over. `limits` are (2, dof);
    `wanted` is the posture, and empty where the programs know none.

    Written: q (rows, dof); position and orientation error (rows, 2); `info` (rows, 5). A row without an answer holds
    the start that came nearest; an invalid one NaN.
    """
    dof = q.shape[1]
    size = dof + WANTED + (dof + 3 if len(wanted) else 0)
    problem = Problem(dof, limits, position, quaternion, mount_tool, group, starts, options, valid)
    answers = Answers(q, errors, info)
    coarse = pool_of(COARSE_LANES, singles(size * COARSE_LANES), integers(4 * COARSE_LANES))
    fine = pool_of(FINE_LANES, doubles(size * FINE_LANES), integers(4 * FINE_LANES))
    queue = integers(QUEUE)
    q[:], errors[:], info[:], queue[:] = np.nan, np.nan, 0, 0
    info[:, I_STATUS] = INVALID_INPUT
    prepare(fine, problem, wanted)
    prepare(coarse, problem, wanted)
    if options[O_COARSE] > 0.0:
        start_coarse(coarse, problem)
        while refill(coarse, fine, problem, answers, queue) or works(fine):
            advance_coarse(coarse_step, fine_step, coarse, fine, problem, answers, queue)
            while works(fine) and queue[NEXT_ROW] == len(valid) and queue[N_WAITING] == 0:
                advance_fine(fine_step, fine, coarse, problem, answers, queue)
    else:
        while refill(fine, coarse, problem, answers, queue):
            advance_fine(fine_step, fine, coarse, problem, answers, queue)


@compiled
def forward_rows(forward, q, out):
    """Poses of the last joint frame in the first, [p, R by rows], for joints (m, dof)."""
    dof, lanes = q.shape[1], FINE_LANES
    w = doubles((dof + 12) * lanes)
    w[:] = 0.0
    for first in range(0, len(q), lanes):
        count = min(lanes, len(q) - first)
        for lane in range(count):
            for i in range(dof):
                w[lane + lanes * i] = q[first + lane, i]
        run_lanes(forward, w)
        for lane in range(count):
            for i in range(12):
                out[first + lane, i] = w[lane + lanes * (dof + i)]


@inlined
def prepare(pool, problem, wanted):
    """Frees all lanes, and writes into them what is the same for every search."""
    pool.row[:] = -1
    pool.w[:] = 0.0
    for i in range(N_LIKE_SLOTS):
        write_all(pool, problem.dof + TIP + i, problem.options[i])
    for i in range(len(wanted)):
        write_all(pool, problem.dof + WANTED + i, wanted[i])
    if len(wanted):
        for i in range(3):
            write_all(pool, 2 * problem.dof + WANTED + i, problem.options[O_POSTURE + i])


@inlined
def start_coarse(coarse, problem):
    """Gives the coarse lanes their own tolerances; they stop one step early, for the fine lanes judge the last one."""
    for i in range(3):
        write_all(coarse, problem.dof + TOLERANCES + i, problem.options[O_COARSE + i])
    write_all(coarse, problem.dof + MAX_STEPS, problem.options[O_MAX_STEPS] - 1.0)


@inlined
def refill(pool, other, problem, answers, queue):
    """Gives every free lane the next start of some row; says whether any lane is busy."""
    for lane in range(pool.lanes):
        while pool.row[lane] < 0:
            row = take_row(pool, other, problem, answers, queue)
            if row < 0:
                return works(pool)
            k = answers.info[row, I_TRIED]
            answers.info[row, I_TRIED] += 1
            if fill(pool, lane, problem, row, k):
                pool.row[lane], pool.start[lane] = row, k
                place_target(pool, lane, problem, row)
            elif is_open(answers, problem, row):
                wait(queue, row)
    return True


@inlined
def take_row(pool, other, problem, answers, queue):
    """A row for a free lane, or -1: one that waits, a new one, or one that others work on."""
    while queue[N_WAITING] > 0:
        queue[N_WAITING] -= 1
        row = queue[WAITING + queue[N_WAITING]]
        if is_open(answers, problem, row):
            return row
    while queue[NEXT_ROW] < len(problem.valid):
        queue[NEXT_ROW] += 1
        if problem.valid[queue[NEXT_ROW] - 1]:
            return queue[NEXT_ROW] - 1
    row = open_row(pool, problem, answers)
    return row if row >= 0 else open_row(other, problem, answers)


@inlined
def open_row(pool, problem, answers):
    """A row that a lane works on and that has more starts, or -1."""
    for lane in range(pool.lanes):
        row = pool.row[lane]
        if row >= 0 and is_open(answers, problem, row):
            return row
    return -1


@inlined
def is_open(answers, problem, row):
    """Whether a row lacks an answer and has starts that nobody has tried."""
    return answers.info[row, I_STATUS] != CONVERGED and answers.info[row, I_TRIED] < problem.starts.shape[1]


@inlined
def wait(queue, row):
    """Lets a row wait for a lane."""
    queue[WAITING + queue[N_WAITING]] = row
    queue[N_WAITING] += 1


@inlined
def fill(pool, lane, problem, row, k):
    """Puts a start into a lane, moved onto the limits; says whether it is of finite numbers."""
    start = problem.starts[row if len(problem.starts) > 1 else 0, k]
    pool.moved[lane] = pool.resting[lane] = 0
    pool.w[lane + pool.lanes * (problem.dof + STEPS)] = 0.0
    for i in range(problem.dof):
        if not np.isfinite(start[i]):
            return False
        x = min(max(start[i], problem.limits[0, i]), problem.limits[1, i])
        pool.w[lane + pool.lanes * i] = x
        if x != start[i]:
            pool.moved[lane] = 1
    return True


@inlined
def place_target(pool, lane, problem, row):
    """[R_first_last by rows, p_first_tip] of a pose T_base_tip: the mount, and the turn of the tool, taken off.

    `mount_tool` is [R_first_base by rows, p_first_base, R_tip_last by rows].
    """
    at, p, quaternion = (
        problem.mount_tool,
        problem.position[row // problem.group],
        problem.quaternion[row // problem.group],
    )
    r = rotation(quaternion[0], quaternion[1], quaternion[2], quaternion[3])
    out, lanes = pool.w, pool.lanes
    place = lane + lanes * (problem.dof + TARGET)
    for j in range(3):
        R0 = r[0] * at[12 + j] + r[1] * at[15 + j] + r[2] * at[18 + j]
        R1 = r[3] * at[12 + j] + r[4] * at[15 + j] + r[5] * at[18 + j]
        R2 = r[6] * at[12 + j] + r[7] * at[15 + j] + r[8] * at[18 + j]
        for i in range(3):
            out[place + lanes * (3 * i + j)] = at[3 * i] * R0 + at[3 * i + 1] * R1 + at[3 * i + 2] * R2
        out[place + lanes * (9 + j)] = at[3 * j] * p[0] + at[3 * j + 1] * p[1] + at[3 * j + 2] * p[2] + at[9 + j]


@inlined
def advance_coarse(coarse_step, fine_step, coarse, fine, problem, answers, queue):
    """One step of all coarse lanes; those that are finished move on to fine ones."""
    finished = run_lanes(coarse_step, coarse.w)
    for lane in range(COARSE_LANES):
        if finished >> lane & 1 and coarse.row[lane] >= 0:
            while free_lane(fine) < 0:  # this may free the coarse lane as well
                advance_fine(fine_step, fine, coarse, problem, answers, queue)
            if coarse.row[lane] >= 0:
                hand_over(coarse, lane, fine, free_lane(fine), problem)


@inlined
def hand_over(coarse, lane, fine, to, problem):
    """Moves a search from a coarse lane to a fine one: a start that was near enough as it was given, others rounded."""
    row, k, steps = coarse.row[lane], coarse.start[lane], read(coarse, problem.dof + STEPS, lane)
    within, moves = reached(coarse, lane, problem, O_COARSE)
    coarse.row[lane] = -1
    fine.row[to], fine.start[to] = row, k
    if within and steps == 1.0:
        fill(fine, to, problem, row, k)
    else:
        fine.moved[to], fine.resting[to] = coarse.moved[lane], 0
        for i in range(problem.dof):
            x = np.float64(read(coarse, i, lane))
            fine.w[to + FINE_LANES * i] = min(max(x, problem.limits[0, i]), problem.limits[1, i])
        if not (within or moves):
            fine.resting[to], steps = 1 + int(steps), problem.options[O_MAX_STEPS]
        fine.w[to + FINE_LANES * (problem.dof + STEPS)] = steps
    place_target(fine, to, problem, row)


@inlined
def reached(pool, lane, problem, tolerances):
    """Whether the errors of a lane are within the tolerances from this option on, and whether its step is longer."""
    limit, errors = problem.options[tolerances:], problem.dof + ERRORS
    within = read(pool, errors, lane) < limit[0] and read(pool, errors + 1, lane) < limit[1]
    return within, read(pool, errors + 2, lane) > limit[2]


@compiled
def advance_fine(fine_step, fine, coarse, problem, answers, queue):
    """One step of all fine lanes; those that are finished write their rows and become free."""
    finished = run_lanes(fine_step, fine.w)
    for lane in range(FINE_LANES):
        row, k = fine.row[lane], fine.start[lane]
        if row >= 0 and finished >> lane & 1:
            status = verdict(fine, lane, problem)
            keep_better(fine, lane, status, problem, answers)
            fine.row[lane] = -1
            if status == CONVERGED:
                free_later(fine, row, k)
                free_later(coarse, row, k)
            elif is_open(answers, problem, row):
                wait(queue, row)


@inlined
def verdict(fine, lane, problem):
    """What became of a finished search."""
    within, moves = reached(fine, lane, problem, O_TOLERANCES)
    if within:
        return CONVERGED
    return MAX_ITERATIONS if moves and not fine.resting[lane] else STALLED


@inlined
def turn(chord_squared):
    """The angle [rad] that has this chord."""
    return 2.0 * asin(min(1.0, 0.5 * np.sqrt(chord_squared)))


@inlined
def keep_better(fine, lane, status, problem, answers):
    """Writes a finished search into its row if no earlier start has converged and none came nearer."""
    row, k, info, weight = fine.row[lane], fine.start[lane], answers.info, problem.options[O_WEIGHT]
    distance, angle = np.sqrt(read(fine, problem.dof + ERRORS, lane)), turn(read(fine, problem.dof + ERRORS + 1, lane))
    if info[row, I_STATUS] == CONVERGED:
        if status != CONVERGED or k > info[row, I_START]:
            return
    elif status != CONVERGED and info[row, I_STATUS] != INVALID_INPUT:
        missed = distance**2 + (weight * angle) ** 2
        least = answers.errors[row, 0] ** 2 + (weight * answers.errors[row, 1]) ** 2
        if not (missed < least or (missed == least and k < info[row, I_START])):
            return
    for i in range(problem.dof):
        answers.q[row, i] = read(fine, i, lane)
    answers.errors[row, 0], answers.errors[row, 1] = distance, angle
    steps = fine.resting[lane] - 1 if fine.resting[lane] else int(read(fine, problem.dof + STEPS, lane))
    info[row, I_STEPS], info[row, I_STATUS] = steps, status
    info[row, I_START], info[row, I_MOVED] = k, fine.moved[lane]
