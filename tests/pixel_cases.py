"""A small arm and an SO-100 with a dot on each jaw, and cameras that look at them."""

from __future__ import annotations

import numpy as np

from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.processed import ProcessedRecording
from hybrid_ik.robot import Robot

LENS = np.array([-0.28, 0.09, 6e-4, -4e-4, 0.01])  # a webcam's
DOTS = ("dot_fixed", "dot_moving")
SO100_DOTS = ("dot_fixed_jaw", "dot_moving_jaw")

# About as large as an SO-100, with five joints and a jaw.
JAW_ARM = """
<mujoco><compiler angle='radian'/><worldbody><body name='turret' pos='0 0 .05'>
<joint name='turn' axis='0 0 1' range='-1.8 1.8'/><geom size='.02'/>
<body name='upper' pos='0 .03 .06'><joint name='lift' axis='1 0 0' range='-1.6 1.2'/><geom size='.02'/>
<body name='lower' pos='0 .03 .11'><joint name='bend' axis='1 0 0' range='-2.2 .6'/><geom size='.02'/>
<body name='wrist' pos='0 .13 0'><joint name='pitch' axis='1 0 0' range='-1.7 1.7'/><geom size='.02'/>
<body name='hand' pos='0 .06 0'><joint name='roll' axis='0 1 0' range='-2.5 2.5'/><geom size='.02'/>
<site name='dot_fixed' pos='.015 .09 .005'/><site name='grip' pos='0 .09 0'/>
<body name='jaw' pos='-.02 .02 0'><joint name='jaw' axis='0 0 1' range='-.2 1.7'/><geom size='.02'/>
<site name='dot_moving' pos='0 .07 -.004'/>
</body></body></body></body></body></body></worldbody></mujoco>
"""


def jaw_arm(tip: str = "dot_moving") -> Robot:
    """Six joints where the tip is on the jaw that moves, five where it is the grip."""
    import mujoco

    return Robot(mujoco.MjSpec.from_string(JAW_ARM), tip=tip)


def look_at(position, target, focal=600.0, distortion=LENS, width=640, height=480, roll=0.0) -> Camera:
    """A camera that stands at a position and has a target in the middle of its picture."""
    position = np.asarray(position, dtype=float)
    z = np.asarray(target, dtype=float) - position
    z /= np.linalg.norm(z)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    x, y = np.cos(roll) * x + np.sin(roll) * np.cross(z, x), np.cos(roll) * np.cross(z, x) - np.sin(roll) * x
    T_world_camera = np.eye(4)
    T_world_camera[:3] = np.stack([x, y, z, position], -1)
    matrix = [[focal, 0, (width - 1) / 2 + 9.0], [0, focal, (height - 1) / 2 - 7.0], [0, 0, 1]]
    return Camera(
        matrix=matrix,
        distortion=distortion,
        T_camera_world=np.linalg.inv(T_world_camera),
        width=width,
        height=height,
    )


def two_cameras() -> list[Camera]:
    """One from the front and left, one from the right, from above."""
    return [look_at([-0.45, 0.75, 0.55], [0, 0.12, 0.15]), look_at([0.8, 0.15, 0.4], [0, 0.12, 0.15], 550.0, roll=0.1)]


def joints(robot: Robot, n: int, rng: np.random.Generator, share: float = 0.7) -> np.ndarray:
    """Random ones `(n, dof)`, in the middle share of the ranges."""
    half = 0.5 * share * (robot.upper - robot.lower)
    return robot.chain.middle + rng.uniform(-1, 1, (n, robot.dof)) * half


def seen(cameras, dots, q) -> np.ndarray:
    """Pixels `(*batch, n_cameras, n_dots, 2)` of dots at joints."""
    points = dots.positions(q)
    return np.stack([camera.project(points) for camera in cameras], -3)


def smooth_recording(robot, n_episodes=10, n_frames=60, seed=0, **changes):
    """Smooth joints of an SO-100 in radians, with the dots that two plain pinholes see."""
    rng = np.random.default_rng(seed)
    frequency, phase = rng.uniform(0.1, 0.4, (n_episodes, 1, 5)), rng.uniform(0, 2 * np.pi, (n_episodes, 1, 5))
    waves = np.sin(2 * np.pi * frequency * np.linspace(0, 10, n_frames)[:, None] + phase).reshape(-1, 5)
    q = robot.chain.middle + 0.2 * (robot.upper - robot.lower) * waves
    points = ArmDots(robot, SO100_DOTS).positions(q)
    places = [0.1, -1.2, 0.6], [1.0, -0.2, 0.5]
    cameras = [look_at(position, [0, -0.2, 0.15], 500.0, np.zeros(5)) for position in places]
    fields = {
        "dots": np.stack([camera.project(points) for camera in cameras], 1).astype(np.float32),
        "joints": q, "gripper": np.full(len(q), 50.0), "episode": np.repeat(np.arange(n_episodes), n_frames),
        "frame": np.tile(np.arange(n_frames), n_episodes), "joint_names": robot.joint_names, "units": "radians",
        "fps": 30.0, "lag": 6, "cameras": {"front": (480, 640), "side": (480, 640)}, "dot_names": SO100_DOTS,
    }  # fmt: skip
    return ProcessedRecording(**fields | changes)
