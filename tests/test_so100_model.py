"""Our SO-ARM100 against the published model, and its dots against what a camera needs."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from arm_models import check_collision, check_home, check_turning, placed, published, random_joints, touching
from numpy.testing import assert_allclose

from hybrid_ik.apps import offscreen
from hybrid_ik.apps.rendering import render_answers
from hybrid_ik.loading import load_model
from hybrid_ik.resources import asset_path
from hybrid_ik.robot import Robot

ARM = ("Rotation", "Pitch", "Elbow", "Wrist_Pitch", "Wrist_Roll")
LINKS = ("Base", "Rotation_Pitch", "Upper_Arm", "Lower_Arm", "Wrist_Pitch_Roll", "Fixed_Jaw", "Moving_Jaw")
# Ranges of motion of ARM and of the jaw in MuJoCo Menagerie's trs_so_arm100 [rad]
LIMITS = np.array([(-2.2, 2.2), (-3.14158, 0.2), (0, 3.14158), (-2.0, 1.8), (-3.14158, 3.14158), (-0.2, 2.0)])
HALF_OPEN = 0.9  # rad, half of the jaw's range
DOTS = ("dot_fixed_jaw", "dot_moving_jaw")
TOUCHING = {  # degrees, and one of the pairs that meet
    "jaws in the foot": ((0, -90, 170, 60, 0, 0), ("Base", "Fixed_Jaw")),
    "wrist in the column": ((0, -60, 170, 30, 0, 0), ("Rotation_Pitch", "Wrist_Pitch_Roll")),
    "jaw folded onto the upper arm": ((0, -90, 160, 100, 0, 0), ("Upper_Arm", "Fixed_Jaw")),
    "turned aside, wrist in the foot": ((90, -30, 150, 0, 0, 0), ("Base", "Wrist_Pitch_Roll")),
}
CLEAR = {
    "stretched": (0, 0, 0, 0, 0, 0),
    "upright": (0, -90, 0, 0, 0, 0),
    "at rest": (0, -178, 172, 70, 0, 0),
    "turned aside": (125, -90, 90, 0, 0, 0),
    "laid back": (0, -180, 0, 0, 0, 0),
    "wide open": (0, -90, 90, 60, 0, 110),
}
BACKEND = offscreen.working_backend()


@pytest.fixture(scope="module")
def ours():
    """Our model as it is drawn, with its shapes."""
    return mujoco.MjModel.from_xml_path(str(asset_path("robots", "so100.xml")))


@pytest.fixture(scope="module")
def full_so100():
    """The file of the published model."""
    return published("trs_so_arm100", "so_arm100.xml")


def _in_gripper(data, point):
    gripper = data.body("Fixed_Jaw")
    return gripper.xmat.reshape(3, 3).T @ (point - gripper.xpos)


def _dots(data):
    return np.array([data.site(dot).xpos for dot in DOTS])


def test_frames_agree_with_the_published_model(ours, full_so100):
    theirs, _, _ = load_model(full_so100)
    for q in random_joints(LIMITS, 100):
        a, b = placed(ours, q), placed(theirs, q)
        for link in LINKS:
            assert_allclose(a.body(link).xpos, b.body(link).xpos, atol=1e-12)
            assert_allclose(a.body(link).xmat, b.body(link).xmat, atol=1e-12)


def test_joints_are_those_of_the_published_model(ours, full_so100):
    theirs, _, home = load_model(full_so100)
    assert [ours.joint(i).name for i in range(6)] == [theirs.joint(i).name for i in range(6)] == [*ARM, "Jaw"]
    assert_allclose(ours.jnt_range, theirs.jnt_range, atol=0)
    assert_allclose(ours.jnt_axis, theirs.jnt_axis, atol=0)
    assert_allclose(ours.key("home").qpos, home, atol=0)


def test_either_file_makes_the_same_arm(full_so100):
    a, b = Robot("so100"), Robot(full_so100, tip="Fixed_Jaw")
    assert a.tip == "gripperframe" and a.joint_names == b.joint_names == ARM
    assert a.chain.matches(b.chain, tolerance=1e-12)
    assert_allclose(Robot("so100", tip="Fixed_Jaw").chain.T_last_tip, b.chain.T_last_tip, atol=0)


def test_the_tip_is_the_outer_end_of_the_published_pad(ours, full_so100):
    theirs = mujoco.MjModel.from_xml_path(str(full_so100))
    pad = theirs.geom("fixed_jaw_pad_1")
    assert_allclose(ours.site("gripperframe").pos, pad.pos - [pad.size[0], pad.size[1], 0], atol=1e-12)
    assert_allclose(ours.site("gripperframe").quat, [1, 0, 0, 0], atol=0)


def test_limits_are_the_published_ones(ours):
    robot = Robot("so100")
    assert ours.jnt_limited.all()
    assert_allclose(np.stack([robot.lower, robot.upper], -1), LIMITS[:5], atol=0)
    assert_allclose(ours.joint("Jaw").range, LIMITS[5], atol=0)


def test_home_is_within_limits_regular_and_touches_nothing(ours):
    check_home(ours, Robot("so100"), regular=0.05)


def test_a_turning_wrist_and_jaw_touch_nothing(ours):
    check_turning(ours, LIMITS)


@pytest.mark.parametrize("name", CLEAR)
def test_postures_that_are_free(ours, name):
    assert not touching(ours, np.radians(CLEAR[name]))


@pytest.mark.parametrize("name", TOUCHING)
def test_postures_that_collide(ours, name):
    check_collision(ours, LIMITS, *TOUCHING[name])


def test_it_meets_itself_where_the_published_model_does(ours, full_so100):
    theirs = mujoco.MjModel.from_xml_path(str(full_so100))
    same = [bool(touching(ours, q)) == bool(touching(theirs, q)) for q in random_joints(LIMITS, 300)]
    assert np.mean(same) > 0.98  # 99.6 % of 2000


def test_the_dots_are_balls_at_their_sites_that_touch_nothing(ours):
    data = placed(ours, random_joints(LIMITS, 1)[0])
    for dot in DOTS:
        ball = ours.geom(dot)
        assert ball.type == mujoco.mjtGeom.mjGEOM_SPHERE and ball.size[0] == 0.004
        assert not ball.contype and not ball.conaffinity
        assert_allclose(data.geom(dot).xpos, data.site(dot).xpos, atol=1e-15)


def test_the_dots_do_not_meet_before_the_jaws_do(ours):
    gaps = [
        np.linalg.norm(np.subtract(*_dots(placed(ours, [0, 0, 0, 0, 0, jaw])))) for jaw in (-0.2, 0.0, HALF_OPEN, 2.0)
    ]
    assert gaps[0] > 2 * 0.004 and (np.diff(gaps) > 0).all()


def test_between_dots_is_their_middle_where_the_jaw_is_half_open(ours):
    assert_allclose(LIMITS[5].mean(), HALF_OPEN, atol=1e-15)
    for q in random_joints(LIMITS, 20):
        data = placed(ours, [*q[:5], HALF_OPEN])
        assert_allclose(_dots(data).mean(0), data.site("between_dots").xpos, atol=1e-8)
        assert_allclose(_in_gripper(data, data.site("between_dots").xpos), ours.site("between_dots").pos, atol=1e-12)


@pytest.mark.parametrize("tip", ["gripperframe", "between_dots", "dot_fixed_jaw"])
def test_the_jaw_is_not_on_the_way_to_a_tip_on_the_gripper(tip):
    assert Robot("so100", tip=tip).joint_names == ARM


def test_the_jaw_is_on_the_way_to_its_own_dot():
    assert Robot("so100", tip="dot_moving_jaw").joint_names == (*ARM, "Jaw")


@pytest.mark.skipif(BACKEND is None, reason=f"no EGL and no OSMesa here. {offscreen.REMEDY}")
def test_the_dots_are_found_by_colour():
    picture = render_answers(Robot("so100"), np.zeros(5), width=320, height=240, azimuth=0)
    red, green, blue = (picture[..., i].astype(int) for i in range(3))
    assert ((np.minimum(red, blue) - green) > 100).sum() > 10  # magenta
    assert ((green - np.maximum(red, blue)) > 100).sum() > 10


def test_it_has_shapes_and_no_meshes(ours):
    assert ours.nmesh == 0 and ours.ngeom > 20
    assert asset_path("robots", "so100.xml").stat().st_size < 12_000
