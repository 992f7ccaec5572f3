"""One path through the solution sets of its poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from plots import new_figure, save_figure

from hybrid_ik.pose import Pose
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]

COLUMNS = 160  # waypoints of which the whole set is drawn


def draw_path(solver: HybridSolver, poses: Pose, tracked: Array, greedy: Array, path: Path) -> None:
    """A joint against the waypoint: all answers in grey, the tracked path, and the follower that breaks."""
    figure = new_figure(9, 5)
    if figure is None:
        return
    n = min(len(tracked), len(greedy))
    joint = int(np.argmax(np.abs(tracked[:n] - greedy[:n])[-1])) if n else 0
    columns = np.unique(np.linspace(0, len(poses) - 1, COLUMNS).astype(int))
    sets = [solver.solve_all(poses[i]).q[:, joint] for i in columns.tolist()]
    axes = figure.subplots()
    at = np.repeat(columns, [len(points) for points in sets])
    axes.scatter(at, np.concatenate(sets), s=1.5, color="0.72", linewidths=0, label="all answers")
    axes.plot(tracked[:, joint], color="C0", linewidth=2, label="track")
    axes.plot(greedy[:, joint], color="C3", linewidth=2, linestyle="--", label="solve(near=the last answer)")
    if 0 < len(greedy) < len(poses):
        axes.plot(len(greedy) - 1, greedy[-1, joint], "X", color="C3", markersize=11, zorder=4)
    for limit in (solver.robot.lower[joint], solver.robot.upper[joint]):
        axes.axhline(limit, color="0.5", linewidth=0.8)
    axes.set(xlabel="waypoint", ylabel=f"{solver.robot.joint_names[joint]} [rad]", xlim=(0, len(poses) - 1))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, markerscale=5, frameon=False)
    save_figure(figure, path)
