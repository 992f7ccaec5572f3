"""Numeric solvers that restart on their own: OptiK, TRAC-IK, the Robotics Toolbox, Klampt, pytorch_kinematics."""

from __future__ import annotations

from typing import Any

import numpy as np
from peer_adaptors import TIME_CAP, Array, Peer
from peer_urdf import BASE, TIP, urdf_file

from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot


class Optik(Peer):
    """OptiK; `tol_f` bounds a sum of squared errors, so that its default leaves up to a millimetre."""

    package = "optik-py"

    def __init__(self, robot: Robot, seed: int = 0, **options: Any) -> None:
        super().__init__(robot, seed)
        import optik

        with urdf_file(robot) as path:
            self.arm = optik.Robot.from_urdf_file(str(path), BASE, TIP)
        self.arm.set_parallelism(1)
        self.config = optik.SolverConfig(solution_mode="speed", max_time=TIME_CAP, **options)

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """From the start, then from its own random ones."""
        found = self.arm.ik(self.config, goal, self.robot.home if q_start is None else q_start)
        return None if found is None else np.array(found[0])

    def forward(self, q: Array) -> Array:
        """Of the file it has read."""
        return np.array(self.arm.fk(q))


class TracIK(Peer):
    """TRAC-IK by pytracik: two solvers in two threads, which here share one core."""

    package = "pytracik"

    def __init__(self, robot: Robot, seed: int = 0, *, timeout: float = 0.005, epsilon: float = 1e-5) -> None:
        super().__init__(robot, seed)
        import pytracik

        self.trac_ik = pytracik
        with urdf_file(robot) as path:
            self.arm = pytracik.TRAC_IK(BASE, TIP, path.read_text(), timeout, epsilon, pytracik.SolveType.Speed)

    def goal(self, T_base_tip: Pose) -> tuple[float, ...]:
        """Position, and the quaternion with its scalar last."""
        w, x, y, z = T_base_tip.quaternion.tolist()
        return (*T_base_tip.position.tolist(), x, y, z, w)

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """The first number it returns is negative where it found nothing; the joints follow."""
        found = self.trac_ik.ik(self.arm, self.robot.home if q_start is None else q_start, *goal)
        return None if found[0] < 0 else found[1:]

    def forward(self, q: Array) -> Array:
        """Of the file it has read."""
        return np.array(self.trac_ik.fk(self.arm, q))


class RoboticsToolbox(Peer):
    """`ETS.ik_LM` in C++, its default method (Chan); `tol` bounds half a sum of squared errors."""

    package = "roboticstoolbox-python"

    def __init__(self, robot: Robot, seed: int = 0, **options: Any) -> None:
        super().__init__(robot, seed)
        import roboticstoolbox as rtb
        from spatialmath import SE3

        chain = robot.chain
        fixed = [rtb.ET.SE3(SE3(T, check=False)) for T in (chain.T_base_first, *chain.T_link, chain.T_last_tip)]
        ets = rtb.ETS([fixed[0]])
        for i, T_link in enumerate(fixed[1:]):
            joint = rtb.ET.tz if chain.kinds[i] == "slide" else rtb.ET.Rz
            ets = ets * joint(qlim=[chain.sample_lower[i], chain.sample_upper[i]], jindex=i) * T_link
        self.ets, self.options = ets, options

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """It says itself whether it succeeded."""
        found = self.ets.ik_LM(goal, q0=q_start, **self.options)
        return found.q if found.success else None

    def forward(self, q: Array) -> Array:
        """Of the elementary transforms it was given."""
        return self.ets.fkine(q).A


class Klampt(Peer):
    """`klampt.model.ik.solve_global`: a Newton-Raphson solver, and up to 100 restarts.

    It adds a floating base to what it reads; only the arm's joints are left active.
    """

    package = "klampt"

    def __init__(self, robot: Robot, seed: int = 0, **options: Any) -> None:
        super().__init__(robot, seed)
        import klampt
        from klampt.model import ik

        self.ik, self.options, self.world = ik, options, klampt.WorldModel()
        with urdf_file(robot) as path:
            self.world.loadFile(str(path))
        self.arm, self.link = self.world.robot(0), self.world.robot(0).link(TIP)
        first = self.arm.link("link1").getIndex()
        self.active = list(range(first, first + robot.dof))
        self.config = np.zeros(self.arm.numLinks())

    def goal(self, T_base_tip: Pose) -> Any:
        """An objective for the tip: its rotation column by column."""
        T = T_base_tip.matrix()
        return self.ik.objective(self.link, R=T[:3, :3].T.ravel().tolist(), t=T[:3, 3].tolist())

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """From the start, then from its own random ones."""
        self._place(self.robot.home if q_start is None else q_start)
        if not self.ik.solve_global(goal, activeDofs=self.active, **self.options):
            return None
        return np.array(self.arm.getConfig())[self.active]

    def forward(self, q: Array) -> Array:
        """Of the file it has read."""
        self._place(q)
        R, t = self.link.getTransform()
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = np.reshape(R, (3, 3)).T, t
        return T

    def _place(self, q: Array) -> None:
        self.config[self.active] = q
        self.arm.setConfig(self.config.tolist())


class PytorchKinematics(Peer):
    """`PseudoInverseIK` of pytorch_kinematics: made for batches, with so many starts for each pose."""

    package = "pytorch_kinematics"
    takes_start = False  # starts belong to the solver, and are given when it is made

    def __init__(self, robot: Robot, seed: int = 0, *, retries: int = 10, **options: Any) -> None:
        super().__init__(robot, seed)
        import pytorch_kinematics as pk
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.torch, self.transform = torch, pk.Transform3d
        with urdf_file(robot) as path:
            chain = pk.build_serial_chain_from_urdf(path.read_bytes(), TIP)
        self.chain = chain.to(dtype=torch.float64)
        limits = torch.tensor(np.stack([robot.chain.sample_lower, robot.chain.sample_upper], -1))
        self.solver = pk.PseudoInverseIK(
            self.chain, num_retries=retries, joint_limits=limits, early_stopping_any_converged=True, **options
        )

    def goal(self, T_base_tip: Pose) -> Any:
        """Its own kind of transform."""
        return self.transform(matrix=self.torch.tensor(T_base_tip.matrix().reshape(-1, 4, 4)))

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """The first of the starts that converged."""
        found = self.solver.solve(goal)
        good = self.torch.nonzero(found.converged[0]).ravel()
        return found.solutions[0, good[0]].numpy() if len(good) else None

    def solve_batch(self, poses: Pose) -> Array:
        """The first of the starts that converged, or the first of all."""
        found = self.solver.solve(self.goal(poses))
        first = found.converged.int().argmax(-1)
        return found.solutions[self.torch.arange(len(first)), first].numpy()

    def forward(self, q: Array) -> Array:
        """Of the file it has read, whose offsets it keeps in single precision."""
        return self.chain.forward_kinematics(self.torch.tensor(q)).get_matrix()[0].numpy()
