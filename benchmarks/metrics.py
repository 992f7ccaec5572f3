"""How good answers are: every number here comes from MuJoCo's forward kinematics, none from what a solver claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pose import Pose, pose_error
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DISTINCT = 0.1  # rad, or m: two answers nearer than this are one
TOUCH_CHECKS = 2000  # samples of a set that are looked at for contacts: they take 20 us each
RADIUS = 0.2  # rad, or m: a point of the solution set is covered by an answer within this


@dataclass(frozen=True)
class Criterion:
    """Bounds on both errors."""

    position: float
    """[m]"""
    orientation: float
    """[rad]"""


EXACT = Criterion(1e-6, 1e-6)  # what the toolkit calls success
CLOSE = Criterion(1e-3, 1e-2)  # of the single-start measures
COARSE = Criterion(1e-2, 1e-2)  # what networks without a refiner are often judged by
BASIN = Criterion(0.045, float(np.radians(7)))  # starts inside converge in three steps, 99 in 100


@dataclass(frozen=True)
class Judgement:
    """What joints are worth, over `(*batch,)`; NaN errors where there are no joints."""

    position_error: Array
    """[m]"""
    orientation_error: Array
    """[rad]"""
    inside_limits: Mask

    def meets(self, criterion: Criterion) -> Mask:
        """Within both bounds and within the limits."""
        return self.near(criterion) & self.inside_limits

    def near(self, criterion: Criterion) -> Mask:
        """Within both bounds, wherever the limits are."""
        return (self.position_error <= criterion.position) & (self.orientation_error <= criterion.orientation)


def judge(robot: Robot, target: Pose, q: Array) -> Judgement:
    """Errors of joints `(*batch, [n], dof)` against poses `(*batch,)`, and whether they keep the limits exactly."""
    shape = q.shape[:-1]
    per_pose = int(np.prod(shape[len(target.shape) :], dtype=int))
    rows = q.reshape(-1, robot.dof)
    goals = target.reshape(target.valid.size)[np.repeat(np.arange(target.valid.size), per_pose)]
    known = np.isfinite(rows).all(-1)
    error = np.full((len(rows), 6), np.nan)
    if known.any():
        error[known] = pose_error(goals[known], robot.forward_kinematics(rows[known]))
    position, orientation = np.linalg.norm(error[:, :3], axis=-1), np.linalg.norm(error[:, 3:], axis=-1)
    inside = ((rows >= robot.lower) & (rows <= robot.upper)).all(-1)
    return Judgement(position.reshape(shape), orientation.reshape(shape), inside.reshape(shape))


def spread(values: Array) -> dict[str, float]:
    """Median, 99th percentile and maximum; values that are not there (NaN) are left out."""
    known = np.ravel(values)[~np.isnan(np.ravel(values))]
    if not known.size:
        return {"median": np.nan, "p99": np.nan, "max": np.nan}
    return {"median": np.median(known), "p99": np.percentile(known, 99), "max": known.max()}


def distances(a: Array, b: Array) -> Array:
    """Euclidean distances (len(a), len(b)) between joints, without regard to whole turns."""
    square = (a * a).sum(-1)[:, None] + (b * b).sum(-1) - 2 * a @ b.T
    return np.sqrt(np.maximum(square, 0))


def thin(points: Array, spacing: float) -> NDArray[np.intp]:
    """Indices of points no two of which are nearer than `spacing`, while each other one is near to one of them."""
    left, kept = np.arange(len(points)), []
    while len(left):
        kept.append(left[0])
        left = left[np.linalg.norm(points[left] - points[left[0]], axis=-1) >= spacing]
    return np.array(kept, dtype=np.intp)


def distinct(answers: Array, min_distance: float = DISTINCT) -> int:
    """How many of the answers `(n, dof)` of one pose differ by at least `min_distance` from those before them."""
    return len(thin(answers, min_distance))


def pieces(points: Array, link: float) -> NDArray[np.intp]:
    """The number of its piece for each point `(n, dof)`; points joined by steps below `link` are in one piece."""
    label = np.full(len(points), -1)
    near = distances(points, points) < link
    piece = 0
    while (label < 0).any():
        front = np.array([np.argmax(label < 0)])
        while len(front):
            label[front] = piece
            front = np.flatnonzero(near[front].any(0) & (label < 0))
        piece += 1
    return label


@dataclass(frozen=True)
class SolutionPoints:
    """The answers of one pose as points about evenly spread over its solution set."""

    points: Array
    """`(n, dof)` [rad, or m]."""
    piece: NDArray[np.intp]
    """`(n,)`: which connected piece each point belongs to."""

    @property
    def n_pieces(self) -> int:
        """How many pieces there are."""
        return int(self.piece.max(initial=-1)) + 1


def coverage(oracle: SolutionPoints, answers: Array, radius: float = RADIUS) -> float:
    """Share of the oracle's points that lie within `radius` of an answer; NaN for an empty oracle."""
    if not len(oracle.points):
        return float("nan")
    return float(_covered(oracle, answers, radius).mean())


def piece_recall(oracle: SolutionPoints, answers: Array, radius: float = RADIUS) -> float:
    """Share of the pieces that hold the oracle point nearest to an answer, within `radius`; NaN for an empty oracle."""
    if not oracle.n_pieces:
        return float("nan")
    return len(_touched(oracle, answers, radius)) / oracle.n_pieces


def coverage_by_following(oracle: SolutionPoints, answers: Array, radius: float = RADIUS) -> float:
    """Share of the oracle's points on the pieces that are touched: what following every answer would find."""
    if not len(oracle.points):
        return float("nan")
    return float(np.isin(oracle.piece, _touched(oracle, answers, radius)).mean())


def _covered(oracle: SolutionPoints, answers: Array, radius: float) -> Mask:
    if not len(answers):
        return np.zeros(len(oracle.points), bool)
    return distances(oracle.points, answers).min(-1) <= radius


def _touched(oracle: SolutionPoints, answers: Array, radius: float) -> NDArray[np.intp]:
    """The pieces that hold the point nearest to an answer, where that is within `radius`."""
    if not len(answers):
        return np.empty(0, np.intp)
    apart = distances(oracle.points, answers)
    return np.unique(oracle.piece[apart.argmin(0)[apart.min(0) <= radius]])


def squared_mmd(a: Array, b: Array) -> float:
    r"""Squared maximum mean discrepancy between samples `(n, dof)`, as IKFlow measures it (Ames et al., 2022).

    Kernel :math:`k(d) = C^{\alpha} ((C + d^2) / \alpha)^{-\alpha}` with C = 1.1827, alpha = 0.2; all pairs count, a
    sample with itself as well, so that two draws of one distribution give a floor above 0.
    """
    C, alpha = 1.1827, 0.2
    kernel = lambda x, y: (C**alpha * ((C + distances(x, y) ** 2) / alpha) ** -alpha).mean()  # noqa: E731
    return float(kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))


def touching(robot: Robot, q: Array) -> Mask:
    """Whether the arm at joints `(m, dof)` touches itself or its surroundings: any contact of MuJoCo's."""
    model = robot.drawable_model()
    data = mujoco.MjData(model)
    result = np.empty(len(q), bool)
    for i, qpos in enumerate(robot.model_qpos(q)):
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        result[i] = data.ncon > 0
    return result


def raw_measures(robot: Robot, target: Pose, q0: Array) -> dict[str, float]:
    """What starts `(*batch, n, dof)` are worth before any refining.

    Samplers may move starts onto the limits they exceed, so those on a limit count as outside.
    """
    raw = judge(robot, target, q0)
    outside = ((q0 <= robot.lower) | (q0 >= robot.upper)).any(-1)
    rows = q0.reshape(-1, robot.dof)
    some = np.random.default_rng(0).permutation(len(rows))[:TOUCH_CHECKS]  # evenly spaced ones could all be one start
    return {
        "position_mean": raw.position_error.mean(),
        "position_median": np.median(raw.position_error),
        "position_p99": np.percentile(raw.position_error, 99),
        "orientation_mean": raw.orientation_error.mean(),
        "orientation_median": np.median(raw.orientation_error),
        "orientation_p99": np.percentile(raw.orientation_error, 99),
        "share_in_basin": raw.near(BASIN).mean(),
        "share_outside_limits": outside.mean(),
        "share_touching": touching(robot, rows[some]).mean(),
    }


def single_start_success(
    robot: Robot, target: Pose, q0: Array, steps: Sequence[int], config: LMConfig | None = None
) -> dict[int, float]:
    """Share of starts `(*batch, n, dof)` that are `CLOSE` after so many Levenberg-Marquardt steps, each on its own."""
    close = replace(config or LMConfig(), position_tolerance=CLOSE.position, orientation_tolerance=CLOSE.orientation)
    shares = {}
    for k in steps:
        result = LaneRefiner(robot.chain, replace(close, max_iterations=k)).refine(target, q0)
        shares[k] = float(judge(robot, target, result.q).meets(CLOSE).mean())
    return shares
