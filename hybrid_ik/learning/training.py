"""Training of MeanFlow networks: what is learned in each step, and how it is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile
from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.data import PairStream, ValidationSet
from hybrid_ik.learning.loop import LoopConfig, run, warm_cosine
from hybrid_ik.learning.matching import Matching, MatchingConfig
from hybrid_ik.learning.meanflow import MeanFlowConfig, meanflow_loss
from hybrid_ik.learning.measures import measure_raw
from hybrid_ik.learning.networks import NetworkConfig, VelocityNetwork, build_network
from hybrid_ik.learning.noise import noise_table
from hybrid_ik.learning.state import TrainingState

if TYPE_CHECKING:
    from hybrid_ik.learning.answers import AnswerPairs

VALIDATION_NOISES = 16
VALIDATION_SEED = 7


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LoopConfig):
    """How a network is trained: MeanFlow first, then matching. The defaults made the shipped Panda network."""

    steps: int = 15_000
    """Optimiser steps of the MeanFlow loss; the learning rate falls to zero at the last one. 0 for matching alone."""
    batch_poses: int = 256
    """Poses of a step."""
    noises_per_pose: int = 8
    """Noises and times drawn for each pose of a step."""
    answers_per_pose: int = 1
    """Answers of a pose that its noises are paired with. 1: the joints that the pose was made from. More: that many
    spread over its whole solution set, of which each noise draws one."""
    instant_first: float = 0.0
    """Share of the MeanFlow steps, the first ones, that are trained at r = t alone, which is flow matching."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The network."""
    loss: MeanFlowConfig = field(default_factory=MeanFlowConfig)
    """The MeanFlow loss."""
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    """What comes after it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 0 or self.all_steps < 1:
            raise InvalidInputError(f"steps: expected at least 1 in all, got {self.steps} and {self.matching.steps}")
        if self.matching.steps and self.loss.mode != "meanflow":
            raise InvalidInputError(
                "matching.steps: matching is for a mean velocity; expected 0 with loss.mode baseline"
            )
        if not 0 <= self.instant_first <= 1:
            raise InvalidInputError(f"instant_first: expected a share in [0, 1], got {self.instant_first}")
        for name in ("batch_poses", "noises_per_pose", "answers_per_pose"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: expected at least 1, got {getattr(self, name)}")

    @property
    def all_steps(self) -> int:
        """Steps of both parts."""
        return self.steps + self.matching.steps


def train(
    chain: Chain, config: TrainConfig, *, validation: ValidationSet | None = None, resume: bool = False
) -> NetworkFile:
    """Train a network for an arm and write it to `config.out`.

    A resumed run ends with the same bits as one that was never interrupted (same machine and versions). SIGINT and
    SIGTERM end the run after the step under way, with everything saved.

    Under torchrun every process trains on data of its own, with `batch_poses` poses each, and gradients are averaged;
    the first one writes. There a resumed run goes on with other data than an uninterrupted one in all but the first.

    Args:
        chain: the arm.
        config: the options.
        validation: poses to measure on; made by the chain where None.
        resume: continue the run in `config.out`; without it a folder that holds a run is refused.

    Returns:
        The network file written last.

    Raises:
        CheckpointError: there is nothing to resume, or it belongs to another arm or other options.
        HybridIKError: the loss is not finite any more.
    """
    return run(MeanFlowTask(chain, config, validation), resume=resume)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: in each part a linear warm-up, then half a cosine that reaches zero after its end."""
    if step < config.steps:
        return warm_cosine(step, config.steps, config.warmup, config.lr)
    return warm_cosine(step - config.steps, config.matching.steps, config.warmup, config.matching.lr)


class MeanFlowTask:
    """The `Task` of a MeanFlow network."""

    kind = "meanflow"
    hint = "Lower lr or clip, or train more rows at r = t (loss.share_instant)"

    def __init__(self, chain: Chain, config: TrainConfig, validation: ValidationSet | None = None) -> None:
        self.chain, self.config = chain, config
        self.all_steps = config.all_steps
        self._validation = ValidationSet.from_chain(chain) if validation is None else validation
        self._encoder = Encoder(chain, config.network.encoding)
        self._noise = noise_table(self._encoder.n_joints)

    def build_network(self) -> VelocityNetwork:
        """See `Task`."""
        return build_network(self.config.network, self._encoder.n_joints, self._encoder.n_features)

    def learning_rate(self, step: int) -> float:
        """See `Task`."""
        return learning_rate(self.config, step)

    def losses(self, state: TrainingState, seed: int) -> Callable[[], Tensor]:
        """See `Task`."""
        return _Losses(self._encoder, self.config, state, seed).next

    def measures(self, state: TrainingState) -> dict[str, float]:
        """Loss on the validation set, and `RawMeasures`."""
        noise = self._noise[:VALIDATION_NOISES].to(state.generator.device)
        final_time = 0.0 if self.config.loss.mode == "meanflow" else 1.0
        raw = measure_raw(state.average, self._encoder, self._validation, noise, final_time)
        return {"validation_loss": self._validation_loss(state), **asdict(raw)}

    def contents(self, state: TrainingState) -> tuple[dict[str, Any], dict[str, Any]]:
        """The table of noises, and what the network is made of."""
        return {"noise": self._noise.numpy()}, {**asdict(self.config.network), "mode": self.config.loss.mode}

    @torch.no_grad()
    def _validation_loss(self, state: TrainingState) -> float:
        device = state.generator.device
        x, condition = (part.to(device) for part in self._validation.batch(self._encoder))
        generator = torch.Generator(device).manual_seed(VALIDATION_SEED)
        config = self.config
        return float(meanflow_loss(state.average, x, condition, config.noises_per_pose, config.loss, generator))


class _Losses:
    """The loss of each step, on data of its own."""

    def __init__(self, encoder: Encoder, config: TrainConfig, state: TrainingState, seed: int) -> None:
        self.config, self.state, self.seed = config, state, seed
        self._encoder = encoder
        self._pairs = self._make_pairs()
        self._matching: Matching | None = None

    def _make_pairs(self) -> PairStream | AnswerPairs:
        config, generator = self.config, self.state.generator
        if config.answers_per_pose == 1:
            return PairStream(self._encoder, generator)
        from hybrid_ik.learning.answers import AnswerPairs  # it needs numba, which MeanFlow alone does not

        pairs = AnswerPairs(self._encoder, config.answers_per_pose, config.noises_per_pose, generator, self.seed)
        for _ in range(min(self.state.step, config.steps)):
            pairs.stream.skip(config.batch_poses)
        return pairs

    def next(self) -> Tensor:
        """The loss of the state's step."""
        config, state = self.config, self.state
        if state.step < config.steps:
            x, condition = self._pairs.next_batch(config.batch_poses)
            loss = config.loss
            if state.step < config.instant_first * config.steps:
                loss = replace(loss, share_instant=1.0)
            return meanflow_loss(state.network, x, condition, config.noises_per_pose, loss, state.generator)
        if self._matching is None:
            self._matching = Matching(self._encoder, config.matching, self.seed, state.step - config.steps)
        return self._matching.next_loss(state.network, state.generator.device)
