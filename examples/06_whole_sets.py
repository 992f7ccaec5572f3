"""Every answer of a pose: curves, the best point on them by taste, and gliding along one with the tool at rest.

Usage: python examples/06_whole_sets.py
"""

import numpy as np

from hybrid_ik import HybridSolver, Pose

solver = HybridSolver("panda")
pose = Pose(position=[0.4, 0.1, 0.5], quaternion=[0, 1, 0, 0])

# Seven joints, six numbers in a pose: the answers are curves, each cut off where a joint meets its limit.
answers = solver.solve_all(pose)
print(answers)
for piece in answers:
    print(" ", piece)

# All other answers lie on them, wherever they come from.
many = solver.solve(pose, n_solutions=16)
print(f"16 other answers are at most {answers.distance(many.q).max():.1e} rad away from the set")


def elbow_height(q: np.ndarray) -> np.ndarray:
    """Height of the fourth joint [m], which only the first two joints move."""
    return 0.333 + 0.316 * np.cos(q[:, 1])


# What is best depends on what is asked for; it is found anywhere on the curves, not only at their points.
home = solver.robot.home
for name, prefer in {
    "farthest from limits": "limits",
    "farthest from singularities": "manipulability",
    "nearest to home": home,
    "elbow highest": lambda q: -elbow_height(q),
}.items():
    print(f"{name}: {np.round(solver.solve(pose, prefer=prefer).q, 2)}")


# The elbow moves out of the way while the tool stays where it is.
start = solver.solve(pose, prefer="limits").q
glide = solver.self_motion(start, length=1.0)
moved = np.linalg.norm(solver.robot.forward_kinematics(glide).position - pose.position, axis=1).max()
print(f"{len(glide)} postures 1 rad along the curve; the tool moved by {moved:.0e} m")
