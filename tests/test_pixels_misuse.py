"""Files of another kind, given to the commands of `hybrid-ik pixels`: one line says what was wrong and what to do."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pixel_networks import small_config
from recordings import record

from hybrid_ik.apps import cli
from hybrid_ik.errors import DatasetError
from hybrid_ik.learning.pixels import train_pixels
from hybrid_ik.pixels.processed import save_processed
from hybrid_ik.pixels.truth import TRUTH_FILE, no_truth, read_truth
from hybrid_ik.resources import asset_path

NETWORK = asset_path("networks", "panda.safetensors")
MADE_BY = "Give a file that hybrid-ik pixels preprocess wrote"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, processed):
    """A recording, its truth, a processed recording and tracks."""
    folder = tmp_path_factory.mktemp("misuse")
    record(folder / "made", [3])
    no_truth({}, ("a", "b"), 6.0, {}, 6).save(folder / "made")
    save_processed(folder / "processed.npz", processed)
    np.savez(folder / "tracks.npz", positions=np.zeros((3, 2, 2)), confidence=np.ones((3, 2)), settings="{}")
    return folder


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("predict --network processed.npz", "not a safetensors file .*, as hybrid-ik pixels train writes them"),
        ("predict --network made/truth.npz", "not a safetensors file"),
        (f"predict --network {NETWORK}", "kind 'meanflow', not from pixels .*, as hybrid-ik pixels train writes them"),
        ("predict --network none", "none: there is no such file; train one with hybrid-ik pixels train"),
        ("predict --network made", r"made: cannot be read \(Is a directory\)"),
        ("train --data made/truth.npz", f"no dots, .* in it; it holds episode, heading, .*{MADE_BY}"),
        ("train --data tracks.npz", f"no dots, .* in it; it holds confidence, positions, settings.*{MADE_BY}"),
        (f"train --data {NETWORK}", f"not an .npz file. {MADE_BY}"),
        ("train --data none.npz", f"none.npz: there is no such file. {MADE_BY}"),
        ("train --data made", f"made: cannot be read .*{MADE_BY}"),
        ("verify-dots --data made --processed made/truth.npz", MADE_BY),
        (f"verify-dots --data made --processed {NETWORK}", MADE_BY),
        ("verify-dots --data processed.npz --processed processed.npz", "expected the folder of a LeRobot dataset"),
        ("verify-dots --data made --processed processed.npz", "no camera 'side'; cameras: front, top"),
        ("preprocess --data processed.npz --dots front 1 1", "expected the folder of a LeRobot dataset"),
        ("find-dots --data none", "there is no such folder, and it is no name on the hub"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(folder, monkeypatch, capsys, command, words):
    monkeypatch.chdir(folder)
    dots = ["--dots", "1", "2", "3", "4"] if command.startswith("predict") else []
    assert cli.main(["pixels", *command.split(), *dots]) == cli.MISUSE
    said = capsys.readouterr().err
    assert re.match(f"hybrid-ik pixels: .*{words}", said) and said.count("\n") == 1


def test_a_network_from_pixels_answers_where_another_was_refused(processed, tmp_path, capsys):
    file = train_pixels(processed, small_config(tmp_path))
    assert cli.main(["pixels", "predict", "--network", str(file.path), "--dots", "1", "2", "3", "4"]) == cli.FOUND
    assert len(capsys.readouterr().out.split()) == 5


def _spoilt(change):
    def spoil(path):
        arrays = dict(np.load(path))
        change(arrays)
        np.savez(path, **arrays)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(b"no truth"), "not an .npz file"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "damaged"),
        (_spoilt(lambda arrays: arrays.pop("q")), "no q in it; it holds heading, episode, .*Make the recording again"),
        (_spoilt(lambda arrays: arrays.update(heading=np.array("{}"))), "its heading is damaged .*Make the recording"),
        (
            _spoilt(lambda arrays: arrays.update(pixels=np.zeros((4, 1, 2, 2)))),
            r"pixels has the shape \(4, 1, 2, 2\), no",
        ),
    ],
)
def test_a_truth_that_is_damaged_is_named(folder, tmp_path, spoil, words):
    path = tmp_path / TRUTH_FILE
    path.write_bytes((folder / "made" / TRUTH_FILE).read_bytes())
    assert read_truth(tmp_path).lag == 6.0
    spoil(path)
    with pytest.raises(DatasetError, match=rf"truth.npz: .*{words}"):
        read_truth(tmp_path)
