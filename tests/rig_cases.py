"""A recording of the SO-100 without pictures: joints, and the pixels of its dots in two cameras with a lens."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from pixel_cases import joints, look_at, seen

from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.processed import ProcessedRecording
from hybrid_ik.pixels.recordings.units import from_radians
from hybrid_ik.pixels.rig import Rig
from hybrid_ik.robot import Robot

SITES = ("dot_fixed_jaw", "dot_moving_jaw")
NAMES = ("pan", "lift", "elbow", "flex", "roll")
NOISE = 0.3  # px
LOOKED_AT = [0.0, -0.2, 0.15]


def so100(jaw: bool = True) -> Robot:
    """With the jaw as its last joint, or without it."""
    return Robot("so100", tip=SITES[-1] if jaw else None)


def so100_cameras(n: int = 2) -> dict:
    """From the left, from the front and right, and from above."""
    places = {"left": [-0.75, -0.35, 0.5], "front": [0.35, -1.0, 0.6], "top": [0.3, 0.3, 0.9]}
    return {name: look_at(place, LOOKED_AT, 500.0) for name, place in list(places.items())[:n]}


def true_rig(jaw: bool = True, units: str = "radians", sites=SITES, cameras=2, offsets=None, shifts=None) -> Rig:
    """What a perfect calibration finds."""
    robot = so100(jaw)
    return Rig(
        dots=ArmDots(robot, sites, shifts),
        cameras=so100_cameras(cameras),
        joint_names=NAMES,
        units=units,
        offsets=np.zeros(robot.dof) if offsets is None else np.asarray(offsets, dtype=float),
        pixel_error=NOISE,
    )


def postures(rig: Rig, n: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Joints of the model `(n, dof)`, and the gripper `(n,)`."""
    q, gripper = joints(rig.robot, n, rng, 0.6), rng.uniform(10, 90, n)
    if rig.has_jaw:
        low, high = rig.robot.lower[-1], rig.robot.upper[-1]
        q[:, -1] = low + gripper / 100 * (high - low)
    return q, gripper


def pixels_of(rig: Rig, q, rng=None, noise: float = NOISE, lost: float = 0.0) -> np.ndarray:
    """Pixels `(*batch, n_cameras, n_dots, 2)` with noise, some of the dots lost."""
    pixels = seen(tuple(rig.cameras.values()), rig.dots, q)
    if rng is not None:
        pixels += noise * rng.normal(size=pixels.shape)
        pixels[rng.random(pixels.shape[:-1]) < lost] = np.nan
    return pixels


def recording_of(rig: Rig, n_episodes: int = 4, n_frames: int = 60, seed: int = 0, lost: float = 0.02, **changes):
    """Of random postures; what was recorded is what the rig makes of them, without using it."""
    rng, n = np.random.default_rng(seed), n_episodes * n_frames
    q, gripper = postures(rig, n, rng)
    moved = q - rig.offsets
    recorded = moved if rig.units == "radians" else from_radians(moved, rig.units, rig.robot)
    fields = {
        "dots": pixels_of(rig, q, rng, lost=lost), "joints": recorded[:, : len(NAMES)], "gripper": gripper,
        "episode": np.repeat(np.arange(n_episodes), n_frames), "frame": np.tile(np.arange(n_frames), n_episodes),
        "joint_names": NAMES, "units": rig.units, "fps": 30.0,
        "cameras": {name: (camera.height, camera.width) for name, camera in rig.cameras.items()},
        "dot_names": tuple(f"dot {i}" for i in range(rig.dots.n_dots)),
    }  # fmt: skip
    return ProcessedRecording(**fields | changes)


class Oracle(SimpleNamespace):
    """A network that knows the answers, in the order of the rows."""

    features, gives_several, file = "dots", False, SimpleNamespace(path="oracle")

    @classmethod
    def of(cls, rig, recorded, **changes):
        names = {"joint_names": rig.joint_names, "units": rig.units, "camera_names": tuple(rig.cameras)}
        return cls(recorded=np.asarray(recorded), **names | changes)

    def predict(self, told):
        return np.where(np.isfinite(told).all(-1, keepdims=True), self.recorded, np.nan)

    def sample(self, told, n):
        return np.repeat(self.predict(told)[..., None, :], n, -2)
