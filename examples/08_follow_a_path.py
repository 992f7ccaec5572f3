"""A path of poses: one continuous path of joints, where following step by step ends at a limit.

Usage: python examples/08_follow_a_path.py
"""

import numpy as np

from hybrid_ik import HybridSolver, Pose

solver = HybridSolver("panda")

# The tool draws a circle in front of the arm, and turns about its own axis by three quarters of a turn meanwhile.
share = np.linspace(0.0, 1.0, 200)
position = np.stack([0.45 + 0 * share, 0.25 * np.cos(2 * np.pi * share), 0.45 + 0.25 * np.sin(2 * np.pi * share)], -1)
half = 0.75 * np.pi * (share - 0.2)
quaternion = np.stack([0 * share, np.cos(half), np.sin(half), 0 * share], -1)
poses = Pose(position, quaternion)

# Step by step: always the answer that is nearest to the last one.
q, breaks = solver.solve(poses[0]).q, []
for i, pose in enumerate(poses):
    step = solver.solve(pose, near=q, max_step=0.3)
    if not step.success:
        breaks.append(i)
    q = step.q
print(f"step by step: {len(breaks)} of {len(poses)} poses are not reached in time")

# As a whole: all answers of all poses are followed, and the best way through them is chosen.
path = solver.track(poses, max_step=0.3)
print(path)
print(f"largest step {np.abs(np.diff(path.q, axis=0)).max():.3f} rad, error at most {path.position_error.max():.0e} m")

# A pose beyond reach in the middle is named, and the rest is solved.
position[120] = [2.0, 0.0, 0.5]
print(solver.track(Pose(position, quaternion), max_step=0.3))

# For control loops: a bound that is kept whatever is asked for.
bounded = solver.solve(poses[100], near=path.q[0], max_step=0.05)
print(f"bounded: success={bounded.success}, largest move {np.abs(bounded.q - path.q[0]).max():.3f} rad")
