"""Makes a path of joints as short as it can be without leaving the curves that it goes along."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.solution_sets.finder import SetFinder
from hybrid_ik.solution_sets.following import Settled

Array = NDArray[np.float64]

ROUNDS = 8
ENOUGH = 1e-3  # relative gain of a round below which there is no other


class Smoother:
    """Gauss and Newton's method on the places of all waypoints along their curves.

    Waypoint i may move along its curve, q_i + u_i t_i. The sum of squared steps and of squared, weighted distances from
    the middle of the ranges is quadratic in u, and its matrix has three diagonals. After each round the joints are
    brought back onto the curves; those that would leave the limits stay where they were.
    """

    def __init__(self, finder: SetFinder, middle: Array, stiffness: Array, max_step: float) -> None:
        self._chain, self._follower, self._tolerance = finder.chain, finder.follower, finder.tolerance
        self._middle, self._stiffness, self._max_step = middle, stiffness, max_step

    def smooth(self, targets: Array, q: Array, tangent: Array, before: Array | None) -> Array:
        """Joints `(n, dof)` after the joints `before` `(dof,)`, if these are given, which stay where they are."""
        first = self._onto(targets, q, tangent)
        q, tangent = (
            np.where(first.success[:, None], first.q, q),
            np.where(first.success[:, None], first.tangent, tangent),
        )
        cost, longest = self._cost(q, before), self._longest(q, before)
        fixed = ~first.success
        for _ in range(ROUNDS):
            u = np.where(fixed, 0.0, self._way(q, tangent, before, fixed))
            new = self._onto(targets, q + u[:, None] * tangent, tangent)
            fixed |= ~new.success
            new_q = np.where(fixed[:, None], q, new.q)
            new_cost, new_longest = self._cost(new_q, before), self._longest(new_q, before)
            if new_cost >= cost or new_longest > max(longest, self._max_step):
                break
            gain, q, cost, longest = cost - new_cost, new_q, new_cost, new_longest
            tangent = np.where(fixed[:, None], tangent, new.tangent)
            if gain < ENOUGH * cost:
                break
        return q

    def _way(self, q: Array, t: Array, before: Array | None, fixed: NDArray[np.bool_]) -> Array:
        """u that minimizes the quadratic model; 0 where a waypoint is fixed."""
        from scipy.linalg import solveh_banded

        steps = np.diff(q, axis=0)
        gradient = np.einsum("ij,ij->i", (q - self._middle) * self._stiffness, t)
        diagonal = t**2 @ self._stiffness
        gradient[1:] += np.einsum("ij,ij->i", steps, t[1:])
        gradient[:-1] -= np.einsum("ij,ij->i", steps, t[:-1])
        square = np.einsum("ij,ij->i", t, t)
        diagonal[1:] += square[1:]
        diagonal[:-1] += square[:-1]
        if before is not None:
            gradient[0] += (q[0] - before) @ t[0]
            diagonal[0] += square[0]
        beside = np.zeros(len(q))
        beside[1:] = -np.einsum("ij,ij->i", t[1:], t[:-1])
        diagonal[fixed], gradient[fixed] = 1.0, 0.0
        beside[fixed] = 0.0
        beside[1:][fixed[:-1]] = 0.0
        return np.asarray(solveh_banded(np.stack([beside, diagonal + 1e-9]), -gradient))

    def _onto(self, targets: Array, q: Array, tangent: Array) -> Settled:
        strict = 0.1 * self._tolerance[0], 0.1 * self._tolerance[1]
        return self._follower.settle_within(targets, q, tangent, strict)

    def _cost(self, q: Array, before: Array | None) -> float:
        steps = np.diff(q, axis=0) if before is None else np.diff(q, axis=0, prepend=before[None])
        return float((steps**2).sum() + ((q - self._middle) ** 2 @ self._stiffness).sum())

    def _longest(self, q: Array, before: Array | None) -> float:
        steps = np.diff(q, axis=0) if before is None else np.diff(q, axis=0, prepend=before[None])
        return float(np.abs(steps).max(initial=0.0))
