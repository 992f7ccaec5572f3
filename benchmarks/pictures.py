"""Pictures of one pose: its solution curves with answers on them, and noise turning into answers.

    python benchmarks/pictures.py

Everything in them is measured: curves are the stored solution set, starts and answers are those of the shipped
samplers, with the refiner that all of them share.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from metrics import EXACT, SolutionPoints, coverage, distances, judge, piece_recall
from numpy.typing import NDArray
from oracle import load_sets
from plots import new_figure, save_figure
from record import PICTURES

from hybrid_ik.checkpoint import load_network
from hybrid_ik.encoding import Encoder
from hybrid_ik.kernels.cpu import forward_kinematics
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.resources import asset_path
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.base import inner_pose
from hybrid_ik.samplers.numpy_network import numpy_network
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]

SAMPLERS = {"network": "meanflow", "random starts": "uniform"}
SHOWN = (0, 1, 2)  # joints drawn against the last one
STARTS = 64
NETWORK = asset_path("networks", "panda.safetensors")


@dataclass(frozen=True)
class Options:
    """Which pose, and where to."""

    pose: int = 3
    """Number of the pose in the stored solution sets."""
    out: Path = PICTURES
    """Folder of the pictures."""


def draw_curves(robot: Robot, pose: Pose, known: SolutionPoints, path: Path) -> None:
    """Joints against the last one: the whole set in grey, verified answers of each sampler on it."""
    figure = new_figure(11, 6.4)
    axes = figure.subplots(len(SAMPLERS), len(SHOWN))
    for row, (label, name) in enumerate(SAMPLERS.items()):
        starts = HybridSolver(robot, sampler=name).sampler.sample(pose, STARTS)
        found = _answers(robot, pose, starts)
        share, touched = coverage(known, found), piece_recall(known, found)
        for column, joint in enumerate(SHOWN):
            ax = axes[row][column]
            _draw_set(ax, known, joint)
            ax.scatter(found[:, -1], found[:, joint], s=14, color=f"C{row}", zorder=3)
            ax.set(xlabel=f"joint {robot.dof} [rad]", ylabel=f"joint {joint + 1} [rad]")
        axes[row][0].set_title(
            f"{STARTS} starts, {label}: {100 * share:.0f} % covered, {100 * touched:.0f} % of {known.n_pieces} pieces",
            loc="left",
        )
    save_figure(figure, path)


def draw_noise(robot: Robot, pose: Pose, known: SolutionPoints, path: Path) -> None:
    """Noises, what one pass of the network makes of them, and what the refiner makes of that; a colour for a piece."""
    noise, starts = _one_pass(robot, pose, 4 * STARTS)
    result = LaneRefiner(robot.chain).refine(pose, starts)
    good = judge(robot, pose, result.q).meets(EXACT)
    ends_on = known.piece[distances(result.q, known.points).argmin(-1)]
    colors = [f"C{piece % 10}" if ok else "0.8" for piece, ok in zip(ends_on, good, strict=True)]
    figure = new_figure(11, 3.8)
    left, middle, right = figure.subplots(1, 3)
    left.scatter(noise[:, 0], noise[:, 1], s=9, c=colors)
    left.set(
        title=f"{len(noise)} noises (2 of their {noise.shape[1]} numbers)",
        xlabel="first number",
        ylabel="second number",
    )
    joint = SHOWN[1]
    shown = {
        "one pass of the network": (middle, starts),
        f"refined: {100 * good.mean():.0f} % converge": (right, result.q),
    }
    for title, (ax, q) in shown.items():
        _draw_set(ax, known, joint)
        ax.scatter(q[:, -1], q[:, joint], s=9, c=colors, zorder=3)
        ax.set(title=title, xlabel=f"joint {robot.dof} [rad]", ylabel=f"joint {joint + 1} [rad]")
    save_figure(figure, path)


def _one_pass(robot: Robot, pose: Pose, n: int) -> tuple[Array, Array]:
    """The first noises of the shipped network's table, and the starts that they become, without spares."""
    file = load_network(NETWORK)
    encoder, network = Encoder(robot.chain, file.options["encoding"]), numpy_network(file)
    noise = file.tensors["noise"][:n]
    position, rotation = inner_pose(robot.chain, pose)
    u = network.velocity(network.project(noise), network.modulate(encoder.encode(position, rotation)[:, None]))
    forward = lambda q: forward_kinematics(robot.chain, q)  # noqa: E731
    return noise, encoder.complete(encoder.denormalise(noise - u.astype(float)), position, rotation, forward)[0]


def _answers(robot: Robot, pose: Pose, q0: Array) -> Array:
    q = LaneRefiner(robot.chain).refine(pose, q0).q
    return np.asarray(q[judge(robot, pose, q).meets(EXACT)])


def _draw_set(ax: Any, known: SolutionPoints, joint: int) -> None:
    ax.scatter(known.points[:, -1], known.points[:, joint], s=3, color="0.75", linewidths=0)


def main() -> None:
    """Reads the stored sets, draws, saves."""
    options = tyro.cli(Options, description=__doc__)
    if new_figure(1, 1) is None:
        raise SystemExit(1)
    robot = Robot("panda")
    poses, sets, _ = load_sets()
    pose, known = poses[options.pose], sets[options.pose]
    for draw, name in ((draw_curves, "solution_curves.png"), (draw_noise, "noise_to_answers.png")):
        draw(robot, pose, known, options.out / name)


if __name__ == "__main__":
    main()
