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
from unittest.mock import patch

import numpy as np

from hybrid_ik import render_answers, render_motion, save_gif, save_png
from hybrid_ik.apps.motion import moving_postures
from hybrid_ik.pixels.dots.annotate import draw_dots
from hybrid_ik.pixels.pixel_solver import PixelSolver

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


def dots_of_cameras(found: dict[str, Any], path: Path) -> None:
    """What both cameras saw of a frame: crosses and trails where dots were followed, rings where joints have them."""
    rig, kept, tracks = found["rig"], found["kept"], found["tracks"][found["episodes"][0]]
    whole = np.flatnonzero(np.isfinite(kept.dots).all((1, 2, 3)))
    row = whole[len(whole) // 2]
    frame, points = int(kept.frame[row]), rig.dots.positions(PixelSolver(rig).solve(kept.dots[row]).q)
    pictures = []
    for (name, camera), track in zip(rig.cameras.items(), tracks, strict=True):
        (seen,) = found["dataset"].episodes[found["episodes"][0]].frames(name, frame, frame + 1)
        picture = draw_dots(seen, track, frame)
        pixels = camera.project(points)
        for pixel in pixels:
            _draw_ring(picture, pixel)
        pictures.append(_cut(picture, pixels.mean(0)))
    save_png(path.with_suffix(".png"), np.concatenate(pictures, axis=1))


def _draw_ring(picture: np.ndarray, pixel: np.ndarray) -> None:
    row, column = np.indices(picture.shape[:2])
    away = np.hypot(column - pixel[0], row - pixel[1])
    shade = np.clip(1.5 - abs(away - 12.0), 0.0, 1.0)[..., None]
    picture[:] = picture * (1.0 - shade) + 255.0 * shade


def _cut(picture: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """The part of a picture around a place that is as large as half of the gallery's."""
    size = np.array([SIZE["width"] // 2, SIZE["height"] // 2 * 4 // 3])
    left, top = np.clip(middle - size / 2, 0, np.array(picture.shape[1::-1]) - size).astype(int)
    return picture[top : top + size[1], left : left + size[0]]


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
    "07_so100_from_pixels": dots_of_cameras,
    "08_follow_a_path": followed_path,
}


def main(folder: str = str(EXAMPLES.parent / "docs" / "images" / "examples"), *names: str) -> None:
    """Runs the examples quietly, and writes a picture of each."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names or PICTURES:
        with contextlib.redirect_stdout(io.StringIO()), patch.object(sys, "argv", [name]):  # no options
            found = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        PICTURES[name](found, Path(folder) / name)
        print(f"drew {name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
