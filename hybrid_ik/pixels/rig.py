"""A rig: an arm with dots before calibrated cameras. It is found from a processed recording, and kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.errors import DatasetError, HybridIKError, InvalidInputError, RobotError
from hybrid_ik.pixels.cameras.arm_calibration import calibrate_arm
from hybrid_ik.pixels.cameras.arm_dots import ArmDots
from hybrid_ik.pixels.cameras.calibration import CalibrationConfig, calibrate_cameras
from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pixels.cameras.pixel_refiner import PixelRefiner, PixelRefinerConfig
from hybrid_ik.pixels.cameras.triangulation import reprojection_errors
from hybrid_ik.pixels.processed import JointUnits, ProcessedRecording
from hybrid_ik.pixels.recordings.units import from_radians, to_radians
from hybrid_ik.resources import shipped_robots
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.pixel import GRIPPER

Array = NDArray[np.float64]

RIG_FORMAT, VERSION = "hybrid_ik.rig", 1
WRITE_ONE = "`hybrid-ik pixels calibrate` writes one"
MOST_ROWS = 2000  # that cameras are calibrated from, evenly spaced; twice as many change nothing that can be seen
FEW_ROWS = 300  # that tell which dot is at which site
MOST_IN_ANY_ORDER = 4  # dots: 24 orders, each of them a calibration of a second or so
ARM_ROWS = 400  # that the zeros of joints are found from, beside the cameras: 2000 take a minute


@dataclass(frozen=True, eq=False, kw_only=True)
class Rig:
    """All that decides which pixels the dots of an arm have, but its joints.

    Where the tip of the arm's model is on the jaw that moves, the jaw is its last joint, and is never solved for: it
    stands where the gripper of the recording does.
    """

    dots: ArmDots
    """On the arm's model, in the order of the recording's dots."""
    cameras: Mapping[str, Camera]
    """In the order of the recording's cameras."""
    joint_names: tuple[str, ...]
    """Of the recorded joints, without the gripper."""
    units: JointUnits
    """Of the recorded joints."""
    offsets: Array
    """The model's joints are those recorded plus these `(dof,)` [rad, or m]; 0 for the jaw."""
    pixel_error: float
    """Median distance between the pixels of the recording and those of its joints [pixels]."""

    def __post_init__(self) -> None:
        spare = self.robot.dof - len(self.joint_names)
        if spare not in (0, 1):
            raise InvalidInputError(
                f"robot: expected {len(self.joint_names)} joints as recorded ({', '.join(self.joint_names)}), and a "
                f"jaw at most; {self.robot.name!r} has {', '.join(self.robot.joint_names)} up to its tip"
            )
        if self.units not in get_args(JointUnits):
            raise InvalidInputError(f"units: expected one of {', '.join(get_args(JointUnits))}, got {self.units!r}")
        if self.offsets.shape != (self.robot.dof,):
            raise InvalidInputError(f"offsets: expected {self.robot.dof}, one a joint, got shape {self.offsets.shape}")

    @property
    def robot(self) -> Robot:
        """The arm."""
        return self.dots.robot

    @property
    def has_jaw(self) -> bool:
        """Whether the last joint of the arm's model is the gripper's."""
        return self.robot.dof > len(self.joint_names)

    @property
    def held(self) -> tuple[str, ...]:
        """Names of joints that are never solved for: that of the jaw, if it is one."""
        return self.robot.joint_names[-1:] if self.has_jaw else ()

    def to_model(self, joints: ArrayLike, gripper: ArrayLike = GRIPPER) -> Array:
        """Joints of the arm's model `(*batch, dof)` [rad, or m] for recorded ones.

        Args:
            joints: `(*batch, n_joints)` in `units`.
            gripper: from 0, closed, to 100; one, or `(*batch,)`.

        Raises:
            InvalidInputError: another shape, or as `to_radians` does.
        """
        recorded = self._checked_joints(joints)
        jaw = self.jaw_angle(checked_gripper(gripper, recorded.shape[:-1]))
        if self.has_jaw:
            recorded = np.concatenate([recorded, np.zeros((*recorded.shape[:-1], 1))], -1)
        q = recorded if self.units == "radians" else to_radians(recorded, self.units, self.robot)
        q = q + self.offsets
        if self.has_jaw:
            q[..., -1] = jaw
        return q

    def jaw_angle(self, gripper: ArrayLike) -> Array:
        """The last joint of the arm's model [rad, or m] where a gripper stands, from 0, closed, to 100."""
        low, high = self.robot.lower[-1], self.robot.upper[-1]
        return np.asarray(low + np.asarray(gripper, dtype=float) / 100.0 * (high - low))

    def clipped_to_model(self, joints: ArrayLike, gripper: ArrayLike = GRIPPER) -> Array:
        """As `to_model`, for what a network answered: joints beyond their limits are moved onto them."""
        recorded = np.asarray(joints, dtype=float)
        recorded = np.clip(recorded, -100.0, 100.0) if self.units == "normalised" else recorded
        return np.clip(self.to_model(recorded, gripper), self.robot.lower, self.robot.upper)

    def from_model(self, q: ArrayLike) -> Array:
        """What would be recorded `(*batch, n_joints)`, in `units`, for joints of the model `(*batch, dof)`.

        Raises:
            InvalidInputError: another number of joints.
        """
        joints = np.asarray(q, dtype=float)
        if joints.shape[-1:] != (self.robot.dof,):
            raise InvalidInputError(f"q: expected shape (*batch, {self.robot.dof}), got {joints.shape}")
        moved = joints - self.offsets
        recorded = moved if self.units == "radians" else from_radians(moved, self.units, self.robot)
        return np.asarray(recorded[..., : len(self.joint_names)])

    def refiner(self, config: PixelRefinerConfig = PixelRefinerConfig()) -> PixelRefiner:  # noqa: B008
        """The refiner of joints on the pixels of this rig; the jaw is held."""
        return PixelRefiner(self.robot, tuple(self.cameras.values()), self.dots, self.held, config)

    def _checked_joints(self, joints: ArrayLike) -> Array:
        recorded, n = np.asarray(joints, dtype=float), len(self.joint_names)
        if recorded.shape[-1:] != (n,):
            names = ", ".join(self.joint_names)
            raise InvalidInputError(
                f"joints: expected shape (*batch, {n}), {names}, without the gripper; got {recorded.shape}"
            )
        return recorded


def calibrate_rig(
    recording: ProcessedRecording,
    robot: Robot,
    sites: Sequence[str],
    *,
    arm: bool = False,
    config: CalibrationConfig = CalibrationConfig(),  # noqa: B008
) -> Rig:
    """The cameras of a recording, from its joints and the model of the arm.

    Args:
        recording: dots and joints.
        robot: the arm; with its tip on a jaw that moves, the jaw is its last joint.
        sites: of its model, where the dots are. Up to 4 of them in any order: the one that explains the pixels best is
            taken; more of them in the order of the recording's dots.
        arm: also solve for zeros of the joints and for the places of the dots (`calibrate_arm`), as an arm that was
            built by hand needs.
        config: what of the cameras is solved for.

    Raises:
        RobotError: no such site.
        InvalidInputError: another number of dots or joints than the recording has, or pixels that do not fix a camera.
    """
    if len(set(sites)) != len(recording.dot_names) or len(sites) != len(recording.dot_names):
        raise InvalidInputError(f"sites: expected one for each of {list(recording.dot_names)}, got {list(sites)}")
    rows = np.flatnonzero(np.isfinite(recording.dots).all(-1).any(-1).any(-1))
    nothing = Rig(
        dots=ArmDots(robot, sites),
        cameras={},
        joint_names=recording.joint_names,
        units=recording.units,
        offsets=np.zeros(robot.dof),
        pixel_error=np.nan,
    )
    few = [_calibrated(nothing, order, recording, _spaced(rows, FEW_ROWS), config) for order in _orders(sites)]
    best = min(few, key=lambda rig: rig.pixel_error)
    rig = _calibrated(nothing, best.dots.sites, recording, _spaced(rows, MOST_ROWS), config)
    return _with_arm(rig, recording, _spaced(rows, ARM_ROWS), config) if arm else rig


def save_rig(path: str | Path, rig: Rig) -> None:
    """Write a rig as JSON, atomically."""
    content = {
        "format": RIG_FORMAT,
        "version": VERSION,
        "robot": {"name": _source(rig.robot), "tip": rig.robot.tip, "fingerprint": rig.robot.chain.fingerprint},
        "sites": list(rig.dots.sites),
        "shifts": rig.dots.shifts.tolist(),
        "cameras": {name: camera.to_dict() for name, camera in rig.cameras.items()},
        "joint_names": list(rig.joint_names),
        "units": rig.units,
        "offsets": rig.offsets.tolist(),
        "pixel_error": rig.pixel_error,
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def load_rig(path: str | Path, robot: Robot | None = None) -> Rig:
    """Read what `save_rig` wrote.

    Args:
        path: the file.
        robot: its arm; by default that of the name in the file.

    Raises:
        DatasetError: no file, no rig in it, or a rig of another arm.
    """
    content = _content(Path(path))
    try:
        return _rig(content, robot or _robot(content["robot"]))
    except KeyError as error:
        raise DatasetError(f"{path}: not a whole rig: no {error} in it; {WRITE_ONE}") from error
    except (HybridIKError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path}: not a whole rig: {error}; {WRITE_ONE}") from error


def _robot(arm: dict[str, Any]) -> Robot:
    """The arm that a file names."""
    try:
        return Robot(arm["name"], tip=arm["tip"])
    except RobotError as error:
        raise RobotError(f"{error}; or give the arm: load_rig(path, robot=...)") from error


def _rig(content: dict[str, Any], robot: Robot) -> Rig:
    """The rig that a file describes, with its arm."""
    if robot.chain.fingerprint != content["robot"]["fingerprint"]:
        raise RobotError(f"it has another arm than {robot.name!r} with the tip {robot.tip!r}")
    return Rig(
        dots=ArmDots(robot, content["sites"], content["shifts"]),
        cameras={name: Camera.from_dict(camera) for name, camera in content["cameras"].items()},
        joint_names=tuple(content["joint_names"]),
        units=content["units"],
        offsets=np.array(content["offsets"], dtype=float),
        pixel_error=float(content["pixel_error"]),
    )


def _content(path: Path) -> dict[str, Any]:
    """What a file holds, if it is a rig's."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: no rig can be read from it: {error}; {WRITE_ONE}") from error
    if not isinstance(content, dict) or content.get("format") != RIG_FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise DatasetError(f"{path}: expected a rig ({RIG_FORMAT!r}), found {found!r}; {WRITE_ONE}")
    if content.get("version") != VERSION:
        raise DatasetError(
            f"{path}: expected a rig of version {VERSION}, found version {content.get('version')}; {WRITE_ONE}"
        )
    return content


def _source(robot: Robot) -> str:
    """What makes the robot again from any folder, where something does."""
    name = robot.source or robot.name
    return str(Path(name).resolve()) if name not in shipped_robots() and Path(name).is_file() else name


def checked_gripper(gripper: ArrayLike, batch: tuple[int, ...]) -> Array:
    """One number, or one for each of a batch, or axes that broadcast to it."""
    opened = np.asarray(gripper, dtype=float)
    try:
        fits = np.broadcast_shapes(opened.shape, batch) == batch
    except ValueError:
        fits = False
    if not fits:
        raise InvalidInputError(f"gripper: expected one number, or shape {batch}, got {opened.shape}")
    return opened


def _orders(sites: Sequence[str]) -> list[tuple[str, ...]]:
    """In which dots may be at sites."""
    return list(permutations(sites)) if len(sites) <= MOST_IN_ANY_ORDER else [tuple(sites)]


def _spaced(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]


def _calibrated(
    rig: Rig, order: Sequence[str], recording: ProcessedRecording, rows: NDArray[np.intp], config: CalibrationConfig
) -> Rig:
    """The rig with dots at sites of an order, and the cameras that go with it."""
    dots, q, pixels = ArmDots(rig.robot, order), _model_joints(rig, recording, rows), recording.dots[rows]
    fits = calibrate_cameras(dots, q, pixels, [(width, height) for height, width in recording.cameras.values()], config)
    cameras = {name: fit.camera for name, fit in zip(recording.cameras, fits, strict=True)}
    return _measured(rig, dots, cameras, rig.offsets, recording, rows)


def _with_arm(rig: Rig, recording: ProcessedRecording, rows: NDArray[np.intp], config: CalibrationConfig) -> Rig:
    """The rig with zeros of the joints and places of the dots solved for, too."""
    q, pixels = _model_joints(rig, recording, rows), recording.dots[rows]
    # What the zero of a jaw does to its dot, a shift does as well.
    fit = calibrate_arm(rig.dots, q, pixels, tuple(rig.cameras.values()), config, held=rig.held)
    cameras = dict(zip(rig.cameras, fit.cameras, strict=True))
    return _measured(rig, fit.dots, cameras, fit.offsets, recording, rows)


def _measured(
    rig: Rig,
    dots: ArmDots,
    cameras: Mapping[str, Camera],
    offsets: Array,
    recording: ProcessedRecording,
    rows: NDArray[np.intp],
) -> Rig:
    """The rig with these parts, and how well it explains rows of the recording."""
    changed = replace(rig, dots=dots, cameras=cameras, offsets=offsets)
    points = dots.positions(_model_joints(changed, recording, rows))
    seen = np.moveaxis(recording.dots[rows].astype(float), 1, -2)
    errors = reprojection_errors(tuple(cameras.values()), points, seen)
    return replace(changed, pixel_error=float(np.nanmedian(errors)))


def _model_joints(rig: Rig, recording: ProcessedRecording, rows: NDArray[np.intp]) -> Array:
    return rig.to_model(recording.joints[rows], recording.gripper[rows])
