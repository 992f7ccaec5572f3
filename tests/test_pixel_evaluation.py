"""Ways to find joints compared, on pixels whose truth is known; and the commands that calibrate, evaluate, predict."""

from __future__ import annotations

import shlex
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rig_cases import NAMES, SITES, Oracle, pixels_of, postures, recording_of, so100, true_rig

from hybrid_ik.apps.cli import main
from hybrid_ik.apps.pixels_evaluate_command import _named
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.cameras.arm_dots import ArmDots, with_dots
from hybrid_ik.pixels.evaluation import compare_ways, held_out_episodes
from hybrid_ik.pixels.processed import save_processed
from hybrid_ik.pixels.rig import load_rig
from hybrid_ik.robot import Robot
from hybrid_ik.samplers.pixel import PixelSampler

QUICK = "--epochs 2 --batch 32 --device cpu --no-tensorboard --warmup 2"


@pytest.fixture(scope="module")
def rig():
    return true_rig(units="degrees", offsets=[0.02, -0.03, 0.01, 0.04, 0.02, 0.0])


def _exact(rig, n=12, gripper=40.0):
    """Exact pixels of postures with the gripper at rest."""
    recording = recording_of(rig, 1, n)
    q = rig.to_model(recording.joints, gripper)
    return replace(recording, gripper=np.full(n, gripper), dots=pixels_of(rig, q).astype(np.float32)), q


def _kept(*episodes):
    return SimpleNamespace(file=SimpleNamespace(options={"validation_episodes": list(episodes)}))


@pytest.mark.parametrize("several", [False, True])
def test_a_perfect_network_has_no_error(rig, several):
    recording, q = _exact(rig)
    sampler = Oracle.of(rig, recording.joints, gives_several=several)
    ways = {a.name: a for a in compare_ways(recording, rig, {"oracle": sampler}, so100(jaw=False))}
    best = ", best of 16" if several else ""
    assert list(ways) == [
        "oracle", "oracle, refined on the middle", f"oracle, refined{best}", "refined, best of 16 random starts",
    ]  # fmt: skip
    for name in list(ways)[:3]:
        assert ways[name].answered == 1 and ways[name].tip_quantile(1) < 0.02, name  # mm
        assert ways[name].joint_quantile(1).max() < 0.1 and ways[name].joint_error.shape == (12, 5)
        np.testing.assert_allclose(ways[name].q[:, 5], q[:, 5])
    assert ways["refined, best of 16 random starts"].tip_quantile(0.5) < 0.01
    assert all(way.seconds > 0 for way in ways.values())


def test_errors_are_told_in_millimetres_and_degrees(rig):
    recording, q = _exact(rig)
    off = recording.joints + np.array([3.0, 0, 0, 0, 0])
    way = compare_ways(recording, rig, {"off": Oracle.of(rig, off)}, so100(jaw=False))[0]
    np.testing.assert_allclose(way.joint_error, np.tile([3.0, 0, 0, 0, 0], (12, 1)), atol=1e-9)
    arm, moved = so100(jaw=False), q[:, :5] + np.radians([3.0, 0, 0, 0, 0])
    gap = arm.forward_kinematics(moved).position - arm.forward_kinematics(q[:, :5]).position
    np.testing.assert_allclose(way.tip_error, 1e3 * np.linalg.norm(gap, axis=-1))


def test_no_way_is_told_the_recorded_joints(rig):
    recording, _ = _exact(rig)
    wrong = replace(recording, joints=recording.joints[::-1] * 0.5)  # what is answered must not follow it
    sampler = Oracle.of(rig, recording.joints + 2.0)
    ways = (compare_ways(told, rig, {"o": sampler}, so100(jaw=False)) for told in (recording, wrong))
    for one, other in zip(*ways, strict=True):
        np.testing.assert_array_equal(one.q, other.q)


def test_frames_with_lost_dots_are_not_answered_by_the_network_alone(rig):
    recording, _ = _exact(rig)
    dots = recording.dots.copy()
    dots[:3, 0, 0] = np.nan
    sampler = Oracle.of(rig, recording.joints)
    ways = compare_ways(replace(recording, dots=dots), rig, {"o": sampler}, so100(jaw=False))
    assert [way.answered for way in ways] == [0.75, 0.75, 1.0, 1.0]
    nothing = compare_ways(replace(recording, dots=np.full_like(dots, np.nan)), rig, {"o": sampler}, so100(jaw=False))
    assert [way.answered for way in nothing] == [0.0] * 4
    assert np.isnan(nothing[0].tip_quantile(0.5)) and np.isnan(nothing[2].joint_quantile(0.5)).all()


def test_one_camera_fixes_no_joints_and_triangulates_nothing():
    rig = true_rig(cameras=1)
    recording, _ = _exact(rig)
    ways = compare_ways(recording, rig, {"o": Oracle.of(rig, recording.joints)}, so100(jaw=False))
    assert [way.answered for way in ways] == [1.0, 0.0, 0.0, 0.0]


def test_dots_on_inner_links_have_no_middle_to_be_placed():
    robot = with_dots(so100(), {"elbow": ("Lower_Arm", [0.01, -0.05, 0.0])})
    rig = replace(true_rig(), dots=ArmDots(robot, (*SITES, "elbow")))
    recording, _ = _exact(rig)
    names = [way.name for way in compare_ways(recording, rig, {"o": Oracle.of(rig, recording.joints)}, so100(False))]
    assert names == ["o", "o, refined", "refined, best of 16 random starts"]


def test_what_does_not_go_together_is_refused(rig):
    recording, _ = _exact(rig)
    for changes in ({"joint_names": NAMES[::-1]}, {"units": "radians"}, {"camera_names": ("top", "left")}):
        with pytest.raises(InvalidInputError, match="the network oracle was trained with the"):
            compare_ways(recording, rig, {"o": Oracle.of(rig, recording.joints, **changes)}, so100(jaw=False))
    with pytest.raises(InvalidInputError, match="at least one frame"):
        compare_ways(recording.of_episodes([]), rig, {}, so100(jaw=False))
    with pytest.raises(InvalidInputError, match=r"arm: expected the joints .*choose another tip"):
        compare_ways(recording, rig, {}, Robot("panda"))


def test_episodes_that_no_network_has_seen():
    assert held_out_episodes({"a": _kept(3, 1, 2), "b": _kept(2, 3)}) == [2, 3]
    with pytest.raises(InvalidInputError, match=r"of a: \[1\]; b: \[2\]. Train them with the same split_seed"):
        held_out_episodes({"a": _kept(1), "b": _kept(2)})
    with pytest.raises(InvalidInputError, match="no network"):
        held_out_episodes({})
    with pytest.raises(InvalidInputError, match=r"a: \[\]"):
        held_out_episodes({"a": SimpleNamespace(file=SimpleNamespace(options={}))})


def test_rows_of_some_episodes_and_of_the_others(rig):
    recording = recording_of(rig, 4, 10)
    kept, others = recording.of_episodes([1, 3]), recording.without_episodes([1, 3])
    assert set(kept.episode) == {1, 3} and set(others.episode) == {0, 2} and len(kept) + len(others) == len(recording)
    np.testing.assert_array_equal(kept.dots[:10], recording.dots[10:20])
    assert len(recording.of_episodes([9])) == 0 and len(recording.without_episodes([])) == 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A processed file, and what the commands make of it."""
    folder = tmp_path_factory.mktemp("pixels")
    save_processed(folder / "processed.npz", recording_of(true_rig(units="degrees"), 4, 40))
    for words in (
        f"train --data {folder}/processed.npz --out {folder}/mlp --features dots {QUICK}",
        f"train --data {folder}/processed.npz --out {folder}/meanflow --model meanflow --features dots {QUICK}",
        f"calibrate --data {folder}/processed.npz --out {folder}/rig.json",
    ):
        assert main(["pixels", *shlex.split(words)]) == 0
    return folder


def _run(words, folder, capsys, status=0):
    got = main(["pixels", *shlex.split(words.replace("@", f"{folder}/"))])
    done = capsys.readouterr()
    assert got == status, done.err
    return done.out if status == 0 else done.err


def test_calibrate_tells_where_the_cameras_stand(folder, capsys):
    said = _run("calibrate --data @processed.npz --out @deep/rig.json", folder, capsys)
    assert "dots dot_fixed_jaw, dot_moving_jaw; 0.3" in said and "left: stands at (-0.7" in said
    assert load_rig(folder / "deep" / "rig.json").units == "degrees"


def test_evaluate_writes_both_tables(folder, capsys):
    said = _run("evaluate --data @processed.npz --networks @mlp/network.safetensors", folder, capsys)
    lines = said.splitlines()
    assert lines[0].startswith("40 frames of the episodes") and "explain the pixels of the others to 0.3" in lines[1]
    assert sum(line.strip().startswith("MLP on all dots, refined on the middle") for line in lines) == 2
    assert sum(line.strip().startswith("refined, best of 16 random starts") for line in lines) == 2
    assert "roll [deg]" in said and "nan" not in said


def test_alike_networks_are_told_apart_by_their_files(folder, capsys):
    mlp, meanflow = (PixelSampler(folder / name / "network.safetensors") for name in ("mlp", "meanflow"))
    assert list(_named([mlp, meanflow])) == ["MLP on all dots", "MeanFlow on all dots"]
    assert len(_named([mlp, meanflow, mlp])) == 2 and len(_named([mlp, meanflow])) == 2


@pytest.mark.parametrize("words", ["mlp", "mlp --n 3", "meanflow --n 3", "meanflow"])
def test_predict_refines_on_the_pixels_of_a_rig(folder, capsys, words):
    rig = true_rig(units="degrees")
    q, _ = postures(rig, 1, np.random.default_rng(3))
    q[0, 5] = rig.jaw_angle(50.0)
    model, *rest = words.split()
    dots = " ".join(f"{x:.2f}" for x in pixels_of(rig, q[0]).ravel())
    common = f"predict --network @{model}/network.safetensors --dots {dots} {' '.join(rest)}"
    refined = _run(f"{common} --rig @rig.json --gripper", folder, capsys).splitlines()
    assert len(refined) == 1 and len(refined[0].split()) == 6 and refined[0].endswith(" 50.000")
    plain = _run(common, folder, capsys).splitlines() if words != "mlp --n 3" else [""] * 3
    assert len(plain) == (3 if rest else 1)


def test_predict_says_where_dots_fit_no_joints(folder, capsys):
    words = "predict --network @mlp/network.safetensors --rig @rig.json --dots 1 1 600 400 600 1 1 400"
    assert "px from where these joints have them" in _run(words, folder, capsys, status=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict --rig @rig.json --dots 1 2 3", "expected x and y of 2 dots in each"),
        ("predict --dots 1 2 3", r"dots: expected shape"),
        ("predict --dots 1 nan 3 4 5 6 7 8", "a network needs all pixels"),
        ("predict --dots 1 2 3 4 5 6 7 8 --n 2", "one answer for the same dots"),
        ("predict --rig @rig.json --dots 1 2 nan 4 nan 6 nan 8", "5 numbers or more"),
        ("predict --rig @none.json --dots 1 2", "none.json: no rig can be read"),
        ("predict --network @none.safetensors --dots 1 2", "there is no such file"),
        ("predict --rig @mlp/network.safetensors --dots 1 2", "no rig can be read"),
        ("calibrate --data @none.npz --out @x.json", "there is no such file"),
        ("calibrate --data @processed.npz --out @x.json --sites nose ear", "no site or body 'ear' in the model"),
        ("calibrate --data @processed.npz --out @x.json --sites dot_fixed_jaw", "expected one for each of"),
        ("calibrate --data @processed.npz --out @x.json --robot nobody", "no robot 'nobody'"),
        ("evaluate --data @none.npz --networks @mlp/network.safetensors", "there is no such file"),
        ("evaluate --data @processed.npz --networks @none.safetensors", "there is no such file"),
        ("evaluate --data @other.npz --networks @mlp/network.safetensors", "it has 7. Give the recording"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_a_line(folder, capsys, words, message):
    words = (
        words.replace("predict ", "predict --network @mlp/network.safetensors ") if "@none.s" not in words else words
    )
    recording = recording_of(true_rig(units="degrees"), 1, 5)
    save_processed(folder / "other.npz", replace(recording, episode=np.full(5, 7)))
    said = _run(words, folder, capsys, status=2)
    assert message in said and said.startswith("hybrid-ik pixels: ") and said.count("\n") == 1
