"""An arm without shapes as bones: which segments, on which bodies, how thick; window, page and pictures draw these."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.outline import HIGHEST_GROUP, geom_colour
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]

THICKNESS = 0.02  # radius, in parts of the size of the arm at home
THINNEST = 0.005  # m
SHORTEST = 1e-6  # m


@dataclass(frozen=True, eq=False)
class Bone:
    """A capsule that moves with one body."""

    body: int
    """Id of the body."""
    start: Array
    """One end of its axis `(3,)` in the frame of the body [m]."""
    end: Array
    """The other end `(3,)` [m]."""
    radius: float
    """Half its thickness [m]."""


def is_bare(model: mujoco.MjModel) -> bool:
    """Whether nothing of the model's moving parts would be seen."""
    moving = model.body_weldid[model.geom_bodyid] != 0
    drawn = np.flatnonzero(moving & (model.geom_group <= HIGHEST_GROUP))
    return not any(geom_colour(model, geom)[3] > 0 for geom in drawn.tolist())


def bones(robot: Robot, model: mujoco.MjModel) -> list[Bone]:
    """From each body to its children's joints, along slides, and to the tip.

    Args:
        robot: the arm.
        model: with the same bodies and joints as the robot's.
    """
    data = mujoco.MjData(model)
    data.qpos = robot.model_qpos(robot.home)
    mujoco.mj_kinematics(model, data)
    tip = robot.T_world_base @ robot.forward_kinematics(robot.home)
    segments = [*_between_bodies(model), _to_tip(robot, model, data, tip)]
    radius = max(THINNEST, THICKNESS * float(np.ptp([*data.xpos[1:], tip.position], axis=0).max()))
    return [Bone(*segment, radius) for segment in segments if np.linalg.norm(segment[2] - segment[1]) > SHORTEST]


def _between_bodies(model: mujoco.MjModel) -> list[tuple[int, Array, Array]]:
    """Body, start and end of what holds each body: to its joint in the parent's frame, on from there in its own."""
    segments = []
    for body in range(1, model.nbody):
        parent, R_parent_body = int(model.body_parentid[body]), rotation_matrix(model.body_quat[body])
        anchor, origin = np.zeros(3), model.body_pos[body]
        for joint in range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]):
            anchor, axis = model.jnt_pos[joint], R_parent_body @ model.jnt_axis[joint]
            if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE and model.jnt_limited[joint]:
                low, high = model.jnt_range[joint] - model.qpos0[model.jnt_qposadr[joint]]
                segments.append((parent, origin + low * axis, origin + high * axis))
        if parent != 0:
            segments.append((parent, np.zeros(3), origin + R_parent_body @ anchor))
        segments.append((body, anchor, np.zeros(3)))
    return segments


def _to_tip(robot: Robot, model: mujoco.MjModel, data: mujoco.MjData, T_world_tip: Pose) -> tuple[int, Array, Array]:
    """From the body that the arm's last joint moves."""
    last = robot.home + np.eye(robot.dof)[-1]
    moved = np.flatnonzero(robot.model_qpos(last) != robot.model_qpos(robot.home))[0]
    body = int(model.jnt_bodyid[np.flatnonzero(model.jnt_qposadr == moved)[0]])
    T_world_body = Pose(data.xpos[body], data.xquat[body])
    return body, np.zeros(3), (T_world_body.inverse() @ T_world_tip).position


def rotation_matrix(quaternion: Array) -> Array:
    """Of a quaternion w, x, y, z. mju_quat2Mat."""
    R = np.empty(9)
    mujoco.mju_quat2Mat(R, quaternion)
    return R.reshape(3, 3)
