"""Which part of a MuJoCo model is the arm: its frames, the joints between them, and what forbids taking them alone."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from hybrid_ik.chain import JointKind
from hybrid_ik.errors import RobotError

TIP_NAMES = (
    "flange",
    "attachment_site",
    "tool0",
    "link_tcp",
    "tcp",
    "gripperframe",
    "end_effector",
    "ee_site",
    "ee",
    "grip_site",
    "pinch",
)
"""Names that a tip usually has, the first one found is the default: sites, then bodies, then prefixed sites."""

_JOINT_KINDS: dict[int, JointKind] = {
    int(mujoco.mjtJoint.mjJNT_HINGE): "hinge",
    int(mujoco.mjtJoint.mjJNT_SLIDE): "slide",
}
_REFUSED_KINDS = {int(mujoco.mjtJoint.mjJNT_BALL): "ball", int(mujoco.mjtJoint.mjJNT_FREE): "free"}


@dataclass(frozen=True)
class Frame:
    """A site or a body of a model."""

    name: str
    """Its name; "world" for the world body."""
    body: int
    """Id of the body it is fixed to."""
    site: int | None = None
    """Id of the site; None for a body."""


def find_frame(model: mujoco.MjModel, name: str, role: str = "tip") -> Frame:
    """The site of that name, or else the body.

    Raises:
        RobotError: there is neither; the message lists those there are.
    """
    site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, name)
    if site >= 0:
        return Frame(name, int(model.site_bodyid[site]), site)
    body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
    if body >= 0:
        return Frame(name, body)
    for body in range(model.nbody):
        if name == _body_name(model, body):  # one without a name of its own
            return Frame(name, body)
    raise RobotError(f"{role}: no site or body {name!r} in the model; {list_frames(model)}")


def default_tip(model: mujoco.MjModel) -> Frame:
    """The tip of a model whose user named none.

    The first of `TIP_NAMES` that the model has; or, as in a model that was attached to another one, the only site with
    a prefix before that name (`panda_flange`, `left/attachment_site`). Without one, the only chain of bodies from the
    world is followed to its end, or to where it branches into parts with fewer joints than it has itself: a hand with
    its fingers.

    Raises:
        RobotError: it branches into parts that are no fingers; the message lists the sites and bodies to choose from.
    """
    for kind in (mujoco.mjtObj.mjOBJ_SITE, mujoco.mjtObj.mjOBJ_BODY):
        for name in TIP_NAMES:
            if mujoco.mj_name2id(model, kind, name) >= 0:
                return find_frame(model, name)
    sites = [model.site(i).name for i in range(model.nsite)]
    for name in TIP_NAMES:
        prefixed = [site for site in sites if site.endswith(("_" + name, "/" + name))]
        if len(prefixed) == 1:
            return find_frame(model, prefixed[0])
    body, passed = 0, 0
    while branches := [child for child in _children(model, body) if _joints_below(model, child)]:
        if len(branches) > 1:
            if max(_joints_below(model, child) for child in branches) < passed:
                break
            raise RobotError(f"more than one arm could be meant: name the tip; {list_frames(model)}")
        body = branches[0]
        passed += int(model.body_jntnum[body])
    if not passed:
        raise RobotError(f"the model has no arm that starts at the world: name the tip; {list_frames(model)}")
    return Frame(_body_name(model, body), body)


def arm_joints(model: mujoco.MjModel, base: Frame, tip: Frame) -> list[int]:
    """Ids of the joints between base and tip, from the base outwards.

    Raises:
        RobotError: the base is no ancestor of the tip, there is no joint between them, one of them is a ball or free
            joint, a body between them is a mocap body, or an equality or a tendon couples them.
    """
    path = _path(model, base, tip)
    _refuse_mocap(model, path, base)
    joints = [j for body in path for j in range(model.body_jntadr[body], model.body_jntadr[body] + _count(model, body))]
    if not joints:
        raise RobotError(f"no joint between base {base.name!r} and tip {tip.name!r}; {list_frames(model)}")
    for j in joints:
        if (kind := int(model.jnt_type[j])) in _REFUSED_KINDS:
            raise RobotError(
                f"joint {joint_name(model, j)!r} on the way from {base.name!r} to {tip.name!r} is a "
                f"{_REFUSED_KINDS[kind]} joint; an arm has hinges and slides. Choose a base beyond it"
            )
    _refuse_couplings(model, joints)
    return joints


def joint_kind(model: mujoco.MjModel, joint: int) -> JointKind:
    """Whether an arm joint is a "hinge" or a "slide"."""
    return _JOINT_KINDS[int(model.jnt_type[joint])]


def joint_name(model: mujoco.MjModel, joint: int) -> str:
    """The joint's name, or one made of its number."""
    return str(model.joint(joint).name) or f"joint#{joint}"


def list_frames(model: mujoco.MjModel) -> str:
    """Sites and bodies of a model, for messages."""
    sites = [model.site(i).name for i in range(model.nsite) if model.site(i).name]
    bodies = [model.body(i).name for i in range(model.nbody) if model.body(i).name]
    return f"sites: {', '.join(sites) or 'none'}; bodies: {', '.join(bodies)}"


def _path(model: mujoco.MjModel, base: Frame, tip: Frame) -> list[int]:
    """Bodies after the base's one up to the tip's one."""
    path, body = [], tip.body
    while body != base.body:
        if body == 0:
            raise RobotError(f"base {base.name!r} does not carry tip {tip.name!r}; {_ancestors(model, tip)}")
        path.append(body)
        body = int(model.body_parentid[body])
    return path[::-1]


def _ancestors(model: mujoco.MjModel, tip: Frame) -> str:
    names, body = [], tip.body
    while body:
        names.append(_body_name(model, body))
        body = int(model.body_parentid[body])
    return f"bodies that do: {', '.join([*names, 'world'][::-1])}"


def _refuse_mocap(model: mujoco.MjModel, path: list[int], base: Frame) -> None:
    for body in path:
        if model.body_mocapid[body] >= 0:
            name = _body_name(model, body)
            raise RobotError(
                f"the arm stands on the mocap body {name!r}, whose pose is not a constant of the model; "
                f"choose base={name!r} instead of {base.name!r}"
            )


def _refuse_couplings(model: mujoco.MjModel, joints: list[int]) -> None:
    """Refuse what ties an arm joint to another one: the arm is then not what its joints say."""
    arm = set(joints)
    for tendon in range(model.ntendon):
        tied = _tendon_joints(model, tendon)
        if len(tied) > 1 and arm & tied:
            name = model.tendon(tendon).name or f"tendon#{tendon}"
            raise RobotError(f"tendon {name!r} couples {_names(model, tied)}: delete it, or choose another base or tip")
    for equality in range(model.neq):
        if model.eq_active0[equality] and (tied := arm & _equality_joints(model, equality)):
            name = model.equality(equality).name or f"equality#{equality}"
            raise RobotError(
                f"equality {name!r} holds {_names(model, tied)}: deactivate it, or choose another base or tip"
            )


def _tendon_joints(model: mujoco.MjModel, tendon: int) -> set[int]:
    """Joints of a fixed tendon; a spatial one pulls, but leaves the joints free."""
    wraps = range(model.tendon_adr[tendon], model.tendon_adr[tendon] + model.tendon_num[tendon])
    return {int(model.wrap_objid[w]) for w in wraps if model.wrap_type[w] == int(mujoco.mjtWrap.mjWRAP_JOINT)}


def _equality_joints(model: mujoco.MjModel, equality: int) -> set[int]:
    """Joints that an equality acts on."""
    ids = [int(model.eq_obj1id[equality]), int(model.eq_obj2id[equality])]
    kind = mujoco.mjtEq(int(model.eq_type[equality]))
    if kind == mujoco.mjtEq.mjEQ_JOINT:
        return {j for j in ids if j >= 0}
    if kind == mujoco.mjtEq.mjEQ_TENDON:
        return {j for tendon in ids if tendon >= 0 for j in _tendon_joints(model, tendon)}
    if kind in (mujoco.mjtEq.mjEQ_CONNECT, mujoco.mjtEq.mjEQ_WELD):
        sites = mujoco.mjtObj(int(model.eq_objtype[equality])) == mujoco.mjtObj.mjOBJ_SITE
        bodies = [int(model.site_bodyid[i]) if sites else max(i, 0) for i in ids]
        if any(model.body_mocapid[body] >= 0 for body in bodies):
            return set()  # a handle to drag the arm by, not a part of it
        return _joints_above(model, bodies[0]) ^ _joints_above(model, bodies[1])
    return set()


def _joints_above(model: mujoco.MjModel, body: int) -> set[int]:
    joints: set[int] = set()
    while body:
        joints.update(range(model.body_jntadr[body], model.body_jntadr[body] + _count(model, body)))
        body = int(model.body_parentid[body])
    return joints


def _children(model: mujoco.MjModel, body: int) -> list[int]:
    return [int(child) for child in np.flatnonzero(model.body_parentid == body) if child != 0]


def _joints_below(model: mujoco.MjModel, body: int) -> int:
    return _count(model, body) + sum(_joints_below(model, child) for child in _children(model, body))


def _count(model: mujoco.MjModel, body: int) -> int:
    return int(model.body_jntnum[body])


def _names(model: mujoco.MjModel, joints: set[int]) -> str:
    return ", ".join(repr(joint_name(model, j)) for j in sorted(joints))


def _body_name(model: mujoco.MjModel, body: int) -> str:
    return str(model.body(body).name) or f"body#{body}"
