"""The work of one update in the viewer and on the web page, drawing aside: `python benchmarks/viewing.py`.

The target goes along a line, a new one for each update. An update solves for as many answers as can be shown, and
prepares what is drawn: for the window the geoms of all arms in MuJoCo's scene, for the page what browsers are sent.
The goal is 16 ms, a frame at 60 Hz.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import tyro
from metrics import spread
from numpy.typing import NDArray
from record import RESULTS, cores, print_table, record, restart_in_one_thread, timed, write_json

from hybrid_ik.apps.explorer import MOST_ANSWERS, Explorer
from hybrid_ik.apps.stage import build_stage
from hybrid_ik.apps.viewer import Window
from hybrid_ik.apps.web import serve, time_updates
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]

GOAL = 0.016  # s
ALONG = np.array([0.0, 0.15, -0.1])  # m, from where the tip is at home


@dataclass(frozen=True)
class Options:
    """Options of the measurements."""

    robots: tuple[str, ...] = ("panda",)
    """Shipped names, or files of full models."""
    updates: int = 300
    """Targets."""
    answers: int = MOST_ANSWERS
    """Answers that are shown."""
    json: Path = RESULTS / "viewing.json"
    """Where to save the results."""


class Unseen:
    """What a `Window` needs of MuJoCo's, without a display."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.user_scn = mujoco.MjvScene(model, 100_000)
        self.perturb, self.cam = mujoco.MjvPerturb(), mujoco.MjvCamera()

    def lock(self) -> Any:
        return contextlib.nullcontext()

    def sync(self) -> None:
        """Draws nothing."""

    def is_running(self) -> bool:
        return True

    def set_texts(self, texts: Any) -> None:
        """Shows nothing."""


def targets_along(robot: Robot, n: int) -> Pose:
    """Poses on a line from where the tip is at home."""
    home = robot.forward_kinematics(robot.home)
    share = np.linspace(0.0, 1.0, n)[:, None]
    return Pose(home.position + share * ALONG * robot.chain.reach, np.tile(home.quaternion, (n, 1)))


def in_the_window(robot: Robot, targets: Pose, answers: int) -> tuple[Array, int]:
    """Seconds of each update, and the number of geoms of the last one."""
    explorer = Explorer(robot)
    explorer.settings = replace(explorer.settings, n_solutions=answers)
    model = build_stage(robot)
    handle = Unseen(model)
    window = Window(explorer, model, mujoco.MjData(model), handle)
    times = []
    for i in range(len(targets)):
        window.place_target(targets[i])
        times.append(timed(lambda: window.frame(GOAL))[0])
    return np.array(times), handle.user_scn.ngeom


def on_the_page(robot: Robot, targets: Pose, answers: int) -> Array:
    """Seconds of each update."""
    with serve(robot, port=0) as page:
        page.explorer.settings = replace(page.explorer.settings, n_solutions=answers)
        return time_updates(page, targets)


def main(options: Options) -> None:
    rows: list[dict[str, Any]] = []
    with cores(1):
        for name in options.robots:
            robot = Robot(name)
            targets = targets_along(robot, options.updates)
            label = f"{robot.name}, meshes" if robot.drawable_model().nmesh else robot.name
            window, geoms = in_the_window(robot, targets, options.answers)
            for where, times in {"window": window, "page": on_the_page(robot, targets, options.answers)}.items():
                milliseconds = {f"{key} [ms]": 1e3 * value for key, value in spread(times).items()}
                within = float((times < GOAL).mean())
                rows.append({"robot": label, "in": where, **milliseconds, "within 16 ms": within, "geoms": geoms})
    write_json(options.json, {**record(), "answers": options.answers, "updates": options.updates, "rows": rows})
    print_table(f"{options.answers} answers, {options.updates} updates", rows)


if __name__ == "__main__":
    restart_in_one_thread()
    main(tyro.cli(Options, description=__doc__))
