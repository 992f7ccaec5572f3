"""Where a recording lies: a local folder, or one of the Hugging Face hub, downloaded when it is asked for."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from hybrid_ik.errors import DatasetError, MissingPackageError

INFO = Path("meta/info.json")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")
PATIENCE = 10.0  # s, for the first answer of the hub
FOLDERS = "meta", "data", "videos"  # all that is fetched
REFUSALS = {"RepositoryNotFoundError", "RevisionNotFoundError", "HFValidationError"}

logger = logging.getLogger(__name__)


def find_root(source: str | Path) -> Path:
    """The folder of a recording: `source` itself, or else a copy of what the hub has under that name.

    Args:
        source: a folder, or `"name/name"` on the hub, `"name/name@v3.0"` for a branch or tag of it.

    Raises:
        DatasetError: neither; a folder without `meta/info.json`; or a hub that cannot be reached or has no such name.
        MissingPackageError: it is no local folder, and huggingface_hub is not installed.
    """
    path = Path(source).expanduser()
    if (path / INFO).is_file():
        return path
    if path.exists():
        raise DatasetError(
            f"{source}: there is no {INFO} in it; expected the folder of a LeRobot dataset, which holds meta, data and "
            "videos"
        )
    if isinstance(source, Path) or not HUB_ID.fullmatch(source):
        raise DatasetError(f"{source}: there is no such folder, and it is no name on the hub (name/name)")
    return _downloaded(source)


def _downloaded(source: str) -> Path:
    """The hub's copy of a recording, whole and up to date; offline, the one that was downloaded before.

    The hub is asked one question first, with little patience: a download tries for 23 s before it says that it is
    offline. What is in its cache is not fetched again.
    """
    hub = _hub(source)
    name, _, revision = source.partition("@")
    wanted: dict[str, Any] = {"repo_type": "dataset", "revision": revision or None}
    wanted["allow_patterns"] = [f"{folder}/**" for folder in FOLDERS]
    try:
        hub.HfApi().dataset_info(name, revision=revision or None, timeout=PATIENCE)
    except Exception as error:  # of its HTTP library, which changes from version to version
        if REFUSALS & {kind.__name__ for kind in type(error).__mro__}:
            raise DatasetError(
                f"{source}: there is no such local folder, and the hub has no such dataset, or shows it to others only "
                f"({_first_line(error)}). Check the name, log in with `hf auth login`, or give the path of a local "
                "folder"
            ) from error
        return _cached(hub, source, wanted, error)
    logger.info("%s: fetching its %s from the hub, as far as they are not in its cache", source, ", ".join(FOLDERS))
    try:
        return Path(hub.snapshot_download(name, **wanted))
    except Exception as error:
        raise DatasetError(
            f"{source}: the download broke off ({_first_line(error)}). Open it again, which continues it, or give the "
            "path of a local folder"
        ) from error


def _cached(hub: Any, source: str, wanted: dict[str, Any], reason: Exception) -> Path:
    try:
        root = Path(hub.snapshot_download(source.partition("@")[0], local_files_only=True, **wanted))
        root.joinpath(INFO).stat()
    except Exception as error:
        raise DatasetError(
            f"{source}: there is no such local folder, the hub cannot be reached ({_first_line(reason)}), and its "
            f"cache has no copy. Connect to the network and try again, or give a local folder: {_by_hand(source)}"
        ) from error
    logger.info("%s: the hub cannot be reached (%s); the copy in %s is used", source, _first_line(reason), root)
    return root


def _hub(source: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingPackageError(
            f"{source}: there is no such local folder, and a dataset of the hub needs huggingface_hub, which could not "
            f"be imported ({error}): pip install huggingface_hub (no extra of hybrid-ik brings it). Or give a local "
            f"folder: {_by_hand(source)}"
        ) from error
    return huggingface_hub


def _by_hand(source: str) -> str:
    """How to get a dataset where there is a network."""
    name, _, revision = source.partition("@")
    words = f"hf download {name} --repo-type dataset --local-dir FOLDER" + (f" --revision {revision}" * bool(revision))
    return f"on a machine that is online, {words} makes one"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
