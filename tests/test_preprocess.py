"""From a recording to dots beside joints: they belong together, what was done is kept, and misuse is named."""

from __future__ import annotations

from dataclasses import replace

import dot_scene
import numpy as np
import pytest

from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.dots.tracks import Tracks
from hybrid_ik.pixels.first_dots import find_first_dots
from hybrid_ik.pixels.preprocess import PreprocessConfig, arm_joints, follow_recording, pair_recording
from hybrid_ik.pixels.recordings.dataset import open_dataset
from hybrid_ik.pixels.recordings.writer import DatasetWriter

LAG, LENGTHS = 4, (90, 60)
HIDDEN = 12  # frames
SCENE = dot_scene.Scene(n_frames=90, width=160, height=120, radius=4.0, occluders=0, noise=2.0)
SEEDS = {"front": 1, "top": 2}


def _joints(positions, lag):
    """Six numbers that the dots follow from, with those of `lag` frames later in each row."""
    middle = positions.mean(1)
    later = middle[np.minimum(np.arange(len(middle)) + lag, len(middle) - 1)]
    x, y = ((later - [80, 60]) / [80, 60]).T
    return 50 * np.stack([x, y, x * y, x + y, x - y, 0 * x + 1], -1)


@pytest.fixture(scope="module")
def scenes():
    """Of each episode, a recording by each camera; the cameras see different motions, joints are those of the first."""
    return [
        {name: dot_scene.record(replace(SCENE, seed=seed + 10 * k, n_frames=n)) for name, seed in SEEDS.items()}
        for k, n in enumerate(LENGTHS)
    ]


def _written(scenes, root):
    writer = DatasetWriter(root, fps=30, cameras=dict.fromkeys(SEEDS, (120, 160)), units="degrees", codec="h264")
    for scene in scenes:
        joints = _joints(scene["front"].positions, LAG)
        with writer.episode("move") as episode:
            for i, row in enumerate(joints):
                episode.add(row, {name: recording.frames[i] for name, recording in scene.items()})
    return open_dataset(root)


@pytest.fixture(scope="module")
def dataset(scenes, tmp_path_factory):
    return _written(scenes, tmp_path_factory.mktemp("recording") / "dots")


@pytest.fixture(scope="module")
def hidden(scenes, tmp_path_factory):
    """The same, but that the first camera does not see the first dot in the first frames of both episodes."""
    covered = [dict(scene) for scene in scenes]
    for scene in covered:
        frames = scene["front"].frames.copy()
        for frame, place in zip(frames[:HIDDEN], scene["front"].positions[:HIDDEN, 0], strict=True):
            x, y = np.maximum(np.rint(place).astype(int) - 8, 0)
            frame[y : y + 17, x : x + 17] = 120
        scene["front"] = scene["front"]._replace(frames=frames)
    return _written(covered, tmp_path_factory.mktemp("hidden") / "dots")


@pytest.fixture
def config(scenes):
    return PreprocessConfig(dots={name: recording.positions[0] for name, recording in scenes[0].items()}, lag=LAG)


def test_dots_lie_beside_the_joints_they_were_taken_at(dataset, scenes, config, tmp_path):
    tracks = follow_recording(dataset, config, tmp_path)
    recording, found = pair_recording(dataset, tracks, config)
    assert found is None and recording.lag == LAG and recording.joint_names[0].startswith("shoulder_pan")
    assert len(recording) == sum(LENGTHS) - 2 * LAG and recording.joints.shape[1] == 5
    for k, scene in enumerate(scenes):
        rows = recording.episode == k
        frames = recording.frame[rows]
        assert np.array_equal(frames, np.arange(LAG, LENGTHS[k]))
        for camera, name in enumerate(SEEDS):
            error = np.linalg.norm(recording.dots[rows, camera] - scene[name].positions[frames], axis=-1)
            assert np.nanmedian(error) < 1.0 and np.isnan(error).mean() < 0.05
        truth = _joints(scene["front"].positions, 0)[frames]
        np.testing.assert_allclose(recording.joints[rows], truth[:, :5], atol=1e-3)


def test_the_lag_is_estimated_where_it_is_not_given(dataset, config, tmp_path):
    tracks = follow_recording(dataset, config, tmp_path)
    recording, found = pair_recording(dataset, tracks, replace(config, lag=None))
    assert found.clear and found.offset == LAG == recording.lag


def test_an_interrupted_run_goes_on_and_ends_the_same(hidden, scenes, tmp_path):
    """Bit for bit, also where dots come out late and are found by the colours of the frame in which they were shown."""
    shown = {name: scene.positions[30] for name, scene in scenes[0].items()}
    config = PreprocessConfig(dots=shown, first_frame=30)
    whole = follow_recording(hidden, config, tmp_path / "whole")
    seen = []

    def interrupted(frames, label, count):
        seen.append(label)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return frames

    with pytest.raises(KeyboardInterrupt):
        follow_recording(hidden, config, tmp_path / "parted", interrupted)
    seen.clear()
    resumed = follow_recording(
        hidden, config, tmp_path / "parted", lambda frames, label, n: seen.append(label) or frames
    )
    assert seen == ["episode 1, front", "episode 1, top"]
    for a, b in zip(whole, resumed, strict=True):
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one.positions, other.positions)
            np.testing.assert_array_equal(one.confidence, other.confidence)


def test_dots_that_are_not_there_are_named_before_anything_is_followed(dataset, config, tmp_path):
    wrong = replace(config, dots={**config.dots, "top": config.dots["top"] + 30.0})
    with pytest.raises(InvalidInputError, match="top"):
        follow_recording(dataset, wrong, tmp_path, lambda frames, label, n: pytest.fail(f"{label} was followed"))


def test_tracks_of_another_recording_are_not_taken(dataset, config, tmp_path):
    """The dots may be at the same places in both, as where the arm always begins in the same posture."""
    few = replace(config, max_frames=5)
    follow_recording(dataset, few, tmp_path)
    other = replace(dataset, episodes=tuple(_Elsewhere(episode) for episode in dataset.episodes))
    with pytest.raises(DatasetError, match=r"of another recording or run.*delete the folder"):
        follow_recording(other, few, tmp_path)


class _Elsewhere:
    """An episode with the same pictures, and other joints."""

    def __init__(self, episode):
        self._episode, self.joints = episode, episode.joints + 1.0

    def __getattr__(self, name):
        return getattr(self._episode, name)


def test_what_pairing_needs_is_named(dataset, config, tmp_path):
    few = replace(config, max_frames=LAG)
    tracks = follow_recording(dataset, few, tmp_path)
    with pytest.raises(InvalidInputError, match=r"at 4 frames no picture has its joints, of 4 frames .*--frame-offset"):
        pair_recording(dataset, tracks, few)
    with pytest.raises(InvalidInputError, match="needs at least 20 frames"):
        pair_recording(dataset, tracks, replace(few, lag=None))
    with pytest.raises(InvalidInputError, match=r"units: .*dots does not say .* degrees or normalised \(--units\)"):
        arm_joints(replace(dataset, units=None))
    names = ["base", "main_gripper"]
    state = {**dataset.layout.features["observation.state"], "names": names}
    layout = replace(dataset.layout, features={"observation.state": state})
    assert arm_joints(replace(dataset, layout=layout)).tolist() == [True, False]
    names[1] = "wrist"
    with pytest.raises(InvalidInputError, match=r"expected one with 'gripper' in its name, .* has base, wrist"):
        arm_joints(replace(dataset, layout=layout))


def test_a_lag_that_is_not_clear_is_not_taken(dataset, config):
    still = [[Tracks(np.random.default_rng(k).normal(size=(n, 2, 2)), np.ones((n, 2)))] for k, n in enumerate(LENGTHS)]
    with pytest.raises(InvalidInputError, match=r"hardly where the joints .*\. Give it in frames \(--frame-offset\)"):
        pair_recording(dataset, still, replace(config, lag=None))


def test_fewer_frames_are_followed_where_that_is_asked(dataset, config, tmp_path):
    few = replace(config, max_frames=20)
    tracks = follow_recording(dataset, few, tmp_path)
    assert [len(views[0].positions) for views in tracks] == [20, 20]
    assert len(pair_recording(dataset, tracks, few)[0]) == 2 * (20 - LAG)


def test_a_dot_that_is_hidden_at_first_is_picked_up_by_its_colour(hidden, scenes, tmp_path):
    first = find_first_dots(hidden.episodes[0], tuple(SEEDS), frames=15, within=60)
    assert first.frame >= HIDDEN
    dots = {camera: np.array([dot.position for dot in found]) for camera, found in first.dots.items()}
    truth = scenes[0]["front"].positions[first.frame]
    order = [int(np.linalg.norm(dots["front"] - place, axis=1).argmin()) for place in truth]
    assert sorted(order) == [0, 1] and np.abs(dots["front"][order] - truth).max() < 1.0
    tracks = follow_recording(hidden, PreprocessConfig(dots=dots, first_frame=first.frame), tmp_path)
    for scene, views in zip(scenes, tracks, strict=True):
        for view, name in zip(views, SEEDS, strict=True):
            error = np.linalg.norm(view.positions[:, order] - scene[name].positions, axis=-1)
            assert np.nanmedian(error) < 1.0 and np.nanmax(error) < 4.0
            assert np.isfinite(error[HIDDEN + 3 :]).mean() > 0.95
        assert np.isnan(views[0].positions[: HIDDEN - 1, order[0]]).all()


def test_a_first_frame_that_is_not_there_is_named(dataset, config, tmp_path):
    with pytest.raises(InvalidInputError, match="first_frame: episode 0 has the frames 0 to 89, got 90"):
        follow_recording(dataset, replace(config, first_frame=90), tmp_path)
    with pytest.raises(InvalidInputError, match="expected a camera and numbers from 1 on"):
        find_first_dots(dataset.episodes[0], (), 2)


def test_misuse_is_named(dataset, config, tmp_path):
    with pytest.raises(InvalidInputError, match=r"no camera \['left'\]; the recording has front, top"):
        follow_recording(dataset, replace(config, dots={"left": [[1, 2]]}), tmp_path)
    with pytest.raises(InvalidInputError, match="front"):
        follow_recording(dataset, replace(config, dots={"front": [[500.0, 2.0]]}), tmp_path)
    follow_recording(dataset, replace(config, max_frames=5), tmp_path)
    with pytest.raises(DatasetError, match="of another recording or run"):
        follow_recording(dataset, replace(config, max_frames=6), tmp_path)
    path = next(tmp_path.glob("*.npz"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match="damaged"):
        follow_recording(dataset, replace(config, max_frames=5), tmp_path)


class _StandingStill:
    """What `CoTrackerOnlinePredictor` is to a caller; its dots stay where they were shown."""

    step = 8

    def to(self, device):
        return self

    def __call__(self, video_chunk, is_first_step=False, queries=None):
        import torch

        if is_first_step:
            self.queries, self.count = queries, 0
            return None, None
        self.count += video_chunk.shape[1] - (self.step if self.count else 0)
        tracks = self.queries[:, None, :, 1:].repeat(1, self.count, 1, 1)
        return tracks, torch.ones(tracks.shape[:3], dtype=torch.bool)


def test_cotracker_follows_from_the_frame_in_which_all_dots_are_found(hidden, scenes, config, tmp_path, monkeypatch):
    import torch

    from hybrid_ik.pixels.dots import cotracker

    cotracker._load.cache_clear()
    monkeypatch.setattr(torch.hub, "load", lambda *names, **options: _StandingStill())
    shown = replace(config, dots={name: scene.positions[30] for name, scene in scenes[0].items()}, first_frame=30)
    tracks = follow_recording(hidden, replace(shown, tracker="cotracker"), tmp_path)
    cotracker._load.cache_clear()
    for episode, scene in zip(tracks, scenes, strict=True):
        front = episode[0].positions
        assert len(front) == len(scene["front"].positions) and np.isnan(front[:HIDDEN]).all()
        first = int(np.argmax(np.isfinite(front[:, 0, 0])))
        assert HIDDEN <= first < HIDDEN + 8 and (front[first:] == front[first]).all()
        assert np.linalg.norm(front[first] - scene["front"].positions[first], axis=-1).max() < 1.0
        assert (episode[0].confidence[:first] == 0).all() and (episode[0].confidence[first:] == 1).all()
    with pytest.raises(DatasetError, match="another recording or run"):
        follow_recording(hidden, shown, tmp_path)


def test_cameras_have_as_many_dots_as_each_other(config):
    with pytest.raises(InvalidInputError, match=r"as many in each camera, got .'front': 2, 'top': 1"):
        replace(config, dots={**config.dots, "top": config.dots["top"][:1]})
    with pytest.raises(InvalidInputError, match="max_frames"):
        replace(config, max_frames=0)
