"""Training data from whole solution sets, as answers spread evenly over them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_ik.chain import Chain
from hybrid_ik.encoding import Encoder
from hybrid_ik.kernels.tools import pick_distinct
from hybrid_ik.learning.data import exact_poses
from hybrid_ik.pose import Pose, quaternion_from_matrix
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.refiners.lanes import LaneRefiner

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

CHUNK = 512  # poses made at once
CHUNKS = 16  # poses are drawn from this many chunks; for each pass over them the oldest is replaced
CLOSE = 0.02  # rad, or m: of answers nearer than this one is kept
# Loose: the network is off by a hundred times more.
REFINING = LMConfig(max_iterations=20, position_tolerance=1e-4, orientation_tolerance=1e-4)


class Answers(NamedTuple):
    """Poses and answers to them."""

    q: Array
    """`(m, n, dof)` [rad, or m], spread over the sets; so are the first few of them."""
    condition: Floats
    """`(m, n_features)` what a network is told of the poses."""
    position: Array
    """`p_first_last` `(m, 3)` [m]."""
    rotation: Array
    """`R_first_last` `(m, 3, 3)`."""


class AnswerStream:
    """Poses, each with answers that are spread over all of its solution set.

    Answers are refined random starts. Of those, farthest-point picks (Gonzalez, 1985) are kept, in their order: evenly
    spread, however unevenly the refiner reached them, and so are the first few of them. Where a set has fewer answers
    than asked for, they are repeated alike.

    The order of everything follows from the seed, so that `skip` takes a new stream to where an old one was.

    Args:
        encoder: the arm, and how its poses and joints are told.
        n_answers: answers kept for each pose.
        starts_per_answer: random starts refined for each of them.
        seed: of poses, starts and order.
    """

    def __init__(self, encoder: Encoder, n_answers: int, starts_per_answer: int = 4, seed: int = 0) -> None:
        self.encoder, self.n_answers, self.seed = encoder, n_answers, seed
        self._n_starts = starts_per_answer * n_answers
        bare = replace(encoder.chain, T_base_first=np.eye(4), T_last_tip=np.eye(4))  # conditions are inner poses
        self._refiner = LaneRefiner(bare, REFINING)
        self._period = np.where(_goes_round(encoder.chain), 2.0 * np.pi, 0.0)
        self._chunks: dict[int, Answers] = {}
        self._pass, self._at = 0, 0

    def next_batch(self, n: int, n_answers: int) -> Answers:
        """The next `n` poses, each with its first `n_answers` answers."""
        self.skip(n)
        numbers = range(self._pass, self._pass + CHUNKS)
        self._chunks = {k: self._chunks[k] if k in self._chunks else self.make(CHUNK, k) for k in numbers}
        order = np.random.default_rng([self.seed, 1, self._pass]).permutation(CHUNK * CHUNKS)[self._at - n : self._at]
        rows = [(self._chunks[self._pass + row // CHUNK], row % CHUNK) for row in order]
        q = np.stack([chunk.q[i, :n_answers] for chunk, i in rows])
        return Answers(q, *(np.stack([chunk[k][i] for chunk, i in rows]) for k in (1, 2, 3)))

    def skip(self, n: int) -> None:
        """Goes on as after `next_batch(n, ...)`."""
        if self._at + n > CHUNK * CHUNKS:
            self._pass, self._at = self._pass + 1, 0
        self._at += n

    def make(self, n: int, number: int) -> Answers:
        """`n` poses with all their answers, the same for the same number."""
        chain, rng = self.encoder.chain, np.random.default_rng([self.seed, 0, number])
        q0 = rng.uniform(chain.sample_lower, chain.sample_upper, (n, self._n_starts + 1, chain.dof))
        position, rotation = exact_poses(chain, q0[:, 0])
        result = self._refiner.refine(Pose(position, quaternion_from_matrix(rotation)), q0)
        success = np.ascontiguousarray(result.success)
        q = self._spread(self._wrapped(result.q), success)
        return Answers(q, self.encoder.encode(position, rotation), position, rotation)

    def refined(self, x: Array, batch: Answers) -> tuple[Array, NDArray[np.bool_]]:
        """Joints `(m, n, dof)` that the refiner makes of normalised samples `(m, n, n_joints)`, and which converged."""
        forward = lambda q: exact_poses(self.encoder.chain, q)  # noqa: E731
        q0 = self.encoder.complete(self.encoder.denormalise(x), batch.position, batch.rotation, forward)
        result = self._refiner.refine(Pose(batch.position, quaternion_from_matrix(batch.rotation)), q0)
        return result.q, np.asarray(result.success)

    def _spread(self, q: Array, usable: NDArray[np.bool_]) -> Array:
        """The picks of each row; one is usable at least, the joints that the pose was made from."""
        alike = np.zeros(usable.shape)  # of equal cost, picks stay in the order in which they were made
        picks = pick_distinct(q, usable, alike, self.n_answers, CLOSE, self._period, True)
        count = (picks >= 0).sum(-1, keepdims=True)  # -1 stands behind the picks
        picks = np.take_along_axis(picks, np.arange(self.n_answers) % count, 1)
        return np.take_along_axis(q, picks[..., None], 1)

    def _wrapped(self, q: Array) -> Array:
        """Joints that go round without limits, within half a turn of the middle of the range they are drawn from."""
        middle = self.encoder.chain.middle
        turned = middle + (q - middle + np.pi) % (2.0 * np.pi) - np.pi
        return np.where(_goes_round(self.encoder.chain), turned, q)


class AnswerPairs:
    """Endless pairs (normalised joints, encoded pose) from whole solution sets: each noise draws an answer of its own.

    Args:
        encoder: the arm, and how its poses and joints are told.
        n_answers: answers kept for each pose, evenly spread.
        n_noises: how many of them are drawn.
        generator: source of the draws.
        seed: of the poses and their answers.
    """

    def __init__(self, encoder: Encoder, n_answers: int, n_noises: int, generator: torch.Generator, seed: int) -> None:
        self.stream = AnswerStream(encoder, n_answers, seed=seed)
        self.n_noises, self.generator = n_noises, generator

    def next_batch(self, n: int) -> tuple[Tensor, Tensor]:
        """Normalised joints `(n, n_noises, n_joints)` and conditions `(n, n_features)`, float32, on the device."""
        batch, device = self.stream.next_batch(n, self.stream.n_answers), self.generator.device
        answers = torch.from_numpy(self.stream.encoder.normalise(batch.q)).float().to(device)
        drawn = torch.randint(answers.shape[1], (n, self.n_noises, 1), generator=self.generator, device=device)
        return torch.take_along_dim(answers, drawn, 1), torch.from_numpy(batch.condition).to(device)


def _goes_round(chain: Chain) -> NDArray[np.bool_]:
    return chain.hinges & ~np.isfinite(chain.upper - chain.lower)
