"""Whether a window can be opened here. MuJoCo's viewer ends the whole process where none can."""

from __future__ import annotations

import os
import subprocess
import sys

from hybrid_ik.errors import HybridIKError

PATIENCE = 30.0  # s
# In a process of its own, for drivers may end it. What MuJoCo's window needs: a display, and OpenGL on it.
PROBE = """
import sys, warnings
import glfw
warnings.simplefilter("ignore")
if not glfw.init():
    sys.exit("no display answers")
glfw.window_hint(glfw.VISIBLE, glfw.FALSE)
if not glfw.create_window(64, 64, "", None, None):
    sys.exit("the display has no OpenGL")
"""


class DisplayUnavailableError(HybridIKError):
    """No window can be opened; the message says why, and what shows the same without one."""


def check_display() -> None:
    """Nothing where a window can be opened.

    Raises:
        DisplayUnavailableError: there is no display, or no OpenGL on it.
    """
    reason = _reason()
    if reason:
        raise DisplayUnavailableError(
            f"no window can be opened here ({reason}). `hybrid-ik view --web` shows the same in a browser, also in one "
            "on another machine, and `hybrid-ik solve --png` draws a picture without either"
        )


def _reason() -> str:
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"the display did not answer within {PATIENCE:g} s"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip() or f"opening one ends a process with status {done.returncode}").splitlines()[-1]
