"""One small interface to other people's solvers, and what the project itself brings to it.

A `Peer` is made for a robot, turns a pose into what its solver takes (not timed), and solves it (timed). Nothing that
a peer says of its answers is believed: `peers.py` judges them by our forward kinematics.
"""

from __future__ import annotations

import importlib.metadata
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import HybridIKError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import Refiner
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]

TIME_CAP = 0.1  # s that a pose may take where restarts are ours, and the limit given to those that take one
AGREEMENT = 1e-6  # m, and entries of the rotation matrix: how far a peer's forward kinematics may be from ours


class Peer(ABC):
    """A solver at given settings, made for one robot.

    Args:
        robot: the arm.
        seed: of random starts, where they are ours.
    """

    package: str = ""
    """The distribution whose version is recorded."""
    restarts: bool = True
    """Whether the solver looks for other starts on its own, or needs none; else the starts are ours."""
    takes_start: bool = True
    """Whether it can be asked for an answer near given joints."""

    def __init__(self, robot: Robot, seed: int = 0) -> None:
        self.robot = robot
        self.rng = np.random.default_rng(seed)

    @property
    def version(self) -> str:
        """Of its package."""
        return importlib.metadata.version(self.package)

    def goal(self, T_base_tip: Pose) -> Any:
        """A pose in the form that `solve` takes; a homogeneous matrix, if nothing else is said."""
        return T_base_tip.matrix()

    @abstractmethod
    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """Joints (dof,), near `q_start` if that is given; None where the solver says that it found none."""

    def solve_all(self, goal: Any) -> Array | None:
        """All the answers it knows of, (n, dof); None for a solver that gives one."""
        return None

    def solve_batch(self, poses: Pose) -> Array | None:
        """Joints (n, dof) of many poses at once; None for a solver that takes one at a time."""
        return None

    def forward(self, q: Array) -> Array | None:
        """`T_base_tip(q)` (4, 4) as this solver sees it; None where it does not tell."""
        return None

    def disagreement(self) -> float | None:
        """The largest difference between its forward kinematics and ours [m, and entries of the rotation matrix].

        Raises:
            HybridIKError: they are not of the same arm.
        """
        q = np.random.default_rng(0).uniform(
            self.robot.chain.sample_lower, self.robot.chain.sample_upper, (32, self.robot.dof)
        )
        theirs = [self.forward(row) for row in q]
        if theirs[0] is None:
            return None
        worst = float(np.abs(np.array(theirs) - self.robot.forward_kinematics(q).matrix()).max())
        if not worst <= AGREEMENT:
            raise HybridIKError(f"its forward kinematics differ from ours by {worst:.2g} (allowed {AGREEMENT:g})")
        return worst


class RestartedPeer(Peer):
    """A solver that ends where its start leads it: given joints or the home posture first, then random ones.

    Starts are drawn until one of them leads to an answer, or the time is up.
    """

    restarts = False

    @abstractmethod
    def attempt(self, goal: Any, q_start: Array) -> Array | None:
        """What one start (dof,) leads to; None if that misses the goal."""

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """The first attempt that comes through."""
        end = time.perf_counter() + TIME_CAP
        start = self.robot.home if q_start is None else q_start
        while (found := self.attempt(goal, start)) is None and time.perf_counter() < end:
            start = self.rng.uniform(self.robot.chain.sample_lower, self.robot.chain.sample_upper)
        return found

    def inside(self, q: Array) -> bool:
        """Whether joints keep the limits, but for what a program of finite precision may miss."""
        return bool((q >= self.robot.lower - 1e-6).all() and (q <= self.robot.upper + 1e-6).all())


class Ours(Peer):
    """`HybridSolver`; given joints to start from, the answer near them."""

    package = "hybrid-ik"

    def __init__(self, robot: Robot, seed: int = 0, *, sampler: Any = "auto", n_solutions: int = 16) -> None:
        super().__init__(robot, seed)
        self.solver = HybridSolver(robot, sampler=sampler, seed=seed)
        self.n_solutions = n_solutions

    def goal(self, T_base_tip: Pose) -> Pose:
        """The pose as it is."""
        return T_base_tip

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """What the result calls a success."""
        result = self.solver.solve(goal, near=q_start)
        return result.q if result.success else None

    def solve_all(self, goal: Any) -> Array | None:
        """As many distinct answers as were asked for, or fewer."""
        result = self.solver.solve(goal, n_solutions=self.n_solutions)
        return result.q[result.success]

    def solve_batch(self, poses: Pose) -> Array | None:
        """One call."""
        return self.solver.solve(poses).q


class Refined(RestartedPeer):
    """A baseline of `hybrid_ik.refiners`, one start after another."""

    def __init__(self, robot: Robot, seed: int = 0, *, refiner: Callable[[Robot], Refiner], package: str) -> None:
        super().__init__(robot, seed)
        self.refiner, self.package = refiner(robot), package

    def goal(self, T_base_tip: Pose) -> Pose:
        """A batch of one."""
        return T_base_tip.reshape(1)

    def attempt(self, goal: Any, q_start: Array) -> Array | None:
        """One start, judged by the refiner's tolerances."""
        result = self.refiner.refine(goal, q_start[None, None])
        return result.q[0, 0] if result.success[0, 0] else None
