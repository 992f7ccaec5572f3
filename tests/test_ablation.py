"""The ablation: its rows are what they say, and its program trains, measures, and keeps what is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # they are programs, and import one another as such

import ablation  # noqa: E402
import record  # noqa: E402
from ablation_variants import VARIANTS, is_the_base  # noqa: E402

from hybrid_ik.errors import HybridIKError, InvalidInputError  # noqa: E402

BASE = ablation.BASE
WHOLE_RECIPES = {"seed_000", "seed_001"}
PAIRED = {
    "logit_normal_0",
    "logit_normal_04",
    "one_noise",
    "flat",
    "matching_alone",
}  # one change takes two or three options


def _run(folder, *arguments):
    environment = {**os.environ, **dict.fromkeys(record.THREAD_VARIABLES, "1")}
    command = [sys.executable, str(BENCHMARKS / "ablation.py"), "--quick", "--out", str(folder / "runs")]
    command += ["--json", str(folder / "ablation.json"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def _changes(config):
    """Names of the options that differ from the base."""
    flat = lambda config: {  # noqa: E731
        (group, key): value
        for group, options in {"run": vars(config), "loss": asdict(config.loss), "net": asdict(config.network)}.items()
        for key, value in options.items()
        if key not in ("loss", "network")
    }
    return {key for key, value in flat(config).items() if flat(BASE)[key] != value}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in WHOLE_RECIPES])
def test_a_row_is_one_change(name):
    changed = _changes(VARIANTS[name].change(BASE))
    assert len(changed) <= (3 if name in PAIRED else 1)
    assert (not changed) == (name == "base" or is_the_base(name, BASE))


def test_no_two_rows_are_the_same():
    configs = [VARIANTS[name].change(BASE).to_dict() for name in VARIANTS if not is_the_base(name, BASE)]
    assert all(a != b for i, a in enumerate(configs) for b in configs[:i])


def test_unknown_rows_are_refused():
    with pytest.raises(InvalidInputError, match="magic"):
        ablation.Options(rows=("magic",))


def test_a_second_run_keeps_what_is_done(tmp_path):
    first = _run(tmp_path, "--rows", "base", "matching")
    assert first.returncode == 0, first.stderr
    saved = json.loads((tmp_path / "ablation.json").read_text())
    rows = {row["name"]: row for row in saved["rows"]}
    assert list(rows) == ["random", "lookup", "perfect", "base", "matching"]
    assert rows["matching"]["steps"] == 2 * ablation.QUICK_STEPS
    assert rows["base"]["steps"] == rows["base"]["config"]["steps"] == ablation.QUICK_STEPS
    assert rows["base"]["start_us"] > 0 and rows["base"]["seconds"] >= 0
    assert all(0 <= row["measures"]["starts"]["64"]["coverage"] <= 1 for row in saved["rows"])
    assert {"machine", "commit", "command"} <= saved.keys()
    assert (tmp_path / "ablation_cost.png").is_file() and (tmp_path / "ablation_training.png").is_file()
    assert "cov@64" in first.stdout

    files = sorted((tmp_path / "runs").rglob("*.*"))
    written = {path: path.stat().st_mtime_ns for path in files if path.is_file()}
    (tmp_path / "runs" / "matching_0" / "row.json").unlink()  # as if it was stopped before it was measured
    second = _run(tmp_path, "--rows", "base", "matching", "predicted")
    assert second.returncode == 0, second.stderr
    assert [row["name"] for row in json.loads((tmp_path / "ablation.json").read_text())["rows"]][-1] == "predicted"
    new = {path.relative_to(tmp_path).as_posix() for path, time in written.items() if path.stat().st_mtime_ns != time}
    assert new == {"runs/matching_0/row.json"}


def test_an_interrupted_row_goes_on(tmp_path, panda):
    plan = {"steps": ablation.QUICK_STEPS, "matching_steps": 0}
    config = ablation._with_steps(ablation._config(ablation.Options(quick=True), "base", 0), plan)
    config = ablation.replace(config, out=tmp_path)
    stopped = []

    def interrupted(*arguments):
        stopped.append(1)
        if len(stopped) == 5:
            raise KeyboardInterrupt
        return loss(*arguments)

    from hybrid_ik.learning import training

    loss, training.meanflow_loss = training.meanflow_loss, interrupted
    try:
        with pytest.raises(KeyboardInterrupt):
            ablation._trained(panda.chain, config)
    finally:
        training.meanflow_loss = loss
    assert ablation._trained(panda.chain, config).record["steps"] == ablation.QUICK_STEPS


def test_results_of_other_options_are_not_taken_over(tmp_path):
    path = tmp_path / "row.json"
    assert ablation._kept(path, {"poses": 2, "rows": (1,)}, lambda: {"a": 1}) == {"a": 1}
    assert ablation._kept(path, {"poses": 2, "rows": (1,)}, lambda: {"a": 2}) == {"a": 1}
    with pytest.raises(InvalidInputError, match="another poses"):
        ablation._kept(path, {"poses": 3, "rows": (1,)}, lambda: {"a": 3})


def test_a_run_that_diverges_is_a_row_too(tmp_path, monkeypatch):
    def diverged(chain, config):
        raise HybridIKError("the loss is not a finite number at step 3")

    monkeypatch.setattr(ablation, "_trained", diverged)
    options = ablation.Options(quick=True, out=tmp_path, rows=("base",))
    row = ablation._row(ablation.Problem.of(options), options, "base", 0)
    assert "step 3" in row["failed"]
    ablation.print_ablation({"rows": [row], "options": {"rows": ["base"]}})


def test_steps_fill_the_minutes(monkeypatch, panda):
    """Half a second a step gives 120 of them a minute."""
    log = [{"step": 10, "seconds": 7.0}, {"step": 50, "seconds": 27.0}, {"step": 50, "validation_loss": 1.0}]
    monkeypatch.setattr(ablation, "train", lambda *arguments, **options: None)
    monkeypatch.setattr(ablation, "_log", lambda config: log)
    assert ablation._plan(panda.chain, BASE, ablation.Options(minutes=2.0))["steps"] == 240
    both = ablation._plan(panda.chain, VARIANTS["matching"].change(BASE), ablation.Options(minutes=2.0))
    assert both["steps"] == both["matching_steps"] == 120
    alone = ablation._plan(panda.chain, VARIANTS["matching_alone"].change(BASE), ablation.Options(minutes=2.0))
    assert alone["steps"] == 0 and alone["matching_steps"] == 240
