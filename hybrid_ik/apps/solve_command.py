"""`hybrid-ik solve`: one pose, its answers as a table, as JSON, as pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from hybrid_ik.apps.solve_pictures import draw
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.result import IKResult, Status

if TYPE_CHECKING:
    from hybrid_ik.diagnosis.diagnosis import Diagnosis
    from hybrid_ik.robot import Robot
    from hybrid_ik.solver import HybridSolver

SAMPLERS = ("auto", "meanflow", "uniform", "lookup")


@dataclass(frozen=True, kw_only=True)
class SolveOptions:
    """Joint angles that put an arm's tip at a pose, as a table. Exit status 1 when there are none."""

    position: tuple[float, float, float]
    """Where the tip is to be, in the base frame [m]."""
    quaternion: tuple[float, float, float, float]
    """How it is to be turned: w x y z, as in MuJoCo."""
    robot: str = "panda"
    """A shipped name, an MJCF or URDF file, or a robot_descriptions name."""
    tip: str | None = None
    """The frame to be placed: a site or a body."""
    base: str | None = None
    """The frame the pose is given in: a site or a body; the world by default."""
    n_solutions: Annotated[int, tyro.conf.arg(aliases=("-n",))] = 1
    """Distinct answers asked for."""
    near: tuple[float, ...] | None = None
    """Joints to stay close to [rad, or m for slides]: the nearest answers come, the nearest first."""
    prefer: Literal["limits", "manipulability"] | None = None
    """The best one of all answers: farthest from the joint limits, or from singularities."""
    all: bool = False
    """Every answer there is, as pieces: arcs between joint limits, closed curves, points."""
    sampler: str = "auto"
    """What proposes starts: auto, meanflow, uniform, lookup, or a network file."""
    refiner: Literal["lanes", "mujoco"] = "lanes"
    """What polishes them."""
    n_seeds: int | None = None
    """Starts tried."""
    min_distance: float = 0.1
    """Answers that differ by less than this count as one [rad, or m]."""
    seed: int = 0
    """Seed of the starts."""
    json: bool = False
    """Print JSON and nothing else."""
    png: Path | None = None
    """Write a picture of the answers to this file."""
    gif: Path | None = None
    """Write a film to this file: the arm moves from the first answer along its whole curve, its tool at rest."""
    plot: Path | None = None
    """Write a plot to this file: the joints of each answer between their limits; with --all, the curves."""
    lm: LMConfig = field(default_factory=LMConfig)
    """Steps, weights and tolerances."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(SolveOptions, prog="hybrid-ik solve", args=list(argv), config=(tyro.conf.FlagCreatePairsOff,))
    check_together(options)
    target = Pose(options.position, options.quaternion)
    solver = _make_solver(options)
    if options.all:
        from hybrid_ik.apps.solve_all import solve_all

        return solve_all(solver, target, options)
    result, first, again = timed_solve(solver, target, options)
    diagnosis = None if result.success.any() else solver.diagnose(target)
    if options.json:
        print(json.dumps(_as_json(solver.robot, options, target, result, again, diagnosis), indent=2))
    else:
        _print_table(solver, options, target, result, first, again, diagnosis)
    draw(solver, target, options, result.q, result.plot, bool(result.success[0]))
    return 0 if result.success.any() else 1


def check_together(options: SolveOptions) -> None:
    """Refuses options that contradict each other."""
    single = {"-n": options.n_solutions != 1, "--near": options.near is not None}
    of_starts = {"--prefer": options.prefer is not None, "--n-seeds": options.n_seeds is not None}
    if options.all and (given := [name for name, there in (single | of_starts).items() if there]):
        raise InvalidInputError(f"--all gives every answer there is: it does not go with {', '.join(given)}")
    if options.prefer and (given := [name for name, there in single.items() if there]):
        raise InvalidInputError(f"--prefer gives the best one of all answers: it does not go with {', '.join(given)}")


def timed_solve(solver: HybridSolver, target: Pose, options: SolveOptions) -> tuple[IKResult, float, float]:
    """The answers `(n,)`, the closest joints if there are none, and the seconds of the first and of a second solve."""
    asked: dict[str, Any] = {"near": options.near, "n_seeds": options.n_seeds, "min_distance": options.min_distance}
    n = options.n_solutions if options.n_solutions != 1 else None
    result, first, again = timed_twice(lambda: solver.solve(target, n_solutions=n, prefer=options.prefer, **asked))
    if not np.any(result.success):
        result = solver.solve(target)
    return result.reshape(np.size(result.success)), first, again


def timed_twice(work: Callable[[], Any], patience: float = 1.0) -> tuple[Any, float, float]:
    """What `work` returns, the seconds it took, and those of a second time; of the first if that took long."""
    times: list[float] = []
    while len(times) < 2 and sum(times) < patience:
        started = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - started)
    return found, times[0], times[-1]


def _make_solver(options: SolveOptions) -> HybridSolver:
    from hybrid_ik.robot import Robot
    from hybrid_ik.solver import HybridSolver

    robot = Robot(options.robot, tip=options.tip, base=options.base)
    sampler: Any = options.sampler
    if sampler not in SAMPLERS:
        from hybrid_ik.samplers.meanflow import MeanFlowSampler

        if not Path(sampler).is_file():
            raise InvalidInputError(
                f"--sampler: expected one of {', '.join(SAMPLERS)}, or a network file, got {sampler!r}"
            )
        sampler = MeanFlowSampler(sampler, robot.chain, options.seed)
    return HybridSolver(robot, sampler=sampler, refiner=options.refiner, config=options.lm, seed=options.seed)


def _print_table(
    solver: HybridSolver,
    options: SolveOptions,
    target: Pose,
    result: IKResult,
    first: float,
    again: float,
    diagnosis: Diagnosis | None,
) -> None:
    from hybrid_ik.apps.tables import answers_table, heading, seconds, units

    robot, found = solver.robot, int(result.success.sum())
    print(f"{heading(robot, target)}\n{units(robot)}\n")
    print(answers_table(robot, result))
    print()
    if diagnosis is None:
        asked = f" of {options.n_solutions}" if found < options.n_solutions else ""
        answers = f"{found}{asked} {'answers' if found > 1 else 'answer'}"
        print(f"{answers} in {seconds(again)} (the first time {seconds(first)})")
    else:
        status = f" {Status(int(result.status[0])).message}" if diagnosis.reachable else ""  # they were not found here
        print(f"no answer; these joints come closest.{status}\n\n{diagnosis}")


def _as_json(
    robot: Robot,
    options: SolveOptions,
    target: Pose,
    result: IKResult,
    elapsed: float,
    diagnosis: Diagnosis | None,
) -> dict[str, Any]:
    """Plain data. Where nothing was found, `answers` holds the closest joints, `success` false, `diagnosis` why."""
    rows = [result[i] for i in np.flatnonzero(np.isfinite(result.q).all(-1))]
    return {
        **json_heading(robot, target),
        "asked": options.n_solutions,
        "found": int(result.success.sum()),
        "seconds": elapsed,
        "answers": [
            {
                "q": row.q.tolist(),
                "success": bool(row.success),
                "status": Status(int(row.status)).name,
                "position_error": float(row.position_error),
                "orientation_error": float(row.orientation_error),
                "iterations": int(row.iterations),
            }
            for row in rows
        ],
        "diagnosis": json_diagnosis(diagnosis),
    }


def json_heading(robot: Robot, target: Pose) -> dict[str, Any]:
    """What was asked."""
    return {
        "robot": robot.name,
        "tip": robot.tip,
        "base": robot.base,
        "joint_names": list(robot.joint_names),
        "position": target.position.tolist(),
        "quaternion": target.quaternion.tolist(),
    }


def json_diagnosis(diagnosis: Diagnosis | None) -> dict[str, str] | None:
    """Why there is no answer; None where there are some."""
    return None if diagnosis is None else {"verdict": diagnosis.verdict.value, "text": str(diagnosis)}
