"""What the tests of our own robot models have in common."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from conftest import MODELS


def published(*parts):
    """The file of a published model."""
    path = MODELS.joinpath(*parts)
    if not path.is_file():
        pytest.skip(f"no model {path}; set HYBRID_IK_ROBOTS to a folder that has it")
    return path


def placed(model, q):
    """The model's data with its joints at `q`."""
    data = mujoco.MjData(model)
    data.qpos = q
    mujoco.mj_forward(model, data)
    return data


def random_joints(limits, n, seed=0):
    """`(n, nq)` within limits `(nq, 2)`."""
    low, high = np.transpose(limits)
    return np.random.default_rng(seed).uniform(low, high, (n, len(low)))


def touching(model, q):
    """Pairs of bodies that meet."""
    data = placed(model, q)
    bodies = [sorted(model.geom_bodyid[[contact.geom1, contact.geom2]]) for contact in data.contact[: data.ncon]]
    return {(model.body(a).name, model.body(b).name) for a, b in bodies}


def check_home(model, robot, regular):
    """Home lies within the limits, its least singular value is above a bound, and nothing touches there."""
    assert ((robot.lower < robot.home) & (robot.home < robot.upper)).all()
    assert np.linalg.svd(robot.jacobian(robot.home), compute_uv=False).min() > regular
    assert not touching(model, model.key("home").qpos)


def check_turning(model, limits):
    """Whatever the joints behind the third do, the arm at home touches nothing."""
    home = model.key("home").qpos
    for q in random_joints(limits, 100):
        assert not touching(model, [*home[:3], *q[3:]])


def check_collision(model, limits, degrees, pair):
    """A posture within the limits in which a pair of bodies meets."""
    q = np.radians(degrees)
    assert (limits[:, 0] <= q).all() and (q <= limits[:, 1]).all()
    assert pair in touching(model, q)
