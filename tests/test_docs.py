"""README and the pages of docs/: their code runs, their commands are understood, what they name is there."""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tyro
from test_examples import run_python

import hybrid_ik
from hybrid_ik.apps import cli
from hybrid_ik.apps.offscreen import REMEDY, working_backend

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hybrid_ik"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
MISSING = [
    name for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml") if not importlib.util.find_spec(name)
]

# A program of benchmarks/ up to where it has understood its options; 41 tells that from an end of another kind.
UNTIL_PARSED = """
import argparse, runpy, sys, tyro

def end_after(parse):
    def parse_and_end(*args, **options):
        parse(*args, **options)
        sys.exit(41)
    return parse_and_end

tyro.cli = end_after(tyro.cli)
argparse.ArgumentParser.parse_args = end_after(argparse.ArgumentParser.parse_args)
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def blocks(language):
    """The blocks of all pages in a language, named by page and line."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text[: block.start()].count("\n") + 1
            found.append(pytest.param(block[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


def commands():
    """The different commands in the shell's blocks, in words, without what stands before them."""
    seen = {}
    for block in blocks("sh"):
        for line in block.values[0].replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and tuple(words) not in seen:
                seen[tuple(words)] = pytest.param(words, id=shlex.join(words))
    return list(seen.values())


class Parsed(Exception):
    """Raised where a command has understood its options."""


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(block, tmp_path):
    if "render_" in block and working_backend() is None:
        pytest.skip(f"no EGL and no OSMesa here. {REMEDY}")
    done = run_python("-c", block, folder=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_there_are_blocks():
    assert len(blocks("python")) > 12 and len(commands()) > 15


@pytest.mark.parametrize("words", commands())
def test_commands_are_understood(words, tmp_path, monkeypatch):
    program, rest = Path(words[0]).name, words[1:]
    if program == "torchrun":  # ... -m MODULE command options
        assert importlib.util.find_spec(rest[rest.index("-m") + 1])
        program, rest = "hybrid-ik", rest[rest.index("-m") + 2 :]
    if program == "hybrid-ik":
        check_command(rest, tmp_path, monkeypatch)
    elif program == "make":
        assert set(rest) <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    else:
        assert program == "python", f"who checks {program}?"
        check_program(rest)


def check_command(words, folder, monkeypatch):
    """Runs a command of `hybrid-ik` that is quick and needs no file; has the others read their options."""
    monkeypatch.chdir(folder)
    if words[0] in ("robots", "info") and len(words) == 1:
        assert cli.main(words) == 0
    elif words[0] == "solve" and not {"--robot", "--sampler"} & set(words):
        assert cli.main(words) == 0
    else:
        parse = tyro.cli

        def parse_and_end(*args, **options):
            parse(*args, **options)
            raise Parsed

        monkeypatch.setattr(tyro, "cli", parse_and_end)
        with pytest.raises(Parsed):
            cli.main(words)


def check_program(words):
    """Has a program of benchmarks/ read its options, if there are any."""
    program, *options = words
    assert (ROOT / program).is_file()
    if options:
        one_thread = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
        )
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-c", UNTIL_PARSED, program, *options],
            cwd=ROOT,
            env={**os.environ, **one_thread, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 41, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_pictures_and_files_that_a_page_names_are_there(page):
    text = page.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text)]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"(?:^|[\s`(])((?:\w+/)*[a-z0-9_]+\.py)\b", text, re.MULTILINE)
    folders = ROOT, PACKAGE, ROOT / "benchmarks", page.parent
    assert [name for name in named if not any((folder / name).is_file() for folder in folders)] == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_names_of_the_package_that_a_page_names_are_there(page):
    for name in set(re.findall(r"\bhybrid_ik(?:\.\w+)+", page.read_text())):
        pkgutil.resolve_name(name)


def test_extras_that_are_named_are_there():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    texts = [*PAGES, ROOT / "examples" / "README.md", *(ROOT / "examples").glob("*.py"), *PACKAGE.rglob("*.py")]
    named = [(path.name, name) for path in texts for name in re.findall(r"hybrid-ik\[([\w,-]+)\]", path.read_text())]
    assert len(named) > 5 and [(file, name) for file, name in named if not set(name.split(",")) <= extras] == []


def test_names_in_the_mathematics_are_those_of_the_code():
    modules = {name.rpartition(".")[2]: name for _, name, _ in pkgutil.walk_packages([PACKAGE], "hybrid_ik.")}
    unknown = []
    for home, name in re.findall(r"`(?:\w+\.)?(\w+)\.(\w+)`", (ROOT / "docs" / "mathematics.md").read_text()):
        if name == "py":
            continue
        thing = getattr(hybrid_ik, home, None) or _encoder(home) or importlib.import_module(modules[home])
        if not hasattr(thing, name) and name not in getattr(thing, "__annotations__", {}):
            unknown.append(f"{home}.{name}")
    assert unknown == []


def _encoder(name):
    from hybrid_ik.encoding import Encoder

    return Encoder if name == "Encoder" else None


def test_every_public_name_is_in_the_reference_once():
    text = "".join(page.read_text() for page in sorted((ROOT / "docs" / "reference").glob("*.md")))
    assert sorted(re.findall(r"^::: hybrid_ik\.(\w+)$", text, re.MULTILINE)) == sorted(hybrid_ik.__all__)


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.glob("**/*.html")}
    assert {str(page.relative_to(ROOT / "docs").with_suffix(".html")) for page in ROOT.glob("docs/**/*.md")} <= set(
        pages
    )
    for text in pages.values():
        assert not re.search(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//", text)
        assert ":math:" not in text and 'class="arithmatex"' not in text
    assert pages["mathematics.html"].count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') > 10
    assert 'id="hybrid_ik.HybridSolver.solve_all"' in pages["reference/solver.html"]
    assert not (tmp_path / "hooks.py").exists()
