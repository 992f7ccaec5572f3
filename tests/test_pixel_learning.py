"""Joints from pixels, learned: processed recordings, both models in the common loop, and the sampler; on the SO-100."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pixel_cases import look_at

from hybrid_ik import MeanFlowSampler, Robot
from hybrid_ik.errors import CheckpointError, DatasetError, InvalidInputError, MissingPackageError
from hybrid_ik.learning import loop, pixels
from hybrid_ik.learning.meanflow import MeanFlowConfig
from hybrid_ik.learning.networks import NetworkConfig
from hybrid_ik.learning.pixels import PixelConfig, PixelTask, Scale, sample_joints, split_by_episode, train_pixels
from hybrid_ik.learning.plateau import Plateau
from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.processed import ProcessedRecording, load_processed, save_processed
from hybrid_ik.samplers.pixel import PixelSampler, pixel_features
from hybrid_ik.samplers.shipped import shipped_networks

SITES = "dot_fixed_jaw", "dot_moving_jaw"
SMALL = NetworkConfig(width=24, depth=2, trunk_width=32, trunk_depth=2)


@pytest.fixture(scope="module")
def robot():
    return Robot("so100")


def _recording(robot, n_episodes=10, n_frames=60, seed=0, **changes):
    """Smooth joints in radians, seen by two plain pinholes."""
    rng = np.random.default_rng(seed)
    frequency, phase = rng.uniform(0.1, 0.4, (n_episodes, 1, 5)), rng.uniform(0, 2 * np.pi, (n_episodes, 1, 5))
    waves = np.sin(2 * np.pi * frequency * np.linspace(0, 10, n_frames)[:, None] + phase).reshape(-1, 5)
    q = robot.chain.middle + 0.2 * (robot.upper - robot.lower) * waves
    points = ArmDots(robot, SITES).positions(q)
    places = [0.1, -1.2, 0.6], [1.0, -0.2, 0.5]
    cameras = [look_at(position, [0, -0.2, 0.15], 500.0, np.zeros(5)) for position in places]
    fields = {
        "dots": np.stack([camera.project(points) for camera in cameras], 1).astype(np.float32),
        "joints": q, "gripper": np.full(len(q), 50.0), "episode": np.repeat(np.arange(n_episodes), n_frames),
        "frame": np.tile(np.arange(n_frames), n_episodes), "joint_names": robot.joint_names, "units": "radians",
        "fps": 30.0, "lag": 6, "cameras": {"front": (480, 640), "side": (480, 640)}, "dot_names": SITES,
    }  # fmt: skip
    return ProcessedRecording(**fields | changes)


@pytest.fixture(scope="module")
def data(robot):
    return _recording(robot)


@pytest.fixture
def config(tmp_path):
    return PixelConfig(
        epochs=4, batch=64, sizes=(32, 16), warmup=5, log_interval=10, checkpoint_interval=1000, tensorboard=False,
        device="cpu", network=SMALL, noises_per_row=2, ema_decay=0.9, out=tmp_path / "run",
    )  # fmt: skip


@pytest.fixture(scope="module")
def networks(data, robot, tmp_path_factory):
    """Both models, trained for some seconds, with their tasks."""
    found = {}
    for model, epochs, lr in (("mlp", 60, 3e-3), ("meanflow", 40, 6e-3)):
        config = PixelConfig(
            model=model, epochs=epochs, batch=32, lr=lr, warmup=20, tensorboard=False, device="cpu", network=SMALL,
            ema_decay=0.99, noises_per_row=4, out=tmp_path_factory.mktemp(model),
        )  # fmt: skip
        found[model] = train_pixels(data, config, chain=robot.chain), PixelTask(data, config, robot.chain)
    return found


def _opened(task):
    """A state at step 0 of a task, in a folder of its own."""
    task.config = replace(task.config, out=task.config.out / "untrained")
    return loop.open_run(task, torch.device("cpu"), resume=False)


@pytest.mark.parametrize("model", ["mlp", "meanflow"])
def test_both_models_learn_and_the_sampler_answers_as_they_were_measured(networks, data, robot, model):
    file, task = networks[model]
    measures = file.record["measures"]
    untrained = task.measures(_opened(task))
    assert measures["validation_loss"] < 0.9 * untrained["validation_loss"]
    rows = np.isin(data.episode, file.options["validation_episodes"])
    sampler, dots, q_true = PixelSampler(file), pixel_features(data.dots[rows]), data.joints[rows]
    q = sampler.predict(dots) if model == "mlp" else sampler.sample(dots, 16)[:, 0]
    assert np.sqrt(np.square(q - q_true).mean()) == pytest.approx(measures["joint_rmse"], rel=1e-3)
    constant = np.median(_tip_errors(robot, np.broadcast_to(task.joints.mean, q.shape), q_true))
    assert np.median(_tip_errors(robot, sampler.predict(dots), q_true)) < 0.25 * constant  # 0.06 and 0.11 of it


def test_several_joints_fit_the_same_dots_and_meanflow_gives_them(networks, data, robot):
    """Samples lie near joints that have the middle of the dots exactly, in unlike ways."""
    file, _ = networks["meanflow"]
    rows = np.flatnonzero(np.isin(data.episode, file.options["validation_episodes"]))[::12]
    samples, middle = PixelSampler(file).sample(pixel_features(data.dots[rows]), 8), _Middle(robot)
    q, target = samples.copy(), middle(data.joints[rows])[:, None]
    for _ in range(12):
        q += np.einsum("mnij,mnj->mni", np.linalg.pinv(middle.jacobian(q)), target - middle(q))
    fits = np.linalg.norm(middle(q) - target, axis=-1) < 1e-6
    assert fits.mean() > 0.9 and np.median(np.abs(q - samples)[fits].max(-1)) < np.radians(20)
    apart = np.where(fits[..., None], q, np.nan)
    widest = (np.nanmax(apart, 1) - np.nanmin(apart, 1)).max(-1)
    assert np.median(widest) > np.radians(60)


class _Middle:
    """The middle of the two dots `(*batch, 3)` [m], and its derivative `(*batch, 3, dof)`."""

    def __init__(self, robot):
        self.dots = ArmDots(robot, SITES)

    def __call__(self, q):
        return self.dots.positions(q).mean(-2)

    def jacobian(self, q):
        return self.dots.jacobians(q)[1].mean(-3)


def _tip_errors(robot, q, q_true):
    """Distances of the tips [m]."""
    difference = robot.forward_kinematics(q).position - robot.forward_kinematics(q_true).position
    return np.linalg.norm(difference, axis=-1)


@pytest.mark.parametrize("mode", ["meanflow", "baseline"])
def test_torch_and_numpy_agree(data, robot, config, mode):
    config = replace(config, model="meanflow", loss=MeanFlowConfig(mode=mode), epochs=1)
    file, task = train_pixels(data, config, chain=robot.chain), PixelTask(data, config, robot.chain)
    sampler = PixelSampler(file)
    dots = pixel_features(data.dots[:50])
    network = task.build_network()
    network.load_state_dict({name: torch.from_numpy(file.tensors[name]) for name in network.state_dict()})
    condition = torch.from_numpy(task.pixels.normalise(dots))
    with torch.no_grad():
        x = sample_joints(network, condition, torch.from_numpy(file.tensors["noise"][:9]), config).numpy()
    expected = x * task.joints.std + task.joints.mean
    np.testing.assert_allclose(sampler.sample(dots, 9), expected, atol=2e-5)
    np.testing.assert_array_equal(sampler.sample(dots[7], 4), sampler.sample(dots, 9)[7, :4])


def test_the_mlp_agrees_with_its_numpy_twin(networks, data):
    file, task = networks["mlp"]
    network = task.build_network()
    network.load_state_dict({name: torch.from_numpy(file.tensors[name]) for name in network.state_dict()})
    dots = pixel_features(data.dots[:50])
    with torch.no_grad():
        x = network(torch.from_numpy(task.pixels.normalise(dots))).numpy()
    assert [layer.out_features for layer in network.layers] == [256, 128, 64, 5]
    np.testing.assert_allclose(
        PixelSampler(file).predict(dots), x * task.joints.std + task.joints.mean, atol=2e-5
    )  # fmt: skip


@pytest.mark.parametrize("model", ["mlp", "meanflow"])
def test_an_interrupted_run_goes_on_bit_for_bit(data, robot, config, monkeypatch, model):
    """With a plateau that lowers the rate after every epoch, before and after the interruption."""
    config = replace(config, model=model, plateau_patience=0, lr=1e-9, epochs=6, log_interval=1)
    whole = train_pixels(data, replace(config, out=config.out / "whole"), chain=robot.chain)
    parted, calls, loss = replace(config, out=config.out / "parted"), iter(range(1, 9999)), pixels.pixel_loss

    def interrupted(*arguments):
        if next(calls) == 27:  # in the middle of an epoch
            os.kill(os.getpid(), signal.SIGINT)
        return loss(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pixels, "pixel_loss", interrupted)
        assert 14 < train_pixels(data, parted, chain=robot.chain).record["steps"] < 42
    resumed = train_pixels(data, parted, chain=robot.chain, resume=True)
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


def test_no_episode_is_on_both_sides_and_lost_dots_are_left_out(data, robot, config):
    dots = data.dots.copy()
    dots[::7, 1, 0, 1] = np.nan
    lost = _recording(robot, dots=dots)
    assert lost.n_lost == 86 and len(lost) == 600
    task = PixelTask(lost, config, robot.chain)
    assert task.rows["lost"] == 86 and sum(task.rows.values()) == 600 and len(task.validation_episodes) == 2
    assert all(np.isfinite(part).all() for part in (*task.training, *task.validation))
    kept = split_by_episode(data.episode, 0.2, 0)
    assert not set(data.episode[kept]) & set(data.episode[~kept]) and kept.sum() == 120
    np.testing.assert_array_equal(kept, split_by_episode(data.episode, 0.2, 0))
    assert any((kept != split_by_episode(data.episode, 0.2, seed)).any() for seed in (1, 2))
    np.testing.assert_allclose(task.training[0].mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(task.training[1].std(0), 1.0, atol=1e-5)


def test_columns_that_do_not_vary_are_not_divided_by_zero():
    scale = Scale.of(np.array([[1.0, 320.5], [3.0, 320.5]]))
    np.testing.assert_array_equal(scale.normalise(np.array([[1.0, 321.5]])), [[-1.0, 1.0]])


def test_answers_have_the_shape_of_the_dots(networks, data):
    mlp, meanflow = (PixelSampler(networks[model][0]) for model in ("mlp", "meanflow"))
    for sampler in (mlp, meanflow):
        assert sampler.predict([320.5, 240.3, 310.2, 235.8]).shape == (5,)
        assert sampler.predict(np.full((2, 3, 4), 300.0)).shape == (2, 3, 5)
        assert sampler.predict(np.empty((0, 4))).shape == (0, 5)
        answer = sampler.predict_with_gripper([320.5, 240.3, 310.2, 235.8])
        assert answer.shape == (6,) and answer[-1] == 50.0 and sampler.units == "radians"
        np.testing.assert_array_equal(answer[:5], sampler.predict([320.5, 240.3, 310.2, 235.8]))
        rows = np.full((3, 4), 300.0)
        rows[1, 2] = np.nan
        assert np.isnan(sampler.predict(rows)).all(-1).tolist() == [False, True, False]
    dots = pixel_features(data.dots[:3])
    samples = meanflow.sample(dots, 1030)
    assert samples.shape == (3, 1030, 5) and np.ptp(samples, axis=1).min() > 0.05
    np.testing.assert_array_equal(meanflow.sample(dots, 2), samples[:, :2])
    assert not np.array_equal(PixelSampler(networks["meanflow"][0], seed=1).sample(dots, 2), samples[:, :2])
    middle = np.abs(meanflow.predict(dots) - np.median(samples, 1)) / samples.std(1)
    assert middle.max() < 1.0  # the answer of the noise 0 lies among the others


def test_all_dots_may_be_told(data, robot, config):
    sampler = PixelSampler(train_pixels(data, replace(config, features="dots", epochs=1)))
    features = pixel_features(data.dots, "dots")
    assert features.shape == (600, 8) and sampler.predict(features).shape == (600, 5)
    np.testing.assert_array_equal(features[0], data.dots[0].reshape(-1))
    np.testing.assert_allclose(pixel_features(data.dots)[0, 2:], data.dots[0, 1].mean(0), rtol=1e-6)
    with pytest.raises(InvalidInputError, match=r"expected shape \(\*batch, 8\), all dots' pixels"):
        sampler.predict([1.0, 2.0, 3.0, 4.0])


def test_a_processed_recording_comes_back_as_it_was(data, tmp_path):
    save_processed(tmp_path / "a.npz", data)
    again = load_processed(tmp_path / "a.npz")
    for name in ("dots", "joints", "gripper", "episode", "frame"):
        np.testing.assert_array_equal(getattr(again, name), getattr(data, name))
    for name in ("joint_names", "units", "fps", "lag", "cameras", "dot_names"):
        assert getattr(again, name) == getattr(data, name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def _spoilt(path, data, what):
    """Writes a file that is no processed recording."""
    save_processed(path, data)
    arrays = dict(np.load(path))
    whole = path.read_bytes()
    if what == "cut":
        return path.write_bytes(whole[: len(whole) // 2])
    if what == "pickle":
        return path.write_bytes(pickle.dumps({"dots": 1}))
    if what == "one":
        with path.open("wb") as file:
            return np.save(file, np.zeros(3))
    joints = {"objects": np.array([{}], object), "shapes": arrays["joints"][:, :4]}
    arrays["joints"] = joints.get(what, arrays["joints"])
    metadata = json.loads(str(arrays["metadata"]))
    metadata |= {"newer": {"version": 99}, "format": {"format": "x"}, "units": {"units": "turns"}}.get(what, {})
    arrays["metadata"] = np.array("{" if what == "json" else json.dumps(metadata))
    if what == "missing":
        del arrays["dots"], arrays["frame"]
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "no dots, frame in it; it holds episode, gripper"),
        ("shapes", r"joints: expected shape \(600, 5\)"),
        ("objects", "pickled objects"),
        ("pickle", "pickled objects"),
        ("one", "one array"),
        ("cut", "damaged"),
        ("json", "no JSON"),
        ("newer", "newer than 1"),
        ("format", "expected format"),
        ("units", "expected one of radians, degrees, normalised, got 'turns'"),
    ],
)
def test_files_that_are_none_are_refused(data, tmp_path, what, message):
    _spoilt(tmp_path / "a.npz", data, what)
    with pytest.raises(DatasetError, match=message):
        load_processed(tmp_path / "a.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.npz: there is no such file"):
        load_processed(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episode": np.zeros(3, int)}, r"episode: expected shape \(600,\)"),
        ({"episode": np.zeros(600)}, "episode: expected numbers of type int64"),
        ({"gripper": np.full(600, np.nan)}, "gripper: expected finite"),
        ({"fps": 0.0}, "fps"),
        ({"dot_names": ("one",)}, r"dots: expected shape \(600, 2, 1, 2\)"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(robot, change, message):
    with pytest.raises(InvalidInputError, match=message):
        _recording(robot, **change)


@pytest.mark.parametrize(
    "change",
    [{"model": "forest"}, {"features": "all"}, {"epochs": 0}, {"noises_per_row": 0}, {"validation_share": 1.0},
     {"plateau_factor": 0.0}, {"plateau_patience": -1}, {"sizes": ()}, {"lr": 0.0}],
)  # fmt: skip
def test_options_out_of_range_are_refused(config, change):
    with pytest.raises(InvalidInputError, match=next(iter(change))):
        replace(config, **change)


def test_data_that_cannot_be_learned_from_are_refused(data, robot, config):
    with pytest.raises(InvalidInputError, match="at least 2 episodes"):
        PixelTask(_recording(robot, 1), config)
    with pytest.raises(InvalidInputError, match="do not fill a batch of 4096"):
        PixelTask(data, replace(config, batch=4096))
    with pytest.raises(InvalidInputError, match=r"5 columns .* but the arm has 7 joints"):
        PixelTask(data, config, Robot("panda").chain)


def test_a_run_of_other_data_or_options_is_not_resumed(data, robot, config):
    train_pixels(data, replace(config, epochs=1))
    with pytest.raises(CheckpointError, match="features"):
        train_pixels(data, replace(config, epochs=1, features="dots"), resume=True)
    with pytest.raises(CheckpointError, match="trained with other data"):
        train_pixels(_recording(robot, seed=1), replace(config, epochs=1), resume=True)


def test_networks_of_other_kinds_are_refused(networks, robot):
    with pytest.raises(CheckpointError, match="kind 'meanflow', not from pixels"):
        PixelSampler(shipped_networks()[0])
    with pytest.raises(CheckpointError, match="kind 'pixel_meanflow'"):
        MeanFlowSampler(networks["meanflow"][0], robot.chain)
    for tensors in ({}, {k: v for k, v in networks["mlp"][0].tensors.items() if k != "layers.1.bias"}):
        with pytest.raises(CheckpointError, match="missing"):
            PixelSampler(replace(networks["mlp"][0], tensors=tensors))


def test_misuse_of_the_sampler_is_named(networks):
    mlp, meanflow = (PixelSampler(networks[model][0]) for model in ("mlp", "meanflow"))
    with pytest.raises(InvalidInputError, match="one answer for the same dots"):
        mlp.sample([1.0, 2.0, 3.0, 4.0], 2)
    with pytest.raises(InvalidInputError, match="at least 1, got 0"):
        meanflow.sample([1.0, 2.0, 3.0, 4.0], 0)
    with pytest.raises(InvalidInputError, match=r"expected shape \(\*batch, 4\), \[x1, y1"):
        mlp.predict([1.0, 2.0])
    with pytest.raises(InvalidInputError, match="n_cameras, n_dots, 2"):
        pixel_features(np.zeros((3, 4)))
    with pytest.raises(InvalidInputError, match="'middle' or 'dots'"):
        pixel_features(np.zeros((3, 2, 2, 2)), "all")


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


def test_weights_and_biases_gets_the_log_when_asked(data, config, monkeypatch):
    wandb = _FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    train_pixels(data, replace(config, epochs=1, out=config.out / "quiet"))
    assert not wandb.runs
    config = replace(config, wandb=True, wandb_project="arms", log_interval=3)
    train_pixels(data, config)
    train_pixels(data, replace(config, wandb_name="again"), resume=True)
    first, second = wandb.runs
    assert first.options["project"] == "arms" and first.options["name"] == "run" and first.options["id"] is None
    assert first.options["config"]["sizes"] == [32, 16] and first.ended == second.ended == [0]
    assert second.options["id"] == "abc123" and second.options["name"] == "again"
    lines = [json.loads(line) for line in (config.out / loop.LOG_FILE).read_text().splitlines()]
    assert [{"step": step, **values} for step, values in first.logged] == lines[: len(first.logged)]
    assert "joint_rmse" in first.logged[-1][1]


def test_weights_and_biases_missing_is_said_before_anything_is_trained(data, config, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackageError, match=r"pip install hybrid-ik\[wandb\]"):
        train_pixels(data, replace(config, wandb=True))
    assert not (config.out / loop.NETWORK_FILE).exists()
