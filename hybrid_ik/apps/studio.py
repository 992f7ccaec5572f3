"""A small photographer's studio for MuJoCo models: a pale room, two lights, a camera that finds its distance."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.offscreen import open_context
from hybrid_ik.apps.outline import HIGHEST_GROUP, Outline

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Depth = NDArray[np.float32]

FURNITURE = 2  # geoms of the room: the dome and the floor
FLATNESS = 1e-3  # height that is left of a shadow; without any it would flicker with the floor
HIDDEN_GROUP = 5
ROUND = [mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER]
ROOM = (0.87, 0.885, 0.90)
KEY_LIGHT = (-0.35, 0.45, -1.0)  # directions of the light, world frame
FILL_LIGHT = (0.6, -0.5, -0.5)
FIELD_OF_VIEW = 30.0  # degrees, of the height
MARGIN = 1.12  # room left around what is drawn
NO_COLOUR, PALE = (0.5, 0.5, 0.5, 1.0), (0.78, 0.79, 0.80, 1.0)  # MuJoCo's own for shapes without, and what they get


class Studio:
    """Where a model is placed and photographed. Use it in a `with` block: it holds OpenGL memory.

    Args:
        model: what to draw; its visual settings are changed.
        width: of the pictures, in pixels.
        height: of the pictures, in pixels.
        copies: of the model that are to be in one picture at most.

    Raises:
        RenderingUnavailableError: there is no OpenGL here.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, copies: int = 1) -> None:
        _light_settings(model, width, height)
        model.geom_rgba[(model.geom_rgba == NO_COLOUR).all(-1) & (model.geom_matid < 0)] = PALE
        self.model, self.data = model, mujoco.MjData(model)
        self.gl = open_context(width, height)
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, 100 + 2 * copies * (model.ngeom + model.nbody))
        self._camera, self._option = mujoco.MjvCamera(), mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._option.geomgroup[:] = [1] * (HIGHEST_GROUP + 1) + [0] * (5 - HIGHEST_GROUP)
        self._pencil = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._pencil)
        self._pencil.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self.floor_height = 0.0
        self.hidden = np.zeros(model.ngeom, bool)
        """Geoms that are not drawn."""
        self.plain = np.zeros(model.ngeom, bool)
        """Geoms that keep their own colours."""
        self._groups, self._outline = model.geom_group.copy(), Outline(model)

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *error: object) -> None:
        self._pencil.free()
        self.gl.free()

    def place(self, qpos: Array) -> None:
        """Put all joints `(nq,)` of the model somewhere."""
        self.data.qpos = qpos
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)

    def in_world(self, body: int, points: Array) -> Array:
        """World coordinates of points `(n, 3)` in the frame of a body of the model as it is placed [m]."""
        return points @ self.data.xmat[body].reshape(3, 3).T + self.data.xpos[body]

    def spheres(self) -> tuple[Array, Array]:
        """Centres `(n, 3)` and radii `(n,)` around the shapes of the model as it is placed, and its frames' origins."""
        return self._outline.spheres(self.data)

    def aim(self, centres: Array, radii: Array, azimuth: float, elevation: float) -> float:
        """Turn the camera to look along a direction [degrees] from where all the spheres are in the picture.

        Returns:
            The height of what the picture shows in their midst [m].
        """
        side, up, ahead = _camera_axes(azimuth, elevation)
        tan_y = np.tan(np.radians(FIELD_OF_VIEW) / 2)
        tan_x = tan_y * self._rect.width / self._rect.height
        lookat = centres.mean(0)
        distance = 1e-3 + 4 * float((np.linalg.norm(centres - lookat, axis=-1) + radii).max())
        for _ in range(8):  # of lookat and distance each depends a little on the other
            seen = centres - lookat
            x, y, z = seen @ side, seen @ up, seen @ ahead
            depth = distance + z
            middle_x = ((x + radii) / depth).max() + ((x - radii) / depth).min()
            middle_y = ((y + radii) / depth).max() + ((y - radii) / depth).min()
            lookat = lookat + distance * (middle_x * side + middle_y * up) / 2
            seen = centres - lookat
            wide = (np.abs(seen @ side) + radii) / tan_x - seen @ ahead
            high = (np.abs(seen @ up) + radii) / tan_y - seen @ ahead
            distance = MARGIN * max(wide.max(), high.max(), 1e-3)
        self._camera.lookat, self._camera.distance = lookat, distance
        self._camera.azimuth, self._camera.elevation = azimuth, elevation
        self._set_extent(lookat, distance)
        return float(2 * tan_y * distance)

    def geom_frames(self) -> Array:
        """Where all geoms are `(ngeom, 12)`: position and rotation; of round ones the axis only."""
        return geom_frames(self.model, self.data)

    def add_model(self, scene: mujoco.MjvScene, colour: Array | None = None) -> None:
        """Add the model as it is placed, without the geoms that are `hidden`.

        Args:
            scene: where to.
            colour: red, green and blue in [0, 1] for all but the geoms in `plain`, where dark ones stay darker. Own
                colours if None.
        """
        first = scene.ngeom
        self.model.geom_group = np.where(self.hidden, HIDDEN_GROUP, self._groups)
        nothing, everything = mujoco.MjvPerturb(), mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_addGeoms(self.model, self.data, self._option, nothing, everything, scene)
        if colour is None:
            return
        for geom in scene.geoms[first : scene.ngeom]:
            if geom.objtype != mujoco.mjtObj.mjOBJ_GEOM or not self.plain[geom.objid]:
                geom.rgba[:3] = colour * (0.4 + 0.7 * float(np.mean(geom.rgba[:3])))
                geom.matid = -1

    def cast(self, scene: mujoco.MjvScene) -> None:
        """Turn all that was added into its shadow: black, and pressed onto the floor along the light."""
        along = np.array(KEY_LIGHT) / KEY_LIGHT[2]
        press = np.eye(3) - np.outer(along, [0.0, 0.0, 1.0 - FLATNESS])
        ground = np.array([0.0, 0.0, self.floor_height])
        for geom in scene.geoms[FURNITURE : scene.ngeom]:
            geom.pos = ground + press @ (geom.pos - ground)
            geom.mat = press @ geom.mat
            geom.rgba[:3] = geom.emission = geom.specular = 0.0
            geom.matid = -1

    def shoot(self, add: Callable[[mujoco.MjvScene], None] | None = None, *, floor: bool = True) -> tuple[Image, Depth]:
        """A picture of the room, with or without its floor, and of what `add` puts into its scene.

        Returns:
            `(height, width, 3)` and the depth buffer `(height, width)`, 0 far away.
        """
        self._furnish(floor)
        if add is not None:
            add(self._scene)
        self.gl.make_current()
        mujoco.mjr_render(self._rect, self._scene, self._pencil)
        rgb = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        depth = np.empty(rgb.shape[:2], np.float32)
        mujoco.mjr_readPixels(rgb, depth, self._rect, self._pencil)
        return rgb[::-1], depth[::-1]

    def _set_extent(self, lookat: Array, distance: float) -> None:
        """Sizes that MuJoCo derives its clipping planes from."""
        self.model.stat.center, self.model.stat.extent = lookat, distance
        self.model.vis.map.znear, self.model.vis.map.zfar = 0.05, 40.0

    def _furnish(self, with_floor: bool) -> None:
        """Empty room: camera, lights, floor and a dome around it all."""
        nothing = 0  # categories of geoms: none yet, but the camera is placed
        mujoco.mjv_updateScene(self.model, self.data, self._option, None, self._camera, nothing, self._scene)
        self._scene.ngeom = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = 0  # the dome is seen from within
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._place_lights()
        centre, distance = self._camera.lookat, self._camera.distance
        floor = np.array([centre[0], centre[1], self.floor_height])
        sphere, plane = mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_PLANE
        dome = _add(self._scene, sphere, np.full(3, 20 * distance), np.array(centre), np.array([*ROOM, 1.0]))
        dome.emission, dome.specular = 0.65, 0.0  # as bright as the lights make the floor
        if with_floor:
            size = np.array([15.0, 15.0, 1.0]) * distance
            _add(self._scene, plane, size, floor, np.array([*ROOM, 1.0])).specular = 0.0

    def _place_lights(self) -> None:
        self._scene.nlight = 2
        for light, direction, strength in zip(self._scene.lights, (KEY_LIGHT, FILL_LIGHT), (0.6, 0.25), strict=False):
            toward = np.array(direction) / np.linalg.norm(direction)
            light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
            light.headlight, light.castshadow = 0, 0
            light.dir, light.pos = toward, np.array(self._camera.lookat) - toward * self._camera.distance
            light.ambient, light.diffuse = np.full(3, 0.2), np.full(3, strength)
            light.specular = np.full(3, 0.25 * strength)


def geom_frames(model: mujoco.MjModel, data: mujoco.MjData) -> Array:
    """Where all geoms are `(ngeom, 12)`: position and rotation; of round ones the axis only."""
    rotation = data.geom_xmat.reshape(-1, 3, 3).copy()
    rotation[np.isin(model.geom_type, ROUND), :, :2] = 0.0
    return np.concatenate([data.geom_xpos, rotation.reshape(-1, 9)], 1)


def _light_settings(model: mujoco.MjModel, width: int, height: int) -> None:
    model.vis.global_.offwidth, model.vis.global_.offheight = width, height
    model.vis.global_.fovy, model.vis.global_.orthographic = FIELD_OF_VIEW, 0
    model.vis.quality.offsamples, model.vis.quality.shadowsize = 4, 0
    model.vis.quality.numslices, model.vis.quality.numstacks = 24, 8  # half the work of the default, and as round


def _camera_axes(azimuth: float, elevation: float) -> tuple[Array, Array, Array]:
    """Right, up and ahead of MuJoCo's free camera, in the world."""
    a, e = np.radians(azimuth), np.radians(elevation)
    ahead = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    side = np.array([np.sin(a), -np.cos(a), 0.0])
    return side, np.cross(side, ahead), ahead


def _add(scene: mujoco.MjvScene, kind: int, size: Array, position: Array, rgba: Array) -> mujoco.MjvGeom:
    geom = scene.geoms[scene.ngeom]
    mujoco.mjv_initGeom(geom, kind, size, position, np.eye(3).ravel(), rgba.astype(np.float32))
    scene.ngeom += 1
    return geom


def add_capsule(scene: mujoco.MjvScene, start: Array, end: Array, radius: float, rgba: Array) -> None:
    """A capsule from one point of the world to another."""
    _connect(scene, mujoco.mjtGeom.mjGEOM_CAPSULE, start, end, radius, rgba)


def add_arrow(scene: mujoco.MjvScene, start: Array, end: Array, radius: float, rgba: Array) -> None:
    """An arrow from one point of the world to another."""
    _connect(scene, mujoco.mjtGeom.mjGEOM_ARROW, start, end, radius, rgba)


def _connect(scene: mujoco.MjvScene, kind: int, start: Array, end: Array, radius: float, rgba: Array) -> None:
    geom = _add(scene, kind, np.zeros(3), np.zeros(3), rgba)
    mujoco.mjv_connector(geom, kind, radius, start, end)
    geom.emission, geom.specular = 0.3, 0.2
