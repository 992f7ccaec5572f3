"""Drawing without a window: a place in memory that OpenGL draws into, by EGL or else by OSMesa."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any

from hybrid_ik.errors import HybridIKError

BACKENDS = {"linux": ("egl", "osmesa"), "darwin": ("cgl",), "win32": ("glfw",)}
SWITCHED_OFF = ("disable", "disabled", "off", "false", "0")

REMEDY = (
    "On Debian and Ubuntu one of these packages brings what is missing: libegl1 with libgl1-mesa-dri (EGL), or "
    "libosmesa6 (OSMesa)"
)


class RenderingUnavailableError(HybridIKError):
    """There is no OpenGL to draw with; the message says which package brings one."""


def open_context(width: int, height: int) -> Any:
    """A MuJoCo `GLContext` without a window, made current: EGL, then OSMesa; call its `free` when done.

    If the variable MUJOCO_GL names a backend, only that one is tried. No environment variable is left changed, except
    that PyOpenGL keeps its own note, PYOPENGL_PLATFORM, of the backend that works.

    Raises:
        RenderingUnavailableError: no backend works, or MUJOCO_GL switches rendering off.
    """
    reasons = []
    for backend in wanted_backends():
        try:
            return _open(backend, width, height)
        except Exception as error:  # a missing library, driver or display: every backend fails in ways of its own
            reasons.append(f"{backend}: {_first_line(error)}")
    tried = "; ".join(reasons) or f"MUJOCO_GL={os.environ.get('MUJOCO_GL')} switches rendering off"
    raise RenderingUnavailableError(f"no picture can be drawn here ({tried}). {REMEDY}")


def working_backend() -> str | None:
    """Name of the backend that `open_context` would take here; None where there is none."""
    for backend in wanted_backends():
        try:
            _open(backend, 16, 16).free()
        except Exception:  # as in `open_context`
            continue
        return backend
    return None


def wanted_backends() -> tuple[str, ...]:
    """Backends to try on this system, in their order; only the one that MUJOCO_GL names, if it names one."""
    asked = os.environ.get("MUJOCO_GL", "").lower().strip()
    if asked in SWITCHED_OFF:
        return ()
    if asked in ("egl", "osmesa", "glfw", "cgl"):
        return (asked,)
    return BACKENDS.get(sys.platform, ("glfw",))


def _open(backend: str, width: int, height: int) -> Any:
    """A context of one backend. If it fails, all that it has loaded is taken back: PyOpenGL would stick to it."""
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401 - brings an LLVM, as Mesa does: torch, which loads it later, would crash
    loaded, platform = set(sys.modules), os.environ.get("PYOPENGL_PLATFORM")
    try:
        context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        context.make_current()
        return context
    except Exception:
        for name in set(sys.modules) - loaded:
            if name.startswith(("OpenGL", f"mujoco.{backend}")):
                del sys.modules[name]
        if platform is None:
            os.environ.pop("PYOPENGL_PLATFORM", None)
        raise


def _first_line(error: Exception) -> str:
    """What went wrong, in one line; PyOpenGL has errors that cannot even be printed."""
    try:
        text = str(error).strip()
    except Exception:
        text = ""
    return text.splitlines()[0].split(". ")[0] if text else type(error).__name__
