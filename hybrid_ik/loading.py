"""From whatever names a robot to a compiled MuJoCo model that holds little more than its kinematics."""

from __future__ import annotations

import contextlib
import copy
import difflib
import importlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import mujoco
import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import RobotError, RobotNotAvailableError
from hybrid_ik.resources import asset_path, shipped_robots

Source: TypeAlias = str | os.PathLike[str] | mujoco.MjModel | mujoco.MjSpec
Array = NDArray[np.float64]


def load_model(source: Source) -> tuple[mujoco.MjModel, str, Array | None]:
    """The model that a source names, slim where it can be, its name, and `qpos` of its keyframe `home`.

    A file or an `MjSpec` loses its geoms, meshes and actuators; an `MjSpec` is copied first. An `MjModel` has no
    specification any more and is taken as it is.

    Args:
        source: a shipped name, a path of an MJCF or URDF file, a `robot_descriptions` name (it ends in
            `_description`), an `MjModel`, or an `MjSpec`.

    Returns:
        The model, a name for messages, and the joint positions `(nq,)` of `home`, None where there is no such keyframe.

    Raises:
        RobotError: the source is none of these, or MuJoCo cannot read it.
        RobotNotAvailableError: a description that cannot be fetched.
    """
    if isinstance(source, mujoco.MjModel):
        return source, _model_name(source), _home_of_model(source)
    if isinstance(source, mujoco.MjSpec):
        return _compile(source.copy(), source.modelname or "robot")
    path = _find_file(source)
    name = path.stem if not str(source).endswith("_description") else str(source)
    return _compile(_read(path), name)


def load_drawable(source: Source) -> mujoco.MjModel:
    """The model that a source names, whole, with its geoms and meshes; the caller may change it.

    Raises:
        RobotError: MuJoCo cannot compile it, for instance because mesh files are missing.
    """
    if isinstance(source, mujoco.MjModel):
        return copy.copy(source)
    try:
        spec = load_spec(source)
        _take_any_mass(spec)
        return spec.compile()
    except ValueError as error:
        raise RobotError(f"MuJoCo cannot compile the whole model: {error}") from error


def load_spec(source: Source) -> mujoco.MjSpec:
    """The specification that a source names, whole; the caller may change it.

    Raises:
        RobotError: it cannot be read, or the source is an `MjModel`, which has none any more.
    """
    if isinstance(source, mujoco.MjModel):
        raise RobotError("an MjModel holds no specification any more; give its file, or an MjSpec")
    if isinstance(source, mujoco.MjSpec):
        return source.copy()
    return _read(_find_file(source))


def _find_file(source: str | os.PathLike[str]) -> Path:
    if not isinstance(source, str | os.PathLike):
        raise RobotError(
            f"cannot make a robot of {type(source).__name__}; expected a name, a path of an MJCF or URDF file, "
            "an MjModel, an MjSpec or a Robot"
        )
    name = os.fspath(source)
    if name in shipped_robots():
        return asset_path("robots", f"{name}.xml")
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if name.endswith("_description"):
        return _described_file(name)
    raise RobotError(
        f"no robot {name!r}: there is no such file (looked in {Path.cwd()}), the shipped robots are "
        f"{', '.join(shipped_robots())}, and a robot_descriptions name ends in '_description'"
    )


def _described_file(name: str) -> Path:
    """Path that the package robot_descriptions gives for a name; it clones the description on first use."""
    remedies = (
        "Either connect to the network once (robot_descriptions keeps what it fetched, and needs git), or pass the "
        "path of an MJCF or URDF file"
    )
    silence = io.StringIO()
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            module = importlib.import_module(f"robot_descriptions.{name}")
    except ModuleNotFoundError as error:
        raise RobotNotAvailableError(f"robot_descriptions has no {name!r}{_similar(name)}. {remedies}") from error
    except Exception as error:  # git, network, file system: whatever a clone can fail with
        raise RobotNotAvailableError(f"could not fetch {name!r}: {error}. {remedies}") from error
    path = getattr(module, "MJCF_PATH", None) or getattr(module, "URDF_PATH", None)
    if path is None or not Path(path).is_file():
        raise RobotNotAvailableError(f"{name!r} has no MJCF or URDF file that is there ({path}). {remedies}")
    return Path(path)


def _similar(name: str) -> str:
    try:
        names = list(importlib.import_module("robot_descriptions._descriptions").DESCRIPTIONS)
    except (ImportError, AttributeError):
        return ""
    close = difflib.get_close_matches(name, names)
    return f"; similar: {', '.join(close)}" if close else ""


def _read(path: Path) -> mujoco.MjSpec:
    try:
        return mujoco.MjSpec.from_file(str(path))
    except (ValueError, OSError) as error:
        raise RobotError(f"MuJoCo cannot read {path}: {error}") from error


def _compile(spec: mujoco.MjSpec, name: str) -> tuple[mujoco.MjModel, str, Array | None]:
    home = next((np.array(key.qpos, dtype=float) for key in spec.keys if key.name == "home"), None)
    strip_shapes(spec)
    try:
        model = spec.compile()
    except ValueError as error:
        raise RobotError(f"MuJoCo cannot compile {name!r}: {error}") from error
    return model, name, home if home is not None and home.shape == (model.nq,) else None


def strip_shapes(spec: mujoco.MjSpec) -> None:
    """Delete what kinematics has no use for, so that missing meshes do no harm and MuJoCo has less to do."""
    wraps = {wrap.target.name for tendon in spec.tendons for wrap in tendon.path if wrap.type in _WRAPPING_GEOMS}
    _take_any_mass(spec)
    for joint in spec.joints:
        joint.armature = 1.0  # coincident axes are no kinematic fault, but MuJoCo warns of their inertia matrix
    spec.compiler.fusestatic = False  # fusing would swallow fixed links, and tips are often such
    for elements in (spec.keys, spec.sensors, spec.actuators, spec.pairs, spec.excludes, spec.tuples, spec.skins):
        _delete(spec, elements)
    _delete(spec, [e for e in spec.equalities if e.objtype == mujoco.mjtObj.mjOBJ_FLEX])
    _delete(spec, [geom for geom in spec.geoms if geom.name not in wraps])
    _delete(spec, spec.flexes)
    for drawn in (*spec.geoms, *spec.sites, *spec.tendons):
        drawn.material = ""
    for elements in (spec.lights, spec.meshes, spec.hfields, spec.materials, spec.textures):
        _delete(spec, elements)


def _take_any_mass(spec: mujoco.MjSpec) -> None:
    """Bodies that have no mass of their own get one, also where there are no geoms that it could follow from."""
    for body in spec.bodies[1:]:
        if not body.explicitinertial:
            body.explicitinertial, body.mass, body.inertia = True, 1.0, np.ones(3)
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE


_WRAPPING_GEOMS = (mujoco.mjtWrap.mjWRAP_SPHERE, mujoco.mjtWrap.mjWRAP_CYLINDER)


def _delete(spec: mujoco.MjSpec, elements: Iterable[Any]) -> None:
    for element in list(elements):
        spec.delete(element)


def _model_name(model: mujoco.MjModel) -> str:
    return bytes(model.names).split(b"\0", 1)[0].decode() or "robot"


def _home_of_model(model: mujoco.MjModel) -> Array | None:
    key = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, "home")
    return np.array(model.key_qpos[key]) if key >= 0 else None
