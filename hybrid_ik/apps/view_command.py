"""`hybrid-ik view`: the answers of an arm while its target is dragged, in a window or in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

if TYPE_CHECKING:
    from hybrid_ik.apps.explorer import Explorer


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """See the answers of an arm while its target is dragged, in MuJoCo's window, or in a browser."""

    robot: str = "panda"
    """A shipped name, an MJCF or URDF file, or a robot_descriptions name."""
    tip: str | None = None
    """The frame to be placed: a site or a body."""
    base: str | None = None
    """The frame that joints are counted from: a site or a body; the world by default."""
    n_solutions: Annotated[int, tyro.conf.arg(aliases=("-n",))] = 16
    """Answers that are shown at first, up to 32."""
    sampler: Literal["network", "random", "lookup"] | None = None
    """What proposes starts at first; the network by default, where there is one for the arm."""
    network: Path | None = None
    """A network file, in place of the shipped one."""
    web: bool = False
    """A page in the browser, for machines without a display (needs the extra `viewer`)."""
    host: str = "127.0.0.1"
    """Where the page is served: 0.0.0.0 lets other machines see, and use, it."""
    port: int = 8080
    """The page's port; the next free one if it is taken."""
    seconds: float = np.inf
    """End after this time."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(ViewOptions, prog="hybrid-ik view", args=list(argv), config=(tyro.conf.FlagCreatePairsOff,))
    show = _serve if options.web else _open_window
    try:
        show(options)
    except KeyboardInterrupt:  # the usual way to end it
        pass
    return 0


def make_explorer(options: ViewOptions) -> Explorer:
    """The arm with a target where its home posture has it."""
    from hybrid_ik.apps.explorer import MOST_ANSWERS, Explorer
    from hybrid_ik.errors import InvalidInputError
    from hybrid_ik.robot import Robot

    if not 1 <= options.n_solutions <= MOST_ANSWERS:
        raise InvalidInputError(f"-n: expected 1 to {MOST_ANSWERS} answers, got {options.n_solutions}")
    robot = Robot(options.robot, tip=options.tip, base=options.base)
    explorer = Explorer(robot, network=options.network)
    explorer.settings.n_solutions = options.n_solutions
    explorer.settings.sampler = options.sampler or explorer.settings.sampler
    explorer.update()
    return explorer


def _open_window(options: ViewOptions) -> None:
    from hybrid_ik.apps.viewer import view

    view(make_explorer(options), options.seconds)


def _serve(options: ViewOptions) -> None:
    from hybrid_ik.apps.web import serve_explorer

    with serve_explorer(make_explorer(options), host=options.host, port=options.port) as page:
        if page.asked_port and page.port != page.asked_port:  # 0 asks for any
            print(f"port {page.asked_port} is in use")
        print(f"open {page.url} in a browser and drag the frame; Ctrl-C ends", flush=True)
        page.wait(None if np.isinf(options.seconds) else options.seconds)
