"""Small compiled functions that measure: the most a core can do, and how often the programs of an arm are called."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from record import timed
from stepping import run_often

from hybrid_ik.kernels import cpu, native
from hybrid_ik.kernels.simd import NUMBERS, WORD
from hybrid_ik.refiners.lanes import LaneRefiner

# Multiply-adds that wait for nothing but themselves. Few of them wait for their own latency, many do not fit into the
# registers: which number is best depends on the processor, so all are tried.
SUMS = (4, 6, 8, 12, 16, 24)
INNER = 1000  # turns of the loop in a call; what comes before and after it takes as long as a few of them
CALLS = 10
LANES = {"coarse": cpu.COARSE_LANES, "fine": cpu.FINE_LANES}
ONE_WORD = ir.FunctionType(WORD, [WORD])


def peak(number: str, lanes: int) -> Callable[[], float]:
    """A function that measures once how many operations a second this core does at most, all of them multiply-adds."""
    addresses = {n: _load(_multiply_adds(number, lanes, n))["peak"] for n in SUMS}
    w = np.full(3, 0.5, np.float32 if number == "float" else np.float64)
    run_often(addresses[SUMS[0]], w, 1)

    def once() -> float:
        rates = []
        for n, address in addresses.items():
            seconds, _ = timed(partial(run_often, address, w, CALLS))
            rates.append(2.0 * n * lanes * CALLS * INNER / seconds)
        return max(rates)

    return once


def count_calls(refiner: LaneRefiner, *arguments: Any) -> dict[str, int]:
    """How often `refiner.search` calls each of the arm's programs; each call is a step of all lanes, idle ones too."""
    whole, counters = refiner._kernel.solve_rows, _load(_counters())
    for name, address in zip(LANES, whole.args, strict=False):
        _call(counters[f"aim_{name}"], address)
    counting = copy(refiner)
    counting._kernel = copy(refiner._kernel)
    counting._kernel.solve_rows = partial(whole.func, *(counters[name] for name in LANES), *whole.args[2:])
    counting.search(*arguments)
    return {name: _call(counters[f"count_{name}"], 0) for name in LANES}


def _load(code: str) -> dict[str, int]:
    """Kept on disk as kernels are, under a name that stands for all of it: changed code is compiled anew."""
    return native.load_addresses(f"probe_{hashlib.sha256(code.encode()).hexdigest()[:16]}", lambda: code)


def _call(address: int, word: int) -> int:
    return int(ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)(word))


def _counters() -> str:
    """A stand-in for each program, which counts and goes on to it; `aim_` says where that is, `count_` how often."""
    module = ir.Module()
    for name in LANES:
        target, calls = _variable(module, f"target_{name}"), _variable(module, f"calls_{name}")
        build = _function(module, f"aim_{name}")
        build.store(build.function.args[0], target)
        build.store(WORD(0), calls)
        build.ret(WORD(0))
        build = _function(module, f"count_{name}")
        build.ret(build.load(calls))
        build = _function(module, name)
        build.store(build.add(build.load(calls), WORD(1)), calls)
        build.ret(build.call(build.inttoptr(build.load(target), ONE_WORD.as_pointer()), build.function.args))
    return str(module)


def _function(module: Any, name: str) -> Any:
    return ir.IRBuilder(ir.Function(module, ONE_WORD, name).append_basic_block())


def _variable(module: Any, name: str) -> Any:
    variable = ir.GlobalVariable(module, WORD, name)
    variable.initializer, variable.linkage = WORD(0), "internal"
    return variable


def _multiply_adds(number: str, lanes: int, n_sums: int) -> str:
    """A loop of x -> x w[0] + w[0] for so many vectors x; w[1] takes a sum, so that nothing is left out."""
    module, element = ir.Module(), NUMBERS[number]
    vector = ir.VectorType(element, lanes)
    function = ir.Function(module, ir.FunctionType(WORD, [element.as_pointer()]), "peak")
    bits = 32 if number == "float" else 64
    multiply_add = ir.Function(module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{bits}")
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    build = ir.IRBuilder(entry)
    factor = _broadcast(build, build.load(function.args[0]), vector)
    build.branch(loop)
    build.position_at_end(loop)
    turn, sums = build.phi(WORD), [build.phi(vector) for _ in range(n_sums)]
    new = [build.call(multiply_add, [x, factor, factor]) for x in sums]
    following = build.add(turn, WORD(1))
    for variable, first, later in [
        (turn, WORD(0), following),
        *(
            (x, ir.Constant(vector, [0.01 * k] * lanes), value)
            for k, (x, value) in enumerate(zip(sums, new, strict=True))
        ),
    ]:
        variable.add_incoming(first, entry)
        variable.add_incoming(later, loop)
    build.cbranch(build.icmp_signed("<", following, WORD(INNER)), loop, end)
    build.position_at_end(end)
    total = new[0]
    for value in new[1:]:
        total = build.fadd(total, value)
    build.store(build.extract_element(total, ir.IntType(32)(0)), build.gep(function.args[0], [WORD(1)]))
    build.ret(WORD(0))
    return str(module)


def _broadcast(build: Any, value: Any, vector: Any) -> Any:
    number = ir.IntType(32)
    first = build.insert_element(ir.Constant(vector, ir.Undefined), value, number(0))
    return build.shuffle_vector(first, first, ir.Constant(ir.VectorType(number, vector.count), [0] * vector.count))
