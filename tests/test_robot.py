"""One arm of a model: every way to name it, exact kinematics, and clear refusals."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
import sys
import threading
import types

import mujoco
import numpy as np
import pytest
from models import ARMS, HINGES, REFUSED, arm, mjcf
from numpy.testing import assert_allclose

from hybrid_ik.errors import InvalidInputError, RobotError, RobotNotAvailableError
from hybrid_ik.pose import pose_error
from hybrid_ik.resources import asset_path
from hybrid_ik.robot import Robot


@pytest.fixture(params=ARMS.values(), ids=ARMS.keys())
def synthetic(request):
    """Robots of small models, one trait each."""
    return Robot(mujoco.MjSpec.from_string(request.param), tip="tip")


def _random_q(robot, shape=(), seed=0):
    chain = robot.chain
    return np.random.default_rng(seed).uniform(chain.sample_lower, chain.sample_upper, (*shape, robot.dof))


def _full_model_tip(model, robot, q):
    """The tip in the world by the untouched model."""
    data = mujoco.MjData(model)
    for name, value in zip(robot.joint_names, q, strict=True):
        data.joint(name).qpos[:] = value
    mujoco.mj_forward(model, data)
    return data.site("tip").xpos, data.site("tip").xmat.reshape(3, 3)


def _check_jacobian(robot, q, step=1e-6):
    J = robot.jacobian(q)
    for i in range(robot.dof):
        ahead, behind = q.copy(), q.copy()
        ahead[i], behind[i] = q[i] + step, q[i] - step
        difference = pose_error(robot.forward_kinematics(ahead), robot.forward_kinematics(behind)) / (2 * step)
        assert_allclose(J[:, i], difference, atol=1e-8)


@pytest.mark.filterwarnings("ignore:Inertia matrix")  # of the untouched model with coincident axes
@pytest.mark.parametrize("trait", sorted(ARMS.keys() - {"missing mesh and texture"}))
def test_what_was_stripped_changes_no_kinematics(trait):
    xml = ARMS[trait]
    model = mujoco.MjModel.from_xml_string(xml)
    robot = Robot(mujoco.MjSpec.from_string(xml), tip="tip")
    for q in _random_q(robot, (5,)):
        position, rotation = _full_model_tip(model, robot, q)
        pose = robot.forward_kinematics(q)
        assert_allclose(pose.position, position, atol=1e-14)
        assert_allclose(pose.rotation_matrix(), rotation, atol=1e-14)


def test_the_jacobian_of_small_models_is_the_derivative(synthetic):
    _check_jacobian(synthetic, _random_q(synthetic))


def test_the_jacobian_is_the_derivative(robot):
    for q in _random_q(robot, (3,)):
        _check_jacobian(robot, q)


@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (0,), (2, 0)])
def test_leading_axes_are_kept(panda, shape):
    q = _random_q(panda, shape)
    assert panda.forward_kinematics(q).shape == shape
    assert panda.jacobian(q).shape == (*shape, 6, 7)


def test_a_batch_is_a_loop(robot):
    q = _random_q(robot, (2, 3))
    poses, J = robot.forward_kinematics(q), robot.jacobian(q)
    for index in np.ndindex(2, 3):
        assert (poses.position[index] == robot.forward_kinematics(q[index]).position).all()
        assert (J[index] == robot.jacobian(q[index])).all()


def test_lists_and_float32_and_strided_arrays_are_taken(panda):
    q = _random_q(panda, (4,)).astype(np.float32)
    expected = panda.forward_kinematics(q.astype(float)).position
    assert_allclose(panda.forward_kinematics(q).position, expected, atol=0)
    assert_allclose(panda.forward_kinematics(q.tolist()).position, expected, atol=0)
    assert_allclose(panda.forward_kinematics(np.asfortranarray(q)[::2]).position, expected[::2], atol=0)


def test_a_base_expresses_poses_and_jacobians_in_its_frame():
    whole = Robot("panda", tip="hand_tcp")
    part = Robot("panda", base="link2", tip="hand_tcp")
    q = np.array([0.0, 0.0, *whole.home[2:]])
    at_zero = Robot("panda", tip="link2").forward_kinematics([0, 0])
    assert_allclose(
        (at_zero @ part.forward_kinematics(q[2:])).matrix(), whole.forward_kinematics(q).matrix(), atol=1e-12
    )
    turned = at_zero.rotation_matrix() @ part.jacobian(q[2:])[:3]
    assert_allclose(turned, whole.jacobian(q)[:3, 2:], atol=1e-12)


@pytest.mark.parametrize("how", ["name", "path", "Path", "MjModel", "MjSpec", "Robot"])
def test_every_source_gives_the_same_arm(panda, how):
    path = asset_path("robots", "panda.xml")
    sources = {
        "name": lambda: "panda",
        "path": lambda: str(path),
        "Path": lambda: path,
        "MjModel": lambda: mujoco.MjModel.from_xml_path(str(path)),
        "MjSpec": lambda: mujoco.MjSpec.from_file(str(path)),
        "Robot": lambda: panda,
    }
    robot = Robot(sources[how]())
    assert robot.name == "panda" and robot.tip == "flange" and robot.base == "world"
    assert robot.chain.fingerprint == panda.chain.fingerprint
    assert (robot.home == panda.home).all()


def test_a_specification_is_left_as_it_was():
    spec = mujoco.MjSpec.from_file(str(asset_path("robots", "panda.xml")))
    before = len(spec.geoms)
    Robot(spec)
    assert len(spec.geoms) == before > 10


def test_the_slim_model_has_no_geoms_and_names_survive(panda):
    assert panda.model.ngeom == 0 and panda.model.nmesh == 0
    assert panda.joint_names == tuple(f"joint{i}" for i in range(1, 8))


def test_a_urdf_keeps_its_fixed_links_and_needs_no_mesh(tmp_path):
    path = tmp_path / "two.urdf"
    path.write_text("""<robot name="two"><link name="base_link"/><link name="a"><visual><geometry>
        <mesh filename="package://nowhere/a.dae"/></geometry></visual></link><link name="my_tool"/>
        <joint name="turn" type="continuous"><parent link="base_link"/><child link="a"/><axis xyz="0 0 1"/></joint>
        <joint name="fix" type="fixed"><parent link="a"/><child link="my_tool"/><origin xyz="1 0 0"/></joint>
        </robot>""")
    robot = Robot(path, tip="my_tool")
    assert robot.name == "two" and robot.upper.tolist() == [np.inf] and robot.home.tolist() == [0]
    assert_allclose(robot.forward_kinematics([np.pi / 2]).position, [0, 1, 0], atol=1e-15)


def test_other_joints_stay_at_their_reference():
    xml = mjcf(
        "<body name='torso'><joint name='lift' type='slide' ref='.4'/><geom size='.1'/><body name='b' pos='0 0 1'>"
        "<joint name='a' axis='0 1 0'/><geom size='.1'/><site name='tip' pos='0 0 1'/></body></body>"
    )
    robot = Robot(mujoco.MjSpec.from_string(xml), base="torso", tip="tip")
    assert robot.joint_names == ("a",)
    assert_allclose(robot.forward_kinematics([0]).position, [0, 0, 2], atol=1e-15)


def test_unlimited_joints_have_infinite_limits_and_a_finite_range_to_sample():
    robot = Robot(mujoco.MjSpec.from_string(ARMS["unlimited joint"]), tip="tip")
    assert robot.lower[1] == -np.inf and robot.upper[1] == np.inf
    assert robot.chain.sample_lower[1] == -np.pi and robot.home[1] == 0


def test_home_is_inside_the_limits(robot):
    assert ((robot.home >= robot.lower) & (robot.home <= robot.upper)).all()


def test_home_comes_from_the_keyframe_of_the_arm_joints():
    robot = Robot(mujoco.MjSpec.from_string(ARMS["fingers, their equality and tendon"]))
    assert robot.home.tolist() == [0.1, 0.2] and robot.tip == "b1"


@pytest.mark.parametrize(("xml", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("compiled", [False, True], ids=["spec", "model"])
def test_what_is_no_serial_arm_is_refused_with_names(xml, message, compiled):
    source = mujoco.MjModel.from_xml_string(xml) if compiled else mujoco.MjSpec.from_string(xml)
    with pytest.raises(RobotError, match=message):
        Robot(source, tip="tip")


def test_an_inactive_equality_does_no_harm():
    xml = arm(*HINGES, rest="<equality><joint joint1='j0' joint2='j1' active='false'/></equality>")
    assert Robot(mujoco.MjSpec.from_string(xml), tip="tip").dof == 3


def test_an_arm_on_a_mocap_body_is_taken_from_there():
    xml, _ = REFUSED["mocap mount"]
    assert Robot(mujoco.MjSpec.from_string(xml), tip="tip", base="cart").dof == 1


@pytest.mark.parametrize("role", ["tip", "base"])
def test_an_unknown_frame_lists_those_there_are(role):
    with pytest.raises(RobotError, match=rf"{role}: no site or body 'hnad'.*flange, hand_tcp; bodies: world, link0"):
        Robot("panda", **{role: "hnad"})


def test_a_base_beyond_the_tip_is_refused():
    with pytest.raises(RobotError, match=r"base 'hand' does not carry tip 'link3'; bodies that do: world, link0"):
        Robot("panda", tip="link3", base="hand")


def test_two_arms_need_a_tip():
    one = "<body name='{0}'><joint name='{0}'/><geom size='.1'/></body>"
    spec = mujoco.MjSpec.from_string(mjcf(one.format("left") + one.format("right")))
    with pytest.raises(RobotError, match=r"more than one arm.*left, right"):
        Robot(spec)
    assert Robot(spec, tip="right").joint_names == ("right",)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("pandda", "no robot 'pandda'.*shipped robots are .*panda"),
        ("gone.xml", "no robot 'gone.xml'"),
        (3, "cannot make a robot of int"),
        (None, "cannot make a robot of NoneType"),
    ],
)
def test_an_unknown_source_says_what_there_is(source, message):
    with pytest.raises(RobotError, match=message):
        Robot(source)


@pytest.mark.parametrize("text", ["", "<mujoco", "<mujoco><worldbody><body/><bad/></worldbody></mujoco>", "\0\1\2"])
def test_a_broken_file_is_a_robot_error(tmp_path, text):
    path = tmp_path / "broken.xml"
    path.write_text(text)
    with pytest.raises(RobotError, match="broken"):
        Robot(path)


def test_a_description_offline_names_both_remedies(monkeypatch, capsys):
    def fail(name):
        sys.stdout.write("cloning")
        raise OSError("Could not resolve host")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(RobotNotAvailableError, match=r"Could not resolve host.*connect.*or pass the path"):
        Robot("panda_mj_description")
    assert capsys.readouterr().out == ""


def test_an_unknown_description_names_similar_ones():
    with pytest.raises(RobotNotAvailableError, match="has no 'pamda_mj_description'; similar: panda_mj_description"):
        Robot("pamda_mj_description")


def test_a_description_is_read_from_its_file(monkeypatch, panda):
    module = types.SimpleNamespace(MJCF_PATH=str(asset_path("robots", "panda.xml")))
    monkeypatch.setitem(sys.modules, "robot_descriptions.some_mj_description", module)
    robot = Robot("some_mj_description")
    assert robot.name == "some_mj_description" and robot.chain.fingerprint == panda.chain.fingerprint


@pytest.mark.parametrize("q", [np.zeros(6), np.zeros((7, 3)), 0.0, [], "abc", [[0] * 7, [0] * 6]])
def test_joints_of_another_shape_are_refused(panda, q):
    for function in (panda.forward_kinematics, panda.jacobian):
        with pytest.raises(InvalidInputError, match=r"q: expected"):
            function(q)


def test_a_row_that_is_not_a_number_leaves_the_others_alone(panda):
    q = np.stack([panda.home] * 3)
    q[1, 4] = np.nan
    poses, J = panda.forward_kinematics(q), panda.jacobian(q)
    assert poses.valid.tolist() == [True, False, True]
    assert np.isnan(J[1]).all() and (J[0] == J[2]).all()
    assert (poses.position[2] == panda.forward_kinematics(panda.home).position).all()
    with pytest.raises(InvalidInputError, match="q: expected finite numbers"):
        panda.forward_kinematics(q[1])


def test_threads_share_one_robot(panda):
    q = _random_q(panda, (200,))
    expected, found = panda.forward_kinematics(q).position, {}

    def work(i):
        found[i] = panda.forward_kinematics(q).position

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all((found[i] == expected).all() for i in range(4))


def _send_position(robot, queue):
    queue.put(robot.forward_kinematics(robot.home).position)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_solves_too(panda):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_send_position, args=(panda, queue))
    child.start()
    assert (queue.get(timeout=30) == panda.forward_kinematics(panda.home).position).all()
    child.join()


def test_a_pickled_robot_is_the_same(panda):
    copy = pickle.loads(pickle.dumps(panda))
    assert repr(copy) == repr(panda) == "Robot('panda', dof=7, tip='flange', base='world')"
    assert (copy.jacobian(panda.home) == panda.jacobian(panda.home)).all()


def test_a_tip_without_a_name_is_found_again():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body><joint axis='0 0 1' range='-1 1'/><geom size='.1'/>"
        "<body pos='.3 0 0'><joint axis='0 1 0' range='-1 1'/><geom size='.1'/></body></body></worldbody></mujoco>"
    )
    robot = Robot(model)
    again = Robot(robot)
    assert again.tip == robot.tip == "body#2"
    np.testing.assert_array_equal(again.chain.T_last_tip, robot.chain.T_last_tip)


@pytest.mark.parametrize(("names", "tip"), [(["a_flange", "b_tool"], "a_flange"), (["x/tcp"], "x/tcp")])
def test_a_prefixed_tip_is_found_in_an_attached_model(names, tip):
    sites = "".join(f"<site name='{name}'/>" for name in names)
    model = mjcf(f"<body name='b'><joint name='j'/><geom size='.1'/>{sites}</body>")
    assert Robot(mujoco.MjModel.from_xml_string(model)).tip == tip


def test_two_prefixed_tips_leave_the_choice_to_the_bodies():
    model = mjcf("<body name='b'><joint name='j'/><geom size='.1'/><site name='l_tcp'/><site name='r_tcp'/></body>")
    assert Robot(mujoco.MjModel.from_xml_string(model)).tip == "b"
