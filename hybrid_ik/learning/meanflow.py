r"""The MeanFlow loss (Geng et al., 2025, arXiv 2505.13447): learn the mean velocity, so that one step suffices.

The convention, here and everywhere: t = 0 is data x, t = 1 is noise e, z = (1 - t) x + t e, v = e - x. The mean
velocity over [r, t] is u(z, r, t) = 1/(t - r) int_r^t v ds, and x = e - u(e, 0, 1) samples in one step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.networks import VelocityNetwork

DISPERSIVE_ROWS = 1024  # its cost is quadratic in the rows; more of them changed nothing but the time


@dataclass(frozen=True, kw_only=True)
class MeanFlowConfig:
    """The loss and the times it is taken at."""

    mode: Literal["meanflow", "baseline"] = "meanflow"
    """meanflow: learn the mean velocity; baseline: flow matching, the velocity at one time (r = t everywhere)."""
    times: Literal["uniform", "logit_normal"] = "uniform"
    """Distribution that r and t are drawn from, then sorted."""
    logit_mean: float = 0.0
    """Mean of the logit-normal distribution."""
    logit_std: float = 1.0
    """Standard deviation of the logit-normal distribution."""
    share_instant: float = 0.5
    """Share of the poses trained at r = t, which is flow matching."""
    share_full: float = 0.25
    """Share of the remaining rows at (r, t) = (0, 1), the times used when sampling."""
    alpha: float = 1.0
    """Weight of the rows with r < t against those with r = t."""
    adaptive_power: float = 0.0
    """p of the adaptive weight 1 / (|error|^2 + 0.01)^p; 0 switches it off."""
    dispersive_weight: float = 0.0
    """Weight of the dispersive loss on the middle block's features."""
    dispersive_temperature: float = 0.5
    """Temperature of the dispersive loss."""

    def __post_init__(self) -> None:
        for name in ("share_instant", "share_full"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInputError(f"loss.{name}: expected a share in [0, 1], got {getattr(self, name)}")
        for name in ("logit_std", "dispersive_temperature"):
            if not getattr(self, name) > 0.0:
                raise InvalidInputError(f"loss.{name}: expected a positive number, got {getattr(self, name)}")


def meanflow_target(
    u: Callable[[Tensor, Tensor, Tensor], Tensor], z: Tensor, r: Tensor, t: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    r"""The MeanFlow identity's right-hand side: :math:`u^* = v - (t - r)\, \frac{d}{dt} u(z_t, r, t)`.

    The derivative is total, along the path dz/dt = v, dr/dt = 0, dt/dt = 1 (equations 6 to 8 of the paper).

    Args:
        u: the mean velocity, u(z, r, t) -> `(*rows, dof)`.
        z: `(*rows, dof)`.
        r: `(*rows)` earlier times.
        t: `(*rows)` later times.
        v: `(*rows, dof)` velocity noise - data.

    Returns:
        u(z, r, t), and the target with its gradient stopped, both `(*rows, dof)`.
    """
    value, slope = cast(
        tuple[Tensor, Tensor], torch.func.jvp(u, (z, r, t), (v, torch.zeros_like(r), torch.ones_like(t)))
    )
    return value, (v - (t - r).unsqueeze(-1) * slope).detach()


def sample_times(
    config: MeanFlowConfig, n_instant: int, shape: tuple[int, int], generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Times r <= t of shape `(n_poses, n_noises)`; r = t in the first `n_instant` poses.

    In the others a share `share_full` of the entries is (0, 1).
    """
    draws = torch.rand((2, *shape), generator=generator, device=device)
    if config.times == "logit_normal":
        normal = torch.randn((2, *shape), generator=generator, device=device)
        draws = torch.sigmoid(config.logit_mean + config.logit_std * normal)
    full = torch.rand(shape, generator=generator, device=device) < config.share_full
    r = torch.minimum(draws[0], draws[1]).masked_fill(full, 0.0)
    t = torch.maximum(draws[0], draws[1]).masked_fill(full, 1.0)
    t[:n_instant] = draws[0, :n_instant]
    r[:n_instant] = t[:n_instant]
    return r, t


def meanflow_loss(
    network: VelocityNetwork,
    x: Tensor,
    condition: Tensor,
    n_noises: int,
    config: MeanFlowConfig,
    generator: torch.Generator,
) -> Tensor:
    """Mean squared error per joint against the velocity where r = t, against `meanflow_target` where r < t.

    The derivative is taken in evaluation mode (no dropout, running statistics), and without recording gradients: the
    target has none, and a plain pass beside it is cheaper than a recorded derivative.

    Args:
        network: u(z, r, t | condition).
        x: `(n_poses, n_joints)` normalised joints.
        condition: `(n_poses, n_features)`.
        n_noises: noises (and times) drawn for each pose; the pose's part of the network runs once for all of them.
        config: the loss's options.
        generator: source of noises and times.

    Returns:
        The loss, a scalar with gradient.
    """
    n_poses = len(x)
    n_instant = n_poses if config.mode == "baseline" else round(config.share_instant * n_poses)
    r, t = sample_times(config, n_instant, (n_poses, n_noises), generator, x.device)
    noise = torch.randn((n_poses, n_noises, x.shape[-1]), generator=generator, device=x.device)
    v = noise - x[:, None]
    z = x[:, None] + t[..., None] * v
    modulation = network.modulate(condition[:, None])
    u, features = network.decode(z, r, t, modulation)

    target = v
    if n_instant < n_poses:
        rest = slice(n_instant, None)
        target = v.clone()
        target[rest] = _interval_target(network, z[rest], r[rest], t[rest], v[rest], modulation[rest].detach())
    errors = (u - target).square().sum(-1)
    weights = torch.ones_like(errors)
    weights[n_instant:] = config.alpha
    if config.adaptive_power:
        weights = weights / (errors.detach() + 0.01) ** config.adaptive_power
    loss = (weights * errors).mean() / x.shape[-1]
    if config.dispersive_weight:
        loss = loss + config.dispersive_weight * dispersive_loss(features, config.dispersive_temperature)
    return loss


@torch.no_grad()
def _interval_target(
    network: VelocityNetwork, z: Tensor, r: Tensor, t: Tensor, v: Tensor, modulation: Tensor
) -> Tensor:
    training = network.training
    network.eval()
    _, target = meanflow_target(lambda z, r, t: network.decode(z, r, t, modulation)[0], z, r, t, v)
    network.train(training)
    return target


def dispersive_loss(features: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Spreads features over the batch: :math:`\log \frac{1}{B^2} \sum_{ij} \exp(-|h_i - h_j|^2 / (d \tau))`.

    The InfoNCE-L2 form of Wang and He (2025), arXiv 2506.09027: squared distances over the feature size d, the
    diagonal included. It spreads over poses, and so regularises; it does not promise diverse answers to one pose.

    Args:
        features: `(*rows, d)`; at most `DISPERSIVE_ROWS` rows, evenly spaced, are used.
        temperature: tau.
    """
    rows = features.reshape(-1, features.shape[-1])
    rows = rows[:: -(-len(rows) // DISPERSIVE_ROWS)]
    squares = rows.square().sum(-1)
    distances = (squares[:, None] + squares - 2.0 * rows @ rows.T).clamp_min(0.0) / rows.shape[-1]
    return torch.logsumexp(-distances.flatten() / temperature, 0) - 2.0 * math.log(len(rows))
