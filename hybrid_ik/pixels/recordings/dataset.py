"""Recordings of an arm and cameras, read as a stream: LeRobot datasets (v3), by pyarrow and PyAV alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.recordings.layout import (
    ACTION,
    BEYOND,
    EPISODES_PATH,
    INFO_PATH,
    STATE,
    Layout,
    Units,
    find_units,
    is_gripper,
    read_json,
    read_layout,
)
from hybrid_ik.pixels.recordings.source import find_root
from hybrid_ik.pixels.recordings.tables import column_names, read_table
from hybrid_ik.pixels.recordings.video_reader import LEAVE_OUT, Clip, Image, check_video, read_frames

Array = NDArray[np.float64]


def open_dataset(source: str | Path, *, units: Units | None = None, leave_out: Collection[int] = ()) -> Dataset:
    """Open a recording; its tables and videos are read when they are asked for.

    Args:
        source: the folder of a LeRobot dataset (v3), or its name on the Hugging Face hub (`"name/name"`, or with a
            branch or tag `"name/name@v3.0"`); a folder of that name comes first.
        units: of the joints, where the metadata does not say (`Dataset.units` is None).
        leave_out: numbers of episodes that are not wanted, because something is wrong with them.

    Raises:
        DatasetError: no such dataset, another version than v3, damaged metadata, no camera, or other units than the
            metadata say.
        InvalidInputError: `units` is none of the two, or an episode to leave out is not there.
        MissingPackageError: pyarrow is not installed, or the hub is needed and huggingface_hub is not.
    """
    layout = read_layout(find_root(source), str(source))
    episodes = read_episodes(layout)
    _check_total(layout, len(episodes))
    _check_cameras(layout)
    agreed = _agreed_units(layout, units)
    return Dataset(layout, agreed, tuple(replace(episode, units=agreed) for episode in _wanted(episodes, leave_out)))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A recording: what is the same in all episodes, and the episodes."""

    layout: Layout
    """Its features and the places of its files."""
    units: Units | None
    """Of joints and actions: "degrees", "normalised" (-100..100 along a joint's range), or None where nobody said.

    A gripper goes from 0 to 100 in both."""
    episodes: tuple[Episode, ...]
    """In the order of their numbers."""

    @property
    def root(self) -> Path:
        """The folder it lies in."""
        return self.layout.root

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.layout.fps

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The cameras, without the prefix `observation.images.`."""
        return tuple(self.layout.cameras)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The columns of `Episode.joints`, as the dataset calls them (`shoulder_pan.pos`)."""
        return self.layout.joint_names

    @property
    def n_frames(self) -> int:
        """Number of frames of all episodes."""
        return sum(episode.length for episode in self.episodes)

    def picture_size(self, camera: str) -> tuple[int, int]:
        """Height and width of a camera's pictures [pixels].

        Raises:
            DatasetError: no such camera.
        """
        return self.layout.picture_size(camera)

    def verify(self) -> None:
        """Check every episode (see `Episode.verify`), so that a long run does not fail in its middle.

        Raises:
            DatasetError: the first defect found.
        """
        for episode in self.episodes:
            episode.verify()


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of a recording. Tables are kept once read, pictures never."""

    index: int
    """Its number."""
    length: int
    """Number of frames."""
    tasks: tuple[str, ...]
    """What was to be done, in words."""
    layout: Layout
    """The dataset it belongs to."""
    places: Mapping[str, Any]
    """Its row in `meta/episodes`: which files it lies in, and where in them."""
    units: Units | None = None
    """As in `Dataset`."""

    @cached_property
    def joints(self) -> Array:
        """Joints of every frame `(n, n_joints)`, in the dataset's units; read-only.

        Raises:
            DatasetError: the table is missing, damaged or too short, or holds a number that is not finite, or a joint
                beyond 100 where joints are in -100..100.
        """
        values = self._columns(STATE, len(self.layout.joint_names))
        if self.units == "normalised":
            self._check_range(values)
        return values

    @cached_property
    def actions(self) -> Array:
        """What the joints were told `(n, n_actions)`, in the dataset's units; read-only. Errors as of `joints`."""
        return self._columns(ACTION, int(self.layout.feature(ACTION)["shape"][0]))

    @cached_property
    def timestamps(self) -> Array:
        """Time since the episode began `(n,)` [s], read-only. Errors as of `joints`."""
        return self._columns("timestamp", 1)[:, 0]

    def frames(self, camera: str, start: int = 0, stop: int | None = None) -> Iterator[Image]:
        """Pictures `(height, width, 3)`, uint8 RGB, of a camera, from frame `start` up to `stop`.

        They are decoded while one iterates: one picture in memory, beside the few that the decoder holds. Row i of
        `joints` belongs to picture i.

        Args:
            camera: one of `Dataset.camera_names`.
            start: first frame.
            stop: the frame after the last one; the end of the episode by default.

        Raises:
            DatasetError: no such camera or video, or (while iterating) a frame that is missing or damaged.
            InvalidInputError: `start` or `stop` is out of range.
            MissingPackageError: PyAV is not installed.
        """
        stop = self.length if stop is None else stop
        if not 0 <= start <= stop <= self.length:
            raise InvalidInputError(
                f"{self._label}: expected frames with 0 <= start <= stop <= {self.length}, got {start} to {stop}"
            )
        return read_frames(self.clip(camera), start, stop)

    def clip(self, camera: str) -> Clip:
        """Where a camera's pictures of this episode lie.

        Raises:
            DatasetError: no such camera, or none for this episode.
        """
        key = self.layout.camera_key(camera)
        label = f"{self._label}, camera {camera!r}"
        try:
            chunk, file, start = (self.places[f"videos/{key}/{what}"] for what in PLACES)
            path = self.layout.file(self.layout.video_path, int(chunk), int(file), key)
            return Clip(path, label, float(start), self.layout.fps, self.length, *self.layout.picture_size(key))
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{label}: meta/episodes does not say where its video lies ({error!r}); fetch the dataset again"
            ) from error

    def verify(self) -> None:
        """Check what can be checked without decoding: the table whole and finite, a video of every camera long enough.

        Raises:
            DatasetError: the first defect found.
            MissingPackageError: PyAV is not installed.
        """
        for key in (STATE, ACTION):
            if key in self.layout.features:
                _ = self.joints if key == STATE else self.actions
        for camera in self.layout.cameras:
            check_video(self.clip(camera))

    @property
    def _label(self) -> str:
        return f"{self.layout.name}: episode {self.index}"

    def _table(self) -> Path:
        """The file that its table is in."""
        try:
            chunk, file = (int(self.places[f"data/{what}"]) for what in PLACES[:2])
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{self._label}: meta/episodes does not say where its table lies ({error!r}); fetch the dataset again"
            ) from error
        return self.layout.file(self.layout.data_path, chunk, file)

    def _columns(self, key: str, width: int) -> Array:
        """A feature of every frame `(n, width)`, checked."""
        self.layout.feature(key)
        path = self._table()
        table = read_table(path, self._label, ["frame_index", key], [("episode_index", "==", self.index)])
        self._check_frames(table["frame_index"].to_numpy(), path)
        values = self._numbers(table[key].to_pylist(), width, key)
        for frame, column in np.argwhere(~np.isfinite(values))[:1]:
            name = self.layout.joint_names[column] if width == len(self.layout.joint_names) else f"number {column}"
            raise DatasetError(
                f"{self._label}, frame {frame}: {key} is not finite, {name} is {values[frame, column]}. Record it "
                f"again, or {LEAVE_OUT}"
            )
        values.setflags(write=False)
        return values

    def _check_range(self, values: Array) -> None:
        arm = np.array([not is_gripper(name) for name in self.layout.joint_names])
        for frame, column in np.argwhere((np.abs(values) > BEYOND) & arm)[:1]:
            raise DatasetError(
                f"{self._label}, frame {frame}: {self.layout.joint_names[column]} is {values[frame, column]:g}, and "
                'the units are "normalised", -100 to 100. If the joints are in degrees, give units="degrees", or write '
                f"it into meta/info.json where that says normalised; else {LEAVE_OUT}"
            )

    def _check_frames(self, found: NDArray[Any], path: Path) -> None:
        same = np.flatnonzero(found[: self.length] != np.arange(len(found[: self.length])))
        frame = int(same[0]) if len(same) else min(len(found), self.length)
        if len(same) or len(found) != self.length:
            raise DatasetError(
                f"{self._label}, frame {frame}: expected {self.length} rows with frame_index 0, 1, 2, ... in {path}, "
                f"found {len(found)}, and the first that differs is row {frame}. Fetch the dataset again"
            )

    def _numbers(self, rows: list[Any], width: int, key: str) -> Array:
        for frame, row in enumerate(rows):
            if np.size(row) != width:
                raise DatasetError(
                    f"{self._label}, frame {frame}: {key} has {np.size(row)} numbers, expected {width}. Fetch the "
                    f"dataset again, or {LEAVE_OUT}"
                )
        try:
            return np.array(rows, dtype=float).reshape(len(rows), width)
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{self._label}: {key} holds something that is no number ({error})") from error


PLACES = "chunk_index", "file_index", "from_timestamp"


def _agreed_units(layout: Layout, given: Units | None) -> Units | None:
    if given is not None and given not in get_args(Units):
        raise InvalidInputError(f"units: expected one of {', '.join(get_args(Units))}, got {given!r}")
    found = find_units(layout)
    if given and found and given != found:
        raise DatasetError(
            f"{layout.name}: the joints were said to be {given}, and its metadata say {found}. Leave `units` out, or "
            "correct what meta/info.json says of observation.state"
        )
    return given or found


def _wanted(episodes: tuple[Episode, ...], leave_out: Collection[int]) -> tuple[Episode, ...]:
    there = {episode.index for episode in episodes}
    unknown = sorted(set(leave_out) - there)
    if unknown or there == set(leave_out):
        raise InvalidInputError(
            f"leave_out: expected some, not all, of the episodes {min(there)} to {max(there)}, got {sorted(leave_out)}"
        )
    return tuple(episode for episode in episodes if episode.index not in leave_out)


def read_episodes(layout: Layout, with_statistics: bool = False) -> tuple[Episode, ...]:
    """The episodes that `meta/episodes` lists, by their numbers; errors as of `open_dataset`."""
    paths = sorted(layout.root.glob(EPISODES_PATH.partition("/chunk-")[0] + "/*/*.parquet"))
    rows = [row for path in paths for row in _rows_of(path, layout.name, with_statistics)]
    try:
        rows.sort(key=lambda row: row["episode_index"])
        return tuple(
            Episode(int(row["episode_index"]), int(row["length"]), tuple(row.get("tasks") or ()), layout, row)
            for row in rows
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{layout.name}: meta/episodes is damaged ({error!r}); fetch it again") from error


def _rows_of(path: Path, label: str, with_statistics: bool) -> list[dict[str, Any]]:
    columns = [name for name in column_names(path, label) if with_statistics or not name.startswith("stats/")]
    rows: list[dict[str, Any]] = read_table(path, label, columns).to_pylist()
    return rows


def _check_cameras(layout: Layout) -> None:
    if not layout.cameras:
        kinds = ", ".join(f"{key} ({feature['dtype']})" for key, feature in layout.features.items())
        raise DatasetError(
            f"{layout.name}: no camera in it whose pictures are in videos; its features: {kinds}. Record it with "
            "cameras, or, where they are stored as images, convert them to videos with LeRobot"
        )


def _check_total(layout: Layout, found: int) -> None:
    expected = read_json(layout.root / INFO_PATH, layout.name).get("total_episodes", found)
    if found < expected or not found:
        raise DatasetError(
            f"{layout.name}: meta/episodes lists {found} episodes, and meta/info.json says {expected}. Fetch the "
            "dataset again, or finish its recording"
        )
