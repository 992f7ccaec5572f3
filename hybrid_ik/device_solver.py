"""What `HybridSolver` does on a device, where no decision may wait for the host: rounds, and masks in place of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.gpu import GpuRefiner
from hybrid_ik.result import ARRAYS, IKResult, Status, result_as_arrays
from hybrid_ik.samplers.base import Sampler
from hybrid_ik.samplers.device_network import DeviceSampler
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.tensor_pose import TensorPose, as_tensor

STARTS_AT_ONCE = 2**24  # of all poses worked on at once; what is kept of them takes 2 GB


class DeviceSolver:
    """Solves on a device. Results are tensors there for a `TensorPose`, and numpy's for a `Pose`.

    Args:
        refiner: what refines there.
        sampler: proposes starts for many answers; from the second round on starts are random.
        one_sampler: proposes starts for one answer.
        seed: of the random starts.
        span: poses farther than this from the first joint are beyond reach [m].
        around: joints `(n, dof)` to be added to `near` for starts; the first are 0.
        near_limit: an answer farther than this from `near` is not taken before more starts were tried [rad, or m].
    """

    def __init__(
        self,
        refiner: GpuRefiner,
        sampler: Sampler | DeviceSampler,
        one_sampler: Sampler | DeviceSampler,
        seed: int,
        span: float,
        around: NDArray[np.float64],
        near_limit: float,
    ) -> None:
        self.refiner, self.chain, self._span, self._near_limit = refiner, refiner.chain, span, near_limit
        self._sampler = self._here(sampler)
        self._one_sampler = self._sampler if one_sampler is sampler else self._here(one_sampler)
        self._random = sampler if isinstance(sampler, UniformSampler) else UniformSampler(self.chain, seed)
        self._around = refiner.tensor(around)
        self._limits = refiner.tensor(self.chain.lower), refiner.tensor(self.chain.upper)
        self._tables: dict[tuple[int, int], Any] = {}

    def one(self, pose: Pose | TensorPose, n_seeds: int, near: Any = None, n_near: int = 64) -> IKResult:
        """One answer for each pose, over `(*batch,)`; the nearest of what few starts bring, where `near` is given.

        Args:
            pose: of the tip, `(*batch,)`.
            n_seeds: starts at most.
            near: joints that broadcast to `(*batch, dof)`.
            n_near: starts of the last round, for poses that have no answer close to `near`.
        """
        most = max(n_seeds, len(self._around) + n_near)
        shares = isinstance(self._one_sampler, UniformSampler) and near is None
        return self._in_pieces(pose, near, 1 if shares else most, lambda poses, q: self._one(poses, n_seeds, q, n_near))

    def many(self, pose: Pose | TensorPose, n: int, first: int, most: int, near: Any, min_distance: float) -> IKResult:
        """`n` distinct answers for each pose, over `(*batch, n)`.

        Args:
            pose: of the tip, `(*batch,)`.
            n: how many answers.
            first: starts tried for each pose.
            most: from here on no more starts are tried where answers are lacking; so far, twice as many as before.
            near: None, or joints that broadcast to `(*batch, dof)`.
            min_distance: between two answers, Euclidean [rad, or m].
        """
        return self._in_pieces(pose, near, most, lambda poses, q: self._many(poses, n, first, most, q, min_distance))

    def _in_pieces(self, pose: Pose | TensorPose, near: Any, n_starts: int, solve: Any) -> IKResult:
        """Results of as many poses at once as their starts leave memory for."""
        given = self.refiner.poses(pose)
        poses = given.reshape(given.valid.numel())
        rows = None if near is None else self._joints(near, given.shape).reshape(-1, self.chain.dof)
        step = max(1, STARTS_AT_ONCE // n_starts)
        pieces = [slice(i, i + step) for i in range(0, max(1, *poses.shape), step)]
        parts = [solve(poses[piece], None if rows is None else rows[piece]) for piece in pieces]
        result = _joined(parts)
        result = result.reshape(*given.shape, *result.shape[1:])
        return result if isinstance(pose, TensorPose) else result_as_arrays(result)

    def _one(self, poses: TensorPose, n_seeds: int, near: Any, n_near: int) -> IKResult:
        refiner = self.refiner
        found = None if near is None else self._near(poses, near, n_near)
        q0 = self._starts(self._one_sampler, poses, n_seeds)
        beyond = poses.farther_than(self._span, refiner.p_base_first)
        best = refiner.search(poses, q0, found, beyond if refiner.config.max_iterations else None)
        best = refiner.closest(poses, best, q0)
        status: Any = best.status
        best = replace(best, status=status.masked_fill(beyond, int(Status.BEYOND_REACH)))
        return best if near is None else replace(best, start_clipped=self._outside(near) & poses.valid)

    def _near(self, poses: TensorPose, near: Any, n_near: int) -> IKResult:
        """What `near` itself leads to, unless that is far: then the nearest of what other starts lead to as well."""
        around = self._starts_near(near)
        rounds = around[:, :1], around[:, 1:], self._starts(self._sampler, poses, n_near)
        return self.refiner.distinct(poses, rounds, 1, 0.0, near, self._near_limit)[:, 0]

    def _many(self, poses: TensorPose, n: int, first: int, most: int, near: Any, min_distance: float) -> IKResult:
        import torch

        starts = self._starts(self._sampler, poses, first)
        if near is not None:
            starts = torch.cat([self._starts_near(near), starts.expand(*poses.shape, first, self.chain.dof)], 1)
        rounds = [starts]
        while first < most:
            rounds.append(self._table(self._random, 2 * first, first))
            first *= 2
        return self.refiner.distinct(poses, rounds, n, min_distance, near)

    def _starts(self, sampler: Sampler | DeviceSampler, poses: TensorPose, n: int) -> Any:
        """Starts on the device, `(n, dof)` for all poses or `(m, n, dof)`; most samplers work on the host."""
        if isinstance(sampler, UniformSampler):
            return self._table(sampler, n)
        if isinstance(sampler, DeviceSampler):
            return sampler.sample(poses, n)
        return self.refiner.tensor(sampler.sample(poses.to_host(), n))

    def _table(self, sampler: Any, end: int, begin: int = 0) -> Any:
        """Starts `begin` to `end` of those that are the same for all poses."""
        key = id(sampler), end
        if key not in self._tables:
            self._tables[key] = self.refiner.tensor(sampler.table(end))
        return self._tables[key][begin:]

    def _here(self, sampler: Sampler | DeviceSampler) -> Sampler | DeviceSampler:
        return DeviceSampler(sampler, self.refiner.device) if isinstance(sampler, MeanFlowSampler) else sampler

    def _starts_near(self, near: Any) -> Any:
        """`near` (m, dof) itself, flagged if it is outside the limits, and starts around it that are inside."""
        import torch

        around = near[:, None] + self._around
        return torch.cat([around[:, :1], torch.clip(around[:, 1:], *self._limits)], 1)

    def _outside(self, near: Any) -> Any:
        lower, upper = self._limits
        return ((near < lower) | (near > upper)).any(-1)

    def _joints(self, near: Any, shape: tuple[int, ...]) -> Any:
        """`near` on the device, `(*shape, dof)`; what is not finite there is not seen, and leads nowhere."""
        joints: Any = as_tensor("near", near, self.chain.dof, self.refiner.device)
        try:
            return joints.expand(*shape, self.chain.dof)
        except RuntimeError as error:
            raise InvalidInputError(
                f"near: expected {self.chain.dof} joints, or one row of them for each pose {shape}, "
                f"got {tuple(joints.shape)}"
            ) from error


def _joined(parts: list[IKResult]) -> IKResult:
    import torch

    if len(parts) == 1:
        return parts[0]
    joined: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts]) for name in ARRAYS}
    return IKResult(**joined, chain=parts[0].chain)
