"""A learning rate that falls where the validation loss does not: ReduceLROnPlateau, kept in the training state."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NAME = "plateau"


class Plateau:
    """The factor on the learning rate; twin of `torch.optim.lr_scheduler.ReduceLROnPlateau` with its threshold.

    After more than `patience` losses in a row that are not below (1 - threshold) times the best one, the factor is
    multiplied by `factor`. The best loss, the count and the factor live in `memory`, so that a resumed run has them.

    Args:
        memory: `TrainingState.memory`.
        factor: what the learning rate is multiplied by.
        patience: losses in a row that need not be better.
        threshold: by which share a loss must be smaller.
    """

    def __init__(self, memory: dict[str, Tensor], factor: float, patience: int, threshold: float = 1e-4) -> None:
        self._memory, self.factor, self.patience, self.threshold = memory, factor, patience, threshold
        memory.setdefault(NAME, torch.tensor([math.inf, 0.0, 1.0], dtype=torch.float64))

    @property
    def scale(self) -> float:
        """What the first learning rate is multiplied by now."""
        return float(self._memory[NAME][2])

    def record(self, loss: float) -> None:
        """Take note of a validation loss (0 or more)."""
        best, bad, scale = self._memory[NAME].tolist()
        best, bad = (loss, 0.0) if loss < best * (1.0 - self.threshold) else (best, bad + 1.0)
        if bad > self.patience:
            bad, scale = 0.0, scale * self.factor
        self._memory[NAME] = torch.tensor([best, bad, scale], dtype=torch.float64)
