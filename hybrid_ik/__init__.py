"""Inverse kinematics for arms in MuJoCo: one answer in microseconds, or many that cover what the arm can do.

Every public name is imported from here; what they are made of is loaded when it is first asked for, so that
`import hybrid_ik` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybrid_ik.apps.image_files import save_gif, save_png
    from hybrid_ik.apps.offscreen import RenderingUnavailableError
    from hybrid_ik.apps.rendering import render_answers, render_motion
    from hybrid_ik.chain import Chain
    from hybrid_ik.diagnosis.diagnosis import Diagnosis, Verdict
    from hybrid_ik.diagnosis.limits import LimitInTheWay
    from hybrid_ik.diagnosis.singularity import LostMotion
    from hybrid_ik.errors import (
        CheckpointError,
        DatasetError,
        HybridIKError,
        InvalidInputError,
        MissingPackageError,
        RobotError,
        RobotNotAvailableError,
    )
    from hybrid_ik.pose import Pose, pose_error
    from hybrid_ik.refiners.base import LMConfig, Refiner
    from hybrid_ik.refiners.gpu import GpuRefiner
    from hybrid_ik.refiners.lanes import LaneRefiner
    from hybrid_ik.refiners.mujoco import MujocoRefiner, check_jacobian
    from hybrid_ik.result import IKResult, Status
    from hybrid_ik.robot import Robot
    from hybrid_ik.samplers.base import Sampler
    from hybrid_ik.samplers.device_network import DeviceSampler
    from hybrid_ik.samplers.lookup import LookupSampler
    from hybrid_ik.samplers.meanflow import MeanFlowSampler
    from hybrid_ik.samplers.regressor import RegressorSampler
    from hybrid_ik.samplers.uniform import UniformSampler
    from hybrid_ik.solution_sets.solution_set import Limit, Piece, SolutionSet
    from hybrid_ik.solver import HybridSolver
    from hybrid_ik.tensor_pose import TensorPose
    from hybrid_ik.tracking.path import Jump, TrackedPath

__version__ = "0.1.0"

_HOME = {
    "Chain": "chain",
    "CheckpointError": "errors",
    "DatasetError": "errors",
    "DeviceSampler": "samplers.device_network",
    "Diagnosis": "diagnosis.diagnosis",
    "GpuRefiner": "refiners.gpu",
    "HybridIKError": "errors",
    "HybridSolver": "solver",
    "IKResult": "result",
    "InvalidInputError": "errors",
    "Jump": "tracking.path",
    "LMConfig": "refiners.base",
    "LaneRefiner": "refiners.lanes",
    "Limit": "solution_sets.solution_set",
    "LimitInTheWay": "diagnosis.limits",
    "LookupSampler": "samplers.lookup",
    "LostMotion": "diagnosis.singularity",
    "MeanFlowSampler": "samplers.meanflow",
    "MissingPackageError": "errors",
    "MujocoRefiner": "refiners.mujoco",
    "Piece": "solution_sets.solution_set",
    "Pose": "pose",
    "Refiner": "refiners.base",
    "RegressorSampler": "samplers.regressor",
    "RenderingUnavailableError": "apps.offscreen",
    "Robot": "robot",
    "RobotError": "errors",
    "RobotNotAvailableError": "errors",
    "Sampler": "samplers.base",
    "SolutionSet": "solution_sets.solution_set",
    "Status": "result",
    "TensorPose": "tensor_pose",
    "TrackedPath": "tracking.path",
    "UniformSampler": "samplers.uniform",
    "Verdict": "diagnosis.diagnosis",
    "check_jacobian": "refiners.mujoco",
    "pose_error": "pose",
    "render_answers": "apps.rendering",
    "render_motion": "apps.rendering",
    "save_gif": "apps.image_files",
    "save_png": "apps.image_files",
}

__all__ = [
    "Chain",
    "CheckpointError",
    "DatasetError",
    "DeviceSampler",
    "Diagnosis",
    "GpuRefiner",
    "HybridIKError",
    "HybridSolver",
    "IKResult",
    "InvalidInputError",
    "Jump",
    "LMConfig",
    "LaneRefiner",
    "Limit",
    "LimitInTheWay",
    "LookupSampler",
    "LostMotion",
    "MeanFlowSampler",
    "MissingPackageError",
    "MujocoRefiner",
    "Piece",
    "Pose",
    "Refiner",
    "RegressorSampler",
    "RenderingUnavailableError",
    "Robot",
    "RobotError",
    "RobotNotAvailableError",
    "Sampler",
    "SolutionSet",
    "Status",
    "TensorPose",
    "TrackedPath",
    "UniformSampler",
    "Verdict",
    "check_jacobian",
    "pose_error",
    "render_answers",
    "render_motion",
    "save_gif",
    "save_png",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hybrid_ik' has no attribute {name!r}")
    value = getattr(import_module(f"hybrid_ik.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
