"""Draws the pictures of the gallery from what the examples themselves have found.

Usage: python examples/gallery.py [FOLDER [NAME ...]], as in: python examples/gallery.py docs/images/examples demo
"""

import contextlib
import io
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ik import render_answers, render_motion, save_gif, save_png
from hybrid_ik.apps.motion import moving_postures

EXAMPLES = Path(__file__).parent
SIZE = {"width": 640, "height": 480}
FILM = {"width": 480, "height": 360}


def demo(found: dict[str, Any], path: Path) -> None:
    """Its 16 answers."""
    solver, target = found["HybridSolver"]("panda", sampler="meanflow"), found["TARGET"]
    q = solver.solve(target, n_solutions=found["ANSWERS"]).q
    save_png(path.with_suffix(".png"), render_answers(solver.robot, q, target, **SIZE))


def one_answer(found: dict[str, Any], path: Path) -> None:
    """The answer nearest to where the arm is, and where it is as a veil behind it."""
    robot, near = found["robot"], found["near"].q
    save_png(path.with_suffix(".png"), render_motion(robot, near, found["pose"], ghosts=robot.home, **SIZE)[0])


def many_answers(found: dict[str, Any], path: Path) -> None:
    """The joints of 16 answers, a line for each."""
    found["many"].plot().savefig(path.with_suffix(".png"), dpi=90)


def own_robot(found: dict[str, Any], path: Path) -> None:
    """All answers of the six joints."""
    robot, answers = found["solver"].robot, found["answers"]
    save_png(path.with_suffix(".png"), render_answers(robot, answers.q, found["down"], **SIZE))


def whole_set(found: dict[str, Any], path: Path) -> None:
    """The arm along the whole curve of its best answer, with the tool at rest."""
    solver, pose = found["solver"], found["pose"]
    moving = moving_postures(solver, pose, found["start"])
    save_gif(path.with_suffix(".gif"), render_motion(solver.robot, moving, pose, **FILM))


def followed_path(found: dict[str, Any], path: Path) -> None:
    """Along the circle and back."""
    some = found["path"].q[::6]
    there_and_back = np.concatenate([some, some[-2:0:-1]])
    save_gif(path.with_suffix(".gif"), render_motion(found["solver"].robot, there_and_back, **FILM))


PICTURES: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "demo": demo,
    "01_solve_one": one_answer,
    "02_many_solutions": many_answers,
    "03_your_own_robot": own_robot,
    "06_whole_sets": whole_set,
    "08_follow_a_path": followed_path,
}


def main(folder: str = str(EXAMPLES.parent / "docs" / "images" / "examples"), *names: str) -> None:
    """Runs the examples quietly, and writes a picture of each."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names or PICTURES:
        with contextlib.redirect_stdout(io.StringIO()):
            found = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        PICTURES[name](found, Path(folder) / name)
        print(f"drew {name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
