"""Pictures of the scene of a recording: through a lens, over the time of an exposure, by a sensor with noise."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.offscreen import open_context
from hybrid_ik.apps.recording_scene import RecordingScene
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.dots.blobs import Box
from hybrid_ik.pixels.packages import vision_package

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Light = NDArray[np.float32]
"""A picture that is not yet rounded `(height, width, 3)`, 0 to 255."""

NEAR, FAR = 0.05, 12.0  # m, the depths that are drawn
BOX_MARGIN = 2.0  # pixels, around the arm: for shifts, and for edges that OpenGL rounds outwards
MEMORY = 0.9  # of the brightness, from one frame to the next


class RecordingRoom:
    """Draws what each camera of a scene sees. Use it in a `with` block: it holds OpenGL memory.

    Args:
        scene: what to draw; it is moved.

    Raises:
        RenderingUnavailableError: there is no OpenGL here.
        MissingPackageError: OpenCV is not installed.
        InvalidInputError: a lens that folds the picture over.
    """

    def __init__(self, scene: RecordingScene) -> None:
        self.scene = scene
        self._views = {name: _View(camera, name) for name, camera in scene.cameras.items()}
        width, height = np.max([view.size for view in self._views.values()], 0)
        model = scene.model
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        self._gl = open_context(int(width), int(height))
        self._scene, self._option = mujoco.MjvScene(model, 1000), mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._pencil = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._pencil)
        self._still: dict[str, NDArray[np.uint8]] = {}

    def __enter__(self) -> RecordingRoom:
        return self

    def __exit__(self, *error: object) -> None:
        self._pencil.free()
        self._gl.free()

    def expose(self, q: Array) -> dict[str, Light]:
        """What falls on the sensors while the arm moves through postures `(k, nq)`, of every camera.

        Each posture is drawn once, by a camera that is shifted by a part of a pixel: so edges become smooth, too.
        What stands still is drawn for the first exposure only, then no more than the part of a picture that the arm
        is in: without graphics hardware that takes a third of the time. Shadows fall anywhere: with them all is drawn.
        """
        shifts = _shifts(len(q))
        still = self._still_pictures(shifts)
        light = {name: still[name].sum(0, dtype=np.float32) for name in self._views}
        for k, posture in enumerate(q):
            self._place(posture, mujoco.mjtCatBit.mjCAT_ALL)
            for name, view in self._views.items():
                box = view.whole if self.scene.config.shadows else view.box_around(self.scene.moving_corners())
                light[name][box.slices] += self._draw(view, shifts[k], box).astype(np.float32)
                light[name][box.slices] -= still[name][k][box.slices]
        return {name: view.bend(light[name] / np.float32(len(q))) for name, view in self._views.items()}

    def _still_pictures(self, shifts: Array) -> dict[str, NDArray[np.uint8]]:
        """Of each camera without what moves, for each shift `(k, height, width, 3)`."""
        if any(len(pictures) != len(shifts) for pictures in self._still.values()) or not self._still:
            self._place(self.scene.data.qpos, mujoco.mjtCatBit.mjCAT_STATIC)
            for name, view in self._views.items():
                self._still[name] = np.stack([self._draw(view, shift, view.whole) for shift in shifts])
        return self._still

    def _place(self, posture: Array, categories: mujoco.mjtCatBit) -> None:
        self.scene.place(posture)
        mujoco.mj_camlight(self.scene.model, self.scene.data)
        camera = mujoco.MjvCamera()
        mujoco.mjv_updateScene(self.scene.model, self.scene.data, self._option, None, camera, categories, self._scene)

    def _draw(self, view: _View, shift: Array, box: Box) -> Image:
        """A part of a picture without distortion, shifted by parts of a pixel."""
        for camera in self._scene.camera:
            view.aim(camera, shift, box)
        self._gl.make_current()
        rect = mujoco.MjrRect(0, 0, box.right - box.left, box.bottom - box.top)
        mujoco.mjr_render(rect, self._scene, self._pencil)
        rgb = np.empty((rect.height, rect.width, 3), np.uint8)
        mujoco.mjr_readPixels(rgb, None, rect, self._pencil)
        return rgb[::-1]


class _View:
    """A pinhole that sees all that a camera sees through its lens, and the way from its picture to the camera's."""

    def __init__(self, camera: Camera, name: str) -> None:
        self._cv2 = vision_package("cv2")
        self._camera = camera
        columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        rays = camera.undistort(np.stack([columns, rows], -1).astype(float))
        if not np.isfinite(rays).all():
            raise InvalidInputError(
                f"camera {name!r}: the lens folds the picture over before its corners; weaker distortion than "
                f"{camera.distortion.tolist()} is needed"
            )
        self._focal = float(camera.focal_lengths[0])
        half = self._focal * np.abs(rays).max((0, 1)) + 2
        self.size = tuple(int(2 * np.ceil(side)) for side in half)
        self._map = (self._focal * rays + (np.array(self.size) - 1) / 2).astype(np.float32)

    def bend(self, picture: Light) -> Light:
        """What the lens makes of the pinhole's picture."""
        bent: Light = self._cv2.remap(picture, self._map, None, self._cv2.INTER_LINEAR)
        return bent

    @property
    def whole(self) -> Box:
        """All of the pinhole's picture."""
        return Box(0, 0, *self.size)

    def box_around(self, points: Array) -> Box:
        """The part of the pinhole's picture in which points `(n, 3)` [m] lie; all of it if one is beside the camera."""
        seen = (points - self._camera.position) @ self._camera.R_camera_world.T
        if seen[:, 2].min() < NEAR:
            return self.whole
        pixels = self._focal * seen[:, :2] / seen[:, 2:] + (np.array(self.size) - 1) / 2
        left, top = np.maximum(np.floor(pixels.min(0) - BOX_MARGIN), 0).astype(int)
        right, bottom = np.minimum(np.ceil(pixels.max(0) + BOX_MARGIN) + 1, self.size).astype(int)
        return Box(int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1))

    def aim(self, camera: mujoco.MjvGLCamera, shift: Array, box: Box) -> None:
        """Make MuJoCo's camera see a part of this one's picture, shifted by parts of a pixel."""
        axes = self._camera.R_camera_world
        camera.pos, camera.forward, camera.up = self._camera.position, axes[2], -axes[1]
        pixel = NEAR / self._focal
        width, height = self.size
        camera.frustum_near, camera.frustum_far = NEAR, FAR
        camera.frustum_center = (shift[0] + (box.left + box.right - width) / 2) * pixel
        camera.frustum_bottom = (shift[1] + height / 2 - box.bottom) * pixel
        camera.frustum_top = (shift[1] + height / 2 - box.top) * pixel


@dataclass(frozen=True, kw_only=True)
class SensorConfig:
    """How a sensor errs; levels are of 0 to 255."""

    read_noise: float = 1.5
    """Standard deviation in the dark [levels]."""
    shot_noise: float = 0.04
    """Variance that comes with light, for each level of it [levels]."""
    exposure_jitter: float = 0.02
    """Standard deviation of the brightness, as a share of it; it wanders from frame to frame."""

    def __post_init__(self) -> None:
        """Check the numbers; raises InvalidInputError."""
        for name, value in vars(self).items():
            if not 0 <= value < np.inf:
                raise InvalidInputError(f"sensor.{name}: expected 0 or more, got {value}")


class Sensor:
    """A sensor whose brightness wanders, and whose pixels have noise of their own.

    Args:
        config: how it errs.
        rng: where chance comes from.
    """

    def __init__(self, config: SensorConfig, rng: np.random.Generator) -> None:
        self._config, self._rng = config, rng
        self._drift = float(rng.standard_normal())
        self._drawn = np.empty(0, np.float32)

    def read(self, light: Light) -> Image:
        """The picture `(height, width, 3)`, uint8."""
        self._drift = MEMORY * self._drift + np.sqrt(1 - MEMORY**2) * float(self._rng.standard_normal())
        level = light * np.float32(1 + self._config.exposure_jitter * self._drift)
        spread = np.sqrt(self._config.read_noise**2 + self._config.shot_noise * np.maximum(level, 0))
        level += spread * self._noise(light.size).reshape(light.shape)
        return np.clip(np.rint(level, out=level), 0, 255).astype(np.uint8)

    def _noise(self, n: int) -> NDArray[np.float32]:
        """Normal numbers `(n,)`: a stretch of those that were drawn once, for to draw anew takes 18 ms a picture."""
        if len(self._drawn) < 2 * n:
            self._drawn = self._rng.standard_normal(4 * n, np.float32)
        first = self._rng.integers(len(self._drawn) - n)
        return self._drawn[first : first + n]


def _shifts(n: int) -> Array:
    """Parts of a pixel `(n, 2)`, spread evenly around zero: a lattice of the golden ratio."""
    k = np.arange(n)
    across = (k + 0.5) / n - 0.5
    down = (0.5 + k * 0.6180339887498949) % 1.0
    return np.stack([across[np.argsort(np.argsort(down))], across], -1)
