"""The parts of a solver by their names, and what it may be asked for."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import LMConfig, Refiner
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.refiners.mujoco import MujocoRefiner
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.base import Sampler
from hybrid_ik.samplers.lookup import LookupSampler
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.samplers.shipped import require_shipped_network, shipped_network
from hybrid_ik.samplers.uniform import UniformSampler

Array = NDArray[np.float64]


def make_refiner(refiner: Refiner | str | None, robot: Robot, config: LMConfig, n_threads: int, device: Any) -> Refiner:
    """A refiner, by its name."""
    if device is not None:
        if refiner not in (None, "lanes"):
            raise InvalidInputError(f"device={device!r}: expected refiner='lanes' or None beside it, got {refiner!r}")
        from hybrid_ik.refiners.gpu import GpuRefiner  # its programs take 15 ms to be imported

        return GpuRefiner(robot.chain, config if refiner else replace(config, max_iterations=0), device)
    if isinstance(refiner, Refiner):
        return refiner
    if refiner is None:
        return LaneRefiner(robot.chain, replace(config, max_iterations=0), n_threads)
    if refiner == "lanes":
        return LaneRefiner(robot.chain, config, n_threads)
    if refiner == "mujoco":
        return MujocoRefiner(robot, config)
    raise InvalidInputError(f"refiner: expected a Refiner, None, 'lanes' or 'mujoco', got {refiner!r}")


def make_sampler(sampler: Any, chain: Chain, seed: int) -> Sampler:
    """A sampler, by its name."""
    if not isinstance(sampler, str):
        return cast(Sampler, sampler)
    if sampler == "meanflow":
        return MeanFlowSampler(require_shipped_network(chain), chain, seed)
    if sampler == "auto":
        network = shipped_network(chain)
        return UniformSampler(chain, seed) if network is None else MeanFlowSampler(network, chain, seed)
    if sampler == "uniform":
        return UniformSampler(chain, seed)
    if sampler == "lookup":
        return LookupSampler(chain, seed=seed)
    raise InvalidInputError(f"sampler: expected a Sampler, 'auto', 'meanflow', 'uniform' or 'lookup', got {sampler!r}")


def checked_near(near: ArrayLike, robot: Robot, shape: tuple[int, ...], name: str = "near") -> Array:
    """Joints to stay close to, for poses of this batch shape."""
    try:
        joints = np.asarray(near, dtype=float)
        if joints.shape != (*shape, robot.dof):
            joints = np.array(np.broadcast_to(joints, (*shape, robot.dof)))
        wrong = np.shape(near)[-1:] != (robot.dof,) or not isfinite(np.vdot(joints, joints))
    except (TypeError, ValueError):
        wrong = True
    if wrong:
        rows = f", or one row of them for each pose {shape}" if shape else ""
        raise InvalidInputError(f"{name}: expected {robot.dof} finite joints{rows}, got {near!r}")
    return joints


def check_count(name: str, value: Any) -> None:
    """Refuses what is not a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInputError(f"{name} must be a whole number of at least 1, got {value!r}")


def check_positive(name: str, value: Any) -> None:
    """Refuses what is not a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0.0 < value < np.inf:
        raise InvalidInputError(f"{name} must be positive and finite, got {value!r}")


def check_not_negative(name: str, value: Any) -> None:
    """Refuses what is not a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0.0 <= value < np.inf:
        raise InvalidInputError(f"{name} must be finite and not negative, got {value!r}")


def check_single(pose: Any) -> Pose:
    """One pose; batches, and rows of batches that are no poses, are refused."""
    pose = Pose.as_pose(pose)
    if pose.shape:
        raise InvalidInputError(f"expected one pose, got a batch of shape {pose.shape}: call it for each")
    if not pose.valid:
        raise InvalidInputError(
            f"not a pose: position {pose.position.tolist()}, quaternion {pose.quaternion.tolist()}; expected finite "
            "numbers and a unit quaternion"
        )
    return pose
