"""The benchmarks: their measures on cases with a known answer, and their programs from end to end with few poses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # they are programs, and import one another as such

import coverage_table  # noqa: E402
import metrics  # noqa: E402
import oracle  # noqa: E402
import problems  # noqa: E402
import readme  # noqa: E402
import record  # noqa: E402
import sampler_measures  # noqa: E402
import solution_curves  # noqa: E402

LINE = np.stack([np.arange(0, 1.01, 0.1), np.zeros(11)], -1)  # 11 points on a line, 0.1 apart
ABOVE = np.array([0, 1.0])


def _start(script, *arguments):
    environment = {**os.environ, **dict.fromkeys(record.THREAD_VARIABLES, "1")}
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def _run(script, *arguments):
    done = _start(script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_coverage_of_a_known_set():
    known = metrics.SolutionPoints(LINE, np.zeros(11, int))
    assert metrics.coverage(known, LINE[:1], radius=0.25) == pytest.approx(3 / 11)
    assert metrics.coverage(known, LINE[[0, 5]], radius=0.25) == pytest.approx(8 / 11)
    assert metrics.coverage(known, LINE, radius=0.01) == 1
    assert metrics.coverage(known, np.empty((0, 2))) == 0


def test_pieces_are_what_short_steps_join():
    points = np.concatenate([LINE, LINE + ABOVE, LINE[::-1] + 5.0])
    label = metrics.pieces(points, 0.15)
    assert len(np.unique(label)) == 3
    assert [len(np.unique(part)) for part in (label[:11], label[11:22], label[22:])] == [1, 1, 1]
    assert len(np.unique(metrics.pieces(points, 0.05))) == len(points)


def test_recall_counts_pieces_that_were_touched():
    points = np.concatenate([LINE, LINE + ABOVE])
    known = metrics.SolutionPoints(points, metrics.pieces(points, 0.15))
    assert known.n_pieces == 2
    assert metrics.piece_recall(known, LINE[3:7]) == 0.5
    assert metrics.piece_recall(known, points[[0, 21]]) == 1
    assert metrics.piece_recall(known, np.empty((0, 2))) == 0


def test_distinct_answers_differ_by_the_distance():
    assert metrics.distinct(np.array([[0.0, 0], [0.05, 0], [0.2, 0], [0.2, 0.3]]), 0.1) == 3
    assert metrics.distinct(np.zeros((5, 7))) == 1
    assert metrics.distinct(np.empty((0, 7))) == 0


def test_thinned_points_are_apart_and_leave_no_gap():
    points = np.random.default_rng(0).random((500, 3))
    kept = points[metrics.thin(points, 0.2)]
    between = metrics.distances(kept, kept) + np.eye(len(kept))
    assert between.min() >= 0.2
    assert metrics.distances(points, kept).min(-1).max() < 0.2


def test_judge_measures_and_does_not_believe(panda):
    q = np.stack([panda.home, panda.home + 1e-3 * np.eye(7)[0], np.full(7, np.nan), panda.upper + 0.1])
    target = panda.forward_kinematics(np.stack([panda.home] * 3 + [panda.upper + 0.1]))
    verdict = metrics.judge(panda, target, q)
    assert verdict.meets(metrics.EXACT).tolist() == [True, False, False, False]
    assert verdict.near(metrics.EXACT).tolist() == [True, False, False, True]
    assert verdict.orientation_error[1] == pytest.approx(1e-3, rel=1e-6)
    assert metrics.judge(panda, target, np.stack([q, q], 1)).position_error.shape == (4, 2)


def test_spread_leaves_out_what_is_not_there():
    assert metrics.spread(np.array([1.0, np.nan, 3.0, 2.0]))["median"] == 2
    assert np.isnan(metrics.spread(np.array([np.nan]))["max"])


@pytest.mark.parametrize("kind", problems.KINDS)
def test_problems_are_fixed_by_their_seed(panda, kind):
    poses = [problems.make_problems(panda, kind, 5, seed) for seed in (1, 1, 2)]
    assert all(pose.shape == (5,) and pose.valid.all() for pose in poses)
    np.testing.assert_array_equal(poses[0].position, poses[1].position)
    assert not np.array_equal(poses[0].position, poses[2].position)


@pytest.mark.parametrize("seed", [0, 1])
def test_problems_are_in_no_table_made_of_their_seed(panda, seed):
    table = np.random.default_rng(seed).uniform(panda.lower, panda.upper, (5, 7))
    posed = problems.make_problems(panda, "reachable", 5, seed).position
    assert np.abs(posed - panda.forward_kinematics(table).position).max() > 0.1


def test_near_singular_poses_are_worse_conditioned_than_others(panda):
    rng = np.random.default_rng(0)
    found = []
    spy = type("Spy", (), {"__getattr__": lambda _, name: getattr(panda, name)})()
    spy.forward_kinematics = lambda q: found.append(q) or panda.forward_kinematics(q)
    problems.near_singular(spy, 10, rng)
    smallest = [np.linalg.svd(panda.jacobian(q), compute_uv=False)[:, -1] for q in found]
    assert smallest[0].max() < 0.02


@pytest.fixture(scope="module")
def two_sets(panda):
    poses = problems.make_problems(panda, "reachable", 2, 0)
    return poses, oracle.solution_sets(panda, poses, effort=0.05)


def test_an_oracle_holds_verified_answers_of_every_piece(panda, two_sets):
    for pose, known in zip(two_sets[0], two_sets[1], strict=True):
        assert known.n_pieces >= 1
        assert metrics.judge(panda, pose, known.points).meets(metrics.EXACT).all()
        assert metrics.coverage(known, known.points) == metrics.piece_recall(known, known.points) == 1
        assert metrics.coverage_by_following(known, known.points) == 1


def test_an_oracle_agrees_with_the_closed_form(panda):
    """ssik samples the sets of the Panda by formulas: none of its answers is missing in the stored ones."""
    ssik = pytest.importorskip("ssik", reason="the closed form is ssik's")
    arm = ssik.Manipulator.from_prebuilt("franka_panda_ik")
    tool = np.linalg.inv(arm.fk(panda.home)) @ panda.forward_kinematics(panda.home).matrix()
    poses, sets, _ = coverage_table.known_sets(panda, 200, 0)
    n_answers = 0
    for pose, known in zip(poses, sets, strict=True):
        answers = np.array([found.q for found in arm.solve(pose.matrix() @ np.linalg.inv(tool))])
        assert metrics.judge(panda, pose, answers).meets(metrics.EXACT).all()
        assert metrics.distances(answers, known.points).min(-1).max() < oracle.SPACING
        n_answers += len(answers)
    assert n_answers > 2000


def test_a_curve_is_followed_to_its_limits(panda):
    q = panda.home
    curve = solution_curves.follow(panda, panda.forward_kinematics(q[None]), q[None])[0]
    judged = metrics.judge(panda, panda.forward_kinematics(q), curve.q)
    assert judged.meets(metrics.EXACT).all()
    steps = np.linalg.norm(np.diff(curve.q, axis=0), axis=-1)
    assert steps.max() < 1.5 * solution_curves.STEP
    if not curve.closed:
        room = np.minimum(curve.q - panda.lower, panda.upper - curve.q)[[0, -1]].min(-1)
        assert (room < 2 * solution_curves.SHORTEST).all()


def test_points_of_a_curve_are_even():
    corner = solution_curves.Curve(np.array([[0.0, 0], [1, 0], [1, 1]]), closed=False)
    np.testing.assert_allclose(corner.even_points(0.5), [[0.25, 0], [0.75, 0], [1, 0.25], [1, 0.75]])
    around = solution_curves.Curve(np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), closed=True)
    assert len(around.even_points(0.5)) == 8
    assert len(solution_curves.Curve(np.zeros((1, 2)), closed=False).even_points(0.5)) == 1


def test_answers_on_a_curve_are_known():
    line = solution_curves.Curve(LINE, closed=False)
    answers = np.array([[0.5, 0.01], [0.5, 0.1], [-0.1, 0]])
    assert solution_curves.unknown([line], answers, 0.02).tolist() == [False, True, True]
    assert solution_curves.unknown([], answers, 0.02).all()


def test_stored_sets_come_back(tmp_path, two_sets):
    oracle.save_sets(tmp_path / "sets.npz", *two_sets, {"seed": 3})
    poses, sets, about = oracle.load_sets(tmp_path / "sets.npz")
    assert about == {"seed": 3} and len(poses) == 2
    for before, after in zip(two_sets[1], sets, strict=True):
        np.testing.assert_allclose(after.points, before.points, atol=1e-6)
        np.testing.assert_array_equal(after.piece, before.piece)


def test_the_stored_sets_are_those_of_the_shipped_panda(panda):
    poses, sets, about = coverage_table.known_sets(panda, 3, 0)
    assert about["file"] == oracle.STORED.name
    for pose, known in zip(poses, sets, strict=True):
        assert metrics.judge(panda, pose, known.points).near(metrics.EXACT).all()


def test_mmd_is_zero_for_the_same_and_grows():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 500, 7))
    assert metrics.squared_mmd(a, a) == pytest.approx(0, abs=1e-12)
    assert 0 < metrics.squared_mmd(a, b) < metrics.squared_mmd(a, b + 1)


def test_time_to_a_goal_lies_between_numbers_of_starts():
    entry = lambda value, ms: {"coverage": value, "propose_ms_per_pose": 0.0, "refine_ms_per_pose": ms}  # noqa: E731
    starts = {8: entry(0.2, 1.0), 16: entry(0.6, 4.0)}
    assert sampler_measures._time_to(starts, "coverage", 0.4) == pytest.approx(2.0)
    assert sampler_measures._time_to(starts, "coverage", 0.1) == 1.0
    assert sampler_measures._time_to(starts, "coverage", 0.9) is None


def test_a_folded_arm_touches_itself(panda):
    folded = np.array([0, 1.7, 0, -3.0, 0, 0.0, 0.8])
    assert metrics.touching(panda, np.stack([panda.home, folded])).tolist() == [False, True]


def test_starts_on_the_answer_are_close_after_any_number_of_steps(panda):
    q = problems.uniform_joints(panda, 3, np.random.default_rng(0))
    shares = metrics.single_start_success(panda, panda.forward_kinematics(q), q[:, None], (0, 2))
    assert shares == {0: 1.0, 2: 1.0}
    assert metrics.raw_measures(panda, panda.forward_kinematics(q), q[:, None])["share_in_basin"] == 1


def test_saved_files_are_whole_and_hold_no_infinities(tmp_path):
    path = tmp_path / "deep" / "results.json"
    record.write_json(path, {"a": np.float64(np.nan), "b": [np.inf, np.arange(2)], 3: None})
    assert json.loads(path.read_text()) == {"a": None, "b": [None, [0, 1]], "3": None}
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    assert {"machine", "versions", "commit", "command", "date"} <= set(record.record())


def test_pictures_go_where_the_pages_show_them_or_beside_results_kept_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(BENCHMARKS.parent)
    for path in (record.RESULTS / "growth.json", Path("benchmarks/results/growth.json")):
        assert record.picture_of(path) == BENCHMARKS.parent / "docs" / "images" / "growth.png"
    assert record.picture_of(tmp_path / "growth.json") == tmp_path / "growth.png"


def test_compare_runs_from_end_to_end(tmp_path):
    file = tmp_path / "compare.json"
    printed = _run("compare.py", "--quick", "--rows", "hybrid,uniform_lm,scipy", "--coverage", "--json", str(file))
    saved = json.loads(file.read_text())
    assert [row["name"] for row in saved["rows"]] == ["hybrid", "uniform_lm", "scipy"]
    assert all(row["one"]["success"] == 1 for row in saved["rows"])
    assert all(row["many"]["distinct_mean"] > 1 for row in saved["rows"])
    assert {"random", "lookup", "perfect"} <= {row["name"] for row in saved["coverage"]["rows"]}
    assert "One answer" in printed and "piece recall" in printed
    assert file.with_suffix(".png").is_file()


def test_compare_names_the_rows_there_are(tmp_path):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "compare.py"), "--rows", "magic", "--json", str(tmp_path / "x.json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "magic" in done.stderr and "uniform_lm" in done.stderr


def test_latency_runs_from_end_to_end(tmp_path):
    file = tmp_path / "latency.json"
    printed = _run("latency.py", "--quick", "--json", str(file))
    lines = {line["measure"]: line for line in json.loads(file.read_text())["measures"]}
    assert lines["its success at 1e-6 m, 1e-6 rad"]["met"] == "yes"
    assert lines["torch loaded by making a solver (1 = yes)"]["met"] == "yes"
    assert "import hybrid_ik" in lines and "goal" in printed


@pytest.mark.parametrize("document", readme.DOCUMENTS, ids=lambda path: path.name)
def test_the_tables_of_the_documents_are_those_of_the_results(document):
    """`python benchmarks/readme.py` writes them."""
    text = document.read_text()
    assert readme.filled(document) == text
    for name in readme.DOCUMENTS[document]:
        table = text.split(f"<!-- {name} -->")[1].split(f"<!-- end of {name} -->")[0]
        assert table.count("\n|") > 2
