"""Our KR 6 R900 sixx against the published model and the maker's numbers."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from arm_models import check_collision, check_home, check_turning, placed, published, random_joints, touching
from numpy.testing import assert_allclose

from hybrid_ik.loading import load_model
from hybrid_ik.resources import asset_path
from hybrid_ik.robot import Robot

JOINTS = tuple(f"joint_a{i}" for i in range(1, 7))
# KUKA, KR AGILUS sixx specification, "Technical data": ranges of motion of A1 to A6 [degrees]
LIMITS = np.radians([(-170, 170), (-190, 45), (-120, 156), (-185, 185), (-120, 120), (-350, 350)])
# The lengths of its working envelope as a [m], d [m], alpha [rad], offset of theta [rad], in the convention of Denavit
# and Hartenberg, from a frame whose z points down, as KUKA counts A1, to tool0
DENAVIT_HARTENBERG = [
    (0.025, -0.400, np.pi / 2, 0),
    (0.455, 0, 0, 0),
    (0.035, 0, np.pi / 2, -np.pi / 2),
    (0, -0.420, -np.pi / 2, 0),
    (0, 0, np.pi / 2, 0),
    (0, -0.080, np.pi, np.pi),
]
TOUCHING = {  # degrees, and one of the pairs that meet
    "forearm folded onto the foot": ((0, 30, 130, 0, 0, 0), ("base_link", "link_4")),
    "flange in the foot": ((0, 20, 140, 0, 0, 0), ("base_link", "link_6")),
    "forearm folded onto the column": ((0, 0, 156, 0, 0, 0), ("link_1", "link_4")),
    "laid back, forearm down behind": ((0, -190, -110, 0, 0, 0), ("base_link", "link_4")),
    "turned round, arm down on the plugs": ((170, 45, 0, 0, 0, 0), ("base_link", "link_2")),
}
CLEAR = {
    "mastering": (0, -90, 90, 0, 0, 0),
    "stretched": (0, 0, 0, 0, 0, 0),
    "turned round": (170, 0, 0, 0, 0, 0),
    "laid back": (0, -180, -90, 0, 0, 0),
    "deep in front": (0, 45, 110, 0, 90, 0),
    "folded": (0, -90, 156, 0, 0, 0),
}


@pytest.fixture(scope="module")
def ours():
    """Our model as it is drawn, with its shapes."""
    return mujoco.MjModel.from_xml_path(str(asset_path("robots", "kr6.xml")))


@pytest.fixture(scope="module")
def full_kr6():
    """The file of the published model."""
    return published("kuka_kr6r900sixx", "kr6r900sixx.urdf")


def _denavit_hartenberg(a, d, alpha, theta):
    c, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
    return np.array([[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]])


def test_frames_agree_with_the_published_model(ours, full_kr6):
    theirs, _, _ = load_model(full_kr6)
    for q in random_joints(LIMITS, 100):
        a, b = placed(ours, q), placed(theirs, q)
        for link in (f"link_{i}" for i in range(1, 7)):
            assert_allclose(a.body(link).xpos, b.body(link).xpos, atol=1e-9)
            assert_allclose(a.body(link).xmat, b.body(link).xmat, atol=1e-9)
        for tip in ("flange", "tool0"):
            assert_allclose(a.site(tip).xpos, b.body(tip).xpos, atol=1e-9)
            assert_allclose(a.site(tip).xmat, b.body(tip).xmat, atol=1e-9)


def test_joints_are_those_of_the_published_model(ours, full_kr6):
    theirs, _, _ = load_model(full_kr6)
    assert [ours.joint(i).name for i in range(6)] == [theirs.joint(i).name for i in range(6)] == list(JOINTS)
    assert_allclose(ours.jnt_range, theirs.jnt_range, atol=1e-12)
    assert_allclose(ours.jnt_axis, theirs.jnt_axis, atol=1e-12)


def test_either_file_makes_the_same_arm(full_kr6):
    a, b = Robot("kr6"), Robot(full_kr6)
    assert a.tip == b.tip == "flange" and a.joint_names == b.joint_names
    assert a.chain.matches(b.chain)


def test_tool0_follows_from_the_makers_lengths(ours):
    for q in random_joints(LIMITS, 100):
        T = np.diag([1.0, -1.0, -1.0, 1.0])  # z down
        for (a, d, alpha, offset), angle in zip(DENAVIT_HARTENBERG, q, strict=True):
            T = T @ _denavit_hartenberg(a, d, alpha, angle + offset)
        tool0 = placed(ours, q).site("tool0")
        assert_allclose(tool0.xpos, T[:3, 3], atol=1e-12)
        assert_allclose(tool0.xmat.reshape(3, 3), T[:3, :3], atol=1e-12)


def test_tool0_looks_along_the_x_axis_of_the_flange(ours):
    data = placed(ours, random_joints(LIMITS, 1)[0])
    flange, tool0 = (data.site(name).xmat.reshape(3, 3) for name in ("flange", "tool0"))
    assert_allclose(flange.T @ tool0, [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], atol=1e-12)
    assert_allclose(data.site("flange").xpos, data.site("tool0").xpos, atol=0)


def test_limits_are_the_makers(ours):
    robot = Robot("kr6")
    assert ours.jnt_limited.all()
    assert_allclose(np.stack([robot.lower, robot.upper], -1), LIMITS, atol=1e-12)


def test_home_is_within_limits_regular_and_touches_nothing(ours):
    check_home(ours, Robot("kr6"), regular=0.1)


def test_a_turning_wrist_touches_nothing(ours):
    check_turning(ours, LIMITS)


@pytest.mark.parametrize("name", CLEAR)
def test_postures_that_are_free(ours, name):
    assert not touching(ours, np.radians(CLEAR[name]))


@pytest.mark.parametrize("name", TOUCHING)
def test_postures_that_collide(ours, name):
    check_collision(ours, LIMITS, *TOUCHING[name])


def test_it_has_shapes_and_no_meshes(ours):
    assert ours.nmesh == 0 and ours.ngeom > 20
    assert asset_path("robots", "kr6.xml").stat().st_size < 10_000
