"""The benchmark of tracking: that it runs, and counts what it says."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import test_benchmarks

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import tracking  # isort: skip
from peer_adaptors import Ours  # isort: skip

from path_cases import check_continuous, solver

from hybrid_ik import HybridSolver, Pose


def test_the_joints_of_a_path_are_smooth_and_inside_the_limits(panda):
    q, other = (tracking.joint_path(panda, 300, 0, number) for number in (0, 1))
    assert ((q > panda.lower) & (q < panda.upper)).all()
    assert np.abs(np.diff(q, axis=0)).max() < 0.3 and np.abs(np.diff(q, 2, axis=0)).max() < 0.02
    assert np.abs(q - other).max() > 0.5
    assert (tracking.joint_path(panda, 300, 0, 1) == other).all()


def test_a_follower_is_broken_by_a_long_step_and_by_a_pose_without_an_answer(panda):
    q = tracking.joint_path(panda, 400, 0, 0)[:20]
    poses, peer, solver = panda.forward_kinematics(q), Ours(panda), HybridSolver(panda)
    far = Pose(poses.position + 5.0 * (np.arange(20) == 7)[:, None], poses.quaternion)
    for run in (partial(tracking.follow, peer), partial(tracking.track, solver)):
        assert run(0.3, poses, q[0]).whole and len(run(0.3, poses, q[0]).q) == 20
        assert not run(0.01, poses, q[0]).whole
        broken = run(0.3, far, q[0])
        assert not broken.whole and len(broken.q) == 7


def test_tracking_runs_from_end_to_end(tmp_path):
    file = tmp_path / "tracking.json"
    printed = test_benchmarks._run("tracking.py", "--quick", "--json", str(file))
    (arm,) = json.loads(file.read_text())["arms"]
    rows = {row["name"]: row for row in arm["rows"]}
    assert arm["robot"] == "panda" and rows["track"]["whole"] == 2 and rows["near"]["n"] == 2
    assert rows["track"]["largest_step"] <= 1.0
    assert "without a jump" in printed and file.with_suffix(".png").is_file()


def test_an_arm_that_begins_all_but_stretched_bends_on_to_its_own_side():
    """Steps of Newton across to the next curve lead to the other side of the elbow, from where none leads back."""
    arm = solver("iiwa14")
    q = tracking.joint_path(arm.robot, 500, 0, 42)[:120]
    poses = arm.robot.forward_kinematics(q)
    check_continuous(arm, poses, arm.track(poses, start=q[0]), q[0])
