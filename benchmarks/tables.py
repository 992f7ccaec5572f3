"""What the tables of README.md and docs/ have in common."""

from __future__ import annotations

from typing import Any


def line(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def heading(*names: str, words: tuple[str, ...] = ()) -> list[str]:
    """The first two lines of a table: the first column flush left, and those of `words`; numbers flush right."""
    sides = ["---" if name in words else "--:" for name in names[1:]]
    return [line(*names), "|".join(["", "---", *sides, ""])]


def source(result: dict[str, Any]) -> str:
    """Where the numbers come from."""
    machine, versions = result["machine"], result["versions"]
    return (
        f"One core of {machine['processor']}, one thread, Python {versions['python']}, MuJoCo {versions['mujoco']}; "
        f"`{result['command']}` at commit {result['commit'][:10]}, {result['date']}."
    )


def duration(seconds: float) -> str:
    """With a unit that suits it."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.2g} us" if seconds < 1e-5 else f"{1e6 * seconds:.0f} us"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
