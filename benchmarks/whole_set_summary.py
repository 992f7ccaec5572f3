"""What the rows of `whole_sets.py` come to, and the tables of docs/solution_sets.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from tables import heading, line, source

COUNTS = ("answers", "far", "blurred", "uncovered")
NAMES = {"panda": "Panda", "iiwa14": "iiwa14", "kr6": "KR6 R900"}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the poses of one arm."""
    names = list(rows[0]["answers"])
    total = lambda key, name: sum(row[key][name] for row in rows)  # noqa: E731
    counts = {name: {key: total(key, name) for key in COUNTS} for name in names}
    answers, far, blurred, uncovered = (sum(count[key] for count in counts.values()) for key in COUNTS)
    pieces, lost = sum(row["oracle_pieces"] for row in rows), sum(row["lost_pieces"] for row in rows)
    lacking = [{"pose": i, **row} for i, row in enumerate(rows) if row["lost_pieces"] or sum(row["far"].values())]
    return {
        "counts": counts,
        "blurred": blurred,
        "recall": 1 - far / max(answers, 1),
        "coverage": 1 - uncovered / max(answers, 1),
        "oracle_pieces": pieces,
        "piece_recall": 1 - lost / max(pieces, 1),
        "poses_without_a_piece": sum(row["lost_pieces"] > 0 for row in rows),
        "poses_without_an_answer": len(lacking),
        "poses_without_answers_at_all": sum(sum(row["answers"].values()) == 0 for row in rows),
        **{f"{key}_max": max(row[key] for row in rows) for key in ("position_error", "orientation_error", "gap")},
        **{key: sum(row[key] for row in rows) for key in ("points", "outside", "twice")},
        **{f"{key}_median": float(np.median([row[key] for row in rows])) for key in ("pieces", "length", "seeds")},
        "pieces_most": max(row["pieces"] for row in rows),
        "by_miss": [_at(rows, k) for k in range(len(rows[0]["by_miss"]))],
        "branches": _branches(rows),
        "lacking": lacking,
    }


def _at(rows: list[dict[str, Any]], k: int) -> dict[str, Any]:
    entries = [row["by_miss"][k] for row in rows]
    return {
        "miss": entries[0]["miss"],
        "poses_without_a_piece": sum(entry["lost"] > 0 for entry in entries),
        "missing_mean": float(np.mean([entry["missing"] for entry in entries])),
        "missing_max": max(entry["missing"] for entry in entries),
        "seeds_mean": float(np.mean([entry["seeds"] for entry in entries])),
    }


def _branches(rows: list[dict[str, Any]]) -> list[dict[str, int]]:
    """How many poses have how many branches, and of how many of these all were found."""
    if "branches" not in rows[0]:
        return []
    poses = Counter(row["branches"] for row in rows)
    whole = Counter(row["branches"] for row in rows if row["found_branches"] == row["branches"])
    return [{"branches": n, "poses": poses[n], "all_found": whole[n]} for n in sorted(poses)]


def arm_rows(sets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For people to read."""
    return [
        {
            "arm": _title(part),
            "poses": part["poses"],
            "answers": f"{sum(count['answers'] for count in part['counts'].values()):,}",
            "recall": f"{part['recall']:.6f}",
            "covered": f"{part['coverage']:.6f}",
            "pieces": f"{part['oracle_pieces']:,}",
            "piece recall": f"{part['piece_recall']:.6f}",
            "error, um / urad": " / ".join(
                f"{1e6 * part[f'{key}_error_max']:.2f}" for key in ("position", "orientation")
            ),
            "outside / twice": f"{part['outside']} / {part['twice']}",
        }
        for part in sets
    ]


def honesty_rows(sets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What sets say that they may lack, and what they lack."""
    return [
        {
            "arm": _title(part),
            "miss": f"{row['miss']:g}",
            "starts": f"{row['seeds_mean']:.0f}",
            "said, mean": f"{row['missing_mean']:.1g}",
            "said, most": f"{row['missing_max']:.1g}",
            "poses without a piece": f"{row['poses_without_a_piece']} of {part['poses']}",
        }
        for part in sets
        for row in part["by_miss"]
    ]


def _title(part: dict[str, Any]) -> str:
    kind = "" if part["kind"] == "reachable" else f", {part['kind']}"
    return NAMES[part["arm"]] + kind


def _markdown(rows: list[dict[str, Any]]) -> list[str]:
    return [*heading(*rows[0]), *(line(*row.values()) for row in rows)]


def sets_table(result: dict[str, Any]) -> str:
    """Recall and cleanness."""
    return "\n".join([*_markdown(arm_rows(result["sets"])), "", source(result)])


def sources_table(result: dict[str, Any]) -> str:
    """Who found the answers, and how many of them are not on the sets."""
    lines = heading("arm", "answers of", "verified", "not on the set", "blurred", "not covered")
    for part in result["sets"]:
        for name, count in part["counts"].items():
            lines.append(line(_title(part), name, *(f"{count[key]:,}" for key in COUNTS)))
    return "\n".join(lines)


def misses_table(result: dict[str, Any]) -> str:
    """Every set that something is missing of."""
    lines = heading(
        "arm", "pose", "what", "answers not on the set", "farthest", "least singular value there", words=("what",)
    )
    if not any(part["lacking"] for part in result["sets"]):
        lines.append(line("none", *[""] * 5))
    for part in result["sets"]:
        for row in part["lacking"]:
            farthest = row["misses"][0]
            distance = "-" if farthest["distance"] is None else f"{farthest['distance']:.2g} rad"
            share = f"{sum(row['far'].values()):,} of {sum(row['answers'].values()):,}"
            lines.append(
                line(_title(part), row["pose"], _what(row), share, distance, f"{farthest['least_singular_value']:.1g}")
            )
    return "\n".join(lines)


def _what(row: dict[str, Any]) -> str:
    if not row["pieces"]:
        return "the set is empty"
    if row["lost_pieces"]:
        return f"{row['lost_pieces']} of {row['oracle_pieces']} pieces missing"
    return "a part of a piece"


def honesty_table(result: dict[str, Any]) -> str:
    """What `missing` says, beside what is."""
    return "\n".join(_markdown(honesty_rows(result["sets"])))


def times_table(result: dict[str, Any]) -> str:
    """Of one call."""
    lines = heading("arm", "spacing", "miss", "median", "90 %", "99 %")
    for row in result["times"]:
        cells = [f"{row['spacing']:g}", f"{row['miss']:g}", *(f"{row[p]:.2f} ms" for p in ("p50", "p90", "p99"))]
        lines.append(line(NAMES[row["arm"]], *cells))
    return "\n".join(lines)


def branches_table(result: dict[str, Any]) -> str:
    """Six joints: how many answers there are, but for whole turns."""
    lines = heading("branches", "poses", "with all of them found")
    for part in result["sets"]:
        lines += [line(row["branches"], row["poses"], row["all_found"]) for row in part["branches"]]
    return "\n".join(lines)


SET_TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "sets table": ("whole_sets", sets_table),
    "sources table": ("whole_sets", sources_table),
    "misses table": ("whole_sets", misses_table),
    "honesty table": ("whole_sets", honesty_table),
    "times table": ("whole_sets", times_table),
    "branches table": ("whole_sets", branches_table),
}
