"""Curves of joints that all meet one pose, followed by the recorded steps of one arm in SIMD lanes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.cpu import FINE_LANES
from hybrid_ik.kernels.native import load_addresses, load_functions, source_hash

PROGRAM = (
    *("kinematics.py", "scalar_math.py"),
    *(f"kernels/{name}.py" for name in ("curves", "native", "program", "simd")),
)
MODULES = (
    *("cpu", "curve_lanes", "curves", "cut_loops", "entries", "follow_loops", "hermite_loops", "native", "pools"),
    *("program", "settle_loops"),
)
LOOPS = tuple(f"kernels/{name}.py" for name in MODULES)
ROWS = "f8[:,::1], f8[:,::1], f8[::1], f8[::1]"
SEGMENTS = "f8[:,::1], f8[:,::1], f8[:,::1], f8[:,::1]"
CURVES = f"{SEGMENTS}, f8[::1], f8[::1], i8[::1], f8[::1], f8[:,::1]"
LIMITS, PARTS = "f8[::1], f8[::1]", "i8[:,::1], f8[:,::1], f8[:,::1]"
POINTS = "f8[:,::1], f8[:,::1], f8[:,::1], f8[::1]"
SIGNATURES = {
    "measure_segments": f"{SEGMENTS}, f8[::1]",
    "list_cubics": f"{SEGMENTS}, f8[::1], f8[:,:,::1]",
    "place_on_segments": f"{SEGMENTS}, f8[::1], i8[::1], f8[::1], f8[:,::1], f8[:,::1]",
    "cut_curves": f"{CURVES}, {LIMITS}, b1[::1], f8[::1], f8[::1], i8[:,::1], {PARTS}, i8[::1]",
    "place_points": f"{CURVES}, {LIMITS}, f8[::1], {PARTS}, {POINTS}, i8[::1], i8[::1], i8[::1]",
    "settle_rows": f"i8, {ROWS}, f8[:,::1], f8[::1], f8[:,::1], f8[:,::1], f8[:,::1], i4[::1]",
    "follow_rows": f"i8, {ROWS}, f8[:,::1], f8[:,::1], f8[:,::1], f8[:,:,::1], f8[:,:,::1], f8[:,::1], i4[:,::1]",
    "join_closed": f"f8[:,:,::1], f8[:,:,::1], f8[:,::1], i4[:,::1], i8, {SEGMENTS}",
    "cheapest_ways": "f8[:,::1], f8[:,::1], f8[::1], f8[:,::1], f8, i4[::1], f8[::1]",
    "find_on_curves": "f8[:,::1], f8[:,::1], f8[:,::1], f8[:,::1], i4[::1]",
}

# What became of a curve: see `follow_loops.follow_rows`.
OPEN, CLOSED, LOST, LONG, SAME, ENDED = 0, 1, 2, 3, 4, 5


class CurveKernel:
    """The compiled functions of an arm: `settle_rows`, `follow_rows` and so on; their modules describe them.

    Their arguments are not looked at: arrays must have the types of `SIGNATURES`, and be contiguous.
    """

    def __init__(self, chain: Chain) -> None:
        loops = load_curve_loops()
        name = f"{chain.fingerprint[:16]}_curve_{source_hash(*PROGRAM)}"
        step = load_addresses(name, lambda: _program(chain))["curve"]
        self.settle_rows = partial(loops["settle_rows"], step)
        self.follow_rows = partial(loops["follow_rows"], step)
        self.find_on_curves, self.join_closed = loops["find_on_curves"], loops["join_closed"]
        self.cheapest_ways = loops["cheapest_ways"]


@cache
def load_curve_loops() -> dict[str, Callable[..., None]]:
    """The functions of `SIGNATURES`, which know no arm."""
    return load_functions(f"curves_{source_hash(*LOOPS)}", SIGNATURES, _loops, checked=False)


KERNELS: dict[str, CurveKernel] = {}


def load_curve_kernel(chain: Chain) -> CurveKernel:
    """The compiled functions for an arm, kept as those of `cpu.load_kernel` are."""
    if chain.fingerprint not in KERNELS:
        KERNELS[chain.fingerprint] = CurveKernel(chain)
    return KERNELS[chain.fingerprint]


def _loops() -> str:
    from hybrid_ik.kernels import cut_loops, follow_loops, hermite_loops, settle_loops
    from hybrid_ik.kernels.entries import intermediate_code

    modules = cut_loops, follow_loops, hermite_loops, settle_loops
    functions = {name: getattr(m, name) for m in modules for name in SIGNATURES if hasattr(m, name)}
    return intermediate_code(functions, SIGNATURES)


def _program(chain: Chain) -> str:
    from hybrid_ik.kernels.program import CurveSlots, record_curve_step
    from hybrid_ik.kernels.simd import LaneProgram, module_code

    first = 2 * chain.dof + CurveSlots.ERRORS
    slots = range(first, first + 3 + 2 * chain.dof)
    return module_code({"curve": LaneProgram(record_curve_step(chain), "double", FINE_LANES, slots)})
