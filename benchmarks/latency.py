"""The numbers that the toolkit promises, each beside its goal: `python benchmarks/latency.py`.

Timings of single poses are taken one by one through the public API, on one core and in one thread; only the large
batch uses two. Success is judged afterwards by MuJoCo's forward kinematics.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tyro
from metrics import EXACT, distinct, judge
from problems import STREAM, make_problems, uniform_joints
from record import RESULTS, cores, print_table, record, restart_in_one_thread, write_json

from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

NEAR_SPREAD = 0.1  # rad: how far the given joints of a `near` solve lie from some that reach the pose
STREAM_BATCH = 4096
NEW_ARM = """
import numpy as np
from hybrid_ik.chain import Chain
from hybrid_ik.kernels.cpu import load_kernel

n = {dof}
axes, origins = np.eye(3)[np.arange(n) % 3], [[0, 0, 0.1 * i] for i in range(n)]
load_kernel(Chain.from_axes(("hinge",) * n, origins, axes, np.eye(4), [-2] * n, [2] * n, tuple("abcdefg"[:n])))
"""


@dataclass(frozen=True)
class Options:
    """Options of the measurements."""

    batch: int = 10_000
    """Poses of the batch."""
    singles: int = 2000
    """Poses solved one by one."""
    many: int = 500
    """Poses solved for sixteen answers."""
    processes: int = 5
    """New processes started for each of the import times."""
    threads: int = 2
    """Threads, and cores, of the batch."""
    seed: int = 0
    """Of the poses."""
    json: Path = RESULTS / "latency.json"
    """Where to save the results."""
    quick: bool = False
    """A handful of poses, to see that it runs; the numbers mean nothing."""


@dataclass(frozen=True)
class Line:
    """One measured number, and what it should be."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    def row(self) -> dict[str, Any]:
        """As the table shows it."""
        goal = "" if self.goal is None else f"{'<=' if self.at_least is None else '>='} {self.goal:g}"
        return {"measure": self.name, "value": self.value, "unit": self.unit, "goal": goal, "met": self.verdict}

    @property
    def goal(self) -> float | None:
        """The bound, whichever way it goes."""
        return self.at_most if self.at_least is None else self.at_least

    @property
    def verdict(self) -> str:
        """yes, no, or nothing where there is no goal."""
        if self.goal is None:
            return ""
        good = self.value <= self.goal if self.at_least is None else self.value >= self.goal
        return "yes" if good else "no"


def batch(robot: Robot, options: Options) -> list[Line]:
    """One call for many poses; comes first, so that the peak of the memory is its own."""
    n = 200 if options.quick else options.batch
    poses = make_problems(robot, "reachable", n, options.seed)
    solvers = {n_threads: HybridSolver(robot, n_threads=n_threads) for n_threads in (1, options.threads)}
    before = _peak_megabytes()
    rates: dict[int, list[float]] = {n_threads: [] for n_threads in solvers}
    with cores(options.threads):  # for both: a process that is moved between cores is slow at first
        for _ in range(1 if options.quick else 25):
            for n_threads, solver in solvers.items():
                seconds, result = _seconds(partial(solver.solve, poses))
                rates[n_threads].append(n / seconds)
    one, many = np.median(rates[1]), np.median(rates[options.threads])
    verdict = judge(robot, poses, result.q)
    return [
        Line(f"batch of {n:,} poses, 1 thread", one, "1/s", at_least=800_000),
        Line(f"batch of {n:,} poses, {options.threads} threads", many, "1/s"),
        Line(f"{options.threads} threads over 1", many / one, "", at_least=1.8),
        Line("growth of the peak of resident memory", _peak_megabytes() - before, "MB"),
        Line("its success at 1e-6 m, 1e-6 rad", 100 * verdict.meets(EXACT).mean(), "%", at_least=100),
        Line("its largest position error", verdict.position_error.max(), "m", at_most=1e-6),
        Line("its largest orientation error", verdict.orientation_error.max(), "rad", at_most=1e-6),
    ]


def thousand(robot: Robot, options: Options) -> list[Line]:
    """One answer each for a thousand poses, on all threads: as the solver chooses, and from the network alone."""
    poses = make_problems(robot, "reachable", 100 if options.quick else 1000, options.seed)
    lines = []
    with cores(options.threads):
        for name, sampler, at_most in (("auto", "auto", 8.0), ("network", "meanflow", None)):
            solver = HybridSolver(robot, sampler=sampler, n_threads=options.threads)
            seconds = [_seconds(lambda solver=solver: solver.solve(poses))[0] for _ in range(9)]
            title = f"{len(poses):,} poses, one answer each, {name}, {options.threads} threads"
            lines.append(Line(title, 1e3 * np.median(seconds), "ms", at_most=at_most))
    return lines


def one_pose(robot: Robot, options: Options) -> list[Line]:
    """One pose through the public API, from random starts."""
    poses = make_problems(robot, "reachable", 20 if options.quick else options.singles, options.seed)
    solver = HybridSolver(robot, sampler="uniform")
    times = 1e6 * _one_by_one(solver, poses)[0]
    return [
        Line("one pose, random starts, median", np.median(times), "us", at_most=20),
        Line("one pose, random starts, p99", np.percentile(times, 99), "us", at_most=100),
    ]


def many_answers(robot: Robot, options: Options) -> list[Line]:
    """Distinct answers for one pose, from the network and from random starts."""
    poses = make_problems(robot, "reachable", 10 if options.quick else options.many, options.seed)
    lines = []
    for n, name, sampler, at_most in (
        (16, "network", "meanflow", 1000.0),
        (16, "random starts", "uniform", None),
        (64, "network", "meanflow", 200.0),
        (64, "random starts", "uniform", None),
    ):
        solver = HybridSolver(robot, sampler=sampler)
        seconds, results = _one_by_one(solver, poses, n_solutions=n)
        q = np.stack([result.q for result in results])
        good = judge(robot, poses, q).meets(EXACT)
        full = np.mean([distinct(answers[mask]) == n for answers, mask in zip(q, good, strict=True)])
        lines.append(Line(f"{n} distinct answers, {name}, median", 1e6 * np.median(seconds), "us", at_most=at_most))
        lines.append(Line(f"{n} distinct answers, {name}, p99", 1e6 * np.percentile(seconds, 99), "us"))
        lines.append(Line(f"poses that got all {n}, {name}", 100 * full, "%"))
    return lines


def refusal(robot: Robot, options: Options) -> list[Line]:
    """The closest joints and a reason, for poses beyond the span of the links, and for nearer ones that no start meets.

    The latter have the position of a stretched arm and any orientation.
    """
    n, rng = 20 if options.quick else 300, np.random.default_rng([STREAM, 80, options.seed])
    solver = HybridSolver(robot)
    far = make_problems(robot, "unreachable", n, options.seed)
    near = make_problems(robot, "edge", n, options.seed)
    turned = Pose(near.position, rng.normal(size=(n, 4)))
    lines = []
    for name, poses, at_most in (("beyond reach", far, 200.0), ("at the edge, any orientation", turned, None)):
        seconds, results = _one_by_one(solver, poses)
        refused = np.array([not result.success for result in results])
        lines.append(Line(f"refused: {name}", 100 * refused.mean(), "%"))
        lines.append(
            Line(f"time of a refusal, {name}, median", 1e6 * np.median(seconds[refused]), "us", at_most=at_most)
        )
    return lines


def near(robot: Robot, options: Options) -> list[Line]:
    """The answer nearest to joints that lie 0.1 rad from some that reach the pose."""
    n, rng = 20 if options.quick else options.singles, np.random.default_rng([STREAM, 79, options.seed])
    q = uniform_joints(robot, n, rng)
    offset = rng.normal(size=q.shape)
    given = np.clip(q + NEAR_SPREAD * offset / np.linalg.norm(offset, axis=-1, keepdims=True), robot.lower, robot.upper)
    poses, solver = robot.forward_kinematics(q), HybridSolver(robot)
    seconds, results = _one_by_one(solver, poses, near=given)
    moved = np.linalg.norm(np.stack([result.q for result in results]) - given, axis=-1)
    return [
        Line("one pose with near=, median", 1e6 * np.median(seconds), "us", at_most=12),
        Line("one pose with near=, p99", 1e6 * np.percentile(seconds, 99), "us"),
        Line("its distance from the given joints, p99", np.percentile(moved, 99), "rad"),
    ]


def start_up(robot: Robot, options: Options) -> list[Line]:
    """Import, and the first answer of a new process, with the kernels in the cache."""
    repeats = 1 if options.quick else options.processes
    clock = "import time; t = time.perf_counter(); import hybrid_ik; print(time.perf_counter() - t)"
    solve = (
        "from hybrid_ik import HybridSolver, Pose; "
        "print(HybridSolver('panda').solve(Pose([0.4, 0.1, 0.5], [0, 1, 0, 0])).success)"
    )
    torch = "import sys, hybrid_ik; hybrid_ik.HybridSolver('panda'); print(int('torch' in sys.modules))"
    _python(solve)  # fills the cache
    imports = [float(_python(clock)) for _ in range(repeats)]
    first = [_seconds(lambda: _python(solve))[0] for _ in range(repeats)]
    with TemporaryDirectory() as folder:
        empty, further = (_seconds(partial(_python, NEW_ARM.format(dof=dof), folder))[0] for dof in (6, 7))
    bare = [_seconds(lambda: _python("pass"))[0] for _ in range(repeats)]
    return [
        Line("import hybrid_ik", np.median(imports), "s", at_most=0.2),
        Line("torch loaded by making a solver (1 = yes)", float(_python(torch)), "", at_most=0),
        Line("new process to first answer, kernels cached", np.median(first), "s", at_most=0.6),
        Line("of which an empty Python process", np.median(bare), "s"),
        Line("new process to the kernel of a new arm", further, "s", at_most=5.0),
        Line("the same with an empty cache", empty, "s"),
    ]


def data_stream(robot: Robot, options: Options) -> list[Line]:
    """Pairs of joints and encoded poses for training; loads torch, so it comes last."""
    import torch

    from hybrid_ik.encoding import Encoder
    from hybrid_ik.learning.data import PairStream

    torch.set_num_threads(1)
    stream = PairStream(Encoder(robot.chain, "invariant"), torch.Generator().manual_seed(options.seed))
    stream.next_batch(STREAM_BATCH)
    rates = []
    for _ in range(3 if options.quick else 100):
        seconds, _ = _seconds(lambda: stream.next_batch(STREAM_BATCH))
        rates.append(STREAM_BATCH / seconds)
    return [Line("training pairs, 1 thread", np.median(rates), "1/s", at_least=1e6)]


MEASURES: tuple[Callable[[Robot, Options], list[Line]], ...] = (
    batch,
    thousand,
    one_pose,
    many_answers,
    near,
    refusal,
    start_up,
    data_stream,
)


def _one_by_one(solver: HybridSolver, poses: Pose, near: Any = None, **options: Any) -> tuple[np.ndarray, list[Any]]:
    """Seconds and result of each pose, after a few that are not counted."""
    seconds, results = [], []
    for i in [0, 1, 2, *range(len(poses))]:
        pose = poses[i]
        given = None if near is None else near[i]
        start = time.perf_counter()
        result = solver.solve(pose, near=given, **options)
        seconds.append(time.perf_counter() - start)
        results.append(result)
    return np.array(seconds[3:]), results[3:]


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _python(code: str, cache: str | None = None) -> str:
    """What a new process prints; with a cache folder of its own, if one is given."""
    environment = {**os.environ, **({"HYBRID_IK_CACHE": cache} if cache else {})}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def _peak_megabytes() -> float:
    """Largest resident memory of this process so far; NaN where the system does not say."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Reads the options, measures, prints and saves."""
    options = tyro.cli(Options, description=__doc__)
    lines: list[Line] = []
    robot = Robot("panda")
    for measure in MEASURES:
        with cores(None if measure in (batch, thousand) else 1):
            lines += measure(robot, options)
    rows = [line.row() for line in lines]
    print_table("Latency", rows)
    write_json(options.json, {**record(), "quick": options.quick, "seed": options.seed, "measures": rows})
    print(f"\nsaved {options.json}")


if __name__ == "__main__":
    restart_in_one_thread()
    main()
