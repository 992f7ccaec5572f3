"""The command `hybrid-ik`: `solve`, `view`, `train`, `export`, `pixels`, `robots` and `info`."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence

from hybrid_ik.errors import HybridIKError

COMMANDS = {
    "solve": ("solve_command", "joint angles that put an arm's tip at a pose"),
    "view": ("view_command", "see the answers of an arm while its target is dragged: a window, or a web page"),
    "train": ("train_command", "train a network that proposes starts for an arm"),
    "export": ("export_command", "write a network as an ONNX file, for other programs"),
    "pixels": ("pixels_command", "joints from the pixels of dots in videos: recordings, networks, cameras, answers"),
    "robots": ("robots_command", "robots that come with the package: joints, limits, frames, networks"),
    "info": ("info_command", "versions, folders, rendering; or the record of a network file"),
}
FOUND, NOTHING_FOUND, MISUSE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after the program's name; those of this process by default.

    Returns:
        The exit status: 0, 1 when no answer was found, 2 when the command was not understood or cannot be done.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return FOUND if words else MISUSE
    if words[0] not in COMMANDS:
        print(f"hybrid-ik: no command {words[0]!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return MISUSE
    command = importlib.import_module(f"hybrid_ik.apps.{COMMANDS[words[0]][0]}")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    for slow in ("hybrid_ik.kernels", "hybrid_ik.pixels.recordings"):  # what compiles or downloads says so
        logging.getLogger(slow).setLevel(logging.INFO)
    try:
        return int(command.main(words[1:]))
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FOUND
    except (HybridIKError, OSError) as error:
        print(f"hybrid-ik {words[0]}: {error}", file=sys.stderr)
        return MISUSE


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {summary}" for name, (_, summary) in COMMANDS.items()]
    title = ["usage: hybrid-ik COMMAND [options]", "", "Inverse kinematics for arms in MuJoCo.", "", "commands:"]
    return "\n".join([*title, *lines, "", "hybrid-ik COMMAND --help lists the options of one."])


if __name__ == "__main__":
    sys.exit(main())
