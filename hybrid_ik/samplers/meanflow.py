"""Starts from a trained network: one step from noise to joints, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile, load_network
from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import CheckpointError, InvalidInputError
from hybrid_ik.kernels.cpu import load_kernel
from hybrid_ik.kernels.tools import GROUP, load_tools
from hybrid_ik.pose import Pose
from hybrid_ik.samplers.base import check_count, inner_pose
from hybrid_ik.samplers.lane_network import fastest_network
from hybrid_ik.samplers.numpy_network import Floats

Array = NDArray[np.float64]

# Panda, the last 100 poses of the stored sets, with the scales 1, 1.1, 1.2, 1.35: coverage with 64 starts 0.755, 0.749,
# 0.738, 0.717, with 256 0.949, 0.948, 0.946, 0.939; piece recall with 64 0.947, 0.959, 0.959, 0.953; share of starts
# that converge in 20 steps 0.974, 0.973, 0.971, 0.968.
NOISE_SCALE = 1.1
SIZES_KEPT = 16  # numbers of starts whose noises are kept; a solve doubles them a few times
ROWS_AT_ONCE = 1024  # starts of a block; the work of more of them leaves the cache


class MeanFlowSampler:
    """x = e - u(e, 0, 1 | pose), then joints: one pass of the network for each start, its large part once per pose.

    The noises are the same for every pose: the low-discrepancy table of the network file, and random normals beyond
    its end. So a pose has the same starts in whatever batch it comes.

    A network with the "invariant" encoding knows nothing of the limits of the outer joints. So every four starts have a
    spare one, which takes the place of the first of them whose outer joints would lie beyond their limits.

    Args:
        network: a network file, or where it lies.
        chain: the arm; it must match the one the network was trained for.
        seed: 0 for the table of the file; others draw random normals.
        noise_scale: factor on the noises. Beyond 1 the starts lie farther apart than the solutions that the network was
            trained on: fewer of them converge, and more of the separate pieces are touched.

    Raises:
        CheckpointError: the file cannot be used, or is of another arm.
    """

    name = "meanflow"

    def __init__(
        self,
        network: NetworkFile | str | Path,
        chain: Chain,
        seed: int = 0,
        noise_scale: float = NOISE_SCALE,
    ) -> None:
        if not 0.0 < noise_scale < np.inf:
            raise InvalidInputError(f"noise_scale: expected a positive number, got {noise_scale}")
        file = network if isinstance(network, NetworkFile) else load_network(network)
        if file.kind.startswith("pixel_"):
            raise CheckpointError(f"{file.path} holds a network of kind {file.kind!r}, from pixels; use PixelSampler")
        file.check_matches(chain)
        self.chain, self.file, self.seed, self.noise_scale = chain, file, seed, noise_scale
        self._network = fastest_network(file)
        self.encoder = Encoder(file.chain, file.options["encoding"])
        table = file.tensors.get("noise", np.empty((0, self.encoder.n_joints), np.float32))
        self._table: Floats = table if seed == 0 else table[:0]
        self._lower, self._upper = chain.lower[self.encoder.proposed], chain.upper[self.encoder.proposed]
        self.half_range = (0.5 * (self.encoder.upper - self.encoder.lower)).astype(np.float32)
        self._prepared: dict[int, tuple[Floats, Floats]] = {}

    def sample(self, pose: Pose, n: int) -> Array:
        """One start for each of the first `n` noises: `(*batch, n, dof)`; see `Sampler.sample`."""
        n_all = check_count(n) + self.n_spares(n)
        if n not in self._prepared:
            if len(self._prepared) >= SIZES_KEPT:
                self._prepared.clear()
            self._prepared[n] = self._prepare(n)
        base, projected = self._prepared[n]
        poses, condition = self._encode(pose)
        q = np.zeros((len(condition), n_all, self.chain.dof))
        place_starts = load_tools()["place_starts"]
        step = max(1, ROWS_AT_ONCE // n)
        for i in range(0, len(condition), step):
            u = self._network.velocity(projected, self._network.modulate(condition[i : i + step]))
            place_starts(
                u, base, self.half_range, self._lower, self._upper, self.encoder.proposed.start, q[i : i + step]
            )
        if self.encoder.encoding == "invariant":
            self._complete(q, poses, n)
        return q[:, :n].reshape(*pose.shape, n, self.chain.dof)

    def _encode(self, pose: Pose) -> tuple[Array, Floats]:
        """Inner poses `(m, 12)`, position and rotation, and their features `(m, 1, n_features)`."""
        if self.encoder.encoding != "invariant":
            position, rotation = inner_pose(self.chain, pose)
            poses = np.concatenate([position, rotation.reshape(-1, 9)], 1)
            return poses, self.encoder.encode(position, rotation)[:, None]
        m, chain = pose.valid.size, self.chain
        poses, features = np.empty((m, 12)), np.empty((m, self.encoder.n_features), np.float32)
        position = np.ascontiguousarray(pose.position).reshape(m, 3)
        quaternion = np.ascontiguousarray(pose.quaternion).reshape(m, 4)
        valid = np.ascontiguousarray(pose.valid).reshape(m)
        arm = chain.mount_and_tool, chain.reach, *self._outer
        load_tools()["encode_poses"](position, quaternion, valid, *arm, poses, features)
        return poses, features[:, None]

    def _complete(self, q: Array, targets: Array, n: int) -> None:
        """Sets the outer joints, and uses the spare starts, in place."""
        rows = q.reshape(-1, self.chain.dof)
        poses = np.empty((len(rows), 12))
        load_kernel(self.chain).forward_rows(rows, poses)
        poses = poses.reshape(*q.shape[:2], 12)
        inside = np.empty(q.shape[:2], bool)
        limits = self.chain.sample_lower, self.chain.sample_upper
        load_tools()["complete_starts"](q, poses, targets, *limits, *self._outer, inside)
        load_tools()["use_spares"](q, inside, n)

    @property
    def _outer(self) -> tuple[bool, bool]:
        """Whether the first joint slides, and whether the last one turns."""
        return self.chain.kinds[0] == "slide", self.chain.kinds[-1] == "hinge"

    def n_spares(self, n: int) -> int:
        """Spare starts beside `n`."""
        return -(-n // GROUP) if self.encoder.encoding == "invariant" else 0

    def noise(self, n: int) -> Floats:
        """The first `n` noises, scaled, `(n, n_joints)` float32."""
        rng = np.random.default_rng(self.seed)
        more = rng.standard_normal((max(0, n - len(self._table)), self.encoder.n_joints), np.float32)
        return np.concatenate([self._table[:n], more]) * np.float32(self.noise_scale)

    def noises(self, n: int) -> Floats:
        """The first `n` noises, and those of their spares: `(n + n_spares, n_joints)` float32."""
        rng = np.random.default_rng([self.seed, 1])
        spares = rng.standard_normal((self.n_spares(n), self.encoder.n_joints), np.float32)
        return np.concatenate([self.noise(n), spares * np.float32(self.noise_scale)])

    def _prepare(self, n: int) -> tuple[Floats, Floats]:
        """What does not depend on the pose: noises in units of joints, and what the first layer makes of them."""
        noise = self.noises(n)
        return self.encoder.denormalise(noise).astype(np.float32), self._network.project(noise)
