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
    scale, units = joint_units(robot)
    header = ["#", *(f"{name} [{unit}]" for name, unit in zip(robot.joint_names, units, strict=True))]
    rows = []
    for i in np.flatnonzero(np.isfinite(result.q).all(-1)):
        joints = [f"{value:.2f}" for value in result.q[i] * scale]
        errors = [metres(float(result.position_error[i])), f"{result.orientation_error[i]:.1e} rad"]
        state = "" if result.success[i] else Status(result.status[i]).name.lower()
        rows.append([str(len(rows) + 1), *joints, *errors, str(result.iterations[i]), state])
    header += ["position error", "orientation error", "LM steps", ""]
    return text_table(header, rows)


def joint_units(robot: Robot) -> tuple[np.ndarray, list[str]]:
    """What the joints are shown in: factors `(dof,)` from rad and m, and names."""
    slides = np.array([kind == "slide" for kind in robot.chain.kinds])
    return np.where(slides, 1000.0, np.degrees(1.0)), ["mm" if slide else "deg" for slide in slides]


def metres(value: float) -> str:
    """A length with a unit that suits it: 3.2e-10 m, 12.3 mm."""
    return f"{value:.1e} m" if value < 1e-4 else f"{1000 * value:.2f} mm"


def seconds(value: float) -> str:
    """A time with a unit that suits it: 43 us, 1.20 ms, 2.31 s."""
    if value < 1e-3:
        return f"{1e6 * value:.0f} us"
    return f"{1e3 * value:.2f} ms" if value < 1 else f"{value:.2f} s"
