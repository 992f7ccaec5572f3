"""The benchmark of the settings in which starts matter most."""

from __future__ import annotations

import json

import numpy as np
import pytest
import test_benchmarks

from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.robot import Robot

# test_benchmarks puts the folder of the programs on the path
import hard_settings  # isort: skip
import metrics  # isort: skip
import problems  # isort: skip


def test_folded_joints_touch_and_stretched_ones_do_not(panda):
    folded = panda.home.copy()
    folded[[3, 5]] = panda.lower[3], 0.0
    q = np.stack([panda.home, folded])
    assert hard_settings.touching(panda, q).tolist() == [False, True]


def test_the_narrow_panda_is_the_panda_with_less_of_three_joints(panda):
    narrow = Robot(hard_settings.narrow_panda())
    less = (narrow.lower > panda.lower + 1e-9) | (narrow.upper < panda.upper - 1e-9)
    assert narrow.name == hard_settings.NARROW and less.sum() == len(hard_settings.KEPT) == 3
    assert (narrow.lower >= panda.lower).all() and (narrow.upper <= panda.upper).all()
    np.testing.assert_allclose(narrow.home, (narrow.lower + narrow.upper) / 2, atol=1e-12)
    q = problems.uniform_joints(narrow, 5, np.random.default_rng(0))
    np.testing.assert_allclose(narrow.forward_kinematics(q).position, panda.forward_kinematics(q).position)
    assert not narrow.chain.matches(panda.chain)


def test_the_written_model_is_the_same_arm_with_the_same_shapes(tmp_path):
    written, narrow = Robot(hard_settings.write_models(tmp_path)), Robot(hard_settings.narrow_panda())
    assert written.name == narrow.name and written.chain.matches(narrow.chain)
    assert written.drawable_model().nexclude == narrow.drawable_model().nexclude > 0
    np.testing.assert_allclose(written.drawable_model().geom_size, narrow.drawable_model().geom_size, atol=1e-5)


def test_known_answers_are_apart_and_leave_out_none_that_was_found(panda):
    poses = problems.make_problems(panda, "reachable", 2, seed=0)
    q0 = problems.uniform_joints(panda, 256, np.random.default_rng(0)).reshape(2, 128, 7)
    found = hard_settings._usable(panda, poses, LaneRefiner(panda.chain).refine(poses, q0).q, free=False)
    known = hard_settings.known_answers(panda, poses, [found], False, hard_settings.Options(known_starts=64))
    for every, answers in zip(known, found, strict=True):
        between = metrics.distances(every.points, every.points) + np.eye(every.n_pieces)
        assert between.min() >= hard_settings.APART > metrics.distances(answers, every.points).min(-1).max()
        assert 0 < metrics.piece_recall(every, answers, hard_settings.APART) <= 1


def test_times_to_counts_stand_beside_those_of_random_starts():
    row = lambda starts, distinct, us: {"starts": starts, "distinct": distinct, "us_per_pose": us}  # noqa: E731
    rows = [row("random", 2.0, 1.0), row("random", 6.0, 4.0), row("network", 3.0, 4.0), row("network", 9.0, 9.0)]
    random, network = hard_settings.times_to(rows, (4, 6, 9))
    assert random["us_to"] == {4: pytest.approx(2), 6: 4, 9: None}
    assert network["us_to"] == {4: pytest.approx(4 * 2.25 ** (1 / 6)), 6: pytest.approx(6), 9: pytest.approx(9)}
    assert network["over_random"] == {4: pytest.approx(2 * 2.25 ** (1 / 6)), 6: pytest.approx(1.5), 9: None}


def test_the_program_writes_the_model_and_measures_nothing(tmp_path):
    text = test_benchmarks._run("hard_settings.py", "--write-models", str(tmp_path / "new"))
    assert text.split()[-1] == str(tmp_path / "new" / "panda_narrow.xml") and Robot(text.split()[-1]).dof == 7


def test_the_program_measures_every_setting(tmp_path):
    few = ("--poses", "3", "--starts", "4", "16", "--goals", "2", "8", "--known-poses", "2", "--known-starts", "64")
    text = test_benchmarks._run("hard_settings.py", *few, "--json", str(tmp_path / "out.json"))
    result = json.loads((tmp_path / "out.json").read_text())
    assert list(result["settings"]) == list(result["times"]) == list(hard_settings.SETTINGS)
    assert "9 joints, no contact" in text and max(map(len, text.splitlines()[:-1])) <= 80
    for rows in result["settings"].values():
        assert {row["starts"] for row in rows} >= {"random", "lookup"}
        for row in rows:
            assert 0 <= row["usable"] <= 1 and row["distinct"] <= row["n"] and row["us_per_pose"] > 0
            assert 0 < row["known_share"] <= 1 and row["known"] > 1
    free, all_of_them = (result["settings"][name] for name in ("panda, no contact", "panda"))
    assert sum(row["usable"] for row in free) <= sum(row["usable"] for row in all_of_them)
