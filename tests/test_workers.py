"""Two processes on one run: they take the same steps, on the gradient of all data, and end with the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hybrid_ik.learning.workers import Workers

PROGRAM = Path(__file__).with_name("two_workers.py")


def _torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*command, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)


def test_one_worker_changes_nothing():
    network = torch.nn.Linear(2, 1)
    network(torch.ones(2)).sum().backward()
    before = network.weight.grad.clone()
    loss, stop = Workers().average(network, torch.tensor(3.0), stop=True)
    assert torch.equal(network.weight.grad, before) and loss == 3 and stop is True


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_take_the_mean_of_their_gradients_and_train_alike(tmp_path):
    done = _torchrun(str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("worker_*.pt")) == ["worker_0.pt", "worker_1.pt"]
    first, second = (torch.load(tmp_path / f"worker_{rank}.pt", weights_only=True) for rank in (0, 1))
    # each had gradients of its own, from a loss with its derivative in time ...
    assert not torch.equal(first["own"], second["own"])
    # ... and both went on with their mean
    torch.testing.assert_close(first["shared"], 0.5 * (first["own"] + second["own"]))
    assert torch.equal(first["shared"], second["shared"])
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
    assert (tmp_path / "run" / "network.safetensors").is_file()
