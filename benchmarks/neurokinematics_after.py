"""What NeuroKinematics left open: why a regressor errs, what refinement makes of it, and who finds all branches."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from metrics import EXACT, judge
from numpy.typing import NDArray
from problems import uniform_joints

from hybrid_ik.learning.postures import posture_number, posture_signs
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.base import Sampler
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.samplers.regressor import RegressorSampler
from hybrid_ik.samplers.shipped import shipped_network
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]

BRANCHES = 8
EXHAUSTIVE = 4096  # starts of a pose by which its branches are known
STARTS = (8, 16, 64)
ROUNDS = 3  # the quickest of which counts
SEED = 5  # of the poses whose branches are looked for


def refinement(robot: Robot, sampler: RegressorSampler, poses: Pose) -> dict[str, Any]:
    """How many predictions are within 1e-6 m and 1e-6 rad after refinement, judged by MuJoCo.

    Alone: the one prediction of each pose, refined. Solver: `HybridSolver` with the regressor as its sampler, which
    goes on with starts around the prediction where that fails.
    """
    alone = LaneRefiner(robot.chain).refine(poses, sampler.sample(poses, 1))
    solver = HybridSolver(robot, sampler=sampler)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = solver.solve(poses)
        times.append(time.perf_counter() - started)
    within = lambda q: float(judge(robot, poses, q).meets(EXACT).mean())  # noqa: E731
    return {
        "poses": len(poses),
        "alone": within(alone.q[:, 0]),
        "steps": float(np.median(alone.iterations[alone.success])),
        "solver": within(found.q),
        "us_per_pose": 1e6 * min(times) / len(poses),
    }


def branch_numbers(robot: Robot, q: Array) -> set[int]:
    """The postures of answers `(n, 6)` of one pose."""
    return set(posture_number(posture_signs(robot.chain, q)).tolist()) if len(q) else set()


def error_by_branches(robot: Robot, sampler: RegressorSampler, poses: Pose) -> list[dict[str, Any]]:
    """The distance of predictions, for poses with so many branches; sets of answers by `HybridSolver.solve_all`."""
    solver = HybridSolver(robot)
    errors = np.linalg.norm(robot.forward_kinematics(sampler.predict(poses)).position - poses.position, axis=-1)
    count = np.array([len(branch_numbers(robot, solver.solve_all(poses[i]).q)) for i in range(len(poses))])
    return [
        {"branches": n, "poses": int((count == n).sum()), **_spread(errors[count == n])}
        for n in range(1, BRANCHES + 1)
        if (count == n).any()
    ]


def branches_found(robot: Robot, regressor: RegressorSampler, n_poses: int) -> dict[str, Any]:
    """The share of all branches of random poses that the refined starts of each sampler lie on.

    All: what `EXHAUSTIVE` refined random starts lead to, other ones than those that are compared.
    """
    poses = robot.forward_kinematics(uniform_joints(robot, n_poses, np.random.default_rng(SEED)))
    known = _branches(robot, UniformSampler(robot.chain, seed=SEED + 1), poses, EXHAUSTIVE)
    samplers: dict[str, Sampler] = {"random": UniformSampler(robot.chain), "regressor": regressor}
    network = shipped_network(robot.chain)
    if network is not None:
        samplers["MeanFlow"] = MeanFlowSampler(network, robot.chain)
    rows = []
    for name, sampler in samplers.items():
        row: dict[str, Any] = {"starts from": name}
        for n in STARTS:
            found = _branches(robot, sampler, poses, n)
            row[f"recall, {n}"] = sum(len(a & b) for a, b in zip(found, known, strict=True)) / sum(map(len, known))
            row[f"all of them, {n}"] = float(np.mean([a >= b for a, b in zip(found, known, strict=True)]))
        rows.append(row)
    sizes = {"regressor": _size(regressor.file.tensors)}
    if network is not None:
        sizes["MeanFlow"] = _size({k: v for k, v in network.tensors.items() if k != "noise"})
    return {"poses": n_poses, "branches": sum(map(len, known)), "rows": rows, "sizes": sizes}


def _branches(robot: Robot, sampler: Sampler, poses: Pose, n: int) -> list[set[int]]:
    """The postures on which refined starts lie, for each pose."""
    refiner = LaneRefiner(robot.chain, LMConfig(max_iterations=50))
    result = refiner.refine(poses, sampler.sample(poses, n))
    return [branch_numbers(robot, result.q[i][result.success[i]]) for i in range(len(poses))]


def _spread(errors: Array) -> dict[str, float]:
    low, median, high = np.quantile(errors, [0.1, 0.5, 0.9])
    return {"mean": float(errors.mean()), "median": float(median), "p10": float(low), "p90": float(high)}


def _size(tensors: dict[str, Any]) -> int:
    return int(sum(tensor.size for tensor in tensors.values()))
