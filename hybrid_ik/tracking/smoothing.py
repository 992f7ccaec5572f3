"""Makes a path of joints as short as it can be without leaving the curves that it goes along."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.solution_sets.finder import SetFinder
from hybrid_ik.solution_sets.following import Settled

Array = NDArray[np.float64]

ROUNDS = 8
HARDER, HEAVIER = 8, 3.0  # steps that are too long count more, so many times
SHORTER = 0.3  # than a move of all waypoints that does not make the path better
ENOUGH = 1e-3  # relative gain of a round below which there is no other


class Smoother:
    """Gauss and Newton's method on the places of all waypoints along their curves.

    Waypoint i may move along its curve, q_i + u_i t_i. The sum of squared steps and of squared, weighted distances from
    the middle of the ranges is quadratic in u, and its matrix has three diagonals. After each round the joints are
    brought back onto the curves; those that would leave the limits stay where they were. While a step is too long, it
    is given more weight.
    """

    def __init__(self, finder: SetFinder, middle: Array, stiffness: Array, max_step: float) -> None:
        self._chain, self._follower, self._tolerance = finder.chain, finder.follower, finder.tolerance
        self._middle, self._stiffness, self._max_step = middle, stiffness, max_step

    def smooth(self, targets: Array, q: Array, tangent: Array, before: Array | None) -> Array:
        """Joints `(n, dof)` after the joints `before` `(dof,)`, if these are given, which stay where they are."""
        first = self._onto(targets, q, tangent)
        on = first.success[:, None]
        q, tangent, fixed = np.where(on, first.q, q), np.where(on, first.tangent, tangent), ~first.success
        weight = np.ones_like(q)
        weight[0] = 0.0 if before is None else 1.0
        for _ in range(1 + HARDER):
            q, tangent = self._smoothed(targets, q, tangent, before, fixed.copy(), weight)
            long = np.abs(_steps(q, before)) > self._max_step
            if not long.any():
                break
            weight[long] *= HEAVIER
        return q

    def _smoothed(
        self, targets: Array, q: Array, tangent: Array, before: Array | None, fixed: NDArray[np.bool_], weight: Array
    ) -> tuple[Array, Array]:
        """Joints and tangents after some rounds, with weights `(n, dof)` of the squared steps."""
        cost, longest, share = self._cost(q, before, weight), np.abs(_steps(q, before)).max(initial=0.0), 1.0
        u = np.where(fixed, 0.0, self._way(q, tangent, before, fixed, weight))
        for _ in range(ROUNDS):
            new = self._onto(targets, q + share * u[:, None] * tangent, tangent)
            stays = fixed | ~new.success
            new_q = np.where(stays[:, None], q, new.q)
            new_cost, new_longest = self._cost(new_q, before, weight), np.abs(_steps(new_q, before)).max(initial=0.0)
            if new_cost >= cost or new_longest > max(longest, self._max_step):
                share *= SHORTER
                continue
            gain, q, cost, longest, fixed = cost - new_cost, new_q, new_cost, new_longest, stays
            tangent = np.where(fixed[:, None], tangent, new.tangent)
            if share == 1.0 and gain < ENOUGH * cost:
                break
            u, share = np.where(fixed, 0.0, self._way(q, tangent, before, fixed, weight)), min(1.0, share / SHORTER)
        return q, tangent

    def _way(self, q: Array, t: Array, before: Array | None, fixed: NDArray[np.bool_], weight: Array) -> Array:
        """u that minimizes the quadratic model; 0 where a waypoint is fixed."""
        from scipy.linalg import solveh_banded

        pull, square = weight * _steps(q, before), weight * t**2
        gradient = np.einsum("ij,ij->i", (q - self._middle) * self._stiffness + pull, t)
        gradient[:-1] -= np.einsum("ij,ij->i", pull[1:], t[:-1])
        diagonal = t**2 @ self._stiffness + square.sum(1)
        diagonal[:-1] += (weight[1:] * t[:-1] ** 2).sum(1)
        beside = np.zeros(len(q))
        beside[1:] = -(weight[1:] * t[1:] * t[:-1]).sum(1)
        diagonal[fixed], gradient[fixed] = 1.0, 0.0
        beside[fixed] = 0.0
        beside[1:][fixed[:-1]] = 0.0
        if len(q) == 1:
            return -gradient / (diagonal + 1e-9)
        return np.asarray(solveh_banded(np.stack([beside, diagonal + 1e-9]), -gradient))

    def _onto(self, targets: Array, q: Array, tangent: Array) -> Settled:
        strict = 0.1 * self._tolerance[0], 0.1 * self._tolerance[1]
        return self._follower.settle_within(targets, q, tangent, strict)

    def _cost(self, q: Array, before: Array | None, weight: Array) -> float:
        return float((weight * _steps(q, before) ** 2).sum() + ((q - self._middle) ** 2 @ self._stiffness).sum())


def _steps(q: Array, before: Array | None) -> Array:
    """The step that leads to each waypoint `(n, dof)`; 0 for the first one if nothing comes before it."""
    return np.diff(q, axis=0, prepend=q[:1] if before is None else before[None])
