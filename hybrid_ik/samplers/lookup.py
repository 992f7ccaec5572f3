"""Starts from memory: the stored configurations whose poses are nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels.cpu import forward_kinematics
from hybrid_ik.pose import Pose
from hybrid_ik.samplers.base import check_count, inner_pose

Array = NDArray[np.float64]

STREAM = 1956  # sets the table apart from joints that others draw with the same seed: a test must not be in it


class LookupSampler:
    """A table of random configurations, searched by pose with a k-d tree.

    The distance is that of [p, w R_x, w R_y]: position [m] and the first two columns of the rotation matrix, times
    `rotation_weight` [m].

    Args:
        chain: the arm.
        seed: seed of the table.
        size: configurations in the table.
        rotation_weight: metres that a change of a column by 1 counts for; a quarter of the arm's reach where None.
    """

    name = "lookup"

    def __init__(
        self, chain: Chain, seed: int = 0, *, size: int = 100_000, rotation_weight: float | None = None
    ) -> None:
        from scipy.spatial import cKDTree

        self.chain = chain
        self._weight = 0.25 * chain.reach if rotation_weight is None else rotation_weight
        rng = np.random.default_rng([seed, STREAM])
        self._q = rng.uniform(chain.sample_lower, chain.sample_upper, (check_count(size), chain.dof))
        self._tree: Any = cKDTree(self._features(*forward_kinematics(chain, self._q)))

    def sample(self, pose: Pose, n: int) -> Array:
        """The `n` nearest, nearest first: `(*batch, n, dof)`; see `Sampler.sample`."""
        if check_count(n) > len(self._q):
            raise InvalidInputError(f"n: the table has {len(self._q)} configurations, {n} were asked for")
        _, index = self._tree.query(self._features(*inner_pose(self.chain, pose)), k=np.arange(1, n + 1))
        return self._q[index].reshape(*pose.shape, n, self.chain.dof)

    def _features(self, position: Array, rotation: Array) -> Array:
        return np.concatenate([position, self._weight * rotation[:, :, 0], self._weight * rotation[:, :, 1]], -1)
