"""The picture of the comparison with peers: time against success."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peer_rows import OURS
from plots import new_figure, save_figure

LABEL_GAP = 0.016  # of the width of the picture, between labels that stand side by side


def plot_peers(result: dict[str, Any], path: Path) -> None:
    """A column for each row: a full dot for success at 1e-6, a ring at 1 mm, at the median time of a random pose.

    Labels stand on end above the picture, in the order of the times and never nearer than they are wide.
    """
    rows = sorted(result["sets"]["reachable"], key=lambda row: row["seconds"]["median"])
    figure = new_figure(12, 6.5)
    if figure is None:
        return
    axes = figure.subplots()
    axes.set_xscale("log")
    for row in rows:
        _column(axes, row)
    axes.set_ylim(-4, 104)
    axes.margins(x=0.06)
    axes.set_xlabel("median time of a random pose, one core [ms]")
    axes.set_ylabel("solved [%]")
    axes.grid(alpha=0.3)
    axes.legend(handles=_legend(axes), loc="lower right", fontsize=9)
    _labels(axes, rows)
    where = f"one core of {result['machine']['processor']}"
    axes.set_title(f"{result['robot']}, random poses, {where}", fontsize=10, pad=140)
    save_figure(figure, path)


def _column(axes: Any, row: dict[str, Any]) -> None:
    median = 1e3 * row["seconds"]["median"]
    close, exact = 100 * row["success_1mm"], 100 * row["success_1um"]
    color = _color(row)
    axes.plot([median, median], [exact, close], color=color, linewidth=1, alpha=0.6)
    axes.plot(median, close, "o", color=color, fillstyle="none", markersize=9)
    axes.plot(median, exact, "o", color=color, markersize=5)


def _color(row: dict[str, Any]) -> str:
    return "tab:red" if row["name"] in (OURS, "random_lm") else "tab:blue"


def _legend(axes: Any) -> list[Any]:
    style = {"color": "tab:gray", "linestyle": ""}
    full = axes.plot([], [], "o", markersize=5, label="within 1e-6 m and 1e-6 rad", **style)
    ring = axes.plot([], [], "o", markersize=9, fillstyle="none", label="within 1 mm and 0.1 degrees", **style)
    return [*full, *ring]


def _labels(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Names above the picture, a thin line from each to its column."""
    axes.figure.canvas.draw()  # fixes the scale
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform((1e3 * row["seconds"]["median"], 0))[0]) for row in rows]
    for row, x, label_x in zip(rows, wanted, spread_out(wanted, LABEL_GAP), strict=True):
        color, ring = _color(row), float(to_axes.transform((1, 100 * row["success_1mm"]))[1])
        line = {"color": color, "alpha": 0.35, "linewidth": 0.7, "clip_on": False}
        axes.plot([label_x, label_x, x, x], [1.06, 1.05, 1.0, ring], transform=axes.transAxes, **line)
        style = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 8, "color": color}
        axes.text(label_x, 1.07, row["label"], transform=axes.transAxes, **style)


def spread_out(wanted: list[float], gap: float) -> list[float]:
    """Places in the order of those wanted, at least `gap` apart; where they crowd, spread about their middle."""
    groups: list[list[float]] = []
    for x in wanted:
        groups.append([x])
        while len(groups) > 1 and _left(groups[-1], gap) < _right(groups[-2], gap) + gap:
            last = groups.pop()
            groups[-1] += last
    return [_left(group, gap) + gap * i for group in groups for i in range(len(group))]


def _left(group: list[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _right(group: list[float], gap: float) -> float:
    return _left(group, gap) + gap * (len(group) - 1)
