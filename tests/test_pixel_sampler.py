"""Joints from pixels, learned on the SO-100: both models answer as they were measured, in numpy as in torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pixel_cases import SO100_DOTS
from pixel_networks import SMALL, small_config

from hybrid_ik import MeanFlowSampler
from hybrid_ik.errors import CheckpointError, InvalidInputError
from hybrid_ik.learning import loop
from hybrid_ik.learning.meanflow import MeanFlowConfig
from hybrid_ik.learning.pixels import PixelConfig, PixelTask, sample_joints, train_pixels
from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.samplers.pixel import PixelSampler, pixel_features
from hybrid_ik.samplers.shipped import shipped_networks


@pytest.fixture
def config(tmp_path):
    return small_config(tmp_path / "run")


@pytest.fixture(scope="module")
def networks(processed, so100, tmp_path_factory):
    """Both models, trained for some seconds, with their tasks."""
    found = {}
    for model, epochs, lr in (("mlp", 60, 3e-3), ("meanflow", 40, 6e-3)):
        config = PixelConfig(
            model=model, epochs=epochs, batch=32, lr=lr, warmup=20, tensorboard=False, device="cpu", network=SMALL,
            ema_decay=0.99, noises_per_row=4, out=tmp_path_factory.mktemp(model),
        )  # fmt: skip
        found[model] = train_pixels(processed, config, chain=so100.chain), PixelTask(processed, config, so100.chain)
    return found


def _opened(task):
    """A state at step 0 of a task, in a folder of its own."""
    task.config = replace(task.config, out=task.config.out / "untrained")
    return loop.open_run(task, torch.device("cpu"), resume=False)


@pytest.mark.parametrize("model", ["mlp", "meanflow"])
def test_both_models_learn_and_the_sampler_answers_as_they_were_measured(networks, processed, so100, model):
    file, task = networks[model]
    measures = file.record["measures"]
    untrained = task.measures(_opened(task))
    assert measures["validation_loss"] < 0.9 * untrained["validation_loss"]
    rows = np.isin(processed.episode, file.options["validation_episodes"])
    sampler, dots, q_true = PixelSampler(file), pixel_features(processed.dots[rows]), processed.joints[rows]
    q = sampler.predict(dots) if model == "mlp" else sampler.sample(dots, 16)[:, 0]
    assert np.sqrt(np.square(q - q_true).mean()) == pytest.approx(measures["joint_rmse"], rel=1e-3)
    constant = np.median(_tip_errors(so100, np.broadcast_to(task.joints.mean, q.shape), q_true))
    assert np.median(_tip_errors(so100, sampler.predict(dots), q_true)) < 0.25 * constant  # 0.06 and 0.11 of it


def test_several_joints_fit_the_same_dots_and_meanflow_gives_them(networks, processed, so100):
    """Samples lie near joints that have the middle of the dots exactly, in unlike ways."""
    file, _ = networks["meanflow"]
    rows = np.flatnonzero(np.isin(processed.episode, file.options["validation_episodes"]))[::12]
    samples, middle = PixelSampler(file).sample(pixel_features(processed.dots[rows]), 8), _Middle(so100)
    q, target = samples.copy(), middle(processed.joints[rows])[:, None]
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
        self.dots = ArmDots(robot, SO100_DOTS)

    def __call__(self, q):
        return self.dots.positions(q).mean(-2)

    def jacobian(self, q):
        return self.dots.jacobians(q)[1].mean(-3)


def _tip_errors(robot, q, q_true):
    """Distances of the tips [m]."""
    difference = robot.forward_kinematics(q).position - robot.forward_kinematics(q_true).position
    return np.linalg.norm(difference, axis=-1)


@pytest.mark.parametrize("mode", ["meanflow", "baseline"])
def test_torch_and_numpy_agree(processed, so100, config, mode):
    config = replace(config, model="meanflow", loss=MeanFlowConfig(mode=mode), epochs=1)
    file, task = train_pixels(processed, config, chain=so100.chain), PixelTask(processed, config, so100.chain)
    sampler = PixelSampler(file)
    dots = pixel_features(processed.dots[:50])
    network = task.build_network()
    network.load_state_dict({name: torch.from_numpy(file.tensors[name]) for name in network.state_dict()})
    condition = torch.from_numpy(task.pixels.normalise(dots))
    with torch.no_grad():
        x = sample_joints(network, condition, torch.from_numpy(file.tensors["noise"][:9]), config).numpy()
    expected = x * task.joints.std + task.joints.mean
    np.testing.assert_allclose(sampler.sample(dots, 9), expected, atol=2e-5)
    np.testing.assert_array_equal(sampler.sample(dots[7], 4), sampler.sample(dots, 9)[7, :4])


def test_the_mlp_agrees_with_its_numpy_twin(networks, processed):
    file, task = networks["mlp"]
    network = task.build_network()
    network.load_state_dict({name: torch.from_numpy(file.tensors[name]) for name in network.state_dict()})
    dots = pixel_features(processed.dots[:50])
    with torch.no_grad():
        x = network(torch.from_numpy(task.pixels.normalise(dots))).numpy()
    assert [layer.out_features for layer in network.layers] == [256, 128, 64, 5]
    np.testing.assert_allclose(
        PixelSampler(file).predict(dots), x * task.joints.std + task.joints.mean, atol=2e-5
    )  # fmt: skip


def test_answers_have_the_shape_of_the_dots(networks, processed):
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
    dots = pixel_features(processed.dots[:3])
    samples = meanflow.sample(dots, 1030)
    assert samples.shape == (3, 1030, 5) and np.ptp(samples, axis=1).min() > 0.05
    np.testing.assert_array_equal(meanflow.sample(dots, 2), samples[:, :2])
    assert not np.array_equal(PixelSampler(networks["meanflow"][0], seed=1).sample(dots, 2), samples[:, :2])
    middle = np.abs(meanflow.predict(dots) - np.median(samples, 1)) / samples.std(1)
    assert middle.max() < 1.0  # the answer of the noise 0 lies among the others


def test_all_dots_may_be_told(processed, so100, config):
    sampler = PixelSampler(train_pixels(processed, replace(config, features="dots", epochs=1)))
    features = pixel_features(processed.dots, "dots")
    assert features.shape == (600, 8) and sampler.predict(features).shape == (600, 5)
    np.testing.assert_array_equal(features[0], processed.dots[0].reshape(-1))
    np.testing.assert_allclose(pixel_features(processed.dots)[0, 2:], processed.dots[0, 1].mean(0), rtol=1e-6)
    with pytest.raises(InvalidInputError, match=r"expected shape \(\*batch, 8\), all dots' pixels"):
        sampler.predict([1.0, 2.0, 3.0, 4.0])


def test_networks_of_other_kinds_are_refused(networks, so100):
    with pytest.raises(CheckpointError, match="kind 'meanflow', not from pixels"):
        PixelSampler(shipped_networks()[0])
    with pytest.raises(CheckpointError, match="kind 'pixel_meanflow'"):
        MeanFlowSampler(networks["meanflow"][0], so100.chain)
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
