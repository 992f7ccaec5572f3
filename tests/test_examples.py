"""What a reader sees is executed: the examples, and every block of Python in the README."""

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
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
LINKS = re.findall(r"\]\((?!https?:|#)([^)]+)\)", (ROOT / "README.md").read_text())


def _run(*words, folder):
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
    done = _run(str(path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout and not done.stderr
    assert 20 <= len(path.read_text().splitlines()) <= 80
    assert "success=True" in done.stdout or "answer" in done.stdout


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_readme_block_runs(block, tmp_path):
    if "render_" in block and working_backend() is None:
        pytest.skip(f"no EGL and no OSMesa here. {REMEDY}")
    done = _run("-c", block, folder=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_readme_has_blocks_and_its_links_are_there():
    assert len(BLOCKS) >= 4
    assert [link for link in LINKS if not (ROOT / link).exists()] == []


def test_demo_prints_sixteen_answers_and_draws_where_it_can(tmp_path):
    done = _run(str(ROOT / "examples" / "demo.py"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^ *\d+ .* m +\S+ rad +\d+$", done.stdout, re.MULTILINE)) == 16
    assert "16 distinct answers in" in done.stdout
    assert (tmp_path / "demo.png").exists() == ("--gif demo.gif" in done.stdout) == (working_backend() is not None)


def test_demo_without_rendering_names_the_packages_and_succeeds(tmp_path, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    done = _run(str(ROOT / "examples" / "demo.py"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no picture" in done.stdout and "libosmesa6" in done.stdout
