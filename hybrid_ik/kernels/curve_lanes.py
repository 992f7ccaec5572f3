"""Lanes of the recorded curve step of an arm, as the loops of `settle_loops` and `follow_loops` handle them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hybrid_ik.kernels.cpu import FINE_LANES as LANES
from hybrid_ik.kernels.entries import inlined
from hybrid_ik.kernels.program import CurveSlots

OFFSET, DAMPING, TARGET, TIP = CurveSlots.OFFSET, CurveSlots.DAMPING, CurveSlots.TARGET, CurveSlots.TIP
ERRORS, CORRECTION = CurveSlots.ERRORS, CurveSlots.CORRECTION

# Options that both loops know: squared tolerances [m^2] and of the chord.
POSITION_SQUARED, CHORD_SQUARED = 0, 1


class Lanes(NamedTuple):
    """The workspace: slot i of a lane is `w[lane + LANES i]`; joints, border, then `CurveSlots`."""

    w: Any
    dof: Any
    row: Any
    """Of each lane; -1 where it is free."""
    steps: Any
    """Since the row, or the prediction, began."""


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
