"""What is drawn of a model: colours, points and spheres that its shapes lie in, tightly, and where the floor is."""

from __future__ import annotations

from itertools import product

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HIGHEST_GROUP = 2  # geoms of higher groups are for collision, and MuJoCo's own viewer hides them too
PLAIN = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's colour of a geom that was given none: that of its material comes first
DIRECTIONS = np.array([d for d in product((-1.0, 0.0, 1.0), repeat=3) if any(d)])  # a mesh is seen from all sides
CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))
ENDS = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
RING = np.array([[np.cos(a), np.sin(a), 0.0] for a in np.arange(8) * np.pi / 4])


class Outline:
    """Spheres around the shapes that are drawn, for any posture.

    Args:
        model: with the shapes.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        seen = np.flatnonzero((model.geom_rbound > 0) & (model.geom_group <= HIGHEST_GROUP))
        parts = [_spheres(model, geom) for geom in seen.tolist()]
        self._geom = np.repeat(seen, [len(centres) for centres, _ in parts])
        self._centres = np.concatenate([np.empty((0, 3)), *(centres for centres, _ in parts)])
        self._radii = np.concatenate([np.empty(0), *(np.full(len(centres), radius) for centres, radius in parts)])

    def spheres(self, data: mujoco.MjData) -> tuple[Array, Array]:
        """Centres `(n, 3)` and radii `(n,)` [m] of the model as it is placed, and of its frames' origins."""
        rotation = data.geom_xmat.reshape(-1, 3, 3)[self._geom]
        shapes = data.geom_xpos[self._geom] + np.einsum("nij,nj->ni", rotation, self._centres)
        centres = np.concatenate([shapes, data.xpos[1:], data.site_xpos])
        return centres, np.concatenate([self._radii, np.zeros(len(centres) - len(shapes))])


def floor_height(model: mujoco.MjModel, data: mujoco.MjData, points: Array) -> float:
    """Where the arm stands [m]: the lowest of the bodies that do not move, and of what is flat or sharp on them."""
    fixed = model.body_weldid == 0
    roots = np.flatnonzero(fixed & (model.body_parentid == 0))[1:]
    if not len(roots):
        return min(0.0, float(points[:, 2].min()))
    seen = np.flatnonzero(fixed[model.geom_bodyid] & (model.geom_group <= HIGHEST_GROUP)).tolist()
    corners = {geom: _corners(model, geom) for geom in seen}
    lowest = [
        data.geom_xpos[geom, 2] + float((points @ data.geom_xmat[geom, 6:]).min())
        for geom, points in corners.items()
        if points is not None
    ]
    return float(min([*model.body_pos[roots, 2], *lowest]))


def geom_colour(model: mujoco.MjModel, geom: int) -> tuple[float, float, float, float]:
    """Red, green, blue and opacity of a geom, as MuJoCo draws it: its own, or else its material's. mjv_addGeoms."""
    own, material = model.geom_rgba[geom], int(model.geom_matid[geom])
    plain = np.array_equal(own, np.array(PLAIN, np.float32))
    r, g, b, a = (model.mat_rgba[material] if plain and material >= 0 else own).tolist()
    return r, g, b, a


def _spheres(model: mujoco.MjModel, geom: int) -> tuple[Array, float]:
    """Centres in the frame of a geom, and their radius."""
    corners = _corners(model, geom)
    if corners is not None:
        many = len(corners) > len(DIRECTIONS)
        return corners[np.argmax(corners @ DIRECTIONS.T, axis=0)] if many else corners, 0.0
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE:
        radius, half, _ = model.geom_size[geom].tolist()
        return half * ENDS, radius
    return np.zeros((1, 3)), float(model.geom_rbound[geom])


def _corners(model: mujoco.MjModel, geom: int) -> Array | None:
    """Points whose hull is a shape, in the frame of its geom; None for shapes that are round all over."""
    kind, size = model.geom_type[geom], model.geom_size[geom]
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return np.asarray(size * CORNERS)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return np.asarray((size[1] * ENDS[:, None] + size[0] * RING).reshape(-1, 3))
    if kind != mujoco.mjtGeom.mjGEOM_MESH:
        return None
    mesh = model.geom_dataid[geom]
    first = model.mesh_vertadr[mesh]
    return np.asarray(model.mesh_vert[first : first + model.mesh_vertnum[mesh]], dtype=float)
