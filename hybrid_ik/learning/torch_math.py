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


class Lean:
    """A tensor that spares itself products with the numbers 0, 1 and -1, and sums with 0.

    Links of arms are full of those, and a graph that was exported carries out all that was recorded: for the Panda 249
    sums, products and negations from pose to joints, without this 454.
    """

    __slots__ = ("value",)

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    def __add__(self, other: Any) -> Any:
        return self if _is(other, 0.0) else Lean(self.value + _plain(other))

    def __sub__(self, other: Any) -> Any:
        return self if _is(other, 0.0) else Lean(self.value - _plain(other))

    def __rsub__(self, other: Any) -> Any:
        return -self if _is(other, 0.0) else Lean(other - self.value)

    def __mul__(self, other: Any) -> Any:  # the number 0.0 where the other one is
        if _is(other, 0.0):
            return 0.0
        if _is(other, 1.0):
            return self
        return -self if _is(other, -1.0) else Lean(self.value * _plain(other))

    def __neg__(self) -> Any:
        return Lean(-self.value)

    __radd__ = __add__
    __rmul__ = __mul__


class LeanMath(TorchMath):
    """`ScalarMath` of `Lean` tensors: what forward kinematics needs of it."""

    def sin_cos(self, x: Any) -> tuple[Any, Any]:
        """See `ScalarMath`."""
        return Lean(torch.sin(x.value)), Lean(torch.cos(x.value))


def _is(x: Any, number: float) -> bool:
    """Whether `x` is this very number, and no tensor."""
    return isinstance(x, float) and x == number


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, Lean) else x


def _tensors(*values: Any) -> tuple[torch.Tensor, ...]:
    """Floats turned into tensors of the type and on the device of the first tensor among `values`."""
    like = next((value for value in values if isinstance(value, torch.Tensor)), torch.zeros((), dtype=torch.float64))
    return tuple(v if isinstance(v, torch.Tensor) else like.new_tensor(v) for v in values)
