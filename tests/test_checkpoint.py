"""Network files: what goes in comes out, and nothing damaged, foreign or newer gets through."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save, save_file

from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NETWORK_FORMAT, load_network, load_sealed, save_network, save_sealed, write_atomically
from hybrid_ik.errors import CheckpointError

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(2.5)}


@pytest.fixture(scope="module")
def arm():
    return Chain.from_axes(
        kinds=("hinge", "slide", "hinge"),
        origins=[[0, 0, 0], [0, 0, 0.4], [0.3, 0, 0.4]],
        axes=[[0, 0, 1], [0, 1, 0], [1, 0, 0]],
        T_base_tip=np.eye(4),
        lower=[-np.inf, 0.0, -2.0],
        upper=[np.inf, 0.5, 2.0],
        joint_names=("one", "two", "three"),
    )


@pytest.fixture
def path(arm, tmp_path):
    file = tmp_path / "net.safetensors"
    save_network(file, TENSORS, kind="meanflow", chain=arm, options={"width": 3}, record={"steps": 7})
    return file


def test_what_is_saved_is_loaded(arm, path):
    file = load_network(path)
    assert file.kind == "meanflow" and file.options == {"width": 3} and file.record == {"steps": 7}
    assert file.path == path and file.chain.matches(arm) and file.chain.joint_names == arm.joint_names
    assert file.tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(file.tensors[name], value)
        assert file.tensors[name].dtype == value.dtype


def test_saving_leaves_nothing_else_behind_and_replaces_the_old_file(arm, path):
    save_network(path, {"c": np.zeros(2)}, kind="other", chain=arm, options={}, record={})
    assert load_network(path).kind == "other"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_failed_write_keeps_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("hybrid_ik.checkpoint.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"half a file")
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such file; train one with hybrid-ik train"):
        load_network(tmp_path / "none.safetensors")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_network(tmp_path)


def test_every_truncation_is_found(path):
    data = path.read_bytes()
    for size in [0, 4, 8, 9, 100, *range(len(data) - 70, len(data))]:
        path.write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            load_network(path)


def test_something_appended_is_found(path):
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="damaged"):
        load_network(path)


def test_every_single_altered_bit_is_found(path):
    data = path.read_bytes()
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 1 << (position % 8)
        path.write_bytes(altered)
        with pytest.raises(CheckpointError):
            load_network(path)


def test_an_altered_weight_is_called_damage(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged or incomplete.*sha256"):
        load_network(path)


def test_altered_metadata_is_found_even_where_the_file_stays_readable(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b'\\"steps\\": 7', b'\\"steps\\": 8'))
    assert path.read_bytes() != data
    with pytest.raises(CheckpointError, match="sha256"):
        load_network(path)


def test_newer_format_asks_for_an_upgrade(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    path.write_bytes(save(load(data), metadata={**metadata, "version": "2"}))
    with pytest.raises(CheckpointError, match=r"version 2, newer than 1.*upgrade hybrid_ik"):
        load_network(path)


@pytest.mark.parametrize("version", ["", "one", "0"])
def test_a_version_that_is_none(path, version):
    save_file(TENSORS, path, metadata={"format": NETWORK_FORMAT, "version": version})
    with pytest.raises(CheckpointError, match="damaged"):
        load_network(path)


def test_files_of_others_are_named_as_such(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file(TENSORS, foreign)
    with pytest.raises(CheckpointError, match=r"expected a hybrid_ik.network file, found format None"):
        load_network(foreign)
    foreign.write_bytes(b"PK\x03\x04 this is a torch pickle")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_network(foreign)


def test_a_training_state_is_no_network(tmp_path):
    file = tmp_path / "state.safetensors"
    save_sealed(file, TENSORS, "hybrid_ik.training", {"step": 3})
    assert load_sealed(file, "hybrid_ik.training")[1] == {"step": 3}
    with pytest.raises(CheckpointError, match=r"found format 'hybrid_ik.training'"):
        load_network(file)


def test_a_sealed_file_without_a_chain_is_incomplete(tmp_path):
    file = tmp_path / "net.safetensors"
    save_sealed(file, TENSORS, NETWORK_FORMAT, {"kind": "meanflow"})
    with pytest.raises(CheckpointError, match="incomplete"):
        load_network(file)


def test_numbers_that_json_cannot_say_are_refused_when_saving(arm, tmp_path):
    with pytest.raises(ValueError):
        save_network(tmp_path / "x", TENSORS, kind="meanflow", chain=arm, options={}, record={"loss": float("nan")})


def test_mount_tool_and_names_do_not_matter(arm, path):
    moved = replace(arm, T_base_first=np.eye(4), T_last_tip=np.eye(4), joint_names=("a", "b", "c"))
    load_network(path).check_matches(moved)


def _two_joints(arm):
    return replace(
        arm,
        T_link=arm.T_link[:1],
        kinds=arm.kinds[:2],
        lower=arm.lower[:2],
        upper=arm.upper[:2],
        joint_names=("a", "b"),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_two_joints, "it has 3 joints, this one 2"),
        (lambda arm: replace(arm, kinds=("hinge", "hinge", "hinge")), "its joints are"),
        (lambda arm: replace(arm, lower=arm.lower + 0.1), "its lower limits are"),
        (lambda arm: replace(arm, upper=arm.upper + 0.1), "its upper limits are"),
        (
            lambda arm: replace(arm, T_link=arm.T_link + np.array([[[0.0]], [[0.01]]])),
            "the link from joint 2 to joint 3 differs by 0.01",
        ),
    ],
)
def test_another_arm_is_refused_with_the_difference(arm, path, change, message):
    with pytest.raises(CheckpointError, match=message) as error:
        load_network(path).check_matches(change(arm))
    assert "hybrid-ik train" in str(error.value)
