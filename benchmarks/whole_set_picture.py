"""One solution set of the Panda and the answers that other solvers have for its pose.

    python benchmarks/whole_set_picture.py

The last joint against the angle of the elbow about the line from shoulder to wrist, and against the first joint, which
tells those pieces apart that reach the same elbow with the shoulder turned over. Lines are the pieces of `solve_all`,
rings ends at joint limits; dots are answers of others, drawn on top, thinned so that lines can be seen below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from metrics import thin
from peer_adaptors import Array
from plots import new_figure, save_figure
from problems import STREAM, make_problems
from record import PICTURES
from whole_set_measures import fine_points
from whole_set_oracles import known_answers, make_sources

from hybrid_ik.kinematics import joint_frames
from hybrid_ik.robot import Robot
from hybrid_ik.scalar_math import NumpyMath
from hybrid_ik.solution_sets.solution_set import Piece, SolutionSet
from hybrid_ik.solver import HybridSolver

APART = 0.15  # rad: between the dots of one source
MARKS = {"frankik": ("s", "0.1"), "ssik": ("^", "tab:red"), "starts": ("o", "0.45")}


@dataclass(frozen=True)
class Options:
    """Which pose, and where to."""

    pose: int = 3
    """Number of the pose among the random reachable ones."""
    starts: int = 2000
    """Random starts that are refined."""
    seed: int = 0
    """Of the poses and of the starts."""
    out: Path = PICTURES / "whole_set.png"
    """File to write."""


def swivel(robot: Robot, q: Array) -> Array:
    """Angle `(n,)` [rad] of the fourth joint's origin about the line from the second's to the sixth's; 0 is upwards."""
    origins = joint_frames(robot.chain, list(q.T), NumpyMath())[3]
    shoulder, elbow, wrist = (np.stack([np.broadcast_to(x, len(q)) for x in origins[joint]], -1) for joint in (1, 3, 5))
    along = wrist - shoulder
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    up = np.array([0.0, 0.0, 1.0]) - along * along[:, 2:]
    up /= np.linalg.norm(up, axis=-1, keepdims=True)
    out = elbow - shoulder
    return np.asarray(np.arctan2((np.cross(along, up) * out).sum(-1), (up * out).sum(-1)))


def draw(robot: Robot, found: SolutionSet, answers: dict[str, Array], path: Path) -> None:
    """Draws and saves."""
    figure = new_figure(11, 5.4)
    heights = {"angle of the elbow": partial(swivel, robot), "joint 1": lambda q: q[:, 0]}
    for axes, (label, height) in zip(figure.subplots(1, 2), heights.items(), strict=True):
        for number, piece in enumerate(found):
            _draw_piece(axes, piece, height, f"C{number % 10}")
        for name, q in answers.items():
            marker, color = MARKS[name]
            axes.plot(q[:, -1], height(q), marker, color=color, markersize=2.5, linewidth=0, label=name)
        axes.set(xlabel="joint 7 [rad]", ylabel=f"{label} [rad]")
    figure.axes[0].set_title(f"{len(found)} pieces, {found.length:.1f} rad long", loc="left")
    figure.axes[1].legend(title="answers of", fontsize="small")
    save_figure(figure, path)


def _draw_piece(axes: Any, piece: Piece, height: Callable[[Array], Array], color: str) -> None:
    q = fine_points(piece)
    q = np.concatenate([q, q[:1]]) if piece.closed else q
    y = height(q)
    ends = y[[0, -1]]
    y[1:][np.abs(np.diff(y)) > np.pi] = np.nan  # where it goes round the line is broken
    axes.plot(q[:, -1], y, color=color, linewidth=4, alpha=0.6, solid_capstyle="butt")
    if piece.ends:
        axes.plot(q[[0, -1], -1], ends, "o", color=color, markersize=9, fillstyle="none")


def main() -> None:
    """Solves, asks the others, draws."""
    options = tyro.cli(Options, description=__doc__)
    if new_figure(1, 1) is None:
        raise SystemExit(1)
    robot = Robot("panda")
    poses = make_problems(robot, "reachable", options.pose + 1, options.seed)[[options.pose]]
    sources, _ = make_sources("panda", robot, options.starts, 500)
    rng: Any = np.random.default_rng([STREAM, 81, options.seed, options.pose])
    known = known_answers(robot, poses, sources, [rng])[0]
    answers = {name: known.q[known.source == i] for i, name in enumerate(sources)}
    shown = {name: q[thin(q, APART)] for name, q in answers.items()}
    draw(robot, HybridSolver(robot).solve_all(poses[0]), shown, options.out)


if __name__ == "__main__":
    main()
