"""Starts from a regressor: its one answer for each pose, and others around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile, load_network
from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import CheckpointError, InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.samplers.base import check_count, inner_pose
from hybrid_ik.samplers.numpy_network import ReluNetwork
from hybrid_ik.samplers.uniform import UniformSampler

Array = NDArray[np.float64]


class RegressorSampler:
    """What a regressor (`learning.regression`) answers, without torch; needs no noise, so it has one answer a pose.

    The next ones lie around it, normally distributed, the k-th with a standard deviation of spread k / n_near: near for
    poses where the regressor is nearly right, and ever farther where it is not. After these `n_near` starts come random
    ones from anywhere: on the KR 6, with a network trained on all branches, starts around its answer alone left one
    pose in a thousand unsolved.

    Args:
        network: a network file of a regressor, or where it lies.
        chain: the arm; it must match the one the network was trained for.
        seed: of the further starts.
        spread: the standard deviation that those around the answer rise to [rad, or m].
        n_near: how many starts are the answer and those around it.

    Raises:
        CheckpointError: the file cannot be used, is no regressor, or is of another arm.
    """

    name = "regressor"

    def __init__(
        self, network: NetworkFile | str | Path, chain: Chain, seed: int = 0, spread: float = 1.0, n_near: int = 16
    ) -> None:
        if not 0.0 <= spread < np.inf:
            raise InvalidInputError(f"spread: expected a finite number of at least 0, got {spread}")
        self.file = network if isinstance(network, NetworkFile) else load_network(network)
        if self.file.kind != "regressor":
            raise CheckpointError(f"{self.file.path} holds a network of kind {self.file.kind!r}, not a regressor")
        self.file.check_matches(chain)
        self.chain, self.seed, self.spread, self.n_near = chain, seed, spread, check_count(n_near)
        self._anywhere = UniformSampler(chain, seed)
        self.encoder = Encoder(self.file.chain, self.file.options["encoding"])
        self._network = ReluNetwork(self.file)

    def sample(self, pose: Pose, n: int) -> Array:
        """The answer, starts around it, then random ones: `(*batch, n, dof)`; see `Sampler.sample`."""
        n_near = min(check_count(n), self.n_near)
        near = self.predict(pose)[..., None, :] + self._around(n_near)
        near = np.clip(near, self.chain.sample_lower, self.chain.sample_upper)
        if n == n_near:
            return near
        anywhere = np.broadcast_to(self._anywhere.table(n - n_near), (*pose.shape, n - n_near, self.chain.dof))
        return np.concatenate([near, anywhere], -2)

    def predict(self, pose: Pose) -> Array:
        """The regressor's answers, as they are, `(*batch, dof)` [rad, or m]; they may lie beyond limits."""
        x = self._network(self.encoder.encode(*inner_pose(self.chain, pose)))
        if self.file.options["output"] == "bounded":
            x = np.tanh(x)
        return np.asarray(self.encoder.denormalise(x.astype(float))).reshape(*pose.shape, self.chain.dof)

    def _around(self, n: int) -> Array:
        """Steps away from the answer `(n, dof)`; the first is 0."""
        width = self.spread * np.arange(n) / self.n_near
        return np.random.default_rng(self.seed).normal(size=(n, self.chain.dof)) * width[:, None]
