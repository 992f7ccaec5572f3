"""`hybrid_ik.kinematics` over torch tensors: differentiable, on any device."""

from __future__ import annotations

from typing import Any

import torch


class TorchMath:
    """`ScalarMath` of torch tensors, one entry per configuration; constants may be floats."""

    def sin_cos(self, x: Any) -> tuple[Any, Any]:
        """See `ScalarMath`."""
        return torch.sin(x), torch.cos(x)

    def inverse_sqrt(self, x: Any) -> Any:
        """See `ScalarMath`."""
        return torch.rsqrt(x)

    def maximum(self, x: Any, y: Any) -> Any:
        """See `ScalarMath`."""
        return torch.maximum(*_tensors(x, y))

    def minimum(self, x: Any, y: Any) -> Any:
        """See `ScalarMath`."""
        return torch.minimum(*_tensors(x, y))

    def where_less(self, x: Any, y: Any, if_less: Any, otherwise: Any) -> Any:
        """See `ScalarMath`."""
        x, y, if_less, otherwise = _tensors(x, y, if_less, otherwise)
        return torch.where(x < y, if_less, otherwise)

    def angle(self, sine: Any, cosine: Any) -> Any:
        """See `ScalarMath`."""
        return torch.atan2(*_tensors(sine, cosine))


def _tensors(*values: Any) -> tuple[torch.Tensor, ...]:
    """Floats turned into tensors of the type and on the device of the first tensor among `values`."""
    like = next((value for value in values if isinstance(value, torch.Tensor)), torch.zeros((), dtype=torch.float64))
    return tuple(v if isinstance(v, torch.Tensor) else like.new_tensor(v) for v in values)
