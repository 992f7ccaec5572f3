"""One serial arm of a MuJoCo model: its joints, its exact forward kinematics and Jacobian, and its chain."""

from __future__ import annotations

import copy
import os
import threading
from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.arm import arm_joints, default_tip, find_frame, joint_kind, joint_name
from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError, RobotError
from hybrid_ik.kinematics import forward_kinematics
from hybrid_ik.loading import Source, load_drawable, load_model, load_spec
from hybrid_ik.pose import Pose, quaternion_from_matrix
from hybrid_ik.scalar_math import NumpyMath

Array = NDArray[np.float64]

CHECKED_CONFIGURATIONS = 64
CHAIN_TOLERANCE = 1e-9  # m, and entries of the rotation matrix


class Robot:
    """One serial arm: the hinge and slide joints between two frames of a MuJoCo model.

    All other joints (fingers, a torso below the base) stay at the model's reference `qpos0`. Safe to share between
    threads and to use after a fork: every thread has its own `MjData`. Can be pickled.

    Args:
        source: a shipped name (`"panda"`), the path of an MJCF or URDF file, a `robot_descriptions` name
            (`"panda_mj_description"`), an `MjModel`, an `MjSpec`, or a `Robot` (to choose other frames of it).
        tip: the frame to be placed, a site or else a body. By default the first of `hybrid_ik.arm.TIP_NAMES` that the
            model has (the shipped Panda's is `flange`), or the end of its only chain of bodies.
        base: the frame that poses and Jacobians are expressed in, a site or else a body; the world by default. It must
            carry the tip; joints below it are not part of the arm.

    Raises:
        RobotError: no such robot, file, tip or base; a ball or free joint, a mocap body, a tendon or an active equality
            on the way; or a chain that disagrees with MuJoCo by more than 1e-9.
        RobotNotAvailableError: a `robot_descriptions` name that cannot be fetched.
    """

    name: str
    """What the model is called."""
    model: mujoco.MjModel
    """The model used: without geoms, meshes and actuators, unless it was given as an `MjModel`."""
    tip: str
    """Name of the tip frame."""
    base: str
    """Name of the base frame."""
    chain: Chain
    """The arm as constants, checked against MuJoCo."""
    home: Array
    """A posture `(dof,)` inside the limits: of the keyframe `home`, or the middle of every joint's range."""
    _qpos_home: Array | None
    _source: Source

    def __init__(self, source: Source | Robot = "panda", *, tip: str | None = None, base: str | None = None) -> None:
        if isinstance(source, Robot):
            tip, base = tip or source.tip, base or source.base
            loaded = source.model, source.name, source._qpos_home
        else:
            loaded = load_model(source)
        self.model, self.name, self._qpos_home = loaded
        self._source = _kept_source(source)
        self._tip = find_frame(self.model, tip, "tip") if tip is not None else default_tip(self.model)
        self._base = find_frame(self.model, base or "world", "base")
        self.tip, self.base = self._tip.name, self._base.name
        self._joints = arm_joints(self.model, self._base, self._tip)
        self._qpos_ids = self.model.jnt_qposadr[self._joints]
        self._dof_ids = self.model.jnt_dofadr[self._joints]
        self._work = _Work(self.model)
        self._T_base_world = np.linalg.inv(_frame_matrix(self._data_at_reference(), self._base))
        self.chain = self._make_chain()
        self._check_chain()
        self.home = self._make_home()

    @property
    def dof(self) -> int:
        """Number of joints of the arm."""
        return len(self._joints)

    @property
    def source(self) -> str | None:
        """The name or path that the robot was made from; None for a model or a specification."""
        return os.fspath(self._source) if isinstance(self._source, str | os.PathLike) else None

    @property
    def joint_ids(self) -> NDArray[np.intp]:
        """Numbers of the arm's joints in the model `(dof,)`."""
        return np.array(self._joints)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The arm's joints, from the base outwards."""
        return self.chain.joint_names

    @property
    def lower(self) -> Array:
        """Lower limits `(dof,)` [rad, or m]; -inf for an unlimited joint."""
        return self.chain.lower

    @property
    def upper(self) -> Array:
        """Upper limits `(dof,)` [rad, or m]; inf for an unlimited joint."""
        return self.chain.upper

    @property
    def T_world_base(self) -> Pose:
        """The base frame in the world; it does not move, for the joints below it stay at their reference."""
        return Pose.from_matrix(self._T_base_world).inverse()

    def forward_kinematics(self, q: ArrayLike) -> Pose:
        """`T_base_tip(q)` by MuJoCo's `mj_kinematics`.

        Args:
            q: joints `(*batch, dof)` [rad, or m]; limits are not looked at.

        Returns:
            Poses of shape `batch`. Rows of `q` with NaN or infinity give rows that are not `valid`.

        Raises:
            InvalidInputError: `q` has another shape, is not of numbers, or is one configuration that is not finite.
        """
        q = self._checked(q)
        if q.ndim == 1 and not np.isfinite(q).all():
            raise InvalidInputError(f"q: expected finite numbers, got {q.tolist()}")
        position, rotation = self._tip_frames(q.reshape(-1, self.dof))
        batch = q.shape[:-1]
        return Pose(position.reshape(*batch, 3), quaternion_from_matrix(rotation).reshape(*batch, 4))

    def jacobian(self, q: ArrayLike) -> Array:
        """Geometric Jacobian of the tip, `[v; w] = J(q) dq/dt`, by `mj_jacSite` (`mj_jacBody` for a body).

        Linear rows first, in the axes of the base frame: of the world, unless another base was chosen.

        Args:
            q: joints `(*batch, dof)` [rad, or m].

        Returns:
            `(*batch, 6, dof)` [m or rad, per rad or m]; NaN for rows of `q` that are not finite.

        Raises:
            InvalidInputError: `q` has another shape or is not of numbers.
        """
        q = self._checked(q)
        rows = q.reshape(-1, self.dof)
        out = np.empty((len(rows), 6, self.dof))
        data, J = self._thread_data(), np.empty((6, self.model.nv))
        for row, target in zip(rows, out, strict=True):
            self._place(data, row)
            mujoco.mj_comPos(self.model, data)
            if self._tip.site is None:
                mujoco.mj_jacBody(self.model, data, J[:3], J[3:], self._tip.body)
            else:
                mujoco.mj_jacSite(self.model, data, J[:3], J[3:], self._tip.site)
            target[:] = J[:, self._dof_ids]
        if self._base.body != 0 or self._base.site is not None:
            R_base_world = self._T_base_world[:3, :3]
            out = np.concatenate([R_base_world @ out[:, :3], R_base_world @ out[:, 3:]], 1)
        out[~np.isfinite(rows).all(-1)] = np.nan
        return out.reshape(*q.shape[:-1], 6, self.dof)

    def model_qpos(self, q: ArrayLike) -> Array:
        """Positions of all joints of the model `(*batch, nq)` for joints `(*batch, dof)`; the others at reference."""
        q = self._checked(q)
        qpos = np.broadcast_to(self.model.qpos0, (*q.shape[:-1], self.model.nq)).copy()
        qpos[..., self._qpos_ids] = q
        return qpos

    def drawable_model(self) -> mujoco.MjModel:
        """A model with the same joints and with shapes to look at, read again from where the robot came from.

        Where that cannot be had any more (mesh files are missing, or the robot was made from an `MjSpec` and has been
        pickled) it is a copy of `model`, which has no shapes.
        """
        try:
            drawable = load_drawable(self._source)
        except RobotError:
            return copy.copy(self.model)
        return drawable if drawable.nq == self.model.nq else copy.copy(self.model)

    def specification(self) -> mujoco.MjSpec:
        """The whole specification, read again from where the robot came from; the caller may change it.

        Raises:
            RobotError: the robot was made from an `MjModel`, or was pickled, or its file cannot be read any more.
        """
        return load_spec(self._source)

    def __repr__(self) -> str:
        return f"Robot({self.name!r}, dof={self.dof}, tip={self.tip!r}, base={self.base!r})"

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in self.__dict__.items() if key != "_work"}
        if isinstance(self._source, mujoco.MjSpec):  # cannot be pickled
            state["_source"] = self.model
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._work = _Work(self.model)

    def _checked(self, q: ArrayLike) -> Array:
        try:
            array = np.asarray(q, dtype=float)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"q: expected numbers of shape (*batch, {self.dof}), got {q!r}") from error
        if array.ndim == 0 or array.shape[-1] != self.dof:
            raise InvalidInputError(
                f"q: expected shape (*batch, {self.dof}) for the joints {', '.join(self.joint_names)}, "
                f"got {array.shape}"
            )
        return array

    def _tip_frames(self, rows: Array) -> tuple[Array, Array]:
        """Positions (n, 3) and rotation matrices (n, 3, 3) of the tip in the base, for configurations (n, dof)."""
        position, rotation = np.empty((len(rows), 3)), np.empty((len(rows), 9))
        data = self._thread_data()
        xpos, xmat = _frame_views(data, self._tip)
        for i, row in enumerate(rows):
            self._place(data, row)
            position[i], rotation[i] = xpos, xmat
        bad = ~np.isfinite(rows).all(-1)
        position[bad], rotation[bad] = np.nan, np.nan
        R_base_world, p_base_world = self._T_base_world[:3, :3], self._T_base_world[:3, 3]
        return position @ R_base_world.T + p_base_world, R_base_world @ rotation.reshape(-1, 3, 3)

    def _thread_data(self) -> mujoco.MjData:
        """This thread's `MjData`; made anew in a forked child, whose parent may have been at work in it."""
        if self._work.pid != os.getpid():
            self._work = _Work(self.model)
        return self._work.data

    def _place(self, data: mujoco.MjData, q: Array) -> None:
        data.qpos[self._qpos_ids] = q
        mujoco.mj_kinematics(self.model, data)

    def _data_at_reference(self) -> mujoco.MjData:
        data = self._thread_data()
        self._place(data, self.model.qpos0[self._qpos_ids])
        return data

    def _make_chain(self) -> Chain:
        """The chain of the joint axes as they lie at q = 0, which MuJoCo's `ref` may put away from its `qpos0`."""
        data = self._thread_data()
        self._place(data, np.zeros(self.dof))
        R, p = self._T_base_world[:3, :3], self._T_base_world[:3, 3]
        limited = self.model.jnt_limited[self._joints].astype(bool)
        low, high = self.model.jnt_range[self._joints].T
        return Chain.from_axes(
            kinds=tuple(joint_kind(self.model, j) for j in self._joints),
            origins=data.xanchor[self._joints] @ R.T + p,
            axes=data.xaxis[self._joints] @ R.T,
            T_base_tip=self._T_base_world @ _frame_matrix(data, self._tip),
            lower=np.where(limited, low, -np.inf),
            upper=np.where(limited, high, np.inf),
            joint_names=tuple(joint_name(self.model, j) for j in self._joints),
        )

    def _check_chain(self) -> None:
        """Compare chain and MuJoCo at random configurations (the same ones every time)."""
        chain = self.chain
        q = np.random.default_rng(0).uniform(
            chain.sample_lower, chain.sample_upper, (CHECKED_CONFIGURATIONS, chain.dof)
        )
        position, rotation = self._tip_frames(q)
        R, p = forward_kinematics(chain, list(q.T), NumpyMath())
        T_first_last = np.tile(np.eye(4), (len(q), 1, 1))
        for i in range(3):
            T_first_last[:, i, 3] = p[i]
            for j in range(3):
                T_first_last[:, i, j] = R[i][j]
        T_base_tip = chain.T_base_first @ T_first_last @ chain.T_last_tip
        worst = max(np.abs(T_base_tip[:, :3, 3] - position).max(), np.abs(T_base_tip[:, :3, :3] - rotation).max())
        if not worst <= CHAIN_TOLERANCE:
            raise RobotError(
                f"the chain of {self.name!r} disagrees with MuJoCo by {worst:.2g} (allowed {CHAIN_TOLERANCE:g}); "
                "please report the model"
            )

    def _make_home(self) -> Array:
        home = self.chain.middle if self._qpos_home is None else self._qpos_home[self._qpos_ids]
        return np.clip(home, self.lower, self.upper)


class _Work(threading.local):
    """One `MjData` for each thread that asks, at the model's reference, and the process it was made in."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.data = mujoco.MjData(model)
        self.pid = os.getpid()


def _kept_source(source: Source | Robot) -> Source:
    """What the robot can be read from again; a specification is copied, as its owner may change it."""
    if isinstance(source, Robot):
        return source._source
    return source.copy() if isinstance(source, mujoco.MjSpec) else source


def _frame_views(data: mujoco.MjData, frame: Any) -> tuple[Array, Array]:
    """Position (3,) and rotation matrix (9,) of a frame in the world: views that follow the data."""
    if frame.site is None:
        return data.xpos[frame.body], data.xmat[frame.body]
    return data.site_xpos[frame.site], data.site_xmat[frame.site]


def _frame_matrix(data: mujoco.MjData, frame: Any) -> Array:
    T = np.eye(4)
    position, rotation = _frame_views(data, frame)
    T[:3, :3], T[:3, 3] = rotation.reshape(3, 3), position
    return T
