"""`hybrid-ik pixels find-dots`: first positions of the dots, proposed for each camera."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

if TYPE_CHECKING:
    from hybrid_ik.pixels.dots.detection import FoundDot
    from hybrid_ik.pixels.first_dots import FirstDots
    from hybrid_ik.pixels.recordings.dataset import Episode

FOUND, FEWER = 0, 1


@dataclass(frozen=True, kw_only=True)
class FindOptions:
    """Propose where the dots are, in that of the first frames in which they are seen best; status 1 if too few are.

    The last line is the command that follows them.
    """

    data: str
    """A recording in LeRobot's format: a folder, or a name on the hub."""
    cameras: tuple[str, ...] = ()
    """Of the recording, those that see the dots and stand still; all by default."""
    n: int = 2
    """Dots on the gripper."""
    frames: int = 30
    """Frames that are looked at from each one that is tried: dots are round, colourful, and move."""
    within: int = 150
    """Frames at the beginning of which some are tried."""
    leave_out: tuple[int, ...] = ()
    """Episodes that are not wanted, as `preprocess` has it; dots are looked for in the first of the others."""
    out: Path | None = None
    """Folder for a picture of each camera with the dots and their scores drawn in."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(FindOptions, prog="hybrid-ik pixels find-dots", args=list(argv))
    from hybrid_ik.pixels.first_dots import find_first_dots
    from hybrid_ik.pixels.recordings.dataset import open_dataset

    dataset = open_dataset(options.data, leave_out=options.leave_out)
    episode, cameras = dataset.episodes[0], options.cameras or dataset.camera_names
    first = find_first_dots(episode, cameras, options.n, options.frames, options.within)
    for camera, dots in first.dots.items():
        print(describe(camera, dots, options.n))
        if options.out is not None:
            print(f"wrote {_drawn(options.out, episode, camera, first)}")
    print(f"\n{next_command(options, first)}")
    return FOUND if all(len(dots) == options.n for dots in first.dots.values()) else FEWER


def describe(camera: str, dots: Sequence[FoundDot], n: int) -> str:
    """What was found in a camera's pictures, a line for each dot."""
    lines = []
    for i, dot in enumerate(dots):
        rgb = ", ".join(f"{value:.0f}" for value in dot.rgb)
        lines.append(f"{camera}: dot {i + 1} at {dot.position.round(1)} px, colour ({rgb}), score {dot.score:.2f}")
    if len(dots) < n:
        lines.append(f"{camera}: {len(dots)} of {n} dots; give the others by hand")
    return "\n".join(lines)


def next_command(options: FindOptions, first: FirstDots) -> str:
    """What to call to follow these dots."""
    words = ["hybrid-ik", "pixels", "preprocess", "--data", options.data, "--first-frame", str(first.frame)]
    if options.leave_out:
        words += ["--leave-out", *map(str, options.leave_out)]
    for camera, dots in first.dots.items():
        words += ["--dots", camera, *(f"{x:.1f}" for dot in dots for x in dot.position)]
    return shlex.join(words)


def _drawn(folder: Path, episode: Episode, camera: str, first: FirstDots) -> Path:
    """The picture of the frame with the dots."""
    from hybrid_ik.pixels.dots.annotate import write_annotated_frames
    from hybrid_ik.pixels.dots.tracks import Tracks

    dots = first.dots[camera]
    tracks = Tracks(np.reshape([dot.position for dot in dots], (1, -1, 2)), np.array([[dot.score for dot in dots]]))
    frames = episode.frames(camera, first.frame, first.frame + 1)
    return write_annotated_frames(folder, frames, tracks, camera=camera, first=first.frame)[0]
