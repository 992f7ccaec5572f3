"""The networks that come with the package."""

from __future__ import annotations

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile, load_network
from hybrid_ik.errors import CheckpointError
from hybrid_ik.resources import asset_path


def shipped_networks() -> list[NetworkFile]:
    """All network files of the package, verified."""
    return [load_network(path) for path in sorted(asset_path("networks").glob("*.safetensors"))]


def shipped_network(chain: Chain) -> NetworkFile | None:
    """The shipped network of this very arm, whatever its mount and tool; None where there is none."""
    return next((network for network in shipped_networks() if network.chain.matches(chain)), None)


def require_shipped_network(chain: Chain) -> NetworkFile:
    """As `shipped_network`; without one a `CheckpointError` that names the remedies."""
    network = shipped_network(chain)
    if network is None:
        there = ", ".join(network.path.stem for network in shipped_networks()) or "none"
        raise CheckpointError(
            f"no shipped network is of this arm ({', '.join(chain.joint_names)}); there are: {there}. Train one with "
            "`hybrid-ik train --robot ...` and pass sampler=MeanFlowSampler(file, robot.chain), or choose "
            "sampler='uniform'"
        )
    return network
