"""The second phase of training: its data are whole solution sets, its loss a distance between sets, its runs resume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from models import turret

from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels.cpu import forward_kinematics
from hybrid_ik.learning import answers as answers_module
from hybrid_ik.learning import set_losses
from hybrid_ik.learning.answers import CLOSE, AnswerPairs, AnswerStream
from hybrid_ik.learning.matching import Matching, MatchingConfig
from hybrid_ik.learning.measures import one_step_samples
from hybrid_ik.learning.networks import NetworkConfig, build_network
from hybrid_ik.learning.set_losses import consistency_loss, drifting_loss, matched_distance
from hybrid_ik.learning.training import TrainConfig, train

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

SMALL = NetworkConfig(width=16, depth=2, trunk_width=16, trunk_depth=1)
FEW = MatchingConfig(steps=12, noises=8, levels=(4, 8), rows=16, max_poses=4, starts_per_answer=4)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(answers_module, "CHUNK", 8)
    monkeypatch.setattr(answers_module, "CHUNKS", 3)


@pytest.fixture(scope="module")
def encoder(panda):
    return Encoder(panda.chain, "invariant")


def test_the_distance_of_a_set_from_itself_is_zero_in_any_order():
    x = torch.randn((3, 6, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert matched_distance(x, x[:, torch.randperm(6)]) == pytest.approx(set_losses.SMOOTH)


def test_the_distance_is_that_of_the_best_permutation():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn((2, 1, 4, 3), generator=generator, dtype=torch.float64)
    from itertools import permutations

    best = min(permutations(range(4)), key=lambda order: float((x - y[:, list(order)]).square().sum()))
    expected = ((x - y[:, list(best)]).square().sum(-1) + set_losses.SMOOTH**2).sqrt().mean()
    assert matched_distance(x, y) == pytest.approx(float(expected), rel=1e-12)


def test_its_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn((2, 2, 5, 3), generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: matched_distance(x, y), x.requires_grad_())
    same = y.clone().requires_grad_()
    matched_distance(same, y).backward()
    assert torch.isfinite(same.grad).all()


def test_answers_reach_their_poses_inside_the_limits_and_are_spread(panda, encoder):
    q, condition, *_ = AnswerStream(encoder, 16, seed=3).make(5, 0)
    assert q.shape == (5, 16, 7)
    assert ((q >= panda.lower) & (q <= panda.upper)).all()
    position, rotation = forward_kinematics(panda.chain, q.reshape(-1, 7))
    # what the network is told is the same for all answers of a pose
    told = encoder.encode(position, rotation).reshape(5, 16, -1)
    np.testing.assert_allclose(told, np.broadcast_to(condition[:, None], told.shape), atol=2e-3)
    for row in q:
        apart = np.linalg.norm(row[:, None] - row, axis=-1) + np.eye(16)
        assert apart.min() >= CLOSE


def test_few_answers_are_repeated_alike():
    """A planar arm with two hinges and a slide reaches each pose in one way."""
    arm = turret()
    q = AnswerStream(Encoder(arm, "rotation6d"), 8).make(4, 0).q
    assert q.shape == (4, 8, 3)
    for row in q:
        _, counts = np.unique(row.round(3), axis=0, return_counts=True)
        assert counts.max() - counts.min() <= 1


def test_joints_that_go_round_stay_in_the_range_they_are_drawn_from(panda):
    free = replace(panda.chain, lower=np.full(7, -np.inf), upper=np.full(7, np.inf))
    q = AnswerStream(Encoder(free, "invariant"), 8).make(3, 0).q
    assert np.abs(q).max() <= np.pi + 1e-12


def test_a_stream_goes_on_where_another_was(encoder):
    first, second = (AnswerStream(encoder, 8, seed=5) for _ in range(2))
    for n in (4, 5, 8, 16, 3):  # over the end of the first pass
        first.next_batch(n, 8)
        second.skip(n)
    for a, b in zip(first.next_batch(4, 4), second.next_batch(4, 4), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_first_answers_are_spread_themselves(encoder):
    stream = AnswerStream(encoder, 16)
    whole, few = stream.make(3, 0).q, AnswerStream(encoder, 16).next_batch(3, 4).q
    assert few.shape == (3, 4, 7)
    gap = lambda x: (np.linalg.norm(x[:, None] - x, axis=-1) + 9 * np.eye(len(x))).min()  # noqa: E731
    for row in whole:
        assert gap(row[:4]) > 2 * gap(row)


def test_poses_are_those_of_their_answers(panda, encoder):
    batch = AnswerStream(encoder, 8, seed=2).next_batch(5, 8)
    for position, rotation, q in zip(batch.position, batch.rotation, batch.q, strict=True):
        reached = forward_kinematics(panda.chain, q)
        np.testing.assert_allclose(reached[0], np.broadcast_to(position, (8, 3)), atol=2e-4)
        np.testing.assert_allclose(reached[1], np.broadcast_to(rotation, (8, 3, 3)), atol=2e-4)


def test_the_drift_vanishes_where_samples_and_answers_are_alike():
    x = torch.randn((2, 12, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    far = drifting_loss(x + 1.0, x)
    assert far > 0.1
    even = torch.linspace(-1, 1, 200, dtype=torch.float64)[None, :, None]
    assert drifting_loss(even, even) < 1e-3 * drifting_loss(even + 0.5, even)


def test_samples_drift_towards_the_answers():
    generator = torch.Generator().manual_seed(0)
    answers = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(8)[None, :, None]
    x = 0.1 * torch.randn((1, 16, 1), generator=generator, dtype=torch.float64)
    for _ in range(100):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(drifting_loss(x, answers), x)
        x = (x - 4.0 * gradient).detach()
    assert (x.abs() - 1).abs().median() < 0.01 and 0.3 < (x > 0).double().mean() < 0.7


def test_answers_are_consistent_with_their_pose_and_other_joints_are_not(encoder):
    batch = AnswerStream(encoder, 8, seed=2).next_batch(5, 8)
    x, condition = torch.from_numpy(encoder.normalise(batch.q)), torch.from_numpy(batch.condition).double()
    assert consistency_loss(encoder, x, condition) < 1e-4
    assert consistency_loss(encoder, x + 0.1, condition) > 0.05


@pytest.mark.parametrize("encoding", ["invariant", "rotation6d"])
def test_the_gradient_of_the_consistency_is_that_of_finite_differences(panda, encoding):
    encoder = Encoder(panda.chain, encoding)
    generator = torch.Generator().manual_seed(4)
    x = torch.rand((2, 3, encoder.n_joints), generator=generator, dtype=torch.float64) - 0.5
    condition = torch.rand((2, encoder.n_features), generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: consistency_loss(encoder, x, condition), x.requires_grad_())


def test_the_refiner_brings_samples_to_their_poses(panda, encoder):
    stream = AnswerStream(encoder, 8, seed=2)
    batch = stream.next_batch(5, 8)
    x = encoder.normalise(batch.q) + 0.02
    q, converged = stream.refined(x, batch)
    assert converged.shape == (5, 8) and converged.mean() > 0.9
    position, _ = forward_kinematics(panda.chain, q[converged])
    np.testing.assert_allclose(position, np.broadcast_to(batch.position[:, None], (5, 8, 3))[converged], atol=2e-4)


def test_every_noise_of_a_pose_has_an_answer_of_its_own(panda, encoder):
    x, condition = AnswerPairs(encoder, 8, 3, torch.Generator().manual_seed(0), seed=2).next_batch(6)
    assert x.shape == (6, 3, 5) and x.dtype == condition.dtype == torch.float32
    assert consistency_loss(encoder, x.double(), condition.double()) < 1e-4
    assert (x[:, 0] - x[:, 1]).abs().amax() > 0.1


def test_steps_draw_every_level_and_block(encoder):
    drawn = {Matching(encoder, FEW, seed=0)._draw(step) for step in range(50)}
    assert drawn == {(4, 0), (4, 1), (8, 0)}


@pytest.mark.parametrize("more", [{}, {"answers_per_pose": 4, "instant_first": 0.5}])
def test_a_run_interrupted_in_either_part_continues_bit_for_bit(panda, tmp_path, monkeypatch, more):
    config = TrainConfig(
        **more,
        steps=4,
        batch_poses=8,
        noises_per_pose=2,
        log_interval=4,
        checkpoint_interval=8,
        tensorboard=False,
        device="cpu",
        network=SMALL,
        matching=replace(FEW, consistency=0.5, distillation=0.5, rising=True),
        out=tmp_path / "whole",
    )
    whole = train(panda.chain, config)
    parted = replace(config, out=tmp_path / "parted")
    with monkeypatch.context() as patch:
        loss, calls = Matching.next_loss, iter(range(100))

        def fails_at_the_tenth(self, *arguments):
            if next(calls) == 9:  # after the checkpoint of step 8
                raise KeyboardInterrupt
            return loss(self, *arguments)

        patch.setattr(Matching, "next_loss", fails_at_the_tenth)
        with pytest.raises(KeyboardInterrupt):
            train(panda.chain, parted)
    resumed = train(panda.chain, parted, resume=True)
    assert resumed.record["steps"] == 16
    for name, value in whole.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[name], value)


@pytest.mark.parametrize(
    "options",
    [{}, {"consistency": 1.0}, {"distillation": 1.0}],
    ids=lambda options: next(iter(options), "matched"),
)
def test_samples_come_nearer_to_the_sets(panda, encoder, options):
    torch.manual_seed(0)
    network = build_network(replace(SMALL, width=64), encoder.n_joints, encoder.n_features)
    task = Matching(encoder, replace(FEW, rows=32, **options), seed=0)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    distances = []
    for _ in range(150):
        optimizer.zero_grad()
        task.next_loss(network, torch.device("cpu")).backward()
        optimizer.step()
        batch = AnswerStream(encoder, 8, seed=9).next_batch(4, 8)
        x = one_step_samples(network, task._noise[:8], torch.from_numpy(batch.condition))
        distance = matched_distance(x.detach(), torch.from_numpy(encoder.normalise(batch.q)).float())
        distances.append(float(distance))
    assert np.mean(distances[-20:]) < 0.8 * np.mean(distances[:5])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"steps": -1}, "steps"),
        ({"levels": ()}, "powers of two"),
        ({"levels": (48,)}, "powers of two"),
        ({"levels": (512,)}, "noises = 256"),
        ({"noises": 2000}, "there are 1024"),
        ({"rows": 0}, "rows"),
        ({"lr": 0.0}, "lr"),
        ({"consistency": -1.0}, "consistency"),
        ({"distillation": float("nan")}, "distillation"),
    ],
)
def test_options_out_of_range_are_refused(options, word):
    with pytest.raises(InvalidInputError, match=word):
        MatchingConfig(**options)
