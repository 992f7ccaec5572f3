"""The stages of NeuroKinematics run, write what they name, go on where they were, and are alike every time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import neurokinematics
import neurokinematics_stages as stages

from hybrid_ik import Robot

FEW = ("lambda_1", "lambda_0")


@pytest.fixture
def few_runs(monkeypatch):
    """Two of the runs, and the stages that look at them."""
    kept = tuple(stage for stage in stages.STAGES if stage.run in FEW and not stage.name.startswith("a_4_4_3"))
    for module in (neurokinematics, stages):
        monkeypatch.setattr(module, "RUNS", {name: stages.RUNS[name] for name in FEW})
        monkeypatch.setattr(module, "STAGES", kept)
    monkeypatch.setattr(neurokinematics, "draw_all", lambda *given: None)  # it draws every stage
    return [stage.name for stage in kept]


class InThisProcess:
    """In place of a pool of processes, each of which would load torch."""

    def __init__(self, *given):
        self.map = map

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def _run(folder):
    options = neurokinematics.Options(
        out=folder, json=folder / "r.json", pictures=folder, processes=1, poses=8, quick=True
    )
    neurokinematics.main(options)
    return json.loads((folder / "r.json").read_text())


def test_stages_write_their_artifacts_and_two_runs_are_alike(tmp_path, few_runs, monkeypatch, capsys):
    first = _run(tmp_path / "a")
    monkeypatch.setattr(neurokinematics, "ProcessPoolExecutor", InThisProcess)
    second, again = _run(tmp_path / "b"), _run(tmp_path / "a")
    written = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.npy"))
    assert len(written) == 3 * (2 * len(few_runs) + 1)
    for path in written:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
    assert first["rows"] == second["rows"] == again["rows"]
    errors = np.load(tmp_path / "a" / "one" / "analysis" / "a_4_3_1" / "fk_errors.npy")
    positions, joints = (
        np.load(tmp_path / "a" / "one/analysis/a_4_3_1" / f"{n}.npy") for n in ("ee_positions", "theta_pred")
    )
    row = next(row for row in first["rows"] if (row["domain"], row["stage"]) == ("one", "a_4_3_1"))
    assert errors.shape == (600,) and row["distance_mean"] == pytest.approx(errors.mean())
    np.testing.assert_allclose(Robot("kr6").forward_kinematics(joints).position, positions, atol=1e-12)
    assert "one branch" in capsys.readouterr().out
    assert all(refined["solver"] == 1.0 for refined in first["refinement"])


def test_every_stage_of_the_original_is_there_with_a_run_of_its_own_kind():
    robot = Robot("kr6")
    names = {stage.name.split("/")[0] for stage in stages.STAGES}
    assert names == {"a_4_2", "a_4_3_1", "a_4_3_2", "a_4_3_3", "a_4_4_1", "a_4_4_2", "a_4_4_3", "a_4_4_4", "a_5"}
    assert {stage.run for stage in stages.STAGES} == set(stages.RUNS)
    configs = [stages.config_of(robot, "one", run, quick=False) for run in stages.RUNS.values()]
    assert len({str(config) for config in configs}) == len(configs)
    assert all(config.posture is not None for config in configs)
    assert stages.config_of(robot, "all", stages.RUNS["lambda_1"], quick=False).posture is None
