"""Rigid poses: positions in metres and unit quaternions in MuJoCo's order, wxyz."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

logger = logging.getLogger(__name__)
Array = NDArray[np.float64]

ROTATION_TOLERANCE = 1e-4  # how far R^T R may be from I: float32 and printed matrices pass, shears do not
NORM_RANGE = (1e-3, 1e3)  # quaternions outside are no rotation at all, most likely a wrong column


class Pose:
    """One rigid transform, or an array of them: `T_parent_child`, child coordinates to parent.

    Args:
        position: `(*batch, 3)` [m].
        quaternion: `(*batch, 4)`, wxyz as in MuJoCo; normalised here.

    A single pose that is no pose (NaN, zero quaternion) raises `InvalidInputError`. In a batch such rows
    are kept, `valid` is False for them, and a solve marks them `Status.INVALID_INPUT`.
    """

    __slots__ = ("position", "quaternion", "valid")

    position: Array
    """`(*batch, 3)` [m]."""
    quaternion: Array
    """`(*batch, 4)` unit quaternion, wxyz."""
    valid: NDArray[np.bool_]
    """`(*batch,)`: False where the row was not a pose."""

    def __init__(self, position: ArrayLike, quaternion: ArrayLike) -> None:
        p = _as_floats("position", position, 3)
        q = _as_floats("quaternion", quaternion, 4)
        if p.shape[:-1] != q.shape[:-1]:
            p, q = _broadcast(p, q)
        single = p.ndim == 1  # of numpy's scalars, whose functions take longer than all the rest
        norm = np.sqrt(q.dot(q) if single else np.einsum("...i,...i", q, q))
        square = p.dot(p) if single else np.einsum("...i,...i", p, p)
        valid = (norm > NORM_RANGE[0]) & (norm < NORM_RANGE[1]) & np.isfinite(square)
        if not (valid if single else valid.all()):
            if single:
                raise InvalidInputError(
                    f"not a pose: position {p.tolist()}, quaternion {q.tolist()} (wxyz); expected finite "
                    "numbers and a unit quaternion"
                )
            norm = np.where(valid, norm, 1.0)
        off = abs(norm - 1.0) if single else np.abs(norm - 1.0).max(initial=0.0)
        if off > 1e-3:
            logger.warning("quaternions were not of unit length (up to %.3g off): normalised", off)
        self.position, self.quaternion, self.valid = p, q / norm[..., None], valid

    @classmethod
    def _trusted(cls, position: Array, quaternion: Array, valid: NDArray[np.bool_]) -> Pose:
        """A pose of arrays that another pose has checked: normalising again would change their last bits."""
        pose = cls.__new__(cls)
        pose.position, pose.quaternion, pose.valid = position, quaternion, valid
        return pose

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> Pose:
        """Pose of homogeneous matrices `(*batch, 4, 4)`; reflections and shears are refused."""
        T = np.asarray(matrix, dtype=float)
        if T.shape[-2:] != (4, 4):
            raise InvalidInputError(f"expected matrices of shape (*batch, 4, 4), got {T.shape}")
        return cls(T[..., :3, 3], _checked_quaternion(T[..., :3, :3]))

    @classmethod
    def from_rotation(cls, position: ArrayLike, rotation: Rotation) -> Pose:
        """Pose of a position and a `scipy.spatial.transform.Rotation`."""
        return cls.from_xyzw(position, rotation.as_quat())

    @classmethod
    def from_xyzw(cls, position: ArrayLike, quaternion: ArrayLike) -> Pose:
        """Pose of quaternions in the order of ROS and scipy, scalar last."""
        q = _as_floats("quaternion", quaternion, 4)
        return cls(position, np.roll(q, 1, axis=-1))

    @classmethod
    def as_pose(cls, target: Pose | Any) -> Pose:
        """`target` itself if it is a pose, or one matrix; bare 7-vectors are refused: they do not say their order."""
        if isinstance(target, Pose):
            return target
        shape = np.shape(target)
        if shape[-2:] == (4, 4):
            return cls.from_matrix(target)
        raise InvalidInputError(
            f"expected a Pose, got {type(target).__name__} of shape {shape}. An array of 7 numbers does not say "
            "whether its quaternion is wxyz (MuJoCo) or xyzw (ROS, scipy): use Pose(position, quaternion) for "
            "wxyz, or Pose.from_xyzw(position, quaternion)"
        )

    def rotation_matrix(self) -> Array:
        """Rotation matrices `(*batch, 3, 3)`; `mju_quat2Mat`."""
        products = 2 * self.quaternion[..., :, None] * self.quaternion[..., None, :]
        R = np.empty((*self.shape, 3, 3))
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):  # of x, y, z, which stand behind w
            xx, yz, wx = products[..., i + 1, i + 1], products[..., j + 1, k + 1], products[..., 0, i + 1]
            R[..., i, i] = products[..., 0, 0] + xx - 1
            R[..., j, k], R[..., k, j] = yz - wx, yz + wx
        return R

    def matrix(self) -> Array:
        """Homogeneous matrices `(*batch, 4, 4)`."""
        T = np.zeros((*self.shape, 4, 4))
        T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = self.rotation_matrix(), self.position, 1.0
        return T

    def inverse(self) -> Pose:
        """`T_child_parent`."""
        conjugate = self.quaternion * np.array([1.0, -1.0, -1.0, -1.0])
        return Pose._trusted(-rotate(conjugate, self.position), conjugate, self.valid)

    def __matmul__(self, other: Pose) -> Pose:
        """`T_a_c = T_a_b @ T_b_c`, over broadcast batch shapes."""
        position = self.position + rotate(self.quaternion, other.position)
        return Pose(position, multiply_quaternions(self.quaternion, other.quaternion))

    @property
    def shape(self) -> tuple[int, ...]:
        """The batch shape: `()` for one pose."""
        return self.position.shape[:-1]

    def reshape(self, *shape: int) -> Pose:
        """The same poses under another batch shape."""
        position, quaternion = self.position.reshape((*shape, 3)), self.quaternion.reshape((*shape, 4))
        return Pose._trusted(position, quaternion, self.valid.reshape(shape))

    def __getitem__(self, index: Any) -> Pose:
        if not self.shape:
            raise IndexError("a single pose has no rows")
        valid = self.valid[index]
        if not isinstance(index, slice | np.ndarray):  # others may say something of the last axes too
            index = np.unravel_index(np.arange(self.valid.size).reshape(self.shape)[index], self.shape)
        return Pose._trusted(self.position[index], self.quaternion[index], valid)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single pose has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        if self.shape:
            return f"Pose(shape={self.shape})"
        return f"Pose(position={self.position.tolist()}, quaternion={self.quaternion.tolist()})"


def rotate(quaternion: Array, vector: Array) -> Array:
    """Vectors `(*batch, 3)` turned by unit quaternions: v + 2 w (u x v) + 2 u x (u x v); `mju_rotVecQuat`."""
    w, u = quaternion[..., :1], quaternion[..., 1:]
    t = 2 * np.cross(u, vector)
    return vector + w * t + np.cross(u, t)


def multiply_quaternions(a: Array, b: Array) -> Array:
    """Hamilton product, wxyz: the rotation b, then a; `mju_mulQuat`."""
    aw, av, bw, bv = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    w = aw * bw - (av * bv).sum(-1, keepdims=True)
    return np.concatenate([w, aw * bv + bw * av + np.cross(av, bv)], -1)


def rotation_vector(quaternion: Array) -> Array:
    """Axis times angle [rad] `(*batch, 3)`, the angle in [0, pi]; `mju_quat2Vel` with dt = 1.

    Exact near both ends: the angle is 2 atan2(|u|, w), and q and -q give the same vector.
    """
    q = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    u = q[..., 1:]
    sine = np.sqrt((u * u).sum(-1, keepdims=True))
    angle = 2 * np.arctan2(sine, q[..., :1])
    return u * np.where(sine > 0, angle / np.where(sine > 0, sine, 1.0), 2.0)


def pose_error(target: Pose, actual: Pose) -> Array:
    """What moves `actual` onto `target`: `[p* - p; log(R* R^T)]`, in the frame that both poses are given in.

    Returns:
        `(*batch, 6)`: metres, then radians (a rotation vector of length at most pi).
    """
    turn = multiply_quaternions(target.quaternion, actual.quaternion * np.array([1.0, -1.0, -1.0, -1.0]))
    return np.concatenate([target.position - actual.position, rotation_vector(turn)], -1)


def n_rows(orientation: bool) -> int:
    """Numbers that a pose fixes, the rows of `pose_error` that count: 6, or 3 without the orientation."""
    return 6 if orientation else 3


def quaternion_from_matrix(R: Array) -> Array:
    """Unit quaternions wxyz `(*batch, 4)` of rotation matrices `(*batch, 3, 3)`.

    The largest of the four candidates is divided by, so no angle is singular (Shepperd, 1978).
    """
    R = np.asarray(R, dtype=float)
    d0, d1, d2 = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    x, y, z = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    xy, xz, yz = R[..., 0, 1] + R[..., 1, 0], R[..., 0, 2] + R[..., 2, 0], R[..., 1, 2] + R[..., 2, 1]
    candidates = np.stack(
        [
            np.stack([1 + d0 + d1 + d2, x, y, z], -1),
            np.stack([x, 1 + d0 - d1 - d2, xy, xz], -1),
            np.stack([y, xy, 1 - d0 + d1 - d2, yz], -1),
            np.stack([z, xz, yz, 1 - d0 - d1 + d2], -1),
        ],
        -2,
    )
    largest = np.argmax(np.diagonal(candidates, axis1=-2, axis2=-1), -1)
    q = np.take_along_axis(candidates, largest[..., None, None], -2)[..., 0, :]
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def _checked_quaternion(R: Array) -> Array:
    gram = np.swapaxes(R, -1, -2) @ R - np.eye(3)
    with np.errstate(invalid="ignore"):
        good = (np.abs(gram) < ROTATION_TOLERANCE).all((-1, -2)) & (np.linalg.det(R) > 0)
    if R.ndim == 2 and not good:
        raise InvalidInputError(
            f"not a rotation matrix (a reflection, sheared, scaled or not a number): {R.tolist()}; "
            "expected R^T R = I and det R = 1"
        )
    identity = np.broadcast_to(np.eye(3), R.shape)
    return np.where(good[..., None], quaternion_from_matrix(np.where(good[..., None, None], R, identity)), np.nan)


def _as_floats(name: str, values: ArrayLike, length: int) -> Array:
    try:
        array = np.array(values, dtype=float)  # a copy: later edits by the caller do not reach us
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: expected numbers of shape (*batch, {length}), got {values!r}") from error
    if array.ndim == 0 or array.shape[-1] != length:
        raise InvalidInputError(f"{name}: expected shape (*batch, {length}), got {array.shape}")
    return array


def _broadcast(p: Array, q: Array) -> tuple[Array, Array]:
    try:
        shape = np.broadcast_shapes(p.shape[:-1], q.shape[:-1])
    except ValueError as error:
        raise InvalidInputError(
            f"position {p.shape} and quaternion {q.shape} do not have one batch shape in common"
        ) from error
    return np.broadcast_to(p, (*shape, 3)).copy(), np.broadcast_to(q, (*shape, 4)).copy()
