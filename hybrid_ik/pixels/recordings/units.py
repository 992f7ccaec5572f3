"""Joint values as LeRobot records them, and joints of a `Robot` [rad, or m]."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.recordings.layout import BEYOND, Units

if TYPE_CHECKING:
    from hybrid_ik.robot import Robot

Array = NDArray[np.float64]


def to_radians(
    values: ArrayLike, units: Units | None, robot: Robot, *, signs: ArrayLike = 1.0, offsets: ArrayLike = 0.0
) -> Array:
    """Joints of the robot for recorded values.

    `q = offset + sign * pi / 180 * value` for degrees; `q = offset + middle + sign * value / 100 * half`, with the
    middle and half the width of the joint's limits, for values of -100..100.

    LeRobot counts degrees from the middle of a calibrated joint, which need not be where the model has its 0: then give
    `offsets`, and `signs` for joints that turn the other way.

    Args:
        values: `(*batch, n)`; the first `dof` of the n belong to the arm, in its order, what follows (a gripper) not.
        units: `Dataset.units`.
        robot: the arm.
        signs: 1 or -1 for each joint `(dof,)`, or one for all.
        offsets: for each joint `(dof,)`, or one for all [rad, or m].

    Returns:
        `(*batch, dof)` [rad, or m].

    Raises:
        InvalidInputError: units that are not known, too few values, values beyond 100 where -100..100 is expected,
            degrees of a sliding joint, -100..100 of a joint without limits, a sign that is neither 1 nor -1.
    """
    middle, scale = _scales(units, robot, signs, offsets)
    recorded = _numbers("values", values, robot.dof)[..., : robot.dof]
    if units == "normalised" and np.any(np.abs(recorded) > BEYOND):
        place = tuple(map(int, np.argwhere(np.abs(recorded) > BEYOND)[0]))
        raise InvalidInputError(
            f"values{list(place)}: expected -100 to 100 for {robot.joint_names[place[-1]]!r}, got {recorded[place]:g}; "
            'if these are degrees, say so: units="degrees"'
        )
    return middle + scale * recorded


def from_radians(
    q: ArrayLike, units: Units | None, robot: Robot, *, signs: ArrayLike = 1.0, offsets: ArrayLike = 0.0
) -> Array:
    """What LeRobot would record `(*batch, dof)` for joints `q` `(*batch, dof)` [rad, or m]: `to_radians` backwards."""
    middle, scale = _scales(units, robot, signs, offsets)
    return (_numbers("q", q, robot.dof)[..., : robot.dof] - middle) / scale


def _scales(units: Units | None, robot: Robot, signs: ArrayLike, offsets: ArrayLike) -> tuple[Array, Array]:
    """What a value of 0 stands for `(dof,)`, and a value of 1 more [rad, or m]."""
    sign, offset = _per_joint("signs", signs, robot.dof), _per_joint("offsets", offsets, robot.dof)
    if not np.all(np.abs(sign) == 1.0):
        raise InvalidInputError(f"signs: expected 1 or -1 for each joint, got {sign.tolist()}")
    if units == "degrees":
        _refuse(robot, np.array([kind != "hinge" for kind in robot.chain.kinds]), "slides, and has no degrees")
        return offset, sign * np.pi / 180.0
    if units == "normalised":
        _refuse(robot, ~np.isfinite(robot.upper - robot.lower), "has no limits that -100 and 100 could stand for")
        return offset + (robot.lower + robot.upper) / 2.0, sign * (robot.upper - robot.lower) / 200.0
    said = "unknown: the metadata do not say" if units is None else f"{units!r}"
    raise InvalidInputError(
        f"the units of the recorded joints are {said}; give one of {', '.join(get_args(Units))}. With LeRobot, "
        "use_degrees=true records degrees, and use_degrees=false normalised values"
    )


def _refuse(robot: Robot, bad: NDArray[np.bool_], why: str) -> None:
    if bad.any():
        raise InvalidInputError(f"joint {robot.joint_names[int(bad.argmax())]!r} of {robot.name!r} {why}")


def _numbers(name: str, values: ArrayLike, dof: int) -> Array:
    array = np.asarray(values, dtype=float)
    if array.ndim == 0 or array.shape[-1] < dof:
        raise InvalidInputError(f"{name}: expected shape (*batch, {dof}) or wider, got {array.shape}")
    return array


def _per_joint(name: str, values: ArrayLike, dof: int) -> Array:
    array = np.asarray(values, dtype=float)
    if array.shape not in ((), (dof,)) or not np.isfinite(array).all():
        raise InvalidInputError(f"{name}: expected {dof} finite numbers, or one, got {array.tolist()}")
    return np.broadcast_to(array, (dof,))
