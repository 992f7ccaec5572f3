"""Writes the measured tables of README.md from the saved results: `python benchmarks/readme.py`.

Nobody types a number: the tables stand between marks, and a test compares them with the files they come from.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from record import RESULTS

from hybrid_ik.checkpoint import load_network
from hybrid_ik.resources import asset_path

README = Path(__file__).resolve().parents[1] / "README.md"


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
        lines.append(f"| {' | '.join(cells)} |")
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
        lines.append(f"| {' | '.join(cells)} |")
    oracle = coverage["oracle"]
    note = (
        f"{coverage['n_poses']} poses, network and refiner included in the times. The whole set of a pose is known as "
        f"curves, followed along the null space until {oracle['quiet']:,} further answers all lay on them; covered is "
        "what lies within 0.2 rad of an answer; `perfect` draws from the set itself. The network was trained for "
        f"{training['seconds'] / 60:.0f} minutes on {training['device'].replace('_', '-')} (`hybrid-ik info` shows its "
        "record)."
    )
    return "\n".join([*lines, "", note])


def heading(*names: str) -> list[str]:
    """The first two lines of a table, numbers flush right."""
    return [f"| {' | '.join(names)} |", "|---" + "|--:" * (len(names) - 1) + "|"]


def source(result: dict[str, Any]) -> str:
    """Where the numbers come from."""
    machine, versions = result["machine"], result["versions"]
    return (
        f"One core of {machine['processor']}, one thread, Python {versions['python']}, MuJoCo {versions['mujoco']}; "
        f"`{result['command']}` at commit {result['commit'][:10]}, {result['date']}; all of it in "
        "[benchmarks/results/compare.json](benchmarks/results/compare.json)."
    )


def duration(seconds: float) -> str:
    """With a unit that suits it."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.2g} us" if seconds < 1e-5 else f"{1e6 * seconds:.0f} us"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


TABLES = {"compare table": compare_table, "coverage table": coverage_table}


def filled(readme: str, result: dict[str, Any]) -> str:
    """The text with every table between its marks, `<!-- NAME -->` and `<!-- end of NAME -->`."""
    for name, table in TABLES.items():
        block = f"<!-- {name} -->\n{table(result)}\n<!-- end of {name} -->"
        readme = re.sub(f"<!-- {name} -->\n.*?<!-- end of {name} -->", lambda _, b=block: b, readme, flags=re.DOTALL)
    return readme


def main() -> None:
    """Reads the results, writes the file."""
    result = json.loads((RESULTS / "compare.json").read_text())
    README.write_text(filled(README.read_text(), result))


if __name__ == "__main__":
    main()
