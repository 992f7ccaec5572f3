"""`hybrid-ik pixels calibrate`: the cameras of a recording, from its joints and the model of the arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from hybrid_ik.errors import InvalidInputError

if TYPE_CHECKING:
    from hybrid_ik.pixels.rig import Rig
    from hybrid_ik.robot import Robot

SITES = ("dot_fixed_jaw", "dot_moving_jaw")
RIG_FILE = Path("runs/pixels/rig.json")


@dataclass(frozen=True, kw_only=True)
class ArmOptions:
    """The arm that a recording shows."""

    robot: str = "so100"
    """A shipped name, a file or a robot_descriptions name."""
    sites: tuple[str, ...] = SITES
    """Of its model, where the dots are, in any order; the last one on the jaw that moves, if there is one."""

    def arm_with_dots(self) -> Robot:
        """The arm, its jaw among its joints if that carries the last dot."""
        from hybrid_ik.robot import Robot

        if not self.sites:
            raise InvalidInputError("--sites: expected a site of the model for each dot, got none")
        return Robot(self.robot, tip=self.sites[-1])


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(ArmOptions):
    """Find the cameras of a recording, so that joints can be refined on its pixels."""

    data: Path = Path("runs/pixels/processed.npz")
    """What `preprocess` wrote."""
    out: Path = RIG_FILE
    """Where the rig is written."""
    arm: bool = False
    """Also find the zeros of the joints and the places of the dots: for an arm that was built by hand."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    settings = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(CalibrateOptions, prog="hybrid-ik pixels calibrate", args=list(argv), config=settings)
    from hybrid_ik.pixels.processed import load_processed
    from hybrid_ik.pixels.rig import calibrate_rig, save_rig

    rig = calibrate_rig(load_processed(options.data), options.arm_with_dots(), options.sites, arm=options.arm)
    save_rig(options.out, rig)
    print(describe(options.out, rig))
    return 0


def describe(path: Path, rig: Rig) -> str:
    """What was found, in a few lines."""
    lines = [f"{path}: dots {', '.join(rig.dots.sites)}; {rig.pixel_error:.2f} px off (median)"]
    for name, camera in rig.cameras.items():
        place = ", ".join(f"{x:.3f}" for x in camera.position)
        lines.append(f"  {name}: stands at ({place}) m, focal length {camera.focal_lengths[0]:.1f} px")
    if rig.offsets.any():
        shifts = "; ".join(f"{1e3 * sum(shift**2) ** 0.5:.1f}" for shift in rig.dots.shifts)
        zeros = ", ".join(f"{x:.4f}" for x in rig.offsets)
        lines.append(f"  zeros of the joints are off by {zeros} rad, dots by {shifts} mm")
    return "\n".join(lines)
