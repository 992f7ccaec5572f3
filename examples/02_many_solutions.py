"""Many distinct answers of one pose, a batch of poses, and the same solver with its parts exchanged.

Usage: python examples/02_many_solutions.py
"""

import time

import numpy as np

from hybrid_ik import HybridSolver, LMConfig, Pose

solver = HybridSolver("panda")
pose = Pose(position=[0.4, 0.1, 0.5], quaternion=[0, 1, 0, 0])

# Sixteen answers: no two closer than min_distance, the ones farthest from the joint limits first.
many = solver.solve(pose, n_solutions=16)
print(f"{many.success.sum()} answers, q {many.q.shape}; joint 7 lies between", end=" ")
print(f"{np.degrees(many.q[:, 6].min()):.0f} and {np.degrees(many.q[:, 6].max()):.0f} degrees")

# A batch is a leading axis. These poses are reachable, for they are where random joints put the tip.
robot = solver.robot
joints = np.random.default_rng(0).uniform(robot.lower, robot.upper, size=(1000, robot.dof))
poses = robot.forward_kinematics(joints)
started = time.perf_counter()
batch = solver.solve(poses)
elapsed = time.perf_counter() - started
print(f"{batch.success.sum()} of {len(batch)} poses solved, {1e6 * elapsed / len(batch):.1f} us each")

# Every part can be exchanged: where starts come from, what polishes them, when it is content.
for name, parts in {
    "network + lanes": {"sampler": "meanflow"},
    "random + lanes": {"sampler": "uniform"},
    "random + MuJoCo": {"sampler": "uniform", "refiner": "mujoco"},
    "network alone, within 5 cm and 12 degrees": {
        "sampler": "meanflow",
        "refiner": None,
        "config": LMConfig(position_tolerance=0.05, orientation_tolerance=0.2),
    },
}.items():
    found = HybridSolver(robot, **parts).solve(pose, n_solutions=16, n_seeds=64)
    print(f"{name}: {found.success.sum()} answers")
