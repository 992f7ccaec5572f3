"""The recorded programs of one arm as a Triton kernel: a lane of a block is one search, from its start to its verdict.

Triton reads the source file of what it compiles, so the kernels of an arm are written as a module into the folder of
kernels. They do what `drivers` does, in the same steps and with the same verdicts: single precision until near, then
double precision until the search is finished. A block is done when all its lanes are.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels import gpu_loops
from hybrid_ik.kernels.native import cache_folder, source_hash
from hybrid_ik.kernels.program import (
    DOUBLE,
    SINGLE,
    Program,
    Recording,
    RecordingMath,
    Slots,
    Statement,
    fit,
    horner,
    record_forward,
    record_step,
)

SOURCES = (
    "kinematics.py",
    "scalar_math.py",
    "result.py",
    *(f"kernels/{name}.py" for name in ("gpu", "gpu_loops", "program", "quaternion")),
)
TYPES = {"single": "tl.float32", "double": "tl.float64"}

# As LLVM's forms of them in `simd`, where they say what becomes of NaN.
OPERATIONS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negate": "-{}",
    "round": "tl.floor({} + 0.5)",
    "square_root": "tl.sqrt({})",
    "maximum": "tl.where({1} < {0}, {0}, {1})",
    "minimum": "tl.where({0} < {1}, {0}, {1})",
    "where_less": "tl.where({} < {}, {}, {})",
}


WARP, MOST_WARPS = 32, 8
MODULES: dict[Path, Any] = {}


def load_kernels(chain: Chain, with_posture: bool = False) -> Any:
    """The module of an arm's kernels, `forward`, `refine`, `choose` and `pick`; written anew where its text differs.

    Raises:
        InvalidInputError: there is no Triton.
    """
    require_triton()
    name = f"gpu_{chain.fingerprint[:16]}_{'posture' if with_posture else 'plain'}_{source_hash(*SOURCES)}"
    path = cache_folder() / f"{name}.py"
    if path not in MODULES:
        text = module_source(chain, with_posture).encode()
        if not path.is_file() or path.read_bytes() != text:
            write_atomically(path, text)
        MODULES[path] = _load(path)
    return MODULES[path]


def require_triton() -> None:
    """Raise `InvalidInputError` with the remedy unless Triton can be imported."""
    if importlib.util.find_spec("triton") is None:
        raise InvalidInputError(
            "the GPU refiner needs Triton, which is not installed. It comes with the CUDA builds of torch for Linux "
            "(https://pytorch.org/get-started), or by pip install 'hybrid-ik[gpu]'; LaneRefiner runs without it"
        )


def module_source(chain: Chain, with_posture: bool) -> str:
    """Text of the module of an arm's kernels."""
    constants = "\n".join(f"{name} = tl.constexpr({value})" for name, value in gpu_loops.CONSTANTS.items())
    parts = [
        f'"""Kernels of the arm {chain.fingerprint}, written by hybrid_ik.kernels.gpu."""',
        f"import triton\nimport triton.language as tl\n\n{constants}",
        *(_jitted(inspect.getsource(function)) for function in gpu_loops.HELPERS),
        _jitted(_function_source("turn", record_turn(), "double")),
        _jitted(_function_source("coarse_step", record_step(chain, with_posture, SINGLE), "single", _errors(chain))),
        _jitted(_function_source("fine_step", record_step(chain, with_posture, DOUBLE), "double", _errors(chain))),
        _jitted(_function_source("pose_of", record_forward(chain), "double")),
        _jitted(_forward_source(chain), ("n",)),
        _jitted(_refine_source(chain, with_posture), gpu_loops.NUMBERS),
        _jitted(inspect.getsource(gpu_loops.choose), gpu_loops.NUMBERS),
        _jitted(inspect.getsource(gpu_loops.pick), gpu_loops.NUMBERS),
    ]
    return "\n\n\n".join(part.strip() for part in parts) + "\n"


def record_turn() -> Recording:
    """Square of a chord of the unit circle -> its angle [rad], 2 asin(h) with h = min(1, chord / 2).

    asin(h) = h P(h^2) for h < 1/2, and pi/2 - 2 asin(sqrt((1 - h) / 2)) beyond it; 6e-16 off, of 1.
    """
    program = Program()
    (chord_squared,) = program.read(1)
    math = RecordingMath(program)
    polynomial = fit(lambda t: np.arcsin(np.sqrt(t)) / np.sqrt(t), 0.25, 12)
    h_squared = math.minimum(chord_squared * 0.25, 1.0)
    h = program.record("square_root", h_squared)
    t = math.where_less(h_squared, 0.25, h_squared, 0.5 - 0.5 * h)
    r = program.record("square_root", t) * horner(polynomial, t)
    return program.recording([2.0 * math.where_less(h_squared, 0.25, r, 0.5 * np.pi - 2.0 * r)])


def launch(kernel: Any, lanes: int, block: int, device: Any) -> Callable[..., None]:
    """A kernel that is to run on so many lanes of a device, in blocks; a launch of none is left out."""
    n_blocks = -(-lanes // block)
    if n_blocks == 0:
        return lambda *arguments, **options: None
    run = partial(
        kernel[(n_blocks,)], BLOCK=block, num_warps=min(max(1, block // WARP), MOST_WARPS), enable_fp_fusion=True
    )

    def call(*arguments: Any, **options: Any) -> None:
        with on(device):
            run(*arguments, **options)

    return call


def on(device: Any) -> Any:
    """Triton launches on the device that is current."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _jitted(source: str, run_time: tuple[str, ...] = ()) -> str:
    """A function for Triton; it makes no kernels of their own for special values of the arguments named."""
    names = [name for name in run_time if re.search(rf"\\b{name}\\b", source)]
    decorator = f"@triton.jit(do_not_specialize={names})" if names else "@triton.jit"
    return f"{decorator}\n{source}"


def _errors(chain: Chain) -> range:
    """Slots of a step that are only written."""
    return range(chain.dof + Slots.ERRORS, chain.dof + Slots.ERRORS + 3)


def _function_source(name: str, recording: Recording, precision: str, unused: Iterable[int] = ()) -> str:
    """A recorded program as a function of its inputs, but for those not used, and of the number of lanes."""
    arguments = [f"x{slot}" for slot in range(recording.n_inputs) if slot not in unused]
    lines = []
    for number, statement in enumerate(recording.statements):
        if statement.operation != "input" or statement.operands[0] not in unused:
            lines.append(f"v{number} = {_expression(statement, recording.statements, precision)}")
    lines.append("return " + ", ".join(f"v{number}" for number in recording.outputs))
    return f"def {name}({', '.join(arguments)}, BLOCK: tl.constexpr):\n    " + "\n    ".join(lines)


def _expression(statement: Statement, statements: list[Statement], precision: str) -> str:
    operation, operands, constant = statement
    if operation == "input":
        return f"x{operands[0]}"
    if operation == "constant":  # as a full number: Triton rounds literals to single precision in some places
        return f"tl.full([BLOCK], {constant!r}, {TYPES[precision]})"
    if operation == "divide" and statements[operands[0]] == Statement("constant", (), 1.0):
        root = statements[operands[1]]
        if root.operation == "square_root":  # one instruction in place of two long ones
            return f"tl.rsqrt(v{root.operands[0]})"
    return OPERATIONS[operation].format(*(f"v{i}" for i in operands))


def _forward_source(chain: Chain) -> str:
    text = _repeat(FORWARD, "$i", [{"$i": str(i)} for i in range(chain.dof)])
    text = _repeat(text, "$k", [{"$k": str(k)} for k in range(12)])
    return _finished(text.replace("$pose", ", ".join(f"o{k}" for k in range(12))), chain)


def _refine_source(chain: Chain, with_posture: bool) -> str:
    text = REFINE if with_posture else "\n".join(x for x in REFINE.splitlines() if not x.endswith("# posture"))
    posture = [*(f"w{i}" for i in range(chain.dof)), "u0", "u1", "u2"] if with_posture else []
    fixed = [*TARGET, "t0", "t1", "t2", "weight", "damping"]
    single, double = ([*fixed, *limits, *posture] for limits in (COARSE_LIMITS, LIMITS))
    casts = [{"$cast": f"a{k}", "$argument": name} for k, name in enumerate(single)]
    bounds = zip(chain.lower.tolist(), chain.upper.tolist(), strict=True)
    joints = [{"$i": str(i), "$limits": f'float("{a}"), float("{b}")'} for i, (a, b) in enumerate(bounds)]
    text = _repeat(_repeat(text, "$argument", casts), "$i", joints)
    text = text.replace("$double", ", ".join(double)).replace("$single", ", ".join(cast["$cast"] for cast in casts))
    return _finished(text.replace("$target", ", ".join(TARGET)), chain)


def _finished(text: str, chain: Chain) -> str:
    text = re.sub(r"\$all\((\w)\)", lambda match: ", ".join(f"{match[1]}{i}" for i in range(chain.dof)), text)
    return text.replace("$DOF", str(chain.dof))


def _repeat(text: str, mark: str, substitutes: list[dict[str, str]]) -> str:
    """The text with every line that has the mark once for each of these substitutes."""
    lines = []
    for line in text.splitlines():
        for words in substitutes if mark in line else [{}]:
            lines.append(_substituted(line, words))
    return "\n".join(lines)


def _substituted(line: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        line = line.replace(word, value)
    return line


TARGET = [*(f"R{i}" for i in range(9)), "p0", "p1", "p2"]
LIMITS = ["position_limit", "chord_limit", "step_limit", "max_steps"]
COARSE_LIMITS = ["coarse_position", "coarse_chord", "coarse_step_limit", "max_steps - 1.0"]

# Of these texts, a line with $i stands for one line for each joint, and $all(x) for x0, x1 and so on; a line with
# $argument for one for each argument of the steps in single precision, which are $single, those in double $double.
# A finished search in double precision stays as it is when it is stepped again, so its lane needs no care; one in
# single precision would go on. Only with REPEAT does a lane take one start after another: what it must know for that
# does not fit into its registers, 40 bytes for the Panda.
FORWARD = """
def forward(q, poses, n, BLOCK: tl.constexpr):
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = lane < n
    x$i = tl.load(q + $DOF * lane + $i, mask=active, other=0.0)
    $pose = pose_of($all(x), BLOCK)
    tl.store(poses + 12 * lane + $k, o$k, mask=active)
"""

REFINE = """
def refine(
    position, quaternion, valid, mount_tool, starts, options, wanted, rows, state, q, errors, info,
    n_starts, most, capacity, last, group, row_stride, spread, place,
    SINGLE_FIRST: tl.constexpr, REPEAT: tl.constexpr, BLOCK: tl.constexpr,
):
    first, count, depth = share(state, n_starts, most, capacity, last)
    n_lanes = tl.load(state).to(tl.int64) * count
    first_lane = tl.program_id(0).to(tl.int64) * BLOCK
    if first_lane >= n_lanes:
        return
    lane = first_lane + tl.arange(0, BLOCK)
    active = lane < n_lanes
    row = tl.load(rows + lane // count, mask=active, other=0).to(tl.int64)
    is_pose = active & (tl.load(valid + row // group, mask=active, other=0) != 0)
    at = tl.where(spread > 0, row * spread + place + lane % count, lane)

    $target = place_target(position, quaternion, mount_tool, row // group, is_pose)
    t0, t1, t2 = tl.load(options), tl.load(options + 1), tl.load(options + 2)
    weight, damping = tl.load(options + O_WEIGHT), tl.load(options + O_DAMPING)
    position_limit, chord_limit = tl.load(options + O_LIMITS), tl.load(options + O_LIMITS + 1)
    step_limit, max_steps = tl.load(options + O_LIMITS + 2), tl.load(options + O_LIMITS + 3)
    w$i = tl.load(wanted + $i)  # posture
    u0 = tl.load(options + O_POSTURE)  # posture
    u1, u2 = tl.load(options + O_POSTURE + 1), tl.load(options + O_POSTURE + 2)  # posture
    zero = tl.zeros([BLOCK], tl.float64)
    single_zero = tl.zeros([BLOCK], tl.float32)
    nothing = tl.full([BLOCK], float("nan"), tl.float64)
    begin = first + (lane % count).to(tl.int32) * depth
    end, start, pending = tl.minimum(begin + depth, n_starts), begin, active
    going = n_lanes > first_lane
    while going:
        usable = pending & is_pose & (start < end)
        given = starts + row * row_stride + start.to(tl.int64) * $DOF
        s$i = tl.load(given + $i, mask=usable, other=0.0)
        usable = usable & (tl.abs(s$i) < float("inf"))
        s$i = tl.where(usable, s$i, 0.0)
        x$i = clip(s$i, $limits, BLOCK)
        moved = lane < 0
        moved = moved | (x$i != s$i)

        steps, taken, at_rest = zero, zero, lane < 0
        if SINGLE_FIRST:
            coarse_position, coarse_chord = tl.load(options + O_COARSE), tl.load(options + O_COARSE + 1)
            coarse_step_limit = tl.load(options + O_COARSE + 2)
            $cast = ($argument).to(tl.float32)
            c$i = x$i.to(tl.float32)
            k, e0, e1, e2 = single_zero, single_zero, single_zero, single_zero
            busy = usable
            while any_lane(busy):
                $all(n), m, f0, f1, f2, finished = coarse_step($all(c), k, $single, BLOCK)
                c$i = tl.where(busy, n$i, c$i)
                k, e0 = tl.where(busy, m, k), tl.where(busy, f0, e0)
                e1, e2 = tl.where(busy, f1, e1), tl.where(busy, f2, e2)
                busy = busy & (finished < 0.5)
            # A start near enough as it was given is taken so, others rounded; what came to rest is only judged.
            within = (e0 < coarse_position) & (e1 < coarse_chord)
            as_given = within & (k == 1.0)
            y$i = clip(c$i.to(tl.float64), $limits, BLOCK)
            x$i = tl.where(as_given, x$i, y$i)
            taken = tl.where(as_given, 0.0, k.to(tl.float64))
            at_rest = tl.where(within | (e2 > coarse_step_limit), lane < 0, lane >= 0)
            steps = tl.where(at_rest, max_steps, taken)

        d0, d1, d2, busy = zero, zero, zero, usable
        while any_lane(busy):
            $all(x), steps, d0, d1, d2, finished = fine_step($all(x), steps, $double, BLOCK)
            busy = busy & (finished < 0.5)

        status = verdict(d0, d1, d2, position_limit, chord_limit, step_limit, at_rest)
        status = tl.where(usable, status, INVALID_INPUT)
        steps = tl.where(usable, tl.where(at_rest, taken, steps), 0.0)
        angle = turn(d1, BLOCK)
        earlier = pending & (start > begin)
        least = recorded_miss(errors, at, earlier, weight)
        least_status = tl.load(info + N_INFO * at + I_STATUS, mask=earlier, other=INVALID_INPUT)
        wins = pending & ((start == begin) | better(status, miss(d0, angle, weight), least_status, least))
        tl.store(q + $DOF * at + $i, tl.where(usable, x$i, nothing), mask=wins)
        tl.store(errors + 2 * at, tl.where(usable, tl.sqrt(d0), nothing), mask=wins)
        tl.store(errors + 2 * at + 1, tl.where(usable, angle, nothing), mask=wins)
        tl.store(info + N_INFO * at + I_STEPS, steps.to(tl.int32), mask=wins)
        tl.store(info + N_INFO * at + I_STATUS, status, mask=wins)
        tl.store(info + N_INFO * at + I_MOVED, (moved & usable).to(tl.int32), mask=wins)
        start += 1
        going = n_lanes != n_lanes  # never: and the compiler can tell
        if REPEAT:
            pending = pending & (status != CONVERGED) & (start < end)
            going = any_lane(pending)
"""
