"""Recordings in the format of LeRobot (v3), written frame by frame: whole episodes or nothing, and continued later."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.packages import vision_package
from hybrid_ik.pixels.recordings.dataset import Episode, read_episodes
from hybrid_ik.pixels.recordings.description import SO100_JOINTS, check_continues, describe
from hybrid_ik.pixels.recordings.layout import (
    ACTION,
    CAMERA_PREFIX,
    CHUNK_SIZE,
    DATA_PATH,
    EPISODES_PATH,
    INFO_PATH,
    STATE,
    STATS_PATH,
    TASKS_PATH,
    VIDEO_PATH,
    Units,
    read_json,
    read_layout,
)
from hybrid_ik.pixels.recordings.statistics import PictureSummary, merge, summarise
from hybrid_ik.pixels.recordings.tables import read_table, tasks_table, write_json, write_table
from hybrid_ik.pixels.recordings.video_writer import Codec, VideoWriter, can_join, join_videos

logger = logging.getLogger(__name__)

UNFINISHED = ".unfinished.mp4"  # ends the names of videos that are being written
MEGABYTE = 1e6  # bytes


class DatasetWriter:
    """Records episodes into a folder in LeRobot's format, which `open_dataset` can read at any moment.

    An episode is in the recording as a whole once its `with` block has ended, and not at all before: what a crash
    leaves of it is ignored, and overwritten. Opened on a folder that has a recording, with the same settings, it
    continues after the last whole episode. If one of them has been damaged since, that is logged, and the next episode
    takes its place, and that of all after it.

        writer = DatasetWriter("reach", fps=30, cameras={"front": (480, 640)}, units="degrees")
        while writer.n_episodes < 50:
            with writer.episode("reach the cube") as episode:
                episode.add(joints, {"front": picture})

    Videos of episodes are joined in one file until it has `max_file_mb`, by copying: encoding one file across episodes
    would lose all of it in a crash.

    Args:
        root: the folder.
        fps: frames a second.
        cameras: height and width of the pictures [pixels] by the cameras' names; even numbers.
        units: of joints and actions: "degrees", or "normalised" (-100..100 along a joint's range).
        joint_names: of the columns of joints and actions, by default those of an SO-100.
        robot_type: what LeRobot calls the arm.
        codec: "av1", as LeRobot has it, or "h264".
        max_file_mb: size at which a new file is begun [MB].

    Raises:
        InvalidInputError: an argument is out of range.
        DatasetError: the folder holds something else, or a recording with other settings.
        MissingPackageError: pyarrow or PyAV is not installed.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        fps: int,
        cameras: Mapping[str, tuple[int, int]],
        units: Units,
        joint_names: Sequence[str] = SO100_JOINTS,
        robot_type: str = "so100_follower",
        codec: Codec = "av1",
        max_file_mb: float = 200,
    ) -> None:
        for name in ("pyarrow", "av"):
            vision_package(name)
        self.root = Path(root)
        self._fps, self._cameras, self._codec, self._max_bytes = fps, dict(cameras), codec, max_file_mb * MEGABYTE
        self._n_joints = len(joint_names)
        self._info = describe(fps, cameras, joint_names, units, robot_type, codec, max_file_mb)
        self._rows: list[dict[str, Any]] = []
        self._busy = False
        self._resume()

    @property
    def n_episodes(self) -> int:
        """Number of whole episodes in the recording: also the number of the next one."""
        return len(self._rows)

    @contextmanager
    def episode(self, task: str) -> Iterator[EpisodeRecorder]:
        """The next episode; it becomes part of the recording when the block ends without an exception.

        Args:
            task: what is done in it, in words.

        Raises:
            InvalidInputError: no frame was added, or another episode is being recorded.
        """
        if self._busy:
            raise InvalidInputError(f"episode {self.n_episodes} is still being recorded; end its `with` block first")
        recorder = EpisodeRecorder(self._label, self._n_joints, self._new_videos())
        self._busy = True
        try:
            yield recorder
            recorder.finish()
            self._append(recorder, task)
        finally:
            recorder.discard()
            self._busy = False

    @property
    def _label(self) -> str:
        return f"{self.root}: episode {self.n_episodes}"

    def _new_videos(self) -> dict[str, VideoWriter]:
        return {
            name: VideoWriter(self.root / f"videos/{CAMERA_PREFIX}{name}/.{UNFINISHED}", self._fps, *size, self._codec)
            for name, size in self._cameras.items()
        }

    def _resume(self) -> None:
        """Begin, or take up what is there up to the first episode that is not whole.

        What comes after it stays on the disk, listed, until the next episode takes its place.
        """
        name = str(self.root)
        listed: tuple[Episode, ...] = ()
        if (self.root / INFO_PATH).is_file():
            check_continues(name, read_json(self.root / INFO_PATH, name), self._info)
            listed = read_episodes(read_layout(self.root, name), with_statistics=True)
        else:
            _check_empty(self.root)
        for stale in self.root.glob(f"videos/*/**/.*{UNFINISHED}"):
            stale.unlink()
        self._rows = [dict(episode.places) for episode in _whole(listed)]
        self._lists_broken = len(self._rows) < len(listed)
        if not self._lists_broken:
            self._write_metadata(self._rows)

    def _append(self, recorder: EpisodeRecorder, task: str) -> None:
        """Write the episode's table and videos, and then the metadata, which make it part of the recording."""
        if self._lists_broken:  # those must not come to mean the files that take their place
            self._write_metadata(self._rows)
            self._lists_broken = False
        first = self._rows[-1]["dataset_to_index"] if self._rows else 0
        tasks = _tasks([*self._rows, {"tasks": [task]}])
        columns = self._columns(recorder, first, tasks.index(task))
        row: dict[str, Any] = {"episode_index": self.n_episodes, "tasks": [task], "length": recorder.n_frames}
        row |= {"dataset_from_index": first, "dataset_to_index": first + recorder.n_frames}
        row |= self._store_table(columns)
        for name, video in recorder.videos.items():
            row |= self._store_video(CAMERA_PREFIX + name, video)
        summaries = {name: summarise(values) for name, values in columns.items()}
        summaries |= {CAMERA_PREFIX + name: summary.result() for name, summary in recorder.summaries.items()}
        for name, summary in summaries.items():
            row |= {f"stats/{name}/{key}": value for key, value in summary.items()}
        row |= _place("meta/episodes", 0)
        self._write_metadata([*self._rows, row])
        self._rows.append(row)

    def _columns(self, recorder: EpisodeRecorder, first: int, task: int) -> dict[str, NDArray[Any]]:
        """The episode's table: a row for each frame."""
        frames = np.arange(recorder.n_frames)
        return {
            ACTION: np.array(recorder.actions, np.float32),
            STATE: np.array(recorder.joints, np.float32),
            "timestamp": (frames / self._fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full_like(frames, self.n_episodes),
            "index": first + frames,
            "task_index": np.full_like(frames, task),
        }

    def _store_table(self, columns: dict[str, NDArray[Any]]) -> dict[str, Any]:
        """Add the table to the last file, each episode a row group, or begin a new file; returns the place."""
        number, there = self._last_file("data")
        groups = []
        if there:
            path, old = self._path(DATA_PATH, number), [("episode_index", "<", self.n_episodes)]
            table = read_table(path, self._label, filters=old)
            starts = np.cumsum([0, *(row["length"] for row in there)])
            groups = [table.slice(at, row["length"]) for at, row in zip(starts, there, strict=False)]
            if table.nbytes > self._max_bytes:
                number, groups = number + 1, []
        write_table(self._path(DATA_PATH, number), [*groups, _arrow_table(columns)])
        return _place("data", number)

    def _store_video(self, key: str, video: VideoWriter) -> dict[str, Any]:
        """Join the video to the last file, or make it a new file; returns the place.

        Of the last file only the pictures of whole episodes are kept: a crash may have left more in it.
        """
        number, there = self._last_file(f"videos/{key}")
        before = sum(row["length"] for row in there)
        path, source = self._path(VIDEO_PATH, number, key), video.path
        if there and _fits(path, source, self._max_bytes):
            source = path.with_name(f".joined{UNFINISHED}")
            join_videos(source, [(path, before), (video.path, video.n_frames)], self._fps)
        elif there:
            path, number, before = self._path(VIDEO_PATH, number + 1, key), number + 1, 0
        _move(source, path)
        end = before + video.n_frames
        times = {"from_timestamp": before / self._fps, "to_timestamp": end / self._fps}
        return _place(f"videos/{key}", number) | {f"videos/{key}/{name}": time for name, time in times.items()}

    def _last_file(self, kind: str) -> tuple[int, list[dict[str, Any]]]:
        """Number of the file that the last whole episode lies in (0 where there is none), and all episodes in it."""
        numbers = [row[f"{kind}/chunk_index"] * CHUNK_SIZE + row[f"{kind}/file_index"] for row in self._rows]
        last = numbers[-1] if numbers else 0
        return last, [row for row, number in zip(self._rows, numbers, strict=True) if number == last]

    def _path(self, pattern: str, number: int, key: str = "") -> Path:
        chunk_index, file_index = divmod(number, CHUNK_SIZE)
        return self.root / pattern.format(chunk_index=chunk_index, file_index=file_index, video_key=key)

    def _write_metadata(self, rows: list[dict[str, Any]]) -> None:
        """Everything below `meta`; the table of episodes last but one, for it says which episodes there are."""
        tasks = _tasks(rows)
        if rows:
            write_table(self.root / TASKS_PATH, [tasks_table(tasks)])
            write_json(self.root / STATS_PATH, _statistics(rows))
            write_table(self._path(EPISODES_PATH, 0), [vision_package("pyarrow").Table.from_pylist(rows)])
        else:
            self._path(EPISODES_PATH, 0).unlink(missing_ok=True)
        totals = {"total_episodes": len(rows), "total_frames": rows[-1]["dataset_to_index"] if rows else 0}
        splits = {"splits": {"train": f"0:{len(rows)}"}, "total_tasks": len(tasks)}
        write_json(self.root / INFO_PATH, {**self._info, **totals, **splits})


class EpisodeRecorder:
    """An episode that is being recorded; made by `DatasetWriter.episode`."""

    def __init__(self, label: str, n_joints: int, videos: dict[str, VideoWriter]) -> None:
        self._label, self._n_joints = label, n_joints
        self.videos, self.summaries = videos, {name: PictureSummary() for name in videos}
        self.joints: list[NDArray[np.float32]] = []
        self.actions: list[NDArray[np.float32]] = []
        self._open = True

    @property
    def n_frames(self) -> int:
        """Number of frames added."""
        return len(self.joints)

    def add(
        self, joints: ArrayLike, pictures: Mapping[str, NDArray[np.uint8]], actions: ArrayLike | None = None
    ) -> None:
        """Add a frame; its pictures are encoded at once, and not kept.

        Args:
            joints: `(n_joints,)`, in the recording's units; kept in single precision, as the format has it.
            pictures: `(height, width, 3)`, uint8 RGB, of every camera.
            actions: what the joints were told `(n_joints,)`; `joints` by default.

        Raises:
            InvalidInputError: another shape or type, a number that is not finite, a camera missing or unknown; nothing
                of the frame has been added then.
        """
        row = self._checked("joints", joints)
        told = row if actions is None else self._checked("actions", actions)
        if set(pictures) != set(self.videos):
            raise self._error(f"expected pictures of {sorted(self.videos)}, got {sorted(pictures)}")
        for name, video in self.videos.items():
            self._check_picture(name, pictures[name], video)
        for name, video in self.videos.items():
            video.add(pictures[name])
            self.summaries[name].add(pictures[name])
        self.joints.append(row)
        self.actions.append(told)

    def finish(self) -> None:
        """End the videos.

        Raises:
            InvalidInputError: no frame was added.
        """
        if not self.n_frames:
            raise InvalidInputError(f"{self._label}: it has no frames; add one, or leave the block by an exception")
        self._open = False
        for video in self.videos.values():
            video.close()

    def discard(self) -> None:
        """Remove what is left of the videos."""
        for video in self.videos.values():
            if self._open:
                video.discard()
            video.path.unlink(missing_ok=True)

    def _checked(self, name: str, values: ArrayLike) -> NDArray[np.float32]:
        array = np.array(values, np.float32)
        if array.shape != (self._n_joints,) or not np.isfinite(array).all():
            raise self._error(f"{name}: expected {self._n_joints} finite numbers, got {array.tolist()}")
        return array

    def _check_picture(self, name: str, picture: NDArray[np.uint8], video: VideoWriter) -> None:
        shape = (video.height, video.width, 3)
        if not isinstance(picture, np.ndarray) or picture.shape != shape or picture.dtype != np.uint8:
            found = f"{getattr(picture, 'shape', type(picture))} {getattr(picture, 'dtype', '')}"
            raise self._error(f"camera {name!r}: expected a picture of shape {shape} and uint8, got {found}")

    def _error(self, what: str) -> InvalidInputError:
        return InvalidInputError(f"{self._label}, frame {self.n_frames}: {what}")


def _whole(episodes: Sequence[Episode]) -> Iterator[Episode]:
    """The episodes before the first that is not whole, which is logged."""
    for episode in episodes:
        try:
            episode.verify()
        except DatasetError as error:
            logger.warning("the recording goes on at episode %d, which is not whole: %s", episode.index, error)
            return
        yield episode


def _check_empty(root: Path) -> None:
    found = next((path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")), None)
    if found is not None:
        raise DatasetError(
            f"{root}: the folder holds {found.relative_to(root)}, and no recording; record into an empty folder"
        )


def _tasks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tasks of all episodes; their places are their numbers."""
    return list(dict.fromkeys(task for row in rows for task in row["tasks"]))


def _place(kind: str, number: int) -> dict[str, Any]:
    """The columns of `meta/episodes` that name a file by its number."""
    chunk_index, file_index = divmod(number, CHUNK_SIZE)
    return {f"{kind}/chunk_index": chunk_index, f"{kind}/file_index": file_index}


def _statistics(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`meta/stats.json` from what the rows of episodes say."""
    features = dict.fromkeys(key.split("/")[1] for key in rows[0] if key.startswith("stats/"))
    names = "min", "max", "mean", "std", "count"
    return {name: merge([{key: row[f"stats/{name}/{key}"] for key in names} for row in rows]) for name in features}


def _arrow_table(columns: Mapping[str, NDArray[Any]]) -> Any:
    pyarrow = vision_package("pyarrow")
    return pyarrow.table({
        name: pyarrow.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1]) if values.ndim > 1 else values
        for name, values in columns.items()
    })  # fmt: skip


def _fits(path: Path, video: Path, max_bytes: float) -> bool:
    return path.stat().st_size + video.stat().st_size <= max_bytes and can_join(path, video)


def _move(source: Path, path: Path) -> None:
    """Put a file in the place of another, so that a crash leaves one of the two whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(source, path)
