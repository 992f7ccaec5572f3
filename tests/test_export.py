"""Networks as ONNX files: the same joints from ONNX Runtime, from torch and from the numpy twin."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_encoding import KINDS, bent_arm
from test_networks import network_file

from hybrid_ik.apps import export_command
from hybrid_ik.apps.cli import main
from hybrid_ik.checkpoint import save_network
from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import CheckpointError, InvalidInputError
from hybrid_ik.kernels.cpu import forward_kinematics
from hybrid_ik.learning.data import inner_poses, inner_poses_torch
from hybrid_ik.learning.export import ExportUnavailableError, Proposer, export_onnx
from hybrid_ik.learning.networks import NetworkConfig
from hybrid_ik.pose import Pose
from hybrid_ik.resources import asset_path
from hybrid_ik.samplers.meanflow import NOISE_SCALE
from hybrid_ik.samplers.numpy_network import numpy_network
from hybrid_ik.samplers.shipped import require_shipped_network

SHIPPED = asset_path("networks", "panda.safetensors")
NEAR = {"rtol": 0, "atol": 1e-4}  # rad, or m


def small(chain, mode="meanflow", **options):
    return network_file(chain, NetworkConfig(width=16, trunk_width=16, **options), mode)[0]


def draw(chain, m, n, n_joints, seed=0):
    """Inner poses that the chain reaches, and noises."""
    rng = np.random.default_rng(seed)
    position, rotation = inner_poses(chain, rng.uniform(chain.sample_lower, chain.sample_upper, (m, chain.dof)))
    return position, rotation, rng.standard_normal((n, n_joints)).astype(np.float32)


def tip_poses(chain, position, rotation):
    """Inner poses as poses of the tip in the base."""
    T = np.tile(np.eye(4), (len(position), 1, 1))
    T[:, :3, 3], T[:, :3, :3] = position, rotation
    T = chain.T_base_first @ T @ chain.T_last_tip
    return T[:, :3, 3].astype(np.float32), T[:, :3, :3].astype(np.float32)


def by_numpy(file, position, rotation, noise):
    """What the closed form makes of the proposals of the numpy twin."""
    encoder, network = Encoder(file.chain, file.options["encoding"]), numpy_network(file)
    z = noise * np.float32(NOISE_SCALE)
    u = network.velocity(network.project(z), network.modulate(encoder.encode(position, rotation)[:, None]))
    proposed = encoder.denormalise((z - u[:, : len(z)]).astype(float))
    return encoder.complete(proposed, position, rotation, lambda q: inner_poses(file.chain, q))


def by_torch(file, position, rotation, noise):
    with torch.no_grad():
        return Proposer(file, file.chain)(*map(torch.from_numpy, (position, rotation, noise))).numpy()


def session(path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="it runs the exported files")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def by_onnx(runtime, **inputs):
    return runtime.run(None, inputs)[0]


@pytest.fixture(scope="module")
def shipped(panda):
    return require_shipped_network(panda.chain)


@pytest.fixture(scope="module")
def panda_session(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "panda.onnx"
    assert main(["export", str(SHIPPED), "--onnx", str(path), "--starts", "16"]) == 0
    assert b".py" not in path.read_bytes()  # no trace of source files
    return session(path)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 64), (3, 5), (40, 64), (0, 4)])
def test_the_shipped_network_gives_the_same_joints(panda_session, shipped, m, n):
    position, rotation, noise = draw(shipped.chain, m, n, 5)
    tip = tip_poses(shipped.chain, position, rotation)
    joints = by_onnx(panda_session, position=tip[0], rotation=tip[1], noise=noise)
    assert joints.shape == (m, n, 7) and joints.dtype == np.float32
    np.testing.assert_allclose(joints, by_torch(shipped, *tip, noise), **NEAR)
    np.testing.assert_allclose(joints, by_numpy(shipped, position, rotation, noise), **NEAR)


def test_without_noises_those_of_the_table_are_taken(panda_session, shipped):
    position, rotation, _ = draw(shipped.chain, 4, 1, 5)
    position, rotation = tip_poses(shipped.chain, position, rotation)
    joints = by_onnx(panda_session, position=position, rotation=rotation)
    noise = shipped.tensors["noise"][:16]
    np.testing.assert_array_equal(joints, by_onnx(panda_session, position=position, rotation=rotation, noise=noise))


def test_joints_are_inside_the_limits_also_in_double_precision(panda_session, panda):
    position, rotation, noise = draw(panda.chain, 50, 64, 5)
    position, rotation = tip_poses(panda.chain, position, rotation)
    joints = by_onnx(panda_session, position=position, rotation=rotation, noise=3 * noise).astype(float)
    assert (panda.lower <= joints).all() and (joints <= panda.upper).all()
    assert (joints - panda.lower).min() < 1e-6 and (panda.upper - joints).min() < 1e-6


def test_a_target_on_the_first_axis_gives_joints(panda_session):
    position, rotation = np.array([[0, 0, 0.9]], np.float32), np.eye(3, dtype=np.float32)[None]
    assert np.isfinite(by_onnx(panda_session, position=position, rotation=rotation)).all()


def test_the_file_tells_of_its_arm(panda_session, panda):
    told = {key: json.loads(value) for key, value in panda_session.get_modelmeta().custom_metadata_map.items()}
    assert told["joint_names"] == list(panda.joint_names) and told["lower"] == panda.lower.tolist()
    assert told["fingerprint"] == panda.chain.fingerprint and told["noise_scale"] == NOISE_SCALE
    assert "hybrid_ik_version" in told
    assert [entry.name for entry in panda_session.get_inputs()] == ["position", "rotation"]
    assert [entry.name for entry in panda_session.get_overridable_initializers()] == ["noise"]


def test_a_residual_network_of_velocities_by_the_command(tmp_path, capsys):
    chain = bent_arm("hhhs")
    file = small(chain, "baseline", architecture="residual", encoding="rotation6d", norm="batch", depth=2)
    path, out = tmp_path / "arm.safetensors", tmp_path / "deep" / "arm.onnx"
    save_network(path, file.tensors, kind="meanflow", chain=chain, options=file.options, record={})
    assert main(["export", str(path), "--onnx", str(out)]) == 0
    assert "arm.onnx: " in capsys.readouterr().out
    runtime, (position, rotation, noise) = session(out), draw(chain, 6, 3, 4)
    assert [entry.name for entry in runtime.get_inputs()] == ["position", "rotation", "noise"]  # it has no table
    tip = tip_poses(chain, position, rotation)
    joints = by_onnx(runtime, position=tip[0], rotation=tip[1], noise=noise)
    np.testing.assert_allclose(joints, by_torch(file, *tip, noise), **NEAR)
    np.testing.assert_allclose(joints, by_numpy(file, position, rotation, noise), **NEAR)


def test_an_arm_whose_first_joint_slides(tmp_path):
    chain = bent_arm("shh")
    file = small(chain, norm="layer", activation="gelu", depth=2)
    export_onnx(file, tmp_path / "arm.onnx")
    position, rotation, noise = draw(chain, 6, 3, 1)
    tip = tip_poses(chain, position, rotation)
    joints = by_onnx(session(tmp_path / "arm.onnx"), position=tip[0], rotation=tip[1], noise=noise)
    np.testing.assert_allclose(joints, by_torch(file, *tip, noise), **NEAR)
    np.testing.assert_allclose(joints, by_numpy(file, position, rotation, noise), **NEAR)


@pytest.mark.parametrize("mode", ["meanflow", "baseline"])
@pytest.mark.parametrize("architecture", ["modulated", "residual"])
@pytest.mark.parametrize("encoding", ["invariant", "rotation6d"])
@pytest.mark.parametrize("kinds", KINDS)
def test_the_proposer_is_the_numpy_twin(kinds, encoding, architecture, mode):
    chain = bent_arm(kinds)
    file = small(chain, mode, architecture=architecture, encoding=encoding, norm="batch")
    n_joints = Encoder(chain, encoding).n_joints
    position, rotation, noise = draw(chain, 5, 4, n_joints)
    expected = by_numpy(file, position, rotation, noise)
    np.testing.assert_allclose(by_torch(file, *tip_poses(chain, position, rotation), noise), expected, **NEAR)


def test_mount_and_tool_may_be_others(panda, shipped):
    turn = Pose([0.3, -0.2, 0.1], [0.5, 0.5, -0.5, 0.5]).matrix()
    mounted = replace(
        panda.chain, T_base_first=turn @ panda.chain.T_base_first, T_last_tip=panda.chain.T_last_tip @ turn
    )
    position, rotation, noise = draw(panda.chain, 5, 4, 5)
    q = by_numpy(shipped, position, rotation, noise)
    tip = [torch.from_numpy(x) for x in tip_poses(mounted, position, rotation)]
    with torch.no_grad():
        np.testing.assert_allclose(Proposer(shipped, mounted)(*tip, torch.from_numpy(noise)).numpy(), q, **NEAR)


@pytest.mark.parametrize("kinds", KINDS)
def test_sparing_zeros_and_ones_changes_no_pose(kinds):
    chain = bent_arm(kinds)
    q = torch.from_numpy(np.random.default_rng(0).uniform(chain.lower, chain.upper, (20, chain.dof)))
    position, rotation = Proposer(small(chain, encoding="rotation6d"), chain)._forward_kinematics(q)
    expected = inner_poses_torch(chain, q)
    torch.testing.assert_close(position, expected[0], rtol=0, atol=1e-14)
    torch.testing.assert_close(rotation.reshape(-1, 3, 3), expected[1], rtol=0, atol=1e-14)


def test_the_closed_form_is_the_same_over_tensors(panda):
    encoder, rng = Encoder(panda.chain, "invariant"), np.random.default_rng(0)
    position, rotation, _ = draw(panda.chain, 50, 1, 5)
    proposed = rng.uniform(encoder.lower - 0.1, encoder.upper + 0.1, (50, 8, 5))
    expected = encoder.complete(proposed, position, rotation, lambda q: forward_kinematics(panda.chain, q))
    tensors = [torch.from_numpy(x) for x in (proposed, position, rotation)]
    q = encoder.complete(*tensors, lambda q: inner_poses_torch(panda.chain, q), torch)
    np.testing.assert_allclose(q.numpy(), expected, rtol=0, atol=1e-12)


def test_the_robot_may_be_named_for_its_mount_and_tool(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(export_command, "export_onnx", lambda *arguments: given.append(arguments))
    (tmp_path / "a.onnx").touch()
    words = ["export", str(SHIPPED), "--onnx", str(tmp_path / "a.onnx")]
    assert main([*words, "--robot", "panda", "--tip", "hand_tcp", "--base", "link0"]) == 0 and main(words) == 0
    (_, _, chain, n_starts), (_, _, default, _) = given
    assert chain.T_last_tip[2, 3] > 0.2 and n_starts == 64 and default is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([str(SHIPPED), "--tip", "hand_tcp"], "no --robot was given"),
        ([str(SHIPPED), "--robot", "panda_rail"], "trained for another arm"),
        ([str(SHIPPED), "--starts", "2000"], "starts: expected 1 to 1024, the noises that .* holds, got 2000"),
        ([str(SHIPPED), "--starts", "0"], "expected 1 to 1024"),
        (["nowhere.safetensors"], "no such file"),
    ],
)
def test_misuse_ends_with_2_and_a_message(tmp_path, capsys, words, message):
    assert main(["export", *words, "--onnx", str(tmp_path / "a.onnx")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["onnx", "onnxscript.optimizer"])
def test_a_missing_package_is_named(tmp_path, shipped, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"the package {name.split('.')[0]}, .*pip install hybrid-ik\[export\]"
    with pytest.raises(ExportUnavailableError, match=message):
        export_onnx(shipped, tmp_path / "a.onnx")


def test_networks_that_cannot_be_exported_are_refused(panda):
    file = small(panda.chain, encoding="quaternion")
    with pytest.raises(InvalidInputError, match=r'"quaternion", which has branches.*"rotation6d"'):
        Proposer(file, panda.chain)
    file = small(panda.chain)
    del file.tensors["output.bias"]
    with pytest.raises(CheckpointError, match=r"a file: not a network this version can export.*output.bias"):
        Proposer(file, panda.chain)
