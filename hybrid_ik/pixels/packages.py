"""Packages that only recordings need: imported when first used, with an error that says what brings them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hybrid_ik.errors import MissingPackageError


def vision_package(name: str) -> Any:
    """The module `name` of a package that the extra `vision` brings (`pyarrow`, `pyarrow.parquet`, `av`, `cv2`).

    Raises:
        MissingPackageError: it is not installed, or does not load.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"recordings need {name.partition('.')[0]}, which could not be imported ({error}): "
            "pip install hybrid-ik[vision]"
        ) from error
