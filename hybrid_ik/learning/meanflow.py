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

# Mean and standard deviation of logit(t) and of logit(r) where the two are drawn apart: version 1 of py-meanflow
# (Gsunshine), whose r mostly lies near the data.
APART_LATER, APART_EARLIER = (-0.6, 1.6), (-4.0, 1.6)
DISPERSIVE_ROWS = 1024  # its cost is quadratic in the rows; more of them changed nothing but the time


@dataclass(frozen=True, kw_only=True)
class MeanFlowConfig:
    """The loss and the times it is taken at."""

    mode: Literal["meanflow", "baseline"] = "meanflow"
    """meanflow: learn the mean velocity; baseline: flow matching, the velocity at one time (r = t everywhere)."""
    times: Literal["uniform", "logit_normal", "apart", "from_data"] = "apart"
    """uniform, logit_normal: r and t are drawn from it, then sorted; apart: t and r each from a logit-normal
    distribution of its own, r = min(r, t); from_data: t uniform, r = 0."""
    logit_mean: float = 0.0
    """Mean of the logit-normal distribution."""
    logit_std: float = 1.0
    """Standard deviation of the logit-normal distribution."""
    share_instant: float = 0.5
    """Share of the poses trained at r = t, which is flow matching."""
    share_full: float = 0.25
    """Share of the remaining rows at (r, t) = (0, 1), the times used when sampling."""
    tangent: Literal["data", "predicted", "time"] = "data"
    """dz/dt in the derivative of u. data: noise - data; predicted: the network's own u(z, t, t), with less variance
    (improved MeanFlow); time: 0, a derivative in t alone, which is not the MeanFlow identity."""
    slope_weight: float = 1.0
    """Factor on (t - r) du/dt in the target; 0 is regression on the velocity."""
    slope_clip: float = 0.0
    """Largest norm of a row's (t - r) du/dt; 0 switches the bound off."""
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
        if not self.slope_clip >= 0.0:
            raise InvalidInputError(f"loss.slope_clip: expected a number >= 0, got {self.slope_clip}")
        for name in ("logit_std", "dispersive_temperature"):
            if not getattr(self, name) > 0.0:
                raise InvalidInputError(f"loss.{name}: expected a positive number, got {getattr(self, name)}")


def meanflow_target(
    u: Callable[[Tensor, Tensor, Tensor], Tensor],
    z: Tensor,
    r: Tensor,
    t: Tensor,
    v: Tensor,
    *,
    tangent: Tensor | None = None,
    slope_weight: float = 1.0,
    slope_clip: float = 0.0,
) -> tuple[Tensor, Tensor]:
    r"""The MeanFlow identity's right-hand side: :math:`u^* = v - (t - r)\, \frac{d}{dt} u(z_t, r, t)`.

    The derivative is total, along the path dz/dt = v, dr/dt = 0, dt/dt = 1 (equations 6 to 8 of the paper).

    Args:
        u: the mean velocity, u(z, r, t) -> `(*rows, dof)`.
        z: `(*rows, dof)`.
        r: `(*rows)` earlier times.
        t: `(*rows)` later times.
        v: `(*rows, dof)` velocity noise - data.
        tangent: `(*rows, dof)` dz/dt of the derivative; v where None.
        slope_weight: factor on (t - r) du/dt.
        slope_clip: largest norm of (t - r) du/dt of a row, before that factor; 0 for no bound.

    Returns:
        u(z, r, t), and the target with its gradient stopped, both `(*rows, dof)`.
    """
    tangents = (v if tangent is None else tangent, torch.zeros_like(r), torch.ones_like(t))
    value, slope = cast(tuple[Tensor, Tensor], torch.func.jvp(u, (z, r, t), tangents))
    change = (t - r).unsqueeze(-1) * slope
    if slope_clip:
        change = change * (slope_clip / change.norm(dim=-1, keepdim=True).clamp_min(slope_clip))
    return value, (v - slope_weight * change).detach()


def sample_times(
    config: MeanFlowConfig, n_instant: int, shape: tuple[int, int], generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Times r <= t of shape `(n_poses, n_noises)`; r = t in the first `n_instant` poses.

    In the others a share `share_full` of the entries is (0, 1).
    """
    draws = _draw_times(config, shape, generator, device)
    full = torch.rand(shape, generator=generator, device=device) < config.share_full
    r = torch.minimum(draws[0], draws[1]).masked_fill(full, 0.0)
    later = draws[0] if config.times in ("apart", "from_data") else torch.maximum(draws[0], draws[1])
    t = later.masked_fill(full, 1.0)
    t[:n_instant] = draws[0, :n_instant]
    r[:n_instant] = t[:n_instant]
    return r, t


def _draw_times(
    config: MeanFlowConfig, shape: tuple[int, int], generator: torch.Generator, device: torch.device
) -> Tensor:
    """Two unsorted times for each entry, `(2, *shape)`; the first is t where the two have unlike distributions."""
    draws = torch.rand((2, *shape), generator=generator, device=device)
    if config.times == "uniform":
        return draws
    if config.times == "from_data":
        return torch.stack([draws[0], torch.zeros_like(draws[1])])
    normal = torch.randn((2, *shape), generator=generator, device=device)
    alike = (config.logit_mean, config.logit_std)
    (mean, std), (mean_r, std_r) = (APART_LATER, APART_EARLIER) if config.times == "apart" else (alike, alike)
    return torch.sigmoid(torch.stack([mean + std * normal[0], mean_r + std_r * normal[1]]))


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
        x: normalised joints `(n_poses, n_joints)`, or others for each noise, `(n_poses, n_noises, n_joints)`.
        condition: `(n_poses, n_features)`.
        n_noises: noises (and times) drawn for each pose; the pose's part of the network runs once for all of them.
        config: the loss's options.
        generator: source of noises and times.

    Returns:
        The loss, a scalar with gradient.
    """
    n_poses, x = len(x), x if x.ndim == 3 else x[:, None]
    n_instant = n_poses if config.mode == "baseline" else round(config.share_instant * n_poses)
    r, t = sample_times(config, n_instant, (n_poses, n_noises), generator, x.device)
    noise = torch.randn((n_poses, n_noises, x.shape[-1]), generator=generator, device=x.device)
    v = noise - x
    z = x + t[..., None] * v
    modulation = network.modulate(condition[:, None])
    u, features = network.decode(z, r, t, modulation)

    target = v
    if n_instant < n_poses:
        rest = slice(n_instant, None)
        target = v.clone()
        target[rest] = _interval_target(network, z[rest], r[rest], t[rest], v[rest], modulation[rest].detach(), config)
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
    network: VelocityNetwork,
    z: Tensor,
    r: Tensor,
    t: Tensor,
    v: Tensor,
    modulation: Tensor,
    config: MeanFlowConfig,
) -> Tensor:
    """`meanflow_target` of a network with a pose's `modulation`, in evaluation mode."""

    def u(z: Tensor, r: Tensor, t: Tensor) -> Tensor:
        return network.decode(z, r, t, modulation)[0]

    training = network.training
    network.eval()
    tangent = v
    if config.tangent != "data":
        tangent = u(z, t, t) if config.tangent == "predicted" else torch.zeros_like(v)
    weight, clip = config.slope_weight, config.slope_clip
    _, target = meanflow_target(u, z, r, t, v, tangent=tangent, slope_weight=weight, slope_clip=clip)
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
