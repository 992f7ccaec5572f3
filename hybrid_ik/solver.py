"""Propose, refine, choose: the solver that puts a sampler and a refiner together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels.tools import pick_distinct
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import LMConfig, Refiner, best_of
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.refiners.mujoco import MujocoRefiner
from hybrid_ik.result import IKResult, Status, concatenate, result_as_arrays, result_as_tensors
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.base import Sampler
from hybrid_ik.samplers.lookup import LookupSampler
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.samplers.shipped import require_shipped_network, shipped_network
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solution_sets.finder import SetFinder
from hybrid_ik.solution_sets.solution_set import SolutionSet
from hybrid_ik.tensor_pose import TensorPose, as_tensor, is_tensor

if TYPE_CHECKING:
    from hybrid_ik.refiners.gpu import GpuRefiner

Array = NDArray[np.float64]
SamplerName = Literal["auto", "meanflow", "uniform", "lookup"]
RefinerName = Literal["lanes", "mujoco"]

ONE_ANSWER_ROUNDS = (16, 256)  # starts in all after each round: proposing them may cost more than refining them
STARTS_AT_ONCE = 2**20  # of all poses that are worked on together; bounds the memory that they take
NEAR_STARTS = 16  # the given joints, and others around them
NEAR_SPREAD = (0.02, 1.0)  # rad, how far the nearest and the farthest of these lie from the given joints
FAR = 0.5  # rad: an answer farther than this from `near` is not taken before random starts were tried too


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
        device: of torch, as "cuda": starts are refined there. One answer for each pose, without `near` and from random
            starts, is found without a way through the host; all else passes through it between its parts.

    Raises:
        RobotError: the arm cannot be used.
        CheckpointError: `sampler="meanflow"`, and no shipped network is of this arm.
        InvalidInputError: an unknown name, or a device that cannot be used.
    """

    robot: Robot
    sampler: Sampler
    refiner: Refiner

    def __init__(
        self,
        robot: Any = "panda",
        *,
        tip: str | None = None,
        base: str | None = None,
        sampler: Sampler | SamplerName = "auto",
        refiner: Refiner | RefinerName | None = "lanes",
        config: LMConfig | None = None,
        seed: int = 0,
        n_threads: int = 1,
        device: Any = None,
    ) -> None:
        plain = isinstance(robot, Robot) and tip is None and base is None
        self.robot = robot if plain else Robot(robot, tip=tip, base=base)
        self.refiner = _make_refiner(refiner, self.robot, config or LMConfig(), n_threads, device)
        self.sampler = _make_sampler(sampler, self.robot.chain, seed)
        narrow = UniformSampler(self.robot.chain, seed, narrow=True)
        self._one_sampler: Sampler = narrow if sampler in ("auto", "uniform") else self.sampler
        self._device_refiner: Any = self.refiner if hasattr(self.refiner, "device") else None
        self._tables: dict[int, Any] = {}
        chain = self.robot.chain
        endless = np.isinf(chain.lower) & np.isinf(chain.upper) & (np.array(chain.kinds) == "hinge")
        self._period, self._goes_round = np.where(endless, 2 * np.pi, 0.0), bool(endless.any())
        self._span = _span(chain) + self.refiner.config.position_tolerance
        radius = np.concatenate([[0.0], np.geomspace(*NEAR_SPREAD, NEAR_STARTS - 1)]) / np.sqrt(chain.dof)
        self._around = np.random.default_rng(seed).normal(size=(NEAR_STARTS, chain.dof)) * radius[:, None]

    def solve(
        self,
        pose: Pose | TensorPose | ArrayLike,
        *,
        n_solutions: int | None = None,
        near: ArrayLike | None = None,
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
            n_seeds: starts tried for each pose. By default up to 256 for one answer; for many, 2 for each but at least
                64, and up to 32 for each where answers are lacking.
            min_distance: two answers are distinct if they differ by this much [rad, or m], Euclidean.

        Returns:
            Results over `(*batch,)`, or `(*batch, n_solutions)`, where rows that could not be filled hold NaN and
            `Status.NOT_FOUND`. One answer for a pose that cannot be reached is the closest joints and `success=False`.

        Raises:
            InvalidInputError: an argument of the wrong shape, kind or range.
        """
        if not isinstance(pose, TensorPose):
            pose = Pose.as_pose(pose)
        if near is not None:
            if not isinstance(near, np.ndarray) and is_tensor(near):
                near = as_tensor("near", near, self.robot.dof, "cpu").numpy()
            near = _checked_near(near, self.robot, pose.shape)
        if n_seeds is not None:
            _check_count("n_seeds", n_seeds)
        if n_solutions is not None:
            _check_count("n_solutions", n_solutions)
        if not 0 <= min_distance < np.inf:
            raise InvalidInputError(f"min_distance must be finite and not negative, got {min_distance}")
        if n_solutions is None and near is None and self._device_refiner:
            return self._solve_on_device(pose, n_seeds, self._device_refiner)
        if isinstance(pose, TensorPose):
            found = self.solve(
                pose.to_host(), n_solutions=n_solutions, near=near, n_seeds=n_seeds, min_distance=min_distance
            )
            return result_as_tensors(found, pose.valid.device)
        if n_solutions is None:
            return self._solve_one(pose, n_seeds) if near is None else self._solve_near(pose, near, n_seeds)
        first = n_seeds or max(64, 2 * n_solutions)
        last = n_seeds or 8 * max(64, 4 * n_solutions)
        flat, rows = pose.reshape(pose.valid.size), None if near is None else near.reshape(-1, self.robot.dof)
        many = _in_chunks(
            lambda flat, rows: self._solve_many(flat, n_solutions, rows, first, last, min_distance), first, flat, rows
        )
        return many.reshape(*pose.shape, n_solutions)

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
                1,024 were tried; see `SolutionSet.missing`.
            most_points: of a cover, which ends there even if it is not complete: its size grows as (range / spacing)
                to the power of the spare joints.

        Raises:
            InvalidInputError: an argument of the wrong shape, kind or range.
        """
        pose = Pose.as_pose(pose)
        if pose.shape:
            raise InvalidInputError(
                f"solve_all: expected one pose, got a batch of shape {pose.shape}: call it for each"
            )
        for name, value in (("spacing", spacing), ("miss", miss)):
            if not isinstance(value, int | float | np.number) or not 0.0 < value < np.inf:
                raise InvalidInputError(f"{name} must be positive and finite, got {value!r}")
        _check_count("most_points", most_points)
        return self._set_finder.find(pose, spacing, miss, most_points)

    @cached_property
    def _set_finder(self) -> SetFinder:
        return SetFinder(self.robot.chain, self.refiner.config)

    def _solve_one(self, pose: Pose, n_seeds: int | None) -> IKResult:
        rounds = (n_seeds,) if n_seeds else ONE_ANSWER_ROUNDS
        best = self._search(pose, 0, rounds[0])
        if best.success if not pose.shape else best.success.all():
            return best
        flat, best = pose.reshape(pose.valid.size), best.reshape(pose.valid.size)
        lost = np.flatnonzero(~best.success & flat.valid)
        beyond = self._beyond_reach(flat[lost])
        for tried, n in pairwise(rounds):
            rows = lost[~beyond & ~best.success[lost]]
            if rows.size:
                more = self._search(flat[rows], tried, n)
                best.put(rows, _better(best[rows], more, self.refiner.config.orientation_weight))
        rows = lost[~best.success[lost]]
        if rows.size:
            best.put(rows, _in_chunks(self._closest, ONE_ANSWER_ROUNDS[0], flat[rows], best[rows]))
        best.status[lost[beyond]] = Status.BEYOND_REACH
        return best.reshape(*pose.shape)

    def _search(self, pose: Pose, first: int, last: int) -> IKResult:
        """The best that starts `first` to `last` lead to."""

        def search(pose: Pose) -> IKResult:
            return self.refiner.search(pose, self._one_sampler.sample(pose, last)[..., first:, :])

        if pose.valid.size * last <= STARTS_AT_ONCE:
            return search(pose)
        return _in_chunks(search, last, pose.reshape(pose.valid.size)).reshape(*pose.shape)

    def _solve_on_device(self, pose: Pose | TensorPose, n_seeds: int | None, refiner: GpuRefiner) -> IKResult:
        """As `_solve_one`, but that rows which need no more work are passed over where they lie."""
        poses = refiner.poses(pose)
        q0 = self._device_starts(pose, n_seeds or ONE_ANSWER_ROUNDS[-1], refiner)
        best = refiner.search(poses, q0)
        best = refiner.closest(poses, best, q0)
        beyond = poses.farther_than(self._span, refiner.p_base_first)
        status: Any = best.status
        best = replace(best, status=status.masked_fill(beyond, int(Status.BEYOND_REACH)))
        return best if isinstance(pose, TensorPose) else result_as_arrays(best)

    def _device_starts(self, pose: Pose | TensorPose, n: int, refiner: GpuRefiner) -> Any:
        """Starts on the device, `(n, dof)` for all poses or `(*batch, n, dof)`."""
        if isinstance(self._one_sampler, UniformSampler):
            if n not in self._tables:
                self._tables[n] = refiner.tensor(self._one_sampler.table(n))
            return self._tables[n]
        return refiner.tensor(self._one_sampler.sample(pose.to_host() if isinstance(pose, TensorPose) else pose, n))

    def _closest(self, pose: Pose, found: IKResult) -> IKResult:
        return self.refiner.closest(pose, found, self._one_sampler.sample(pose, ONE_ANSWER_ROUNDS[0]))

    def _beyond_reach(self, pose: Pose) -> NDArray[np.bool_]:
        """Whether poses `(m,)` lie farther from the first joint than all links, slides and the tool can span."""
        distance = np.linalg.norm(pose.position - self.robot.chain.T_base_first[:3, 3], axis=-1)
        return np.asarray(pose.valid & (distance > self._span))

    def _solve_near(self, pose: Pose, near: Array, n_seeds: int | None) -> IKResult:
        """What `near` itself leads to, unless that is far: then the nearest of what other starts lead to as well."""
        own = self.refiner.search(pose, near[..., None, :])
        close = own.success & (self._distance(own.q, near) < FAR)
        if close if not pose.shape else close.all():
            return own
        flat, near, own = pose.reshape(pose.valid.size), near.reshape(-1, self.robot.dof), own.reshape(pose.valid.size)
        far = ~close.reshape(-1) & flat.valid
        if far.any():
            search = partial(self._search_around, n_seeds=n_seeds)
            own.put(far, _in_chunks(search, NEAR_STARTS, flat[far], near[far]))
        return own.reshape(*pose.shape)

    def _search_around(self, pose: Pose, near: Array, n_seeds: int | None) -> IKResult:
        """The nearest of what starts at and around `near` lead to; if that is far, of random starts too."""
        results = self.refiner.refine(pose, self._starts_near(near))
        nearest = self._nearest(results, near)
        lacking = ~(nearest.success & (self._distance(nearest.q, near) < FAR))
        if lacking.any():
            wide = self.sampler.sample(pose[lacking], n_seeds or 64)
            more = concatenate([results[lacking], self.refiner.refine(pose[lacking], wide)], axis=1)
            nearest.put(lacking, self._nearest(more, near[lacking]))
            lost = lacking & ~nearest.success
            if lost.any():
                nearest.put(lost, self._solve_one(pose[lost], n_seeds))
        return nearest

    def _solve_many(
        self, pose: Pose, n_solutions: int, near: Array | None, n_seeds: int, most_seeds: int, min_distance: float
    ) -> IKResult:
        """Distinct answers from `n_seeds` starts; where they are too few, from twice as many, up to `most_seeds`."""
        q0 = self.sampler.sample(pose, n_seeds)
        if near is not None:
            q0 = np.concatenate([self._starts_near(near), q0], 1)
        candidates = self.refiner.refine(pose, q0)
        chosen = self._choose(candidates, n_solutions, near, min_distance)
        rows = np.arange(len(pose))
        while n_seeds < most_seeds and (lacking := ~chosen.success[rows].all(-1) & pose.valid[rows]).any():
            rows, candidates = rows[lacking], candidates[lacking]
            q0 = self.sampler.sample(pose[rows], 2 * n_seeds)[:, n_seeds:]
            candidates = concatenate([candidates, self.refiner.refine(pose[rows], q0)], axis=1)
            nearby = None if near is None else near[rows]
            chosen.put(rows, self._choose(candidates, n_solutions, nearby, min_distance))
            n_seeds *= 2
        return chosen

    def _choose(self, candidates: IKResult, n: int, near: Array | None, min_distance: float) -> IKResult:
        cost = self._from_limits(candidates.q) if near is None else self._distance(candidates.q, near[:, None])
        picks = pick_distinct(
            np.ascontiguousarray(candidates.q), candidates.success, cost, n, min_distance, self._period, near is None
        )
        chosen = candidates[np.arange(len(picks))[:, None], picks]
        if (unfilled := picks < 0).any():
            _mark_not_found(chosen, unfilled, candidates.status)
        return chosen

    def _starts_near(self, near: Array) -> Array:
        """`near` (m, dof) itself, and starts around it that lie ever farther away: (m, NEAR_STARTS, dof)."""
        around = near[:, None] + self._around
        around[:, 1:] = np.clip(around[:, 1:], self.robot.lower, self.robot.upper)  # `near` is flagged if it is outside
        return around

    def _nearest(self, results: IKResult, near: Array) -> IKResult:
        distance = np.where(results.success, self._distance(results.q, near[:, None]), np.inf)
        nearest = results[np.arange(len(near)), np.argmin(distance, -1)]
        clipped: NDArray[np.bool_] = np.any((near < self.robot.lower) | (near > self.robot.upper), axis=-1)
        return replace(nearest, start_clipped=clipped)

    def _distance(self, a: Array, b: Array) -> Array:
        d = a - b
        if self._goes_round:
            d -= self._period * np.round(d / np.where(self._period > 0, self._period, 1.0))
        return (d.dot(d) if d.ndim == 1 else np.einsum("...i,...i", d, d)) ** 0.5

    def _from_limits(self, q: Array) -> Array:
        """How near the joint that is nearest to a limit is to it: 0 in the middle of its range, 1 on the limit."""
        chain = self.robot.chain
        middle, half = (chain.sample_lower + chain.sample_upper) / 2, (chain.sample_upper - chain.sample_lower) / 2
        return np.abs((q - middle) / half).max(-1)


def _in_chunks(solve: Callable[..., IKResult], n_starts: int, pose: Pose, *arrays: Any) -> IKResult:
    """What `solve` gives for poses `(m,)` and rows that belong to them, not too many at once."""
    size = max(1, STARTS_AT_ONCE // n_starts)
    if len(pose) <= size:
        return solve(pose, *arrays)
    chunks = [slice(i, i + size) for i in range(0, len(pose), size)]
    return concatenate([solve(pose[c], *(None if a is None else a[c] for a in arrays)) for c in chunks])


def _span(chain: Chain) -> float:
    """A bound [m] on how far the tip can be from the first joint; infinite where a slide has no limits."""
    endless = np.isinf(chain.upper - chain.lower) & (np.array(chain.kinds) == "slide")
    return float("inf") if endless.any() else chain.reach + float(np.linalg.norm(chain.T_last_tip[:3, 3]))


def _make_refiner(
    refiner: Refiner | str | None, robot: Robot, config: LMConfig, n_threads: int, device: Any
) -> Refiner:
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


def _make_sampler(sampler: Sampler | str, chain: Chain, seed: int) -> Sampler:
    if not isinstance(sampler, str):
        return sampler
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


def _better(a: IKResult, b: IKResult, orientation_weight: float) -> IKResult:
    """Row by row the one that converged, or came nearer."""
    pairs = concatenate([a.reshape(len(a), 1), b.reshape(len(b), 1)], axis=1)
    return best_of(pairs, orientation_weight)


def _checked_near(near: ArrayLike, robot: Robot, shape: tuple[int, ...]) -> Array:
    try:
        joints = np.asarray(near, dtype=float)
        if joints.shape != (*shape, robot.dof):
            joints = np.array(np.broadcast_to(joints, (*shape, robot.dof)))
        wrong = np.shape(near)[-1:] != (robot.dof,) or not isfinite(np.vdot(joints, joints))
    except (TypeError, ValueError):
        wrong = True
    if wrong:
        raise InvalidInputError(
            f"near: expected {robot.dof} finite joints, or one row of them for each pose {shape}, got {near!r}"
        )
    return joints


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInputError(f"{name} must be a whole number of at least 1, got {value!r}")


def _mark_not_found(chosen: IKResult, unfilled: NDArray[np.bool_], status: NDArray[np.int8]) -> None:
    """Writes into rows for answers that are not there: NOT_FOUND, or INVALID_INPUT where the pose was none."""
    invalid = (status == Status.INVALID_INPUT).all(-1)[:, None]
    chosen.q[unfilled] = np.nan
    chosen.status[unfilled] = np.broadcast_to(
        np.where(invalid, Status.INVALID_INPUT, Status.NOT_FOUND), unfilled.shape
    )[unfilled]
    for errors in (chosen.position_error, chosen.orientation_error):
        errors[unfilled] = np.nan
    for field in (chosen.success, chosen.iterations, chosen.start_clipped):
        field[unfilled] = 0
