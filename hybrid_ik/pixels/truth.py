"""What a recording that was made here really shows, frame by frame: `truth.npz` in the dataset's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import DatasetError
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.processed import read_arrays, write_arrays

Array = NDArray[np.float64]

TRUTH_FILE = "truth.npz"
MAKE_AGAIN = "Make the recording again, with hybrid-ik pixels record"
VISIBLE_SHARE = 0.5  # of a dot's disc that is not hidden


@dataclass(frozen=True, eq=False, kw_only=True)
class Truth:
    """Rows stand for frames, in the order of the recording; an episode's rows are `of_episode`.

    Picture i of an episode was exposed around the time (i - lag) / fps, and row i of its table was read at i / fps: the
    picture shows the joints that the table has `lag` rows before.
    """

    cameras: Mapping[str, Camera]
    """By their names, in the order of the axis `n_cameras`."""
    dots: tuple[str, ...]
    """Sites of the arm's model, in the order of the axis `n_dots`."""
    lag: float
    """How much older pictures are than joints [frames]; not always a whole number."""
    settings: Mapping[str, Any]
    """All that the recording was made with, plain data."""
    episode: NDArray[np.int64]
    """Episode of each row `(n,)`."""
    q: Array
    """All joints of the model, in the middle of the exposure `(n, nq)` [rad]."""
    pixels: Array
    """Centres of the dots then `(n, n_cameras, n_dots, 2)` [pixels], through the lens, also where they are hidden."""
    shares: NDArray[np.float32]
    """How much of each dot's disc the camera sees `(n, n_cameras, n_dots)`, 0 to 1."""

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Whether a camera sees at least half of a dot `(n, n_cameras, n_dots)`."""
        return self.shares >= VISIBLE_SHARE

    @property
    def n_episodes(self) -> int:
        """Number of episodes."""
        return int(self.episode.max(initial=-1)) + 1

    def of_episode(self, index: int) -> Truth:
        """The rows of one episode; row i belongs to its picture i."""
        return self._rows(self.episode == index)

    def first(self, n_episodes: int) -> Truth:
        """The rows of the first episodes."""
        return self._rows(self.episode < n_episodes)

    def extended(self, q: Array, pixels: Array, shares: Array) -> Truth:
        """The same with one more episode of these rows."""
        new: dict[str, Any] = {"q": q, "pixels": pixels, "shares": np.asarray(shares, np.float32)}
        new["episode"] = np.full(len(q), self.n_episodes)
        joined: dict[str, Any] = {name: np.concatenate([getattr(self, name), rows]) for name, rows in new.items()}
        return replace(self, **joined)

    def save(self, root: Path) -> None:
        """Write it into a dataset's folder, atomically."""
        heading = {
            "cameras": {name: camera.to_dict() for name, camera in self.cameras.items()},
            "dots": list(self.dots),
            "lag": float(self.lag),
            "settings": dict(self.settings),
        }
        rows = {name: getattr(self, name) for name in (*ROWS, "visible")}
        write_arrays(root / TRUTH_FILE, {"heading": np.array(json.dumps(heading)), **rows})

    def _rows(self, which: NDArray[np.bool_]) -> Truth:
        return replace(self, **{name: getattr(self, name)[which] for name in ROWS})


ROWS = "episode", "q", "pixels", "shares"


def no_truth(
    cameras: Mapping[str, Camera], dots: tuple[str, ...], lag: float, settings: Mapping[str, Any], nq: int
) -> Truth:
    """That of a recording without episodes; `nq` is the number of joints, the others as of `Truth`."""
    shape = len(cameras), len(dots)
    return Truth(
        cameras=cameras,
        dots=dots,
        lag=lag,
        settings=settings,
        episode=np.empty(0, np.int64),
        q=np.empty((0, nq)),
        pixels=np.empty((0, *shape, 2)),
        shares=np.empty((0, *shape), np.float32),
    )


def read_truth(root: str | Path) -> Truth:
    """The truth of the recording in a folder.

    Raises:
        DatasetError: there is none (only recordings of `hybrid-ik pixels record` have it), or it is damaged.
    """
    path = Path(root) / TRUTH_FILE
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; only recordings of `hybrid-ik pixels record` have one")
    stored = read_arrays(path)
    missing = [name for name in ("heading", *ROWS) if name not in stored]
    if missing:
        raise DatasetError(f"{path}: no {', '.join(missing)} in it; it holds {', '.join(stored)}. {MAKE_AGAIN}")
    try:
        heading = json.loads(str(stored["heading"]))
        rows: dict[str, Any] = {name: stored[name] for name in ROWS}
        cameras = {name: Camera.from_dict(camera) for name, camera in heading["cameras"].items()}
        truth = Truth(
            cameras=cameras,
            dots=tuple(heading["dots"]),
            lag=float(heading["lag"]),
            settings=heading["settings"],
            **rows,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: its heading is damaged ({error!r}). {MAKE_AGAIN}") from error
    _check_shapes(path, truth)
    return truth


def _check_shapes(path: Path, truth: Truth) -> None:
    n, views = len(truth.episode), (len(truth.cameras), len(truth.dots))
    expected = {"episode": (n,), "q": (n, *truth.q.shape[1:2]), "pixels": (n, *views, 2), "shares": (n, *views)}
    for name, shape in expected.items():
        if getattr(truth, name).shape != shape:
            raise DatasetError(f"{path}: {name} has the shape {getattr(truth, name).shape}, not {shape}. {MAKE_AGAIN}")
