"""From a recording to its dots: every episode of every camera followed, paired with joints, and kept as it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.dots.cotracker import CoTracker
from hybrid_ik.pixels.dots.detection import find_dots, in_order_of
from hybrid_ik.pixels.dots.pictures import Frame
from hybrid_ik.pixels.dots.tracking import DotTracker
from hybrid_ik.pixels.dots.tracks import Tracks
from hybrid_ik.pixels.lag import Lag, estimate_lag
from hybrid_ik.pixels.processed import ProcessedRecording, read_arrays, write_arrays
from hybrid_ik.pixels.recordings.dataset import Dataset, Episode

Array = NDArray[np.float64]
Tracker = Literal["colour", "cotracker"]
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]

LOOK = 10  # frames of an episode in which dots are looked for
CANDIDATES = 3  # things that may be dots, for each of them
SAME_COLOUR = 90.0  # of 0 to 255, largest distance between colours of a dot in two episodes
GRIPPER = "gripper"  # begins the name of the joint that is not the arm's


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """How a recording is followed."""

    dots: Mapping[str, Array]
    """For each camera, x y of each dot in one frame of the first episode `(n_dots, 2)` [px]."""
    first_frame: int = 0
    """Which frame that is: one in which they are well seen, for their colours are learned there."""
    lag: int | None = None
    """Frames by which pictures are late against joints; None to estimate it from the recording."""
    max_frames: int | None = None
    """Frames of each episode that are followed; None for all."""
    tracker: Tracker = "colour"
    """What follows the dots: `DotTracker`, or CoTracker3, whose licence is not for commercial use."""
    device: str = "cpu"
    """Of torch, for CoTracker3."""

    def __post_init__(self) -> None:
        """Check what no one below checks; raises InvalidInputError."""
        counts = {camera: len(np.atleast_2d(dots)) for camera, dots in self.dots.items()}
        if len(set(counts.values())) > 1:
            raise InvalidInputError(f"dots: expected as many in each camera, got {counts}; give them in the same order")
        if self.max_frames is not None and self.max_frames < 1:
            raise InvalidInputError(f"max_frames: expected 1 or more, got {self.max_frames}")


def no_bar(frames: Iterable[Any], label: str, count: int) -> Iterable[Any]:
    """Progress that shows nothing."""
    return frames


def follow_recording(
    dataset: Dataset, config: PreprocessConfig, folder: Path, progress: Progress = no_bar
) -> list[list[Tracks]]:
    """The dots of every episode, for every camera; what was followed before is read from the folder.

    Colours are learned in the first episode. In the others dots are found again by their colours, so the dots need be
    shown by hand once only.

    Args:
        dataset: the recording.
        config: first positions and bounds.
        folder: where the tracks of each episode are kept, so that a run that was interrupted goes on.
        progress: wraps the frames of an episode, with a label and their number; for a progress bar.

    Returns:
        Tracks by episode, then by camera in the order of `config.dots`.

    Raises:
        InvalidInputError: a camera that is not there, or no dot where one was said to be.
        DatasetError: tracks in the folder that belong to other settings; or a defect that tables and videos show
            before they are followed.
        MissingPackageError: PyAV or OpenCV is not installed, or CoTracker3 cannot be loaded.
    """
    unknown = [camera for camera in config.dots if camera not in dataset.camera_names]
    if unknown or not config.dots:
        raise InvalidInputError(f"dots: no camera {unknown}; the recording has {', '.join(dataset.camera_names)}")
    dataset.verify()
    trackers = {camera: DotTracker(dots, camera) for camera, dots in config.dots.items()}
    return [
        [_follow(episode, camera, trackers[camera], config, folder, progress) for camera in config.dots]
        for episode in dataset.episodes
    ]


def pair_recording(
    dataset: Dataset, tracks: list[list[Tracks]], config: PreprocessConfig
) -> tuple[ProcessedRecording, Lag | None]:
    """Dots beside the joints they were taken at.

    The picture of frame t shows the joints of frame t - lag; frames without a partner are left out.

    Returns:
        The processed recording, and what was found of the lag; None where it was given.

    Raises:
        InvalidInputError: units that nobody knows, no gripper, or a lag that was to be estimated and is not clear.
    """
    if dataset.units is None:
        raise InvalidInputError(
            "units: the recording does not say those of its joints; say degrees or normalised (--units)"
        )
    found = None
    lag = config.lag
    if lag is None:
        found = _estimated(dataset, tracks)
        if not found.clear:
            raise InvalidInputError(f"the lag cannot be told from this recording: {found.words} Give it")
        lag = found.offset
    arm = np.array([not name.startswith(GRIPPER) for name in dataset.joint_names])
    if arm.sum() != len(arm) - 1:
        raise InvalidInputError(f"joints: expected one whose name begins with {GRIPPER}, got {dataset.joint_names}")
    parts = [_paired(episode, views, lag) for episode, views in zip(dataset.episodes, tracks, strict=True)]
    dots, joints, frames = (np.concatenate(column) for column in zip(*parts, strict=True))
    lengths = [len(part[1]) for part in parts]
    recording = ProcessedRecording(
        dots=dots.astype(np.float32),
        joints=joints[:, arm],
        gripper=joints[:, ~arm][:, 0],
        episode=np.repeat([episode.index for episode in dataset.episodes], lengths),
        frame=frames,
        joint_names=tuple(np.array(dataset.joint_names)[arm].tolist()),
        units=dataset.units,
        fps=dataset.fps,
        lag=float(lag),
        cameras={camera: dataset.picture_size(camera) for camera in config.dots},
        dot_names=tuple(f"dot{i + 1}" for i in range(dots.shape[2])),
    )
    return recording, found


def _follow(
    episode: Episode, camera: str, tracker: DotTracker, config: PreprocessConfig, folder: Path, progress: Progress
) -> Tracks:
    path = folder / f"episode_{episode.index:06d}_{camera}.npz"
    dots = np.asarray(config.dots[camera], dtype=float).tolist()
    settings = {"dots": dots, "first_frame": config.first_frame, "max_frames": config.max_frames}
    settings["tracker"] = config.tracker
    count = min(episode.length, config.max_frames or episode.length)
    kept = _read(path, settings, count)
    if kept is None:
        tracker = _begun(episode, camera, tracker) if tracker.dots else _learned(episode, camera, tracker, config)
        frames = progress(islice(episode.frames(camera), count), f"episode {episode.index}, {camera}", count)
        kept = tracker.follow(frames) if config.tracker == "colour" else _by_network(tracker, frames, config)
        write_arrays(path, {**kept._asdict(), "settings": np.array(json.dumps(settings))})
    elif not tracker.dots:  # colours are learned where the dots were shown
        tracker.step(next(episode.frames(camera, config.first_frame)))
    return kept


def _by_network(tracker: DotTracker, frames: Iterable[Frame], config: PreprocessConfig) -> Tracks:
    """Tracks of CoTracker3 from the first frame on in which all dots are found by their colours; NaN before it."""
    frames, before = iter(frames), 0
    for frame in frames:
        view = tracker.step(frame)
        if np.isfinite(view.positions).all():
            tracks = CoTracker(view.positions, tracker.camera, config.device).follow(chain([frame], frames))
            break
        before += 1
    else:
        tracks = Tracks(np.zeros((0, len(tracker.dots), 2)), np.zeros((0, len(tracker.dots))))
    missing = np.full((before, *tracks.positions.shape[1:]), np.nan)
    confidence = np.concatenate([np.zeros(missing.shape[:2]), tracks.confidence])
    return Tracks(np.concatenate([missing, tracks.positions]), confidence)


def _learned(episode: Episode, camera: str, tracker: DotTracker, config: PreprocessConfig) -> DotTracker:
    """The same, with the colours of the frame in which the dots were shown; where that is the first, it learns them."""
    if config.first_frame >= episode.length or config.first_frame < 0:
        raise InvalidInputError(
            f"first_frame: episode {episode.index} has the frames 0 to {episode.length - 1}, got {config.first_frame}"
        )
    if config.first_frame:
        tracker.step(next(episode.frames(camera, config.first_frame)))
        tracker.restart()
    return tracker


def _begun(episode: Episode, camera: str, tracker: DotTracker) -> DotTracker:
    """The tracker for another episode: a fresh one where all dots are found by their colours, else the same.

    After `DotTracker.restart` alone a dot in full view was missed in whole episodes of rendered recordings.
    """
    reference = tracker.dots
    found = find_dots(episode.frames(camera, 0, min(LOOK, episode.length)), CANDIDATES * len(reference), LOOK)
    matched = in_order_of(reference, found)[: len(reference)]
    alike = [np.linalg.norm(dot.rgb - one.rgb) < SAME_COLOUR for dot, one in zip(matched, reference, strict=False)]
    if len(alike) == len(reference) and all(alike):
        return DotTracker(np.array([dot.position for dot in matched]), camera)
    tracker.restart()
    return tracker


def _read(path: Path, settings: dict[str, Any], count: int) -> Tracks | None:
    """Tracks that were written before; None where there are none."""
    if not path.is_file():
        return None
    arrays = read_arrays(path)
    try:
        tracks, made_with = Tracks(arrays["positions"], arrays["confidence"]), json.loads(str(arrays["settings"]))
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{path}: no tracks are in it ({error}); delete it, and they are followed again") from error
    if made_with != settings or len(tracks.positions) != count:
        raise DatasetError(
            f"{path}: of another run, with {made_with} and {len(tracks.positions)} frames; now {settings} and {count}. "
            "Choose another folder, or delete it"
        )
    return tracks


def _estimated(dataset: Dataset, tracks: list[list[Tracks]]) -> Lag:
    """Of the camera that tells it best."""
    joints = [episode.joints for episode in dataset.episodes]
    lags = []
    for camera in range(len(tracks[0])):
        seen = [views[camera].positions for views in tracks]
        lags.append(estimate_lag(seen, [q[: len(p)] for q, p in zip(joints, seen, strict=True)]))
    return max(lags, key=lambda lag: (lag.clear, lag.quality))


def _paired(episode: Episode, views: list[Tracks], lag: int) -> tuple[Array, Array, NDArray[np.int64]]:
    """Dots `(n, n_cameras, n_dots, 2)`, joints `(n, n_joints)` and numbers of the frames `(n,)` of an episode."""
    dots = np.stack([view.positions for view in views], 1)
    frames = np.arange(len(dots))
    frames = frames[(frames - lag >= 0) & (frames - lag < episode.length)]
    return dots[frames], episode.joints[frames - lag], frames
