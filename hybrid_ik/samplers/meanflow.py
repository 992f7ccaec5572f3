"""Starts from a trained network: one step from noise to joints, in plain numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile, load_network
from hybrid_ik.encoding import denormalise_joints, encode_pose
from hybrid_ik.pose import Pose
from hybrid_ik.samplers.base import check_count, inner_pose
from hybrid_ik.samplers.numpy_network import Floats, numpy_network

Array = NDArray[np.float64]

ROWS_AT_ONCE = 1024  # starts of a block; the work of more of them leaves the cache


class MeanFlowSampler:
    """x = e - u(e, 0, 1 | pose), then joints: one pass of the network for each start, its large part once per pose.

    The noises are the same for every pose: the low-discrepancy table of the network file, and random normals beyond
    its end. So a pose has the same starts in whatever batch it comes.

    Args:
        network: a network file, or where it lies.
        chain: the arm; it must match the one the network was trained for.
        seed: 0 for the table of the file; others draw random normals.

    Raises:
        CheckpointError: the file cannot be used, or is of another arm.
    """

    name = "meanflow"

    def __init__(self, network: NetworkFile | str | Path, chain: Chain, seed: int = 0) -> None:
        file = network if isinstance(network, NetworkFile) else load_network(network)
        file.check_matches(chain)
        self.chain, self.file, self.seed = chain, file, seed
        self._network = numpy_network(file)
        table = file.tensors.get("noise", np.empty((0, chain.dof), np.float32))
        self._table: Floats = table if seed == 0 else table[:0]
        self._reach, self._encoding = file.chain.reach, file.options["encoding"]
        self._half = (0.5 * (file.chain.sample_upper - file.chain.sample_lower)).astype(np.float32)
        self._prepared = self._prepare(64)

    def sample(self, pose: Pose, n: int) -> Array:
        """One start for each of the first `n` noises: `(*batch, n, dof)`; see `Sampler.sample`."""
        prepared = self._prepared
        if len(prepared[0]) != check_count(n):
            prepared = self._prepared = self._prepare(n)
        base, projected = prepared
        condition = encode_pose(*inner_pose(self.chain, pose), self._reach, self._encoding)[:, None]
        q = np.empty((len(condition), n, self.chain.dof))
        step = max(1, ROWS_AT_ONCE // n)
        for i in range(0, len(condition), step):
            u = self._network.velocity(projected, self._network.modulate(condition[i : i + step]))
            u *= self._half
            np.subtract(base, u, out=q[i : i + step])
        np.maximum(q, self.chain.lower, out=q)
        np.minimum(q, self.chain.upper, out=q)
        return q.reshape(*pose.shape, n, self.chain.dof)

    def noise(self, n: int) -> Floats:
        """The first `n` noises, `(n, dof)` float32."""
        if n <= len(self._table):
            return self._table[:n]
        rng = np.random.default_rng(self.seed)
        more = rng.standard_normal((n - len(self._table), self.chain.dof), np.float32)
        return np.concatenate([self._table, more])

    def _prepare(self, n: int) -> tuple[Floats, Floats]:
        """What does not depend on the pose: noises in units of joints, and what the first layer makes of them."""
        noise = self.noise(n)
        return denormalise_joints(self.file.chain, noise).astype(np.float32), self._network.project(noise)
