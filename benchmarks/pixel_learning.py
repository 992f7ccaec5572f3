"""Joints from pixels, learned: tip errors of the MLP and of MeanFlow on a synthetic recording of the SO-100.

Two pinhole cameras see a dot on each jaw, with noise; joints move smoothly in episodes. Prints a table. One core:

    OMP_NUM_THREADS=1 python benchmarks/pixel_learning.py --out runs/pixels
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from hybrid_ik import Pose, Robot
from hybrid_ik.learning.pixels import PixelConfig, train_pixels
from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.processed import ProcessedRecording
from hybrid_ik.samplers.pixel import PixelSampler, pixel_features

SITES = "dot_fixed_jaw", "dot_moving_jaw"
N_SAMPLES = 16
N_SETTLED = 200  # rows whose samples are brought onto the dots


def look_at(position, target, focal=600.0, width=640, height=480) -> Camera:
    """A pinhole at a position that has a target in the middle of its picture."""
    z = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    T_world_camera = np.eye(4)
    T_world_camera[:3] = np.stack([x, np.cross(z, x), z, position], -1)
    matrix = [[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]]
    T_camera_world = Pose.from_matrix(T_world_camera).inverse()
    return Camera(matrix=matrix, T_camera_world=T_camera_world, width=width, height=height)


def cameras() -> dict[str, Camera]:
    """One from the front, one from the side."""
    middle = [0.0, -0.2, 0.15]
    return {"front": look_at([0.1, -1.2, 0.6], middle, 500.0), "side": look_at([1.0, -0.2, 0.5], middle, 500.0)}


def smooth_joints(robot, n_episodes, n_frames, rng, share=0.5) -> np.ndarray:
    """Joints `(n_episodes, n_frames, dof)` [rad]: sums of slow sines within a share of the ranges."""
    frequency = rng.uniform(0.1, 1.0, (n_episodes, 3, 1, robot.dof))
    phase = rng.uniform(0, 2 * np.pi, frequency.shape)
    t = np.linspace(0, 10, n_frames)[:, None]
    waves = np.sin(2 * np.pi * frequency * t + phase).sum(1) / 2.0
    return robot.chain.middle + 0.5 * share * (robot.upper - robot.lower) * np.clip(waves, -1, 1)


def recording(robot, n_episodes, n_frames, noise, rng, share=0.5) -> ProcessedRecording:
    """A synthetic one, joints in radians, noise in pixels (standard deviation)."""
    q = smooth_joints(robot, n_episodes, n_frames, rng, share).reshape(-1, robot.dof)
    points, views = ArmDots(robot, SITES).positions(q), cameras()
    dots = np.stack([camera.project(points) for camera in views.values()], 1)
    return ProcessedRecording(
        dots=(dots + noise * rng.normal(size=dots.shape)).astype(np.float32),
        joints=q,
        gripper=np.full(len(q), 50.0),
        episode=np.repeat(np.arange(n_episodes), n_frames),
        frame=np.tile(np.arange(n_frames), n_episodes),
        joint_names=robot.joint_names,
        units="radians",
        fps=30.0,
        cameras={name: (camera.height, camera.width) for name, camera in views.items()},
        dot_names=SITES,
    )


def tip_errors(robot, q, q_true) -> np.ndarray:
    """Distances of the tips [mm]; `q_true` broadcasts against `q` `(*batch, dof)`."""
    difference = robot.forward_kinematics(q).position - robot.forward_kinematics(q_true).position
    return 1000.0 * np.linalg.norm(difference, axis=-1)


def middle_errors(robot, q, q_true) -> np.ndarray:
    """Distances of the middle of the two dots [mm]."""
    dots = ArmDots(robot, SITES)
    return 1000.0 * np.linalg.norm(dots.positions(q).mean(-2) - dots.positions(q_true).mean(-2), axis=-1)


def print_spread(robot, samples, q_true) -> None:
    """Whether several joints fit the same dots: samples `(m, n, dof)` brought onto the middle of the dots by Newton."""
    rows = np.linspace(0, len(samples) - 1, N_SETTLED).astype(int)
    q, dots = samples[rows].copy(), ArmDots(robot, SITES)
    target = dots.positions(q_true[rows]).mean(-2)[:, None]
    for _ in range(12):
        points, jacobians = dots.jacobians(q)
        step = np.linalg.pinv(jacobians.mean(-3)) @ (target - points.mean(-2))[..., None]
        q += step[..., 0]
    fits = np.linalg.norm(dots.positions(q).mean(-2) - target, axis=-1) < 1e-6
    moved = np.degrees(np.abs(q - samples[rows])[fits].max(-1))
    kept = np.degrees(np.where(fits[..., None], q, np.nan))
    widest = np.nanmax(kept, 1) - np.nanmin(kept, 1)
    print(f"  after Newton {fits.mean():.2f} of the samples have the very middle of the dots, to 1 um;")
    print(f"  the joint that moved most for that: {np.median(moved):.1f} deg (median)")
    print(f"  ranges of the {N_SAMPLES} answers of a row, each joint [deg], median: {np.median(widest, 0).round(0)}")


def measure(robot, sampler, data) -> dict:
    """Errors on the validation episodes."""
    rows = np.isin(data.episode, sampler.file.options["validation_episodes"])
    dots, q_true = pixel_features(data.dots[rows], sampler.features), data.joints[rows]
    found = {"predict": tip_errors(robot, q := sampler.predict(dots), q_true)}
    found["predict, middle of the dots"] = middle_errors(robot, q, q_true)
    if sampler.file.kind == "pixel_meanflow":
        q = sampler.sample(dots, N_SAMPLES)
        errors, middles = tip_errors(robot, q, q_true[:, None]), middle_errors(robot, q, q_true[:, None])
        found["best of 1"], found["best of 16"] = errors[:, 0], errors.min(1)
        found["one sample, middle of the dots"] = middles[:, 0]
        found["best of 16, middle of the dots"] = middles.min(1)
        print_spread(robot, q, q_true)
    return {name: [float(np.median(e)), float(np.quantile(e, 0.95))] for name, e in found.items()}


def main() -> None:
    """Trains, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/pixels"))
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--noise", type=float, default=0.5)
    parser.add_argument("--share", type=float, default=0.5, help="share of the joints' ranges that is moved through")
    parser.add_argument("--epochs", type=int, nargs=2, default=(100, 30), help="of the MLP and of MeanFlow")
    parser.add_argument("--features", nargs="+", default=["middle", "dots"])
    options, robot = parser.parse_args(), Robot("so100")
    data = recording(
        robot, options.episodes, options.frames, options.noise, np.random.default_rng(0), options.share
    )  # fmt: skip
    height, width = 480, 640
    inside = ((data.dots >= 0) & (data.dots < [width, height])).all((1, 2, 3)).mean()
    print(f"{len(data)} frames, {data.n_lost} with lost dots, {inside:.2f} with all dots in the pictures")
    for features in options.features:
        for model, epochs in zip(("mlp", "meanflow"), options.epochs, strict=True):
            out = options.out / f"{model}_{features}"
            config = PixelConfig(
                model=model, features=features, epochs=epochs, lr=1e-3 if model == "mlp" else 2e-3, out=out,
                device="cpu", tensorboard=False,
                checkpoint_interval=100_000,
            )  # fmt: skip
            started = time.process_time()
            file = train_pixels(data, config)
            seconds = time.process_time() - started
            print(f"{model}, {features}: {seconds:.0f} s of a core, {file.record['measures']}")
            errors = measure(robot, PixelSampler(file), data)
            for name, (median, p95) in errors.items():
                print(f"  {name}: median {median:.1f} mm, p95 {p95:.1f} mm")
            (out / "errors.json").write_text(json.dumps({"seconds": seconds, **errors}, indent=1))


if __name__ == "__main__":
    main()
