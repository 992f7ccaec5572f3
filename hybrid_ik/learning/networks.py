"""The networks: u(z, r, t | pose), split into a part that runs once per pose and a part that runs once per noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from hybrid_ik.encoding import TIME_FREQUENCIES, Encoding
from hybrid_ik.errors import InvalidInputError

TIME_SIZE = 2 * (1 + 2 * len(TIME_FREQUENCIES))


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What the network is made of."""

    architecture: Literal["modulated", "residual"] = "modulated"
    """modulated: a trunk on the pose sets scale and shift of a small decoder; residual: one MLP on everything."""
    width: int = 96
    """Width of the part that runs once per noise."""
    depth: int = 3
    """Its layers (modulated) or residual blocks (residual)."""
    trunk_width: int = 256
    """Width of the part that runs once per pose (modulated only)."""
    trunk_depth: int = 3
    """Layers of the part that runs once per pose (modulated only)."""
    norm: Literal["none", "layer", "batch"] = "none"
    """Normalisation before each activation."""
    dropout: float = 0.0
    """Share of activations dropped in training."""
    activation: Literal["silu", "gelu"] = "silu"
    """Smooth ones only: the loss differentiates the network in time."""
    octaves: int = 0
    """Sines and cosines of the pose's features that are told beside them, the first of half a period, each of twice the
    frequency of the one before (as in NeRF: Mildenhall et al., 2020), because what is a solution changes abruptly with
    a pose. Four of them gained the Panda nothing that outlasted the first minutes of training."""
    encoding: Encoding = "invariant"
    """How a pose is told, and which joints are proposed; see `hybrid_ik.encoding.Encoder`."""

    def __post_init__(self) -> None:
        for name in ("width", "depth", "trunk_width", "trunk_depth"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"network.{name}: expected at least 1, got {getattr(self, name)}")
        if self.octaves < 0:
            raise InvalidInputError(f"network.octaves: expected 0 or more, got {self.octaves}")
        if not 0.0 <= self.dropout < 1.0:
            raise InvalidInputError(f"network.dropout: expected a share in [0, 1), got {self.dropout}")


class VelocityNetwork(nn.Module, ABC):
    """Base of the networks of u(z, r, t | condition), the mean velocity from time r to t at z.

    `forward` is `decode` after `modulate`. They are separate because the first needs to run only once per pose, and
    because nothing in it depends on time, so that derivatives in time need not pass through it.
    """

    @abstractmethod
    def modulate(self, condition: Tensor) -> Tensor:
        """The pose's part: `(*batch, n_features)` to `(*batch, n)`."""

    @abstractmethod
    def decode(self, z: Tensor, r: Tensor, t: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        """The part of each noise.

        Args:
            z: `(*batch, n_joints)` normalised joints on their way from data to noise.
            r: `(*batch)` earlier time, in [0, t].
            t: `(*batch)` later time, in [0, 1].
            modulation: what `modulate` gave; its batch shape broadcasts against that of z.

        Returns:
            u `(*batch, n_joints)` and the features of the middle block `(*batch, width)`.
        """

    def forward(self, z: Tensor, r: Tensor, t: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """u `(*batch, n_joints)` and features `(*batch, width)`; see `decode`."""
        return self.decode(z, r, t, self.modulate(condition))


class ModulatedMLP(VelocityNetwork):
    """A trunk on the pose that sets scale a and shift b of each layer of a small decoder.

    Decoder layer l: h <- h + act(norm(W h + T [r, t]) (1 + a) + b), without `h +` in the first. Feature-wise
    modulation as in FiLM (Perez et al., 2018).
    """

    def __init__(self, config: NetworkConfig, n_joints: int, n_features: int) -> None:
        super().__init__()
        self.width, self.depth, self.octaves = config.width, config.depth, config.octaves
        sizes = [n_features * (1 + 2 * config.octaves)] + [config.trunk_width] * config.trunk_depth
        self.trunk = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.modulation = nn.Linear(config.trunk_width, 2 * config.depth * config.width)
        self.time = nn.Linear(TIME_SIZE, config.depth * config.width)
        inputs = [n_joints] + [config.width] * (config.depth - 1)
        self.layers = nn.ModuleList(nn.Linear(n, config.width, bias=False) for n in inputs)
        self.norms = nn.ModuleList(_norm(config) for _ in inputs)
        self.output = nn.Linear(config.width, n_joints)
        self.activation = _activation(config)
        self.dropout = nn.Dropout(config.dropout)

    def modulate(self, condition: Tensor) -> Tensor:
        """Scales, then shifts, of all layers: `(*batch, 2 depth width)`."""
        h = embed_condition(condition, self.octaves)
        for layer in self.trunk:
            h = self.activation(layer(h))
        return self.modulation(h)

    def decode(self, z: Tensor, r: Tensor, t: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        """u `(*batch, n_joints)` and features `(*batch, width)`; see `VelocityNetwork.decode`."""
        scales, shifts = modulation.chunk(2, -1)
        times = self.time(embed_times(r, t)).split(self.width, -1)
        h = features = z
        for i, (layer, norm, time, scale, shift) in enumerate(
            zip(self.layers, self.norms, times, scales.split(self.width, -1), shifts.split(self.width, -1), strict=True)
        ):
            new = self.dropout(self.activation(norm(layer(h) + time) * (1.0 + scale) + shift))
            h = new if i == 0 else h + new
            features = h if i == self.depth // 2 else features
        return self.output(h), features


class ResidualMLP(VelocityNetwork):
    """One residual MLP on z, times and pose; block: h + dropout(W2 act(norm(W1 h)))."""

    def __init__(self, config: NetworkConfig, n_joints: int, n_features: int) -> None:
        super().__init__()
        self.depth, self.octaves = config.depth, config.octaves
        self.condition = nn.Linear(n_features * (1 + 2 * config.octaves), config.width)
        self.time = nn.Linear(TIME_SIZE, config.width, bias=False)
        self.input = nn.Linear(n_joints, config.width, bias=False)
        self.first = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(config.depth))
        self.norms = nn.ModuleList(_norm(config) for _ in range(config.depth))
        self.second = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(config.depth))
        self.output = nn.Linear(config.width, n_joints)
        self.activation = _activation(config)
        self.dropout = nn.Dropout(config.dropout)

    def modulate(self, condition: Tensor) -> Tensor:
        """The pose's share of the first layer: `(*batch, width)`."""
        return self.condition(embed_condition(condition, self.octaves))

    def decode(self, z: Tensor, r: Tensor, t: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        """u `(*batch, n_joints)` and features `(*batch, width)`; see `VelocityNetwork.decode`."""
        h = features = self.input(z) + self.time(embed_times(r, t)) + modulation
        for i, (first, norm, second) in enumerate(zip(self.first, self.norms, self.second, strict=True)):
            h = h + self.dropout(second(self.activation(norm(first(h)))))
            features = h if i == self.depth // 2 else features
        return self.output(self.activation(h)), features


class RowwiseBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over every leading axis of `(*batch, width)`."""

    def forward(self, input: Tensor) -> Tensor:
        """`(*batch, width)` to the same shape."""
        return super().forward(input.reshape(-1, input.shape[-1])).reshape(input.shape)


def embed_times(r: Tensor, t: Tensor) -> Tensor:
    """t and t - r with their low-frequency sines and cosines: `(*batch)` to `(*batch, TIME_SIZE)`."""
    times = torch.stack([t, t - r], -1)
    waves = [wave(frequency * times) for frequency in TIME_FREQUENCIES for wave in (torch.sin, torch.cos)]
    return torch.cat([times, *waves], -1)


def embed_condition(condition: Tensor, octaves: int) -> Tensor:
    """The features of a pose with their waves: `(*batch, n)` to `(*batch, n (1 + 2 octaves))`."""
    waves = [wave(math.pi * 2**k * condition) for k in range(octaves) for wave in (torch.sin, torch.cos)]
    return torch.cat([condition, *waves], -1)


def build_network(config: NetworkConfig, n_joints: int, n_features: int) -> VelocityNetwork:
    """The network that `config` describes, freshly initialised; sizes as an `Encoder` of the arm gives them."""
    kind = ModulatedMLP if config.architecture == "modulated" else ResidualMLP
    return kind(config, n_joints, n_features)


def _norm(config: NetworkConfig) -> nn.Module:
    if config.norm == "none":
        return nn.Identity()
    return nn.LayerNorm(config.width) if config.norm == "layer" else RowwiseBatchNorm(config.width)


def _activation(config: NetworkConfig) -> nn.Module:
    return nn.SiLU() if config.activation == "silu" else nn.GELU(approximate="tanh")
