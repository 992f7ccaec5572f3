"""`hybrid-ik pixels predict`: joints for the pixels of dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Joints for the pixels of the dots, as a network answers them, one line for each of several."""

    dots: tuple[float, ...]
    """What the network is told [pixels]: x1 y1 x2 y2, the middle of the dots in each camera, by default."""
    network: Path = Path("runs/pixels/train/network.safetensors")
    """A network of `hybrid-ik pixels train`."""
    n: int = 1
    """Different answers; more than one from a MeanFlow network only."""
    gripper: bool = False
    """Append the jaw, half open."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    settings = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(PredictOptions, prog="hybrid-ik pixels predict", args=list(argv), config=settings)
    from hybrid_ik.samplers.pixel import PixelSampler

    sampler = PixelSampler(options.network)
    predict = sampler.predict_with_gripper if options.gripper else sampler.predict
    rows = predict(options.dots)[None] if options.n == 1 else sampler.sample(options.dots, options.n)
    for row in np.atleast_2d(rows):
        print(" ".join(f"{value:.3f}" for value in row))
    return 0
