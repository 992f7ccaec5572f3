"""`hybrid-ik solve`: whole sets, preferences, films and plots, and which of these go together."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from conftest import MODELS

from hybrid_ik.apps import motion, offscreen, rendering
from hybrid_ik.apps.cli import main
from hybrid_ik.pose import Pose
from hybrid_ik.solver import HybridSolver

TARGET = ["--position", "0.45", "0.15", "0.45", "--quaternion", "0", "1", "0", "0"]
FAR = ["--position", "5", "0", "0", "--quaternion", "1", "0", "0", "0"]
needs_rendering = pytest.mark.skipif(
    offscreen.working_backend() is None, reason=f"no EGL and no OSMesa here. {offscreen.REMEDY}"
)


@pytest.fixture
def small(monkeypatch):
    """Films of few and small frames."""
    render_motion = rendering.render_motion
    monkeypatch.setattr(motion, "FRAMES", (6, 6))
    monkeypatch.setattr(
        rendering, "render_motion", lambda *given, **more: render_motion(*given, **more, width=48, height=36)
    )


def _solve(capsys, *words):
    """Exit status, standard output and standard error."""
    status = main(["solve", *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_all_prints_each_piece_as_a_row(capsys, panda):
    status, out, _ = _solve(capsys, *TARGET, "--all")
    answers = HybridSolver(panda).solve_all(Pose([0.45, 0.15, 0.45], [0, 1, 0, 0]))
    rows = [line for line in out.splitlines() if re.match(r" *\d+ +arc", line)]
    assert status == 0 and len(rows) == len(answers) > 1
    for row, piece in zip(rows, answers, strict=True):
        assert f"{piece.length:.3f}" in row and str(piece.ends[0]) in row and row.endswith(str(len(piece)))
    assert f"{len(answers)} pieces, {answers.length:.2f} rad long in all" in out and "chance that one is missing" in out


def test_all_as_json_holds_every_point(capsys, panda):
    status, out, _ = _solve(capsys, *TARGET, "--all", "--json")
    solved = json.loads(out)
    assert status == 0 and solved["found"] == len(solved["pieces"]) and solved["diagnosis"] is None
    for piece in solved["pieces"]:
        assert piece["kind"] == "arc" and len(piece["q"]) == piece["points"] and piece["position_error"] < 1e-6
        assert all(end["joint"] in panda.joint_names and end["side"] in ("lower", "upper") for end in piece["ends"])
        assert np.allclose(panda.forward_kinematics(piece["q"]).position, [0.45, 0.15, 0.45], atol=1e-6)


def test_all_of_an_arm_without_a_spare_joint_is_a_table_of_joints(capsys):
    path = MODELS / "kuka_kr6r900sixx" / "kr6r900sixx.urdf"
    if not path.is_file():
        pytest.skip(f"no model {path}; set HYBRID_IK_ROBOTS to a folder that has it")
    words = ["--robot", str(path), "--position", "0.5", "0.1", "0.6", "--quaternion", "0", "1", "0", "0", "--all"]
    status, out, err = _solve(capsys, *words, "--gif", "never.gif")
    assert status == 0 and "joints in degrees" in out and "joint_a6" in out and "kind" not in out
    assert "no never.gif: kr6r900sixx has no joint to spare" in err


def test_all_of_two_spare_joints_are_covers_of_which_the_largest_are_listed(capsys):
    status, out, _ = _solve(capsys, "--robot", "panda_rail", *TARGET, "--all")
    assert status == 0 and " cover " in out and re.search(r"\.\.\. and \d+ more", out)
    assert "share of the answers that the points do not cover" in out


def test_an_empty_set_ends_with_1_and_says_why(capsys):
    status, out, err = _solve(capsys, *FAR, "--all", "--gif", "never.gif")
    assert status == 1 and "no answer" in out and "Not reachable" in out
    assert "no never.gif: there is no answer that the arm could move from" in err
    status, out, _ = _solve(capsys, *FAR, "--all", "--json")
    assert status == 1 and json.loads(out)["diagnosis"]["verdict"] == "beyond reach"


@pytest.mark.parametrize("prefer", ["limits", "manipulability"])
def test_prefer_gives_the_best_of_all_answers(capsys, panda, prefer):
    status, out, _ = _solve(capsys, *TARGET, "--prefer", prefer, "--json")
    best = HybridSolver(panda).solve(Pose([0.45, 0.15, 0.45], [0, 1, 0, 0]), prefer=prefer)
    assert status == 0 and np.allclose(json.loads(out)["answers"][0]["q"], best.q, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--all", "-n", "4"], "--all gives every answer there is: it does not go with -n"),
        (["--all", "--near", *"0000000", "--n-seeds", "9"], "--all .* does not go with --near, --n-seeds"),
        (["--all", "--prefer", "limits"], "--all .* does not go with --prefer"),
        (["--prefer", "limits", "-n", "4"], "--prefer gives the best one of all answers: it does not go with -n"),
        (["--prefer", "limits", "--near", *"0000000"], "--prefer .* does not go with --near"),
    ],
    ids=" ".join,
)
def test_what_does_not_go_together_is_named(capsys, words, message):
    status, out, err = _solve(capsys, *TARGET, *words)
    assert status == 2 and not out and re.search(message, err)


@needs_rendering
@pytest.mark.parametrize("more", [[], ["-n", "3"], ["--all"], ["--prefer", "limits"]], ids=" ".join)
def test_a_film_is_written(capsys, tmp_path, small, more):
    from PIL import Image

    status, out, err = _solve(capsys, *TARGET, *more, "--json", "--gif", str(tmp_path / "a.gif"))
    assert status == 0 and json.loads(out)["found"] and "wrote" in err
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (48, 36) and 3 <= film.n_frames <= 6


def test_a_plot_is_written_of_answers_and_of_the_set(capsys, tmp_path):
    for more, name in ((["-n", "2"], "a.png"), (["--all"], "b.svg")):
        status, _, err = _solve(capsys, *TARGET, *more, "--plot", str(tmp_path / name))
        assert status == 0 and f"wrote {tmp_path / name}" in err
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "b.svg").read_bytes()[:1000]


def test_pictures_that_cannot_be_had_leave_the_status_of_the_solve(capsys, tmp_path, monkeypatch):
    def nothing(*arguments):
        raise ImportError("no library")

    monkeypatch.setattr(offscreen, "_open", nothing)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    gif, plot = str(tmp_path / "a.gif"), str(tmp_path / "a.png")
    status, out, err = _solve(capsys, *TARGET, "--gif", gif, "--plot", plot)
    assert status == 0 and "1 answer in" in out and not list(tmp_path.iterdir())
    assert "libosmesa6" in err and "pip install hybrid-ik[viewer]" in err
    status, _, err = _solve(capsys, *FAR, "--gif", gif)
    assert status == 1 and f"no {gif}: there is no answer" in err


def test_a_plot_in_a_format_that_there_is_not_is_refused_with_those_that_there_are(capsys, tmp_path):
    status, out, err = _solve(capsys, *TARGET, "--plot", str(tmp_path / "a.doc"))
    assert status == 0 and "1 answer in" in out and "'doc'" in err and "png" in err
