"""The tables of docs/speed.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tables import heading, source


def promises_table(result: dict[str, Any]) -> str:
    """What the toolkit promises, and what was measured."""
    lines = heading("measure", "value", "unit", "goal", "met")
    for row in result["measures"]:
        value = "-" if row["value"] is None else _number(row["value"])
        lines.append(f"| {row['measure']} | {value} | {row['unit']} | {row['goal']} | {row['met']} |")
    return "\n".join([*lines, "", source(result)])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def steps_table(result: dict[str, Any]) -> str:
    """Operations and time of one step, beside what the core can do."""
    lines = heading("a step in", "lanes", "operations", "time of a lane", "GFLOP/s", "peak", "share")
    for row in result["steps"]:
        cells = [
            f"{row['precision']} precision",
            row["lanes"],
            f"{row['operations of a step']:,}",
            f"{row['ns a step']:.1f} ns",
            f"{row['GFLOP/s']:.0f}",
            f"{row['peak GFLOP/s']:.0f}",
            f"{100 * row['share of peak']:.0f} %",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, "", source(result)])


def instructions_table(result: dict[str, Any]) -> str:
    """What its machine code is made of."""
    kinds = list(result["steps"][0]["instructions"])
    lines = heading("vector instructions of a step in", *kinds)
    for row in result["steps"]:
        lines.append(
            f"| {row['precision']} precision | {' | '.join(str(row['instructions'][kind]) for kind in kinds)} |"
        )
    return "\n".join(lines)


def batch_table(result: dict[str, Any]) -> str:
    """Where the time of a pose of a batch goes."""
    lines = heading("a pose of a batch", "how often", "us")
    for row in result["batch"]:
        often = "" if row["number"] is None else f"{row['number']:.1f}"
        lines.append(f"| {row['part']} | {often} | {row['us']:.3f} |")
    return "\n".join(lines)


def layers_table(result: dict[str, Any]) -> str:
    """What one pose costs, layer by layer."""
    lines = heading("one pose", "us")
    lines += [f"| {row['layer']} | {row['us']:.2f} |" for row in result["layers"]]
    return "\n".join(lines)


def memory_table(result: dict[str, Any]) -> str:
    """What a million poses take."""
    lines = heading("poses in one call", "memory beyond the result", "the result", "solved")
    for row in result["memory"]:
        cells = [
            f"{row['MB beyond the result']:.0f} MB",
            f"{row['MB of the result']:.0f} MB",
            f"{100 * row['success']:.6g} %",
        ]
        lines.append(f"| {row['poses']:,} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", source(result)])


def threads_table(result: dict[str, Any]) -> str:
    """What further threads bring."""
    lines = heading("threads", "us a pose", "times as fast")
    lines += [
        f"| {row['threads']} | {row['us a pose']:.3f} | {row['times as fast']:.2f} |" for row in result["threads"]
    ]
    return "\n".join(lines)


SPEED_TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "promises table": ("latency", promises_table),
    "steps table": ("limit", steps_table),
    "instructions table": ("limit", instructions_table),
    "batch table": ("limit", batch_table),
    "layers table": ("limit", layers_table),
    "threads table": ("growth", threads_table),
    "memory table": ("growth", memory_table),
}
