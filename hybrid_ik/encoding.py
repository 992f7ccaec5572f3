"""How a network sees an arm: joints in [-1, 1], poses as a few numbers near 1. Written once, for training and use.

The pose is always the inner one, last joint frame in first joint frame (`Chain.first_last`), so that one network
serves any mount and any tool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import quaternion_from_matrix

Array = NDArray[Any]
ForwardKinematics = Callable[[Array], tuple[Array, Array]]
Encoding = Literal["invariant", "rotation6d", "quaternion"]

TIME_FREQUENCIES = (0.5 * np.pi, np.pi, 2.0 * np.pi)  # higher ones let du/dt grow until training diverges
ORIENTATION_WEIGHT = 0.25  # m/rad; what a turn counts against a distance where the outer joints cannot meet both
TINY = 1e-12  # of the reach; a target this near the first axis has no direction seen from it


class Encoder:
    r"""What a network is told of a pose and which joints it proposes, for one arm.

    "rotation6d" and "quaternion" tell the whole pose, and the network proposes every joint. "invariant" uses that
    the outer joints do nothing but turn (or shift) the pose: :math:`T = Z(q_1)\, X(q_2 \ldots q_{n-1})\, Z(q_n)` with
    Z a turn or shift about z. The network is told only what they leave unchanged, 4 numbers' worth, and proposes only
    the joints between them; the outer ones follow in closed form (`complete`). A last joint that slides is proposed by
    the network too.

    Args:
        chain: the arm.
        encoding: "invariant", "rotation6d" (the first two columns of R; continuous: Zhou et al., 2019, section 3) or
            "quaternion" (wxyz with w >= 0; it jumps where the angle is pi).

    Raises:
        InvalidInputError: an unknown encoding, or "invariant" for an arm that has no joint between its outer ones.
    """

    def __init__(self, chain: Chain, encoding: Encoding) -> None:
        if encoding not in get_args(Encoding):
            raise InvalidInputError(f"encoding: expected one of {', '.join(get_args(Encoding))}, got {encoding!r}")
        self.chain, self.encoding = chain, encoding
        self._last_turns = chain.kinds[-1] == "hinge"
        self._columns = (2,) if encoding == "invariant" and self._last_turns else (0, 1)
        first = 1 if encoding == "invariant" else 0
        last = chain.dof - 1 if encoding == "invariant" and self._last_turns else chain.dof
        if last <= first:
            raise InvalidInputError(
                f'encoding "invariant" needs a joint between the first and the last one; this arm has {chain.dof}: '
                'use "rotation6d"'
            )
        self.proposed = slice(first, last)
        self.lower, self.upper = chain.sample_lower[self.proposed], chain.sample_upper[self.proposed]

    @property
    def n_joints(self) -> int:
        """How many joints the network proposes."""
        return self.proposed.stop - self.proposed.start

    @property
    def n_features(self) -> int:
        """How many numbers it is told of a pose."""
        return self.encode(np.zeros(3), np.eye(3)).shape[-1]

    def normalise(self, q: Any) -> Any:
        """All joints `(*batch, dof)` [rad, or m] to the proposed ones, x = 2 (q - lower) / (upper - lower) - 1."""
        return (q[..., self.proposed] - self.lower) * (2.0 / (self.upper - self.lower)) - 1.0

    def denormalise(self, x: Any) -> Any:
        """Proposed joints `(*batch, n_joints)` [rad, or m] of x; the inverse of `normalise`."""
        return (x + 1.0) * (0.5 * (self.upper - self.lower)) + self.lower

    def encode(self, position: Array, rotation: Array) -> NDArray[np.float32]:
        """The features of inner poses: `p_first_last` `(*batch, 3)` [m], `R_first_last` `(*batch, 3, 3)`.

        Returns:
            float32 `(*batch, n_features)`.
        """
        if self.encoding == "quaternion":
            quaternion = quaternion_from_matrix(rotation)
            quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
            return np.concatenate([position / self.chain.reach, quaternion], -1).astype(np.float32)
        rows = [[rotation[..., i, k] for k in range(3)] for i in range(3)]
        return np.stack(self.features([position[..., i] for i in range(3)], rows), -1).astype(np.float32)

    def features(self, p: Sequence[Any], R: Sequence[Sequence[Any]]) -> list[Any]:
        """The features of one pose, or of many of them, from numbers, numpy arrays or torch tensors; no quaternions.

        Position over the arm's reach, and columns of R. For "invariant" both are turned about the first axis until p
        lies above x (a first joint that slides: shifted along it until p_z = 0), the number that is then always 0 is
        left out, and of R only the last axis is told where the last joint turns.
        """
        x, y, z = (component / self.chain.reach for component in p)
        columns = [[R[i][k] for i in range(3)] for k in self._columns]
        if self.encoding == "rotation6d":
            return [x, y, z, *columns[0], *columns[1]]
        if self.chain.kinds[0] == "slide":
            return [x, y, *(entry for column in columns for entry in column)]
        radius = (x * x + y * y) ** 0.5
        cosine, sine = x / (radius + TINY), y / (radius + TINY)
        turned = [[cosine * a + sine * b, cosine * b - sine * a, c] for a, b, c in columns]
        return [radius, z, *(entry for column in turned for entry in column)]

    def complete(self, proposed: Array, position: Array, rotation: Array, forward: ForwardKinematics) -> Array:
        """All joints `(m, n, dof)`, inside the limits, from n proposals for each of m poses.

        Proposed joints beyond their limits are moved onto them. Then the first joint brings position and last axis as
        near to the target as it can (least squares), and the last joint the orientation.

        Args:
            proposed: `(m, n, n_joints)` [rad, or m].
            position: `p_first_last` `(m, 3)` [m] of the targets.
            rotation: `R_first_last` `(m, 3, 3)` of the targets.
            forward: joints `(rows, dof)` to poses, for instance `kernels.cpu.forward_kinematics` of the chain.
        """
        q = np.zeros((*proposed.shape[:-1], self.chain.dof))
        lower, upper = self.chain.lower[self.proposed], self.chain.upper[self.proposed]
        q[..., self.proposed] = np.clip(proposed, lower, upper)
        if self.encoding != "invariant":
            return q
        p, R = forward(q.reshape(-1, self.chain.dof))
        p, R = p.reshape(*q.shape[:-1], 3), R.reshape(*q.shape[:-1], 3, 3)
        q[..., 0] = self._into_limits(0, self._first_joint(p, R, position[:, None], rotation[:, None]))
        if self._last_turns:
            turn = np.exp(1j * q[..., 0]) if self.chain.kinds[0] == "hinge" else 1.0
            q[..., -1] = self._into_limits(-1, self._last_joint(turn, R, rotation[:, None]))
        return q

    def _first_joint(self, p: Array, R: Array, p_target: Array, R_target: Array) -> Array:
        """The joint q_1 for which Z(q_1) brings the pose (p, R) of q_1 = 0 nearest to the target.

        With the horizontal part of a vector as a complex number h, that is the angle of the sum of conj(h) h_target.
        """
        if self.chain.kinds[0] == "slide":
            return np.asarray(p_target[..., 2] - p[..., 2])
        overlap = np.conj(_horizontal(p)) * _horizontal(p_target)
        for k in (2,) if self._last_turns else (0, 1, 2):
            axis, axis_target = _horizontal(R[..., k]), _horizontal(R_target[..., k])
            overlap += ORIENTATION_WEIGHT**2 * np.conj(axis) * axis_target
        return np.angle(overlap)

    def _last_joint(self, turn: Array | float, R: Array, R_target: Array) -> Array:
        """The angle q_n for which Z(q_1) R Z(q_n) is nearest to the target; `turn` is exp(i q_1)."""
        x, y = turn * _horizontal(R[..., 0]), turn * _horizontal(R[..., 1])
        X, Y = np.conj(_horizontal(R_target[..., 0])), np.conj(_horizontal(R_target[..., 1]))
        up, UP = R[..., 2, :], R_target[..., 2, :]
        cosine = (x * X + y * Y).real + up[..., 0] * UP[..., 0] + up[..., 1] * UP[..., 1]
        sine = (y * X - x * Y).real + up[..., 1] * UP[..., 0] - up[..., 0] * UP[..., 1]
        return np.arctan2(sine, cosine)

    def _into_limits(self, joint: int, q: Array) -> Array:
        """q, by whole turns if it is an angle, inside the joint's limits or on the nearer one of them."""
        lower, upper = self.chain.sample_lower[joint], self.chain.sample_upper[joint]
        if self.chain.kinds[joint] == "hinge":
            middle = 0.5 * (lower + upper)
            q = middle + (q - middle + np.pi) % (2.0 * np.pi) - np.pi
        return np.clip(q, lower, upper)


def _horizontal(a: Array) -> Array:
    """x + i y of vectors `(..., 3)`: turning them about z by an angle multiplies this by exp(i angle)."""
    return np.asarray(a[..., 0] + 1j * a[..., 1])
