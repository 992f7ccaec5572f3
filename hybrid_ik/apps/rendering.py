"""Pictures of answers: translucent arms over one another, or one that moves, and the target as three arrows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.apps.composition import Composition
from hybrid_ik.apps.studio import Image, Studio
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.plotting import answer_colours
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]


def render_answers(
    robot: Robot,
    q: ArrayLike,
    target: Pose | None = None,
    *,
    width: int = 1200,
    height: int = 900,
    alpha: float | None = None,
    solid: int | None = None,
    azimuth: float = 140.0,
    elevation: float = -20.0,
) -> Image:
    """One picture of all answers, by MuJoCo, without a window.

    Every arm is drawn opaque and then laid over the others as a veil, so that one sees through an arm but not into it.
    What all the answers have in common, the foot and the hand, keeps its own colours. A notebook shows the array as
    `PIL.Image.fromarray(picture)`, or by matplotlib's `imshow`; `save_png` writes it.

    Args:
        robot: the arm.
        q: joints `(n, dof)`, or `(dof,)` for one; rows with NaN are left out.
        target: pose of the tip in the robot's base, drawn over everything as red, green and blue arrows (x, y, z).
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        alpha: how opaque an arm is, in (0, 1]; by default the less, the more there are. A single one is always opaque.
        solid: index of an answer to be drawn opaque.
        azimuth: direction the camera looks along, around the vertical [degrees].
        elevation: the same, above the horizon: negative looks down [degrees].

    Returns:
        `(height, width, 3)`, uint8.

    Raises:
        RenderingUnavailableError: there is no OpenGL here; the message says which package brings one.
        InvalidInputError: a wrong shape or size.
    """
    rows = _joints("q", robot, q)
    _check_size(width, height)
    if alpha is not None and not 0 < alpha <= 1:
        raise InvalidInputError(f"alpha: expected a number in (0, 1], got {alpha}")
    if solid is not None and not 0 <= solid < len(rows):
        raise InvalidInputError(f"solid: expected the index of one of {len(rows)} answers, got {solid}")
    shown = [i for i, row in enumerate(rows) if np.isfinite(row).all()]
    veil = 0.38 + 0.6 / max(1, len(shown)) if alpha is None else alpha
    alphas = [1.0 if i == solid or len(shown) == 1 else veil for i in shown]
    with Studio(robot.drawable_model(), width, height, max(1, len(shown))) as studio:
        composed = Composition(studio, robot, rows[shown], target, azimuth, elevation)
        arms = [composed.arm(rows[i], answer_colours(len(rows))[i]) for i in shown]
        return composed.picture(arms, [composed.layer(arm) for arm in arms], alphas)


def render_motion(
    robot: Robot,
    q: ArrayLike,
    target: Pose | None = None,
    *,
    ghosts: ArrayLike | None = None,
    width: int = 480,
    height: int = 360,
    azimuth: float = 140.0,
    elevation: float = -20.0,
) -> NDArray[np.uint8]:
    """A picture for each posture of an arm that moves, all from the same camera, by MuJoCo, without a window.

    The arm is drawn opaque in its own colours. `save_gif` writes the frames as a film that begins again when it is
    over; a notebook shows that file by `IPython.display.Image`.

    Args:
        robot: the arm.
        q: joints of the frames `(m, dof)`.
        target: pose of the tip in the robot's base, drawn over everything as red, green and blue arrows (x, y, z).
        ghosts: joints `(n, dof)` of arms that stand still behind it, as faint veils in the colours of answers; rows
            with NaN are left out.
        width: of a frame, in pixels.
        height: of a frame, in pixels.
        azimuth: direction the camera looks along, around the vertical [degrees].
        elevation: the same, above the horizon: negative looks down [degrees].

    Returns:
        `(m, height, width, 3)`, uint8.

    Raises:
        RenderingUnavailableError: there is no OpenGL here; the message says which package brings one.
        InvalidInputError: a wrong shape or size, no frames, or joints that are not finite.
    """
    rows = _joints("q", robot, q)
    if not len(rows) or not np.isfinite(rows).all():
        raise InvalidInputError(f"q: expected finite joints of at least one frame, got {len(rows)} rows of joints")
    _check_size(width, height)
    still = _joints("ghosts", robot, np.empty((0, robot.dof)) if ghosts is None else ghosts)
    still = still[np.isfinite(still).all(-1)]
    colours = answer_colours(1 + len(still))
    rows, again = np.unique(rows.round(9), axis=0, return_inverse=True)  # postures that come again are drawn once
    with Studio(robot.drawable_model(), width, height, 1 + len(still)) as studio:
        composed = Composition(studio, robot, np.concatenate([rows, still]), target, azimuth, elevation)
        behind = [composed.layer(composed.arm(*ghost)) for ghost in zip(still, colours[1:], strict=True)]
        arms = [composed.arm(row) for row in rows]
        frames = np.stack([composed.picture([arm], [composed.layer(arm)], [1.0], behind) for arm in arms])
    return frames[again.ravel()]


def _joints(name: str, robot: Robot, q: ArrayLike) -> Array:
    rows = np.atleast_2d(np.asarray(q, dtype=float))
    if rows.ndim != 2 or rows.shape[1] != robot.dof:
        raise InvalidInputError(f"{name}: expected joints of shape (n, {robot.dof}), got {np.shape(q)}")
    return rows


def _check_size(width: int, height: int) -> None:
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise InvalidInputError(f"expected a picture of 16 to 8192 pixels each way, got {width} x {height}")
