"""`hybrid-ik pixels verify-dots`: the dots that were followed, drawn into the pictures, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError

if TYPE_CHECKING:
    from hybrid_ik.pixels.processed import ProcessedRecording
    from hybrid_ik.pixels.recordings.dataset import Dataset, Episode


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Draw the dots of a processed recording into its pictures: frames as PNG, and a video of each camera."""

    data: str
    """The recording that was given to `preprocess`: a folder, or a name on the hub."""
    processed: Path = Path("runs/pixels/processed.npz")
    """What `preprocess` wrote."""
    out: Path = Path("runs/pixels/verify")
    """Folder of frames and videos; episode and frame are in their names."""
    episode: int = 0
    """Number of the episode."""
    every: int = 30
    """Every so many frames one is written as a picture."""
    max_frames: int | None = 600
    """Frames that are drawn; `None` for all."""

    def __post_init__(self) -> None:
        """Check the numbers; raises InvalidInputError."""
        for name, given in ("every", self.every), ("max-frames", self.max_frames):
            if given is not None and given < 1:
                raise InvalidInputError(f"--{name}: expected 1 or more, got {given}")


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(VerifyOptions, prog="hybrid-ik pixels verify-dots", args=list(argv))
    from hybrid_ik.pixels.processed import load_processed
    from hybrid_ik.pixels.recordings.dataset import open_dataset

    dataset, recording = open_dataset(options.data), load_processed(options.processed)
    episode = _episode(dataset, recording, options)
    rows = np.flatnonzero(recording.episode == options.episode)[: options.max_frames]
    for number, camera in enumerate(recording.cameras):
        _draw(options, episode, camera, int(recording.frame[rows[0]]), recording.dots[rows, number])
    return 0


def _episode(dataset: Dataset, recording: ProcessedRecording, options: VerifyOptions) -> Episode:
    """The episode that is asked for, if both know it."""
    processed, recorded = np.unique(recording.episode).tolist(), {one.index: one for one in dataset.episodes}
    for file, there in (options.processed, processed), (options.data, list(recorded)):
        if options.episode not in there:
            raise InvalidInputError(f"--episode {options.episode}: {file} has the episodes {there}")
    return recorded[options.episode]


def _draw(options: VerifyOptions, episode: Episode, camera: str, first: int, dots: NDArray[np.float32]) -> None:
    """Write the pictures and the video of a camera, from the frame `first` on, with dots `(n, n_dots, 2)` [px]."""
    from hybrid_ik.pixels.dots.annotate import write_annotated_frames, write_annotated_video
    from hybrid_ik.pixels.dots.tracks import Tracks

    name = f"episode_{episode.index:06d}_{camera}"
    video = options.out / f"{name}.mp4"
    tracks = Tracks(dots.astype(float), np.full(dots.shape[:2], np.nan))  # which does not say how sure the tracker was
    write_annotated_video(video, islice(episode.frames(camera, first), len(dots)), tracks, episode.layout.fps)
    frames = islice(episode.frames(camera, first), len(dots))
    paths = write_annotated_frames(options.out, frames, tracks, options.every, name, first)
    print(f"wrote {video}, and {len(paths)} of its frames as pictures")
