"""`PixelSolver`: starts from networks and at random, every batch shape, frames that tell little, and its answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pixel_cases import look_at
from rig_cases import NAMES, Oracle, pixels_of, postures, recording_of, so100, true_rig

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.networks import NetworkConfig
from hybrid_ik.learning.pixels import PixelConfig, train_pixels
from hybrid_ik.pixels.cameras.pixel_refiner import PixelRefinerConfig
from hybrid_ik.pixels.pixel_solver import PixelSolver
from hybrid_ik.result import Status
from hybrid_ik.samplers.pixel import PixelSampler

SMALL = NetworkConfig(width=16, depth=1, trunk_width=16, trunk_depth=1)


@pytest.fixture(scope="module")
def rig():
    return true_rig(units="degrees")


@pytest.fixture(scope="module")
def frames(rig):
    """Joints, grippers and exact pixels of 40 frames."""
    q, gripper = postures(rig, 40, np.random.default_rng(5))
    return q, gripper, pixels_of(rig, q)


@pytest.fixture(scope="module")
def networks(rig, tmp_path_factory):
    """Both kinds, hardly trained."""
    found, data = {}, recording_of(rig, lost=0.0)
    for model in ("mlp", "meanflow"):
        config = PixelConfig(
            model=model, features="dots", epochs=2, batch=32, warmup=2, sizes=(16,), network=SMALL, noises_per_row=2,
            tensorboard=False, device="cpu", out=tmp_path_factory.mktemp(model),
        )  # fmt: skip
        found[model] = PixelSampler(train_pixels(data, config, chain=so100(False).chain))
    return found


def _same(one, other):
    np.testing.assert_allclose(one.q, other.q, atol=1e-9)
    np.testing.assert_array_equal(one.status, other.status)


def test_exact_pixels_give_the_joints_from_random_starts(rig, frames):
    q, gripper, pixels = frames
    found = PixelSolver(rig).solve(pixels, gripper)
    assert found.success.all() and (found.q[:, 5] == q[:, 5]).all()
    tight = PixelSolver(rig, config=PixelRefinerConfig(max_iterations=200, step_tolerance=1e-12)).solve(pixels, gripper)
    exact = np.abs(tight.q - q).max(-1) < 1e-6
    assert exact.mean() > 0.8
    np.testing.assert_allclose(rig.from_model(tight.q)[exact], rig.from_model(q)[exact], atol=1e-4)


@pytest.mark.parametrize("model", [None, "mlp", "meanflow"])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,)])
def test_one_or_many_is_a_leading_axis(rig, frames, networks, model, shape):
    n = int(np.prod(shape))
    pixels, gripper = frames[2][:n].reshape(*shape, 2, 2, 2), frames[1][:n].reshape(shape)
    found = PixelSolver(rig, model and networks[model], n_starts=4).solve(pixels, gripper)
    assert found.shape == shape and found.q.shape == (*shape, 6) and found.deviation.shape == (*shape, 6)
    np.testing.assert_allclose(found.q[..., 5], rig.jaw_angle(gripper))
    assert np.shape(PixelSolver(rig, n_starts=1).solve(pixels).success) == shape  # one gripper for all


@pytest.mark.parametrize("model", ["mlp", "meanflow"])
def test_networks_start_and_random_joints_start_where_a_dot_is_lost(rig, frames, networks, model):
    q, gripper, pixels = frames[0][:8], frames[1][:8], frames[2][:8].copy()
    pixels[2, 0, 1] = np.nan
    found = PixelSolver(rig, networks[model], n_starts=4).solve(pixels, gripper)
    at_random = PixelSolver(rig, n_starts=4).solve(pixels, gripper)
    assert found.n_views.tolist() == [4, 4, 3, 4, 4, 4, 4, 4] and np.isfinite(found.q).all()
    _same(found[2:3], at_random[2:3])
    assert np.abs(found.q - at_random.q)[[0, 1, 3]].max() > 1e-12  # others from the network
    np.testing.assert_allclose(found.q[:, 5], q[:, 5])


@pytest.mark.parametrize("n_starts", [1, 3])
def test_of_one_start_a_network_gives_its_answer_and_not_a_sample(rig, frames, networks, n_starts):
    solver = PixelSolver(rig, networks["meanflow"], n_starts=n_starts, config=PixelRefinerConfig(max_iterations=0))
    q = solver.solve(frames[2][:3], frames[1][:3]).q
    answer = rig.clipped_to_model(networks["meanflow"].predict(frames[2][:3].reshape(3, -1)), frames[1][:3])
    assert np.allclose(q, answer) == (n_starts == 1)


def test_frames_are_solved_alike_alone_and_together(rig, frames, networks):
    pixels, gripper = frames[2][:6].copy(), frames[1][:6]
    pixels[1, 1, 0] = pixels[4] = np.nan
    for sampler in (None, networks["mlp"]):
        solver = PixelSolver(rig, sampler, n_starts=3)
        together = solver.solve(pixels, gripper)
        for i in range(6):
            _same(solver.solve(pixels[i], gripper[i]), together[i])
        _same(solver.solve(pixels[::-1], gripper[::-1]), together[::-1])


def test_frames_in_blocks_are_those_at_once(rig, frames, monkeypatch):
    whole = PixelSolver(rig, n_starts=3).solve(frames[2][:7], frames[1][:7])
    monkeypatch.setattr("hybrid_ik.pixels.pixel_solver.AT_ONCE", 6)
    _same(PixelSolver(rig, n_starts=3).solve(frames[2][:7], frames[1][:7]), whole)


def test_frames_that_tell_too_little_say_so(rig, frames):
    pixels = frames[2][:5].copy()
    pixels[0] = np.nan
    pixels[1, :, 0] = np.nan  # four numbers
    pixels[2, :, 0, 1] = np.nan  # halves of two dots count nothing
    pixels[3, 0, 0] = np.nan  # six numbers
    found = PixelSolver(rig).solve(pixels, frames[1][:5])
    assert found.status.tolist() == [Status.INVALID_INPUT] * 3 + [Status.CONVERGED] * 2
    assert np.isnan(found.q[:3]).all() and np.isnan(found.pixel_error[:3]).all() and not found.success[:3].any()
    assert PixelSolver(rig).solve(frames[2][0], np.nan).status == Status.INVALID_INPUT
    one = true_rig(cameras=1)
    assert PixelSolver(one).solve(frames[2][0, :1]).status == Status.INVALID_INPUT


def test_a_perfect_network_needs_no_other_start(rig, frames):
    q, gripper, pixels = frames
    for several in (False, True):
        oracle = Oracle.of(rig, rig.from_model(q), gives_several=several)
        found = PixelSolver(rig, oracle, n_starts=2).solve(pixels, gripper)
        np.testing.assert_allclose(found.q, q, atol=1e-9)
        assert found.success.all()


def test_what_a_network_answers_beyond_the_limits_is_moved_onto_them(rig, frames):
    oracle = Oracle.of(rig, np.full((4, 5), 1e4))
    found = PixelSolver(rig, oracle, config=PixelRefinerConfig(max_iterations=0)).solve(frames[2][:4], 50.0)
    np.testing.assert_allclose(found.q[:, :5], np.tile(rig.robot.upper[:5], (4, 1)))


@pytest.mark.parametrize("known", [True, False])
def test_a_dot_that_was_followed_wrongly_is_left_out(rig, frames, known):
    q, gripper, pixels = frames[0], frames[1], frames[2].copy()
    rng = np.random.default_rng(1)
    pixels[np.arange(40), rng.integers(2, size=40), rng.integers(2, size=40)] += 20.0 * rng.choice([-1, 1], (40, 2))
    network = Oracle.of(rig, rig.from_model(q) + rng.normal(size=(40, 5))) if known else None  # degrees
    arm = so100(jaw=False)

    def near(**options):
        found = PixelSolver(rig, network, **options).solve(pixels, gripper)
        gaps = [arm.forward_kinematics(joints[:, :5]).position for joints in (found.q, q)]
        return found, (np.linalg.norm(gaps[0] - gaps[1], axis=-1) < 3e-3).mean()

    (found, share), (_, share_of_all) = near(), near(leave_one_out=False)
    assert share > (0.85 if known else 0.6) and share_of_all < 0.2
    assert (found.n_views[found.success] == 3).mean() > 0.9


def test_no_dot_is_left_out_where_that_would_explain_anything(rig, frames):
    pixels = frames[2][:5].copy()
    pixels[:, 0, 0] = np.nan
    pixels[:, 1, 1] += 300.0
    found = PixelSolver(rig).solve(pixels, frames[1][:5])
    assert (found.n_views == 3).all() and not found.success.all()


def test_an_arm_without_a_jaw_and_three_cameras():
    rig = true_rig(jaw=False, cameras=3)
    q, _ = postures(rig, 10, np.random.default_rng(0))
    found = PixelSolver(rig).solve(pixels_of(rig, q))
    assert found.q.shape == (10, 5) and found.success.mean() > 0.8


def test_misuse_is_refused(rig, frames, networks):
    with pytest.raises(InvalidInputError, match="at least 1"):
        PixelSolver(rig, n_starts=0)
    with pytest.raises(InvalidInputError, match=r"pixels: expected shape \(\*batch, 2, 2, 2\)"):
        PixelSolver(rig).solve(frames[2][:, :1])
    with pytest.raises(InvalidInputError, match=r"gripper: expected one number, or shape \(40,\), got \(3,\)"):
        PixelSolver(rig).solve(frames[2], [1.0, 2.0, 3.0])
    others = {"units": "normalised", "joint_names": NAMES[::-1], "cameras": dict(reversed(rig.cameras.items()))}
    for name, other in others.items():
        word = "joints" if name == "joint_names" else name
        with pytest.raises(InvalidInputError, match=rf"network .*network.safetensors was trained with the {word} "):
            PixelSolver(replace(rig, **{name: other}), networks["mlp"])


def test_frames_with_a_lost_dot_follow_those_around_them(rig):
    """One dot is lost for half a second at a time: alone, such a frame has two answers."""
    q, gripper = _slow_motion(rig, 120)
    pixels = pixels_of(rig, q, np.random.default_rng(3))
    for k, first in enumerate(range(10, 120, 30)):
        pixels[first : first + 15, k % 2, k // 2 % 2] = np.nan
    solver = PixelSolver(rig)
    alone, following = solver.solve(pixels, gripper), solver.follow(pixels, gripper)
    whole = np.isfinite(pixels).all((1, 2, 3))
    np.testing.assert_array_equal(alone.q[whole], following.q[whole])
    off = [np.abs(found.q - q).max(-1)[~whole] for found in (alone, following)]
    assert (off[0] > 0.3).mean() > 0.1 and (off[1] > 0.3).mean() < 0.02
    assert (following.q[:, 5] == alone.q[:, 5]).all() and (following.n_views[~whole] == 3).all()


def test_following_needs_frames_in_order(rig, frames):
    _, gripper, pixels = frames
    solver = PixelSolver(rig)
    _same(solver.follow(pixels, gripper, np.arange(40) * 3), solver.solve(pixels, gripper))
    assert solver.follow(pixels[:0]).shape == (0,)
    assert not solver.follow(np.full((3, 2, 2, 2), np.nan)).success.any()
    numbers = np.arange(40.0)
    for wrong in (np.zeros(40), np.arange(39), numbers[::-1], np.where(numbers == 7, np.nan, numbers), ["a"] * 40):
        with pytest.raises(InvalidInputError, match=r"rising frames \(m,\)"):
            solver.follow(pixels, gripper, wrong)
    with pytest.raises(InvalidInputError, match=r"rising frames \(m,\)"):
        solver.follow(pixels[0])


def test_a_network_that_puts_dots_behind_a_camera_is_helped_by_the_frames_around(rig):
    """Its answer has no pixel error that steps could lessen."""
    near = replace(rig, cameras=rig.cameras | {"front": look_at([0.0, -0.12, 0.12], [0.0, -0.4, 0.1])})
    q, gripper = _slow_motion(rig, 5)
    q[:, 0] = 0.05 * np.arange(5)
    behind = q.copy()
    behind[2, 0] = rig.robot.upper[0]
    pixels = pixels_of(near, q)
    assert np.isfinite(pixels).all() and np.isnan(pixels_of(near, behind)[2]).any()
    solver = PixelSolver(near, Oracle.of(near, near.from_model(behind)))
    alone, found = solver.solve(pixels, gripper), solver.follow(pixels, gripper)
    assert alone.success.tolist() == [True, True, False, True, True] and found.success.all()
    np.testing.assert_allclose(found.q[2], q[2], atol=0.02)


def _slow_motion(rig, n):
    """Joints `(n, dof)` and a gripper `(n,)` that wander."""
    t = np.linspace(0, 4, n)[:, None]
    robot = rig.robot
    q = (robot.lower + robot.upper) / 2 + 0.25 * (robot.upper - robot.lower) * np.sin(t * np.arange(1, 7) / 2 + 0.7)
    gripper = np.full(n, 50.0)
    q[:, -1] = rig.jaw_angle(gripper)
    return q, gripper
