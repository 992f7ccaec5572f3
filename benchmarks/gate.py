"""Has anything become slower? `python benchmarks/gate.py --gate` compares with `baseline.json`, `--update` writes it.

Seconds say nothing on this machine an hour later. So everything is divided by the time of a twin that runs beside it in
the same process: a fixed loop of scalar operations, each waiting for the one before. It is no part of the toolkit, so
that no change of the toolkit changes it; a scalar form of our own programs would become faster with them, and hide what
they lost. All take turns, many times, and the least of each counts: what a busy neighbour does to them is then mostly
gone. Steps alone are not watched: the same code takes up to a quarter longer in a process where it lies awkwardly in
memory, which whole solves hardly show.

Between runs ratios differed by at most 10 % (5 runs), by 6 % with the other core kept busy (5), by 7 % in 20 further
ones. While the least counted of 16 poses timed as one, "16 answers, network" was once 15 % off, and once 2.4 times as
long as ever else; neither has come back, but the second was never explained.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numba import njit
from numpy.typing import NDArray
from problems import make_problems
from record import cores, print_table, record, restart_in_one_thread, timed, write_json

from hybrid_ik.robot import Robot
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solver import HybridSolver

BASELINE = Path(__file__).parent / "baseline.json"
ALLOWED = 0.15  # of a loss
Seconds = NDArray[np.float64]
TWIN_TURNS = 20_000


@dataclass(frozen=True)
class Options:
    """Options of the gate."""

    gate: bool = False
    """End with status 1 where a ratio has grown by more than 15 % over that of the baseline."""
    update: bool = False
    """Write the ratios as the new baseline."""
    rounds: int = 60
    """Turns of everything."""
    baseline: Path = BASELINE
    """The file compared with."""


@njit
def twin(n: int) -> float:
    """A logistic map and a root, in scalars; do not change it, or no ratio means what it did."""
    x = total = 0.5
    for _ in range(n):
        x = 3.7 * x * (1.0 - x)
        total = sqrt(total + x)
    return total


def quantities(robot: Robot) -> dict[str, Callable[[], Seconds]]:
    """What is watched; each gives the seconds that one of it took, of each of its calls."""
    poses = make_problems(robot, "reachable", 2048, 0)
    one = [poses[i] for i in range(16)]
    auto, network = HybridSolver(robot), HybridSolver(robot, sampler="meanflow")
    uniform = HybridSolver(robot, sampler="uniform")
    starts = UniformSampler(robot.chain, narrow=True).sample(poses, 16)
    answers = [auto.solve(pose).q for pose in one]
    return {
        "a pose of a batch": partial(_each, [lambda: auto.solve(poses)], len(poses)),
        "a pose of a batch, refiner alone": partial(_each, [lambda: auto.refiner.search(poses, starts)], len(poses)),
        "one pose": partial(_each, [partial(auto.solve, pose) for pose in one]),
        "one pose, near its answer": partial(
            _each, [partial(auto.solve, pose, near=q + 0.02) for pose, q in zip(one, answers, strict=True)]
        ),
        "16 answers, network": partial(_each, [partial(network.solve, pose, n_solutions=16) for pose in one]),
        "16 answers, random starts": partial(_each, [partial(uniform.solve, pose, n_solutions=16) for pose in one]),
        "64 starts of the network": partial(_each, [partial(network.sampler.sample, pose, 64) for pose in one]),
    }


def ratios(robot: Robot, rounds: int) -> dict[str, float]:
    """The least time of each quantity over the least time of a turn of the twin.

    It is the least of each call by itself, and then their mean: of 16 poses timed as one, hardly a round is without an
    interruption where the other core is busy.
    """
    watched = {"twin": partial(_each, [partial(twin, TWIN_TURNS)], TWIN_TURNS), **quantities(robot)}
    for measure in watched.values():
        measure()
    least: dict[str, Any] = dict.fromkeys(watched, np.inf)
    for _ in range(rounds):
        for name, measure in watched.items():
            least[name] = np.minimum(least[name], measure())
    mean = {name: float(np.mean(seconds)) for name, seconds in least.items()}
    return {name: seconds / mean["twin"] for name, seconds in mean.items() if name != "twin"}


def _each(work: list[Callable[[], Any]], parts: int = 1) -> Seconds:
    return np.array([timed(call)[0] for call in work]) / parts


def losses(now: dict[str, float], before: dict[str, float]) -> list[str]:
    """A line for each quantity that has become slower by more than is allowed, or that has no counterpart."""
    lines = [f"{name}: there is no such quantity in the baseline; --update" for name in now if name not in before]
    lines += [
        f"{name}: it is in the baseline, and is not measured any more; --update" for name in before if name not in now
    ]
    for name in (name for name in now if name in before):
        if now[name] > (1 + ALLOWED) * before[name]:
            lines.append(
                f"{name}: {now[name]:.4g} twins, {before[name]:.4g} before: {now[name] / before[name] - 1:+.0%}"
            )
    return lines


def other_processor(saved: dict[str, Any]) -> str:
    """A word of warning where the baseline is of another kind of processor: wider registers help us, not the twin."""
    theirs, ours = (found.get("machine", {}).get("processor") for found in (saved, record()))
    return "" if theirs in (None, ours) else f"the baseline is of {theirs}, this is {ours}: ratios differ between them"


def main() -> None:
    """Measures, prints, compares or saves."""
    options = tyro.cli(Options, description=__doc__)
    saved = json.loads(options.baseline.read_text()) if options.baseline.exists() else {}
    before = saved.get("ratios", {})
    if note := other_processor(saved):
        print(note)
    with cores(1):
        now = ratios(Robot("panda"), options.rounds)
    rows = [
        {"quantity": name, "twins": now[name], "before": before.get(name), "change": _change(now, before, name)}
        for name in now
    ]
    print_table("Against a turn of the twin", rows)
    if options.update:
        write_json(options.baseline, {**record(), "rounds": options.rounds, "ratios": now})
        print(f"\nsaved {options.baseline}")
    if options.gate and (slower := losses(now, before)):
        print("\nslower than allowed:", *slower, sep="\n  ")
        sys.exit(1)


def _change(now: dict[str, float], before: dict[str, float], name: str) -> str:
    return f"{now[name] / before[name] - 1:+.0%}" if name in before else ""


if __name__ == "__main__":
    restart_in_one_thread()
    main()
