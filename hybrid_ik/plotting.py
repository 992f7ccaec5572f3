"""Figures by matplotlib, which is loaded only here, and the colours of answers in all pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hybrid_ik.chain import Chain

Array = NDArray[np.float64]

PALETTE = np.array(  # from the first answer to the last
    [[0.10, 0.42, 0.84], [0.05, 0.66, 0.72], [0.98, 0.70, 0.18], [0.93, 0.35, 0.28], [0.62, 0.28, 0.70]]
)
INK, SOFT, FAINT = "0.25", "0.55", "0.80"  # of words and limits, of ticks between them, of the axes
TICK = 0.02  # half the length of a tick, in parts of the distance between two joints
MOST_TICKS = 5
# What a joint is shown in, as (of rad or m, unit, steps from tick to tick).
HINGE = np.degrees(1.0), "\N{DEGREE SIGN}", (1.0, 5.0, 15.0, 30.0, 45.0, 90.0, 180.0, 360.0, 720.0, 3600.0)
SLIDE = 1000.0, " mm", tuple(digit * 10.0**power for power in range(6) for digit in (1, 2, 5))
MANY = 24  # lines; of more, each is thinner and fainter


def answer_colours(n: int) -> Array:
    """Red, green, blue in [0, 1] for each of n answers `(n, 3)`: one after another along a palette."""
    return blend_colours(np.linspace(0.0, 1.0, n) if n > 1 else np.zeros(n))


def blend_colours(share: ArrayLike) -> Array:
    """Red, green, blue in [0, 1], `(n, 3)`, at shares `(n,)` of the way along the palette, from 0 to 1."""
    at = np.asarray(share, dtype=float) * (len(PALETTE) - 1)
    return np.stack([np.interp(at, np.arange(len(PALETTE)), channel) for channel in PALETTE.T], -1)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size [inch] that belongs to no window.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            f"a plot needs matplotlib, which could not be imported ({error}): pip install hybrid-ik[viewer]"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def plot_answers(chain: Chain, q: Array, success: NDArray[np.bool_]) -> Figure:
    """See `IKResult.plot`.

    Args:
        chain: the arm.
        q: joints `(n, dof)` [rad, or m]; rows with NaN are left out.
        success: which rows reach their pose `(n,)`; the others are grey and dashed.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    figure = new_figure(1.6 + 1.05 * chain.dof, 4.2)
    axes = figure.subplots()
    _draw_joints(axes, chain)
    lower, width = chain.sample_lower, chain.sample_upper - chain.sample_lower
    shares = (chain.middle + chain.shortest_way(q - chain.middle) - lower) / width
    weight = min(1.0, MANY / max(1, len(q))) ** 0.5
    line = {"linewidth": 1.8 * weight, "marker": "o", "markersize": 4.5 * weight, "alpha": max(0.3, weight)}
    for row, colour, solved in zip(shares, answer_colours(len(q)), success, strict=True):
        if np.isfinite(row).all():
            look = {"color": colour, "zorder": 4} if solved else {"color": SOFT, "linestyle": "--", "zorder": 3}
            axes.plot(row, clip_on=False, **line, **look)
    return figure


def _draw_joints(axes: Axes, chain: Chain) -> None:
    """An upright axis for each joint: its limits at the ends, round values between them, its name below."""
    limits = np.stack([chain.sample_lower, chain.sample_upper], -1)
    for joint, kind in enumerate(chain.kinds):
        endless = not np.isfinite([chain.lower[joint], chain.upper[joint]]).all()
        axes.plot([joint, joint], [0, 1], color=FAINT, linewidth=1.2, linestyle=":" if endless else "-", zorder=1)
        scale, unit, steps = SLIDE if kind == "slide" else HINGE
        lower, upper = scale * limits[joint]
        inner = _round_values(lower, upper, steps)
        _mark(axes, joint, (inner - lower) / (upper - lower), [_words(value) for value in inner])
        _mark_limits(axes, joint, _words(lower) + unit, _words(upper) + unit)
    axes.set_xticks(range(chain.dof), chain.joint_names)
    axes.tick_params(axis="x", length=0, pad=20, labelcolor=INK)
    axes.set(xlim=(-0.4, chain.dof - 0.6), ylim=(0.0, 1.0), yticks=[])
    axes.spines[:].set_visible(False)


def _mark(axes: Axes, joint: int, heights: Array, words: list[str]) -> None:
    """Ticks on the axis of a joint, and what they stand for to their left, legible also where lines run."""
    from matplotlib.patheffects import withStroke

    axes.hlines(heights, joint - TICK, joint + TICK, color=SOFT, linewidth=0.8, zorder=2)
    halo = [withStroke(linewidth=2.0, foreground="white")]
    look: dict[str, Any] = {"fontsize": 6.5, "color": SOFT, "zorder": 5, "path_effects": halo}
    for height, word in zip(heights, words, strict=True):
        axes.annotate(word, (joint, height), (-5, 0), textcoords="offset points", ha="right", va="center", **look)


def _mark_limits(axes: Axes, joint: int, lower: str, upper: str) -> None:
    axes.hlines([0, 1], joint - TICK, joint + TICK, color=INK, linewidth=1.2, zorder=2)
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8, "color": INK}
    axes.annotate(lower, (joint, 0), (0, -7), va="top", **look)
    axes.annotate(upper, (joint, 1), (0, 7), va="bottom", **look)


def _words(value: float) -> str:
    return f"{round(value):d}".replace("-", "\N{MINUS SIGN}")


def _round_values(lower: float, upper: float, steps: Sequence[float]) -> Array:
    """Multiples of the smallest step that leaves few of them between the limits; none close to a limit."""
    step = next((step for step in steps if upper - lower <= MOST_TICKS * step), steps[-1])
    values = step * np.arange(np.ceil(lower / step), np.floor(upper / step) + 1)
    return values[np.minimum(values - lower, upper - values) > 0.05 * (upper - lower)]
