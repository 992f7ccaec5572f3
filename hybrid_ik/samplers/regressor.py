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

Array = NDArray[np.float64]


class RegressorSampler:
    """What a regressor (`learning.regression`) answers, without torch; needs no noise, so it has one answer a pose.

    Further starts lie around it, normally distributed, the k-th with a standard deviation of spread k / n_wide, up to
    `spread`: near where the regressor is nearly right, and ever farther for poses where it is not.

    Args:
        network: a network file of a regressor, or where it lies.
        chain: the arm; it must match the one the network was trained for.
        seed: of the further starts.
        spread: their largest standard deviation [rad, or m].
        n_wide: from which start on they have it.

    Raises:
        CheckpointError: the file cannot be used, is no regressor, or is of another arm.
    """

    name = "regressor"

    def __init__(
        self, network: NetworkFile | str | Path, chain: Chain, seed: int = 0, spread: float = 1.0, n_wide: int = 16
    ) -> None:
        if not 0.0 <= spread < np.inf:
            raise InvalidInputError(f"spread: expected a finite number of at least 0, got {spread}")
        self.file = network if isinstance(network, NetworkFile) else load_network(network)
        if self.file.kind != "regressor":
            raise CheckpointError(f"{self.file.path} holds a network of kind {self.file.kind!r}, not a regressor")
        self.file.check_matches(chain)
        self.chain, self.seed, self.spread, self.n_wide = chain, seed, spread, check_count(n_wide)
        self.encoder = Encoder(self.file.chain, self.file.options["encoding"])
        n_layers = len(self.file.options["sizes"]) + 1
        self._layers = [
            (self.file.tensors[f"layers.{i}.weight"].T, self.file.tensors[f"layers.{i}.bias"]) for i in range(n_layers)
        ]

    def sample(self, pose: Pose, n: int) -> Array:
        """The answer, then starts around it: `(*batch, n, dof)`; see `Sampler.sample`."""
        q = self.predict(pose)[..., None, :] + self._around(check_count(n))
        return np.clip(q, self.chain.sample_lower, self.chain.sample_upper)

    def predict(self, pose: Pose) -> Array:
        """The regressor's answers, as they are, `(*batch, dof)` [rad, or m]; they may lie beyond limits."""
        h = self.encoder.encode(*inner_pose(self.chain, pose))
        for weight, bias in self._layers[:-1]:
            h = np.maximum(h @ weight + bias, 0.0)
        weight, bias = self._layers[-1]
        x = h @ weight + bias
        if self.file.options["output"] == "bounded":
            x = np.tanh(x)
        return np.asarray(self.encoder.denormalise(x.astype(float))).reshape(*pose.shape, self.chain.dof)

    def _around(self, n: int) -> Array:
        """Steps away from the answer `(n, dof)`; the first is 0."""
        width = self.spread * np.minimum(np.arange(n) / self.n_wide, 1.0)
        return np.random.default_rng(self.seed).normal(size=(n, self.chain.dof)) * width[:, None]
