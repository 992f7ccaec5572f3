"""A simple oracle of solution sets: very many refined random starts, thinned, and grouped into pieces.

What it cannot do: starts are uniform over the joint ranges, so a piece that attracts fewer than about one start in
`N_STARTS` is missed, by the oracle and so by every row that is measured against it. Two pieces that pass each other
within `LINK` count as one, and one that few starts reach may fall apart into several: seen on some of 12 Panda poses
with 20,000 starts, while with 80,000 the counts were stable. Points are even in space to about `SPACING`, not along the
curve.
"""

from __future__ import annotations

import numpy as np
from metrics import EXACT, SolutionPoints, judge, pieces, thin
from problems import STREAM, uniform_joints

from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.robot import Robot

N_STARTS = 60_000
SPACING = 0.06  # rad, or m, between neighbouring points of the oracle
LINK = 0.15  # rad, or m: nearer points belong to one piece; more than twice the spacing


def solution_points(robot: Robot, pose: Pose, *, n_starts: int = N_STARTS, seed: int = 0) -> SolutionPoints:
    """The solution set of one pose as points, verified by MuJoCo's forward kinematics."""
    q0 = uniform_joints(robot, n_starts, np.random.default_rng([STREAM, 77, seed]))
    result = LaneRefiner(robot.chain).refine(pose, q0)
    found = result.q[result.success]
    points = found[thin(found, SPACING)]
    points = points[judge(robot, pose, points).meets(EXACT)]
    return SolutionPoints(points, pieces(points, LINK))
