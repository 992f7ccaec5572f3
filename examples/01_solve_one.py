"""One answer for one pose, the answer nearest to where the arm is, and what a result tells.

Usage: python examples/01_solve_one.py
"""

import numpy as np

from hybrid_ik import HybridSolver, Pose, Status

solver = HybridSolver("panda")
robot = solver.robot
print(robot, "joints:", ", ".join(robot.joint_names))

# Positions in metres, quaternions w x y z as in MuJoCo, of the frame `robot.tip` in the frame `robot.base`.
pose = Pose(position=[0.4, 0.1, 0.5], quaternion=[0, 1, 0, 0])
result = solver.solve(pose)
print("one answer:   ", np.degrees(result.q).round(2), "degrees")
print(f"errors:        {result.position_error:.1e} m, {result.orientation_error:.1e} rad, {result.iterations} steps")

# MuJoCo agrees: success is always judged by forward kinematics.
reached = robot.forward_kinematics(result.q)
print("reached:      ", reached.position.round(6), reached.quaternion.round(6))

# The answer nearest to given joints, for instance those the arm has now.
near = solver.solve(pose, near=robot.home)
distances = [np.linalg.norm(q - robot.home) for q in (near.q, result.q)]
print(f"from home:     {distances[0]:.2f} rad; the first answer: {distances[1]:.2f} rad")

# A pose out of reach is no exception: the closest joints come back, and say so.
far = solver.solve(Pose(position=[1.2, 0.0, 0.4], quaternion=[0, 1, 0, 0]))
print(f"out of reach:  success={bool(far.success)}, {1000 * far.position_error:.0f} mm short")
print("              ", Status(far.status).message)
