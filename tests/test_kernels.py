"""The compiled kernels: kept on disk, shared between tools; `test_machine_code` looks at what they are made of."""

import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

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
logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
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

# Before LOAD: whoever has compiled waits, before anything is written, until another process has compiled as well.
MEET = """
import os, time
from pathlib import Path
from hybrid_ik.kernels import native
meeting, compile_code = Path(os.environ["MEETING"]), native._compile

def meet(code):
    compiled = compile_code(code)
    (meeting / str(os.getpid())).touch()
    while len(list(meeting.iterdir())) < 2:
        time.sleep(0.01)
    return compiled

native._compile = meet
"""

SMALL = """
from hybrid_ik.kernels import native
native.load_addresses("small", lambda: "define i64 @f() { ret i64 7 }")
"""


# ---- the cache


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with the kernels of one arm, and the loops."""
    folder = tmp_path_factory.mktemp("kernels")
    log = run(LOAD, folder)
    assert log.count("compiling") == 2 and "True" in log
    return folder


def run(code, folder, **environment):
    """What a new process with this cache folder says."""
    environment = {**os.environ, "HYBRID_IK_CACHE": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_second_process_does_not_compile_and_needs_no_numba(compiled):
    before = files(compiled)
    assert run(LOAD, compiled).strip() == "False"
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
    log = run(LOAD, folder)
    assert f"WARNING the kernel {path} is damaged" in log
    assert files(folder) == whole


def test_two_processes_may_compile_at_once(compiled, tmp_path):
    """Both have compiled before either writes; what is left is one whole file, and nothing half written."""
    folder, meeting = tmp_path / "kernels", tmp_path / "meeting"
    folder.mkdir(), meeting.mkdir()
    (loops,) = compiled.glob("loops*")
    shutil.copy(loops, folder)
    with ThreadPoolExecutor(2) as pool:
        logs = list(pool.map(lambda _: run(MEET + LOAD, folder, MEETING=str(meeting)), range(2)))
    assert [log.count("compiling") for log in logs] == [1, 1]
    assert files(folder) == files(compiled)


def test_another_processor_has_files_of_its_own(tmp_path):
    """The processor that numba is told to compile for, by name or by features, is part of the name of a file."""
    for environment in ({}, {"NUMBA_CPU_NAME": "generic"}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+fma"}):
        before = set(files(tmp_path))
        for _ in range(2):
            run(SMALL, tmp_path, **environment)
        assert len(set(files(tmp_path)) - before) == 1


def test_calls_with_other_arguments_are_refused():
    """They would be read as if they were right."""
    use_spares = load_tools()["use_spares"]
    inside = np.ones((1, 5), bool)
    for q in (np.zeros((1, 5, 7), np.float32), np.zeros((5, 7)), np.zeros((1, 7, 5)).swapaxes(1, 2)):
        with pytest.raises(TypeError, match="argument 0: expected f8"):
            use_spares(q, inside, 4)
    with pytest.raises(TypeError, match="argument 1: expected b1"):
        use_spares(np.zeros((1, 5, 7)), inside.astype(float), 4)
    with pytest.raises(TypeError, match="expected 3 arguments, got 2"):
        use_spares(np.zeros((1, 5, 7)), inside)


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
