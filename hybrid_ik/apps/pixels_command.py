"""`hybrid-ik pixels`: joints of an arm from the pixels of dots on it; each step is a command of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

# Modules in `hybrid_ik.apps` with `main(argv) -> exit status`; loaded when asked for.
STEPS = {
    "record": ("pixels_record_command", "a recording to try things on: two cameras, two dots, known joints and pixels"),
    "find-dots": ("pixels_find_command", "first positions of the dots, proposed for each camera"),
    "preprocess": ("pixels_preprocess_command", "follow the dots through a recording, and pair them with joints"),
    "verify-dots": ("pixels_verify_command", "the dots that were followed, drawn into pictures and videos"),
    "train": ("pixels_train_command", "a network from the pixels of the dots to joints"),
    "calibrate": ("pixels_calibrate_command", "the cameras, from the recording: to refine joints on pixels"),
    "evaluate": ("pixels_evaluate_command", "how well joints are found in episodes that nothing was learned from"),
    "predict": ("pixels_predict_command", "joints for the pixels of the dots"),
}
MISUSE = 2


def main(argv: Sequence[str]) -> int:
    """Run one step; returns its exit status, 2 for one that is not there."""
    words = list(argv)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else MISUSE
    if words[0] not in STEPS:
        print(f"hybrid-ik pixels: no step {words[0]!r}; there are: {', '.join(STEPS)}", file=sys.stderr)
        return MISUSE
    return int(importlib.import_module(f"hybrid_ik.apps.{STEPS[words[0]][0]}").main(words[1:]))


def _overview() -> str:
    width = max(map(len, STEPS))
    title = [
        "usage: hybrid-ik pixels STEP [options]",
        "",
        "Joints of an arm from the pixels of dots on it.",
        "",
        "steps:",
    ]
    lines = [f"  {name.ljust(width)}  {summary}" for name, (_, summary) in STEPS.items()]
    return "\n".join([*title, *lines, "", "hybrid-ik pixels STEP --help lists the options of one."])
