"""The second phase of training: the samples of a pose, as a set, are brought onto its whole solution set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.measures import one_step_samples
from hybrid_ik.learning.networks import VelocityNetwork
from hybrid_ik.learning.noise import NOISE_TABLE, noise_table

SMOOTH = 0.01  # rad, or m: below it the distance is rounded off, for its gradient has a jump at 0


@dataclass(frozen=True, kw_only=True)
class MatchingConfig:
    """How long, and on what, samples are matched to answers."""

    steps: int = 30_000
    """Optimiser steps; 0 leaves this part of the training out."""
    levels: tuple[int, ...] = (16, 64, 256)
    """Numbers of noises, and answers, that are matched at a time; each step draws one. Powers of two."""
    rows: int = 4096
    """Noises of a step: that many poses share them as the level leaves room for, ..."""
    max_poses: int = 64
    """... but no more than this."""
    starts_per_answer: int = 4
    """Random starts refined for each answer."""
    lr: float = 1e-3
    """Highest learning rate."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InvalidInputError(f"matching.steps: expected 0 or more, got {self.steps}")
        for name in ("rows", "max_poses", "starts_per_answer"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"matching.{name}: expected at least 1, got {getattr(self, name)}")
        if not self.levels or any(k < 1 or k & (k - 1) or k > NOISE_TABLE for k in self.levels):
            raise InvalidInputError(
                f"matching.levels: expected powers of two up to {NOISE_TABLE}, got {self.levels}: only such blocks of "
                "the noise table are spread evenly"
            )
        if not self.lr > 0:
            raise InvalidInputError(f"matching.lr: expected a positive number, got {self.lr}")


class Matching:
    """The loss of each step, with its data.

    The noises are those that the sampler will use, the first ones of the table in the network file, in blocks of the
    step's level. So a noise learns its place among its neighbours: 16 starts are 16 answers spread over the set, and
    256 fill the gaps between them. (Fresh noises in each step, Panda, 8 minutes more of training: coverage with 64
    starts .69 instead of .72, raw samples in the basin .36 instead of .40.)

    Args:
        encoder: the arm, and how its poses and joints are told.
        config: the options.
        seed: of the poses, their answers, and the levels.
        n_done: steps done by an earlier run that this one continues.
    """

    def __init__(self, encoder: Encoder, config: MatchingConfig, seed: int, n_done: int = 0) -> None:
        from hybrid_ik.learning.answers import AnswerStream  # it needs numba, which MeanFlow alone does not

        self.config, self.seed, self.step = config, seed, n_done
        self._answers = AnswerStream(encoder, max(config.levels), config.starts_per_answer, seed)
        for step in range(n_done):
            self._answers.skip(self._n_poses(self._draw(step)[0]))
        self._noise = noise_table(encoder.n_joints)[: max(config.levels)]
        self._half_range = torch.as_tensor(0.5 * (encoder.upper - encoder.lower), dtype=torch.float32)

    def next_loss(self, network: VelocityNetwork, device: torch.device) -> Tensor:
        """The loss of the next poses, all of them with the same block of noises."""
        level, block = self._draw(self.step)
        self.step += 1
        batch = self._answers.next_batch(self._n_poses(level), level)
        answers, condition = (torch.from_numpy(part).to(device) for part in batch)
        noise = self._noise[block * level : (block + 1) * level].to(device)
        half_range = self._half_range.to(device)
        return matched_distance(one_step_samples(network, noise, condition) * half_range, answers * half_range)

    def _draw(self, step: int) -> tuple[int, int]:
        """Level of a step, and which of its blocks."""
        rng = np.random.default_rng([self.seed, 3, step])
        level = int(rng.choice(self.config.levels))
        return level, int(rng.integers(max(self.config.levels) // level))

    def _n_poses(self, level: int) -> int:
        return max(1, min(self.config.max_poses, self.config.rows // level))


def matched_distance(samples: Tensor, answers: Tensor) -> Tensor:
    r"""Mean distance between samples and the answers they are matched with, one to one.

    For each pose the permutation :math:`\pi` that minimises :math:`\sum_i |x_i - y_{\pi(i)}|^2` is found (scipy's
    `linear_sum_assignment`, after Crouse, 2016: "On implementing 2D rectangular assignment algorithms"); the loss is
    the mean of :math:`\sqrt{|x_i - y_{\pi(i)}|^2 + \epsilon^2}`. Distances and not their squares: a noise that could
    go to either of two branches then settles on one, where squares would leave it halfway between them.

    Args:
        samples: `(m, n, n_joints)` [rad, or m].
        answers: `(m, n, n_joints)` [rad, or m].

    Returns:
        A scalar [rad, or m], differentiable in the samples.
    """
    squared = torch.cdist(samples.detach(), answers).square().cpu().numpy()
    order = torch.from_numpy(np.stack([linear_sum_assignment(cost)[1] for cost in squared])).to(answers.device)
    matched = torch.take_along_dim(answers, order[..., None], 1)
    return ((samples - matched).square().sum(-1) + SMOOTH**2).sqrt().mean()
