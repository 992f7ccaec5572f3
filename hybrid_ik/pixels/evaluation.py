"""How well joints are found from pixels: networks alone, refined on the pixels, and the refiner from random starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.cameras.arm_dots import with_middle
from hybrid_ik.pixels.cameras.pixel_refiner import refine_on_point
from hybrid_ik.pixels.cameras.triangulation import triangulate
from hybrid_ik.pixels.pixel_solver import N_STARTS, PixelSolver, check_sampler
from hybrid_ik.pixels.processed import ProcessedRecording
from hybrid_ik.pixels.rig import Rig
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.pixel import PixelSampler, pixel_features
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """What one way of finding joints answered for the frames of a recording."""

    name: str
    """Of the way."""
    q: Array
    """Joints of the arm's model `(m, dof)` [rad, or m]; NaN where there is no answer."""
    tip_error: Array
    """Distance of the tip from where the recorded joints have it `(m,)` [mm]; NaN where there is no answer."""
    joint_error: Array
    """Joints less the recorded ones `(m, n_joints)` [deg]; [mm] for slides."""
    seconds: float
    """That a frame took."""

    @property
    def answered(self) -> float:
        """Share of the frames."""
        return float(np.isfinite(self.tip_error).mean())

    def tip_quantile(self, share: float) -> float:
        """Of the tip errors [mm]; NaN where no frame is answered."""
        return float(np.nanquantile(self.tip_error, share)) if self.answered else np.nan

    def joint_quantile(self, share: float) -> Array:
        """Of the sizes of the joint errors `(n_joints,)` [deg]; NaN where no frame is answered."""
        if not self.answered:
            return np.full(self.joint_error.shape[1], np.nan)
        return np.asarray(np.nanquantile(np.abs(self.joint_error), share, axis=0))


def compare_ways(
    recording: ProcessedRecording, rig: Rig, samplers: Mapping[str, PixelSampler], arm: Robot, *, seed: int = 0
) -> list[Answers]:
    """Joints of all frames of a recording, found in every way there is.

    For each network: its answer; that answer moved until the middle of the dots is where it was triangulated
    (`refine_on_point`); that answer refined on the pixels of all dots (`PixelRefiner`), the best of 16 samples where
    the network has several. Then, without a network, the best of 16 random starts refined on the pixels. Frames in
    which a dot is lost are refined from those around them (`PixelSolver.follow`). Of what was recorded, none of them is
    told anything but the gripper.

    The middle of the dots is taken to be fixed to the arm, as it is with the gripper half way between all its places:
    the farther a jaw that carries a dot moves, the less that way is worth. It is left out where the dots do not sit
    beyond all joints.

    Args:
        recording: frames that neither the networks nor the rig have seen.
        rig: calibrated on other frames.
        samplers: networks by the names they have in the table.
        arm: the rig's without its jaw; the errors of its tip count.
        seed: of the random starts.

    Raises:
        InvalidInputError: no frames, another arm than the rig's, or a network of other cameras or joints.
    """
    if not len(recording):
        raise InvalidInputError("recording: expected at least one frame to compare on")
    bench = _Bench(recording, rig, arm, seed)
    ways: dict[str, Callable[[], Array]] = {}
    for name, sampler in samplers.items():
        ways |= bench.of_network(name, sampler)
    ways[f"refined, best of {N_STARTS} random starts"] = lambda: bench.refined(None)
    return [bench.timed(name, way) for name, way in ways.items()]


def held_out_episodes(samplers: Mapping[str, PixelSampler]) -> list[int]:
    """Episodes that none of the networks was trained on.

    Raises:
        InvalidInputError: there are none.
    """
    kept = {name: set(sampler.file.options.get("validation_episodes", ())) for name, sampler in samplers.items()}
    common = sorted(set.intersection(*kept.values())) if kept else []
    if not common:
        told = "; ".join(f"{name}: {sorted(episodes)}" for name, episodes in kept.items()) or "no network"
        raise InvalidInputError(
            f"there is no episode that none of the networks was trained on. Kept from training were, of {told}. Train "
            "them with the same split_seed and validation_share"
        )
    return common


class _Bench:
    """The frames, what is true of them, and every way to find their joints."""

    def __init__(self, recording: ProcessedRecording, rig: Rig, arm: Robot, seed: int) -> None:
        n = len(recording.joint_names)
        if arm.joint_names != rig.robot.joint_names[:n]:
            raise InvalidInputError(
                f"arm: expected the joints {rig.robot.joint_names[:n]}, got {arm.joint_names}; choose another tip"
            )
        self._recording, self._rig, self._arm, self._n, self._seed = recording, rig, arm, n, seed
        self._pixels = recording.dots.astype(float)
        self._true = rig.to_model(recording.joints, recording.gripper)
        self._tips = arm.forward_kinematics(self._true[:, :n]).position

    def timed(self, name: str, way: Callable[[], Array]) -> Answers:
        """What a way answers, compared with what was recorded."""
        started = time.perf_counter()
        q = way()
        seconds = (time.perf_counter() - started) / len(q)
        tips = self._arm.forward_kinematics(q[:, : self._n]).position
        hinges = np.array([kind == "hinge" for kind in self._arm.chain.kinds])
        return Answers(
            name=name,
            q=q,
            tip_error=1e3 * np.linalg.norm(tips - self._tips, axis=-1),
            joint_error=np.where(hinges, 180 / np.pi, 1e3) * (q - self._true)[:, : self._n],
            seconds=seconds,
        )

    def of_network(self, name: str, sampler: PixelSampler) -> dict[str, Callable[[], Array]]:
        """The ways that begin with a network."""
        check_sampler(self._rig, sampler)
        told = pixel_features(self._pixels, sampler.features)
        refined = f", refined, best of {N_STARTS}" if sampler.gives_several else ", refined"
        ways = {name: lambda: self._rig.clipped_to_model(sampler.predict(told), self._recording.gripper)}
        if self._middle_solver is not None:
            ways[f"{name}, refined on the middle"] = lambda: self._on_middle(sampler.predict(told))
        return {**ways, f"{name}{refined}": lambda: self.refined(sampler)}

    def refined(self, sampler: PixelSampler | None) -> Array:
        """Refined on the pixels, from what a network says, or from random starts; an episode after the other."""
        solver, q = PixelSolver(self._rig, sampler, seed=self._seed), np.full(self._true.shape, np.nan)
        for episode in np.unique(self._recording.episode):
            rows = np.flatnonzero(self._recording.episode == episode)
            rows = rows[np.argsort(self._recording.frame[rows])]
            frames, gripper = self._recording.frame[rows], self._recording.gripper[rows]
            q[rows] = solver.follow(self._pixels[rows], gripper, frames).q
        return q

    @cached_property
    def _middle_solver(self) -> HybridSolver | None:
        """Places the middle of the dots; None where they do not move with all joints. It is compiled already."""
        posture = self._rig.robot.home.copy()
        if self._rig.has_jaw:
            posture[-1] = self._rig.jaw_angle(np.median(self._recording.gripper))
        robot = with_middle(self._rig.dots, posture)
        if robot.joint_names != self._arm.joint_names:
            return None
        solver = HybridSolver(robot, sampler="uniform", config=LMConfig(orientation_weight=0.0))
        refine_on_point(solver, robot.forward_kinematics(robot.home).position[None], robot.home)
        return solver

    def _on_middle(self, joints: Array) -> Array:
        """Joints near what a network answered that put the middle of the dots where it was triangulated."""
        q = self._rig.clipped_to_model(joints, self._recording.gripper)
        dots = np.moveaxis(self._pixels, 1, -2)
        middle = triangulate(tuple(self._rig.cameras.values()), dots).mean(-2)
        moved, rows = q.copy(), np.isfinite(q).all(-1)
        assert self._middle_solver is not None
        moved[rows, : self._n] = refine_on_point(self._middle_solver, middle[rows], q[rows, : self._n]).q
        return moved
