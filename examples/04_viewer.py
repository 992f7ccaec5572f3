"""The answers of an arm in MuJoCo's window, while its target is dragged with the mouse.

Usage: python examples/04_viewer.py [ROBOT]        a shipped name, an MJCF or URDF file; the Panda by default
"""

import sys

import numpy as np

from hybrid_ik import Pose, Robot
from hybrid_ik.apps.display import DisplayUnavailableError
from hybrid_ik.apps.explorer import Explorer
from hybrid_ik.apps.viewer import KEYS_HELP, view

robot = Robot(sys.argv[1] if len(sys.argv) > 1 else "panda")

# What the window shows can be had without it: a target, its answers, and the one that is solid.
explorer = Explorer(robot)
explorer.settings.n_solutions = 8
shown = explorer.move(Pose(explorer.target.position + np.array([0.0, 0.1, -0.1]), explorer.target.quaternion))
print(f"{len(shown.result)} answers in {1e3 * shown.seconds:.2f} ms, error {shown.result.position_error.max():.0e} m")

# The null space: the arm moves, its tool does not.
first = explorer.q
while explorer.glide(0.05) and np.linalg.norm(explorer.q - first) < 0.5:
    pass
moved = robot.forward_kinematics(explorer.q).position - explorer.target.position
print(f"after gliding, joints are {np.linalg.norm(explorer.q - first):.2f} rad away, the tip {abs(moved).max():.0e} m")

for keys, what in KEYS_HELP:
    print(f"{keys:>12}  {what}")
try:
    view(explorer)
except DisplayUnavailableError as error:
    print(error)
