"""The arm as constants: the same whatever it was read from, and plain data."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from hybrid_ik.chain import Chain
from hybrid_ik.errors import RobotError
from hybrid_ik.kinematics import forward_kinematics
from hybrid_ik.pose import Pose
from hybrid_ik.scalar_math import NumpyMath


def _random_chain(rng, kinds=("hinge", "slide", "hinge", "hinge"), axes=None, origins=None):
    n = len(kinds)
    T = Pose(rng.normal(size=3), rng.normal(size=4)).matrix()
    axes = rng.normal(size=(n, 3)) if axes is None else axes
    origins = rng.normal(size=(n, 3)) if origins is None else origins
    return Chain.from_axes(kinds, origins, axes, T, -np.ones(n), np.ones(n), tuple(f"j{i}" for i in range(n)))


def _tip(chain, q):
    R, p = forward_kinematics(chain, list(q), NumpyMath())
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, p
    return chain.T_base_first @ T @ chain.T_last_tip


def _by_exponentials(kinds, origins, axes, T_base_tip, q):
    """Product of exponentials (Brockett, 1984), as a second way to the same pose."""
    total = np.eye(4)
    for kind, origin, axis, value in zip(kinds, origins, axes, q, strict=True):
        z, T = axis / np.linalg.norm(axis), np.eye(4)
        if kind == "hinge":
            T[:3, :3] = Rotation.from_rotvec(z * value).as_matrix()
            T[:3, 3] = origin - T[:3, :3] @ origin
        else:
            T[:3, 3] = z * value
        total = total @ T
    return total @ T_base_tip


SPECIAL_AXES = {
    "random": None,
    "all parallel": np.tile([0.0, 0.0, 1.0], (4, 1)),
    "antiparallel": np.array([[0, 0, 1.0], [0, 0, -1], [0, 0, 1], [0, 0, -1]]),
    "nearly parallel": np.array([[0, 0, 1.0], [1e-5, 0, 1], [0, 1e-8, 1], [1e-4, 1e-4, 1]]),
    "just not parallel": np.array([[0, 0, 1.0], [2e-3, 0, 1], [0, 2e-3, 1], [5e-3, 1e-4, 1]]),
    "square": np.array([[0, 0, 1.0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]),
}


@pytest.mark.parametrize("axes", SPECIAL_AXES.values(), ids=SPECIAL_AXES.keys())
@pytest.mark.parametrize("meeting", [False, True], ids=["apart", "through one point"])
def test_the_chain_is_the_product_of_exponentials(axes, meeting):
    rng = np.random.default_rng(1)
    kinds = ("hinge", "slide", "hinge", "hinge")
    axes = rng.normal(size=(4, 3)) if axes is None else axes
    origins = np.tile(rng.normal(size=3), (4, 1)) if meeting else rng.normal(size=(4, 3))
    T_base_tip = Pose(rng.normal(size=3), rng.normal(size=4)).matrix()
    chain = Chain.from_axes(kinds, origins, axes, T_base_tip, -np.ones(4), np.ones(4), ("a", "b", "c", "d"))
    for q in rng.uniform(-3, 3, (20, 4)):
        assert_allclose(_tip(chain, q), _by_exponentials(kinds, origins, axes, T_base_tip, q), atol=1e-11)


def test_one_joint_is_an_arm_too():
    chain = _random_chain(np.random.default_rng(2), kinds=("hinge",))
    assert chain.dof == 1 and chain.T_link.shape == (0, 4, 4)


def test_mount_tool_and_names_do_not_change_the_fingerprint(panda):
    rng = np.random.default_rng(3)
    axes, origins = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    chain = _random_chain(rng, axes=axes, origins=origins)
    moved = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix()
    other = _random_chain(rng, axes=axes @ moved.T, origins=origins @ moved.T + [1, 2, 3])
    assert chain.matches(other) and not chain.matches(panda.chain)


def test_a_point_elsewhere_on_an_axis_is_the_same_arm():
    rng = np.random.default_rng(4)
    axes, origins = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    slid = origins + axes * rng.normal(size=(4, 1))
    assert _random_chain(rng, axes=axes, origins=origins).matches(_random_chain(rng, axes=axes, origins=slid))


def test_another_limit_or_link_is_another_arm(panda):
    data = panda.chain.to_dict()
    data["upper"][2] += 0.01
    assert not panda.chain.matches(Chain.from_dict(data))
    data = panda.chain.to_dict()
    data["T_link"][1][1][3] += 1e-3
    assert not panda.chain.matches(Chain.from_dict(data))
    assert panda.chain.fingerprint != Chain.from_dict(data).fingerprint


def test_plain_data_goes_through_json_unchanged(panda):
    chain = panda.chain
    back = Chain.from_dict(json.loads(json.dumps(chain.to_dict())))
    assert back.fingerprint == chain.fingerprint and back.joint_names == chain.joint_names
    assert (back.T_base_first == chain.T_base_first).all() and (back.T_last_tip == chain.T_last_tip).all()


def test_what_a_chain_has_worked_out_is_no_part_of_it():
    chain, fresh = (_random_chain(np.random.default_rng(7)) for _ in range(2))
    assert chain.hinges.tolist() == [True, False, True, True] and chain.periods.tolist() == [0.0] * 4
    assert chain.to_dict() == fresh.to_dict() and chain.fingerprint == fresh.fingerprint
    back = pickle.loads(pickle.dumps(chain))
    assert back.to_dict() == fresh.to_dict() and (back.hinges == chain.hinges).all()


def test_how_far_joints_are_beyond_their_limits():
    chain = dataclasses.replace(_random_chain(np.random.default_rng(8)), upper=np.array([1.0, 1.0, 1.0, np.inf]))
    q = np.array([[1.0, -1.0, 0.5, 99.0], [1.5, 0.0, -3.0, 0.0], [0.0, np.nan, 0.0, 0.0]])
    assert_allclose(chain.beyond(q[:2]), [[0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 2.0, 0.0]])
    assert chain.within(q).tolist() == [True, False, False] and chain.within(q[0])


@pytest.mark.parametrize("data", [{}, {"kinds": 3}, {"kinds": ["hinge"], "T_base_first": [1]}])
def test_what_is_no_chain_is_refused(data):
    with pytest.raises(RobotError, match="not the plain data of a chain"):
        Chain.from_dict(data)


def test_mount_and_tool_come_off_a_pose(robot):
    q = np.random.default_rng(5).uniform(robot.chain.sample_lower, robot.chain.sample_upper, (8, robot.dof))
    p, R = robot.chain.first_last(robot.forward_kinematics(q))
    rows, position = forward_kinematics(robot.chain, list(q.T), NumpyMath())
    assert_allclose(p, np.stack([np.broadcast_to(x, 8) for x in position], -1), atol=1e-9)
    for i in range(3):
        for j in range(3):
            assert_allclose(R[:, i, j], rows[i][j], atol=1e-9)


def test_reach_bounds_the_distance_of_the_last_joint(robot):
    q = np.random.default_rng(6).uniform(robot.chain.sample_lower, robot.chain.sample_upper, (200, robot.dof))
    position, _ = robot.chain.first_last(robot.forward_kinematics(q))
    assert np.linalg.norm(position, axis=-1).max() <= robot.chain.reach + 1e-9
