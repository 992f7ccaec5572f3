"""`hybrid-ik pixels find-dots`: first positions of the dots, proposed for each camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

FOUND, FEWER = 0, 1


@dataclass(frozen=True, kw_only=True)
class FindOptions:
    """Propose where the dots are, in that of the first frames in which they are seen best; status 1 if too few are."""

    data: str
    """A recording in LeRobot's format: a folder, or a name on the hub."""
    n: int = 2
    """Dots on the gripper."""
    frames: int = 30
    """Frames that are looked at from each one that is tried: dots are round, colourful, and move."""
    within: int = 150
    """Frames at the beginning of which some are tried."""
    out: Path | None = None
    """Folder for a picture of each camera with the dots drawn in."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(FindOptions, prog="hybrid-ik pixels find-dots", args=list(argv))
    from hybrid_ik.pixels.first_dots import find_first_dots
    from hybrid_ik.pixels.recordings.dataset import open_dataset

    dataset, status = open_dataset(options.data), FOUND
    first = dataset.episodes[0]
    frame, found = find_first_dots(first, dataset.camera_names, options.n, options.frames, options.within)
    words: list[str] = []
    for camera, dots in found.items():
        places = " ".join(f"{x:.1f}" for dot in dots for x in dot.position)
        for i, dot in enumerate(dots):
            rgb = ", ".join(f"{value:.0f}" for value in dot.rgb)
            print(f"{camera}: dot {i + 1} at {dot.position.round(1)} px, colour ({rgb}), score {dot.score:.2f}")
        if len(dots) < options.n:
            print(f"{camera}: {len(dots)} of {options.n} dots; give the others by hand")
            status = FEWER
        words.append(f"--dots {camera} {places}")
        if options.out is not None:
            _draw(options.out, camera, first.frames(camera, frame, frame + 1), dots, frame)
    print(f"\nhybrid-ik pixels preprocess --data {options.data} --first-frame {frame} {' '.join(words)}")
    return status


def _draw(folder: Path, camera: str, frames: object, dots: Sequence[object], first: int) -> None:
    """A picture of a frame with the dots."""
    import numpy as np

    from hybrid_ik.pixels.dots.annotate import write_annotated_frames
    from hybrid_ik.pixels.dots.tracks import Tracks

    positions = np.array([[dot.position for dot in dots]]).reshape(1, -1, 2)  # type: ignore[attr-defined]
    tracks = Tracks(positions, np.ones(positions.shape[:2]))
    for path in write_annotated_frames(folder, frames, tracks, camera=camera, first=first):  # type: ignore[arg-type]
        print(f"wrote {path}")
