"""Recordings of an SO-100 that was never there: episodes in LeRobot's format, with the truth beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hybrid_ik.apps.recording_room import Image, RecordingRoom, Sensor, SensorConfig
from hybrid_ik.apps.recording_scene import DOTS, RecordingScene, SceneConfig
from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.random_motion import Motion, random_motion
from hybrid_ik.pixels.recordings.layout import Units
from hybrid_ik.pixels.recordings.units import from_radians
from hybrid_ik.pixels.recordings.video_writer import Codec
from hybrid_ik.pixels.recordings.writer import DatasetWriter, EpisodeRecorder
from hybrid_ik.pixels.truth import TRUTH_FILE, Truth, no_truth, read_truth

Array = NDArray[np.float64]

TASK = "move about"
LONGEST_LAG = 60.0  # frames
MOTION, FIRST_SENSOR = 0, 1  # streams of random numbers of an episode


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """All that the content of a recording depends on, but for the lengths of its episodes."""

    seed: int = 0
    """Of the motion and the noise; episode k is the same whether it is recorded alone or after others."""
    fps: int = 30
    """Frames a second."""
    lag: float = 6.0
    """How much older pictures are than joints [frames]: picture i shows the arm at the time of row i - lag."""
    units: Units = "normalised"
    """Of the recorded joints."""
    speed: float = 1.5
    """Greatest one of a joint [rad/s]."""
    encoder_steps: int = 4096
    """Of a turn of a joint, to which recorded joints are rounded; 0 for no rounding."""
    shutter: float = 1 / 60
    """Time of an exposure [s]: the arm moves meanwhile."""
    sub_frames: int = 4
    """Pictures drawn for each exposure."""
    scene: SceneConfig = field(default_factory=SceneConfig)
    """What stands where."""
    sensor: SensorConfig = field(default_factory=SensorConfig)
    """How the cameras err."""

    def __post_init__(self) -> None:
        """Check what no one below checks; raises InvalidInputError."""
        _check("lag", 0 <= self.lag <= LONGEST_LAG, f"0 to {LONGEST_LAG:g} frames", self.lag)
        _check("seed", self.seed >= 0, "0 or more", self.seed)
        _check("sub_frames", 1 <= self.sub_frames <= 64, "1 to 64", self.sub_frames)
        _check("encoder_steps", self.encoder_steps >= 0, "0 or more", self.encoder_steps)
        _check("fps", self.fps >= 1, "1 or more", self.fps)
        _check("shutter", 0 <= self.shutter * self.fps <= 1, f"0 to the {1 / self.fps:g} s of a frame", self.shutter)
        _check("speed", 0 < self.speed < np.inf, "a number above 0", self.speed)

    def plain(self) -> dict[str, Any]:
        """As data of JSON."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content


def record(
    root: str | Path,
    config: RecordConfig,
    *,
    n_episodes: int,
    seconds: float,
    codec: Codec = "av1",
    progress: bool = False,
) -> Truth:
    """Record episodes into a folder, or the rest of them where some are there, as LeRobot does; and `truth.npz`.

    An episode that was interrupted is recorded again from its beginning, and comes out the same.

    Args:
        root: the folder.
        config: what is recorded.
        n_episodes: how many there are to be in the end.
        seconds: how long each new one is.
        codec: of the videos: "av1", as LeRobot has it, or "h264".
        progress: whether a bar is shown for each episode.

    Returns:
        The truth of all episodes.

    Raises:
        InvalidInputError: an argument is out of range.
        DatasetError: the folder holds something else, or a recording with other settings.
        RenderingUnavailableError: there is no OpenGL here.
        MissingPackageError: pyarrow, PyAV or OpenCV is not installed.
    """
    root = Path(root)
    _check("episodes", n_episodes >= 1, "1 or more", n_episodes)
    _check("seconds", 0.5 < seconds * config.fps < np.inf, f"at least one frame of {1 / config.fps:g} s", seconds)
    n_frames = round(seconds * config.fps)
    scene = RecordingScene(config.scene)
    with ExitStack() as stack:
        room = stack.enter_context(RecordingRoom(scene))
        truth = _open_truth(root, config, scene)
        sizes = {name: (camera.height, camera.width) for name, camera in scene.cameras.items()}
        writer = DatasetWriter(root, fps=config.fps, cameras=sizes, units=config.units, codec=codec)
        truth = _agreed(root, truth, writer.n_episodes)
        truth.save(root)
        while writer.n_episodes < n_episodes:
            shoot = _Shoot(room, config, writer.n_episodes, n_frames)
            with writer.episode(TASK) as recorder:
                frames = tqdm(
                    range(n_frames), desc=shoot.label(n_episodes), disable=None if progress else True, unit="frame"
                )
                shoot.record(recorder, iter(frames))
                truth = truth.extended(*shoot.truth())
                truth.save(root)  # before the episode is whole: what it has too much after a crash is cut off
    return truth


class _Shoot:
    """One episode: its motion, its sensors, and what they have seen."""

    def __init__(self, room: RecordingRoom, config: RecordConfig, episode: int, n_frames: int) -> None:
        self._room, self._scene, self._config, self._episode = room, room.scene, config, episode
        self._motion = episode_motion(self._scene, config, episode, n_frames)
        self._sensors = {
            name: Sensor(config.sensor, _rng(config, episode, FIRST_SENSOR + number))
            for number, name in enumerate(self._scene.cameras)
        }
        self._q: list[Array] = []
        self._pixels: list[Array] = []
        self._shares: list[Array] = []

    def label(self, n_episodes: int) -> str:
        """For the bar."""
        return f"episode {self._episode + 1} of {n_episodes}"

    def record(self, recorder: EpisodeRecorder, frames: Iterator[int]) -> None:
        """Add all frames."""
        for frame in frames:
            pictures = self._shoot((frame - self._config.lag) / self._config.fps)
            q = self._motion(frame / self._config.fps)
            recorder.add(recorded_joints(self._scene, self._config, q), pictures)

    def truth(self) -> tuple[Array, Array, Array]:
        """q, pixels and shares, as `Truth.extended` takes them."""
        return np.array(self._q), np.array(self._pixels), np.array(self._shares)

    def _shoot(self, time: float) -> dict[str, Image]:
        """Pictures of an exposure around a time [s], whose truth is noted."""
        n = self._config.sub_frames
        times = time + self._config.shutter * ((np.arange(n) + 0.5) / n - 0.5)
        light = self._room.expose(self._motion(times))
        self._q.append(self._motion(time))
        self._scene.place(self._q[-1])
        self._pixels.append(self._scene.pixels())
        self._shares.append(self._scene.shares())
        return {name: sensor.read(light[name]) for name, sensor in self._sensors.items()}


def episode_motion(scene: RecordingScene, config: RecordConfig, episode: int, n_frames: int) -> Motion:
    """How the arm moves in an episode, from before the first exposure; errors as of `random_motion`."""
    before = config.lag / config.fps + config.shutter
    duration = before + n_frames / config.fps + config.shutter
    rng = _rng(config, episode, MOTION)
    return random_motion(rng, *scene.bounds, duration, allowed=scene.allowed, speed=config.speed, start=-before)


def recorded_joints(scene: RecordingScene, config: RecordConfig, q: Array) -> Array:
    """What the table says of joints `(nq,)` [rad]: as many, the jaw from 0 to 100, the others in `config.units`."""
    if config.encoder_steps:
        step = 2 * np.pi / config.encoder_steps
        q = step * np.rint(q / step)
    arm = scene.robot.dof
    low, high = scene.model.jnt_range[arm]
    jaw = 100.0 * (q[arm] - low) / (high - low)
    return np.append(from_radians(q[:arm], config.units, scene.robot), jaw)


def _open_truth(root: Path, config: RecordConfig, scene: RecordingScene) -> Truth:
    """What is there, if it has the same settings, with cameras that were not rounded; else one without episodes."""
    if not (root / TRUTH_FILE).is_file():
        return no_truth(scene.cameras, DOTS, config.lag, config.plain(), scene.model.nq)
    truth, wanted = read_truth(root), config.plain()
    for name in {**truth.settings, **wanted}:
        if (there := truth.settings.get(name)) != wanted.get(name):
            raise DatasetError(
                f"{root}: a recording is there, and it has other settings: {name} is {there}, and {wanted.get(name)} "
                "was given. Continue it with its own settings, or record into another folder"
            )
    return replace(truth, cameras=scene.cameras)


def _agreed(root: Path, truth: Truth, n_episodes: int) -> Truth:
    """The truth of the whole episodes."""
    if truth.n_episodes < n_episodes:
        raise DatasetError(
            f"{root}: the recording has {n_episodes} episodes, and {TRUTH_FILE} knows {truth.n_episodes}; record into "
            "another folder"
        )
    return truth.first(n_episodes)


def _rng(config: RecordConfig, episode: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, episode, stream])


def _check(name: str, fine: bool, expected: str, given: Any) -> None:
    if not fine:
        raise InvalidInputError(f"{name}: expected {expected}, got {given}")
