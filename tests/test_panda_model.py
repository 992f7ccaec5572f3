"""Our Panda against the published model and the maker's numbers."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hybrid_ik.resources import asset_path

LINKS = [f"link{i}" for i in range(8)]
LIMITS = [
    (-2.8973, 2.8973),
    (-1.7628, 1.7628),
    (-2.8973, 2.8973),
    (-3.0718, -0.0698),
    (-2.8973, 2.8973),
    (-0.0175, 3.7525),
    (-2.8973, 2.8973),
]
# a [m], d [m], alpha [rad] of joints 1 to 7 and the flange, in Craig's convention
DENAVIT_HARTENBERG = [
    (0, 0.333, 0),
    (0, 0, -np.pi / 2),
    (0, 0.316, np.pi / 2),
    (0.0825, 0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0, 0, np.pi / 2),
    (0.088, 0, np.pi / 2),
    (0, 0.107, 0),
]


@pytest.fixture(scope="module")
def ours():
    """Our model as it is drawn, with its shapes."""
    return mujoco.MjModel.from_xml_path(str(asset_path("robots", "panda.xml")))


def _at(model, q):
    data = mujoco.MjData(model)
    data.qpos[:7] = q
    mujoco.mj_forward(model, data)
    return data


def _random_q(n, seed=0):
    low, high = np.array(LIMITS).T
    return np.random.default_rng(seed).uniform(low, high, (n, 7))


def _craig(a, d, alpha, theta):
    c, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
    return np.array([[c, -s, 0, a], [s * ca, c * ca, -sa, -d * sa], [s * sa, c * sa, ca, d * ca], [0, 0, 0, 1]])


def test_link_frames_agree_with_the_published_model(ours, full_panda):
    theirs = mujoco.MjModel.from_xml_path(str(full_panda))
    for q in _random_q(100):
        a, b = _at(ours, q), _at(theirs, q)
        for link in LINKS:
            assert_allclose(a.body(link).xpos, b.body(link).xpos, atol=1e-9)
            assert_allclose(a.body(link).xmat, b.body(link).xmat, atol=1e-9)


def test_the_flange_follows_from_the_makers_parameters(ours):
    for q in _random_q(100):
        T = np.eye(4)
        for (a, d, alpha), theta in zip(DENAVIT_HARTENBERG, [*q, 0.0], strict=True):
            T = T @ _craig(a, d, alpha, theta)
        flange = _at(ours, q).site("flange")
        assert_allclose(flange.xpos, T[:3, 3], atol=1e-12)
        assert_allclose(flange.xmat.reshape(3, 3), T[:3, :3], atol=1e-12)


def test_the_hand_is_turned_back_45_degrees_and_a_finger_further(ours):
    data = _at(ours, _random_q(1)[0])
    R_world_flange = data.site("flange").xmat.reshape(3, 3)
    offset = R_world_flange.T @ (data.site("hand_tcp").xpos - data.site("flange").xpos)
    turn = R_world_flange.T @ data.site("hand_tcp").xmat.reshape(3, 3)
    half = np.sqrt(0.5)
    assert_allclose(offset, [0, 0, 0.1034], atol=1e-12)
    assert_allclose(turn, [[half, half, 0], [-half, half, 0], [0, 0, 1]], atol=1e-12)


def test_limits_are_the_makers(ours, panda):
    assert ours.jnt_limited.all()
    assert_allclose(np.stack([panda.lower, panda.upper], -1), LIMITS, atol=0)


def test_home_touches_nothing(ours):
    data = mujoco.MjData(ours)
    mujoco.mj_resetDataKeyframe(ours, data, ours.key("home").id)
    mujoco.mj_forward(ours, data)
    assert data.ncon == 0


def test_it_has_shapes_and_no_meshes(ours):
    assert ours.nmesh == 0 and ours.ngeom > 20
    assert asset_path("robots", "panda.xml").stat().st_size < 10_000
