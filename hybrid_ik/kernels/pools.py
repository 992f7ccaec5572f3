"""Lanes of one precision and what they are busy with, as the compiled loops of `drivers` handle them."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types

from hybrid_ik.kernels.entries import inlined, stack_array

singles, doubles, integers = stack_array(types.float32), stack_array(types.float64), stack_array(types.int64)


class Pool(NamedTuple):
    """Lanes of one precision, and the search that each of them is busy with."""

    lanes: Any
    w: Any
    """The workspace: slot i of a lane is `w[lane + lanes i]`; joints, then `Slots`."""
    row: Any
    """Of each lane; -1 where it is free."""
    start: Any
    moved: Any
    """1 where the start was moved onto the limits."""
    resting: Any
    """0, or 1 more than the steps of a search that came to rest in a coarse lane: it is only judged."""


@inlined
def pool_of(lanes, w, table):
    """A pool of a workspace, and of a table with four numbers for each lane."""
    return Pool(lanes, w, table[:lanes], table[lanes : 2 * lanes], table[2 * lanes : 3 * lanes], table[3 * lanes :])


@inlined
def write_all(pool, slot, value):
    """Writes a number into a slot of all lanes."""
    for lane in range(pool.lanes):
        pool.w[lane + pool.lanes * slot] = value


@inlined
def read(pool, slot, lane):
    """The number in a slot of a lane."""
    return pool.w[lane + pool.lanes * slot]


@inlined
def works(pool):
    """Whether any lane is busy."""
    for lane in range(pool.lanes):
        if pool.row[lane] >= 0:
            return True
    return False


@inlined
def free_lane(pool):
    """A lane that is not busy, or -1."""
    for lane in range(pool.lanes):
        if pool.row[lane] < 0:
            return lane
    return -1


@inlined
def free_later(pool, row, k):
    """Frees the lanes whose starts cannot win any more, for an earlier one of their row has converged."""
    for lane in range(pool.lanes):
        if pool.row[lane] == row and pool.start[lane] > k:
            pool.row[lane] = -1
