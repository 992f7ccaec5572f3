"""Low-discrepancy noise: normal numbers that are spread more evenly than independent ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NOISE_TABLE = 1024  # noises that travel in the network file


def noise_table(n_joints: int, n: int = NOISE_TABLE, seed: int = 0) -> Tensor:
    """Standard normal noises `(n, n_joints)` from scrambled Sobol points: any first 2^k of them are spread evenly."""
    points = torch.quasirandom.SobolEngine(n_joints, scramble=True, seed=seed).draw(n, dtype=torch.float64)
    return (math.sqrt(2.0) * torch.erfinv(2.0 * points.clamp(1e-7, 1 - 1e-7) - 1.0)).float()
