"""What a refiner is: it polishes starting joints until the tip is on its target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose
from hybrid_ik.result import IKResult

Array = NDArray[np.float64]

# Success of Panda starts within 0.3 rad in 20 steps, for regularization 0.1, 0.3 and 1: 0.20, 0.13 and 0.81 without
# mending steps, 0.99, 0.99 and 0.97 with six.
MENDING_STEPS = 6


@dataclass(frozen=True, kw_only=True)
class LMConfig:
    """How a Levenberg-Marquardt refiner steps and when it stops (`kinematics.lm_step` has the mathematics)."""

    max_iterations: int = 20
    """Steps of one start before it is given up; 0 judges the start as it is."""
    position_tolerance: float = 1e-6
    """Success threshold on the distance of the tip from its target [m]."""
    orientation_tolerance: float = 1e-6
    """Success threshold on the angle between tip and target [rad]."""
    orientation_weight: float = 0.25
    """Metres that one radian is worth in the sum of squares; 0 leaves the orientation free."""
    damping: float = 0.1
    """Damping in units of the squared error; 0 is Gauss-Newton."""
    step_tolerance: float = 1e-9
    """A start whose step is shorter than this [rad or m] has come to rest."""
    regularization: float = 0.0
    """Pull towards `posture`, 0 for none. See `regularization_mode` for its unit."""
    regularization_mode: Literal["exact", "sum"] = "exact"
    """"sum" adds `|regularization (q - posture)|^2` to the sum of squares, and misses the pose by what that gains.
    "exact" counts it in units of the damping, which fades with the error: at the end it acts in the null space only."""
    posture: tuple[float, ...] | None = None
    """Where the regularization pulls to; the middle of the joint ranges by default."""

    def __post_init__(self) -> None:
        for name in ("position_tolerance", "orientation_tolerance", "step_tolerance"):
            if not getattr(self, name) > 0:
                raise InvalidInputError(f"LMConfig.{name} must be positive, got {getattr(self, name)}")
        for name in ("orientation_weight", "damping", "regularization"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InvalidInputError(f"LMConfig.{name} must be finite and not negative, got {getattr(self, name)}")
        if self.max_iterations < 0:
            raise InvalidInputError(f"LMConfig.max_iterations must not be negative, got {self.max_iterations}")

    @property
    def pulled_steps(self) -> int:
        """Steps of a start in which an exact posture pulls.

        It moves along the null space, which is curved, and so misses the pose by the square of a step; the last steps
        are left to mend that.
        """
        return max(0, self.max_iterations - MENDING_STEPS)

    def wanted_posture(self, chain: Chain) -> Array:
        """`posture` as (dof,) joints, checked against the arm."""
        if self.posture is None:
            return chain.middle
        if len(self.posture) != chain.dof or not np.isfinite(self.posture).all():
            raise InvalidInputError(f"LMConfig.posture must hold {chain.dof} finite joints, got {self.posture}")
        return np.array(self.posture, dtype=float)


class Refiner(ABC):
    """Polishes starts: the same solver with another refiner, or none, is another row of a comparison."""

    chain: Chain
    config: LMConfig

    @abstractmethod
    def refine(self, target: Pose, q0: Array) -> IKResult:
        """Every start on its own.

        Args:
            target: poses of the tip, `(*batch,)`.
            q0: starts `(*batch, n, dof)`; those outside the limits are moved onto them and flagged.

        Returns:
            Results over `(*batch, n)`.
        """

    def search(self, target: Pose, q0: Array) -> IKResult:
        """One answer for each target: from the first of its starts, in their order, that converges.

        Args:
            target: poses of the tip, `(*batch,)`.
            q0: starts `(*batch, n, dof)`, or `(n, dof)` for all targets.

        Returns:
            Results over `(*batch,)`; where no start converges, the one that came nearest.
        """
        starts = np.broadcast_to(q0, (*target.shape, *np.shape(q0)[-2:]))
        return best_of(self.refine(target, starts), self.config.orientation_weight)

    def closest(self, target: Pose, found: IKResult, q0: Array) -> IKResult:
        """The joints that come nearest to targets which were not reached, as well as this refiner can tell.

        Args:
            target: poses of the tip, `(*batch,)`.
            found: what `search` made of them.
            q0: starts `(*batch, n, dof)` to look from, besides the joints found.
        """
        return found


def best_of(results: IKResult, orientation_weight: float) -> IKResult:
    """Of results over `(*batch, n)`, the first that converged, or the one that came nearest: over `(*batch,)`."""
    missed = results.position_error**2 + (orientation_weight * results.orientation_error) ** 2
    nearest = np.argmin(np.where(np.isnan(missed), np.inf, missed), -1)
    index = np.where(results.success.any(-1), np.argmax(results.success, -1), nearest)
    rows = np.arange(index.size)
    flat = results.reshape(index.size, results.shape[-1])
    return flat[rows, index.ravel()].reshape(*index.shape)


def check_starts(chain: Chain, q0: Array, shape: tuple[int, ...]) -> Array:
    """Starts as contiguous float64 of shape `(*shape, n, dof)`; anything else is refused."""
    if _is_ready(q0) and q0.shape[:-2] == shape and q0.shape[-1] == chain.dof:
        return q0
    try:
        starts = np.require(q0, dtype=float, requirements=["C", "W"])  # the kernels take no read-only arrays
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"starts: expected numbers, got {q0!r}") from error
    if starts.ndim < 2 or starts.shape[-1] != chain.dof or starts.shape[:-2] != shape:
        batch = "".join(f"{n}, " for n in shape)
        raise InvalidInputError(
            f"starts: expected shape ({batch}n, {chain.dof}) for targets of shape {shape}, got {np.shape(q0)}"
        )
    return starts


def _is_ready(q0: Array) -> bool:
    """Whether these are starts as the kernels take them: what samplers give is, and to see that costs least."""
    if type(q0) is not np.ndarray or q0.ndim < 2 or q0.dtype != np.float64:
        return False
    return q0.flags.c_contiguous and q0.flags.writeable


def clip_starts(chain: Chain, starts: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Starts moved onto the limits, and which of them were; those that are not finite stay as they are."""
    finite = np.isfinite(starts)
    clipped = np.where(finite, np.clip(starts, chain.lower, chain.upper), starts)
    moved: NDArray[np.bool_] = np.any((clipped != starts) & finite, axis=-1)
    return clipped, moved
