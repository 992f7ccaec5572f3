"""`hybrid-ik solve`: one pose, its answers as a table, as JSON, as a picture."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

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
    lm: LMConfig = field(default_factory=LMConfig)
    """Steps, weights and tolerances."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(SolveOptions, prog="hybrid-ik solve", args=list(argv), config=(tyro.conf.FlagCreatePairsOff,))
    target = Pose(options.position, options.quaternion)
    solver = _make_solver(options)
    result, first, again = timed_solve(solver, target, options)
    diagnosis = None if result.success.any() else solver.diagnose(target)
    if options.json:
        print(json.dumps(_as_json(solver.robot, options, target, result, again, diagnosis), indent=2))
    else:
        _print_table(solver, options, target, result, first, again, diagnosis)
    if options.png is not None:
        draw(solver.robot, result, target, options.png)
    return 0 if result.success.any() else 1


def timed_solve(solver: HybridSolver, target: Pose, options: SolveOptions) -> tuple[IKResult, float, float]:
    """The answers `(n,)`, the closest joints if there are none, and the seconds of the first and of a second solve."""
    n = options.n_solutions if options.n_solutions != 1 else None
    near, n_seeds, distance = options.near, options.n_seeds, options.min_distance
    times = []
    for _ in range(2):
        started = time.perf_counter()
        result = solver.solve(target, n_solutions=n, near=near, n_seeds=n_seeds, min_distance=distance)
        times.append(time.perf_counter() - started)
    if not np.any(result.success):
        result = solver.solve(target)
    return result.reshape(np.size(result.success)), times[0], times[1]


def draw(robot: Robot, result: IKResult, target: Pose, path: Path) -> None:
    """Write a picture of the answers, or say on stderr why there is none."""
    from hybrid_ik.apps.image_files import save_png
    from hybrid_ik.apps.offscreen import RenderingUnavailableError
    from hybrid_ik.apps.rendering import render_answers

    try:
        save_png(path, render_answers(robot, result.q, target))
    except RenderingUnavailableError as error:
        print(f"no {path}: {error}", file=sys.stderr)
        return
    print(f"wrote {path}", file=sys.stderr)


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
    from hybrid_ik.apps.tables import answers_table, seconds

    robot, found = solver.robot, int(result.success.sum())
    print(f"{robot.name}: {robot.tip} in {robot.base}, position {target.position} m, wxyz {target.quaternion}")
    print(f"joints in degrees{', slides in mm' if 'slide' in robot.chain.kinds else ''}\n")
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
        "robot": robot.name,
        "tip": robot.tip,
        "base": robot.base,
        "joint_names": list(robot.joint_names),
        "position": target.position.tolist(),
        "quaternion": target.quaternion.tolist(),
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
        "diagnosis": None if diagnosis is None else {"verdict": diagnosis.verdict.value, "text": str(diagnosis)},
    }
