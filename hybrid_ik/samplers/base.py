"""What a sampler is: it proposes joints to start from. Nothing is verified here; refining and choosing come after."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose

Array = NDArray[np.float64]


class Sampler(Protocol):
    """Proposes starts. A sampler belongs to one `Chain` and holds no state between calls: same pose, same starts."""

    name: str
    """Short name, as in tables and on the command line."""

    def sample(self, pose: Pose, n: int) -> Array:
        """Starts for poses of the arm's tip in its base.

        Args:
            pose: `T_base_tip`, any batch shape.
            n: starts for each pose; asking for fewer gives the first of them.

        Returns:
            q0 `(*batch, n, dof)` [rad, or m], inside the limits. Rows of invalid poses hold some starts too.
        """


def check_count(n: int) -> int:
    """`n` as an int, at least 1; `InvalidInputError` otherwise."""
    if n != int(n) or n < 1:
        raise InvalidInputError(f"n: expected a whole number of starts, at least 1, got {n}")
    return int(n)


def inner_pose(chain: Chain, pose: Pose) -> tuple[Array, Array]:
    """`chain.first_last(pose)` with a flat batch: positions `(m, 3)` [m], rotations `(m, 3, 3)`.

    Rows that are no poses become the identity, so that nothing after this has to know of them.
    """
    position, rotation = chain.first_last(pose)
    position, rotation = position.reshape(-1, 3), rotation.reshape(-1, 3, 3)
    if not pose.valid.all():
        bad = ~pose.valid.reshape(-1)
        position[bad], rotation[bad] = 0.0, np.eye(3)
    return position, rotation
