"""The GPU refiner without a GPU: its kernels under Triton's interpreter, compiled for a GPU elsewhere, and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels import gpu
from hybrid_ik.refiners.gpu import GpuRefiner

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="no Triton: it comes with the CUDA builds of torch, or with hybrid-ik[gpu]"
)

PYTEST = "-m pytest -q -p no:cacheprovider -p no:xdist".split()
CASES = pytest.mark.parametrize("cases", ["gpu_cases.py", "gpu_network_cases.py", "gpu_many_cases.py"])


def _run(*arguments, interpret):
    """Runs Python in a new process: Triton asks for the interpreter once, when it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": interpret}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
@CASES
def test_the_kernels_under_the_interpreter(cases):
    _run(*PYTEST, str(Path(__file__).with_name(cases)), interpret="1")


@needs_triton
@pytest.mark.gpu
@CASES
def test_the_kernels_on_a_gpu(cases):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    _run(*PYTEST, str(Path(__file__).with_name(cases)), interpret="0")


COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from hybrid_ik.kernels.gpu import load_kernels
from hybrid_ik.kernels.gpu_loops import NUMBERS
from hybrid_ik.robot import Robot

INTEGERS = "rows", "state", "info", "best_info", "open_rows", "next_state", "picks"
FIXED = {"SINGLE_FIRST": True, "BLOCK": 32, "DOF": 7}

def code(kernel, **constants):
    FIXED.update(constants)
    types = {name: "*fp64" for name in kernel.arg_names}
    given = {"valid": "*i8", "hopeful": "*i8", **dict.fromkeys(INTEGERS, "*i32"), **dict.fromkeys(NUMBERS, "i32"),
             **dict.fromkeys(FIXED, "constexpr")}
    types = {name: given.get(name, kind) for name, kind in types.items()}
    source = ASTSource(kernel, types, {name: value for name, value in FIXED.items() if name in types})
    options = {"num_warps": 1, "enable_fp_fusion": True}
    return compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm

kernels = load_kernels(Robot("panda").chain)
assert code(kernels.choose)["cubin"] and code(kernels.forward)["cubin"]
for by_distance in (False, True):
    assert code(kernels.pick, BY_DISTANCE=by_distance, BLOCK=64)["cubin"]
FIXED["BLOCK"] = 32
for repeat in (False, True):
    refine = code(kernels.refine, REPEAT=repeat)
    assert refine["cubin"] and "rsqrt.approx" in refine["ptx"] and "bar.sync" not in refine["ptx"]
"""


@needs_triton
def test_the_kernels_compile_for_a_gpu_that_is_not_here():
    _run("-c", COMPILE, interpret="0")


def test_without_triton_the_remedy_is_named(panda, monkeypatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match=r"needs Triton.*hybrid-ik\[gpu\].*LaneRefiner"):
        GpuRefiner(panda.chain, device="cpu")


@needs_triton
def test_the_benchmark_runs_or_says_what_it_lacks(tmp_path):
    benchmark = str(Path(__file__).parents[1] / "benchmarks" / "gpu.py")
    out = tmp_path / "gpu.json"
    few = "--batches 1 --many 1 --answers 2 --numbers bfloat16 --network-starts 16 --starts 8 --repeats 1 --json"
    few = [*few.split(), str(out)]
    _run(benchmark, "--device", "cpu", *few, interpret="1")
    results = json.loads(out.read_text())
    (row,) = results["rows"]
    assert row["said %"] == row["success %"] == 100.0
    (row,) = results["network"]
    assert row["numbers"] == "bfloat16" and row["converge %"] > 80 and 0 < row["median off rad"] < 0.03
    assert all(row["answers a pose"] == 2 for row in results["many"])
    done = subprocess.run([sys.executable, benchmark, "--device", "cuda:97", *few], capture_output=True, text=True)
    assert done.returncode == 1 and "nothing to measure: device 'cuda:97' cannot run" in done.stderr


@needs_triton
def test_a_processor_is_no_gpu(panda, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(InvalidInputError, match=r"'cpu' cannot run .*LaneRefiner runs on any processor"):
        GpuRefiner(panda.chain, device="cpu")


def test_the_angle_of_a_chord():
    angle = np.concatenate([np.geomspace(1e-9, np.pi, 200), np.linspace(0, np.pi, 200)])
    (found,) = gpu.record_turn().evaluate([4 * np.sin(angle / 2) ** 2])
    assert_allclose(found, angle, rtol=4e-15, atol=3e-8 * (angle > 3.1).max())
