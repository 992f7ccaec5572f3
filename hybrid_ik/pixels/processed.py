"""A processed recording: the dots of every frame with the joints it was taken at, in one plain `.npz` file.

It is what following the dots through a recording leaves, and what the networks from pixels to joints are trained on
(`hybrid_ik.learning.pixels`). The file holds numeric arrays and one string of JSON, and is read without pickle.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.errors import DatasetError, InvalidInputError

JointUnits = Literal["radians", "degrees", "normalised"]
"""Of the joints in a processed recording: radians, or what LeRobot records (`recordings.layout.Units`)."""

PROCESSED_FORMAT, VERSION, METADATA = "hybrid_ik.processed", 1, "metadata"
WRITTEN_BY = "Give a file that hybrid-ik pixels preprocess wrote, or save_processed"
ZIP = b"PK"  # what an .npz file begins with
ARRAYS: dict[str, Any] = {
    "dots": np.float32, "joints": np.float64, "gripper": np.float64, "episode": np.int64, "frame": np.int64,
}  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class ProcessedRecording:
    """Dots and joints of m frames, and what they are called.

    Joints stay in the units they were recorded in, so that what a network answers can be sent to the arm as it is;
    `hybrid_ik.pixels.recordings.units.to_radians` makes joints of a `Robot` of them.

    Raises:
        InvalidInputError: an array of the wrong shape or kind, or names and sizes that do not go with it.
    """

    dots: NDArray[np.float32]
    """`(m, n_cameras, n_dots, 2)` (column, row) [pixels]; NaN where a dot was lost."""
    joints: NDArray[np.float64]
    """`(m, n_joints)` of the arm without its gripper, in `units`."""
    gripper: NDArray[np.float64]
    """`(m,)` from 0, closed, to 100."""
    episode: NDArray[np.int64]
    """`(m,)` which episode of the recording a row is of."""
    frame: NDArray[np.int64]
    """`(m,)` which frame of that episode the pictures are."""
    joint_names: tuple[str, ...]
    """Of the columns of `joints`."""
    units: JointUnits
    """Of `joints`."""
    fps: float
    """Frames a second."""
    lag: float = 0.0
    """Frames by which pictures came later than joints. Rows are paired already: do not shift them again."""
    cameras: Mapping[str, tuple[int, int]]
    """Names, in the order of the dots' second axis, and picture sizes (height, width) [pixels]."""
    dot_names: tuple[str, ...]
    """In the order of the dots' third axis."""

    def __post_init__(self) -> None:
        arrays = {name: _array(name, getattr(self, name), kind) for name, kind in ARRAYS.items()}
        self.__dict__.update(arrays, joint_names=tuple(self.joint_names), dot_names=tuple(self.dot_names))
        self.__dict__["cameras"] = {name: (int(size[0]), int(size[1])) for name, size in self.cameras.items()}
        if self.units not in get_args(JointUnits):
            raise InvalidInputError(f"units: expected one of {', '.join(get_args(JointUnits))}, got {self.units!r}")
        if not (self.fps > 0 and np.isfinite(self.lag)):
            raise InvalidInputError(
                f"fps, lag: expected frames a second > 0 and a finite lag, got {self.fps}, {self.lag}"
            )
        self._check_shapes()
        for name in ("joints", "gripper"):
            if not np.isfinite(getattr(self, name)).all():
                raise InvalidInputError(f"{name}: expected finite numbers; leave out rows whose joints are not known")

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def n_lost(self) -> int:
        """Rows in which a dot was lost."""
        return int((~np.isfinite(self.dots)).any((1, 2, 3)).sum())

    def of_episodes(self, episodes: ArrayLike) -> ProcessedRecording:
        """The rows of some episodes."""
        return self._rows(np.isin(self.episode, episodes))

    def without_episodes(self, episodes: ArrayLike) -> ProcessedRecording:
        """The rows of all other episodes."""
        return self._rows(~np.isin(self.episode, episodes))

    def _rows(self, rows: NDArray[np.bool_]) -> ProcessedRecording:
        changes: dict[str, Any] = {name: getattr(self, name)[rows] for name in ARRAYS}
        return replace(self, **changes)

    def _check_shapes(self) -> None:
        m = len(self.joints) if self.joints.ndim else 0
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("gripper", "episode", "frame"), (m,))
        shapes |= {"joints": (m, len(self.joint_names)), "dots": (m, len(self.cameras), len(self.dot_names), 2)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise InvalidInputError(
                    f"{name}: expected shape {shape} for {m} rows, joints {list(self.joint_names)}, cameras "
                    f"{list(self.cameras)} and dots {list(self.dot_names)}; got {getattr(self, name).shape}"
                )


def save_processed(path: str | Path, recording: ProcessedRecording) -> None:
    """Write a processed recording (`.npz`), atomically: the old file or the whole new one is there."""
    content = {name: value for name, value in asdict(recording).items() if name not in ARRAYS}
    text = json.dumps({"format": PROCESSED_FORMAT, "version": VERSION, **content}, allow_nan=False)
    arrays = {name: getattr(recording, name) for name in ARRAYS}
    write_arrays(Path(path), {**arrays, METADATA: np.array(text)})


def load_processed(path: str | Path) -> ProcessedRecording:
    """Read what `save_processed` wrote, without pickle.

    Raises:
        DatasetError: missing, damaged, without one of the arrays, with pickled objects, of a newer version, or with
            shapes that do not go together; the message says which.
    """
    try:
        arrays = read_arrays(Path(path))
    except DatasetError as error:
        raise DatasetError(f"{error}. {WRITTEN_BY}") from error
    missing = [name for name in (*ARRAYS, METADATA) if name not in arrays]
    if missing:
        there = ", ".join(sorted(arrays)) or "nothing"
        raise DatasetError(
            f"{path}: not a processed recording: no {', '.join(missing)} in it; it holds {there}. {WRITTEN_BY}"
        )
    content = _content(path, arrays.pop(METADATA))
    try:
        fields: dict[str, Any] = {**content, **{name: arrays[name] for name in ARRAYS}}
        return ProcessedRecording(**fields)
    except (InvalidInputError, TypeError, AttributeError, IndexError) as error:
        raise DatasetError(f"{path}: not a whole processed recording: {error}. {WRITTEN_BY}") from error


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name as an `.npz` file, atomically, without pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of an `.npz` file by name, without pickle; `DatasetError` where there are none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise DatasetError(f"{path}: {why}") from None
    if not data.startswith(ZIP):
        raise DatasetError(f"{path}: not an .npz file")
    try:
        file = np.load(io.BytesIO(data), allow_pickle=False)  # of a path it leaves damaged files open
        return {name: file[name] for name in file.files}
    except ValueError as error:
        raise DatasetError(f"{path}: it holds pickled objects, or no arrays, and is not read") from error
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: damaged ({error})") from error


def _content(path: str | Path, text: NDArray[Any]) -> dict[str, Any]:
    """The metadata, without the names of format and version."""
    try:
        content: dict[str, Any] = dict(json.loads(str(text)))
        name, version = content.pop("format", None), content.pop("version", 0)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: its metadata are no JSON ({error}). {WRITTEN_BY}") from error
    if name != PROCESSED_FORMAT:
        raise DatasetError(f"{path}: expected format {PROCESSED_FORMAT!r}, found {name!r}. {WRITTEN_BY}")
    if version > VERSION:
        raise DatasetError(f"{path}: version {version}, newer than {VERSION}, the last known here; upgrade hybrid_ik")
    return content


def _array(name: str, values: ArrayLike, kind: Any) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in ("iu" if np.issubdtype(kind, np.integer) else "iuf"):
        raise InvalidInputError(f"{name}: expected numbers of type {np.dtype(kind)}, got {array.dtype}")
    return np.ascontiguousarray(array, kind)
