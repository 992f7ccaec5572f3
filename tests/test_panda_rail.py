"""The Panda on a rail and a turntable: the arm of `panda.xml`, carried."""

import mujoco
import numpy as np

from hybrid_ik.pose import Pose, pose_error
from hybrid_ik.resources import asset_path
from hybrid_ik.robot import Robot


def test_it_is_the_panda_carried_by_two_joints(panda):
    robot = Robot("panda_rail")
    assert robot.dof == 9 and robot.tip == "panda_flange"
    q = np.random.default_rng(0).uniform(robot.lower, robot.upper, (50, 9))
    angle = q[:, 1]
    foot = Pose(
        np.stack([q[:, 0] + 0.25 * np.cos(angle), 0.25 * np.sin(angle), np.full(50, 0.15)], -1),
        np.stack([np.cos(angle / 2), 0 * angle, 0 * angle, np.sin(angle / 2)], -1),
    )
    arm = panda.forward_kinematics(q[:, 2:]).matrix()
    assert np.abs(pose_error(Pose.from_matrix(foot.matrix() @ arm), robot.forward_kinematics(q))).max() < 1e-12
    np.testing.assert_array_equal(robot.lower[2:], panda.lower)
    np.testing.assert_array_equal(robot.upper[2:], panda.upper)


def test_nothing_touches_at_home():
    model = mujoco.MjModel.from_xml_path(str(asset_path("robots", "panda_rail.xml")))
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    mujoco.mj_forward(model, data)
    assert data.ncon == 0
