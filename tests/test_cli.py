"""The command `hybrid-ik`: what it prints, how it ends, what it says of bad input, and what it does not load."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest
from models import ARMS

from hybrid_ik.apps import offscreen
from hybrid_ik.apps.cli import COMMANDS, main
from hybrid_ik.apps.tables import answers_table, metres, seconds, text_table
from hybrid_ik.resources import asset_path, shipped_robots
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

ROOT = Path(__file__).resolve().parents[1]
TARGET = ["--position", "0.45", "0.15", "0.45", "--quaternion", "0", "1", "0", "0"]
FAR = ["--position", "5", "0", "-1e-1", "--quaternion", "1", "0", "0", "0"]


def _status(*words):
    """The exit status, also where the parser of options ends the program."""
    try:
        return main(list(words))
    except SystemExit as end:
        return end.code


def _solved(capsys, *words):
    assert main(["solve", "--json", *words]) in (0, 1)
    return json.loads(capsys.readouterr().out)


def test_solve_prints_a_table_of_answers(capsys):
    assert main(["solve", *TARGET, "-n", "4"]) == 0
    out = capsys.readouterr().out
    header = next(line for line in out.splitlines() if "joint1" in line)
    assert "position error" in header and "orientation error" in header and "LM steps" in header
    assert "joints in degrees" in out and "4 answers in" in out
    assert [line.split()[0] for line in out.splitlines() if line.strip()[:1].isdigit()] == ["1", "2", "3", "4", "4"]


def test_json_is_all_there_is_on_stdout_and_the_joints_reach_the_target(capsys, panda):
    solved = _solved(capsys, *TARGET, "-n", "3")
    assert solved["found"] == solved["asked"] == len(solved["answers"]) == 3
    reached = panda.forward_kinematics([answer["q"] for answer in solved["answers"]])
    assert np.allclose(reached.position, [0.45, 0.15, 0.45], atol=1e-6)
    assert all(answer["success"] and answer["status"] == "CONVERGED" for answer in solved["answers"])


def test_the_same_seed_gives_the_same_answers(capsys):
    runs = [_solved(capsys, *TARGET, "-n", "3", "--sampler", "uniform", "--seed", seed) for seed in ("1", "1", "2")]
    first, again, other = ([answer["q"] for answer in run["answers"]] for run in runs)
    assert first == again and first != other


def test_near_gives_the_answer_nearest_to_the_joints(capsys, panda):
    home = [str(x) for x in panda.home]
    near = _solved(capsys, *TARGET, "--near", *home)["answers"][0]["q"]
    plain = _solved(capsys, *TARGET)["answers"][0]["q"]
    assert np.linalg.norm(near - panda.home) <= np.linalg.norm(plain - panda.home) + 1e-9


def test_options_of_the_refiner_come_from_its_dataclass(capsys):
    solved = _solved(capsys, *TARGET, "--lm.position-tolerance", "1e-9", "--lm.orientation-tolerance", "1e-9")
    assert solved["answers"][0]["position_error"] < 1e-9


def test_an_unreachable_pose_ends_with_1_and_shows_the_closest_joints(capsys):
    assert main(["solve", *FAR, "-n", "4"]) == 1
    out = capsys.readouterr().out
    assert "no answer; these joints come closest" in out
    assert "Not reachable: 4." in out and "farther from the first joint than links and tool together span" in out
    solved = _solved(capsys, *FAR, "-n", "4")
    assert solved["found"] == 0 and len(solved["answers"]) == 1 and not solved["answers"][0]["success"]
    assert solved["diagnosis"]["verdict"] == "beyond reach" and solved["diagnosis"]["text"] in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["solve", "--position", "1", "2", "3", "--quaternion", "0", "0", "0", "0"], "unit quaternion"),
        (["solve", *TARGET, "--robot", "nobody"], "no robot 'nobody'.*panda"),
        (["solve", *TARGET, "--tip", "nose"], "'nose'.*hand_tcp"),
        (["solve", *TARGET, "-n", "0"], "n_solutions"),
        (["solve", *TARGET, "--near", "0", "0"], "near.*7"),
        (["solve", *TARGET, "--sampler", "nothing"], "--sampler.*meanflow.*'nothing'"),
        (["solve", *TARGET, "--lm.damping", "-1"], "damping"),
        (["info", "nowhere.safetensors"], "no such file"),
        (["robots", "nobody"], "no robot 'nobody'"),
        (["dance"], "no command 'dance'.*solve"),
    ],
)
def test_misuse_ends_with_2_and_a_message_without_traceback(capsys, words, message):
    assert _status(*words) == 2
    captured = capsys.readouterr()
    text = " ".join((captured.out + captured.err).split())
    assert re.search(message, text), text
    assert "Traceback" not in text


@pytest.mark.parametrize("words", [["solve"], ["solve", "--position", "1", "2"], ["solve", *TARGET, "-n", "many"], []])
def test_what_cannot_be_parsed_ends_with_2(capsys, words):
    assert _status(*words) == 2


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)], ids=lambda words: " ".join(words) or "top")
def test_help_ends_with_0(capsys, words):
    assert _status(*words, "--help") == 0
    assert "hybrid-ik" in capsys.readouterr().out


def test_robots_lists_what_is_shipped(capsys):
    assert main(["robots"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}: " in out for name in shipped_robots())
    assert "joint7" in out and "166.00" in out and "hand_tcp" in out and "networks: panda" in out


def test_info_tells_versions_and_the_record_of_a_network(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "mujoco" in out and "kernels are kept in" in out and "rendering" in out
    assert main(["info", str(asset_path("networks", "panda.safetensors"))]) == 0
    out = capsys.readouterr().out
    assert "sha256 verified" in out and '"steps"' in out and "joint7" in out


def test_a_network_file_serves_as_sampler(capsys):
    network = str(asset_path("networks", "panda.safetensors"))
    assert _solved(capsys, *TARGET, "-n", "2", "--sampler", network)["found"] == 2


def test_png_is_written_or_the_missing_package_named(capsys, tmp_path, monkeypatch):
    def nothing(*arguments):
        raise ImportError("no library")

    monkeypatch.setattr(offscreen, "_open", nothing)
    assert main(["solve", *TARGET, "--png", str(tmp_path / "a.png")]) == 0
    captured = capsys.readouterr()
    assert "1 answer in" in captured.out and "libosmesa6" in captured.err and not (tmp_path / "a.png").exists()
    monkeypatch.undo()
    if offscreen.working_backend() is not None:
        assert main(["solve", *TARGET, "-n", "2", "--json", "--png", str(tmp_path / "a.png")]) == 0
        json.loads(capsys.readouterr().out)
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_solve_loads_no_torch_and_the_first_help_is_quick():
    code = (
        "import sys; from hybrid_ik.apps.cli import main; status = main(sys.argv[1:]); "
        "print([n for n in ('torch', 'matplotlib', 'dm_control', 'robot_descriptions') if n in sys.modules], status)"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    words = [sys.executable, "-c", code, "solve", *TARGET, "-n", "2"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0" and not done.stderr
    code = "import sys; from hybrid_ik.apps.cli import main; main(['--help']); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # by torch.func.jvp itself
def test_train_writes_a_network_that_info_and_solve_read_and_continues(capsys, tmp_path):
    small = ["--batch-poses", "8", "--noises-per-pose", "2", "--network.width", "8", "--network.trunk-width", "8"]
    words = [
        "train",
        "--out",
        str(tmp_path),
        "--steps",
        "3",
        "--matching.steps",
        "0",
        "--device",
        "cpu",
        "--no-tensorboard",
        *small,
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "step 3 of 3" in out and "position median" in out
    network = str(tmp_path / "network.safetensors")
    assert main(["info", network]) == 0 and main(["solve", *TARGET, "--sampler", network]) == 0
    capsys.readouterr()
    assert main(words) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0


def test_tables_align_their_columns_and_show_slides_in_millimetres():
    assert text_table(["a", "long"], [["12", "3"]]).splitlines() == [" a  long", "--  ----", "12     3"]
    robot = Robot(mujoco.MjSpec.from_string(ARMS["slides"]))
    result = HybridSolver(robot).solve(robot.forward_kinematics([0.5, 0.25, 1.0]))
    header, _, row = answers_table(robot, result).splitlines()
    assert "x [mm]" in header and "j0" in header and "status" not in header
    assert row.split()[1:3] == ["500.00", "250.00"]


def test_lengths_and_times_get_a_unit_that_suits_them():
    assert [metres(x) for x in (3.2e-10, 0.0123)] == ["3.2e-10 m", "12.30 mm"]
    assert [seconds(x) for x in (43e-6, 1.2e-3, 2.31)] == ["43 us", "1.20 ms", "2.31 s"]
