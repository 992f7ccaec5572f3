"""How much of the solution sets the starts of each sampler lead to, with the same refiner for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from metrics import SolutionPoints
from oracle import STORED, load_sets, solution_sets
from problems import STREAM, make_problems
from record import print_table
from sampler_measures import STARTS, Draw, measure_sampler

from hybrid_ik.errors import HybridIKError
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

SINGLE_POSES = 1000  # for single starts and raw samples, which need no solution sets
QUICK = 0.02  # effort of the oracle where the numbers need not mean anything
SAMPLERS = {"random": "uniform", "lookup": "lookup", "network": "meanflow"}


def measure_coverage(robot: Robot, n_poses: int, seed: int = 0, quick: bool = False) -> dict[str, Any]:
    """Every sampler, and the perfect one drawn from the oracle, on the first reachable poses of the seed."""
    poses, oracles, about = known_sets(robot, n_poses, seed, quick)
    draws, left_out = _draws(robot, seed)
    more_poses = make_problems(robot, "reachable", n_poses if quick else SINGLE_POSES, seed)
    perfect_row = measure_sampler(robot, poses, oracles, perfect(oracles, seed))
    return {
        "n_poses": n_poses,
        "oracle": about,
        "pieces_median": float(np.median([o.n_pieces for o in oracles])),
        "rows": [
            *(
                {"name": name, **measure_sampler(robot, poses, oracles, d, more_poses=more_poses)}
                for name, d in draws.items()
            ),
            {"name": "perfect", **perfect_row},
        ],
        "left_out": left_out,
    }


def known_sets(
    robot: Robot, n_poses: int, seed: int, quick: bool = False
) -> tuple[Pose, list[SolutionPoints], dict[str, Any]]:
    """Poses and their solution sets: the stored ones of the shipped Panda where they are asked for, else made now."""
    poses = make_problems(robot, "reachable", n_poses, seed)
    if robot.name == "panda" and not quick and STORED.exists():
        stored, sets, about = load_sets()
        if about["options"]["seed"] == seed and n_poses <= len(sets) and _same(stored[:n_poses], poses):
            return poses, sets[:n_poses], {"file": STORED.name, **about["options"], "spacing": about["spacing"]}
    effort = QUICK if quick else 1.0
    return poses, solution_sets(robot, poses, effort=effort, seed=seed), {"effort": effort, "seed": seed}


def perfect(oracles: list[SolutionPoints], seed: int = 0) -> Draw:
    """Starts drawn independently from the solution sets of the very poses that are asked for."""
    rng = np.random.default_rng([STREAM, 78, seed])
    return lambda poses, n: np.stack([o.points[rng.integers(len(o.points), size=n)] for o in oracles])


def _same(a: Pose, b: Pose) -> bool:
    return np.allclose(a.position, b.position, atol=1e-9) and np.allclose(a.quaternion, b.quaternion, atol=1e-9)


def _draws(robot: Robot, seed: int) -> tuple[dict[str, Draw], dict[str, str]]:
    draws: dict[str, Draw] = {}
    left_out = {}
    for name, sampler in SAMPLERS.items():
        try:
            draws[name] = HybridSolver(robot, sampler=sampler, seed=seed).sampler.sample
        except HybridIKError as error:
            left_out[name] = str(error)
    return draws, left_out


def print_coverage(table: dict[str, Any]) -> None:
    """Coverage and recall, times, and what single starts are worth."""
    print_table(
        f"Coverage within 0.2 rad and piece recall, {table['n_poses']} poses",
        [_coverage_line(row) for row in table["rows"]],
    )
    print_table(
        "Milliseconds of a pose to mean coverage and recall",
        [_time_line(r) for r in table["rows"] if r["name"] != "perfect"],
    )
    print_table("Single starts", [_single_line(row) for row in table["rows"]])
    for name, reason in table["left_out"].items():
        print(f"left out: {name}: {reason}")


def _coverage_line(row: dict[str, Any]) -> dict[str, Any]:
    starts = row["starts"]
    return {
        "sampler": row["name"],
        **{f"cov@{n}": starts[n]["coverage"] for n in STARTS},
        **{f"recall@{n}": starts[n]["piece_recall"] for n in STARTS},
        **{f"followed@{n}": starts[n]["coverage_by_following"] for n in STARTS},
        **{f"distinct@{n}": starts[n]["distinct"] for n in STARTS},
        **{f"propose ms@{n}": starts[n]["propose_ms_per_pose"] for n in STARTS},
        **{f"refine ms@{n}": starts[n]["refine_ms_per_pose"] for n in STARTS},
    }


def _time_line(row: dict[str, Any]) -> dict[str, Any]:
    return {"sampler": row["name"], **{goal: time or "-" for goal, time in row["ms_to"].items()}}


def _single_line(row: dict[str, Any]) -> dict[str, Any]:
    raw = row["raw"]
    return {
        "sampler": row["name"],
        **{f"after {k}": share for k, share in row["success_after_steps"].items()},
        "in basin": float(raw["share_in_basin"]),
        "pos [m] p50": float(raw["position_median"]),
        "rot [rad] p50": float(raw["orientation_median"]),
        "outside": float(raw["share_outside_limits"]),
        "touching": float(raw["share_touching"]),
        "MMD": row["mmd"]["samples"],
        "floor": row["mmd"]["floor"],
    }
