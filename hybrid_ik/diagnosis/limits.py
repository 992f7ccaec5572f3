"""Which joint limits are in the way of a pose: the answer without limits that goes least beyond them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.diagnosis.singularity import half_reach
from hybrid_ik.diagnosis.words import angle, metres
from hybrid_ik.kinematics import tip_jacobian
from hybrid_ik.pose import Pose
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solution_sets.following import CurveFollower

Array = NDArray[np.float64]

STARTS = 1024  # without limits nearly every one leads to an answer of a pose in reach
# Answers from which the one that violates the limits least is looked for, and how far they lie from one another, in rad
# or m / half the reach: the least ones alone may all lie in one valley.
DESCENTS, APART = 8, 0.5
# Of these descents, in rad, or m / half the reach.
FIRST_STEP, LEAST_STEP, LEAST_GAIN, MOST_STEPS = 0.3, 1e-6, 1e-7, 40
RANK = 1e-6  # singular values below this count as 0
NAMED = 1e-6  # rad, or m: joints that are less beyond their limits are within them
TURN = 2.0 * np.pi


@dataclass(frozen=True)
class LimitInTheWay:
    """A joint that would have to go beyond its limit."""

    joint: int
    """Number of the joint."""
    name: str
    """Its name."""
    side: Literal["lower", "upper"]
    """Which limit."""
    limit: float
    """Where that is [rad, or m]."""
    amount: float
    """How far beyond it the joint would have to go [rad, or m]; positive."""
    kind: Literal["hinge", "slide"]
    """Whether these are angles or lengths."""

    def __str__(self) -> str:
        unit = metres if self.kind == "slide" else angle
        bare = f"{self.limit:.3f} {'m' if self.kind == 'slide' else 'rad'}"
        return f"{self.name}: {unit(self.amount)} beyond its {self.side} limit of {bare}"


def limits_in_the_way(chain: Chain, q: Array) -> tuple[LimitInTheWay, ...]:
    """The limits that joints `(dof,)` lie beyond, the farthest first."""
    beyond = chain.beyond(q)
    order = sorted(np.flatnonzero(beyond > NAMED), key=lambda j: (-beyond[j], j))
    found = []
    for j in map(int, order):
        side: Literal["lower", "upper"] = "upper" if q[j] > chain.upper[j] else "lower"
        limit = chain.upper[j] if side == "upper" else chain.lower[j]
        found.append(LimitInTheWay(j, chain.joint_names[j], side, float(limit), float(beyond[j]), chain.kinds[j]))
    return tuple(found)


class WithoutLimits:
    """Looks for the answer of one pose that goes least beyond the limits.

    Least is the sum over all joints, slides in units of half the reach: unlike the sum of squares it leaves as few
    joints beyond their limits as can be, and so names those that matter.

    Args:
        chain: the arm.
        orientation: whether the orientation counts.
    """

    def __init__(self, chain: Chain, orientation: bool) -> None:
        self.chain, self._follower = chain, CurveFollower(chain, orientation)
        self._cost = np.where(chain.hinges, 1.0, 1.0 / half_reach(chain))

    def find(self, pose: Pose, starts: Array) -> Array | None:
        """Joints `(dof,)` that meet a pose; None where no start leads to any.

        Args:
            pose: a single one.
            starts: joints `(n, dof)` to look from, besides random ones.
        """
        target = self._follower.targets(pose.reshape(1))
        starts = np.concatenate([starts, UniformSampler(self.chain).table(STARTS)])
        settled = self._follower.settle(target, starts)
        q = whole_turns_away(self.chain, settled.q[settled.success])
        if not len(q):
            return None
        q = _apart(q[np.argsort(self._violation(q), kind="stable")], self._cost)
        ends = np.array([self._descend(target, x) for x in q])
        return np.asarray(ends[np.argmin(self._violation(ends))])

    def _violation(self, q: Array) -> Array:
        return self.chain.beyond(q) @ self._cost

    def _descend(self, target: Array, q: Array) -> Array:
        """Along the answers of a target, as far as the violation falls: linear programs within ever smaller steps."""
        best, size = float(self._violation(q)), FIRST_STEP
        for _ in range(MOST_STEPS):
            step, promised = self._step(q, size)
            if size < LEAST_STEP or best - promised < LEAST_GAIN:
                break
            settled = self._follower.settle(target, (q + step)[None])
            new = whole_turns_away(self.chain, settled.q)
            value = float(self._violation(new)[0])
            if settled.success[0] and value < best:
                q, best, size = new[0], value, min(2.0 * size, FIRST_STEP)
            else:
                size *= 0.25
        return q

    def _step(self, q: Array, size: float) -> tuple[Array, float]:
        """The step along the null space of at most `size` after which the violation is least, to first order, and that.

        With N a base of the null space, minimal c^T s over z and s >= 0, where lower - s <= q + N z <= upper + s.
        """
        N = self._null_space(q)
        if N.shape[1] == 0:
            return np.zeros_like(q), np.inf
        if N.shape[1] == 1:  # tens of times faster than a linear program
            return self._step_along(q, N[:, 0], size)
        from scipy.optimize import linprog  # 0.1 s to be imported

        slack, low, high = np.eye(len(q)), np.isfinite(self.chain.lower), np.isfinite(self.chain.upper)
        A = np.concatenate([np.hstack([N, -slack])[high], np.hstack([-N, -slack])[low]])
        b = np.concatenate([(self.chain.upper - q)[high], (q - self.chain.lower)[low]])
        bounds = [(-size, size)] * N.shape[1] + [(0.0, None)] * len(q)
        found = linprog(np.concatenate([np.zeros(N.shape[1]), self._cost]), A_ub=A, b_ub=b, bounds=bounds)
        z, least = np.asarray(found.x)[: N.shape[1]], np.asarray(found.fun)  # there always is one: s has no bound
        return N @ z, float(least)

    def _step_along(self, q: Array, n: Array, size: float) -> tuple[Array, float]:
        """The same along a line, where the least is at an end, or where a joint meets a limit."""
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.concatenate([(self.chain.upper - q) / n, (self.chain.lower - q) / n])
        z = np.concatenate([[0.0, -size, size], at[np.abs(at) < size]])  # 0 first: it is kept where nothing is better
        values = self._violation(q + z[:, None] * n)
        best = int(np.argmin(values))
        return z[best] * n, float(values[best])

    def _null_space(self, q: Array) -> Array:
        J = tip_jacobian(self.chain, q[None])[0, : self._follower.n_rows]
        _, sigma, Vt = np.linalg.svd(J / self._cost)
        rank = int((sigma > RANK * max(float(sigma.max()), RANK)).sum())
        return Vt[rank:].T / self._cost[:, None]


def whole_turns_away(chain: Chain, q: Array) -> Array:
    """Joints `(m, dof)`, each hinge turned by whole turns to where it is within its limits, or least beyond them."""
    lower, upper = np.broadcast_to(chain.lower, q.shape), np.broadcast_to(chain.upper, q.shape)
    both = np.isfinite(upper - lower)
    with np.errstate(invalid="ignore"):
        middle = np.where(both, 0.5 * (lower + upper), np.clip(0.0, lower, upper))
    turned = q + TURN * np.round((middle - q) / TURN)
    turned += TURN * (np.ceil(np.where(both, 0.0, np.maximum(lower - turned, 0.0)) / TURN))
    turned -= TURN * (np.ceil(np.where(both, 0.0, np.maximum(turned - upper, 0.0)) / TURN))
    return np.where(chain.hinges, turned, q)


def _apart(q: Array, cost: Array) -> Array:
    """The first of some joints `(m, dof)`, and after it those that are far from all before."""
    kept = [q[0]]
    for x in q[1:]:
        if len(kept) == DESCENTS:
            break
        if min(float(np.linalg.norm((x - y) * cost)) for y in kept) > APART:
            kept.append(x)
    return np.array(kept)
