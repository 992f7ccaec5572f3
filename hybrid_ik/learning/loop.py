"""The training loop, in one piece and for every network: loss, AdamW, moving average, checkpoints, logs, resuming."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile, load_network, save_network
from hybrid_ik.errors import HybridIKError, InvalidInputError
from hybrid_ik.learning.logs import LOG_FILE as LOG_FILE
from hybrid_ik.learning.logs import Log
from hybrid_ik.learning.state import TrainingState, new_state
from hybrid_ik.learning.workers import torchrun_workers

logger = logging.getLogger(__name__)

STATE_FILE, NETWORK_FILE = "state.safetensors", "network.safetensors"


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Options of every training."""

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
    wandb: bool = False
    """Send the log to Weights & Biases too (the package `wandb`, after `wandb login`)."""
    wandb_project: str = "hybrid-ik"
    """Its project."""
    wandb_name: str | None = None
    """The run's name there; by default that of the folder `out`."""
    out: Path = Path("runs/train")
    """Folder of the run: state.safetensors, network.safetensors, log.jsonl."""

    # Where a run writes, how often and on which device does not make it another one.
    FREE: ClassVar = frozenset(
        {"out", "device", "log_interval", "checkpoint_interval", "tensorboard", "wandb", "wandb_project", "wandb_name"}
    )

    def __post_init__(self) -> None:
        for name in ("log_interval", "checkpoint_interval"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise InvalidInputError(f"{name}: expected a positive number, got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise InvalidInputError(f"ema_decay: expected a number in [0, 1), got {self.ema_decay}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON gives it back."""
        plain: dict[str, Any] = json.loads(json.dumps({**asdict(self), "out": str(self.out)}))
        return plain

    def of_the_run(self) -> dict[str, Any]:
        """The options that a run must be resumed with."""
        return {key: value for key, value in self.to_dict().items() if key not in self.FREE}


class Task(Protocol):
    """What is trained: a network, its loss, and what it is worth."""

    kind: str
    """What the network does, as its file says; see `NetworkFile.kind`."""
    chain: Chain
    """The arm."""
    all_steps: int
    """Steps from the beginning to the end."""
    hint: str
    """What may help where the loss is no number any more."""

    @property
    def config(self) -> LoopConfig:
        """The options."""

    def build_network(self) -> nn.Module:
        """A fresh network; its weights from torch's global generator."""

    def learning_rate(self, step: int) -> float:
        """Of a step."""

    def losses(self, state: TrainingState, seed: int) -> Callable[[], Tensor]:
        """What gives the loss of the state's step, on data that follow from the seed and the state alone."""

    def measures(self, state: TrainingState) -> dict[str, float]:
        """What the averaged network is worth on the validation set."""

    def contents(self, state: TrainingState) -> tuple[dict[str, Any], dict[str, Any]]:
        """What goes into the network file beside the averaged weights: further arrays, and the network's options."""


def run(task: Task, *, resume: bool = False) -> NetworkFile:
    """Train a network and write it to the folder of its options; see `training.train`."""
    config = task.config
    device = choose_device(config.device)
    with (
        torchrun_workers(device) as workers,
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        state = open_run(task, device, resume)
        workers.share(state.network)
        seed = config.seed + 1_000_003 * workers.rank
        if not workers.leads:
            state.generator.manual_seed(seed + state.step)
        next_loss = task.losses(state, seed)
        with _stop_requests() as requested, Log(config, state.step, workers.leads) as log:
            progress = tqdm(total=task.all_steps, initial=state.step, disable=None if workers.leads else True)
            started = time.monotonic() - state.seconds
            total, logged, stop = torch.zeros((), device=device), state.step, requested.is_set()
            while state.step < task.all_steps and not stop:
                loss = next_loss()
                state.optimizer.zero_grad()
                loss.backward()
                loss, stop = workers.average(state.network, loss, requested.is_set())
                torch.nn.utils.clip_grad_norm_(state.network.parameters(), config.clip)
                lr = state.optimizer.param_groups[0]["lr"] = task.learning_rate(state.step)
                state.optimizer.step()
                state.step += 1
                state.update_average(config.ema_decay)
                state.seconds = time.monotonic() - started
                progress.update()

                total += loss
                if state.step % config.log_interval == 0:
                    mean = _finite(total, state.step, task.hint) / (state.step - logged)
                    log.write(step=state.step, seconds=state.seconds, lr=lr, loss=mean)
                    total, logged = torch.zeros_like(total), state.step
                if workers.leads and state.step % config.checkpoint_interval == 0 and state.step < task.all_steps:
                    log.write(step=state.step, **_checkpoint(task, state))
            progress.close()
            _finite(total, state.step, task.hint)
            if workers.leads:
                log.write(step=state.step, **_checkpoint(task, state))
            workers.wait()
    if state.step < task.all_steps:
        logger.warning("stopped at step %d of %d; continue with resume", state.step, task.all_steps)
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


def warm_cosine(step: int, steps: int, warmup: int, peak: float) -> float:
    """Learning rate of a step: a linear warm-up, then half a cosine that reaches zero after the last one."""
    warmup = min(warmup, steps // 2)
    if step < warmup:
        return peak * (step + 1) / warmup
    return 0.5 * peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def open_run(task: Task, device: torch.device, resume: bool) -> TrainingState:
    """A new run, or the one in its folder."""
    config = task.config
    path = config.out / STATE_FILE
    if path.exists() and not resume:
        raise InvalidInputError(f"{config.out} already holds a run; resume it, or choose another folder")
    torch.manual_seed(config.seed)
    state = new_state(task.build_network().to(device), config.lr, config.weight_decay, config.seed)
    if resume:
        state.load(path, task.chain, config.of_the_run())
    return state


def _checkpoint(task: Task, state: TrainingState) -> dict[str, float]:
    """Write the state and the averaged network; returns the measures that were taken on the way."""
    config, measures = task.config, task.measures(state)
    state.save(config.out / STATE_FILE, task.chain, config.of_the_run())
    weights = {name: value.detach().cpu().numpy() for name, value in state.average.state_dict().items()}
    arrays, options = task.contents(state)
    save_network(
        config.out / NETWORK_FILE,
        {**weights, **arrays},
        kind=task.kind,
        chain=task.chain,
        options=options,
        record={
            "training": config.to_dict(),
            "steps": state.step,
            "seconds": round(state.seconds, 1),
            "device": _device_name(state.generator.device),
            "torch": torch.__version__,
            "measures": measures,
        },
    )
    return measures


def _finite(total: Tensor, step: int, hint: str) -> float:
    value = float(total)
    if not math.isfinite(value):
        raise HybridIKError(f"the loss is not a finite number at step {step}; the last checkpoint is untouched. {hint}")
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
