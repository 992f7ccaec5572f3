"""Joints of an SO-100 from what two cameras see of it: recorded, learned, refined on the pixels, and measured.

Needs `pip install hybrid-ik[vision]`. Usage: python examples/07_so100_from_pixels.py [--out FOLDER]
It takes a minute, most of it for drawing; called again, it goes on from what is in the folder.
"""

import argparse
from pathlib import Path

import numpy as np

from hybrid_ik import Robot
from hybrid_ik.apps.pixel_recorder import RecordConfig, record
from hybrid_ik.apps.pixels_evaluate_command import tip_table
from hybrid_ik.apps.recording_scene import SceneConfig
from hybrid_ik.learning.loop import STATE_FILE
from hybrid_ik.learning.pixels import PixelConfig, train_pixels
from hybrid_ik.pixels.dots.annotate import write_annotated_video
from hybrid_ik.pixels.evaluation import compare_ways, held_out_episodes
from hybrid_ik.pixels.first_dots import find_first_dots
from hybrid_ik.pixels.pixel_solver import PixelSolver
from hybrid_ik.pixels.preprocess import PreprocessConfig, follow_recording, pair_recording
from hybrid_ik.pixels.recordings.dataset import open_dataset
from hybrid_ik.pixels.rig import calibrate_rig
from hybrid_ik.samplers.pixel import PixelSampler, pixel_features

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("runs/so100_from_pixels"), help="the folder of all files")
out = parser.parse_args().out

# A recording in LeRobot's format, here drawn by MuJoCo. The gripper points down, so that little of it covers much.
scene = SceneConfig(tilt=0.3, roll=0.3)
what = RecordConfig(fps=15, sub_frames=2, speed=2.5, scene=scene)
record(out / "recording", what, n_episodes=4, seconds=8, codec="h264")
dataset = open_dataset(out / "recording")

# The dots on the gripper: found in one of the first pictures, followed through all of them, and paired with joints.
first = find_first_dots(dataset.episodes[0], dataset.camera_names)
places = {camera: np.array([dot.position for dot in dots]) for camera, dots in first.dots.items()}
config = PreprocessConfig(dots=places, first_frame=first.frame)
tracks = follow_recording(dataset, config, out / "tracks")
recording, lag = pair_recording(dataset, tracks, config)
print(f"{len(recording)} frames, {recording.n_lost} with a dot lost; pictures are {recording.lag:g} frames late")

# Two networks: the answer of the MLP is the mean of the joints that fit the dots, those of MeanFlow are samples.
samplers = {}
for name, model, epochs in ("MLP", "mlp", 200), ("MeanFlow", "meanflow", 100):
    options = PixelConfig(model=model, epochs=epochs, batch=64, features="dots", noises_per_row=4, ema_decay=0.99,
                          device="cpu", tensorboard=False, out=out / model)  # fmt: skip
    samplers[name] = PixelSampler(train_pixels(recording, options, resume=(out / model / STATE_FILE).exists()))

# Cameras from the episodes that the networks have learned from, and the errors of the tip in the one they have not.
episodes = held_out_episodes(samplers)
kept, arm = recording.of_episodes(episodes), Robot("so100", tip="dot_moving_jaw")
rig = calibrate_rig(recording.without_episodes(episodes), arm, ["dot_fixed_jaw", "dot_moving_jaw"])
print(tip_table(compare_ways(kept, rig, samplers, Robot("so100"))))

# One frame: what a network says, and the same refined until the dots lie where they are seen.
frame = np.flatnonzero(np.isfinite(kept.dots).all((1, 2, 3)))[0]
proposed = samplers["MLP"].predict(pixel_features(kept.dots[frame], "dots"))
refined = PixelSolver(rig, samplers["MLP"]).solve(kept.dots[frame])
for name, joints in ("recorded", kept.joints[frame]), ("proposed", proposed), ("refined", rig.from_model(refined.q)):
    print(f"{name:>9}: {joints.round(1)} {kept.units}")
print(f"success={bool(refined.success)}, the dots are {refined.pixel_error:.1f} px off")

# To be looked at: the held-out episode as each camera saw it, with the dots that were followed.
for camera, track in zip(config.dots, tracks[episodes[0]], strict=True):
    if not (out / f"{camera}.mp4").exists():
        write_annotated_video(out / f"{camera}.mp4", dataset.episodes[episodes[0]].frames(camera), track, dataset.fps)
print(f"wrote {', '.join(f'{out / camera}.mp4' for camera in config.dots)}")
