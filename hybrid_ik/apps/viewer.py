"""MuJoCo's own window with an arm, a target to be dragged, and its answers as translucent arms."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.display import DisplayUnavailableError, check_display
from hybrid_ik.apps.explorer import MOST_ANSWERS, POSTURES, Explorer, distance_colours
from hybrid_ik.apps.ghosts import Ghosts
from hybrid_ik.apps.stage import TARGET, build_stage
from hybrid_ik.apps.tables import metres, seconds
from hybrid_ik.pose import Pose

Array = NDArray[np.float64]

FRAME_TIME = 1 / 60  # s
GLIDE_SPEED = 0.6  # rad/s
CAMERA = {"azimuth": 140.0, "elevation": -20.0}
DISTANCE = 2.3  # of the camera, in parts of the arm's reach
CLOSING_TIME = 10.0  # s that the window may take to be gone

# Codes of GLFW. MuJoCo's window has a use of its own for every letter, and for 0 to 5.
UP, DOWN, LEFT, RIGHT, HOME, ENTER, SIX, SEVEN, EIGHT, NINE = 265, 264, 263, 262, 268, 257, 54, 55, 56, 57
KEYS_HELP = (
    ("up, down", "more, fewer answers"),
    ("right, left", "next, previous answer"),
    ("6", "posture: nearest, far from limits, manipulable"),
    ("7", "starts: network, random, lookup"),
    ("8", "glide along the null space"),
    ("9", "refine starts, or show them as they are"),
    ("Ctrl + drag", "right button: move the target; left: turn it"),
    ("Home", "target back to where it was"),
    ("Enter", "hide or show these lines"),
)


class Handle(Protocol):
    """What is used of the handle that `mujoco.viewer.launch_passive` returns."""

    user_scn: mujoco.MjvScene
    perturb: mujoco.MjvPerturb
    cam: mujoco.MjvCamera

    def lock(self) -> AbstractContextManager[Any]:
        """Keeps the window from drawing meanwhile."""

    def sync(self) -> None:
        """Shows the state, and takes over what the mouse did."""

    def is_running(self) -> bool:
        """Until it is closed."""

    def set_texts(self, texts: Any) -> None:
        """Text over the scene."""


def view(explorer: Explorer, duration: float = np.inf) -> None:
    """Open a window on an arm; return when it is closed, or after `duration` [s].

    Drag the target with the mouse, Ctrl held: the arm follows, and other answers stand around it, coloured by how far
    they are from it in joint space. The window lists its keys.

    Raises:
        DisplayUnavailableError: no window can be opened here.
        RobotError: the robot was made from an `MjModel`, to which no target can be added.
    """
    import mujoco.viewer  # connects to the display

    model = build_stage(explorer.robot)
    check_display()
    keys: SimpleQueue[int] = SimpleQueue()
    before = set(threading.enumerate())
    data = mujoco.MjData(model)
    try:
        handle = mujoco.viewer.launch_passive(
            model, data, key_callback=keys.put, show_left_ui=False, show_right_ui=False
        )
    except RuntimeError as error:  # on macOS: windows belong to the main thread
        raise DisplayUnavailableError(f"MuJoCo cannot open its window: {error}") from error
    try:
        Window(explorer, model, data, handle).run(keys, duration)
    finally:
        handle.close()
        for thread in set(threading.enumerate()) - before:  # ending the process before it has gone crashes
            thread.join(CLOSING_TIME)


class Window:
    """What happens in the window, frame by frame.

    Args:
        explorer: the target and its answers.
        model: of `build_stage`.
        data: what the window shows.
        handle: of the window.
    """

    def __init__(self, explorer: Explorer, model: mujoco.MjModel, data: mujoco.MjData, handle: Handle) -> None:
        self.explorer, self.model, self.data, self.handle = explorer, model, data, handle
        self.gliding, self.helping = False, True
        self.work = 0.0
        """What the last frame took, drawing aside [s]."""
        self._ghosts = Ghosts(model, explorer.robot)
        self._first_target = explorer.target
        self._body = int(model.body(TARGET).id)
        self._mocap = int(model.body_mocapid[self._body])
        self.place_target(explorer.target)
        self._seen = self._mocap_pose()
        self._aim()
        self._actions: dict[int, Callable[[], object]] = {
            UP: lambda: self._change(n_solutions=min(MOST_ANSWERS, explorer.settings.n_solutions + 1)),
            DOWN: lambda: self._change(n_solutions=max(1, explorer.settings.n_solutions - 1)),
            RIGHT: lambda: self._step(1),
            LEFT: lambda: self._step(-1),
            SIX: lambda: self._change(posture=_next(POSTURES, explorer.settings.posture)),
            SEVEN: lambda: self._change(sampler=_next(explorer.samplers, explorer.settings.sampler)),
            EIGHT: self._toggle_glide,
            NINE: lambda: self._change(refine=not explorer.settings.refine),
            HOME: lambda: self.place_target(self._first_target),
            ENTER: self._toggle_help,
        }
        self._show()

    def run(self, keys: SimpleQueue[int], duration: float = np.inf) -> None:
        """Frames until the window is closed, or for some time [s]."""
        end = time.monotonic() + duration
        while self.handle.is_running() and time.monotonic() < end:
            started = time.perf_counter()
            while not keys.empty():
                self.press(keys.get())
            self.frame(FRAME_TIME)
            self.handle.sync()
            time.sleep(max(0.0, FRAME_TIME - (time.perf_counter() - started)))

    def press(self, key: int) -> None:
        """What a key does; others do nothing here."""
        self._actions.get(key, _nothing)()

    def frame(self, passed: float) -> None:
        """Solve for where the target is by now, or glide on; `passed` is the time since the last frame [s]."""
        started = time.perf_counter()
        place = self._mocap_pose()
        if (place != self._seen).any():
            self._seen = place
            T_world_target = Pose(place[:3], place[3:])
            self.explorer.move(self.explorer.robot.T_world_base.inverse() @ T_world_target)
        elif self.gliding:
            self.gliding = self.explorer.glide(GLIDE_SPEED * passed)
        else:
            return
        self._show()
        self.work = time.perf_counter() - started

    def place_target(self, T_base_target: Pose) -> None:
        """Move the target, as the mouse does; the next frame sees it."""
        T_world_target = self.explorer.robot.T_world_base @ T_base_target
        with self.handle.lock():
            self.data.mocap_pos[self._mocap] = T_world_target.position
            self.data.mocap_quat[self._mocap] = T_world_target.quaternion

    def _show(self) -> None:
        """Puts the solid arm, the ghosts and the text into the window."""
        explorer, result = self.explorer, self.explorer.shown.result
        others = result.q[1:]
        distance = np.linalg.norm(explorer.robot.chain.shortest_way(others - result.q[0]), axis=1)
        colours = distance_colours(distance)
        with self.handle.lock():
            self.data.qpos = explorer.robot.model_qpos(result.q[0])
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_comPos(self.model, self.data)
            mujoco.mj_camlight(self.model, self.data)
            self._ghosts.draw(self.handle.user_scn, others, colours, result.q[0])
        self.handle.set_texts([_overlay(explorer, self.gliding), *([_help()] if self.helping else [])])

    def _change(self, **settings: Any) -> None:
        for name, value in settings.items():
            setattr(self.explorer.settings, name, value)
        self.explorer.update()
        self._show()

    def _step(self, by: int) -> None:
        self.explorer.choose(by % len(self.explorer.shown.result))
        self._show()

    def _toggle_glide(self) -> None:
        self.gliding = not self.gliding and self.explorer.can_glide
        self._show()

    def _toggle_help(self) -> None:
        self.helping = not self.helping
        self._show()

    def _mocap_pose(self) -> Array:
        with self.handle.lock():
            return np.concatenate([self.data.mocap_pos[self._mocap], self.data.mocap_quat[self._mocap]])

    def _aim(self) -> None:
        """Camera on the whole arm, mouse on the target."""
        robot, camera = self.explorer.robot, self.handle.cam
        base = robot.T_world_base.position
        tip = (robot.T_world_base @ self.explorer.target).position
        camera.lookat[:] = 0.5 * (base + tip)
        camera.distance = DISTANCE * robot.chain.reach
        camera.azimuth, camera.elevation = CAMERA["azimuth"], CAMERA["elevation"]
        self.handle.perturb.select = self._body


def _overlay(explorer: Explorer, gliding: bool) -> tuple[int, int, str, str]:
    """What was found, at the top."""
    s, shown = explorer.settings, explorer.shown
    result = shown.result
    if shown.reached or not s.refine:
        found = f"{len(result)} of {s.n_solutions}"
    else:
        found = f"none: the nearest joints are {metres(float(result.position_error[0]))} away"
    lines = [
        ("answers" if s.refine else "starts", found),
        ("largest error", f"{metres(float(result.position_error.max()))}, {result.orientation_error.max():.1e} rad"),
        ("time", seconds(shown.seconds)),
        ("starts from", s.sampler + ("" if s.refine else ", not refined")),
        ("posture", s.posture + (", gliding" if gliding else "")),
    ]
    left, right = ("\n".join(column) for column in zip(*lines, strict=True))
    return int(mujoco.mjtFontScale.mjFONTSCALE_150), int(mujoco.mjtGridPos.mjGRID_TOPLEFT), left, right


def _help() -> tuple[int, int, str, str]:
    left, right = ("\n".join(column) for column in zip(*KEYS_HELP, strict=True))
    return int(mujoco.mjtFontScale.mjFONTSCALE_100), int(mujoco.mjtGridPos.mjGRID_BOTTOMLEFT), left, right


def _next(names: tuple[str, ...], name: str) -> str:
    return names[(names.index(name) + 1) % len(names)]


def _nothing() -> None:
    """Other keys."""
