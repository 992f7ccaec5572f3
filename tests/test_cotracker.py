"""CoTracker is called as its online predictor wants it: windows of 2 * step frames, each half of them seen before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybrid_ik.errors import InvalidInputError, MissingPackageError
from hybrid_ik.pixels.dots import cotracker
from hybrid_ik.pixels.dots.cotracker import CoTracker

FIRST = [3.0, 4.0, 5.0, 6.0]
HIDDEN_FROM = 20


class StubPredictor:
    """Takes what `CoTrackerOnlinePredictor` of facebookresearch/co-tracker takes, and answers in its shapes.

    Frames carry their numbers as grey levels. Dots move by (1, 2) a frame, the second one hides from frame 20.
    """

    step = 8

    def __init__(self):
        self.frames, self.starts, self.device = [], 0, None

    def to(self, device):
        self.device = device
        return self

    def __call__(
        self, video_chunk, is_first_step=False, queries=None, grid_size=5, grid_query_frame=0, add_support_grid=False
    ):
        _, n, channels, height, width = video_chunk.shape
        assert (channels, height, width) == (3, 24, 32) and video_chunk.dtype == torch.float32
        assert 1 <= n <= 2 * self.step, "Online mode: video chunk must be <= window size."
        if is_first_step:
            assert queries.shape[0] == 1 and queries.shape[2] == 3 and not queries[..., 0].any()  # (t, x, y)
            self.queries, self.frames = queries, []
            self.starts += 1
            return None, None
        numbers = [int(level) for level in video_chunk[0, :, 0, 0, 0]]
        if self.frames:
            assert numbers[: self.step] == self.frames[-self.step :]
            numbers = numbers[self.step :]
        self.frames += numbers
        times = torch.arange(len(self.frames))
        tracks = self.queries[:, None, :, 1:] + times[:, None, None] * torch.tensor([1.0, 2.0])
        visible = torch.ones(1, len(self.frames), self.queries.shape[1], dtype=torch.bool)
        visible[:, HIDDEN_FROM:, 1] = False
        return tracks, visible


@pytest.fixture(autouse=True)
def fresh():
    """No network of another test is kept."""
    cotracker._load.cache_clear()
    yield
    cotracker._load.cache_clear()


@pytest.fixture
def stub(monkeypatch):
    model, loaded = StubPredictor(), []
    model.loaded = loaded
    monkeypatch.setattr(torch.hub, "load", lambda *names, **options: loaded.append((names, options)) or model)
    return model


def _numbered(count):
    return (np.full((24, 32, 3), number, np.uint8) for number in range(count))


@pytest.mark.parametrize("count", [1, 7, 8, 15, 16, 17, 23, 24, 25, 40])
def test_windows_overlap_by_half_and_every_frame_is_followed_once(stub, count):
    tracks = CoTracker(FIRST).follow(_numbered(count))
    assert stub.frames == list(range(count)) and stub.starts == 1
    expected = np.reshape(FIRST, (2, 2)) + np.arange(count)[:, None, None] * [1.0, 2.0]
    expected[HIDDEN_FROM:, 1] = np.nan
    np.testing.assert_array_equal(tracks.positions, expected)
    np.testing.assert_array_equal(tracks.confidence, np.isfinite(expected).all(-1))


def test_the_network_is_loaded_once_and_begins_anew_with_each_recording(stub):
    tracker = CoTracker(FIRST, device="cpu")
    first, second = (tracker.follow(_numbered(count)) for count in (30, 18))
    assert stub.loaded == [(("facebookresearch/co-tracker", "cotracker3_online"), {"trust_repo": True})]
    assert stub.starts == 2 and stub.device == "cpu"
    np.testing.assert_array_equal(second.positions, first.positions[:18])


def test_frames_are_taken_window_by_window(stub, monkeypatch):
    taken, ahead, plain = [], [], StubPredictor.__call__

    def watched(self, *arguments, **options):
        ahead.append(len(taken) - len(self.frames))
        return plain(self, *arguments, **options)

    monkeypatch.setattr(StubPredictor, "__call__", watched)
    CoTracker(FIRST).follow(taken.append(frame) or frame for frame in _numbered(60))
    assert len(taken) == 60 and max(ahead) <= 2 * StubPredictor.step


def test_no_frames_are_refused(stub):
    with pytest.raises(InvalidInputError, match="camera side: expected at least one frame"):
        CoTracker(FIRST, "side").follow([])


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("Missing dependencies: einops")])
def test_what_keeps_it_from_loading_is_said_with_the_tracker_that_needs_nothing(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch.hub, "load", fail)
    with pytest.raises(MissingPackageError, match=rf"{error}.* network once; DotTracker needs neither.*CC-BY-NC 4.0"):
        CoTracker(FIRST).follow(_numbered(3))


def test_its_licence_is_said_where_one_reads_of_it():
    for text in (cotracker.__doc__, CoTracker.__doc__, cotracker.LICENCE):
        assert "not for commercial use" in text.replace("\n", " ")
