"""Closed forms: solvers that know all answers of a 6-joint arm, or of a 7-joint one with a joint held fixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from peer_adaptors import Array, Peer

from hybrid_ik.errors import HybridIKError
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

NEAR = 0.2  # rad: an answer within this of a start ends the search for one nearer
NEIGHBOURS = 8  # locked angles that are looked at where there is none
SAME_LIMITS = 1e-5  # rad: limits may have been written in degrees
SAME = 1e-9  # m, and entries of a rotation matrix: two arms that differ by less are one


class Ssik(Peer):
    """ssik's prebuilt Panda; its residuals are of the order of rounding, so there is nothing to tighten."""

    package = "ssik"

    def __init__(self, robot: Robot, seed: int = 0, *, arm: str = "franka_panda_ik") -> None:
        super().__init__(robot, seed)
        import ssik

        self.arm = ssik.Manipulator.from_prebuilt(arm)
        if self.arm.dof != robot.dof:
            raise HybridIKError(f"{arm} of ssik has {self.arm.dof} joints, {robot.name} {robot.dof}")
        self.T_end_tip = np.linalg.inv(self.arm.fk(robot.home)) @ robot.forward_kinematics(robot.home).matrix()
        self._check()

    def _check(self) -> None:
        limits = np.array(self.arm.joint_limits).T
        if not np.allclose(limits, [self.robot.lower, self.robot.upper], rtol=0, atol=SAME_LIMITS):
            raise HybridIKError(f"its limits {limits.tolist()} are not those of {self.robot.name}")
        self.disagreement()

    def goal(self, T_base_tip: Pose) -> Array:
        """The frame that ssik places."""
        return T_base_tip.matrix() @ np.linalg.inv(self.T_end_tip)

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """The first answer, or the one nearest to the start."""
        found = self.arm.solve(goal, max_solutions=1, q_seed=q_start)
        return np.asarray(found[0].q) if found else None

    def solve_all(self, goal: Any) -> Array:
        """Its samples of the whole set."""
        return np.array([answer.q for answer in self.arm.solve(goal)]).reshape(-1, self.robot.dof)

    def forward(self, q: Array) -> Array:
        """Of its own model, with our tip."""
        return self.arm.fk(q) @ self.T_end_tip


class Frankik(Peer):
    """frankik, which knows the Panda only, and samples the last joint.

    Its `fk` speaks of a hand and its `ik` of the flange: where the frame of the latter lies is found from an answer.
    """

    package = "frankik"

    def __init__(
        self, robot: Robot, seed: int = 0, *, samples: int = 60, interval: float = 40, every: bool = False
    ) -> None:
        super().__init__(robot, seed)
        import frankik

        self.ik, self.arm = frankik, frankik.FrankaKinematics("panda")
        self.options = {"q7_sample_size": samples, "q7_sample_interval": interval, "global_solution": every}
        self._check()

    def _check(self) -> None:
        """The same links, by the shape of its forward kinematics; the same limits; and the frame of its answers."""
        robot = self.robot
        if robot.dof != 7 or not np.allclose([self.arm.q_min, self.arm.q_max], [robot.lower, robot.upper], atol=1e-6):
            raise HybridIKError(f"frankik is for the Panda, not for {robot.name}")
        q = np.random.default_rng(0).uniform(robot.lower, robot.upper, (8, 7))
        T_base_tip = robot.forward_kinematics(q).matrix()
        T_tip_hand = [np.linalg.inv(T) @ self.ik.fk(row) for T, row in zip(T_base_tip, q, strict=True)]
        if np.ptp(T_tip_hand, axis=0).max() > SAME:
            raise HybridIKError(f"the links of {robot.name} are not those of the Panda that frankik knows")
        self.T_tip_end = self._frame_of_answers(T_base_tip, q)

    def _frame_of_answers(self, T_base_tip: Array, q: Array) -> Array:
        frames = []
        for T, row in zip(T_base_tip, q, strict=True):
            for answer in self.ik.ik_full(T, row, row[6]):
                if np.isfinite(answer).all():
                    frames.append(np.linalg.inv(self.robot.forward_kinematics(answer).matrix()) @ T)
        if not frames or np.ptp(frames, axis=0).max() > 1e-6:
            raise HybridIKError("the answers of frankik do not lie at one frame of the last link")
        return np.median(frames, axis=0)

    def goal(self, T_base_tip: Pose) -> Array:
        """The frame that `ik` places."""
        return np.ascontiguousarray(T_base_tip.matrix() @ self.T_tip_end)

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """Of its samples, the answer nearest to the start (its own home, where none is given)."""
        return self.arm.inverse(goal, q_start, **self.options)

    def solve_all(self, goal: Any) -> Array:
        """All branches at all samples of the last joint."""
        options = {"sample_size": self.options["q7_sample_size"], "sample_interval": self.options["q7_sample_interval"]}
        found = self.ik.ik_sample_q7(goal, self.robot.home, full_ik=True, **options)
        answers = np.array(found).reshape(-1, self.robot.dof)
        return answers[np.isfinite(answers).all(-1)]


class Eaik(Peer):
    """EAIK with the last joint locked at evenly spaced angles, in a loop of ours: on its own it takes six joints."""

    package = "EAIK"

    def __init__(self, robot: Robot, seed: int = 0, *, samples: int = 128) -> None:
        super().__init__(robot, seed)
        if robot.dof != 7 or set(robot.chain.kinds) != {"hinge"}:
            raise HybridIKError(f"EAIK is used here for arms of 7 hinges; {robot.name} has other joints")
        from eaik.pybindings import EAIK

        H, P, R_last_tip = axes_and_offsets(robot)
        low, high = robot.chain.sample_lower[-1], robot.chain.sample_upper[-1]
        self.locked = low + (high - low) * (np.arange(samples) + 0.5) / samples
        self.arms = [EAIK.Robot(H, P, R_last_tip, [(6, q)], True) for q in self.locked]
        self.order = self.rng.permutation(samples)
        if not self.arms[0].has_known_decomposition():
            raise HybridIKError(f"EAIK knows no decomposition of {robot.name} with its last joint locked")

    def solve(self, goal: Any, q_start: Array | None = None) -> Array | None:
        """The first answer of any locked angle; given a start, one near it, of angles ever farther from its own."""
        if q_start is None:
            answers = (self._answers(goal, i) for i in self.order)
            return next((found[0] for found in answers if len(found)), None)
        best, distance = None, np.inf
        for tried, i in enumerate(np.argsort(np.abs(self.locked - q_start[-1]))):
            for q in self._answers(goal, i):
                apart = np.abs(q - q_start).max()
                best, distance = (q, apart) if apart < distance else (best, distance)
            if distance < NEAR or (best is not None and tried >= NEIGHBOURS):
                break
        return best

    def solve_all(self, goal: Any) -> Array:
        """Of all locked angles."""
        return np.concatenate([self._answers(goal, i) for i in range(len(self.arms))])

    def _answers(self, goal: Array, i: int) -> Array:
        """Exact answers within the limits, after whole turns, at the locked angle of number i."""
        found = self.arms[i].calculate_IK(goal)
        exact = np.array(found.Q).reshape(-1, self.robot.dof)[~np.array(found.is_LS, bool)]
        turned = exact + 2 * np.pi * np.ceil((self.robot.lower - exact) / (2 * np.pi))
        return turned[(turned <= self.robot.upper).all(-1)]

    def forward(self, q: Array) -> Array:
        """Of the model that it was given; the last joint is locked, and so taken as close as there is one."""
        from eaik.pybindings import EAIK

        return EAIK.Robot(*axes_and_offsets(self.robot), [(6, q[6])], True).fwdkin(q)


def axes_and_offsets(robot: Robot) -> tuple[Array, Array, Array]:
    """Joint axes (3, n) and offsets (3, n + 1) in the base at q = 0, and the tip's rotation there."""
    chain = robot.chain
    T_base_joint = [chain.T_base_first]
    for T_link in chain.T_link:
        T_base_joint.append(T_base_joint[-1] @ T_link)
    T_base_tip = T_base_joint[-1] @ chain.T_last_tip
    origins = np.array([np.zeros(3), *(T[:3, 3] for T in T_base_joint), T_base_tip[:3, 3]])
    return np.array([T[:3, 2] for T in T_base_joint]).T, np.diff(origins, axis=0).T, T_base_tip[:3, :3]
