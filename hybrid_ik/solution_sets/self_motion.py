"""Gliding along the null space, with the tool at rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kinematics import tip_jacobian
from hybrid_ik.solution_sets.following import CurveFollower

Array = NDArray[np.float64]

SHORTEST = 1e-4  # rad, or m: where a step of this length does not succeed, the motion ends
STRAIGHT = 0.9  # least cosine between the directions of a step and of the one before it


def glide(
    follower: CurveFollower, q: Array, length: float, spacing: float, towards: Array, tolerance: tuple[float, float]
) -> Array:
    """See `HybridSolver.self_motion`."""
    target, chain = follower.target_of(q[None]), follower.chain
    points, travelled, step = [q], 0.0, spacing
    tangent = _direction(follower, q, towards)
    while travelled < length - 1e-12:
        step = min(step, length - travelled)
        ahead = (points[-1] + step * tangent)[None]
        settled = follower.settle_within(target, ahead, tangent[None], tolerance)
        new, way = settled.q[0], np.linalg.norm(settled.q[0] - points[-1])
        if settled.success[0] and settled.tangent[0] @ tangent > STRAIGHT and 0.5 * step < way < 1.5 * step:
            points.append(new)
            tangent, travelled, step = settled.tangent[0], travelled + float(way), min(spacing, 2.0 * step)
        elif settled.success[0] and _on_limit(new, chain.lower, chain.upper) and way < 1.5 * step:
            return np.array([*points, new] if way > SHORTEST else points)
        elif step < SHORTEST:
            return np.array(points)
        else:
            step *= 0.5
    return np.array(points)


def _direction(follower: CurveFollower, q: Array, towards: Array) -> Array:
    """The unit vector of the null space that is nearest to `towards`."""
    rows = follower.n_rows
    null = np.linalg.svd(tip_jacobian(follower.chain, q[None])[0, :rows])[2][rows:]
    way = (null @ towards) @ null
    size = np.linalg.norm(way)
    if size < 1e-6 * np.linalg.norm(towards):
        raise InvalidInputError(
            f"self_motion: no motion that leaves the tool at rest goes towards {towards.tolist()}: the arm has "
            f"{len(null)} joints to spare here; towards may be any direction in joint space that is not across these"
        )
    return np.asarray(way / size)


def _on_limit(q: Array, lower: Array, upper: Array) -> bool:
    return bool(((q == lower) | (q == upper)).any())
