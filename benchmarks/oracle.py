"""The whole solution sets that samplers are measured against; `python benchmarks/oracle.py` stores those of the Panda.

One spare joint: curves, followed from refined random starts until thousands of further answers lie on what is known.
Other arms: the refined random starts themselves, thinned, and grouped into pieces. There a piece that attracts fewer
than about one start in `N_STARTS` is missed, pieces that pass each other within `LINK` count as one, and points are
even in space, not in volume.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from metrics import EXACT, SolutionPoints, judge, pieces, thin
from numpy.typing import NDArray
from problems import STREAM, make_problems, uniform_joints
from record import RESULTS, record
from solution_curves import Curve, correct, follow, unknown

from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]

STORED = RESULTS / "oracle_panda.npz"
SPACING = 0.06  # rad, or m, between neighbouring points
QUIET = 20_000  # answers in a row that add no piece, before a set counts as complete
ROUND = 1024  # starts of a pose at a time
NEAR = 0.02  # rad, or m: an answer this near to a curve lies on it
N_STARTS = 60_000  # for arms whose sets are no curves
LINK = 0.15  # rad, or m: nearer points belong to one piece there; more than twice the spacing


@dataclass(frozen=True)
class Options:
    """What is stored."""

    n_poses: int = 200
    """Reachable poses of the Panda, the first of the seed."""
    seed: int = 0
    """Seed of the poses and of the starts."""
    quiet: int = QUIET
    """Answers in a row that add no piece."""
    out: Path = STORED
    """File to write."""


def solution_sets(robot: Robot, poses: Pose, *, effort: float = 1.0, seed: int = 0) -> list[SolutionPoints]:
    """The solution sets of poses `(m,)` as points, verified by MuJoCo's forward kinematics.

    Args:
        robot: the arm.
        poses: the poses.
        effort: factor on `QUIET`, or on `N_STARTS`; below 1 where the numbers need not mean much.
        seed: of the starts.
    """
    rng = np.random.default_rng([STREAM, 77, seed])
    if robot.dof == 7:
        curves = solution_curves(robot, poses, int(effort * QUIET), rng)
        return [curve_points(robot, poses[i], found) for i, found in enumerate(curves)]
    n_starts = int(effort * N_STARTS)
    return [_thinned_points(robot, poses[i], uniform_joints(robot, n_starts, rng)) for i in range(len(poses))]


def solution_curves(robot: Robot, poses: Pose, quiet: int, rng: np.random.Generator) -> list[list[Curve]]:
    """All curves of each pose, for an arm with one spare joint: none is new in the last `quiet` answers."""
    refiner = LaneRefiner(robot.chain)
    curves: list[list[Curve]] = [[] for _ in range(len(poses))]
    since_new = np.zeros(len(poses), int)
    while (busy := np.flatnonzero(since_new < quiet)).size:
        q0 = uniform_joints(robot, busy.size * ROUND, rng).reshape(busy.size, ROUND, -1)
        result = refiner.refine(poses[busy], q0)
        answers = [q[good] for q, good in zip(result.q, result.success, strict=True)]
        # a pose that no start reaches would keep the loop going: its starts count as well
        since_new[busy] += [max(len(found), 1) for found in answers]
        since_new[_follow_new(robot, poses, busy, curves, answers)] = 0
    return curves


def _follow_new(
    robot: Robot, poses: Pose, rows: NDArray[np.intp], curves: list[list[Curve]], answers: list[Array]
) -> list[int]:
    """Adds the curves through the answers of poses `rows` that lie on none yet; says which poses got one."""
    grown: set[int] = set()
    left = dict(zip(rows.tolist(), answers, strict=True))
    while left := {i: new for i, q in left.items() if len(new := q[unknown(curves[i], q, NEAR)])}:
        through = np.stack([q[0] for q in left.values()])
        for i, curve in zip(left, follow(robot, poses[list(left)], through), strict=True):
            curves[i].append(curve)
        grown |= left.keys()
    return sorted(grown)


def curve_points(robot: Robot, pose: Pose, curves: list[Curve]) -> SolutionPoints:
    """The curves of one pose as verified points, each of which stands for about the same length."""
    parts = [curve.even_points(SPACING) for curve in curves]
    points = np.concatenate(parts) if parts else np.empty((0, robot.dof))
    piece = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    points, _, _ = correct(robot, pose, points, np.zeros_like(points))  # from the chords onto the curves
    exact = judge(robot, pose, points).meets(EXACT)
    return SolutionPoints(points[exact], piece[exact])


def _thinned_points(robot: Robot, pose: Pose, q0: Array) -> SolutionPoints:
    result = LaneRefiner(robot.chain).refine(pose, q0)
    found = result.q[result.success]
    points = found[thin(found, SPACING)]
    points = points[judge(robot, pose, points).meets(EXACT)]
    return SolutionPoints(points, pieces(points, LINK))


def save_sets(path: Path, poses: Pose, sets: list[SolutionPoints], about: dict[str, Any]) -> None:
    """Poses, points and pieces in one file of plain arrays, with JSON about them."""
    arrays = {
        "position": poses.position,
        "quaternion": poses.quaternion,
        "points": np.concatenate([s.points for s in sets]).astype(np.float32),
        "piece": np.concatenate([s.piece for s in sets]).astype(np.int16),
        "n_points": np.array([len(s.points) for s in sets]),
        "about": np.array(json.dumps(about)),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def load_sets(path: Path = STORED) -> tuple[Pose, list[SolutionPoints], dict[str, Any]]:
    """Poses, their solution sets, and what is known about them."""
    with np.load(path, allow_pickle=False) as file:
        ends = np.cumsum(file["n_points"])[:-1]
        parts = zip(np.split(file["points"].astype(float), ends), np.split(file["piece"], ends), strict=True)
        sets = [SolutionPoints(points, piece.astype(np.intp)) for points, piece in parts]
        return Pose(file["position"], file["quaternion"]), sets, json.loads(str(file["about"]))


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    robot = Robot("panda")
    poses = make_problems(robot, "reachable", options.n_poses, options.seed)
    curves = solution_curves(robot, poses, options.quiet, np.random.default_rng([STREAM, 77, options.seed]))
    sets = [curve_points(robot, poses[i], found) for i, found in enumerate(curves)]
    about = {
        **record(),
        "options": {**vars(options), "out": options.out.name},
        "spacing": SPACING,
        "pieces": [int(np.percentile([s.n_pieces for s in sets], p)) for p in (0, 10, 50, 90, 100)],
        "closed": int(sum(curve.closed for found in curves for curve in found)),
        "length_median": float(np.median([SPACING * len(s.points) for s in sets])),
    }
    save_sets(options.out, poses, sets, about)
    found = f"pieces (0, 10, 50, 90, 100 %) {about['pieces']}, median length {about['length_median']:.1f}"
    print(f"saved {options.out}: {found}")


if __name__ == "__main__":
    main()
