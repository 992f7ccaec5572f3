"""How near joints are to a singularity, and which motions of the tip are lost there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kinematics import tip_jacobian
from hybrid_ik.pose import n_rows
from hybrid_ik.samplers.uniform import UniformSampler

Array = NDArray[np.float64]

# Joints would have to move 50 times as fast as the tip. Of random joints the Panda has 6 in 100 below it, a KR6 7.
NEAR_SINGULAR = 0.02
EXACT = 1e-6  # singular values below it count as 0: then the Jacobian alone may not tell what is lost
DIFFERENCE = 1e-4  # rad, or m, of the central differences of the Jacobian
ELSEWHERE = 16  # joints that tell what the arm can do in general
PURE = 0.05  # share of a motion below which it is not worth a word


@dataclass(frozen=True, eq=False)
class LostMotion:
    """A motion of the tip that joints cannot make, or only by moving very fast.

    Its parts are a velocity of the tip and a turn about it, in the base frame. `str` says it in words.
    """

    direction: Array
    """Unit vector `(6,)`, [translation in units of `length`; rotation]; its largest entry is positive."""
    singular_value: float
    """Speed of the tip along it per speed of the joints, in these units; 0 where the motion is lost altogether."""
    length: float
    """What a translation is measured in: half the reach of the arm [m], so that lengths and turns compare."""

    @property
    def twist(self) -> Array:
        """The same motion as [velocity of the tip; angular velocity], `(6,)` [m/s, rad/s]."""
        return self.direction * np.repeat([self.length, 1.0], 3)

    def __str__(self) -> str:
        shift, turn = (float(np.linalg.norm(part)) for part in (self.direction[:3], self.direction[3:]))
        along, about = (_axis(part) for part in (self.direction[:3], self.direction[3:]))
        if turn < PURE:
            return f"translation along {along} [base frame]"
        if shift < PURE:
            return f"rotation about {about} [base frame]"
        pitch = self.length * shift / turn
        return f"translation along {along} with rotation about {about}, {pitch:.2f} m per rad [base frame]"


def weakest_motions(chain: Chain, q: Array, orientation: bool = True) -> list[LostMotion]:
    r"""Motions of the tip that joints can hardly make: those below `NEAR_SINGULAR`, at least the weakest one.

    They are left singular vectors u of the Jacobian, scaled so that its entries compare:

        J_s = diag(1/h, 1/h, 1/h, 1, 1, 1) J diag(c),    h half the reach, c = 1 for a hinge and h for a slide.

    Joints that move at unit speed move the tip by at most sigma along u. Only as many singular values count as differ
    from 0 somewhere: that five joints leave one motion out everywhere, and a planar arm three, is no singularity. Where
    such an arm is singular, the left null space holds more than what is lost, and the Jacobian of neighbouring joints
    decides: what is lost is what they gain, the range of d/dq (J_s v) in that space, with v the joint motions that move
    nothing.

    Args:
        chain: the arm.
        q: joints `(dof,)`.
        orientation: whether turns of the tip count.

    Returns:
        The weakest motion first; the others only where they are below `NEAR_SINGULAR`.
    """
    rows = n_rows(orientation)
    U, sigma, Vt = np.linalg.svd(_scaled(chain, q[None])[0, :rows])
    k = _freedoms(chain, rows)
    lost = int((sigma[:k] < EXACT).sum())
    if lost and k < rows:
        U[:, k - lost : k] = _gained_nearby(chain, q, U[:, k - lost :], Vt[k - lost :])[:, :lost]
    weak = [i for i in reversed(range(k)) if i == k - 1 or sigma[i] < NEAR_SINGULAR]
    return [_motion(chain, U[:, i], float(sigma[i])) for i in weak]


def smallest_singular_values(chain: Chain, q: Array, orientation: bool = True) -> Array:
    """Of the scaled Jacobians at joints `(m, dof)`, the smallest ones that count, `(m,)`; see `weakest_motions`."""
    rows = n_rows(orientation)
    sigma = np.linalg.svd(_scaled(chain, q)[:, :rows], compute_uv=False)
    return np.asarray(sigma[:, _freedoms(chain, rows) - 1])


def half_reach(chain: Chain) -> float:
    """What lengths are measured in [m]: half the reach; half the tool for an arm that has no links, or 1."""
    return 0.5 * (chain.reach or float(np.linalg.norm(chain.T_last_tip[:3, 3]))) or 1.0


def _scaled(chain: Chain, q: Array) -> Array:
    """Scaled Jacobians `(m, 6, dof)` in the first joint's frame."""
    h = half_reach(chain)
    columns = np.where(chain.hinges, 1.0, h)
    return tip_jacobian(chain, q) * np.repeat([1.0 / h, 1.0], 3)[:, None] * columns


def _freedoms(chain: Chain, rows: int) -> int:
    """In how many ways the tip can move at once, where it can move most freely; at least 1."""
    q = UniformSampler(chain).table(ELSEWHERE)
    sigma = np.linalg.svd(_scaled(chain, q)[:, :rows], compute_uv=False)
    return max(1, int((sigma > EXACT).sum(-1).max()))


def _gained_nearby(chain: Chain, q: Array, null: Array, still: Array) -> Array:
    """The directions within a left null space in which neighbouring joints move the tip by `still`, best first.

    Args:
        chain: the arm.
        q: joints `(dof,)`.
        null: base of the left null space `(rows, a)`.
        still: joint motions that move nothing here `(n, dof)`.
    """
    step = DIFFERENCE * np.eye(chain.dof)
    slope = (_scaled(chain, q + step) - _scaled(chain, q - step))[:, : len(null)] / (2.0 * DIFFERENCE)
    gained = np.einsum("ra,irj,nj->ain", null, slope, still).reshape(null.shape[1], -1)
    return np.asarray(null @ np.linalg.svd(gained)[0])


def _motion(chain: Chain, u: Array, sigma: float) -> LostMotion:
    R = chain.T_base_first[:3, :3]
    direction = np.concatenate([R @ u[:3], R @ u[3:] if len(u) == 6 else np.zeros(3)])
    largest = np.argmax(np.round(np.abs(direction), 6))  # the first of equal ones, whatever their last bits
    return LostMotion(direction * np.copysign(1.0, direction[largest]), sigma, half_reach(chain))


def _axis(vector: Array) -> str:
    unit = vector / max(float(np.linalg.norm(vector)), 1e-300)
    return "(" + ", ".join(f"{x:.2f}" for x in np.round(unit, 2) + 0.0) + ")"
