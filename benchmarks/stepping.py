"""An arm's recorded steps, run over and over in compiled code: what `limit` measures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from numba import njit
from record import timed

from hybrid_ik.kernels.cpu import COARSE_LANES, FINE_LANES, load_kernel
from hybrid_ik.kernels.entries import run_lanes
from hybrid_ik.kernels.program import Slots
from hybrid_ik.robot import Robot

STEPS_AT_ONCE = 500
PLACES = 16  # workspaces: a step takes up to 15 % longer where its memory lies awkwardly within a page


@njit
def run_often(address: int, w: Any, n: int) -> None:
    """`n` calls of a program in lanes; only so the time of a call from Python does not count."""
    for _ in range(n):
        run_lanes(address, w)


def stepper(robot: Robot, single: bool) -> Callable[[], float]:
    """A function that takes steps and gives the seconds of one step of one lane."""
    address = load_kernel(robot.chain).solve_rows.args[0 if single else 1]
    lanes, dtype = (COARSE_LANES, np.float32) if single else (FINE_LANES, np.float64)
    places = cycle([_aligned(workspace(robot, lanes, dtype), 64 * 7 * place) for place in range(PLACES)])
    run_often(address, next(places), 1)

    def step() -> float:
        seconds, _ = timed(partial(run_often, address, next(places), STEPS_AT_ONCE))
        return seconds / STEPS_AT_ONCE / lanes

    return step


def workspace(robot: Robot, lanes: int, dtype: Any) -> Any:
    """Searches that never end, for no tolerance is met and no step is the last: `Slots` of every lane."""
    dof, rng = robot.dof, np.random.default_rng(0)
    w = np.zeros((dof + Slots.WANTED, lanes), dtype)
    w[:dof] = rng.uniform(robot.chain.sample_lower, robot.chain.sample_upper, (lanes, dof)).T
    position, rotation = robot.chain.first_last(robot.forward_kinematics(robot.home))
    w[dof + Slots.TARGET : dof + Slots.TIP] = np.concatenate([rotation.ravel(), position + 5.0])[:, None]
    w[dof + Slots.WEIGHT], w[dof + Slots.DAMPING], w[dof + Slots.MAX_STEPS] = 0.25, 0.1, np.finfo(dtype).max
    return w.ravel()


def _aligned(values: Any, offset: int) -> Any:
    """A copy that begins this far behind the begin of a page, as if it lay on the stack of a solve."""
    room = np.empty(values.nbytes + 2 * 4096, np.uint8)
    copy = room[-room.ctypes.data % 4096 + offset % 4096 :][: values.nbytes].view(values.dtype)
    copy[:] = values
    return copy
