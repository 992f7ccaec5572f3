"""The comparison with other people's solvers: the poses, the file they read, and those that are installed here."""

from __future__ import annotations

import json
import sys

import mujoco
import numpy as np
import pytest
import test_benchmarks
from models import ARMS
from numpy.testing import assert_allclose, assert_array_equal

from hybrid_ik.robot import Robot

# test_benchmarks puts the folder of the programs on the path
import metrics  # isort: skip
import peer_adaptors  # isort: skip
import peer_plot  # isort: skip
import peer_rows  # isort: skip
import peer_urdf  # isort: skip
import peers  # isort: skip
import problems  # isort: skip

needs_mujoco_3 = pytest.mark.skipif(
    int(mujoco.__version__.split(".")[0]) > 3, reason="dm_control 1.0.50 does not work with mujoco 4"
)
HERE = ["hybrid", "random_lm", "ssik", pytest.param("dm_control", marks=needs_mujoco_3), "minimize", "scipy"]


@pytest.fixture(scope="module")
def rail():
    return Robot("panda_rail")


@pytest.fixture(params=["panda", "panda_rail"])
def arm(request, panda, rail):
    return panda if request.param == "panda" else rail


def _far_out(robot, position):
    return np.linalg.norm(position - robot.chain.T_base_first[:3, 3], axis=-1)


def test_near_limit_joints_are_near_three_limits(arm):
    q = problems.joints_near_limits(arm, 50, np.random.default_rng(0))
    room = np.minimum(q - arm.lower, arm.upper - q)
    assert (room >= 0).all()
    assert ((room <= problems.LIMIT_DISTANCE).sum(-1) >= problems.LIMIT_JOINTS).all()
    assert np.median((room <= problems.LIMIT_DISTANCE).sum(-1)) == problems.LIMIT_JOINTS


def test_joints_without_limits_are_not_pressed():
    robot = Robot(mujoco.MjSpec.from_string(ARMS["unlimited joint"]), tip="tip")
    q = problems.joints_near_limits(robot, 20, np.random.default_rng(0))
    room = np.minimum(q - robot.lower, robot.upper - q)
    assert np.isfinite(q).all() and ((room <= problems.LIMIT_DISTANCE).sum(-1) == 2).all()


def test_edge_poses_are_reached_by_stretched_arms(arm):
    edge, usual = (_far_out(arm, problems.make_problems(arm, kind, 40, 0).position) for kind in ("edge", "reachable"))
    assert edge.min() > np.percentile(usual, 90)


def test_unreachable_poses_are_out_of_reach(arm):
    bound = arm.chain.reach + np.linalg.norm(arm.chain.T_last_tip[:3, 3])
    assert (_far_out(arm, problems.make_problems(arm, "unreachable", 20, 0).position) > bound).all()


@pytest.mark.parametrize("kind", problems.PATHS)
def test_a_path_is_smooth_and_keeps_the_limits(arm, kind):
    path = problems.smooth_path(arm, kind, 1001, 0)
    assert ((path > arm.lower) & (path < arm.upper)).all()
    reach = arm.chain.sample_upper - arm.chain.sample_lower
    assert (np.abs(np.diff(path, axis=0)) < 0.006 * reach).all()
    assert np.abs(path - path[0]).max() > 0.5
    assert_array_equal(path, problems.smooth_path(arm, kind, 1001, 0))


@pytest.mark.parametrize("name", ["panda", "panda_rail", "joint ref", "tilted axes away from the body"])
def test_a_written_urdf_is_the_same_arm(name, tmp_path):
    robot = Robot(mujoco.MjSpec.from_string(ARMS[name]), tip="tip") if name in ARMS else Robot(name)
    spec = mujoco.MjSpec.from_file(str(peer_urdf.write_urdf(robot, tmp_path / "arm.urdf")))
    spec.compiler.fusestatic = False  # or the tip is gone
    read = Robot(spec, tip=peer_urdf.TIP)
    q = problems.uniform_joints(robot, 20, np.random.default_rng(0))
    assert_allclose(read.forward_kinematics(q).matrix(), robot.forward_kinematics(q).matrix(), atol=1e-12)
    assert_allclose([read.lower, read.upper], [robot.lower, robot.upper], atol=0)
    assert read.joint_names == robot.joint_names


def test_a_pitch_of_a_quarter_turn_is_written_as_any_other():
    for pitch in (np.pi / 2, -np.pi / 2, 0.3):
        quaternion, R = np.empty(4), np.empty(9)
        mujoco.mju_euler2Quat(quaternion, np.array([0.4, pitch, -1.1]), "xyz")
        mujoco.mju_quat2Mat(R, quaternion)
        angles = peer_urdf.roll_pitch_yaw(R.reshape(3, 3))
        mujoco.mju_euler2Quat(quaternion, angles, "XYZ")
        again = np.empty(9)
        mujoco.mju_quat2Mat(again, quaternion)
        assert_allclose(again, R, atol=1e-8)


@pytest.mark.parametrize("name", HERE)
def test_peers_that_are_installed_solve(panda, name):
    if name == "ssik":
        pytest.importorskip("ssik")
    made, disagreements, left_out = peer_rows.make_peers({name: peer_rows.ROWS[name]}, panda, 0)
    assert not left_out
    peer = made[name]
    assert peer.version and (disagreements[name] is None or disagreements[name] < 1e-9)
    target = problems.make_problems(panda, "reachable", 4, 0)
    q = np.array([peer.solve(peer.goal(pose)) for pose in target])
    assert metrics.judge(panda, target, q).meets(metrics.EXACT).all()
    start = problems.uniform_joints(panda, 1, np.random.default_rng(3))[0]
    near = peer.solve(peer.goal(panda.forward_kinematics(start + 0.01)), start)
    assert np.abs(near - start).max() < 0.2


def test_who_does_not_know_this_arm_is_left_out_with_the_reason(rail):
    pytest.importorskip("ssik")
    made, _, left_out = peer_rows.make_peers({"ssik": peer_rows.ROWS["ssik"]}, rail, 0)
    assert not made and "9" in left_out["ssik"]


def test_who_is_missing_is_left_out_by_name(panda, monkeypatch):
    monkeypatch.setitem(sys.modules, "optik", None)  # as if it were not installed
    made, _, left_out = peer_rows.make_peers({"optik": peer_rows.ROWS["optik"]}, panda, 0)
    assert not made
    assert "optik" in left_out["optik"] and "Error" in left_out["optik"]


def test_another_arm_is_noticed(panda):
    class Bent(peer_adaptors.Ours):
        def forward(self, q):
            return self.robot.forward_kinematics(q).matrix() + 1e-3

    _, _, left_out = peer_rows.make_peers({"bent": peer_rows.PeerRow("bent", Bent, "")}, panda, 0)
    assert "forward kinematics differ" in left_out["bent"]


class Liar(peer_adaptors.Peer):
    """Says that its home posture reaches every pose, and sometimes fails."""

    package = "numpy"

    def solve(self, goal, q_start=None):
        if goal[0, 3] > 10:
            raise RuntimeError("too far")
        return self.robot.home


def test_answers_that_are_wrong_count_as_wrong(panda):
    poses = problems.make_problems(panda, "reachable", 3, 0)
    plan = peers.Plan(poses=3, path=10, steps=3, seconds=1.0, rounds=1, seed=0)
    turns = peers.Turns()
    peers._solve_slice(Liar(panda), poses, plan, 0, turns)
    quality = peers._quality(panda, poses, np.array(turns.q))
    assert quality["wrong"] == quality["answered"] == 1 and quality["success_1mm"] == 0
    far = Liar(panda).goal(poses[0])
    far[0, 3] = 20
    assert peers._timed(Liar(panda), far, None, turns)[0] is None and turns.raised == 1


def test_joints_a_rounding_beyond_their_limits_are_settled_and_others_are_not(panda):
    q = np.stack([panda.upper + 1e-8, panda.upper + 1e-5])
    assert_array_equal(peers.settle(panda, q), [panda.upper, panda.upper + 1e-5])


def test_ratios_are_of_the_same_poses_in_each_round():
    ours, theirs = peers.Turns(), peers.Turns()
    for i, (time, turn) in enumerate([(1.0, 0), (2.0, 0), (4.0, 1), (9.0, 1)]):
        ours.add(i, None, time, turn, 2)
    for i, time, turn in [(0, 3.0, 0), (2, 20.0, 1)]:
        theirs.add(i, None, time, turn, 2)
    assert peers._ratio(theirs, ours) == {"median": 4.0, "least": 3.0, "most": 5.0}


def test_labels_keep_their_order_and_their_distance():
    places = peer_plot.spread_out([0.0, 0.01, 0.02, 0.5, 0.51], 0.05)
    assert (np.diff(places) >= 0.05 - 1e-12).all()
    assert_allclose(np.mean(places[:3]), 0.01, atol=1e-12)


def test_the_comparison_runs_from_end_to_end(tmp_path):
    file = tmp_path / "peers.json"
    words = ["--peers", "--quick", "--peer-rows", "hybrid,ssik,dm_control", "--json", str(file)]
    printed = test_benchmarks._run("compare.py", *words)
    saved = json.loads(file.read_text())
    assert list(saved["sets"]) == list(problems.KINDS)
    assert {peer["name"] for peer in saved["peers"]} | set(saved["left_out"]) == {"hybrid", "ssik", "dm_control"}
    ours = saved["sets"]["reachable"][0]
    assert ours["name"] == "hybrid" and ours["success_1um"] == 1 and ours["ratio"]["median"] == 1
    assert all(path["rows"][0]["jumps"] == 0 for path in saved["paths"].values())
    assert "unreachable poses" in printed and file.with_suffix(".png").is_file()
