"""The same poses by every variant, in one run and one thread: `python benchmarks/compare.py`.

Prints a table, saves JSON with machine, versions, commit and command, and draws a plot. Poses are solved one
by one through the public API, in rounds in which every row takes its turn, so that noise of the machine hits all rows
alike. Success, errors and distinct answers are judged afterwards by MuJoCo's forward kinematics.

With `--peers` other people's solvers take the place of the variants: `make peers` installs them (docs/peers.md).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from coverage_table import measure_coverage, print_coverage
from metrics import CLOSE, COARSE, EXACT, Criterion, distinct, judge, spread
from peer_plot import plot_peers
from peer_rows import ROWS as PEERS
from peers import Plan, measure_peers, print_peers
from plots import plot_comparison
from problems import KINDS, make_problems
from record import RESULTS, cores, picture_of, print_table, record, restart_in_one_thread, write_json
from variants import VARIANTS, Variant

from hybrid_ik.errors import HybridIKError
from hybrid_ik.pose import Pose
from hybrid_ik.result import IKResult, concatenate
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

N_SOLUTIONS = 16


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    poses: int = 1000
    """Poses of the set; slow rows get the first of them."""
    seed: int = 0
    """Of the poses and of the samplers."""
    rows: str = ",".join(VARIANTS)
    """Names of the rows, with commas between them; `none` for none."""
    json: Path | None = None
    """By default `compare.json` or `peers.json` in results/; `picture_of` places the plot."""
    robot: str = "panda"
    """A shipped name, a file, or a robot_descriptions name."""
    problems: str = "reachable"
    """Which set of poses: reachable, near-limit, near-singular, unreachable or edge."""
    rounds: int = 5
    """How many turns every row takes."""
    coverage: bool = False
    """Also measure how much of the solution sets the samplers' starts lead to."""
    coverage_poses: int = 200
    """Poses of the coverage table; of 200 the whole solution sets are stored."""
    peers: bool = False
    """Compare with other people's solvers, on every set of poses, two paths, and with all answers."""
    peer_rows: str = ",".join(PEERS)
    """Names of their rows, with commas between them."""
    path_steps: int = 1000
    """Steps of each path that they follow."""
    peer_seconds: float = 5.0
    """That a peer may take for each set of poses; slow ones get as many of them as that allows."""
    quick: bool = False
    """A handful of poses, to see that it runs; the numbers mean nothing."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.row_names() if name not in VARIANTS]
        if unknown:
            raise SystemExit(f"--rows: no row {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
        unknown = [name for name in self.peer_rows.split(",") if name not in PEERS]
        if unknown:
            raise SystemExit(f"--peer-rows: no row {', '.join(unknown)}; there are {', '.join(PEERS)}")
        if self.problems not in KINDS:
            raise SystemExit(f"--problems: no set {self.problems!r}; there are {', '.join(KINDS)}")
        if min(self.poses, self.rounds, self.coverage_poses, self.path_steps) < 1:
            raise SystemExit("--poses, --rounds, --coverage-poses and --path-steps must be at least 1")

    def row_names(self) -> list[str]:
        """The rows asked for, in their order."""
        return [] if self.rows == "none" else self.rows.split(",")

    @property
    def file(self) -> Path:
        """Where the results go."""
        return self.json or RESULTS / ("peers.json" if self.peers else "compare.json")

    @property
    def plan(self) -> Plan:
        """How much is measured of the peers."""
        if self.quick:
            return Plan(min(self.poses, 4), self.path_steps, 5, min(self.peer_seconds, 0.3), 1, self.seed)
        return Plan(self.poses, self.path_steps, self.path_steps, self.peer_seconds, self.rounds, self.seed)

    def count(self, share: float) -> int:
        """How many poses a share of them is."""
        if self.quick:
            return min(self.poses, 6 if share >= 0.2 else 1)
        return min(self.poses, max(5, round(share * self.poses)))


@dataclass
class Row:
    """One variant at work: its solver, and what it has brought so far."""

    name: str
    variant: Variant
    solver: HybridSolver
    one: list[IKResult] = field(default_factory=list)
    many: list[IKResult] = field(default_factory=list)
    one_seconds: list[float] = field(default_factory=list)
    many_seconds: list[float] = field(default_factory=list)
    batch_rates: list[float] = field(default_factory=list)

    def take_turn(self, poses: Pose, rounds: int, turn: int, options: Options) -> None:
        """Solves its part of the poses one by one, for one answer and for many, and then as a batch."""
        n, n_many = options.count(self.variant.share), options.count(self.variant.many_share)
        for i in np.array_split(np.arange(n), rounds)[turn]:
            self._timed(self.one, self.one_seconds, poses[i], n_solutions=None)
        for i in np.array_split(np.arange(n_many), rounds)[turn]:
            self._timed(self.many, self.many_seconds, poses[i], n_solutions=N_SOLUTIONS)
        batch = poses[np.arange(n)] if self.variant.share == 1 else poses[np.array_split(np.arange(n), rounds)[turn]]
        if len(batch):
            start = time.perf_counter()
            self.solver.solve(batch)
            self.batch_rates.append(len(batch) / (time.perf_counter() - start))

    def _timed(self, results: list[IKResult], seconds: list[float], pose: Pose, n_solutions: int | None) -> None:
        start = time.perf_counter()
        result = self.solver.solve(pose, n_solutions=n_solutions)
        seconds.append(time.perf_counter() - start)
        results.append(result.reshape(1, n_solutions or 1))

    def summary(self, robot: Robot, poses: Pose) -> dict[str, Any]:
        """The row of the saved table."""
        return {
            "name": self.name,
            "label": self.variant.label,
            "sampler": type(self.solver.sampler).__name__,
            "refiner": type(self.solver.refiner).__name__,
            "one": self._one_answer(robot, poses),
            "many": self._many_answers(robot, poses),
        }

    def _one_answer(self, robot: Robot, poses: Pose) -> dict[str, Any]:
        result = concatenate(self.one)[:, 0]
        verdict = judge(robot, poses[np.arange(len(result))], result.q)
        return {
            "n_poses": len(result),
            "success": verdict.meets(EXACT).mean(),
            "success_1mm": verdict.meets(CLOSE).mean(),
            "success_1cm": verdict.meets(COARSE).mean(),
            "position_error": spread(verdict.position_error),
            "orientation_error": spread(verdict.orientation_error),
            "seconds": spread(np.array(self.one_seconds)),
            "batch_poses_per_second": np.median(self.batch_rates),
            "steps_median": np.median(result.iterations),
        }

    def _many_answers(self, robot: Robot, poses: Pose) -> dict[str, Any]:
        result = concatenate(self.many)
        verdict = judge(robot, poses[np.arange(len(result))], result.q)

        def counts(criterion: Criterion) -> np.ndarray:
            rows = zip(result.q, verdict.meets(criterion), strict=True)
            return np.array([distinct(q[good]) for q, good in rows])

        exact = counts(EXACT)
        return {
            "n_poses": len(result),
            "asked": N_SOLUTIONS,
            "distinct_mean": exact.mean(),
            "all_found": (exact == N_SOLUTIONS).mean(),
            "distinct_1cm_mean": counts(COARSE).mean(),
            "seconds": spread(np.array(self.many_seconds)),
            "answers_per_second": exact.sum() / np.sum(self.many_seconds),
        }


def make_rows(robot: Robot, options: Options) -> tuple[list[Row], dict[str, str]]:
    """The rows that can run here, warmed up, and why the others cannot."""
    rows, left_out = [], {}
    example = robot.forward_kinematics(robot.home)
    for name in options.row_names():
        try:
            row = Row(name, VARIANTS[name], VARIANTS[name].make(robot, options.seed))
            row.solver.solve(example)
            row.solver.solve(example, n_solutions=2, n_seeds=4)
        except (HybridIKError, ImportError) as error:
            left_out[name] = str(error)
        else:
            rows.append(row)
    return rows, left_out


def compare(robot: Robot, options: Options) -> dict[str, Any]:
    """All rows on the same poses."""
    poses = make_problems(robot, options.problems, options.poses, options.seed)
    rows, left_out = make_rows(robot, options)
    rounds = 1 if options.quick else options.rounds
    for turn in range(rounds):
        for row in rows:
            row.take_turn(poses, rounds, turn, options)
    return {"rows": [row.summary(robot, poses) for row in rows], "left_out": left_out}


def print_comparison(result: dict[str, Any]) -> None:
    """Both tables: one answer, and sixteen."""
    print_table("One answer", [_one_line(row["label"], row["one"]) for row in result["rows"]])
    print_table(f"{N_SOLUTIONS} distinct answers", [_many_line(row["label"], row["many"]) for row in result["rows"]])
    for name, reason in result["left_out"].items():
        print(f"left out: {name}: {reason}")


def _one_line(label: str, one: dict[str, Any]) -> dict[str, Any]:
    position, orientation, seconds = one["position_error"], one["orientation_error"], one["seconds"]
    return {
        "solver": label,
        "n": one["n_poses"],
        "1 um %": 100 * one["success"],
        "1 mm %": 100 * one["success_1mm"],
        "1 cm %": 100 * one["success_1cm"],
        "pos [m] p50": position["median"],
        "pos p99": position["p99"],
        "pos max": position["max"],
        "rot [rad] p50": orientation["median"],
        "rot p99": orientation["p99"],
        "rot max": orientation["max"],
        "ms p50": 1e3 * seconds["median"],
        "ms p99": 1e3 * seconds["p99"],
        "batch poses/s": one["batch_poses_per_second"],
        "steps": one["steps_median"],
    }


def _many_line(label: str, many: dict[str, Any]) -> dict[str, Any]:
    return {
        "solver": label,
        "n": many["n_poses"],
        "distinct": many["distinct_mean"],
        "all found %": 100 * many["all_found"],
        "distinct, 1 cm": many["distinct_1cm_mean"],
        "ms p50": 1e3 * many["seconds"]["median"],
        "ms p99": 1e3 * many["seconds"]["p99"],
        "answers/s": many["answers_per_second"],
    }


def main() -> None:
    """Reads the options, measures, prints and saves."""
    options = tyro.cli(Options, description=__doc__)
    with cores(1):
        robot = Robot(options.robot)
        result = {**record(), "one_core": True, "robot": robot.name, "tip": robot.tip}
        result |= {"poses": options.poses, "seed": options.seed, "rounds": options.rounds, "quick": options.quick}
        result |= _peers(robot, options) if options.peers else _variants(robot, options)
    write_json(options.file, result)
    print(f"\nsaved {options.file}")
    if result.get("rows") or result.get("peers"):
        plot = plot_peers if options.peers else plot_comparison
        plot(result, picture_of(options.file))


def _peers(robot: Robot, options: Options) -> dict[str, Any]:
    result = measure_peers(robot, options.plan, options.peer_rows.split(","))
    print_peers(result)
    return result


def _variants(robot: Robot, options: Options) -> dict[str, Any]:
    result = {"problems": options.problems, **compare(robot, options)}
    print_comparison(result)
    if options.coverage:
        n = min(4, options.poses) if options.quick else options.coverage_poses
        result["coverage"] = measure_coverage(robot, n, options.seed, options.quick)
        print_coverage(result["coverage"])
    return result


if __name__ == "__main__":
    restart_in_one_thread()
    main()
