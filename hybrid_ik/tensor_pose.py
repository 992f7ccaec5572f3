"""Poses that stay on a device, as torch tensors: what goes into a solve without a way through the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import NORM_RANGE, Pose

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class TensorPose:
    """One rigid transform `T_parent_child`, or an array of them, as `Pose`, on a device.

    Nothing here waits for the device, so rows that are no pose are marked and never raised, a single one neither.
    """

    position: torch.Tensor
    """`(*batch, 3)` [m], float64."""
    quaternion: torch.Tensor
    """`(*batch, 4)` unit quaternion, wxyz, float64."""
    valid: torch.Tensor
    """`(*batch,)`: False where the row was not a pose."""

    @classmethod
    def of(cls, position: Any, quaternion: Any, device: Any = None) -> TensorPose:
        """Poses of anything that torch can read: tensors, arrays, and what other libraries export through DLPack.

        Args:
            position: `(*batch, 3)` [m].
            quaternion: `(*batch, 4)`, wxyz; normalised here.
            device: where to; where they are, by default.
        """
        import torch

        p, q = as_tensor("position", position, 3, device), as_tensor("quaternion", quaternion, 4, device)
        if p.shape[:-1] != q.shape[:-1] or p.device != q.device:
            raise InvalidInputError(
                f"position {tuple(p.shape)} on {p.device} and quaternion {tuple(q.shape)} on {q.device} do not have "
                "the same batch shape and device"
            )
        norm = torch.linalg.vector_norm(q, dim=-1)
        valid = (norm > NORM_RANGE[0]) & (norm < NORM_RANGE[1]) & torch.isfinite(p).all(-1)
        return cls(p, q / torch.where(valid, norm, 1.0)[..., None], valid)

    @classmethod
    def of_pose(cls, pose: Pose, device: Any) -> TensorPose:
        """The same poses on a device; already checked, they are not normalised again."""
        import torch

        position, quaternion = _read(pose.position).to(device), _read(pose.quaternion).to(device)
        return cls(position, quaternion, torch.as_tensor(pose.valid, device=device))

    def to(self, device: Any) -> TensorPose:
        """The same poses on a device; itself if they are there."""
        return TensorPose(self.position.to(device), self.quaternion.to(device), self.valid.to(device))

    def to_host(self) -> Pose:
        """The same poses as numpy's; this waits for the device."""
        position, quaternion, valid = (x.cpu().numpy() for x in (self.position, self.quaternion, self.valid))
        return Pose._trusted(position, quaternion, valid)

    def farther_than(self, distance: float, point: torch.Tensor) -> torch.Tensor:
        """Whether poses lie farther than a distance [m] from a point (3,): `(*batch,)`."""
        import torch

        return self.valid & (torch.linalg.vector_norm(self.position - point, dim=-1) > distance)

    @property
    def shape(self) -> tuple[int, ...]:
        """The batch shape: `()` for one pose."""
        return tuple(self.valid.shape)

    def __getitem__(self, index: Any) -> TensorPose:
        """Rows, as with an array."""
        return TensorPose(self.position[index], self.quaternion[index], self.valid[index])

    def reshape(self, *shape: int) -> TensorPose:
        """The same poses under another batch shape."""
        return TensorPose(
            self.position.reshape(*shape, 3), self.quaternion.reshape(*shape, 4), self.valid.reshape(shape)
        )


def as_tensor(name: str, values: Any, length: int, device: Any = None) -> torch.Tensor:
    """Values as a float64 tensor whose last axis has this length, or `InvalidInputError`."""
    import torch

    try:
        tensor = _read(values).to(device=device, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise InvalidInputError(f"{name}: expected numbers of shape (*batch, {length}), got {values!r}") from error
    if tensor.ndim == 0 or tensor.shape[-1] != length:
        raise InvalidInputError(f"{name}: expected shape (*batch, {length}), got {tuple(tensor.shape)}")
    return tensor


def is_tensor(*values: Any) -> bool:
    """Whether any of these stays on a device: poses of tensors, or what is not numpy's but exported through DLPack."""
    return any(
        isinstance(value, TensorPose)
        or (hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic))
        for value in values
    )


def _read(values: Any) -> torch.Tensor:
    import torch

    if isinstance(values, torch.Tensor):
        return values
    if is_tensor(values):
        return torch.from_dlpack(values)
    return torch.from_numpy(np.require(values, dtype=float, requirements=["C", "W"]))  # tensors are never read-only
