"""Networks from pixels in the common loop: the split, the plateau, interruptions, the log, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pixel_cases import smooth_recording
from pixel_networks import small_config

from hybrid_ik import Robot
from hybrid_ik.errors import CheckpointError, InvalidInputError, MissingPackageError
from hybrid_ik.learning import loop, pixels
from hybrid_ik.learning.pixels import PixelTask, Scale, split_by_episode, train_pixels
from hybrid_ik.learning.plateau import Plateau


@pytest.fixture
def config(tmp_path):
    return small_config(tmp_path / "run")


@pytest.mark.parametrize("model", ["mlp", "meanflow"])
def test_an_interrupted_run_goes_on_bit_for_bit(processed, so100, config, monkeypatch, model):
    """With a plateau that lowers the rate after every epoch, before and after the interruption."""
    config = replace(config, model=model, plateau_patience=0, lr=1e-9, epochs=6, log_interval=1)
    whole = train_pixels(processed, replace(config, out=config.out / "whole"), chain=so100.chain)
    parted, calls, loss = replace(config, out=config.out / "parted"), iter(range(1, 9999)), pixels.pixel_loss

    def interrupted(*arguments):
        if next(calls) == 27:  # in the middle of an epoch
            os.kill(os.getpid(), signal.SIGINT)
        return loss(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pixels, "pixel_loss", interrupted)
        assert 14 < train_pixels(processed, parted, chain=so100.chain).record["steps"] < 42
    resumed = train_pixels(processed, parted, chain=so100.chain, resume=True)
    assert resumed.record["steps"] == whole.record["steps"] == 42
    for name, value in whole.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[name], value)
    rates = [_rates(replace(config, out=config.out / name)) for name in ("whole", "parted")]
    assert rates[0] == rates[1] and rates[0][-1] < 0.6e-9


def _rates(config):
    lines = [json.loads(line) for line in (config.out / loop.LOG_FILE).read_text().splitlines()]
    return [line["lr"] for line in lines if "lr" in line]


def test_the_plateau_is_torchs():
    losses = np.random.default_rng(0).uniform(0.5, 1.0, 60) * np.linspace(1.0, 0.8, 60)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    memory = {}
    for loss in losses:
        scheduler.step(float(loss))
        Plateau(memory, 0.5, 2).record(float(loss))
        assert Plateau(memory, 0.5, 2).scale == optimizer.param_groups[0]["lr"]
    assert 0 < Plateau(memory, 0.5, 2).scale < 0.1


def test_no_episode_is_on_both_sides_and_lost_dots_are_left_out(processed, so100, config):
    dots = processed.dots.copy()
    dots[::7, 1, 0, 1] = np.nan
    lost = smooth_recording(so100, dots=dots)
    assert lost.n_lost == 86 and len(lost) == 600
    task = PixelTask(lost, config, so100.chain)
    assert task.rows["lost"] == 86 and sum(task.rows.values()) == 600 and len(task.validation_episodes) == 2
    assert all(np.isfinite(part).all() for part in (*task.training, *task.validation))
    kept = split_by_episode(processed.episode, 0.2, 0)
    assert not set(processed.episode[kept]) & set(processed.episode[~kept]) and kept.sum() == 120
    np.testing.assert_array_equal(kept, split_by_episode(processed.episode, 0.2, 0))
    assert any((kept != split_by_episode(processed.episode, 0.2, seed)).any() for seed in (1, 2))
    np.testing.assert_allclose(task.training[0].mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(task.training[1].std(0), 1.0, atol=1e-5)


def test_columns_that_do_not_vary_are_not_divided_by_zero():
    scale = Scale.of(np.array([[1.0, 320.5], [3.0, 320.5]]))
    np.testing.assert_array_equal(scale.normalise(np.array([[1.0, 321.5]])), [[-1.0, 1.0]])


@pytest.mark.parametrize(
    "change",
    [{"model": "forest"}, {"features": "all"}, {"epochs": 0}, {"noises_per_row": 0}, {"validation_share": 1.0},
     {"plateau_factor": 0.0}, {"plateau_patience": -1}, {"sizes": ()}, {"lr": 0.0}],
)  # fmt: skip
def test_options_out_of_range_are_refused(config, change):
    with pytest.raises(InvalidInputError, match=next(iter(change))):
        replace(config, **change)


def test_data_that_cannot_be_learned_from_are_refused(processed, so100, config):
    with pytest.raises(InvalidInputError, match="at least 2 episodes"):
        PixelTask(smooth_recording(so100, 1), config)
    with pytest.raises(InvalidInputError, match="do not fill a batch of 4096"):
        PixelTask(processed, replace(config, batch=4096))
    with pytest.raises(InvalidInputError, match=r"5 columns .* but the arm has 7 joints"):
        PixelTask(processed, config, Robot("panda").chain)


def test_a_run_of_other_data_or_options_is_not_resumed(processed, so100, config):
    train_pixels(processed, replace(config, epochs=1))
    with pytest.raises(CheckpointError, match="features"):
        train_pixels(processed, replace(config, epochs=1, features="dots"), resume=True)
    with pytest.raises(CheckpointError, match="trained with other data"):
        train_pixels(smooth_recording(so100, seed=1), replace(config, epochs=1), resume=True)


class _FakeWandb(SimpleNamespace):
    """Stands in for the package: keeps what it is told."""

    def __init__(self):
        super().__init__(runs=[])

    def init(self, **options):
        run = SimpleNamespace(id="abc123", options=options, logged=[], ended=[])
        run.log = lambda values, step: run.logged.append((step, values))
        run.finish = lambda exit_code: run.ended.append(exit_code)
        self.runs.append(run)
        return run


def test_weights_and_biases_gets_the_log_when_asked(processed, config, monkeypatch):
    wandb = _FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    train_pixels(processed, replace(config, epochs=1, out=config.out / "quiet"))
    assert not wandb.runs
    config = replace(config, wandb=True, wandb_project="arms", log_interval=3)
    train_pixels(processed, config)
    train_pixels(processed, replace(config, wandb_name="again"), resume=True)
    first, second = wandb.runs
    assert first.options["project"] == "arms" and first.options["name"] == "run" and first.options["id"] is None
    assert first.options["config"]["sizes"] == [32, 16] and first.ended == second.ended == [0]
    assert second.options["id"] == "abc123" and second.options["name"] == "again"
    lines = [json.loads(line) for line in (config.out / loop.LOG_FILE).read_text().splitlines()]
    assert [{"step": step, **values} for step, values in first.logged] == lines[: len(first.logged)]
    assert "joint_rmse" in first.logged[-1][1]


def test_weights_and_biases_missing_is_said_before_anything_is_trained(processed, config, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackageError, match=r"pip install hybrid-ik\[wandb\]"):
        train_pixels(processed, replace(config, wandb=True))
    assert not (config.out / loop.NETWORK_FILE).exists()
