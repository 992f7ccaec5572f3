"""The recorded programs of one arm as machine code, and the loops that run them."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kernels.native import load_addresses, load_functions, source_hash

Array = NDArray[np.float64]

# Searches at a time: as many numbers as an AVX-512 register holds; narrower registers take several.
COARSE_LANES, FINE_LANES = 16, 8

PROGRAM = ("kinematics.py", "scalar_math.py", *(f"kernels/{name}.py" for name in ("cpu", "native", "program", "simd")))
LOOPS = (
    "result.py",
    *(f"kernels/{name}.py" for name in ("cpu", "drivers", "entries", "native", "pools", "program", "quaternion")),
)
POSES, OPTIONS = "f8[:,::1], f8[:,::1], f8[::1], i8", "f8[::1], f8[::1], b1[::1]"
SIGNATURES = {
    "solve_rows": f"i8, i8, f8[:,::1], {POSES}, f8[:,:,::1], {OPTIONS}, f8[:,::1], f8[:,::1], i4[:,::1]",
    "forward_rows": "i8, f8[:,::1], f8[:,::1]",
}


class Kernel:
    """The compiled functions of an arm, `solve_rows` and `forward_rows`; `drivers` says what they do.

    Their arguments are not looked at: arrays must have the types of `SIGNATURES`, and be contiguous.

    Args:
        chain: the arm.
        with_posture: whether its steps know a posture.
    """

    def __init__(self, chain: Chain, with_posture: bool) -> None:
        loops = load_functions(f"loops_{source_hash(*LOOPS)}", SIGNATURES, _loops, checked=False)
        name = f"{chain.fingerprint[:16]}_{'posture' if with_posture else 'plain'}_{source_hash(*PROGRAM)}"
        programs = load_addresses(name, lambda: _programs(chain, with_posture))
        limits = np.stack([chain.lower, chain.upper])
        self.solve_rows = partial(loops["solve_rows"], programs["coarse"], programs["fine"], limits)
        self.forward_rows = partial(loops["forward_rows"], programs["forward"])


KERNELS: dict[tuple[str, bool], Kernel] = {}


def load_kernel(chain: Chain, with_posture: bool = False) -> Kernel:
    """The compiled functions for an arm, from the cache folder if they are there.

    They are kept under the arm's fingerprint, the package's own sources, the versions of the compilers and the
    processor, so that a change of any of them makes new ones.
    """
    key = chain.fingerprint, with_posture
    if key not in KERNELS:
        KERNELS[key] = Kernel(chain, with_posture)
    return KERNELS[key]


def forward_kinematics(chain: Chain, q: Array) -> tuple[Array, Array]:
    """Poses of the last joint frame in the first, for joints (m, dof): p (m, 3) [m] and R (m, 3, 3)."""
    out = np.empty((len(q), 12))
    load_kernel(chain).forward_rows(np.ascontiguousarray(q, dtype=float), out)
    return out[:, :3], out[:, 3:].reshape(-1, 3, 3)


def _loops() -> str:
    from hybrid_ik.kernels import drivers
    from hybrid_ik.kernels.entries import intermediate_code

    return intermediate_code({name: getattr(drivers, name) for name in SIGNATURES}, SIGNATURES)


def _programs(chain: Chain, with_posture: bool) -> str:
    """Code of the arm's programs; a step writes joints and steps over, and its errors into their places."""
    from hybrid_ik.kernels.program import DOUBLE, SINGLE, Slots, record_forward, record_step
    from hybrid_ik.kernels.simd import LaneProgram, module_code

    dof, errors = chain.dof, chain.dof + Slots.ERRORS
    places = [*range(dof + 1), errors, errors + 1, errors + 2]
    return module_code(
        {
            "coarse": LaneProgram(record_step(chain, with_posture, SINGLE), "float", COARSE_LANES, places),
            "fine": LaneProgram(record_step(chain, with_posture, DOUBLE), "double", FINE_LANES, places),
            "forward": LaneProgram(record_forward(chain), "double", FINE_LANES, range(dof, dof + 12)),
        }
    )
