"""What the viewer's window holds: the robot's own model, a floor, light, and a target that can be dragged."""

from __future__ import annotations

import mujoco
import numpy as np

from hybrid_ik.apps.bones import bones
from hybrid_ik.apps.composition import AXIS_COLOURS
from hybrid_ik.loading import strip_shapes
from hybrid_ik.robot import Robot

TARGET = "hybrid_ik_target"
FLOOR = "hybrid_ik_floor"
AXIS = 0.16  # length of the target's axes, in parts of the arm's reach
FLOOR_SIZE = 1.6  # half a side of the floor, in parts of the arm's reach
GRIP = 0.035  # radius of the ball to drag it by
SKY = "hybrid_ik_sky"
SKY_COLOURS = (0.93, 0.95, 0.97), (0.80, 0.83, 0.86)  # above and below
TILE_COLOURS = (0.84, 0.86, 0.88), (0.88, 0.90, 0.92)
TEXELS = 256
Colours = tuple[tuple[float, float, float], tuple[float, float, float]]


def build_stage(robot: Robot) -> mujoco.MjModel:
    """The robot's model with a mocap body `TARGET`, a light room, and bones where it has no shapes.

    Its joints and their order are those of `robot.model`.

    Raises:
        RobotError: the robot was made from an `MjModel`, to which no target can be added.
    """
    spec = _drawable_spec(robot)
    for key in list(spec.keys):  # they would have to say where the target is
        spec.delete(key)
    size = robot.chain.reach
    _add_room(spec, size)
    _add_target(spec, size)
    model = spec.compile()
    floor = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, FLOOR)
    if floor >= 0:
        model.geom_pos[floor, 2] = _lowest_of_what_stands(model)
    return model


def _drawable_spec(robot: Robot) -> mujoco.MjSpec:
    """The whole model, or else its collision shapes, or else its skeleton: mesh files may be missing."""
    for strip in (_nothing, _strip_visuals):
        spec = robot.specification()
        spec.compiler.fusestatic = spec.compiler.discardvisual = False  # what MuJoCo does to URDF files
        strip(spec)
        if _shows_an_arm(spec):
            return spec
    strip_shapes(spec)
    _add_bones(spec, robot)
    return spec


def _shows_an_arm(spec: mujoco.MjSpec) -> bool:
    """Whether it compiles and has shapes that move."""
    try:
        model = spec.copy().compile()
    except ValueError:
        return False
    return bool((model.body_weldid[model.geom_bodyid] != 0).any())


def _strip_visuals(spec: mujoco.MjSpec) -> None:
    """Delete shapes that are only to be seen, and the meshes that no others have: those of a URDF are often `.dae`."""
    for geom in list(spec.geoms):
        if not (geom.contype or geom.conaffinity):
            spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)


def _nothing(spec: mujoco.MjSpec) -> None:
    """Leave all as it is."""


def _add_bones(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Capsules on its bodies; plain ones, for the materials that its defaults may name are gone with the shapes."""
    model = spec.compile()
    bodies = {body.id: body for body in spec.bodies}
    capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
    for bone in bones(robot, model):
        ends, size = [*bone.start, *bone.end], [bone.radius, 0, 0]
        bodies[bone.body].add_geom(type=capsule, fromto=ends, size=size, material="", group=0)


def _add_room(spec: mujoco.MjSpec, size: float) -> None:
    """A soft light, and what the model lacks of a sky and a tiled floor."""
    if not any(texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX for texture in spec.textures):
        _add_texture(spec, SKY, mujoco.mjtTexture.mjTEXTURE_SKYBOX, mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, SKY_COLOURS)
    if not any(geom.type == mujoco.mjtGeom.mjGEOM_PLANE for geom in spec.geoms):
        _add_floor(spec, size)
    for light in list(spec.lights):
        spec.delete(light)
    wide = {"cutoff": 70.0, "exponent": 1.0, "diffuse": [0.5] * 3, "specular": [0.2] * 3}
    spec.worldbody.add_light(pos=[size, -size, 3 * size], dir=[-0.3, 0.3, -1], **wide)
    spec.visual.headlight.diffuse, spec.visual.headlight.ambient = [0.4] * 3, [0.35] * 3
    spec.stat.extent = 1.5 * size


def _add_floor(spec: mujoco.MjSpec, size: float) -> None:
    _add_texture(spec, FLOOR, mujoco.mjtTexture.mjTEXTURE_2D, mujoco.mjtBuiltin.mjBUILTIN_CHECKER, TILE_COLOURS)
    material = spec.add_material(name=FLOOR, texrepeat=[2 / size, 2 / size], texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = FLOOR
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(
        name=FLOOR,
        type=plane,
        size=[FLOOR_SIZE * size, FLOOR_SIZE * size, 0.05],
        material=FLOOR,
        contype=0,
        group=0,
        conaffinity=0,
    )


def _add_texture(spec: mujoco.MjSpec, name: str, kind: int, pattern: int, colours: Colours) -> None:
    height = TEXELS * (6 if kind == mujoco.mjtTexture.mjTEXTURE_SKYBOX else 1)
    rgb1, rgb2 = colours
    spec.add_texture(name=name, type=kind, builtin=pattern, rgb1=rgb1, rgb2=rgb2, width=TEXELS, height=height)


def _add_target(spec: mujoco.MjSpec, size: float) -> None:
    """A frame, x red, y green, z blue, with a ball around its origin to drag it by."""
    target = spec.worldbody.add_body(name=TARGET, mocap=True)
    ghostly = {"contype": 0, "conaffinity": 0, "mass": 0.0, "material": "", "group": 0}
    for axis, rgba in zip(np.eye(3), AXIS_COLOURS, strict=True):
        end = AXIS * size * axis
        capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
        target.add_geom(type=capsule, fromto=[0, 0, 0, *end], size=[0.008 * size, 0, 0], rgba=rgba, **ghostly)
    ball = mujoco.mjtGeom.mjGEOM_SPHERE
    target.add_geom(type=ball, size=[GRIP * size, 0, 0], rgba=[0.2, 0.2, 0.25, 0.45], **ghostly)


def _lowest_of_what_stands(model: mujoco.MjModel) -> float:
    """Height of the lowest of the bodies that stand on the world and do not move; 0 where there is none."""
    fixed = (model.body_weldid == 0) & (model.body_parentid == 0)
    fixed[0] = False
    return float(min(model.body_pos[fixed, 2], default=0.0))
