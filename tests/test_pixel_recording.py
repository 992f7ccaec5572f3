"""Recordings that were made here: pictures show what the truth says, and the table says when."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hybrid_ik.apps import offscreen, pixel_recorder
from hybrid_ik.apps.cli import main
from hybrid_ik.apps.offscreen import working_backend
from hybrid_ik.apps.pixel_recorder import RecordConfig, episode_motion, record, recorded_joints
from hybrid_ik.apps.recording_room import RecordingRoom, Sensor, SensorConfig
from hybrid_ik.apps.recording_scene import DOTS, TIP, RecordingScene, SceneConfig
from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.recordings.dataset import open_dataset
from hybrid_ik.pixels.recordings.units import to_radians
from hybrid_ik.pixels.truth import TRUTH_FILE, read_truth
from hybrid_ik.robot import Robot

needs_rendering = pytest.mark.skipif(working_backend() is None, reason=f"no EGL and no OSMesa here. {offscreen.REMEDY}")
SMALL = SceneConfig(width=160, height=120, dot_radius=0.016)  # dots some 4 pixels wide, as a video can show them
CLEAN = SensorConfig(read_noise=0, shot_noise=0, exposure_jitter=0)
CONFIG = RecordConfig(seed=3, fps=15, lag=3, scene=SMALL, sub_frames=2, encoder_steps=0)
FRAMES = 24


def _record(root, config=CONFIG, n_episodes=2, seconds=FRAMES / 15):
    return record(root, config, n_episodes=n_episodes, seconds=seconds, codec="h264")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A recording of two episodes."""
    root = tmp_path_factory.mktemp("recording") / "made"
    return SimpleNamespace(root=root, truth=_record(root), dataset=open_dataset(root))


@pytest.fixture(scope="module")
def scene():
    return RecordingScene(SMALL)


def _pictures(episode):
    return {name: np.array(list(episode.frames(name))) for name in episode.layout.cameras}


def _magenta(picture):
    return np.minimum(picture[..., 0], picture[..., 2]).astype(float) - picture[..., 1]


def _green(picture):
    return picture[..., 1].astype(float) - np.maximum(picture[..., 0], picture[..., 2])


def _centre(weights):
    """Centre of what is brighter than half of the brightest `(2,)`: column, row."""
    rows, columns = np.nonzero(weights > 0.4 * weights.max())
    return np.average(np.stack([columns, rows], -1), axis=0, weights=weights[rows, columns])


# Motion.


def test_the_arm_touches_nothing_and_stays_in_the_pictures(scene):
    q = episode_motion(scene, CONFIG, 0, 200)(np.linspace(0, 13, 300))
    assert scene.allowed(q).mean() > 0.98  # it is asked at some places of the way only
    assert np.ptp(q[:, :5], axis=0).min() > 0.2 and np.ptp(q[:, 5]) < 1e-12
    moving = RecordingScene(SceneConfig(width=160, height=120, jaw_moves=True))
    assert np.ptp(episode_motion(moving, CONFIG, 0, 200)(np.linspace(0, 13, 300))[:, 5]) > 0.2


def test_the_gripper_is_held_above_the_table():
    """The tilt of the sum of three joints, against that of the gripper's own axis."""
    narrow = RecordingScene(replace(SMALL, roll=0.5, tilt=0.4))
    q = episode_motion(narrow, CONFIG, 0, 200)(np.linspace(0, 13, 100))
    T_world_grip = Robot("so100", tip="gripperframe").forward_kinematics(q[:, :5])
    tilt = np.arccos(T_world_grip.matrix()[:, 2, 1])  # the gripper points along its frame's -y
    assert 0.2 < tilt.max() < 0.4 + 0.01 and 0.3 < np.abs(q[:, 4]).max() < 0.5 + 1e-9
    for wrong in ({"roll": 3.5}, {"roll": -0.1}, {"tilt": 0.0}):
        with pytest.raises(InvalidInputError, match=f"{next(iter(wrong))}: expected"):
            RecordingScene(replace(SMALL, **wrong))


# Pictures.


@needs_rendering
def test_the_truth_is_what_cameras_and_kinematics_say(made):
    dots = ArmDots(Robot("so100", tip=DOTS[1]), DOTS)
    for number, camera in enumerate(made.truth.cameras.values()):
        assert_allclose(made.truth.pixels[:, number], camera.project(dots.positions(made.truth.q)), atol=1e-9)
        assert (made.truth.cameras.keys() == set(made.dataset.camera_names)) and np.any(camera.distortion)


@needs_rendering
@pytest.mark.parametrize("distortion", [(0.0,) * 5, (-0.3, 0.1, 1e-3, -2e-3, 0.0), (0.2, 0.0, 0.0, 0.0, 0.0)])
def test_dots_are_drawn_where_the_truth_has_them(distortion):
    scene = RecordingScene(SceneConfig(width=320, height=240, distortion=distortion, dot_radius=0.015))
    rng, (low, high) = np.random.default_rng(2), scene.bounds
    errors = []
    with RecordingRoom(scene) as room:
        for q in rng.uniform(low, high, (60, 6)):
            if not scene.allowed(q[None])[0]:
                continue
            pixels, whole = scene.pixels(), scene.shares() > 0.97
            for number, light in enumerate(room.expose(np.tile(q, (4, 1))).values()):
                for dot, colour in enumerate((_magenta, _green)):
                    errors += [_centre(colour(light)) - pixels[number, dot]] if whole[number, dot] else []
    assert len(errors) >= 8
    assert np.abs(errors).max() < 0.5 and np.abs(np.mean(errors, 0)).max() < 0.15


@needs_rendering
def test_a_dots_colour_is_in_the_video_where_the_truth_has_it(made):
    for episode in made.dataset.episodes:
        truth = made.truth.of_episode(episode.index)
        for number, name in enumerate(made.dataset.camera_names):
            for frame, picture in enumerate(episode.frames(name)):
                for dot, colour in enumerate((_magenta, _green)):
                    if truth.shares[frame, number, dot] > 0.95:
                        column, row = np.rint(truth.pixels[frame, number, dot]).astype(int)
                        assert colour(picture)[row, column] > 60, (episode.index, name, frame, dot)


@needs_rendering
def test_hidden_dots_are_known(scene):
    """Rays against a drawing of the numbers of the geoms."""
    rng, (low, high) = np.random.default_rng(4), scene.bounds
    balls = [scene.model.geom(name).id for name in DOTS]
    drawn, said, inside = [], [], []
    with RecordingRoom(scene) as room:
        for q in rng.uniform(low, high, (40, 6)):
            scene.place(q)
            said.append(scene.shares())
            inside.append(((scene.pixels() > 6) & (scene.pixels() < [153, 113])).all(-1))
            drawn.append(
                [[_share_drawn(room, scene, q, view, ball) for ball in balls] for view in room._views.values()]
            )
    said, drawn = np.array(said)[inside], np.array(drawn)[inside]
    clear = (drawn < 0.25) | (drawn > 0.75)
    assert clear.sum() > 100
    assert_array_equal(said[clear] >= 0.5, drawn[clear] >= 0.5)
    assert np.abs(said - drawn).mean() < 0.06
    assert (said < 0.2).sum() > 5 and (said > 0.8).sum() > 5


def test_a_dot_outside_the_picture_is_not_seen(scene):
    low_picture = RecordingScene(SceneConfig(width=160, height=24, dot_radius=0.016))
    cut_off = 0
    for q in episode_motion(scene, CONFIG, 0, 60)(np.linspace(0, 4, 10)):
        scene.place(q)
        low_picture.place(q)
        outside = np.abs(low_picture.pixels()[..., 1] - 11.5) > 18
        assert (low_picture.shares()[outside] == 0).all()
        cut_off += (scene.shares()[outside] > 0.5).sum()
    assert cut_off > 5


def _share_drawn(room, scene, q, view, ball):
    """Share of a dot that is seen: pixels of it among all, and with nothing else to be seen."""
    counts = []
    kept = scene.model.geom_rgba[:, 3].copy(), scene.model.geom_matid.copy()
    for alone in (False, True):
        if alone:
            scene.model.geom_rgba[np.arange(scene.model.ngeom) != ball, 3] = 0
            scene.model.geom_matid[np.arange(scene.model.ngeom) != ball] = -1
        room._place(q, mujoco.mjtCatBit.mjCAT_ALL)
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            room._scene.flags[flag] = 1
        number = next(geom.segid for geom in room._scene.geoms[: room._scene.ngeom] if geom.objid == ball)
        ids = room._draw(view, np.zeros(2), view.whole).astype(int) @ [1, 256, 65536]
        seen = view.bend((ids == number + 1).astype(np.float32))
        counts.append(seen.sum())
        room._scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = room._scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 0
        scene.model.geom_rgba[:, 3], scene.model.geom_matid[:] = kept
    return counts[0] / counts[1] if counts[1] else 0.0


@needs_rendering
def test_what_moves_is_blurred_and_edges_are_smooth(scene):
    low, high = scene.bounds
    still = np.tile((low + high) / 2, (4, 1))
    with RecordingRoom(scene) as room:
        sharp, blurred = (room.expose(still + np.linspace(-s, s, 4)[:, None] * [1, 0, 0, 0, 0, 0]) for s in (0.0, 0.03))
    for name in sharp:
        changed = np.abs(sharp[name] - blurred[name]).max(-1)
        assert changed.max() > 30 and (changed < 1).mean() > 0.7


@needs_rendering
def test_the_part_that_is_drawn_holds_the_arm(scene):
    low, high = scene.bounds
    with RecordingRoom(scene) as room, RecordingRoom(RecordingScene(replace(SMALL, shadows=True))) as other:
        for share in (0.1, 0.4, 0.6, 0.9):
            q = (low + share * (high - low))[None]
            parts = room.expose(q)
            other.scene.model.light_castshadow[:] = False  # so all is drawn, and the light is the same
            for name, whole in other.expose(q).items():
                assert (np.abs(parts[name] - whole) > 2).mean() < 1e-3  # edges of the floor's specks


def test_the_sensor_errs_as_it_was_told():
    light = np.full((100, 200, 3), 100.0, np.float32)
    noisy = Sensor(SensorConfig(read_noise=2, shot_noise=0.05, exposure_jitter=0), np.random.default_rng(0)).read(light)
    assert noisy.dtype == np.uint8 and abs(noisy.std() - 3.0) < 0.1 and abs(noisy.mean() - 100) < 0.1
    assert_array_equal(Sensor(CLEAN, np.random.default_rng(0)).read(light), 100)
    wandering = Sensor(SensorConfig(read_noise=0, shot_noise=0, exposure_jitter=0.05), np.random.default_rng(0))
    levels = [wandering.read(light[:1, :1]).mean() for _ in range(300)]
    assert 2 < np.std(levels) < 8 and np.std(np.diff(levels)) < np.std(levels)


# Recordings.


@needs_rendering
def test_pictures_are_late_by_the_lag(made):
    """Picture i shows the joints of row i - 3: by the truth, and by the dots in the video itself."""
    robot = Robot("so100", tip=TIP)
    for episode in made.dataset.episodes:
        q = to_radians(episode.joints, made.dataset.units, robot)
        truth = made.truth.of_episode(episode.index)
        assert_allclose(truth.q[3:, :5], q[:-3], atol=2e-5)  # the table is in single precision
        assert_allclose(episode.joints[:, 5], 50.0, atol=1e-4)
    assert made.truth.lag == 3 and made.dataset.units == "normalised"
    assert _best_lag(made, robot) == 3


def _best_lag(made, robot):
    """The shift of the table at which the dots of the videos are where its joints have them."""
    dots = ArmDots(robot, (TIP,))
    errors = np.zeros(7)
    for episode in made.dataset.episodes:
        truth = made.truth.of_episode(episode.index)
        q = to_radians(episode.joints, made.dataset.units, robot)
        points = dots.positions(q)[:, 0]
        for number, (name, camera) in enumerate(truth.cameras.items()):
            pictures = list(episode.frames(name))
            for frame in range(6, len(pictures)):
                if truth.shares[frame, number].min() > 0.95:
                    seen = np.mean([_centre(colour(pictures[frame])) for colour in (_magenta, _green)], 0)
                    errors += [np.linalg.norm(camera.project(points[frame - lag]) - seen) for lag in range(7)]
    assert errors.all()
    return int(errors.argmin())


@needs_rendering
def test_a_lag_need_not_be_a_whole_number(tmp_path):
    config = RecordConfig(seed=3, fps=15, lag=2.5, scene=SMALL, sub_frames=1, units="degrees")
    truth = _record(tmp_path, config, 1, 8 / 15)
    scene = RecordingScene(SMALL)
    motion = episode_motion(scene, config, 0, 8)
    assert_allclose(truth.q, motion((np.arange(8) - 2.5) / 15))
    joints = open_dataset(tmp_path).episodes[0].joints
    assert_allclose(
        np.radians(joints[:, :5]), motion(np.arange(8) / 15)[:, :5], atol=np.pi / 4096 + 1e-6
    )  # the encoder
    assert_allclose(joints[3], recorded_joints(scene, config, motion(3 / 15)), rtol=1e-6, atol=1e-5)


@needs_rendering
def test_the_same_seed_gives_the_same_and_another_another(made, tmp_path):
    again = _record(tmp_path / "again", n_episodes=1)
    assert_array_equal(again.q, made.truth.of_episode(0).q)
    assert_array_equal(again.shares, made.truth.of_episode(0).shares)
    twin = open_dataset(tmp_path / "again").episodes[0]
    assert_array_equal(twin.joints, made.dataset.episodes[0].joints)
    for name in made.dataset.camera_names:
        assert_array_equal(list(twin.frames(name)), list(made.dataset.episodes[0].frames(name)))
    assert not np.allclose(made.truth.of_episode(1).q, again.q)


@needs_rendering
def test_an_interrupted_recording_is_continued(made, tmp_path, monkeypatch):
    root = tmp_path / "again"
    _record(root, n_episodes=1)
    shoot = pixel_recorder._Shoot._shoot

    def interrupted(self, time):
        if len(self._q) == 5:
            raise KeyboardInterrupt
        return shoot(self, time)

    monkeypatch.setattr(pixel_recorder._Shoot, "_shoot", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _record(root)
    monkeypatch.undo()
    assert read_truth(root).n_episodes == 1
    _same(_record(root), made.truth)
    assert_array_equal(open_dataset(root).episodes[1].joints, made.dataset.episodes[1].joints)
    _same(_record(root), made.truth)  # there is nothing left to do
    for path in (path for path in made.root.rglob("*") if path.is_file()):
        assert (root / path.relative_to(made.root)).read_bytes() == path.read_bytes(), path


@needs_rendering
def test_a_truth_that_is_ahead_is_cut_off(made, tmp_path):
    """As a crash leaves it between the truth and the episode."""
    root = tmp_path / "again"
    _record(root, n_episodes=1)
    shutil.copy(made.root / TRUTH_FILE, root)
    _same(_record(root, n_episodes=1), made.truth.first(1))
    _same(read_truth(root), made.truth.first(1))


def _same(found, expected):
    for name in ("episode", "q", "pixels", "shares", "visible"):
        assert_array_equal(getattr(found, name), getattr(expected, name))


@needs_rendering
def test_what_does_not_fit_is_refused(made, tmp_path):
    with pytest.raises(DatasetError, match="other settings: seed is 3, and 4"):
        _record(made.root, RecordConfig(seed=4, fps=15, lag=3, scene=SMALL, sub_frames=2, encoder_steps=0))
    root = tmp_path / "bare"
    shutil.copytree(made.root, root)
    (root / TRUTH_FILE).unlink()
    with pytest.raises(DatasetError, match=r"has 2 episodes, and truth\.npz knows 0"):
        _record(root)
    (root / TRUTH_FILE).write_bytes(b"no truth")
    with pytest.raises(DatasetError, match=r"not an \.npz file"):
        _record(root)
    with pytest.raises(InvalidInputError, match="folds the picture over"):
        _record(tmp_path / "lens", RecordConfig(scene=SceneConfig(distortion=(-2.0, 0, 0, 0, 0))))
    assert not (tmp_path / "lens").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"lag": -1}, {"seed": -1}, {"sub_frames": 0}, {"encoder_steps": -1}, {"shutter": 1.0}, {"fps": 0}, {"speed": 0.0}],
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidInputError, match=f"{next(iter(wrong))}: expected"):
        RecordConfig(**wrong)


def test_what_cannot_be_recorded_is_refused_before_anything_is_written(tmp_path):
    for n_episodes, seconds, words in (
        (0, 1.0, "episodes: expected 1 or more, got 0"),
        (1, 0.0, "seconds: expected at least one frame of 0.03"),
        (1, np.nan, "seconds: .* got nan"),
        (1, np.inf, "seconds: .* got inf"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            pixel_recorder.record(tmp_path / "none", RecordConfig(), n_episodes=n_episodes, seconds=seconds)
    with pytest.raises(InvalidInputError, match=r"sensor\.shot_noise: expected 0 or more, got -1"):
        SensorConfig(shot_noise=-1.0)
    with pytest.raises(InvalidInputError, match="width: expected an even number of at least 16 pixels, got 641"):
        RecordingScene(SceneConfig(width=641))
    assert not (tmp_path / "none").exists()


def test_there_is_no_truth_of_other_recordings(tmp_path):
    with pytest.raises(DatasetError, match="only recordings of `hybrid-ik pixels record`"):
        read_truth(tmp_path)


# The command.


@needs_rendering
def test_the_command_records(tmp_path, capsys):
    words = ["pixels", "record", "--out", str(tmp_path), "--episodes", "1", "--seconds", "0.2", "--codec", "h264"]
    words += ["--scene.width", "160", "--scene.height", "120", "--seed", "7", "--sub-frames", "1"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "1 episodes, 6 frames; pictures are 6 frames late" in said and "front sees" in said
    assert read_truth(tmp_path).settings["seed"] == 7
    open_dataset(tmp_path).verify()


def test_the_steps_are_listed(capsys):
    assert main(["pixels", "--help"]) == 0
    assert "record" in capsys.readouterr().out
    assert main(["pixels"]) == 2 and main(["pixels", "recrod"]) == 2
    assert "no step 'recrod'; there are: record" in capsys.readouterr().err
