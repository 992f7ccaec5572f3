"""What several files of tests share: robots, solvers, and recordings, each made once."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from models import PLANAR, robot_of
from pixel_cases import smooth_recording
from recordings import LENGTHS, record

from hybrid_ik.pixels.processed import ProcessedRecording
from hybrid_ik.resources import shipped_robots
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

# torch's optimizers load Triton where it is installed, and that crashes once Mesa has rendered a picture without a GPU,
# for both bring an LLVM; the other way round they get on.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for torch: test processes that share two cores do not split them again

ROOT = Path(__file__).resolve().parents[1]
MODELS = Path(os.environ.get("HYBRID_IK_ROBOTS", ROOT.parent / "shared" / "robots"))


@dataclass(frozen=True)
class Case:
    """A robot of the tests and how to get it."""

    name: str
    source: str
    frames: dict[str, str] = field(default_factory=dict)

    def robot(self) -> Robot:
        if self.source.startswith(str(MODELS)) and not Path(self.source).is_file():
            pytest.skip(f"no model {self.source}; set HYBRID_IK_ROBOTS to a folder that has it")
        return Robot(self.source, **self.frames)


def _model(name: str, path: str, **frames: str) -> Case:
    return Case(name, str(MODELS / path), frames)


CASES = [
    *(Case(name, name) for name in shipped_robots()),
    Case("panda_from_link0_to_hand_tcp", "panda", {"base": "link0", "tip": "hand_tcp"}),
    Case("panda_from_link2", "panda", {"base": "link2"}),
    _model("full_panda", "franka_emika_panda/panda.xml"),
    _model("full_panda_nohand", "franka_emika_panda/panda_nohand.xml"),
    _model("full_iiwa14", "kuka_iiwa_14/iiwa14.xml"),
    _model("full_so_arm100", "trs_so_arm100/so_arm100.xml", tip="Fixed_Jaw"),
    _model("full_kr6r900sixx", "kuka_kr6r900sixx/kr6r900sixx.urdf"),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def robot(request: pytest.FixtureRequest) -> Robot:
    """Every robot the tests know, one after another."""
    return request.param.robot()


@pytest.fixture(scope="session")
def panda() -> Robot:
    """The shipped Panda."""
    return Robot("panda")


@pytest.fixture
def full_panda() -> Path:
    """The file of the full Panda model."""
    path = MODELS / "franka_emika_panda" / "panda.xml"
    if not path.is_file():
        pytest.skip(f"no model {path}; set HYBRID_IK_ROBOTS to a folder that has it")
    return path


@pytest.fixture(scope="session")
def so100() -> Robot:
    """The shipped SO-100."""
    return Robot("so100")


@pytest.fixture(scope="session")
def solver() -> HybridSolver:
    """Of the shipped Panda."""
    return HybridSolver("panda")


@pytest.fixture(scope="session")
def planar() -> HybridSolver:
    """Of an arm that never leaves its plane."""
    return HybridSolver(robot_of(PLANAR))


@pytest.fixture(scope="session")
def processed(so100: Robot) -> ProcessedRecording:
    """Ten episodes of an SO-100, followed."""
    return smooth_recording(so100)


@pytest.fixture(scope="session", params=["av1", "h264"])
def pristine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recording of four episodes, all in one file a camera; not to be changed."""
    root = tmp_path_factory.mktemp("recordings") / request.param
    record(root, LENGTHS, codec=request.param)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return shutil.copytree(pristine, tmp_path / "copy")
