"""Units of recorded joints: said, found or asked for, and turned into radians and back."""

from __future__ import annotations

import json

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import FIVE_JOINTS, GANTRY
from numpy.testing import assert_allclose
from recording_files import change_info

from hybrid_ik.errors import DatasetError, InvalidInputError
from hybrid_ik.pixels.recordings.dataset import open_dataset
from hybrid_ik.pixels.recordings.units import from_radians, to_radians
from hybrid_ik.robot import Robot


def _robot(model):
    return Robot(mujoco.MjModel.from_xml_string(model))


def without_units(root, high=None):
    change_info(root, lambda info: info["features"]["observation.state"].pop("units"))
    stats = {"min": [-95.0] * 5 + [0.0], "max": [95.0] * 5 + [200.0]}
    stats["max"][0] = high or 95.0
    (root / "meta/stats.json").write_text(json.dumps({"observation.state": stats}))


def test_units_that_nobody_said_are_asked_for(root):
    without_units(root)
    assert open_dataset(root).units is None
    assert open_dataset(root, units="normalised").units == "normalised"
    with pytest.raises(InvalidInputError, match=r"units of the recorded joints are unknown.* one of degrees, normal"):
        to_radians(open_dataset(root).episodes[0].joints, None, _robot(FIVE_JOINTS))
    (root / "meta/stats.json").unlink()
    assert open_dataset(root).units is None


def test_a_joint_beyond_100_is_in_degrees(root):
    without_units(root, high=131.0)
    assert open_dataset(root).units == "degrees"


def test_units_against_the_metadata_are_refused(root):
    with pytest.raises(DatasetError, match="said to be normalised, and its metadata say degrees"):
        open_dataset(root, units="normalised")
    with pytest.raises(InvalidInputError, match="units: expected one of degrees, normalised, got 'radians'"):
        open_dataset(root, units="radians")


def test_degrees_and_parts_of_the_range_are_joints_in_radians():
    robot = _robot(FIVE_JOINTS)  # three joints of -2..2, two of -1..1
    values = [90.0, -45.0, 0.0, 18.0, 180.0, 77.0]  # and a gripper
    assert_allclose(to_radians(values, "degrees", robot), np.pi * np.array([0.5, -0.25, 0.0, 0.1, 1.0]))
    turned = to_radians(values, "degrees", robot, signs=[-1, 1, 1, 1, 1], offsets=[0.1, 0, 0, 0, 0])
    assert_allclose(turned[:2], [0.1 - np.pi / 2, -np.pi / 4])
    values = [[-100.0, 100.0, 0.0, 50.0, -50.0]]
    assert_allclose(to_radians(values, "normalised", robot), [[-2.0, 2.0, 0.0, 0.5, -0.5]])


@given(
    st.lists(st.floats(-100, 100), min_size=5, max_size=5),
    st.lists(st.sampled_from([-1.0, 1.0]), min_size=5, max_size=5),
    st.sampled_from(["degrees", "normalised"]),
)
def test_recorded_values_come_back(five_joints, values, signs, units):
    there = to_radians(values, units, five_joints, signs=signs, offsets=0.3)
    assert_allclose(from_radians(there, units, five_joints, signs=signs, offsets=0.3), values, atol=1e-9)


@pytest.fixture(scope="module")
def five_joints():
    return _robot(FIVE_JOINTS)


@pytest.mark.parametrize(
    ("model", "values", "units", "options", "words"),
    [
        (FIVE_JOINTS, np.zeros(4), "degrees", {}, r"values: expected shape \(\*batch, 5\) or wider, got \(4,\)"),
        (FIVE_JOINTS, [[0, 0, 0, 0, 0], [0, 131, 0, 0, 0]], "normalised", {}, r"values\[1, 1\]: .* 'j1', got 131; if"),
        (FIVE_JOINTS, np.zeros(5), "turns", {}, "units of the recorded joints are 'turns'"),
        (FIVE_JOINTS, np.zeros(5), "degrees", {"signs": 2}, "signs: expected 1 or -1"),
        (FIVE_JOINTS, np.zeros(5), "degrees", {"offsets": [1, 2]}, "offsets: expected 5 finite numbers, or one"),
        (GANTRY, np.zeros(5), "degrees", {}, "joint 'x' .* slides, and has no degrees"),
        (GANTRY, np.zeros(5), "normalised", {}, "joint 'turntable' .* has no limits"),
    ],
)
def test_values_that_cannot_be_joints_are_refused(model, values, units, options, words):
    with pytest.raises(InvalidInputError, match=words):
        to_radians(values, units, _robot(model), **options)
