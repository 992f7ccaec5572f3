"""What `HybridSolver` does on the processor: rounds of starts, for the poses that lack an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.kernels.tools import pick_distinct
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import Refiner, best_of
from hybrid_ik.result import IKResult, Status, concatenate
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.base import Sampler

Array = NDArray[np.float64]

ONE_ANSWER_ROUNDS = (16, 256)  # starts in all after each round: proposing them may cost more than refining them
STARTS_AT_ONCE = 2**20  # of all poses that are worked on together; bounds the memory that they take
WIDE_STARTS = 64  # from anywhere, where those around the given joints do not do
FAR = 0.5  # rad: an answer farther than this from `near` is not taken before random starts were tried too


class HostSolver:
    """Solves on the processor.

    Args:
        robot: the arm.
        refiner: what refines starts.
        sampler: proposes starts for many answers.
        one_sampler: proposes starts for one answer.
        span: poses farther than this from the first joint are beyond reach [m].
        around: joints `(n, dof)` to be added to `near` for starts; the first are 0.
    """

    def __init__(
        self, robot: Robot, refiner: Refiner, sampler: Sampler, one_sampler: Sampler, span: float, around: Array
    ) -> None:
        self.robot, self.refiner, self.sampler, self._one_sampler = robot, refiner, sampler, one_sampler
        self._span, self._around = span, around
        self._period, self._goes_round = robot.chain.periods, bool(robot.chain.periods.any())

    def one(self, pose: Pose, n_seeds: int | None) -> IKResult:
        """One answer for each pose; the closest joints where there is none."""
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

    def _closest(self, pose: Pose, found: IKResult) -> IKResult:
        return self.refiner.closest(pose, found, self._one_sampler.sample(pose, ONE_ANSWER_ROUNDS[0]))

    def _beyond_reach(self, pose: Pose) -> NDArray[np.bool_]:
        """Whether poses `(m,)` lie farther from the first joint than all links, slides and the tool can span."""
        distance = np.linalg.norm(pose.position - self.robot.chain.T_base_first[:3, 3], axis=-1)
        return np.asarray(pose.valid & (distance > self._span))

    def near(self, pose: Pose, near: Array, n_seeds: int | None) -> IKResult:
        """What `near` itself leads to, unless that is far: then the nearest of what other starts lead to as well."""
        own = self.refiner.search(pose, near[..., None, :])
        close = own.success & (self._distance(own.q, near) < FAR)
        if close if not pose.shape else close.all():
            return own
        flat, near, own = pose.reshape(pose.valid.size), near.reshape(-1, self.robot.dof), own.reshape(pose.valid.size)
        far = ~close.reshape(-1) & flat.valid
        if far.any():
            search = partial(self._search_around, n_seeds=n_seeds)
            own.put(far, _in_chunks(search, len(self._around), flat[far], near[far]))
        return own.reshape(*pose.shape)

    def _search_around(self, pose: Pose, near: Array, n_seeds: int | None) -> IKResult:
        """The nearest of what starts at and around `near` lead to; if that is far, of random starts too."""
        results = self.refiner.refine(pose, self._starts_near(near))
        nearest = self._nearest(results, near)
        lacking = ~(nearest.success & (self._distance(nearest.q, near) < FAR))
        if lacking.any():
            wide = self.sampler.sample(pose[lacking], n_seeds or WIDE_STARTS)
            more = concatenate([results[lacking], self.refiner.refine(pose[lacking], wide)], axis=1)
            nearest.put(lacking, self._nearest(more, near[lacking]))
            lost = lacking & ~nearest.success
            if lost.any():
                nearest.put(lost, self.one(pose[lost], n_seeds))
        return nearest

    def many(self, pose: Pose, n: int, first: int, most: int, near: Array | None, min_distance: float) -> IKResult:
        """`n` distinct answers for each pose, over `(*batch, n)`; see `DeviceSolver.many`."""
        flat, rows = pose.reshape(pose.valid.size), None if near is None else near.reshape(-1, self.robot.dof)
        solve = partial(self._many, n=n, n_seeds=first, most_seeds=most, min_distance=min_distance)
        return _in_chunks(solve, first, flat, rows).reshape(*pose.shape, n)

    def _many(
        self, pose: Pose, near: Array | None, n: int, n_seeds: int, most_seeds: int, min_distance: float
    ) -> IKResult:
        """Distinct answers from `n_seeds` starts; where they are too few, from twice as many, up to `most_seeds`."""
        q0 = self.sampler.sample(pose, n_seeds)
        if near is not None:
            q0 = np.concatenate([self._starts_near(near), q0], 1)
        candidates = self.refiner.refine(pose, q0)
        chosen = self._choose(candidates, n, near, min_distance)
        rows = np.arange(len(pose))
        while n_seeds < most_seeds and (lacking := ~chosen.success[rows].all(-1) & pose.valid[rows]).any():
            rows, candidates = rows[lacking], candidates[lacking]
            q0 = self.sampler.sample(pose[rows], 2 * n_seeds)[:, n_seeds:]
            candidates = concatenate([candidates, self.refiner.refine(pose[rows], q0)], axis=1)
            nearby = None if near is None else near[rows]
            chosen.put(rows, self._choose(candidates, n, nearby, min_distance))
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
        """`near` (m, dof) itself, and starts around it that lie ever farther away: (m, n, dof)."""
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
            d = self.robot.chain.shortest_way(d)
        return (d.dot(d) if d.ndim == 1 else np.einsum("...i,...i", d, d)) ** 0.5

    def _from_limits(self, q: Array) -> Array:
        """How near the joint that is nearest to a limit is to it: 0 in the middle of its range, 1 on the limit."""
        chain = self.robot.chain
        half = (chain.sample_upper - chain.sample_lower) / 2
        return np.abs((q - chain.middle) / half).max(-1)


def _in_chunks(solve: Callable[..., IKResult], n_starts: int, pose: Pose, *arrays: Any) -> IKResult:
    """What `solve` gives for poses `(m,)` and rows that belong to them, not too many at once."""
    size = max(1, STARTS_AT_ONCE // n_starts)
    if len(pose) <= size:
        return solve(pose, *arrays)
    chunks = [slice(i, i + size) for i in range(0, len(pose), size)]
    return concatenate([solve(pose[c], *(None if a is None else a[c] for a in arrays)) for c in chunks])


def _better(a: IKResult, b: IKResult, orientation_weight: float) -> IKResult:
    """Row by row the one that converged, or came nearer."""
    pairs = concatenate([a.reshape(len(a), 1), b.reshape(len(b), 1)], axis=1)
    return best_of(pairs, orientation_weight)


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
