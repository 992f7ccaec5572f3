"""From a recording to its dots: every episode of every camera followed, paired with joints, and kept as it goes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
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
from hybrid_ik.pixels.recordings.layout import is_gripper

Array = NDArray[np.float64]
Tracker = Literal["colour", "cotracker"]
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]

LOOK = 10  # frames of an episode in which dots are looked for
CANDIDATES = 3  # things that may be dots, for each of them
SETTLE = 900  # frames at most, after that in which dots were shown, from which their sizes are learned
SAME_COLOUR = 90.0  # of 0 to 255, largest distance between colours of a dot in two episodes


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
    shown by hand once only. No episode depends on how another one was followed: a run that was interrupted ends with
    the same tracks.

    Args:
        dataset: the recording.
        config: first positions and bounds.
        folder: where the tracks of each episode are kept, so that a run that was interrupted goes on.
        progress: wraps the frames of an episode, with a label and their number; for a progress bar.

    Returns:
        Tracks by episode, then by camera in the order of `config.dots`.

    Raises:
        InvalidInputError: a camera that is not there, or no dot where one was said to be.
        DatasetError: tracks in the folder that belong to another recording or other settings; or a defect that tables
            and videos show before they are followed.
        MissingPackageError: PyAV or OpenCV is not installed, or CoTracker3 cannot be loaded.
    """
    unknown = [camera for camera in config.dots if camera not in dataset.camera_names]
    if unknown or not config.dots:
        raise InvalidInputError(f"dots: no camera {unknown}; the recording has {', '.join(dataset.camera_names)}")
    dataset.verify()
    shown = [_shown(dataset.episodes[0], camera, config) for camera in config.dots]
    return [[_follow(episode, dots, config, folder, progress) for dots in shown] for episode in dataset.episodes]


def arm_joints(dataset: Dataset) -> NDArray[np.bool_]:
    """Which joints of a recording are the arm's `(n_joints,)`: all but the gripper; ask before dots are followed.

    Raises:
        InvalidInputError: units that nobody knows, or not one gripper.
    """
    name, joints = dataset.layout.name, dataset.joint_names
    if dataset.units is None:
        raise InvalidInputError(f"units: {name} does not say those of its joints; say degrees or normalised (--units)")
    arm = np.array([not is_gripper(joint) for joint in joints])
    if arm.sum() != len(arm) - 1:
        raise InvalidInputError(f"joints: expected one with 'gripper' in its name, {name} has {', '.join(joints)}")
    return arm


def pair_recording(
    dataset: Dataset, tracks: list[list[Tracks]], config: PreprocessConfig
) -> tuple[ProcessedRecording, Lag | None]:
    """Dots beside the joints they were taken at.

    The picture of frame t shows the joints of frame t - lag; frames without a partner are left out.

    Returns:
        The processed recording, and what was found of the lag; None where it was given.

    Raises:
        InvalidInputError: as `arm_joints`; a lag that was to be estimated and is not clear; or no frame with a partner.
    """
    arm = arm_joints(dataset)
    found = _estimated(dataset, tracks) if config.lag is None else None
    lag = found.offset if found else config.lag
    assert lag is not None and dataset.units is not None
    parts = [_paired(episode, views, lag) for episode, views in zip(dataset.episodes, tracks, strict=True)]
    dots, joints, frames = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(frames):
        longest = max(len(views[0].positions) for views in tracks)
        raise InvalidInputError(
            f"lag: at {lag} frames no picture has its joints, of {longest} frames an episode. Give a smaller one "
            "(--frame-offset), or follow more frames (--max-frames)"
        )
    recording = ProcessedRecording(
        dots=dots.astype(np.float32),
        joints=joints[:, arm],
        gripper=joints[:, ~arm][:, 0],
        episode=np.repeat([episode.index for episode in dataset.episodes], [len(part[1]) for part in parts]),
        frame=frames,
        joint_names=tuple(np.array(dataset.joint_names)[arm].tolist()),
        units=dataset.units,
        fps=dataset.fps,
        lag=float(lag),
        cameras={camera: dataset.picture_size(camera) for camera in config.dots},
        dot_names=tuple(f"dot{i + 1}" for i in range(dots.shape[2])),
    )
    return recording, found


@dataclass(frozen=True, eq=False)
class _Shown:
    """The dots of a camera in the frame in which they were shown: all that is known of them when an episode begins."""

    camera: str
    dots: Array
    episode: Episode
    frame: int
    most: int
    """Frames after it from which their sizes are learned, too."""

    @cached_property
    def tracker(self) -> DotTracker:
        """One that has learned them in that frame; not to be changed."""
        tracker = DotTracker(self.dots, self.camera)
        tracker.step(next(self.episode.frames(self.camera, self.frame)))
        return tracker

    @cached_property
    def settled(self) -> DotTracker:
        """The same after some frames, in which it has seen them turn.

        With sizes of one frame alone, 657 visible dots of 28,800 were lost in the 16 times that this was needed in a
        drawn recording of 20 minutes; with these, 366.
        """
        tracker, stop = deepcopy(self.tracker), min(self.frame + self.most, self.episode.length)
        for frame in self.episode.frames(self.camera, min(self.frame + 1, stop), stop):
            tracker.step(frame)
        return tracker


def _shown(episode: Episode, camera: str, config: PreprocessConfig) -> _Shown:
    """Checked: there is a dot at each of the places."""
    frame = config.first_frame
    if not 0 <= frame < episode.length:
        raise InvalidInputError(
            f"first_frame: episode {episode.index} has the frames 0 to {episode.length - 1}, got {frame}"
        )
    shown = _Shown(camera, config.dots[camera], episode, frame, min(SETTLE, config.max_frames or SETTLE))
    _ = shown.tracker
    return shown


def _follow(episode: Episode, shown: _Shown, config: PreprocessConfig, folder: Path, progress: Progress) -> Tracks:
    """The tracks of one camera, from the folder or into it."""
    camera, path = shown.camera, folder / f"episode_{episode.index:06d}_{shown.camera}.npz"
    settings = _settings(episode, shown, config)
    kept = _read(path, settings)
    if kept is None:
        tracker, count = _begun(episode, shown), min(episode.length, config.max_frames or episode.length)
        frames = progress(islice(episode.frames(camera), count), f"episode {episode.index}, {camera}", count)
        kept = tracker.follow(frames) if config.tracker == "colour" else _by_network(tracker, frames, config)
        write_arrays(path, {**kept._asdict(), "settings": np.array(json.dumps(settings))})
    return kept


def _settings(episode: Episode, shown: _Shown, config: PreprocessConfig) -> dict[str, Any]:
    """All that the tracks depend on, plain data; joints tell recordings apart in which the dots begin alike."""
    return {
        "dots": np.asarray(shown.dots, dtype=float).tolist(),
        "first_frame": shown.frame,
        "max_frames": config.max_frames,
        "tracker": config.tracker,
        "joints": zlib.crc32(episode.joints.tobytes()),
    }


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


def _begun(episode: Episode, shown: _Shown) -> DotTracker:
    """The tracker of an episode: a fresh one where all dots are found by their colours, else one that knows these.

    With the latter alone a dot in full view was missed in whole episodes of rendered recordings.
    """
    if episode.index == shown.episode.index:
        return _restarted(shown.tracker) if shown.frame else DotTracker(shown.dots, shown.camera)
    reference = shown.tracker.dots
    found = find_dots(episode.frames(shown.camera, 0, min(LOOK, episode.length)), CANDIDATES * len(reference), LOOK)
    matched = in_order_of(reference, found)[: len(reference)]
    alike = [np.linalg.norm(dot.rgb - one.rgb) < SAME_COLOUR for dot, one in zip(matched, reference, strict=False)]
    if len(alike) == len(reference) and all(alike):
        return DotTracker(np.array([dot.position for dot in matched]), shown.camera)
    return _restarted(shown.settled)


def _restarted(tracker: DotTracker) -> DotTracker:
    """Another one with the same colours and sizes, which knows no places."""
    other = deepcopy(tracker)
    other.restart()
    return other


def _read(path: Path, settings: dict[str, Any]) -> Tracks | None:
    """Tracks that were written before; None where there are none."""
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path)
        tracks, made_with = Tracks(arrays["positions"], arrays["confidence"]), json.loads(str(arrays["settings"]))
    except (DatasetError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{path}: no tracks can be read ({error}). Delete it, and they are followed again"
        ) from error
    if made_with != settings:
        raise DatasetError(
            f"{path}: of another recording or run, with {made_with}; now {settings}. Write elsewhere (--out), or "
            f"delete the folder {path.parent}"
        )
    return tracks


def _estimated(dataset: Dataset, tracks: list[list[Tracks]]) -> Lag:
    """Of the camera that tells it best; checked to be clear."""
    joints = [episode.joints for episode in dataset.episodes]
    lags = []
    for camera in range(len(tracks[0])):
        seen = [views[camera].positions for views in tracks]
        lags.append(estimate_lag(seen, [q[: len(p)] for q, p in zip(joints, seen, strict=True)]))
    best = max(lags, key=lambda lag: (lag.clear, lag.quality))
    if not best.clear:
        raise InvalidInputError(
            f"the lag cannot be told from this recording: {best.words}. Give it in frames (--frame-offset)"
        )
    return best


def _paired(episode: Episode, views: list[Tracks], lag: int) -> tuple[Array, Array, NDArray[np.int64]]:
    """Dots `(n, n_cameras, n_dots, 2)`, joints `(n, n_joints)` and numbers of the frames `(n,)` of an episode."""
    dots = np.stack([view.positions for view in views], 1)
    frames = np.arange(len(dots))
    frames = frames[(frames - lag >= 0) & (frames - lag < episode.length)]
    return dots[frames], episode.joints[frames - lag], frames
