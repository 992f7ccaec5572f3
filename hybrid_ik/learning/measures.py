"""What a network is worth before anything refines it: how near its raw one-step samples come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybrid_ik.chain import Chain
from hybrid_ik.encoding import Encoder
from hybrid_ik.learning.data import ValidationSet, exact_poses
from hybrid_ik.learning.networks import VelocityNetwork
from hybrid_ik.pose import quaternion_from_matrix, rotation_vector

BASIN_POSITION = 0.045  # m; starts inside both bounds converge in three steps, 99 in 100
BASIN_ANGLE = np.radians(7.0)
POSES_AT_ONCE = 250


@dataclass(frozen=True)
class RawMeasures:
    """Errors of raw one-step samples at full noise, by forward kinematics; joints beyond limits lie on them."""

    position_median: float
    """Median distance from the target [m]."""
    orientation_median: float
    """Median angle to the target [rad]."""
    share_in_basin: float
    """Share of samples within 45 mm and 7 degrees."""
    share_outside_limits: float
    """Share of samples with a joint on one of its limits, which is where those beyond are moved."""


def one_step_samples(network: VelocityNetwork, noise: Tensor, condition: Tensor, final_time: float = 0.0) -> Tensor:
    """x = e - u(e, r, 1), with r = 0, or r = 1 for a network that knows only instantaneous velocities.

    Args:
        network: u(z, r, t | condition).
        noise: `(n_noises, n_joints)`, or `(n_poses, n_noises, n_joints)`.
        condition: `(n_poses, n_features)`.
        final_time: r.

    Returns:
        Normalised joints `(n_poses, n_noises, n_joints)`.
    """
    z = noise.expand(len(condition), *noise.shape[-2:])
    t = torch.ones_like(z[..., 0])
    return z - network.decode(z, final_time * t, t, network.modulate(condition[:, None]))[0]


@torch.no_grad()
def measure_raw(
    network: VelocityNetwork,
    encoder: Encoder,
    poses: ValidationSet,
    noise: Tensor,
    final_time: float = 0.0,
) -> RawMeasures:
    """`RawMeasures` of `noise` `(n_noises, n_joints)`, the same for every pose of the validation set."""
    network.eval()
    _, condition = poses.batch(encoder)
    device = noise.device
    parts = [one_step_samples(network, noise, c.to(device), final_time).cpu() for c in condition.split(POSES_AT_ONCE)]
    proposed = encoder.denormalise(torch.cat(parts).double().numpy())
    forward = lambda q: exact_poses(encoder.chain, q)  # noqa: E731
    return raw_measures(encoder.chain, poses, encoder.complete(proposed, poses.position, poses.rotation, forward))


def raw_measures(chain: Chain, poses: ValidationSet, q: NDArray[np.float64]) -> RawMeasures:
    """`RawMeasures` of joints `(n_poses, n, dof)` proposed for the poses."""
    position, rotation = exact_poses(chain, q.reshape(-1, chain.dof))
    position, rotation = position.reshape(*q.shape[:2], 3), rotation.reshape(*q.shape[:2], 3, 3)
    distance = np.linalg.norm(position - poses.position[:, None], axis=-1)
    turn = poses.rotation[:, None] @ rotation.swapaxes(-1, -2)
    angle = np.linalg.norm(rotation_vector(quaternion_from_matrix(turn)), axis=-1)
    outside = ((q <= chain.lower) | (q >= chain.upper)).any(-1)
    return RawMeasures(
        position_median=float(np.median(distance)),
        orientation_median=float(np.median(angle)),
        share_in_basin=float(((distance < BASIN_POSITION) & (angle < BASIN_ANGLE)).mean()),
        share_outside_limits=float(outside.mean()),
    )
