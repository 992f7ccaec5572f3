"""What runs the network: `python benchmarks/runtime.py`.

The cost of a start of the shipped Panda network through numpy, through SIMD lanes (what `MeanFlowSampler` uses),
through ONNX Runtime and through torch as it is written (eager). One core, one thread; the runtimes take turns, and the
median over the rounds counts. Two groups of rows:

* the network alone: from what it is told of a pose to normalised joints. The noises are known beforehand, so all but
  torch have its first layer applied to them once and for all;
* from a pose to joints inside the limits: with the features of the pose and the outer joints in closed form. For numpy
  that is `Encoder.complete` with compiled forward kinematics, for ONNX Runtime the file of `hybrid-ik export`. The row
  of the lanes is `MeanFlowSampler.sample`, which makes a quarter more starts, the spare ones.

Poses come in the blocks of `MeanFlowSampler`, 1024 starts each.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
import tyro
from numpy.typing import NDArray
from record import RESULTS, cores, print_table, record, restart_in_one_thread, write_json
from torch import Tensor, nn

from hybrid_ik.checkpoint import NetworkFile, load_network
from hybrid_ik.encoding import Encoder
from hybrid_ik.kernels.cpu import forward_kinematics
from hybrid_ik.learning.data import exact_poses
from hybrid_ik.learning.export import Proposer, export_onnx, onnx_model
from hybrid_ik.pose import Pose
from hybrid_ik.resources import asset_path
from hybrid_ik.samplers.lane_network import LaneNetwork
from hybrid_ik.samplers.meanflow import NOISE_SCALE, ROWS_AT_ONCE, MeanFlowSampler
from hybrid_ik.samplers.numpy_network import NumpyNetwork, numpy_network

Array = NDArray[Any]
NETWORK, WHOLE = "network alone", "pose to joints"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure what runs the network."""

    network: Path = field(default_factory=lambda: asset_path("networks", "panda.safetensors"))
    """A network file; its architecture must be one that runs in lanes."""
    poses: tuple[int, ...] = (1, 100)
    """Poses of a call."""
    starts: int = 64
    """Starts of a pose."""
    rounds: int = 300
    """Turns of each runtime."""
    seed: int = 0
    """Of the poses."""
    json: Path = RESULTS / "runtime.json"
    """Where to save the results."""
    quick: bool = False
    """A few rounds, to see that it runs; the numbers mean nothing."""


class Block(NamedTuple):
    """Some poses in the forms that the runtimes take."""

    pose: Pose
    """Of the tip in the base."""
    position: Array
    """The same `(m, 3)` [m], float32."""
    rotation: Array
    """The same `(m, 3, 3)`, float32."""
    condition: Array
    """What the network is told of them, `(m, n_features)`, float32."""


Run = Callable[[Block], Array]


class NetworkPart(nn.Module):
    """`Proposer.propose` for noises `(n, n_joints)` that are known beforehand."""

    def __init__(self, proposer: Proposer, noise: Array) -> None:
        super().__init__()
        self.proposer = proposer
        self.register_buffer("noise", torch.from_numpy(noise))

    def forward(self, condition: Tensor) -> Tensor:
        return self.proposer.propose(condition, self.noise)


class Runtimes:
    """One network made ready for each runtime; `network` and `whole` give what is to be timed, by names."""

    def __init__(self, file: NetworkFile, n_starts: int) -> None:
        self.file, self.n, self.chain = file, n_starts, file.chain
        self.encoder = Encoder(file.chain, file.options["encoding"])
        self.sampler = MeanFlowSampler(file, file.chain)
        self.noise = self.sampler.noise(n_starts) / np.float32(NOISE_SCALE)
        self.proposer = Proposer(file, file.chain)
        self.by_numpy = self._twin(numpy_network(file))

    def network(self) -> dict[str, Run]:
        """From conditions to normalised joints `(m, n, n_joints)`."""
        part = NetworkPart(self.proposer, self.noise)
        example, free = torch.zeros(3, self.encoder.n_features), {0: torch.export.Dim("m")}
        session = _session(onnx_model(part, (example,), ("condition",), ("x",), (free,)).SerializeToString())
        return {
            "numpy": self.by_numpy,
            "SIMD lanes": self._twin(numpy_network(self.file, LaneNetwork)),
            "ONNX Runtime": lambda block: session.run(None, {"condition": block.condition})[0],
            "torch": lambda block: part(torch.from_numpy(block.condition)).numpy(),
        }

    def whole(self) -> dict[str, Run]:
        """From poses to joints `(m, n, dof)`."""
        with tempfile.TemporaryDirectory() as folder:
            export_onnx(self.file, Path(folder) / "network.onnx")
            session = _session((Path(folder) / "network.onnx").read_bytes())
        noise = torch.from_numpy(self.noise)
        return {
            "numpy": self._completed,
            "SIMD lanes": lambda block: self.sampler.sample(block.pose, self.n),
            "ONNX Runtime": lambda block: session.run(
                None, {"position": block.position, "rotation": block.rotation, "noise": self.noise}
            )[0],
            "torch": lambda block: self.proposer(*map(torch.from_numpy, block[1:3]), noise).numpy(),
        }

    def blocks(self, n_poses: int, seed: int) -> list[Block]:
        """Poses that the arm reaches, as many at once as `MeanFlowSampler` takes."""
        lower, upper = self.chain.sample_lower, self.chain.sample_upper
        q = np.random.default_rng(seed).uniform(lower, upper, (n_poses, self.chain.dof))
        T_first_last = np.tile(np.eye(4), (n_poses, 1, 1))
        T_first_last[:, :3, 3], T_first_last[:, :3, :3] = exact_poses(self.chain, q)
        pose = Pose.from_matrix(self.chain.T_base_first @ T_first_last @ self.chain.T_last_tip)
        step = max(1, ROWS_AT_ONCE // self.n)
        return [self._block(pose[i : i + step]) for i in range(0, n_poses, step)]

    def _block(self, pose: Pose) -> Block:
        position, rotation = pose.position.astype(np.float32), pose.rotation_matrix().astype(np.float32)
        return Block(pose, position, rotation, self.encoder.encode(*self.chain.first_last(pose)))

    def _twin(self, network: NumpyNetwork) -> Run:
        z = self.noise * np.float32(NOISE_SCALE)
        projected = network.project(z)

        def run(block: Block) -> Array:
            return z - network.velocity(projected, network.modulate(block.condition[:, None]))[:, : self.n]

        return run

    def _completed(self, block: Block) -> Array:
        position, rotation = self.chain.first_last(block.pose)
        x = self.by_numpy(block._replace(condition=self.encoder.encode(position, rotation)))
        proposed = self.encoder.denormalise(x.astype(float))
        return self.encoder.complete(proposed, position, rotation, lambda q: forward_kinematics(self.chain, q))


def measure(options: Options) -> list[dict[str, Any]]:
    """A row for each group and runtime: microseconds of a start, and how far its results lie from numpy's."""
    runtimes = Runtimes(load_network(options.network), options.starts)
    rows = []
    for group, runs in ((NETWORK, runtimes.network()), (WHOLE, runtimes.whole())):
        table = {name: {"part": group, "runtime": name} for name in runs}
        for n in options.poses:
            blocks = runtimes.blocks(n, options.seed)
            seconds = interleaved(runs, blocks, 3 if options.quick else options.rounds)
            for name, row in table.items():
                row[f"us, {n} x {options.starts}"] = 1e6 * seconds[name] / (n * options.starts)
        differences = {name: difference(run, runs["numpy"], blocks) for name, run in runs.items()}
        rows += [{**row, "from numpy [rad]": differences[name]} for name, row in table.items()]
    return rows


def interleaved(runs: dict[str, Run], blocks: list[Block], rounds: int) -> dict[str, float]:
    """Median seconds of all blocks for each runtime; they take turns, so that a busy moment meets all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 2):
        for name, run in runs.items():
            begin = time.perf_counter()
            for block in blocks:
                run(block)
            if turn > 1:  # the first two warm up
                seconds[name].append(time.perf_counter() - begin)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def difference(run: Run, other: Run, blocks: list[Block]) -> float:
    """Median over starts of the largest difference of a joint [rad, or m]; spare starts of the lanes are outliers."""
    return float(np.median([np.abs(run(block) - other(block)).max(-1) for block in blocks[:1]]))


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # not the warning that the noises may be given
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Reads the options, measures, prints and saves."""
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(1)
    with cores(1), torch.inference_mode():
        rows = measure(options)
    print_table("Microseconds of a start, poses x starts", rows)
    about = {"network": options.network.name, "starts": options.starts, "rounds": options.rounds, "seed": options.seed}
    write_json(options.json, {**record(), **about, "quick": options.quick, "rows": rows})
    print(f"\nsaved {options.json}")


if __name__ == "__main__":
    restart_in_one_thread()
    main()
