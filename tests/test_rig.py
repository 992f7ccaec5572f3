"""Rigs: cameras, order of the dots and the arm's own errors, found from recordings whose truth is known; and files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from rig_cases import NAMES, NOISE, SITES, pixels_of, postures, recording_of, so100, true_rig

from hybrid_ik.errors import DatasetError, InvalidInputError, RobotError
from hybrid_ik.pixels.cameras.arm_dots import ArmDots, with_dots, with_middle
from hybrid_ik.pixels.rig import Rig, calibrate_rig, load_rig, save_rig
from hybrid_ik.resources import asset_path
from hybrid_ik.robot import Robot


@pytest.fixture(scope="module")
def rig():
    return calibrate_rig(recording_of(true_rig()), so100(), SITES)


def _gap(found: Rig, true: Rig, n: int = 100) -> float:
    """Median distance between where two rigs see the same postures [pixels], as recorded ones."""
    q, gripper = postures(true, n, np.random.default_rng(77))
    theirs = found.to_model(true.from_model(q), gripper)
    return float(np.median(np.linalg.norm(pixels_of(found, theirs) - pixels_of(true, q), axis=-1)))


@pytest.mark.parametrize(("units", "jaw"), [("radians", False), ("degrees", True), ("normalised", True)])
def test_cameras_are_found_from_joints_in_all_units(units, jaw):
    true = true_rig(jaw, units)
    found = calibrate_rig(recording_of(true), so100(jaw), SITES)
    for name, camera in true.cameras.items():
        assert np.linalg.norm(found.cameras[name].position - camera.position) < 4e-3
        assert found.cameras[name].matrix[0, 0] == pytest.approx(camera.matrix[0, 0], rel=5e-3)
    assert found.pixel_error == pytest.approx(1.18 * NOISE, rel=0.15)  # the median of a length in the plane
    assert found.dots.sites == SITES and list(found.cameras) == list(true.cameras)
    assert (found.joint_names, found.units, found.has_jaw) == (NAMES, units, jaw)
    assert _gap(found, true) < 0.2


@pytest.mark.parametrize("n", [2, 3])
def test_the_order_of_the_dots_is_found(n):
    sites = (SITES[1], SITES[0], "gripperframe")[:n]
    true = true_rig(sites=sites)
    for given in (sites, sites[::-1])[: 4 - n]:
        found = calibrate_rig(recording_of(true, n_frames=20), so100(), given)
        assert found.dots.sites == sites and found.pixel_error < 0.5


@pytest.mark.parametrize("n_cameras", [1, 3])
def test_there_may_be_one_camera_or_three(n_cameras):
    true = true_rig(cameras=n_cameras)
    found = calibrate_rig(recording_of(true), so100(), SITES)
    assert list(found.cameras) == list(true.cameras) and _gap(found, true) < 0.2


@pytest.mark.parametrize("jaw", [True, False])
def test_zeros_of_joints_and_places_of_dots_are_found(jaw):
    offsets = np.radians([2.0, -3.0, 2.5, -2.0, 3.0, 0.0][: 5 + jaw])
    true = true_rig(jaw, "degrees", offsets=offsets, shifts=[[0.004, -0.003, 0.005], [-0.003, 0.004, -0.002]])
    recording = recording_of(true, n_frames=120)
    rough = calibrate_rig(recording, so100(jaw), SITES)
    found = calibrate_rig(recording, so100(jaw), SITES, arm=True)
    assert rough.pixel_error > 2.0 and found.pixel_error < 0.5
    assert _gap(found, true) < 0.3
    assert np.degrees(np.abs(found.offsets - offsets))[1:4].max() < 0.3  # the other two trade with cameras and dots


def test_the_zero_of_the_jaw_is_left_to_the_place_of_its_dot():
    true = true_rig(shifts=[[0.0, 0.0, 0.0], [0.012, 0.002, 0.003]])
    found = calibrate_rig(recording_of(true, n_frames=120), so100(), SITES, arm=True)
    assert found.offsets[-1] == 0 and found.pixel_error < 0.5 and _gap(found, true) < 0.3


@pytest.mark.parametrize("units", ["radians", "degrees", "normalised"])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (0,)])
def test_joints_of_the_model_and_of_the_recording_are_inverse(units, shape):
    rig, rng = true_rig(units=units, offsets=[0.01, 0.02, -0.03, 0.04, 0.05, 0.0]), np.random.default_rng(0)
    recorded, gripper = rng.uniform(-60, 60, (*shape, 5)), rng.uniform(0, 100, shape)
    recorded = np.radians(recorded) if units == "radians" else recorded
    q = rig.to_model(recorded, gripper)
    assert q.shape == (*shape, 6)
    np.testing.assert_allclose(rig.from_model(q), recorded, atol=1e-12)
    np.testing.assert_allclose(q[..., 5], -0.2 + gripper / 100 * 2.2, atol=1e-12)
    without = true_rig(jaw=False, units=units)
    np.testing.assert_allclose(without.from_model(without.to_model(recorded)), recorded, atol=1e-12)


@pytest.mark.parametrize("units", ["radians", "degrees", "normalised"])
def test_answers_beyond_the_limits_are_moved_onto_them(units):
    rig = true_rig(units=units, offsets=[0.1, 0, 0, 0, 0, 0])
    q = rig.clipped_to_model(np.array([[400.0] * 5, [-400.0] * 5, [0.1] * 5]), [0.0, 120.0, 50.0])
    assert ((q >= rig.robot.lower) & (q <= rig.robot.upper)).all()
    np.testing.assert_allclose(q[2, [0, 5]], rig.to_model([0.1] * 5)[[0, 5]])
    assert np.isnan(rig.clipped_to_model([np.nan] * 5)[:5]).all()


@pytest.mark.parametrize("units", ["radians", "degrees", "normalised"])
@pytest.mark.parametrize("n", [4, 6])
def test_another_number_of_joints_is_refused(units, n):
    rig = true_rig(units=units)
    with pytest.raises(InvalidInputError, match=rf"joints: expected shape \(\*batch, 5\), pan, .*got \(3, {n}\)"):
        rig.to_model(np.zeros((3, n)))
    with pytest.raises(InvalidInputError, match=r"q: expected shape \(\*batch, 6\), got \(2, 5\)"):
        rig.from_model(np.zeros((2, 5)))
    with pytest.raises(InvalidInputError, match=r"gripper: expected one number, or shape \(3,\), got \(2,\)"):
        rig.to_model(np.zeros((3, 5)), [1.0, 2.0])


def test_a_rig_is_read_as_it_was_written(rig, tmp_path):
    path = tmp_path / "deep" / "rig.json"
    shifted = true_rig(offsets=[0.1, 0, 0, 0.02, 0, 0], shifts=[[0.001, 0, 0], [0, 0.002, 0]])
    for written in (rig, shifted):
        save_rig(path, written)
        read = load_rig(path)
        assert (read.dots.sites, read.joint_names, read.units) == (SITES, NAMES, "radians")
        assert read.robot.tip == SITES[1] and read.pixel_error == written.pixel_error
        q, _ = postures(written, 20, np.random.default_rng(0))
        np.testing.assert_allclose(pixels_of(read, q), pixels_of(written, q), atol=1e-9)
        np.testing.assert_array_equal(read.offsets, written.offsets)
    assert load_rig(path, so100()).robot.dof == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: "not JSON", "no rig can be read from it"),
        (lambda c: json.dumps([1, 2]), "expected a rig"),
        (lambda c: json.dumps({**c, "version": 7}), "version 1.*found version 7"),
        (lambda c: json.dumps({**c, "format": "hybrid_ik.processed"}), "found 'hybrid_ik.processed'"),
        (lambda c: json.dumps({k: v for k, v in c.items() if k != "offsets"}), "not a whole rig: .*offsets"),
        (lambda c: json.dumps({**c, "offsets": ["a"] * 6}), "not a whole rig"),
        (lambda c: json.dumps({**c, "offsets": [0.0] * 4}), r"not a whole rig: offsets: expected 6"),
        (lambda c: json.dumps({**c, "units": "gradians"}), r"not a whole rig: units: expected one of"),
        (lambda c: json.dumps({**c, "cameras": [1]}), "not a whole rig"),
        (lambda c: json.dumps({**c, "cameras": {"left": {"matrix": 1}}}), "not a whole rig"),
        (lambda c: json.dumps({**c, "sites": ["nose", "ear"]}), "not a whole rig: no site 'nose'.*sites: gripperframe"),
        (lambda c: json.dumps({**c, "robot": {**c["robot"], "fingerprint": "0"}}), "another arm than 'so100'"),
        (lambda c: json.dumps({**c, "robot": {**c["robot"], "name": "gone.xml"}}), r"no robot 'gone.xml'.*robot="),
    ],
)  # fmt: skip
def test_a_damaged_file_is_told_what_is_wrong_with_it(rig, tmp_path, change, message):
    path = tmp_path / "rig.json"
    save_rig(path, rig)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(DatasetError, match=message) as told:
        load_rig(path)
    assert str(path) in str(told.value)


def test_an_arm_of_a_file_is_found_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(asset_path("robots", "so100.xml"), "mine.xml")
    robot = Robot("mine.xml", tip=SITES[1])
    save_rig("rig.json", replace(true_rig(), dots=ArmDots(robot, SITES)))
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert load_rig("../rig.json").robot.name == "mine"


def test_a_file_that_is_not_there_and_another_arm_are_told(rig, tmp_path):
    with pytest.raises(DatasetError, match="hybrid-ik pixels calibrate"):
        load_rig(tmp_path / "none.json")
    path = tmp_path / "rig.json"
    save_rig(path, rig)
    with pytest.raises(DatasetError, match="another arm than 'panda'"):
        load_rig(path, Robot("panda"))


def test_recordings_that_do_not_go_with_the_arm_are_refused():
    recording = recording_of(true_rig())
    with pytest.raises(InvalidInputError, match=r"sites: expected one for each of \['dot 0', 'dot 1'\], got"):
        calibrate_rig(recording, so100(), SITES[:1])
    with pytest.raises(InvalidInputError, match="sites: expected one for each"):
        calibrate_rig(recording, so100(), (SITES[0], SITES[0]))
    with pytest.raises(RobotError, match="no site 'nose'"):
        calibrate_rig(recording, so100(), ("nose", SITES[0]))
    with pytest.raises(InvalidInputError, match=r"robot: expected 5 joints as recorded .*and a jaw at most"):
        calibrate_rig(recording, Robot("panda"), ("flange", "hand_tcp"))
    with pytest.raises(InvalidInputError, match="camera 0: a camera needs at least 12 points"):
        calibrate_rig(replace(recording, dots=np.full_like(recording.dots, np.nan)), so100(), SITES)
    with pytest.raises(InvalidInputError, match="camera 0: a camera needs at least 12 points"):
        calibrate_rig(recording.of_episodes([]), so100(), SITES)


def test_many_dots_keep_the_order_they_are_given_in():
    sites = (*SITES, "gripperframe", "between_dots", "dot_fixed_jaw_2")
    robot = with_dots(so100(), {"dot_fixed_jaw_2": ("Fixed_Jaw", [0.02, -0.05, 0.01])})
    true = replace(true_rig(), dots=ArmDots(robot, sites))
    found = calibrate_rig(recording_of(true, n_frames=10), robot, sites)
    assert found.dots.sites == sites and found.pixel_error < 0.5


def test_the_middle_of_dots_moves_with_the_arm_whatever_the_axes_of_their_sites():
    spec = so100().specification()
    spec.body("Fixed_Jaw").add_site(name="turned", pos=[0.01, -0.1, 0.0], quat=[0.6, 0.8, 0.0, 0.0])
    robot = Robot(spec, tip=SITES[1])
    for sites in (("turned", SITES[1]), (SITES[1], "turned")):
        dots = ArmDots(robot, sites, [[0.003, 0.002, -0.004], [0.001, 0.0, 0.002]])
        q, _ = postures(replace(true_rig(), dots=dots), 20, np.random.default_rng(0))
        q[:, 5] = 0.7
        middle = with_middle(dots, q[0])
        assert middle.joint_names == robot.joint_names[:5]
        np.testing.assert_allclose(middle.forward_kinematics(q[:, :5]).position, dots.positions(q).mean(1), atol=1e-12)
