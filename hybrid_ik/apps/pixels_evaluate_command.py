"""`hybrid-ik pixels evaluate`: how well joints are found in episodes that nothing was learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

from hybrid_ik.apps.pixels_calibrate_command import ArmOptions
from hybrid_ik.apps.tables import text_table
from hybrid_ik.errors import InvalidInputError

if TYPE_CHECKING:
    from hybrid_ik.pixels.evaluation import Answers
    from hybrid_ik.samplers.pixel import PixelSampler


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ArmOptions):
    """Compare networks, with and without refinement, on episodes that they were not trained on.

    The cameras are calibrated from the other episodes.
    """

    networks: tuple[Path, ...] = (Path("runs/pixels/train/network.safetensors"),)
    """Of `hybrid-ik pixels train`, all with the same split of the episodes."""
    data: Path = Path("runs/pixels/processed.npz")
    """What `preprocess` wrote."""
    arm: bool = False
    """Also find the zeros of the joints and the places of the dots, as `calibrate --arm` does."""
    tip: str | None = None
    """The frame whose errors are told; by default the arm's own."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    settings = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(EvaluateOptions, prog="hybrid-ik pixels evaluate", args=list(argv), config=settings)
    from hybrid_ik.pixels.evaluation import compare_ways, held_out_episodes
    from hybrid_ik.pixels.processed import load_processed
    from hybrid_ik.pixels.rig import calibrate_rig
    from hybrid_ik.robot import Robot
    from hybrid_ik.samplers.pixel import PixelSampler

    samplers = _named([PixelSampler(path) for path in options.networks])
    recording, episodes = load_processed(options.data), held_out_episodes(samplers)
    if not len(recording.of_episodes(episodes)):
        there = ", ".join(map(str, np.unique(recording.episode)))
        raise InvalidInputError(
            f"{options.data}: expected some of the episodes {episodes}, which the networks were not trained on; it has "
            f"{there}. Give the recording that they were trained on"
        )
    robot = options.arm_with_dots()
    rig = calibrate_rig(recording.without_episodes(episodes), robot, options.sites, arm=options.arm)
    kept = recording.of_episodes(episodes)
    answers = compare_ways(kept, rig, samplers, Robot(options.robot, tip=options.tip))
    print(f"{len(kept)} frames of the episodes {', '.join(map(str, episodes))}")
    print(f"cameras explain the pixels of the others to {rig.pixel_error:.2f} px (median)\n")
    print(tip_table(answers), joint_table(answers, recording.joint_names), sep="\n\n")
    return 0


def _named(samplers: Sequence[PixelSampler]) -> dict[str, PixelSampler]:
    """Networks by what they are called; alike ones with their files, too."""
    names = [_name(sampler) for sampler in samplers]
    return {
        name if names.count(name) == 1 else f"{name} ({sampler.file.path})": sampler
        for name, sampler in zip(names, samplers, strict=True)
    }


def _name(sampler: PixelSampler) -> str:
    """What a network is called in the tables."""
    told = "the middle of the dots" if sampler.features == "middle" else "all dots"
    return f"{'MeanFlow' if sampler.gives_several else 'MLP'} on {told}"


def tip_table(answers: Sequence[Answers]) -> str:
    """Errors of the tip, a line for each way."""
    numbers = [(*(a.tip_quantile(share) for share in (0.5, 0.95)), 100 * a.answered, 1e3 * a.seconds) for a in answers]
    rows = [[a.name, *(f"{x:.2f}" for x in row)] for a, row in zip(answers, numbers, strict=True)]
    return text_table(["way", "tip, median [mm]", "95 % [mm]", "answered [%]", "ms a frame"], rows)


def joint_table(answers: Sequence[Answers], names: Sequence[str]) -> str:
    """Median errors of each joint, a line for each way."""
    rows = [[a.name, *(f"{error:.2f}" for error in a.joint_quantile(0.5))] for a in answers]
    return text_table(["way", *(f"{name} [deg]" for name in names)], rows)
