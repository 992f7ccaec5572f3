"""The page's panel: what was found, what can be changed, the table of answers, the plot of the solution curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.explorer import MOST_ANSWERS, POSTURES, Explorer, Shown
from hybrid_ik.apps.web_text import (
    SOLID_COLOUR,
    Axis,
    Row,
    amount,
    css,
    curves_svg,
    joints_html,
    state_html,
    table_html,
)
from hybrid_ik.pose import n_rows
from hybrid_ik.result import Status

Array = NDArray[np.float64]

WIDTH = 350.0  # of the panel [pixels]
LEAST_RANGE = 1e-3  # rad, or m: a joint with less of it on its curve cannot be turned
UNITS = {"hinge": "rad", "slide": "m"}


class Listener(Protocol):
    """What the panel's controls call, each from the server's event loop."""

    def change(self, setting: str, value: Any) -> None:
        """A setting of the explorer."""

    def switch_robot(self, name: str) -> None:
        """Another robot."""

    def pick(self, number: int) -> None:
        """The answer of a row of the table, counted from 1, is to be the solid one."""

    def pick_next(self) -> None:
        """Some other answer is to be the solid one."""

    def turn(self, joint: int, value: float) -> None:
        """The solid arm is to move to where a joint has a value."""

    def glide(self, on: bool) -> None:
        """The solid arm is to keep moving, or to stop."""

    def go_home(self) -> None:
        """The target is to be where the tip is at home."""

    def redraw(self) -> None:
        """What is shown is to be shown again, in another way."""


class Panel:
    """Controls and texts for one explorer in a viser server.

    Args:
        server: a `viser.ViserServer`; what its panel had before is removed.
        explorer: what is looked at.
        robots: names to choose among.
        name: that of the explorer's robot.
        listener: told what is done with the controls.
    """

    def __init__(self, server: Any, explorer: Explorer, robots: Sequence[str], name: str, listener: Listener) -> None:
        self._gui, self._explorer, self._listener = server.gui, explorer, listener
        self._gui.reset()
        self._gui.set_panel_label("hybrid_ik")
        self._gui.main_panel.dock_right()
        self._gui.main_panel.set_width(WIDTH)
        self._state = self._gui.add_html("")
        self._add_settings(robots, name)
        self._add_answers()
        self._add_curves()
        self._add_self_motion()
        self._add_numbers()

    def show(self, order: NDArray[np.intp], distance: Array, colours: Array, *, gliding: bool, held: bool) -> None:
        """Say and plot what the explorer shows.

        Args:
            order: rows of its answers `(n,)` in the order of the table, the solid one first.
            distance: of these `(n,)` from the solid one [rad, or m].
            colours: of their arms `(n, 3)`.
            gliding: whether the solid arm keeps moving.
            held: whether somebody may hold a slider, so that they stay where they are.
        """
        shown = self._explorer.shown
        tints = [SOLID_COLOUR, *(css(colour) for colour in colours[1:])]
        result = shown.result[order]
        fields = zip(result.position_error, result.orientation_error, distance, tints, strict=True)
        self._state.content = self._state_html(shown)
        self._table.content = table_html([Row(*field) for field in fields])
        self._joints.content = joints_html(self._explorer.q)
        if not held:
            self._show_settings(gliding)
            self._show_joint()
        x, y = self._axis(self._x.value), self._axis(self._y.value)
        self._plot.content = curves_svg(self._explorer.curves, result.q, tints, x, y)

    def fail(self, text: str) -> None:
        """Say that something went wrong."""
        self._state.content = state_html("Something went wrong", [text], good=False)

    @property
    def joint(self) -> int:
        """Number of the joint that the slider turns."""
        return self._names.index(self._joint.value)

    @property
    def _names(self) -> list[str]:
        return list(self._explorer.robot.joint_names)

    def _add_settings(self, robots: Sequence[str], name: str) -> None:
        gui, now = self._gui, self._explorer.settings
        with gui.add_folder("Solver"):
            robot = gui.add_dropdown("Robot", tuple(robots), initial_value=name)
            sampler = gui.add_dropdown("Starts", self._explorer.samplers, initial_value=now.sampler)
            noise = self._add_slider("Noise scale", 0.1, 3.0, 0.05, now.noise_scale, "Of the network's noises")
            refine = gui.add_checkbox("Refine", now.refine, hint="Off: starts are shown as they were proposed")
            many = self._add_slider("Answers", 1, MOST_ANSWERS, 1, now.n_solutions, "At most, the solid one among them")
            least = self._add_slider("Apart by", 0.02, 2.0, 0.02, now.min_distance, "At least [rad, or m]")
            posture = gui.add_dropdown("Solid one", POSTURES, initial_value=now.posture, hint="Which is preferred")
        self._controls = {"sampler": sampler, "noise_scale": noise, "refine": refine, "n_solutions": many}
        self._controls |= {"min_distance": least, "posture": posture}
        _hear(robot, self._listener.switch_robot)
        for setting, control in self._controls.items():
            _hear(control, partial(self._listener.change, setting))

    def _add_slider(self, name: str, low: float, high: float, step: float, value: float, hint: str) -> Any:
        return self._gui.add_slider(name, low, high, step, min(max(value, low), high), hint=hint)

    def _add_answers(self) -> None:
        gui, listener = self._gui, self._listener
        with gui.add_folder("Answers"):
            self._table = gui.add_html("")
            self._joints = gui.add_html("")
            actions = gui.add_button_group("Go to", ("next answer", "home"))
        _hear(actions, lambda name: listener.go_home() if name == "home" else listener.pick_next())

    def _add_numbers(self) -> None:
        """Buttons that the rows of the table, and the dots of the plot, press: a page's own texts cannot call us."""
        with self._gui.add_folder("Answers by number", expand_by_default=False):
            numbers = self._gui.add_button_group("Number", tuple(f"#{i + 1}" for i in range(MOST_ANSWERS)))
        _hear(numbers, lambda text: self._listener.pick(int(text[1:])))

    def _add_self_motion(self) -> None:
        gui, listener, names = self._gui, self._listener, self._names
        with gui.add_folder("Self-motion, tool at rest"):
            self._glide = gui.add_checkbox("Glide", False, disabled=not self._explorer.can_glide)
            self._joint = gui.add_dropdown("Joint", tuple(names), initial_value=names[self._most_varied()[0]])
            self._value = gui.add_slider("Its value", -1.0, 1.0, 1e-3, 0.0, disabled=True)
        _hear(self._glide, listener.glide)
        _hear(self._joint, lambda name: listener.redraw())
        _hear(self._value, lambda value: listener.turn(self.joint, value))

    def _add_curves(self) -> None:
        gui, names = self._gui, self._names
        x, *rest = sorted(self._most_varied()[:2])
        with gui.add_folder("All solutions" if self._explorer.curves is not None else "Answers, two joints of them"):
            self._plot = gui.add_html("")
            self._x = gui.add_dropdown("Across", tuple(names), initial_value=names[x])
            self._y = gui.add_dropdown("Up", tuple(names), initial_value=names[rest[0] if rest else x])
        for handle in (self._x, self._y):
            _hear(handle, lambda name: self._listener.redraw())

    def _most_varied(self) -> list[int]:
        """The joints, those first whose values differ most among the answers."""
        q = self._explorer.curves.q if self._explorer.curves else self._explorer.shown.result.q
        return [int(joint) for joint in np.argsort(-np.ptp(q, axis=0), kind="stable")]

    def _show_settings(self, gliding: bool) -> None:
        settings = self._explorer.settings
        for setting, control in self._controls.items():
            control.value = getattr(settings, setting)
        self._controls["noise_scale"].disabled = settings.sampler != "network"
        self._glide.value = gliding

    def _show_joint(self) -> None:
        """The slider's range is what the joint has on the curve of the solid arm."""
        low, high = self._explorer.joint_range(self.joint)
        value, fixed = float(self._explorer.q[self.joint]), high - low < LEAST_RANGE
        if fixed:
            low, high = value - 0.01, value + 0.01
        self._value.min, self._value.max = round(min(low, value), 3), round(max(high, value), 3)
        self._value.value, self._value.disabled = round(value, 3), fixed

    def _axis(self, name: str) -> Axis:
        joint, chain = self._names.index(name), self._explorer.robot.chain
        low, high = float(chain.sample_lower[joint]), float(chain.sample_upper[joint])
        return Axis(joint, f"{name} [{UNITS[chain.kinds[joint]]}]", low, high)

    def _state_html(self, shown: Shown) -> str:
        result, settings = shown.result, self._explorer.settings
        if not settings.refine:
            title, lines = f"{len(result)} starts, not refined", [f"off by {_spans(shown)}"]
        elif shown.reached:
            title = "1 answer" if len(result) == 1 else f"{len(result)} answers"
            lines = [f"off by at most {_worst(shown)}"]
        else:
            title, lines = self._missed(shown)
        return state_html(
            title,
            [*lines, f"found in {amount(shown.seconds, 's')}"],
            good=shown.reached,
            answers=float(len(result)) if shown.reached or not settings.refine else 0.0,
            reached=float(shown.reached),
            position_error=float(result.position_error.max()),
            orientation_error=float(result.orientation_error.max()),
        )

    def _missed(self, shown: Shown) -> tuple[str, list[str]]:
        beyond = shown.result.status[0] == Status.BEYOND_REACH
        lines = [f"the closest posture is off by {_worst(shown)}"]
        if self._explorer.robot.dof < n_rows(True):
            lines.append(f"With {self._explorer.robot.dof} joints, few poses can be met in all their 6 numbers.")
        return "Beyond reach" if beyond else "Not reached", lines


def _worst(shown: Shown) -> str:
    result = shown.result
    return f"{amount(result.position_error.max(), 'm')} and {amount(result.orientation_error.max(), 'rad')}"


def _spans(shown: Shown) -> str:
    fields = (shown.result.position_error, "m"), (shown.result.orientation_error, "rad")
    return " and ".join(f"{amount(error.min(), unit)} to {amount(error.max(), unit)}" for error, unit in fields)


def _hear(handle: Any, action: Callable[[Any], None]) -> None:
    """Call an action with a control's value when a person changes it; what the program sets is not heard."""

    async def heard(event: Any) -> None:  # in the event loop, where events stay in their order
        if event.client_id is not None:
            action(event.target.value)

    (handle.on_update if hasattr(handle, "on_update") else handle.on_click)(heard)
