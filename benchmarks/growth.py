"""How the cost grows: `python benchmarks/growth.py`.

With the number of poses in a call, the joints of the arm (chains made for it), the answers asked for, and the threads;
and the memory that a million poses take. Prints tables, saves JSON, and draws a plot.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tyro
from plots import new_figure, save_figure
from problems import make_problems
from record import RESULTS, cores, picture_of, print_table, record, restart_in_one_thread, timed, write_json

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.cpu import forward_kinematics
from hybrid_ik.pose import Pose, quaternion_from_matrix
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solver import HybridSolver

LENGTH = 0.3  # metres between the joints of the chains that are made
MANY_POSES = """
import re, resource, sys
from pathlib import Path
import numpy as np
from hybrid_ik import HybridSolver, Pose

def peak():  # MB; on Linux not that of getrusage, which a process inherits from the one that started it
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)

solver = HybridSolver("panda")
with np.load({file!r}) as arrays:
    poses = Pose(**arrays)
solver.solve(poses[:1000])
forget = Path("/proc/self/clear_refs")
if forget.exists():
    forget.write_text("5")  # from here on the peak is that of the solve
before = peak()
result = solver.solve(poses)
after = peak()
size = sum(array.nbytes for array in vars(result).values() if isinstance(array, np.ndarray)) / 1e6
print(after - before - size, size, result.success.mean())
"""


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    most_poses: int = 1_000_000
    """Poses of the largest call."""
    poses: int = 4096
    """Poses where something else grows."""
    arms: int = 5
    """Chains made for each number of joints."""
    rounds: int = 7
    """How often each thing is timed; the median counts."""
    json: Path = RESULTS / "growth.json"
    """Where to save the results; `picture_of` places the plot."""
    quick: bool = False
    """Small numbers, to see that it runs; the figures mean nothing."""

    @property
    def sizes(self) -> list[int]:
        """Poses in a call."""
        most = 100 if self.quick else self.most_poses
        return [int(n) for n in np.geomspace(1, most, 3 if self.quick else 13).round()]

    @property
    def batch(self) -> int:
        """Poses where something else grows."""
        return 64 if self.quick else self.poses


def by_batch(robot: Robot, options: Options) -> list[dict[str, Any]]:
    """One answer each for more and more poses in a call."""
    poses, solver = make_problems(robot, "reachable", options.sizes[-1], 0), HybridSolver(robot)
    rows = []
    for n in options.sizes:
        few = [poses[i : i + n] for i in range(0, min(len(poses), n * options.rounds * (1 + 1000 // n)), n)]
        seconds = _median([partial(solver.solve, some) for some in few if len(some) == n])
        rows.append({"poses": n, "us a pose": 1e6 * seconds / n})
    return rows


def by_threads(robot: Robot, options: Options) -> list[dict[str, Any]]:
    """The same poses dealt out to more threads."""
    poses = make_problems(robot, "reachable", 16 * options.batch, 0)
    rows: list[dict[str, Any]] = []
    for n in range(1, (os.cpu_count() or 1) + 1):
        solver = HybridSolver(robot, n_threads=n)
        seconds = _median([partial(solver.solve, poses)] * options.rounds)
        first = rows[0]["us a pose"] if rows else 1e6 * seconds / len(poses)
        each = 1e6 * seconds / len(poses)
        rows.append({"threads": n, "us a pose": each, "times as fast": first / each})
    return rows


def by_answers(robot: Robot, options: Options) -> list[dict[str, Any]]:
    """More and more distinct answers for one pose."""
    poses = make_problems(robot, "reachable", 5 if options.quick else 60, 0)
    solvers = {name: HybridSolver(robot, sampler=name) for name in ("meanflow", "uniform")}
    rows = []
    for n in (1, 4, 16) if options.quick else (1, 2, 4, 8, 16, 32, 64, 128, 256):
        row: dict[str, Any] = {"answers": n}
        for name, solver in solvers.items():
            results = [solver.solve(poses[i], n_solutions=n) for i in range(len(poses))]
            seconds = _median([partial(solver.solve, poses[i], n_solutions=n) for i in range(len(poses))])
            row |= {f"us, {name}": 1e6 * seconds, f"found, {name}": float(np.mean([r.success.mean() for r in results]))}
        rows.append(row)
    return rows


def by_joints(options: Options) -> list[dict[str, Any]]:
    """Chains of more and more hinges: the refiner alone, from narrow starts."""
    rows = []
    for dof in (4, 7) if options.quick else range(4, 15):
        times, success, steps = [], [], []
        for seed in range(1 if options.quick else options.arms):
            chain = random_chain(dof, np.random.default_rng([dof, seed]))
            poses, starts = _problem(chain, options.batch, seed)
            refiner = LaneRefiner(chain)
            result = refiner.search(poses, starts)
            times.append(_median([partial(refiner.search, poses, starts)] * options.rounds) / len(poses))
            success.append(result.success.mean())
            steps.append(result.iterations[result.success].mean())
        rows.append(
            {
                "joints": dof,
                "us a pose": 1e6 * float(np.median(times)),
                "least": 1e6 * min(times),
                "most": 1e6 * max(times),
                "found": float(np.mean(success)),
                "steps of the answer": float(np.mean(steps)),
            }
        )
    return rows


def random_chain(dof: int, rng: np.random.Generator) -> Chain:
    """Hinges about random axes, a link's length apart in random directions; within 2.5 rad either way."""
    axes, links = (rng.normal(size=(dof, 3)) for _ in range(2))
    axes, links = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (axes, links))
    origins = np.concatenate([np.zeros((1, 3)), np.cumsum(LENGTH * links, 0)[:-1]])
    T_world_tip = np.eye(4)
    T_world_tip[:3, 3] = origins[-1] + LENGTH * links[-1]
    names = tuple(f"joint{i}" for i in range(dof))
    return Chain.from_axes(("hinge",) * dof, origins, axes, T_world_tip, [-2.5] * dof, [2.5] * dof, names)


def _problem(chain: Chain, n: int, seed: int) -> tuple[Pose, Any]:
    """Poses that random joints reach, and sixteen narrow starts."""
    q = np.random.default_rng([seed, 1]).uniform(chain.lower, chain.upper, (n, chain.dof))
    p, R = forward_kinematics(chain, q)
    T_last_tip, T_base_first = chain.T_last_tip, chain.T_base_first
    rotation = T_base_first[:3, :3] @ R @ T_last_tip[:3, :3]
    position = (p + R @ T_last_tip[:3, 3]) @ T_base_first[:3, :3].T + T_base_first[:3, 3]
    pose = Pose(position, quaternion_from_matrix(rotation))
    return pose, UniformSampler(chain, seed, narrow=True).sample(pose, 16)


def memory(robot: Robot, options: Options) -> dict[str, Any]:
    """What a call with the most poses takes beyond its result, in a process of its own [MB]."""
    n = options.sizes[-1]
    poses = make_problems(robot, "reachable", n, 0)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "poses.npz"
        np.savez(file, position=poses.position, quaternion=poses.quaternion)
        code = MANY_POSES.format(file=str(file))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    beyond, size, success = map(float, done.stdout.split())
    return {"poses": n, "MB beyond the result": beyond, "MB of the result": size, "success": success}


def _median(work: list[Callable[[], Any]]) -> float:
    return float(np.median([timed(call)[0] for call in work]))


def plot(results: dict[str, Any], path: Path) -> None:
    """Four curves of cost."""
    figure = new_figure(15, 3.6)
    if figure is None:
        return
    figure.get_layout_engine().set(wspace=0.06)
    axes = figure.subplots(1, 4)
    batch, joints, answers, threads = (results[key] for key in ("batch", "joints", "answers", "threads"))
    axes[0].loglog([row["poses"] for row in batch], [row["us a pose"] for row in batch], "o-")
    axes[0].set(xlabel="poses in an array", ylabel="us a pose", title="one answer each, one thread")
    least, most = ([row[key] for row in joints] for key in ("least", "most"))
    axes[1].fill_between([row["joints"] for row in joints], least, most, alpha=0.3)
    axes[1].plot([row["joints"] for row in joints], [row["us a pose"] for row in joints], "o-")
    axes[1].set(xlabel="joints", ylabel="us a pose", ylim=(0, None), title="random chains")
    for name, label in (("meanflow", "network"), ("uniform", "random starts")):
        axes[2].loglog([row["answers"] for row in answers], [row[f"us, {name}"] for row in answers], "o-", label=label)
    axes[2].set(xlabel="distinct answers", ylabel="us", title="one pose")
    axes[2].legend(frameon=False)
    axes[3].plot([row["threads"] for row in threads], [row["times as fast"] for row in threads], "o-")
    axes[3].plot([1, len(threads)], [1, len(threads)], color="0.7", zorder=0)
    axes[3].set(xlabel="threads", ylabel="times as fast", xticks=[1, len(threads)], title="large batch")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
    save_figure(figure, path)


def main() -> None:
    """Measures, prints, saves and draws."""
    options = tyro.cli(Options, description=__doc__)
    robot = Robot("panda")
    results: dict[str, Any] = {}
    with cores(1):
        results["batch"] = by_batch(robot, options)
        results["joints"] = by_joints(options)
        results["answers"] = by_answers(robot, options)
    results["threads"] = by_threads(robot, options)
    results["memory"] = [memory(robot, options)]
    for title, rows in results.items():
        print_table(title, rows)
    write_json(options.json, {**record(), "quick": options.quick, **results})
    plot(results, picture_of(options.json))
    print(f"\nsaved {options.json}")


if __name__ == "__main__":
    restart_in_one_thread()
    main()
