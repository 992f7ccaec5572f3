"""The pictures that `hybrid-ik solve` writes; where one cannot be had, stderr says why, and the rest goes on."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import HybridIKError, InvalidInputError
from hybrid_ik.pose import Pose

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hybrid_ik.apps.solve_command import SolveOptions
    from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]

DOTS = 150  # of a plot, per inch


def draw(
    solver: HybridSolver,
    target: Pose,
    options: SolveOptions,
    q: Array,
    plot: Callable[[], Figure],
    solved: bool,
) -> None:
    """Write what the options ask for.

    Args:
        solver: of the arm.
        target: pose of the tip.
        options: with the files to be written.
        q: joints `(n, dof)` of the answers, or the closest ones; rows with NaN are left out.
        plot: makes the plot.
        solved: whether the first row is an answer, from which the film begins.
    """
    if options.png is not None:
        _write(options.png, lambda path: _write_picture(path, solver, target, q))
    if options.gif is not None:
        _write(options.gif, lambda path: _write_film(path, solver, target, q, solved))
    if options.plot is not None:
        _write(options.plot, lambda path: _write_plot(path, plot()))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
    except HybridIKError as error:  # nothing to draw with, a package that is missing, an arm that cannot move
        print(f"no {path}: {error}", file=sys.stderr)
        return
    print(f"wrote {path}", file=sys.stderr)


def _write_picture(path: Path, solver: HybridSolver, target: Pose, q: Array) -> None:
    from hybrid_ik.apps.image_files import save_png
    from hybrid_ik.apps.rendering import render_answers

    save_png(path, render_answers(solver.robot, q, target))


def _write_film(path: Path, solver: HybridSolver, target: Pose, q: Array, solved: bool) -> None:
    from hybrid_ik.apps.image_files import save_gif
    from hybrid_ik.apps.motion import moving_postures
    from hybrid_ik.apps.rendering import render_motion

    if not solved:
        raise InvalidInputError("there is no answer that the arm could move from")
    moving = moving_postures(solver, target, q[0])
    save_gif(path, render_motion(solver.robot, moving, target, ghosts=q[1:]))


def _write_plot(path: Path, figure: Figure) -> None:
    from hybrid_ik.checkpoint import write_atomically

    file = io.BytesIO()
    try:
        figure.savefig(file, format=path.suffix.removeprefix(".") or "png", dpi=DOTS)
    except ValueError as error:  # a format that matplotlib does not write: it lists those that it does
        raise InvalidInputError(str(error)) from error
    write_atomically(path, file.getvalue())
