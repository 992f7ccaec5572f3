"""Forward kinematics by MuJoCo, in lanes, in torch and in numpy are one and the same, on every robot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybrid_ik.kernels import cpu
from hybrid_ik.kinematics import forward_kinematics
from hybrid_ik.learning.torch_math import TorchMath
from hybrid_ik.pose import Pose, pose_error
from hybrid_ik.scalar_math import NumpyMath

CONFIGURATIONS = 10_000
TOLERANCE = 1e-9  # m and rad


def _lanes(chain, q):
    return cpu.forward_kinematics(chain, q)


def _numpy(chain, q):
    R, p = forward_kinematics(chain, list(q.T), NumpyMath())
    ones = np.ones(len(q))
    return np.stack([x * ones for x in p], -1), np.stack([np.stack([x * ones for x in row], -1) for row in R], -2)


def _torch(chain, q):
    R, p = forward_kinematics(chain, list(torch.from_numpy(q).T), TorchMath())
    ones = torch.ones(len(q), dtype=torch.float64)
    rows = torch.stack([torch.stack([x * ones for x in row], -1) for row in R], -2)
    return torch.stack([x * ones for x in p], -1).numpy(), rows.numpy()


def _floats(chain, q):
    """One configuration at a time; the first thousand, for it takes long."""
    poses = [forward_kinematics(chain, row, NumpyMath()) for row in q[:1000].tolist()]
    return np.array([p for _, p in poses]), np.array([R for R, _ in poses])


@pytest.mark.parametrize("way", [_lanes, _numpy, _torch, _floats], ids=lambda way: way.__name__.strip("_"))
def test_every_way_agrees_with_mujoco(robot, way):
    chain = robot.chain
    q = np.random.default_rng(0).uniform(chain.sample_lower, chain.sample_upper, (CONFIGURATIONS, chain.dof))
    p, R = way(chain, q)
    T_first_last = np.tile(np.eye(4), (len(p), 1, 1))
    T_first_last[:, :3, :3], T_first_last[:, :3, 3] = R, p
    found = Pose.from_matrix(chain.T_base_first @ T_first_last @ chain.T_last_tip)
    error = pose_error(robot.forward_kinematics(q[: len(p)]), found)
    assert np.linalg.norm(error[:, :3], axis=-1).max() < TOLERANCE
    assert np.linalg.norm(error[:, 3:], axis=-1).max() < TOLERANCE
