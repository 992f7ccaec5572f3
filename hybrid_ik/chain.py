"""A serial arm as constants: what is left of a model once everything but its kinematics is taken off."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import RobotError
from hybrid_ik.pose import Pose

Array = NDArray[np.float64]
JointKind = Literal["hinge", "slide"]

PARALLEL = 1e-3  # rad: below it a common normal is ill-conditioned, so the axes are treated as parallel
COINCIDENT = 1e-6  # m: axes nearer than this are taken to meet


@dataclass(frozen=True, eq=False)
class Chain:
    r"""A serial arm: T_base_tip(q) = T_base_first M(q_1) T_link_1 M(q_2) ... T_link_{n-1} M(q_n) T_last_tip.

    M(q) turns about z by q (hinge) or moves along z by q (slide). The joint frames are placed on the common normals
    of consecutive axes, as in Denavit and Hartenberg (1955), so `T_link` holds invariants of the arm: it does not
    depend on which description it was read from. The mount (`T_base_first`) and the tool (`T_last_tip`) are kept
    apart, for they change without changing the arm.
    """

    T_base_first: Array
    """Base frame to the first joint frame at q = 0, (4, 4)."""
    T_link: Array
    """From each joint frame, after its motion, to the next one before its motion, (dof - 1, 4, 4)."""
    T_last_tip: Array
    """From the last joint frame, after its motion, to the tip, (4, 4)."""
    kinds: tuple[JointKind, ...]
    lower: Array
    """Lower limits (dof,) [rad, or m]; -inf for an unlimited joint."""
    upper: Array
    """Upper limits (dof,) [rad, or m]; inf for an unlimited joint."""
    joint_names: tuple[str, ...]

    @classmethod
    def from_axes(
        cls,
        kinds: tuple[JointKind, ...],
        origins: ArrayLike,
        axes: ArrayLike,
        T_base_tip: ArrayLike,
        lower: ArrayLike,
        upper: ArrayLike,
        joint_names: tuple[str, ...],
    ) -> Chain:
        """The chain of joint axes given in the base frame at q = 0.

        Args:
            kinds: one of "hinge", "slide" for each joint.
            origins: (dof, 3) a point on each axis [m].
            axes: (dof, 3) direction of each axis.
            T_base_tip: (4, 4) pose of the tip at q = 0.
            lower: (dof,) lower limits, -inf where there is none.
            upper: (dof,) upper limits, inf where there is none.
            joint_names: one name for each joint.
        """
        z = np.asarray(axes, dtype=float)
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
        T_base_joint = _joint_frames(np.asarray(origins, dtype=float), z)
        inverses = np.linalg.inv(T_base_joint)
        return cls(
            T_base_first=_snap(T_base_joint[0]),
            T_link=_snap(inverses[:-1] @ T_base_joint[1:]),
            T_last_tip=_snap(inverses[-1] @ np.asarray(T_base_tip, dtype=float)),
            kinds=tuple(kinds),
            lower=np.array(lower, dtype=float),
            upper=np.array(upper, dtype=float),
            joint_names=tuple(joint_names),
        )

    @property
    def dof(self) -> int:
        """Number of joints."""
        return len(self.kinds)

    @cached_property
    def hinges(self) -> NDArray[np.bool_]:
        """Which joints turn `(dof,)`; the others are slides."""
        return np.array([kind == "hinge" for kind in self.kinds])

    @cached_property
    def sample_lower(self) -> Array:
        """Lower end of the range that starts are drawn from: the limit, or -pi."""
        return np.where(np.isfinite(self.lower), self.lower, -np.pi)

    @cached_property
    def sample_upper(self) -> Array:
        """Upper end of the range that starts are drawn from: the limit, or pi."""
        return np.where(np.isfinite(self.upper), self.upper, np.pi)

    @cached_property
    def middle(self) -> Array:
        """Middle of the range that starts are drawn from."""
        return 0.5 * (self.sample_lower + self.sample_upper)

    @cached_property
    def reach(self) -> float:
        """A bound [m] on how far the last joint frame can be from the first: link lengths, and strokes of slides."""
        stroke = np.maximum(np.abs(self.sample_lower), np.abs(self.sample_upper))
        return float(np.linalg.norm(self.T_link[:, :3, 3], axis=-1).sum() + stroke[~self.hinges].sum())

    @cached_property
    def span(self) -> float:
        """A bound [m] on how far the tip can be from the first joint; infinite where a slide has no limits."""
        endless = np.isinf(self.upper - self.lower) & ~self.hinges
        return float("inf") if endless.any() else self.reach + float(np.linalg.norm(self.T_last_tip[:3, 3]))

    def first_last(self, T_base_tip: Pose) -> tuple[Array, Array]:
        """Tip poses as poses of the last joint frame in the first: mount and tool taken off.

        Returns:
            Positions `(*batch, 3)` [m] and rotation matrices `(*batch, 3, 3)`.
        """
        T_first_base, T_tip_last = self._without_mount_and_tool
        R_first_base, R_tip_last = T_first_base[:3, :3], T_tip_last[:3, :3]
        R_first_tip = R_first_base @ T_base_tip.rotation_matrix()
        # einsum, not a matrix product over the whole batch, whose rounding would depend on how many poses there are
        position: Array = np.einsum("ij,...j->...i", R_first_base, T_base_tip.position)
        position += np.einsum("...ij,j->...i", R_first_tip, T_tip_last[:3, 3]) + T_first_base[:3, 3]
        R_first_last: Array = R_first_tip @ R_tip_last
        return position, R_first_last

    @cached_property
    def periods(self) -> Array:
        """(dof,): 2 pi for hinges that go round without end, 0 for all other joints."""
        endless = np.isinf(self.lower) & np.isinf(self.upper) & self.hinges
        return np.where(endless, 2 * np.pi, 0.0)

    def shortest_way(self, d: Array) -> Array:
        """Differences of joints `(*batch, dof)`, the shorter way round for hinges that go round without end."""
        return d - self.periods * np.round(d / np.where(self.periods > 0, self.periods, 1.0))

    def beyond(self, q: Array) -> Array:
        """How far joints `(*batch, dof)` are beyond their limits, each of them [rad, or m]; 0 within."""
        return np.maximum(np.maximum(self.lower - q, q - self.upper), 0.0)

    def within(self, q: Array) -> NDArray[np.bool_]:
        """Whether joints `(*batch, dof)` are within their limits `(*batch,)`."""
        return np.asarray(((q >= self.lower) & (q <= self.upper)).all(-1))

    @cached_property
    def _without_mount_and_tool(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return np.linalg.inv(self.T_base_first), np.linalg.inv(self.T_last_tip)

    @cached_property
    def mount_and_tool(self) -> Array:
        """What `first_last` takes off, flat: [R_first_base by rows, p_first_base, R_tip_last, p_tip_last]."""
        parts = [(T[:3, :3].ravel(), T[:3, 3]) for T in self._without_mount_and_tool]
        return np.concatenate([x for part in parts for x in part])

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the inner arm: links, kinds and limits; neither mount, tool nor names change it."""
        inner = {key: self.to_dict()[key] for key in ("T_link", "kinds", "lower", "upper")}
        return hashlib.sha256(json.dumps(inner).encode()).hexdigest()

    def matches(self, other: Chain, tolerance: float = 1e-5) -> bool:
        """Whether both are the same inner arm: links within `tolerance` [m, rad], limits within 1e-3."""
        return (
            self.kinds == other.kinds
            and np.allclose(self.T_link, other.T_link, rtol=0, atol=tolerance)
            and np.allclose(self.lower, other.lower, rtol=0, atol=1e-3)
            and np.allclose(self.upper, other.upper, rtol=0, atol=1e-3)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; infinite limits become None."""
        finite = lambda values: [float(x) if np.isfinite(x) else None for x in values]  # noqa: E731
        return {
            "T_base_first": self.T_base_first.tolist(),
            "T_link": self.T_link.tolist(),
            "T_last_tip": self.T_last_tip.tolist(),
            "kinds": list(self.kinds),
            "lower": finite(self.lower),
            "upper": finite(self.upper),
            "joint_names": list(self.joint_names),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Chain:
        """The chain that `to_dict` wrote."""
        try:
            dof = len(data["kinds"])
            return cls(
                T_base_first=np.array(data["T_base_first"], dtype=float).reshape(4, 4),
                T_link=np.array(data["T_link"], dtype=float).reshape(dof - 1, 4, 4),
                T_last_tip=np.array(data["T_last_tip"], dtype=float).reshape(4, 4),
                kinds=tuple(data["kinds"]),
                lower=np.array([-np.inf if x is None else x for x in data["lower"]], dtype=float),
                upper=np.array([np.inf if x is None else x for x in data["upper"]], dtype=float),
                joint_names=tuple(data["joint_names"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RobotError(f"not the plain data of a chain: {error}") from error


def _joint_frames(origins: Array, z: Array) -> Array:
    """Frames (dof, 4, 4) on the joint axes: z along the axis, x and origin by the common normal with the next axis."""
    n = len(z)
    parallel = [np.linalg.norm(np.cross(z[i], z[i + 1])) < PARALLEL for i in range(n - 1)]
    feet = [_common_normal_feet(origins[i], z[i], origins[i + 1], z[i + 1]) for i in range(n - 1)]

    # Parallel axes leave the height along them open: it is taken over from the nearest neighbour that fixes one.
    points = np.array(origins)
    height = origins[0]
    for i in range(n - 1):
        height = height if parallel[i] else feet[i][1]
    points[-1] = origins[-1] + z[-1] * ((height - origins[-1]) @ z[-1])
    for i in reversed(range(n - 1)):
        points[i] = origins[i] + z[i] * ((points[i + 1] - origins[i]) @ z[i]) if parallel[i] else feet[i][0]

    frames = np.tile(np.eye(4), (n, 1, 1))
    x = np.array([1.0, 0.0, 0.0])
    for i in range(n):
        if i < n - 1:
            x = _normal_direction(points[i], z[i], origins[i + 1], z[i + 1], bool(parallel[i]), x)
        x = _perpendicular(x, z[i])
        frames[i, :3, 0], frames[i, :3, 1], frames[i, :3, 2] = x, np.cross(z[i], x), z[i]
        frames[i, :3, 3] = points[i]
    return frames


def _common_normal_feet(o1: Array, z1: Array, o2: Array, z2: Array) -> tuple[Array, Array]:
    """The two points at which the common normal of two lines meets them."""
    normal = np.cross(z1, z2)
    square = normal @ normal
    if square == 0:
        return o1, o2
    between = o2 - o1
    return (
        o1 + z1 * (np.cross(between, z2) @ normal / square),
        o2 + z2 * (np.cross(between, z1) @ normal / square),
    )


def _normal_direction(p1: Array, z1: Array, o2: Array, z2: Array, parallel: bool, previous: Array) -> Array:
    """Direction from one axis to the next; where they meet, z1 x z2; where they coincide, the previous one."""
    between = o2 - p1
    if parallel:
        across = between - z1 * (between @ z1)
        return across if np.linalg.norm(across) > COINCIDENT else previous
    normal = np.cross(z1, z2)
    normal = normal / np.linalg.norm(normal)
    distance = between @ normal
    return -normal if distance < -COINCIDENT else normal


def _perpendicular(x: Array, z: Array) -> Array:
    """The unit vector across `z` that is nearest to `x`; to another axis where `x` is along `z`."""
    across = x - z * (x @ z)
    if np.linalg.norm(across) < 1e-6:
        other = np.eye(3)[np.argmin(np.abs(z))]
        across = other - z * (other @ z)
    return across / np.linalg.norm(across)


def _snap(T: Array, tolerance: float = 1e-12) -> Array:
    """Entries within rounding of 0, 1 and -1 made exact, so that recorded programs can leave them out."""
    nearest = np.clip(np.round(T), -1, 1)
    return np.where(np.abs(T - nearest) < tolerance, nearest + 0.0, T)
