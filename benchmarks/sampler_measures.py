"""What the starts of a sampler are worth, with the same refiner for every sampler."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from metrics import (
    EXACT,
    SolutionPoints,
    coverage,
    coverage_by_following,
    distinct,
    judge,
    piece_recall,
    raw_measures,
    single_start_success,
    squared_mmd,
)
from numpy.typing import NDArray

from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]
Draw = Callable[[Pose, int], Array]

STARTS = (16, 64, 256)  # of the tables
GRID = (8, 16, 32, 64, 128, 256, 512, 1024)  # for the time to a given coverage
STEPS = (1, 2, 3, 5, 10, 20)
GOALS = {"coverage": (0.5, 0.8), "piece_recall": (0.95, 0.99)}
MMD_SAMPLES, MMD_POSES = 1000, 20


def measure_sampler(
    robot: Robot,
    poses: Pose,
    oracles: Sequence[SolutionPoints],
    draw: Draw,
    grid: Sequence[int] = GRID,
    more_poses: Pose | None = None,
) -> dict[str, Any]:
    """One row: of the verified answers for each number of starts, of single starts, and of starts as they are.

    Args:
        robot: the arm.
        poses: `(m,)`.
        oracles: their whole solution sets.
        draw: the sampler; poses and a number of starts to `(m, n, dof)`.
        grid: numbers of starts.
        more_poses: `(k,)`, for single starts and raw samples, which need no oracle; `poses` by default.
    """
    refiner = LaneRefiner(robot.chain)
    refiner.refine(poses[:1], draw(poses, grid[0])[:1])  # compiled, and the caches warm
    starts = {n: _answers(robot, refiner, poses, oracles, draw, n) for n in grid}
    singles = poses if more_poses is None else more_poses
    q0 = draw(singles, 64)
    return {
        "starts": starts,
        "ms_to": {f"{name} {goal}": _time_to(starts, name, goal) for name, goals in GOALS.items() for goal in goals},
        "single_poses": len(singles),
        "success_after_steps": single_start_success(robot, singles, q0, STEPS),
        "raw": raw_measures(robot, singles, q0),
        "mmd": _mmd(poses, oracles, draw),
    }


def _answers(
    robot: Robot, refiner: LaneRefiner, poses: Pose, oracles: Sequence[SolutionPoints], draw: Draw, n: int
) -> dict[str, float]:
    begin = time.perf_counter()
    q0 = draw(poses, n)
    proposed = time.perf_counter()
    q = refiner.refine(poses, q0).q
    done = time.perf_counter()
    good = judge(robot, poses, q).meets(EXACT)
    found = [answers[mask] for answers, mask in zip(q, good, strict=True)]
    mean = lambda measure: float(np.mean([measure(o, a) for o, a in zip(oracles, found, strict=True)]))  # noqa: E731
    return {
        "coverage": mean(coverage),
        "coverage_by_following": mean(coverage_by_following),
        "piece_recall": mean(piece_recall),
        "success": float(good.mean()),
        "distinct": float(np.mean([distinct(answers) for answers in found])),
        "propose_ms_per_pose": 1e3 * (proposed - begin) / len(poses),
        "refine_ms_per_pose": 1e3 * (done - proposed) / len(poses),
    }


def _time_to(starts: dict[int, dict[str, float]], name: str, goal: float) -> float | None:
    """Time of a pose [ms] at which the mean of this measure reaches the goal; see `time_to`."""
    times = [entry["propose_ms_per_pose"] + entry["refine_ms_per_pose"] for entry in starts.values()]
    return time_to([entry[name] for entry in starts.values()], times, goal)


def time_to(reached: Sequence[float], times: Sequence[float], goal: float) -> float | None:
    """The time, in the unit of `times`, at which the goal is reached, between two numbers of starts; None if never.

    With the first number of starts already: its time, which is then too long by an unknown part.
    """
    log_times = np.log(times)
    after = next((i for i, value in enumerate(reached) if value >= goal), None)
    if after is None:
        return None
    if after == 0:
        return float(np.exp(log_times[0]))
    share = (goal - reached[after - 1]) / (reached[after] - reached[after - 1])
    return float(np.exp(log_times[after - 1] + share * (log_times[after] - log_times[after - 1])))


def _mmd(poses: Pose, oracles: Sequence[SolutionPoints], draw: Draw) -> dict[str, float]:
    """Squared MMD of raw samples from draws of the oracle, and of two such draws from each other, its noise floor."""
    rng = np.random.default_rng(79)
    some = [oracle.points for oracle in oracles[:MMD_POSES] if len(oracle.points)]
    raw = draw(poses, MMD_SAMPLES)[:MMD_POSES]
    raw = [q for q, oracle in zip(raw, oracles, strict=False) if len(oracle.points)]
    sets = [[points[rng.integers(len(points), size=MMD_SAMPLES)] for points in some] for _ in range(2)]
    return {
        "samples": float(np.mean([squared_mmd(q, a) for q, a in zip(raw, sets[0], strict=True)])),
        "floor": float(np.mean([squared_mmd(a, b) for a, b in zip(*sets, strict=True)])),
    }
