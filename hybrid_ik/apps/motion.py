"""Postures of an arm that moves with its tool at rest, for a film that begins again where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose

if TYPE_CHECKING:
    from hybrid_ik.solution_sets.solution_set import SolutionSet
    from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]

FRAMES = (24, 72)  # at least, and at most
FRAMES_PER_RADIAN = 5
ON_THE_CURVE = 0.05  # rad, or m: farther from the set than this, an answer is on a piece that was not found
FREE_LENGTH = np.pi  # rad, or m: how far an arm with two spare joints or more goes either way


def moving_postures(solver: HybridSolver, pose: Pose, q: Array) -> Array:
    """Postures along the whole piece of the solution set that an answer lies on, from it and back to it.

    An arc is gone along to one end and to the other, slowly at both, and a closed curve once round. Arms with two spare
    joints or more go some way along the null space, and back.

    Args:
        solver: of the arm.
        pose: of the tip.
        q: an answer `(dof,)`; the first posture is no farther from it than half the way to the next.

    Returns:
        Joints `(m, dof)` [rad, or m]; more of them the longer the way is.

    Raises:
        InvalidInputError: the arm has no spare joint, or cannot move here.
    """
    robot = solver.robot
    spare = robot.dof - (6 if solver.refiner.config.orientation_weight > 0 else 3)
    if spare < 1:
        raise InvalidInputError(
            f"{robot.name} has no joint to spare: its {robot.dof} joints are no more than a pose has numbers, so it "
            "cannot move while its tool is at rest"
        )
    answers = solver.solve_all(pose) if spare == 1 else None
    if answers is None or answers.distance(q) > ON_THE_CURVE:
        moving = _along_null_space(solver, q)
    else:
        moving = _along_piece(answers, q, robot.chain.shortest_way)
    if len(moving) < 2:
        raise InvalidInputError(f"{robot.name} cannot move from these joints while its tool is at rest")
    return moving


def _along_piece(answers: SolutionSet, q: Array, shortest_way: Any) -> Array:
    point = int(np.argmin(np.linalg.norm(shortest_way(answers.q - q), axis=1)))
    number = answers.piece[point]
    piece, first = answers[number], int(np.argmax(answers.piece == number))
    parts = len(piece.segments.q0)
    if not parts:
        return piece.q
    if piece.closed:
        n = _n_frames(piece.length)
        places = (point - first) + parts * np.arange(n) / n
    else:
        places = parts * _swing((point - first) / parts, _n_frames(2 * piece.length))
    return answers.along(np.array([first]), places[None])[0]


def _along_null_space(solver: HybridSolver, q: Array) -> Array:
    ahead = solver.self_motion(q, FREE_LENGTH)
    back = solver.self_motion(q, FREE_LENGTH, towards=ahead[0] - ahead[-1]) if len(ahead) > 1 else ahead
    line = np.concatenate([back[::-1], ahead[1:]])
    gone = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    if len(line) < 2:
        return line
    places = gone[-1] * _swing(gone[len(back) - 1] / gone[-1], _n_frames(2 * gone[-1]))
    return np.stack([np.interp(places, gone, joint) for joint in line.T], -1)


def _n_frames(length: float) -> int:
    return int(np.clip(round(FRAMES_PER_RADIAN * length), *FRAMES))


def _swing(start: float, n: int) -> Array:
    """n places in [0, 1] of something that swings from 0 to 1 and back, beginning at `start`.

    The begin is moved to where places on the way back are those of the way there: a film needs only half the pictures.
    """
    phase = np.round(np.arccos(1 - 2 * start) * n / np.pi)
    steps = (phase + 2 * np.arange(n)) % (2 * n)
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(steps, 2 * n - steps) / n)
