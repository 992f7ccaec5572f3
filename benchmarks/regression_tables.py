"""The tables of docs/regression.md."""

from __future__ import annotations

from math import degrees
from typing import Any

from tables import heading, line, source

DOMAINS = {"one": "one branch", "whole": "one branch, whole turns", "all": "all branches"}
DISTANCES = ("mean", "std", "p95", "p99", "max")


def stages_table(result: dict[str, Any], domain: str) -> str:
    """Every stage over one domain, with what was published beside it."""
    published = ("published: joint MSE", "mean", "p95", "p99", "max")
    lines = heading("stage", "what", "joint MSE", *DISTANCES, "angle, mean", *published, words=("what",))
    for row in (row for row in result["rows"] if row["domain"] == domain):
        ours = [f"{row['joint_mse']:.3f}", *(_millimetres(row[f"distance_{name}"]) for name in DISTANCES)]
        ours.append(f"{degrees(row['angle_mean']):.3g} deg")
        seen = row["published"]
        theirs = [_number(seen.get(name)) for name in ("joint_mse", "mean", "p95", "p99", "max")]
        lines.append(line(_stage(row["stage"]), row["title"], *ours, *theirs))
    return "\n".join(lines)


def domains_table(result: dict[str, Any]) -> str:
    """The run with weight 1 over every domain, before and after refinement."""
    lines = heading("trained on", "poses", "mean", "p99", "max", "refined alone", "steps", "by the solver", "of a pose")
    rows = {(row["domain"], row["run"]): row for row in result["rows"]}
    for refined in result["refinement"]:
        row = rows[refined["domain"], "lambda_1"]
        distances = [_millimetres(row[f"distance_{name}"]) for name in ("mean", "p99", "max")]
        shares = f"{100 * refined['alone']:.4g} %", f"{refined['steps']:g}", f"{100 * refined['solver']:.4g} %"
        cells = [f"{refined['poses']}", *distances, *shares, f"{refined['us_per_pose']:.1f} us"]
        lines.append(line(DOMAINS[refined["domain"]], *cells))
    return "\n".join([*lines, "", source(result)])


def regression_short_table(result: dict[str, Any]) -> str:
    """How far the run with weight 1 is off, and what refinement makes of it."""
    lines = heading("trained on", "tip off by, mean", "99 %", "refined, exact", "with further starts")
    rows = {(row["domain"], row["run"]): row for row in result["rows"]}
    for refined in sorted(result["refinement"], key=lambda refined: list(DOMAINS).index(refined["domain"])):
        row = rows[refined["domain"], "lambda_1"]
        cells = [_millimetres(row["distance_mean"]), _millimetres(row["distance_p99"])]
        cells += [f"{100 * refined[name]:.4g} %" for name in ("alone", "solver")]
        lines.append(line(DOMAINS[refined["domain"]], *cells))
    return "\n".join([*lines, "", source(result)])


def branches_table(result: dict[str, Any]) -> str:
    """The distance of predictions by the number of branches of the pose."""
    lines = heading("branches", *(f"{DOMAINS[name]}: poses | median | 90 %" for name in ("one", "all")))
    lines[1] = "|---|" + "--:|" * 6
    rows = {name: {row["branches"]: row for row in result[f"branches_{name}"]} for name in ("one", "all")}
    for n in sorted(rows["one"].keys() | rows["all"].keys()):
        found = [rows[name].get(n) for name in ("one", "all")]
        cells = [
            cell
            for row in found
            for cell in ([row["poses"], *(_millimetres(row[k]) for k in ("median", "p90"))] if row else ["-"] * 3)
        ]
        lines.append(line(n, *cells))
    return "\n".join(lines)


def found_table(result: dict[str, Any]) -> str:
    """Branches that the starts of each sampler lead to."""
    found = result["found"]
    counts = [key.split(", ")[1] for key in found["rows"][0] if key.startswith("recall")]
    lines = heading("starts from", "numbers", *(f"found by {n}" for n in counts), *(f"all, by {n}" for n in counts))
    for row in found["rows"]:
        cells = [f"{100 * row[f'{kind}, {n}']:.1f} %" for kind in ("recall", "all of them") for n in counts]
        lines.append(line(row["starts from"], _size(found["sizes"].get(row["starts from"])), *cells))
    note = f"{found['branches']} branches of {found['poses']} random poses, known from exhaustive refined starts."
    return "\n".join([*lines, "", f"{note} {source(result)}"])


def _stage(name: str) -> str:
    """A-4.4.3 of "a_4_4_3/lambda_5"."""
    letter, *numbers = name.split("/")[0].split("_")
    return f"{letter.upper()}\N{NON-BREAKING HYPHEN}{'.'.join(numbers)}"


def _millimetres(metres: float) -> str:
    return f"{1e3 * metres:.3g} mm" if metres < 1.0 else f"{metres:.3g} m"


def _size(numbers: int | None) -> str:
    return "-" if numbers is None else f"{numbers:,}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


REGRESSION_TABLES = {
    "one branch table": ("neurokinematics", lambda result: stages_table(result, "one")),
    "all branches table": ("neurokinematics", lambda result: stages_table(result, "all")),
    "domains table": ("neurokinematics", domains_table),
    "branches table": ("neurokinematics", branches_table),
    "found table": ("neurokinematics", found_table),
}
