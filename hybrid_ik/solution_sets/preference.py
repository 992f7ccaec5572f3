"""The best answer of a solution set, along its curves, by what a user prefers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kinematics import tip_jacobian
from hybrid_ik.solution_sets.solution_set import SolutionSet

Array = NDArray[np.float64]
Preference = Literal["limits", "manipulability"] | ArrayLike | Callable[[Array], Array]

CANDIDATES = 8  # the cheapest points, which are looked at closely
PARTS = 8  # of a bracket on both sides of each of them
ROUNDS, NARROWER = 10, 4.0  # in every round the bracket is so much narrower: 1e-6 of a spacing in the end


def preferred(answers: SolutionSet, chain: Chain, n_rows: int, prefer: Preference) -> Array:
    """The answer `(dof,)` that costs least, of a set that is not empty; poses fix so many numbers, 6 or 3."""
    if callable(prefer):
        return _cheapest(answers, prefer)
    if isinstance(prefer, str):
        return _cheapest(answers, lambda q: COSTS[prefer](chain, n_rows, q))
    return answers.nearest(prefer)


def check_preference(prefer: Preference, dof: int) -> None:
    """Refuses what is neither a name, nor joints `(dof,)`, nor a function."""
    if callable(prefer) or (isinstance(prefer, str) and prefer in COSTS):
        return
    try:
        joints = np.asarray(prefer, dtype=float)
        wrong = joints.shape != (dof,) or not np.isfinite(joints).all()
    except (TypeError, ValueError):
        wrong = True
    if wrong:
        names = ", ".join(map(repr, COSTS))
        raise InvalidInputError(f"prefer: expected {names}, {dof} joints, or a function of joints, got {prefer!r}")


def _from_limits(chain: Chain, n_rows: int, q: Array) -> Array:
    """How near the joint that is nearest to a limit is to it: 0 in the middle of its range, 1 on the limit."""
    half = 0.5 * (chain.upper - chain.lower)
    limited = np.isfinite(half)
    off = (q - chain.middle)[:, limited] / half[limited]
    return np.asarray(np.abs(off).max(1, initial=0.0))


def _manipulability(chain: Chain, n_rows: int, q: Array) -> Array:
    """-sqrt(det(J J^T)), Yoshikawa (1985), "Manipulability of robotic mechanisms"; |det J| with six joints."""
    J = tip_jacobian(chain, q)[:, :n_rows]
    return np.asarray(-np.prod(np.linalg.svd(J, compute_uv=False), axis=-1))


COSTS: dict[str, Callable[[Chain, int, Array], Array]] = {"limits": _from_limits, "manipulability": _manipulability}


def _cheapest(answers: SolutionSet, cost: Callable[[Array], Array]) -> Array:
    """The cheapest of the points, and of what lies between them along the curves."""
    best, least = answers.q, _checked(cost, answers.q)
    point = np.argsort(least, kind="stable")[:CANDIDATES]
    offset, width = np.zeros(len(point)), 1.0
    for _ in range(ROUNDS if answers.length > 0 else 0):
        near = offset[:, None] + width * np.linspace(-1.0, 1.0, 2 * PARTS + 1)
        q = answers.along(point, near)
        values = _checked(cost, q.reshape(-1, q.shape[-1])).reshape(near.shape)
        own, k = np.arange(len(point)), np.argmin(values, axis=1)
        offset, width = near[own, k], width / NARROWER
        best, least = np.concatenate([best, q[own, k]]), np.concatenate([least, values[own, k]])
    return np.asarray(best[np.argmin(least)])


def _checked(cost: Callable[[Array], Array], q: Array) -> Array:
    returned = cost(q)
    try:
        values = np.asarray(returned, dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (len(q),) or np.isnan(values).any():
        what = "NaN" if values.shape == (len(q),) else f"shape {np.shape(returned)}"
        raise InvalidInputError(
            f"prefer: the function was given joints {q.shape} and must return a cost for each, ({len(q)},), none of "
            f"them NaN; it returned {what}"
        )
    return values
