"""Pictures of saved results; matplotlib is loaded only here."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot_comparison(result: dict[str, Any], path: Path) -> None:
    """Times of all rows: for one answer beside its success, for many beside how many came."""
    rows = result["rows"][::-1]
    figure = new_figure(11, 1.2 + 0.38 * len(rows))
    if figure is None:
        return
    one, many = figure.subplots(1, 2, sharey=True)
    _times(one, [row["one"]["seconds"] for row in rows], [f"{100 * row['one']['success']:.3g} %" for row in rows])
    _times(many, [row["many"]["seconds"] for row in rows], [f"{row['many']['distinct_mean']:.3g}" for row in rows])
    one.set_yticks(range(len(rows)), [row["label"] for row in rows])
    one.set_title("one answer: time, and success at 1e-6 m and 1e-6 rad", fontsize=10)
    many.set_title(f"{rows[0]['many']['asked']} answers: time, and distinct ones found", fontsize=10)
    where = f"one core of {result['machine']['processor']}"
    figure.suptitle(f"{result['robot']}, {result['problems']} poses, {where}; median to 99th percentile", fontsize=10)
    save_figure(figure, path)


def plot_ablation(result: dict[str, Any], path: Path) -> None:
    """`<path>_cost.png`: coverage with 64 starts against the time of one; `<path>_training.png`: the way there."""
    rows = [row for row in result["rows"] if "failed" not in row]
    for name, draw in {"cost": _cost, "training": _training}.items():
        figure = new_figure(10, 6)
        if figure is None:
            return
        draw(figure, rows)
        save_figure(figure, path.with_name(f"{path.stem}_{name}.png"))


def _cost(figure: Any, rows: list[dict[str, Any]]) -> None:
    """A dot for each network, a line through those that no other beats in both, a level for what is not trained."""
    axes = figure.subplots()
    trained = [(row["start_us"], _coverage(row), row["name"]) for row in rows if "reference" not in row]
    for time, covered, name in trained:
        axes.plot(time, covered, "o", color="tab:blue", markersize=4)
        axes.annotate(name, (time, covered), xytext=(4, 2), textcoords="offset points", fontsize=7)
    front: list[tuple[float, float]] = []
    for time, covered, _ in sorted(trained):
        if not front or covered > front[-1][1]:
            front.append((time, covered))
    axes.plot([time for time, _ in front], [covered for _, covered in front], color="tab:blue", alpha=0.4)
    for row in (row for row in rows if "reference" in row):
        axes.axhline(_coverage(row), color="tab:gray", linewidth=1, linestyle="--")
        axes.annotate(row["name"], (0.01, _coverage(row)), xycoords=("axes fraction", "data"), fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("time of a start, one core [us]")
    axes.set_ylabel("coverage within 0.2 rad, 64 starts")
    axes.grid(alpha=0.3)


def _coverage(row: dict[str, Any]) -> float:
    covered = row["measures"]["starts"]["64"]["coverage"]
    return float("nan") if covered is None else float(covered)


def _training(figure: Any, rows: list[dict[str, Any]]) -> None:
    """Loss, and share of the raw starts near the target, over the run; losses of unlike kinds do not compare."""
    titles = {"loss": "loss", "share_in_basin": "raw starts within 45 mm and 7 degrees"}
    for axes, (key, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for i, row in enumerate(row for row in rows if "reference" not in row):
            share, values = zip(*row["curve"][key], strict=True)
            style = "-", "--", ":"
            axes.plot(share, values, style[i // 10 % 3], color=f"C{i % 10}", linewidth=1, label=row["name"])
        axes.set_xlabel("share of the steps")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    figure.axes[0].set_yscale("symlog", linthresh=0.1)  # the dispersive part is negative
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=6)


def new_figure(width: float, height: float) -> Any:
    """An empty figure [inch]; None, and a word about it, where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: pip install matplotlib")
        return None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
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
