"""Our solver beside other people's, on the same poses, in one process and on one core: `compare.py --peers`.

Rows take turns in rounds. A peer is given each pose in the form that it takes; what it returns is judged by our forward
kinematics, at two criteria. Where it has no restarts of its own it is started anew from random joints, for up to 100 ms
a pose. A slow row gets as many poses as its share of the time allows, and the tables say how many.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from metrics import EXACT, Criterion, distinct, judge, spread
from numpy.typing import NDArray
from peer_adaptors import Array, Peer
from peer_rows import ALL_ANSWERS, OURS, ROWS, make_peers
from problems import KINDS, PATHS, make_problems, smooth_path
from record import print_table

from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

MILLIMETRE = Criterion(1e-3, float(np.radians(0.1)))  # what comparisons of solvers are often made at
ON_LIMIT = 1e-6  # rad, or m: joints this far beyond a limit are moved onto it before they are judged
JUMP = 0.2  # rad: a step of a joint along the path that is no longer smooth; the wide path itself moves by 0.03 at most
BATCH = 1000  # poses of a batch
ALL_SHARE = 0.2  # of the poses, for all answers


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    poses: int
    """Of each set."""
    path: int
    """Steps that the path is made of: the fewer, the longer they are."""
    steps: int
    """That are followed."""
    seconds: float
    """That a row may take for each set, all rounds together."""
    rounds: int
    seed: int


@dataclass
class Turns:
    """What one row has brought on one set of poses: joints, NaN where it said no, with times and rounds."""

    index: list[int] = field(default_factory=list)
    q: list[Array] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    turn: list[int] = field(default_factory=list)
    raised: int = 0

    def add(self, index: int, q: Array | None, seconds: float, turn: int, dof: int) -> None:
        """One more pose."""
        self.index.append(index)
        self.q.append(np.full(dof, np.nan) if q is None else np.array(q, dtype=float))
        self.seconds.append(seconds)
        self.turn.append(turn)


def measure_peers(robot: Robot, plan: Plan, names: list[str]) -> dict[str, Any]:
    """All tables of the comparison, as plain data."""
    everyone = {name: row for name, row in ROWS.items() if name in names}
    peers, disagreements, left_out = make_peers(everyone, robot, plan.seed)
    result: dict[str, Any] = {
        "peers": [_about(name, peers[name], disagreements[name]) for name in peers],
        "left_out": {name: {"label": ROWS[name].label, "reason": reason} for name, reason in left_out.items()},
        "criteria": {"1 mm": vars(MILLIMETRE), "1 um": vars(EXACT)},
        "sets": {},
    }
    for kind in KINDS:
        poses = make_problems(robot, kind, plan.poses, plan.seed)
        turns = _take_turns(peers, plan, lambda peer, name, turn, t, p=poses: _solve_slice(peer, p, plan, turn, t))
        result["sets"][kind] = [_summary(robot, poses, name, turns) for name in peers]
    result["paths"] = {kind: _follow_path(robot, kind, peers, plan) for kind in PATHS}
    result["batch"] = [row for name, peer in peers.items() if (row := _batch(robot, name, peer, plan))]
    result["all_answers"] = _all_answers(robot, plan, names)
    return result


def _about(name: str, peer: Peer, disagreement: float | None) -> dict[str, Any]:
    row = ROWS[name]
    return {
        "name": name,
        "label": row.label,
        "package": peer.package,
        "version": peer.version,
        "settings": row.settings,
        "restarts": "its own" if peer.restarts else "ours",
        "fk_difference": disagreement,
    }


def _take_turns(peers: dict[str, Peer], plan: Plan, work: Callable[[Peer, str, int, Turns], None]) -> dict[str, Turns]:
    turns = {name: Turns() for name in peers}
    for turn in range(plan.rounds):
        for name, peer in peers.items():
            work(peer, name, turn, turns[name])
    return turns


def _solve_slice(peer: Peer, poses: Pose, plan: Plan, turn: int, turns: Turns) -> None:
    """This round's part of the poses, or as many of them as there is time for."""
    end = time.perf_counter() + plan.seconds / plan.rounds
    part = np.array_split(np.arange(len(poses)), plan.rounds)[turn]
    for position, i in enumerate(part):
        goal = peer.goal(poses[i])
        if position == 0:
            _timed(peer, goal, None, Turns())  # what the rows before it have pushed out of the caches comes back
        q, seconds = _timed(peer, goal, None, turns)
        turns.add(int(i), q, seconds, turn, peer.robot.dof)
        if time.perf_counter() > end:
            break


def _timed(peer: Peer, goal: Any, q_start: Array | None, turns: Turns) -> tuple[Array | None, float]:
    """What a peer raises on a pose is counted, and is no answer."""
    start = time.perf_counter()
    try:
        q = peer.solve(goal, q_start)
    except Exception:
        q = None
        turns.raised += 1
    return q, time.perf_counter() - start


def settle(robot: Robot, q: Array) -> Array:
    """Joints a rounding beyond a limit (of single precision, of a quadratic program) moved onto it."""
    inside = np.clip(q, robot.lower, robot.upper)
    return np.where(np.abs(inside - q) <= ON_LIMIT, inside, q)


def _summary(robot: Robot, poses: Pose, name: str, everyone: dict[str, Turns]) -> dict[str, Any]:
    turns = everyone[name]
    q = settle(robot, np.array(turns.q).reshape(-1, robot.dof))
    return {
        "name": name,
        "label": ROWS[name].label,
        **_quality(robot, poses[np.array(turns.index, int)], q),
        **_speed(turns),
        "answers_per_second": float(_right(robot, poses[np.array(turns.index, int)], q).sum() / np.sum(turns.seconds)),
        "ratio": _ratio(turns, everyone[OURS]) if OURS in everyone else None,
    }


def _right(robot: Robot, poses: Pose, q: Array) -> NDArray[np.bool_]:
    return judge(robot, poses, q).meets(MILLIMETRE)


def _quality(robot: Robot, poses: Pose, q: Array) -> dict[str, Any]:
    """Shares of the poses; `wrong` are answers given that do not hold at a millimetre, or break the limits."""
    verdict, answered = judge(robot, poses, q), np.isfinite(q).all(-1)
    return {
        "n": len(q),
        "answered": answered.mean(),
        "success_1mm": verdict.meets(MILLIMETRE).mean(),
        "success_1um": verdict.meets(EXACT).mean(),
        "wrong": (answered & ~verdict.meets(MILLIMETRE)).mean(),
        "position_error": spread(verdict.position_error),
        "orientation_error": spread(verdict.orientation_error),
    }


def _speed(turns: Turns) -> dict[str, Any]:
    seconds = np.array(turns.seconds)
    return {"seconds": {**spread(seconds), "mean": seconds.mean()}, "raised": turns.raised}


def _ratio(theirs: Turns, ours: Turns) -> dict[str, float]:
    """Their median time over ours in each round, on the poses that both have solved: median, least and largest."""
    our_time = dict(zip(ours.index, ours.seconds, strict=True))
    values = []
    for turn in sorted(set(theirs.turn)):
        both = [
            (s, our_time[i])
            for i, s, t in zip(theirs.index, theirs.seconds, theirs.turn, strict=True)
            if t == turn and i in our_time
        ]
        if both:
            their_median, our_median = np.median(np.array(both), axis=0)
            values.append(their_median / our_median)
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)} if values else {}


def _follow_path(robot: Robot, kind: str, peers: dict[str, Peer], plan: Plan) -> dict[str, Any]:
    """Every step starts from the answer before; where there is none, from the last one there was."""
    path = smooth_path(robot, kind, plan.path + 1, plan.seed)[: plan.steps + 1]
    poses = robot.forward_kinematics(path)
    able = {name: peer for name, peer in peers.items() if peer.takes_start}
    last = dict.fromkeys(able, path[0])

    def work(peer: Peer, name: str, turn: int, turns: Turns) -> None:
        end = time.perf_counter() + plan.seconds / plan.rounds
        first = len(turns.q) + 1
        for i in range(first, min(first + -(-plan.steps // plan.rounds), plan.steps + 1)):
            q, seconds = _timed(peer, peer.goal(poses[i]), last[name], turns)
            turns.add(i, q, seconds, turn, robot.dof)
            last[name] = last[name] if q is None else np.array(q, dtype=float)
            if time.perf_counter() > end:
                break

    turns = _take_turns(able, plan, work)
    rows = [_path_row(robot, path, poses, name, turns) for name in able]
    return {"steps": plan.path, "largest_step": np.abs(np.diff(path, axis=0)).max(), "jump": JUMP, "rows": rows}


def _path_row(robot: Robot, path: Array, poses: Pose, name: str, everyone: dict[str, Turns]) -> dict[str, Any]:
    row = _summary(robot, poses, name, everyone)
    q = np.concatenate([path[:1], np.array(everyone[name].q)])
    known = q[np.isfinite(q).all(-1)]
    moved = np.abs(np.diff(known, axis=0)).max(-1) if len(known) > 1 else np.zeros(1)
    return {**row, "largest_jump": moved.max(), "jumps": int((moved > JUMP).sum())}


def _batch(robot: Robot, name: str, peer: Peer, plan: Plan) -> dict[str, Any] | None:
    """Poses in one call, for those that take them; the best of some rounds."""
    poses = make_problems(robot, "reachable", min(plan.poses, BATCH), plan.seed)
    if peer.solve_batch(poses[:2]) is None:
        return None
    seconds = []
    for _ in range(max(1, plan.rounds // 2)):
        start = time.perf_counter()
        q = peer.solve_batch(poses)
        seconds.append(time.perf_counter() - start)
    quality = _quality(robot, poses, settle(robot, np.asarray(q)))
    return {"name": name, "label": ROWS[name].label, **quality, "poses_per_second": len(poses) / np.median(seconds)}


def _all_answers(robot: Robot, plan: Plan, names: list[str]) -> dict[str, Any]:
    """How many exact and distinct answers of a pose come, in what time; a row runs where its solver was asked for."""
    chosen = {name: row for name, row in ALL_ANSWERS.items() if name.split("_")[0] in {n.split("_")[0] for n in names}}
    peers, _, left_out = make_peers(chosen, robot, plan.seed)
    n = max(2, round(ALL_SHARE * plan.poses))
    poses = make_problems(robot, "reachable", n, plan.seed)
    found: dict[str, list[tuple[float, Array]]] = {name: [] for name in peers}
    for part in np.array_split(np.arange(n), plan.rounds):
        for name, peer in peers.items():
            for i in part:
                goal = peer.goal(poses[i])
                start = time.perf_counter()
                answers = peer.solve_all(goal)
                found[name].append((time.perf_counter() - start, np.asarray(answers)))
    return {
        "n_poses": n,
        "rows": [_all_row(robot, poses, name, found[name]) for name in peers],
        "left_out": {name: {"label": ALL_ANSWERS[name].label, "reason": why} for name, why in left_out.items()},
    }


def _all_row(robot: Robot, poses: Pose, name: str, found: list[tuple[float, Array]]) -> dict[str, Any]:
    seconds = np.array([time for time, _ in found])
    given = np.array([len(answers) for _, answers in found])
    exact = []
    for i, (_, answers) in enumerate(found):
        answers = settle(robot, answers.reshape(-1, robot.dof))
        good = judge(robot, poses[np.full(len(answers), i)], answers).meets(EXACT) if len(answers) else []
        exact.append(answers[good] if len(answers) else answers)
    apart = np.array([distinct(answers) for answers in exact])
    return {
        "name": name,
        "label": ALL_ANSWERS[name].label,
        "settings": ALL_ANSWERS[name].settings,
        "given_median": np.median(given),
        "wrong": 1 - sum(map(len, exact)) / max(1, given.sum()),
        "distinct_median": np.median(apart),
        "none": (apart == 0).mean(),
        "seconds": spread(seconds),
        "distinct_per_second": apart.sum() / seconds.sum(),
    }


def print_peers(result: dict[str, Any]) -> None:
    """Every table, and who is missing."""
    for kind, rows in result["sets"].items():
        print_table(f"{kind} poses", [_line(row) for row in rows])
    for kind, path in result["paths"].items():
        print_table(f"{kind} path, every step from the answer before", [_path_line(row) for row in path["rows"]])
    print_table("batches", [_batch_line(row) for row in result["batch"]])
    print_table("all answers", [_all_line(row) for row in result["all_answers"]["rows"]])
    for missing in (result["left_out"], result["all_answers"]["left_out"]):
        for name, about in missing.items():
            print(f"left out: {name} ({about['label']}): {about['reason']}")


def _line(row: dict[str, Any]) -> dict[str, Any]:
    seconds, ratio = row["seconds"], row["ratio"] or {}
    return {
        "solver": row["label"],
        "n": row["n"],
        "1 mm %": 100 * row["success_1mm"],
        "1 um %": 100 * row["success_1um"],
        "wrong %": 100 * row["wrong"],
        "ms p50": 1e3 * seconds["median"],
        "p99": 1e3 * seconds["p99"],
        "max": 1e3 * seconds["max"],
        "x ours": ratio.get("median"),
        "least": ratio.get("least"),
        "most": ratio.get("most"),
        "pos [m] p50": row["position_error"]["median"],
        "pos max": row["position_error"]["max"],
        "rot [rad] p50": row["orientation_error"]["median"],
        "rot max": row["orientation_error"]["max"],
        "right/s": row["answers_per_second"],
    }


def _path_line(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("solver", "n", "1 mm %", "1 um %", "wrong %", "ms p50", "p99", "max", "x ours", "least", "most")
    line = {key: value for key, value in _line(row).items() if key in kept}
    return {**line, "largest jump": row["largest_jump"], f"jumps > {JUMP:g}": row["jumps"]}


def _batch_line(row: dict[str, Any]) -> dict[str, Any]:
    line = {"solver": row["label"], "n": row["n"], "poses/s": row["poses_per_second"]}
    return {**line, "1 mm %": 100 * row["success_1mm"], "1 um %": 100 * row["success_1um"]}


def _all_line(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "solver": row["label"],
        "given": row["given_median"],
        "distinct": row["distinct_median"],
        "wrong %": 100 * row["wrong"],
        "no answer %": 100 * row["none"],
        "ms p50": 1e3 * row["seconds"]["median"],
        "p99": 1e3 * row["seconds"]["p99"],
        "distinct/s": row["distinct_per_second"],
    }
