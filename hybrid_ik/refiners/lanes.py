"""The fast refiner: `kinematics.lm_step`, recorded for one arm and run in SIMD lanes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.cpu import load_kernel
from hybrid_ik.kernels.program import COARSE_LANES
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import Array, LMConfig, Refiner, best_of, check_starts
from hybrid_ik.result import IKResult, Status

CONVERGED = int(Status.CONVERGED)
# The joints nearest to a target out of reach are looked for with more steps, and with the damping of Sugihara
# (2011): with 0.1, best for targets in reach, errors that stay large make the steps circle (squared distance of
# the nearest joints to a target 3 m away 6.05 after 400 steps, 4.65 with 0.5 after 100; 1 and 2 are slower).
# Steps shorter than AT_REST, in rad or m, end the search: towards a minimum that is not zero they shrink slowly. With
# 1e-3 99 % of poses out of reach come to rest, 0.002 % farther from the target than with 1e-5, where 56 % do.
PATIENCE, PATIENT_DAMPING, AT_REST = 20, 0.5, 1e-3
# They start from what was found and from as many others as fill the lanes: 16 others take twice as long, and 3 % of the
# poses below the reach of the arm come more than 1 % nearer, of those farther away none.
OTHERS = 7
NEAR = float(os.environ.get("NEAR", "1e-3"))
COARSE_REST = float(os.environ.get("REST", "1e-4"))


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
        self._options = _options(chain, config, single_first)
        self._mount_tool = _mount_tool(chain)

    def refine(self, target: Pose, q0: Array) -> IKResult:
        """See `Refiner.refine`."""
        starts = check_starts(self.chain, q0, target.shape)
        rows = starts.reshape(-1, 1, self.chain.dof)
        return self._solve(target, rows, (*target.shape, starts.shape[-2]), self._options)

    def search(self, target: Pose, q0: Array) -> IKResult:
        """See `Refiner.search`."""
        q0 = _one_table(q0)
        starts = check_starts(self.chain, q0, () if np.ndim(q0) == 2 else target.shape)
        return self._solve(target, starts.reshape(-1, *starts.shape[-2:]), target.shape, self._options)

    def closest(self, target: Pose, found: IKResult, q0: Array) -> IKResult:
        """See `Refiner.closest`: `found` and the starts are followed until they come to rest."""
        if self.config.max_iterations == 0:
            return found
        patient = replace(
            self.config,
            max_iterations=PATIENCE * self.config.max_iterations,
            damping=max(PATIENT_DAMPING, self.config.damping),
            step_tolerance=max(AT_REST, self.config.step_tolerance),
        )
        options = _options(self.chain, patient, self.single_first)
        starts = np.concatenate([found.q[..., None, :], q0[..., :OTHERS, :]], -2)
        rows = starts.reshape(-1, 1, self.chain.dof)
        return best_of(self._solve(target, rows, starts.shape[:-1], options), self.config.orientation_weight)

    def _solve(self, target: Pose, starts: Array, shape: tuple[int, ...], options: Array) -> IKResult:
        """Results of this shape: a row for each target, or n of them where `shape` has one axis more."""
        group = shape[-1] if len(shape) > len(target.shape) else 1
        valid = target.valid.reshape(-1)
        valid = valid if group == 1 else np.repeat(valid, group)
        q, errors, info = (
            np.empty((len(valid), self.chain.dof)),
            np.empty((len(valid), 2)),
            np.empty((len(valid), 5), "i4"),
        )
        self._run(target, group, starts, options, valid, q, errors, info)
        return _results(q, errors, info, shape) if shape else _one_result(q[0], errors[0], info[0])

    def _run(self, target: Pose, group: int, starts: Array, options: Array, *rows: NDArray[Any]) -> None:
        position, quaternion = target.position.reshape(-1, 3), target.quaternion.reshape(-1, 4)

        def solve(poses: slice, own: slice) -> None:
            some = starts if len(starts) == 1 else starts[own]
            valid, *found = (array[own] for array in rows)
            at = position[poses], quaternion[poses], self._mount_tool
            self._kernel.solve_rows(*at, group, some, options, self._wanted, valid, *found)

        n, n_threads = len(position), self.n_threads
        if n_threads == 1 or n < COARSE_LANES * n_threads:
            return solve(slice(None), slice(None))
        ends = np.linspace(0, n, n_threads + 1).astype(int).tolist()
        pieces = [(slice(a, b), slice(a * group, b * group)) for a, b in pairwise(ends)]
        with ThreadPoolExecutor(n_threads) as pool:  # made anew each time: a pool does not survive a fork
            list(pool.map(solve, *zip(*pieces, strict=True)))


def _results(q: Array, errors: Array, info: NDArray[np.int32], shape: tuple[int, ...]) -> IKResult:
    return IKResult(
        q=q.reshape(*shape, q.shape[-1]),
        success=(info[:, 1] == CONVERGED).reshape(shape),
        status=info[:, 1].astype(np.int8).reshape(shape),
        position_error=errors[:, 0].reshape(shape),
        orientation_error=errors[:, 1].reshape(shape),
        iterations=info[:, 0].reshape(shape),
        start_clipped=info[:, 3].astype(bool).reshape(shape),
    )


def _one_result(q: Array, errors: Array, info: NDArray[np.int32]) -> IKResult:
    """Of one row, in numpy's scalars; as arrays that are reshaped they would take longer than the steps."""
    steps, status, _, moved, _ = info.tolist()
    answer: tuple[Any, ...] = (
        q,
        np.bool_(status == CONVERGED),
        np.int8(status),
        *errors,
        np.int32(steps),
        np.bool_(moved),
    )
    return IKResult(*answer)


def _one_table(q0: Array) -> Array:
    """Starts that are one table broadcast over all targets, as that table: (n, dof)."""
    broadcast = isinstance(q0, np.ndarray) and q0.ndim > 2 and q0.size and not any(q0.strides[:-2])
    return q0[(0,) * (q0.ndim - 2)] if broadcast else q0


def _options(chain: Chain, config: LMConfig, single_first: bool) -> Array:
    """The options of `drivers.solve_rows`, in its order."""
    square = config.regularization**2
    posture = [square, 0.0] if config.regularization_mode == "sum" else [0.0, square]
    angle = config.orientation_tolerance if config.orientation_weight > 0 else np.inf
    tolerances = [config.position_tolerance**2, angle, config.step_tolerance**2, config.max_iterations]
    weights = [*chain.T_last_tip[:3, 3], config.orientation_weight, config.damping]
    coarse = [0.0, 0.0, 0.0]
    if single_first and config.regularization == 0 and config.max_iterations > 2:
        scale = config.orientation_weight or 1.0
        coarse = [NEAR**2, NEAR / scale, max(COARSE_REST, config.step_tolerance) ** 2]
    return np.array([*weights, *tolerances, *posture, config.pulled_steps, *coarse], dtype=float)


def _mount_tool(chain: Chain) -> Array:
    """[R_first_base by rows, p_first_base, R_tip_last by rows]."""
    T_first_base = np.linalg.inv(chain.T_base_first)
    R_tip_last = chain.T_last_tip[:3, :3].T
    return np.concatenate([T_first_base[:3, :3].ravel(), T_first_base[:3, 3], R_tip_last.ravel()])
