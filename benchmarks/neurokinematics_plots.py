"""Pictures of `neurokinematics.py`: distances of each stage, and what regression can and cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from neurokinematics_stages import DOMAINS, LAMBDAS, STAGES, run_name
from plots import new_figure, save_figure

COLOURS = {"one": "tab:blue", "all": "tab:red"}


def draw_all(result: dict[str, Any], out: Path, pictures: Path) -> None:
    """Every picture; those that pages show go to `pictures`, the others beside the artifacts."""
    draw_regression(result, pictures / "neurokinematics.png")
    draw_weights(result, pictures / "neurokinematics_weights.png")
    draw_distances(out, out / "distances.png")


def draw_regression(result: dict[str, Any], path: Path) -> None:
    """What regression can and cannot do: distance by the number of branches; branches found by starts."""
    figure = new_figure(10, 4)
    if figure is None:
        return
    left, right = figure.subplots(1, 2)
    for domain, title in DOMAINS.items():
        rows = result[f"branches_{domain}"]
        at = np.array([row["branches"] for row in rows]) + (0.12 if domain == "all" else -0.12)
        mean = 1e3 * np.array([[row["median"], row["p10"], row["p90"]] for row in rows])
        spread = np.abs(mean[:, 1:] - mean[:, :1]).T
        left.errorbar(at, mean[:, 0], spread, fmt="o", capsize=3, color=COLOURS[domain], label=f"trained on {title}")
    left.axhline(1e-3, color="tab:green", linestyle="--", label="refined, both: at most")
    left.set_yscale("log")
    left.set_xlabel("branches that the pose has"), left.set_ylabel("distance of the tip [mm]")
    left.set_title("a regressor averages branches", fontsize=10), left.legend(fontsize=8)
    for row in result["found"]["rows"]:
        counts = [int(key.split(", ")[1]) for key in row if key.startswith("recall")]
        right.plot(counts, [100 * row[f"recall, {n}"] for n in counts], "o-", label=row["starts from"])
    right.set_xscale("log", base=2), right.set_xticks(counts, [str(n) for n in counts])
    right.set_xlabel("refined starts"), right.set_ylabel("branches found [%]"), right.set_ylim(0, 102)
    right.set_title("who finds the others", fontsize=10), right.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_weights(result: dict[str, Any], path: Path) -> None:
    """The trade between joints and tip, by the weight of the tip's distance."""
    figure = new_figure(10, 3.6)
    if figure is None:
        return
    for axes, (domain, title) in zip(figure.subplots(1, 2), DOMAINS.items(), strict=True):
        rows = {row["stage"]: row for row in result["rows"] if row["domain"] == domain}
        chosen = [rows[f"a_4_4_3/{run_name(weight)}"] for weight in LAMBDAS]
        names = [f"{weight:g}" for weight in LAMBDAS]
        other = axes.twinx()
        axes.plot(names, [1e3 * row["distance_mean"] for row in chosen], "o-", color="tab:blue", label="distance, mean")
        axes.plot(names, [1e3 * row["distance_p99"] for row in chosen], "o:", color="tab:blue", label="distance, p99")
        other.plot(names, [row["joint_mse"] for row in chosen], "s--", color="tab:orange")
        axes.set_title(title, fontsize=10), axes.set_xlabel("weight of the tip's distance")
        axes.set_ylabel("distance [mm]", color="tab:blue"), other.set_ylabel("joint MSE [rad²]", color="tab:orange")
        axes.set_ylim(bottom=0), other.set_ylim(bottom=0), axes.legend(fontsize=8, loc="center"), axes.grid(alpha=0.3)
    save_figure(figure, path)


def draw_distances(out: Path, path: Path) -> None:
    """How the distances of every stage are distributed: the share of poses that are nearer."""
    figure = new_figure(11, 4.5)
    if figure is None:
        return
    for axes, (domain, title) in zip(figure.subplots(1, 2), DOMAINS.items(), strict=True):
        for i, stage in enumerate({stage.run: stage for stage in STAGES}.values()):
            errors = np.sort(np.load(out / domain / "analysis" / stage.name / "fk_errors.npy"))
            share = (np.arange(len(errors)) + 1) / len(errors)
            axes.plot(1e3 * errors, share, color=f"C{i}", linewidth=1, label=stage.run)
        axes.set_xscale("log"), axes.set_title(title, fontsize=10), axes.set_xlabel("distance of the tip [mm]")
        axes.set_ylabel("share of the validation poses"), axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    save_figure(figure, path)
