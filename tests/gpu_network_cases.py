"""The network on a device: the same starts as on the processor; run as `gpu_cases` are."""

from __future__ import annotations

import os
from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
from models import GANTRY
from numpy.testing import assert_allclose, assert_array_equal
from test_networks import network_file

from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels.tools import load_tools
from hybrid_ik.learning.networks import NetworkConfig
from hybrid_ik.learning.noise import noise_table
from hybrid_ik.robot import Robot
from hybrid_ik.samplers import device_network
from hybrid_ik.samplers.device_network import DeviceSampler, use_spares
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.samplers.shipped import require_shipped_network
from hybrid_ik.tensor_pose import TensorPose

DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1" else "cpu"


@pytest.fixture(scope="module")
def gantry():
    """A first joint that slides, and a last one that turns without end."""
    return Robot(mujoco.MjSpec.from_string(GANTRY), tip="tip")


@pytest.fixture(scope="module")
def shipped(panda):
    return MeanFlowSampler(require_shipped_network(panda.chain), panda.chain)


def _untrained(robot, **options):
    config = NetworkConfig(**{"width": 24, "trunk_width": 20, "trunk_depth": 2, **options})
    file, _ = network_file(robot.chain, config)
    file.tensors["noise"] = noise_table(Encoder(robot.chain, config.encoding).n_joints).numpy()
    return file


def _poses(robot, n, seed=0):
    chain = robot.chain
    q = np.random.default_rng(seed).uniform(chain.sample_lower, chain.sample_upper, (n, robot.dof))
    return robot.forward_kinematics(q)


def _same(found, expected, tolerance):
    """All but the few for which a spare start is taken or not by rounding, or an angle near a limit goes round."""
    apart = np.abs(found.cpu().numpy() - expected).max(-1)
    return (apart < tolerance).mean()


OPTIONS = [
    {"encoding": "rotation6d"},
    {"encoding": "quaternion", "activation": "gelu"},
    {"architecture": "residual", "norm": "layer"},
    {"architecture": "residual", "norm": "batch", "activation": "gelu", "octaves": 2},
    {"norm": "layer", "octaves": 2, "activation": "gelu"},
    {"norm": "batch"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(str(v) for v in o.values()))
@pytest.mark.parametrize("arm", ["panda", "gantry"])
def test_starts_are_those_of_the_processor(request, arm, options):
    robot = request.getfixturevalue(arm)
    mounted = replace(
        robot.chain, T_base_first=_poses(robot, 1, 5).matrix()[0], T_last_tip=_poses(robot, 1, 6).matrix()[0]
    )
    sampler, poses = MeanFlowSampler(_untrained(robot, **options), mounted), _poses(robot, 20)
    expected, found = sampler.sample(poses, 9), DeviceSampler(sampler, DEVICE).sample(poses, 9)
    assert found.shape == expected.shape and found.dtype == torch.float64
    assert _same(found, expected, 1e-4) >= 0.99


@pytest.mark.parametrize("seed", [0, 3])
def test_starts_of_the_shipped_network(panda, seed):
    sampler = MeanFlowSampler(require_shipped_network(panda.chain), panda.chain, seed)
    poses = _poses(panda, 50)
    expected, found = sampler.sample(poses, 64), DeviceSampler(sampler, DEVICE).sample(poses, 64)
    assert _same(found, expected, 1e-4) > 0.999
    assert ((found.cpu().numpy() >= panda.lower) & (found.cpu().numpy() <= panda.upper)).all()


def test_starts_in_half_the_bits_lie_near(panda, shipped):
    poses = _poses(panda, 50)
    expected, found = shipped.sample(poses, 64), DeviceSampler(shipped, DEVICE, "bfloat16").sample(poses, 64)
    assert np.median(np.abs(found.cpu().numpy() - expected)) < 0.02
    assert _same(found, expected, 0.3) > 0.95


@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (0,)])
def test_shapes_and_pieces(panda, shipped, shape, monkeypatch):
    monkeypatch.setattr(device_network, "STARTS_AT_ONCE", 10)  # two poses at a time
    poses = _poses(panda, int(np.prod(shape)) or 1)[: int(np.prod(shape))].reshape(*shape)
    found = DeviceSampler(shipped, DEVICE).sample(TensorPose.of_pose(poses, DEVICE), 5)
    assert found.shape == (*shape, 5, 7)
    assert_allclose(found.cpu().numpy(), shipped.sample(poses, 5), rtol=0, atol=1e-4)


@pytest.mark.parametrize("encoding", ["invariant", "quaternion"])
def test_what_is_no_pose_has_starts_all_the_same(panda, encoding):
    poses = _poses(panda, 3)
    position, quaternion = poses.position.copy(), poses.quaternion.copy()
    position[1, 0], quaternion[2] = np.nan, 0.0
    given = TensorPose.of(position, quaternion, DEVICE)
    sampler = MeanFlowSampler(_untrained(panda, encoding=encoding), panda.chain)
    found = DeviceSampler(sampler, DEVICE).sample(given, 4).cpu().numpy()
    assert np.isfinite(found).all()
    assert_allclose(found[0], sampler.sample(poses[0], 4), rtol=0, atol=1e-4)


@pytest.mark.parametrize("n", [1, 4, 5, 11])
def test_spares_are_used_as_by_the_processor(n):
    rng = np.random.default_rng(n)
    q, inside = rng.normal(size=(30, n + -(-n // 4), 3)), rng.random((30, n + -(-n // 4))) < 0.5
    found = use_spares(torch.tensor(q), torch.tensor(inside), n)
    load_tools()["use_spares"](q, inside, n)
    assert_array_equal(found.numpy(), q[:, :n])


def test_numbers_that_are_none(shipped):
    with pytest.raises(InvalidInputError, match="numbers: expected one of float32, bfloat16, got 'int4'"):
        DeviceSampler(shipped, DEVICE, "int4")
