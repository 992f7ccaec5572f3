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
LIMIT_JOINTS = 3  # joints of a near-limit configuration that are pressed against a limit
LIMIT_DISTANCE = 0.02  # rad, or m: how near the limit they lie at most
SINGULAR_DRAWS = 50  # configurations drawn for each one that is kept in the near-singular set
EDGE_DRAWS = 50  # and in the edge set
PATH_CYCLES = (0.5, 2.0)  # swings of a joint along a path
# Of its range that a joint swings through. On the calm path whoever stays near the answer before never has to jump; on
# the wide one most are led to a limit sooner or later, from where no short way goes on.
PATHS = {"calm": 0.3, "wide": 0.8}


def make_problems(robot: Robot, kind: str, n: int, seed: int) -> Pose:
    """`n` poses of the tip, `(n,)`, of one of the `KINDS`."""
    rng = np.random.default_rng([STREAM, list(KINDS).index(kind), seed])
    return KINDS[kind](robot, n, rng)


def reachable(robot: Robot, n: int, rng: np.random.Generator) -> Pose:
    """Poses of joints uniform within their limits, by MuJoCo's forward kinematics."""
    return robot.forward_kinematics(uniform_joints(robot, n, rng))


def near_limit(robot: Robot, n: int, rng: np.random.Generator) -> Pose:
    """Poses of uniform joints of which three lie within 0.02 rad (or m) of a limit; all of them, where there are fewer.

    Other joints may reach such a pose from the middle of their ranges; with few spare joints they seldom can.
    """
    return robot.forward_kinematics(joints_near_limits(robot, n, rng))


def joints_near_limits(robot: Robot, n: int, rng: np.random.Generator) -> Array:
    """Joints `(n, dof)` of the near-limit set; an unlimited joint is never pressed."""
    lower, upper = robot.lower, robot.upper
    limited = np.isfinite(lower) & np.isfinite(upper)
    q = uniform_joints(robot, n, rng)
    rank = np.where(limited, rng.random(q.shape), 1.0).argsort(-1).argsort(-1)
    offset = rng.uniform(0, np.minimum(LIMIT_DISTANCE, robot.chain.sample_upper - robot.chain.sample_lower), q.shape)
    at_limit = np.where(rng.random(q.shape) < 0.5, lower + offset, upper - offset)
    return np.where((rank < LIMIT_JOINTS) & limited, at_limit, q)


def near_singular(robot: Robot, n: int, rng: np.random.Generator) -> Pose:
    """Poses of the configurations whose Jacobian has the smallest singular values, one in fifty of uniform ones."""
    q = uniform_joints(robot, SINGULAR_DRAWS * n, rng)
    smallest = np.linalg.svd(robot.jacobian(q), compute_uv=False)[:, -1]
    worst = np.sort(np.argsort(smallest)[:n])
    return robot.forward_kinematics(q[worst])


def edge(robot: Robot, n: int, rng: np.random.Generator) -> Pose:
    """Poses of nearly stretched arms: of uniform joints the one in fifty whose tip is farthest from the first joint."""
    poses = reachable(robot, EDGE_DRAWS * n, rng)
    distance = np.linalg.norm(poses.position - robot.chain.T_base_first[:3, 3], axis=-1)
    return poses[np.sort(np.argsort(-distance)[:n])]


def smooth_path(robot: Robot, kind: str, n: int, seed: int) -> Array:
    """Joints `(n, dof)` along one of the `PATHS`, on which every joint swings about its middle at a pace of its own."""
    rng = np.random.default_rng([STREAM, len(KINDS), seed])
    lower, upper = robot.chain.sample_lower, robot.chain.sample_upper
    cycles, phase = rng.uniform(*PATH_CYCLES, robot.dof), rng.uniform(0, 2 * np.pi, robot.dof)
    along = np.linspace(0, 1, n)[:, None]
    return (lower + upper) / 2 + PATHS[kind] * (upper - lower) / 2 * np.sin(2 * np.pi * cycles * along + phase)


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
    "edge": edge,
}
