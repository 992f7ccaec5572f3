"""Regression: its terms, its data, its run in the common loop, and its sampler; on the KR 6."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from hybrid_ik import HybridSolver, Pose, RegressorSampler, Robot, Sampler
from hybrid_ik.errors import CheckpointError, InvalidInputError
from hybrid_ik.learning import loop, regression
from hybrid_ik.learning.loop import STATE_FILE
from hybrid_ik.learning.postures import posture_number, posture_signs
from hybrid_ik.learning.regression import (
    RegressionConfig,
    RegressionTask,
    distance_statistics,
    hard_weights,
    make_pairs,
    prediction_errors,
    scheduled_weight,
    train_regressor,
)
from hybrid_ik.samplers.shipped import shipped_networks


@pytest.fixture(scope="module")
def kr6():
    return Robot("kr6")


@pytest.fixture
def config(tmp_path):
    return RegressionConfig(
        poses=1200, epochs=3, batch=64, sizes=(32, 32), warmup=5, log_interval=10, checkpoint_interval=15,
        tensorboard=False, device="cpu", out=tmp_path / "run",
    )  # fmt: skip


def _targets(robot, q):
    """What `prediction_errors` compares with, as tensors in double precision."""
    position, rotation = robot.chain.first_last(robot.forward_kinematics(q))
    tip = position + rotation @ robot.chain.T_last_tip[:3, 3]
    return tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in (q, tip, rotation))


def _joints(robot, n, seed=0):
    return np.random.default_rng(seed).uniform(robot.lower, robot.upper, (n, robot.dof))


def test_errors_are_those_of_mujoco(kr6):
    q_true, q = _joints(kr6, 50), _joints(kr6, 50, 1)
    errors = prediction_errors(kr6.chain, torch.from_numpy(q), *_targets(kr6, q_true))
    poses, reached = kr6.forward_kinematics(q_true), kr6.forward_kinematics(q)
    distance = np.linalg.norm(reached.position - poses.position, axis=-1)
    np.testing.assert_allclose(errors.position.numpy(), distance, atol=1e-6)
    chord = np.linalg.norm(reached.rotation_matrix() - poses.rotation_matrix(), axis=(1, 2)) / np.sqrt(2)
    np.testing.assert_allclose(errors.orientation.numpy(), chord, atol=1e-6)
    np.testing.assert_allclose(errors.joints.numpy(), np.square(q - q_true).mean(-1), atol=1e-12)


@pytest.mark.parametrize("term", ["joints", "position", "orientation"])
@pytest.mark.parametrize("away", [1.0, 1e-3])
def test_gradients_through_forward_kinematics_against_finite_differences(kr6, term, away):
    q_true = _joints(kr6, 4)
    q = torch.from_numpy(q_true + away * np.random.default_rng(2).normal(size=q_true.shape)).requires_grad_()
    targets = _targets(kr6, q_true)
    assert torch.autograd.gradcheck(
        lambda x: getattr(prediction_errors(kr6.chain, x, *targets), term), (q,), eps=1e-7, atol=1e-5, rtol=1e-4
    )


def test_gradients_are_finite_where_nothing_is_wrong(kr6):
    q_true = _joints(kr6, 4)
    q = torch.from_numpy(q_true.copy()).requires_grad_()
    errors = prediction_errors(kr6.chain, q, *_targets(kr6, q_true))
    sum(error.sum() for error in errors).backward()
    assert torch.isfinite(q.grad).all() and q.grad.abs().max() < 1e-6


def test_hard_samples_weigh_more_and_the_mean_weight_is_known():
    error = torch.tensor([0.0, 1.0, 3.0], requires_grad=True)
    weights = hard_weights(error, 0.5)
    assert torch.allclose(weights, 1 + 0.5 * error.detach() / (4 / 3)) and not weights.requires_grad
    assert float(weights.mean()) == pytest.approx(1.5)
    assert torch.equal(hard_weights(torch.zeros(3), 2.0), torch.ones(3))


def test_the_weight_rises_with_the_epoch_or_does_not():
    assert [scheduled_weight(2.0, epoch, 4, "linear") for epoch in range(4)] == [0.0, 0.5, 1.0, 1.5]
    assert [scheduled_weight(2.0, epoch, 4, "constant") for epoch in range(4)] == [2.0] * 4


def test_statistics_of_distances():
    found = distance_statistics(np.arange(101.0))
    assert found == {
        "distance_mean": 50.0, "distance_std": pytest.approx(np.std(np.arange(101))), "distance_p95": 95.0,
        "distance_p99": 99.0, "distance_max": 100.0,
    }  # fmt: skip


def test_pairs_are_split_and_the_same_every_time(kr6, config):
    training, validation = make_pairs(kr6.chain, config)
    assert len(training.q) == 1080 and len(validation.q) == 120
    assert not set(map(tuple, training.q)) & set(map(tuple, validation.q))
    again, _ = make_pairs(kr6.chain, config)
    np.testing.assert_array_equal(again.q, training.q)
    assert not np.array_equal(make_pairs(kr6.chain, replace(config, data_seed=1))[0].q, training.q)
    position, _ = kr6.chain.first_last(kr6.forward_kinematics(validation.q))
    np.testing.assert_allclose(validation.position, position, atol=1e-12)


def test_pairs_of_one_posture_stay_on_it_and_off_the_cuts(kr6, config):
    training, _ = make_pairs(kr6.chain, replace(config, posture=(1, -1, -1), turn=1.0))
    assert (posture_signs(kr6.chain, training.q) == (1, -1, -1)).all()
    turning = [0, 3, 5]
    assert (np.abs(training.q[:, turning]) <= 1.0).all() and np.ptp(training.q[:, 1:3], axis=0).min() > 1.5


def test_postures_are_the_branches(kr6):
    solver, q = HybridSolver(kr6), _joints(kr6, 60, 3)
    counts = set()
    for row in q:
        answers = solver.solve_all(kr6.forward_kinematics(row)).q
        numbers = posture_number(posture_signs(kr6.chain, answers))
        turns = np.concatenate([np.cos(answers), np.sin(answers)], -1)  # whole turns apart is the same branch
        branches = np.unique(turns.round(4), axis=0)
        assert len(set(numbers)) == len(branches)
        counts.add(len(branches))
    assert counts == {2, 4, 6, 8}


@pytest.mark.parametrize("name", ["panda", "panda_rail"])
def test_other_arms_have_no_such_postures(name):
    robot = Robot(name)
    with pytest.raises(InvalidInputError, match="six hinges"):
        posture_signs(robot.chain, robot.home[None])


def test_a_run_learns_and_its_file_is_the_network(kr6, config):
    file = train_regressor(kr6.chain, replace(config, epochs=30))
    measures = file.record["measures"]
    start = RegressionTask(kr6.chain, replace(config, out=config.out / "untrained"))
    untrained = start.measures(loop.open_run(start, torch.device("cpu"), resume=False))
    assert measures["distance_mean"] < 0.8 * untrained["distance_mean"]
    assert file.kind == "regressor" and file.options == {
        "sizes": [32, 32],
        "output": "linear",
        "encoding": "quaternion",
    }
    task = RegressionTask(kr6.chain, config)
    poses = kr6.forward_kinematics(task.validation.q)
    q = RegressorSampler(file, kr6.chain).predict(poses)
    distance = np.linalg.norm(kr6.forward_kinematics(q).position - poses.position, axis=-1)
    assert distance.mean() == pytest.approx(measures["distance_mean"], rel=1e-4)
    assert distance.max() == pytest.approx(measures["distance_max"], rel=1e-3)


@pytest.mark.parametrize(
    "change",
    [{"position_weight": 0.0}, {"joint_weight": 0.0}, {"hardness": 1.0}, {"schedule": "linear"}, {"output": "bounded"},
     {"orientation_weight": 0.5}, {"encoding": "rotation6d"}],
)  # fmt: skip
def test_every_change_changes_the_network_and_two_runs_are_alike(kr6, config, change):
    plain = train_regressor(kr6.chain, config)
    runs = [train_regressor(kr6.chain, replace(config, out=config.out / str(i), **change)) for i in range(2)]
    for name, value in runs[0].tensors.items():
        np.testing.assert_array_equal(value, runs[1].tensors[name])
    assert not all(np.array_equal(value, plain.tensors[name]) for name, value in runs[0].tensors.items())
    assert (config.out / "0" / STATE_FILE).is_file()


def test_an_interrupted_run_goes_on_bit_for_bit(kr6, config, monkeypatch):
    whole = train_regressor(kr6.chain, replace(config, out=config.out / "whole"))
    parted, calls, errors = replace(config, out=config.out / "parted"), iter(range(1, 999)), prediction_errors

    def interrupted(*arguments):
        if next(calls) == 22:  # in the second epoch
            os.kill(os.getpid(), signal.SIGINT)
        return errors(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(regression, "prediction_errors", interrupted)
        assert 0 < train_regressor(kr6.chain, parted).record["steps"] < 48
    resumed = train_regressor(kr6.chain, parted, resume=True)
    assert resumed.record["steps"] == whole.record["steps"] == 48
    for name, value in whole.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[name], value)


def test_a_run_of_other_options_is_not_resumed(kr6, config):
    train_regressor(kr6.chain, replace(config, epochs=1))
    with pytest.raises(CheckpointError, match="hardness"):
        train_regressor(kr6.chain, replace(config, epochs=1, hardness=1.0), resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"poses": 60}, "do not fill a batch of 64"),
        ({"validation_share": 1.0}, "share of 1.0"),
        ({"sizes": ()}, "sizes"),
        ({"hardness": -1.0}, "hardness"),
        ({"joint_weight": 0.0, "position_weight": 0.0}, "all of them are 0"),
        ({"lr": 0.0}, "lr"),
    ],
)
def test_options_out_of_range_are_refused(config, change, message):
    with pytest.raises(InvalidInputError, match=message):
        replace(config, **change)


def test_an_encoding_that_leaves_joints_out_is_refused(kr6, config):
    with pytest.raises(InvalidInputError, match="a regressor proposes every joint"):
        train_regressor(kr6.chain, replace(config, encoding="invariant"))


@pytest.fixture(scope="module")
def network(kr6, tmp_path_factory):
    config = RegressionConfig(
        poses=2000, epochs=10, batch=128, sizes=(32,), tensorboard=False, device="cpu", output="bounded",
        out=tmp_path_factory.mktemp("regressor"),
    )  # fmt: skip
    return train_regressor(kr6.chain, config)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (0,)])
def test_the_sampler_proposes_its_answer_and_others_around_it(kr6, network, shape):
    sampler: Sampler = RegressorSampler(network, kr6.chain)
    q = _joints(kr6, int(np.prod(shape)) or 1)[: int(np.prod(shape))].reshape(*shape, 6)
    pose = kr6.forward_kinematics(q)
    starts = sampler.sample(pose, 40)
    assert starts.shape == (*shape, 40, 6) and ((starts >= kr6.lower) & (starts <= kr6.upper)).all()
    np.testing.assert_allclose(starts[..., 0, :], sampler.predict(pose), atol=1e-12)
    np.testing.assert_array_equal(sampler.sample(pose, 7), starts[..., :7, :])
    if shape == (5,):
        distance = np.linalg.norm(starts - starts[:, :1], axis=-1)
        assert (distance[:, 1:4].mean() < 0.3 * distance[:, 12:16].mean()).all()
        assert np.array_equal(starts[0, 16:], starts[4, 16:]) and np.ptp(starts[0, 16:], axis=0).min() > 2.0


def test_the_solver_goes_on_from_the_regressor(kr6, network):
    solver = HybridSolver(kr6, sampler=RegressorSampler(network, kr6.chain))
    poses = kr6.forward_kinematics(_joints(kr6, 200, 7))
    assert solver.solve(poses).success.all()
    invalid = Pose(np.full((1, 3), np.nan), [[1.0, 0, 0, 0]])
    assert not solver.solve(invalid).success.any()


def test_networks_of_other_kinds_and_arms_are_refused(kr6, network, panda):
    with pytest.raises(CheckpointError, match="trained for another arm"):
        RegressorSampler(network, panda.chain)
    with pytest.raises(CheckpointError, match="kind 'meanflow', not a regressor"):
        RegressorSampler(shipped_networks()[0], panda.chain)
    with pytest.raises(InvalidInputError, match="spread"):
        RegressorSampler(network, kr6.chain, spread=-1.0)
