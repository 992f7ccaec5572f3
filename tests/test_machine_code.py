"""What the machine code of the kernels is made of, for this processor's relatives and for others.

Scalar code would give the same numbers, many times slower, and nobody would notice.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from llvmlite import binding

from hybrid_ik.kernels import cpu, native
from hybrid_ik.kernels.program import DOUBLE, Program, record_step
from hybrid_ik.kernels.simd import LaneProgram, module_code

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
X86_ARITHMETIC = r"v?(?:fn?m(?:add|sub)\d+|mul|add|sub|div|sqrt)"
ARM_ARITHMETIC = ("fmul", "fadd", "fsub", "fmla", "fmls", "fdiv", "fsqrt", "fmadd", "fmsub", "fnmadd", "fnmsub")
CALLS = ("call", "callq", "bl", "blr")
SSE2, SSE4, AVX2, AVX512 = "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"

FLOOR = """
declare <8 x double> @llvm.floor.v8f64(<8 x double>)
define <8 x double> @f(<8 x double> %x) {
  %y = call <8 x double> @llvm.floor.v8f64(<8 x double> %x)
  ret <8 x double> %y
}
"""

RESTRICTED = """
import json, sys
import numpy as np
from llvmlite import binding
from hybrid_ik.kernels import native
compiled, compile_code = [], native._compile

def keep(code):
    compiled.append(native._target_machine().emit_assembly(binding.parse_assembly(code)))
    return compile_code(code)

native._compile = keep
from hybrid_ik import HybridSolver
solver = HybridSolver("panda", sampler="uniform")
robot = solver.robot
poses = robot.forward_kinematics(np.random.default_rng(0).uniform(robot.lower, robot.upper, (100, robot.dof)))
result = solver.solve(poses)
missed = np.linalg.norm(robot.forward_kinematics(result.q).position - poses.position, axis=-1).max()
registers = {name: sum(code.count("%" + name) for code in compiled) for name in ("zmm", "ymm", "xmm")}
print(json.dumps({"modules": len(compiled), "solved": float(result.success.mean()), "missed": missed, **registers}))
"""


@pytest.fixture(scope="module")
def assembly(panda):
    """A function of a processor that gives the code of the Panda's programs, without and with a posture, made once."""
    return cache(lambda *processor: [_assembly(cpu._programs(panda.chain, wanted), *processor) for wanted in (0, 1)])


def _assembly(code, triple, processor, features=""):
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(triple)
    except RuntimeError as error:
        pytest.skip(f"this LLVM knows no {triple}: {error}")
    machine = target.create_target_machine(cpu=processor, features=features, opt=3)
    return machine.emit_assembly(binding.parse_assembly(code))


def instructions(code):
    """Words of each line that is one: mnemonic and operands, without labels and directives."""
    words = [line.split() for line in code.splitlines() if line.startswith("\t")]
    return [line for line in words if line and not line[0].startswith(".")]


def x86_arithmetic(code):
    """How many instructions work on whole registers, and how many on one number."""
    names = [line[0] for line in instructions(code)]
    return tuple(
        sum(bool(re.fullmatch(X86_ARITHMETIC + ending, name)) for name in names) for ending in ("p[sd]", "s[sd]")
    )


def arm_arithmetic(code):
    lines = [
        line for line in instructions(code) if line[0] in ARM_ARITHMETIC or line[0].split(".")[0] in ARM_ARITHMETIC
    ]
    packed = sum(bool(re.search(r"\.(?:2d|4s)", " ".join(line))) for line in lines)
    return packed, len(lines) - packed


@pytest.mark.parametrize(
    ("processor", "register", "wider"),
    [
        (AVX512, "zmm", ()),
        ("skylake-avx512", "zmm", ()),
        ("znver4", "zmm", ()),
        (AVX2, "ymm", ("zmm",)),
        ("haswell", "ymm", ("zmm",)),
        (SSE4, "xmm", ("ymm", "zmm")),
        (SSE2, "xmm", ("ymm", "zmm")),
    ],
)
def test_programs_fill_the_registers_of_x86(assembly, processor, register, wider):
    for code in assembly(X86, processor):
        packed, scalar = x86_arithmetic(code)
        assert packed > 1000 and packed > 50 * scalar
        assert code.count(f"%{register}") > packed
        assert not any(f"%{other}" in code for other in wider)


def test_programs_fill_the_registers_of_arm(assembly):
    for code in assembly(ARM, "generic", "+neon"):
        packed, scalar = arm_arithmetic(code)
        assert packed > 5000 and packed > 50 * scalar


@pytest.mark.parametrize(("triple", "count"), [(X86, x86_arithmetic), (ARM, arm_arithmetic)])
def test_scalar_code_is_seen(panda, triple, count):
    """The tests above can fail: the same step in a single lane is nothing but scalar arithmetic."""
    one = LaneProgram(record_step(panda.chain, False, DOUBLE), "double", 1, range(panda.dof + 1))
    packed, scalar = count(_assembly(module_code({"step": one}), triple, "generic"))
    assert scalar > 500 and scalar > 50 * packed


def calls(code):
    return [line for line in instructions(code) if line[0] in CALLS]


@pytest.mark.parametrize(
    "processor", [(X86, AVX512), (X86, AVX2), (X86, "haswell"), (X86, SSE4), (X86, SSE2), (ARM, "generic", "+neon")]
)
def test_programs_call_nothing(assembly, processor):
    """A call would be made for each lane by itself, and all registers saved around it."""
    assert [calls(code) for code in assembly(*processor)] == [[], []]


def test_calls_are_seen():
    """The test above can fail: x86 before SSE4.1 has no instruction that rounds."""
    assert len(calls(_assembly(FLOOR, X86, SSE2))) == 8
    assert calls(_assembly(FLOOR, X86, SSE4)) == []


@pytest.mark.parametrize(("number", "lanes"), [("double", cpu.FINE_LANES), ("float", cpu.COARSE_LANES)])
def test_rounding_leaves_whole_numbers(number, lanes, tmp_path, monkeypatch):
    """It is a sum that is undone at once, which a compiler that is free to reorder would leave out."""
    monkeypatch.setenv("HYBRID_IK_CACHE", str(tmp_path))
    program = Program()
    (x,) = program.read(1)
    rounding = LaneProgram(program.recording([program.record("round", x)]), number, lanes, [0])
    address = native.load_addresses("round", lambda: module_code({"round": rounding}))["round"]
    values = [0.0, 0.49, 0.5, 0.51, 1.5, 2.5, 1e3 + 0.4, 1e6 + 0.25, np.nan, np.inf]
    w = np.array([*values, *np.negative(values), *np.linspace(-9, 9, 300)], "f4" if number == "float" else "f8")
    found = w.copy()
    for group in found.reshape(-1, lanes):
        ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(address)(group.ctypes.data)
    finite = np.isfinite(w)
    np.testing.assert_array_equal(found[finite], np.rint(w[finite]))
    assert not np.isfinite(found[~finite]).any()


@pytest.mark.parametrize(
    ("processor", "register", "unknown"),
    [("haswell", "ymm", r"avx512|avx10|amx"), (SSE2, "xmm", r"avx|amx|fma|f16c|xop|sse[34]|ssse3|vaes|vpclmul")],
    ids=["AVX2", "SSE2"],
)
def test_a_narrower_processor_is_obeyed_as_numba_does(processor, register, unknown, tmp_path):
    """A process that is told to compile for one: whatever it compiles, loops and programs, and what that solves."""
    features = binding.get_host_cpu_features()
    if not features.get("avx2") or "x86" not in binding.get_process_triple():
        pytest.skip("not an x86 processor with AVX2")
    known = {name: has and not re.match(unknown, name) for name, has in features.items()}
    supported = ",".join(f"{'+' if has else '-'}{name}" for name, has in known.items())
    environment = {"HYBRID_IK_CACHE": str(tmp_path), "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": supported}
    done = subprocess.run(
        [sys.executable, "-c", RESTRICTED],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    wider = ("zmm", "ymm", "xmm")[: ("zmm", "ymm", "xmm").index(register)]
    assert said["modules"] == 2 and said[register] > 5000 and not any(said[other] for other in wider)
    assert said["solved"] == 1.0 and said["missed"] < 1e-6
