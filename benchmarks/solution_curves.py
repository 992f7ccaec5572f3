"""Whole solution sets of arms with one spare joint, as curves followed along the null space.

Independent of the package's solvers: the steps come from MuJoCo's forward kinematics and Jacobians alone. (The first
points are answers of the lane refiner, which any solver could have given.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from metrics import EXACT, judge
from numpy.typing import NDArray

from hybrid_ik.pose import Pose, pose_error
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

STEP = 0.05  # rad, or m: longest step along a curve
SHORTEST = 1e-3  # a curve ends where no step of this length succeeds: at a limit, or where two curves cross
STRAIGHT = 0.9  # cosine between the tangents at both ends of a step
CORRECTIONS = 5  # Newton steps back onto the curve
MOST_STEPS = 1500  # a curve that has not ended by then ends there: near singular poses some take short steps for ever
LONGEST = 200.0  # rad, or m: no curve of an arm with finite ranges gets there


@dataclass(frozen=True)
class Curve:
    """One connected piece of a solution set: points `(n, dof)` in order, neighbours at most `STEP` apart."""

    q: Array
    closed: bool
    """Whether the last point is a step away from the first."""

    @property
    def ends(self) -> tuple[Array, Array]:
        """First and last points `(n_segments, dof)` of its segments; a curve of one point has one, of no length."""
        if len(self.q) == 1:
            return self.q, self.q
        return (self.q, np.roll(self.q, -1, 0)) if self.closed else (self.q[:-1], self.q[1:])

    def even_points(self, spacing: float) -> Array:
        """Points on its chords, about `spacing` apart: each stands for the same length of the curve."""
        first, last = self.ends
        lengths = np.linalg.norm(last - first, axis=-1)
        travelled = np.concatenate([[0.0], np.cumsum(lengths)])
        n = max(1, round(travelled[-1] / spacing))
        at = (np.arange(n) + 0.5) / n * travelled[-1]
        segment = np.clip(np.searchsorted(travelled, at, side="right") - 1, 0, len(first) - 1)
        share = (at - travelled[segment]) / np.maximum(lengths[segment], 1e-12)
        return np.asarray(first[segment] + share[:, None] * (last - first)[segment])


def follow(robot: Robot, target: Pose, q: Array) -> list[Curve]:
    """The curves through answers `(m, dof)` of poses `(m,)`, each to both its ends or once round."""
    tangent = np.linalg.svd(robot.jacobian(q))[2][:, -1]
    ahead, closed = _trace(robot, target, q, tangent)
    rest = np.flatnonzero(~closed)
    behind, _ = _trace(robot, target[rest], q[rest], -tangent[rest])
    curves = [Curve(np.array(points), bool(c)) for points, c in zip(ahead, closed, strict=True)]
    for i, points in zip(rest, behind, strict=True):
        curves[i] = Curve(np.concatenate([np.array(points)[:0:-1], curves[i].q]), False)
    return curves


def _trace(robot: Robot, target: Pose, q0: Array, t0: Array) -> tuple[list[list[Array]], Mask]:
    """Points from `q0` on in the direction `t0`, and whether they came back to it; step by step for all curves."""
    q, t, h = q0.copy(), t0.copy(), np.full(len(q0), STEP)
    paths, closed, length = [[row] for row in q0], np.zeros(len(q0), bool), np.zeros(len(q0))
    active, steps = np.arange(len(q0)), 0
    while len(active) and (steps := steps + 1) <= MOST_STEPS:
        new, t_new, met = correct(robot, target[active], q[active] + h[active, None] * t[active], t[active])
        inside = ((new >= robot.lower) & (new <= robot.upper)).all(-1)
        moved = np.linalg.norm(new - q[active], axis=-1)
        good = met & inside & ((t_new * t[active]).sum(-1) > STRAIGHT) & (moved < 1.5 * h[active])
        on = active[good]
        q[on], t[on] = new[good], t_new[good]
        length[on] += moved[good]
        for i in on:
            paths[i].append(q[i].copy())
        back = (np.linalg.norm(q[on] - q0[on], axis=-1) < 0.75 * STEP) & ((t[on] * t0[on]).sum(-1) > 0.5)
        closed[on[back & (length[on] > 4 * STEP)]] = True
        h[on] = np.minimum(STEP, 1.5 * h[on])
        h[active[~good]] *= 0.5
        active = active[~closed[active] & (h[active] >= SHORTEST)]
        if (length > LONGEST).any():
            raise RuntimeError(f"a curve is longer than {LONGEST}: does a joint of this arm go round without limits?")
    return paths, closed


def correct(robot: Robot, target: Pose, q: Array, tangent: Array) -> tuple[Array, Array, Mask]:
    """Newton's method back onto the curves: joints, unit tangents nearest to those given, and whether it succeeded."""
    q = q.copy()
    for _ in range(CORRECTIONS):
        e = pose_error(target, robot.forward_kinematics(q))
        if np.abs(e).max(initial=0.0) < 1e-10:
            break
        q += _least_norm(robot.jacobian(q), e)
    J = robot.jacobian(q)
    t = tangent - _least_norm(J, (J @ tangent[..., None])[..., 0])
    t /= np.maximum(np.linalg.norm(t, axis=-1, keepdims=True), 1e-12)
    return q, t, judge(robot, target, q).near(EXACT)


def _least_norm(J: Array, e: Array) -> Array:
    """The shortest dq with J dq = e; damped just enough to be finite where J is singular."""
    square = J @ J.swapaxes(-1, -2) + 1e-10 * np.eye(6)
    return np.asarray((J.swapaxes(-1, -2) @ np.linalg.solve(square, e[..., None]))[..., 0])


def unknown(curves: list[Curve], answers: Array, near: float) -> Mask:
    """Which of the answers `(k, dof)` lie farther than `near` from every chord of every curve."""
    if not curves or not len(answers):
        return np.ones(len(answers), bool)
    p, end = (np.concatenate(side) for side in zip(*(curve.ends for curve in curves), strict=True))
    d = end - p
    square = np.maximum((d * d).sum(-1), 1e-24)
    share = np.clip((answers @ d.T - (p * d).sum(-1)) / square, 0.0, 1.0)
    to_p = (answers * answers).sum(-1)[:, None] - 2 * answers @ p.T + (p * p).sum(-1)
    along = answers @ d.T - (p * d).sum(-1)
    return np.asarray((to_p - 2 * share * along + share**2 * square).min(-1) > near**2)
