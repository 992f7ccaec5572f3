"""The second phase of training: the samples of a pose, as a set, are brought onto its whole solution set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.measures import one_step_samples
from hybrid_ik.learning.networks import VelocityNetwork
from hybrid_ik.learning.noise import NOISE_TABLE, noise_table
from hybrid_ik.learning.set_losses import consistency_loss, drifting_loss, matched_distance, smooth_distance

if TYPE_CHECKING:
    from hybrid_ik.learning.answers import Answers

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MatchingConfig:
    """How long, and on what, samples are matched to answers."""

    steps: int = 28_000
    """Optimiser steps; 0 leaves this part of the training out."""
    noises: int = 256
    """Noises that are trained, the first ones of the table in the network file."""
    levels: tuple[int, ...] = (64,)
    """How many noises, one block of them, are matched with as many answers; each step draws one. Powers of two."""
    rows: int = 8192
    """Noises of a step: that many poses share them as the level leaves room for, ..."""
    max_poses: int = 256
    """... but no more than this."""
    starts_per_answer: int = 16
    """Random starts refined for each answer."""
    lr: float = 1e-3
    """Highest learning rate."""
    loss: Literal["matched", "drifting"] = "matched"
    """What brings samples to answers: the distance after matching, or attraction and repulsion."""
    consistency: float = 0.0
    """Weight of the distance between the pose told and the poses of the samples, by forward kinematics."""
    distillation: float = 0.0
    """Weight of the distance between samples and what the refiner makes of them."""
    rising: bool = False
    """Whether these two weights rise from 0 at the first step to their values at the last."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InvalidInputError(f"matching.steps: expected 0 or more, got {self.steps}")
        for name in ("noises", "rows", "max_poses", "starts_per_answer"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"matching.{name}: expected at least 1, got {getattr(self, name)}")
        if self.noises > NOISE_TABLE:
            raise InvalidInputError(f"matching.noises: there are {NOISE_TABLE}, got {self.noises}")
        if not self.levels or any(k < 1 or k & (k - 1) or k > self.noises for k in self.levels):
            raise InvalidInputError(
                f"matching.levels: expected powers of two up to matching.noises = {self.noises}, got {self.levels}: "
                "only such blocks of the noise table are spread evenly"
            )
        for name in ("consistency", "distillation"):
            if not getattr(self, name) >= 0:
                raise InvalidInputError(f"matching.{name}: expected 0 or more, got {getattr(self, name)}")
        if not self.lr > 0:
            raise InvalidInputError(f"matching.lr: expected a positive number, got {self.lr}")


class Matching:
    """The loss of each step, with its data.

    The noises are those that the sampler will use, the first ones of the table in the network file, in blocks of the
    step's level: so a noise learns its place among its neighbours. Fresh noises in each step gave less (Panda, 8
    minutes more of training: coverage with 64 starts .69 instead of .72, raw samples in the basin .36 instead of .40).
    So did blocks of 16, 64 and 256 in turn: an assignment of 256 takes so long that 8 poses had to do for a step
    (8 minutes more: coverage with 64 and 256 starts .719 and .911, with blocks of 64 of 128 poses .743 and .937).

    Args:
        encoder: the arm, and how its poses and joints are told.
        config: the options.
        seed: of the poses, their answers, and the levels.
        n_done: steps done by an earlier run that this one continues.
    """

    def __init__(self, encoder: Encoder, config: MatchingConfig, seed: int, n_done: int = 0) -> None:
        from hybrid_ik.learning.answers import AnswerStream  # it needs numba, which MeanFlow alone does not

        self.encoder, self.config, self.seed, self.step = encoder, config, seed, n_done
        self._answers = AnswerStream(encoder, max(config.levels), config.starts_per_answer, seed)
        for step in range(n_done):
            self._answers.skip(self._n_poses(self._draw(step)[0]))
        self._noise = noise_table(encoder.n_joints)[: config.noises]
        self._half_range = torch.as_tensor(0.5 * (encoder.upper - encoder.lower), dtype=torch.float32)
        self._distance = {"matched": matched_distance, "drifting": drifting_loss}[config.loss]

    def next_loss(self, network: VelocityNetwork, device: torch.device) -> Tensor:
        """The loss of the next poses, all of them with the same block of noises."""
        config, (level, block) = self.config, self._draw(self.step)
        self.step += 1
        batch = self._answers.next_batch(self._n_poses(level), level)
        condition = torch.from_numpy(batch.condition).to(device)
        noise = self._noise[block * level : (block + 1) * level].to(device)
        x = one_step_samples(network, noise, condition)
        loss = self._distance(self._in_radians(x), self._in_radians(self._normalised(batch.q, device)))
        share = self.step / config.steps if config.rising else 1.0
        if config.consistency:
            loss = loss + share * config.consistency * consistency_loss(self.encoder, x, condition)
        if config.distillation:
            loss = loss + share * config.distillation * self._distilled(x, batch)
        return loss

    def _distilled(self, x: Tensor, batch: Answers) -> Tensor:
        """Mean distance of samples from what the refiner makes of them, of those that it brings to their poses."""
        q, converged = self._answers.refined(x.detach().cpu().double().numpy(), batch)
        distance = smooth_distance(self._in_radians(x), self._in_radians(self._normalised(q, x.device)))
        return distance[torch.from_numpy(converged).to(x.device)].sum() / converged.size

    def _normalised(self, q: Array, device: torch.device) -> Tensor:
        return torch.from_numpy(self.encoder.normalise(q)).float().to(device)

    def _in_radians(self, x: Tensor) -> Tensor:
        """Normalised joints times half their range; slides in metres."""
        return x * self._half_range.to(x.device)

    def _draw(self, step: int) -> tuple[int, int]:
        """Level of a step, and which of its blocks."""
        rng = np.random.default_rng([self.seed, 3, step])
        level = int(rng.choice(self.config.levels))
        return level, int(rng.integers(self.config.noises // level))

    def _n_poses(self, level: int) -> int:
        return max(1, min(self.config.max_poses, self.config.rows // level))
