"""Everything a training run is made of, saved and loaded whole, so that it continues bit for bit."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import load_sealed, save_sealed
from hybrid_ik.errors import CheckpointError

STATE_FORMAT = "hybrid_ik.training"


@dataclass
class TrainingState:
    """A run between two steps."""

    network: Any
    """The weights being trained."""
    average: Any
    """Their moving average."""
    optimizer: torch.optim.AdamW
    """AdamW over the network's parameters."""
    generator: torch.Generator
    """Source of joints, noises and times."""
    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Time spent on them [s]."""
    memory: dict[str, torch.Tensor] = field(default_factory=dict)
    """What the task keeps from step to step beside all this, on the CPU; for instance `plateau.Plateau`."""

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """average <- d average + (1 - d) weights, d = (1 + step) / (10 + step) up to `decay`; buffers are copied."""
        d = min(decay, (1 + self.step) / (10 + self.step))
        for mean, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(weight, 1.0 - d)
        for kept, value in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(value)

    def save(self, path: Path, chain: Chain, options: dict[str, Any]) -> None:
        """Write the state, atomically, with the arm and the options it belongs to."""
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average/{name}": value for name, value in self.average.state_dict().items()}
        for index, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": value for name, value in entry.items()}
        tensors |= {f"random/{name}": value for name, value in self._random_states().items()}
        tensors |= {f"memory/{name}": value for name, value in self.memory.items()}
        content = {"step": self.step, "seconds": self.seconds, "chain": chain.to_dict(), "options": options}
        arrays = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
        save_sealed(path, arrays, STATE_FORMAT, content)

    def load(self, path: Path, chain: Chain, options: dict[str, Any]) -> None:
        """Take over a saved state; `CheckpointError` where it is of another arm or of other options."""
        tensors, content = load_sealed(path, STATE_FORMAT)
        _check_same_run(path, content, chain, options)
        self.network.load_state_dict(_part(tensors, "network/"))
        self.average.load_state_dict(_part(tensors, "average/"))
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _part(tensors, "optimizer/").items():
            index, key = name.split("/")
            entries.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({"state": entries, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self._restore_random(_part(tensors, "random/"))
        self.memory = _part(tensors, "memory/")
        self.step, self.seconds = content["step"], content["seconds"]

    def _random_states(self) -> dict[str, torch.Tensor]:
        """The stream's generator, and the global one, which dropout draws from."""
        states = {"stream": self.generator.get_state(), "global": torch.get_rng_state()}
        if self.generator.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.generator.device)
        return states

    def _restore_random(self, states: dict[str, torch.Tensor]) -> None:
        try:
            self.generator.set_state(states["stream"])
        except RuntimeError as error:
            raise CheckpointError(f"the run was made on another kind of device; resume it there ({error})") from error
        torch.set_rng_state(states["global"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.generator.device)


def new_state(network: nn.Module, lr: float, weight_decay: float, seed: int) -> TrainingState:
    """A run of a network at step 0, on the device where that is."""
    return TrainingState(
        network=network,
        average=copy.deepcopy(network).requires_grad_(False),
        optimizer=torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=weight_decay, fused=True),
        generator=torch.Generator(next(network.parameters()).device).manual_seed(seed),
    )


def _part(tensors: dict[str, NDArray[Any]], prefix: str) -> dict[str, torch.Tensor]:
    chosen = {name: value for name, value in tensors.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): torch.from_numpy(np.copy(value)) for name, value in chosen.items()}


def _check_same_run(path: Path, content: dict[str, Any], chain: Chain, options: dict[str, Any]) -> None:
    if not Chain.from_dict(content["chain"]).matches(chain):
        raise CheckpointError(f"{path} belongs to another arm; choose another folder")
    saved = content["options"]
    for key in sorted(saved.keys() | options.keys()):
        if saved.get(key) != options.get(key):
            raise CheckpointError(
                f"{path} was trained with {key} = {saved.get(key)}, not {options.get(key)}: resume with the options it "
                "was started with, or choose another folder"
            )
