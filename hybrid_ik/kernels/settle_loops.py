"""The loop that settles joints onto the curves of a pose; the same for every arm, as those of `drivers`."""

from __future__ import annotations

from hybrid_ik.kernels.cpu import FINE_LANES as LANES
from hybrid_ik.kernels.curve_lanes import (
    CORRECTION,
    ERRORS,
    OFFSET,
    Lanes,
    aim,
    correct,
    is_within,
    length,
    prepare,
    read,
)
from hybrid_ik.kernels.entries import compiled, inlined, run_lanes
from hybrid_ik.kernels.pools import doubles, integers

SETTLE_DAMPING, MAX_STEPS = 2, 3  # options, after the tolerances
AT_REST = 1e-20  # squared length of a step that changes nothing any more


@compiled
def settle_rows(step, q0, targets, tool, options, border, offset, q, tangent, errors, info):
    """Takes curve steps from each row of q0, (m, dof), until its errors are within the tolerances.

    Row r reaches for `targets[r]`, or for the only one: [R_first_last by rows, p_first_tip]. `tool` is [p_last_tip,
    orientation weight]. See `kinematics.curve_step` for border, (m, dof), and offset, (m,), which counts in the first
    step alone; where it is not 0, that step is taken in any case.

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
    within = is_within(lanes, lane, options) and read(lanes, 2 * dof + OFFSET, lane) == 0.0
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
