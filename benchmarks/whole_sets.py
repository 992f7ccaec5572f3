"""How whole the sets of `solve_all` are, how clean, and how quick: `python benchmarks/whole_sets.py`.

Against answers of other solvers (`whole_set_oracles.py`): which of them lie on the set, which pieces that they lie on
are there, and whether `missing` says how often something is not. Poses are looked at in chunks; a run that was stopped
goes on where it was, if it is started again at the same commit.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from problems import STREAM, make_problems
from record import RESULTS, cores, print_table, record, restart_in_one_thread, timed, write_json
from whole_set_measures import branches, cleanness, compare, lacking, lost_pieces
from whole_set_oracles import Known, Source, known_answers, make_sources
from whole_set_summary import arm_rows, honesty_rows, summary

from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

MODELS = Path(os.environ.get("HYBRID_IK_ROBOTS", Path(__file__).resolve().parents[2] / "shared" / "robots"))
ARMS = {
    "panda": "panda",
    "iiwa14": "kuka_iiwa_14/iiwa14.xml",
    "kr6": "kuka_kr6r900sixx/kr6r900sixx.urdf",
}
SPACINGS = (0.05, 0.2)
MISSES = (1e-1, 1e-2, 1e-3)
ROUNDS = 3  # of timings, of which the quickest counts: others use the machine as well


@dataclass(frozen=True)
class Options:
    """What is measured."""

    poses: int = 1000
    """Random reachable poses of the Panda."""
    other_poses: int = 200
    """Poses of the other arms, and of each harder kind of pose."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Of panda, iiwa14, kr6."""
    kinds: tuple[str, ...] = ("reachable", "near-limit", "near-singular", "edge")
    """Of poses; see problems.py. Kinds other than the first are for the Panda."""
    starts: int = 20_000
    """Random starts of a pose that are refined."""
    reference: int = 0
    """Random starts of a pose that the reference refines as well, a hundred times as slowly: for a few poses."""
    sweep: int = 2000
    """Angles of the last joint that frankik is asked for."""
    timed: int = 300
    """Poses whose sets are timed, one by one."""
    models: Path = MODELS
    """Folder with the models of the other arms; those that are not there are left out."""
    chunk: int = 50
    """Poses between two writings of what is known."""
    seed: int = 0
    """Of the poses and of the starts."""
    json: Path = RESULTS / "whole_sets.json"
    """Where to save the results."""
    quick: bool = False
    """A handful of poses, to see that it runs; the numbers mean nothing."""

    def count(self, arm: str, kind: str) -> int:
        """Poses of an arm."""
        n = self.poses if (arm, kind) == ("panda", "reachable") else self.other_poses
        return min(n, 3) if self.quick else n


class Rows:
    """What was found for each pose, kept in a file until the run is complete."""

    def __init__(self, options: Options) -> None:
        self.path = options.json.with_suffix(".partial.json")
        key = {name: getattr(options, name) for name in ("starts", "reference", "sweep", "seed", "quick")}
        self._data: dict[str, Any] = {"key": {**key, "commit": record()["commit"]}, "rows": {}}
        if self.path.is_file() and (old := json.loads(self.path.read_text()))["key"] == self._data["key"]:
            self._data = old

    def of(self, name: str) -> list[dict[str, Any]]:
        """Those that are known."""
        return self._data["rows"].setdefault(name, [])

    def add(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Some more."""
        self.of(name).extend(rows)
        write_json(self.path, self._data)
        self._data = json.loads(self.path.read_text())  # plain data, as after a stop


def make_robot(arm: str, models: Path) -> Robot | None:
    """None where its model is not there."""
    source = ARMS[arm] if arm == "panda" else models / ARMS[arm]
    return Robot(str(source)) if arm == "panda" or Path(source).is_file() else None


def measure(arm: str, kind: str, robot: Robot, options: Options, rows: Rows) -> dict[str, Any]:
    """All poses of one kind."""
    n_starts, sweep = (500, 100) if options.quick else (options.starts, options.sweep)
    sources, left_out = make_sources(arm, robot, n_starts, sweep, options.reference)
    n, name = options.count(arm, kind), f"{arm}, {kind}"
    poses, solver = make_problems(robot, kind, n, options.seed), HybridSolver(robot)
    while (first := len(rows.of(name))) < n:
        some = np.arange(first, min(first + options.chunk, n))
        rngs = [np.random.default_rng([STREAM, 81, options.seed, i]) for i in some]
        known = known_answers(robot, poses[some], sources, rngs)
        rows.add(name, [_row(robot, poses[i], solver, k, sources) for i, k in zip(some, known, strict=True)])
        print(f"{name}: {some[-1] + 1} of {n}", flush=True)
    about = {"arm": arm, "kind": kind, "poses": n, "starts": n_starts, "sources": list(sources), "left_out": left_out}
    return {**about, **summary(rows.of(name)[:n])}


def _row(robot: Robot, pose: Pose, solver: HybridSolver, known: Known, sources: dict[str, Source]) -> dict[str, Any]:
    found = solver.solve_all(pose, miss=MISSES[-1])
    row = {**compare(robot, pose, found, known, list(sources)), **cleanness(robot, pose, found)}
    if robot.dof == 6:
        row |= {"branches": branches(known.q[known.piece >= 0]), "found_branches": branches(found.q)}
    row["by_miss"] = [_at_miss(robot, pose, solver, known, miss) for miss in MISSES]
    return row


def _at_miss(robot: Robot, pose: Pose, solver: HybridSolver, known: Known, miss: float) -> dict[str, Any]:
    """Whether a set lacks a piece, beside what it says about that."""
    found, on_pieces = solver.solve_all(pose, miss=miss), known.piece >= 0
    far = np.zeros(len(known.q), bool)
    far[on_pieces] = lacking(robot, pose, found, known.q[on_pieces])[0]
    return {"miss": miss, "lost": len(lost_pieces(known, far)), "missing": found.missing, "seeds": found.n_seeds}


def timings(arm: str, robot: Robot, options: Options) -> list[dict[str, Any]]:
    """Of single calls, on one core."""
    poses = make_problems(robot, "reachable", 5 if options.quick else options.timed, options.seed)
    solver, rows = HybridSolver(robot), []
    for spacing in SPACINGS:
        for miss in MISSES:
            solve = partial(solver.solve_all, spacing=spacing, miss=miss)
            seconds = min((_seconds(solve, poses) for _ in range(ROUNDS)), key=np.median)
            ms = {f"p{p}": 1e3 * float(np.percentile(seconds, p)) for p in (50, 90, 99)}
            rows.append({"arm": arm, "spacing": spacing, "miss": miss, "poses": len(poses), **ms})
    return rows


def _seconds(solve: Any, poses: Pose) -> NDArray[np.float64]:
    for i in range(min(len(poses), 5)):
        solve(poses[i])
    return np.array([timed(partial(solve, poses[i]))[0] for i in range(len(poses))])


def main() -> None:
    """Reads the options, measures, prints and saves."""
    options = tyro.cli(Options, description=__doc__)
    rows, sets, times, no_model = Rows(options), [], [], {}
    with cores(1):
        for arm in options.arms:
            if (robot := make_robot(arm, options.models)) is None:
                no_model[arm] = f"no model {ARMS[arm]}: set --models to a folder that has it"
                continue
            times += timings(arm, robot, options)
            kinds = options.kinds if arm == "panda" else options.kinds[:1]
            sets += [measure(arm, kind, robot, options, rows) for kind in kinds]
    print_table("Whole sets", arm_rows(sets))
    print_table("What `missing` says", honesty_rows(sets))
    print_table("Time of a call [ms]", [{"arm": f"{t['arm']}, spacing {t['spacing']}", **t} for t in times])
    print("\n".join(f"left out: {arm}, {why}" for arm, why in no_model.items()))
    plain = {**vars(options), "json": options.json.name, "models": options.models.name}
    write_json(options.json, {**record(), "options": plain, "sets": sets, "times": times, "no_model": no_model})
    rows.path.unlink(missing_ok=True)
    print(f"saved {options.json}")


if __name__ == "__main__":
    restart_in_one_thread()
    main()
