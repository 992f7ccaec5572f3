"""What viewer and page share: the solid arm is verified, the answers differ, the tool stays at rest while it glides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import CASES
from models import FIVE_JOINTS, GANTRY, robot_of, roll_arm

from hybrid_ik.apps.explorer import MOST_ANSWERS, POSTURES, Explorer, Settings
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

TOLERANCE = LMConfig().position_tolerance
DOWN = Pose([0.4, 0.1, 0.5], [0, 1, 0, 0])


def _errors(explorer, q):
    """Distance and angle of the tip from the target, by MuJoCo, for joints `(n, dof)`."""
    T = explorer.robot.forward_kinematics(q)
    turn = np.abs(np.einsum("ij,j->i", T.quaternion, explorer.target.quaternion)).clip(0, 1)
    return np.linalg.norm(T.position - explorer.target.position, axis=-1), 2 * np.arccos(turn)


@pytest.fixture
def explorer(panda):
    explorer = Explorer(panda)
    explorer.move(DOWN)
    return explorer


@pytest.mark.parametrize("n", [1, 2, 16, MOST_ANSWERS])
def test_answers_are_verified_distinct_and_as_many_as_asked_for(explorer, n):
    explorer.settings.n_solutions = n
    result = explorer.update().result
    assert len(result) == n and result.success.all()
    position, orientation = _errors(explorer, result.q)
    assert position.max() < 2 * TOLERANCE and orientation.max() < 1e-5
    d = np.linalg.norm(result.q[:, None] - result.q[None], axis=-1) + 10 * np.eye(n)
    assert d.min() >= explorer.settings.min_distance - 1e-9
    assert np.array_equal(explorer.q, result.q[0])


def test_the_solid_one_is_what_the_solver_finds_nearest(explorer):
    before, target = explorer.q, Pose(DOWN.position + np.array([0.02, 0.0, -0.03]), DOWN.quaternion)
    explorer.move(target)
    twin = HybridSolver(explorer.robot, sampler="meanflow").solve(target, near=before)
    assert np.allclose(explorer.q, twin.q, atol=1e-5)


@pytest.mark.parametrize("posture", POSTURES[1:])
def test_the_solid_one_is_what_the_solver_prefers(explorer, posture):
    explorer.settings.posture = posture
    explorer.update()
    twin = HybridSolver(explorer.robot, sampler="meanflow").solve(DOWN, prefer=posture)
    assert np.allclose(explorer.q, twin.q, atol=1e-4)


def test_it_works_on_every_robot_of_the_tests(robot):
    explorer = Explorer(robot)
    assert explorer.shown.reached and explorer.shown.result.success.all()
    target = robot.forward_kinematics(robot.chain.middle * 0.9 + robot.home * 0.1)
    assert explorer.move(target).reached
    explorer.settings.sampler = "lookup" if robot.dof > 6 else "random"
    assert explorer.update().reached
    low, high = explorer.joint_range(0)
    assert low - 1e-6 <= explorer.q[0] <= high + 1e-6


@pytest.mark.parametrize("text", [GANTRY, FIVE_JOINTS, roll_arm("range='-2 2'"), roll_arm("")])
def test_small_models_with_slides_and_unlimited_joints(text):
    explorer = Explorer(robot_of(text))
    assert explorer.samplers == ("random", "lookup") and explorer.shown.reached
    assert not explorer.glide(0.02) and explorer.curves is None
    explorer.turn_joint(0, 0.1)
    assert explorer.shown.reached


def test_a_target_out_of_reach_is_shown_at_its_closest_and_left_again(explorer):
    shown = explorer.move(Pose([2.0, 0.0, 0.5], DOWN.quaternion))
    assert not shown.reached and len(shown.result) == 1 and np.isfinite(explorer.q).all()
    assert not explorer.glide(0.02) and explorer.joint_range(1) == (explorer.q[1], explorer.q[1])
    explorer.turn_joint(1, 0.3)
    assert not explorer.shown.reached
    assert explorer.move(DOWN).reached


def test_without_refinement_starts_are_shown_as_the_sampler_proposes_them(explorer):
    explorer.settings.refine = False
    shown = explorer.update()
    assert len(shown.result) == 16 and not shown.reached
    position, orientation = _errors(explorer, shown.result.q)
    assert np.allclose(position, shown.result.position_error, atol=1e-9)
    assert np.allclose(orientation, shown.result.orientation_error, atol=1e-6)
    assert 1e-3 < np.median(position) < 0.1  # centimetres: what one pass of the network gives
    explorer.settings.sampler = "random"
    assert np.median(explorer.update().result.position_error) > 0.1


def test_curves_do_not_depend_on_whether_starts_are_refined(explorer):
    whole = explorer.curves
    explorer.settings.refine = False
    explorer.move(DOWN)
    assert explorer.curves.length == pytest.approx(whole.length, rel=0.01)


def test_a_chosen_answer_is_solid_and_followed(explorer):
    wanted = explorer.shown.result.q[5]
    assert len(explorer.choose(5).result) == 16
    assert np.array_equal(explorer.q, wanted)
    explorer.move(Pose(DOWN.position + np.array([0.0, 0.005, 0.0]), DOWN.quaternion))
    assert np.linalg.norm(explorer.q - wanted) < 0.1
    with pytest.raises(InvalidInputError, match="one of 16 answers, got 16"):
        explorer.choose(16)


@pytest.mark.parametrize("name", ["panda", "panda_rail"])
def test_gliding_moves_the_arm_and_not_its_tool_and_turns_round_at_limits(name):
    explorer = Explorer(Robot(name))
    explorer.move(DOWN if name == "panda" else explorer.target)
    q = [explorer.q]
    for _ in range(400):
        assert explorer.glide(0.05)
        q.append(explorer.q)
    q = np.array(q)
    position, orientation = _errors(explorer, q)
    assert position.max() < 2 * TOLERANCE and orientation.max() < 1e-5
    steps = np.diff(q, axis=0)
    assert np.linalg.norm(steps, axis=1).max() < 0.08
    assert (q >= explorer.robot.lower).all() and (q <= explorer.robot.upper).all()
    if name == "panda":  # 20 rad on a curve of a few: it has been to its ends
        assert (np.einsum("ij,ij->i", steps[1:], steps[:-1]) < 0).any()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_joint_is_turned_to_a_value_with_the_tool_at_rest(explorer, share):
    for joint in range(7):
        low, high = explorer.joint_range(joint)
        value = low + share * (high - low)
        explorer.turn_joint(joint, value)
        assert explorer.q[joint] == pytest.approx(value, abs=5e-3)
        assert explorer.shown.reached and _errors(explorer, explorer.q[None])[0] < 2 * TOLERANCE


def test_a_value_that_the_joint_has_nowhere_is_met_as_nearly_as_can_be(explorer):
    low, high = explorer.joint_range(5)
    explorer.turn_joint(5, high + 1.0)
    assert explorer.q[5] == pytest.approx(high, abs=1e-2)
    explorer.turn_joint(5, low - 1.0)
    assert explorer.q[5] == pytest.approx(low, abs=1e-2)


def test_a_robot_of_six_joints_has_separate_answers():
    case = next(case for case in CASES if case.name == "full_kr6r900sixx")
    explorer = Explorer(case.robot())
    assert not explorer.can_glide and explorer.curves is None and len(explorer.shown.result) > 1
    assert explorer.joint_range(2) == (explorer.q[2], explorer.q[2])


def test_unknown_samplers_are_named(explorer):
    explorer.settings = replace(explorer.settings, sampler="guess")
    with pytest.raises(InvalidInputError, match="no sampler 'guess' for panda: network, random, lookup"):
        explorer.update()


def test_settings_have_the_network_where_there_is_one(panda):
    assert Explorer(panda).settings == Settings(sampler="network")
    assert Explorer(Robot("panda_rail")).settings.sampler == "random"
