"""Recordings with cameras: what is written is read, every picture is the right one, and every defect is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import av
import mujoco
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import FIVE_JOINTS, GANTRY
from numpy.testing import assert_allclose, assert_array_equal
from recordings import CAMERAS, add_frames, joints, label, picture, record, writer

from hybrid_ik.errors import DatasetError, InvalidInputError, MissingPackageError
from hybrid_ik.pixels.recordings import video_reader
from hybrid_ik.pixels.recordings.dataset import open_dataset
from hybrid_ik.pixels.recordings.statistics import merge, summarise
from hybrid_ik.pixels.recordings.units import from_radians, to_radians
from hybrid_ik.pixels.recordings.video_writer import join_videos
from hybrid_ik.pixels.recordings.writer import SO100_JOINTS, DatasetWriter
from hybrid_ik.robot import Robot

LENGTHS = 12, 1, 25, 11
DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
FRONT = "videos/observation.images.front/chunk-000/file-000.mp4"


@pytest.fixture(scope="module", params=["av1", "h264"])
def pristine(request, tmp_path_factory):
    """A folder with a recording of four episodes, all in one file a camera."""
    root = tmp_path_factory.mktemp("recordings") / request.param
    record(root, LENGTHS, codec=request.param)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    """A copy of it that a test may damage."""
    return shutil.copytree(pristine, tmp_path / "copy")


def check_whole(root, lengths=LENGTHS):
    """Everything in a recording is what `record` put in."""
    dataset = open_dataset(root)
    dataset.verify()
    assert [episode.length for episode in dataset.episodes] == list(lengths)
    for episode in dataset.episodes:
        expected = joints(episode.index, episode.length)
        assert_array_equal(episode.joints, expected)
        assert_array_equal(episode.actions, expected + 1)
        assert_allclose(episode.timestamps, np.arange(episode.length) / 10, rtol=1e-6)
        for number, camera in enumerate(CAMERAS):
            found = [label(image) for image in episode.frames(camera)]
            assert found == [(number, episode.index, frame) for frame in range(episode.length)]


def change_info(root, change):
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def change_table(path, change):
    """Rewrite a parquet file; `change` gets its columns as lists."""
    columns = pq.read_table(path).to_pydict()
    change(columns)
    pq.write_table(pa.table(columns), path)


def overwrite(path, frame, with_bytes):
    """Put other bytes in the place of a frame's packet."""
    with av.open(str(path)) as container:
        packets = [(packet.pts, packet.pos, packet.size) for packet in container.demux() if packet.size]
    _, start, size = sorted(packets)[frame]
    data = bytearray(path.read_bytes())
    data[start : start + size] = with_bytes(size, data[start : start + size])
    path.write_bytes(data)


# Whole recordings


def test_what_is_recorded_is_read(pristine):
    dataset = open_dataset(pristine)
    check_whole(pristine)
    assert (dataset.fps, dataset.units, dataset.root) == (10.0, "degrees", pristine)
    assert (dataset.camera_names, dataset.joint_names) == (("front", "top"), SO100_JOINTS)
    assert dataset.picture_size("front") == (64, 96) and dataset.n_frames == sum(LENGTHS)
    assert [episode.tasks for episode in dataset.episodes] == [("task 0",), ("task 1",)] * 2
    assert len(list(pristine.rglob("*.mp4"))) == 2  # one for each camera, though there are four episodes


def test_pictures_lose_only_what_the_codec_loses(pristine):
    image = next(open_dataset(pristine).episodes[2].frames("front", 7))
    assert image.shape == (64, 96, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(float) - picture("front", 2, 7)).mean() < 8


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_slices_are_exact_in_every_episode(pristine, data):
    episode = data.draw(st.sampled_from(open_dataset(pristine).episodes))
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, episode.length)] * 2)))
    found = [label(image) for image in episode.frames("top", start, stop)]
    assert found == [(1, episode.index, frame) for frame in range(start, stop)]


def test_two_cameras_are_read_side_by_side(pristine):
    for episode in open_dataset(pristine).episodes:
        pairs = zip(episode.frames("front"), episode.frames("observation.images.top"), strict=True)
        assert all(label(front)[1:] == label(top)[1:] for front, top in pairs)


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


# Videos that others made


def write_out_of_order(path, **options):
    """The front camera's video as an encoder makes it that refers to later pictures."""
    options = {"g": "20", "bf": "3", "b_strategy": "0", **options}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for episode, length in enumerate(LENGTHS):
            for frame in range(length):
                image = av.VideoFrame.from_ndarray(picture("front", episode, frame), format="rgb24")
                container.mux(stream.encode(image))
        container.mux(stream.encode(None))


OPEN = {"g": "7", "bf": "4", "x264-params": "open-gop=1:scenecut=0:b-pyramid=strict"}  # seeking leads beyond a frame


@pytest.mark.parametrize(("shift", "options"), [(0.0, {}), (0.004, {}), (-0.004, {}), (0.0, OPEN), (0.004, OPEN)])
def test_videos_with_pictures_out_of_order_and_inexact_times_are_read_exactly(root, shift, options):
    write_out_of_order(root / FRONT, **options)

    def move(columns):
        column = columns["videos/observation.images.front/from_timestamp"]
        column[:] = [time + shift for time in column]

    change_table(root / EPISODES, move)
    check_whole(root)
    for start in range(LENGTHS[2]):
        assert label(next(open_dataset(root).episodes[2].frames("front", start))) == (0, 2, start)


# Streams


def test_pictures_are_streamed(tmp_path):
    size, n = (120, 160), 120
    image = np.zeros((*size, 3), np.uint8)
    made = DatasetWriter(tmp_path, fps=30, cameras={"front": size}, units="degrees", codec="h264")
    tracemalloc.start()
    try:
        with made.episode("wait") as recorder:
            for frame in range(n):
                image[:] = frame
                recorder.add(np.zeros(6), {"front": image})
        wrote = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        frames = open_dataset(tmp_path).episodes[0].frames("front")
        levels = [int(image.mean()) for image in frames]
        read = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert_allclose(levels, np.arange(n), atol=4)
    assert max(wrote, read) < 20 * image.nbytes  # of 120


def test_a_jump_decodes_little(root, monkeypatch):
    count = []
    plain = video_reader._decoded
    monkeypatch.setattr(video_reader, "_decoded", lambda *args: (count.append(1) or frame for frame in plain(*args)))
    list(open_dataset(root).episodes[3].frames("front", 8, 9))
    assert 1 <= len(count) <= 10


# Interruptions


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


# Misuse of the writer


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


# Damaged recordings


def test_a_video_shorter_than_its_table_is_named_with_the_first_frame_that_lacks(root):
    join_videos(root / "short.mp4", [(root / FRONT, 20)], 10)
    os.replace(root / "short.mp4", root / FRONT)
    dataset, words = open_dataset(root), "episode 2, camera 'front', frame 7 of 25: the video ends before it"
    with pytest.raises(DatasetError, match=words):
        dataset.verify()
    found = []
    with pytest.raises(DatasetError, match=words):
        found.extend(label(image) for image in dataset.episodes[2].frames("front"))
    assert found == [(0, 2, frame) for frame in range(7)]
    assert len(list(dataset.episodes[2].frames("front", 0, 7))) == 7
    with pytest.raises(DatasetError, match="episode 3, camera 'front', frame 5 of 11: the video ends before it"):
        list(dataset.episodes[3].frames("front", 5))


def test_a_camera_that_is_missing_is_named(root):
    dataset = open_dataset(root)
    with pytest.raises(DatasetError, match="no camera 'wrist'; cameras: front, top"):
        dataset.episodes[0].frames("wrist")
    (root / FRONT).unlink()
    for attempt in (dataset.verify, lambda: list(dataset.episodes[0].frames("front"))):
        with pytest.raises(DatasetError, match=r"episode 0, camera 'front', frame 0 .* no such video file"):
            attempt()
    change_table(root / EPISODES, lambda columns: columns.pop("videos/observation.images.top/file_index"))
    with pytest.raises(DatasetError, match=r"episode 1, camera 'top': meta/episodes does not say where"):
        open_dataset(root).episodes[1].frames("top")


@pytest.mark.parametrize("kind", ["noise", "zeros"])
def test_a_damaged_frame_is_named_and_those_before_it_are_read(root, kind):
    filled = {"noise": lambda n, _: np.random.default_rng(0).bytes(n), "zeros": lambda n, _: bytes(n)}[kind]
    overwrite(root / FRONT, 13 + 17, filled)  # frame 17 of episode 2
    dataset, found = open_dataset(root), []
    with pytest.raises(DatasetError, match=r"episode 2, camera 'front', frame 17 of 25.*file-000.mp4"):
        found.extend(label(image) for image in dataset.episodes[2].frames("front"))
    assert found == [(0, 2, frame) for frame in range(17)]
    assert len(list(dataset.episodes[3].frames("front"))) == 11  # the next episode is not concerned


def test_a_frame_with_a_hole_is_found_where_the_decoder_reports_it(tmp_path):
    record(tmp_path, [12], codec="h264")
    overwrite(tmp_path / FRONT, 10, lambda n, old: old[: n // 3] + bytes(n // 3) + old[2 * (n // 3) :])
    with pytest.raises(DatasetError, match="episode 0, camera 'front', frame 10 of 12: it"):
        list(open_dataset(tmp_path).episodes[0].frames("front"))


def test_a_damaged_frame_is_named_where_pictures_are_out_of_order(root):
    write_out_of_order(root / FRONT)
    overwrite(root / FRONT, 20, lambda n, _: np.random.default_rng(0).bytes(n))  # frames 4 to 6 refer to it
    found = []
    with pytest.raises(DatasetError, match=r"episode 2, camera 'front', frame 7 of 25"):
        found.extend(label(image) for image in open_dataset(root).episodes[2].frames("front"))
    assert found == [(0, 2, frame) for frame in range(4)]


@pytest.mark.parametrize("content", [b"", b"no video", None])
def test_a_file_that_is_no_video_is_named(root, content):
    path = root / FRONT
    path.write_bytes(path.read_bytes()[:40] if content is None else content)
    with pytest.raises(DatasetError, match=r"episode 0, camera 'front', frame 0 of 12: it is no video"):
        open_dataset(root).verify()


def test_pictures_of_another_size_are_named(root):
    def change(info):
        info["features"]["observation.images.front"]["shape"] = [480, 640, 3]

    change_info(root, change)
    for attempt in (open_dataset(root).verify, lambda: list(open_dataset(root).episodes[0].frames("front"))):
        with pytest.raises(DatasetError, match=r"frame 0 of 12: the picture has 96 x 64 pixels, .* says 640 x 480"):
            attempt()


@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_joints_that_are_no_numbers_are_named(root, value):
    def spoil(columns):
        columns["observation.state"][13 + 4][2] = value

    change_table(root / DATA, spoil)
    dataset = open_dataset(root)
    with pytest.raises(DatasetError, match=r"episode 2, frame 4: observation.state is not finite, elbow_flex.pos is"):
        _ = dataset.episodes[2].joints
    assert dataset.episodes[2].actions.shape == (25, 6) and dataset.episodes[3].joints.shape == (11, 6)
    with pytest.raises(DatasetError, match="episode 2, frame 4"):
        dataset.verify()


def test_rows_that_are_missing_are_named(root):
    def drop(columns):
        for column in columns.values():
            del column[13 + 6]

    change_table(root / DATA, drop)
    with pytest.raises(DatasetError, match=r"episode 2, frame 6: expected 25 rows .* found 24"):
        _ = open_dataset(root).episodes[2].joints


def test_tables_that_are_missing_or_damaged_are_named(root):
    change_table(root / DATA, lambda columns: columns.pop("action"))
    dataset = open_dataset(root)
    with pytest.raises(DatasetError, match=r"episode 1: .*file-000.parquet has no column 'action'; its columns: obs"):
        _ = dataset.episodes[1].actions
    (root / DATA).write_bytes(b"PAR1 no more")
    with pytest.raises(DatasetError, match=r"episode 1: .* is damaged"):
        _ = dataset.episodes[1].joints
    (root / DATA).unlink()
    with pytest.raises(DatasetError, match=r"episode 1: expected the file .*, and there is none"):
        _ = dataset.episodes[1].joints


def test_a_table_of_episodes_that_is_too_short_is_refused(root):
    change_table(root / EPISODES, lambda columns: [column.pop() for column in columns.values()])
    with pytest.raises(DatasetError, match=r"lists 3 episodes, and meta/info.json says 4"):
        open_dataset(root)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda info: info.update(codebase_version="v2.1"), "format 'v2.1', and only v3 .* convert_dataset_v21_to_v30"),
        (lambda info: info.pop("codebase_version"), "format None"),
        (lambda info: info.pop("fps"), "info.json is damaged or incomplete"),
        (lambda info: info.update(fps=0), "says 0.0 frames a second"),
        (lambda info: info.update(data_path="{nonsense}"), "info.json is damaged or incomplete"),
        (lambda info: info["features"].pop("observation.state"), "no 'observation.state'; its features: action"),
        (lambda info: info["features"]["observation.state"].update(units="turns"), "units 'turns'; expected one of"),
    ],
)
def test_metadata_that_cannot_be_used_are_refused(root, change, words):
    change_info(root, change)
    with pytest.raises(DatasetError, match=words):
        open_dataset(root)


def test_versions_3_of_any_kind_are_read(root):
    change_info(root, lambda info: info.update(codebase_version="v3.1"))
    check_whole(root)


def test_a_folder_that_is_no_dataset_is_refused(root, tmp_path):
    (root / "meta/info.json").write_text("{ no json")
    with pytest.raises(DatasetError, match=r"info.json cannot be read"):
        open_dataset(root)
    with pytest.raises(DatasetError, match=r"no meta/info.json in it"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="there is no such folder"):
        open_dataset(tmp_path / "absent")


def test_frames_out_of_range_are_refused_at_once(pristine):
    episode = open_dataset(pristine).episodes[1]
    for start, stop in ((-1, None), (0, 2), (1, 0)):
        with pytest.raises(InvalidInputError, match=r"episode 1: expected frames with 0 <= start <= stop <= 1"):
            episode.frames("front", start, stop)


# The hub


def fake_hub(monkeypatch, root, reachable=True, cached=True):
    class RepositoryNotFoundError(Exception):
        pass

    def dataset_info(self, name, revision=None, timeout=None):
        if name == "nobody/nothing":
            raise RepositoryNotFoundError("404\nmore")
        if not reachable:
            raise ConnectionError("no route to host")

    def snapshot_download(name, *, repo_type, revision, allow_patterns, local_files_only=False):
        assert (name, repo_type, revision) == ("somebody/reach", "dataset", "v3.0")
        if local_files_only and not cached:
            raise FileNotFoundError("nothing in the cache")
        return str(root)

    api = type("HfApi", (), {"dataset_info": dataset_info})
    module = SimpleNamespace(HfApi=api, snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_a_name_of_the_hub_is_downloaded_or_taken_from_the_cache(pristine, monkeypatch):
    for reachable in (True, False):
        fake_hub(monkeypatch, pristine, reachable)
        assert open_dataset("somebody/reach@v3.0").root == pristine


def test_a_hub_that_cannot_be_used_is_said_with_both_remedies(pristine, monkeypatch):
    fake_hub(monkeypatch, pristine, reachable=False, cached=False)
    with pytest.raises(DatasetError, match=r"reach@v3.0: .*no route to host.* Connect .* or copy .* give its folder"):
        open_dataset("somebody/reach@v3.0")
    with pytest.raises(DatasetError, match="the hub has no such dataset"):
        open_dataset("nobody/nothing")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"paszea/ik: .*pip install huggingface_hub, or download .* folder"):
        open_dataset("paszea/ik")


def test_a_local_folder_comes_before_the_hub(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(root.parent.parent)
    assert len(open_dataset(f"{root.parent.name}/{root.name}").episodes) == len(LENGTHS)


@pytest.mark.parametrize("package", ["pyarrow", "av"])
def test_a_missing_package_is_said_with_what_brings_it(pristine, monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=rf"{package}.*pip install hybrid-ik\[vision\]"):
        list(open_dataset(pristine).episodes[0].frames("front"))


# Units


def _robot(model):
    return Robot(mujoco.MjModel.from_xml_string(model))


def without_units(root, high=None):
    change_info(root, lambda info: info["features"]["observation.state"].pop("units"))
    stats = {"min": [-95.0] * 5 + [0.0], "max": [95.0] * 5 + [200.0]}
    stats["max"][0] = high or 95.0
    (root / "meta/stats.json").write_text(json.dumps({"observation.state": stats}))


def test_units_that_nobody_said_are_asked_for(root):
    without_units(root)
    assert open_dataset(root).units is None
    assert open_dataset(root, units="normalised").units == "normalised"
    with pytest.raises(InvalidInputError, match=r"units of the recorded joints are unknown.* one of degrees, normal"):
        to_radians(open_dataset(root).episodes[0].joints, None, _robot(FIVE_JOINTS))
    (root / "meta/stats.json").unlink()
    assert open_dataset(root).units is None


def test_a_joint_beyond_100_is_in_degrees(root):
    without_units(root, high=131.0)
    assert open_dataset(root).units == "degrees"


def test_units_against_the_metadata_are_refused(root):
    with pytest.raises(DatasetError, match="said to be normalised, and its metadata say degrees"):
        open_dataset(root, units="normalised")
    with pytest.raises(InvalidInputError, match="units: expected one of degrees, normalised, got 'radians'"):
        open_dataset(root, units="radians")


def test_degrees_and_parts_of_the_range_are_joints_in_radians():
    robot = _robot(FIVE_JOINTS)  # three joints of -2..2, two of -1..1
    values = [90.0, -45.0, 0.0, 18.0, 180.0, 77.0]  # and a gripper
    assert_allclose(to_radians(values, "degrees", robot), np.pi * np.array([0.5, -0.25, 0.0, 0.1, 1.0]))
    turned = to_radians(values, "degrees", robot, signs=[-1, 1, 1, 1, 1], offsets=[0.1, 0, 0, 0, 0])
    assert_allclose(turned[:2], [0.1 - np.pi / 2, -np.pi / 4])
    values = [[-100.0, 100.0, 0.0, 50.0, -50.0]]
    assert_allclose(to_radians(values, "normalised", robot), [[-2.0, 2.0, 0.0, 0.5, -0.5]])


@given(
    st.lists(st.floats(-100, 100), min_size=5, max_size=5),
    st.lists(st.sampled_from([-1.0, 1.0]), min_size=5, max_size=5),
    st.sampled_from(["degrees", "normalised"]),
)
def test_recorded_values_come_back(five_joints, values, signs, units):
    there = to_radians(values, units, five_joints, signs=signs, offsets=0.3)
    assert_allclose(from_radians(there, units, five_joints, signs=signs, offsets=0.3), values, atol=1e-9)


@pytest.fixture(scope="module")
def five_joints():
    return _robot(FIVE_JOINTS)


@pytest.mark.parametrize(
    ("model", "values", "units", "options", "words"),
    [
        (FIVE_JOINTS, np.zeros(4), "degrees", {}, r"values: expected shape \(\*batch, 5\) or wider, got \(4,\)"),
        (FIVE_JOINTS, [[0, 0, 0, 0, 0], [0, 131, 0, 0, 0]], "normalised", {}, r"values\[1, 1\]: .* 'j1', got 131; if"),
        (FIVE_JOINTS, np.zeros(5), "turns", {}, "units of the recorded joints are 'turns'"),
        (FIVE_JOINTS, np.zeros(5), "degrees", {"signs": 2}, "signs: expected 1 or -1"),
        (FIVE_JOINTS, np.zeros(5), "degrees", {"offsets": [1, 2]}, "offsets: expected 5 finite numbers, or one"),
        (GANTRY, np.zeros(5), "degrees", {}, "joint 'x' .* slides, and has no degrees"),
        (GANTRY, np.zeros(5), "normalised", {}, "joint 'turntable' .* has no limits"),
    ],
)
def test_values_that_cannot_be_joints_are_refused(model, values, units, options, words):
    with pytest.raises(InvalidInputError, match=words):
        to_radians(values, units, _robot(model), **options)
