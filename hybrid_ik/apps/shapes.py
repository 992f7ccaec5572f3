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

from hybrid_ik.apps.bones import Bone, bones, is_bare, rotation_matrix
from hybrid_ik.apps.clustering import cluster_size, clustered
from hybrid_ik.apps.outline import HIGHEST_GROUP, geom_colour
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]
Faces = NDArray[np.int64]

SOLID_VERTICES = 40_000  # of one arm in its own colours
GHOST_VERTICES = 8_000  # of each of the others
SECTIONS = 24  # around a cylinder
INSET = 0.0025  # by how much ghosts are thinner, in parts of the length of the links
CREASE = 0.6  # rad between two faces, from which on their edge is drawn as one
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
            R_body_geom = rotation_matrix(model.geom_quat[geom])
            vertices = shape[0] @ R_body_geom.T + model.geom_pos[geom]
            found.append(Part(int(model.geom_bodyid[geom]), vertices, shape[1], rgba))
    return found


def _parts(robot: Robot, model: mujoco.MjModel) -> list[Part]:
    parts = visible_parts(model)
    return [*parts, *map(_capsule, bones(robot, model))] if is_bare(model) else parts


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


def _capsule(bone: Bone) -> Part:
    from trimesh.geometry import align_vectors

    way = bone.end - bone.start
    shape = _upright(bone.radius, float(np.linalg.norm(way)))
    R_body_capsule = align_vectors([0.0, 0.0, 1.0], way)[:3, :3]
    vertices = np.asarray(shape.vertices) @ R_body_capsule.T + (bone.start + bone.end) / 2
    return Part(bone.body, vertices, np.asarray(shape.faces, np.int64), BONE)


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
