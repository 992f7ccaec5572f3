"""Writes the measured tables of README.md and docs/ from the saved results: `python benchmarks/readme.py`.

Nobody types a number: the tables stand between marks, and a test compares them with the files they come from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import degrees
from pathlib import Path
from typing import Any

from peer_tables import PEER_TABLES
from pixel_tables import PIXEL_TABLES, short_table
from record import RESULTS
from regression_tables import REGRESSION_TABLES, regression_short_table
from speed_tables import SPEED_TABLES
from tables import duration, heading, line, source
from tracking_tables import TRACKING_TABLES
from viewing_tables import VIEWING_TABLES
from whole_set_summary import SET_TABLES

from hybrid_ik.checkpoint import load_network
from hybrid_ik.resources import asset_path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"


def compare_table(result: dict[str, Any]) -> str:
    """One answer, and sixteen, by every variant."""
    lines = heading(
        "random Panda poses", "n", "within 1 um", "one answer", "p99", "batch, poses/s", "of 16", "16 answers"
    )
    for row in result["rows"]:
        one, many = row["one"], row["many"]
        cells = [
            row["label"],
            f"{one['n_poses']}",
            f"{100 * one['success']:.4g} %",
            duration(one["seconds"]["median"]),
            duration(one["seconds"]["p99"]),
            f"{one['batch_poses_per_second']:,.0f}",
            f"{many['distinct_mean']:.3g}",
            duration(many["seconds"]["median"]),
        ]
        lines.append(line(*cells))
    return "\n".join([*lines, "", source(result)])


def coverage_table(result: dict[str, Any]) -> str:
    """What the starts of each sampler lead to."""
    coverage = result["coverage"]
    training = load_network(asset_path("networks", "panda.safetensors")).record
    lines = heading(
        "starts from",
        "covered with 16 / 64 / 256",
        "pieces touched",
        "converged after 3 / 5 / 10 / 20 steps",
        "time to cover 50 % / 80 %",
    )
    for row in coverage["rows"]:
        starts = [row["starts"][n] for n in ("16", "64", "256")]
        times = [row["ms_to"][f"coverage {goal}"] for goal in (0.5, 0.8)]
        steps = [row["success_after_steps"][k] for k in ("3", "5", "10", "20")]
        cells = [
            row["name"],
            " / ".join(f"{entry['coverage']:.2f}" for entry in starts),
            " / ".join(f"{entry['piece_recall']:.2f}" for entry in starts),
            " / ".join(f"{share:.2f}" for share in steps),
            " / ".join(duration(1e-3 * ms) if ms else "-" for ms in times) if row["name"] != "perfect" else "",
        ]
        lines.append(line(*cells))
    oracle = coverage["oracle"]
    note = (
        f"{coverage['n_poses']} poses, network and refiner included in the times. The whole set of a pose is known as "
        f"curves, followed along the null space until {oracle['quiet']:,} further answers all lay on them; covered is "
        "what lies within 0.2 rad of an answer; `perfect` draws from the set itself. The network was trained for "
        f"{training['seconds'] / 60:.0f} minutes on {training['device'].replace('_', '-')} (`hybrid-ik info` shows its "
        "record)."
    )
    return "\n".join([*lines, "", note])


def samplers_table(result: dict[str, Any]) -> str:
    """One answer, many of them, and what of the whole set is covered, by the starts of each sampler."""
    rows = {row["name"]: row for row in result["rows"]}
    covered = {row["name"]: row for row in result["coverage"]["rows"]}
    asked = rows["uniform_lm"]["many"]["asked"]
    lines = heading(
        "`sampler=`", "one answer", f"{asked} answers", "converged in 20 steps", "covered by 64 starts", "time to 80 %"
    )
    for name, row, starts in (
        ("uniform", "uniform_lm", "random"),
        ("lookup", "lookup_lm", "lookup"),
        ("meanflow", "network_lm", "network"),
    ):
        cells = [
            f'`"{name}"`',
            *(duration(rows[row][kind]["seconds"]["median"]) for kind in ("one", "many")),
            f"{100 * covered[starts]['success_after_steps']['20']:.0f} %",
            f"{100 * covered[starts]['starts']['64']['coverage']:.0f} %",
            duration(1e-3 * covered[starts]["ms_to"]["coverage 0.8"]),
        ]
        lines.append(line(*cells))
    return "\n".join([*lines, "", f"Times of answers are medians of single poses. {source(result)}"])


def targets_table(result: dict[str, Any]) -> str:
    """The network beside random starts, the perfect sampler, and what it was asked to reach."""
    rows = {row["name"]: row for row in result["coverage"]["rows"]}
    lines = heading("", "random", "lookup", "network", "perfect", "asked at least", "hoped for")
    for name, measure, least, hoped in TARGETS:
        cells = [measure(rows[key]) if key in rows else "" for key in ("random", "lookup", "network", "perfect")]
        lines.append(f"| {' | '.join([name, *cells, least, hoped])} |")
    ratio = rows["network"]["ms_to"]["coverage 0.8"] / rows["random"]["ms_to"]["coverage 0.8"]
    lines.append(f"| time to cover 80 %, over that of random starts | 1 | | {ratio:.2f} | | 0.8 | 0.4 |")
    counts = (
        f"{result['coverage']['n_poses']} poses for coverage, pieces, time and MMD, {rows['network']['single_poses']}"
    )
    return "\n".join([*lines, "", f"{counts} for the others. {source(result)}"])


def _of_starts(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: " / ".join(f"{row['starts'][n][name]:.3f}" for n in ("16", "64", "256"))


def _times(row: dict[str, Any]) -> str:
    times = [row["ms_to"][goal] for goal in ("coverage 0.5", "coverage 0.8", "piece_recall 0.95", "piece_recall 0.99")]
    return "" if row["name"] == "perfect" else " / ".join(f"{ms:.2g}" if ms else "-" for ms in times) + " ms"


TARGETS: tuple[tuple[str, Callable[[dict[str, Any]], str], str, str], ...] = (
    ("covered with 16 / 64 / 256", _of_starts("coverage"), ".33 / .69 / .93", ".40 / .83 / .99"),
    ("pieces touched with 16 / 64 / 256", _of_starts("piece_recall"), ".82 / .955 / .99", ".85 / .98 / 1"),
    ("covered when followed, 16 / 64 / 256", _of_starts("coverage_by_following"), "", ""),
    (
        "converged after 3 / 5 / 10 / 20 steps",
        lambda row: " / ".join(f"{row['success_after_steps'][k]:.3f}" for k in ("3", "5", "10", "20")),
        ".70 / .90 / .96 / .97",
        ".97 / .99 / .995 / .998",
    ),
    ("raw, within 45 mm and 7 degrees", lambda row: f"{row['raw']['share_in_basin']:.3f}", ".30", ".99"),
    (
        "raw error, median",
        lambda row: (
            f"{1e3 * row['raw']['position_median']:.3g} mm, {degrees(row['raw']['orientation_median']):.3g} deg"
        ),
        "60 mm, 10 deg",
        "3 mm, 1 deg",
    ),
    ("raw, with a joint on a limit", lambda row: f"{row['raw']['share_outside_limits']:.3f}", "", ""),
    ("raw, touching itself", lambda row: f"{row['raw']['share_touching']:.3f}", "", ""),
    (
        "squared MMD at 1000 samples (its floor)",
        lambda row: f"{row['mmd']['samples']:.4f} ({row['mmd']['floor']:.4f})",
        ".012",
        ".004",
    ),
    ("time to cover 50 / 80 %, to touch 95 / 99 % of the pieces", _times, "", ""),
)


def ablation_table(result: dict[str, Any]) -> str:
    """Every row of the ablation, those of several seeds as a mean."""
    lines = heading(
        "", "steps", "covered with 16 / 64 / 256", "pieces touched", "3 / 20 steps", "basin", "MMD", "us a start"
    )
    for row in result["rows"]:
        if "failed" in row:
            lines.append(f"| {row['name']} | {row['failed']} | | | | | | |")
            continue
        measures = row["measures"]
        after = measures["success_after_steps"]
        cells = [
            row["name"],
            str(row.get("steps", "")),
            _of_starts("coverage")(measures),
            _of_starts("piece_recall")(measures),
            f"{after['3']:.2f} / {after['20']:.2f}",
            f"{measures['raw']['share_in_basin']:.3f}",
            f"{measures['mmd']['samples']:.3f}",
            f"{row['start_us']:.2g}" if row["start_us"] else "",
        ]
        lines.append(line(*cells))
    options = result["options"]
    labels = [f"`{row['name']}`: {row['label']}." for row in result["rows"] if "label" in row]
    note = f"{options['minutes']:g} minutes of one core for each, {options['poses']} poses. {source(result)}"
    return "\n".join([*lines, "", note, "", " ".join(labels)])


def seeds_table(result: dict[str, Any]) -> str:
    """The same recipe from several seeds: mean and spread of what matters."""
    rows = [row for row in result["rows"] if "seed" in row]
    failed = [row for row in rows if "failed" in row]
    lines = heading("seed", "covered with 16 / 64 / 256", "pieces touched", "basin")
    for row in rows:
        cells = [row.get("failed", ""), "", ""]
        if "failed" not in row:
            measures = row["measures"]
            cells = [_of_starts("coverage")(measures), _of_starts("piece_recall")(measures)]
            cells.append(f"{measures['raw']['share_in_basin']:.3f}")
        lines.append(f"| {row['seed']} | {' | '.join(cells)} |")
    note = f"{len(rows) - len(failed)} of {len(rows)} runs ended with finite losses"
    return "\n".join([*lines, "", f"{note}; {result['options']['minutes']:g} minutes each. {source(result)}"])


def runtime_table(result: dict[str, Any]) -> str:
    """What a start costs in each runtime."""
    times = [key for key in result["rows"][0] if key.startswith("us")]
    lines = heading("part", "runtime", *times)
    for row in result["rows"]:
        lines.append(f"| {row['part']} | {row['runtime']} | {' | '.join(f'{row[key]:.2f}' for key in times)} |")
    return "\n".join([*lines, "", f"Microseconds of a start, poses x starts. {source(result)}"])


def hard_table(result: dict[str, Any]) -> str:
    """Where the network should matter most: what starts end in, and times over those of random ones."""
    lines = heading("setting", "starts", "usable of 64", "distinct", "of known", "time to 4", "to 8", "to 16", "to 64")
    for name, rows in result["settings"].items():
        times = {row["starts"]: row for row in result["times"][name]}
        for row in (row for row in rows if row["n"] == 64):
            over = [times[row["starts"]]["over_random"].get(goal) for goal in ("4", "8", "16", "64")]
            cells = [name, row["starts"], f"{100 * row['usable']:.0f} %", f"{row['distinct']:.2f}"]
            cells += [f"{100 * row['known_share']:.0f} %", *("-" if x is None else f"x {x:.2f}" for x in over)]
            lines.append(line(*cells))
    note = f"{result['poses']} poses; distinct: {result['apart']} apart; times over those of random starts."
    return "\n".join([*lines, "", f"{note} {source(result)}"])


Table = tuple[str, Callable[[dict[str, Any]], str]]
DOCUMENTS: dict[Path, dict[str, Table]] = {
    README: {
        "compare table": ("compare", compare_table),
        "coverage table": ("compare", coverage_table),
        "regression table": ("neurokinematics", regression_short_table),
        "pixels table": ("pixels", short_table),
    },
    DOCS / "network.md": {
        "targets table": ("compare", targets_table),
        "ablation table": ("ablation", ablation_table),
        "notes table": ("ablation_notes", ablation_table),
        "seeds table": ("ablation_seeds", seeds_table),
        "runtime table": ("runtime", runtime_table),
        "hard table": ("hard_settings", hard_table),
    },
    DOCS / "samplers.md": {"samplers table": ("compare", samplers_table)},
    DOCS / "peers.md": {name: ("peers", table) for name, table in PEER_TABLES.items()},
    DOCS / "speed.md": SPEED_TABLES,
    DOCS / "solution_sets.md": SET_TABLES,
    DOCS / "tracking.md": TRACKING_TABLES,
    DOCS / "regression.md": REGRESSION_TABLES,
    DOCS / "seeing.md": VIEWING_TABLES,
    DOCS / "pixels.md": PIXEL_TABLES,
}


def filled(document: Path) -> str:
    """Its text with every table between its marks, `<!-- NAME -->` and `<!-- end of NAME -->`."""
    text = document.read_text()
    for name, (results, table) in DOCUMENTS[document].items():
        content = table(json.loads((RESULTS / f"{results}.json").read_text()))
        block = f"<!-- {name} -->\n{content}\n<!-- end of {name} -->"
        text = re.sub(f"<!-- {name} -->\n.*?<!-- end of {name} -->", lambda _, b=block: b, text, flags=re.DOTALL)
    return text


def main() -> None:
    """Reads the results, writes the files."""
    for document in DOCUMENTS:
        document.write_text(filled(document))


if __name__ == "__main__":
    main()
