"""Inverse kinematics by regression: one answer for each pose, learned from pairs of joints and poses.

The losses are terms over a batch of predictions, weighted and added: the joints' squared error, and the tip's distance
and angle by forward kinematics, which is part of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile
from hybrid_ik.encoding import Encoder, Encoding
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.data import exact_poses, inner_poses_torch
from hybrid_ik.learning.loop import LoopConfig, run, warm_cosine
from hybrid_ik.learning.postures import posture_signs
from hybrid_ik.learning.state import TrainingState

Array = NDArray[np.float64]

SMALLEST = 1e-12  # m^2, added under square roots, whose slope is infinite at 0
MOST_OF_A_TURN = 5.0  # rad; a joint that can turn farther has a cut, where the two ends of a turn are one pose


@dataclass(frozen=True, kw_only=True)
class RegressionConfig(LoopConfig):
    """A regressor, its data and its loss. By default: joints and the tip's position, equally weighted."""

    lr: float = 2e-3
    warmup: int = 300
    ema_decay: float = 0.999
    epochs: int = 100
    """Passes over the data."""
    batch: int = 512
    """Pairs of a step."""
    poses: int = 200_000
    """Pairs in all."""
    validation_share: float = 0.1
    """Share of them that is never trained on."""
    data_seed: int = 0
    """Seed of the pairs, and of which are kept for validation."""
    posture: tuple[int, int, int] | None = None
    """Signs of shoulder, elbow and wrist that all pairs have (`posture_signs`); None for joints of any posture."""
    turn: float = 3.2
    """With a posture: joints that can turn by more than 5 rad stay within this much of the middle of their range [rad].
    Less than half a turn keeps them from the cut where the two ends of a turn are the same pose."""
    sizes: tuple[int, ...] = (256, 256, 256)
    """Widths of the hidden layers."""
    encoding: Encoding = "quaternion"
    """How a pose is told; see `Encoder`."""
    output: Literal["linear", "bounded"] = "linear"
    """bounded: joints within their limits by construction, through a hyperbolic tangent."""
    joint_weight: float = 1.0
    """Weight of the joints' mean squared error [1 / rad^2]."""
    position_weight: float = 1.0
    """Weight of the tip's mean distance [1 / m], at the end where it is scheduled."""
    orientation_weight: float = 0.0
    """Weight of the tip's mean angle [1 / rad]."""
    hardness: float = 0.0
    """alpha of the weights 1 + alpha e / mean(e) of each sample's distance e: far ones count more."""
    schedule: Literal["constant", "linear"] = "constant"
    """linear: position_weight rises in proportion to the epoch, from 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0.0 < self.validation_share < 1.0 or self.steps_per_epoch < 1:
            raise InvalidInputError(
                f"poses, validation_share, batch: {self.poses} pairs, of which a share of {self.validation_share} is "
                f"kept, do not fill a batch of {self.batch}"
            )
        if not self.sizes or min(self.sizes) < 1:
            raise InvalidInputError(f"sizes: expected widths of at least one hidden layer, got {self.sizes}")
        for name in ("joint_weight", "position_weight", "orientation_weight", "hardness"):
            if not getattr(self, name) >= 0.0:
                raise InvalidInputError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if self.joint_weight == self.position_weight == self.orientation_weight == 0.0:
            raise InvalidInputError("joint_weight, position_weight, orientation_weight: all of them are 0")

    @property
    def n_validation(self) -> int:
        """Pairs kept for validation."""
        return round(self.validation_share * self.poses)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of the pairs that are trained on."""
        return (self.poses - self.n_validation) // self.batch


class Pairs(NamedTuple):
    """Joints and the inner poses they reach."""

    q: Array
    """`(n, dof)` [rad, or m]."""
    position: Array
    """`p_first_last` `(n, 3)` [m]."""
    rotation: Array
    """`R_first_last` `(n, 3, 3)`."""


class Errors(NamedTuple):
    """Of a batch of predictions, `(n,)` each."""

    joints: Tensor
    """Mean squared error of the joints [rad^2]."""
    position: Tensor
    """Distance of the tip from its target [m]."""
    orientation: Tensor
    """Angle between the tip and its target, as the chord 2 sin(a / 2) [rad]."""


class Regressor(nn.Module):
    """A multilayer perceptron from a pose's features to normalised joints, with ReLU between its layers."""

    def __init__(self, n_features: int, n_joints: int, sizes: tuple[int, ...], output: str) -> None:
        super().__init__()
        widths = [n_features, *sizes, n_joints]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.bounded = output == "bounded"

    def forward(self, condition: Tensor) -> Tensor:
        """`(*batch, n_features)` to `(*batch, n_joints)`."""
        h = condition
        for layer in self.layers[:-1]:
            h = torch.relu(layer(h))
        x = self.layers[-1](h)
        return torch.tanh(x) if self.bounded else x


def train_regressor(chain: Chain, config: RegressionConfig, *, resume: bool = False) -> NetworkFile:
    """Train a regressor for an arm and write it to `config.out`; stops and resumes as `training.train` does.

    Raises:
        InvalidInputError: a posture for an arm of another kind, or an encoding that leaves joints to closed forms.
        CheckpointError: there is nothing to resume, or it belongs to another arm or other options.
    """
    return run(RegressionTask(chain, config), resume=resume)


def make_pairs(chain: Chain, config: RegressionConfig) -> tuple[Pairs, Pairs]:
    """Pairs to train on, and pairs to validate with; joints uniform over what the options allow."""
    rng = np.random.default_rng(config.data_seed)
    lower, upper = chain.sample_lower.copy(), chain.sample_upper.copy()
    if config.posture is not None:
        turns = upper - lower > MOST_OF_A_TURN
        middle = 0.5 * (lower + upper)
        lower = np.where(turns, np.maximum(lower, middle - config.turn), lower)
        upper = np.where(turns, np.minimum(upper, middle + config.turn), upper)
    found, n = [np.empty((0, chain.dof))], 0
    while n < config.poses:
        q = rng.uniform(lower, upper, (config.poses, chain.dof))
        if config.posture is not None:
            q = q[(posture_signs(chain, q) == config.posture).all(-1)]
        found.append(q)
        n += len(q)
    q = np.concatenate(found)[: config.poses]
    position, rotation = exact_poses(chain, q)
    split = slice(config.n_validation), slice(config.n_validation, None)
    validation, training = (Pairs(q[part], position[part], rotation[part]) for part in split)
    return training, validation


def prediction_errors(chain: Chain, q: Tensor, q_true: Tensor, position: Tensor, rotation: Tensor) -> Errors:
    """Errors of joints `(n, dof)` by forward kinematics, with gradients with respect to `q`.

    Args:
        chain: the arm, with its tool.
        q: predicted joints.
        q_true: the joints that the poses were made from.
        position: `p_first_tip` `(n, 3)` of the targets [m].
        rotation: `R_first_last` `(n, 3, 3)` of the targets.
    """
    p, R = inner_poses_torch(chain, q)
    tool = q.new_tensor(chain.T_last_tip[:3, 3])
    distance = ((p + R @ tool - position).square().sum(-1) + SMALLEST).sqrt()
    chord = (0.5 * (R - rotation).square().sum((-2, -1)) + SMALLEST).sqrt()
    return Errors((q - q_true).square().mean(-1), distance, chord)


def hard_weights(error: Tensor, hardness: float) -> Tensor:
    """w = 1 + alpha e / mean(e), `(n,)`, without a gradient."""
    error = error.detach()
    return 1.0 + hardness * error / error.mean().clamp_min(SMALLEST)


def scheduled_weight(most: float, epoch: int, epochs: int, schedule: str) -> float:
    """The weight in an epoch, from 0 to `epochs` - 1: constant, or most (epoch / epochs)."""
    return most if schedule == "constant" else most * epoch / epochs


class RegressionTask:
    """The `Task` of a regressor."""

    kind = "regressor"
    hint = "Lower lr or clip"

    def __init__(self, chain: Chain, config: RegressionConfig) -> None:
        self.chain, self.config = chain, config
        self.all_steps = config.epochs * config.steps_per_epoch
        self.encoder = Encoder(chain, config.encoding)
        if self.encoder.n_joints != chain.dof:
            raise InvalidInputError(
                f'encoding: a regressor proposes every joint; expected another than "{config.encoding}"'
            )
        self.training, self.validation = make_pairs(chain, config)

    def build_network(self) -> Regressor:
        """See `Task`."""
        config = self.config
        return Regressor(self.encoder.n_features, self.chain.dof, config.sizes, config.output)

    def learning_rate(self, step: int) -> float:
        """See `Task`."""
        return warm_cosine(step, self.all_steps, self.config.warmup, self.config.lr)

    def losses(self, state: TrainingState, seed: int) -> Callable[[], Tensor]:
        """See `Task`. The order of an epoch follows from the seed and its number."""
        data, order, config = self._tensors(self.training, state), torch.empty(0), self.config

        def next_loss() -> Tensor:
            nonlocal order
            epoch, batch = divmod(state.step, config.steps_per_epoch)
            if batch == 0 or not len(order):
                shuffler = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
                order = torch.randperm(len(self.training.q), generator=shuffler)
            rows = order[batch * config.batch : (batch + 1) * config.batch].to(data[0].device)
            condition, *targets = (part[rows] for part in data)
            errors = prediction_errors(self.chain, self.joints(state.network, condition), *targets)
            return self._loss(errors, epoch)

        return next_loss

    def joints(self, network: Any, condition: Tensor) -> Tensor:
        """Predicted joints `(n, dof)` [rad, or m]."""
        x = network(condition)
        lower, upper = (x.new_tensor(limit) for limit in (self.encoder.lower, self.encoder.upper))
        return cast(Tensor, (x + 1.0) * (0.5 * (upper - lower)) + lower)

    @torch.no_grad()
    def measures(self, state: TrainingState) -> dict[str, float]:
        """Errors on the validation pairs: joint MSE [rad^2], and statistics of the tip's distance [m]."""
        condition, *targets = self._tensors(self.validation, state)
        errors = prediction_errors(self.chain, self.joints(state.average, condition), *targets)
        distance = errors.position.cpu().double().numpy()
        return {"joint_mse": float(errors.joints.mean()), **distance_statistics(distance)}

    def contents(self, state: TrainingState) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the network is made of."""
        config = self.config
        return {}, {"sizes": list(config.sizes), "output": config.output, "encoding": config.encoding}

    def _loss(self, errors: Errors, epoch: int) -> Tensor:
        config = self.config
        position_weight = scheduled_weight(config.position_weight, epoch, config.epochs, config.schedule)
        loss = config.joint_weight * errors.joints.mean()
        if position_weight:
            weights = hard_weights(errors.position, config.hardness)
            loss = loss + position_weight * (weights * errors.position).mean()
        if config.orientation_weight:
            loss = loss + config.orientation_weight * errors.orientation.mean()
        return loss

    def _tensors(self, pairs: Pairs, state: TrainingState) -> tuple[Tensor, ...]:
        """Conditions, joints, tip positions and rotations, float32, on the device of the run."""
        tip = pairs.position + pairs.rotation @ self.chain.T_last_tip[:3, 3]
        condition = self.encoder.encode(pairs.position, pairs.rotation)
        parts = condition, pairs.q, tip, pairs.rotation
        return tuple(torch.from_numpy(part.astype(np.float32)).to(state.generator.device) for part in parts)


def distance_statistics(distance: Array) -> dict[str, float]:
    """Mean, standard deviation, 95th and 99th percentile and maximum of distances `(n,)` [m]."""
    p95, p99 = np.quantile(distance, [0.95, 0.99])
    values = {"mean": distance.mean(), "std": distance.std(), "p95": p95, "p99": p99, "max": distance.max()}
    return {f"distance_{name}": float(value) for name, value in values.items()}
