"""The compiled kernels: vectorised, kept on disk, shared between tools."""

import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from llvmlite import binding

from hybrid_ik.chain import Chain
from hybrid_ik.kernels import cpu, native
from hybrid_ik.kernels.tools import load_tools, pick_distinct

TWO_JOINTS = Chain.from_axes(
    ("hinge", "hinge"), [[0, 0, 0], [0.3, 0, 0.1]], [[0, 0, 1], [0, 1, 0]], np.eye(4), [-2, -1], [2, 1], ("a", "b")
)

LOAD = """
import logging
import sys
import numpy as np
logging.basicConfig(format="%(message)s", level=logging.INFO)
from hybrid_ik.chain import Chain
from hybrid_ik.kernels import cpu
chain = Chain.from_axes(("hinge",), [[0, 0, 0]], [[0, 0, 1]], np.eye(4), [-2], [2], ("a",))
p, R = cpu.forward_kinematics(chain, np.array([[0.5]]))
assert abs(R[0, 0, 0] - np.cos(0.5)) < 1e-15
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner
target = Pose([0, 0, 0], [np.cos(0.25), 0, 0, np.sin(0.25)])
result = LaneRefiner(chain).search(target, np.array([[0.1]]))
assert result.success and abs(result.q[0] - 0.5) < 1e-6
print("numba" in sys.modules)
"""


# ---- what the machine code is made of


def assembly(triple, cpu_name, features=""):
    """Of the Panda's programs, or rather of those of two joints, for some processor."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(triple)
    except RuntimeError as error:
        pytest.skip(f"this LLVM knows no {triple}: {error}")
    module = binding.parse_assembly(cpu._programs(TWO_JOINTS, False))
    machine = target.create_target_machine(cpu=cpu_name, features=features, opt=3)
    return machine.emit_assembly(module)


ARITHMETIC = ("mul", "add", "sub", "fmadd", "fmsub", "fnmadd", "fnmsub")


def count(code, endings):
    """Lines of arithmetic whose instruction ends so."""
    words = [line.split()[0] for line in code.splitlines() if line.startswith("\t") and line.split()]
    return sum(
        word.lstrip("v").rstrip("0123456789").startswith(ARITHMETIC) and word.endswith(endings) for word in words
    )


@pytest.mark.parametrize(
    ("name", "register"), [("skylake-avx512", "%zmm"), ("znver4", "%zmm"), ("haswell", "%ymm"), ("x86-64-v2", "%xmm")]
)
def test_programs_are_vectorised_at_the_width_of_the_processor(name, register):
    """Scalar code would give the same numbers, many times slower."""
    code = assembly("x86_64-unknown-linux-gnu", name)
    packed, scalar = count(code, ("ps", "pd")), count(code, ("ss", "sd"))
    assert packed > 200 and packed > 50 * scalar
    assert code.count(register) > 500
    assert "call" not in code


def test_programs_are_vectorised_on_arm():
    code = assembly("aarch64-unknown-linux-gnu", "generic", "+neon")
    lines = [line.split() for line in code.splitlines() if line.startswith("\tf")]
    packed = sum(".2d" in " ".join(line) or ".4s" in " ".join(line) for line in lines)
    scalar = sum(line[0] in ("fmul", "fadd", "fsub", "fmadd") and line[1][0] in "ds" for line in lines)
    assert packed > 500 and packed > 50 * scalar
    assert "\tbl\t" not in code


# ---- the cache


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with the kernels of one arm, and the loops."""
    folder = tmp_path_factory.mktemp("kernels")
    log = load_in_a_new_process(folder)
    assert log.count("compiling") == 2 and "True" in log
    return folder


def load_in_a_new_process(cache, **environment):
    """What a process that solves a pose says."""
    environment = {**os.environ, "HYBRID_IK_CACHE": str(cache), **environment}
    done = subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_second_process_does_not_compile_and_needs_no_numba(compiled):
    before = files(compiled)
    assert load_in_a_new_process(compiled).strip() == "False"
    assert files(compiled) == before


@pytest.mark.parametrize("damage", ["shorter", "empty", "a flipped bit"])
def test_a_damaged_file_is_noticed_and_made_again(compiled, tmp_path, damage):
    folder = tmp_path / "kernels"
    shutil.copytree(compiled, folder)
    whole = files(folder)
    (path,) = (path for path in folder.iterdir() if not path.name.startswith("loops"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes({"shorter": content[:1000], "empty": b"", "a flipped bit": bytes(content)}[damage])
    assert "is damaged" in load_in_a_new_process(folder)
    assert files(folder) == whole


def test_two_processes_may_compile_at_once(compiled, tmp_path):
    (loops,) = compiled.glob("loops*")
    shutil.copy(loops, tmp_path)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(load_in_a_new_process, [tmp_path, tmp_path]))
    assert files(tmp_path) == files(compiled)  # and nothing half written is left


def test_another_processor_has_kernels_of_its_own(compiled, tmp_path):
    """Restricted as numba is: the code runs here as well, and uses no wider registers than that processor has."""
    features = binding.get_host_cpu_features()
    if not features.get("avx2") or "x86" not in binding.get_process_triple():
        pytest.skip("not an x86 processor with AVX2")
    without = ",".join(f"-{name}" for name in features if name.startswith("avx512"))
    log = load_in_a_new_process(tmp_path, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=f"+avx2,+fma,{without}")
    assert log.count("compiling") == 2
    assert not set(files(tmp_path)) & set(files(compiled))


def test_arrays_of_another_type_or_layout_are_refused(caplog):
    use_spares = load_tools()["use_spares"]
    inside = np.ones((1, 5), bool)
    for q in (np.zeros((1, 5, 7), np.float32), np.zeros((5, 7)), np.zeros((1, 7, 5)).swapaxes(1, 2)):
        with pytest.raises(TypeError, match="argument 0: expected f8"):
            use_spares(q, inside, 4)


def test_compiling_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HYBRID_IK_CACHE", str(tmp_path))
    with caplog.at_level(logging.INFO):
        native.load_addresses("two", lambda: cpu._programs(TWO_JOINTS, False))
    assert "compiling two" in caplog.text


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
