"""Dots in videos: followed to a fraction of a pixel, masked where they are hidden, never invented; lag; drawings."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from hybrid_ik.errors import InvalidInputError, MissingPackageError
from hybrid_ik.pixels.dots.tracks import Tracks
from hybrid_ik.pixels.lag import estimate_lag

cv2 = pytest.importorskip("cv2")

from dot_scene import BLUE, GREEN, RED, Scene, record  # noqa: E402

from hybrid_ik.pixels.dots.annotate import draw_dots, write_annotated_frames, write_annotated_video  # noqa: E402
from hybrid_ik.pixels.dots.detection import check_dots, find_dots  # noqa: E402
from hybrid_ik.pixels.dots.tracking import DotTracker  # noqa: E402

WIDE = Scene(seed=3, n_frames=90)
VARIANTS = {
    "as it comes": WIDE,
    "large picture": Scene(seed=1, n_frames=60, width=640, height=480, radius=8.0, speed=1.2),
    "fast and blurred": replace(WIDE, seed=7, occluders=3, speed=1.5, radius=4.0, exposure=0.5),
    "darker and darker": replace(WIDE, gains=(1.0, 0.55)),
    "decoys": replace(WIDE, seed=7, decoys=4, occluders=2),
    "one colour": replace(WIDE, colours=(RED, RED)),
    "orange jaws": replace(WIDE, seed=5, jaw=(230, 150, 60), colours=(GREEN, BLUE)),
    "leaving the picture": replace(WIDE, seed=2, reach=0.55),
}


def _errors(recording, tracks):
    return np.linalg.norm(tracks.positions - recording.positions, axis=-1)


@pytest.fixture(scope="module")
def plain():
    recording = record(WIDE)
    return recording, DotTracker(recording.positions[0]).follow(recording.frames)


@pytest.mark.parametrize("name", VARIANTS)
def test_dots_are_followed_and_never_invented(name):
    recording = record(VARIANTS[name])
    tracks = DotTracker(recording.positions[0] + [[1.5, -1.0], [-1.0, 1.0]]).follow(recording.frames)
    errors, whole = _errors(recording, tracks), recording.share >= 0.9
    assert np.nanmedian(errors) <= 0.25
    assert np.nanmax(errors) <= 3.0
    assert (whole & ~tracks.seen).sum() <= 0.01 * whole.sum()
    assert not (tracks.seen & (recording.share < 0.4)).any()
    assert (np.isnan(tracks.positions).any(-1) == ~tracks.seen).all()
    assert ((tracks.confidence >= 0) & (tracks.confidence <= 1)).all()


def test_the_scene_hides_dots_and_shows_them_again(plain):
    recording, tracks = plain
    hidden = recording.share < 0.4
    assert hidden.any(0).all()
    for dot in range(2):
        last = np.flatnonzero(hidden[:, dot])[-1]
        assert tracks.seen[last + 1 : last + 8, dot].any()


def test_dots_leave_the_picture_and_come_back():
    recording = record(VARIANTS["leaving the picture"])
    outside = ((recording.positions < 0) | (recording.positions > np.array([319, 239]))).any(-1)
    tracks = DotTracker(recording.positions[0]).follow(recording.frames)
    assert outside.any() and not tracks.seen[outside].any()
    back = np.flatnonzero(outside.any(1))[-1] + 5
    assert tracks.seen[back:].mean() > 0.9


def test_frames_are_taken_one_by_one(plain):
    recording, tracks = plain
    tracker = DotTracker(recording.positions[0])
    for index in range(20):
        view = tracker.step(recording.frames[index])
        np.testing.assert_array_equal(view.positions, tracks.positions[index])
        np.testing.assert_array_equal(view.confidence, tracks.confidence[index])


def test_another_recording_of_the_camera_needs_no_first_positions(plain):
    recording, _ = plain
    tracker = DotTracker(recording.positions[0])
    tracker.follow(recording.frames[:20])
    tracker.restart()
    again = tracker.follow(recording.frames[60:80])
    whole = recording.share[60:80] >= 0.9
    errors = np.linalg.norm(again.positions - recording.positions[60:80], axis=-1)
    assert again.seen[whole].mean() > 0.95 and np.nanmax(errors) < 3.0


def test_a_sudden_change_of_brightness_hides_nothing(plain):
    recording, _ = plain
    frames = recording.frames[:11].astype(float)
    frames[4:8] *= [0.6, 0.65, 0.7]
    tracks = DotTracker(recording.positions[0]).follow(frames.astype(np.uint8))
    assert tracks.seen.all()
    assert np.linalg.norm(tracks.positions - recording.positions[:11], axis=-1).max() < 0.5


@pytest.mark.parametrize(
    ("position", "words"),
    [
        ([-4.0, 20.0], r"camera cam2, frame 7, dot at \(-4.0, 20.0\): outside the picture of 320 x 240 pixels"),
        ([12.0, 12.0], r"camera cam2, frame 7, dot at \(12.0, 12.0\): n.* picture of 320 x 240 pixels.*find-dots"),
    ],
)
def test_a_wrong_first_position_is_an_error_that_says_where(plain, position, words):
    recording, _ = plain
    frame = recording.frames[0].copy()
    frame[:40, :40] = 120
    with pytest.raises(InvalidInputError, match=words):
        check_dots(np.r_[recording.positions[0, 0], position], frame, "cam2", 7)
    with pytest.raises(InvalidInputError, match="camera cam2, frame 0"):
        DotTracker(np.r_[recording.positions[0, 0], position], "cam2").follow([frame])


def test_positions_given_by_hand_are_moved_to_the_centres(plain):
    recording, _ = plain
    first = recording.positions[0]
    centres = check_dots((first + 2.0).ravel(), recording.frames[0])
    assert np.abs(centres - first).max() < 0.3
    with pytest.raises(InvalidInputError, match="dots 1 and 2 are the same one"):
        check_dots([first[0], first[0] + 1.0], recording.frames[0])
    with pytest.raises(InvalidInputError, match="expected x y of each dot"):
        check_dots([1.0, 2.0, 3.0], recording.frames[0])
    with pytest.raises(InvalidInputError, match="expected shape"):
        check_dots(first, recording.frames[0][..., 0])


@pytest.mark.parametrize("name", ["as it comes", "decoys", "orange jaws"])
def test_first_positions_are_found(name):
    recording = record(replace(VARIANTS[name], n_frames=20, occluders=0))
    found = find_dots(recording.frames)
    places = np.array([dot.position for dot in found])
    distances = np.linalg.norm(places[:, None] - recording.positions[0], axis=-1)
    assert distances.min(0).max() < 1.0 and found[0].score >= found[1].score > 0.3
    with pytest.raises(InvalidInputError, match="at least one frame"):
        find_dots([])
    for wrong in ({"n": 0}, {"most": 0}):
        name = next(iter(wrong))
        with pytest.raises(InvalidInputError, match=f"find_dots: {name}: expected at least 1, got 0"):
            find_dots(recording.frames, **wrong)


def _moving_arm(rng, n_frames, offset):
    """Joints that move smoothly, and dots that show them `offset` frames later."""
    t = np.arange(n_frames + 40)[:, None]
    rates, phases = rng.uniform(0.02, 0.16, (5, 3, 1, 5)), rng.uniform(0, 6.28, (5, 3, 1, 5))
    q = (0.3 * np.sin(rates * t + phases)).sum((0, 1))
    x = 320 + 150 * np.sin(q[:, :1]) * np.cos(q[:, 1:2]) + 40 * np.sin(q[:, 3:4])
    y = 240 + 120 * np.sin(q[:, 1:2] + q[:, 2:3]) + 30 * np.cos(q[:, 4:5])
    dots = np.stack([np.c_[x, y], np.c_[x + 25, y + 10 * q[:, 4:5]]], 1)
    return q[20 : 20 + n_frames], dots[20 - offset : 20 - offset + n_frames]


@pytest.mark.parametrize("offset", range(13))
def test_the_lag_is_found_exactly(offset):
    rng = np.random.default_rng(offset)
    joints, pixels = zip(*(_moving_arm(rng, 160, offset) for _ in range(3)), strict=True)
    noisy = [dots + rng.normal(0, 0.5, dots.shape) for dots in pixels]
    for dots in noisy:
        dots[rng.random(dots.shape[:2]) < 0.05] = np.nan
    turned = [np.rad2deg(q) + rng.normal(0, 0.1, q.shape) for q in joints]
    lag = estimate_lag(noisy, turned)
    assert lag.offset == offset and lag.clear and lag.quality > 0.9 and f"{offset} frames late" in lag.words


def test_a_lag_that_cannot_be_told_says_so():
    rng = np.random.default_rng(0)
    joints, pixels = _moving_arm(rng, 200, 0)
    alien = estimate_lag([rng.normal(300, 50, pixels.shape)], [joints])
    assert not alien.clear and "hardly where the joints would put them" in alien.words
    t = np.arange(300)[:, None]
    regular = estimate_lag([np.sin(0.2 * np.pi * t) * [[40.0, 30.0]]], [np.sin(0.2 * np.pi * t)])
    assert (
        not regular.clear and "not clear: " in regular.words
    )  # the same every ten frames: which one is up to rounding
    with pytest.raises(InvalidInputError, match="200 frames of pixels and 199 of joints"):
        estimate_lag([pixels], [joints[:-1]])
    with pytest.raises(InvalidInputError, match="record more motion"):
        estimate_lag([np.full_like(pixels, np.nan)], [joints])


def test_drawings_show_what_is_seen_and_what_is_not(plain, tmp_path):
    recording, tracks = plain
    lost = int(np.flatnonzero(~tracks.seen.all(1))[0])
    for index in (5, lost):
        drawn = draw_dots(recording.frames[index], tracks, index)
        assert (drawn != recording.frames[index]).any(-1).sum() > 50
    paths = write_annotated_frames(tmp_path / "pictures", recording.frames, tracks, 40, "cam1")
    assert [path.name for path in paths] == ["cam1_000000.png", "cam1_000040.png", "cam1_000080.png"]
    with pytest.raises(InvalidInputError, match="followed through 90 frames"):
        draw_dots(recording.frames[0], tracks, 90)


def test_the_video_is_written_whole_or_not_at_all(plain, tmp_path):
    av = pytest.importorskip("av")
    recording, tracks = plain
    path = tmp_path / "dots.mp4"
    write_annotated_video(path, (frame[:, :-1] for frame in recording.frames[:12]), tracks, 30.0)
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == 12 and frames[0].shape == (240, 318, 3)
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match="followed through"):
        write_annotated_video(path, recording.frames, Tracks(*(part[:5] for part in tracks)), 30.0)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["dots.mp4"]
    with pytest.raises(InvalidInputError, match="at least one frame"):
        write_annotated_video(path, [], tracks, 30.0)
    with pytest.raises(InvalidInputError, match="fps"):
        write_annotated_video(path, recording.frames, tracks, 0.0)


@pytest.mark.parametrize("name", ["cv2", "av"])
def test_without_its_packages_the_error_says_what_to_install(monkeypatch, plain, tmp_path, name):
    recording, tracks = plain
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=r"pip install hybrid-ik\[vision\]"):
        write_annotated_video(tmp_path / "a.mp4", recording.frames, tracks, 30.0)
    assert not list(tmp_path.iterdir())


def test_frames_of_another_size_are_refused(plain):
    recording, _ = plain
    tracker = DotTracker(recording.positions[0])
    tracker.step(recording.frames[0])
    with pytest.raises(InvalidInputError, match=r"frame: expected .* got \(0, 320, 3\) uint8"):
        DotTracker(recording.positions[0]).step(recording.frames[0][:0])
    with pytest.raises(InvalidInputError, match="a frame of 160 x 120 pixels after frames of 320 x 240"):
        tracker.step(recording.frames[0][::2, ::2])


def test_importing_the_room_loads_neither_opencv_nor_torch():
    import subprocess

    code = (
        "import sys, hybrid_ik.pixels.dots.tracking, hybrid_ik.pixels.dots.cotracker, hybrid_ik.pixels.dots.annotate, "
        "hybrid_ik.pixels.dots.detection, hybrid_ik.pixels.lag; "
        "print([name for name in ('cv2', 'torch', 'av') if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
