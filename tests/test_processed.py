"""Processed recordings: what is kept of the dots and joints, and files that hold something else."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from pixel_cases import smooth_recording

from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.processed import load_processed, save_processed


def test_a_processed_recording_comes_back_as_it_was(processed, tmp_path):
    save_processed(tmp_path / "a.npz", processed)
    again = load_processed(tmp_path / "a.npz")
    for name in ("dots", "joints", "gripper", "episode", "frame"):
        np.testing.assert_array_equal(getattr(again, name), getattr(processed, name))
    for name in ("joint_names", "units", "fps", "lag", "cameras", "dot_names"):
        assert getattr(again, name) == getattr(processed, name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def _spoilt(path, processed, what):
    """Writes a file that is no processed recording."""
    save_processed(path, processed)
    arrays = dict(np.load(path))
    whole = path.read_bytes()
    if what == "cut":
        return path.write_bytes(whole[: len(whole) // 2])
    if what == "pickle":
        return path.write_bytes(pickle.dumps({"dots": 1}))
    if what == "one":
        with path.open("wb") as file:
            return np.save(file, np.zeros(3))
    joints = {"objects": np.array([{}], object), "shapes": arrays["joints"][:, :4]}
    arrays["joints"] = joints.get(what, arrays["joints"])
    metadata = json.loads(str(arrays["metadata"]))
    metadata |= {"newer": {"version": 99}, "format": {"format": "x"}, "units": {"units": "turns"}}.get(what, {})
    arrays["metadata"] = np.array("{" if what == "json" else json.dumps(metadata))
    if what == "missing":
        del arrays["dots"], arrays["frame"]
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "no dots, frame in it; it holds episode, gripper"),
        ("shapes", r"joints: expected shape \(600, 5\)"),
        ("objects", "pickled objects"),
        ("pickle", r"a\.npz: not an \.npz file\. Give a file that hybrid-ik pixels preprocess wrote"),
        ("one", r"not an \.npz file"),
        ("cut", "damaged"),
        ("json", "no JSON"),
        ("newer", "newer than 1"),
        ("format", "expected format"),
        ("units", "expected one of radians, degrees, normalised, got 'turns'"),
    ],
)
def test_files_that_are_none_are_refused(processed, tmp_path, what, message):
    _spoilt(tmp_path / "a.npz", processed, what)
    with pytest.raises(DatasetError, match=message):
        load_processed(tmp_path / "a.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        DatasetError, match=r"none\.npz: there is no such file\. Give a file that hybrid-ik pixels preprocess wrote"
    ):
        load_processed(tmp_path / "none.npz")
    with pytest.raises(DatasetError, match="cannot be read \\(Is a directory\\)"):
        load_processed(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episode": np.zeros(3, int)}, r"episode: expected shape \(600,\)"),
        ({"episode": np.zeros(600)}, "episode: expected numbers of type int64"),
        ({"gripper": np.full(600, np.nan)}, "gripper: expected finite"),
        ({"fps": 0.0}, "fps"),
        ({"dot_names": ("one",)}, r"dots: expected shape \(600, 2, 1, 2\)"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(so100, change, message):
    with pytest.raises(InvalidInputError, match=message):
        smooth_recording(so100, **change)
