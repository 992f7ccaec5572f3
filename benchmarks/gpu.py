"""Answers a second on a GPU, and the wait for one: `python benchmarks/gpu.py`.

Three tables: one answer for each pose; the starts of the network, in the types of numbers that its products may have;
and different answers for each pose, from random starts and from the network's.

It needs torch for CUDA, Triton, numpy and safetensors, not MuJoCo: the arm is that of the shipped network file. Poses
and answers stay on the device; an answer counts if forward kinematics in torch, which shares no code with the kernel
but the arm's constants, finds it within the tolerances.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from record import RESULTS, print_table, record, write_json

from hybrid_ik import kinematics
from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import load_network
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.torch_math import TorchMath
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.gpu import GpuRefiner
from hybrid_ik.resources import asset_path
from hybrid_ik.result import IKResult
from hybrid_ik.samplers.device_network import DeviceSampler
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.tensor_pose import TensorPose

Result = TypeVar("Result")

BATCHES = (1, 100, 10_000, 1_000_000)
STARTS = 256  # for each pose that needs so many, as in HybridSolver
MANY = (1, 100, 10_000)  # poses that get so many answers
N_ANSWERS, N_NETWORK_STARTS, MIN_DISTANCE = 16, 64, 0.1  # rad
NUMBERS = ("float32", "TF32", "bfloat16")
GOALS = {1_000_000: ("answers/s", ">=", 20e6), 1: ("ms", "<=", 0.5)}


def main() -> None:
    """Measures every batch, prints a table and saves it."""
    options = _options()
    chain = load_network(options.network).chain
    try:
        refiner = GpuRefiner(chain, device=options.device)
    except InvalidInputError as error:
        sys.exit(f"nothing to measure: {error}")
    device = _device_name(refiner.device)
    rows = [measure(refiner, n, options) for n in options.batches]
    print_table(f"One answer for each pose, {device}", rows)
    network = [measure_network(refiner, options.many[-1], numbers, options) for numbers in options.numbers]
    print_table(f"{options.network_starts} starts of the network for each pose, {device}", network)
    many = [measure_many(refiner, n, kind, options) for n in options.many for kind in ("random", *options.numbers)]
    print_table(f"{options.answers} answers for each pose, {device}", many)
    results = {"rows": rows, "network": network, "many": many}
    write_json(options.json, {**record(), "device": device, "seed": options.seed, **results})


def measure(refiner: GpuRefiner, n: int, options: argparse.Namespace) -> dict[str, Any]:
    """One answer for each of `n` random poses."""
    poses = random_poses(refiner.chain, n, _generator(refiner, options))
    table = refiner.tensor(UniformSampler(refiner.chain, options.seed, narrow=True).table(options.starts))

    def solve() -> IKResult:
        return refiner.closest(poses, refiner.search(poses, table), table)

    first, seconds, result = _timed(solve, refiner.device, options.repeats)
    verified = verify(refiner, poses, result)
    row = {
        "poses": f"{n:,}",
        "ms": 1e3 * seconds,
        "answers/s": int(verified.sum()) / seconds,
        "success %": 100 * float(verified.double().mean()),
        "said %": 100 * float(result.success.double().mean()),  # type: ignore[attr-defined]
        "first call s": first,
    }
    return {**row, **_goal(row, n)}


def measure_network(refiner: GpuRefiner, n: int, numbers: str, options: argparse.Namespace) -> dict[str, Any]:
    """What the starts of `n` random poses cost, and how many of them lead to an answer."""
    poses = random_poses(refiner.chain, n, _generator(refiner, options))
    with products(numbers):
        sampler = _sampler(refiner, numbers, options)
        first, seconds, q0 = _timed(
            lambda: sampler.sample(poses, options.network_starts), refiner.device, options.repeats
        )
    reference = _sampler(refiner, "float32", options).sample(poses, options.network_starts)
    return {
        "numbers": numbers,
        "poses": f"{n:,}",
        "ms": 1e3 * seconds,
        "starts/s": n * options.network_starts / seconds,
        "converge %": 100 * float(refiner.refine(poses, q0).success.double().mean()),  # type: ignore[attr-defined]
        "median off rad": float((q0 - reference).abs().median()),
        "first call s": first,
    }


def measure_many(refiner: GpuRefiner, n: int, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Different answers for each of `n` random poses, from random starts or from those of the network."""
    poses = random_poses(refiner.chain, n, _generator(refiner, options))
    table = refiner.tensor(UniformSampler(refiner.chain, options.seed).table(8 * options.network_starts))
    later = [table[k * options.network_starts : 2 * k * options.network_starts] for k in (1, 2, 4)]
    sampler = None if kind == "random" else _sampler(refiner, kind, options)

    def solve() -> IKResult:
        starts = table[: options.network_starts] if sampler is None else sampler.sample(poses, options.network_starts)
        return refiner.distinct(poses, [starts, *later], options.answers, MIN_DISTANCE)

    with products(kind):
        first, seconds, result = _timed(solve, refiner.device, options.repeats)
    repeated = TensorPose(
        *(x.repeat_interleave(options.answers, 0) for x in (poses.position, poses.quaternion, poses.valid))
    )
    verified = verify(refiner, repeated, result.reshape(n * options.answers))
    return {
        "starts": kind,
        "poses": f"{n:,}",
        "ms": 1e3 * seconds,
        "answers/s": int(verified.sum()) / seconds,
        "answers a pose": float(verified.double().sum()) / n,
        "first call s": first,
    }


@contextmanager
def products(numbers: str) -> Iterator[None]:
    """Meanwhile torch multiplies single-precision numbers as TF32, where that is asked for."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if numbers == "TF32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def nothing_waits(device: torch.device) -> Iterator[None]:
    """Meanwhile torch raises where the host waits for the device."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def random_poses(chain: Chain, n: int, generator: torch.Generator) -> TensorPose:
    """Poses of the tip for joints drawn evenly from their ranges."""
    lower, upper = (torch.tensor(x, device=generator.device) for x in (chain.sample_lower, chain.sample_upper))
    unit = torch.rand((n, chain.dof), generator=generator, dtype=torch.float64, device=generator.device)
    position, rotation = tip_in_base(chain, lower + unit * (upper - lower))
    return TensorPose.of(position, _quaternions(rotation))


def tip_in_base(chain: Chain, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions (n, 3) [m] and rotation matrices (n, 3, 3) of the tip in the base for joints (n, dof)."""
    R, p = kinematics.forward_kinematics(chain, list(q.T), TorchMath())
    R_first_last = torch.stack([_columns(row, q) for row in R], 1)
    T_base_first, T_last_tip = (torch.tensor(T, device=q.device) for T in (chain.T_base_first, chain.T_last_tip))
    R_base_last = T_base_first[:3, :3] @ R_first_last
    p_base_last = _columns(p, q) @ T_base_first[:3, :3].T + T_base_first[:3, 3]
    return p_base_last + R_base_last @ T_last_tip[:3, 3], R_base_last @ T_last_tip[:3, :3]


def verify(refiner: GpuRefiner, poses: TensorPose, result: IKResult) -> torch.Tensor:
    """Which answers are within the tolerances and the limits; |R - R*|_F = 2 sqrt(2) sin(a / 2) for a turn by a."""
    q: Any = result.q
    position, rotation = tip_in_base(refiner.chain, q)
    turned = torch.linalg.matrix_norm(rotation - _matrices(poses.quaternion))
    angle = 2 * torch.asin((turned / 8**0.5).clamp(max=1.0))
    lower, upper = refiner.tensor(refiner.chain.lower), refiner.tensor(refiner.chain.upper)
    near = torch.linalg.vector_norm(position - poses.position, dim=-1) <= refiner.config.position_tolerance
    return near & (angle <= refiner.config.orientation_tolerance) & ((q >= lower) & (q <= upper)).all(-1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="numbers of poses")
    parser.add_argument("--many", type=int, nargs="+", default=MANY, help="numbers of poses that get many answers")
    parser.add_argument("--answers", type=int, default=N_ANSWERS, help="for each of these")
    parser.add_argument("--numbers", nargs="+", choices=NUMBERS, default=NUMBERS, help="of the network's products")
    parser.add_argument("--network-starts", type=int, default=N_NETWORK_STARTS, help="for each pose, at first")
    parser.add_argument("--starts", type=int, default=STARTS, help="most starts of a pose")
    parser.add_argument("--repeats", type=int, default=20, help="calls that the median is taken of")
    parser.add_argument("--seed", type=int, default=0, help="of poses and starts")
    parser.add_argument("--device", default="cuda", help="of torch")
    parser.add_argument("--network", type=Path, default=asset_path("networks", "panda.safetensors"), help="of the arm")
    parser.add_argument("--json", type=Path, default=RESULTS / "gpu.json", help="where to save the results")
    return parser.parse_args()


def _goal(row: dict[str, Any], n: int) -> dict[str, str]:
    if n not in GOALS:
        return {"goal": "", "met": ""}
    name, relation, bound = GOALS[n]
    met = row[name] >= bound if relation == ">=" else row[name] <= bound
    return {"goal": f"{relation} {bound:g} {name}", "met": "yes" if met else "no"}


def _generator(refiner: GpuRefiner, options: argparse.Namespace) -> torch.Generator:
    return torch.Generator(refiner.device).manual_seed(options.seed)


def _sampler(refiner: GpuRefiner, numbers: str, options: argparse.Namespace) -> DeviceSampler:
    sampler = MeanFlowSampler(options.network, refiner.chain)
    return DeviceSampler(sampler, refiner.device, "bfloat16" if numbers == "bfloat16" else "float32")


def _timed(call: Callable[[], Result], device: torch.device, repeats: int) -> tuple[float, float, Result]:
    """Seconds of the first call, which compiles, and the median of later ones; and what it gives."""
    first, _ = _seconds(call, device)
    with nothing_waits(device):
        result = call()
    return first, float(np.median([_seconds(call, device)[0] for _ in range(repeats)])), result


def _seconds(call: Callable[[], Result], device: torch.device) -> tuple[float, Result]:
    """Wall-clock time until the device has done what the call asks of it."""
    _wait(device)
    start = time.perf_counter()
    result = call()
    _wait(device)
    return time.perf_counter() - start, result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "Triton's interpreter"


def _columns(values: list[Any], q: torch.Tensor) -> torch.Tensor:
    """Scalars (n,) or numbers side by side, (n, len)."""
    return torch.stack([x if isinstance(x, torch.Tensor) else q.new_full((len(q),), x) for x in values], -1)


def _quaternions(rotation: torch.Tensor) -> torch.Tensor:
    """wxyz of rotation matrices, on the host: this is not measured."""
    T = np.zeros((len(rotation), 4, 4))
    T[:, :3, :3], T[:, 3, 3] = rotation.cpu().numpy(), 1.0
    return torch.tensor(Pose.from_matrix(T).quaternion, device=rotation.device)


def _matrices(quaternion: torch.Tensor) -> torch.Tensor:
    R = Pose(np.zeros((len(quaternion), 3)), quaternion.cpu().numpy()).rotation_matrix()
    return torch.tensor(R, device=quaternion.device)


if __name__ == "__main__":
    main()
