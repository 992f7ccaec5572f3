"""The trained networks in plain numpy, float32: twins of `hybrid_ik.learning.networks`, for sampling only.

They are written with what numpy and torch call the same, so that a device runs this very text (`moved`).

At sampling time t and r are constants and the noises are the same for every pose. So the time inputs are folded into
biases, batch normalisation into weights, and the first layer is applied to the noises once. What is left for each start
are `depth - 1` products of width x width.

Every product is a stack of matrices, one for each pose: BLAS then does the same for a pose in whatever batch it comes,
to the last bit. (One product over all rows rounds otherwise, and is no faster at these sizes.)
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.checkpoint import NetworkFile
from hybrid_ik.encoding import TIME_FREQUENCIES
from hybrid_ik.errors import CheckpointError

Floats = NDArray[Any]  # float32; numpy's stubs widen it at every constant
Tensors = dict[str, NDArray[Any]]

LAYER_NORM_EPSILON = BATCH_NORM_EPSILON = 1e-5  # torch's defaults


class NumpyNetwork(Protocol):
    """One step from noise to data, for many poses and the same noises."""

    def project(self, noise: Floats) -> Floats:
        """What the first layer makes of noises `(n, dof)`: `(n, width)`; depends on no pose."""

    def modulate(self, condition: Floats) -> Floats:
        """The pose's part: `(m, 1, condition_size)` to `(m, 1, size)`."""

    def velocity(self, projected: Floats, modulation: Floats) -> Floats:
        """u of every noise for every pose: `(m, n, dof)`; more noises may follow that nobody asked for."""


class ModulatedNetwork:
    """Twin of `ModulatedMLP` at fixed times.

    Layer: h <- h + act(norm(W h + T) (1 + a) + b). Without layer normalisation T goes into the shift, b + T (1 + a).
    """

    def __init__(self, tensors: Tensors, options: dict[str, Any], r: float, t: float) -> None:
        self.depth, self.width, self.norm = options["depth"], options["width"], options["norm"]
        self.octaves = options["octaves"]
        self.xp: ModuleType = np
        self.activate, gain = _activation(options["activation"])
        self.activate_trunk = _plain_activation(options["activation"])
        self.trunk = [_linear(tensors, f"trunk.{i}") for i in range(options["trunk_depth"])]
        self.layers, self.biases, self.affine = [], [], []
        times = _linear_of_times(tensors, "time", r, t).reshape(self.depth, self.width)
        for i in range(self.depth):
            weight, bias, affine = _fold_norm(
                tensors, f"norms.{i}", self.norm, _weight(tensors, f"layers.{i}"), times[i]
            )
            self.layers.append(weight)
            self.biases.append(bias)
            self.affine.append(affine)
        self.modulation = self._folded_modulation(tensors, gain)
        self.output = _linear(tensors, "output")

    def _folded_modulation(self, tensors: Tensors, gain: float) -> tuple[Floats, Floats]:
        """The trunk's last layer, giving gain (1 + a) and gain (b + T (1 + a)): a layer is then one product and sum."""
        weight, bias = _linear(tensors, "modulation")
        scale_weight, shift_weight = np.split(weight, 2, axis=1)
        scale_bias, shift_bias = np.split(bias, 2)
        scale_bias = scale_bias + np.float32(1)
        if self.norm != "layer":
            T = np.concatenate(self.biases)
            shift_weight, shift_bias = shift_weight + scale_weight * T, shift_bias + scale_bias * T
        folded = np.concatenate([scale_weight, shift_weight], 1), np.concatenate([scale_bias, shift_bias])
        return np.ascontiguousarray(folded[0] * np.float32(gain)), folded[1] * np.float32(gain)

    def project(self, noise: Floats) -> Floats:
        """See `NumpyNetwork.project`."""
        return self._normalise(0, noise @ self.layers[0])

    def modulate(self, condition: Floats) -> Floats:
        """See `NumpyNetwork.modulate`."""
        h = embed_condition(condition, self.octaves, self.xp)
        for weight, bias in self.trunk:
            h = self.activate_trunk(h @ weight + bias, self.xp)
        return h @ self.modulation[0] + self.modulation[1]

    def velocity(self, projected: Floats, modulation: Floats) -> Floats:
        """See `NumpyNetwork.velocity`."""
        xp = self.xp
        scale, shift = xp.moveaxis(modulation.reshape(len(modulation), 2, self.depth, 1, self.width), 0, 2)
        h = projected * scale[0]
        h += shift[0]
        scratch, new = xp.empty_like(h), xp.empty_like(h)
        self.activate(h, scratch, xp)
        for i in range(1, self.depth):
            new = self._normalise(i, xp.matmul(h, self.layers[i], out=new))
            new *= scale[i]
            new += shift[i]
            self.activate(new, scratch, xp)
            h += new
        return h @ self.output[0] + self.output[1]

    def _normalise(self, i: int, x: Floats) -> Floats:
        return _layer_norm(x + self.biases[i], self.affine[i], self.xp) if self.norm == "layer" else x


class ResidualNetwork:
    """Twin of `ResidualMLP` at fixed times; block: h <- h + W2 act(norm(W1 h))."""

    def __init__(self, tensors: Tensors, options: dict[str, Any], r: float, t: float) -> None:
        self.depth, self.width, self.norm = options["depth"], options["width"], options["norm"]
        self.octaves = options["octaves"]
        self.xp: ModuleType = np
        self.activate = _plain_activation(options["activation"])
        weight, bias = _linear(tensors, "condition")
        self.condition = weight, bias + _linear_of_times(tensors, "time", r, t)
        self.input = _weight(tensors, "input")
        self.blocks = []
        for i in range(self.depth):
            first, bias = _linear(tensors, f"first.{i}")
            self.blocks.append(
                (*_fold_norm(tensors, f"norms.{i}", self.norm, first, bias), _linear(tensors, f"second.{i}"))
            )
        self.output = _linear(tensors, "output")

    def project(self, noise: Floats) -> Floats:
        """See `NumpyNetwork.project`."""
        return noise @ self.input

    def modulate(self, condition: Floats) -> Floats:
        """See `NumpyNetwork.modulate`."""
        return embed_condition(condition, self.octaves, self.xp) @ self.condition[0] + self.condition[1]

    def velocity(self, projected: Floats, modulation: Floats) -> Floats:
        """See `NumpyNetwork.velocity`."""
        h = projected + modulation
        for weight, bias, affine, (second, second_bias) in self.blocks:
            x = h @ weight
            x += bias
            x = self.activate(_layer_norm(x, affine, self.xp) if self.norm == "layer" else x, self.xp)
            h += x @ second
            h += second_bias
        return self.activate(h, self.xp) @ self.output[0] + self.output[1]


class ReluNetwork:
    """Twin of `hybrid_ik.learning.regression.Regressor` without its bound: linear layers, ReLU between them."""

    def __init__(self, file: NetworkFile) -> None:
        try:
            names = [f"layers.{i}" for i in range(len(file.options["sizes"]) + 1)]
            self.layers = [(file.tensors[f"{name}.weight"].T, file.tensors[f"{name}.bias"]) for name in names]
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{file.path}: not a network this version can run: missing: {error}") from error

    def __call__(self, condition: Floats) -> Floats:
        """`(*batch, n_features)` to `(*batch, n_joints)`."""
        h = condition
        for weight, bias in self.layers[:-1]:
            h = np.maximum(h @ weight + bias, 0.0)
        weight, bias = self.layers[-1]
        return h @ weight + bias


def numpy_network(file: NetworkFile, kind: Callable[..., NumpyNetwork] | None = None) -> NumpyNetwork:
    """The twin of the network in a file, at the times it is sampled at: t = 1, and r = 0 for a mean velocity.

    A network trained by flow matching alone knows only r = t, and is asked for the velocity at r = t = 1.

    Args:
        file: the network.
        kind: what to make of its tensors and options; by default the class of this module for its architecture.

    Raises:
        CheckpointError: a weight or an option is missing.
    """
    kinds: dict[str, Any] = {"modulated": ModulatedNetwork, "residual": ResidualNetwork}
    try:
        r = 0.0 if file.options["mode"] == "meanflow" else 1.0
        network: NumpyNetwork = (kind or kinds[file.options["architecture"]])(file.tensors, file.options, r, 1.0)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{file.path}: not a network this version can run: missing or unknown: {error}"
        ) from error
    return network


def moved(network: NumpyNetwork, xp: ModuleType, move: Callable[[Floats], Any]) -> Any:
    """The same network over the arrays of another module.

    Args:
        network: of this module's classes, not in lanes.
        xp: torch.
        move: makes one of its arrays of a numpy one, of whatever number type and on whatever device.
    """
    twin: Any = copy(network)
    twin.__dict__.update({name: _each_array(value, move) for name, value in vars(network).items()}, xp=xp)
    return twin


def embed_times(r: float, t: float) -> Floats:
    """Twin of `hybrid_ik.learning.networks.embed_times` for one pair of times."""
    times = np.array([t, t - r])
    waves = [wave(frequency * times) for frequency in TIME_FREQUENCIES for wave in (np.sin, np.cos)]
    return np.concatenate([times, *waves]).astype(np.float32)


def embed_condition(condition: Floats, octaves: int, xp: ModuleType = np) -> Floats:
    """Twin of `hybrid_ik.learning.networks.embed_condition`."""
    waves = [wave(condition * np.float32(np.pi * 2**k)) for k in range(octaves) for wave in (xp.sin, xp.cos)]
    embedded: Floats = xp.concat([condition, *waves], -1) if waves else condition
    return embedded


def _linear_of_times(tensors: Tensors, name: str, r: float, t: float) -> Floats:
    result = embed_times(r, t) @ _weight(tensors, name)
    return result + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else result


def _weight(tensors: Tensors, name: str) -> Floats:
    return np.ascontiguousarray(tensors[f"{name}.weight"].T, np.float32)


def _linear(tensors: Tensors, name: str) -> tuple[Floats, Floats]:
    return _weight(tensors, name), tensors[f"{name}.bias"].astype(np.float32)


def _fold_norm(
    tensors: Tensors, name: str, norm: str, weight: Floats, bias: Floats
) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
    """Weight and bias with batch normalisation folded in; beside them scale and shift of a layer normalisation."""
    unused = np.zeros(0, np.float32), np.zeros(0, np.float32)
    if norm == "none":
        return weight, bias, unused
    gain, offset = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if norm == "layer":
        return weight, bias, (gain, offset)
    gain = gain / np.sqrt(tensors[f"{name}.running_var"] + np.float32(BATCH_NORM_EPSILON))
    return np.ascontiguousarray(weight * gain), (bias - tensors[f"{name}.running_mean"]) * gain + offset, unused


def _each_array(value: Any, move: Callable[[Floats], Any]) -> Any:
    """A value with every array in its lists and tuples moved."""
    if isinstance(value, np.ndarray):
        return move(value)
    return type(value)(_each_array(item, move) for item in value) if isinstance(value, list | tuple) else value


def _layer_norm(x: Floats, affine: tuple[Floats, Floats], xp: ModuleType) -> Floats:
    x = x - x.mean(-1, keepdims=True)
    x /= xp.sqrt(xp.square(x).mean(-1, keepdims=True) + np.float32(LAYER_NORM_EPSILON))
    x *= affine[0]
    x += affine[1]
    return x


def _activation(name: str) -> tuple[Callable[[Floats, Floats, ModuleType], None], float]:
    """An activation in place, given scratch of the same shape, and the gain its argument must already carry."""
    return (_silu_of_half, 0.5) if name == "silu" else (_gelu, 1.0)


def _plain_activation(name: str) -> Callable[[Floats, ModuleType], Floats]:
    """The same activation as a function of a fresh array, which it overwrites and returns."""
    activate, gain = _activation(name)

    def apply(x: Floats, xp: ModuleType) -> Floats:
        x = x * np.float32(gain)
        activate(x, xp.empty_like(x), xp)
        return x

    return apply


def _silu_of_half(x: Floats, scratch: Floats, xp: ModuleType) -> None:
    """silu(2 x) = x (1 + tanh x): three passes, and no overflow as with the exponential."""
    xp.tanh(x, out=scratch)
    scratch += np.float32(1)
    x *= scratch


def _gelu(x: Floats, scratch: Floats, xp: ModuleType) -> None:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), torch's "tanh" form."""
    xp.multiply(x, x, out=scratch)
    scratch *= np.float32(0.044715)
    scratch += np.float32(1)
    scratch *= x
    scratch *= np.float32(np.sqrt(2 / np.pi))
    xp.tanh(scratch, out=scratch)
    scratch += np.float32(1)
    x *= scratch
    x *= np.float32(0.5)
