"""Damaged recordings: every defect is named with its episode and frame, and what lies before it is read."""

from __future__ import annotations

import os

import numpy as np
import pytest
from recording_files import (
    DATA,
    EPISODES,
    FRONT,
    change_info,
    change_table,
    overwrite,
    write_out_of_order,
)
from recordings import label, record

from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.recordings.dataset import open_dataset
from hybrid_ik.pixels.recordings.video_writer import join_videos


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


def test_a_table_whose_place_is_not_known_is_named(root):
    change_table(root / EPISODES, lambda columns: columns.pop("data/file_index"))
    with pytest.raises(DatasetError, match=r"episode 1: meta/episodes does not say where its table lies .* fetch the"):
        _ = open_dataset(root).episodes[1].joints


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
    with pytest.raises(
        DatasetError, match=r"episode 0, camera 'front', frame 0 of 12: it is no video that can be read: [^\[\]]* \(/"
    ):
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


def test_a_joint_beyond_100_where_units_are_parts_of_the_range_is_named(tmp_path):
    record(tmp_path, [3, 6], units="normalised")

    def spoil(columns):
        columns["observation.state"][3 + 4][1] = 130.0
        columns["observation.state"][0][5] = 130.0  # a gripper

    change_table(tmp_path / DATA, spoil)
    first, second = open_dataset(tmp_path).episodes
    assert first.joints[0, 5] == 130.0
    words = r"episode 1, frame 4: shoulder_lift.pos is 130, .* \"normalised\", -100 to 100.* give units=\"degrees\""
    with pytest.raises(DatasetError, match=words):
        _ = second.joints
    with pytest.raises(DatasetError, match=words):
        open_dataset(tmp_path).verify()


def test_rows_of_another_length_are_named(root):
    def shorten(columns):
        columns["observation.state"][13 + 4] = [0.0] * 5

    change_table(root / DATA, shorten)
    with pytest.raises(DatasetError, match=r"episode 2, frame 4: observation.state has 5 numbers, expected 6. Fetch"):
        _ = open_dataset(root).episodes[2].joints


def test_an_episode_with_a_defect_is_left_out(root):
    overwrite(root / FRONT, 13 + 17, lambda n, _: bytes(n))  # frame 17 of episode 2
    dataset = open_dataset(root, leave_out=[2])
    assert [episode.index for episode in dataset.episodes] == [0, 1, 3] and dataset.n_frames == 24
    assert all(len(list(episode.frames("front"))) == episode.length for episode in dataset.episodes)
    for wrong in ([4], [-1, 2], range(4)):
        with pytest.raises(InvalidInputError, match="leave_out: expected some, not all, of the episodes 0 to 3, got"):
            open_dataset(root, leave_out=wrong)


def test_a_recording_without_cameras_is_refused(root):
    def drop(info):
        info["features"].pop("observation.images.top")
        info["features"]["observation.images.front"]["dtype"] = "image"

    change_info(root, drop)
    with pytest.raises(DatasetError, match=r"no camera in it .*observation.images.front \(image\).* convert them"):
        open_dataset(root)


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
