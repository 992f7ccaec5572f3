"""The benchmarks of speed: that they run, and that the gate closes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import test_benchmarks

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import gate  # isort: skip
import growth  # isort: skip
import limit  # isort: skip
import probes  # isort: skip
from problems import uniform_joints  # isort: skip

from hybrid_ik.kernels.program import DOUBLE, Program, record_step
from hybrid_ik.refiners.lanes import LaneRefiner


def test_the_gate_closes_on_a_loss_of_more_than_fifteen_percent():
    before = {"a": 2.0, "b": 100.0}
    assert gate.losses({"a": 2.2, "b": 90.0}, before) == []
    assert gate.losses({"a": 2.4, "b": 90.0}, before) == ["a: 2.4 twins, 2 before: +20%"]
    assert gate.losses({"a": 2.0, "b": 100.0, "c": 1.0}, before)[0].startswith("c: there is no such quantity")
    assert gate.losses({"a": 2.0}, before)[0].startswith("b: it is in the baseline, and is not measured")


@pytest.mark.parametrize(("before", "status"), [(1e-9, 1), (1e9, 0)], ids=["slower", "faster"])
def test_the_gate_ends_with_a_status_and_both_numbers(tmp_path, before, status):
    """Against a baseline that is out of reach, and one that anything meets; whatever the machine does meanwhile."""
    baseline = tmp_path / "baseline.json"
    names = json.loads(gate.BASELINE.read_text())["ratios"]
    baseline.write_text(json.dumps({"ratios": dict.fromkeys(names, before)}))
    command = ["gate.py", "--gate", "--rounds", "1", "--baseline", str(baseline)]
    done = test_benchmarks._start(*command)
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stdout.splitlines() if f"{before:.4g} before" in line]
    assert len(lines) == (len(names) if status else 0)


def test_the_gate_measures_what_the_baseline_holds(tmp_path):
    baseline = tmp_path / "baseline.json"
    test_benchmarks._run("gate.py", "--rounds", "1", "--update", "--baseline", str(baseline))
    measured = json.loads(baseline.read_text())["ratios"]
    assert set(measured) == set(json.loads(gate.BASELINE.read_text())["ratios"])
    assert all(ratio > 0 for ratio in measured.values())


def test_a_baseline_of_another_processor_is_named():
    """Registers of another width change our times, but not those of the twin."""
    ours = gate.record()["machine"]
    assert gate.other_processor({"machine": ours}) == gate.other_processor({}) == ""
    assert "of abacus, this is" in gate.other_processor({"machine": {"processor": "abacus"}})


def test_the_twin_does_what_it_did():
    """A changed twin would change every ratio of the baseline."""
    x = total = 0.5
    for _ in range(10):
        x = 3.7 * x * (1 - x)
        total = np.sqrt(total + x)
    assert gate.twin(10) == pytest.approx(total, rel=1e-12)


def test_operations_that_no_output_needs_are_not_counted():
    program = Program()
    x, y = program.read(2)
    _ = x / y
    counts = limit.operations(program.recording([x * y + 1.0, x]))
    assert counts == {"input": 2, "multiply": 1, "constant": 1, "add": 1}
    assert limit.floating_point(counts) == 2


def test_calls_of_programs_are_counted(panda):
    """A start that is the answer takes a step in each precision, and all lanes share it."""
    refiner, q = LaneRefiner(panda.chain), uniform_joints(panda, 17, np.random.default_rng(0))
    poses = panda.forward_kinematics(q)
    for n, coarse, fine in ((1, 1, 1), (8, 1, 1), (16, 1, 2), (17, 2, 3)):
        assert probes.count_calls(refiner, poses[:n], q[:n, None]) == {"coarse": coarse, "fine": fine}
    counted = probes.count_calls(refiner, poses, np.zeros((17, 4, 7)) + panda.home)
    assert counted["coarse"] > 2 and counted["fine"] > 2


def test_the_limit_is_above_what_is_measured(panda, tmp_path):
    out = tmp_path / "limit.json"
    test_benchmarks._run("limit.py", "--rounds", "5", "--poses", "64", "--json", str(out))
    saved = json.loads(out.read_text())
    assert [row["precision"] for row in saved["steps"]] == ["single", "double"]
    flops = limit.floating_point(limit.operations(record_step(panda.chain, False, DOUBLE)))
    assert saved["steps"][1]["operations of a step"] == flops > 1000
    assert all(0 < row["share of peak"] < 1 for row in saved["steps"])


@pytest.mark.parametrize("dof", [4, 9])
def test_chains_are_made_for_any_number_of_joints(dof):
    chain = growth.random_chain(dof, np.random.default_rng(dof))
    poses, starts = growth._problem(chain, 40, 0)
    assert chain.dof == dof and poses.shape == (40,) and starts.shape == (40, 16, dof)
    found = growth.LaneRefiner(chain).search(poses, starts)
    assert found.success.mean() > 0.8


def test_a_million_poses_need_less_than_a_gigabyte_beyond_their_result(panda):
    row = growth.memory(panda, growth.Options())
    assert row["poses"] == 1_000_000 and row["success"] > 0.999
    assert row["MB beyond the result"] < 1000


def test_growth_runs(tmp_path):
    out = tmp_path / "growth.json"
    test_benchmarks._run("growth.py", "--quick", "--json", str(out))
    saved = json.loads(out.read_text())
    assert {"batch", "joints", "answers", "threads", "memory"} <= set(saved)
    assert saved["memory"][0]["success"] == 1.0
