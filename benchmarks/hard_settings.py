"""Where the network should matter most: an arm with three spare joints, and answers that must not touch themselves.

    python benchmarks/hard_settings.py
    hybrid-ik train --robot panda_rail --steps 22000 --out runs/panda_rail
    python benchmarks/hard_settings.py --rail-network runs/panda_rail/network.safetensors

For each setting and each kind of start, with the same refiner for all: the share of starts that end in a usable answer
(verified by MuJoCo to a micrometre, inside the limits, and free of contacts where the setting asks for it), how many of
those answers of a pose are distinct, and what one costs. One thread on one core, everything included but the check for
contacts, which costs every row the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from metrics import EXACT, distinct, judge, touching
from numpy.typing import NDArray
from problems import make_problems
from record import RESULTS, cores, print_table, record, restart_in_one_thread, write_json

from hybrid_ik.errors import HybridIKError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]
Draw = Callable[[Pose, int], Array]

SAMPLERS = {"random": "uniform", "lookup": "lookup", "network": "meanflow"}
APART = 0.5  # rad, or m: answers farther apart than this are different ways to do it


@dataclass(frozen=True)
class Setting:
    """An arm, and what its answers must be."""

    robot: str
    """A shipped robot."""
    free: bool
    """Whether answers must be free of contacts."""


SETTINGS = {
    "panda": Setting("panda", free=False),
    "panda, no contact": Setting("panda", free=True),
    "9 joints": Setting("panda_rail", free=False),
    "9 joints, no contact": Setting("panda_rail", free=True),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure hybrid against random starts where starts matter most."""

    poses: int = 300
    """Reachable poses of each setting."""
    starts: tuple[int, ...] = (16, 64, 256)
    """Starts of a pose."""
    seed: int = 0
    """Of poses and starts."""
    rail_network: Path | None = None
    """A network of the 9-joint arm; none is shipped, because it did not win here."""
    json: Path = RESULTS / "hard_settings.json"
    """Where the result is saved."""


def measure_setting(setting: Setting, options: Options) -> list[dict[str, Any]]:
    """A row for each kind of start and number of starts; kinds that this arm has not are left out."""
    robot = Robot(setting.robot)
    poses = make_problems(robot, "reachable", options.poses, options.seed)
    rows = []
    for name in SAMPLERS:
        try:
            draw = _draw(robot, name, options)
        except HybridIKError as error:
            print(f"{robot.name}: no {name} starts: {error}")
            continue
        rows += [{"starts": name, "n": n, **_measure(robot, poses, draw, n, setting.free)} for n in options.starts]
    return rows


def _draw(robot: Robot, name: str, options: Options) -> Draw:
    if name == "network" and robot.name == "panda_rail" and options.rail_network:
        return MeanFlowSampler(options.rail_network, robot.chain, options.seed).sample
    return HybridSolver(robot, sampler=SAMPLERS[name], seed=options.seed).sampler.sample


def _measure(robot: Robot, poses: Pose, draw: Draw, n: int, free: bool) -> dict[str, float]:
    refiner = LaneRefiner(robot.chain, n_threads=1)
    refiner.refine(poses[:1], draw(poses[:1], n))  # compiled, and the caches warm
    begin = time.perf_counter()
    q = refiner.refine(poses, draw(poses, n)).q
    seconds = (time.perf_counter() - begin) / len(q)
    usable = judge(robot, poses, q).meets(EXACT)
    if free:
        usable[usable] = ~touching(robot, q[usable])
    counts = np.array([distinct(answers[mask], APART) for answers, mask in zip(q, usable, strict=True)])
    return {
        "usable": float(usable.mean()),
        "poses_without": float((counts == 0).mean()),
        "distinct": float(counts.mean()),
        "us_per_pose": 1e6 * seconds,
        "us_per_distinct": 1e6 * seconds / max(float(counts.mean()), 1e-9),
    }


def _line(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "starts": f"{row['starts']}, {row['n']}",
        "usable %": 100 * row["usable"],
        "poses without %": 100 * row["poses_without"],
        f"distinct at {APART}": row["distinct"],
        "us a pose": row["us_per_pose"],
        "us a distinct one": row["us_per_distinct"],
    }


def main() -> None:
    """Reads the options, measures, prints and saves."""
    options = tyro.cli(Options, description=__doc__)
    with cores(1):
        result: dict[str, Any] = {**record(), "poses": options.poses, "seed": options.seed, "apart": APART}
        result["settings"] = {name: measure_setting(setting, options) for name, setting in SETTINGS.items()}
    for name, rows in result["settings"].items():
        print_table(name, [_line(row) for row in rows])
    write_json(options.json, result)
    print(f"\nsaved {options.json}")


if __name__ == "__main__":
    restart_in_one_thread()
    main()
