"""The fast refiner: `kinematics.lm_step`, recorded for one arm and run in 16 SIMD lanes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.cpu import LANES, load_kernel
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import Array, LMConfig, Refiner, best_of, clip_starts
from hybrid_ik.result import IKResult, Status

DAMPING, STEP, MAX_STEPS = 4, 9, 10  # entries of the options, see `drivers`
# The joints nearest to a target out of reach are looked for with more steps, and with the damping of Sugihara
# (2011): with 0.1, best for targets in reach, errors that stay large make the steps circle (squared distance of
# the nearest joints to a target 3 m away 6.05 after 400 steps, 4.65 with 0.5 after 100; 1 and 2 are slower).
# Steps shorter than AT_REST, in rad or m, end the search: towards a minimum that is not zero they shrink slowly.
PATIENCE, PATIENT_DAMPING, AT_REST = 10, 0.5, 1e-5


class LaneRefiner(Refiner):
    """Levenberg-Marquardt in SIMD lanes; the twin of `MujocoRefiner`, some hundred times faster.

    Args:
        chain: the arm with its mount and tool.
        config: steps and tolerances.
        n_threads: rows are dealt out to this many threads. Results do not depend on it.
    """

    def __init__(self, chain: Chain, config: LMConfig = LMConfig(), n_threads: int = 1) -> None:  # noqa: B008
        self.chain, self.config, self.n_threads = chain, config, n_threads
        self._kernel = load_kernel(chain, with_posture=config.regularization > 0)
        self._wanted = config.wanted_posture(chain)
        self._options = _options(chain, config)
        self._mount_tool = _mount_tool(chain)

    def refine(self, target: Pose, q0: Array) -> IKResult:
        """See `Refiner.refine`."""
        starts, outside = clip_starts(self.chain, q0, target.shape)
        n = starts.shape[-2]
        valid = np.isfinite(starts).all(-1) & target.valid[..., None]
        rows = self._solve(target, n, starts.reshape(-1, 1, self.chain.dof), valid.reshape(-1), outside.reshape(-1))
        return rows.reshape(*target.shape, n)

    def search(self, target: Pose, q0: Array) -> IKResult:
        """See `Refiner.search`."""
        q0 = _one_table(q0)
        starts, outside = clip_starts(self.chain, q0, () if np.ndim(q0) == 2 else target.shape)
        starts = starts.reshape(-1, *starts.shape[-2:])
        finite = np.isfinite(starts).all((-1, -2))  # of one row of starts, or of one for each target
        valid = np.logical_and(target.valid.reshape(-1), finite)
        flags = np.broadcast_to(outside.any(-1), target.shape).reshape(-1)
        return self._solve(target, 1, starts, valid, flags).reshape(*target.shape)

    def closest(self, target: Pose, found: IKResult, q0: Array) -> IKResult:
        """See `Refiner.closest`: `found` and the starts are followed until they come to rest."""
        if self.config.max_iterations == 0:
            return found
        patient = self._options.copy()
        patient[MAX_STEPS] = PATIENCE * self.config.max_iterations
        patient[DAMPING] = max(PATIENT_DAMPING, self.config.damping)
        patient[STEP] = max(AT_REST, self.config.step_tolerance)
        starts = np.concatenate([found.q[..., None, :], q0], -2)
        flags = np.repeat(found.start_clipped, starts.shape[-2])
        rows = np.ascontiguousarray(starts).reshape(-1, 1, self.chain.dof)
        followed = self._solve(target, starts.shape[-2], rows, np.ones(len(rows), bool), flags, patient)
        return best_of(followed.reshape(*starts.shape[:-1]), self.config.orientation_weight)

    def _solve(
        self,
        target: Pose,
        group: int,
        starts: Array,
        valid: NDArray[np.bool_],
        outside: NDArray[np.bool_],
        options: Array | None = None,
    ) -> IKResult:
        targets = np.empty((target.valid.size, 12))
        position, quaternion = target.position.reshape(-1, 3), target.quaternion.reshape(-1, 4)
        self._kernel.target_rows(position, quaternion, self._mount_tool, targets)
        q, errors, info = self._run(targets, group, starts, self._options if options is None else options, valid)
        status = info[:, 1]
        return IKResult(
            q=q,
            success=status == Status.CONVERGED,
            status=status.astype(np.int8),
            position_error=errors[:, 0],
            orientation_error=errors[:, 1],
            iterations=info[:, 0],
            start_clipped=outside,
        )

    def _run(self, targets: Array, group: int, starts: Array, options: Array, valid: NDArray[np.bool_]) -> Any:
        solve = self._kernel.solve_rows
        if self.n_threads == 1 or len(targets) < LANES * self.n_threads:
            return solve(targets, group, starts, options, self._wanted, valid)

        def chunk(piece: NDArray[np.intp]) -> Any:
            rows = slice(piece[0] * group, (piece[-1] + 1) * group)
            own = starts if len(starts) == 1 else starts[rows]
            return solve(targets[piece[0] : piece[-1] + 1], group, own, options, self._wanted, valid[rows])

        pieces = np.array_split(np.arange(len(targets)), self.n_threads)
        with ThreadPoolExecutor(self.n_threads) as pool:  # made anew each time: a pool does not survive a fork
            return tuple(map(np.concatenate, zip(*pool.map(chunk, pieces), strict=True)))


def _one_table(q0: Array) -> Array:
    """Starts that are one table broadcast over all targets, as that table: (n, dof)."""
    broadcast = isinstance(q0, np.ndarray) and q0.ndim > 2 and q0.size and not any(q0.strides[:-2])
    return q0[(0,) * (q0.ndim - 2)] if broadcast else q0


def _options(chain: Chain, config: LMConfig) -> Array:
    """The options of `drivers.solve_rows`, in its order."""
    square = config.regularization**2
    posture = [square, 0.0] if config.regularization_mode == "sum" else [0.0, square]
    tolerances = [config.position_tolerance, config.orientation_tolerance, config.step_tolerance]
    tip = chain.T_last_tip[:3, 3]
    steps = [config.max_iterations, config.pulled_steps]
    return np.array([*tip, config.orientation_weight, config.damping, *posture, *tolerances, *steps], dtype=float)


def _mount_tool(chain: Chain) -> Array:
    """[R_first_base by rows, p_first_base, R_tip_last by rows]."""
    T_first_base = np.linalg.inv(chain.T_base_first)
    R_tip_last = chain.T_last_tip[:3, :3].T
    return np.concatenate([T_first_base[:3, :3].ravel(), T_first_base[:3, 3], R_tip_last.ravel()])
