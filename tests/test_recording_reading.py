"""Recordings with cameras are read as they were written: every picture is the right one, and few are in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from recording_files import EPISODES, FRONT, change_info, change_table, check_whole, write_out_of_order
from recordings import LENGTHS, label, picture

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.recordings import video_reader
from hybrid_ik.pixels.recordings.dataset import open_dataset
from hybrid_ik.pixels.recordings.writer import SO100_JOINTS, DatasetWriter

OPEN = {"g": "7", "bf": "4", "x264-params": "open-gop=1:scenecut=0:b-pyramid=strict"}  # seeking leads beyond a frame


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


def test_versions_3_of_any_kind_are_read(root):
    change_info(root, lambda info: info.update(codebase_version="v3.1"))
    check_whole(root)


def test_frames_out_of_range_are_refused_at_once(pristine):
    episode = open_dataset(pristine).episodes[1]
    for start, stop in ((-1, None), (0, 2), (1, 0)):
        with pytest.raises(InvalidInputError, match=r"episode 1: expected frames with 0 <= start <= stop <= 1"):
            episode.frames("front", start, stop)


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
