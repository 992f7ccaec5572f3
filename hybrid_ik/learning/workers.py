"""Several processes on one run, as torchrun starts them: each has data of its own, and they share every step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Workers:
    """The processes of a run; one alone where torchrun started none.

    Gradients are averaged explicitly after the backward pass. `DistributedDataParallel` hooks into the forward call of
    the module it wraps; the derivative in time and the two parts of our networks go around that call.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    @torch.no_grad()
    def share(self, network: nn.Module) -> None:
        """Everybody takes over the first one's weights and buffers."""
        if self.size > 1:
            for value in (*network.parameters(), *network.buffers()):
                dist.broadcast(value, 0)

    @torch.no_grad()
    def average(self, network: nn.Module, loss: Tensor, stop: bool) -> tuple[Tensor, bool]:
        """Gradients become those of all data; returns the mean loss, and whether any process wants to stop.

        Buffers, which only batch normalisation has, become the means of all.
        """
        loss = loss.detach()
        if self.size == 1:
            return loss, stop
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        buffers = [b for b in network.buffers() if b.is_floating_point()]
        parts = [*gradients, *buffers, loss, torch.tensor(float(stop), device=loss.device)]
        flat = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(flat)
        flat /= self.size
        means = flat.split([part.numel() for part in parts])
        for part, mean in zip((*gradients, *buffers), means, strict=False):
            part.copy_(mean.view_as(part))
        return means[-2][0], bool(means[-1] > 0)

    def wait(self) -> None:
        """Until everybody is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def torchrun_workers(device: torch.device) -> Iterator[Workers]:
    """The processes that torchrun's environment names (RANK, WORLD_SIZE), connected by NCCL, or by Gloo on CPUs.

    A group that is there already is used, and left as it is: a second one in the same processes may find the addresses
    of the first in torchrun's store, and wait for ever.
    """
    if dist.is_available() and dist.is_initialized():
        yield Workers(dist.get_rank(), dist.get_world_size())
        return
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Workers()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(rank, size)
    finally:
        dist.destroy_process_group()
