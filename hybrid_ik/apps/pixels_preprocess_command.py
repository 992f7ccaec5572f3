"""`hybrid-ik pixels preprocess`: follow the dots through a recording, and pair them with joints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from hybrid_ik.errors import InvalidInputError

if TYPE_CHECKING:
    from hybrid_ik.pixels.lag import Lag
    from hybrid_ik.pixels.preprocess import PreprocessConfig
    from hybrid_ik.pixels.processed import ProcessedRecording

TRACKS = "tracks"  # folder of them, beside the processed recording


@dataclass(frozen=True, kw_only=True)
class PreprocessOptions:
    """Follow the dots through a recording, and write them beside the joints. Called again, it goes on."""

    data: str
    """A recording in LeRobot's format: a folder, or a name on the hub."""
    dots: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CAMERA X1 Y1 X2 Y2")]
    """For each camera its name, then x and y of each dot [pixels], as `find-dots` prints them."""
    first_frame: int = 0
    """Frame of the first episode in which the dots are there, and their colours are learned; `find-dots` says it."""
    out: Path = Path("runs/pixels/processed.npz")
    """Where to write; tracks of each episode are kept in a folder beside it."""
    frame_offset: int | None = 6
    """Frames by which pictures are late against joints; `None` estimates it."""
    max_frames: int | None = None
    """Frames of each episode that are followed."""
    units: Literal["degrees", "normalised"] | None = None
    """Of the joints, where the recording does not say."""
    leave_out: tuple[int, ...] = ()
    """Episodes that are not wanted, because something is wrong with them."""
    tracker: Literal["colour", "cotracker"] = "colour"
    """What follows the dots; cotracker is fetched by torch.hub, and its licence is not for commercial use."""
    device: str = "cpu"
    """Of torch, for cotracker."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    argv = _joined(list(argv))
    options = tyro.cli(PreprocessOptions, prog="hybrid-ik pixels preprocess", args=argv)
    from hybrid_ik.pixels.preprocess import PreprocessConfig, arm_joints, follow_recording, pair_recording
    from hybrid_ik.pixels.processed import save_processed
    from hybrid_ik.pixels.recordings.dataset import open_dataset

    dataset = open_dataset(options.data, units=options.units, leave_out=options.leave_out)
    arm_joints(dataset)  # before hours of following
    config = PreprocessConfig(
        dots=parse_dots(options.dots),
        first_frame=options.first_frame,
        lag=options.frame_offset,
        max_frames=options.max_frames,
        tracker=options.tracker,
        device=options.device,
    )
    tracks = follow_recording(dataset, config, options.out.parent / TRACKS, _bar)
    recording, lag = pair_recording(dataset, tracks, config)
    save_processed(options.out, recording)
    print(describe(options.out, recording, config, lag))
    return 0


def parse_dots(words: Sequence[str]) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Camera names, each followed by the numbers of its dots, as arrays `(n_dots, 2)`."""
    found: dict[str, list[float]] = {}
    camera = None
    for word in words:
        try:
            value = float(word)
        except ValueError:
            if word in found:
                raise InvalidInputError(f"--dots: camera {word!r} is there twice") from None
            camera, found[word] = word, []
            continue
        if camera is None:
            raise InvalidInputError(f"--dots: expected the name of a camera before {word!r}")
        found[camera].append(value)
    for name, numbers in found.items():
        if not numbers or len(numbers) % 2:
            raise InvalidInputError(f"--dots: expected x and y of each dot after {name!r}, got {numbers}")
    return {name: np.reshape(numbers, (-1, 2)) for name, numbers in found.items()}


def describe(path: Path, recording: ProcessedRecording, config: PreprocessConfig, lag: Lag | None) -> str:
    """What was written, in a few lines."""
    lost = np.isnan(recording.dots).any(-1).mean(0)
    lines = [f"{path}: {len(recording)} frames of {len(np.unique(recording.episode))} episodes"]
    lines += [
        f"  {camera}: {', '.join(f'{share:.1%}' for share in shares)} of the frames without the dot"
        for camera, shares in zip(config.dots, lost, strict=True)
    ]
    lines.append(f"  {lag.words}" if lag else f"  pictures are {recording.lag:g} frames late, as was said")
    return "\n".join(lines)


def _joined(argv: list[str]) -> list[str]:
    """One `--dots` with all that follows each of them: the option may be given once for each camera."""
    dots: list[str] = []
    rest: list[str] = []
    into = rest
    for word in argv:
        if word == "--dots":
            into = dots
        elif word.startswith("--"):
            into = rest
            rest.append(word)
        else:
            into.append(word)
    return [*rest, "--dots", *dots] if dots else rest


def _bar(frames: Iterable[Any], label: str, count: int) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(frames, desc=label, total=count, unit="frame", disable=None)
