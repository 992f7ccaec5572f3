"""What a reader sees is executed: the examples. Blocks of code in pages are in `test_docs`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_ik.apps.offscreen import working_backend

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("0*.py"))


def run_python(*words, folder):
    """Runs Python with warnings as errors, in a folder, with this package."""
    path = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    done = run_python(str(path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout and not done.stderr
    assert 20 <= len(path.read_text().splitlines()) <= 80
    assert "success=True" in done.stdout or "answer" in done.stdout


def test_demo_prints_sixteen_answers_and_draws_where_it_can(tmp_path):
    done = run_python(str(ROOT / "examples" / "demo.py"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^ *\d+ .* m +\S+ rad +\d+$", done.stdout, re.MULTILINE)) == 16
    assert "16 distinct answers in" in done.stdout
    assert (tmp_path / "demo.png").exists() == ("--gif demo.gif" in done.stdout) == (working_backend() is not None)


def test_demo_without_rendering_names_the_packages_and_succeeds(tmp_path, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    done = run_python(str(ROOT / "examples" / "demo.py"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no picture" in done.stdout and "libosmesa6" in done.stdout
