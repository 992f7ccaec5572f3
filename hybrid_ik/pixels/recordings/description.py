"""What a new recording says of itself: the features in `meta/info.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.recordings.layout import ACTION, CAMERA_PREFIX, CHUNK_SIZE, DATA_PATH, STATE, VIDEO_PATH, Units
from hybrid_ik.pixels.recordings.video_writer import Codec

SO100_JOINTS = tuple(
    f"{name}.pos" for name in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
)
INDICES = "frame_index", "episode_index", "index", "task_index"
MIN_SIDE = 16  # pixels


def describe(
    fps: int,
    cameras: Mapping[str, tuple[int, int]],
    joint_names: Sequence[str],
    units: Units,
    robot_type: str,
    codec: Codec,
    max_file_mb: float,
) -> dict[str, Any]:
    """The content of `meta/info.json` before the first episode; arguments as of `DatasetWriter`.

    Raises:
        InvalidInputError: an argument is out of range.
    """
    _check(fps, cameras, joint_names, units, codec, max_file_mb)
    vector = {"dtype": "float32", "shape": [len(joint_names)], "names": list(joint_names), "units": units}
    features: dict[str, Any] = {ACTION: vector, STATE: vector}
    features |= {CAMERA_PREFIX + name: _camera(size, fps, codec) for name, size in cameras.items()}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in INDICES}
    return {
        "codebase_version": "v3.0",
        "robot_type": robot_type,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": CHUNK_SIZE,
        "data_files_size_in_mb": max_file_mb,
        "video_files_size_in_mb": max_file_mb,
        "fps": fps,
        "splits": {},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": features,
    }


def check_continues(name: str, there: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check that a recording can be continued with the settings given.

    Raises:
        DatasetError: it has other settings; the message says which.
    """
    for key in ("codebase_version", "fps", "robot_type"):
        _check_same(name, key, there.get(key), given[key])
    found, expected = there.get("features", {}), given["features"]
    for key in sorted({*found, *expected}):
        _check_same(name, f"the feature {key!r}", found.get(key), expected.get(key))


def _check_same(name: str, what: str, there: Any, given: Any) -> None:
    if there != given:
        raise DatasetError(
            f"{name}: a recording is there, and it has other settings: {what} is {there}, and {given} was given. "
            "Continue it with its own settings, or record into another folder"
        )


def _camera(size: tuple[int, int], fps: int, codec: Codec) -> dict[str, Any]:
    height, width = size
    video = {"height": height, "width": width, "codec": codec, "pix_fmt": "yuv420p", "is_depth_map": False}
    video |= {"fps": fps, "channels": 3}
    info = {**{f"video.{key}": value for key, value in video.items()}, "has_audio": False}
    return {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"], "info": info}


def _check(fps: Any, cameras: Any, joint_names: Any, units: Any, codec: Any, max_file_mb: float) -> None:
    if not isinstance(fps, int) or not 1 <= fps <= 1000:
        raise InvalidInputError(f"fps: expected a whole number from 1 to 1000, got {fps!r}")
    for name, choices, given in (("units", get_args(Units), units), ("codec", get_args(Codec), codec)):
        if given not in choices:
            raise InvalidInputError(f"{name}: expected one of {', '.join(choices)}, got {given!r}")
    if not joint_names or len(set(joint_names)) < len(joint_names):
        raise InvalidInputError(f"joint_names: expected different names, got {list(joint_names)}")
    for name, size in cameras.items():
        if not name or "/" in name or len(size) != 2 or any(side % 2 or side < MIN_SIDE for side in size):
            raise InvalidInputError(
                f"cameras[{name!r}]: expected (height, width), even numbers of at least {MIN_SIDE} pixels, and a name "
                f"without '/', got {size}"
            )
    if not max_file_mb > 0:
        raise InvalidInputError(f"max_file_mb: expected a number above 0, got {max_file_mb}")
