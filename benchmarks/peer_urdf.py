"""Our arm as a URDF, for solvers that read nothing else: the same joints, written with all their digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.robot import Robot

BASE, TIP = "base", "tip"  # names of the first and the last link
FAST, STRONG = 1e3, 1e3  # rad/s and Nm: limits that a URDF must have, and that shall not be felt

# Some readers refuse links without mass, and KDL warns of a first link with one; nothing here looks at dynamics.
_INERTIAL = '<inertial><mass value="1"/><inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>'


def write_urdf(robot: Robot, path: Path) -> Path:
    """Writes the arm between its base and its tip; links `base`, `link1` ... and `tip`, joints by their names."""
    path.write_text(urdf(robot))
    return path


@contextmanager
def urdf_file(robot: Robot) -> Iterator[Path]:
    """Such a file, for as long as a reader needs it."""
    with TemporaryDirectory() as folder:
        yield write_urdf(robot, Path(folder) / "arm.urdf")


def urdf(robot: Robot) -> str:
    """The text of that file. Every joint turns about, or moves along, the z axis of its own frame, as in `Chain`."""
    chain = robot.chain
    links = [BASE, *(f"link{i + 1}" for i in range(chain.dof)), TIP]
    before = [chain.T_base_first, *chain.T_link]
    lines = [f'<link name="{BASE}"/>', *(f'<link name="{name}">{_INERTIAL}</link>' for name in links[1:])]
    for i, T in enumerate(before):
        lines.append(_joint(robot, i, links[i], links[i + 1], T))
    lines.append(f'<joint name="to_tip" type="fixed">{_ends(links[-2], TIP)}{_origin(chain.T_last_tip)}</joint>')
    return '<?xml version="1.0"?>\n<robot name="arm">\n' + "\n".join(lines) + "\n</robot>\n"


def _joint(robot: Robot, i: int, parent: str, child: str, T_parent_joint: NDArray[Any]) -> str:
    chain = robot.chain
    endless = not np.isfinite([chain.lower[i], chain.upper[i]]).all()
    kind = "prismatic" if chain.kinds[i] == "slide" else "continuous" if endless else "revolute"
    bounds = "" if kind == "continuous" else f'lower="{_text(chain.lower[i])}" upper="{_text(chain.upper[i])}" '
    limit = f'<limit {bounds}effort="{STRONG:g}" velocity="{FAST:g}"/>'
    inside = f'{_ends(parent, child)}{_origin(T_parent_joint)}<axis xyz="0 0 1"/>{limit}'
    return f'<joint name="{chain.joint_names[i]}" type="{kind}">{inside}</joint>'


def _ends(parent: str, child: str) -> str:
    return f'<parent link="{parent}"/><child link="{child}"/>'


def _origin(T: NDArray[Any]) -> str:
    xyz, rpy = (" ".join(_text(x) for x in values) for values in (T[:3, 3], roll_pitch_yaw(T[:3, :3])))
    return f'<origin xyz="{xyz}" rpy="{rpy}"/>'


def roll_pitch_yaw(R: NDArray[Any]) -> NDArray[Any]:
    """Angles with R = Rz(yaw) Ry(pitch) Rx(roll); at pitch +-pi/2, where only their sum counts, roll is 0."""
    cosine = np.hypot(R[0, 0], R[1, 0])
    pitch = np.arctan2(-R[2, 0], cosine)
    if cosine < 1e-9:
        return np.array([0.0, pitch, np.arctan2(-R[0, 1], R[1, 1])])
    return np.array([np.arctan2(R[2, 1], R[2, 2]), pitch, np.arctan2(R[1, 0], R[0, 0])])


def _text(x: float) -> str:
    return repr(float(x) + 0.0)
