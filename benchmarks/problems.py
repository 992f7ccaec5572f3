"""Fixed sets of poses: the same seed gives the same problems on every machine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]

# Comes before the seed, so that the poses are those of no table or training set: a generator of [0, 0] draws the same
# numbers as one of 0, and a lookup table of that seed would hold every joint vector asked for.
STREAM = 20_027
LIMIT_SHARE = 0.01  # of a joint's range: how near its limit a joint of the near-limit set lies
SINGULAR_DRAWS = 50  # configurations drawn for each one that is kept in the near-singular set


def make_problems(robot: Robot, kind: str, n: int, seed: int) -> Pose:
    """`n` poses of the tip, `(n,)`, of one of the `KINDS`."""
    rng = np.random.default_rng([STREAM, list(KINDS).index(kind), seed])
    return KINDS[kind](robot, n, rng)


def reachable(robot: Robot, n: int, rng: np.random.Generator) -> Pose:
    """Poses of joints uniform within their limits, by MuJoCo's forward kinematics."""
    return robot.forward_kinematics(uniform_joints(robot, n, rng))


def near_limit(robot: Robot, n: int, rng: np.random.Generator) -> Pose:
    """Poses of uniform joints of which two lie within a hundredth of their range of a limit.

    Other joints may reach such a pose from the middle of their ranges; with few spare joints they seldom can.
    """
    lower, upper = robot.chain.sample_lower, robot.chain.sample_upper
    q = uniform_joints(robot, n, rng)
    pressed = rng.random(q.shape).argsort(-1) < 2
    offset = rng.uniform(0, LIMIT_SHARE, q.shape) * (upper - lower)
    at_limit = np.where(rng.random(q.shape) < 0.5, lower + offset, upper - offset)
    return robot.forward_kinematics(np.where(pressed, at_limit, q))


def near_singular(robot: Robot, n: int, rng: np.random.Generator) -> Pose:
    """Poses of the configurations whose Jacobian has the smallest singular values, one in fifty of uniform ones."""
    q = uniform_joints(robot, SINGULAR_DRAWS * n, rng)
    smallest = np.linalg.svd(robot.jacobian(q), compute_uv=False)[:, -1]
    worst = np.sort(np.argsort(smallest)[:n])
    return robot.forward_kinematics(q[worst])


def unreachable(robot: Robot, n: int, rng: np.random.Generator) -> Pose:
    """Reachable orientations at 1.05 to 2 times the distance from the first joint that the links' lengths allow."""
    origin = robot.chain.T_base_first[:3, 3]
    bound = robot.chain.reach + np.linalg.norm(robot.chain.T_last_tip[:3, 3])
    direction = rng.normal(size=(n, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    distance = bound * rng.uniform(1.05, 2, (n, 1))
    return Pose(origin + distance * direction, reachable(robot, n, rng).quaternion)


def uniform_joints(robot: Robot, n: int, rng: np.random.Generator) -> Array:
    """Joints `(n, dof)`, uniform within the limits; unlimited ones within half a turn either way."""
    return rng.uniform(robot.chain.sample_lower, robot.chain.sample_upper, (n, robot.dof))


KINDS: dict[str, Callable[[Robot, int, np.random.Generator], Pose]] = {
    "reachable": reachable,
    "near-limit": near_limit,
    "near-singular": near_singular,
    "unreachable": unreachable,
}
