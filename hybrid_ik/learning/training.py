"""The training loop, in one piece: stream, loss, AdamW, moving average, checkpoints, logs."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile, load_network, save_network
from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import HybridIKError, InvalidInputError
from hybrid_ik.learning.data import PairStream, ValidationSet
from hybrid_ik.learning.matching import Matching, MatchingConfig
from hybrid_ik.learning.meanflow import MeanFlowConfig, meanflow_loss
from hybrid_ik.learning.measures import measure_raw
from hybrid_ik.learning.networks import NetworkConfig
from hybrid_ik.learning.noise import noise_table
from hybrid_ik.learning.state import TrainingState, new_state
from hybrid_ik.learning.workers import Workers, torchrun_workers

if TYPE_CHECKING:
    from hybrid_ik.learning.answers import AnswerPairs

logger = logging.getLogger(__name__)

STATE_FILE, NETWORK_FILE, LOG_FILE = "state.safetensors", "network.safetensors", "log.jsonl"
VALIDATION_NOISES = 16
VALIDATION_SEED = 7


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
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
    lr: float = 3e-3
    """Highest learning rate, after the warm-up; from there it falls with a cosine."""
    warmup: int = 1000
    """Steps over which the learning rate rises from zero."""
    weight_decay: float = 1e-4
    """AdamW's weight decay."""
    ema_decay: float = 0.9995
    """Decay per step of the moving average of the weights, which is what gets shipped."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    """Seed of weights, joints, noises and times."""
    device: str = "auto"
    """A torch device; auto takes CUDA where there is one."""
    log_interval: int = 200
    """Steps between lines of the log."""
    checkpoint_interval: int = 5000
    """Steps between checkpoints, each with measures on the validation set."""
    tensorboard: bool = True
    """Write TensorBoard events too, where it is installed."""
    out: Path = Path("runs/train")
    """Folder of the run: state.safetensors, network.safetensors, log.jsonl."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The network."""
    loss: MeanFlowConfig = field(default_factory=MeanFlowConfig)
    """The MeanFlow loss."""
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    """What comes after it."""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.all_steps < 1:
            raise InvalidInputError(f"steps: expected at least 1 in all, got {self.steps} and {self.matching.steps}")
        if self.matching.steps and self.loss.mode != "meanflow":
            raise InvalidInputError(
                "matching.steps: matching is for a mean velocity; expected 0 with loss.mode baseline"
            )
        if not 0 <= self.instant_first <= 1:
            raise InvalidInputError(f"instant_first: expected a share in [0, 1], got {self.instant_first}")
        for name in ("batch_poses", "noises_per_pose", "answers_per_pose", "log_interval", "checkpoint_interval"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise InvalidInputError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise InvalidInputError(f"ema_decay: expected a number in [0, 1), got {self.ema_decay}")

    @property
    def all_steps(self) -> int:
        """Steps of both parts."""
        return self.steps + self.matching.steps

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON gives it back."""
        plain: dict[str, Any] = json.loads(json.dumps({**asdict(self), "out": str(self.out)}))
        return plain


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
    device = choose_device(config.device)
    validation = ValidationSet.from_chain(chain) if validation is None else validation
    with (
        torchrun_workers(device) as workers,
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        state = _open_run(chain, config, device, resume)
        workers.share(state.network)
        if not workers.leads:
            state.generator.manual_seed(_worker_seed(config, workers) + state.step)
        losses = _Losses(chain, config, state, _worker_seed(config, workers))
        with _stop_requests() as requested, _Log(config, state.step, workers.leads) as log:
            progress = tqdm(total=config.all_steps, initial=state.step, disable=None if workers.leads else True)
            started = time.monotonic() - state.seconds
            total, logged, stop = torch.zeros((), device=device), state.step, requested.is_set()
            while state.step < config.all_steps and not stop:
                loss = losses.next()
                state.optimizer.zero_grad()
                loss.backward()
                loss, stop = workers.average(state.network, loss, requested.is_set())
                torch.nn.utils.clip_grad_norm_(state.network.parameters(), config.clip)
                lr = state.optimizer.param_groups[0]["lr"] = learning_rate(config, state.step)
                state.optimizer.step()
                state.step += 1
                state.update_average(config.ema_decay)
                state.seconds = time.monotonic() - started
                progress.update()

                total += loss
                if state.step % config.log_interval == 0:
                    mean = _finite(total, state.step) / (state.step - logged)
                    log.write(step=state.step, seconds=state.seconds, lr=lr, loss=mean)
                    total, logged = torch.zeros_like(total), state.step
                if workers.leads and state.step % config.checkpoint_interval == 0 and state.step < config.all_steps:
                    log.write(step=state.step, **_checkpoint(state, chain, config, validation))
            progress.close()
            _finite(total, state.step)
            if workers.leads:
                log.write(step=state.step, **_checkpoint(state, chain, config, validation))
            workers.wait()
    if state.step < config.all_steps:
        logger.warning("stopped at step %d of %d; continue with resume", state.step, config.all_steps)
    return load_network(config.out / NETWORK_FILE)


def choose_device(name: str) -> torch.device:
    """The torch device of a name; "auto" is CUDA where there is one, else the CPU. Under torchrun each has its own."""
    if name == "auto":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidInputError(f"device {name!r} cannot be used here ({error}); expected auto, cpu or cuda") from error
    return device


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: in each part a linear warm-up, then half a cosine that reaches zero after its end."""
    first = step < config.steps
    steps, peak = (config.steps, config.lr) if first else (config.matching.steps, config.matching.lr)
    step = step if first else step - config.steps
    warmup = min(config.warmup, steps // 2)
    if step < warmup:
        return peak * (step + 1) / warmup
    return 0.5 * peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


class _Losses:
    """The loss of each step, on data of its own."""

    def __init__(self, chain: Chain, config: TrainConfig, state: TrainingState, seed: int) -> None:
        self.config, self.state, self.seed = config, state, seed
        self._encoder = Encoder(chain, config.network.encoding)
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


def _worker_seed(config: TrainConfig, workers: Workers) -> int:
    return config.seed + 1_000_003 * workers.rank


def _open_run(chain: Chain, config: TrainConfig, device: torch.device, resume: bool) -> TrainingState:
    path = config.out / STATE_FILE
    if path.exists() and not resume:
        raise InvalidInputError(f"{config.out} already holds a run; resume it, or choose another folder")
    torch.manual_seed(config.seed)
    state = new_state(chain, config.network, config.lr, config.weight_decay, config.seed, device)
    if resume:
        state.load(path, chain, _run_options(config))
    return state


def _run_options(config: TrainConfig) -> dict[str, Any]:
    """The options that make a run what it is; where it writes, how often and on which device may change."""
    free = {"out", "device", "log_interval", "checkpoint_interval", "tensorboard"}
    return {key: value for key, value in config.to_dict().items() if key not in free}


def _checkpoint(state: TrainingState, chain: Chain, config: TrainConfig, validation: ValidationSet) -> dict[str, float]:
    """Write the state and the averaged network; returns the measures that were taken on the way."""
    encoder, device = Encoder(chain, config.network.encoding), state.generator.device
    noise = noise_table(encoder.n_joints)
    final_time = 0.0 if config.loss.mode == "meanflow" else 1.0
    raw = measure_raw(state.average, encoder, validation, noise[:VALIDATION_NOISES].to(device), final_time)
    measures = {"validation_loss": _validation_loss(state, chain, config, validation), **asdict(raw)}
    state.save(config.out / STATE_FILE, chain, _run_options(config))
    weights = {name: value.detach().cpu().numpy() for name, value in state.average.state_dict().items()}
    save_network(
        config.out / NETWORK_FILE,
        {**weights, "noise": noise.numpy()},
        kind="meanflow",
        chain=chain,
        options={**asdict(config.network), "mode": config.loss.mode},
        record={
            "training": config.to_dict(),
            "steps": state.step,
            "seconds": round(state.seconds, 1),
            "device": _device_name(device),
            "torch": torch.__version__,
            "measures": measures,
        },
    )
    return measures


@torch.no_grad()
def _validation_loss(state: TrainingState, chain: Chain, config: TrainConfig, validation: ValidationSet) -> float:
    device = state.generator.device
    x, condition = (part.to(device) for part in validation.batch(Encoder(chain, config.network.encoding)))
    generator = torch.Generator(device).manual_seed(VALIDATION_SEED)
    return float(meanflow_loss(state.average, x, condition, config.noises_per_pose, config.loss, generator))


def _finite(total: Tensor, step: int) -> float:
    value = float(total)
    if not math.isfinite(value):
        raise HybridIKError(
            f"the loss is not a finite number at step {step}; the last checkpoint is untouched. Lower lr or clip, or "
            "train more rows at r = t (loss.share_instant)"
        )
    return value


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second signal acts as it always did. Main thread only."""
    event = threading.Event()
    previous: dict[int, Any] = {}

    def request(number: int, frame: Any) -> None:
        event.set()
        signal.signal(number, previous[number])

    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Log:
    """Lines of JSON, and TensorBoard events where it is installed; lines after the resumed step are dropped.

    Only the leading worker writes.
    """

    def __init__(self, config: TrainConfig, step: int, leads: bool) -> None:
        self._file, self._board = None, None
        if not leads:
            return
        config.out.mkdir(parents=True, exist_ok=True)
        path = config.out / LOG_FILE
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("".join(line + "\n" for line in lines if json.loads(line)["step"] <= step))
        self._file = path.open("a")
        self._board = _tensorboard(config.out) if config.tensorboard else None

    def write(self, step: int, **values: float) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("tensorboard is not installed: logging to %s only", LOG_FILE)
        return None
    return SummaryWriter(str(folder))
