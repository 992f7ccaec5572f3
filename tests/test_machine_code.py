"""What the machine code of the kernels is made of, for this processor's relatives and for others.

Scalar code would give the same numbers, many times slower, and nobody would notice.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest
from llvmlite import binding

from hybrid_ik.kernels import cpu
from hybrid_ik.kernels.program import DOUBLE, record_step
from hybrid_ik.kernels.simd import LaneProgram, module_code

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
X86_ARITHMETIC = r"v?(?:fn?m(?:add|sub)\d+|mul|add|sub|div|sqrt)"
ARM_ARITHMETIC = ("fmul", "fadd", "fsub", "fmla", "fmls", "fdiv", "fsqrt", "fmadd", "fmsub", "fnmadd", "fnmsub")
CALLS = ("call", "callq", "bl", "blr")
SSE2, SSE4, AVX2, AVX512 = "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"

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
registers = {name: sum(code.count("%" + name) for code in compiled) for name in ("zmm", "ymm")}
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


@pytest.mark.parametrize(
    "processor", [(X86, AVX512), (X86, AVX2), (X86, "haswell"), (X86, SSE4), (ARM, "generic", "+neon")]
)
def test_programs_call_nothing(assembly, processor):
    """A call would be made for each lane by itself, and all registers saved around it."""
    assert not [line for code in assembly(*processor) for line in instructions(code) if line[0] in CALLS]


def test_without_an_instruction_for_it_only_floor_is_called(assembly, panda):
    """x86 before SSE4.1 cannot round: `floor` of the C library is called for each hinge, in each lane."""
    for code in assembly(X86, SSE2):
        functions = set(re.findall(r"movabsq\t\$([a-z]\w*)", code))
        calls = Counter(line[0] for line in instructions(code) if line[0] in CALLS)
        assert functions == {"floor", "floorf"}
        assert calls.total() == panda.dof * (cpu.COARSE_LANES + 2 * cpu.FINE_LANES)


def test_a_narrower_processor_is_obeyed_as_numba_does(tmp_path):
    """A process that is told to compile for AVX2: whatever it compiles, loops and programs, and what that solves."""
    features = binding.get_host_cpu_features()
    if not features.get("avx2") or "x86" not in binding.get_process_triple():
        pytest.skip("not an x86 processor with AVX2")
    supported = ",".join(f"{'+' if has and 'avx512' not in name else '-'}{name}" for name, has in features.items())
    environment = {"HYBRID_IK_CACHE": str(tmp_path), "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": supported}
    done = subprocess.run(
        [sys.executable, "-c", RESTRICTED],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["modules"] == 2 and said["zmm"] == 0 and said["ymm"] > 5000
    assert said["solved"] == 1.0 and said["missed"] < 1e-6
