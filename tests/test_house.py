"""The house: imports go downwards, modules stay small, public things are documented, and importing is cheap."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import hybrid_ik

PACKAGE = Path(hybrid_ik.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LIMIT = 400

# A module imports from lower floors, or from its own package.
FLOORS = {
    "errors": 1,
    "pose": 2,
    "plotting": 2,
    "resources": 2,
    "chain": 3,
    "result": 3,
    "tensor_pose": 3,
    "loading": 3,
    "arm": 4,
    "encoding": 4,
    "scalar_math": 2,
    "kinematics": 4,
    "checkpoint": 4,
    "robot": 5,
    "kernels": 5,
    "refiners": 6,
    "samplers": 6,
    "learning": 7,
    "device_solver": 7,
    "host_solver": 7,
    "solution_sets": 7,
    "solver_parts": 7,
    "tracking": 8,
    "diagnosis": 8,
    "solver": 9,
    "pixels": 10,
    "apps": 11,
    "__init__": 12,
}


def _room(path):
    """The top-level module or package that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(path, module_level_only=False):
    """Dotted names that a file imports, without those under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    types_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    nodes = tree.body if module_level_only else ast.walk(tree)
    for node in nodes:
        if node in types_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(path, node)
            yield module
            if module == "hybrid_ik":
                yield from (f"hybrid_ik.{alias.name}" for alias in node.names)


def _absolute(path, node):
    if not node.level:
        return node.module
    above = ("hybrid_ik", *path.relative_to(PACKAGE).parts[: -node.level])
    return ".".join([*above, *([node.module] if node.module else [])])


def _modules():
    found = {name for _, name, _ in pkgutil.walk_packages(hybrid_ik.__path__, "hybrid_ik.")}
    return sorted(name for name in found if "__main__" not in name)


def _run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    room = _room(path)
    assert room in FLOORS, f"{room} stands on no floor: add it to FLOORS and to the design"
    for name in _imports(path):
        if not name.startswith("hybrid_ik."):
            continue
        other = name.split(".")[1]
        if other in FLOORS and other != room:
            assert FLOORS[other] < FLOORS[room], f"{room} (floor {FLOORS[room]}) imports {name} (floor {FLOORS[other]})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_is_imported_by_modules_of_learning_only(path):
    if _room(path) != "learning":
        heavy = {"torch", "dm_control", "robot_descriptions", "matplotlib", "pyarrow", "av", "cv2"}
        assert not heavy & {name.split(".")[0] for name in _imports(path, module_level_only=True) if name}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) < LIMIT


@pytest.mark.parametrize("path", [p for p in FILES if "apps" not in p.parts], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_library_does_not_print(path):
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    assert "print" not in {func.id for func in calls if isinstance(func, ast.Name)}


def test_every_public_name_is_there_and_documented():
    for name in getattr(hybrid_ik, "__all__", []):
        thing = getattr(hybrid_ik, name)
        assert inspect.isfunction(thing) is False or thing.__doc__, f"{name} has no docstring"
        if inspect.isclass(thing):
            assert thing.__doc__, f"{name} has no docstring"
            _check_members(thing)


def _check_members(thing):
    for name, member in vars(thing).items():
        if name.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property | classmethod)):
            continue
        assert inspect.getdoc(getattr(thing, name)), f"{thing.__name__}.{name} has no docstring"


@pytest.mark.parametrize("name", _modules())
def test_every_module_imports_and_says_what_it_is(name):
    assert importlib.import_module(name).__doc__


def test_importing_the_package_loads_no_torch():
    heavy = ["torch", "dm_control", "robot_descriptions", "matplotlib", "numba.cuda", "pyarrow", "av", "cv2"]
    modules = "sys, hybrid_ik, hybrid_ik.pixels.recordings.writer"
    loaded = _run(f"import {modules}; print([name for name in {heavy} if name in sys.modules])")
    assert loaded == "[]"


def test_making_a_robot_loads_no_torch():
    assert (
        _run("import sys; from hybrid_ik.robot import Robot; Robot('panda'); print('torch' in sys.modules)") == "False"
    )
