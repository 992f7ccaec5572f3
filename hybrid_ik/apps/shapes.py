"""A MuJoCo model's visible shapes as triangles, in the frames of its bodies, with as few corners as a browser likes.

trimesh, which the extra `viewer` brings, makes the primitives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.clustering import cluster_size, clustered
from hybrid_ik.apps.studio import HIGHEST_GROUP
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]
Faces = NDArray[np.int64]

SOLID_VERTICES = 40_000  # of one arm in its own colours
GHOST_VERTICES = 8_000  # of each of the others
SECTIONS = 24  # around a cylinder
INSET = 0.0025  # by how much ghosts are thinner, in parts of the length of the links
CREASE = 0.6  # rad between two faces, from which on their edge is drawn as one
THICKNESS = 0.02  # of bones, in parts of the size of the arm
PLAIN = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's colour of a geom that was given none: that of its material comes first
BONE = (0.55, 0.58, 0.62, 1.0)


@dataclass(frozen=True, eq=False)
class Part:
    """Triangles that move with one body."""

    body: int
    """Id of the body."""
    vertices: Array
    """Corners `(n, 3)` in the frame of the body [m]."""
    faces: Faces
    """Rows of `vertices` `(m, 3)`, seen from outside counter-clockwise."""
    rgba: tuple[float, float, float, float]
    """Colour and opacity in [0, 1]."""


def solid_parts(robot: Robot, model: mujoco.MjModel, most_vertices: int = SOLID_VERTICES) -> list[Part]:
    """The whole model, one part for each body and colour; bones where it has no shapes.

    Args:
        robot: the arm.
        model: its `drawable_model`.
        most_vertices: about how many corners all parts may have, before creases are split.
    """
    parts = _parts(robot, model)
    return [_creased(part) for part in _reduced(_joined(parts, by_colour=True), most_vertices)]


def ghost_parts(robot: Robot, model: mujoco.MjModel, most_vertices: int = GHOST_VERTICES) -> list[Part]:
    """The moving bodies, one part for each, a little thinner than they are; arguments as those of `solid_parts`.

    Where a ghost turns about an axis of its shape it lies in the solid arm, not in its surface, which would flicker.
    """
    moving = [part for part in _parts(robot, model) if model.body_weldid[part.body] != 0]
    depth = INSET * float(np.linalg.norm(robot.chain.T_link[:, :3, 3], axis=-1).sum())
    return [_thinner(part, depth) for part in _reduced(_joined(moving, by_colour=False), most_vertices)]


def visible_parts(model: mujoco.MjModel) -> list[Part]:
    """One part for each geom that MuJoCo's viewer shows, but for planes and height fields; in full detail."""
    found = []
    for geom in range(model.ngeom):
        rgba = geom_colour(model, geom)
        if model.geom_group[geom] > HIGHEST_GROUP or rgba[3] == 0:
            continue
        shape = _mesh(model, geom) or _primitive(model, geom)
        if shape is not None:
            R_body_geom = _matrix(model.geom_quat[geom])
            vertices = shape[0] @ R_body_geom.T + model.geom_pos[geom]
            found.append(Part(int(model.geom_bodyid[geom]), vertices, shape[1], rgba))
    return found


def geom_colour(model: mujoco.MjModel, geom: int) -> tuple[float, float, float, float]:
    """Red, green, blue and opacity of a geom, as MuJoCo draws it: its own, or else its material's. mjv_addGeoms."""
    own, material = model.geom_rgba[geom], int(model.geom_matid[geom])
    plain = np.array_equal(own, np.array(PLAIN, np.float32))
    r, g, b, a = (model.mat_rgba[material] if plain and material >= 0 else own).tolist()
    return r, g, b, a


def skeleton(robot: Robot, model: mujoco.MjModel) -> list[Part]:
    """Capsules for a model without shapes: from each body to its children's joints, along slides, and to the tip."""
    data = mujoco.MjData(model)
    data.qpos = robot.model_qpos(robot.home)
    mujoco.mj_kinematics(model, data)
    bones = [*_bones(model), _last_bone(robot, model, data)]
    tip = (robot.T_world_base @ robot.forward_kinematics(robot.home)).position
    radius = max(0.005, THICKNESS * float(np.ptp([*data.xpos[1:], tip], axis=0).max()))
    return [_capsule(body, start, end, radius) for body, start, end in bones if np.linalg.norm(end - start) > 1e-6]


def _parts(robot: Robot, model: mujoco.MjModel) -> list[Part]:
    parts = visible_parts(model)
    bare = not any(model.body_weldid[part.body] != 0 for part in parts)
    return parts + skeleton(robot, model) if bare else parts


def _mesh(model: mujoco.MjModel, geom: int) -> tuple[Array, Faces] | None:
    """Triangles of a mesh geom in its own frame; None for other geoms."""
    if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH:
        return None
    mesh = model.geom_dataid[geom]
    corner, face = model.mesh_vertadr[mesh], model.mesh_faceadr[mesh]
    vertices = model.mesh_vert[corner : corner + model.mesh_vertnum[mesh]]
    return vertices.astype(float), model.mesh_face[face : face + model.mesh_facenum[mesh]].astype(np.int64)


def _primitive(model: mujoco.MjModel, geom: int) -> tuple[Array, Faces] | None:
    """Triangles of a primitive in its own frame; None for what has no surface of its own."""
    from trimesh import creation

    size, kinds = model.geom_size[geom], mujoco.mjtGeom
    makers: dict[int, Any] = {
        kinds.mjGEOM_BOX: lambda: creation.box(extents=2 * size),
        kinds.mjGEOM_SPHERE: lambda: creation.icosphere(subdivisions=3, radius=size[0]),
        kinds.mjGEOM_ELLIPSOID: lambda: creation.icosphere(subdivisions=3, radius=1.0),
        kinds.mjGEOM_CYLINDER: lambda: creation.cylinder(radius=size[0], height=2 * size[1], sections=SECTIONS),
        kinds.mjGEOM_CAPSULE: lambda: _upright(size[0], 2 * size[1]),
    }
    kind = int(model.geom_type[geom])
    if kind not in makers:
        return None
    shape = makers[kind]()
    scale = size if kind == kinds.mjGEOM_ELLIPSOID else np.ones(3)
    return np.asarray(shape.vertices) * scale, np.asarray(shape.faces, np.int64)


def _upright(radius: float, height: float) -> Any:
    """A capsule along z; `height` is that of its cylinder."""
    from trimesh import creation

    return creation.capsule(radius=radius, height=height, count=[SECTIONS, SECTIONS])


def _capsule(body: int, start: Array, end: Array, radius: float) -> Part:
    """A capsule from one point of a body's frame to another."""
    from trimesh.geometry import align_vectors

    way = end - start
    shape = _upright(radius, float(np.linalg.norm(way)))
    R_body_capsule = align_vectors([0.0, 0.0, 1.0], way)[:3, :3]
    vertices = np.asarray(shape.vertices) @ R_body_capsule.T + (start + end) / 2
    return Part(body, vertices, np.asarray(shape.faces, np.int64), BONE)


def _bones(model: mujoco.MjModel) -> list[tuple[int, Array, Array]]:
    """Body, start and end of what holds each body: to its joint in the parent's frame, on from there in its own."""
    bones = []
    for body in range(1, model.nbody):
        parent, R_parent_body = int(model.body_parentid[body]), _matrix(model.body_quat[body])
        anchor, origin = np.zeros(3), model.body_pos[body]
        for joint in range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]):
            anchor, axis = model.jnt_pos[joint], R_parent_body @ model.jnt_axis[joint]
            if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE and model.jnt_limited[joint]:
                low, high = model.jnt_range[joint] - model.qpos0[model.jnt_qposadr[joint]]
                bones.append((parent, origin + low * axis, origin + high * axis))
        if parent != 0:
            bones.append((parent, np.zeros(3), origin + R_parent_body @ anchor))
        bones.append((body, anchor, np.zeros(3)))
    return bones


def _last_bone(robot: Robot, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[int, Array, Array]:
    """From the body that the arm's last joint moves to the tip."""
    last = robot.home + np.eye(robot.dof)[-1]
    moved = np.flatnonzero(robot.model_qpos(last) != robot.model_qpos(robot.home))[0]
    body = int(model.jnt_bodyid[np.flatnonzero(model.jnt_qposadr == moved)[0]])
    T_world_body = Pose(data.xpos[body], data.xquat[body])
    T_body_tip = T_world_body.inverse() @ robot.T_world_base @ robot.forward_kinematics(robot.home)
    return body, np.zeros(3), T_body_tip.position


def _joined(parts: Iterable[Part], by_colour: bool) -> list[Part]:
    """The parts of a body in one, or one for each of its colours."""
    groups: dict[Any, list[Part]] = {}
    for part in parts:
        groups.setdefault((part.body, part.rgba if by_colour else None), []).append(part)
    return [_join(group) for group in groups.values()]


def _join(parts: list[Part]) -> Part:
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + offset for part, offset in zip(parts, offsets, strict=False)]
    return Part(parts[0].body, np.concatenate([p.vertices for p in parts]), np.concatenate(faces), parts[0].rgba)


def _reduced(parts: list[Part], most_vertices: int) -> list[Part]:
    """The same shapes with at most about so many corners in all, detail shared evenly by size."""
    cell = cluster_size([part.vertices for part in parts], most_vertices)
    if cell == 0:
        return parts
    return [Part(part.body, *clustered(part.vertices, part.faces, cell), part.rgba) for part in parts]


def _thinner(part: Part, depth: float) -> Part:
    """The same with its surface moved inwards [m]."""
    p = part.vertices[part.faces]
    normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    outward = np.zeros_like(part.vertices)
    for corner in part.faces.T:
        np.add.at(outward, corner, normal)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
    return Part(part.body, part.vertices - depth * outward, part.faces, part.rgba)


def _creased(part: Part) -> Part:
    """The same with corners split along creases, so that shading is smooth only where the surface is."""
    import trimesh

    mesh = trimesh.Trimesh(part.vertices, part.faces, process=False)
    split = trimesh.graph.smooth_shade(mesh, angle=CREASE)
    return Part(part.body, np.asarray(split.vertices), np.asarray(split.faces, np.int64), part.rgba)


def _matrix(quaternion: Array) -> Array:
    R = np.empty(9)
    mujoco.mju_quat2Mat(R, quaternion)
    return R.reshape(3, 3)
