"""A trained network with the part of each start in SIMD lanes."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybrid_ik.checkpoint import NetworkFile
from hybrid_ik.kernels.tools import LANES, TILE, load_tools, pack
from hybrid_ik.samplers.numpy_network import Floats, ModulatedNetwork, NumpyNetwork, Tensors, numpy_network


class LaneNetwork(ModulatedNetwork):
    """Twin of `ModulatedNetwork`; what it takes for a start is less than half. It knows no layer normalisation."""

    def __init__(self, tensors: Tensors, options: dict[str, Any], r: float, t: float) -> None:
        super().__init__(tensors, options, r, t)
        tiles = [pack(weight, TILE) for weight in self.layers[1:]]
        self._layers = np.stack(tiles) if tiles else np.zeros((0, 1, 1, TILE), np.float32)
        self._output, self._bias = pack(self.output[0], TILE), self.output[1]
        self._gelu = options["activation"] == "gelu"

    def project(self, noise: Floats) -> Floats:
        """See `NumpyNetwork.project`; in lanes, `(blocks, width, LANES)`."""
        return pack(super().project(noise).T, LANES)

    def velocity(self, projected: Floats, modulation: Floats) -> Floats:
        """See `NumpyNetwork.velocity`; idle lanes of the last block bring numbers as well."""
        m = len(modulation)
        u = np.empty((m, len(projected) * LANES, len(self._bias)), np.float32)
        each = np.ascontiguousarray(modulation).reshape(m, 2, self.depth, self.width)
        load_tools()["decode_starts"](projected, each, self._layers, self._output, self._bias, self._gelu, u)
        return u


def fastest_network(file: NetworkFile) -> NumpyNetwork:
    """The network in a file: in lanes where they can run it, else in numpy; see `numpy_network`."""
    in_lanes = file.options.get("architecture") == "modulated" and file.options.get("norm") != "layer"
    return numpy_network(file, LaneNetwork if in_lanes else None)
