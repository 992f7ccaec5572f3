"""`hybrid-ik pixels predict`: joints for the pixels of dots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError

if TYPE_CHECKING:
    from hybrid_ik.samplers.pixel import PixelSampler

FOUND, NOTHING_FOUND = 0, 1


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Joints for the pixels of the dots, as a network answers them, one line for each of several.

    With --rig the answer is refined until the dots lie where they are seen; status 1 where they do not come to.
    """

    dots: tuple[float, ...]
    """What the network is told [pixels]: x1 y1 x2 y2, the middle of the dots in each camera, by default; or x and y of
    each dot in the first camera, then in the second one, as --rig wants it."""
    network: Path = Path("runs/pixels/train/network.safetensors")
    """A network of `hybrid-ik pixels train`."""
    rig: Path | None = None
    """What `hybrid-ik pixels calibrate` wrote: refine the answer on the pixels."""
    n: int = 1
    """Different answers; more than one from a MeanFlow network only. With --rig, starts of which the best counts."""
    gripper: bool = False
    """Append the jaw, half open."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    settings = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(PredictOptions, prog="hybrid-ik pixels predict", args=list(argv), config=settings)
    from hybrid_ik.samplers.pixel import GRIPPER, PixelSampler

    sampler = PixelSampler(options.network)
    rows, status = _refined(sampler, options) if options.rig else (_proposed(sampler, options), FOUND)
    for row in rows:
        print(" ".join(f"{value:.3f}" for value in (*row, *([GRIPPER] if options.gripper else []))))
    return status


def _proposed(sampler: PixelSampler, options: PredictOptions) -> NDArray[np.float64]:
    """As the network answers `(n, n_joints)`."""
    if not np.isfinite(options.dots).all():
        raise InvalidInputError(f"--dots: a network needs all pixels, got {options.dots}; with --rig some may be nan")
    return sampler.predict(options.dots)[None] if options.n == 1 else sampler.sample(options.dots, options.n)


def _refined(sampler: PixelSampler, options: PredictOptions) -> tuple[NDArray[np.float64], int]:
    """The answer that explains the pixels best `(1, n_joints)`, and the exit status; how badly is said beside it."""
    from hybrid_ik.pixels.pixel_solver import PixelSolver
    from hybrid_ik.pixels.rig import load_rig
    from hybrid_ik.result import Status

    assert options.rig is not None
    rig = load_rig(options.rig)
    shape = len(rig.cameras), rig.dots.n_dots, 2
    if len(options.dots) != np.prod(shape):
        raise InvalidInputError(
            f"--dots: with --rig expected x and y of {shape[1]} dots in each of {shape[0]} cameras, "
            f"{np.prod(shape)} numbers, got {len(options.dots)}"
        )
    found = PixelSolver(rig, sampler, n_starts=options.n).solve(np.reshape(options.dots, shape))
    if found.status == Status.INVALID_INPUT:
        raise InvalidInputError(f"--dots: {len(rig.joint_names)} numbers or more must be seen to find as many joints")
    if not found.success:
        print(f"the dots lie {found.pixel_error:.1f} px from where these joints have them", file=sys.stderr)
    return rig.from_model(found.q)[None], FOUND if found.success else NOTHING_FOUND
