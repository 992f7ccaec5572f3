"""The tables of docs/peers.md, out of results/peers.json."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tables import duration, heading, line, source

Result = dict[str, Any]


def solvers_table(result: Result) -> str:
    """Who took part, at which settings; and who did not, and why."""
    words = "package", "restarts", "settings"
    lines = heading("solver", "package", "restarts", "its kinematics off ours", "settings", words=words)
    for peer in result["peers"]:
        difference = "" if peer["fk_difference"] is None else f"{peer['fk_difference']:.1g}"
        cells = [peer["label"], f"{peer['package']} {peer['version']}", peer["restarts"], difference, peer["settings"]]
        lines.append(_row(cells))
    missing = {**result["left_out"], **result["all_answers"]["left_out"]}
    note = [f"Left out: {about['label']} ({about['reason']})." for about in missing.values()]
    return "\n".join([*lines, "", " ".join(note) or "Nobody was left out."])


def set_table(kind: str, result: Result) -> str:
    """One set of poses that can be reached, fastest median first."""
    lines = heading(
        *("solver", "poses", "1 mm, 0.1 deg", "1e-6", "wrong", "median", "p99", "max"),
        *("over ours (rounds)", "position error, median / max", "rotation error, median / max", "right answers/s"),
    )
    for row in _by_time(result["sets"][kind]):
        cells = [row["label"], f"{row['n']}", *(_percent(row[key]) for key in ("success_1mm", "success_1um", "wrong"))]
        cells += [
            *_times(row),
            _ratio(row),
            _errors(row["position_error"], "m"),
            _errors(row["orientation_error"], "rad"),
        ]
        lines.append(_row([*cells, f"{row['answers_per_second']:,.0f}"]))
    return "\n".join([*lines, "", source(result)])


def refusal_table(result: Result) -> str:
    """Poses out of reach: how long it takes to say no, and whether it is said."""
    lines = heading("solver", "poses", "said no", "claimed an answer", "median", "p99", "max", "over ours (rounds)")
    for row in _by_time(result["sets"]["unreachable"]):
        cells = [row["label"], f"{row['n']}", _percent(1 - row["answered"]), _percent(row["wrong"])]
        lines.append(_row([*cells, *_times(row), _ratio(row)]))
    return "\n".join([*lines, "", source(result)])


def path_table(kind: str, result: Result) -> str:
    """A path that is followed from answer to answer."""
    path = result["paths"][kind]
    lines = heading(
        *("solver", "steps", "1 mm, 0.1 deg", "1e-6", "wrong", "no answer", "median", "p99", "max"),
        *("over ours (rounds)", "largest jump [rad]", f"jumps over {path['jump']:g} rad"),
    )
    for row in _by_time(path["rows"]):
        cells = [row["label"], f"{row['n']}", *(_percent(row[key]) for key in ("success_1mm", "success_1um", "wrong"))]
        cells += [_percent(1 - row["answered"]), *_times(row), _ratio(row)]
        lines.append(_row([*cells, f"{row['largest_jump']:.2f}", f"{row['jumps']}"]))
    note = f"{path['steps']} steps, in which no joint moves by more than {path['largest_step']:.3f} rad."
    return "\n".join([*lines, "", f"{note} {source(result)}"])


def batch_table(result: Result) -> str:
    """Those that take many poses in one call."""
    lines = heading("solver", "poses", "poses/s", "1 mm, 0.1 deg", "1e-6")
    for row in result["batch"]:
        cells = [row["label"], f"{row['n']}", f"{row['poses_per_second']:,.0f}"]
        lines.append(_row([*cells, _percent(row["success_1mm"]), _percent(row["success_1um"])]))
    return "\n".join([*lines, "", source(result)])


def all_answers_table(result: Result) -> str:
    """How many answers of one pose come, and how soon."""
    every = result["all_answers"]
    lines = heading(
        "solver", "answers given", "distinct", "not exact", "poses without any", "median", "p99", "distinct/s"
    )
    for row in every["rows"]:
        cells = [row["label"], f"{row['given_median']:.4g}", f"{row['distinct_median']:.4g}", _percent(row["wrong"])]
        times = [duration(row["seconds"]["median"]), duration(row["seconds"]["p99"])]
        lines.append(_row([*cells, _percent(row["none"]), *times, f"{row['distinct_per_second']:,.0f}"]))
    note = f"{every['n_poses']} random poses; medians; distinct: 0.1 rad apart, exact to 1e-6 and within the limits."
    return "\n".join([*lines, "", f"{note} {source(result)}"])


def _by_time(rows: list[Result]) -> list[Result]:
    return sorted(rows, key=lambda row: row["seconds"]["median"])


def _row(cells: list[str]) -> str:
    return line(*cells)


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _times(row: Result) -> list[str]:
    return [duration(row["seconds"][key]) for key in ("median", "p99", "max")]


def _ratio(row: Result) -> str:
    ratio = row["ratio"]
    return f"{ratio['median']:.3g} ({ratio['least']:.3g} - {ratio['most']:.3g})" if ratio else "-"


def _errors(error: dict[str, float | None], unit: str) -> str:
    if error["median"] is None or error["max"] is None:
        return "-"
    return f"{error['median']:.1e} / {error['max']:.1e} {unit}"


PEER_TABLES: dict[str, Callable[[Result], str]] = {
    "solvers table": solvers_table,
    "reachable table": partial(set_table, "reachable"),
    "near-limit table": partial(set_table, "near-limit"),
    "near-singular table": partial(set_table, "near-singular"),
    "edge table": partial(set_table, "edge"),
    "unreachable table": refusal_table,
    "calm path table": partial(path_table, "calm"),
    "wide path table": partial(path_table, "wide"),
    "batch table": batch_table,
    "all answers table": all_answers_table,
}
