"""Jacobians of many joints at once, from the arm's constants alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kinematics import geometric_jacobian, joint_frames
from hybrid_ik.scalar_math import NumpyMath

Array = NDArray[np.float64]


def tip_jacobian(chain: Chain, q: Array) -> Array:
    """Jacobians `(m, 6, dof)` of the tip at joints `(m, dof)`: linear rows first, in the first joint's frame."""
    R, p_last, axes, origins = joint_frames(chain, list(q.T), NumpyMath())
    tip = chain.T_last_tip[:3, 3]
    p = [p_last[k] + sum(R[k][i] * tip[i] for i in range(3)) for k in range(3)]
    columns = geometric_jacobian(chain, axes, origins, p)
    return np.stack([np.stack([np.broadcast_to(x, len(q)) for x in column], -1) for column in columns], -1)
