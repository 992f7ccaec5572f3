"""What a training writes while it runs: lines of JSON, TensorBoard events, and Weights & Biases when asked."""

from __future__ import annotations

import json
import logging
import math
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.errors import MissingPackageError

if TYPE_CHECKING:
    from hybrid_ik.learning.loop import LoopConfig

logger = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
WANDB_FILE = "wandb_id.txt"  # under which Weights & Biases knows the run of a folder


class Log:
    """Lines of JSON, and TensorBoard events where it is installed; lines after the resumed step are dropped.

    Weights & Biases gets the same numbers where `config.wandb` asks for it. Only the leading worker writes.

    Args:
        config: of the run.
        step: where it begins, or goes on.
        leads: whether this is the leading worker.

    Raises:
        MissingPackageError: Weights & Biases is asked for, and not installed.
    """

    def __init__(self, config: LoopConfig, step: int, leads: bool) -> None:
        self._file, self._board, self._wandb = None, None, None
        if not leads:
            return
        config.out.mkdir(parents=True, exist_ok=True)
        self._wandb = start_wandb(config) if config.wandb else None
        path = config.out / LOG_FILE
        lines = path.read_text().splitlines() if path.exists() else []
        write_atomically(path, "".join(line + "\n" for line in lines if _step(line) <= step).encode())
        self._file = path.open("a")
        self._board = _tensorboard(config.out) if config.tensorboard else None

    def write(self, step: int, **values: float) -> None:
        """Log numbers of a step by name."""
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        for writer in (self._file, self._board):
            if writer is not None:
                writer.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if kind is None else 1)


def start_wandb(config: LoopConfig) -> Any:
    """The run at Weights & Biases; the same one again for a folder that already has one.

    Raises:
        MissingPackageError: the package is not installed.
    """
    try:
        wandb = import_module("wandb")
    except ImportError as error:
        raise MissingPackageError(
            f"wandb: Weights & Biases could not be imported ({error}): "
            "pip install hybrid-ik[wandb], or train without it"
        ) from error
    path = config.out / WANDB_FILE
    run = wandb.init(
        project=config.wandb_project,
        name=config.wandb_name or config.out.name,
        config=config.to_dict(),
        dir=str(config.out),
        id=path.read_text().strip() if path.exists() else None,
        resume="allow",
    )
    path.write_text(f"{run.id}\n")
    return run


def _step(line: str) -> float:
    """Of a line of the log; infinite for one that an interruption cut off."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("tensorboard is not installed: logging to %s only", LOG_FILE)
        return None
    return SummaryWriter(str(folder))
