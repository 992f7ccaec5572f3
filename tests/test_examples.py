"""What a reader sees is executed: the examples. Blocks of code in pages are in `test_docs`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_ik.apps.offscreen import REMEDY, working_backend

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("0*.py"))
FROM_PIXELS = "07_so100_from_pixels"
OF_TORCH = "ignore:`torch.jit.script` is deprecated:DeprecationWarning"  # raised inside torch.func.jvp


def skip_where_it_cannot_run(name):
    """The example that records videos needs more than the others do."""
    if name == FROM_PIXELS:
        if working_backend() is None:
            pytest.skip(f"no EGL and no OSMesa here. {REMEDY}")
        for package in ("av", "cv2", "pyarrow", "torch"):
            pytest.importorskip(package)


def run_python(*words, folder, timeout=120):
    """Runs Python with warnings as errors, in a folder, with this package."""
    path = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return subprocess.run(
        [sys.executable, "-W", "error", "-W", OF_TORCH, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def check_example(path, folder, timeout=120):
    """Runs an example; what it printed."""
    done = run_python(str(path), folder=folder, timeout=timeout)
    assert done.returncode == 0, done.stderr
    assert done.stdout and not done.stderr
    assert 20 <= len(path.read_text().splitlines()) <= 80
    assert "success=True" in done.stdout or "answer" in done.stdout
    return done.stdout


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.stem != FROM_PIXELS], ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    check_example(path, tmp_path)


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
