"""Dots on an arm: sites of its model, where they are, and how they move with the joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError, RobotError
from hybrid_ik.robot import Robot

Array = NDArray[np.float64]


class ArmDots:
    """Sites of a robot's model, in the world. It works in an `MjData` of its own, so each thread needs one.

    Joints that are not the arm's own stay at the model's reference. For a dot on a jaw that moves, choose a tip on that
    jaw: then its joint is the arm's last one.

    Args:
        robot: the arm.
        sites: names of the dots.
        shifts: of the dots from their sites, in the sites' own axes `(n_dots, 3)` [m]; by default none.

    Raises:
        RobotError: there is no such site; the message lists those there are.
        InvalidInputError: shifts of another shape.
    """

    def __init__(self, robot: Robot, sites: Sequence[str], shifts: ArrayLike | None = None) -> None:
        self.robot, self.sites = robot, tuple(sites)
        self.shifts = np.zeros((len(self.sites), 3)) if shifts is None else np.array(shifts, dtype=float)
        if self.shifts.shape != (len(self.sites), 3):
            raise InvalidInputError(f"shifts: expected shape ({len(self.sites)}, 3), got {self.shifts.shape}")
        self._ids = [_site(robot.model, name) for name in self.sites]
        self._shifted = bool(self.shifts.any())
        self._bodies = [int(robot.model.site_bodyid[site]) for site in self._ids]
        self._data = mujoco.MjData(robot.model)
        self._qpos, self._site_xpos = self._data.qpos, self._data.site_xpos  # views; to ask for them each time is slow
        self._qpos_ids = robot.model.jnt_qposadr[robot.joint_ids]
        self._dof_ids = robot.model.jnt_dofadr[robot.joint_ids]

    @property
    def n_dots(self) -> int:
        """How many there are."""
        return len(self._ids)

    def positions(self, q: ArrayLike) -> Array:
        """Where the dots are in the world `(*batch, n_dots, 3)` [m], by `mj_kinematics`.

        Args:
            q: joints `(*batch, dof)` [rad, or m]; rows that are not finite give NaN.

        Raises:
            InvalidInputError: `q` has another shape.
        """
        q = self._checked(q)
        rows = q.reshape(-1, self.robot.dof)
        points = np.full((len(rows), self.n_dots, 3), np.nan)
        for i in np.flatnonzero(np.isfinite(rows).all(-1)):
            self._place(rows[i])
            points[i] = self._points()
        return points.reshape(*q.shape[:-1], self.n_dots, 3)

    def jacobians(self, q: ArrayLike) -> tuple[Array, Array]:
        """Positions as above, and d position / d q `(*batch, n_dots, 3, dof)` [m per rad or m], by `mj_jac`."""
        q = self._checked(q)
        rows = q.reshape(-1, self.robot.dof)
        points = np.full((len(rows), self.n_dots, 3), np.nan)
        J = np.full((len(rows), self.n_dots, 3, self.robot.model.nv), np.nan)
        for i in np.flatnonzero(np.isfinite(rows).all(-1)):
            self._place(rows[i])
            mujoco.mj_comPos(self.robot.model, self._data)
            points[i] = self._points()
            for k, body in enumerate(self._bodies):
                mujoco.mj_jac(self.robot.model, self._data, J[i, k], None, points[i, k], body)
        batch = (*q.shape[:-1], self.n_dots)
        return points.reshape(*batch, 3), J[..., self._dof_ids].reshape(*batch, 3, self.robot.dof)

    def _place(self, q: Array) -> None:
        self._qpos[self._qpos_ids] = q
        mujoco.mj_kinematics(self.robot.model, self._data)

    def rotations(self, q: ArrayLike) -> Array:
        """Axes of the dots' sites in the world `(*batch, n_dots, 3, 3)`, for joints `(*batch, dof)`."""
        q = self._checked(q)
        rows = q.reshape(-1, self.robot.dof)
        R = np.full((len(rows), self.n_dots, 9), np.nan)
        for i in np.flatnonzero(np.isfinite(rows).all(-1)):
            self._place(rows[i])
            R[i] = self._data.site_xmat[self._ids]
        return R.reshape(*q.shape[:-1], self.n_dots, 3, 3)

    def _points(self) -> Array:
        """Of the posture placed last (n_dots, 3)."""
        points = self._site_xpos[self._ids]
        if self._shifted:
            points = points + (self._data.site_xmat[self._ids].reshape(-1, 3, 3) @ self.shifts[..., None])[..., 0]
        return points

    def _checked(self, q: ArrayLike) -> Array:
        joints = np.asarray(q, dtype=float)
        if joints.ndim == 0 or joints.shape[-1] != self.robot.dof:
            raise InvalidInputError(f"q: expected shape (*batch, {self.robot.dof}), got {joints.shape}")
        return joints


def with_dots(robot: Robot, dots: Mapping[str, tuple[str, ArrayLike]], tip: str | None = None) -> Robot:
    """The same arm with sites added to its model.

    Args:
        robot: the arm; it is not changed.
        dots: for each new site its body and its position in that body's frame (3,) [m].
        tip: of the new robot, which may be one of the dots; by default that of the old one.

    Raises:
        RobotError: no such body, a name that is taken, or a robot without a specification; see `Robot.specification`.
    """
    spec = robot.specification()
    for name, (body_name, position) in dots.items():
        body = spec.body(body_name)
        if body is None:
            bodies = ", ".join(body.name for body in spec.bodies if body.name)
            raise RobotError(f"dot {name!r}: no body {body_name!r} in {robot.name!r}; bodies: {bodies}")
        if spec.site(name) is not None:
            raise RobotError(f"dot {name!r}: {robot.name!r} already has a site of that name; choose another")
        body.add_site(name=name, pos=np.asarray(position, dtype=float))
    return Robot(spec, tip=tip or robot.tip, base=robot.base)


def with_middle(dots: ArmDots, q: ArrayLike, name: str = "middle_of_dots") -> Robot:
    """The arm with its tip midway between its dots, as they are at joints `q` `(dof,)`.

    The tip is on the innermost body that carries a dot: that of a jaw that moves is no joint of the new arm.

    Raises:
        RobotError: see `with_dots`.
    """
    model, data = dots.robot.model, mujoco.MjData(dots.robot.model)
    data.qpos[model.jnt_qposadr[dots.robot.joint_ids]] = q
    mujoco.mj_kinematics(model, data)
    body = min(int(model.site_bodyid[model.site(site).id]) for site in dots.sites)
    middle = dots.positions(q).mean(0)
    position = data.xmat[body].reshape(3, 3).T @ (middle - data.xpos[body])
    return with_dots(dots.robot, {name: (model.body(body).name, position)}, tip=name)


def _site(model: mujoco.MjModel, name: str) -> int:
    site = int(mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, name))
    if site < 0:
        names = ", ".join(model.site(i).name for i in range(model.nsite) if model.site(i).name) or "none"
        raise RobotError(f"no site {name!r} in the model; sites: {names}. `with_dots` adds some")
    return site
