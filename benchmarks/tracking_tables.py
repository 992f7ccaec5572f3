"""The table of docs/tracking.md."""

from __future__ import annotations

from typing import Any

from tables import duration, heading, line, source


def tracking_table(result: dict[str, Any]) -> str:
    """Paths that came through, and what that took."""
    lines = heading(
        "arm", "follower", "paths without a jump", "time of a path", "p90", "of a pose", "largest step", "cost"
    )
    for arm in result["arms"]:
        for row in arm["rows"]:
            cells = ["-"] * 4
            if row["whole"]:
                cells = [duration(row["median_s"]), duration(row["p90_s"])]
                cells += [f"{row['largest_step']:.2f} rad", f"x {row['cost_ratio_median']:.2f}"]
            share = f"{row['whole']} of {row['n']}"
            lines.append(line(arm["robot"], row["label"], share, *cells[:2], duration(row["s_per_pose"]), *cells[2:]))
    options = result["options"]
    left_out = [f"{about['label']} ({arm['robot']})" for arm in result["arms"] for about in arm["left_out"].values()]
    note = (
        f"{options['paths']} paths of {options['poses']} poses for each arm, steps of {options['max_step']:g} rad at "
        "most. Times of a path, steps and cost are those of the paths that came through; the cost is that of the "
        "joints found over that of the joints that the path was made from, median."
    )
    versions = {name: version for arm in result["arms"] for name, version in arm["versions"].items()}
    note += f" Versions: {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}."
    note += f" Left out: {', '.join(left_out)}." if left_out else ""
    return "\n".join([*lines, "", f"{note} {source(result)}"])


TRACKING_TABLES = {"tracking table": ("tracking", tracking_table)}
