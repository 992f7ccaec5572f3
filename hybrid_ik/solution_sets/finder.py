"""Finds every answer of a pose, whatever the arm: points, curves, or a cover of more than that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.solution_sets.branches import find_branches
from hybrid_ik.solution_sets.cover import find_cover
from hybrid_ik.solution_sets.curve_pieces import curve_pieces
from hybrid_ik.solution_sets.following import CurveFollower
from hybrid_ik.solution_sets.solution_set import SolutionSet

Array = NDArray[np.float64]


class SetFinder:
    """Solution sets of one arm.

    Args:
        chain: the arm with its mount and tool.
        config: tolerances, and whether the orientation counts.
    """

    def __init__(self, chain: Chain, config: LMConfig) -> None:
        self.chain, self.config = chain, config
        self.follower = CurveFollower(chain, orientation=config.orientation_weight > 0)
        self.dimension = max(0, chain.dof - self.follower.n_rows)
        self.tolerance = config.position_tolerance, config.orientation_tolerance

    def find(self, pose: Pose, spacing: float, miss: float, most_points: int) -> SolutionSet:
        """See `HybridSolver.solve_all`."""
        target = self.follower.targets(pose.reshape(1))
        if self.dimension == 0:
            found = find_branches(self.follower, target, miss, self.tolerance)
        elif self.dimension == 1:
            loops = self.follower.loops(target, miss)
            pieces = curve_pieces(self.follower, target, loops, spacing, self.tolerance)
            found = pieces, loops.missing, loops.n_starts
        else:
            found = find_cover(self.chain, self.config, pose, spacing, miss, most_points)
        return SolutionSet(*found, self.chain, target, self.follower, self.tolerance)
