"""Further answers as translucent arms in a scene of MuJoCo."""

from __future__ import annotations

import copy

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.composition import SAME_PLACE
from hybrid_ik.apps.outline import HIGHEST_GROUP
from hybrid_ik.apps.studio import HIDDEN_GROUP, geom_frames
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]

OPACITY = 0.13


class Ghosts:
    """Draws copies of the moving parts of an arm.

    Colours and what is hidden are written into a copy of the model, from which MuJoCo makes the geoms of an arm in one
    call.

    Args:
        model: what is drawn; its meshes must be those of the scene's context.
        robot: the arm in it.
    """

    def __init__(self, model: mujoco.MjModel, robot: Robot) -> None:
        self._model, self._data, self._robot = copy.copy(model), mujoco.MjData(model), robot
        moving = np.isin(model.geom_bodyid, _subtree(model, int(model.jnt_bodyid[robot.joint_ids[0]])))
        self._groups = np.where(moving, model.geom_group, HIDDEN_GROUP)
        own = np.where(model.geom_matid[:, None] >= 0, _material_colours(model), model.geom_rgba)
        self._tone = 0.5 + 0.6 * own[:, :3].mean(1, keepdims=True)
        self._model.geom_matid[:] = -1
        self._model.geom_rgba[:, 3] = np.where(own[:, 3] > 0, OPACITY, 0.0)
        self._option, self._nothing = mujoco.MjvOption(), mujoco.MjvPerturb()
        self._option.geomgroup[:] = [1] * (HIGHEST_GROUP + 1) + [0] * (5 - HIGHEST_GROUP)
        self._option.sitegroup[:] = 0
        self._option.flags[:] = 0

    def draw(self, scene: mujoco.MjvScene, q: Array, colours: Array, solid: Array) -> None:
        """Put arms into an empty scene, without what lies in the same place in the solid arm: it would flicker.

        Args:
            scene: filled anew; as many arms as it has room for.
            q: joints `(n, dof)`.
            colours: red, green and blue in [0, 1], `(n, 3)`.
            solid: joints of the solid arm `(dof,)`.
        """
        scene.ngeom = 0
        taken = self._frames(self._robot.model_qpos(solid))
        dynamic = mujoco.mjtCatBit.mjCAT_DYNAMIC
        for qpos, colour in zip(self._robot.model_qpos(q), colours, strict=True):
            if scene.ngeom + self._model.ngeom > scene.maxgeom:
                return
            same = np.abs(self._frames(qpos) - taken).max(1) < SAME_PLACE
            self._model.geom_group[:] = np.where(same, HIDDEN_GROUP, self._groups)
            self._model.geom_rgba[:, :3] = np.minimum(self._tone * colour, 1.0)
            mujoco.mjv_addGeoms(self._model, self._data, self._option, self._nothing, dynamic, scene)

    def _frames(self, qpos: Array) -> Array:
        self._data.qpos = qpos
        mujoco.mj_kinematics(self._model, self._data)
        return geom_frames(self._model, self._data)


def _material_colours(model: mujoco.MjModel) -> Array:
    """`(ngeom, 4)`; of any material for geoms that have none."""
    return model.mat_rgba[model.geom_matid] if model.nmat else np.zeros((model.ngeom, 4))


def _subtree(model: mujoco.MjModel, root: int) -> list[int]:
    """A body and all that it carries: parents come before their children."""
    bodies = {root}
    for body in range(root + 1, model.nbody):
        if int(model.body_parentid[body]) in bodies:
            bodies.add(body)
    return sorted(bodies)
