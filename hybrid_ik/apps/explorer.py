"""What the viewer and the web page have in common: a target that moves, its answers, and the one that is solid."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.plotting import blend_colours
from hybrid_ik.pose import Pose, n_rows
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.result import IKResult, concatenate
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.lookup import LookupSampler
from hybrid_ik.samplers.meanflow import NOISE_SCALE, MeanFlowSampler
from hybrid_ik.samplers.shipped import shipped_network
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solution_sets.solution_set import Piece, SolutionSet
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]

POSTURES = ("nearest", "limits", "manipulability")
MOST_ANSWERS = 32
FARTHEST = 6.0  # rad, or m: from the solid arm, where colours end
STOPPED = 0.5  # share of a way that was gone, below which a glide turns round


@dataclass
class Settings:
    """What a person can change while looking."""

    n_solutions: int = 16
    """Answers that are shown, the solid one among them."""
    min_distance: float = 0.2
    """Answers that differ by less than this count as one [rad, or m]."""
    sampler: str = "random"
    """What proposes starts: network, random or lookup."""
    noise_scale: float = NOISE_SCALE
    """Factor on the network's noises."""
    refine: bool = True
    """Whether starts are refined; if not, they are shown as they were proposed."""
    posture: str = "nearest"
    """Which answer is solid: nearest (to the last one), limits (far from them), or manipulability."""


@dataclass(frozen=True)
class Shown:
    """Answers of one target."""

    result: IKResult
    """Rows `(n,)`, the solid one first; all of them answers, unless starts are shown as proposed."""
    seconds: float
    """What it took to find them."""

    @property
    def reached(self) -> bool:
        """Whether the solid one is an answer."""
        return bool(self.result.success[0])


class Explorer:
    """Answers for a target that moves.

    Args:
        robot: the arm.
        settings: where to begin; the network, where there is one, by default.
        network: a network file of this arm; the shipped one by default.
        seed: of the samplers.

    Raises:
        CheckpointError: the network is of another arm.
    """

    def __init__(self, robot: Robot, settings: Settings | None = None, network: Any = None, seed: int = 0) -> None:
        self.robot, self._seed = robot, seed
        self._network: Any = network or shipped_network(robot.chain)
        self.settings = settings or Settings(sampler=self.samplers[0])
        self._solvers: dict[tuple[str, float, bool], HybridSolver] = {}
        self._way: Array | None = None
        self._curves: SolutionSet | None = None
        self.q = robot.home
        """Joints of the solid arm `(dof,)`."""
        self.target = robot.forward_kinematics(robot.home)
        """Where the tip is to be, in the robot's base."""
        self.update()  # the first time, programs are read
        self.shown = self.update()
        """The answers."""

    @property
    def samplers(self) -> tuple[str, ...]:
        """Names of what can propose starts for this arm."""
        return ("random", "lookup") if self._network is None else ("network", "random", "lookup")

    @property
    def can_glide(self) -> bool:
        """Whether the arm has a joint to spare, so that it moves with its tool at rest."""
        return self.robot.dof > n_rows(True)

    @property
    def solver(self) -> HybridSolver:
        """The solver of the present settings."""
        s = self.settings
        if s.sampler not in self.samplers:
            raise InvalidInputError(f"no sampler {s.sampler!r} for {self.robot.name}: {', '.join(self.samplers)}")
        key = s.sampler, s.noise_scale if s.sampler == "network" else 0.0, s.refine
        if key not in self._solvers:
            self._solvers = {k: v for k, v in self._solvers.items() if k[0] != s.sampler or k[1] == key[1]}
            refiner = {} if s.refine else {"config": LMConfig(max_iterations=0)}
            self._solvers[key] = HybridSolver(self.robot, sampler=self._make_sampler(), **refiner)  # type: ignore[arg-type]
        return self._solvers[key]

    def move(self, target: Pose) -> Shown:
        """Answers for another target, a pose of the tip in the robot's base."""
        self.target, self._curves = target, None
        return self.update()

    def update(self) -> Shown:
        """Answers for the present target and settings."""
        started = time.perf_counter()
        result = self._refined() if self.settings.refine else self._proposed()
        self.shown = Shown(result, time.perf_counter() - started)
        self._show(result.q[0])
        return self.shown

    def choose(self, i: int) -> Shown:
        """Make another row of the answers the solid one, those before it come last; from now on it is followed."""
        if not 0 <= i < len(self.shown.result):
            raise InvalidInputError(f"expected the number of one of {len(self.shown.result)} answers, got {i}")
        result, self.settings.posture, self._way = self.shown.result, "nearest", None
        self.shown = Shown(result[np.roll(np.arange(len(result)), -i)], self.shown.seconds)
        self._show(result.q[i])
        return self.shown

    def glide(self, length: float) -> bool:
        """Move the solid arm along its null space [rad], with the tool at rest; at a limit it turns round.

        Returns:
            Whether it moved.
        """
        if not (self.can_glide and self.shown.reached):
            return False
        for _ in range(2):
            way = self.solver.self_motion(self.q, length, towards=self._way, spacing=max(length, 1e-3))
            gone = way[-1] - self.q
            if np.linalg.norm(gone) > STOPPED * length:
                self._way = way[-1] - way[-2]
                self._settle(way[-1])
                return True
            self._way = -self._way if self._way is not None else -gone if gone.any() else None
        return False

    @property
    def curves(self) -> SolutionSet | None:
        """All answers of the present target as curves; None unless the arm has one joint to spare."""
        if self._curves is None and self.robot.dof == n_rows(True) + 1:
            self._curves = self.solver.solve_all(self.target)
        return self._curves

    def turn_joint(self, joint: int, value: float) -> Shown:
        """Move the solid arm along its curve to where a joint is at `value` [rad, or m], or as near as it gets."""
        place = self._place()
        if place is not None:
            piece, point = place
            self._settle(_crossing(_unrolled(piece, point), joint, value))
        return self.shown

    def joint_range(self, joint: int) -> tuple[float, float]:
        """Least and largest value of a joint on the curve of the solid arm [rad, or m]; the same where it has none."""
        place = self._place()
        if place is None:
            return float(self.q[joint]), float(self.q[joint])
        values = _unrolled(*place)[1][:, joint]
        return float(values.min()), float(values.max())

    def _refined(self) -> IKResult:
        s, solver = self.settings, self.solver
        wanted: Any = {"near": self.q} if s.posture == "nearest" else {"prefer": s.posture}
        own = solver.solve(self.target, **wanted)
        if s.n_solutions == 1 or not own.success:
            return own.reshape(1)
        others = solver.solve(self.target, n_solutions=s.n_solutions, min_distance=s.min_distance)
        far = self._distance(others.q, own.q) >= s.min_distance
        return concatenate([own.reshape(1), others[others.success & far][: s.n_solutions - 1]])

    def _proposed(self) -> IKResult:
        """Starts as they are, the nearest first."""
        solver = self.solver
        starts = solver.sampler.sample(self.target, self.settings.n_solutions)
        return solver.refiner.refine(self.target, starts[np.argsort(self._distance(starts, self.q), kind="stable")])

    def _settle(self, q: Array) -> None:
        """Makes these joints, once they are verified, the solid ones among the same answers."""
        own = self.solver.solve(self.target, near=q)
        if own.success:
            self.shown = Shown(concatenate([own.reshape(1), self.shown.result[1:]]), self.shown.seconds)
            self._show(own.q)

    def _show(self, q: Array) -> None:
        self.q = np.clip(q, self.robot.lower, self.robot.upper)

    def _place(self) -> tuple[Piece, int] | None:
        """The piece of the curves that the solid arm is on, and its nearest point."""
        curves = self.curves
        if not curves or not curves.length:
            return None
        nearest = int(np.argmin(self._distance(curves.q, self.q)))
        piece = int(curves.piece[nearest])
        return curves[piece], nearest - sum(len(p) for p in curves.pieces[:piece])

    def _distance(self, a: Array, b: Array) -> Array:
        return np.asarray(np.linalg.norm(self.robot.chain.shortest_way(a - b), axis=-1))

    def _make_sampler(self) -> Any:
        chain, name = self.robot.chain, self.settings.sampler
        if name == "network":
            return MeanFlowSampler(self._network, chain, self._seed, self.settings.noise_scale)
        return UniformSampler(chain, self._seed) if name == "random" else LookupSampler(chain, seed=self._seed)


def distance_colours(distance: Array) -> Array:
    """Red, green and blue in [0, 1] `(n, 3)` for distances `(n,)` from the solid arm, along the palette of pictures.

    Unlike a colour by rank it changes as slowly as the answer does while a target is dragged.
    """
    return blend_colours(distance / FARTHEST)


def _unrolled(piece: Piece, point: int) -> tuple[int, Array]:
    """Where a point lies among the points of its piece, and these; a closed curve begins half a turn before it."""
    if not piece.closed:
        return point, piece.q
    n = len(piece)
    turns, at = np.divmod(point - n // 2 + np.arange(n + 1), n)
    return n // 2, piece.q[at] + turns[:, None] * piece.winding


def _crossing(place: tuple[int, Array], joint: int, value: float) -> Array:
    """Where on a polyline, as near as can be to one of its points, a joint has a value, or comes nearest to it."""
    point, q = place
    x = q[:, joint] - value
    crossed = np.flatnonzero(x[:-1] * x[1:] <= 0)
    if not len(crossed):
        return np.asarray(q[np.argmin(np.abs(x))])
    i = crossed[np.argmin(np.abs(crossed + 0.5 - point))]
    share = x[i] / (x[i] - x[i + 1]) if x[i] != x[i + 1] else 0.0
    return np.asarray(q[i] + share * (q[i + 1] - q[i]))
