"""Plain-text tables, and a result as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pose import Pose
from hybrid_ik.result import IKResult, Status
from hybrid_ik.robot import Robot

if TYPE_CHECKING:
    from hybrid_ik.solution_sets.solution_set import Piece


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text under their headings, numbers and words alike flush right, two spaces apart."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def answers_table(robot: Robot, result: IKResult) -> str:
    """The answers of one pose: joints in degrees (slides in millimetres), both errors, steps.

    Args:
        robot: the arm.
        result: of shape `()` or `(n,)`; rows in which nothing was found are left out.
    """
    result = result.reshape(np.size(result.success))
    found = [(i, result[i]) for i in np.flatnonzero(np.isfinite(result.q).all(-1)).tolist()]
    rows = [[str(i + 1), *_joints(robot, row.q), *_errors(row), str(int(row.iterations))] for i, row in found]
    header = ["#", *_joint_names(robot), "position error", "orientation error", "LM steps"]
    if not all(row.success for _, row in found):
        header.append("status")
        rows = [[*cells, Status(int(row.status)).name.lower()] for cells, (_, row) in zip(rows, found, strict=True)]
    return text_table(header, rows)


def pieces_table(robot: Robot, pieces: Sequence[Piece]) -> str:
    """Pieces of a solution set: what each is, how long, and the limits that end it; separate answers as joints."""
    if all(len(piece) == 1 for piece in pieces):
        rows = [[str(i), *_joints(robot, piece.q[0]), *_errors(piece)] for i, piece in enumerate(pieces, 1)]
        return text_table(["#", *_joint_names(robot), "position error", "orientation error"], rows)
    rows = [
        [str(i), piece_kind(piece), f"{piece.length:.3f}", *map(str, piece.ends or ("", "")), str(len(piece))]
        for i, piece in enumerate(pieces, 1)
    ]
    return text_table(["#", "kind", "length [rad]", "from", "to", "points"], rows)


def piece_kind(piece: Piece) -> str:
    """In a word: arc, closed curve, point, or cover where there is more than a curve."""
    if piece.ends is not None:
        return "arc"
    if piece.closed:
        return "closed curve"
    return "point" if len(piece) == 1 else "cover"


def heading(robot: Robot, target: Pose) -> str:
    """What was asked."""
    return f"{robot.name}: {robot.tip} in {robot.base}, position {target.position} m, wxyz {target.quaternion}"


def units(robot: Robot) -> str:
    """Of a table of joints."""
    return f"joints in degrees{', slides in mm' if 'slide' in robot.chain.kinds else ''}"


def _joint_names(robot: Robot) -> list[str]:
    kinds = zip(robot.joint_names, robot.chain.kinds, strict=True)
    return [f"{name} [mm]" if kind == "slide" else name for name, kind in kinds]


def _joints(robot: Robot, q: NDArray[np.float64]) -> list[str]:
    scale = [1000.0 if kind == "slide" else np.degrees(1.0) for kind in robot.chain.kinds]
    return [f"{x:.2f}" for x in q * scale]


def _errors(row: Any) -> list[str]:
    """Both errors of an answer, or the largest ones of a piece."""
    position, angle = np.max(row.position_error), np.max(row.orientation_error)
    return [metres(float(position)), f"{float(angle):.1e} rad"]


def metres(value: float) -> str:
    """A length with a unit that suits it: 3.2e-10 m, 12.3 mm."""
    return f"{value:.1e} m" if value < 1e-4 else f"{1000 * value:.2f} mm"


def seconds(value: float) -> str:
    """A time with a unit that suits it: 43 us, 1.20 ms, 2.31 s."""
    if value < 1e-3:
        return f"{1e6 * value:.0f} us"
    return f"{1e3 * value:.2f} ms" if value < 1 else f"{value:.2f} s"
