"""Paths of poses along which a continuous path of joints leads: who finds one? `python benchmarks/tracking.py`.

Paths are made from joints: a spline through random ones inside the limits, so there is a way without a jump. `track`
looks at the whole path; beside it stand followers, which solve each pose near their last answer: our own
`solve(near=)`, TRAC-IK, and ssik, both by its answers nearest to the last one and by its own tracker. A path is broken
where a joint moves farther than `max_step` from one pose to the next, or where there is no answer, by our forward
kinematics. The followers of other people need the environment of `make peers`, the iiwa14 `robot_descriptions`, or the
folder HYBRID_IK_ROBOTS of models.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from metrics import judge
from numpy.typing import NDArray
from peer_adaptors import Ours, Peer
from peer_closed_forms import Ssik
from peer_numeric import TracIK
from peer_rows import PeerRow, make_peers
from peers import MILLIMETRE, settle
from problems import STREAM
from record import RESULTS, cores, picture_of, print_table, record, restart_in_one_thread, write_json
from tracking_picture import draw_path

from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

Array = NDArray[np.float64]

KNOTS = 6  # random joints that a path goes through
SHARE = 0.9  # of half a range within which they lie
INSIDE = 0.98  # of half a range that the spline between them keeps to
LIMIT_WEIGHT = 1e-3  # of the cost, as `track` has it
FOLLOWERS = {
    "near": PeerRow("hybrid_ik, solve(near=)", Ours, "near=the last answer"),
    "trac_ik": PeerRow("TRAC-IK", TracIK, "5 ms, epsilon 1e-5, Speed, seeded with the last answer"),
}
SSIK = {"panda": "franka_panda_ik", "iiwa14": "iiwa14_ik"}


class SsikTracker(Ssik):
    """ssik's `Tracker`: it stays on its branch, with one number held that says where on it."""

    tracker: Any = None

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """The next pose after the last one, or the first one of another path."""
        start = self.robot.home if q_start is None else q_start
        if self.tracker is None or not np.array_equal(self.tracker.q, start):
            self.tracker = self.arm.tracker(start)
        step = self.tracker.update(goal)
        return None if step.reason else np.array(step.q)


@dataclass(frozen=True)
class Options:
    """What is followed."""

    paths: int = 200
    """Random paths of each arm."""
    poses: int = 500
    """Of each path."""
    max_step: float = 0.3
    """How far a joint may move from one pose to the next [rad]."""
    robots: tuple[str, ...] = ("panda", "iiwa14")
    """Arms."""
    seed: int = 0
    """Of the paths."""
    json: Path = RESULTS / "tracking.json"
    """Where to save the results; `picture_of` places the picture."""
    quick: bool = False
    """Two short paths of the Panda, to see that it runs; the numbers mean nothing."""


@dataclass(frozen=True)
class Followed:
    """What became of one path."""

    q: Array
    """Joints `(n, dof)` up to where it broke, or all."""
    seconds: float
    whole: bool
    """Whether it came through."""


def make_robot(name: str) -> Robot:
    """The shipped Panda, or the iiwa14 of MuJoCo Menagerie."""
    if name != "iiwa14":
        return Robot(name)
    folder = os.environ.get("HYBRID_IK_ROBOTS")
    return Robot(str(Path(folder, "kuka_iiwa_14", "iiwa14.xml")) if folder else "iiwa14_mj_description")


def joint_path(robot: Robot, n: int, seed: int, number: int) -> Array:
    """Joints `(n, dof)` along a smooth path inside the limits."""
    from scipy.interpolate import CubicSpline

    rng = np.random.default_rng([STREAM, 90, seed, number])
    knots = CubicSpline(np.linspace(0.0, 1.0, KNOTS), rng.uniform(-SHARE, SHARE, (KNOTS, robot.dof)))
    off = knots(np.linspace(0.0, 1.0, n))
    off *= np.minimum(1.0, INSIDE / np.abs(off).max(0))
    return 0.5 * (robot.lower + robot.upper) + 0.5 * (robot.upper - robot.lower) * off


def path_cost(robot: Robot, q: Array) -> float:
    """What `track` makes least: squared steps, and weighted distances from the middle of the ranges."""
    off = (q - 0.5 * (robot.lower + robot.upper)) / (0.5 * (robot.upper - robot.lower))
    return float((np.diff(q, axis=0) ** 2).sum() + LIMIT_WEIGHT * (off**2).sum())


def track(solver: HybridSolver, max_step: float, poses: Pose, start: Array) -> Followed:
    """All poses at once."""
    begin = time.perf_counter()
    path = solver.track(poses, start=start, max_step=max_step, limit_weight=LIMIT_WEIGHT)
    seconds = time.perf_counter() - begin
    at = min([len(poses), *(jump.waypoint for jump in path.jumps), *np.flatnonzero(~path.success).tolist()])
    return _judged(solver.robot, poses, start, max_step, Followed(path.q[:at], seconds, path.continuous))


def follow(peer: Peer, max_step: float, poses: Pose, start: Array) -> Followed:
    """Each pose near the last answer, until that is far away or there is none."""
    q, seconds, last = [], 0.0, start
    for i in range(len(poses)):
        goal = peer.goal(poses[i])
        begin = time.perf_counter()
        found = peer.solve(goal, last)
        seconds += time.perf_counter() - begin
        if found is None:
            break
        found = settle(peer.robot, np.array(found, dtype=float))
        if not np.abs(found - last).max() <= max_step:
            break
        q.append(found)
        last = found
    done = np.array(q).reshape(-1, peer.robot.dof)
    return _judged(peer.robot, poses, start, max_step, Followed(done, seconds, len(q) == len(poses)))


def _judged(robot: Robot, poses: Pose, start: Array, max_step: float, found: Followed) -> Followed:
    """Broken where an answer misses its pose, and where a step is too long, whatever was said."""
    good = judge(robot, poses[: len(found.q)], found.q).meets(MILLIMETRE) if len(found.q) else np.ones(0, bool)
    steps = np.abs(np.diff(found.q, axis=0, prepend=start[None]))
    wrong = np.flatnonzero(~good | (steps > max_step + 1e-6).any(1))
    return replace(found, q=found.q[: wrong[0]], whole=False) if len(wrong) else found


def measure(name: str, options: Options, core: int | None = 1) -> dict[str, Any]:
    """Every follower on every path of an arm, in turns; all of it on one core."""
    robot = make_robot(name)
    followers = {**FOLLOWERS}
    for row, kind, label in (("ssik", Ssik, "ssik, nearest answer"), ("ssik_tracker", SsikTracker, "ssik, Tracker")):
        followers[row] = PeerRow(label, partial(kind, arm=SSIK.get(name, name)), "as its documentation has it")
    peers, _, left_out = make_peers(followers, robot, options.seed)
    solver = HybridSolver(robot)
    work: dict[str, Callable[[Pose, Array], Followed]] = {"track": partial(track, solver, options.max_step)}
    work |= {row: partial(follow, peer, options.max_step) for row, peer in peers.items()}
    labels = {"track": "hybrid_ik, track", **{row: followers[row].label for row in peers}}
    found: dict[str, list[Followed]] = {row: [] for row in work}
    costs = []
    with cores(core):
        warm = joint_path(robot, 50, options.seed, -1 % 2**31)
        for run in work.values():
            run(robot.forward_kinematics(warm), warm[0])
        for number in range(options.paths):
            q = joint_path(robot, options.poses, options.seed, number)
            poses = robot.forward_kinematics(q)
            costs.append(path_cost(robot, q))
            for row, run in work.items():
                found[row].append(run(poses, q[0]))
    return {
        "robot": name,
        "rows": [_row(robot, row, labels[row], found[row], np.array(costs), options) for row in work],
        "versions": {peer.package: peer.version for peer in peers.values()},
        "left_out": {row: {"label": followers[row].label, "reason": why} for row, why in left_out.items()},
    }


def _row(robot: Robot, name: str, label: str, found: list[Followed], costs: Array, options: Options) -> dict[str, Any]:
    whole = [i for i, path in enumerate(found) if path.whole]
    seconds = np.array([found[i].seconds for i in whole])
    ratio = np.array([path_cost(robot, found[i].q) / costs[i] for i in whole])
    tried = sum(min(len(path.q) + 1, options.poses) if name != "track" else options.poses for path in found)
    return {
        "name": name,
        "label": label,
        "n": len(found),
        "whole": len(whole),
        "broken": [i for i, path in enumerate(found) if not path.whole],
        "median_s": np.median(seconds) if whole else None,
        "p90_s": np.percentile(seconds, 90) if whole else None,
        "s_per_pose": sum(path.seconds for path in found) / tried,
        "largest_step": max((np.abs(np.diff(found[i].q, axis=0)).max() for i in whole), default=None),
        "cost_ratio_median": np.median(ratio) if whole else None,
        "cost_ratio_max": ratio.max() if whole else None,
        "poses_before_break": np.median([len(path.q) for path in found if not path.whole] or [np.nan]),
    }


def _line(robot: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "arm": robot,
        "follower": row["label"],
        "paths": row["n"],
        "without a jump": row["whole"],
        "ms a path": row["median_s"] and 1e3 * row["median_s"],
        "p90": row["p90_s"] and 1e3 * row["p90_s"],
        "us a pose": 1e6 * row["s_per_pose"],
        "largest step": row["largest_step"],
        "cost ratio": row["cost_ratio_median"],
        "poses before the break": row["poses_before_break"],
    }


def draw(result: dict[str, Any], options: Options, path: Path) -> None:
    """The first path of the first arm that `solve(near=)` breaks and `track` does not."""
    rows = {row["name"]: row for row in result["rows"]}
    numbers = [i for i in rows["near"]["broken"] if i not in rows["track"]["broken"]] or [0]
    robot = make_robot(result["robot"])
    q = joint_path(robot, options.poses, options.seed, numbers[0])
    poses, solver = robot.forward_kinematics(q), HybridSolver(robot)
    tracked = track(solver, options.max_step, poses, q[0]).q
    greedy = follow(Ours(robot, options.seed), options.max_step, poses, q[0]).q
    draw_path(solver, poses, tracked, greedy, path)


def main() -> None:
    """Reads the options, measures, prints, saves and draws."""
    options = tyro.cli(Options, description=__doc__)
    if options.quick:
        options = replace(options, paths=2, poses=60, robots=("panda",), max_step=1.0)
    results = [measure(name, options) for name in options.robots]
    print_table(
        f"Paths of {options.poses} poses, steps of {options.max_step:g} at most",
        [_line(result["robot"], row) for result in results for row in result["rows"]],
    )
    for result in results:
        for about in result["left_out"].values():
            print(f"left out: {about['label']} ({result['robot']}): {about['reason']}")
    chosen = {"poses": options.poses, "paths": options.paths, "max_step": options.max_step, "seed": options.seed}
    write_json(options.json, {**record(), "quick": options.quick, "options": chosen, "arms": results})
    print(f"\nsaved {options.json}")
    draw(results[0], options, picture_of(options.json))


if __name__ == "__main__":
    restart_in_one_thread()
    main()
