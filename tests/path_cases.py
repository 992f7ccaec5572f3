"""Paths of poses that a continuous path of joints leads along, and what is true of every tracked path."""

from __future__ import annotations

import mujoco
import numpy as np
import set_cases
from conftest import MODELS
from scipy.interpolate import CubicSpline
from set_cases import errors

from hybrid_ik import HybridSolver

MAX_STEP = 0.3


def solver(name):
    """A solver of an arm: one of `set_cases`, or the KR6 with a last joint that goes round without end."""
    if name != "endless KR6":
        return set_cases.solver(name)
    set_cases.solver("KR6")  # skips the test where there are no models
    model = mujoco.MjModel.from_xml_path(str(MODELS / set_cases.FULL["KR6"][0]))
    model.jnt_limited[5] = 0
    return HybridSolver(model)


def joint_path(robot, seed, largest=0.2, knots=5, share=0.9):
    """Joints `(n, dof)` along a spline through random ones, inside the limits, no step of a joint over `largest`."""
    lower, upper = robot.chain.sample_lower, robot.chain.sample_upper
    middle, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
    random = np.random.default_rng([7, seed]).uniform(-share, share, (knots, robot.dof))
    spline = CubicSpline(np.linspace(0.0, 1.0, knots), random)
    most = np.abs(spline(np.linspace(0.0, 1.0, 500))).max(0)
    shrink = np.minimum(1.0, 0.98 / most) * half
    speed = np.abs(spline(np.linspace(0.0, 1.0, 500), 1) * shrink).max()
    return middle + shrink * spline(np.linspace(0.0, 1.0, int(np.ceil(speed / largest)) + 2))


def along_path(solver, seed, **options):
    """Poses of a random path, with the joints they were made from."""
    q = joint_path(solver.robot, seed, **options)
    return solver.robot.forward_kinematics(q), q


def breaks(q, start=None, max_step=MAX_STEP):
    """Waypoints that a joint gets to by a longer step than it may, or without an answer."""
    steps = np.abs(np.diff(q, axis=0, prepend=q[:1] if start is None else start[None]))
    return np.flatnonzero(~(steps <= max_step + 1e-9).all(1)).tolist()


def cost_of(robot, q, limit_weight=1e-3):
    """What `track` makes least."""
    finite = np.isfinite(robot.upper - robot.lower)
    lower, upper = robot.lower[finite], robot.upper[finite]
    middle, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
    return float((np.diff(q, axis=0) ** 2).sum() + limit_weight * (((q[:, finite] - middle) / half) ** 2).sum())


def check_rows(solver, poses, path):
    """That every answer of a tracked path is one, that the others are NaN, and that every break is named."""
    robot, known = solver.robot, path.success
    assert path.q.shape == (len(poses), robot.dof) and len(path) == len(poses)
    assert known.dtype == bool and np.isnan(path.q[~known]).all()
    q = path.q[known]
    assert (q >= robot.lower).all() and (q <= robot.upper).all()
    missed = errors(solver, poses[known], q)
    assert (missed <= 1.001e-6).all()
    claimed = np.stack([path.position_error, path.orientation_error], 1)[known]
    assert (np.abs(claimed - missed)[:, : 2 if solver.refiner.config.orientation_weight > 0 else 1] < 1e-7).all()


def check_continuous(solver, poses, path, start=None, max_step=MAX_STEP):
    """That a path is one without a jump, and says so."""
    check_rows(solver, poses, path)
    assert path.success.all() and path.jumps == () and path.continuous
    assert breaks(path.q, start, max_step) == []


def greedy(solver, poses, start):
    """Joints of a follower that solves each pose near its last answer; it stops where that is far or is none."""
    q = [start]
    for i in range(len(poses)):
        found = solver.solve(poses[i], near=q[-1])
        if not found.success or np.abs(found.q - q[-1]).max() > MAX_STEP:
            break
        q.append(found.q)
    return np.array(q[1:]).reshape(-1, len(start))
