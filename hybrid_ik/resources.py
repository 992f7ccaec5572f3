"""Where the files that travel with the package are: robots and networks, in a wheel or in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def asset_path(*parts: str) -> Path:
    """Path of a shipped file, `asset_path("robots", "panda.xml")`; whether it exists is not looked at.

    An installed wheel carries the files as `hybrid_ik/assets`, a checkout has them as `assets` beside the package.
    """
    installed = _PACKAGE / "assets"
    return (installed if installed.is_dir() else _PACKAGE.parent / "assets").joinpath(*parts)


def shipped_robots() -> list[str]:
    """Names of the robots that travel with the package, sorted."""
    return sorted(path.stem for path in asset_path("robots").glob("*.xml"))
