"""`hybrid-ik pixels train`: a network from pixels to joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from hybrid_ik.learning.loop import NETWORK_FILE
from hybrid_ik.learning.pixels import PixelConfig, train_pixels
from hybrid_ik.pixels.processed import load_processed


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train a network from the pixels of dots to joints. Ctrl-C saves and ends; --resume continues, bit for bit."""

    data: Path = Path("runs/pixels/processed.npz")
    """What `preprocess` wrote."""
    resume: bool = False
    """Continue the run in --out."""
    config: Annotated[PixelConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: PixelConfig(out=Path("runs/pixels/train"))
    )
    """How to train."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    settings = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(TrainOptions, prog="hybrid-ik pixels train", args=list(argv), config=settings)
    network = train_pixels(load_processed(options.data), options.config, resume=options.resume)
    print(f"{options.config.out / NETWORK_FILE}: step {network.record['steps']}")
    for name, value in network.record.get("measures", {}).items():
        print(f"  {name.replace('_', ' ')}: {value:.4g}")
    return 0
