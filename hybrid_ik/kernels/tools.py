"""Compiled functions that know no arm: what is done to the starts of a network, and the choice among answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.kernels.native import load_functions, source_hash

Array = NDArray[np.float64]
SOURCES = ("decoder", "distinct", "entries", "inner", "native", "outer", "quaternion", "simd", "tools")
SIGNATURES = {
    "pick_distinct": "f8[:,:,::1], b1[:,::1], f8[:,::1], f8, f8[::1], b1, i8[:,::1]",
    "encode_poses": "f8[:,::1], f8[:,::1], b1[::1], f8[::1], f8, b1, b1, f8[:,::1], f4[:,::1]",
    "place_starts": "f4[:,:,::1], f4[:,::1], f4[::1], f8[::1], f8[::1], i8, f8[:,:,::1]",
    "complete_starts": "f8[:,:,::1], f8[:,:,::1], f8[:,::1], f8[::1], f8[::1], b1, b1, b1[:,::1]",
    "use_spares": "f8[:,:,::1], b1[:,::1], i8",
    "decode_starts": "f4[:,:,::1], f4[:,:,:,::1], f4[:,:,:,::1], f4[:,:,::1], f4[::1], b1, f4[:,:,::1]",
}

GROUP = 4  # starts that share a spare one
LANES = 16  # starts that the network decodes at a time
TILE = 8  # its sums at a time: enough to hide the latency of one, few enough for the registers


@cache
def load_tools() -> dict[str, Callable[..., None]]:
    """The functions of `SIGNATURES`; `decoder`, `distinct`, `inner` and `outer` say what they do."""
    sources = source_hash("encoding.py", *(f"kernels/{name}.py" for name in SOURCES))
    return load_functions(f"tools_{sources}", SIGNATURES, _compile)


def pick_distinct(
    q: Array, usable: NDArray[np.bool_], cost: Array, n_picks: int, min_distance: float, period: Array, spread: bool
) -> NDArray[np.int64]:
    """See `distinct.pick_distinct`."""
    picks = np.empty((len(q), n_picks), np.int64)
    load_tools()["pick_distinct"](q, usable, cost, min_distance, period, spread, picks)
    return picks


def pack(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Columns of `(n, m)` in groups: `(groups, n, size)` float32, the last group filled up with zeros.

    So are starts grouped into lanes (of their transpose), and weights `(n_in, n_out)` into tiles.
    """
    n, m = values.shape
    padded = np.zeros((n, -(-m // size) * size), np.float32)
    padded[:, :m] = values
    return np.ascontiguousarray(padded.reshape(n, -1, size).swapaxes(0, 1))


def _compile() -> str:
    from hybrid_ik.kernels import decoder, distinct, inner, outer
    from hybrid_ik.kernels.entries import intermediate_code

    modules = {"decode_starts": decoder, "pick_distinct": distinct, "encode_poses": inner}
    return intermediate_code({name: getattr(modules.get(name, outer), name) for name in SIGNATURES}, SIGNATURES)
