"""The table of docs/seeing.md."""

from __future__ import annotations

from typing import Any

from tables import heading, line, source


def viewing_table(result: dict[str, Any]) -> str:
    """What an update takes, where."""
    lines = heading("robot", "where", "median", "99 %", "longest", "within 16 ms", words=("where",))
    for row in result["rows"]:
        times = [f"{row[f'{name} [ms]']:.1f} ms" for name in ("median", "p99", "max")]
        lines.append(line(row["robot"], row["in"], *times, f"{100 * row['within 16 ms']:.4g} %"))
    note = f"{result['answers']} answers, {result['updates']} updates."
    return "\n".join([*lines, "", f"{note} {source(result)}"])


VIEWING_TABLES = {"viewing table": ("viewing", viewing_table)}
