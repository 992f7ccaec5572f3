"""A trained network as an ONNX file: from poses of the tip to starts, in any program that runs ONNX.

The file has the inputs `position` (m, 3) [m] and `rotation` (m, 3, 3), poses of the tip in the base, and `noise`
(n, n_joints), standard normal numbers; and the output `joints` (m, n, dof) [rad, or m]; all float32, m and n free. In
Python:

    session = onnxruntime.InferenceSession("panda.onnx")
    (joints,) = session.run(None, {"position": position, "rotation": rotation})

`noise` may be left out: the file then takes the first noises of the table that travels with the network. (ONNX Runtime
warns of that when it loads the file.) What to know of the arm is in the metadata, as JSON.
"""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import hybrid_ik
from hybrid_ik.chain import Chain
from hybrid_ik.checkpoint import NetworkFile, write_atomically
from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import CheckpointError, HybridIKError, InvalidInputError
from hybrid_ik.kinematics import forward_kinematics
from hybrid_ik.learning.networks import NetworkConfig, VelocityNetwork, build_network
from hybrid_ik.learning.torch_math import Lean, LeanMath
from hybrid_ik.samplers.meanflow import NOISE_SCALE

INPUTS, OUTPUTS = ("position", "rotation", "noise"), ("joints",)
POSES, NOISES = 3, 5  # of the example that is followed through the network; both numbers stay free


class ExportUnavailableError(HybridIKError):
    """A package that writes ONNX files is missing; the message says how to get it."""


class Proposer(nn.Module):
    """q = complete(x) with x = e - u(e, r, 1 | pose): what `MeanFlowSampler` proposes, as one function of tensors.

    It has no spare starts: a start whose outer joints would lie beyond their limits stays, moved onto them.

    Args:
        file: the network.
        chain: its arm, with the mount and the tool that poses are given with.
        noise_scale: factor on the noises; see `MeanFlowSampler`.

    Raises:
        CheckpointError: the network is of another arm, or cannot be used.
        InvalidInputError: it is told poses as quaternions.
    """

    T_first_base: Tensor
    T_tip_last: Tensor
    lower: Tensor
    half_range: Tensor

    def __init__(self, file: NetworkFile, chain: Chain, noise_scale: float = NOISE_SCALE) -> None:
        super().__init__()
        file.check_matches(chain)
        self.network, encoding = torch_network(file), file.options["encoding"]
        if encoding == "quaternion":
            raise InvalidInputError(
                f'{file.path}: its encoding is "quaternion", which has branches that cannot be exported; train one '
                'with --network.encoding "invariant" or "rotation6d"'
            )
        self.seen, self.arm = Encoder(file.chain, encoding), Encoder(_in_single_precision(chain), encoding)
        self.noise_scale, self.r = noise_scale, 0.0 if file.options["mode"] == "meanflow" else 1.0
        T_first_base, T_tip_last = np.linalg.inv(chain.T_base_first), np.linalg.inv(chain.T_last_tip)
        self.register_buffer("T_first_base", _single(T_first_base))
        self.register_buffer("T_tip_last", _single(T_tip_last))
        self.register_buffer("lower", _single(self.seen.lower))
        self.register_buffer("half_range", _single(0.5 * (self.seen.upper - self.seen.lower)))

    def forward(self, position: Tensor, rotation: Tensor, noise: Tensor) -> Tensor:
        """Starts `(m, n, dof)` [rad, or m], inside the limits.

        Args:
            position: `p_base_tip` `(m, 3)` [m].
            rotation: `R_base_tip` `(m, 3, 3)`.
            noise: `(n, n_joints)` standard normal numbers, the same for every pose.
        """
        position, rotation = self.inner_pose(position, rotation)
        x = self.propose(self.condition(position, rotation), noise)
        proposed = (x + 1.0) * self.half_range + self.lower
        return self.arm.complete(proposed, position, rotation, self._forward_kinematics, torch)

    def inner_pose(self, p_base_tip: Tensor, R_base_tip: Tensor) -> tuple[Tensor, Tensor]:
        """`Chain.first_last`: `p_first_last` `(m, 3)` [m] and `R_first_last` `(m, 3, 3)`."""
        R_first_base, p_first_base = self.T_first_base[:3, :3], self.T_first_base[:3, 3]
        R_first_tip = R_first_base @ R_base_tip
        p_first_last = p_base_tip @ R_first_base.T + R_first_tip @ self.T_tip_last[:3, 3] + p_first_base
        return p_first_last, R_first_tip @ self.T_tip_last[:3, :3]

    def condition(self, position: Tensor, rotation: Tensor) -> Tensor:
        """What the network is told of inner poses: `(m, n_features)`."""
        rows = [row.unbind(-1) for row in rotation.unbind(-2)]
        return torch.stack(self.seen.features(position.unbind(-1), rows), -1)

    def propose(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Normalised joints `(m, n, n_joints)`: the network alone, its large part once per pose."""
        z, t = self.noise_scale * noise[None], torch.ones(1, 1)
        velocity, _ = self.network.decode(z, self.r * t, t, self.network.modulate(condition[:, None]))
        return z - velocity

    def _forward_kinematics(self, q: Tensor) -> tuple[Tensor, Tensor]:
        R, p = forward_kinematics(self.arm.chain, [Lean(x) for x in q.unbind(-1)], LeanMath())
        column = lambda x: x.value if isinstance(x, Lean) else torch.full_like(q[:, 0], x)  # noqa: E731
        return torch.stack([column(x) for x in p], -1), torch.stack([column(x) for row in R for x in row], -1)


def export_onnx(file: NetworkFile, path: str | Path, chain: Chain | None = None, n_starts: int = 64) -> None:
    """Write the ONNX file of a network, atomically; this module says what is in it.

    Args:
        file: the network.
        path: where to.
        chain: its arm with another mount or tool; by default those it was trained with.
        n_starts: how many noises of the network's table the file takes where it is given none.

    Raises:
        CheckpointError: the network is of another arm, or cannot be used.
        InvalidInputError: its encoding cannot be exported, or its table has fewer noises.
        ExportUnavailableError: a package is missing.
    """
    chain = file.chain if chain is None else chain
    proposer, noise = Proposer(file, chain), _default_noise(file, n_starts)
    position, rotation = torch.zeros(POSES, 3), torch.eye(3).expand(POSES, 3, 3).contiguous()
    example = position, rotation, torch.zeros(NOISES, proposer.seen.n_joints)
    m, n = torch.export.Dim("m"), torch.export.Dim("n")
    model = onnx_model(proposer, example, INPUTS, OUTPUTS, ({0: m}, {0: torch.export.Dim.DYNAMIC}, {0: n}))
    if noise is not None:
        _add_default(model, "noise", noise)
    _describe(model, chain, proposer.noise_scale)
    write_atomically(path, model.SerializeToString())


def onnx_model(
    module: nn.Module, example: tuple[Tensor, ...], inputs: tuple[str, ...], outputs: tuple[str, ...], shapes: Any
) -> Any:
    """A module as an `onnx.ModelProto`, without traces of the machine it was made on.

    Args:
        module: what to export.
        example: arguments of it.
        inputs: their names in the file.
        outputs: names of what it returns.
        shapes: which axes stay free, as `torch.onnx.export` takes it.
    """
    _require("onnx")
    optimizer = _require("onnxscript.optimizer")
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
            optimize=False,  # its rules take x + 1e-12 for x, and so divide by zero on the first axis
            verbose=False,
        )
        optimizer.fold_constants(program.model)  # type: ignore[union-attr]
        optimizer.remove_unused_nodes(program.model)  # type: ignore[union-attr]
    model = program.model_proto  # type: ignore[union-attr]
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]  # among them paths of source files
    return model


def torch_network(file: NetworkFile) -> VelocityNetwork:
    """The network in a file, for use and not for training.

    Raises:
        CheckpointError: a weight or an option is missing or unknown.
    """
    try:
        config = NetworkConfig(**{field.name: file.options[field.name] for field in fields(NetworkConfig)})
        encoder = Encoder(file.chain, config.encoding)
        network = build_network(config, encoder.n_joints, encoder.n_features)
        weights = {name: torch.from_numpy(np.copy(x)) for name, x in file.tensors.items() if name != "noise"}
        network.load_state_dict(weights)
    except (KeyError, RuntimeError, InvalidInputError) as error:
        reason = " ".join(str(error).split())  # torch spreads it over lines
        raise CheckpointError(
            f"{file.path}: not a network this version can export: missing or unknown: {reason}"
        ) from error
    return network.requires_grad_(False).eval()


def _default_noise(file: NetworkFile, n: int) -> NDArray[np.float32] | None:
    """The first `n` noises of the table; None where the network has no table."""
    if "noise" not in file.tensors:
        return None
    table = file.tensors["noise"].astype(np.float32)
    if not 1 <= n <= len(table):
        raise InvalidInputError(
            f"starts: expected 1 to {len(table)}, the noises that {file.path} holds, got {n}; more of them can be "
            "given to the exported file as its input `noise`, standard normal numbers"
        )
    return table[:n]


def _add_default(model: Any, name: str, value: NDArray[np.float32]) -> None:
    """Makes an input optional: in ONNX an initial value under the input's name."""
    model.graph.initializer.append(_require("onnx.numpy_helper").from_array(value, name))


def _describe(model: Any, chain: Chain, noise_scale: float) -> None:
    """Metadata, each entry as JSON: the arm, and what its noises are multiplied with."""
    keys = ("joint_names", "kinds", "lower", "upper", "T_base_first", "T_last_tip")
    facts: dict[str, Any] = {key: chain.to_dict()[key] for key in keys}
    facts |= {"fingerprint": chain.fingerprint, "noise_scale": noise_scale, "hybrid_ik_version": hybrid_ik.__version__}
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    model.doc_string = (
        "Starts for inverse kinematics. position (m, 3) [m] and rotation (m, 3, 3) of the tip in the base, noise "
        "(n, n_joints) of standard normal numbers, to joints (m, n, dof) [rad, or m]. They still have to be refined."
    )


def _in_single_precision(chain: Chain) -> Chain:
    """The arm with limits that float32 has exactly, none of them outside the true ones."""
    lower, upper = chain.lower.astype(np.float32), chain.upper.astype(np.float32)
    lower = np.where(lower < chain.lower, np.nextafter(lower, np.float32(np.inf)), lower)
    upper = np.where(upper > chain.upper, np.nextafter(upper, np.float32(-np.inf)), upper)
    return replace(chain, lower=lower.astype(float), upper=upper.astype(float))


def _single(array: NDArray[Any]) -> Tensor:
    return torch.tensor(array, dtype=torch.float32)


def _require(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportUnavailableError(
            f"the package {name.split('.')[0]}, which writes ONNX files, is not there ({error}); get it with "
            "`pip install hybrid-ik[export]`"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's words on operators of other packages, and a warning that torch gives of itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
