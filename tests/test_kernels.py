"""The compiled kernels: vectorised, kept on disk, shared between tools."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit

from hybrid_ik.chain import Chain
from hybrid_ik.kernels import cpu
from hybrid_ik.kernels.program import record_step
from hybrid_ik.kernels.tools import pick_distinct

TWO_JOINTS = Chain.from_axes(
    ("hinge", "hinge"), [[0, 0, 0], [0.3, 0, 0.1]], [[0, 0, 1], [0, 1, 0]], np.eye(4), [-2, -1], [2, 1], ("a", "b")
)

LOAD = """
import numpy as np
from hybrid_ik.chain import Chain
from hybrid_ik.kernels import cpu
chain = Chain.from_axes(("hinge",), [[0, 0, 0]], [[0, 0, 1]], np.eye(4), [-2], [2], ("a",))
p, R = cpu.forward_kinematics(chain, np.array([[0.5]]))
assert abs(R[0, 0, 0] - np.cos(0.5)) < 1e-15
"""


def load_in_a_new_process(cache):
    environment = {**os.environ, "HYBRID_IK_CACHE": str(cache)}
    subprocess.run([sys.executable, "-c", LOAD], env=environment, check=True, timeout=300)


def compiled_files(cache):
    return {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.nbc")}


def test_the_step_is_vectorised():
    """A kernel that fell back to scalar code would give the same numbers, many times slower."""
    scope = {"np": np}
    exec(record_step(TWO_JOINTS, with_posture=False).source("step", cpu.LANES), scope)
    step = njit("void(f8[::1])", fastmath={"contract", "reassoc", "arcp", "nsz", "afn"}, error_model="numpy")(
        scope["step"]
    )
    (assembly,) = step.inspect_asm().values()
    packed = sum(assembly.count(f"{op}pd") for op in ("mul", "add", "sub", "231", "213", "132"))
    scalar = sum(assembly.count(f"{op}sd") for op in ("mul", "add", "sub", "231", "213", "132"))
    if not packed + scalar:
        pytest.skip("not x86 assembly: counting packed instructions needs other names")
    assert packed > 20 * scalar


def test_a_second_process_does_not_compile(tmp_path):
    load_in_a_new_process(tmp_path)
    first = compiled_files(tmp_path)
    load_in_a_new_process(tmp_path)
    assert first and compiled_files(tmp_path) == first


def test_two_processes_may_compile_at_once(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(load_in_a_new_process, [tmp_path, tmp_path]))
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".*"))  # nothing half written is left


def test_tools_and_mounts_share_a_kernel():
    T = np.eye(4)
    T[:3, 3] = 0.1, 0.2, 0.3
    other = Chain(**{**TWO_JOINTS.__dict__, "T_base_first": T, "T_last_tip": T})
    assert cpu.load_kernel(other) is cpu.load_kernel(TWO_JOINTS)


def pick(q, usable=None, cost=None, n=3, min_distance=0.1, period=0.0, spread=True):
    q = np.asarray(q, dtype=float).reshape(1, -1, 1)
    usable = np.ones(q.shape[:2], bool) if usable is None else np.array([usable])
    cost = np.zeros(q.shape[:2]) if cost is None else np.array([cost], dtype=float)
    return pick_distinct(q, usable, cost, n, min_distance, np.array([period]), spread)[0].tolist()


def test_picks_spread_over_the_candidates():
    assert sorted(pick([0.0, 0.2, 0.4, 1.0, 0.9], n=2)) == [0, 3]
    assert sorted(pick([0.0, 0.2, 0.4, 1.0, 0.9], n=3)) == [0, 2, 3]


def test_picks_come_by_cost():
    assert pick([0.0, 0.5, 1.0], cost=[2.0, 3.0, 1.0]) == [2, 0, 1]


def test_without_spread_the_cheapest_are_taken():
    assert pick([0.0, 0.2, 0.4, 5.0], cost=[0, 1, 2, 3], n=2, spread=False) == [0, 1]


def test_what_is_too_near_or_not_usable_is_not_picked():
    assert pick([0.0, 0.05, 1.0], usable=[True, True, False]) == [0, -1, -1]
    assert pick([0.0, 0.05], usable=[False, False]) == [-1, -1, -1]


def test_turns_do_not_make_a_difference():
    assert pick([0.0, 2 * np.pi, 3.0], n=3, period=2 * np.pi) == [0, 2, -1]


@pytest.mark.parametrize("n", [1, 15, 16, 17, 100])
def test_rows_that_do_not_fill_the_lanes(n):
    q = np.random.default_rng(0).uniform(TWO_JOINTS.lower, TWO_JOINTS.upper, (100, 2))
    p, R = cpu.forward_kinematics(TWO_JOINTS, q)
    p_n, R_n = cpu.forward_kinematics(TWO_JOINTS, q[:n])
    np.testing.assert_array_equal(p_n, p[:n])
    np.testing.assert_array_equal(R_n, R[:n])
