"""How whole a solution set is, and how clean: measured against answers that others have found."""

from __future__ import annotations

from typing import Any

import numpy as np
from metrics import Mask, judge, thin
from peer_adaptors import Array
from scipy.spatial import cKDTree
from whole_set_oracles import BARELY, Known, polished

from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot
from hybrid_ik.solution_sets.solution_set import Piece, SolutionSet

ON = 1e-3  # rad: an answer this near to a set belongs to it
COVERED = 0.05  # rad: from an answer to a point of the set
SHOWN = 3  # answers of a pose that are written down where they are missing
FINE = 1.6e-3  # rad: between the points that stand for the curves of a set; less than twice `ON`


def compare(robot: Robot, pose: Pose, found: SolutionSet, known: Known, names: list[str]) -> dict[str, Any]:
    """What a set lacks of the known answers."""
    far, blurred, distance = lacking(robot, pose, found, known.q)
    uncovered = cKDTree(found.q).query(known.q)[0] > COVERED if len(found) else np.ones(len(known.q), bool)
    lost = lost_pieces(known, far)
    count = lambda mask: {name: int(mask[known.source == i].sum()) for i, name in enumerate([*names, "pieces"])}  # noqa: E731
    return {
        "answers": count(np.ones(len(known.q), bool)),
        "far": count(far),
        "blurred": count(blurred),
        "uncovered": count(uncovered),
        "oracle_pieces": len(known.lengths),
        "lost_pieces": len(lost),
        "lost_lengths": known.lengths[lost],
        "missing": found.missing,
        "misses": _misses(robot, known, far, distance, [*names, "pieces"]),
    }


def lost_pieces(known: Known, far: Mask) -> list[int]:
    """Those most of whose points are not on the set."""
    return [k for k in range(len(known.lengths)) if far[known.piece == k].mean() > 0.5]


def lacking(robot: Robot, pose: Pose, found: SolutionSet, q: Array) -> tuple[Mask, Mask, Array]:
    """Which answers `(n, dof)` are not on the set, which are blurred, and distances: upper bounds for the near ones.

    Fine points on its curves settle nearly all; only where these are far is the nearest point of the set looked for.
    An answer within a micrometre can be off its own curve near singular poses: those are polished. It is blurred, and
    not missing, where that takes it beyond a limit: it is one by the tolerance alone.
    """
    if not len(found):
        return np.ones(len(q), bool), np.zeros(len(q), bool), np.full(len(q), np.inf)
    distance, blurred = (
        cKDTree(np.concatenate([fine_points(piece) for piece in found])).query(q)[0],
        np.zeros(len(q), bool),
    )
    far = np.flatnonzero(distance > ON)
    if len(far):
        distance[far] = found.distance(q[far])
        far = far[distance[far] > ON]
        exact = polished(robot, pose, q[far])
        distance[far] = np.minimum(distance[far], found.distance(exact))
        inside = ((exact >= robot.lower - BARELY) & (exact <= robot.upper + BARELY)).all(-1)
        blurred[far] = (distance[far] > ON) & ~inside & (distance[far] < COVERED)
    return (distance > ON) & ~blurred, blurred, distance


def fine_points(piece: Piece) -> Array:
    """Points of a piece, `FINE` apart."""
    segments = piece.segments
    if piece.length == 0 or not len(segments.q0):
        return piece.q
    n = max(2, int(np.ceil(segments.length.max() / FINE)))
    share, segment = np.tile(np.arange(n + 1) / n, len(segments.q0)), np.repeat(np.arange(len(segments.q0)), n + 1)
    return segments.at(segment, share)[0]


def _misses(robot: Robot, known: Known, far: Array, distance: Array, names: list[str]) -> list[dict[str, Any]]:
    rows = np.flatnonzero(far)
    rows = rows[np.argsort(-distance[rows])][:SHOWN]
    sigma = np.linalg.svd(robot.jacobian(known.q[rows]), compute_uv=False)[:, -1] if len(rows) else []
    return [
        {
            "from": names[known.source[row]],
            "distance": distance[row],
            "least_singular_value": s,
            "piece_length": known.lengths[known.piece[row]] if known.piece[row] >= 0 else None,
            "q": known.q[row],
        }
        for row, s in zip(rows, sigma, strict=True)
    ]


def cleanness(robot: Robot, pose: Pose, found: SolutionSet) -> dict[str, Any]:
    """Errors by MuJoCo, points outside the limits, gaps between neighbours, and pieces that are there twice."""
    verdict = judge(robot, pose, found.q)
    gaps = [np.linalg.norm(part.q1 - part.q0, axis=-1).max(initial=0.0) for part in (p.segments for p in found)]
    return {
        "pieces": len(found),
        "points": len(found.q),
        "length": found.length,
        "seeds": found.n_seeds,
        "position_error": verdict.position_error.max(initial=0.0),
        "orientation_error": verdict.orientation_error.max(initial=0.0),
        "outside": int((~verdict.inside_limits).sum()),
        "gap": max(gaps, default=0.0),
        "twice": twice(found),
    }


def twice(found: SolutionSet) -> int:
    """Pieces all points of which are nearer than `ON` to other pieces; arcs may pass near each other, or end so."""
    fine = [fine_points(piece) for piece in found]
    count = 0
    for k, piece in enumerate(found):
        others = [part for i, part in enumerate(fine) if i != k]
        count += bool(others) and bool((cKDTree(np.concatenate(others)).query(piece.q)[0] < ON).all())
    return count


def branches(q: Array) -> int:
    """How many of the answers `(n, dof)` differ by more than whole turns."""
    return len(thin(np.concatenate([np.cos(q), np.sin(q)], -1), ON))
