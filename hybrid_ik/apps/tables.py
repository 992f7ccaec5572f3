"""Plain-text tables, and a result as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybrid_ik.result import IKResult, Status
from hybrid_ik.robot import Robot


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
    slides = np.array([kind == "slide" for kind in robot.chain.kinds])
    scale = np.where(slides, 1000.0, np.degrees(1.0))
    names = [f"{name} [mm]" if slide else name for name, slide in zip(robot.joint_names, slides, strict=True)]
    found = np.flatnonzero(np.isfinite(result.q).all(-1))
    rows = [[str(i + 1), *(f"{x:.2f}" for x in result.q[i] * scale), *_quality(result, int(i))] for i in found]
    header = ["#", *names, "position error", "orientation error", "LM steps"]
    if not result.success[found].all():
        header.append("status")
        rows = [[*row, Status(result.status[i]).name.lower()] for row, i in zip(rows, found, strict=True)]
    return text_table(header, rows)


def _quality(result: IKResult, i: int) -> list[str]:
    """Both errors and the steps of one row."""
    angle = float(result.orientation_error[i])
    return [metres(float(result.position_error[i])), f"{angle:.1e} rad", str(int(result.iterations[i]))]


def metres(value: float) -> str:
    """A length with a unit that suits it: 3.2e-10 m, 12.3 mm."""
    return f"{value:.1e} m" if value < 1e-4 else f"{1000 * value:.2f} mm"


def seconds(value: float) -> str:
    """A time with a unit that suits it: 43 us, 1.20 ms, 2.31 s."""
    if value < 1e-3:
        return f"{1e6 * value:.0f} us"
    return f"{1e3 * value:.2f} ms" if value < 1 else f"{value:.2f} s"
