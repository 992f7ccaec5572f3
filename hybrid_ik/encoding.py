"""How a network sees an arm: joints in [-1, 1], poses as a few numbers near 1. Written once, for training and use.

The pose is always the inner one, last joint frame in first joint frame (`Chain.first_last`), so that one network
serves any mount and any tool.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.pose import quaternion_from_matrix

Encoding = Literal["rotation6d", "quaternion"]
TIME_FREQUENCIES = (0.5 * np.pi, np.pi, 2.0 * np.pi)  # higher ones let du/dt grow until training diverges
CONDITION_SIZE: dict[Encoding, int] = {"rotation6d": 9, "quaternion": 7}


def normalise_joints(chain: Chain, q: Any) -> Any:
    """Joints `(*batch, dof)` [rad, or m] to x = 2 (q - lower) / (upper - lower) - 1, over the chain's sample range."""
    return (q - chain.sample_lower) * (2.0 / (chain.sample_upper - chain.sample_lower)) - 1.0


def denormalise_joints(chain: Chain, x: Any) -> Any:
    """The inverse of `normalise_joints`: [-1, 1] to joints `(*batch, dof)` [rad, or m]."""
    return (x + 1.0) * (0.5 * (chain.sample_upper - chain.sample_lower)) + chain.sample_lower


def encode_pose(
    position: NDArray[Any], rotation: NDArray[Any], reach: float, encoding: Encoding
) -> NDArray[np.float32]:
    """What a network is told of a pose.

    Args:
        position: `p_first_last` `(*batch, 3)` [m]; divided by `reach`.
        rotation: `R_first_last` `(*batch, 3, 3)`.
        reach: `Chain.reach` [m].
        encoding: "rotation6d" appends the first two columns of R (continuous; Zhou et al., 2019, section 3),
            "quaternion" the unit quaternion wxyz with w >= 0 (it jumps where the angle is pi).

    Returns:
        float32 of shape `(*batch, CONDITION_SIZE[encoding])`.
    """
    condition = np.empty((*position.shape[:-1], CONDITION_SIZE[encoding]), np.float32)
    condition[..., :3] = position / reach
    if encoding == "quaternion":
        quaternion = quaternion_from_matrix(rotation)
        condition[..., 3:] = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    else:
        condition[..., 3:6], condition[..., 6:] = rotation[..., 0], rotation[..., 1]
    return condition
