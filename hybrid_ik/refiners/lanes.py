"""The fast refiner: `kinematics.lm_step`, recorded for one arm and run in SIMD lanes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.cpu import load_kernel
from hybrid_ik.kinematics import chord
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import Array, LMConfig, Refiner, check_starts
from hybrid_ik.result import IKResult, Status

CONVERGED = int(Status.CONVERGED)
TRUE, FALSE = np.True_, np.False_
STATUSES = tuple(np.int8(status) for status in sorted(Status))
VALID, NO_POSE = np.ones(1, bool), np.zeros(1, bool)
# The joints nearest to a target out of reach are looked for with more steps, and with the damping of Sugihara
# (2011): with 0.1, best for targets in reach, errors that stay large make the steps circle (squared distance of
# the nearest joints to a target 3 m away 6.05 after 400 steps, 4.65 with 0.5 after 100; 1 and 2 are slower).
# Steps shorter than AT_REST, in rad or m, end the search: towards a minimum that is not zero they shrink slowly. Of 300
# poses out of reach, searches took at most 193 steps each (median) with 3e-3, 382 with 1e-3, all 400 with 1e-5; the
# squared distances were 0.015 % longer than with 1e-5, at the 99th percentile 0.09 %.
PATIENCE, PATIENT_DAMPING, AT_REST = 20, 0.5, 3e-3
# They start from what was found and from as many others as fill the lanes: 16 others take twice as long, and 3 % of the
# poses below the reach of the arm come more than 1 % nearer, of those farther away none.
OTHERS = 7
# In single precision a search goes on until it is as near as this, in m and weighted rad, and so meets its target after
# one more step (1e-2 to 1e-4 are as good), or until its steps are shorter than SINGLE_REST. Of random Panda poses
# 1.09 million a second were solved so where all steps in double precision allowed 0.75 million.
NEAR, SINGLE_REST = 1e-3, 1e-3
SMALLEST_PIECE = 1024  # starts that a thread takes at least; at the end of a piece its lanes run empty


class LaneRefiner(Refiner):
    """Levenberg-Marquardt in SIMD lanes; the twin of `MujocoRefiner`, some hundred times faster.

    Args:
        chain: the arm with its mount and tool.
        config: steps and tolerances.
        n_threads: rows are dealt out to this many threads. Results do not depend on it.
        single_first: whether the first steps are done in single precision, and the last ones in double; otherwise all
            are done in double.
    """

    def __init__(
        self,
        chain: Chain,
        config: LMConfig = LMConfig(),  # noqa: B008
        n_threads: int = 1,
        single_first: bool = True,
    ) -> None:
        self.chain, self.config, self.n_threads, self.single_first = chain, config, n_threads, single_first
        self._kernel = load_kernel(chain, with_posture=config.regularization > 0)
        posture = config.wanted_posture(chain)
        self._wanted = posture if config.regularization > 0 else posture[:0]
        self._options = kernel_options(chain, config, single_first)
        self._patient_options = kernel_options(chain, patient_config(config), single_first)
        self._mount_tool = chain.mount_and_tool

    def refine(self, target: Pose, q0: Array) -> IKResult:
        """See `Refiner.refine`."""
        starts = check_starts(self.chain, q0, target.shape)
        rows = starts.reshape(-1, 1, self.chain.dof)
        return self._solve(target, rows, (*target.shape, starts.shape[-2]), self._options)

    def search(self, target: Pose, q0: Array) -> IKResult:
        """See `Refiner.search`."""
        q0 = one_table(q0)
        starts = check_starts(self.chain, q0, () if q0.ndim == 2 else target.shape)
        if not target.shape:
            return self._solve_one(target, starts)
        return self._solve(target, starts.reshape(-1, *starts.shape[-2:]), target.shape, self._options)

    def closest(self, target: Pose, found: IKResult, q0: Array) -> IKResult:
        """See `Refiner.closest`: `found` and the starts are followed until they come to rest."""
        if self.config.max_iterations == 0:
            return found
        starts = np.concatenate([found.q[..., None, :], q0[..., :OTHERS, :]], -2)
        return self._solve(target, starts.reshape(-1, *starts.shape[-2:]), target.shape, self._patient_options)

    def _solve_one(self, target: Pose, starts: Array) -> IKResult:
        """As `_solve` for one pose; what Python and numpy do around the steps would take longer than the steps."""
        q, errors, info = np.empty((1, self.chain.dof)), np.empty((1, 2)), np.empty((1, 5), "i4")
        at = np.ascontiguousarray(target.position)[None], np.ascontiguousarray(target.quaternion)[None]
        tail = self._options, self._wanted, VALID if target.valid else NO_POSE, q, errors, info
        self._kernel.solve_rows(*at, self._mount_tool, 1, starts[None], *tail)
        return _one_result(self.chain, q[0], errors[0], info[0])

    def _solve(self, target: Pose, starts: Array, shape: tuple[int, ...], options: Array) -> IKResult:
        """Results of this shape: a row for each target, or n of them where `shape` has one axis more."""
        group = shape[-1] if len(shape) > len(target.shape) else 1
        valid = target.valid.reshape(-1)
        valid = np.ascontiguousarray(valid) if group == 1 else np.repeat(valid, group)
        n = len(valid)
        q, errors, info = np.empty((n, self.chain.dof)), np.empty((n, 2)), np.empty((n, 5), "i4")
        self._run(target, group, starts, options, valid, q, errors, info)
        return _results(self.chain, q, errors, info, shape)

    def _run(self, target: Pose, group: int, starts: Array, options: Array, *rows: NDArray[Any]) -> None:
        position = np.ascontiguousarray(target.position.reshape(-1, 3))
        quaternion = np.ascontiguousarray(target.quaternion.reshape(-1, 4))

        def solve(a: int, b: int) -> None:
            own = slice(a * group, b * group)
            some = starts if len(starts) == 1 else starts[own]
            valid, *found = (array[own] for array in rows)
            at = position[a:b], quaternion[a:b], self._mount_tool
            self._kernel.solve_rows(*at, group, some, options, self._wanted, valid, *found)

        smallest = max(1, SMALLEST_PIECE // max(1, group * starts.shape[1]))
        _share_out(solve, len(position), smallest, self.n_threads)


def _share_out(solve: Callable[[int, int], None], n: int, smallest: int, n_threads: int) -> None:
    """Has threads solve rows a to b, one piece after another, until all n are done.

    None waits for one that starts late: of two threads with half of 1,000 rows each, the second started so late that
    they took longer than one.
    """
    if n_threads == 1 or n < 2 * smallest:
        return solve(0, n)
    pieces = iter(_pieces(n, smallest, n_threads))  # of a list: the next one goes to one thread only

    def work() -> None:
        for piece in pieces:
            solve(*piece)

    others = [_pool(n_threads - 1, os.getpid()).submit(work) for _ in range(n_threads - 1)]
    work()
    for other in others:
        if not other.cancel():
            other.result()


def _pieces(n: int, smallest: int, n_threads: int) -> list[tuple[int, int]]:
    """Rows a to b, ever fewer: each piece is a thread's share of half of what is left (Polychronopoulos, Kuck 1987)."""
    ends = [0]
    while ends[-1] < n:
        left = n - ends[-1]
        ends.append(ends[-1] + min(left, max(smallest, left // (2 * n_threads))))
    return list(pairwise(ends))


@cache
def _pool(n_threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that wait for work, of this process: they do not survive a fork.

    New ones for each call begin on the core of the thread that made them, and two were 1.1 times as fast as one.
    """
    return ThreadPoolExecutor(n_threads, thread_name_prefix="hybrid_ik")


def _results(chain: Chain, q: Array, errors: Array, info: NDArray[np.int32], shape: tuple[int, ...]) -> IKResult:
    return IKResult(
        q=q.reshape(*shape, q.shape[-1]),
        success=(info[:, 1] == CONVERGED).reshape(shape),
        status=info[:, 1].astype(np.int8).reshape(shape),
        position_error=errors[:, 0].reshape(shape),
        orientation_error=errors[:, 1].reshape(shape),
        iterations=info[:, 0].reshape(shape),
        start_clipped=info[:, 3].astype(bool).reshape(shape),
        chain=chain,
    )


def _one_result(chain: Chain, q: Array, errors: Array, info: NDArray[np.int32]) -> IKResult:
    """Of one row, in numpy's scalars; as arrays that are reshaped they would take longer than the steps."""
    steps, status, _, moved, _ = info.tolist()
    result = IKResult.__new__(IKResult)
    result.__dict__.update(  # what its own __init__ does in 1 us
        q=q,
        success=TRUE if status == CONVERGED else FALSE,
        status=STATUSES[status],
        position_error=errors[0],
        orientation_error=errors[1],
        iterations=np.int32(steps),
        start_clipped=TRUE if moved else FALSE,
        chain=chain,
    )
    return result


def one_table(q0: Array) -> Array:
    """Starts that are one table broadcast over all targets, as that table: (n, dof)."""
    q0 = np.asarray(q0)
    broadcast = q0.ndim > 2 and q0.size and not any(q0.strides[:-2])
    return q0[(0,) * (q0.ndim - 2)] if broadcast else q0


def patient_config(config: LMConfig) -> LMConfig:
    """That of the search for the joints nearest to a target out of reach."""
    return replace(
        config,
        max_iterations=PATIENCE * config.max_iterations,
        damping=max(PATIENT_DAMPING, config.damping),
        step_tolerance=max(AT_REST, config.step_tolerance),
    )


def kernel_options(chain: Chain, config: LMConfig, single_first: bool) -> Array:
    """The options of `drivers.solve_rows`, in its order."""
    square = config.regularization**2
    posture = [square, 0.0] if config.regularization_mode == "sum" else [0.0, square]
    bounded = config.orientation_weight > 0 and config.orientation_tolerance < np.pi
    turn = chord(config.orientation_tolerance) ** 2 if bounded else np.inf
    tolerances = [config.position_tolerance**2, turn, config.step_tolerance**2, config.max_iterations]
    weights = [*chain.T_last_tip[:3, 3], config.orientation_weight, config.damping]
    coarse = [0.0, 0.0, 0.0]
    if single_first and config.regularization == 0 and config.max_iterations > 2:
        scale = config.orientation_weight or 1.0
        coarse = [NEAR**2, (NEAR / scale) ** 2, max(SINGLE_REST, config.step_tolerance) ** 2]
    return np.array([*weights, *tolerances, *posture, config.pulled_steps, *coarse], dtype=float)
