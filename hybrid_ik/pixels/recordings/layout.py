"""What `meta/info.json` of a LeRobot dataset (v3) says: its features, and which file holds what."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from hybrid_ik.errors import DatasetError

Units = Literal["degrees", "normalised"]
"""Of joint values: degrees, or -100..100 along the calibrated range of a joint. A gripper is 0..100 in both."""

STATE, ACTION, CAMERA_PREFIX = "observation.state", "action", "observation.images."
CHUNK_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH, VIDEO_PATH = f"data/{CHUNK_FILE}.parquet", "videos/{video_key}/" + CHUNK_FILE + ".mp4"
EPISODES_PATH = f"meta/episodes/{CHUNK_FILE}.parquet"
INFO_PATH, STATS_PATH, TASKS_PATH = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
CHUNK_SIZE = 1000  # files in a folder
BEYOND = 100.5  # a joint that goes farther is not given in -100..100


@dataclass(frozen=True)
class Layout:
    """The features of a dataset and the places of its files."""

    name: str
    """What errors call it: the source it was opened from."""
    root: Path
    """Its folder."""
    fps: float
    """Frames a second."""
    features: Mapping[str, Mapping[str, Any]]
    """Type, shape and names of every column and camera."""
    data_path: str
    """Pattern of the files of tables, with `chunk_index` and `file_index`."""
    video_path: str
    """Pattern of the files of videos, with `video_key`, `chunk_index` and `file_index`."""

    @property
    def cameras(self) -> dict[str, str]:
        """Names of the cameras, without the prefix `observation.images.`, and their features; none of depth."""
        keys = (key for key, feature in self.features.items() if feature["dtype"] == "video" and not _is_depth(feature))
        return {key.removeprefix(CAMERA_PREFIX): key for key in keys}

    @property
    def joint_names(self) -> tuple[str, ...]:
        """What the columns of `observation.state` are called."""
        return _names(self.feature(STATE))

    def feature(self, key: str) -> Mapping[str, Any]:
        """What is said of a feature.

        Raises:
            DatasetError: the dataset does not have it.
        """
        if key not in self.features:
            raise DatasetError(f"{self.name}: it has no {key!r}; its features: {', '.join(self.features)}")
        return self.features[key]

    def camera_key(self, camera: str) -> str:
        """The feature of a camera, by its name with or without prefix.

        Raises:
            DatasetError: there is no such camera, or its pictures are not in videos.
        """
        key = self.cameras.get(camera, camera)
        if self.features.get(key, {}).get("dtype") == "video":
            return key
        if self.features.get(key, self.features.get(CAMERA_PREFIX + key, {})).get("dtype") == "image":
            raise DatasetError(f"{self.name}: camera {camera!r} is stored as images; only videos (mp4) are read here")
        raise DatasetError(f"{self.name}: no camera {camera!r}; cameras: {', '.join(self.cameras) or 'none'}")

    def picture_size(self, camera: str) -> tuple[int, int]:
        """Height and width [pixels] of a camera's pictures."""
        feature = self.feature(self.camera_key(camera))
        names, shape = feature.get("names") or [], feature["shape"]
        if "height" in names and "width" in names:
            return int(shape[names.index("height")]), int(shape[names.index("width")])
        return int(shape[0]), int(shape[1])

    def file(self, pattern: str, chunk_index: int, file_index: int, video_key: str = "") -> Path:
        """The file that a pattern names."""
        return self.root / pattern.format(chunk_index=chunk_index, file_index=file_index, video_key=video_key)


def read_layout(root: Path, name: str) -> Layout:
    """Read `meta/info.json`.

    Raises:
        DatasetError: damaged, of another version, or without what a recording needs.
    """
    info = read_json(root / INFO_PATH, name)
    _check_version(name, info.get("codebase_version"))
    try:
        fps, features = float(info["fps"]), {key: dict(value) for key, value in info["features"].items()}
        for feature in features.values():
            _ = feature["dtype"], list(feature["shape"])
        layout = Layout(name, root, fps, features, info["data_path"], info.get("video_path") or VIDEO_PATH)
        layout.file(layout.data_path, 0, 0)
        layout.file(layout.video_path, 0, 0, "key")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DatasetError(
            f"{name}: {INFO_PATH} is damaged or incomplete ({error!r}); expected fps, features, data_path and "
            "video_path. Fetch it again"
        ) from error
    if not 0 < fps < 10_000:
        raise DatasetError(f"{name}: {INFO_PATH} says {fps} frames a second; expected a number above 0")
    return layout


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file of the dataset `name`.

    Raises:
        DatasetError: missing, or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{name}: {path.name} cannot be read ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{name}: {path.name} holds no object but {type(content).__name__}; fetch it again")
    return content


def find_units(layout: Layout) -> Units | None:
    """What the metadata says of the joints' units, or None where it does not say.

    They are named in the feature itself (`"units"`, as `DatasetWriter` does); or else an arm joint that goes beyond
    100 cannot be one of -100..100. LeRobot itself does not write which of the two it recorded.

    Raises:
        DatasetError: it names other units.
    """
    named = layout.feature(STATE).get("units")
    if named in get_args(Units):
        return named
    if named is not None:
        raise DatasetError(f"{layout.name}: {STATE} has units {named!r}; expected one of {', '.join(get_args(Units))}")
    return "degrees" if _goes_beyond(layout) else None


def _goes_beyond(layout: Layout) -> bool:
    path = layout.root / STATS_PATH
    if not path.is_file():
        return False
    found = read_json(path, layout.name).get(STATE, {})
    extremes = zip(layout.joint_names, found.get("min") or [], found.get("max") or [], strict=False)
    return any(max(-low, high) > BEYOND for name, low, high in extremes if not is_gripper(name))


def is_gripper(joint_name: str) -> bool:
    """Whether a joint is no arm's: it goes from 0 to 100 in any units."""
    return "gripper" in joint_name


def _is_depth(feature: Mapping[str, Any]) -> bool:
    info = feature.get("info") or {}
    return bool(info.get("is_depth_map") or info.get("video.is_depth_map"))


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a feature's columns: a list, a list under a key (`motors`), or numbers where there are none."""
    names = feature.get("names")
    if isinstance(names, Mapping):
        lists = [value for value in names.values() if isinstance(value, list)]
        names = lists[0] if lists else list(names)
    return tuple(map(str, names or [f"joint_{i}" for i in range(int(feature["shape"][0]))]))


def _check_version(name: str, version: Any) -> None:
    if re.match(r"v?3(\.|$)", str(version)):
        return
    raise DatasetError(
        f"{name}: it is in the format {version!r}, and only v3 is read here. Convert it with LeRobot's script "
        "convert_dataset_v21_to_v30, or open a revision of it that is in v3 (on the hub: name/name@v3.0)"
    )
