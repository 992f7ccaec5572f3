"""`hybrid-ik export`: a network for programs that run ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import load_network
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.export import INPUTS, OUTPUTS, export_onnx
from hybrid_ik.robot import Robot


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write a network as an ONNX file: poses of the tip in the base to starts, for instance in ONNX Runtime."""

    network: tyro.conf.Positional[Path]
    """A network file, as hybrid-ik train writes it."""
    onnx: Path
    """The file to write."""
    robot: str | None = None
    """The arm with another mount or tool: a shipped name, an MJCF or URDF file, or a robot_descriptions name. By
    default as it was trained."""
    tip: str | None = None
    """The frame that poses are of: a site or a body (with --robot)."""
    base: str | None = None
    """The frame they are given in: a site or a body (with --robot); the world by default."""
    starts: int = 64
    """Starts of a pose where the file is given no noises."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(ExportOptions, prog="hybrid-ik export", args=list(argv))
    network = load_network(options.network)
    export_onnx(network, options.onnx, _chain(options), options.starts)
    print(f"{options.onnx}: {options.onnx.stat().st_size} bytes; {', '.join(INPUTS)} -> {', '.join(OUTPUTS)}")
    return 0


def _chain(options: ExportOptions) -> Chain | None:
    if options.robot is not None:
        return Robot(options.robot, tip=options.tip, base=options.base).chain
    if options.tip is not None or options.base is not None:
        raise InvalidInputError(
            "--tip and --base are frames of a robot, and no --robot was given; a network file knows only the tip and "
            "the base that it was trained with"
        )
    return None
