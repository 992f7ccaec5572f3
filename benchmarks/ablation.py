"""What each part of the recipe is worth: networks trained alike but for one change, and measured alike.

    python benchmarks/ablation.py --minutes 5
    python benchmarks/ablation.py --minutes 5 --rows base flow_matching dispersive_025 --seeds 0 1 2

"Alike" is the same training time on one core: the steps of a row follow from a timing of its first ones, and the
learning rate falls to zero at the last. A run that was stopped goes on where it was when the same command is given
again; finished rows are kept. Coverage is measured with noise scale 1, the noise that the networks are trained on.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from ablation_variants import VARIANTS, is_the_base
from coverage_table import known_sets, perfect
from metrics import SolutionPoints
from plots import plot_ablation
from record import RESULTS, cores, picture_of, print_table, record, restart_in_one_thread, write_json
from sampler_measures import STARTS, Draw, measure_sampler

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile, load_network
from hybrid_ik.errors import CheckpointError, HybridIKError, InvalidInputError
from hybrid_ik.learning.data import ValidationSet
from hybrid_ik.learning.loop import LOG_FILE, NETWORK_FILE, STATE_FILE
from hybrid_ik.learning.matching import MatchingConfig
from hybrid_ik.learning.training import TrainConfig, train
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.solver import HybridSolver

# MeanFlow alone; rows of their own show what matching adds.
BASE = TrainConfig(device="cpu", tensorboard=False, matching=MatchingConfig(steps=0))
REFERENCES = {"random": "uniform", "lookup": "lookup"}
TIMED = (10, 50)  # steps between which a row is timed; the first ones load what derivatives need
CHECKPOINTS, LOG_LINES = 5, 100
WARMUP_SHARE = 0.1  # at most, of the steps: the largest networks get few of them
VALIDATION_POSES = 250
COST_STARTS, COST_REPEATS = 64, 7
QUICK_POSES, QUICK_STEPS = 2, 10


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train and measure a network for each change of the recipe."""

    robot: str = "panda"
    """A shipped robot, or a file of one."""
    minutes: float = 5.0
    """Training of each row, on one core."""
    steps: int | None = None
    """The same number of steps for every row instead."""
    rows: tuple[str, ...] = tuple(VARIANTS)
    """Which rows."""
    seeds: tuple[int, ...] = (0,)
    """Of weights and data: each row is trained once for each."""
    out: Path = Path("runs/ablation")
    """Folder of the runs, of which a stopped command goes on."""
    poses: int = 60
    """Reachable poses that samplers are measured on."""
    json: Path = RESULTS / "ablation.json"
    """Where the result is saved; `picture_of` places its pictures."""
    quick: bool = False
    """A few small steps, two poses, a small oracle: for the tests; the numbers mean nothing."""

    def __post_init__(self) -> None:
        unknown = ", ".join(name for name in self.rows if name not in VARIANTS)
        if unknown:
            raise InvalidInputError(f"rows: unknown: {unknown}; there are: {', '.join(VARIANTS)}")
        if not self.minutes > 0:
            raise InvalidInputError(f"minutes: expected a positive number, got {self.minutes}")

    @property
    def measured(self) -> dict[str, Any]:
        """What the numbers of every row, trained or not, depend on."""
        return {"robot": self.robot, "poses": QUICK_POSES if self.quick else self.poses}


@dataclass(frozen=True)
class Problem:
    """What samplers are measured on."""

    robot: Robot
    poses: Pose
    """The first reachable ones of seed 0."""
    oracles: list[SolutionPoints]
    """Their solution sets."""

    @classmethod
    def of(cls, options: Options) -> Problem:
        """The poses that the options ask for."""
        robot = Robot(options.robot)
        poses, oracles, _ = known_sets(robot, options.measured["poses"], 0, options.quick)
        return cls(robot, poses, oracles)

    def measure(self, draw: Draw) -> dict[str, Any]:
        """The measures of `sampler_measures` and the time of a start."""
        measures = measure_sampler(self.robot, self.poses, self.oracles, draw)
        return {"measures": measures, "start_us": self._start_us(draw)}

    def _start_us(self, draw: Draw) -> float:
        """Median time of a start [us], with everything that belongs to it, of many poses with 64 starts each."""
        times = []
        for _ in range(COST_REPEATS):
            begin = time.perf_counter()
            draw(self.poses, COST_STARTS)
            times.append(time.perf_counter() - begin)
        return 1e6 * float(np.median(times)) / (COST_STARTS * len(self.poses))


def run_ablation(options: Options) -> dict[str, Any]:
    """All rows, from where the last run stopped."""
    problem = Problem.of(options)
    rows = [_reference_row(problem, options, name) for name in (*REFERENCES, "perfect")]
    for seed in options.seeds:
        for name in options.rows:
            if is_the_base(name, BASE):
                print(f"{name}: is the base")
                continue
            rows.append(_row(problem, options, name, seed))
            _print_line(rows[-1])
    return {**record(), "options": {**vars(options), "out": str(options.out), "json": options.json.name}, "rows": rows}


def _reference_row(problem: Problem, options: Options, name: str) -> dict[str, Any]:
    """A sampler that nobody trains."""

    def make() -> dict[str, Any]:
        named = name in REFERENCES
        draw = (
            HybridSolver(problem.robot, sampler=REFERENCES[name]).sampler.sample if named else perfect(problem.oracles)
        )
        measured = problem.measure(draw)
        return {"name": name, "reference": True, **measured, "start_us": measured["start_us"] if named else None}

    return _kept(options.out / f"{name}.json", options.measured, make)


def _row(problem: Problem, options: Options, name: str, seed: int) -> dict[str, Any]:
    """A trained row: its steps are planned, then it is trained, then measured; whatever is done already is kept."""
    folder = options.out / f"{name}_{seed}"
    chain, config = problem.robot.chain, _config(options, name, seed)
    plain = {key: value for key, value in config.to_dict().items() if key not in ("out", "steps", "warmup", "matching")}
    plain["matching"] = {**vars(config.matching), "steps": config.matching.steps > 0}
    length = {"quick": True} if options.quick else {"minutes": options.minutes, "steps": options.steps}
    asked = {**options.measured, **length, "config": plain}
    plan = _kept(folder / "plan.json", asked, lambda: _plan(chain, config, options))
    config = _with_steps(replace(config, out=folder / "run"), plan)

    def make() -> dict[str, Any]:
        about = {"name": name, "label": VARIANTS[name].label, "seed": seed, "config": config.to_dict(), "plan": plan}
        try:
            file = _trained(chain, config)
        except (CheckpointError, InvalidInputError):
            raise
        except HybridIKError as error:  # the loss is not finite any more, which is a result
            return {**about, "failed": str(error)}
        sampler = MeanFlowSampler(file, chain, noise_scale=1.0)
        trained = {"seconds": file.record["seconds"], "steps": file.record["steps"], "curve": _curve(config)}
        weights = sum(value.size for key, value in file.tensors.items() if key != "noise")
        return {**about, **trained, "weights": weights, **problem.measure(sampler.sample)}

    return _kept(folder / "row.json", asked, make)


def _config(options: Options, name: str, seed: int) -> TrainConfig:
    """The options of a row, but for its steps."""
    config = VARIANTS[name].change(replace(BASE, seed=seed))
    small = replace(config.matching, noises=8, levels=(4, 8), rows=32)
    return replace(config, batch_poses=16, noises_per_pose=2, matching=small) if options.quick else config


def _with_steps(config: TrainConfig, plan: dict[str, Any]) -> TrainConfig:
    steps, matching = plan["steps"], plan["matching_steps"]
    return replace(
        config,
        steps=steps,
        matching=replace(config.matching, steps=matching),
        warmup=min(config.warmup, int(WARMUP_SHARE * max(steps, matching))),
        log_interval=max(1, (steps + matching) // LOG_LINES),
        checkpoint_interval=max(1, (steps + matching) // CHECKPOINTS),
    )


def _plan(chain: Chain, config: TrainConfig, options: Options) -> dict[str, Any]:
    """How many steps each part of a row gets: those that fit into its minutes, by the time of its first ones.

    A row that has both parts spends half of its time on each.
    """
    parts = {"steps": config.steps > 0, "matching_steps": config.matching.steps > 0}
    if options.quick or options.steps is not None:
        asked = QUICK_STEPS if options.quick else options.steps
        return {part: asked if used else 0 for part, used in parts.items()}
    plan: dict[str, Any] = {}
    for part, used in parts.items():
        plan[part] = 0
        if used:
            step = _seconds_of_a_step(chain, config, part)
            plan[part] = max(1, round(60.0 * options.minutes / sum(parts.values()) / step))
            plan[f"{part}_ms"] = 1e3 * step
    return plan


def _seconds_of_a_step(chain: Chain, config: TrainConfig, part: str) -> float:
    first, last = TIMED
    steps = {"steps": 0, "matching_steps": 0, part: last}
    with tempfile.TemporaryDirectory() as folder:
        short = replace(_with_steps(config, steps), log_interval=first, checkpoint_interval=last, out=Path(folder))
        train(chain, short, validation=ValidationSet.from_chain(chain, 8))
        seconds = {line["step"]: line["seconds"] for line in _log(short) if "seconds" in line}
    return (seconds[last] - seconds[first]) / (last - first)


def _trained(chain: Chain, config: TrainConfig) -> NetworkFile:
    """The network of a run that is begun, continued, or done already."""
    started = (config.out / STATE_FILE).exists()
    if started and (config.out / NETWORK_FILE).exists():
        file = load_network(config.out / NETWORK_FILE)
        if file.record["steps"] == config.all_steps:
            return file
    file = train(chain, config, validation=ValidationSet.from_chain(chain, VALIDATION_POSES), resume=started)
    if file.record["steps"] < config.all_steps:
        raise SystemExit("stopped; the same command goes on from here")
    return file


def _curve(config: TrainConfig) -> dict[str, list[list[float]]]:
    """(share of the steps, value) of the loss and of the raw starts that lie in the basin, from the run's log."""
    lines = _log(config)
    names = ("loss", "share_in_basin")
    return {k: [[line["step"] / config.all_steps, line[k]] for line in lines if k in line] for k in names}


def _log(config: TrainConfig) -> list[dict[str, float]]:
    return [json.loads(line) for line in (config.out / LOG_FILE).read_text().splitlines()]


def _kept(path: Path, asked: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, from the file where it is there already and was made with the same options."""
    asked = json.loads(json.dumps(asked))
    if not path.exists():
        write_json(path, {"asked": asked, **make()})
    content: dict[str, Any] = json.loads(path.read_text())
    saved = content.pop("asked")
    changed = [key for key in asked.keys() | saved.keys() if asked.get(key) != saved.get(key)]
    if changed:
        raise InvalidInputError(f"{path} was made with another {' and '.join(sorted(changed))}; choose another --out")
    return content


def _print_line(row: dict[str, Any]) -> None:
    """One row, as soon as it is there."""
    found = row.get("failed") or f"coverage with 64 starts {row['measures']['starts']['64']['coverage']:.3f}"
    print(f"{row['name']}, seed {row['seed']}: {found}", flush=True)


def print_ablation(result: dict[str, Any]) -> None:
    """Rows in the order of `VARIANTS`, after those that were not trained."""
    done = [row for row in result["rows"] if "failed" not in row]
    print_table("Alike but for one change", [_line(row) for row in done])
    for row in result["rows"]:
        if "failed" in row:
            print(f"{row['name']}, seed {row['seed']}: {row['failed']}")
    print()
    for name in result["options"]["rows"]:
        print(f"{name}: {VARIANTS[name].label}")


def _line(row: dict[str, Any]) -> dict[str, Any]:
    starts, measures = row["measures"]["starts"], row["measures"]
    return {
        "row": row["name"],
        "seed": row.get("seed"),
        "steps": row.get("steps"),
        "seconds": row.get("seconds"),
        "start us": row["start_us"],
        **{f"cov@{n}": starts[str(n)]["coverage"] for n in STARTS},
        **{f"recall@{n}": starts[str(n)]["piece_recall"] for n in STARTS},
        "success@64": starts["64"]["success"],
        "after 3": measures["success_after_steps"]["3"],
        "after 20": measures["success_after_steps"]["20"],
        "in basin": measures["raw"]["share_in_basin"],
    }


def main() -> None:
    try:
        options = tyro.cli(Options, description=__doc__)
        with cores(1):
            result = run_ablation(options)
    except HybridIKError as error:
        raise SystemExit(f"error: {error}") from error
    print_ablation(result)
    write_json(options.json, result)
    print(f"saved {options.json}")
    plot_ablation(result, picture_of(options.json))


if __name__ == "__main__":
    restart_in_one_thread()
    main()
