"""`hybrid-ik train`: a network for an arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from hybrid_ik.learning.data import ValidationSet
from hybrid_ik.learning.loop import NETWORK_FILE
from hybrid_ik.learning.training import TrainConfig, train
from hybrid_ik.robot import Robot


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train a network that proposes starts for an arm. Ctrl-C saves and ends; --resume continues, bit for bit."""

    robot: str = "panda"
    """A shipped name, an MJCF or URDF file, or a robot_descriptions name."""
    tip: str | None = None
    """A site or a body at the end of the arm."""
    base: str | None = None
    """A site or a body at its beginning; the world by default."""
    resume: bool = False
    """Continue the run in --out."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    """How to train."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(TrainOptions, prog="hybrid-ik train", args=list(argv), config=(tyro.conf.FlagCreatePairsOff,))
    robot = Robot(options.robot, tip=options.tip, base=options.base)
    network = train(robot.chain, options.config, validation=exact_validation(robot), resume=options.resume)
    print(f"{options.config.out / NETWORK_FILE}: step {network.record['steps']} of {options.config.all_steps}")
    for name, value in network.record.get("measures", {}).items():
        print(f"  {name.replace('_', ' ')}: {value:.4g}")
    return 0


def exact_validation(robot: Robot) -> ValidationSet:
    """The joints of `ValidationSet.from_chain`, with their poses by MuJoCo itself."""
    q = ValidationSet.from_chain(robot.chain).q
    return ValidationSet(q, *robot.chain.first_last(robot.forward_kinematics(q)))
