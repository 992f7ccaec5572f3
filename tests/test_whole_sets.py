"""The benchmark of whole solution sets: that it sees what is missing or there twice, and runs from end to end."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import test_benchmarks

# test_benchmarks puts the folder of the programs on the path
import problems  # isort: skip
import whole_set_measures  # isort: skip
import whole_set_oracles  # isort: skip
import whole_set_picture  # isort: skip
import whole_set_summary  # isort: skip
import whole_sets  # isort: skip

from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.solver import HybridSolver


@pytest.fixture(scope="module")
def answers(panda):
    """A pose with several pieces, its set, and what a few random starts lead to."""
    poses = problems.make_problems(panda, "reachable", 4, 0)[[3]]
    sources = {"starts": whole_set_oracles.refined_starts(panda, 1000, LaneRefiner(panda.chain))}
    known = whole_set_oracles.known_answers(panda, poses, sources, [np.random.default_rng(0)])
    return poses[0], HybridSolver(panda).solve_all(poses[0]), known[0]


def _with(found, pieces):
    other = copy.copy(found)
    other.__dict__ = {name: value for name, value in found.__dict__.items() if name not in ("q", "piece", "_segments")}
    other.pieces = tuple(pieces)
    return other


def test_answers_of_others_lie_on_a_whole_set(panda, answers):
    pose, found, known = answers
    row = whole_set_measures.compare(panda, pose, found, known, ["starts"])
    assert row["answers"]["starts"] > 300 and row["oracle_pieces"] >= 5
    assert sum(row["far"].values()) == sum(row["uncovered"].values()) == row["lost_pieces"] == 0
    clean = whole_set_measures.cleanness(panda, pose, found)
    assert clean["position_error"] <= 1e-6 and clean["outside"] == clean["twice"] == 0


def test_a_piece_that_is_missing_is_seen(panda, answers):
    pose, found, known = answers
    row = whole_set_measures.compare(panda, pose, _with(found, found[1:]), known, ["starts"])
    assert row["lost_pieces"] >= 1 and row["lost_lengths"][0] == pytest.approx(found[0].length, abs=0.01)
    assert row["far"]["starts"] > 10 and row["uncovered"]["pieces"] > 10
    assert len(row["misses"]) == whole_set_measures.SHOWN and row["misses"][0]["distance"] > 0.1
    summary = whole_set_summary.summary([{**row, **whole_set_measures.cleanness(panda, pose, found), "by_miss": []}])
    assert summary["recall"] < 1 and summary["piece_recall"] < 1 and len(summary["lacking"]) == 1


def test_an_empty_set_lacks_everything(panda, answers):
    pose, found, known = answers
    row = whole_set_measures.compare(panda, pose, _with(found, []), known, ["starts"])
    assert row["far"] == row["uncovered"] == row["answers"] and row["lost_pieces"] == row["oracle_pieces"]


def test_a_piece_that_is_there_twice_is_seen(answers):
    _, found, _ = answers
    assert whole_set_measures.twice(_with(found, [*found, found[0]])) == 2


def test_answers_are_turned_to_wherever_the_limits_allow():
    robot = type("Arm", (), {"dof": 2, "lower": np.array([-4.0, -1.0]), "upper": np.array([4.0, 1.0])})()
    robot.chain = type("Chain", (), {"hinges": np.array([True, True])})()
    turned = whole_set_oracles.turned(robot, np.array([[3.0, 2 * np.pi], [0.0, 0.5], [0.0, 2.0]]))
    assert sorted(map(tuple, turned.round(3))) == [(-3.283, 0.0), (0.0, 0.5), (3.0, 0.0)]
    assert whole_set_measures.branches(np.array([[3.0, 0.0], [3.0 - 2 * np.pi, 0.0], [1.0, 0.0]])) == 2


def test_the_angle_of_the_elbow_does_not_depend_on_the_first_joint(panda):
    q = problems.uniform_joints(panda, 5, np.random.default_rng(0))
    angle = whole_set_picture.swivel(panda, q)
    np.testing.assert_allclose(whole_set_picture.swivel(panda, q + np.eye(7)[0]), angle, atol=1e-9)
    assert np.ptp(angle) > 0.1


def test_ssik_knows_the_pieces_too(panda, answers):
    pytest.importorskip("ssik", reason="the closed form is ssik's")
    pose, found, _ = answers
    q = whole_set_oracles.ssik_charts(panda, "panda")(pose, np.random.default_rng(0))
    q = whole_set_oracles.verified(panda, pose, q)
    far = whole_set_measures.lacking(panda, pose, found, q)[0]
    assert len(q) > 1000 and not far.any()


def test_frankik_knows_the_pieces_too(panda, answers):
    pytest.importorskip("frankik", reason="the closed form is frankik's")
    pose, found, _ = answers
    q = whole_set_oracles.frankik_sweep(panda, 100)(pose, np.random.default_rng(0))
    far = whole_set_measures.lacking(panda, pose, found, whole_set_oracles.verified(panda, pose, q))[0]
    assert len(far) > 20 and not far.any()


def test_a_run_that_was_stopped_goes_on(tmp_path):
    options = whole_sets.Options(json=tmp_path / "sets.json")
    whole_sets.Rows(options).add("panda", [{"pieces": np.int64(3)}])
    assert whole_sets.Rows(options).of("panda") == [{"pieces": 3}]
    assert whole_sets.Rows(whole_sets.Options(json=options.json, seed=1)).of("panda") == []


def test_whole_sets_runs_from_end_to_end(tmp_path):
    file = tmp_path / "sets.json"
    printed = test_benchmarks._run("whole_sets.py", "--quick", "--models", str(tmp_path), "--json", str(file))
    saved = json.loads(file.read_text())
    assert set(saved["no_model"]) == {"iiwa14", "kr6"}
    assert saved["sets"][0]["recall"] == saved["sets"][0]["piece_recall"] == 1
    assert set(saved["sets"][0]["sources"]) | set(saved["sets"][0]["left_out"]) == {"frankik", "ssik", "EAIK", "starts"}
    assert all(row["p50"] > 0 for row in saved["times"])
    assert "piece recall" in printed and [path.name for path in tmp_path.iterdir()] == ["sets.json"]
    for _, table in whole_set_summary.SET_TABLES.values():
        assert table(saved)
