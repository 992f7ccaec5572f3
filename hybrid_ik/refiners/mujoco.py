"""The reference refiner: Levenberg-Marquardt on MuJoCo's own kinematics, one start at a time, written to be read."""

from __future__ import annotations

import mujoco
import numpy as np

from hybrid_ik.arm import arm_joints, find_frame
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kinematics import DAMPING_FLOOR, chord
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import Array
from hybrid_ik.refiners.rows import Claims, RowRefiner
from hybrid_ik.result import Status
from hybrid_ik.robot import Robot


class TipError:
    r"""What is left between the tip and its target, and how the joints change it; in the world, by MuJoCo.

    .. math:: e(q) = [\,p^* - p;\ \log(R^T R^*)\,], \qquad
              \partial e / \partial q = [\,-J_p;\ D_b R^T J_\omega\,]

    p and R are the tip's position and rotation. The lower part is the rotation vector [rad] of `mju_subQuat(Q*, Q)`,
    in the frame of the tip. `mj_jacSite` gives J_omega, the tip's angular velocity in the world; R^T takes it into the
    frame of the tip, where `mjd_subQuat` holds the derivative by its second quaternion: D_b = -J_l^{-1}, minus the
    inverse left Jacobian of SO(3) at the rotation vector. At e = 0 it is -I: turning towards the target shortens e.

    Args:
        robot: the arm. The object works in an `MjData` of its own, so each thread needs one.
    """

    def __init__(self, robot: Robot) -> None:
        self.model, self.data = robot.model, mujoco.MjData(robot.model)
        self.tip = find_frame(robot.model, robot.tip, "tip")
        joints = arm_joints(robot.model, find_frame(robot.model, robot.base, "base"), self.tip)
        self._qpos_ids, self._dof_ids = robot.model.jnt_qposadr[joints], robot.model.jnt_dofadr[joints]
        self._T_world_base = robot.T_world_base
        self._position, self._quaternion, self._J = np.zeros(3), np.zeros(4), np.empty((6, robot.model.nv))

    def aim(self, T_base_tip: Pose) -> TipError:
        """Sets the target, one pose of the tip in the base."""
        target = self._T_world_base @ T_base_tip
        self._position, self._quaternion = target.position, target.quaternion
        return self

    def __call__(self, q: Array) -> Array:
        """e (6,): [m], then [rad], its lower half no longer than pi; for joints (dof,)."""
        position, rotation = self._place(q)
        r = np.empty(3)
        mujoco.mju_subQuat(r, self._quaternion, _quaternion(rotation))
        return np.concatenate([self._position - position, r])

    def jacobian(self, q: Array) -> Array:
        """de/dq (6, dof), for joints (dof,)."""
        J = self.velocity(q)
        D_target, D_tip = np.empty((3, 3)), np.empty((3, 3))
        mujoco.mjd_subQuat(self._quaternion, _quaternion(self._place(q)[1]), D_target, D_tip)
        return np.concatenate([-J[:3], D_tip @ J[3:]])

    def velocity(self, q: Array) -> Array:
        """[J_p; R^T J_omega] (6, dof): velocity of the tip in the world, its angular velocity in its own frame."""
        _, rotation = self._place(q)
        mujoco.mj_comPos(self.model, self.data)
        J = self._J
        if self.tip.site is None:
            mujoco.mj_jacBody(self.model, self.data, J[:3], J[3:], self.tip.body)
        else:
            mujoco.mj_jacSite(self.model, self.data, J[:3], J[3:], self.tip.site)
        return np.concatenate([J[:3, self._dof_ids], rotation.reshape(3, 3).T @ J[3:, self._dof_ids]])

    def _place(self, q: Array) -> tuple[Array, Array]:
        """Position (3,) and rotation matrix (9,) of the tip in the world."""
        self.data.qpos[self._qpos_ids] = q
        mujoco.mj_kinematics(self.model, self.data)
        if self.tip.site is None:
            return self.data.xpos[self.tip.body], self.data.xmat[self.tip.body]
        return self.data.site_xpos[self.tip.site], self.data.site_xmat[self.tip.site]


class WeightedResidual:
    """The sum of squares in full, for solvers of others: [p* - p; w r; regularization (q_wanted - q)].

    Args:
        error: aimed at the target.
        orientation_weight: w, metres that one radian is worth.
        regularization: weight of the posture; 0 leaves the block out.
        wanted: the posture (dof,).
    """

    def __init__(self, error: TipError, orientation_weight: float, regularization: float, wanted: Array) -> None:
        self.error, self.regularization, self.wanted = error, regularization, wanted
        self.weights = np.repeat([1.0, orientation_weight], 3)

    def __call__(self, q: Array) -> Array:
        """The residual (6,) or (6 + dof,) at joints (dof,)."""
        e = self.weights * self.error(q)
        return e if self.regularization == 0 else np.concatenate([e, self.regularization * (self.wanted - q)])

    def jacobian(self, q: Array) -> Array:
        """Its derivative (6, dof) or (6 + dof, dof); that of the posture is a scaled identity."""
        J = self.weights[:, None] * self.error.jacobian(q)
        return J if self.regularization == 0 else np.concatenate([J, -self.regularization * np.eye(len(q))])


class MujocoRefiner(RowRefiner):
    """Levenberg-Marquardt on MuJoCo's kinematics; takes the steps of `LaneRefiner`, and serves as its reference.

    Args:
        robot: the arm.
        config: steps and tolerances; `damping=0` is Gauss-Newton.
    """

    def refine_rows(self, target: Pose, q0: Array) -> Claims:
        """One start after another, each until its verdict."""
        error = TipError(self.robot)
        q, steps, status = q0.copy(), np.zeros(len(q0), np.int32), np.zeros(len(q0), np.int8)
        for i in range(len(q0)):
            q[i], steps[i], status[i] = self._descend(error.aim(target[i]), q0[i])
        return q, steps, status

    def _descend(self, error: TipError, q: Array) -> tuple[Array, int, Status]:
        steps = 0
        while True:
            e = error(q)
            new = self._step(q, e, error.velocity(q), steps)
            if (status := self._verdict(e, new - q, steps)) is not None:
                return q, steps, status
            q, steps = new, steps + 1

    def _step(self, q: Array, e: Array, J: Array, steps: int) -> Array:
        """The joints after one step, within their limits; `kinematics.lm_step` in matrices."""
        config, chain = self.config, self.chain
        weights = np.repeat([1.0, config.orientation_weight], 3)

        # The turn that is left counts by its chord, 2 sin(a / 2); J dq is what a step takes off e, up to |e| |dq|.
        angle = np.linalg.norm(e[3:])
        scale = chord(float(angle)) / angle if angle > 0 else 1.0
        e, J = weights * np.concatenate([e[:3], scale * e[3:]]), weights[:, None] * J

        # Far from the target the damping is strong and the step short; near it, it fades: Gauss-Newton, quadratic.
        mu = config.damping * (e @ e) + DAMPING_FLOOR
        gradient = J.T @ e
        pull = np.zeros(chain.dof)

        # The posture is one more spring, of weight rho: with the damping's mu |dq|^2 it makes mu |dq - pull|^2.
        if config.regularization > 0:
            rho: Array | float = config.regularization**2
            if config.regularization_mode == "exact":  # it fades with the damping, and rests in the last steps
                rho *= mu if steps < config.pulled_steps else 0.0
            mu = mu + rho
            pull = (self.wanted - q) * (rho / mu)
            gradient = gradient + mu * pull

        # A joint on a limit that would be pushed further out stays; the others share the work.
        free = ~(((q <= chain.lower) & (gradient < 0)) | ((q >= chain.upper) & (gradient > 0)))
        J, pull = J * free, pull * free

        # min |J dq - e|^2 + mu |dq - pull|^2, as one tall least-squares problem in x = dq - pull.
        tall = np.concatenate([J, np.sqrt(mu) * np.eye(chain.dof)])
        x = np.linalg.lstsq(tall, np.concatenate([e - J @ pull, np.zeros(chain.dof)]), rcond=None)[0]
        return np.clip(q + pull + x * free, chain.lower, chain.upper)  # x of a zero column is not quite zero

    def _verdict(self, e: Array, moved: Array, steps: int) -> Status | None:
        """Why to stop where the error is `e` and the next step would be `moved`; None to go on."""
        config = self.config
        reached = e[:3] @ e[:3] <= config.position_tolerance**2 and (
            np.linalg.norm(e[3:]) <= config.orientation_tolerance or config.orientation_weight == 0
        )
        settled = not moved @ moved > config.step_tolerance**2
        last = steps >= config.max_iterations
        if reached and (settled or last or config.regularization == 0):  # a posture still acts in the null space
            return Status.CONVERGED
        if settled:
            return Status.STALLED
        return Status.MAX_ITERATIONS if last else None


def check_jacobian(
    robot: Robot,
    q: Array,
    target: Pose,
    *,
    orientation_weight: float = 1.0,
    regularization: float = 0.0,
    step: float = 1e-5,
) -> float:
    """Largest difference between the analytic Jacobian of the residual and central finite differences.

    Near half a turn two rotation vectors, r and r - 2 pi r/|r|, say the same and `mju_subQuat` takes the shorter: the
    differences are taken on the one that continues r at `q`, so that they mean something at pi as well.

    Args:
        robot: the arm.
        q: joints `(dof,)` [rad, or m].
        target: one pose of the tip in the base.
        orientation_weight: of the residual [m/rad].
        regularization: of the residual; the posture is the middle of the joint ranges.
        step: half the width of the differences [rad, or m].

    Returns:
        The largest entry of the difference, about 1e-9 when all is well.

    Raises:
        InvalidInputError: `q` is not one finite configuration, or `target` not one pose.
    """
    q = np.asarray(q, dtype=float)
    if q.shape != (robot.dof,) or not np.isfinite(q).all() or target.shape:
        raise InvalidInputError(
            f"check_jacobian: expected finite q of shape ({robot.dof},) and one target, got q of shape {q.shape} "
            f"and a target of shape {target.shape}"
        )
    residual = WeightedResidual(TipError(robot).aim(target), orientation_weight, regularization, robot.chain.middle)
    middle = residual(q)
    numeric = np.empty((len(middle), robot.dof))
    for i, offset in enumerate(step * np.eye(robot.dof)):
        after, before = (_continued(residual(x), middle, orientation_weight) for x in (q + offset, q - offset))
        numeric[:, i] = (after - before) / (2 * step)
    return float(np.abs(residual.jacobian(q) - numeric).max())


def _continued(e: Array, near: Array, orientation_weight: float) -> Array:
    """The residual with that of its two rotation vectors that is nearer to the one of `near`."""
    r = e[3:6]
    length = np.linalg.norm(r)
    if r @ near[3:6] >= 0 or length == 0:
        return e
    other = r * (1 - 2 * np.pi * orientation_weight / length)
    if np.linalg.norm(other - near[3:6]) > np.linalg.norm(r - near[3:6]):
        return e
    return np.concatenate([e[:3], other, e[6:]])


def _quaternion(rotation: Array) -> Array:
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, rotation)
    return quaternion
