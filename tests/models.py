"""Small MJCF models, each with one trait that a reader of models can get wrong."""

from __future__ import annotations

import mujoco
import numpy as np

from hybrid_ik.chain import Chain
from hybrid_ik.robot import Robot


def robot_of(xml: str) -> Robot:
    """A robot of one of these models, up to its site `tip`."""
    return Robot(mujoco.MjSpec.from_string(xml), tip="tip")


def mjcf(bodies: str, rest: str = "") -> str:
    """A model of these bodies; angles in radians."""
    return f"<mujoco model='test'><compiler angle='radian'/><worldbody>{bodies}</worldbody>{rest}</mujoco>"


def arm(*joints: str, rest: str = "") -> str:
    """A serial arm: one body of a bent link for each joint, and a site `tip` at the end."""
    bodies = "<site name='tip' pos='.1 .05 .02' quat='.9 .1 -.2 .3'/>"
    for i, joint in reversed(list(enumerate(joints))):
        bodies = (
            f"<body name='b{i}' pos='.2 .1 {0.1 * i}' euler='.3 {0.2 * i} -.4'>{joint}"
            f"<geom size='.02 .02 .02' type='box'/>{bodies}</body>"
        )
    return mjcf(bodies, rest)


HINGES = tuple(f"<joint name='j{i}' axis='{i} 1 .5' range='-2 2'/>" for i in range(3))

GANTRY = arm(
    "<joint name='x' type='slide' axis='1 0 0' range='-1 1'/>",
    "<joint name='y' type='slide' axis='0 1 0' range='-.5 .5' ref='.1'/>",
    HINGES[0],
    "<joint name='turntable' axis='0 0 1'/>",  # unlimited
    HINGES[2],
)

PLANAR = mjcf(
    "<body><joint name='a' axis='0 0 1' range='-3 3'/><geom size='.1'/><body pos='.3 0 0'>"
    "<joint name='b' axis='0 0 1' range='-2 2'/><geom size='.1'/><body pos='.2 0 0'>"
    "<joint name='c' axis='0 0 1' range='-2 2'/><geom size='.1'/><site name='tip' pos='.1 0 0'/></body></body></body>"
)


def roll_arm(limits: str) -> str:
    """A turret of three joints that can be solved by hand, and a fourth one, with these limits, about the tip itself.

    The position of the tip leaves two answers for the elbow, and the fourth joint free.
    """
    return mjcf(
        "<body><joint name='turn' axis='0 0 1' range='-1.5 1.5'/><geom size='.1'/>"
        "<body pos='0 0 .3'><joint name='lift' axis='0 1 0' range='-2 2'/><geom size='.1'/>"
        "<body pos='0 0 .4'><joint name='bend' axis='0 1 0' range='-2.5 2.5'/><geom size='.1'/>"
        f"<body pos='0 0 .3'><joint name='roll' axis='0 0 1' {limits}/><geom size='.1'/><site name='tip' pos='0 0 .1'/>"
        "</body></body></body></body>"
    )


FOUR_JOINTS = arm(*HINGES, "<joint name='j3' axis='1 0 .3' range='-2.5 2.5'/>")
FIVE_JOINTS = arm(*HINGES, *(f"<joint name='j{i}' axis='{4 - i} .4 .2' range='-1 1'/>" for i in (3, 4)))

ARMS = {
    "slides": arm(
        "<joint name='x' type='slide' axis='1 0 0' range='-1 1'/>",
        "<joint name='z' type='slide' axis='0 .3 1' range='0 .5'/>",
        HINGES[0],
    ),
    "two joints in one body": arm(HINGES[0] + HINGES[1].replace("/>", " pos='.1 0 .2'/>"), HINGES[2]),
    "slide and hinge in one body": arm("<joint name='s' type='slide' axis='1 1 0' range='-1 1'/>" + HINGES[2]),
    "joint ref": arm(
        "<joint name='a' axis='0 0 1' ref='.7' range='-1 2'/>",
        "<joint name='s' type='slide' axis='0 1 1' ref='.25' range='-1 1'/>",
        "<joint name='b' axis='1 0 0' ref='-1.2' pos='.1 .2 .3' range='-2 2'/>",
    ),
    "tilted axes away from the body": arm(*(j.replace("/>", " pos='.3 -.1 .2'/>") for j in HINGES)),
    "unlimited joint": arm(HINGES[0], "<joint name='free_turning' axis='0 1 0'/>", HINGES[2]),
    "parallel axes": mjcf(
        "<body><joint name='a' axis='0 0 1'/><geom size='.1'/><body pos='.3 0 0'><joint name='b' axis='0 0 1'/>"
        "<geom size='.1'/><body pos='.2 0 .1'><joint name='c' axis='0 0 -1'/><geom size='.1'/>"
        "<site name='tip' pos='.1 0 0'/></body></body></body>"
    ),
    "nearly parallel axes": mjcf(
        "<body><joint name='a' axis='0 0 1'/><geom size='.1'/><body pos='.3 0 0'><joint name='b' axis='1e-6 0 1'/>"
        "<geom size='.1'/><body pos='.2 0 .1'><joint name='c' axis='0 2e-3 1'/><geom size='.1'/>"
        "<site name='tip' pos='.1 0 0'/></body></body></body>"
    ),
    "coincident axes": arm("<joint name='a' axis='0 0 1'/><joint name='b' axis='0 0 1'/>", HINGES[1]),
    "one joint": arm(HINGES[1]),
    "missing mesh and texture": mjcf(
        "<body><joint name='a' axis='0 1 0'/><geom type='mesh' mesh='gone' material='paint'/>"
        "<site name='tip' material='paint'/></body>",
        "<asset><mesh name='gone' file='gone.stl'/><texture name='t' type='2d' file='gone.png'/>"
        "<material name='paint' texture='t'/></asset>",
    ),
    "fingers, their equality and tendon": mjcf(
        "<body name='b0'><joint name='j0'/><geom size='.1'/><body name='b1'><joint name='j1' axis='0 1 0'/>"
        "<geom size='.1'/><site name='tip'/>"
        "<body name='f1'><joint name='f1' type='slide'/><geom size='.1'/></body>"
        "<body name='f2'><joint name='f2' type='slide'/><geom size='.1'/></body></body></body>",
        "<tendon><fixed name='split'><joint joint='f1' coef='1'/><joint joint='f2' coef='1'/></fixed></tendon>"
        "<equality><joint joint1='f1' joint2='f2'/></equality>"
        "<actuator><position tendon='split'/><motor joint='j0'/></actuator>"
        "<sensor><jointpos joint='j0'/></sensor><keyframe><key name='home' qpos='.1 .2 .3 .4' ctrl='0 0'/></keyframe>",
    ),
    "dragged by a mocap weld": mjcf(
        "<body name='handle' mocap='true'/>"
        "<body name='b0'><joint name='j0'/><geom size='.1'/><site name='tip'/></body>",
        "<equality><weld body1='b0' body2='handle'/></equality>",
    ),
}

REFUSED = {
    "ball": (
        arm(HINGES[0], "<joint name='shoulder' type='ball'/>", HINGES[2]),
        r"'shoulder' on the way from 'world' to 'tip' is a ball joint",
    ),
    "free": (
        mjcf(
            "<body name='boat'><freejoint name='float'/><geom size='.1'/><body><joint name='a'/><geom size='.1'/>"
            "<site name='tip'/></body></body>"
        ),
        r"'float' .* free joint.*Choose a base",
    ),
    "tendon": (
        arm(
            *HINGES,
            rest="<tendon><fixed name='rope'><joint joint='j0' coef='1'/><joint joint='j2' coef='1'/></fixed></tendon>",
        ),
        r"tendon 'rope' couples 'j0', 'j2'",
    ),
    "joint equality": (
        arm(*HINGES, rest="<equality><joint name='mimic' joint1='j0' joint2='j1'/></equality>"),
        r"equality 'mimic' holds 'j0', 'j1'",
    ),
    "locked joint": (
        arm(*HINGES, rest="<equality><joint name='lock' joint1='j1'/></equality>"),
        r"equality 'lock' holds 'j1'",
    ),
    "closed loop": (
        arm(*HINGES, rest="<equality><connect name='loop' body1='b2' body2='b0' anchor='0 0 0'/></equality>"),
        r"equality 'loop' holds 'j1', 'j2'",
    ),
    "weld to the world": (
        arm(*HINGES, rest="<equality><weld name='glue' body1='b1'/></equality>"),
        r"equality 'glue' holds 'j0', 'j1'",
    ),
    "mocap mount": (
        mjcf("<body name='cart' mocap='true'><body><joint name='a'/><geom size='.1'/><site name='tip'/></body></body>"),
        r"mocap body 'cart'.*base='cart'",
    ),
    "no joint": (mjcf("<body name='box'><geom size='.1'/><site name='tip'/></body>"), r"no joint between .*bodies:"),
}


def turret() -> Chain:
    """Two hinges and a slide, which reach each pose in one way."""
    return Chain.from_axes(
        kinds=("hinge", "hinge", "slide"),
        origins=[[0, 0, 0], [0, 0, 0.4], [0.3, 0, 0.4]],
        axes=[[0, 0, 1], [0, 1, 0], [1, 0, 0]],
        T_base_tip=np.eye(4),
        lower=[-2.0, -1.5, 0.0],
        upper=[2.0, 1.5, 0.3],
        joint_names=("one", "two", "three"),
    )
