"""An SO-100 on a table, two coloured dots on its jaws, two cameras that stand still: what they see, without drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.recordings.description import MIN_SIDE
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]

DOTS = "dot_fixed_jaw", "dot_moving_jaw"
TIP = "between_dots"
JAW_IN_THE_MIDDLE = 0.9  # rad: what a recording calls 50
# Joints that are aimed at [rad]: Rotation, Pitch, Elbow, Wrist_Pitch, Wrist_Roll, Jaw.
LOWEST = np.array([-1.0, -2.6, 0.4, -1.2, -np.inf, 0.1])
HIGHEST = np.array([1.0, -0.4, 2.8, 1.6, np.inf, 1.5])
PITCHES, ROLL, JAW = slice(1, 4), 4, 5  # of the joints; the pitches turn about the same direction
CLEARANCE = 0.002  # m between parts of the arm, and to the table
BORDER = 0.04  # of a picture's sides, where no dot is to go

PLACES = {"front": (-0.22, -0.86, 0.40), "side": (0.72, -0.38, 0.36)}  # m
LOOKED_AT = {"front": (0.0, -0.20, 0.14), "side": (0.0, -0.22, 0.14)}  # m
FOCAL = 560.0  # pixels, of a picture that is 640 wide
OFF_CENTRE = {"front": (6.0, -4.0), "side": (-5.0, 3.0)}  # principal point from the middle, of such a picture [pixels]
RINGS = ((0.3, 4), (0.62, 8), (0.88, 12))  # radius, as a share of the dot's, and number of rays that look at it


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """What stands where."""

    width: int = 640
    """Of the pictures [pixels]."""
    height: int = 480
    """Of the pictures [pixels]."""
    distortion: tuple[float, float, float, float, float] = (-0.12, 0.05, 4e-4, -3e-4, 0.0)
    """Of both lenses: k1 k2 p1 p2 k3, in OpenCV's order."""
    dot_radius: float = 0.006
    """Of the coloured balls on the jaws [m]."""
    shadows: bool = False
    """Whether the arm casts them: with OpenGL in software a picture takes ten times as long."""
    roll: float = 1.2
    """Most of the wrist's, to either side [rad]; up to 3."""
    tilt: float = 0.8
    """Most of the gripper, from straight down [rad]: as one holds it above a table. From 2.5 on there is no bound."""
    jaw_moves: bool = False
    """Whether the jaw opens and closes; else it stands at 50, the middle of its range."""


class RecordingScene:
    """The model, its cameras, and what the cameras see of the dots.

    Args:
        config: what stands where.

    Raises:
        InvalidInputError: a number is out of range.
    """

    def __init__(self, config: SceneConfig) -> None:
        for name, side in ("width", config.width), ("height", config.height):
            if side % 2 or side < MIN_SIDE:
                raise InvalidInputError(f"{name}: expected an even number of at least {MIN_SIDE} pixels, got {side}")
        if not 0.001 <= config.dot_radius <= 0.03:
            raise InvalidInputError(f"dot_radius: expected 0.001 to 0.03 m, got {config.dot_radius}")
        if not 0.0 <= config.roll <= 3.0:
            raise InvalidInputError(f"roll: expected 0 to 3 rad, got {config.roll}")
        if not config.tilt > 0.1:
            raise InvalidInputError(f"tilt: expected more than 0.1 rad, got {config.tilt}")
        self.config = config
        self.robot = Robot("so100", tip=TIP)
        self.model = _furnished(self.robot, config)
        self.data = mujoco.MjData(self.model)
        self.cameras = {name: _camera(name, config) for name in PLACES}
        self._sites = [self.model.site(name).id for name in DOTS]
        moving = np.flatnonzero(self.model.body_weldid[self.model.geom_bodyid] != 0)
        self._moving, self._corners = moving, _corners(self.model.geom_aabb[moving])
        self._balls = [self.model.geom(name).id for name in DOTS]

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Joints that are aimed at, lowest and highest `(nq,)` [rad]."""
        low, high = LOWEST.copy(), HIGHEST.copy()
        low[ROLL], high[ROLL] = -self.config.roll, self.config.roll
        if not self.config.jaw_moves:
            low[JAW] = high[JAW] = JAW_IN_THE_MIDDLE
        return low, high

    def place(self, q: Array) -> None:
        """Put all joints `(nq,)` [rad] somewhere."""
        self.data.qpos[:] = q
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)

    def allowed(self, q: Array) -> NDArray[np.bool_]:
        """Which of postures `(n, nq)` are held as told, touch nothing, and have both dots in both pictures `(n,)`."""
        return np.array([self._allows(row) for row in q])

    def pixels(self) -> Array:
        """Of the dots, as the arm is placed `(n_cameras, n_dots, 2)`."""
        return np.stack([camera.project(self.data.site_xpos[self._sites]) for camera in self.cameras.values()])

    def shares(self) -> Array:
        """How much of each dot's disc the cameras see `(n_cameras, n_dots)`, by rays."""
        dots = list(zip(self._balls, self._sites, strict=True))
        return np.array([[self._share(camera, *dot) for dot in dots] for camera in self.cameras.values()])

    def moving_corners(self) -> Array:
        """Corners of boxes that hold all that moves, as the arm is placed `(n, 3)` [m]."""
        R = self.data.geom_xmat[self._moving].reshape(-1, 3, 3)
        return (self.data.geom_xpos[self._moving, None] + self._corners @ R.swapaxes(1, 2)).reshape(-1, 3)

    def _allows(self, q: Array) -> bool:
        if abs(q[PITCHES].sum() - np.pi / 2) > self.config.tilt:
            return False
        self.place(q)
        size = np.array([self.config.width, self.config.height])
        seen = self.pixels() / size
        if not ((seen > BORDER) & (seen < 1 - BORDER)).all():
            return False
        mujoco.mj_collision(self.model, self.data)
        return self.data.ncon == 0

    def _share(self, camera: Camera, ball: int, site: int) -> float:
        points = _disc(self.data.site_xpos[site], camera.position, self.model.geom_size[ball, 0])
        seen = camera.project(points)
        inside = ((seen > -0.5) & (seen < np.array([camera.width, camera.height]) - 0.5)).all(-1)
        hit = self._first_hits(camera.position, points) == ball
        return float(np.mean(inside & hit))

    def _first_hits(self, origin: Array, points: Array) -> NDArray[np.int32]:
        """Geoms that are met first on the ways from a place to points `(n, 3)`; -1 for none.

        Not by `mj_multiRay`, which passed through a dot that `mj_ray` meets in 36 % of the cases tried.
        """
        found = np.full((len(points), 1), -1, np.int32)
        for way, geom in zip(points - origin, found, strict=True):
            mujoco.mj_ray(self.model, self.data, origin, way, None, True, -1, geom)
        return found[:, 0]


def _corners(boxes: Array) -> Array:
    """Of boxes `(n, 6)`, middle and half sizes, `(n, 8, 3)`."""
    signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), -1).reshape(8, 3)
    return np.asarray(boxes[:, None, :3] + signs * boxes[:, None, 3:])


def _disc(centre: Array, eye: Array, radius: float) -> Array:
    """Points of the disc that a ball shows to an eye `(n, 3)` [m], each for about the same area."""
    ahead = (centre - eye) / np.linalg.norm(centre - eye)
    side = np.cross(ahead, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    turns = [(share, 2 * np.pi * k / n) for share, n in RINGS for k in range(n)]
    around = np.array([[share * np.cos(angle), share * np.sin(angle)] for share, angle in turns])
    return np.asarray(centre + radius * around @ np.stack([side, np.cross(side, ahead)]))


def _camera(name: str, config: SceneConfig) -> Camera:
    """The camera of that name, which looks at the space in front of the arm."""
    scale = config.width / 640.0
    x0, y0 = OFF_CENTRE[name]
    cx, cy = (config.width - 1) / 2 + scale * x0, (config.height - 1) / 2 + scale * y0
    return Camera(
        matrix=np.array([[FOCAL * scale, 0, cx], [0, FOCAL * scale, cy], [0, 0, 1]]),
        distortion=np.array(config.distortion),
        T_camera_world=_looking(np.array(PLACES[name]), np.array(LOOKED_AT[name])).inverse(),
        width=config.width,
        height=config.height,
    )


def _looking(position: Array, target: Array) -> Pose:
    """T_world_camera: x to the right, y down, z where it looks."""
    z = (target - position) / np.linalg.norm(target - position)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    T_world_camera = np.eye(4)
    T_world_camera[:3] = np.stack([x, np.cross(z, x), z, position], -1)
    return Pose.from_matrix(T_world_camera)


def _furnished(robot: Robot, config: SceneConfig) -> mujoco.MjModel:
    """The arm with a table, a wall, things that stand about, and light."""
    spec = robot.specification()
    for name in DOTS:
        spec.geom(name).size = [config.dot_radius, 0, 0]
    for geom in spec.geoms:
        geom.margin = CLEARANCE
    _add_surface(spec, "table", (0.55, 0.50, 0.44), (0.50, 0.45, 0.39), pos=[0, 0, 0], size=[3, 3, 0.1])
    _add_surface(
        spec, "wall", (0.70, 0.72, 0.74), (0.62, 0.65, 0.69), pos=[0, 1.2, 0], size=[4, 4, 0.1], zaxis=[0, -1, 0]
    )
    _add_surface(
        spec, "other_wall", (0.72, 0.71, 0.68), (0.66, 0.65, 0.6), pos=[-1.3, 0, 0], size=[4, 4, 0.1], zaxis=[1, 0, 0]
    )
    for rgba, position, size in THINGS:
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=position, size=size, rgba=[*rgba, 1])
    for i, (position, toward, strength) in enumerate(LIGHTS):
        light = spec.worldbody.add_light(pos=position, dir=toward, diffuse=[strength] * 3, specular=[0.2] * 3)
        light.type, light.ambient = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, [AMBIENT] * 3
        light.castshadow = config.shadows and not i
    spec.visual.headlight.active = 0
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 0
    # With the default 28, 16 and 4 a picture takes a third longer.
    spec.visual.quality.numslices, spec.visual.quality.numstacks, spec.visual.quality.numquads = 20, 10, 1
    return spec.compile()


# Colour, middle and half sizes [m]; all beyond the arm's reach.
THINGS: tuple[tuple[Any, Any, Any], ...] = (
    ((0.20, 0.30, 0.55), (-0.50, 0.30, 0.06), (0.09, 0.05, 0.06)),
    ((0.75, 0.70, 0.30), (0.42, 0.42, 0.04), (0.06, 0.08, 0.04)),
    ((0.55, 0.20, 0.20), (-0.75, -0.25, 0.05), (0.05, 0.05, 0.05)),
    ((0.25, 0.45, 0.30), (-0.62, -0.62, 0.03), (0.07, 0.04, 0.03)),
)
AMBIENT = 0.2  # of each light
# Place [m], direction, strength; the first one casts shadows, if any does.
LIGHTS: tuple[tuple[Any, Any, float], ...] = (
    ((0.6, -1.0, 2.0), (-0.25, 0.35, -0.9), 0.65),
    ((-1.2, -0.8, 1.8), (0.45, 0.6, -0.6), 0.3),
)


def _add_surface(spec: Any, name: str, first: Any, second: Any, **where: Any) -> None:
    """A plane with squares of two colours, and specks on it."""
    texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=512, height=512)
    texture.builtin, texture.mark = mujoco.mjtBuiltin.mjBUILTIN_CHECKER, mujoco.mjtMark.mjMARK_RANDOM
    texture.rgb1, texture.rgb2, texture.markrgb, texture.random = first, second, [0.35, 0.33, 0.3], 0.01
    material = spec.add_material(name=name, texuniform=True, texrepeat=[3, 3], specular=0.05)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    spec.worldbody.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_PLANE, material=name, **where)
