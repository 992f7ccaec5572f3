"""How much of the solution sets the starts of each sampler lead to, with the same refiner for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from metrics import EXACT, SolutionPoints, coverage, judge, piece_recall, raw_measures, single_start_success
from numpy.typing import NDArray
from oracle import LINK, N_STARTS, SPACING, solution_points
from problems import STREAM, make_problems
from record import print_table

from hybrid_ik.errors import HybridIKError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]
Draw = Callable[[Pose, int], Array]

STARTS = (16, 64, 256)
STEPS = (1, 2, 3, 5, 10, 20)
QUICK_ORACLE = 2000  # starts of the oracle where the numbers need not mean anything
SAMPLERS = {"random": "uniform", "lookup": "lookup", "network": "meanflow"}


def measure_coverage(robot: Robot, n_poses: int, seed: int = 0, quick: bool = False) -> dict[str, Any]:
    """Every sampler, and the perfect one drawn from the oracle, on the first reachable poses of the seed."""
    poses = make_problems(robot, "reachable", n_poses, seed)
    n_starts = QUICK_ORACLE if quick else N_STARTS
    oracles = [solution_points(robot, poses[i], n_starts=n_starts, seed=seed) for i in range(n_poses)]
    draws, left_out = _draws(robot, oracles, seed)
    return {
        "n_poses": n_poses,
        "oracle": {"starts": n_starts, "spacing": SPACING, "link": LINK, "seed": seed},
        "pieces_median": float(np.median([o.n_pieces for o in oracles])),
        "rows": [{"name": name, **_measure(robot, poses, oracles, draw)} for name, draw in draws.items()],
        "left_out": left_out,
    }


def _draws(robot: Robot, oracles: list[SolutionPoints], seed: int) -> tuple[dict[str, Draw], dict[str, str]]:
    draws: dict[str, Draw] = {}
    left_out = {}
    for name, sampler in SAMPLERS.items():
        try:
            draws[name] = HybridSolver(robot, sampler=sampler, seed=seed).sampler.sample
        except HybridIKError as error:
            left_out[name] = str(error)
    rng = np.random.default_rng([STREAM, 78, seed])
    draws["perfect"] = lambda poses, n: np.stack([o.points[rng.integers(len(o.points), size=n)] for o in oracles])
    return draws, left_out


def _measure(robot: Robot, poses: Pose, oracles: list[SolutionPoints], draw: Draw) -> dict[str, Any]:
    """One row: of the verified answers with 16, 64 and 256 starts, and of the starts themselves."""
    refiner = LaneRefiner(robot.chain)
    row: dict[str, Any] = {"starts": {}}
    refiner.refine(poses[:1], draw(poses, STARTS[0])[:1])
    for n in STARTS:
        begin = time.perf_counter()
        q0 = draw(poses, n)
        proposed = time.perf_counter()
        q = refiner.refine(poses, q0).q
        done = time.perf_counter()
        good = judge(robot, poses, q).meets(EXACT)
        found = [answers[mask] for answers, mask in zip(q, good, strict=True)]
        row["starts"][n] = {
            "coverage": np.mean([coverage(o, a) for o, a in zip(oracles, found, strict=True)]),
            "piece_recall": np.mean([piece_recall(o, a) for o, a in zip(oracles, found, strict=True)]),
            "success": good.mean(),
            "propose_ms_per_pose": 1e3 * (proposed - begin) / len(poses),
            "refine_ms_per_pose": 1e3 * (done - proposed) / len(poses),
        }
    starts = draw(poses, 64)
    row["success_after_steps"] = single_start_success(robot, poses, starts, STEPS)
    row["raw"] = raw_measures(robot, poses, starts)
    return row


def print_coverage(table: dict[str, Any]) -> None:
    """Coverage and recall, then what single starts are worth."""
    oracle = table["oracle"]
    print_table(
        f"Coverage within 0.2 rad and piece recall, {table['n_poses']} poses, oracle of {oracle['starts']} starts each",
        [_coverage_line(row) for row in table["rows"]],
    )
    print_table("Single starts", [_single_line(row) for row in table["rows"]])
    for name, reason in table["left_out"].items():
        print(f"left out: {name}: {reason}")


def _coverage_line(row: dict[str, Any]) -> dict[str, Any]:
    starts = row["starts"]
    return {
        "sampler": row["name"],
        **{f"cov@{n}": float(starts[n]["coverage"]) for n in STARTS},
        **{f"recall@{n}": float(starts[n]["piece_recall"]) for n in STARTS},
        **{f"propose ms@{n}": starts[n]["propose_ms_per_pose"] for n in STARTS},
        **{f"refine ms@{n}": starts[n]["refine_ms_per_pose"] for n in STARTS},
    }


def _single_line(row: dict[str, Any]) -> dict[str, Any]:
    raw = row["raw"]
    return {
        "sampler": row["name"],
        **{f"after {k}": share for k, share in row["success_after_steps"].items()},
        "in basin": float(raw["share_in_basin"]),
        "pos [m] p50": float(raw["position_median"]),
        "rot [rad] p50": float(raw["orientation_median"]),
        "outside": float(raw["share_outside_limits"]),
    }
