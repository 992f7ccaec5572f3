"""Poses and rotations, against MuJoCo and scipy, near the angles where formulas break."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import (
    Pose,
    multiply_quaternions,
    pose_error,
    quaternion_from_matrix,
    rotate,
    rotation_vector,
)

ANGLES = [0.0, 1e-12, 1e-8, 1e-4, 1.0, np.pi - 1e-6, np.pi - 1e-9, np.pi]
SHAPES = [(), (1,), (3, 2), (0,)]

angles = st.one_of(st.sampled_from(ANGLES), st.floats(0, np.pi))
units = (
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 1e-2).map(lambda v: v / np.linalg.norm(v))
)
quaternions = st.builds(
    lambda angle, axis, sign: sign * np.array([np.cos(angle / 2), *(np.sin(angle / 2) * axis)]),
    angles,
    units,
    st.sampled_from([1.0, -1.0]),
)
positions = st.tuples(*[st.floats(-2, 2)] * 3).map(np.array)
poses = st.builds(Pose, positions, quaternions)


def _mujoco(function, size, *arguments):
    out = np.zeros(size)
    function(out, *arguments)
    return out


@given(angles, units)
def test_rotation_vector_is_axis_times_angle(angle, axis):
    q = np.array([np.cos(angle / 2), *(np.sin(angle / 2) * axis)])
    turn = rotation_vector(q)
    assert_allclose(np.linalg.norm(turn), angle, rtol=1e-12, atol=1e-15)
    assert_allclose(np.cross(turn, axis), 0, atol=1e-12)


@given(quaternions)
def test_rotation_vector_is_that_of_mujoco_and_scipy(q):
    turn = rotation_vector(q)
    theirs = _mujoco(mujoco.mju_quat2Vel, 3, q, 1.0)
    scipys = Rotation.from_quat(q, scalar_first=True).as_rotvec()
    for other in (theirs, scipys):  # at pi both signs name the same rotation
        near_pi = np.linalg.norm(turn) > np.pi - 1e-7
        assert min(np.abs(turn - other).max(), np.abs(turn + other).max() if near_pi else np.inf) < 1e-12


@given(quaternions)
def test_q_and_minus_q_give_the_same_rotation_vector(q):
    if abs(q[0]) > 1e-12:
        assert_allclose(rotation_vector(q), rotation_vector(-q), atol=0)


@given(quaternions, quaternions)
def test_the_product_is_that_of_mujoco(a, b):
    assert_allclose(multiply_quaternions(a, b), _mujoco(mujoco.mju_mulQuat, 4, a, b), atol=1e-15)


@given(quaternions, positions)
def test_rotated_vectors_are_those_of_mujoco(q, v):
    assert_allclose(rotate(q, v), _mujoco(mujoco.mju_rotVecQuat, 3, v, q), atol=1e-14)


@given(quaternions)
def test_the_matrix_is_that_of_mujoco_and_back(q):
    R = Pose([0, 0, 0], q).rotation_matrix()
    assert_allclose(R.ravel(), _mujoco(mujoco.mju_quat2Mat, 9, q), atol=1e-14)
    back = quaternion_from_matrix(R)
    assert min(np.abs(back - q).max(), np.abs(back + q).max()) < 1e-12


@given(poses, poses)
def test_matrices_multiply_as_poses_do(a, b):
    assert_allclose((a @ b).matrix(), a.matrix() @ b.matrix(), atol=1e-13)


@given(poses)
def test_a_pose_and_its_inverse_cancel(pose):
    assert_allclose((pose @ pose.inverse()).matrix(), np.eye(4), atol=1e-13)


@given(poses, poses)
def test_the_error_moves_the_actual_pose_onto_the_target(target, actual):
    error = pose_error(target, actual)
    turn = Rotation.from_rotvec(error[3:]).as_matrix()
    assert_allclose(actual.position + error[:3], target.position, atol=1e-14)
    assert_allclose(turn @ actual.rotation_matrix(), target.rotation_matrix(), atol=1e-9)
    assert np.linalg.norm(error[3:]) <= np.pi + 1e-12


@given(quaternions, quaternions)
def test_the_orientation_error_is_sub_quat_in_the_world_frame(a, b):
    target, actual = Pose([0, 0, 0], a), Pose([0, 0, 0], b)
    error = pose_error(target, actual)[3:]
    if np.linalg.norm(error) < np.pi - 1e-6:
        local = _mujoco(mujoco.mju_subQuat, 3, a, b)
        assert_allclose(error, actual.rotation_matrix() @ local, atol=1e-9)


def test_wxyz_is_our_order_and_xyzw_is_converted():
    quarter = np.sqrt(0.5)
    about_z = Pose([0, 0, 0], [quarter, 0, 0, quarter])
    assert_allclose(about_z.rotation_matrix() @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    assert_allclose(Pose.from_xyzw([0, 0, 0], [0, 0, quarter, quarter]).quaternion, about_z.quaternion)
    scipys = Pose.from_rotation([0, 0, 0], Rotation.from_euler("z", 90, degrees=True))
    assert_allclose(scipys.quaternion, about_z.quaternion, atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_operation_keeps_the_batch_shape(shape):
    rng = np.random.default_rng(0)
    pose = Pose(
        rng.normal(size=(*shape, 3)), Rotation.random(int(np.prod(shape)), rng=rng).as_quat().reshape(*shape, 4)
    )
    assert pose.shape == (pose @ pose).shape == pose.inverse().shape == shape
    assert Pose.from_matrix(pose.matrix()).shape == shape
    assert pose_error(pose, pose).shape == (*shape, 6)


def test_a_pose_is_indexed_like_an_array():
    pose = Pose(np.arange(18.0).reshape(3, 2, 3), [1, 0, 0, 0])
    assert pose[0].shape == (2,) and pose[0, 1].shape == () and pose[:, 0].shape == (3,) and len(pose) == 3
    assert_allclose(pose[2, 1].position, [15, 16, 17])
    with pytest.raises(IndexError, match="no rows"):
        pose[0, 0][0]


def test_later_edits_of_the_callers_arrays_do_not_reach_the_pose():
    position = np.zeros(3)
    pose = Pose(position, [1, 0, 0, 0])
    position[0] = 7
    assert pose.position[0] == 0


def test_a_bad_row_of_a_batch_is_marked_and_the_others_are_kept():
    pose = Pose([[0, 0, 0], [np.nan, 0, 0], [1, 1, 1]], [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    assert pose.valid.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("position", "quaternion", "message"),
    [
        ([0, 0, np.nan], [1, 0, 0, 0], "not a pose"),
        ([0, 0, 0], [0, 0, 0, 0], "unit quaternion"),
        ([0, 0, 0], [np.inf, 0, 0, 0], "not a pose"),
        ([0, 0], [1, 0, 0, 0], r"position: expected shape \(\*batch, 3\), got \(2,\)"),
        ([0, 0, 0], [1, 0, 0], r"quaternion: expected shape"),
        (["a", 0, 0], [1, 0, 0, 0], "expected numbers"),
        (np.zeros((2, 3)), np.ones((3, 4)), "batch shape in common"),
    ],
)
def test_what_is_no_pose_is_refused_with_what_was_given(position, quaternion, message):
    with pytest.raises(InvalidInputError, match=message):
        Pose(position, quaternion)


@pytest.mark.parametrize("matrix", [np.diag([1, 1, -1, 1]), np.diag([1, 1, 1.01, 1]), np.full((4, 4), np.nan)])
def test_reflections_and_shears_are_refused(matrix):
    with pytest.raises(InvalidInputError, match="not a rotation matrix"):
        Pose.from_matrix(matrix)


def test_a_bare_seven_vector_is_refused_with_both_orders():
    with pytest.raises(InvalidInputError, match=r"wxyz.*from_xyzw"):
        Pose.as_pose(np.zeros(7))
