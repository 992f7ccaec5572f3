"""An arm of your own: six joints in MJCF, a tool, a table it stands on, and a straight line followed step by step.

Usage: python examples/03_your_own_robot.py
"""

import mujoco
import numpy as np

from hybrid_ik import HybridSolver, Pose

MJCF = """
<mujoco model="six_joints">
  <compiler angle="degree" autolimits="true"/>
  <default><geom type="capsule" size="0.04" rgba="0.8 0.8 0.85 1"/></default>
  <worldbody>
    <body name="table" pos="0.5 0 0.7">
      <geom type="box" size="0.3 0.3 0.02" pos="0 0 -0.02"/>
      <body name="turret" pos="0 0 0.1">
        <joint name="turn" axis="0 0 1" range="-170 170"/>
        <geom fromto="0 0 -0.1 0 0 0.1"/>
        <body name="upper_arm" pos="0 0 0.15">
          <joint name="shoulder" axis="0 1 0" range="-100 100"/>
          <geom fromto="0 0 0 0 0 0.4"/>
          <body name="forearm" pos="0 0 0.4">
            <joint name="elbow" axis="0 1 0" range="-150 150"/>
            <geom fromto="0 0 0 0 0 0.35" size="0.035"/>
            <body name="wrist" pos="0 0 0.35">
              <joint name="roll" axis="0 0 1" range="-175 175"/>
              <body name="knuckle">
                <joint name="bend" axis="0 1 0" range="-120 120"/>
                <geom fromto="0 0 0 0 0 0.08" size="0.03"/>
                <body name="flange" pos="0 0 0.1">
                  <joint name="spin" axis="0 0 1" range="-175 175"/>
                  <geom fromto="0 0 -0.02 0 0 0.06" size="0.02"/>
                  <site name="pencil" pos="0 0 0.12"/>
                </body>
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""

# A path of an MJCF or URDF file does as well, and so does an MjModel. Poses are those of `tip` in `base`.
solver = HybridSolver(mujoco.MjSpec.from_string(MJCF), tip="pencil", base="table")
print(solver.robot)

# A six-joint arm has a handful of answers; rows that could not be filled hold NaN.
down = Pose(position=[0.4, 0.1, 0.2], quaternion=[0, 1, 0, 0])
answers = solver.solve(down, n_solutions=16)
print(f"{answers.success.sum()} answers (degrees):")
print(np.degrees(answers.q[answers.success]).round(1))

# A straight line: each pose is solved near the joints of the one before.
q = answers.q[0]
for y in np.linspace(0.1, 0.3, 5):
    result = solver.solve(Pose(position=[0.4, y, 0.2], quaternion=[0, 1, 0, 0]), near=q)
    print(f"y = {y:.2f} m: moved {np.degrees(np.abs(result.q - q).max()):5.1f} degrees, success={bool(result.success)}")
    q = result.q
