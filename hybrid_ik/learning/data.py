"""Training data without end: random joints and the exact poses they reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_ik.chain import Chain
from hybrid_ik.encoding import Encoder
from hybrid_ik.kinematics import forward_kinematics
from hybrid_ik.learning.torch_math import TorchMath
from hybrid_ik.scalar_math import NumpyMath

Array = NDArray[np.float64]


class PairStream:
    """Endless pairs (normalised joints, encoded pose), the joints uniform over the chain's sample range.

    Args:
        encoder: the arm, and how its poses and joints are told.
        generator: source of the joints, on the device the pairs are wanted on; its state is the stream's whole state.
    """

    def __init__(self, encoder: Encoder, generator: torch.Generator) -> None:
        self.encoder, self.generator = encoder, generator
        self.chain = chain = encoder.chain
        self.device = generator.device
        self._lower = torch.as_tensor(chain.sample_lower, device=self.device)
        self._range = torch.as_tensor(chain.sample_upper - chain.sample_lower, device=self.device)

    def next_batch(self, n: int) -> tuple[Tensor, Tensor]:
        """Normalised joints `(n, n_joints)` in [-1, 1] and conditions `(n, n_features)`, float32, on the device."""
        unit = torch.rand((n, self.chain.dof), generator=self.generator, device=self.device, dtype=torch.float64)
        q = self._lower + unit * self._range
        return (2.0 * unit[:, self.encoder.proposed] - 1.0).float(), self._conditions(q)

    def _conditions(self, q: Tensor) -> Tensor:
        if self.device.type == "cpu":
            position, rotation = exact_poses(self.chain, q.numpy())
            return torch.from_numpy(self.encoder.encode(position, rotation))
        p, R = inner_poses_torch(self.chain, q)
        if self.encoder.encoding == "quaternion":  # the one encoding with branches stays in numpy
            return torch.from_numpy(self.encoder.encode(p.cpu().numpy(), R.cpu().numpy())).to(self.device)
        rows = [row.unbind(-1) for row in R.unbind(-2)]
        return torch.stack(self.encoder.features(p.unbind(-1), rows), -1).float()


@dataclass(frozen=True)
class ValidationSet:
    """Fixed poses that measures are taken on, with the joints they were made from."""

    q: Array
    """`(n, dof)` joints [rad, or m] that reach the poses."""
    position: Array
    """`p_first_last` `(n, 3)` [m]."""
    rotation: Array
    """`R_first_last` `(n, 3, 3)`."""

    @classmethod
    def from_chain(cls, chain: Chain, n: int = 1000, seed: int = 2_000_003) -> ValidationSet:
        """Poses of `n` random configurations, the same every time, by the chain's own mathematics."""
        q = np.random.default_rng(seed).uniform(chain.sample_lower, chain.sample_upper, (n, chain.dof))
        return cls(q, *exact_poses(chain, q))

    def batch(self, encoder: Encoder) -> tuple[Tensor, Tensor]:
        """Normalised joints and conditions of all poses, as `PairStream.next_batch` gives them."""
        x = torch.from_numpy(encoder.normalise(self.q).astype(np.float32))
        return x, torch.from_numpy(encoder.encode(self.position, self.rotation))


def inner_poses(chain: Chain, q: Array) -> tuple[Array, Array]:
    """`p_first_last` `(n, 3)` [m] and `R_first_last` `(n, 3, 3)` of joints `(n, dof)`, by the chain's mathematics."""
    R, p = forward_kinematics(chain, [q[:, i] for i in range(chain.dof)], NumpyMath())
    rotation, position = np.empty((len(q), 3, 3)), np.empty((len(q), 3))
    for i in range(3):
        position[:, i] = p[i]
        for j in range(3):
            rotation[:, i, j] = R[i][j]
    return position, rotation


def exact_poses(chain: Chain, q: Array) -> tuple[Array, Array]:
    """`inner_poses` of joints `(n, dof)`, by the arm's compiled kernel where numba is installed: 20 times as fast."""
    try:
        from hybrid_ik.kernels.cpu import forward_kinematics as compiled_kinematics

        return compiled_kinematics(chain, q)
    except ImportError:  # no numba: a kernel asks for it only when it is loaded
        return inner_poses(chain, q)


def inner_poses_torch(chain: Chain, q: Tensor) -> tuple[Tensor, Tensor]:
    """`inner_poses` over torch tensors, on any device, differentiable."""
    R, p = forward_kinematics(chain, list(q.unbind(-1)), TorchMath())
    column = lambda x: x if isinstance(x, Tensor) else torch.full_like(q[..., 0], x)  # noqa: E731
    position = torch.stack([column(x) for x in p], -1)
    return position, torch.stack([torch.stack([column(x) for x in row], -1) for row in R], -2)
