"""Recorded programs as vector instructions: lane k of a register holds the numbers of problem k.

The vectors are LLVM's own, of a fixed number of lanes, which it translates into registers of whatever width the
processor has. Written as a loop that LLVM may or may not vectorise, the same program took 3 s to compile instead of
0.4, and fell back to scalar code in silence where a call, a second array or an unknown stride came into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir

from hybrid_ik.kernels.program import Recording

# Free to reorder and contract, but NaN must stay visible: no `nnan`, no `ninf`.
FAST = ("contract", "reassoc", "arcp", "nsz", "afn")
WORD = ir.IntType(64)
NUMBERS = {"double": ir.DoubleType(), "float": ir.FloatType()}
# A sum with such a number has no fraction left, for its neighbours are the next whole ones; up to a third of it.
WHOLE = {"double": 1.5 * 2**52, "float": 1.5 * 2**23}


class LaneProgram(NamedTuple):
    """A program to be run in lanes, `int64 f(number* w)`; slot i of problem k is `w[lanes * i + k]`."""

    recording: Recording
    number: str
    """"double" or "float"."""
    lanes: int
    slots: Sequence[int]
    """Where the outputs go. If there is one output more, it is not written: bit k of the value that f returns says
    whether it is 1, and not 0, in lane k."""


def module_code(programs: dict[str, LaneProgram]) -> str:
    """LLVM's intermediate code of some programs, as functions of these names."""
    module = ir.Module()
    for name, program in programs.items():
        number = NUMBERS[program.number]
        function = ir.Function(module, ir.FunctionType(WORD, [number.as_pointer()]), name)
        _emit(ir.IRBuilder(function.append_basic_block()), program, ir.VectorType(number, program.lanes))
    return str(module)


def _emit(build: Any, program: LaneProgram, vector: Any) -> None:
    slots = build.bitcast(build.function.args[0], vector.as_pointer())
    align = 8 if program.number == "double" else 4
    operations, values = _operations(build, vector), []
    for operation, operands, constant in program.recording.statements:
        if operation == "input":
            values.append(build.load(build.gep(slots, [WORD(operands[0])]), align=align))
        elif operation == "constant":
            values.append(ir.Constant(vector, [constant] * vector.count))
        else:
            values.append(operations[operation](*(values[i] for i in operands)))
    outputs = [values[i] for i in program.recording.outputs]
    for slot, value in zip(program.slots, outputs, strict=False):
        build.store(value, build.gep(slots, [WORD(slot)]), align=align)
    build.ret(_bits(build, outputs[-1], vector) if len(outputs) > len(program.slots) else WORD(0))


def _operations(build: Any, vector: Any) -> dict[str, Callable[..., Any]]:
    def less(x: Any, y: Any) -> Any:
        return build.fcmp_ordered("<", x, y)

    def nearest(x: Any) -> Any:
        # Not `FAST`: reordered, nothing would be rounded. Nor `llvm.rint`: x86 before SSE4.1 has no instruction for it,
        # and would call the C library for each lane.
        whole = ir.Constant(vector, [WHOLE[str(vector.element)]] * vector.count)
        return build.fsub(build.fadd(x, whole, flags=("contract",)), whole)

    def call(name: str, x: Any) -> Any:
        name = f"llvm.{name}.v{vector.count}f{64 if isinstance(vector.element, ir.DoubleType) else 32}"
        known = build.module.globals.get(name)
        return build.call(known or ir.Function(build.module, ir.FunctionType(vector, [vector]), name), [x])

    return {
        "add": lambda x, y: build.fadd(x, y, flags=FAST),
        "subtract": lambda x, y: build.fsub(x, y, flags=FAST),
        "multiply": lambda x, y: build.fmul(x, y, flags=FAST),
        "divide": lambda x, y: build.fdiv(x, y, flags=FAST),
        "negate": lambda x: build.fneg(x, flags=FAST),
        "round": nearest,
        "square_root": lambda x: call("sqrt", x),
        "maximum": lambda x, y: build.select(less(y, x), x, y),
        "minimum": lambda x, y: build.select(less(x, y), x, y),
        "where_less": lambda x, y, if_less, otherwise: build.select(less(x, y), if_less, otherwise),
    }


def _bits(build: Any, value: Any, vector: Any) -> Any:
    ones = build.fcmp_ordered("<", ir.Constant(vector, [0.5] * vector.count), value)
    return build.zext(build.bitcast(ones, ir.IntType(vector.count)), WORD)
