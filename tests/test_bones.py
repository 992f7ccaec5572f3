"""Arms without shapes are drawn as bones: from joint to joint and to the tip, the same in pictures, window and page."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from models import GANTRY, HINGES, arm, mjcf
from test_rendering import needs_rendering

from hybrid_ik.apps.bones import bones, is_bare
from hybrid_ik.apps.composition import Composition
from hybrid_ik.apps.shapes import ghost_parts, solid_parts
from hybrid_ik.apps.stage import build_stage
from hybrid_ik.apps.studio import Studio
from hybrid_ik.robot import Robot


@pytest.fixture(scope="module")
def gantry():
    return Robot(Robot(mujoco.MjSpec.from_string(GANTRY), tip="tip").model, tip="tip")  # a slim model


def test_bones_go_from_joint_to_joint_along_slides_and_to_the_tip(gantry):
    model = gantry.drawable_model()
    found = bones(gantry, model)
    assert {bone.body for bone in found} >= {1, 2, 3, 4, 5}
    rail = next(bone for bone in found if bone.body == 0)  # the first slide
    assert np.linalg.norm(rail.end - rail.start) == pytest.approx(2.0)
    data = mujoco.MjData(model)
    data.qpos = gantry.model_qpos(gantry.home)
    mujoco.mj_kinematics(model, data)
    last = found[-1]
    tip = (gantry.T_world_base @ gantry.forward_kinematics(gantry.home)).position
    assert np.allclose(data.xmat[last.body].reshape(3, 3) @ last.end + data.xpos[last.body], tip)


@pytest.mark.parametrize(
    ("geoms", "bare"),
    [
        ("<geom size='.1'/>", False),
        ("<geom size='.1' group='3'/>", True),
        ("<geom size='.1' rgba='1 1 1 0'/>", True),
        ("<geom size='.1' material='clear'/>", True),
    ],
)
def test_an_arm_is_bare_where_mujoco_shows_nothing_of_what_moves(geoms, bare):
    rest = "<asset><material name='clear' rgba='1 1 1 0'/></asset>"
    text = mjcf(f"<geom size='.1'/><body><joint/><geom size='.1' group='4'/>{geoms}</body>", rest)
    assert is_bare(mujoco.MjModel.from_xml_string(text)) == bare


def test_the_page_has_a_capsule_for_each_bone(gantry):
    model = gantry.drawable_model()
    found = bones(gantry, model)
    for parts in (solid_parts(gantry, model), ghost_parts(gantry, model)):
        drawn = {part.body: part.vertices for part in parts}
        assert set(drawn) <= {bone.body for bone in found}
        for bone in (bone for bone in found if bone.body in drawn):
            for end in (bone.start, bone.end):
                assert np.linalg.norm(drawn[bone.body] - end, axis=1).min() < 1.05 * bone.radius
    assert {bone.body for bone in found} == {part.body for part in solid_parts(gantry, model)}


@needs_rendering
def test_a_picture_has_them_where_the_joints_put_them(gantry):
    model, q = gantry.drawable_model(), gantry.home + 0.1
    found = bones(gantry, model)
    with Studio(model, 64, 48) as studio:
        scene = mujoco.MjvScene(model, 100)
        Composition(studio, gantry, q[None], None, 140.0, -20.0).arm(q).add(scene)
        assert scene.ngeom == len(found)
        for bone, geom in zip(found, scene.geoms[: scene.ngeom], strict=True):
            middle = studio.data.xmat[bone.body].reshape(3, 3) @ (bone.start + bone.end) / 2
            assert np.allclose(geom.pos, middle + studio.data.xpos[bone.body], atol=1e-6)
            assert geom.size[0] == pytest.approx(bone.radius)


def test_the_window_has_them_on_the_bodies_whatever_defaults_say():
    rest = "<asset><mesh name='gone' file='gone.stl'/><material name='red' rgba='1 0 0 1'/></asset>"
    rest += "<default><geom material='red' group='3'/></default>"
    shape = "<geom type='mesh' mesh='gone'/>"
    text = arm(*HINGES, rest=rest).replace("<geom size='.02 .02 .02' type='box'/>", shape)
    robot = Robot(mujoco.MjSpec.from_string(text))
    model, found = build_stage(robot), bones(robot, robot.model)
    drawn = np.flatnonzero((0 < model.geom_bodyid) & (model.geom_bodyid < robot.model.nbody))
    assert (model.geom_type[drawn] == mujoco.mjtGeom.mjGEOM_CAPSULE).all() and not is_bare(model)
    assert model.geom_bodyid[drawn].tolist() == sorted(bone.body for bone in found)
    assert (model.geom_group == 0).all()
    assert np.allclose(model.geom_size[drawn, 0], found[0].radius)
