"""How a network sees an arm: joints in [-1, 1], poses as a few numbers near 1. Written once, for training and use.

The pose is always the inner one, last joint frame in first joint frame (`Chain.first_last`), so that one network
serves any mount and any tool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import quaternion_from_matrix

Array = NDArray[Any]
ForwardKinematics = Callable[[Any], tuple[Any, Any]]
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

    @cached_property
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

    def complete(
        self, proposed: Any, position: Any, rotation: Any, forward: ForwardKinematics, xp: ModuleType = np
    ) -> Any:
        """All joints `(m, n, dof)`, inside the limits, from n proposals for each of m poses.

        Proposed joints beyond their limits are moved onto them. Then the first joint brings position and last axis as
        near to the target as it can (least squares), and the last joint the orientation.

        Args:
            proposed: `(m, n, n_joints)` [rad, or m].
            position: `p_first_last` `(m, 3)` [m] of the targets.
            rotation: `R_first_last` `(m, 3, 3)` of the targets.
            forward: joints `(rows, dof)` to poses, for instance `kernels.cpu.forward_kinematics` of the chain.
            xp: the module all these arrays are of, numpy or torch.
        """
        lower, upper = self.chain.lower[self.proposed], self.chain.upper[self.proposed]
        inner = xp.clip(proposed, *(xp.asarray(limits, dtype=proposed.dtype) for limits in (lower, upper)))
        return inner if self.encoding != "invariant" else self.add_outer(inner, position, rotation, forward, xp)[0]

    def add_outer(
        self, inner: Any, position: Any, rotation: Any, forward: ForwardKinematics, xp: ModuleType = np
    ) -> tuple[Any, Any]:
        """The part of `complete` for proposals of the "invariant" encoding that are inside their limits.

        Returns:
            All joints `(m, n, dof)`, and whether the outer ones needed not be moved onto a limit, `(m, n)`.
        """
        zero = xp.zeros_like(inner[..., :1])
        joints = [zero, inner, zero] if self._last_turns else [zero, inner]
        p, R = forward(xp.concat(joints, -1).reshape(-1, self.chain.dof))
        p, R = p.reshape(*inner.shape[:-1], 3), R.reshape(*inner.shape[:-1], 3, 3)
        first, inside = self._first_joint(p, R, position[:, None], rotation[:, None], xp)
        joints[0] = first[..., None]
        if self._last_turns:
            last, within = self._last_joint(joints[0], R, rotation[:, None], xp)
            joints[2], inside = last[..., None], inside & within
        return xp.concat(joints, -1), inside

    def _first_joint(self, p: Any, R: Any, p_target: Any, R_target: Any, xp: ModuleType) -> tuple[Any, Any]:
        """The joint q_1, `(m, n)`, for which Z(q_1) brings the pose (p, R) of q_1 = 0 nearest to the target.

        That is the angle from the horizontal parts of its vectors to those of the target's, summed with weights.
        """
        if self.chain.kinds[0] == "slide":
            return self._into_limits(0, p_target[..., 2] - p[..., 2], xp)
        cosine, sine = _overlap(p, p_target)
        for k in (2,) if self._last_turns else (0, 1, 2):
            c, s = _overlap(R[..., k], R_target[..., k])
            cosine, sine = cosine + ORIENTATION_WEIGHT**2 * c, sine + ORIENTATION_WEIGHT**2 * s
        return self._into_limits(0, xp.atan2(sine, cosine), xp)

    def _last_joint(self, first: Any, R: Any, R_target: Any, xp: ModuleType) -> tuple[Any, Any]:
        """The angle q_n for which Z(q_1) R Z(q_n) is nearest to the target, `(m, n)`, from q_1 `(m, n, 1)`.

        That is the angle from the rows of the target to those of Z(q_1) R, summed.
        """
        x, y, z = (R[..., i, :] for i in range(3))
        if self.chain.kinds[0] == "hinge":
            c, s = xp.cos(first), xp.sin(first)
            x, y = c * x - s * y, s * x + c * y
        overlaps = [_overlap(R_target[..., i, :], row) for i, row in enumerate((x, y, z))]
        angle = xp.atan2(sum(sine for _, sine in overlaps), sum(cosine for cosine, _ in overlaps))
        return self._into_limits(-1, angle, xp)

    def _into_limits(self, joint: int, q: Any, xp: ModuleType) -> tuple[Any, Any]:
        """q, by whole turns if an angle, inside the joint's limits or on the nearer one; and whether it is inside."""
        lower, upper = float(self.chain.sample_lower[joint]), float(self.chain.sample_upper[joint])
        if self.chain.kinds[joint] == "hinge":
            middle = 0.5 * (lower + upper)
            q = middle + (q - middle + np.pi) % (2.0 * np.pi) - np.pi
        return xp.clip(q, lower, upper), (q >= lower) & (q <= upper)


def _overlap(a: Any, b: Any) -> tuple[Any, Any]:
    """Cosine and sine, times both lengths, of the angle about z from a to b `(..., 2 or 3)`, seen from above."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1], a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
