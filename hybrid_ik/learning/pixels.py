"""Joints from pixels, learned from a recording: a plain MLP, or MeanFlow, which knows that several joints fit.

The MLP, its z-scores, its split by episode and its learning rate are those of the pipeline that users of the SO-100
know (MIT, "IK from Data"). Both models run on the loop that all trainings share.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile
from hybrid_ik.errors import CheckpointError, InvalidInputError
from hybrid_ik.learning.loop import LoopConfig, run
from hybrid_ik.learning.meanflow import MeanFlowConfig, meanflow_loss
from hybrid_ik.learning.networks import NetworkConfig, VelocityNetwork, build_network
from hybrid_ik.learning.noise import noise_table
from hybrid_ik.learning.plateau import Plateau
from hybrid_ik.learning.regression import Regressor
from hybrid_ik.learning.state import TrainingState
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.pixel import Features, pixel_features

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

VALIDATION_ROWS = 4096  # at most so many tell the MeanFlow loss, evenly spaced
VALIDATION_SEED = 7
VALIDATION_NOISES = 16
DATA = "data"  # in the training state: which data the run was started with


class PixelData(Protocol):
    """What is trained on; `hybrid_ik.pixels.processed.ProcessedRecording` is one."""

    @property
    def dots(self) -> NDArray[Any]:
        """`(m, n_cameras, n_dots, 2)` [pixels]; NaN where lost."""

    @property
    def joints(self) -> NDArray[Any]:
        """`(m, n_joints)` in `units`."""

    @property
    def episode(self) -> NDArray[Any]:
        """`(m,)` which episode a row is of."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Of the columns of `joints`."""

    @property
    def units(self) -> str:
        """Of `joints`."""

    @property
    def cameras(self) -> Mapping[str, tuple[int, int]]:
        """Names and picture sizes (height, width)."""

    @property
    def dot_names(self) -> tuple[str, ...]:
        """In the order of the dots' third axis."""


@dataclass(frozen=True, kw_only=True)
class PixelConfig(LoopConfig):
    """A network from pixels to joints, and how it is trained. By default the MLP of the pipeline that users know."""

    model: Literal["mlp", "meanflow"] = "mlp"
    """mlp: one answer, the mean of those that fit; meanflow: samples of those that fit."""
    lr: float = 1e-3
    """Highest learning rate, after the warm-up; from there it falls where the validation loss does not."""
    warmup: int = 100
    """Steps over which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """AdamW's weight decay; with 0 it is Adam."""
    ema_decay: float = 0.999
    """Decay per step of the moving average of the weights, which is what gets shipped."""
    epochs: int = 100
    """Passes over the rows."""
    batch: int = 256
    """Rows of a step."""
    validation_share: float = 0.2
    """Share of the episodes that is never trained on; at least one of them."""
    split_seed: int = 0
    """Seed of which episodes those are."""
    features: Features = "middle"
    """What the network is told: the middle of the dots in each camera, or all the dots' pixels."""
    plateau_factor: float = 0.5
    """What the learning rate is multiplied by where the validation loss no longer falls."""
    plateau_patience: int = 5
    """Epochs in a row without a better validation loss before that."""
    sizes: tuple[int, ...] = (256, 128, 64)
    """mlp: widths of the hidden layers, with ReLU."""
    noises_per_row: int = 8
    """meanflow: noises and times drawn for each row of a step."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """meanflow: the network; its encoding is of poses, and not used."""
    loss: MeanFlowConfig = field(default_factory=MeanFlowConfig)
    """meanflow: the loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in ("mlp", "meanflow"):
            raise InvalidInputError(f"model: expected 'mlp' or 'meanflow', got {self.model!r}")
        if self.features not in ("middle", "dots"):
            raise InvalidInputError(f"features: expected 'middle' or 'dots', got {self.features!r}")
        for name in ("epochs", "batch", "noises_per_row"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0.0 < self.validation_share < 1.0:
            raise InvalidInputError(f"validation_share: expected a share in (0, 1), got {self.validation_share}")
        if not (0.0 < self.plateau_factor <= 1.0 and self.plateau_patience >= 0):
            raise InvalidInputError(
                "plateau_factor, plateau_patience: expected a factor in (0, 1] and 0 epochs or more, got "
                f"{self.plateau_factor} and {self.plateau_patience}"
            )
        if not self.sizes or min(self.sizes) < 1:
            raise InvalidInputError(f"sizes: expected widths of at least one hidden layer, got {self.sizes}")


@dataclass(frozen=True, eq=False)
class Scale:
    """Z-scores of columns: x = (value - mean) / std. Columns that do not vary have std 1."""

    mean: Array
    """`(n,)` in the units of the values."""
    std: Array
    """`(n,)` in the units of the values."""

    @classmethod
    def of(cls, rows: Array) -> Scale:
        """Of rows `(m, n)`."""
        mean, std = rows.mean(0), rows.std(0)
        return cls(mean, np.where(std > 1e-9 * (1.0 + np.abs(mean)), std, 1.0))

    def normalise(self, rows: Array) -> NDArray[np.float32]:
        """`(m, n)` z-scores."""
        return ((rows - self.mean) / self.std).astype(np.float32)


def train_pixels(
    data: PixelData, config: PixelConfig, *, chain: Chain | None = None, resume: bool = False
) -> NetworkFile:
    """Train a network from pixels to joints and write it to `config.out`; stops and resumes as `training.train` does.

    Args:
        data: a processed recording.
        config: the options.
        chain: the arm, which the file names; that of the SO-100 by default.
        resume: continue the run in `config.out`.

    Returns:
        The network file written last, of the kind "pixel_mlp" or "pixel_meanflow"; see `samplers.pixel.PixelSampler`.

    Raises:
        InvalidInputError: too few episodes or rows, or joints of another number than the arm's.
        CheckpointError: there is nothing to resume, or it belongs to another arm, other options or other data.
        MissingPackageError: Weights & Biases is asked for, and not installed.
    """
    return run(PixelTask(data, config, chain), resume=resume)


def split_by_episode(episode: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows `(m,)` are kept for validation: all rows of a share of the episodes, at least one of them.

    Raises:
        InvalidInputError: there are fewer than two episodes.
    """
    names = np.unique(episode)
    if len(names) < 2:
        raise InvalidInputError(
            f"episode: expected at least 2 episodes, one of them to validate with, got {len(names)}; rows of one "
            "episode are too alike to be split"
        )
    n_kept = min(max(1, round(share * len(names))), len(names) - 1)
    return np.isin(episode, np.random.default_rng(seed).permutation(names)[:n_kept])


class PixelTask:
    """The `Task` of a network from pixels to joints."""

    hint = "Lower lr or clip"

    def __init__(self, data: PixelData, config: PixelConfig, chain: Chain | None = None) -> None:
        self.chain, self.config = Robot("so100").chain if chain is None else chain, config
        self.kind = f"pixel_{config.model}"
        if data.joints.shape[-1] != self.chain.dof:
            raise InvalidInputError(
                f"joints: {data.joints.shape[-1]} columns ({', '.join(data.joint_names)}), but the arm has "
                f"{self.chain.dof} joints; leave the gripper out, or give the chain of this arm"
            )
        self._about = {
            "units": data.units, "joint_names": list(data.joint_names), "dot_names": list(data.dot_names),
            "cameras": {name: list(size) for name, size in data.cameras.items()},
        }  # fmt: skip
        self._take(data)
        self.steps_per_epoch = len(self.training[0]) // config.batch
        if self.steps_per_epoch < 1:
            raise InvalidInputError(
                f"batch: {len(self.training[0])} rows to train on ({self.rows}) do not fill a batch of {config.batch}"
            )
        self.all_steps = config.epochs * self.steps_per_epoch
        self._noise = noise_table(self.chain.dof)
        self._plateau = self._new_plateau({})

    def _take(self, data: PixelData) -> None:
        """Leaves rows with lost dots out, splits by episode, and takes the z-scores of the rows to train on."""
        features, config = pixel_features(data.dots, self.config.features), self.config
        whole = np.isfinite(features).all(-1)
        features, joints, episode = features[whole], data.joints[whole].astype(float), data.episode[whole]
        kept = split_by_episode(episode, config.validation_share, config.split_seed)
        self.validation_episodes = np.unique(episode[kept]).tolist()
        self.rows = {"trained": int((~kept).sum()), "validated": int(kept.sum()), "lost": int((~whole).sum())}
        logger.info("%(trained)d rows to train on, %(validated)d to validate with, %(lost)d with lost dots", self.rows)
        self.pixels, self.joints = Scale.of(features[~kept]), Scale.of(joints[~kept])
        parts = self.pixels.normalise(features), self.joints.normalise(joints)
        self.training, self.validation = (tuple(part[rows] for part in parts) for rows in (~kept, kept))
        digest = hashlib.sha256(b"".join(part.tobytes() for part in (features, joints, kept))).digest()
        self._digest = torch.frombuffer(bytearray(digest), dtype=torch.uint8)

    def build_network(self) -> nn.Module:
        """See `Task`."""
        n_features, n_joints = len(self.pixels.mean), self.chain.dof
        if self.config.model == "mlp":
            return Regressor(n_features, n_joints, self.config.sizes, "linear")
        return build_network(self.config.network, n_joints, n_features)

    def learning_rate(self, step: int) -> float:
        """A linear warm-up, times what the plateaus of the validation loss have left of it."""
        return self.config.lr * min(1.0, (step + 1) / max(1, self.config.warmup)) * self._plateau.scale

    def losses(self, state: TrainingState, seed: int) -> Callable[[], Tensor]:
        """See `Task`. The order of an epoch follows from the seed and its number; before it, the plateau is told."""
        self._check_data(state)
        self._plateau = self._new_plateau(state.memory)
        condition, x = self._tensors(self.training, state)
        order = torch.empty(0)

        def next_loss() -> Tensor:
            nonlocal order
            epoch, batch = divmod(state.step, self.steps_per_epoch)
            if batch == 0 and epoch:
                self._plateau.record(self.validation_loss(state.network, state))
            if batch == 0 or not len(order):
                shuffler = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
                order = torch.randperm(len(x), generator=shuffler)
            rows = order[batch * self.config.batch : (batch + 1) * self.config.batch].to(x.device)
            return pixel_loss(state.network, x[rows], condition[rows], self.config, state.generator)

        return next_loss

    @torch.no_grad()
    def validation_loss(self, network: nn.Module, state: TrainingState) -> float:
        """Of a network on the validation rows, always with the same noises and times."""
        condition, x = self._tensors(self.validation, state)
        if self.config.model == "meanflow":
            step = -(-len(x) // VALIDATION_ROWS)
            condition, x = condition[::step], x[::step]
        generator = torch.Generator(x.device).manual_seed(VALIDATION_SEED)
        training = network.training
        network.eval()
        loss = float(pixel_loss(network, x, condition, self.config, generator))
        network.train(training)
        return loss

    @torch.no_grad()
    def measures(self, state: TrainingState) -> dict[str, float]:
        """Of the averaged network on the validation rows: its loss, and root mean squares of joints in their units.

        For MeanFlow beside that of one sample that of the best of 16, and the samples' own standard deviation.
        """
        condition, x = self._tensors(self.validation, state)
        loss = {"validation_loss": self.validation_loss(state.average, state)}
        if self.config.model == "mlp":
            return {**loss, "joint_rmse": self._rmse(state.average(condition) - x)}
        samples = sample_joints(state.average, condition, self._noise[:VALIDATION_NOISES].to(x), self.config)
        errors = samples - x[:, None]
        best = (errors * self._units(x)).square().sum(-1).argmin(1)
        return {
            **loss,
            "joint_rmse": self._rmse(errors[:, 0]),
            "joint_rmse_best_of_16": self._rmse(errors[torch.arange(len(x)), best]),
            "joint_spread": self._rmse(samples - samples.mean(1, keepdim=True)),
        }

    def contents(self, state: TrainingState) -> tuple[dict[str, Any], dict[str, Any]]:
        """The z-scores, the table of noises, and what the network is made of and takes and gives."""
        config = self.config
        arrays = {"pixels.mean": self.pixels.mean, "pixels.std": self.pixels.std}
        arrays |= {"joints.mean": self.joints.mean, "joints.std": self.joints.std}
        options = {**self._about, "features": config.features, "rows": self.rows}
        options["validation_episodes"] = self.validation_episodes
        if config.model == "mlp":
            return arrays, {**options, "sizes": list(config.sizes)}
        made_of = {name: value for name, value in asdict(config.network).items() if name != "encoding"}
        return {**arrays, "noise": self._noise.numpy()}, {**options, **made_of, "mode": config.loss.mode}

    def _new_plateau(self, memory: dict[str, Tensor]) -> Plateau:
        return Plateau(memory, self.config.plateau_factor, self.config.plateau_patience)

    def _check_data(self, state: TrainingState) -> None:
        if not torch.equal(state.memory.setdefault(DATA, self._digest), self._digest):
            raise CheckpointError(
                f"{self.config.out} was trained with other data: resume with the recording it was started with, or "
                "choose another folder"
            )

    def _tensors(self, part: tuple[NDArray[np.float32], ...], state: TrainingState) -> tuple[Tensor, ...]:
        """Normalised pixels and joints on the device of the run."""
        return tuple(torch.from_numpy(array).to(state.generator.device) for array in part)

    def _units(self, like: Tensor) -> Tensor:
        return torch.from_numpy(self.joints.std).to(like)

    def _rmse(self, errors: Tensor) -> float:
        """Root mean square of normalised differences `(*batch, n_joints)`, in the joints' units."""
        return float((errors * self._units(errors)).square().mean().sqrt())


def pixel_loss(
    network: nn.Module, x: Tensor, condition: Tensor, config: PixelConfig, generator: torch.Generator
) -> Tensor:
    """Mean squared error of normalised joints, or the MeanFlow loss.

    Args:
        network: a `Regressor`, or a `VelocityNetwork` for MeanFlow.
        x: normalised joints `(n, n_joints)`.
        condition: normalised pixels `(n, n_features)`.
        config: which of them, and its options.
        generator: source of MeanFlow's noises and times.
    """
    if isinstance(network, VelocityNetwork):
        return meanflow_loss(network, x, condition, config.noises_per_row, config.loss, generator)
    return nn.functional.mse_loss(network(condition), x)


def sample_joints(network: VelocityNetwork, condition: Tensor, noise: Tensor, config: PixelConfig) -> Tensor:
    """x = e - u(e, 0, 1 | pixels): normalised joints `(m, n, n_joints)`; r = 1 for flow matching alone.

    Args:
        network: u.
        condition: normalised pixels `(m, n_features)`.
        noise: e `(n, n_joints)`, the same for every row.
        config: the options of the training.
    """
    t = torch.ones(len(noise)).to(noise)
    r = torch.zeros_like(t) if config.loss.mode == "meanflow" else t
    u, _ = network.decode(noise, r, t, network.modulate(condition[:, None]))
    return noise - u
