"""Where the network should matter most: three spare joints, limits that starts run into, answers free of contacts.

    python benchmarks/hard_settings.py --write-models runs
    hybrid-ik train --robot panda_rail --out runs/panda_rail
    hybrid-ik train --robot runs/panda_narrow.xml --out runs/panda_narrow
    python benchmarks/hard_settings.py --rail-network runs/panda_rail/network.safetensors \\
        --narrow-network runs/panda_narrow/network.safetensors

Without these networks, which are not shipped, only the full Panda has network starts. For each setting and each kind of
start, with the same refiner for all: the share of starts that end in a usable answer (verified by MuJoCo to a
micrometre, inside the limits, and free of contacts where the setting asks for it), how many of those answers of a pose
are distinct, which share of all that is known of a pose they are, what one costs, and the time to a given number of
them. One thread on one core, everything included but the checks, which cost every row the same.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import tyro
from metrics import EXACT, SolutionPoints, distinct, judge, piece_recall, thin, touching
from numpy.typing import NDArray
from problems import STREAM, make_problems, uniform_joints
from record import RESULTS, cores, print_table, record, restart_in_one_thread, write_json
from sampler_measures import time_to

from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.errors import HybridIKError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.resources import asset_path
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]
Draw = Callable[[Pose, int], Array]
Answers = list[Array]  # of each pose, `(n, dof)` [rad, or m]

SAMPLERS = {"random": "uniform", "lookup": "lookup", "network": "meanflow"}
APART = 0.5  # rad, or m: answers farther apart than this are different ways to do it
PASSES = 3  # the fastest counts: with few starts all poses take milliseconds, and one interruption as much
PRINTED = (16, 64, 256)  # numbers of starts in the tables; the file has all

NARROW = "panda_narrow"
# Parts of their ranges that joints keep, chosen so that random starts fail more often: of 256 on each of 300 poses
# 33.5 % converge, on the full Panda 49.4 % (free of contacts: 32.3 and 46.8 %). 99 % of the poses have two or more
# distinct answers, 92 % four, the median nine. Rejected: every joint narrowed around its middle. Starts then lie nearer
# to the answers and converge more often: with 80, 60, 50, 40 % of each range 51, 67, 81, 95 %. Only joints 1, 3 and 5
# narrowed so, to 60 %: 38 % (of 32 starts on 60 poses, where the parts below gave 31 %, the fewest of some hundreds of
# choices that leave 60 % of the poses four answers among 32 starts). None came down to half of the full Panda's share.
KEPT = {"joint2": (0.5, 1.0), "joint3": (0.0, 0.6), "joint4": (0.6, 1.0)}


@dataclass(frozen=True)
class Setting:
    """An arm, and what its answers must be."""

    robot: str
    """A shipped robot, or `NARROW`."""
    free: bool
    """Whether answers must be free of contacts."""


SETTINGS = {
    "panda": Setting("panda", free=False),
    "panda, no contact": Setting("panda", free=True),
    "9 joints": Setting("panda_rail", free=False),
    "9 joints, no contact": Setting("panda_rail", free=True),
    "narrow": Setting(NARROW, free=False),
    "narrow, no contact": Setting(NARROW, free=True),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure hybrid against random starts where starts matter most."""

    poses: int = 300
    """Reachable poses of each setting."""
    starts: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128, 256, 512)
    """Starts of a pose, increasing."""
    goals: tuple[int, ...] = (2, 4, 8, 16, 64)
    """Mean numbers of distinct usable answers, to which the time is measured."""
    known_poses: int = 100
    """The first poses, of which as many answers as can be had are gathered, to see what is missed."""
    known_starts: int = 20_000
    """Random starts of each of them, beside those of all samplers."""
    seed: int = 0
    """Of poses and starts."""
    rail_network: Path | None = None
    """A network of the 9-joint arm."""
    narrow_network: Path | None = None
    """A network of the narrowed Panda."""
    write_models: Path | None = None
    """Write the narrowed Panda into this folder, to train a network for it, and measure nothing."""
    json: Path = RESULTS / "hard_settings.json"
    """Where the result is saved."""


@dataclass(frozen=True)
class Run:
    """What one kind of start, so many of a pose, came to."""

    starts: str
    """Which kind."""
    n: int
    """Starts of a pose."""
    found: Answers
    """The usable answers of each pose."""
    us_per_pose: float
    """Proposing and refining [us], the fastest of `PASSES`."""


def narrow_panda() -> mujoco.MjSpec:
    """The shipped Panda of whose joint ranges the parts `KEPT` are left; its `home` is their middle."""
    spec = mujoco.MjSpec.from_file(str(asset_path("robots", "panda.xml")))
    spec.modelname = NARROW
    for joint in spec.joints:
        lower, upper = joint.range
        joint.range = [(1 - share) * lower + share * upper for share in KEPT.get(joint.name, (0.0, 1.0))]
    spec.key("home").qpos = [joint.range.mean() for joint in spec.joints]
    return spec


def write_models(folder: Path) -> Path:
    """Writes the narrowed Panda as MJCF, for `hybrid-ik train --robot`; returns where."""
    spec = narrow_panda()
    spec.compile()  # without which it cannot be written
    path = folder / f"{NARROW}.xml"
    write_atomically(path, spec.to_xml().encode())
    return path


def measure_setting(setting: Setting, options: Options) -> list[dict[str, Any]]:
    """A row for each kind of start and number of starts; kinds that this arm has not are left out."""
    robot = Robot(narrow_panda() if setting.robot == NARROW else setting.robot)
    poses = make_problems(robot, "reachable", options.poses, options.seed)
    runs = [
        _run(robot, poses, name, draw, n, setting.free) for name, draw in _draws(robot, options) for n in options.starts
    ]
    largest = [run.found for run in runs if run.n == max(options.starts)]
    known = known_answers(robot, poses[: options.known_poses], largest, setting.free, options)
    return [_row(run, known) for run in runs]


def _draws(robot: Robot, options: Options) -> Iterator[tuple[str, Draw]]:
    given = {"panda_rail": options.rail_network, NARROW: options.narrow_network}.get(robot.name)
    for name, sampler in SAMPLERS.items():
        if name == "network" and given:
            yield name, MeanFlowSampler(given, robot.chain, options.seed).sample
            continue
        try:
            yield name, HybridSolver(robot, sampler=sampler, seed=options.seed).sampler.sample
        except HybridIKError as error:
            print(textwrap.fill(f"{robot.name}: no {name} starts: {error}", 80))


def _run(robot: Robot, poses: Pose, name: str, draw: Draw, n: int, free: bool) -> Run:
    refiner = LaneRefiner(robot.chain, n_threads=1)
    refiner.refine(poses[:1], draw(poses[:1], n))  # compiled, and the caches warm
    seconds = []
    for _ in range(PASSES):
        begin = time.perf_counter()
        q = refiner.refine(poses, draw(poses, n)).q
        seconds.append(time.perf_counter() - begin)
    return Run(name, n, _usable(robot, poses, q, free), 1e6 * min(seconds) / len(poses))


def _usable(robot: Robot, poses: Pose, q: Array, free: bool) -> Answers:
    good = judge(robot, poses, q).meets(EXACT)
    if free:
        good[good] = ~touching(robot, q[good])
    return [answers[mask] for answers, mask in zip(q, good, strict=True)]


def known_answers(
    robot: Robot, poses: Pose, found: Sequence[Answers], free: bool, options: Options
) -> list[SolutionPoints]:
    """The distinct usable answers known of each pose, every one a piece of its own.

    The answers of `known_starts` random starts, drawn for this alone, come first, those of the samplers after them: a
    sampler whose own answers came first would find each of them, the others only those nearest to theirs.

    Args:
        robot: the arm.
        poses: `(m,)`.
        found: usable answers of at least these poses, for each sampler.
        free: whether they must be free of contacts.
        options: how many random starts, and their seed.
    """
    rng = np.random.default_rng([STREAM, 80, options.seed])
    refiner, known = LaneRefiner(robot.chain, n_threads=1), []
    for i in range(len(poses)):
        q = refiner.refine(poses[i : i + 1], uniform_joints(robot, options.known_starts, rng)[None]).q
        answers = np.concatenate([*_usable(robot, poses[i : i + 1], q, free), *(of_one[i] for of_one in found)])
        points = answers[thin(answers, APART)]
        known.append(SolutionPoints(points, np.arange(len(points))))
    return known


def _row(run: Run, known: list[SolutionPoints]) -> dict[str, Any]:
    counts = np.array([distinct(answers, APART) for answers in run.found])
    shares = [piece_recall(every, answers, APART) for every, answers in zip(known, run.found, strict=False)]
    shares = [share for share in shares if not np.isnan(share)]  # of poses with any answer
    return {
        "starts": run.starts,
        "n": run.n,
        "usable": sum(map(len, run.found)) / (run.n * len(run.found)),
        "poses_without": float((counts == 0).mean()),
        "distinct": float(counts.mean()),
        "known_share": float(np.mean(shares)) if shares else float("nan"),
        "known": float(np.mean([every.n_pieces for every in known])),
        "us_per_pose": run.us_per_pose,
        "us_per_distinct": run.us_per_pose / max(float(counts.mean()), 1e-9),
    }


def times_to(rows: list[dict[str, Any]], goals: Sequence[int]) -> list[dict[str, Any]]:
    """For each kind of start the time [us] of a pose to so many distinct answers, and that over random starts' time."""
    times: dict[str, dict[int, float | None]] = {}
    for name in dict.fromkeys(row["starts"] for row in rows):
        own = [row for row in rows if row["starts"] == name]
        counts, us = [row["distinct"] for row in own], [row["us_per_pose"] for row in own]
        times[name] = {goal: time_to(counts, us, goal) for goal in goals}
    return [{"starts": name, "us_to": of, "over_random": _ratios(of, times["random"])} for name, of in times.items()]


def _ratios(times: dict[int, float | None], others: dict[int, float | None]) -> dict[int, float | None]:
    return {goal: us / other if us and (other := others[goal]) else None for goal, us in times.items()}


def print_setting(name: str, rows: list[dict[str, Any]], times: list[dict[str, Any]]) -> None:
    """Two tables, no wider than 80 characters."""
    print_table(name, [_line(row) for row in rows if row["n"] in PRINTED] or [_line(row) for row in rows])
    print_table(f"{name}: us a pose to distinct answers (over random's)", [_times_line(of_one) for of_one in times])


def _line(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "starts": f"{row['starts']}, {row['n']}",
        "usable %": 100 * row["usable"],
        "none %": 100 * row["poses_without"],
        "distinct": row["distinct"],
        "of known %": 100 * row["known_share"],
        "us a pose": row["us_per_pose"],
        "us a distinct": row["us_per_distinct"],
    }


def _times_line(times: dict[str, Any]) -> dict[str, Any]:
    cells = {goal: "-" if us is None else f"{us:.4g}" for goal, us in times["us_to"].items()}
    ratios = {goal: "" if x is None else f" ({x:.2f})" for goal, x in times["over_random"].items()}
    return {"starts": times["starts"], **{f"to {goal}": cells[goal] + ratios[goal] for goal in cells}}


def main() -> None:
    """Reads the options, measures, prints and saves; or writes the models."""
    options = tyro.cli(Options, description=__doc__)
    if options.write_models:
        print(f"saved {write_models(options.write_models)}")
        return
    with cores(1):
        result: dict[str, Any] = {**record(), "poses": options.poses, "seed": options.seed, "apart": APART}
        result |= {"known_poses": options.known_poses, "known_starts": options.known_starts}
        result["settings"] = {name: measure_setting(setting, options) for name, setting in SETTINGS.items()}
        result["times"] = {name: times_to(rows, options.goals) for name, rows in result["settings"].items()}
    for name, rows in result["settings"].items():
        print_setting(name, rows, result["times"][name])
    write_json(options.json, result)
    print(f"\nsaved {options.json}")


if __name__ == "__main__":
    restart_in_one_thread()
    main()
