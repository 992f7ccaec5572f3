"""Dots followed through a drawn recording, against the truth beside it, by the very path of a user: one core.

`find_first_dots` proposes them and `follow_recording` follows them, as `hybrid-ik pixels find-dots` and `preprocess`
do. A dot is visible where a camera sees at least half of its disc. Draw a recording first:

    hybrid-ik pixels record --out made --episodes 5 --seconds 30
    python benchmarks/dot_tracking.py --data made
"""

from __future__ import annotations

import resource
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from record import RESULTS, cores, print_table, record, restart_in_one_thread, timed, write_json

from hybrid_ik.pixels.dots.tracks import Tracks
from hybrid_ik.pixels.first_dots import find_first_dots
from hybrid_ik.pixels.preprocess import PreprocessConfig, follow_recording
from hybrid_ik.pixels.recordings.dataset import Dataset, open_dataset
from hybrid_ik.pixels.truth import Truth, read_truth

Array = NDArray[np.float64]

WRONG = 5.0  # px
HIDDEN = 0.1  # share of the disc below which a dot that is reported was invented


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    data: Path
    """A recording of `hybrid-ik pixels record`."""
    episodes: int | None = None
    """How many of its episodes; all by default."""
    json: Path = RESULTS / "dot_tracking.json"
    """Where to save the results."""
    keep: Path | None = None
    """Folder in which tracks are kept, to be looked at; times are not measured where some are there."""


def follow(dataset: Dataset, config: PreprocessConfig, folder: Path | None) -> list[list[Tracks]]:
    """Tracks by episode, then camera; kept in a folder, or in none."""
    with tempfile.TemporaryDirectory() as forgotten:
        return follow_recording(dataset, config, folder or Path(forgotten))


def in_order_of_truth(positions: Array, truth: Truth) -> Array:
    """Positions `(n, n_cameras, n_dots, 2)` with the dots in the order that fits best: `find-dots` knows no names."""
    errors = [
        np.nanmedian(np.linalg.norm(positions[:, :, order] - truth.pixels, axis=-1)) for order in ([0, 1], [1, 0])
    ]
    return positions[:, :, ::-1] if errors[1] < errors[0] else positions


def rates(error: Array, shares: NDArray[np.float32]) -> dict[str, float]:
    """Measures of some frames: how far positions are off (NaN where the dot was masked), and the visible shares."""
    seen, visible = np.isfinite(error), shares >= 0.5
    return {
        "median [px]": float(np.median(error[seen])),
        "95 % [px]": float(np.quantile(error[seen], 0.95)),
        "lost": float((~seen & visible).sum() / visible.sum()),
        "wrong": float((error[seen] > WRONG).mean()),
        "invented": float((seen & (shares < HIDDEN)).mean()),
        "visible": float(visible.mean()),
        "reported": float(seen.mean()),
    }


def accuracy(tracks: list[list[Tracks]], truth: Truth) -> list[dict[str, Any]]:
    """Rows of all, and of each camera and dot."""
    positions = np.concatenate([np.stack([view.positions for view in views], 1) for views in tracks])
    error = np.linalg.norm(in_order_of_truth(positions, truth) - truth.pixels, axis=-1)
    rows: list[dict[str, Any]] = [{"dot": "all", **rates(error, truth.shares)}]
    for i, camera in enumerate(truth.cameras):
        for j, dot in enumerate(truth.dots):
            rows.append({"dot": f"{camera}, {dot}", **rates(error[:, i, j], truth.shares[:, i, j])})
    return rows


def main(options: Options) -> None:
    """Measures, prints and saves."""
    dataset, truth = open_dataset(options.data), read_truth(options.data)
    n_episodes = min(options.episodes or len(dataset.episodes), len(dataset.episodes))
    dataset, truth = replace(dataset, episodes=dataset.episodes[:n_episodes]), truth.first(n_episodes)
    with cores(1):
        proposing, first = timed(lambda: find_first_dots(dataset.episodes[0], dataset.camera_names, len(truth.dots)))
        places = {camera: np.array([dot.position for dot in dots]).round(1) for camera, dots in first.dots.items()}
        config = PreprocessConfig(dots=places, first_frame=first.frame)
        fresh = options.keep is None or not list(options.keep.glob("*.npz"))
        seconds, tracks = timed(lambda: follow(dataset, config, options.keep))
    rows, pictures = accuracy(tracks, truth), dataset.n_frames * len(truth.cameras)
    speed = {
        "proposing [s]": proposing,
        "pictures": pictures,
        "pictures a second": pictures / seconds if fresh else None,
        "of the time of the video": seconds * dataset.fps / dataset.n_frames if fresh else None,
        "peak memory [MB]": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if _is_mac() else 1024),
    }
    settings = {
        "episodes": n_episodes,
        "recording": dict(truth.settings),
        "first frame": first.frame,
        "first dots": places,
    }
    write_json(options.json, {**record(), **settings, "speed": speed, "rows": rows})
    print_table(f"{n_episodes} episodes, {dataset.n_frames} frames", rows)
    print_table("on one core, decoding and all cameras included", [speed])


def _is_mac() -> bool:
    return sys.platform == "darwin"  # which counts memory in bytes


if __name__ == "__main__":
    restart_in_one_thread()
    main(tyro.cli(Options, description=__doc__))
