"""Postures of a film: the tool is at rest, the first is the answer, the last leads back to it, in small steps."""

from __future__ import annotations

import numpy as np
import pytest
from set_cases import solver

from hybrid_ik.apps.motion import FRAMES, _swing, moving_postures
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose


def _moving(name):
    own = solver(name)
    middle = 0.4 * own.robot.chain.sample_lower + 0.6 * own.robot.chain.sample_upper
    pose = own.robot.forward_kinematics(middle)
    q = own.solve(pose).q
    return own, pose, q, moving_postures(own, pose, q)


@pytest.mark.parametrize("name", ["panda", "iiwa14", "endless roll", "narrow roll", "wide roll", "five joints"])
def test_the_tool_is_at_rest_and_the_motion_closes(name):
    own, pose, q, moving = _moving(name)
    chain = own.robot.chain
    steps = np.linalg.norm(chain.shortest_way(np.diff([*moving, moving[0]], axis=0)), axis=1)
    assert FRAMES[0] <= len(moving) <= FRAMES[1]
    assert np.linalg.norm(own.robot.forward_kinematics(moving).position - pose.position, axis=1).max() < 1e-3
    assert ((moving >= own.robot.lower) & (moving <= own.robot.upper)).all()
    assert np.linalg.norm(chain.shortest_way(moving[0] - q)) <= steps.max() + 1e-2
    assert 0.05 < steps.max() < 0.6 and steps.sum() > 1.0


def test_an_arc_is_gone_along_to_both_of_its_ends_and_back_over_the_same_places():
    own, pose, _, moving = _moving("panda")
    answers = own.solve_all(pose)
    (piece,) = {answers.piece[np.argmin(np.linalg.norm(answers.q - row, axis=1))] for row in moving}
    for end in (answers[piece].q[0], answers[piece].q[-1]):
        assert np.linalg.norm(moving - end, axis=1).min() < 0.1
    assert len(np.unique(moving.round(6), axis=0)) <= len(moving) // 2 + 1


def test_a_closed_curve_is_gone_once_round_the_same_way():
    own, _, _, moving = _moving("endless roll")
    turns = own.robot.chain.shortest_way(np.diff([*moving, moving[0]], axis=0))[:, 3]
    assert abs(turns.sum()) == pytest.approx(2 * np.pi, abs=1e-6) and (turns * turns[0] > 0).all()


@pytest.mark.parametrize("start", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("n", [24, 25])
def test_a_swing_begins_where_it_should_and_its_places_come_twice(start, n):
    places = _swing(start, n)
    assert abs(places[0] - start) < 2.0 / n and 0 <= places.min() and places.max() <= 1
    assert len(np.unique(places.round(9))) <= n // 2 + 1
    assert np.ptp(places) > 0.98


@pytest.mark.parametrize("name", ["three joints", "KR6"])
def test_an_arm_without_a_spare_joint_is_refused_by_name(name):
    with pytest.raises(InvalidInputError, match=r"has no joint to spare: its \d joints are no more than a pose has"):
        _moving(name)


def test_an_answer_on_a_piece_that_was_not_found_moves_along_the_null_space(monkeypatch):
    own = solver("panda")
    pose = Pose([0.45, 0.15, 0.45], [0, 1, 0, 0])
    q = own.solve(pose).q
    monkeypatch.setattr("hybrid_ik.solution_sets.solution_set.SolutionSet.distance", lambda self, q: 1.0)
    moving = moving_postures(own, pose, q)
    assert np.linalg.norm(own.robot.forward_kinematics(moving).position - pose.position, axis=1).max() < 1e-3
    assert np.linalg.norm(moving - q, axis=1).min() < 0.3
