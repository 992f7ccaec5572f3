"""Other people's solvers as refiners, so that a comparison differs in nothing else.

Each gets our residual and derivative where it takes one, `config.max_iterations` as its own limit, and the joint limits
where it knows of any. What it brings is judged by `rows.judge`, not by what it says of itself.
"""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import HybridIKError, InvalidInputError
from hybrid_ik.kinematics import geometric_jacobian, joint_frames, pose_residual
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import Array, LMConfig
from hybrid_ik.refiners.mujoco import TipError, WeightedResidual
from hybrid_ik.refiners.rows import Claims, RowRefiner
from hybrid_ik.result import Status
from hybrid_ik.robot import Robot
from hybrid_ik.scalar_math import NumpyMath, dot


class Baseline(RowRefiner):
    """Base of the solvers that take a residual, its derivative and a start."""

    def __init__(self, robot: Robot, config: LMConfig = LMConfig(max_iterations=100)) -> None:  # noqa: B008
        super().__init__(robot, config)
        if config.regularization > 0 and config.regularization_mode != "sum":
            raise InvalidInputError(
                f"{type(self).__name__} minimizes a sum of squares: set regularization_mode='sum', "
                f"got {config.regularization_mode!r} (or regularization=0)"
            )

    @abstractmethod
    def refine_row(self, residual: WeightedResidual, q0: Array) -> tuple[Array, int]:
        """Joints (dof,) and the number of steps that led to them, from a start (dof,) within the limits."""

    def refine_rows(self, target: Pose, q0: Array) -> Claims:
        """`refine_row` for each start; they end out of steps, or at rest (`judge` finds those that converged)."""
        config, error = self.config, TipError(self.robot)
        q, steps = q0.copy(), np.zeros(len(q0), np.int32)
        for i in range(len(q0)):
            aimed = error.aim(target[i])
            residual = WeightedResidual(aimed, config.orientation_weight, config.regularization, self.wanted)
            q[i], steps[i] = self.refine_row(residual, q0[i])
        return q, steps, _ended(steps, config.max_iterations)


class ScipyRefiner(Baseline):
    """`scipy.optimize.least_squares` with bounds, to the precision it can hold.

    Args:
        robot: the arm.
        config: steps, weights and tolerances.
        method: "dogbox" or "trf". From the middle of the ranges, 100 evaluations, "dogbox" reaches 88 % of random Panda
            poses in 4 ms each, "trf" 64 % in 26 ms: it keeps away from limits.
    """

    def __init__(
        self,
        robot: Robot,
        config: LMConfig = LMConfig(max_iterations=100),  # noqa: B008
        method: Literal["dogbox", "trf"] = "dogbox",
    ) -> None:
        super().__init__(robot, config)
        self.method = method

    def refine_row(self, residual: WeightedResidual, q0: Array) -> tuple[Array, int]:
        """Steps are evaluations of the residual."""
        from scipy.optimize import least_squares

        found = least_squares(
            residual,
            q0,
            residual.jacobian,
            method=self.method,
            bounds=(self.chain.lower, self.chain.upper),
            max_nfev=self.config.max_iterations,
            ftol=TIGHT,
            xtol=TIGHT,
            gtol=TIGHT,
        )
        return found.x, found.nfev


TIGHT = 1e-14  # relative tolerances; with scipy's own 1e-8 one answer in some is left at a few micrometres


class MinimizeRefiner(Baseline):
    """`mujoco.minimize.least_squares`: MuJoCo's Levenberg-Marquardt with box bounds."""

    def refine_row(self, residual: WeightedResidual, q0: Array) -> tuple[Array, int]:
        """Steps are its iterations."""
        from mujoco import minimize

        found, trace = minimize.least_squares(
            q0,
            lambda x: np.stack([residual(column) for column in x.T], axis=1),
            bounds=self._bounds,
            jacobian=lambda x, _: residual.jacobian(x[:, 0]),
            xtol=TIGHT,
            gtol=TIGHT,
            max_iter=self.config.max_iterations,
            verbose=minimize.Verbosity.SILENT,
        )
        return found.ravel(), len(trace) - 1

    @cached_property
    def _bounds(self) -> list[Array]:
        """Limits, finite as it wants them: a thousand turns where a joint has none."""
        far = 2000 * np.pi
        return [np.maximum(self.chain.lower, -far), np.minimum(self.chain.upper, far)]


class DmControlRefiner(RowRefiner):
    """`dm_control.utils.inverse_kinematics.qpos_from_site_pose`, which knows of no joint limits.

    Raises:
        InvalidInputError: the tip is a body, it wants a site; or a joint has no name.
        HybridIKError: dm_control is missing, or does not work with this mujoco.
    """

    def __init__(self, robot: Robot, config: LMConfig = LMConfig(max_iterations=100)) -> None:  # noqa: B008
        super().__init__(robot, config)
        if mujoco.mj_name2id(robot.model, mujoco.mjtObj.mjOBJ_SITE, robot.tip) < 0:
            raise InvalidInputError(f"dm_control places sites only: choose a site as the tip, not body {robot.tip!r}")
        joints = [mujoco.mj_name2id(robot.model, mujoco.mjtObj.mjOBJ_JOINT, name) for name in robot.joint_names]
        if min(joints) < 0:
            raise InvalidInputError(f"dm_control finds joints by name: {robot.name!r} has joints without one")
        self._qpos_ids = robot.model.jnt_qposadr[joints]
        self._physics = _dm_control_physics(robot.model)

    def refine_rows(self, target: Pose, q0: Array) -> Claims:
        """One call for each start; joints it leaves beyond their limits are brought back as they are."""
        from dm_control.utils.inverse_kinematics import qpos_from_site_pose

        config, physics = self.config, self._physics
        T_world_base = self.robot.T_world_base
        q, steps = q0.copy(), np.zeros(len(q0), np.int32)
        for i in range(len(q0)):  # its name for a step is its index: the last one has the number max_steps - 1
            goal = T_world_base @ target[i]
            physics.data.qpos[self._qpos_ids] = q0[i]
            with _silent_absl():
                found = qpos_from_site_pose(
                    physics,
                    self.robot.tip,
                    goal.position,
                    goal.quaternion if config.orientation_weight > 0 else None,
                    self.robot.joint_names,
                    tol=min(config.position_tolerance, config.orientation_tolerance),
                    max_steps=config.max_iterations,
                    inplace=True,  # it copies all of the data otherwise, which takes longer than the rest
                )
            q[i], steps[i] = found.qpos[self._qpos_ids], found.steps + 1
        return q, steps, _ended(steps, config.max_iterations)


@contextmanager
def _silent_absl() -> Iterator[None]:
    """It logs each start that does not converge; here that is data."""
    logger = logging.getLogger("absl")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _dm_control_physics(model: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a display while it is imported
            from dm_control import mujoco as dm_mujoco
            from dm_control.mujoco.wrapper import MjModel
        return dm_mujoco.Physics.from_model(MjModel(model))
    except ImportError as error:
        raise HybridIKError(f"dm_control could not be imported ({error}): pip install dm_control") from error
    except AttributeError as error:  # it lists the fields of a model by name, and new versions of mujoco drop some
        raise HybridIKError(
            f"this dm_control does not work with mujoco {mujoco.__version__} ({error}); "
            "dm_control 1.0.50 and mujoco 3.17.0 go together"
        ) from error


class AdamRefiner(RowRefiner):
    r"""Adam (Kingma and Ba, 2015) on the loss :math:`|p^* - p|^2 / 3 + 0.1 (1 - \langle Q, Q^* \rangle^2)`.

    All rows at once, joints clamped to their limits after every step. :math:`\langle Q, Q^* \rangle` is the cosine of
    half the angle a, so the second term is :math:`0.05 (1 - \cos a)`, whose gradient is :math:`-0.05 J_\omega^T
    (\sin a\, u)`, u the axis. First order: millimetres after tens of steps, not micrometres.

    Args:
        robot: the arm.
        config: `max_iterations` is the number of steps; the weight of the orientation is that of the loss.
        learning_rate: the length of a step of each joint, at most [rad, or m].
    """

    def __init__(
        self,
        robot: Robot,
        config: LMConfig = LMConfig(max_iterations=100),  # noqa: B008
        learning_rate: float = 0.05,
    ) -> None:
        super().__init__(robot, config)
        self.learning_rate = learning_rate

    def refine_rows(self, target: Pose, q0: Array) -> Claims:
        """`max_iterations` steps of all rows together; no row looks at another."""
        beta1, beta2, epsilon = 0.9, 0.999, 1e-8
        q, mean, square = q0.copy(), np.zeros_like(q0), np.zeros_like(q0)
        for step in range(1, self.config.max_iterations + 1):
            gradient = self.gradient(target, q)
            mean += (1 - beta1) * (gradient - mean)
            square += (1 - beta2) * (gradient**2 - square)
            scale = np.sqrt(square / (1 - beta2**step)) + epsilon
            q -= self.learning_rate * mean / (1 - beta1**step) / scale
            np.clip(q, self.chain.lower, self.chain.upper, out=q)
        steps = np.full(len(q), self.config.max_iterations, np.int32)
        return q, steps, _ended(steps, self.config.max_iterations)

    def gradient(self, target: Pose, q: Array) -> Array:
        """Gradient (m, dof) of the loss of each row, for targets (m,) and joints (m, dof)."""
        p_first_last, R_first_last = self.chain.first_last(target)
        p_last_tip = self.chain.T_last_tip[:3, 3]
        p_target = p_first_last + R_first_last @ p_last_tip
        math = NumpyMath()
        R, p_last, axes, origins = joint_frames(self.chain, list(q.T), math)
        p = [p_last[k] + dot(R[k], p_last_tip.tolist()) for k in range(3)]
        R_target = [[R_first_last[:, i, j] for j in range(3)] for i in range(3)]
        residual = pose_residual(R, p, R_target, list(p_target.T), math)
        half_cosine = np.sqrt(1.0 - np.minimum(0.25 * residual.chord_squared, 1.0))
        sine_axis = [x * half_cosine for x in residual.rotation]  # sin a = 2 sin(a/2) cos(a/2)
        turn = 0.05 if self.config.orientation_weight > 0 else 0.0
        pull = [*(2 / 3 * x for x in residual.position), *(turn * x for x in sine_axis)]
        columns = geometric_jacobian(self.chain, axes, origins, p)
        return np.stack([-dot(column, pull) * np.ones(len(q)) for column in columns], axis=1)


def _ended(steps: NDArray[np.int32], max_iterations: int) -> NDArray[np.int8]:
    return np.where(steps >= max_iterations, Status.MAX_ITERATIONS, Status.STALLED).astype(np.int8)
