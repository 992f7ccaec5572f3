"""Postures of six-joint arms with a spherical wrist: the up to eight branches of their inverse kinematics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kinematics import tip_jacobian
from hybrid_ik.learning.data import exact_poses

Array = NDArray[np.float64]

MEETS = 1e-6  # m: how near the last three axes must come to their common point
PARALLEL = 1e-6  # of the sine between the second and the third axis


def posture_signs(chain: Chain, q: ArrayLike) -> NDArray[np.int8]:
    """Which branch joints lie on: the signs of shoulder, elbow and wrist, +1 or -1.

    For an arm whose second and third axes are parallel and whose last three meet in the wrist's centre W, the
    determinant of the Jacobian of W and of the wrist's rotation is a product of three factors, and branches meet only
    where one of them is 0. With z the axes and o_1 on the first one,

    * shoulder: `(z_1 x z_2) . (W - o_1)`, whether W lies before the first axis or behind it;
    * elbow: `det [v_1, v_2, v_3]` of W, over the shoulder's factor: which way the elbow is bent;
    * wrist: `det [z_4, z_5, z_6]`, the sine of the fifth joint.

    Args:
        chain: the arm.
        q: joints `(n, 6)` [rad].

    Returns:
        `(n, 3)`; 0 counts as +1.

    Raises:
        InvalidInputError: another kind of arm.
    """
    rows = np.asarray(q, dtype=float)
    _check_arm(chain)
    velocity, axis, W = _wrist(chain, rows)
    shoulder = np.einsum("ni,ni->n", np.cross(axis[:, 0], axis[:, 1]), W)
    elbow = np.linalg.det(velocity[:, :3]) * np.where(shoulder < 0, -1.0, 1.0)
    wrist = np.linalg.det(axis[:, 3:])
    return np.where(np.stack([shoulder, elbow, wrist], -1) < 0, -1, 1).astype(np.int8)


def posture_number(signs: NDArray[np.int8]) -> NDArray[np.intp]:
    """0 to 7 for signs `(*batch, 3)`."""
    return np.asarray((signs < 0) @ np.array([4, 2, 1]))


def _wrist(chain: Chain, q: Array) -> tuple[Array, Array, Array]:
    """Velocities of the wrist's centre by joint `(n, 6, 3)`, axes `(n, 6, 3)`, and its place, in the first frame."""
    without_tool = replace(chain, T_last_tip=np.eye(4))  # the last joint's frame lies in the wrist's centre
    J = tip_jacobian(without_tool, q)
    return J[:, :3].swapaxes(1, 2), J[:, 3:].swapaxes(1, 2), exact_poses(chain, q)[0]


def _check_arm(chain: Chain) -> None:
    """Refuses arms without three factors."""
    if chain.dof == 6 and set(chain.kinds) == {"hinge"}:
        q = chain.middle[None] + 0.3
        velocity, axis, _ = _wrist(chain, q)
        apart = np.abs(velocity[0, 3:]).max()
        if apart < MEETS and np.linalg.norm(np.cross(axis[0, 1], axis[0, 2])) < PARALLEL:
            return
    raise InvalidInputError(
        "postures are known of arms with six hinges, the second and third parallel and the last three meeting in a "
        f"point; this one has {chain.dof} joints ({', '.join(chain.kinds)}), or other axes"
    )
