"""How near the limit of one core a solve is: `python benchmarks/limit.py`.

Counts the floating-point operations of a step of the Panda, as they are recorded and as they are in the machine code,
times steps without anything around them, and compares with the multiply-adds that this core can do at most, measured in
the same run. Then what a pose costs altogether, so that what is not steps is a number as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from llvmlite import binding
from probes import LANES, count_calls, peak
from problems import make_problems
from record import RESULTS, cores, print_table, record, restart_in_one_thread, timed, write_json
from stepping import stepper

from hybrid_ik.kernels import cpu, native
from hybrid_ik.kernels.program import DOUBLE, SINGLE, Recording, record_step
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner, _one_result
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solver import HybridSolver

FORMS = {"single": (SINGLE, "float", "coarse"), "double": (DOUBLE, "double", "fine")}
# Instructions by what they do, for x86; others are counted as "other".
KINDS = {
    "multiply-add": r"vfn?m(add|sub)\d+p[sd]",
    "multiply, add, subtract": r"v(mul|add|sub)p[sd]",
    "divide": r"vdivp[sd]",
    "square root": r"v(sqrt|rsqrt14)p[sd]",
    "compare, choose": r"v(cmp\w*|max|min|blend\w*|andn?|or|xor)p[sd]|vp(ternlog|cmp|xor|and)\w*",
    "move, spill, broadcast": r"v(mov\w+|broadcast\w+)",
}


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    rounds: int = 200
    """How often each thing is timed; the least counts."""
    poses: int = 10_000
    """Poses of the batch."""
    json: Path = RESULTS / "limit.json"
    """Where to save the results."""


def operations(recording: Recording) -> dict[str, int]:
    """How often the outputs of a program need each operation."""
    needed, todo = set(), list(recording.outputs)
    while todo:
        if (i := todo.pop()) not in needed:
            needed.add(i)
            if recording.statements[i].operation != "input":
                todo += recording.statements[i].operands
    return dict(Counter(recording.statements[i].operation for i in sorted(needed)))


def floating_point(counts: dict[str, int]) -> int:
    """Sums, products, quotients and roots among them."""
    return sum(counts.get(name, 0) for name in ("add", "subtract", "multiply", "divide", "square_root"))


def instructions(robot: Robot, name: str) -> dict[str, int]:
    """Of the machine code of a step, by kind; empty where this processor has other names for them.

    Operands lie on the stack where the registers do not hold all numbers that are needed later.
    """
    module = binding.parse_assembly(cpu._programs(robot.chain, False))
    code = native._target_machine().emit_assembly(module)
    body = code.split(f"\n{name}:")[-1].split(".Lfunc_end")[0]
    lines = [line for line in body.splitlines() if line.startswith("\tv")]
    found = dict.fromkeys([*KINDS, "other"], 0)
    for word in (line.split()[0] for line in lines):
        found[next((kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, word)), "other")] += 1
    return {**found, "with an operand on the stack": sum("(%rsp)" in line for line in lines)}


def step_rows(robot: Robot, rounds: int) -> list[dict[str, Any]]:
    """A row for each precision."""
    rows = []
    for name, (precision, number, program) in FORMS.items():
        lanes = LANES[program]
        step, most = stepper(robot, single=name == "single"), peak(number, lanes)
        seconds, best = 1.0, 0.0
        for _ in range(rounds):
            seconds, best = min(seconds, step()), max(best, most())
        counts = operations(record_step(robot.chain, False, precision))
        flops = floating_point(counts)
        rows.append(
            {
                "precision": name,
                "lanes": lanes,
                "operations of a step": flops,
                "ns a step": 1e9 * seconds,
                "GFLOP/s": 1e-9 * flops / seconds,
                "peak GFLOP/s": 1e-9 * best,
                "share of peak": flops / seconds / best,
                "recorded": counts,
                "instructions": instructions(robot, program),
            }
        )
    return rows


def batch_rows(robot: Robot, options: Options, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where the time of a pose of a batch goes; steps are counted while they are made, those of idle lanes too."""
    poses = make_problems(robot, "reachable", options.poses, 0)
    solver, refiner = HybridSolver(robot), LaneRefiner(robot.chain)
    starts = UniformSampler(robot.chain, narrow=True).sample(poses, 16)
    search = _least(lambda: refiner.search(poses, starts), options.rounds // 10) / options.poses
    whole = _least(lambda: solver.solve(poses), options.rounds // 10) / options.poses
    calls, rows = count_calls(refiner, poses, starts), []
    for row in steps:
        program = FORMS[row["precision"]][2]
        n = calls[program] * LANES[program] / options.poses
        rows.append({"part": f"steps in {row['precision']} precision", "number": n, "us": 1e-3 * n * row["ns a step"]})
    return [
        *rows,
        {"part": "loops around them", "number": None, "us": 1e6 * search - sum(row["us"] for row in rows)},
        {"part": "solver around the refiner", "number": None, "us": 1e6 * (whole - search)},
        {"part": "a pose altogether", "number": None, "us": 1e6 * whole},
    ]


def layer_rows(robot: Robot, rounds: int) -> list[dict[str, Any]]:
    """What one pose costs, layer by layer: median over poses of the least time of each."""
    poses, rng = make_problems(robot, "reachable", 64, 0), np.random.default_rng(0)
    solver = HybridSolver(robot)
    q = solver.solve(poses).q
    near = np.clip(q + 0.1 / np.sqrt(robot.dof) * rng.normal(size=q.shape), robot.lower, robot.upper)
    sampler = UniformSampler(robot.chain, narrow=True)
    times: dict[str, list[float]] = {}
    for i in range(len(poses)):
        pose, start = poses[i], near[i]
        starts = sampler.sample(pose, 16)
        work: dict[str, Callable[[], Any]] = {
            "Pose of position and quaternion": partial(Pose, pose.position, pose.quaternion),
            "sampler.sample, 16 starts": partial(sampler.sample, pose, 16),
            "a result of its arrays": partial(_one_result, robot.chain, *(array[0] for array in OUTPUTS)),
            "compiled call that finds nothing to do": partial(_call, solver, pose, starts, False),
            "compiled call, 16 starts": partial(_call, solver, pose, starts, True),
            "refiner.search, 16 starts": partial(solver.refiner.search, pose, starts),
            "solver.solve": partial(solver.solve, pose),
            "compiled call, a start nearby": partial(_call, solver, pose, start[None], True),
            "refiner.search, a start nearby": partial(solver.refiner.search, pose, start[None]),
            "solver.solve, near=": partial(solver.solve, pose, near=start),
        }
        for name, call in work.items():
            times.setdefault(name, []).append(_least(call, rounds // 4))
    return [{"layer": name, "us": 1e6 * float(np.median(seconds))} for name, seconds in times.items()]


def _call(solver: HybridSolver, pose: Any, starts: Any, valid: bool) -> None:
    """The compiled loops alone, into arrays that are there already."""
    refiner: Any = solver.refiner
    at, flags = (pose.position[None], pose.quaternion[None], refiner._mount_tool, 1), np.array([valid])
    q, errors, info = OUTPUTS
    refiner._kernel.solve_rows(*at, starts[None], refiner._options, refiner._wanted, flags, q, errors, info)


OUTPUTS = np.zeros((1, 7)), np.zeros((1, 2)), np.zeros((1, 5), "i4")


def _least(work: Callable[[], Any], times: int) -> float:
    return min(timed(work)[0] for _ in range(max(3, times)))


def main() -> None:
    """Measures, prints and saves."""
    options = tyro.cli(Options, description=__doc__)
    robot = Robot("panda")
    with cores(1):
        steps = step_rows(robot, options.rounds)
        batch = batch_rows(robot, options, steps)
        layers = layer_rows(robot, options.rounds)
    print_table("A step", [{k: v for k, v in row.items() if not isinstance(v, dict)} for row in steps])
    print_table("Its machine code", [{"precision": row["precision"], **row["instructions"]} for row in steps])
    print_table("A pose of a batch", batch)
    print_table("One pose", layers)
    write_json(options.json, {**record(), "steps": steps, "batch": batch, "layers": layers})
    print(f"\nsaved {options.json}")


if __name__ == "__main__":
    restart_in_one_thread()
    main()
