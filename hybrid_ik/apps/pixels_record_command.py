"""`hybrid-ik pixels record`: episodes of an arm with two dots before two cameras, drawn, with the truth beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from hybrid_ik.apps.pixel_recorder import RecordConfig, record
from hybrid_ik.pixels.recordings.video_writer import Codec
from hybrid_ik.pixels.truth import TRUTH_FILE, Truth


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """Draw episodes of an SO-100 before two cameras, in LeRobot's format. Called again, it continues where it ended."""

    out: Path
    """Folder of the recording."""
    episodes: int = 10
    """How many there are to be in the end."""
    seconds: float = 20.0
    """How long each one is."""
    codec: Codec = "av1"
    """Of the videos."""
    config: Annotated[RecordConfig, tyro.conf.arg(name="")] = field(default_factory=RecordConfig)
    """What is recorded."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    settings = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(RecordOptions, prog="hybrid-ik pixels record", args=list(argv), config=settings)
    truth = record(
        options.out,
        options.config,
        n_episodes=options.episodes,
        seconds=options.seconds,
        codec=options.codec,
        progress=True,
    )
    print(describe(options.out, truth))
    return 0


def describe(root: Path, truth: Truth) -> str:
    """What was recorded, in a few lines."""
    lines = [
        f"{root}: {truth.n_episodes} episodes, {len(truth.episode)} frames; pictures are {truth.lag:g} frames late",
        f"{root / TRUTH_FILE}: joints, dots and cameras as they were",
    ]
    for number, name in enumerate(truth.cameras if len(truth.episode) else ()):
        seen = truth.visible[:, number].mean(0)
        shares = ", ".join(f"{dot} {share:.0%}" for dot, share in zip(truth.dots, seen, strict=True))
        lines.append(f"  {name} sees in its pictures: {shares}")
    return "\n".join(lines)
