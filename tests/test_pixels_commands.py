"""The way from a recording to joints by commands alone: every step runs, on what the one before it left."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from recordings import record

from hybrid_ik.apps import offscreen
from hybrid_ik.apps.cli import main
from hybrid_ik.apps.pixels_preprocess_command import _joined, parse_dots
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.processed import load_processed
from hybrid_ik.pixels.truth import read_truth

needs_rendering = pytest.mark.skipif(
    offscreen.working_backend() is None, reason=f"no EGL and no OSMesa here. {offscreen.REMEDY}"
)
QUICK = "--sub-frames 2 --codec h264 --seed 2"  # in which all dots are seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pixels")


def _run(words, capsys):
    status = main(shlex.split(words))
    done = capsys.readouterr()
    assert status == 0, done.err
    return done.out


@needs_rendering
def test_the_whole_way(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    _run(f"pixels record --out made --episodes 2 --seconds 1.5 {QUICK}", capsys)
    found = _run("pixels find-dots --data made --out found", capsys)
    assert list((folder / "found").glob("front_*.png")) and "score" in found
    command = found.splitlines()[-1]
    assert command.startswith("hybrid-ik pixels preprocess --data made --first-frame ")

    said = _run(command.removeprefix("hybrid-ik "), capsys)
    assert "pictures are 6 frames late, as was said" in said
    recording, truth = load_processed("runs/pixels/processed.npz"), read_truth(folder / "made")
    assert len(recording) == 2 * (45 - 6) and recording.lag == 6
    rows = 45 * recording.episode + recording.frame
    pixels = truth.pixels[rows]
    errors = [np.linalg.norm(recording.dots[:, :, order] - pixels, axis=-1) for order in ([0, 1], [1, 0])]
    assert min(np.nanmedian(error) for error in errors) < 1.0 and np.isfinite(recording.dots).mean() > 0.95

    said = _run("pixels verify-dots --data made --every 20", capsys)
    names = {path.name for path in (folder / "runs/pixels/verify").glob("*front*")}
    assert names == {"episode_000000_front.mp4", "episode_000000_front_000006.png", "episode_000000_front_000026.png"}
    assert "episode_000000_side.mp4, and 2 of its frames as pictures" in said
    _run("pixels train --epochs 3 --batch 16 --device cpu", capsys)
    answer = _run("pixels predict --dots 320 240 320 240 --gripper", capsys).split()
    assert len(answer) == 6 and float(answer[-1]) == 50.0


@needs_rendering
def test_an_episode_that_is_not_there_is_named(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    if not (folder / "runs/pixels/processed.npz").is_file():
        pytest.skip("test_the_whole_way did not come so far")
    assert main(shlex.split("pixels verify-dots --data made --episode 7")) == 2
    assert "runs/pixels/processed.npz has the episodes [0, 1]" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["every", "max-frames"])
def test_numbers_below_one_are_refused(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(f"pixels verify-dots --data made --{option} 0".split())
    assert f"--{option}: expected 1 or more, got 0" in capsys.readouterr().err


def test_an_episode_that_is_left_out_is_not_looked_into(tmp_path, monkeypatch, capsys):
    record(tmp_path / "two takes", [3, 3])
    monkeypatch.chdir(tmp_path)
    status = main(shlex.split("pixels find-dots --data 'two takes' --leave-out 0 --out found"))
    command = capsys.readouterr().out.splitlines()[-1]
    assert "preprocess --data 'two takes' --first-frame 0 --leave-out 0 --dots front " in command
    assert (status == 0) == (command.count(".") == 8)  # x and y of two dots in two cameras


def test_cameras_can_be_chosen(tmp_path, capsys):
    record(tmp_path / "made", [3])
    main(["pixels", "find-dots", "--data", str(tmp_path / "made"), "--cameras", "top"])
    said = capsys.readouterr().out
    assert "--dots top" in said and "front" not in said
    assert main(["pixels", "find-dots", "--data", str(tmp_path / "made"), "--cameras", "wrist"]) == 2
    assert "no camera 'wrist'; cameras: front, top" in capsys.readouterr().err


def test_units_that_nobody_knows_are_named_before_dots_are_followed(tmp_path, monkeypatch, capsys):
    record(tmp_path / "made", [3])
    info = tmp_path / "made/meta/info.json"
    info.write_text(info.read_text().replace('"units": "degrees"', '"unit": ""'))
    assert main(["pixels", "preprocess", "--data", str(tmp_path / "made"), *"--dots front 1 1".split()]) == 2
    assert "say degrees or normalised (--units)" in capsys.readouterr().err


def test_dots_are_read_camera_by_camera():
    words = _joined(shlex.split("--data x --dots front 1 2 3 4 --dots side 5 6 7 8 --max-frames 9"))
    assert words == shlex.split("--data x --max-frames 9 --dots front 1 2 3 4 side 5 6 7 8")
    found = parse_dots(words[words.index("--dots") + 1 :])
    assert list(found) == ["front", "side"] and found["side"].tolist() == [[5, 6], [7, 8]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["1", "2"], "name of a camera before '1'"),
        (["front"], "x and y"),
        (["front", "1", "2", "front", "3", "4"], "twice"),
        (["front", "1", "2", "3"], "x and y"),
    ],
)
def test_dots_that_make_no_sense_are_refused(words, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_dots(words)


def test_steps_are_listed_and_unknown_ones_refused(capsys):
    assert main(["pixels", "--help"]) == 0
    assert "verify-dots" in capsys.readouterr().out
    assert main(["pixels", "fly"]) == 2
    assert "no step 'fly'" in capsys.readouterr().err
