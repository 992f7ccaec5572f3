"""The diagnosis of one pose: whether it can be reached, what is in the way, and what is lost at a singularity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.diagnosis.limits import LimitInTheWay, WithoutLimits, limits_in_the_way
from hybrid_ik.diagnosis.singularity import NEAR_SINGULAR, LostMotion, smallest_singular_values, weakest_motions
from hybrid_ik.diagnosis.words import angle, metres
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import LMConfig, best_of
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.result import IKResult
from hybrid_ik.samplers.uniform import UniformSampler

Array = NDArray[np.float64]

STARTS = 256  # within the limits, besides what the solver found
POSITION_STARTS = 64
NEARER = 0.99  # of the distance left: then the joints of the solver are given up for others
# The position first, and the orientation as far as it goes: a weight this much smaller leaves it at its best, and from
# there the position alone is met with hardly a change of it.
SLIGHT = 0.04


class Verdict(Enum):
    """What is true of a pose."""

    REACHABLE = "reachable"
    """Joints within their limits meet it."""
    BEYOND_LIMITS = "reachable but for joint limits"
    """Joints meet it, but not within their limits."""
    POSITION_ONLY = "reachable in position only"
    """Its position can be met within the limits, but not with its orientation, not even beyond the limits."""
    OUT_OF_WORKSPACE = "out of the workspace"
    """No joints were found that meet it, nor its position within the limits, though it is not beyond reach."""
    BEYOND_REACH = "beyond reach"
    """It is farther away than links, slides and tool together are long."""


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Why a pose is or is not reached, made by `HybridSolver.diagnose`; `print` says it in a few lines.

    That a pose is reachable is proven by `q`, and that it is beyond reach by the lengths of the links. All else rests
    on searches from some hundred starts: what they did not find is very likely not there.
    """

    verdict: Verdict
    """What is true of the pose, as one word for programs."""
    beyond_reach: float
    """How far it lies beyond all that links, slides and tool can span from the first joint [m]; 0 within."""
    span: float
    """That span [m]; infinite for an arm on an endless slide."""
    q: Array
    """The nearest joints found within the limits `(dof,)` [rad, or m]; those that meet the pose where it is reachable.
    Near is what the solver's weight of the orientation makes of both errors."""
    position_error: float
    """Distance of the tip from the pose there [m]."""
    orientation_error: float
    """Angle between the tip and the pose there [rad]."""
    orientation_counts: bool
    """Whether the orientation is part of the pose; not so for a solver whose `orientation_weight` is 0."""
    position_reachable: bool
    """Whether joints within the limits meet the position, with whatever orientation."""
    q_position: Array
    """The joints that do, with the least turn from the pose; where there are none, those that come nearest to it."""
    position_gap: float
    """Distance that is left then [m]; 0 where the position is reachable."""
    turned_by: float
    """Angle between the tip and the pose at `q_position` [rad]."""
    limits_in_the_way: tuple[LimitInTheWay, ...]
    """The limits that an answer has to violate, the farthest first. Of all answers found without limits it is the one
    for which the violations, added up, are least."""
    q_without_limits: Array | None
    """That answer `(dof,)`; None where the pose is reachable, or is not even without limits."""
    weakest_motions: tuple[LostMotion, ...]
    """Motions of the tip that are lost, or nearly, at `q`: left singular vectors of the scaled Jacobian, the weakest
    first. Others than the weakest one are there only if they are below the threshold too."""
    best_singular_value: float
    """The largest of the smallest singular values of all answers found: other joints that meet the pose are looked at
    where `q` is near a singularity. Below the threshold it is the pose that is singular, not a choice of joints."""

    @property
    def reachable(self) -> bool:
        """Whether joints within their limits meet the pose."""
        return self.verdict is Verdict.REACHABLE

    @property
    def smallest_singular_value(self) -> float:
        r"""Of the Jacobian at `q`, scaled to diag(1/h, 1/h, 1/h, 1, 1, 1) J diag(c).

        h is half the reach, c is 1 for hinges and h for slides: it is a number without a unit.
        """
        return self.weakest_motions[0].singular_value

    @property
    def lost_motion(self) -> LostMotion:
        """The motion of the tip that belongs to the smallest singular value, lost or not."""
        return self.weakest_motions[0]

    @property
    def singular_threshold(self) -> float:
        """The smallest singular value below which joints are called near a singularity."""
        return NEAR_SINGULAR

    @property
    def near_singular(self) -> bool:
        """Whether `q` is near a singularity."""
        return self.smallest_singular_value < self.singular_threshold

    def __repr__(self) -> str:
        names = ", ".join(limit.name for limit in self.limits_in_the_way)
        near = ", near a singularity" if self.near_singular else ""
        return f"<Diagnosis: {self.verdict.value}{f' of {names}' if names else ''}{near}>"

    def __str__(self) -> str:
        lines = [self._headline(), *(f"  {limit}" for limit in self.limits_in_the_way)]
        if not self.reachable:
            lines += [self._of_position()] if self.orientation_counts else []
            lines += [f"The nearest joints miss it by {self._errors()}."]
        return "\n".join([*lines, *self._of_singularity()])

    def _headline(self) -> str:
        if self.verdict is Verdict.BEYOND_REACH:
            span = f"links and tool together span ({metres(self.span)})"
            return f"Not reachable: {metres(self.beyond_reach)} farther from the first joint than {span}."
        return {
            Verdict.REACHABLE: f"Reachable: joints within their limits meet it to {self._errors()}.",
            Verdict.BEYOND_LIMITS: "Not reachable: joint limits are in the way. The least found that would do:",
            Verdict.POSITION_ONLY: "Not reachable: the position is, but not with this orientation.",
            Verdict.OUT_OF_WORKSPACE: "Not reachable: no joints were found that meet it, not even beyond their limits.",
        }[self.verdict]

    def _errors(self) -> str:
        turn = f" and {angle(self.orientation_error)}" if self.orientation_counts else ""
        return f"{metres(self.position_error)}{turn}"

    def _of_position(self) -> str:
        if self.position_reachable:
            return f"The position alone can be met; the orientation is then {angle(self.turned_by)} off."
        return f"The position alone cannot be met: the tip comes within {metres(self.position_gap)} of it."

    def _of_singularity(self) -> list[str]:
        value, threshold = f"{self.smallest_singular_value:.2g}", f"{self.singular_threshold:g}"
        if not self.near_singular:
            return [f"No singularity is near: smallest singular value {value} (near would be below {threshold})."]
        if self.smallest_singular_value < 1e-6:  # what is left of 0 by rounding
            value = "0"
        there = "there" if self.reachable else "at the nearest joints"
        near = f"Near a singularity {there}: smallest singular value {value} (near is below {threshold})."
        lines = [f"{near} Lost, or nearly:", *(f"  {motion}" for motion in self.weakest_motions)]
        return [*lines, self._of_other_answers()] if self.reachable else lines

    def _of_other_answers(self) -> str:
        if self.best_singular_value < self.singular_threshold:
            return "No joints were found that meet it elsewhere: it is the pose that is singular."
        return f"Other joints meet it away from singularities: smallest singular value {self.best_singular_value:.2g}."


def diagnose(chain: Chain, config: LMConfig, pose: Pose, found: IKResult) -> Diagnosis:
    """The diagnosis of a pose.

    Args:
        chain: the arm with its mount and tool.
        config: tolerances, and the weight of the orientation. A pull towards a posture is left out, and at least the
            default number of steps is taken: both may miss a pose that can be reached.
        pose: `T_base_tip`, a single one.
        found: what a solver made of it: joints to look from.
    """
    config = replace(config, regularization=0.0, max_iterations=max(config.max_iterations, LMConfig.max_iterations))
    nearest = found if found.success else _nearest(chain, config, pose, found)
    without = None
    if not nearest.success:
        without = WithoutLimits(chain, config.orientation_weight > 0).find(pose, nearest.q[None])
        if without is not None and not limits_in_the_way(chain, without):
            # It is within them: starts had missed it, or tolerances are too narrow for any joints.
            again = LaneRefiner(chain, config).search(pose, without[None])
            nearest, without = again if again.success else nearest, None
    if nearest.success:
        return _summary(chain, config, pose, nearest, nearest, None)
    position = _position_alone(chain, config, pose, nearest) if config.orientation_weight > 0 else nearest
    return _summary(chain, config, pose, nearest, position, without)


def _summary(
    chain: Chain, config: LMConfig, pose: Pose, nearest: IKResult, position: IKResult, without: Array | None
) -> Diagnosis:
    motions = tuple(weakest_motions(chain, nearest.q, config.orientation_weight > 0))
    orientation, reached = config.orientation_weight > 0, float(position.position_error) <= config.position_tolerance
    limits = () if without is None else limits_in_the_way(chain, without)
    farther = float(np.linalg.norm(pose.position - chain.T_base_first[:3, 3])) - chain.span
    beyond = farther if farther > config.position_tolerance else 0.0
    return Diagnosis(
        verdict=_verdict(bool(nearest.success), without is not None, reached, beyond),
        beyond_reach=beyond,
        span=chain.span,
        q=nearest.q,
        position_error=float(nearest.position_error),
        orientation_error=float(nearest.orientation_error),
        orientation_counts=orientation,
        position_reachable=reached,
        q_position=position.q,
        position_gap=0.0 if reached else float(position.position_error),
        turned_by=float(position.orientation_error),
        limits_in_the_way=limits,
        q_without_limits=without,
        weakest_motions=motions,
        best_singular_value=_best_singular_value(chain, config, pose, nearest, motions[0].singular_value),
    )


def _best_singular_value(chain: Chain, config: LMConfig, pose: Pose, nearest: IKResult, own: float) -> float:
    """The largest of the smallest singular values of answers, if that of the one at hand is near a singularity."""
    if own >= NEAR_SINGULAR or not nearest.success:
        return own
    others = LaneRefiner(chain, config).refine(pose, UniformSampler(chain).table(STARTS))
    values = smallest_singular_values(chain, others.q[others.success], config.orientation_weight > 0)
    return float(max(own, values.max(initial=0.0)))


def _verdict(reachable: bool, without_limits: bool, position: bool, beyond: float) -> Verdict:
    if reachable:
        return Verdict.REACHABLE
    if without_limits:
        return Verdict.BEYOND_LIMITS
    if beyond > 0.0:
        return Verdict.BEYOND_REACH
    return Verdict.POSITION_ONLY if position else Verdict.OUT_OF_WORKSPACE


def _nearest(chain: Chain, config: LMConfig, pose: Pose, found: IKResult) -> IKResult:
    """The joints that meet a pose, or come nearest to it; those of the solver, unless others are clearly nearer."""
    refiner, starts = LaneRefiner(chain, config), UniformSampler(chain).table(STARTS)
    best = refiner.search(pose, np.concatenate([found.q[None], starts]))
    if best.success:
        return best
    nearer = refiner.closest(pose, best, starts)
    return nearer if nearer.success or _missed(nearer, config) < NEARER * _missed(found, config) else found


def _missed(result: IKResult, config: LMConfig) -> float:
    """What the weight of the orientation makes of both errors [m]."""
    return float(np.hypot(result.position_error, config.orientation_weight * result.orientation_error))


def _position_alone(chain: Chain, config: LMConfig, pose: Pose, nearest: IKResult) -> IKResult:
    """The joints that meet a position with the least turn from the pose, or that come nearest to it."""
    starts = np.concatenate([nearest.q[None], UniformSampler(chain).table(POSITION_STARTS)])
    slight = replace(config, orientation_weight=SLIGHT * config.orientation_weight)
    free = LaneRefiner(chain, replace(config, orientation_weight=0.0))
    results = free.refine(pose, np.concatenate([LaneRefiner(chain, slight).refine(pose, starts).q, starts]))
    if not results.success.any():
        return free.closest(pose, best_of(results, 0.0), starts)
    return results[int(np.argmin(np.where(results.success, results.orientation_error, np.inf)))]
