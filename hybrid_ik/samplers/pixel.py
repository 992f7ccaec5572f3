"""Joints from the pixels of dots in several cameras, by a network trained on a recording; without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.checkpoint import NetworkFile, load_network
from hybrid_ik.errors import CheckpointError, InvalidInputError
from hybrid_ik.samplers.base import check_count
from hybrid_ik.samplers.numpy_network import Floats, NumpyNetwork, ReluNetwork, numpy_network

Array = NDArray[np.float64]
Features = Literal["middle", "dots"]
"""What a network is told: the middle of the dots in each camera, [x1, y1, x2, y2], or all the dots' pixels."""

PIXEL_KINDS = ("pixel_mlp", "pixel_meanflow")
TRAIN = "hybrid-ik pixels train"
GRIPPER = 50.0  # half open, on the scale 0..100
ROWS_AT_ONCE = 4096  # samples of a block; bounds the memory


class PixelSampler:
    """What a network from pixels to joints (`learning.pixels`) answers, in the units of the recording it learned from.

    It is no `Sampler`: those propose joints for poses of the tip, and a solver refines them. This one takes pixels, in
    the order and from the very cameras of the recording, and its answers are as good as the network is. To improve them
    with calibrated cameras, see `hybrid_ik.pixels.cameras.pixel_refiner.PixelRefiner`.

    Rows with pixels that are not finite (lost dots) give NaN.

    Args:
        network: a network file of the kind "pixel_mlp" or "pixel_meanflow", or where it lies.
        seed: 0 for the noises of the file; others draw random normals.

    Raises:
        CheckpointError: the file cannot be used, or is of another kind.
    """

    def __init__(self, network: NetworkFile | str | Path, seed: int = 0) -> None:
        self.file = file = network if isinstance(network, NetworkFile) else load_network(network, made_by=TRAIN)
        if file.kind not in PIXEL_KINDS:
            raise CheckpointError(
                f"{file.path} holds a network of kind {file.kind!r}, not from pixels to joints; expected one of "
                f"{', '.join(PIXEL_KINDS)}, as {TRAIN} writes them"
            )
        self.seed = seed
        try:
            self.features: Features = file.options["features"]
            self.units: str = file.options["units"]
            self.joint_names: tuple[str, ...] = tuple(file.options["joint_names"])
            self.camera_names: tuple[str, ...] = tuple(file.options["cameras"])
            self._mean, self._std = file.tensors["pixels.mean"], file.tensors["pixels.std"]
            self._joint_mean, self._joint_std = file.tensors["joints.mean"], file.tensors["joints.std"]
            self._noise: Floats = file.tensors["noise"] if file.kind == "pixel_meanflow" else np.empty((0, 0))
        except KeyError as error:
            raise CheckpointError(f"{file.path}: not a network this version can run: missing: {error}") from error
        self._mlp = ReluNetwork(file) if file.kind == "pixel_mlp" else None
        self._velocity: NumpyNetwork | None = numpy_network(file) if file.kind == "pixel_meanflow" else None

    @property
    def n_features(self) -> int:
        """Numbers that make a row of pixels."""
        return len(self._mean)

    @property
    def n_joints(self) -> int:
        """Joints of an answer, without the gripper."""
        return len(self._joint_mean)

    @property
    def gives_several(self) -> bool:
        """Whether it can give several answers for the same dots (`sample`)."""
        return self._velocity is not None

    def predict(self, dots: ArrayLike) -> Array:
        """One answer: the network's own, or, with MeanFlow, that of the noise 0, in the middle of all noises.

        In two trainings on a drawn recording tips were wrong by 4.2 and 5.1 mm (median) with the noise 0 where the
        network was told all dots, and by 2.6 with the mean of 16 samples; told their middle, which many postures fit,
        by 10 and 11 with either (`benchmarks/pixels.py`). The mean costs sixteen times as much.

        Args:
            dots: `(*batch, n_features)` [pixels]: `[x1, y1, x2, y2]`, or all dots of camera 1, then of camera 2;
                `pixel_features` makes them of dots.

        Returns:
            `(*batch, n_joints)` in the units of the recording (`units`).

        Raises:
            InvalidInputError: another number of pixels.
        """
        condition, shape = self._condition(dots)
        zero = np.zeros((1, self.n_joints), np.float32)
        x = self._mlp(condition) if self._mlp is not None else self._samples(condition, zero)
        return self._joints(x).reshape(*shape, self.n_joints)

    def predict_with_gripper(self, dots: ArrayLike) -> Array:
        """`predict` with the jaw half open (50) at the end: `(*batch, n_joints + 1)`."""
        joints = self.predict(dots)
        return np.concatenate([joints, np.full((*joints.shape[:-1], 1), GRIPPER)], -1)

    def sample(self, dots: ArrayLike, n: int) -> Array:
        """Several answers for the same dots, from the noises of the file: fewer of them are the first of more.

        Args:
            dots: `(*batch, n_features)` [pixels], as in `predict`.
            n: answers a row.

        Returns:
            `(*batch, n, n_joints)` in the units of the recording (`units`).

        Raises:
            InvalidInputError: another number of pixels, n below 1, or a network that has one answer only.
        """
        if self._mlp is not None:
            raise InvalidInputError(
                "sample: a network of kind 'pixel_mlp' has one answer for the same dots; use predict, or train "
                'model="meanflow"'
            )
        condition, shape = self._condition(dots)
        x = self._samples(condition, self._noises(check_count(n)))
        return self._joints(x).reshape(*shape, n, self.n_joints)

    def _condition(self, dots: ArrayLike) -> tuple[Floats, tuple[int, ...]]:
        """Normalised rows `(m, 1, n_features)`, each a matrix as the networks' twins want it, and the batch shape."""
        rows = np.asarray(dots, dtype=float)
        if rows.ndim == 0 or rows.shape[-1] != self.n_features:
            what = "[x1, y1, x2, y2, ...], the middle of the dots" if self.features == "middle" else "all dots' pixels"
            raise InvalidInputError(f"dots: expected shape (*batch, {self.n_features}), {what}; got {rows.shape}")
        flat = rows.reshape(-1, 1, self.n_features)
        flat = np.where(np.isfinite(flat).all(-1, keepdims=True), flat, np.nan)
        return ((flat - self._mean) / self._std).astype(np.float32), rows.shape[:-1]

    def _samples(self, condition: Floats, noise: Floats) -> Floats:
        """x = e - u(e, 0, 1 | pixels) `(m, n, n_joints)`, normalised, of noises e `(n, n_joints)`.

        With r = 1 in place of 0 for a network of flow matching.
        """
        network: Any = self._velocity
        projected, x = network.project(noise), np.empty((len(condition), len(noise), self.n_joints), np.float32)
        step = max(1, ROWS_AT_ONCE // len(noise))
        for i in range(0, len(condition), step):
            modulation = network.modulate(condition[i : i + step])
            x[i : i + step] = noise - network.velocity(projected, modulation)
        return x

    def _noises(self, n: int) -> Floats:
        """The first `n` noises `(n, n_joints)`: those of the file, random normals beyond its end."""
        table = self._noise if self.seed == 0 else self._noise[:0]
        more = np.random.default_rng(self.seed).standard_normal((max(0, n - len(table)), self.n_joints), np.float32)
        return np.concatenate([table[:n], more])

    def _joints(self, x: Floats) -> Array:
        """Normalised joints `(*batch, n_joints)` in the recording's units."""
        return np.asarray(x.astype(float) * self._joint_std + self._joint_mean)


def pixel_features(dots: ArrayLike, features: Features = "middle") -> Array:
    """What networks from pixels are told of dots, NaN where one of them is lost.

    Args:
        dots: `(*batch, n_cameras, n_dots, 2)` [pixels].
        features: "middle": the mean of a camera's dots, `(*batch, 2 n_cameras)`; "dots": all of them, camera after
            camera and dot after dot, `(*batch, 2 n_cameras n_dots)`.

    Raises:
        InvalidInputError: another shape, or another word.
    """
    array = np.asarray(dots, dtype=float)
    if array.ndim < 3 or array.shape[-1] != 2:
        raise InvalidInputError(f"dots: expected shape (*batch, n_cameras, n_dots, 2), got {array.shape}")
    if features not in ("middle", "dots"):
        raise InvalidInputError(f"features: expected 'middle' or 'dots', got {features!r}")
    chosen = array.mean(-2) if features == "middle" else array
    n = array.shape[-3] * 2 * (1 if features == "middle" else array.shape[-2])
    return np.asarray(chosen.reshape(*array.shape[:-3], n))
