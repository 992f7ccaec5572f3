"""Answers of one pose from solvers that are not `solve_all`, and the pieces that they lie on.

Closed forms at many places of the spare joint (frankik, and ssik, which also knows where the joint limits cut its
curves), EAIK for six joints, and refined random starts for any arm. Nothing is believed: an answer counts where it is
within a micrometre by MuJoCo's forward kinematics, if need be after Newton steps by MuJoCo's Jacobians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from metrics import EXACT, judge, thin
from numpy.typing import NDArray
from peer_adaptors import Array
from peer_closed_forms import Frankik, Ssik, axes_and_offsets
from problems import uniform_joints
from scipy.spatial import cKDTree
from solution_curves import Curve, correct, follow

from hybrid_ik.errors import HybridIKError
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import Refiner
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.refiners.mujoco import MujocoRefiner
from hybrid_ik.robot import Robot

Source = Callable[[Pose, np.random.Generator], Array]

SSIK_ARMS = {"panda": "franka_panda_ik", "iiwa14": "iiwa14_ik", "kr6": "kr6_r900_ik"}
ARC_POINTS = 400  # on each arc of ssik, closer together at its ends, where the spare joint may turn back
BARELY = 1e-6  # rad: answers as little beyond a limit are moved onto it
APART = 5e-3  # rad: answers farther than this from a followed curve lie on another one
FINE = 2e-3  # rad: between the points that stand for a followed curve
SAME = 2e-3  # rad: answers of six joints nearer than this are one
TURN = 2 * np.pi


@dataclass(frozen=True)
class Known:
    """Verified answers of one pose."""

    q: Array
    """`(n, dof)`."""
    source: NDArray[np.intp]
    """Which source each is from, in the order of the sources; one more for the points of the followed curves."""
    piece: NDArray[np.intp]
    """Which piece each is from; -1 for those that were not followed."""
    lengths: Array
    """Length of each piece [rad]."""


def make_sources(
    arm: str, robot: Robot, n_starts: int, sweep: int, n_reference: int = 0
) -> tuple[dict[str, Source], dict[str, str]]:
    """What there is for an arm, and why the rest is left out."""
    makers: dict[str, Callable[[], Source]] = {
        "frankik": lambda: frankik_sweep(robot, sweep),
        "ssik": lambda: ssik_charts(robot, arm) if robot.dof == 7 else ssik_answers(robot, arm),
        "EAIK": lambda: eaik_answers(robot),
        "starts": lambda: refined_starts(robot, n_starts, LaneRefiner(robot.chain)),
    }
    if n_reference:
        makers["MuJoCo"] = lambda: refined_starts(robot, n_reference, MujocoRefiner(robot))
    sources, left_out = {}, {}
    for name, make in makers.items():
        try:
            sources[name] = make()
        except (ImportError, HybridIKError) as error:
            left_out[name] = str(error)
    return sources, left_out


def frankik_sweep(robot: Robot, n: int) -> Source:
    """All branches of frankik at `n` angles of the last joint."""
    peer = Frankik(robot)
    angles = np.linspace(robot.lower[-1], robot.upper[-1], n)

    def answers(pose: Pose, rng: np.random.Generator) -> Array:
        goal = peer.goal(pose)
        return np.concatenate([peer.ik.ik_full(goal, robot.home, angle) for angle in angles])

    return answers


class _SameLinks(Ssik):
    """ssik's model of an arm, whose limits may be rounded otherwise: ours are given to it."""

    def _check(self) -> None:
        self.disagreement()


def ssik_charts(robot: Robot, arm: str) -> Source:
    """ssik's curves, and where the limits of the joints cut them: places on every arc that is left."""
    peer = _SameLinks(robot, arm=SSIK_ARMS[arm])
    limits = np.stack([robot.lower, robot.upper], 1)
    share = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, ARC_POINTS))

    def answers(pose: Pose, rng: np.random.Generator) -> Array:
        charts = peer.arm.self_motion(peer.goal(pose)).charts
        parts = [chart.q(a + share * (b - a)) for chart in charts for a, b in chart.in_limits(limits)]
        return _into(robot, np.concatenate([np.empty((0, robot.dof)), *parts]))

    return answers


def ssik_answers(robot: Robot, arm: str) -> Source:
    """All that ssik has for six joints, at every whole turn."""
    peer = _SameLinks(robot, arm=SSIK_ARMS[arm])
    return lambda pose, rng: peer.solve_all(peer.goal(pose))


def eaik_answers(robot: Robot) -> Source:
    """All that EAIK has for six joints, exact ones only."""
    from eaik.pybindings import EAIK

    if robot.dof != 6:
        raise HybridIKError("used here for six joints")
    arm = EAIK.Robot(*axes_and_offsets(robot), [], True)

    def answers(pose: Pose, rng: np.random.Generator) -> Array:
        found = arm.calculate_IK(pose.matrix())
        return turned(robot, np.array(found.Q).reshape(-1, robot.dof)[~np.array(found.is_LS, bool)])

    return answers


def refined_starts(robot: Robot, n: int, refiner: Refiner) -> Source:
    """What uniform random starts lead to."""

    def answers(pose: Pose, rng: np.random.Generator) -> Array:
        result = refiner.refine(pose, uniform_joints(robot, n, rng))
        return np.asarray(result.q[result.success])

    return answers


def turned(robot: Robot, q: Array) -> Array:
    """Answers `(n, dof)` at every whole turn of each hinge that is within the limits."""
    for j in np.flatnonzero(robot.chain.hinges):
        least = np.mod(q[:, j] - robot.lower[j] + BARELY, TURN) + robot.lower[j] - BARELY
        parts = []
        while (inside := least <= robot.upper[j] + BARELY).any():
            q, least = q[inside], least[inside]
            parts.append(np.concatenate([q[:, :j], least[:, None], q[:, j + 1 :]], 1))
            least = least + TURN
        q = np.concatenate([np.empty((0, robot.dof)), *parts])
    return q


def _into(robot: Robot, q: Array) -> Array:
    """Angles moved by whole turns to where they are nearest to the middle of their ranges."""
    middle = 0.5 * (robot.lower + robot.upper)
    return np.asarray(q - TURN * np.round((q - middle) / TURN))


def verified(robot: Robot, pose: Pose, q: Array) -> Array:
    """Those of some joints that reach the pose within the limits; those that nearly do are polished first."""
    q = q[np.isfinite(q).all(-1)]
    inside = np.clip(q, robot.lower, robot.upper)
    q = inside[np.abs(inside - q).max(-1, initial=0.0) <= BARELY]
    exact = judge(robot, pose, q).meets(EXACT)
    again = np.clip(polished(robot, pose, q[~exact]), robot.lower, robot.upper)
    return np.concatenate([q[exact], again[judge(robot, pose, again).meets(EXACT)]])


def polished(robot: Robot, pose: Pose, q: Array) -> Array:
    """After Newton steps by MuJoCo's Jacobians."""
    return correct(robot, pose, q, np.zeros_like(q))[0]


def known_answers(
    robot: Robot, poses: Pose, sources: dict[str, Source], rngs: list[np.random.Generator]
) -> list[Known]:
    """Everything that the sources know of poses `(m,)`; the pieces of all poses are followed together."""
    answers, origin = [], []
    for i, rng in enumerate(rngs):
        parts = [verified(robot, poses[i], source(poses[i], rng)) for source in sources.values()]
        answers.append(np.concatenate(parts))
        origin.append(np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
    if robot.dof != 7:
        return [_points(robot, poses[i], q, source) for i, (q, source) in enumerate(zip(answers, origin, strict=True))]
    curves = _followed(robot, poses, answers)
    return [_with(*parts, len(sources)) for parts in zip(answers, origin, curves, strict=True)]


def _followed(robot: Robot, poses: Pose, answers: list[Array]) -> list[list[Curve]]:
    """The curves through the answers of each pose, to the limits that end them."""
    curves: list[list[Curve]] = [[] for _ in answers]
    left = {i: q for i, q in enumerate(answers) if len(q)}
    while left:
        through = np.stack([q[0] for q in left.values()])
        for i, curve in zip(list(left), follow(robot, poses[np.array(list(left))], through), strict=True):
            curves[i].append(curve)
            left[i] = left[i][cKDTree(curve.even_points(FINE)).query(left[i], distance_upper_bound=APART)[0] > APART]
        left = {i: q for i, q in left.items() if len(q)}
    return curves


def _with(q: Array, source: NDArray[np.intp], curves: list[Curve], n_sources: int) -> Known:
    points = [curve.q for curve in curves]
    n = [len(part) for part in points]
    piece = np.concatenate([np.full(len(q), -1), np.repeat(np.arange(len(n)), n)])
    lengths = np.array([np.linalg.norm(np.subtract(*curve.ends), axis=-1).sum() for curve in curves])
    origin = np.concatenate([source, np.full(sum(n), n_sources)])
    return Known(np.concatenate([q, *points]), origin, piece, lengths)


def _points(robot: Robot, pose: Pose, q: Array, source: NDArray[np.intp]) -> Known:
    """Six joints: every distinct answer is a piece."""
    first = thin(q, SAME)
    exact = polished(robot, pose, q[first])
    kept = thin(exact, SAME)
    pieces = exact[kept]
    q = np.concatenate([q, pieces])
    piece = np.concatenate([np.full(len(source), -1), np.arange(len(pieces))])
    origin = np.concatenate([source, np.full(len(pieces), source.max(initial=-1) + 1)])
    return Known(q, origin, piece, np.zeros(len(pieces)))
