"""What tracking a path gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.solution_sets.solution_set import Limit

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Jump:
    """A place where a path of joints breaks: no continuous way leads on to this waypoint."""

    waypoint: int
    """Number of the pose that cannot be reached from the one before it."""
    reason: str
    """What is in the way."""
    limit: Limit | None = None
    """The joint limit that forces the jump, if it is one."""

    def __str__(self) -> str:
        return f"waypoint {self.waypoint}: {self.reason}"


@dataclass(frozen=True)
class TrackedPath:
    """Joints for each pose of a path; made by `HybridSolver.track`."""

    q: Array
    """`(m, dof)` [rad, or m]; NaN where a pose has no answer."""
    success: NDArray[np.bool_]
    """Whether each pose is met within the tolerances, and each joint within its limits `(m,)`."""
    position_error: Array
    """Distance of the tip from each pose `(m,)` [m]."""
    orientation_error: Array
    """Angle between the tip and each pose `(m,)` [rad]."""
    jumps: tuple[Jump, ...]
    """Where the path breaks, in order; empty where it is continuous."""
    cost: float
    """Sum of squared joint steps and of the weighted distances from the middle of the ranges, without jumps."""

    @property
    def continuous(self) -> bool:
        """Whether all poses are met without a jump."""
        return not self.jumps and bool(self.success.all())

    def __len__(self) -> int:
        return len(self.q)

    def __repr__(self) -> str:
        if self.continuous:
            return f"<TrackedPath of {len(self)} poses, continuous>"
        return f"<TrackedPath of {len(self)} poses, {len(self.jumps)} jumps: {'; '.join(map(str, self.jumps))}>"
