"""Pictures of answers: translucent arms over one another, and the target as a frame of three arrows."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.apps.studio import HIGHEST_GROUP, Depth, Image, Studio, add_arrow, add_capsule
from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]
Colours = NDArray[np.float32]
Layer = tuple[Image, Depth]

PALETTE = np.array(  # from the first answer to the last
    [[0.10, 0.42, 0.84], [0.05, 0.66, 0.72], [0.98, 0.70, 0.18], [0.93, 0.35, 0.28], [0.62, 0.28, 0.70]]
)
AXIS_COLOURS = np.array([[0.90, 0.15, 0.16, 1.0], [0.12, 0.68, 0.22, 1.0], [0.13, 0.32, 0.92, 1.0]])
SHADOW = 0.35  # how much of the light it takes
THICKNESS = 0.02  # of bones, in parts of the size of the arm
IN_FRONT = 1.002  # times as near as what it hides: parts in common may turn on their axis, facet by facet
SAME_PLACE = 1e-4  # m, and entries of the rotation matrix
FRAME_LENGTH = 0.17  # of the target's arrows, in parts of the size of what is seen


def render_answers(
    robot: Robot,
    q: ArrayLike,
    target: Pose | None = None,
    *,
    width: int = 1200,
    height: int = 900,
    alpha: float | None = None,
    solid: int | None = None,
    azimuth: float = 140.0,
    elevation: float = -20.0,
) -> Image:
    """One picture of all answers, by MuJoCo, without a window.

    Every arm is drawn opaque and then laid over the others as a veil, so that one sees through an arm but not into it.
    What all the answers have in common, the foot and the hand, keeps its own colours.

    Args:
        robot: the arm.
        q: joints `(n, dof)`, or `(dof,)` for one; rows with NaN are left out.
        target: pose of the tip in the robot's base, drawn over everything as red, green and blue arrows (x, y, z).
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        alpha: how opaque an arm is, in (0, 1]; by default the less, the more there are. A single one is always opaque.
        solid: index of an answer to be drawn opaque.
        azimuth: direction the camera looks along, around the vertical [degrees].
        elevation: the same, above the horizon: negative looks down [degrees].

    Returns:
        `(height, width, 3)`, uint8.

    Raises:
        RenderingUnavailableError: there is no OpenGL here; the message says which package brings one.
        InvalidInputError: a wrong shape or size.
    """
    rows = _checked(robot, q, width, height, alpha, solid)
    shown = [i for i, row in enumerate(rows) if np.isfinite(row).all()]
    veil = 0.38 + 0.6 / max(1, len(shown)) if alpha is None else alpha
    alphas = [1.0 if i == solid or len(shown) == 1 else veil for i in shown]
    T_world_target = None if target is None else robot.T_world_base @ target
    with Studio(robot.drawable_model(), width, height, max(1, len(shown))) as studio:
        length = _frame(studio, robot.model_qpos(rows[shown]), T_world_target, azimuth, elevation)
        arms = [_Arm(studio, robot, rows[i], answer_colours(len(rows))[i]) for i in shown]
        room = _room(studio, arms)
        layers = [studio.shoot(arm.add, floor=False) for arm in arms]
        picture = _overlay(room, layers, alphas)
        if T_world_target is not None:
            picture = _draw_target(studio, picture, T_world_target, length)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def answer_colours(n: int) -> Array:
    """Red, green, blue in [0, 1] for each of n answers `(n, 3)`: one after another along a palette."""
    return blend_colours(np.linspace(0.0, 1.0, n) if n > 1 else np.zeros(n))


def blend_colours(share: ArrayLike) -> Array:
    """Red, green, blue in [0, 1], `(n, 3)`, at shares `(n,)` of the way along the palette, from 0 to 1."""
    at = np.asarray(share, dtype=float) * (len(PALETTE) - 1)
    return np.stack([np.interp(at, np.arange(len(PALETTE)), channel) for channel in PALETTE.T], -1)


def save_png(path: str | Path, rgb: Image) -> None:
    """Write a picture `(height, width, 3)`, uint8, as a PNG file; atomically."""
    if rgb.ndim != 3 or rgb.shape[-1] != 3 or rgb.dtype != np.uint8:
        raise InvalidInputError(
            f"expected a picture of shape (height, width, 3) and uint8, got {rgb.shape} {rgb.dtype}"
        )
    height, width, _ = rgb.shape
    filtered = np.zeros((height, 1 + 3 * width), np.uint8)  # a 0 before each line: no filter
    filtered[:, 1:] = rgb.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits a channel, red, green and blue
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b"")
    write_atomically(path, b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _checked(robot: Robot, q: ArrayLike, width: int, height: int, alpha: float | None, solid: int | None) -> Array:
    rows = np.atleast_2d(np.asarray(q, dtype=float))
    if rows.ndim != 2 or rows.shape[1] != robot.dof:
        raise InvalidInputError(f"q: expected joints of shape (n, {robot.dof}), got {np.shape(q)}")
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise InvalidInputError(f"expected a picture of 16 to 8192 pixels each way, got {width} x {height}")
    if alpha is not None and not 0 < alpha <= 1:
        raise InvalidInputError(f"alpha: expected a number in (0, 1], got {alpha}")
    if solid is not None and not 0 <= solid < len(rows):
        raise InvalidInputError(f"solid: expected the index of one of {len(rows)} answers, got {solid}")
    return rows


class _Arm:
    """One answer, to be put into a scene."""

    def __init__(self, studio: Studio, robot: Robot, q: Array, colour: Array) -> None:
        self.studio, self.robot, self.q, self.colour = studio, robot, q, colour

    def add(self, scene: mujoco.MjvScene) -> None:
        """Add the model, and a skeleton if it has no shapes."""
        self.studio.place(self.robot.model_qpos(self.q))
        self.studio.add_model(scene, self.colour)
        if _is_bare(self.studio.model):
            _add_skeleton(scene, self.studio, self.robot, self.q, self.colour)


def _frame(studio: Studio, qpos: Array, T_world_target: Pose | None, azimuth: float, elevation: float) -> float:
    """Aim the camera at all the arms and the target, set the floor, mark what lies the same in all answers as plain.

    Returns:
        The length of the target's arrows [m].
    """
    centres, radii, frames = [], [], []
    for positions in qpos if len(qpos) else [studio.model.qpos0]:
        studio.place(positions)
        c, r = studio.spheres()
        centres.append(c)
        radii.append(r)
        frames.append(studio.geom_frames())
    studio.plain = np.ptp(frames, axis=0).max(-1) < SAME_PLACE
    points, reach = np.concatenate(centres), np.concatenate(radii)
    length = FRAME_LENGTH * max(0.1, float(np.ptp(points, axis=0).max()))
    if T_world_target is not None:
        points = np.concatenate([points, T_world_target.position[None]])
        reach = np.append(reach, length)
    studio.floor_height = _floor_height(studio.model, points)
    studio.aim(points, reach, azimuth, elevation)
    return length


def _floor_height(model: mujoco.MjModel, points: Array) -> float:
    """Where the arm stands: the lowest of the bodies that do not move."""
    fixed = [i for i in range(1, model.nbody) if model.body_weldid[i] == 0 and model.body_parentid[i] == 0]
    return float(min(model.body_pos[fixed, 2])) if fixed else min(0.0, float(points[:, 2].min()))


def _room(studio: Studio, arms: list[_Arm]) -> Layer:
    """The room with what all arms have in common, and the soft shadows of all on its floor."""

    def shadows(scene: mujoco.MjvScene) -> None:
        for arm in arms:
            arm.add(scene)
        studio.cast(scene)

    empty, far = studio.shoot()
    dark, _ = studio.shoot(shadows)
    light = dark.mean(-1, dtype=np.float32) / np.maximum(empty.mean(-1, dtype=np.float32), 1)
    light = 1 - SHADOW * (1 - _blur(light, max(1, empty.shape[1] // 80)))
    studio.hidden = ~studio.plain
    rgb, depth = studio.shoot(studio.add_model)
    studio.hidden = np.zeros_like(studio.plain)
    light[depth > far] = 1.0
    return (rgb * light[..., None]).astype(np.uint8), depth


def _blur(values: Colours, radius: int) -> Colours:
    """Means over squares, twice."""
    size = 2 * radius + 1
    for axis in (0, 1, 0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        sums = np.cumsum(np.pad(values, pad, mode="edge"), axis=axis, dtype=np.float64)
        ahead, behind = np.split(sums, [size], axis)[1], np.split(sums, [sums.shape[axis] - size], axis)[0]
        values = ((ahead - behind) / size).astype(np.float32)
    return values


def _overlay(room: Layer, layers: list[Layer], alphas: list[float]) -> Colours:
    """Lay pictures of arms over that of the room: opaque arms first, then the others, the farthest first."""
    picture, nearest = room[0].astype(np.float32), room[1]
    arms = [depth > IN_FRONT * nearest for _, depth in layers]
    for i in sorted(range(len(layers)), key=lambda i: (alphas[i] < 1, float(layers[i][1].mean()))):
        rgb, depth = layers[i]
        box = _box(arms[i])
        veil = np.where((arms[i] & (depth >= nearest))[box], np.float32(alphas[i]), np.float32(0))[..., None]
        picture[box] += veil * (rgb[box] - picture[box])
        if alphas[i] == 1:
            nearest = np.maximum(nearest, depth)
    return picture


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that hold all of a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _draw_target(studio: Studio, picture: Colours, T_world_target: Pose, length: float) -> Colours:
    """The target's axes, x red, y green, z blue, over everything else."""
    R, p = T_world_target.rotation_matrix(), T_world_target.position

    def add(scene: mujoco.MjvScene) -> None:
        for axis, rgba in zip(R.T, AXIS_COLOURS, strict=True):
            add_arrow(scene, p, p + length * axis, 0.05 * length, rgba)

    empty, _ = studio.shoot(floor=False)
    rgb, _ = studio.shoot(add, floor=False)
    covered = np.abs(rgb.astype(np.float32) - empty).max(-1, keepdims=True) / 60.0  # soft at the edges
    return picture + np.clip(covered, 0, 1) * (rgb - picture)


def _is_bare(model: mujoco.MjModel) -> bool:
    """Whether nothing of the model's moving parts would be seen."""
    moving = model.body_weldid[model.geom_bodyid] != 0
    seen = moving & (model.geom_group <= HIGHEST_GROUP) & (model.geom_rgba[:, 3] > 0)
    return not seen.any()


def _add_skeleton(scene: mujoco.MjvScene, studio: Studio, robot: Robot, q: Array, colour: Array) -> None:
    """Capsules from body to body, and from the nearest one to the tip, for a model without shapes."""
    model, points = studio.model, studio.data.xpos
    lines = [(points[model.body_parentid[i]], points[i]) for i in range(1, model.nbody)]
    tip = (robot.T_world_base @ robot.forward_kinematics(q)).position
    last = points[1 + np.argmin(np.linalg.norm(points[1:] - tip, axis=-1))]
    lines.append((last, tip))
    radius = max(0.005, THICKNESS * float(np.ptp([*points, tip], axis=0).max()))
    for start, end in lines:
        if np.linalg.norm(end - start) > 1e-6:
            add_capsule(scene, start, end, radius, np.array([*colour, 1.0]))
