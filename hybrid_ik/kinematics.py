"""The arm's mathematics, written once over any scalar type; see `scalar_math`.

Everything here is about the inner arm: from the first joint frame to the last one, and a point on the last link.
Mount and tool are constants outside it (`Chain.first_last`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.scalar_math import (
    Cholesky,
    Matrix,
    NumpyMath,
    Scalar,
    ScalarMath,
    Vector,
    cross,
    damped_least_squares,
    dot,
)


def joint_frames(
    chain: Chain, q: Sequence[Scalar], math: ScalarMath
) -> tuple[Matrix, Vector, list[Vector], list[Vector]]:
    """Forward kinematics of the inner arm, with what the Jacobian needs.

    Args:
        chain: the arm's constants; its link transforms are multiplied in as numbers.
        q: `dof` scalars [rad, or m].
        math: functions of their type.

    Returns:
        `R_first_last` as rows, `p_first_last` [m], and the axis and origin of each joint, in the first joint frame.
    """
    R: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    p: Vector = [0.0, 0.0, 0.0]
    axes, origins = [], []
    for i, kind in enumerate(chain.kinds):
        if i > 0:
            T = chain.T_link[i - 1].tolist()
            p = [p[k] + dot(R[k], [T[0][3], T[1][3], T[2][3]]) for k in range(3)]
            R = [[dot(R[k], [T[0][j], T[1][j], T[2][j]]) for j in range(3)] for k in range(3)]
        axes.append([row[2] for row in R])
        origins.append(p)
        if kind == "hinge":
            s, c = math.sin_cos(q[i])
            R = [[row[0] * c + row[1] * s, row[1] * c - row[0] * s, row[2]] for row in R]
        else:
            p = [p[k] + R[k][2] * q[i] for k in range(3)]
    return R, p, axes, origins


def forward_kinematics(chain: Chain, q: Sequence[Scalar], math: ScalarMath) -> tuple[Matrix, Vector]:
    """`R_first_last` as rows and `p_first_last` [m] for `dof` scalars q [rad, or m]."""
    R, p, _, _ = joint_frames(chain, q, math)
    return R, p


def geometric_jacobian(chain: Chain, axes: list[Vector], origins: list[Vector], p: Vector) -> list[Vector]:
    """Columns [linear velocity of the point p; angular velocity] per unit joint velocity, as `mj_jac`.

    A hinge about z through o moves p by z x (p - o) and turns by z; a slide moves by z.
    """
    columns = []
    for kind, z, o in zip(chain.kinds, axes, origins, strict=True):
        if kind == "hinge":
            columns.append([*cross(z, [p[k] - o[k] for k in range(3)]), *z])
        else:
            columns.append([*z, 0.0, 0.0, 0.0])
    return columns


def tip_jacobian(chain: Chain, q: NDArray[np.float64]) -> NDArray[np.float64]:
    """`geometric_jacobian` of the tip for joints `(m, dof)`, in the first joint frame: `(m, 6, dof)`."""
    R, p_last, axes, origins = joint_frames(chain, list(q.T), NumpyMath())
    p = [p_last[k] + dot(R[k], chain.T_last_tip[:3, 3].tolist()) for k in range(3)]
    columns = geometric_jacobian(chain, axes, origins, p)
    J = np.empty((len(q), 6, chain.dof))
    for j, column in enumerate(columns):
        for i, x in enumerate(column):
            J[:, i, j] = x
    return J


class Residual(NamedTuple):
    """What is left between the tip and its target, which is turned by the angle a about the unit vector u."""

    position: Vector
    """p* - p [m]."""
    rotation: Vector
    """2 sin(a / 2) u: the rotation vector, but for a^3 / 24."""
    position_error_squared: Scalar
    """|p* - p|^2 [m^2]."""
    chord_squared: Scalar
    """4 sin^2(a / 2), the square of the length of `rotation`; see `chord`."""


def pose_residual(R: Matrix, p: Vector, R_target: Matrix, p_target: Vector, math: ScalarMath) -> Residual:
    """Twice the vector part of the quaternion that takes the tip onto its target, in the outer frame.

    R* R^T has the skew part sin(a) u and the trace 1 + 2 cos(a), so 2 sin(a/2) u = sin(a) u / cos(a/2). The chord is
    exact at both ends. At a = pi the axis is undefined and the rotation 0; 1e-5 before it, exact to a millionth.

    The rotation vector itself, with the inverse Jacobian of SO(3), takes as many steps (11.6 for an answer of the Panda
    from its first start, 0.849 of which converge), but an arctangent and a fifth more operations in each.
    """
    position = [p_target[k] - p[k] for k in range(3)]
    E = [[dot(R_target[i], R[j]) for j in range(3)] for i in range(3)]
    skew = [0.5 * (E[2][1] - E[1][2]), 0.5 * (E[0][2] - E[2][0]), 0.5 * (E[1][0] - E[0][1])]
    cosine = 0.5 * (E[0][0] + E[1][1] + E[2][2]) - 0.5
    reciprocal = math.inverse_sqrt(math.maximum(0.5 + 0.5 * cosine, TINY))
    rotation = [x * reciprocal for x in skew]
    chord_squared = math.where_less(cosine, 0.0, 2.0 - 2.0 * cosine, dot(rotation, rotation))
    return Residual(position, rotation, dot(position, position), chord_squared)


TINY = 1e-14  # under the square root in place of 0


def chord(angle: float) -> float:
    """2 sin(a / 2), the straight line between two points of the unit circle, for an angle a [rad] of at least 0."""
    return 2.0 * float(np.sin(0.5 * min(angle, np.pi)))


class Posture(NamedTuple):
    """Where the joints would rather be, and how much."""

    q: Sequence[Scalar]
    """The wanted joints."""
    weight_squared: Scalar
    """Square of the weight in the sum of squares; misses the pose by what the posture gains."""
    share: Scalar
    """Weight in units of the damping, which vanishes with the error: the pose is met exactly at the end."""


class Step(NamedTuple):
    """One Levenberg-Marquardt step and the errors where it began."""

    q: Vector
    """The joints after the step, within their limits."""
    position_error_squared: Scalar
    """[m^2], before the step."""
    chord_squared: Scalar
    """4 sin^2 of half the angle, before the step."""
    length_squared: Scalar
    """Squared length of the step."""


def lm_step(
    chain: Chain,
    q: Sequence[Scalar],
    R_target: Matrix,
    p_target: Vector,
    p_last_tip: Vector,
    orientation_weight: Scalar,
    damping: Scalar,
    math: ScalarMath,
    posture: Posture | None = None,
    damping_floor: float | None = None,
) -> Step:
    r"""One step of minimizing |e|^2, e = [p* - p; w r] with r of `pose_residual`, within the joint limits.

    The step solves min |J dq - e|^2 + mu |dq - v|^2 with mu = damping |e|^2 + `DAMPING_FLOOR`: the damping fades with
    the error, so the last steps converge quadratically (Sugihara, 2011, "Solvability-unconcerned inverse kinematics by
    the Levenberg-Marquardt method", eq. 21). v is 0, or points to the posture. Joints that are pressed against a limit
    take no part in the step; the others stop at theirs.

    Args:
        chain: the arm.
        q: `dof` scalars.
        R_target: `R_first_last` wanted, as rows.
        p_target: the tip's position wanted in the first joint frame [m].
        p_last_tip: the tip in the last joint frame [m].
        orientation_weight: w [m/rad]; 0 leaves the orientation free.
        damping: 0 is Gauss-Newton.
        math: functions of the scalars' type.
        posture: pulls the joints; None leaves that out of the program.
        damping_floor: the least mu; `DAMPING_FLOOR`, unless numbers are too coarse for it.
    """
    e, J, residual = _weighted(chain, q, R_target, p_target, p_last_tip, orientation_weight, math)
    mu = damping * dot(e, e) + (DAMPING_FLOOR if damping_floor is None else damping_floor)

    gradient = [dot(column, e) for column in J]
    pull: Vector = [0.0] * chain.dof
    if posture is not None:
        rho = posture.weight_squared + posture.share * mu
        mu = mu + rho
        pull = [(wanted - x) * (rho / mu) for wanted, x in zip(posture.q, q, strict=True)]
        gradient = [g + v * mu for g, v in zip(gradient, pull, strict=True)]
    free = [_is_free(x, g, lower, upper, math) for x, g, lower, upper in _bounded(chain, q, gradient)]
    J = [[f * x for x in column] for f, column in zip(free, J, strict=True)]
    pull = [f * v for f, v in zip(free, pull, strict=True)]

    left = [e[k] - dot([column[k] for column in J], pull) for k in range(6)]
    dq = [v + x for v, x in zip(pull, damped_least_squares(J, left, mu, math), strict=True)]
    new = [
        _clip(x, lower, upper, math)
        for x, _, lower, upper in _bounded(chain, [x + d for x, d in zip(q, dq, strict=True)], q)
    ]
    moved = [x - y for x, y in zip(new, q, strict=True)]
    return Step(new, residual.position_error_squared, residual.chord_squared, dot(moved, moved))


# Steps per success of random Panda starts, 6,000 poses, 20 steps: 1e-4 46, 1e-5 41, 1e-6 40.3, 1e-8 and 1e-10 40.0.
DAMPING_FLOOR = 1e-10


class CurveStep(NamedTuple):
    """What `curve_step` finds at some joints."""

    correction: Vector
    """The step to be taken."""
    tangent: Vector
    """Where the errors do not change; not of unit length."""
    position_error_squared: Scalar
    """[m^2], before the step."""
    chord_squared: Scalar
    """4 sin^2 of half the angle, before the step."""
    inverse_trace: Scalar
    """Sum of 1 / sigma^2 over the singular values sigma of [J; b] [1/m^2]: large where two curves come near."""


def curve_step(
    chain: Chain,
    q: Sequence[Scalar],
    border: Sequence[Scalar],
    offset: Scalar,
    R_target: Matrix,
    p_target: Vector,
    p_last_tip: Vector,
    orientation_weight: Scalar,
    damping: Scalar,
    math: ScalarMath,
) -> CurveStep:
    r"""Newton's step onto the curve of joints that meet a pose, and the direction in which the curve goes on.

    An arm with one joint more than its task has rows meets a pose along curves. With J and e as in `lm_step`, without
    limits, and a row b beside J that is not orthogonal to the curve, the step x and the tangent y have

        [J; b] x = [e; offset],    [J; b] y = [0; 1].

    b along the curve and no offset leads straight back to it (Allgower and Georg, 1990, "Numerical Continuation
    Methods", ch. 4); b a unit vector and the way to a limit leads to where a joint meets its limit. Both are solved
    through A^T A + mu I with A = [J; b], mu = damping |e|^2 + `CURVE_FLOOR`. With b = 0 the step is that of
    Levenberg and Marquardt.

    Args:
        chain: the arm; its limits count for nothing here.
        q: `dof` scalars.
        border: b.
        offset: see above.
        R_target: see `lm_step`, as all that follow.
        p_target: [m].
        p_last_tip: [m].
        orientation_weight: [m/rad].
        damping: of steps that begin far from the curve.
        math: functions of the scalars' type.
    """
    e, J, residual = _weighted(chain, q, R_target, p_target, p_last_tip, orientation_weight, math)
    factors = Cholesky(
        [[*column, b] for column, b in zip(J, border, strict=True)], damping * dot(e, e) + CURVE_FLOOR, math
    )
    wanted = [*e, offset]
    correction = factors.solve([dot([*column, b], wanted) for column, b in zip(J, border, strict=True)])
    errors = residual.position_error_squared, residual.chord_squared
    return CurveStep(correction, factors.solve(list(border)), *errors, factors.inverse_trace())


CURVE_FLOOR = 1e-12


def _weighted(
    chain: Chain,
    q: Sequence[Scalar],
    R_target: Matrix,
    p_target: Vector,
    p_last_tip: Vector,
    orientation_weight: Scalar,
    math: ScalarMath,
) -> tuple[Vector, list[Vector], Residual]:
    """e = [p* - p; w r], the columns of its Jacobian but for the sign, and the residual."""
    R, p_last, axes, origins = joint_frames(chain, q, math)
    p = [p_last[k] + dot(R[k], p_last_tip) for k in range(3)]
    residual = pose_residual(R, p, R_target, p_target, math)
    e = [*residual.position, *(orientation_weight * x for x in residual.rotation)]
    J = geometric_jacobian(chain, axes, origins, p)
    # A turn about z changes r by -z + O(|r|): near the target the steps converge quadratically.
    return e, [[*column[:3], *(orientation_weight * x for x in column[3:])] for column in J], residual


def _bounded(chain: Chain, x: Sequence[Scalar], y: Sequence[Scalar]) -> Any:
    return zip(x, y, chain.lower.tolist(), chain.upper.tolist(), strict=True)


def _is_free(q: Scalar, gradient: Scalar, lower: float, upper: float, math: ScalarMath) -> Scalar:
    """0.0 where the joint is on a limit and the gradient presses it outwards, else 1.0."""
    free: Scalar = 1.0
    if lower > -np.inf:
        free = math.where_less(lower, q, 1.0, math.where_less(gradient, 0.0, 0.0, 1.0))
    if upper < np.inf:
        free = math.where_less(q, upper, free, math.where_less(0.0, gradient, 0.0, free))
    return free


def _clip(q: Scalar, lower: float, upper: float, math: ScalarMath) -> Scalar:
    if lower > -np.inf:
        q = math.maximum(q, lower)
    return math.minimum(q, upper) if upper < np.inf else q
