"""The benchmark of what runs the network."""

from __future__ import annotations

import json

import pytest
import test_benchmarks
from test_encoding import bent_arm
from test_networks import network_file

from hybrid_ik.checkpoint import save_network
from hybrid_ik.learning.networks import NetworkConfig

pytest.importorskip("onnxruntime", reason="it is one of what is compared")


def test_every_runtime_gives_the_same_and_has_a_time(tmp_path):
    chain, config = bent_arm("hhhh"), NetworkConfig(width=16, trunk_width=16, encoding="rotation6d")
    file, path = network_file(chain, config)[0], tmp_path / "arm.safetensors"
    save_network(path, file.tensors, kind="meanflow", chain=chain, options=file.options, record={})
    out = tmp_path / "runtime.json"
    words = ["--quick", "--network", str(path), "--poses", "1", "30", "--json", str(out)]
    printed = test_benchmarks._run("runtime.py", *words)
    rows = json.loads(out.read_text())["rows"]
    names = ["numpy", "SIMD lanes", "ONNX Runtime", "torch"]
    assert [(row["part"], row["runtime"]) for row in rows] == [
        (part, name) for part in ("network alone", "pose to joints") for name in names
    ]
    assert all(row["us, 1 x 64"] > 0 and row["us, 30 x 64"] > 0 and row["from numpy [rad]"] < 1e-4 for row in rows)
    assert "ONNX Runtime" in printed
