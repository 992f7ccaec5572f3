"""What a picture of arms is composed of: the room and its shadows, arms as veils over it, and the target on top."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.bones import Bone, bones, is_bare
from hybrid_ik.apps.outline import floor_height
from hybrid_ik.apps.studio import Depth, Image, Studio, add_arrow, add_capsule
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]
Colours = NDArray[np.float32]
Layer = tuple[Image, Depth]

AXIS_COLOURS = np.array([[0.90, 0.15, 0.16, 1.0], [0.12, 0.68, 0.22, 1.0], [0.13, 0.32, 0.92, 1.0]])
GHOST = 0.18  # how opaque ghosts are
SHADOW = 0.35  # how much of the light it takes
BONE = np.array([0.78, 0.79, 0.80])  # of a skeleton that has no colour
IN_FRONT = 1.002  # times as near as what it hides: parts in common may turn on their axis, facet by facet
SAME_PLACE = 1e-4  # m, and entries of the rotation matrix
ARROW = 0.15  # length of the target's arrows, in parts of the height of the picture


class Arm:
    """One posture, to be put into a scene.

    Args:
        studio: where it is photographed.
        qpos: all joints `(nq,)` of its model.
        colour: red, green and blue in [0, 1]; its own colours if None.
        skeleton: what is drawn with the model, which may have no shapes.
    """

    def __init__(self, studio: Studio, qpos: Array, colour: Array | None, skeleton: Sequence[Bone]) -> None:
        self.studio, self.qpos, self.colour, self.skeleton = studio, qpos, colour, skeleton

    def add(self, scene: mujoco.MjvScene) -> None:
        """Add the model and the skeleton."""
        self.studio.place(self.qpos)
        self.studio.add_model(scene, self.colour)
        rgba = np.array([*(BONE if self.colour is None else self.colour), 1.0])
        for bone in self.skeleton:
            start, end = self.studio.in_world(bone.body, np.stack([bone.start, bone.end]))
            add_capsule(scene, start, end, bone.radius, rgba)


class Composition:
    """A studio whose camera sees all of some postures and the target; what does not change is photographed once.

    Args:
        studio: where the model is.
        robot: the arm.
        q: all joints `(n, dof)` that will be shown [rad, or m]; what they have in common keeps its own colours.
        target: pose of the tip in the robot's base, or None.
        azimuth: direction the camera looks along, around the vertical [degrees].
        elevation: the same, above the horizon [degrees].
    """

    def __init__(
        self, studio: Studio, robot: Robot, q: Array, target: Pose | None, azimuth: float, elevation: float
    ) -> None:
        self.studio, self.robot = studio, robot
        self._skeleton = bones(robot, studio.model) if is_bare(studio.model) else []
        self._T_world_target = None if target is None else robot.T_world_base @ target
        self._length = self._frame(robot.model_qpos(q), azimuth, elevation)

    def arm(self, q: Array, colour: Array | None = None) -> Arm:
        """A posture `(dof,)`, in its own colours or in one."""
        return Arm(self.studio, self.robot.model_qpos(q), colour, self._skeleton)

    def layer(self, arm: Arm) -> Layer:
        """An arm alone, as it is laid over the room."""
        return self.studio.shoot(arm.add, floor=False)

    def picture(
        self, shadows_of: Sequence[Arm], layers: Sequence[Layer], alphas: Sequence[float], ghosts: Sequence[Layer] = ()
    ) -> Image:
        """Layers in the room, with soft shadows of some arms on its floor, under the target's axes.

        Args:
            shadows_of: what casts them.
            layers: of arms.
            alphas: how opaque each is, in (0, 1].
            ghosts: layers that lie behind all arms, faintly.
        """
        rgb, depth = self._room(shadows_of)
        haunted = _overlay((rgb, depth), ghosts, [GHOST] * len(ghosts))
        picture = _overlay((haunted, depth), layers, alphas)
        if self._T_world_target is not None:
            rgb, cover = self._target
            picture += cover * (rgb - picture)
        return np.clip(picture + 0.5, 0, 255).astype(np.uint8)

    def _frame(self, qpos: Array, azimuth: float, elevation: float) -> float:
        """Aim the camera at all the arms and the target, set the floor, mark what lies the same in all as plain.

        Returns:
            The length of the target's arrows [m].
        """
        studio = self.studio
        centres, radii, frames = [], [], []
        for positions in qpos if len(qpos) else [studio.model.qpos0]:
            studio.place(positions)
            c, r = studio.spheres()
            ends = [studio.in_world(bone.body, np.stack([bone.start, bone.end])) for bone in self._skeleton]
            centres.append(np.concatenate([c, *ends]))
            radii.append(np.concatenate([r, np.zeros(2 * len(ends))]))
            frames.append(studio.geom_frames())
        studio.plain = np.ptp(frames, axis=0).max(-1) < SAME_PLACE
        points, reach = np.concatenate(centres), np.concatenate(radii)
        studio.floor_height = floor_height(studio.model, studio.data, points)
        length = ARROW * studio.aim(points, reach, azimuth, elevation)
        if self._T_world_target is not None:
            points, reach = np.concatenate([points, self._T_world_target.position[None]]), np.append(reach, length)
            studio.aim(points, reach, azimuth, elevation)
        return length

    def _room(self, arms: Sequence[Arm]) -> Layer:
        """The room with what all arms have in common, and the shadows of these on its floor."""

        def shadows(scene: mujoco.MjvScene) -> None:
            for arm in arms:
                arm.add(scene)
            self.studio.cast(scene)

        empty, far = self._empty
        rgb, depth = self._common
        dark, _ = self.studio.shoot(shadows)
        light = dark.mean(-1, dtype=np.float32) / np.maximum(empty.mean(-1, dtype=np.float32), 1)
        light = 1 - SHADOW * (1 - _blur(light, max(1, empty.shape[1] // 80)))
        light[depth > far] = 1.0
        return (rgb * light[..., None]).astype(np.uint8), depth

    @cached_property
    def _empty(self) -> Layer:
        return self.studio.shoot()

    @cached_property
    def _common(self) -> Layer:
        """The room with what lies the same in all postures."""
        self.studio.hidden = ~self.studio.plain
        layer = self.studio.shoot(self.studio.add_model)
        self.studio.hidden = np.zeros_like(self.studio.plain)
        return layer

    @cached_property
    def _target(self) -> tuple[Image, Colours]:
        """The target's axes, x red, y green, z blue, and where they cover what is behind: soft at the edges."""
        assert self._T_world_target is not None
        R, p, length = self._T_world_target.rotation_matrix(), self._T_world_target.position, self._length

        def add(scene: mujoco.MjvScene) -> None:
            for axis, rgba in zip(R.T, AXIS_COLOURS, strict=True):
                add_arrow(scene, p, p + length * axis, 0.05 * length, rgba)

        empty, _ = self.studio.shoot(floor=False)
        rgb, _ = self.studio.shoot(add, floor=False)
        covered = np.abs(rgb.astype(np.float32) - empty).max(-1, keepdims=True) / 60.0
        return rgb, np.clip(covered, 0, 1)


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


def _overlay(room: tuple[NDArray[Any], Depth], layers: Sequence[Layer], alphas: Sequence[float]) -> Colours:
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
