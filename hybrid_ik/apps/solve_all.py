"""`hybrid-ik solve --all`: every answer of one pose, as pieces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.solve_pictures import draw
from hybrid_ik.apps.tables import heading, piece_kind, pieces_table, seconds, units
from hybrid_ik.pose import Pose

if TYPE_CHECKING:
    from hybrid_ik.apps.solve_command import SolveOptions
    from hybrid_ik.diagnosis.diagnosis import Diagnosis
    from hybrid_ik.robot import Robot
    from hybrid_ik.solution_sets.solution_set import Piece, SolutionSet
    from hybrid_ik.solver import HybridSolver

DRAWN = 16  # answers of a picture, evenly along the curves
LISTED = 24  # pieces of a table; covers may have hundreds


def solve_all(solver: HybridSolver, target: Pose, options: SolveOptions) -> int:
    """Find, print and draw the whole set; returns the exit status, 1 where it is empty."""
    from hybrid_ik.apps.solve_command import timed_twice

    answers, first, again = timed_twice(lambda: solver.solve_all(target))
    diagnosis = None if answers else solver.diagnose(target)
    if options.json:
        print(json.dumps(_as_json(solver.robot, target, answers, again, diagnosis), indent=2))
    else:
        _print_pieces(solver.robot, target, answers, first, again, diagnosis)
    shown = _shown(answers) if answers else solver.solve(target).q[None]
    draw(solver, target, options, shown, answers.plot, bool(answers))
    return 0 if answers else 1


def _shown(answers: SolutionSet) -> NDArray[np.float64]:
    """The middle of the longest piece, and others that are spread over all of them."""
    q = answers.q
    at = np.linspace(0, len(q) - 1, min(DRAWN, len(q))).astype(int)
    return np.concatenate([answers[0].q[len(answers[0]) // 2][None], q[at[1:]]])


def _print_pieces(
    robot: Robot, target: Pose, answers: SolutionSet, first: float, again: float, diagnosis: Diagnosis | None
) -> None:
    print(heading(robot, target))
    if diagnosis is not None:
        print(f"\nno answer\n\n{diagnosis}")
        return
    print(f"{units(robot)}\n" if answers.length == 0.0 else "")
    print(pieces_table(robot, answers[:LISTED]))
    if len(answers) > LISTED:
        print(f"... and {len(answers) - LISTED} more")
    print(f"\n{_counted(answers)} in {seconds(again)} (the first time {seconds(first)})\n{_doubt(answers)}")


def _counted(answers: SolutionSet) -> str:
    pieces = f"{len(answers)} {'pieces' if len(answers) > 1 else 'piece'}"
    return f"{pieces}, {answers.length:.2f} rad long in all," if answers.length else pieces


def _doubt(answers: SolutionSet) -> str:
    if any(piece_kind(piece) == "cover" for piece in answers):
        return f"estimated share of the answers that the points do not cover: {answers.missing:.1g}"
    return f"estimated chance that one is missing: {answers.missing:.1g}"


def _as_json(
    robot: Robot, target: Pose, answers: SolutionSet, elapsed: float, diagnosis: Diagnosis | None
) -> dict[str, Any]:
    """Plain data; the points of a piece are its `q`."""
    from hybrid_ik.apps.solve_command import json_diagnosis, json_heading

    return {
        **json_heading(robot, target),
        "found": len(answers),
        "length": answers.length,
        "missing": answers.missing,
        "seconds": elapsed,
        "pieces": [_piece_as_json(piece) for piece in answers],
        "diagnosis": json_diagnosis(diagnosis),
    }


def _piece_as_json(piece: Piece) -> dict[str, Any]:
    return {
        "kind": piece_kind(piece),
        "length": piece.length,
        "ends": None if piece.ends is None else [{"joint": end.name, "side": end.side} for end in piece.ends],
        "points": len(piece),
        "position_error": float(piece.position_error.max()),
        "orientation_error": float(piece.orientation_error.max()),
        "q": piece.q.tolist(),
    }
