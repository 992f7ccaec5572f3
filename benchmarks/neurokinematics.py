"""NeuroKinematics on the real KR 6: learned inverse kinematics by regression, stage by stage, and what a hybrid adds.

    python benchmarks/neurokinematics.py --out runs/neurokinematics

Each stage writes what the original names: `fk_errors.npy` (n,) [m], `ee_positions.npy` (n, 3) [m] and `theta_pred.npy`
(n, 6) [rad], over the validation pairs, by MuJoCo's forward kinematics. A run that was interrupted goes on.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from neurokinematics_after import branches_found, error_by_branches, refinement
from neurokinematics_plots import draw_all
from neurokinematics_stages import DOMAINS, RUNS, STAGES, WHOLE, Run, Stage, config_of, run_name
from record import PICTURES, RESULTS, print_table, record, restart_in_one_thread, write_json

from hybrid_ik.checkpoint import load_network
from hybrid_ik.learning.loop import NETWORK_FILE
from hybrid_ik.learning.regression import Pairs, distance_statistics, make_pairs, train_regressor
from hybrid_ik.pose import Pose, pose_error
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.regressor import RegressorSampler

CHOSEN = run_name(1.0)  # the run that is looked at more closely
STAGES_OF_CHOSEN = tuple(stage for stage in STAGES if stage.run == CHOSEN)[:1]


@dataclass(frozen=True)
class Options:
    """Options of the experiments."""

    out: Path = Path("runs/neurokinematics")
    """Folder of networks and artifacts."""
    json: Path = RESULTS / "neurokinematics.json"
    """Where to save the figures."""
    pictures: Path = PICTURES
    """Folder of the pictures."""
    processes: int = 2
    """Trainings side by side, each in one thread."""
    poses: int = 500
    """Poses whose branches are counted and looked for."""
    quick: bool = False
    """Small networks and few pairs: whether everything runs, in two minutes."""


def main(options: Options) -> None:
    robot = Robot("kr6")
    if options.quick:
        options = replace(options, poses=min(options.poses, 40))
    jobs = [(domain, run) for domain in DOMAINS for run in RUNS.values()] + [(WHOLE, RUNS[CHOSEN])]
    train = partial(train_one, options)
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as workers:
        list(workers.map(train, *zip(*jobs, strict=True)))
    result: dict[str, Any] = {**record(), "quick": options.quick, "rows": [], "refinement": []}
    for domain in (*DOMAINS, WHOLE):
        _, pairs = make_pairs(robot.chain, config_of(robot, domain, RUNS[CHOSEN], options.quick))
        poses = robot.forward_kinematics(pairs.q)
        chosen = open_sampler(options, robot, domain, CHOSEN)
        for stage in STAGES if domain in DOMAINS else STAGES_OF_CHOSEN:
            sampler = open_sampler(options, robot, domain, stage.run)
            figures = analyse(robot, stage, sampler, poses, pairs, options.out / domain / "analysis" / stage.name)
            result["rows"].append({"domain": domain, **figures})
        result["refinement"].append({"domain": domain, **refinement(robot, chosen, poses[: 10 * options.poses])})
        result[f"branches_{domain}"] = error_by_branches(robot, chosen, poses[: 4 * options.poses])
    result["found"] = branches_found(robot, open_sampler(options, robot, "all", CHOSEN), options.poses)
    write_json(options.json, result)
    draw_all(result, options.out, options.pictures if not options.quick else options.out)
    show(result)


def train_one(options: Options, domain: str, run: Run) -> None:
    """Trains one network, goes on with it, or leaves it as it is where it is done."""
    import torch

    torch.set_num_threads(1)
    robot, out = Robot("kr6"), options.out / domain / "runs" / run.name
    config = replace(config_of(robot, domain, run, options.quick), out=out)
    train_regressor(robot.chain, config, resume=(out / NETWORK_FILE).exists())


def open_sampler(options: Options, robot: Robot, domain: str, name: str) -> RegressorSampler:
    """The network of a run."""
    return RegressorSampler(load_network(options.out / domain / "runs" / name / NETWORK_FILE), robot.chain)


def analyse(
    robot: Robot, stage: Stage, sampler: RegressorSampler, poses: Pose, pairs: Pairs, folder: Path
) -> dict[str, Any]:
    """Writes the artifacts of a stage; its figures, and those that were published."""
    q = sampler.predict(poses)
    reached = robot.forward_kinematics(q)
    errors, angles = (np.linalg.norm(part, axis=-1) for part in np.split(pose_error(poses, reached), 2, axis=-1))
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in {"fk_errors": errors, "ee_positions": reached.position, "theta_pred": q}.items():
        np.save(folder / f"{name}.npy", array)
    figures = {
        "joint_mse": float(np.square(q - pairs.q).mean()),
        **distance_statistics(errors),
        "angle_mean": float(angles.mean()),
        "outside_limits": float(((q < robot.lower) | (q > robot.upper)).any(-1).mean()),
    }
    return {"stage": stage.name, "title": stage.title, "run": stage.run, **figures, "published": stage.published}


def show(result: dict[str, Any]) -> None:
    """The tables, as text."""
    for domain, title in {**DOMAINS, WHOLE: "one branch, whole turns"}.items():
        rows = [row for row in result["rows"] if row["domain"] == domain]
        names = (
            "title",
            "joint_mse",
            *(f"distance_{name}" for name in ("mean", "std", "p95", "p99", "max")),
            "angle_mean",
        )
        columns = [{"stage": row["stage"], **{n.removeprefix("distance_"): row[n] for n in names}} for row in rows]
        print_table(f"{title}: joint MSE [rad^2], distance [m]", columns)
    print_table("refined, from one start and by the solver", result["refinement"])
    print_table("branches found", result["found"]["rows"])


if __name__ == "__main__":
    restart_in_one_thread()
    main(tyro.cli(Options, description=__doc__))
