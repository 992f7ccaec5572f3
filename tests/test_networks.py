"""The torch networks and their numpy twins; joints and poses as they see them; the mathematics over tensors."""

from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile
from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import CheckpointError, InvalidInputError
from hybrid_ik.learning.data import PairStream, ValidationSet, exact_poses, inner_poses, inner_poses_torch
from hybrid_ik.learning.measures import one_step_samples
from hybrid_ik.learning.networks import TIME_SIZE, NetworkConfig, build_network, embed_times
from hybrid_ik.learning.torch_math import TorchMath
from hybrid_ik.samplers import numpy_network as twin
from hybrid_ik.samplers.lane_network import fastest_network

OPTIONS = [
    {"architecture": a, "norm": n, "activation": f, "encoding": e, "depth": d}
    for a, n, f, e, d in product(
        ["modulated", "residual"], ["none", "layer", "batch"], ["silu", "gelu"], ["invariant", "quaternion"], [1, 3]
    )
    if (e == "invariant" or f == "silu") and (d == 3 or n == "none")
] + [{"architecture": a, "octaves": 3} for a in ("modulated", "residual")]


def network_file(chain: Chain, config: NetworkConfig, mode: str = "meanflow") -> tuple[NetworkFile, torch.nn.Module]:
    """A network with weights as after some training: norms and their statistics away from 1 and 0."""
    torch.manual_seed(1)
    encoder = Encoder(chain, config.encoding)
    network = build_network(config, encoder.n_joints, encoder.n_features)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand(tensor.shape))
    network.eval()
    tensors = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    return NetworkFile(tensors, chain, {**asdict(config), "mode": mode}, {}, "meanflow", Path("a file")), network


@pytest.mark.parametrize("mode", ["meanflow", "baseline"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(str(v) for v in o.values()))
def test_the_numpy_twin_gives_the_same_samples(panda, options, mode):
    config = NetworkConfig(width=24, trunk_width=20, trunk_depth=2, dropout=0.3, **options)
    file, network = network_file(panda.chain, config, mode)
    poses = ValidationSet.from_chain(panda.chain, 6)
    encoder = Encoder(panda.chain, config.encoding)
    condition = encoder.encode(poses.position, poses.rotation)
    noise = np.random.default_rng(0).standard_normal((9, encoder.n_joints)).astype(np.float32)
    final_time = 0.0 if mode == "meanflow" else 1.0
    with torch.no_grad():
        expected = one_step_samples(network, torch.from_numpy(noise), torch.from_numpy(condition), final_time)
    for other in (twin.numpy_network(file), fastest_network(file)):
        u = other.velocity(other.project(noise), other.modulate(condition[:, None]))[:, : len(noise)]
        np.testing.assert_allclose(noise - u, expected.numpy(), rtol=0, atol=2e-5)


def test_lanes_run_what_they_can(panda):
    kinds = {}
    for options in ({}, {"norm": "batch"}, {"norm": "layer"}, {"architecture": "residual"}):
        file, _ = network_file(panda.chain, NetworkConfig(width=20, trunk_width=8, **options))
        kinds[next(iter(options.values()), "none")] = type(fastest_network(file)).__name__
    assert kinds == {
        "none": "LaneNetwork",
        "batch": "LaneNetwork",
        "layer": "ModulatedNetwork",
        "residual": "ResidualNetwork",
    }


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_a_start_in_lanes_is_the_same_in_whatever_company(panda, activation):
    """A width that is no multiple of a tile, starts that fill no block, large arguments: bit for bit."""
    file, _ = network_file(panda.chain, NetworkConfig(width=21, trunk_width=8, activation=activation))
    network = fastest_network(file)
    rng = np.random.default_rng(2)
    noise, condition = rng.normal(size=(40, 5)), 30 * rng.normal(size=(7, 1, 5))
    noise, modulation = noise.astype(np.float32), network.modulate(condition.astype(np.float32))
    whole = network.velocity(network.project(noise), modulation)[:, :40]
    assert np.isfinite(whole).all()
    for n in (1, 15, 16, 17):
        np.testing.assert_array_equal(network.velocity(network.project(noise[:n]), modulation)[:, :n], whole[:, :n])
    np.testing.assert_array_equal(network.velocity(network.project(noise), modulation[3:4])[0, :40], whole[3])


def test_the_lanes_say_where_a_number_is_not_finite(panda):
    network = fastest_network(network_file(panda.chain, NetworkConfig(width=16, trunk_width=8))[0])
    noise = np.zeros((3, 5), np.float32)
    noise[1] = np.nan
    u = network.velocity(network.project(noise), network.modulate(np.zeros((1, 1, 5), np.float32)))
    assert np.isnan(u[0, 1]).all() and np.isfinite(u[0, [0, 2]]).all()


def test_the_times_are_embedded_alike():
    times = torch.tensor([[0.0, 1.0], [0.3, 0.7], [1.0, 1.0]], dtype=torch.float64)
    for r, t in times:
        np.testing.assert_allclose(twin.embed_times(float(r), float(t)), embed_times(r, t).numpy(), atol=1e-7)
    assert embed_times(times[:, 0], times[:, 1]).shape == (3, TIME_SIZE)


def test_a_network_file_that_lacks_a_weight_is_refused(panda):
    file, _ = network_file(panda.chain, NetworkConfig(width=8, trunk_width=8))
    del file.tensors["output.bias"]
    with pytest.raises(CheckpointError, match=r"a file: not a network this version can run.*output.bias"):
        twin.numpy_network(file)


@pytest.mark.parametrize("architecture", ["modulated", "residual"])
def test_shapes_and_the_pose_part_run_once(architecture):
    network = build_network(NetworkConfig(architecture=architecture, width=12, trunk_width=10), 5, 9)
    z, r, t, condition = torch.zeros(4, 3, 5), torch.zeros(4, 3), torch.ones(4, 3), torch.randn(4, 1, 9)
    u, features = network(z, r, t, condition)
    assert u.shape == (4, 3, 5) and features.shape == (4, 3, 12)
    assert network.modulate(condition).shape[:2] == (4, 1)
    torch.testing.assert_close(u, network(z, r, t, condition.expand(4, 3, 9))[0])


def test_dropout_and_batch_statistics_work_in_training_only():
    torch.manual_seed(0)
    network = build_network(NetworkConfig(width=16, trunk_width=8, dropout=0.5, norm="batch"), 3, 9)
    arguments = torch.randn(4, 2, 3), torch.zeros(4, 2), torch.ones(4, 2), torch.randn(4, 1, 9)
    assert not torch.equal(network(*arguments)[0], network(*arguments)[0])
    network.eval()
    assert torch.equal(network(*arguments)[0], network(*arguments)[0])


@pytest.mark.parametrize(
    "options", [{"width": 0}, {"depth": 0}, {"trunk_width": -1}, {"trunk_depth": 0}, {"dropout": 1.0}, {"octaves": -1}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InvalidInputError, match=f"network.{next(iter(options))}"):
        NetworkConfig(**options)


@pytest.mark.parametrize("encoding", ["rotation6d", "quaternion"])
def test_the_stream_gives_joints_and_their_exact_poses(panda, encoding):
    chain = panda.chain
    encoder = Encoder(chain, encoding)
    stream = PairStream(encoder, torch.Generator().manual_seed(3))
    x, condition = stream.next_batch(300)
    assert x.dtype == condition.dtype == torch.float32 and x.shape == (300, 7)
    q = encoder.denormalise(x.double().numpy())
    position, rotation = chain.first_last(panda.forward_kinematics(q))
    np.testing.assert_allclose(condition.numpy(), encoder.encode(position, rotation), atol=3e-6)
    again, _ = PairStream(encoder, torch.Generator().manual_seed(3)).next_batch(300)
    assert torch.equal(x, again) and not torch.equal(x, stream.next_batch(300)[0])


def test_poses_by_kernel_numpy_and_torch_agree(panda):
    q = np.random.default_rng(1).uniform(panda.lower, panda.upper, (200, 7))
    position, rotation = inner_poses(panda.chain, q)
    for other in (exact_poses(panda.chain, q), inner_poses_torch(panda.chain, torch.from_numpy(q))):
        np.testing.assert_allclose(position, other[0], atol=1e-12)
        np.testing.assert_allclose(rotation, other[1], atol=1e-12)


def test_without_numba_the_stream_still_runs(panda, monkeypatch):
    def no_numba(*_):
        raise ImportError("No module named 'numba'")

    monkeypatch.setattr("hybrid_ik.kernels.cpu.forward_kinematics", no_numba)
    x, condition = PairStream(Encoder(panda.chain, "rotation6d"), torch.Generator().manual_seed(3)).next_batch(10)
    assert torch.isfinite(x).all() and torch.isfinite(condition).all()


def test_forward_kinematics_of_tensors_is_differentiable(panda):
    q = torch.full((1, 7), 0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q: inner_poses_torch(panda.chain, q), q)


def test_torch_math_says_what_numpy_says():
    math = TorchMath()
    x, y = torch.tensor([0.5, -2.0], dtype=torch.float64), torch.tensor([1.0, -3.0], dtype=torch.float64)
    torch.testing.assert_close(math.maximum(x, 0.0), x.clamp_min(0))
    torch.testing.assert_close(math.minimum(0.0, x), x.clamp_max(0))
    torch.testing.assert_close(math.where_less(x, y, 1.0, y), torch.tensor([1.0, -3.0], dtype=torch.float64))
    torch.testing.assert_close(math.inverse_sqrt(y[:1]), y[:1])
    sine, cosine = math.sin_cos(x)
    torch.testing.assert_close(sine**2 + cosine**2, torch.ones_like(x))
