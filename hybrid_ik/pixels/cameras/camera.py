"""A camera that stands still: from points of the world to pixels and back, with derivatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError, RobotError
from hybrid_ik.pixels.cameras.lens import distort, distortion_jacobian, undistort
from hybrid_ik.pose import Pose

Array = NDArray[np.float64]

NO_DISTORTION = (0.0,) * 5
R_OPENCV_MUJOCO = np.diag([1.0, -1.0, -1.0])  # MuJoCo's cameras have y up and look along -z


@dataclass(frozen=True, eq=False, kw_only=True)
class Camera:
    """A pinhole with a lens, in OpenCV's conventions: x to the right, y down, z where it looks.

    The middle of the first pixel, at the upper left, is (0, 0), and pixels are (column, row).

    Raises:
        InvalidInputError: a field of the wrong shape or range; the message says which.
    """

    matrix: Array
    """`[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]` [pixels]."""
    distortion: Array = field(default_factory=lambda: np.array(NO_DISTORTION))
    """(k1, k2, p1, p2, k3), in OpenCV's order; see `hybrid_ik.pixels.cameras.lens`."""
    T_camera_world: Pose
    """Takes points of the world into the camera; a matrix (4, 4) is taken too."""
    width: int
    """Of the picture [pixels]."""
    height: int
    """Of the picture [pixels]."""

    def __post_init__(self) -> None:
        matrix = _floats("matrix", self.matrix, (3, 3))
        off = np.abs(matrix[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] - [0, 0, 0, 0, 1]).max()
        if not (off < 1e-9 and matrix[0, 0] > 0 and matrix[1, 1] > 0):
            raise InvalidInputError(
                f"Camera.matrix: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], fx and fy > 0, got {matrix.tolist()}"
            )
        T_camera_world = Pose.as_pose(self.T_camera_world)
        if T_camera_world.shape or not T_camera_world.valid:
            raise InvalidInputError(f"Camera.T_camera_world: expected one pose, got shape {T_camera_world.shape}")
        for name in ("width", "height"):
            if not getattr(self, name) > 0:
                raise InvalidInputError(f"Camera.{name} must be positive, got {getattr(self, name)}")
        distortion = _floats("distortion", self.distortion, (5,))
        self.__dict__.update(matrix=matrix, distortion=distortion, T_camera_world=T_camera_world)

    @cached_property
    def focal_lengths(self) -> Array:
        """(fx, fy) [pixels]."""
        return self.matrix[[0, 1], [0, 1]]

    @cached_property
    def center(self) -> Array:
        """The principal point (cx, cy) [pixels]."""
        return self.matrix[:2, 2]

    @cached_property
    def R_camera_world(self) -> Array:
        """Rotation matrix (3, 3) of `T_camera_world`."""
        return self.T_camera_world.rotation_matrix()

    @cached_property
    def position(self) -> Array:
        """Where the camera stands in the world (3,) [m]."""
        return self.T_camera_world.inverse().position

    def to_camera(self, points_world: Array) -> Array:
        """Points `(*batch, 3)` [m] of the world in the camera's frame."""
        return points_world @ self.R_camera_world.T + self.T_camera_world.position

    def project(self, points_world: ArrayLike) -> Array:
        """Pixels of points: [fx x_d + cx; fy y_d + cy] with (x_d, y_d) of `lens.distort`; `cv2.projectPoints`.

        Args:
            points_world: `(*batch, 3)` [m].

        Returns:
            `(*batch, 2)` [pixels], also beyond the picture's border; NaN for points that are not before the camera.
            A lens whose distortion folds over shows points far outside the picture inside it, as OpenCV's does.

        Raises:
            InvalidInputError: the last axis is not of three numbers.
        """
        rays, _ = self._rays(_points("points_world", points_world, 3))
        with np.errstate(invalid="ignore", over="ignore"):
            return self.focal_lengths * distort(rays, self.distortion) + self.center

    def jacobian(self, points_world: ArrayLike) -> Array:
        """d pixel / d point in the world: diag(fx, fy) D [I, -(x, y)] / Z R_camera_world, D of the lens.

        Args:
            points_world: `(*batch, 3)` [m].

        Returns:
            `(*batch, 2, 3)` [pixels/m]; NaN for points that are not before the camera.

        Raises:
            InvalidInputError: the last axis is not of three numbers.
        """
        return self.camera_jacobian(_points("points_world", points_world, 3)) @ self.R_camera_world

    def camera_jacobian(self, points_world: Array) -> Array:
        """d pixel / d point in the camera's frame `(*batch, 2, 3)` [pixels/m]."""
        rays, depth = self._rays(points_world)
        with np.errstate(invalid="ignore", over="ignore"):
            D = self.focal_lengths[:, None] * distortion_jacobian(rays, self.distortion)
            D /= depth[..., None, None]
            return np.concatenate([D, -(D @ rays[..., None])], -1)

    def undistort(self, pixels: ArrayLike) -> Array:
        """Rays (X/Z, Y/Z) that are seen at pixels `(*batch, 2)`; `cv2.undistortPoints` without a new camera matrix.

        Returns:
            `(*batch, 2)` [focal lengths]; NaN for pixels that are NaN, or that no ray reaches.

        Raises:
            InvalidInputError: the last axis is not of two numbers.
        """
        seen = (_points("pixels", pixels, 2) - self.center) / self.focal_lengths
        return undistort(seen, self.distortion)

    def directions(self, pixels: ArrayLike) -> Array:
        """Unit vectors in the world `(*batch, 3)`, from the camera to what is seen at pixels `(*batch, 2)`."""
        rays = self.undistort(pixels)
        ahead = np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], -1)
        return ahead @ self.R_camera_world / np.linalg.norm(ahead, axis=-1, keepdims=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the fields, the pose as a matrix (4, 4)."""
        return {
            "matrix": self.matrix.tolist(),
            "distortion": self.distortion.tolist(),
            "T_camera_world": self.T_camera_world.matrix().tolist(),
            "width": int(self.width),
            "height": int(self.height),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Camera:
        """The camera that `to_dict` wrote.

        Raises:
            InvalidInputError: something is missing, or no camera.
        """
        try:
            return cls(**data)
        except TypeError as error:
            raise InvalidInputError(f"not the plain data of a camera: {error}") from error

    @classmethod
    def from_mujoco(cls, model: mujoco.MjModel, data: mujoco.MjData, name: str, width: int, height: int) -> Camera:
        """The camera of that name as MuJoCo renders it, where `data` has it (after `mj_forward`).

        fy = height / 2 / tan(fovy / 2) and square pixels, centre in the middle; or from the sensor's size, focal length
        and principal point, where the model gives them.

        Args:
            model: that has the camera.
            data: where it stands; `mj_camlight` or `mj_forward` must have run.
            name: of the camera.
            width: of the picture [pixels].
            height: of the picture [pixels].

        Raises:
            RobotError: there is no such camera, or it is orthographic.
        """
        camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
        if camera < 0:
            names = ", ".join(model.camera(i).name for i in range(model.ncam)) or "none"
            raise RobotError(f"no camera {name!r} in the model; cameras: {names}")
        if model.cam_projection[camera] != mujoco.mjtProjection.mjPROJ_PERSPECTIVE:
            raise RobotError(f"camera {name!r} is orthographic: a pinhole cannot stand for it")
        T_world_camera = np.eye(4)
        T_world_camera[:3, :3] = data.cam_xmat[camera].reshape(3, 3) @ R_OPENCV_MUJOCO.T
        T_world_camera[:3, 3] = data.cam_xpos[camera]
        return cls(
            matrix=_mujoco_matrix(model, camera, width, height),
            T_camera_world=Pose.from_matrix(T_world_camera).inverse(),
            width=width,
            height=height,
        )

    def _rays(self, points_world: Array) -> tuple[Array, Array]:
        """(X/Z, Y/Z) `(*batch, 2)` and depths Z `(*batch,)` [m]; NaN where Z is not positive."""
        points_camera = self.to_camera(points_world)
        with np.errstate(invalid="ignore", over="ignore"):
            depth = np.where(points_camera[..., 2] > 0, points_camera[..., 2], np.nan)
            return points_camera[..., :2] / depth[..., None], depth


def _mujoco_matrix(model: mujoco.MjModel, camera: int, width: int, height: int) -> Array:
    size = np.array([width, height], dtype=float)
    sensor, intrinsic = model.cam_sensorsize[camera], model.cam_intrinsic[camera]
    if sensor[1] > 0:
        focal = intrinsic[:2] / sensor * size
        center = 0.5 * size - intrinsic[2:] / sensor * size  # of both signs, this is the one that pictures show
    else:
        focal = np.full(2, 0.5 * height / np.tan(0.5 * np.radians(model.cam_fovy[camera])))
        center = 0.5 * size
    (fx, fy), (cx, cy) = focal, center - 0.5  # the border of the first pixel is at -1/2
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _floats(name: str, values: Any, shape: tuple[int, ...]) -> Array:
    try:
        array = np.array(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"Camera.{name}: expected numbers of shape {shape}, got {values!r}") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise InvalidInputError(f"Camera.{name}: expected finite numbers of shape {shape}, got {array.tolist()}")
    return array


def _points(name: str, values: ArrayLike, length: int) -> Array:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name}: expected numbers of shape (*batch, {length}), got {values!r}") from error
    if array.ndim == 0 or array.shape[-1] != length:
        raise InvalidInputError(f"{name}: expected shape (*batch, {length}), got {array.shape}")
    return array
