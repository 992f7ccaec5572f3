"""Samplers: starts of the right shape, inside the limits, the same for a pose in whatever batch it comes."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from hybrid_ik.checkpoint import load_network, save_network
from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import CheckpointError, InvalidInputError
from hybrid_ik.kernels.cpu import forward_kinematics
from hybrid_ik.kernels.tools import load_tools
from hybrid_ik.learning.networks import NetworkConfig, build_network
from hybrid_ik.learning.noise import noise_table
from hybrid_ik.pose import Pose, pose_error
from hybrid_ik.samplers.base import inner_pose
from hybrid_ik.samplers.lookup import LookupSampler
from hybrid_ik.samplers.meanflow import ROWS_AT_ONCE, MeanFlowSampler
from hybrid_ik.samplers.uniform import BLOCK, UniformSampler


def reachable(robot, n, seed=0):
    q = np.random.default_rng(seed).uniform(robot.chain.sample_lower, robot.chain.sample_upper, (n, robot.dof))
    return robot.forward_kinematics(q)


@pytest.fixture(scope="module")
def network(panda, tmp_path_factory):
    """An untrained network of the Panda: nothing here depends on what it has learned."""
    torch.manual_seed(0)
    config = NetworkConfig(width=32, trunk_width=32)
    weights = {name: value.detach().numpy() for name, value in build_network(config, 5, 5).state_dict().items()}
    path = tmp_path_factory.mktemp("networks") / "panda.safetensors"
    options = {**asdict(config), "mode": "meanflow"}
    tensors = {**weights, "noise": noise_table(5).numpy()}
    save_network(path, tensors, kind="meanflow", chain=panda.chain, options=options, record={})
    return load_network(path)


@pytest.fixture(scope="module", params=["uniform", "narrow", "lookup", "meanflow", "meanflow with a seed"])
def sampler(request, panda, network):
    return {
        "uniform": lambda: UniformSampler(panda.chain),
        "narrow": lambda: UniformSampler(panda.chain, narrow=True),
        "lookup": lambda: LookupSampler(panda.chain, size=3000),
        "meanflow": lambda: MeanFlowSampler(network, panda.chain),
        "meanflow with a seed": lambda: MeanFlowSampler(network, panda.chain, seed=3),
    }[request.param]()


@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (0,)])
@pytest.mark.parametrize("n", [1, 5, 100])
def test_shapes_and_limits(sampler, panda, shape, n):
    size = int(np.prod(shape))
    q0 = sampler.sample(reachable(panda, size or 1)[:size].reshape(*shape), n)
    assert q0.shape == (*shape, n, 7) and q0.dtype == np.float64
    assert ((panda.lower <= q0) & (q0 <= panda.upper)).all()


def test_a_pose_has_the_same_starts_in_every_batch(sampler, panda):
    pose = reachable(panda, 3 * ROWS_AT_ONCE // 16)
    whole = sampler.sample(pose, 16)
    np.testing.assert_array_equal(sampler.sample(pose, 16), whole)
    np.testing.assert_array_equal(sampler.sample(pose[40:123], 16), whole[40:123])
    for i in (0, 63, 64, 150):
        np.testing.assert_array_equal(sampler.sample(pose[i], 16), whole[i])


def test_fewer_starts_are_the_first_ones(sampler, panda):
    pose = reachable(panda, 4)
    np.testing.assert_allclose(sampler.sample(pose, 7), sampler.sample(pose, 70)[:, :7], atol=1e-5)


def test_starts_belong_to_the_caller(sampler, panda):
    pose = reachable(panda, 2)[0]
    q0 = sampler.sample(pose, 5)
    before = q0.copy()
    q0[...] = 9.0
    np.testing.assert_array_equal(sampler.sample(pose, 5), before)


def test_rows_that_are_no_poses_disturb_nobody(sampler, panda):
    pose = reachable(panda, 3)
    position = pose.position.copy()
    position[1] = np.nan
    mixed = sampler.sample(Pose(position, pose.quaternion), 8)
    assert np.isfinite(mixed).all()
    np.testing.assert_array_equal(mixed[[0, 2]], sampler.sample(pose, 8)[[0, 2]])


@pytest.mark.parametrize("n", [0, -3, 2.5])
def test_a_count_that_is_none_is_refused(sampler, panda, n):
    with pytest.raises(InvalidInputError, match="whole number of starts"):
        sampler.sample(reachable(panda, 1), n)


def test_mount_and_tool_are_taken_off(panda, network):
    """The same arm on a mount and with a tool, asked for the same inner pose, gets the same starts."""
    turn = Pose([0.3, -0.2, 0.1], [0.5, 0.5, -0.5, 0.5])
    mounted = replace(
        panda.chain,
        T_base_first=turn.matrix() @ panda.chain.T_base_first,
        T_last_tip=panda.chain.T_last_tip @ turn.matrix(),
    )
    pose = reachable(panda, 5)
    for make in (lambda c: MeanFlowSampler(network, c), lambda c: LookupSampler(c, size=2000)):
        expected = make(panda.chain).sample(pose, 6)
        np.testing.assert_allclose(make(mounted).sample(turn @ pose @ turn, 6), expected, atol=1e-5)


def test_every_block_of_starts_is_a_latin_hypercube(panda):
    q0 = UniformSampler(panda.chain, seed=3).sample(reachable(panda, 1)[0], 4 * BLOCK)
    cells = np.floor((q0 - panda.lower) / (panda.upper - panda.lower) * BLOCK).reshape(4, BLOCK, 7)
    np.testing.assert_array_equal(np.sort(cells, axis=1), np.arange(BLOCK)[None, :, None] + np.zeros((4, 1, 7)))


def test_narrow_starts_begin_in_the_middle_and_widen(panda):
    q0 = UniformSampler(panda.chain, narrow=True).sample(reachable(panda, 1)[0], 200)
    middle, half = (panda.lower + panda.upper) / 2, (panda.upper - panda.lower) / 2
    distance = np.abs((q0 - middle) / half).max(1)
    assert distance[0] <= 1 / 15 and distance[1] <= 2 / 15 and distance[4:].max() > 0.9


def test_seeds_change_the_starts(panda, network):
    pose = reachable(panda, 2)
    for make in (
        lambda s: UniformSampler(panda.chain, s),
        lambda s: LookupSampler(panda.chain, s, size=500),
        lambda s: MeanFlowSampler(network, panda.chain, s),
    ):
        np.testing.assert_array_equal(make(1).sample(pose, 4), make(1).sample(pose, 4))
        assert not np.array_equal(make(1).sample(pose, 4), make(0).sample(pose, 4))


def test_lookup_finds_near_poses_nearest_first(panda):
    sampler = LookupSampler(panda.chain, size=20_000, rotation_weight=0.0)
    pose = reachable(panda, 50)
    q0 = sampler.sample(pose, 4)
    targets = Pose(*(np.repeat(part[:, None], 4, 1) for part in (pose.position, pose.quaternion)))
    # the distance is that of the last joint frame, which lies behind the flange by a fixed length
    inner = [panda.chain.first_last(p)[0] for p in (targets, panda.forward_kinematics(q0))]
    distance = np.linalg.norm(inner[0] - inner[1], axis=-1)
    assert (np.diff(distance, axis=1) >= 0).all() and np.median(distance[:, 0]) < 0.05


def test_lookup_weighs_the_orientation(panda):
    pose = reachable(panda, 100)
    angle = []
    for weight in (0.0, None):
        q0 = LookupSampler(panda.chain, size=20_000, rotation_weight=weight).sample(pose, 1)[:, 0]
        angle.append(np.median(np.linalg.norm(pose_error(pose, panda.forward_kinematics(q0))[:, 3:], axis=1)))
    assert angle[1] < 0.5 * angle[0]


def test_lookup_cannot_give_more_than_it_has(panda):
    with pytest.raises(InvalidInputError, match="the table has 10 configurations, 11 were asked for"):
        LookupSampler(panda.chain, size=10).sample(reachable(panda, 1), 11)


def test_noises_are_scaled(panda, network):
    plain, wide = (MeanFlowSampler(network, panda.chain, noise_scale=scale).noise(10) for scale in (1.0, 2.0))
    np.testing.assert_array_equal(wide, 2 * plain)
    with pytest.raises(InvalidInputError, match="noise_scale"):
        MeanFlowSampler(network, panda.chain, noise_scale=0.0)


def test_the_table_of_noises_is_used_then_random_ones(panda, network):
    sampler = MeanFlowSampler(network, panda.chain, noise_scale=1.0)
    np.testing.assert_array_equal(sampler.noise(64), network.tensors["noise"][:64])
    longer = sampler.noise(1500)
    np.testing.assert_array_equal(longer[:1024], network.tensors["noise"])
    assert longer.shape == (1500, 5) and abs(longer[1024:].std() - 1) < 0.1
    assert sampler.sample(reachable(panda, 2), 1500).shape == (2, 1500, 7)


def test_a_path_will_do(panda, network):
    pose = reachable(panda, 2)
    by_path = MeanFlowSampler(str(network.path), panda.chain).sample(pose, 3)
    np.testing.assert_array_equal(by_path, MeanFlowSampler(network, panda.chain).sample(pose, 3))


def test_a_network_of_another_arm_is_refused(panda, network):
    with pytest.raises(CheckpointError, match="trained for another arm"):
        MeanFlowSampler(network, replace(panda.chain, upper=panda.upper + 0.2))


def test_the_outer_joints_by_the_kernel_are_those_of_the_encoder(panda, network):
    sampler, encoder = MeanFlowSampler(network, panda.chain), Encoder(panda.chain, "invariant")
    position, rotation = panda.chain.first_last(reachable(panda, 20))
    q = np.zeros((20, 8, 7))
    q[..., 1:-1] = np.random.default_rng(0).uniform(panda.lower, panda.upper, (20, 8, 7))[..., 1:-1]
    expected = encoder.complete(
        q[..., encoder.proposed], position, rotation, lambda q: forward_kinematics(panda.chain, q)
    )
    sampler._complete(q, np.concatenate([position, rotation.reshape(-1, 9)], 1), 8)
    np.testing.assert_allclose(q, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 33])
def test_poses_are_encoded_as_by_the_encoder(robot, network, n):
    """The compiled twin of `inner_pose` and `Encoder.encode`, with a row that is no pose."""
    encoder = Encoder(robot.chain, "invariant")
    sampler = MeanFlowSampler.__new__(MeanFlowSampler)
    sampler.chain, sampler.encoder = robot.chain, encoder
    pose = reachable(robot, n)
    if n > 2:
        position = pose.position.copy()
        position[2] = np.nan
        pose = Pose(position, pose.quaternion)
    poses, features = sampler._encode(pose)
    position, rotation = inner_pose(robot.chain, pose)
    np.testing.assert_allclose(poses, np.concatenate([position, rotation.reshape(-1, 9)], 1), rtol=0, atol=1e-14)
    np.testing.assert_allclose(features[:, 0], encoder.encode(position, rotation), rtol=1e-6, atol=1e-7)


def test_a_spare_takes_the_place_of_the_first_start_outside():
    q = np.arange(7.0)[None, :, None].copy()
    load_tools()["use_spares"](q, np.array([[True, False, False, True, False, True, False]]), 5)
    assert q[0, :5, 0].tolist() == [0, 5, 2, 3, 4]  # the second spare is outside itself


def test_fewer_starts_are_outside_with_spares(panda, network):
    sampler, pose = MeanFlowSampler(network, panda.chain), reachable(panda, 50)
    with_spares = sampler.sample(pose, 64)
    sampler.n_spares = lambda n: 0
    sampler._prepared.clear()
    without = sampler.sample(pose, 64)
    share = lambda q: ((q == panda.lower) | (q == panda.upper))[..., [0, -1]].any(-1).mean()  # noqa: E731
    assert 0.05 < share(without) and share(with_spares) < 0.7 * share(without)
