"""A page in the browser: drag a frame, see all the answers in real time. On viser, which the extra `viewer` brings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.explorer import Explorer, Settings, distance_colours
from hybrid_ik.apps.web_panel import Panel
from hybrid_ik.apps.web_scene import Scene
from hybrid_ik.apps.web_server import browser_address, free_port, import_viser, quiet
from hybrid_ik.apps.worker import Worker
from hybrid_ik.errors import HybridIKError
from hybrid_ik.loading import Source
from hybrid_ik.pose import Pose
from hybrid_ik.resources import shipped_robots
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]
logger = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 8080  # this machine only, unless told otherwise
FRAME = 1 / 30  # s, of a glide
GLIDE_STEP = 0.02  # rad, in each


class Page:
    """A page that is served until it is closed. Made by `serve`; use it in a `with` block, or call `close`."""

    port: int
    """Where it is served."""
    asked_port: int
    """Where it was to be served; if that was in use, `port` is the next free one."""
    url: str
    """What to open in a browser."""

    def __init__(self, sources: dict[str, Any], explorer: Explorer, name: str, host: str, port: int) -> None:
        self.asked_port, self.port = port, free_port(host, port)
        self.explorer = explorer
        """What is looked at; changed by the worker only."""
        self._sources, self._name = sources, name
        with quiet():
            self._server = import_viser().ViserServer(host=host, port=self.port, label="hybrid_ik", verbose=False)
        self.port = self._server.get_port()
        self.url = f"http://{browser_address(host)}:{self.port}"
        self._over = threading.Event()
        self._order: NDArray[np.intp] = np.zeros(1, np.intp)
        self._turned = self._placed = False
        self.worker = Worker(self.refresh, self._failed, self._glide_on)
        try:
            self._server.gui.configure_theme(show_logo=False, show_share_button=False)
            self._furnish(explorer, name)
            self.refresh()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def wait(self, seconds: float | None = None) -> None:
        """Return when the page is closed, or after so many seconds."""
        self._over.wait(seconds)

    def close(self) -> None:
        """Stop the server and its threads; harmless when done twice."""
        if self._over.is_set():
            return
        self._over.set()
        self.worker.close()
        with quiet():
            self._server.stop()

    def refresh(self) -> None:
        """Show what the explorer has: arms, texts and curves, sent to all who look as one change."""
        explorer = self.explorer
        result = explorer.shown.result
        chain = explorer.robot.chain
        distance = np.linalg.norm(chain.shortest_way(result.q - result.q[0]), axis=-1)
        self._order = np.r_[0, 1 + np.argsort(distance[1:], kind="stable")]
        distance = distance[self._order]
        colours, q = distance_colours(distance), result.q[self._order]
        with self._server.atomic():
            self._scene.draw(q, colours)
            tip = explorer.robot.forward_kinematics(q[0])
            self._scene.point_at(tip, explorer.target, missed=not explorer.shown.reached)
            if self._placed:
                self._scene.move_gizmo(explorer.target)
            held = self._turned or self.worker.waiting  # what waits may come from a slider that is farther on by now
            self._panel.show(self._order, distance, colours, gliding=self._gliding, held=held)
        self._turned = self._placed = False

    def drag(self, T_base_target: Pose) -> None:
        """What the frame in the picture calls when it is dragged, and has no need to be moved itself."""
        self._ask_target(T_base_target, placed=False)

    def move(self, T_base_target: Pose) -> None:
        """Move the target; a newer one takes its place if it comes before there was time."""
        self._ask_target(T_base_target, placed=True)

    def change(self, setting: str, value: Any) -> None:
        """Change one of the `Settings`."""

        def job() -> None:
            self.explorer.settings = replace(self.explorer.settings, **{setting: value})
            self.explorer.update()

        self.worker.ask(f"setting {setting}", job)

    def switch_robot(self, name: str) -> None:
        """Show another robot, by its name in the list."""
        self.worker.ask("robot", lambda: self._switch_robot(name))

    def pick(self, number: int) -> None:
        """Make an answer solid, by its number in the table, counted from 1."""

        def job() -> None:
            if number <= len(self._order):
                self.explorer.choose(int(self._order[number - 1]))

        self.worker.ask("pick", job)

    def pick_next(self) -> None:
        """Make another answer solid; all of them have their turn."""
        self.worker.ask("next", lambda: _ignore(self.explorer.choose(len(self.explorer.shown.result) - 1)))

    def turn(self, joint: int, value: float) -> None:
        """Move the solid arm along its curve to where a joint has a value [rad, or m]."""

        def job() -> None:
            self._turned = True
            self.explorer.turn_joint(joint, value)

        self.worker.ask("turn", job)

    def glide(self, on: bool) -> None:
        """Move the solid arm with its tool at rest, or stop it."""

        def job() -> None:
            self.worker.period = FRAME if on else None

        self.worker.ask("glide", job)

    def go_home(self) -> None:
        """Move the target to where the tip is at home."""
        robot = self.explorer.robot
        self.move(robot.forward_kinematics(robot.home))

    def redraw(self) -> None:
        """Show the same again, after another choice of what is to be seen of it."""
        self.worker.ask("redraw", lambda: None)

    @property
    def _gliding(self) -> bool:
        return self.worker.period is not None

    def _ask_target(self, T_base_target: Pose, placed: bool) -> None:
        def job() -> None:
            self.worker.period, self._placed = None, placed
            self.explorer.move(T_base_target)

        self.worker.ask("target", job)

    def _furnish(self, explorer: Explorer, name: str) -> None:
        """Scene and panel for another explorer."""
        explorer.update()  # once more: the first time says how long it takes to prepare a solver
        self.explorer, self._name = explorer, name
        self._scene = Scene(self._server, explorer.robot, self.drag, lambda row: self.pick(row + 1))
        self._panel = Panel(self._server, explorer, list(self._sources), name, self)
        self._scene.move_gizmo(explorer.target)

    def _switch_robot(self, name: str) -> None:
        self.worker.period = None
        old = self.explorer.settings
        try:
            explorer = Explorer(Robot(self._sources[name]))
        except HybridIKError:
            self._furnish(self.explorer, self._name)
            raise
        kept = {"n_solutions": old.n_solutions, "min_distance": old.min_distance, "refine": old.refine}
        explorer.settings = replace(explorer.settings, **kept)  # type: ignore[arg-type]
        self._furnish(explorer, name)

    def _glide_on(self) -> None:
        if not self.explorer.glide(GLIDE_STEP):
            self.worker.period = None

    def _failed(self, error: Exception) -> None:
        logger.error("the page could not do what was asked", exc_info=error)
        self.worker.period = None
        self._panel.fail(f"{type(error).__name__}: {error}")


def serve(
    robot: Source | Robot = "panda",
    *,
    tip: str | None = None,
    base: str | None = None,
    host: str = HOST,
    port: int = PORT,
    settings: Settings | None = None,
    network: Any = None,
    robots: Sequence[str] | None = None,
) -> Page:
    """Serve a page that shows the answers of a robot for a frame that is dragged in the browser.

    Args:
        robot: as `Robot` takes it.
        tip: the frame to be placed.
        base: the frame that targets are in.
        host: address to listen at; this machine only by default, "0.0.0.0" for every network it is in.
        port: where to listen; the next free one if it is in use, any if 0.
        settings: where to begin.
        network: a network file of this robot; the shipped one by default.
        robots: names or files to choose among, besides `robot`; the shipped robots by default.

    Raises:
        ViewerUnavailableError: viser is not installed.
        InvalidInputError: a host or port that cannot be listened at.
        RobotError: no such robot, tip or base.
    """
    own = Robot(robot, tip=tip, base=base)
    source = own if tip or base else robot
    return serve_explorer(Explorer(own, settings, network), host=host, port=port, robots=robots, source=source)


def serve_explorer(
    explorer: Explorer,
    *,
    host: str = HOST,
    port: int = PORT,
    robots: Sequence[str] | None = None,
    source: Source | Robot | None = None,
) -> Page:
    """Serve a page of an explorer that is there already.

    Args:
        explorer: what is looked at.
        host: as for `serve`.
        port: as for `serve`.
        robots: as for `serve`.
        source: what the explorer's robot is made from when it is chosen again; itself by default.

    Raises:
        ViewerUnavailableError: viser is not installed.
        InvalidInputError: a host or port that cannot be listened at.
    """
    import_viser()
    name = explorer.robot.name
    sources: dict[str, Any] = {name: explorer.robot if source is None else source}
    for other in shipped_robots() if robots is None else robots:
        sources.setdefault(str(other), other)
    return Page(sources, explorer, name, host, port)


def time_updates(page: Page, targets: Pose) -> Array:
    """Seconds `(n,)` that each of `n` targets takes: to solve, and to prepare all that the page is sent."""
    seconds = np.empty(len(targets.position))
    for i in range(len(seconds)):
        started = time.perf_counter()
        page.explorer.move(targets[i])
        page.refresh()
        seconds[i] = time.perf_counter() - started
    return seconds


def _ignore(value: object) -> None:
    """Nothing, for jobs that are one call."""
