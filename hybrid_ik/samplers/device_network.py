"""Starts from a trained network on a device: what `MeanFlowSampler` does, in torch, without a way through the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels.gpu import launch, load_kernels
from hybrid_ik.kernels.quaternion import rotation_of
from hybrid_ik.kernels.tools import GROUP
from hybrid_ik.pose import Pose, multiply_quaternions, quaternion_from_matrix
from hybrid_ik.samplers.base import check_count
from hybrid_ik.samplers.meanflow import SIZES_KEPT, MeanFlowSampler
from hybrid_ik.samplers.numpy_network import moved, numpy_network
from hybrid_ik.tensor_pose import TensorPose

if TYPE_CHECKING:
    import torch

Numbers = Literal["float32", "bfloat16"]

BLOCK = 128  # lanes of a block of forward kinematics
STARTS_AT_ONCE = 2**19  # starts that the decoder works on: of 96 numbers each, 200 MB for each of its few arrays


class DeviceSampler:
    """The starts of a `MeanFlowSampler` as tensors on a device.

    They are the same, but for rounding: products on a device round differently with the number of poses. Where a spare
    start is taken or not may hang on that too.

    Args:
        sampler: whose network, noises and arm these are.
        device: of torch, one that Triton runs on.
        numbers: of what is done for each start. "bfloat16" moves half as much through memory, and its starts lie some
            hundredths of a radian off. Products in TF32 are torch's own choice, `torch.set_float32_matmul_precision`.

    Raises:
        InvalidInputError: an unknown type of numbers, or there is no Triton.
    """

    name = "meanflow"

    def __init__(self, sampler: MeanFlowSampler, device: Any, numbers: Numbers = "float32") -> None:
        import torch

        if numbers not in get_args(Numbers):
            raise InvalidInputError(f"numbers: expected one of {', '.join(get_args(Numbers))}, got {numbers!r}")
        self.chain, self.numbers, self.device, self._sampler = sampler.chain, numbers, torch.device(device), sampler
        self._dtype: torch.dtype = getattr(torch, numbers)
        self._encoder = Encoder(sampler.chain, sampler.encoder.encoding)
        self._network = numpy_network(sampler.file)
        self._trunk = moved(self._network, torch, lambda array: self._tensor(array, torch.float32))
        self._decoder = moved(self._network, torch, lambda array: self._tensor(array, self._dtype))
        self._forward_kernel = load_kernels(self.chain).forward
        self._mount_tool = [self._tensor(part) for part in _parts(self.chain.mount_and_tool)]
        self._turned = self._tensor(_turned_quaternion(self.chain.mount_and_tool))
        proposed = self._encoder.proposed
        self._lower, self._upper = (self._tensor(x[proposed]) for x in (self.chain.lower, self.chain.upper))
        self._half = self._tensor(sampler.half_range)
        self._prepared: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def sample(self, pose: Pose | TensorPose, n: int) -> torch.Tensor:
        """One start for each of the first `n` noises: float64 `(*batch, n, dof)` on the device; see `Sampler.sample`.

        Nothing here waits for the device, but for the first call with this `n` and for poses on the host.
        """
        import torch

        given = pose.to(self.device) if isinstance(pose, TensorPose) else TensorPose.of_pose(pose, self.device)
        poses = given.reshape(given.valid.numel())
        at_once = max(1, STARTS_AT_ONCE // check_count(n))
        with torch.no_grad():
            q = [self._sample(poses[i : i + at_once], n) for i in range(0, max(1, *poses.shape), at_once)]
        return torch.cat(q).reshape(*given.shape, n, self.chain.dof)

    def _sample(self, poses: TensorPose, n: int) -> torch.Tensor:
        import torch

        base, projected = self._noises(n)
        position, rotation, features = self._encode(poses)
        modulation = self._trunk.modulate(features[:, None]).to(self._dtype)
        u = self._decoder.velocity(projected, modulation).double()
        inner = torch.clip(base - u * self._half, self._lower, self._upper)
        if self._encoder.encoding != "invariant":
            return inner
        q, inside = self._encoder.add_outer(inner, position, rotation, self._forward, torch)
        return use_spares(q, inside, n)

    def _encode(self, poses: TensorPose) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inner poses, position (m, 3) and rotation (m, 3, 3), and their features; the identity's for what is none."""
        import torch

        R_first_base, p_first_base, R_tip_last, p_tip_last = self._mount_tool
        R_base_tip = torch.stack(rotation_of(*poses.quaternion.unbind(-1)), -1).reshape(-1, 3, 3)
        R_first_tip = R_first_base @ R_base_tip
        position = poses.position @ R_first_base.T + R_first_tip @ p_tip_last + p_first_base
        position = torch.where(poses.valid[:, None], position, 0.0)
        identity = torch.eye(3, dtype=torch.float64, device=self.device)
        rotation = torch.where(poses.valid[:, None, None], R_first_tip @ R_tip_last, identity)
        if self._encoder.encoding != "quaternion":
            rows = [[rotation[:, i, k] for k in range(3)] for i in range(3)]
            return position, rotation, torch.stack(self._encoder.features(position.unbind(-1), rows), -1).float()
        quaternion = torch.where(poses.valid[:, None], poses.quaternion @ self._turned, 0.0)
        quaternion = torch.where(quaternion[:, :1] < 0, -quaternion, quaternion)
        return position, rotation, torch.cat([position / self.chain.reach, quaternion], -1).float()

    def _forward(self, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Poses of the last joint frame in the first for joints (rows, dof): p (rows, 3) [m] and R (rows, 3, 3)."""
        poses = q.new_empty((len(q), 12))
        launch(self._forward_kernel, len(q), BLOCK, self.device)(q.contiguous(), poses, len(q))
        return poses[:, :3], poses[:, 3:].reshape(-1, 3, 3)

    def _noises(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What does not depend on the pose: noises in units of joints, and what the first layer makes of them."""
        if n not in self._prepared:
            if len(self._prepared) >= SIZES_KEPT:
                self._prepared.clear()
            noise = self._sampler.noises(n)
            base = self._sampler.encoder.denormalise(noise)
            self._prepared[n] = self._tensor(base), self._tensor(self._network.project(noise), self._dtype)
        return self._prepared[n]

    def _tensor(self, array: NDArray[Any], dtype: Any = None) -> torch.Tensor:
        import torch

        return torch.tensor(array, dtype=dtype or torch.float64, device=self.device)


def use_spares(q: torch.Tensor, inside: torch.Tensor, n: int) -> torch.Tensor:
    """Twin of `kernels.outer.use_spares`: n starts of each pose `(m, n, dof)`, from them and their spares.

    Args:
        q: `(m, n + n_spares, dof)`.
        inside: whether outer joints needed not be moved onto a limit, `(m, n + n_spares)`.
        n: starts that are no spares.
    """
    import torch

    spares = q[:, n:]
    outside = torch.nn.functional.pad(~inside[:, :n], (0, -n % GROUP)).reshape(*spares.shape[:2], GROUP)
    first = outside & (outside.cumsum(-1) == 1)
    taken = (first & inside[:, n:, None]).flatten(1)[:, :n, None]
    each = (
        spares[:, :, None].expand(-1, -1, GROUP, -1).flatten(1, 2)
    )  # repeat_interleave waits in old versions of torch
    return torch.where(taken, each[:, :n], q[:, :n])


def _parts(mount_tool: NDArray[Any]) -> list[NDArray[Any]]:
    """R_first_base (3, 3), p_first_base (3,), R_tip_last (3, 3) and p_tip_last (3,)."""
    return [mount_tool[:9].reshape(3, 3), mount_tool[9:12], mount_tool[12:21].reshape(3, 3), mount_tool[21:]]


def _turned_quaternion(mount_tool: NDArray[Any]) -> NDArray[Any]:
    """The matrix M (4, 4) for which q_base_tip M is the quaternion of R_first_last, or its negative."""
    R_first_base, _, R_tip_last, _ = _parts(mount_tool)
    before, after = quaternion_from_matrix(R_first_base), quaternion_from_matrix(R_tip_last)
    return np.stack([multiply_quaternions(multiply_quaternions(before, one), after) for one in np.eye(4)])
