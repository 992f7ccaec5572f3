"""Propose, refine, choose: the solver that puts a sampler and a refiner together."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.host_solver import FAR, ONE_ANSWER_ROUNDS, WIDE_STARTS, HostSolver
from hybrid_ik.pose import Pose, pose_error
from hybrid_ik.refiners.base import LMConfig, Refiner
from hybrid_ik.result import IKResult, Status, concatenate, result_as_tensors
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.base import Sampler
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solver_parts import (
    check_count,
    check_not_negative,
    check_positive,
    check_single,
    checked_near,
    make_refiner,
    make_sampler,
)
from hybrid_ik.tensor_pose import TensorPose, as_tensor, is_tensor

if TYPE_CHECKING:  # what a plain solve does not need is imported where it is used: 30 ms of the first answer
    from hybrid_ik.diagnosis.diagnosis import Diagnosis
    from hybrid_ik.samplers.device_network import DeviceSampler
    from hybrid_ik.solution_sets.finder import SetFinder
    from hybrid_ik.solution_sets.preference import Preference
    from hybrid_ik.solution_sets.solution_set import SolutionSet
    from hybrid_ik.tracking.path import TrackedPath

Array = NDArray[np.float64]
SamplerName = Literal["auto", "meanflow", "uniform", "lookup"]
RefinerName = Literal["lanes", "mujoco"]

NEAR_STARTS = 16  # the given joints, and others around them
NEAR_SPREAD = (0.02, 1.0)  # rad, how far the nearest and the farthest of these lie from the given joints


class HybridSolver:
    """Inverse kinematics of one arm: a sampler proposes starts, a refiner polishes them, the solver chooses.

    Args:
        robot: a `Robot`, or what makes one: a shipped name, an MJCF or URDF path, a `robot_descriptions` name, an
            `MjModel` or `MjSpec`.
        tip: frame to be placed, and
        base: frame that poses are given in; see `Robot`.
        sampler: a `Sampler`, or its name. `auto` is the shipped network where there is one for this arm, and random
            starts else; for a single answer it takes random starts in any case, which cost less than the network.
        refiner: a `Refiner`, its name, or None: then starts are judged as they are.
        config: steps, weights and tolerances; that of `refiner` if an object is given.
        seed: of the sampler. The same seed gives the same answers, however the poses are split into batches.
        n_threads: poses are dealt out to this many threads; the answers do not depend on it.
        device: of torch, as "cuda": everything is done there, and nothing waits for the host, with random starts and
            those of a network. Of many answers, starts are random from the second round on. Other samplers work on the
            host. There a `DeviceSampler` may be given too.

    Raises:
        RobotError: the arm cannot be used.
        CheckpointError: `sampler="meanflow"`, and no shipped network is of this arm.
        InvalidInputError: an unknown name, or a device that cannot be used.
    """

    robot: Robot
    """The arm."""
    sampler: Sampler
    """What proposes starts where many answers are asked for."""
    refiner: Refiner
    """What polishes them."""

    def __init__(
        self,
        robot: Any = "panda",
        *,
        tip: str | None = None,
        base: str | None = None,
        sampler: Sampler | DeviceSampler | SamplerName = "auto",
        refiner: Refiner | RefinerName | None = "lanes",
        config: LMConfig | None = None,
        seed: int = 0,
        n_threads: int = 1,
        device: Any = None,
    ) -> None:
        plain = isinstance(robot, Robot) and tip is None and base is None
        self.robot = robot if plain else Robot(robot, tip=tip, base=base)
        self.refiner = make_refiner(refiner, self.robot, config or LMConfig(), n_threads, device)
        self.sampler = make_sampler(sampler, self.robot.chain, seed)
        narrow = UniformSampler(self.robot.chain, seed, narrow=True)
        one_sampler: Sampler = narrow if sampler in ("auto", "uniform") else self.sampler
        span = self.robot.chain.span + self.refiner.config.position_tolerance
        radius = np.concatenate([[0.0], np.geomspace(*NEAR_SPREAD, NEAR_STARTS - 1)]) / np.sqrt(self.robot.dof)
        around = np.random.default_rng(seed).normal(size=(NEAR_STARTS, self.robot.dof)) * radius[:, None]
        self._host = HostSolver(self.robot, self.refiner, self.sampler, one_sampler, span, around)
        self._device: Any = None
        if hasattr(self.refiner, "device"):
            from hybrid_ik.device_solver import DeviceSolver  # what it needs takes 15 ms to be imported

            on_device: Any = self.refiner
            self._device = DeviceSolver(on_device, self.sampler, one_sampler, seed, span, around, FAR)

    def solve(
        self,
        pose: Pose | TensorPose | ArrayLike,
        *,
        n_solutions: int | None = None,
        near: ArrayLike | None = None,
        max_step: float | None = None,
        prefer: Preference | None = None,
        n_seeds: int | None = None,
        min_distance: float = 0.1,
    ) -> IKResult:
        """Joints that put the tip on `pose`.

        Args:
            pose: `T_base_tip`, one or a batch; or a homogeneous matrix. The results of a `TensorPose` are tensors.
            n_solutions: how many distinct answers; None for one, without an axis for it. They are spread over what
                the arm can do, and come in the order of their distance from the joint limits, the farthest first;
                with `near`, the nearest ones come, nearest first.
            near: joints `(dof,)` or `(*batch, dof)` to stay close to. They are tried first; where they lead farther
                away than half a radian, so are joints around them and elsewhere, and the nearest answer counts.
            max_step: no joint moves farther from `near` than this [rad, or m], whatever happens. Where the nearest
                answer is farther away, the joints go as far towards it as they may, and have `Status.TOO_FAR`.
            prefer: which of all answers is given; they are looked at whole, as `solve_all` does, and the best one is
                found to a millionth of a radian along their curves. `"limits"` stays away from the joint limits (the
                largest share of half a range is least), `"manipulability"` from singularities (sqrt(det(J J^T)) is
                largest); joints `(dof,)` for the answer nearest to them; or a function of joints `(m, dof)` that gives
                a cost for each. Of arms with two spare joints or more, the best point of a cover is given.
            n_seeds: starts tried for each pose. By default up to 256 for one answer; for many, 2 for each but at least
                64, and up to 32 for each where answers are lacking.
            min_distance: two answers are distinct if they differ by this much [rad, or m], Euclidean.

        Returns:
            Results over `(*batch,)`, or `(*batch, n_solutions)`, where rows that could not be filled hold NaN and
            `Status.NOT_FOUND`. One answer for a pose that cannot be reached is the closest joints and `success=False`.

        Raises:
            InvalidInputError: an argument of the wrong shape, kind or range, or two that do not go together.
        """
        if not isinstance(pose, TensorPose):
            pose = Pose.as_pose(pose)
        joints: Any = near
        if near is not None and not (self._device and is_tensor(near)):
            if not isinstance(near, np.ndarray) and is_tensor(near):
                joints = as_tensor("near", near, self.robot.dof, "cpu").numpy()
            joints = checked_near(joints, self.robot, pose.shape)
        if n_seeds is not None:
            check_count("n_seeds", n_seeds)
        if n_solutions is not None:
            check_count("n_solutions", n_solutions)
        if not 0 <= min_distance < np.inf:
            raise InvalidInputError(f"min_distance must be finite and not negative, got {min_distance}")
        if prefer is not None or max_step is not None:
            return self._solve_special(pose, n_solutions, joints, max_step, prefer, n_seeds)
        if self._device:
            if n_solutions is None:
                return self._device.one(pose, n_seeds or ONE_ANSWER_ROUNDS[-1], joints, n_seeds or WIDE_STARTS)
            return self._device.many(pose, n_solutions, *_many_starts(n_solutions, n_seeds), joints, min_distance)
        if isinstance(pose, TensorPose):
            found = self.solve(
                pose.to_host(), n_solutions=n_solutions, near=joints, n_seeds=n_seeds, min_distance=min_distance
            )
            return result_as_tensors(found, pose.valid.device)
        if n_solutions is None:
            return self._host.one(pose, n_seeds) if near is None else self._host.near(pose, joints, n_seeds)
        return self._host.many(pose, n_solutions, *_many_starts(n_solutions, n_seeds), joints, min_distance)

    def solve_all(
        self, pose: Pose | ArrayLike, *, spacing: float = 0.05, miss: float = 1e-3, most_points: int = 20_000
    ) -> SolutionSet:
        """Every answer of one pose.

        With one joint more than the pose has rows the answers are curves, and come as polylines of verified joints,
        each closed, or with the joint limits that end it. Without a spare joint they are separate points. With two
        spare joints or more they fill surfaces and bodies, and come as an even cover by points.

        The set does not depend on the solver's sampler, refiner, seed and threads, but on its tolerances and on whether
        its orientation counts.

        Args:
            pose: `T_base_tip`, a single one; or a homogeneous matrix.
            spacing: largest distance from one point of a curve to the next, along it [rad, or m]; of a cover, the
                distance from any answer to the nearest point.
            miss: more starts are tried until the chance that a piece is missing is estimated to be at most this, or
                1,536 were tried; see `SolutionSet.missing`.
            most_points: of a cover, which ends there even if it is not complete: its size grows as (range / spacing)
                to the power of the spare joints.

        Raises:
            InvalidInputError: an argument of the wrong shape, kind or range.
        """
        pose = check_single(pose)
        check_positive("spacing", spacing)
        check_positive("miss", miss)
        check_count("most_points", most_points)
        return self._set_finder.find(pose, spacing, miss, most_points)

    def track(
        self,
        poses: Pose | ArrayLike,
        *,
        start: ArrayLike | None = None,
        max_step: float = 0.3,
        limit_weight: float = 1e-3,
    ) -> TrackedPath:
        """Joints for each pose of a path, without a jump wherever there is such a way.

        The answers of a pose are followed whole from one waypoint to the next, as far as they can be reached from those
        before, and dynamic programming chooses among all ways through them: so none is led into a dead end when
        another one goes through. The cost of a way is the sum of its squared steps and of `limit_weight` times the
        squared distances from the middle of the ranges, in halves of a range. Where there is no way on, the path jumps
        to the answers from which it goes on farthest; the jumps are named, with what forced them.

        With two spare joints or more, the ways of 64 answers at most are followed, not all.

        Args:
            poses: `T_base_tip` of the waypoints, `(m,)`; or homogeneous matrices.
            start: joints `(dof,)` that come before the first waypoint; by default the path may begin anywhere.
            max_step: how far a joint may move from one waypoint to the next [rad, or m].
            limit_weight: see above; at least 0.

        Raises:
            InvalidInputError: an argument of the wrong shape, kind or range, or a row that is no pose, by its number.
        """
        poses = Pose.as_pose(poses)
        if len(poses.shape) != 1:
            raise InvalidInputError(f"track: expected a path of poses (m,), got poses of shape {poses.shape}")
        if not poses.valid.all():
            rows = np.flatnonzero(~poses.valid).tolist()
            raise InvalidInputError(f"track: waypoints {rows} are no poses (not finite, or no unit quaternions)")
        check_positive("max_step", max_step)
        check_not_negative("limit_weight", limit_weight)
        first = None if start is None else self._within_limits("start", start)
        from hybrid_ik.tracking.tracker import Tracker

        return Tracker(self._set_finder, max_step, limit_weight).track(poses, first)

    def self_motion(
        self, q: ArrayLike, length: float, *, towards: ArrayLike | None = None, spacing: float = 0.05
    ) -> Array:
        """Joints along the null space, with the tip at rest within the tolerances; until a joint meets its limit.

        Args:
            q: where to begin `(dof,)`.
            length: how far to go [rad, or m]; a closed curve is gone round more than once.
            towards: the direction in joint space to begin in, as near as it can be, `(dof,)`; by default that in which
                the joint that moves most increases.
            spacing: largest distance from one point to the next.

        Returns:
            `(n, dof)`, of which the first is q.

        Raises:
            InvalidInputError: an argument of the wrong shape, kind or range, joints beyond their limits, or an arm
                without a spare joint.
        """
        joints = self._within_limits("q", q)
        check_positive("length", length)
        check_positive("spacing", spacing)
        way = None if towards is None else checked_near(towards, self.robot, (), "towards")
        from hybrid_ik.solution_sets.self_motion import glide

        finder = self._set_finder
        return glide(finder.follower, joints, length, spacing, way, finder.tolerance)

    def diagnose(self, pose: Pose | ArrayLike) -> Diagnosis:
        """Whether one pose can be reached, what is in the way, and which motion is lost near a singularity.

        Args:
            pose: `T_base_tip`, a single one; or a homogeneous matrix.

        Raises:
            InvalidInputError: a batch, or what is no pose.
        """
        from hybrid_ik.diagnosis.diagnosis import diagnose

        pose = check_single(pose)
        return diagnose(self.robot.chain, self.refiner.config, pose, self.solve(pose))

    @cached_property
    def _set_finder(self) -> SetFinder:
        from hybrid_ik.solution_sets.finder import SetFinder

        return SetFinder(self.robot.chain, self.refiner.config)

    def _within_limits(self, name: str, q: ArrayLike) -> Array:
        joints = checked_near(q, self.robot, (), name)
        beyond = np.flatnonzero((joints < self.robot.lower) | (joints > self.robot.upper))
        if len(beyond):
            names = ", ".join(self.robot.joint_names[j] for j in beyond)
            raise InvalidInputError(f"{name}: {names} beyond their limits in {joints.tolist()}")
        return np.array(joints)

    def _solve_special(
        self,
        pose: Pose | TensorPose,
        n_solutions: int | None,
        near: Any,
        max_step: float | None,
        prefer: Preference | None,
        n_seeds: int | None,
    ) -> IKResult:
        """One answer with a bound on the step, or the best one of all."""
        if isinstance(pose, TensorPose):
            raise InvalidInputError("max_step and prefer: expected poses of numpy arrays, got tensors")
        if n_solutions is not None or (near is None) != (max_step is None) or (prefer is not None and near is not None):
            raise InvalidInputError(
                "max_step goes with near, prefer with neither of them, and both with a single answer (no n_solutions)"
            )
        if prefer is None:
            check_positive("max_step", max_step)
            return self._bounded(pose, self._host.near(pose, near, n_seeds), near, float(max_step or 0.0))
        from hybrid_ik.solution_sets.preference import check_preference

        check_preference(prefer, self.robot.dof)
        flat = pose.reshape(pose.valid.size)
        rows = [self._preferred(flat[i], prefer) for i in range(len(flat))]
        if not rows:
            return self._host.one(pose, n_seeds)
        return concatenate([row.reshape(1) for row in rows]).reshape(*pose.shape)

    def _preferred(self, pose: Pose, prefer: Preference) -> IKResult:
        from hybrid_ik.solution_sets.preference import preferred

        answers = self.solve_all(pose) if pose.valid else None
        if not answers:
            return self._host.one(pose, None)
        q = preferred(answers, self.robot.chain, self._set_finder.follower.n_rows, prefer)
        return self.refiner.search(pose, q[None])

    def _bounded(self, pose: Pose, found: IKResult, near: Array, max_step: float) -> IKResult:
        """The same where no joint moves farther than it may; elsewhere joints on the way there, and their errors."""
        d = self.robot.chain.shortest_way(found.q - near)
        share = max_step / np.maximum(np.abs(d).max(-1), max_step)
        far = np.asarray(share < 1.0)
        if not far.any():
            return found
        q = np.where(far[..., None], near + share[..., None] * d, found.q)
        error = pose_error(pose, self.robot.forward_kinematics(q))
        errors = (np.linalg.norm(part, axis=-1) for part in (error[..., :3], error[..., 3:]))
        position, orientation = (
            np.where(far, new, old)[()]
            for new, old in zip(errors, (found.position_error, found.orientation_error), strict=True)
        )
        status = np.where(far, Status.TOO_FAR, found.status).astype(np.int8)[()]
        success = (found.success & ~far)[()]
        return replace(
            found, q=q, success=success, status=status, position_error=position, orientation_error=orientation
        )


def _many_starts(n_solutions: int, n_seeds: int | None) -> tuple[int, int]:
    """Starts tried for many answers: at first, and where answers are lacking."""
    return n_seeds or max(64, 2 * n_solutions), n_seeds or 8 * max(64, 4 * n_solutions)
