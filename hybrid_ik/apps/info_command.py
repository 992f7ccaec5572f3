"""`hybrid-ik info`: what is installed, or what a network file says of itself."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import tyro

from hybrid_ik.apps.offscreen import REMEDY, working_backend
from hybrid_ik.apps.tables import text_table
from hybrid_ik.checkpoint import NetworkFile, load_network
from hybrid_ik.kernels.native import cache_folder
from hybrid_ik.resources import asset_path
from hybrid_ik.samplers.shipped import shipped_networks

PACKAGES = (
    "hybrid-ik",
    "mujoco",
    "numpy",
    "scipy",
    "numba",
    "torch",
    "safetensors",
    "dm_control",
    "robot_descriptions",
)


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """Versions, folders and rendering; or the record of a network file."""

    file: tyro.conf.Positional[Path | None] = None
    """A network file."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = tyro.cli(InfoOptions, prog="hybrid-ik info", args=list(argv))
    print(_installation() if options.file is None else describe(load_network(options.file)))
    return 0


def describe(network: NetworkFile) -> str:
    """A network file: what it is, its arm, its options and how it was trained."""
    numbers = sum(tensor.size for tensor in network.tensors.values())
    return "\n".join(
        [
            f"{network.path}: {network.kind}, {numbers} numbers, {network.path.stat().st_size} bytes, sha256 verified",
            f"arm: {network.chain.dof} joints ({', '.join(network.chain.joint_names)})",
            f"options: {json.dumps(network.options, indent=2)}",
            f"record: {json.dumps(network.record, indent=2)}",
        ]
    )


def _installation() -> str:
    rows = [[name, _version(name)] for name in PACKAGES]
    networks = ", ".join(str(network.path) for network in shipped_networks()) or "none"
    return "\n".join(
        [
            text_table(["package", "version"], [["python", platform.python_version()], *rows]),
            f"kernels are kept in: {cache_folder()}",
            f"robots and networks: {asset_path()}",
            f"shipped networks: {networks}",
            f"rendering: {working_backend() or 'none. ' + REMEDY}",
        ]
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
