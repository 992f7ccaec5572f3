"""The recorded program of one arm in SIMD lanes, compiled by numba and kept on disk."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.result import Status

logger = logging.getLogger(__name__)
Array = NDArray[np.float64]

# As many numbers as one AVX-512 register holds. With 16 a pose alone took 10.5 us instead of 5.2, for twice the work
# is done for it, and each of a batch 2.4 us instead of 2.1 (AMD EPYC 9004, half of a core).
LANES = 8
# Free to reorder and contract, but NaN must stay visible: no `nnan`, no `ninf`.
FASTMATH = "{'contract', 'reassoc', 'arcp', 'nsz', 'afn'}"
MARKER = "# ---- copied from here on\n"


def load_kernel(chain: Chain, with_posture: bool = False) -> ModuleType:
    """The compiled functions of `drivers` for an arm: `solve_rows` and `forward_rows`.

    Their source lies in the cache folder under a name made of the arm's fingerprint and the package's own sources, so a
    change of either makes a new one; numba keeps the machine code beside it, keyed by its own version and the
    processor. The first process of an arm compiles for some seconds, the next ones load. Damaged files are made again.
    """
    kernel = f"{chain.fingerprint[:16]}_{'posture' if with_posture else 'plain'}_{_package_hash()[:16]}"
    if kernel not in sys.modules:
        path = cache_folder() / f"k{kernel}.py"
        try:
            if path.exists():
                _import(kernel, path)
        except Exception as error:  # whatever a damaged file may lead to: a kernel can always be made again
            logger.warning("the kernel %s is damaged (%r): making it again", path, error)
            for file in [path, *path.parent.glob(f"__pycache__/{path.stem}.*")]:
                file.unlink(missing_ok=True)
        if kernel not in sys.modules:
            logger.info("compiling the kernel of a %d-joint arm; this is done once", chain.dof)
            write_atomically(path, _module_source(chain, with_posture).encode())
            _import(kernel, path)
    return sys.modules[kernel]


def cache_folder() -> Path:
    """Where kernels are kept: `$HYBRID_IK_CACHE`, or `hybrid_ik` in the user's cache folder."""
    if chosen := os.environ.get("HYBRID_IK_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hybrid_ik"


def forward_kinematics(chain: Chain, q: Array) -> tuple[Array, Array]:
    """Poses of the last joint frame in the first, for joints (m, dof): p (m, 3) [m] and R (m, 3, 3)."""
    out = np.empty((len(q), 12))
    load_kernel(chain).forward_rows(np.ascontiguousarray(q, dtype=float), out)
    return out[:, :3], out[:, 3:].reshape(-1, 3, 3)


def _module_source(chain: Chain, with_posture: bool) -> str:
    from hybrid_ik.kernels import program  # only needed to record, not to load

    head = [
        f'"""Kernel of the {chain.dof}-joint arm {chain.fingerprint}; made by hybrid_ik, safe to delete."""',
        "import numpy as np",
        "from numba import njit",
        f"LANES, DOF, WITH_POSTURE = {LANES}, {chain.dof}, {with_posture}",
        f"LOWER, UPPER = np.array({_literal(chain.lower)}), np.array({_literal(chain.upper)})",
        *(f"{status.name} = {int(status)}" for status in Status),
    ]
    compiled = f"@njit(fastmath={FASTMATH}, error_model='numpy', cache=True, nogil=True)"
    step = program.record_step(chain, with_posture).source("step", LANES)
    forward = program.record_forward(chain).source("forward", LANES)
    drivers = (Path(__file__).parent / "drivers.py").read_text().split(MARKER, 1)[1]
    return "\n".join([*head, compiled, step, compiled, forward, drivers, "COMPLETE = True\n"])


def _literal(limits: Array) -> str:
    return "[" + ", ".join(repr(float(x)).replace("inf", "np.inf") for x in limits) + "]"


@cache  # of the sources as they were when this process first looked
def _package_hash() -> str:
    here = Path(__file__).parent
    files = [here / "cpu.py", here / "drivers.py", here / "program.py", here.parent / "kinematics.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _import(name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load the kernel {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "COMPLETE"):  # its last line
            raise ImportError(f"{path} has been cut short")
    except BaseException:
        del sys.modules[name]
        raise
