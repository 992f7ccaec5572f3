"""Refiners that work through their starts in plain Python, and the one judge of what they bring."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.pose import Pose, pose_error
from hybrid_ik.refiners.base import Array, LMConfig, Refiner, check_starts, clip_starts
from hybrid_ik.result import IKResult, Status
from hybrid_ik.robot import Robot

Claims = tuple[Array, NDArray[np.int32], NDArray[np.int8]]
"""Of m starts: joints (m, dof), steps (m,), and the `Status` (m,) their maker believes in."""


class RowRefiner(Refiner):
    """Base of the refiners that need a `Robot`; they implement `refine_rows` and are judged by `judge`."""

    def __init__(self, robot: Robot, config: LMConfig = LMConfig()) -> None:  # noqa: B008
        self.robot, self.chain, self.config = robot, robot.chain, config
        self.wanted = config.wanted_posture(robot.chain)

    @abstractmethod
    def refine_rows(self, target: Pose, q0: Array) -> Claims:
        """Each start on its own; nothing here is NaN or outside the limits.

        Args:
            target: poses of the tip in the base, `(m,)`.
            q0: starts `(m, dof)` [rad, or m].
        """

    def refine(self, target: Pose, q0: Array) -> IKResult:
        """`Refiner.refine`: `refine_rows` on the rows that are valid, judged."""
        starts, moved = clip_starts(self.chain, check_starts(self.chain, q0, target.shape))
        n = starts.shape[-2]
        rows = np.flatnonzero(np.isfinite(starts).all(-1) & target.valid[..., None])
        result = _invalid_rows(self.chain, moved.size)
        starts, moved = starts.reshape(-1, self.chain.dof)[rows], moved.reshape(-1)[rows]
        result.put(rows, self._refined(target.reshape(-1)[rows // max(n, 1)], starts, moved))
        return result.reshape(*target.shape, n)

    def search(self, target: Pose, q0: Array) -> IKResult:
        """`Refiner.search`, without the starts that come after one that converged."""
        table = np.broadcast_to(q0, (*target.shape, *np.shape(q0)[-2:]))
        starts, moved = clip_starts(self.chain, check_starts(self.chain, table, target.shape))
        starts, moved = starts.reshape(-1, *starts.shape[-2:]), moved.reshape(-1, moved.shape[-1])
        goals = target.reshape(-1)
        finite: NDArray[np.bool_] = np.all(np.isfinite(starts), axis=-1)
        result = _invalid_rows(self.chain, len(goals))
        missed, open_rows = np.full(len(goals), np.inf), target.valid.reshape(-1).copy()
        for k in range(starts.shape[1]):  # the k-th starts of the targets that no earlier start has reached
            rows = np.flatnonzero(open_rows & finite[:, k])
            found = self._refined(goals[rows], starts[rows, k], moved[rows, k])
            cost = found.position_error**2 + (self.config.orientation_weight * found.orientation_error) ** 2
            better = found.success | (cost < missed[rows])
            missed[rows[better]] = cost[better]
            result.put(rows[better], found[better])
            open_rows[rows[found.success]] = False
        return result.reshape(*target.shape)

    def _refined(self, target: Pose, q0: Array, moved: NDArray[np.bool_]) -> IKResult:
        judged = judge(self.robot, target, self.refine_rows(target, q0), self.config)
        return replace(judged, start_clipped=moved)


def judge(robot: Robot, target: Pose, claims: Claims, config: LMConfig) -> IKResult:
    """What the joints are worth by exact forward kinematics and the limits, whatever their maker believes.

    Args:
        robot: the arm.
        target: poses of the tip in the base, `(m,)`.
        claims: joints `(m, dof)`, steps `(m,)` and statuses `(m,)`.
        config: its tolerances count; the orientation does not where its weight is 0.

    Returns:
        Results over `(m,)`. A start that claims to have converged and has not, or not within the limits, is STALLED.
    """
    q, steps, claimed = claims
    error = pose_error(target, robot.forward_kinematics(q))
    position, angle = np.linalg.norm(error[:, :3], axis=-1), np.linalg.norm(error[:, 3:], axis=-1)
    success = (position <= config.position_tolerance) & ((q >= robot.lower) & (q <= robot.upper)).all(-1)
    if config.orientation_weight > 0:
        success &= angle <= config.orientation_tolerance
    honest = np.where(claimed == Status.CONVERGED, Status.STALLED, claimed)
    status = np.where(success, Status.CONVERGED, honest).astype(np.int8)
    return IKResult(q, success, status, position, angle, steps, np.zeros(len(q), dtype=bool), chain=robot.chain)


def _invalid_rows(chain: Chain, m: int) -> IKResult:
    return IKResult(
        q=np.full((m, chain.dof), np.nan),
        success=np.zeros(m, dtype=bool),
        status=np.full(m, Status.INVALID_INPUT, np.int8),
        position_error=np.full(m, np.nan),
        orientation_error=np.full(m, np.nan),
        iterations=np.zeros(m, np.int32),
        start_clipped=np.zeros(m, dtype=bool),
        chain=chain,
    )
