"""`hybrid-ik pixels verify-dots`: the dots that were followed, drawn into the pictures, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import tyro


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Draw the dots of a processed recording into its pictures: frames as PNG, and a video of each camera."""

    data: str
    """The recording."""
    processed: Path = Path("runs/pixels/processed.npz")
    """What `preprocess` wrote."""
    out: Path = Path("runs/pixels/verify")
    """Folder of frames and videos."""
    episode: int = 0
    """Number of the episode."""
    every: int = 30
    """Every so many frames one is written as a picture."""
    max_frames: int | None = 600
    """Frames that are drawn."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(VerifyOptions, prog="hybrid-ik pixels verify-dots", args=list(argv))
    from hybrid_ik.errors import InvalidInputError
    from hybrid_ik.pixels.dots.annotate import write_annotated_frames, write_annotated_video
    from hybrid_ik.pixels.dots.tracks import Tracks
    from hybrid_ik.pixels.processed import load_processed
    from hybrid_ik.pixels.recordings.dataset import open_dataset

    dataset, recording = open_dataset(options.data), load_processed(options.processed)
    rows = np.flatnonzero(recording.episode == options.episode)[: options.max_frames]
    episodes = {episode.index: episode for episode in dataset.episodes}
    if not len(rows) or options.episode not in episodes:
        there = np.unique(recording.episode).tolist()
        raise InvalidInputError(f"--episode {options.episode}: {options.processed} has the episodes {there}")
    first, count = int(recording.frame[rows[0]]), len(rows)
    for number, camera in enumerate(recording.cameras):
        positions = recording.dots[rows, number].astype(float)
        tracks = Tracks(positions, np.isfinite(positions).all(-1).astype(float))
        for write in (
            lambda frames: write_annotated_video(options.out / f"{camera}.mp4", frames, tracks, recording.fps),  # noqa: B023
            lambda frames: write_annotated_frames(options.out, frames, tracks, options.every, camera),  # noqa: B023
        ):
            write(islice(episodes[options.episode].frames(camera, first), count))
        print(f"wrote {options.out / f'{camera}.mp4'}, and every {options.every}th frame as a picture")
    return 0
