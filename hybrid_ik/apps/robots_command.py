"""`hybrid-ik robots`: what there is to solve for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tyro

from hybrid_ik.apps.tables import text_table
from hybrid_ik.arm import list_frames
from hybrid_ik.resources import shipped_robots
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.shipped import shipped_networks


@dataclass(frozen=True, kw_only=True)
class RobotsOptions:
    """Joints, limits, frames and networks of robots."""

    robots: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names or files; the shipped robots by default."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(RobotsOptions, prog="hybrid-ik robots", args=list(argv))
    print("\n\n".join(describe(Robot(name)) for name in options.robots or shipped_robots()))
    return 0


def describe(robot: Robot) -> str:
    """A robot in a few lines: frames, networks that match, joints with their limits."""
    networks = [network.path.stem for network in shipped_networks() if network.chain.matches(robot.chain)]
    hinge = robot.chain.hinges
    scale = np.where(hinge, np.degrees(1.0), 1000.0)
    rows = [
        [name, "hinge" if turns else "slide", f"{low:.2f}", f"{high:.2f}", "deg" if turns else "mm"]
        for name, turns, low, high in zip(
            robot.joint_names, hinge, robot.lower * scale, robot.upper * scale, strict=True
        )
    ]
    return "\n".join(
        [
            f"{robot.name}: {robot.dof} joints, tip {robot.tip}, base {robot.base}",
            *list_frames(robot.model).split("; "),
            f"networks: {', '.join(networks) or 'none'}",
            text_table(["joint", "kind", "lower", "upper", "unit"], rows),
        ]
    )
