"""The training loop on a small arm: it learns, stops, continues bit for bit, and writes what it should."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import turret

from hybrid_ik.checkpoint import load_network
from hybrid_ik.errors import CheckpointError, HybridIKError, InvalidInputError
from hybrid_ik.learning import loop, training
from hybrid_ik.learning.data import ValidationSet
from hybrid_ik.learning.matching import MatchingConfig
from hybrid_ik.learning.meanflow import MeanFlowConfig
from hybrid_ik.learning.networks import NetworkConfig
from hybrid_ik.learning.noise import noise_table
from hybrid_ik.learning.training import TrainConfig, learning_rate, train

# torch's own derivative rules are written with it, and loaded at the first jvp
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

SMALL = NetworkConfig(width=16, depth=2, trunk_width=16, trunk_depth=1)


@pytest.fixture(scope="module")
def arm():
    return turret()


@pytest.fixture
def config(tmp_path):
    return TrainConfig(
        steps=40,
        batch_poses=16,
        noises_per_pose=2,
        warmup=5,
        log_interval=10,
        checkpoint_interval=20,
        tensorboard=False,
        device="cpu",
        out=tmp_path / "run",
        network=SMALL,
        matching=MatchingConfig(steps=0),
    )


def lines(config):
    return [json.loads(line) for line in (config.out / loop.LOG_FILE).read_text().splitlines()]


def stop_after(monkeypatch, step, number=signal.SIGINT):
    """Sends this process a signal while the loop works on a step."""
    loss = training.meanflow_loss
    calls = iter(range(1, 10_000))

    def interrupted(*arguments):
        if next(calls) == step:
            os.kill(os.getpid(), number)
        return loss(*arguments)

    monkeypatch.setattr(training, "meanflow_loss", interrupted)


def test_a_run_writes_network_state_and_log(arm, config):
    before = torch.get_rng_state()
    file = train(arm, config)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's random numbers are left alone
    assert sorted(path.name for path in config.out.iterdir()) == [
        "log.jsonl",
        "network.safetensors",
        "state.safetensors",
    ]
    assert file.kind == "meanflow" and file.chain.matches(arm) and file.options["mode"] == "meanflow"
    assert file.tensors["noise"].shape == (1024, 2)
    assert all(value.dtype == np.float32 for value in file.tensors.values())
    record = file.record
    assert record["steps"] == 40 and record["seconds"] > 0 and "CPU" in record["device"]
    assert record["training"]["lr"] == config.lr and record["training"]["network"]["width"] == 16
    assert record["measures"].keys() == {
        "validation_loss",
        "position_median",
        "orientation_median",
        "share_in_basin",
        "share_outside_limits",
    }
    rows = lines(config)
    assert [row["step"] for row in rows if "loss" in row] == [10, 20, 30, 40]
    assert [row["step"] for row in rows if "share_in_basin" in row] == [20, 40]


@pytest.mark.parametrize("mode", ["meanflow", "baseline"])
def test_the_loss_falls_and_samples_come_nearer(arm, config, mode):
    long = replace(config, steps=600, batch_poses=64, log_interval=100, lr=3e-3, loss=MeanFlowConfig(mode=mode))
    measures = train(arm, long).record["measures"]
    losses = [row["loss"] for row in lines(long) if "loss" in row]
    assert losses[-1] < 0.6 * losses[0]
    rows = [row for row in lines(long) if "position_median" in row]
    assert measures["position_median"] < 0.8 * rows[0]["position_median"]


@pytest.mark.parametrize("network", [SMALL, replace(SMALL, dropout=0.2, norm="batch", architecture="residual")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_continues_bit_for_bit(arm, config, monkeypatch, network, number):
    whole = replace(config, network=network, out=config.out / "whole")
    parted = replace(config, network=network, out=config.out / "parted")
    expected = train(arm, whole)
    with monkeypatch.context() as patch:
        stop_after(patch, 13, number)
        part = train(arm, parted)
    assert part.record["steps"] == 13
    torch.rand(3)  # what happens in between does not matter
    resumed = train(arm, parted, resume=True)
    assert resumed.record["steps"] == 40
    for name, value in expected.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[name], value)
    assert resumed.record["measures"] == expected.record["measures"]
    assert [row["step"] for row in lines(parted) if "loss" in row] == [10, 20, 30, 40]


def test_a_resumed_run_forgets_log_lines_after_its_checkpoint(arm, config, monkeypatch):
    train(arm, replace(config, steps=20))
    state = (config.out / loop.STATE_FILE).read_bytes()
    with (config.out / loop.LOG_FILE).open("a") as log:
        log.write('{"step": 30, "loss": 1.0}\n{"step": 4')  # the last line was cut off
    assert (config.out / loop.STATE_FILE).read_bytes() == state
    train(arm, replace(config, steps=20), resume=True)
    assert max(row["step"] for row in lines(config)) == 20


def test_signals_act_as_before_after_training(arm, config):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(arm, replace(config, steps=1))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_folder_with_a_run_is_not_overwritten(arm, config):
    train(arm, replace(config, steps=2))
    with pytest.raises(InvalidInputError, match="already holds a run; resume it"):
        train(arm, replace(config, steps=2))


def test_only_the_same_run_is_resumed(arm, config):
    with pytest.raises(CheckpointError, match="no such file"):
        train(arm, config, resume=True)
    train(arm, replace(config, steps=2))
    with pytest.raises(CheckpointError, match=r"trained with lr = 0.003, not 0.5"):
        train(arm, replace(config, steps=2, lr=0.5), resume=True)
    with pytest.raises(CheckpointError, match="another arm"):
        train(replace(arm, upper=arm.upper + 0.5), replace(config, steps=2), resume=True)


def test_a_loss_that_is_no_number_ends_the_run_with_the_last_checkpoint_kept(arm, config, monkeypatch):
    loss = training.meanflow_loss
    calls = iter(range(1, 10_000))

    def diverging(network, *arguments):
        nan = float("nan") if network.training and next(calls) > 25 else 1.0
        return nan * loss(network, *arguments)

    monkeypatch.setattr(training, "meanflow_loss", diverging)
    with pytest.raises(HybridIKError, match="not a finite number at step 30"):
        train(arm, config)
    file = load_network(config.out / loop.NETWORK_FILE)
    assert file.record["steps"] == 20 and all(np.isfinite(value).all() for value in file.tensors.values())


def test_validation_poses_may_be_given(arm, config):
    poses = ValidationSet.from_chain(arm, 50, seed=1)
    first = train(arm, replace(config, steps=3), validation=poses).record["measures"]
    again = train(arm, replace(config, steps=3, out=config.out / "again")).record["measures"]
    assert first != again


def test_the_same_seed_gives_the_same_network_and_another_one_does_not(arm, config):
    runs = [train(arm, replace(config, steps=3, seed=s, out=config.out / n)) for n, s in (("a", 0), ("b", 0), ("c", 1))]
    weights = [run.tensors["output.weight"] for run in runs]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_tensorboard_is_written_where_it_is_installed(arm, config):
    pytest.importorskip("tensorboard")
    train(arm, replace(config, steps=10, tensorboard=True))
    assert list(config.out.glob("events.out.tfevents.*"))


def test_without_tensorboard_training_goes_on(arm, config, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with caplog.at_level("INFO"):
        train(arm, replace(config, steps=2, tensorboard=True))
    assert "tensorboard is not installed" in caplog.text


def test_the_learning_rate_rises_then_falls_to_zero_in_each_part():
    config = TrainConfig(steps=1000, warmup=100, lr=2e-3, matching=MatchingConfig(steps=500, lr=1e-3))
    rates = [learning_rate(config, step) for step in range(1500)]
    for part, peak in ((rates[:1000], 2e-3), (rates[1000:], 1e-3)):
        assert part[0] == pytest.approx(0.01 * peak) and max(part) == pytest.approx(peak)
        assert np.argmax(part) in (99, 100) and (np.diff(part[100:]) < 0).all() and part[-1] < 1e-4 * peak


def test_noises_are_normal_and_spread_evenly():
    noise = noise_table(7).double()
    assert noise.shape == (1024, 7) and torch.isfinite(noise).all()
    assert noise.mean(0).abs().max() < 0.01 and (noise.std(0) - 1).abs().max() < 0.02
    for n in (16, 64, 256):  # one in each of n equal slices, along every joint
        slices = (0.5 * (1 + torch.erf(noise[:n] / 2**0.5)) * n).floor()
        assert all(len(slices[:, j].unique()) == n for j in range(7))


@pytest.mark.parametrize(
    "options", [{"steps": -1}, {"batch_poses": 0}, {"lr": 0.0}, {"clip": -1.0}, {"ema_decay": 1.0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        TrainConfig(**options)


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(InvalidInputError, match="at least 1 in all"):
        TrainConfig(steps=0, matching=MatchingConfig(steps=0))
    with pytest.raises(InvalidInputError, match="matching is for a mean velocity"):
        TrainConfig(loss=MeanFlowConfig(mode="baseline"))


def test_an_unknown_device_is_refused(arm, config):
    with pytest.raises(InvalidInputError, match=r"device 'abacus' cannot be used here"):
        train(arm, replace(config, device="abacus"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("encoding", ["rotation6d", "quaternion"])
def test_a_run_on_cuda_continues_bit_for_bit(arm, config, monkeypatch, encoding):
    cuda = replace(config, device="cuda", network=replace(SMALL, encoding=encoding, dropout=0.1))
    whole = train(arm, replace(cuda, out=config.out / "whole"))
    with monkeypatch.context() as patch:
        stop_after(patch, 13)
        train(arm, replace(cuda, out=config.out / "parted"))
    parted = train(arm, replace(cuda, out=config.out / "parted"), resume=True)
    for name, value in whole.tensors.items():
        np.testing.assert_array_equal(parted.tensors[name], value)
