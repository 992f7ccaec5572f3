"""Pictures of saved results; matplotlib is loaded only here."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot_comparison(result: dict[str, Any], path: Path) -> None:
    """Times of all rows: for one answer beside its success, for many beside how many came."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: pip install matplotlib")
        return
    rows = result["rows"][::-1]
    figure = Figure(figsize=(11, 1.2 + 0.38 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    one, many = figure.subplots(1, 2, sharey=True)
    _times(one, [row["one"]["seconds"] for row in rows], [f"{100 * row['one']['success']:.3g} %" for row in rows])
    _times(many, [row["many"]["seconds"] for row in rows], [f"{row['many']['distinct_mean']:.3g}" for row in rows])
    one.set_yticks(range(len(rows)), [row["label"] for row in rows])
    one.set_title("one answer: time, and success at 1e-6 m and 1e-6 rad", fontsize=10)
    many.set_title(f"{rows[0]['many']['asked']} answers: time, and distinct ones found", fontsize=10)
    where = f"one core of {result['machine']['processor']}"
    figure.suptitle(f"{result['robot']}, {result['problems']} poses, {where}; median to 99th percentile", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    print(f"saved {path}")


def _times(axes: Any, seconds: list[dict[str, float]], notes: list[str]) -> None:
    """One line for each row: a dot at the median, a line to the 99th percentile, and a note behind it."""
    for y, (time, note) in enumerate(zip(seconds, notes, strict=True)):
        median, p99 = 1e3 * time["median"], 1e3 * time["p99"]
        axes.plot([median, p99], [y, y], color="tab:blue", linewidth=2, alpha=0.4)
        axes.plot(median, y, "o", color="tab:blue")
        axes.annotate(note, (p99, y), xytext=(6, -3), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("time of a pose [ms]")
    axes.margins(x=0.15)
    axes.grid(axis="x", alpha=0.3)
