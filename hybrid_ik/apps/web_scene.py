"""The page's picture: a solid arm, ghosts of the other answers, a frame to drag, a floor, a camera that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.explorer import MOST_ANSWERS
from hybrid_ik.apps.shapes import GHOST_VERTICES, SOLID_VERTICES, Part, ghost_parts, solid_parts
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]

OPACITY = 0.24  # of a ghost
GAMMA = 2.2  # the page takes colours of batched meshes as linear, unlike those of other meshes
AWAY = (0.0, 0.0, -1e6)  # where spare ghosts are: beyond what the camera sees, so that they cost it nothing
SAME_PLACE = 1e-4  # m, and entries of quaternions: such a part of a ghost is hidden, the solid arm shows it
GIZMO = 0.16  # its size, in parts of that of the arm
ROOM = 1.2  # around the arm at home, for the frame at its tip
FIELD_OF_VIEW = 0.6  # rad, of the height
VIEW = np.array([0.78, -0.52, 0.34])  # from where the camera looks
MISSED = (214, 69, 48)  # colour of the line from the tip to a target out of reach


class Scene:
    """One robot in a viser server.

    Args:
        server: a `viser.ViserServer`.
        robot: the arm.
        on_drag: told where the frame was dragged to, in the robot's base; called in the server's event loop.
        on_pick: told which row of what is drawn was clicked; called there as well.
    """

    def __init__(
        self, server: Any, robot: Robot, on_drag: Callable[[Pose], None], on_pick: Callable[[int], None]
    ) -> None:
        self.server, self.robot = server, robot
        self.model = robot.drawable_model()
        self.data = mujoco.MjData(self.model)
        solid = solid_parts(robot, self.model, SOLID_VERTICES)
        ghosts = ghost_parts(robot, self.model, GHOST_VERTICES)
        self._centre, self._radius = self._extent(solid)
        server.scene.reset()
        self._furnish()
        self._solid = self._add_solid(solid)
        self._ghosts = [(part.body, self._add_ghost(part, on_pick)) for part in ghosts]
        self._miss = self._add_miss()
        self.gizmo = self._add_gizmo(on_drag)
        self.frame()

    def draw(self, q: Array, colours: Array) -> None:
        """Show joints `(n, dof)`, the first ones solid, the others as ghosts in colours `(n, 3)` in [0, 1]."""
        position, quaternion = self._place(q)
        for body, handle in self._solid:
            handle.position, handle.wxyz = position[0, body], quaternion[0, body]
        moved = (np.abs(position - position[0]).max(-1) > SAME_PLACE) | (
            np.abs(quaternion - quaternion[0]).max(-1) > SAME_PLACE
        )
        n = len(q) - 1
        for body, handle in self._ghosts:
            handle.batched_positions = _filled(position[1:, body], n, AWAY)
            handle.batched_wxyzs = _filled(quaternion[1:, body], n, [1.0, 0.0, 0.0, 0.0])
            handle.batched_scales = _filled(moved[1:, body].astype(float), n)
            handle.batched_colors = _filled(colours[1:] ** GAMMA, n)

    def point_at(self, T_base_tip: Pose, T_base_target: Pose, missed: bool) -> None:
        """A line from the tip to a target that it does not reach, or none."""
        ends = (self.robot.T_world_base @ pose for pose in (T_base_tip, T_base_target))
        self._miss.points = np.array([[pose.position for pose in ends]], np.float32)
        self._miss.visible = missed

    def move_gizmo(self, T_base_target: Pose) -> None:
        """Put the frame that is dragged somewhere."""
        T_world_target = self.robot.T_world_base @ T_base_target
        self.gizmo.position, self.gizmo.wxyz = T_world_target.position, T_world_target.quaternion

    def frame(self) -> None:
        """Turn the cameras of all who look, and of those who will, to where the arm fills the picture."""
        way = VIEW / np.linalg.norm(VIEW)
        eye = self._centre + way * ROOM * self._radius / np.sin(FIELD_OF_VIEW / 2)
        for camera in (self.server.initial_camera, *(c.camera for c in self.server.get_clients().values())):
            camera.fov = FIELD_OF_VIEW
            camera.position, camera.look_at = tuple(eye), tuple(self._centre)

    def _place(self, q: Array) -> tuple[Array, Array]:
        """Positions `(n, nbody, 3)` and quaternions `(n, nbody, 4)` of all bodies in the world."""
        position = np.empty((len(q), self.model.nbody, 3))
        quaternion = np.empty((len(q), self.model.nbody, 4))
        for i, qpos in enumerate(self.robot.model_qpos(q)):
            self.data.qpos = qpos
            mujoco.mj_kinematics(self.model, self.data)
            position[i], quaternion[i] = self.data.xpos, self.data.xquat
        return position, quaternion

    def _extent(self, parts: list[Part]) -> tuple[Array, float]:
        """Centre and radius of a sphere around the arm at home."""
        position, quaternion = (values[0] for values in self._place(self.robot.home[None]))
        corners = []
        for part in parts:
            R_world_body = Pose(position[part.body], quaternion[part.body]).rotation_matrix()
            corners.append(part.vertices @ R_world_body.T + position[part.body])
        tip = self.robot.T_world_base @ self.robot.forward_kinematics(self.robot.home)
        points = np.concatenate([*corners, tip.position[None]])
        centre = (points.min(0) + points.max(0)) / 2
        return centre, max(0.05, float(np.linalg.norm(points - centre, axis=1).max()))

    def _furnish(self) -> None:
        scene, size = self.server.scene, self._radius
        scene.set_up_direction("+z")
        scene.configure_default_lights(True, cast_shadow=False)
        cell = 10.0 ** np.floor(np.log10(2 * size)) / 10
        side = 10 * cell * round(4 * size / (10 * cell) + 1)
        scene.add_grid(
            "/floor",
            width=side,
            height=side,
            cell_size=cell,
            section_size=5 * cell,
            cell_color=(236, 239, 241),
            section_color=(214, 219, 224),
            position=(0.0, 0.0, self._floor_height()),
        )

    def _floor_height(self) -> float:
        """Where the arm stands: the lowest of the bodies that do not move."""
        model = self.model
        fixed = [i for i in range(1, model.nbody) if model.body_weldid[i] == 0 and model.body_parentid[i] == 0]
        return float(min(model.body_pos[fixed, 2])) if fixed else 0.0

    def _add_solid(self, parts: list[Part]) -> list[tuple[int, Any]]:
        """A frame for each body, with its meshes in it."""
        frames = {part.body: self.server.scene.add_frame(f"/solid/{part.body}", show_axes=False) for part in parts}
        for i, part in enumerate(parts):
            name, rgba = f"/solid/{part.body}/{i}", part.rgba
            self.server.scene.add_mesh_simple(
                name,
                part.vertices,
                part.faces,
                color=rgba[:3],
                opacity=None if rgba[3] == 1 else rgba[3],
                side="double",
            )
        return list(frames.items())

    def _add_ghost(self, part: Part, on_pick: Callable[[int], None]) -> Any:
        nothing = np.tile(AWAY, (MOST_ANSWERS - 1, 1))
        ghost = self.server.scene.add_batched_meshes_simple(
            f"/ghosts/{part.body}",
            part.vertices,
            part.faces,
            batched_wxyzs=np.tile([1.0, 0.0, 0.0, 0.0], (len(nothing), 1)),
            batched_positions=nothing,
            batched_scales=np.zeros(len(nothing)),
            batched_colors=np.zeros_like(nothing),
            opacity=OPACITY,
            lod="off",
            cast_shadow=False,
            receive_shadow=False,
        )

        async def clicked(event: Any) -> None:
            on_pick(event.instance_index + 1)

        ghost.on_click(clicked)
        return ghost

    def _add_miss(self) -> Any:
        return self.server.scene.add_line_segments(
            "/miss",
            np.zeros((1, 2, 3), np.float32),
            colors=MISSED,
            thickness=3.0,
            thickness_units="screen",
            visible=False,
        )

    def _add_gizmo(self, on_drag: Callable[[Pose], None]) -> Any:
        gizmo = self.server.scene.add_transform_controls(
            "/target", scale=GIZMO * 2 * self._radius, depth_test=False, line_width=3.0
        )

        async def dragged(event: Any) -> None:  # in the event loop, where updates stay in their order
            T_world_target = Pose(event.target.position, event.target.wxyz)
            on_drag(self.robot.T_world_base.inverse() @ T_world_target)

        gizmo.on_update(dragged)
        return gizmo


def _filled(rows: Array, n: int, spare: Any = 0.0) -> Array:
    """Rows for all ghosts `(MOST_ANSWERS - 1, ...)`, of which the first `n` are used."""
    out = np.empty((MOST_ANSWERS - 1, *rows.shape[1:]), np.float32)
    out[:n], out[n:] = rows, spare
    return out
