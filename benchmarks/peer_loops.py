"""Solvers that make one step: mink, pink, placo, pinocchio. The loop around the steps, and its restarts, are ours."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from peer_adaptors import Array, RestartedPeer
from peer_urdf import TIP, urdf_file

from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot


class Loop(RestartedPeer):
    """Steps from a start until both errors are within `tolerance` [m, rad], or there were `steps` of them."""

    def __init__(self, robot: Robot, seed: int = 0, *, tolerance: float = 1e-6, steps: int = 50) -> None:
        super().__init__(robot, seed)
        self.tolerance, self.steps = tolerance, steps

    def close(self, twist: Array) -> bool:
        """Whether an error of three lengths and three angles is within the tolerance."""
        position, orientation = twist[:3] @ twist[:3], twist[3:] @ twist[3:]
        return bool(max(position, orientation) <= self.tolerance**2)


class Mink(Loop):
    """mink: one frame task, limits as constraints, a step of full length (dt = 1)."""

    package = "mink"

    def __init__(self, robot: Robot, seed: int = 0, *, damping: float = 1e-12, lm_damping: float = 0.0, **options: Any):
        super().__init__(robot, seed, **options)
        import mink

        self.mink, self.damping = mink, damping
        self.configuration = mink.Configuration(robot.model)
        kind = "site" if mujoco.mj_name2id(robot.model, mujoco.mjtObj.mjOBJ_SITE, robot.tip) >= 0 else "body"
        self.task = mink.FrameTask(robot.tip, kind, position_cost=1.0, orientation_cost=1.0, lm_damping=lm_damping)
        self.limits = [mink.ConfigurationLimit(robot.model)]
        self.ids = np.array([robot.model.joint(name).qposadr[0] for name in robot.joint_names])

    def goal(self, T_base_tip: Pose) -> Any:
        """In the world, as its own kind of transform."""
        T_world_tip = self.robot.T_world_base @ T_base_tip
        return self.mink.SE3(np.concatenate([T_world_tip.quaternion, T_world_tip.position]))

    def attempt(self, goal: Any, q_start: Array) -> Array | None:
        """Quadratic programs by DAQP."""
        configuration, task = self.configuration, self.task
        qpos = configuration.q
        qpos[self.ids] = q_start
        configuration.update(qpos)
        task.set_target(goal)
        for _ in range(self.steps):
            try:
                velocity = self.mink.solve_ik(
                    configuration, [task], 1.0, "daqp", damping=self.damping, limits=self.limits
                )
            except self.mink.NoSolutionFound:
                return None
            configuration.integrate_inplace(velocity, 1.0)
            if self.close(task.compute_error(configuration)):
                return configuration.q[self.ids]
        return None

    def forward(self, q: Array) -> Array:
        """Of the model itself."""
        qpos = self.configuration.q
        qpos[self.ids] = q
        self.configuration.update(qpos)
        T_world_tip = self.configuration.get_transform_frame_to_world(self.task.frame_name, self.task.frame_type)
        return np.linalg.inv(self.robot.T_world_base.matrix()) @ T_world_tip.as_matrix()


class Pinocchio(Loop):
    """The closed-loop example of pinocchio's documentation: damped least squares on the logarithm of the error.

    It knows no limits: with `clamp`, joints are moved onto them after each step; without, an answer beyond them is
    thrown away.
    """

    package = "pin"

    def __init__(
        self, robot: Robot, seed: int = 0, *, dt: float, damping: float, clamp: bool = False, **options: Any
    ) -> None:
        super().__init__(robot, seed, **options)
        import pinocchio as pin

        self.pin, self.dt, self.damping, self.clamp = pin, dt, damping, clamp
        with urdf_file(robot) as path:
            self.model = pin.buildModelFromUrdf(str(path))
        self.data, self.frame = self.model.createData(), self.model.getFrameId(TIP)

    def goal(self, T_base_tip: Pose) -> Any:
        """Its own kind of transform."""
        return self.pin.SE3(T_base_tip.matrix())

    def attempt(self, goal: Any, q_start: Array) -> Array | None:
        """`dq = -J^T (J J^T + damping I)^-1 e`, `q <- q + dt dq`."""
        pin, model, data, q = self.pin, self.model, self.data, q_start.copy()
        for _ in range(self.steps):
            pin.framesForwardKinematics(model, data, q)
            T_tip_goal = data.oMf[self.frame].actInv(goal)
            error = pin.log(T_tip_goal).vector
            if self.close(error):
                return q if self.inside(q) else None
            J = -pin.Jlog6(T_tip_goal.inverse()) @ pin.computeFrameJacobian(model, data, q, self.frame)
            q -= self.dt * J.T @ np.linalg.solve(J @ J.T + self._damping(error), error)
            if self.clamp:
                np.clip(q, self.robot.lower, self.robot.upper, out=q)
        return None

    def _damping(self, error: Array) -> Array:
        return (self.damping * (error @ error if self.clamp else 1.0) + 1e-12) * np.eye(6)

    def forward(self, q: Array) -> Array:
        """Of the file it has read."""
        self.pin.framesForwardKinematics(self.model, self.data, q)
        return self.data.oMf[self.frame].homogeneous


class Pink(Loop):
    """pink: one frame task, limits as constraints, a step of full length (dt = 1)."""

    package = "pin-pink"

    def __init__(self, robot: Robot, seed: int = 0, *, lm_damping: float = 0.0, **options: Any) -> None:
        super().__init__(robot, seed, **options)
        import pink
        import pinocchio as pin

        self.pin, self.pink = pin, pink
        with urdf_file(robot) as path:
            self.model = pin.buildModelFromUrdf(str(path))
        self.data = self.model.createData()
        self.configuration = pink.Configuration(self.model, self.data, robot.home)
        self.task = pink.FrameTask(TIP, position_cost=1.0, orientation_cost=1.0, lm_damping=lm_damping)

    def goal(self, T_base_tip: Pose) -> Any:
        """Its own kind of transform."""
        return self.pin.SE3(T_base_tip.matrix())

    def attempt(self, goal: Any, q_start: Array) -> Array | None:
        """Quadratic programs by DAQP."""
        configuration, task = self.configuration, self.task
        configuration.update(q_start)
        task.set_target(goal)
        for _ in range(self.steps):
            try:
                velocity = self.pink.solve_ik(configuration, [task], 1.0, solver="daqp", safety_break=False)
            except self.pink.exceptions.PinkError:
                return None
            configuration.integrate_inplace(velocity, 1.0)
            if self.close(task.compute_error(configuration)):
                return configuration.q.copy()
        return None

    def forward(self, q: Array) -> Array:
        """Of the file it has read."""
        self.configuration.update(q)
        return self.configuration.get_transform_frame_to_world(TIP).homogeneous


class Placo(Loop):
    """placo: one soft frame task, limits as constraints, no floating base."""

    package = "placo"

    def __init__(self, robot: Robot, seed: int = 0, *, regularization: float = 0.0, **options: Any) -> None:
        super().__init__(robot, seed, **options)
        import placo

        with urdf_file(robot) as path:
            self.arm = placo.RobotWrapper(str(path), placo.Flags.ignore_collisions)
        self.solver = placo.KinematicsSolver(self.arm)
        self.solver.mask_fbase(True)
        self.task = self.solver.add_frame_task(TIP, np.eye(4))
        self.task.configure(TIP, "soft", 1.0, 1.0)
        if regularization:
            self.solver.add_regularization_task(regularization)
        self.first = len(self.arm.state.q) - robot.dof  # after the floating base

    def attempt(self, goal: Any, q_start: Array) -> Array | None:
        """Its own quadratic programs."""
        self._place(q_start)
        self.task.T_world_frame = goal
        for _ in range(self.steps):
            try:
                self.solver.solve(True)
            except RuntimeError:
                return None
            self.arm.update_kinematics()
            if self._reached(goal):
                return np.array(self.arm.state.q[self.first :])
        return None

    def _reached(self, goal: Array) -> bool:
        """|R - R*| is the square root of 2 times the angle, where that is small."""
        difference = self.arm.get_T_world_frame(TIP) - goal
        turned = np.linalg.norm(difference[:3, :3]) / np.sqrt(2)
        return bool(max(np.linalg.norm(difference[:3, 3]), turned) <= self.tolerance)

    def forward(self, q: Array) -> Array:
        """Of the file it has read."""
        self._place(q)
        return self.arm.get_T_world_frame(TIP)

    def _place(self, q: Array) -> None:
        state = np.array(self.arm.state.q)
        state[self.first :] = q
        self.arm.state.q = state
        self.arm.update_kinematics()
