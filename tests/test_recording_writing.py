"""Recordings are written in LeRobot's format, go on after an interruption, and refuse what does not belong in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from recording_files import DATA, EPISODES, FRONT, check_whole
from recordings import CAMERAS, LENGTHS, add_frames, joints, picture, record, writer

from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.recordings.dataset import open_dataset
from hybrid_ik.pixels.recordings.statistics import merge, summarise
from hybrid_ik.pixels.recordings.video_writer import join_videos


def test_the_files_are_those_of_the_format(pristine):
    info = json.loads((pristine / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["splits"] == {"train": "0:4"}
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, sum(LENGTHS), 2)
    data = pq.read_table(pristine / DATA)
    assert set(data.column_names) == {key for key, value in info["features"].items() if value["dtype"] != "video"}
    assert data.schema.field("observation.state").type == pa.list_(pa.float32(), 6)
    assert data.schema.field("timestamp").type == pa.float32()
    assert data["index"].to_pylist() == list(range(sum(LENGTHS)))
    assert pq.ParquetFile(pristine / DATA).num_row_groups == len(LENGTHS)
    tasks = pq.read_table(pristine / "meta/tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0, 1], "task": ["task 0", "task 1"]}
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    rows = pq.read_table(pristine / EPISODES).to_pylist()
    for key in ("observation.images.front", "observation.images.top"):
        ends = [row[f"videos/{key}/to_timestamp"] for row in rows]
        assert_allclose(ends, np.cumsum(LENGTHS) / 10)
        assert_allclose([row[f"videos/{key}/from_timestamp"] for row in rows], [0.0, *ends[:-1]])


def test_statistics_are_those_of_all_frames(pristine):
    found = json.loads((pristine / "meta/stats.json").read_text())
    expected = np.concatenate([joints(index, n) for index, n in enumerate(LENGTHS)])
    assert_allclose(found["observation.state"]["mean"], expected.mean(0), rtol=1e-5)
    assert_allclose(found["observation.state"]["std"], expected.std(0), rtol=1e-5)
    assert_allclose(found["observation.state"]["max"], expected.max(0))
    assert found["observation.state"]["count"] == [sum(LENGTHS)]
    front = found["observation.images.front"]
    assert np.shape(front["mean"]) == (3, 1, 1) and 0 <= np.min(front["min"]) < np.max(front["max"]) <= 1


@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=9), min_size=1, max_size=5))
def test_merged_statistics_are_those_of_the_whole(parts):
    whole, merged = summarise(np.concatenate(parts)), merge([summarise(part) for part in parts])
    assert whole["count"] == merged["count"]
    for key in ("min", "max", "mean", "std"):
        assert_allclose(merged[key], whole[key], atol=1e-5)


def test_episodes_go_to_new_files_once_a_file_is_full(tmp_path):
    record(tmp_path, LENGTHS, max_file_mb=1e-5)
    assert len(list(tmp_path.glob("videos/observation.images.top/chunk-000/file-*.mp4"))) == len(LENGTHS)
    assert len(list(tmp_path.glob("data/chunk-000/file-*.parquet"))) == len(LENGTHS)
    check_whole(tmp_path)


def test_an_exception_drops_the_episode_and_the_next_one_takes_its_place(tmp_path):
    made = record(tmp_path, LENGTHS[:2])
    with pytest.raises(KeyboardInterrupt), made.episode("task 0") as recorder:
        add_frames(recorder, 2, 5)
        raise KeyboardInterrupt
    assert made.n_episodes == 2 and not list(tmp_path.rglob(".*"))
    check_whole(tmp_path, LENGTHS[:2])
    record(tmp_path, LENGTHS)
    check_whole(tmp_path)


def test_a_recording_that_was_killed_goes_on(tmp_path):
    code = (
        "import os; from recordings import *; made = record(ROOT, (12, 1));\n"
        "with made.episode('task 0') as recorder: add_frames(recorder, 2, 9); os._exit(9)"
    ).replace("ROOT", repr(str(tmp_path)))
    path = os.pathsep.join(["tests", *sys.path])
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}).returncode == 9
    assert list(tmp_path.rglob("*.unfinished.mp4"))
    check_whole(tmp_path, LENGTHS[:2])
    made = record(tmp_path, LENGTHS)
    assert made.n_episodes == len(LENGTHS) and not list(tmp_path.rglob("*.unfinished.mp4"))
    check_whole(tmp_path)


@pytest.mark.parametrize("step", ["_store_table", "_store_video", "_write_metadata"])
def test_a_crash_while_an_episode_is_stored_loses_that_episode_alone(tmp_path, monkeypatch, step):
    made = record(tmp_path, LENGTHS[:2])
    plain = getattr(made, step)

    def crash(*args):
        if step != "_write_metadata":
            plain(*args)
        raise OSError("no space left")

    monkeypatch.setattr(made, step, crash)
    with pytest.raises(OSError, match="no space"), made.episode("task 0") as recorder:
        add_frames(recorder, 3, 9)  # other pictures than the episode that will take its place
    check_whole(tmp_path, LENGTHS[:2])
    record(tmp_path, LENGTHS)
    check_whole(tmp_path)


def test_a_recording_goes_on_at_the_first_episode_that_is_not_whole(root, pristine, caplog, monkeypatch):
    join_videos(root / "short.mp4", [(root / FRONT, 20)], 10)
    os.replace(root / "short.mp4", root / FRONT)
    made = writer(root, codec=pristine.name)
    assert made.n_episodes == 2
    assert "goes on at episode 2, which is not whole" in caplog.text and "frame 7 of 25" in caplog.text
    assert len(open_dataset(root).episodes) == len(LENGTHS)  # nothing is lost by opening it
    monkeypatch.setattr(made, "_store_video", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), made.episode("task 0") as recorder:
        add_frames(recorder, 2, 5)
    check_whole(root, LENGTHS[:2])
    record(root, LENGTHS[:3], codec=pristine.name)
    check_whole(root, LENGTHS[:3])
    record(root, LENGTHS, codec=pristine.name)
    check_whole(root)


def test_a_recording_without_an_episode_can_be_gone_on_with(tmp_path):
    writer(tmp_path)
    with pytest.raises(DatasetError, match="lists 0 episodes"):
        open_dataset(tmp_path)
    record(tmp_path, LENGTHS[:1])
    check_whole(tmp_path, LENGTHS[:1])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"fps": 30}, "fps is 10, and 30 was given"),
        ({"units": "normalised"}, "the feature 'action'"),
        ({"cameras": {"front": (64, 96)}}, r"the feature 'observation.images.top' is .* and None was given"),
    ],
)
def test_other_settings_than_those_of_the_recording_are_refused(root, pristine, other, words):
    with pytest.raises(DatasetError, match=words):
        writer(root, **{"codec": pristine.name, **other})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fps": 29.97}, "fps: expected a whole number"),
        ({"units": "radians"}, "units: expected one of degrees, normalised"),
        ({"codec": "vp9"}, "codec: expected one of av1, h264"),
        ({"cameras": {"front": (63, 96)}}, r"cameras\['front'\]: expected \(height, width\), even"),
        ({"cameras": {"a/b": (64, 96)}}, "without '/'"),
        ({"joint_names": ("a", "a")}, "joint_names: expected different names"),
        ({"max_file_mb": 0}, "max_file_mb"),
    ],
)
def test_bad_settings_are_refused(tmp_path, wrong, words):
    with pytest.raises(InvalidInputError, match=words):
        writer(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("values", "pictures", "words"),
    [
        (np.zeros(5), {}, "episode 0, frame 1: joints: expected 6 finite numbers"),
        (np.full(6, np.nan), {}, "joints: expected 6 finite numbers"),
        (np.zeros(6), {"top": None}, r"expected pictures of \['front', 'top'\], got \['front'\]"),
        (np.zeros(6), {"top": np.zeros((64, 96, 3), np.uint8)}, r"camera 'top': expected .*\(96, 64, 3\)"),
        (np.zeros(6), {"top": np.zeros((96, 64, 3))}, "uint8, got .* float64"),
    ],
)
def test_bad_frames_are_refused_and_leave_no_trace(tmp_path, values, pictures, words):
    good = {name: picture(name, 0, 0) for name in CAMERAS}
    given_pictures = {name: image for name, image in {**good, **pictures}.items() if image is not None}
    made = writer(tmp_path)
    with made.episode("task 0") as recorder:
        recorder.add(joints(0, 2)[0], good, joints(0, 2)[0] + 1)
        with pytest.raises(InvalidInputError, match=words):
            recorder.add(values, given_pictures)
        second = {name: picture(name, 0, 1) for name in CAMERAS}
        recorder.add(joints(0, 2)[1], second, joints(0, 2)[1] + 1)
    check_whole(tmp_path, [2])


def test_an_episode_is_not_empty_and_alone(tmp_path):
    made = writer(tmp_path)
    with pytest.raises(InvalidInputError, match="episode 0: it has no frames"), made.episode("nothing"):
        pass
    with pytest.raises(InvalidInputError, match="episode 0 is still being recorded"), made.episode("one"):
        with made.episode("two"):
            pass
    assert made.n_episodes == 0


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(DatasetError, match=r"holds thesis.tex, and no recording"):
        writer(tmp_path)
