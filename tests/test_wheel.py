"""The package as it is installed: its wheel, in an environment that has nothing else of it."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SOLVE = """
import sys
from pathlib import Path
import hybrid_ik
from hybrid_ik import HybridSolver, MeanFlowSampler, Pose
assert Path(hybrid_ik.__file__).is_relative_to(sys.prefix), hybrid_ik.__file__
solver = HybridSolver("panda")
assert isinstance(solver.sampler, MeanFlowSampler)
many = solver.solve(Pose([0.4, 0.1, 0.5], [0, 1, 0, 0]), n_solutions=4)
assert many.success.all()
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(out.glob("*.whl"))


def test_the_wheel_carries_what_a_solve_needs(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "hybrid_ik/assets/robots/panda.xml",
        "hybrid_ik/assets/networks/panda.safetensors",
        "hybrid_ik/py.typed",
    ):
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "examples/"))]
    assert wheel.stat().st_size < 8e6


def test_the_wheel_solves_in_an_environment_of_its_own(wheel, tmp_path):
    """Its dependencies are lent by this environment, whose own hybrid_ik is not seen: path files count only once."""
    venv.create(tmp_path, with_pip=False)
    python = tmp_path / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path), "platbase": str(tmp_path)}))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {"HOME": str(Path.home())}
    done = subprocess.run(
        [python, "-c", SOLVE], cwd=tmp_path, timeout=300, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
