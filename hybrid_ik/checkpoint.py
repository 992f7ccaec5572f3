"""Network files: safetensors with JSON metadata, sealed by a sha256 over the tensors and the metadata. No pickle.

A file says what it is and which arm it belongs to, so that it can be read, verified and matched without torch and
without the code that trained it. Training states are written in the same sealed form under another format name.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as serialise_tensors

from hybrid_ik.chain import Chain
from hybrid_ik.errors import CheckpointError, RobotError

NETWORK_FORMAT = "hybrid_ik.network"
TRAIN = "hybrid-ik train"
VERSION = 1
MAX_HEADER = 100_000_000  # bytes; what safetensors itself allows

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class NetworkFile:
    """A trained network as it lies on disk, verified."""

    tensors: dict[str, NDArray[Any]]
    """Weights by their names in the training module, and what inference needs beside them."""
    chain: Chain
    """The arm it was trained for."""
    options: dict[str, Any]
    """What the network is made of (`NetworkConfig`) and how it is sampled."""
    record: dict[str, Any]
    """How it was trained: options, steps, seconds, device, measures."""
    kind: str
    """What the network does, for instance "meanflow"."""
    path: Path
    """Where it was read from."""

    def check_matches(self, chain: Chain) -> None:
        """Raise `CheckpointError` naming the first difference unless `chain` is the arm of this network.

        Mount, tool and joint names may differ: they are outside the network.
        """
        if self.chain.matches(chain):
            return
        raise CheckpointError(
            f"the network {self.path} was trained for another arm: {_difference(self.chain, chain)}. Use a network "
            'trained for this arm (hybrid-ik train), or sampler="uniform", which needs none'
        )


def save_network(path: str | Path, tensors: Tensors, *, kind: str, chain: Chain, options: Any, record: Any) -> None:
    """Write a network file, atomically: either the old file or the whole new one is there, never a part.

    Args:
        path: where to; its folder is made if need be.
        tensors: weights by name.
        kind: what the network does.
        chain: the arm it was trained for.
        options: plain data (JSON): what the network is made of.
        record: plain data (JSON): how it was trained.
    """
    content = {"kind": kind, "chain": chain.to_dict(), "options": options, "record": record}
    save_sealed(path, tensors, NETWORK_FORMAT, content)


def load_network(path: str | Path, *, made_by: str = TRAIN) -> NetworkFile:
    """Read and verify a network file.

    Args:
        path: where it lies.
        made_by: the command that errors send to, where there is no such file or one of something else.

    Raises:
        CheckpointError: missing, truncated, altered, from a newer version, or no network file of this package.
    """
    tensors, content = load_sealed(path, NETWORK_FORMAT, made_by)
    try:
        chain = Chain.from_dict(content["chain"])
        options, record = dict(content["options"]), dict(content["record"])
        return NetworkFile(tensors, chain, options, record, content["kind"], Path(path))
    except (KeyError, TypeError, ValueError, RobotError) as error:
        raise CheckpointError(f"{path}: the metadata of this network file is incomplete: {error}") from error


def save_sealed(path: str | Path, tensors: Tensors, format: str, content: Any) -> None:
    """Write tensors and plain data (JSON) under a format name, atomically, with a sha256 over both."""
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    metadata = {"format": format, "version": str(VERSION), "content": json.dumps(content, allow_nan=False)}
    metadata["sha256"] = _digest(arrays, metadata)
    write_atomically(path, serialise_tensors(arrays, metadata=metadata))


def load_sealed(path: str | Path, format: str, made_by: str = TRAIN) -> tuple[dict[str, NDArray[Any]], Any]:
    """Read and verify what `save_sealed` wrote: tensors by name, and the plain data.

    Raises:
        CheckpointError: missing, truncated, altered, from a newer version, or of another format.
    """
    data = _read(path, made_by)
    metadata = _metadata(path, data, made_by)
    if metadata.get("format") != format:
        raise CheckpointError(
            f"{path}: expected a {format} file, found format {metadata.get('format')!r}. Files of this kind are "
            f"written by {made_by}"
        )
    _check_version(path, metadata.get("version"))
    try:
        tensors = parse_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"its tensors cannot be read ({error})") from error
    seal = metadata.pop("sha256", None)
    if seal != _digest(tensors, metadata):
        raise _damaged(path, "its contents do not give the sha256 written in it")
    return tensors, json.loads(metadata["content"])


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one whole: temporary file, fsync, rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(path: str | Path, made_by: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file; train one with {made_by}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _metadata(path: str | Path, data: bytes, made_by: str) -> dict[str, str]:
    """The metadata in the JSON header, whose length stands in the first eight bytes."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > MAX_HEADER or data[8:9] != b"{":
        raise CheckpointError(
            f"{path}: not a safetensors file (or one cut off or altered at its beginning), as {made_by} writes them"
        )
    if len(data) < 8 + size:
        raise _damaged(path, f"its header should have {size} bytes, and {len(data) - 8} are there")
    try:
        header = json.loads(data[8 : 8 + size])
        metadata = header.get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, AttributeError) as error:
        raise _damaged(path, f"its header is no JSON ({error})") from error


def _check_version(path: str | Path, version: str | None) -> None:
    try:
        number = int(version or "")
    except ValueError:
        raise _damaged(path, f"its version is {version!r}, not a number") from None
    if number > VERSION:
        raise CheckpointError(
            f"{path}: written in format version {number}, newer than {VERSION}, the last known here; upgrade hybrid_ik"
        )
    if number < 1:
        raise _damaged(path, f"its version is {number}")


def _damaged(path: str | Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path}: the file is damaged or incomplete: {what}; fetch or train it again")


def _digest(tensors: Tensors, metadata: Mapping[str, str]) -> str:
    """sha256 over the metadata and every tensor's name, type, shape and bytes, in the order of their names."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _difference(trained: Chain, given: Chain) -> str:
    if trained.dof != given.dof:
        return f"it has {trained.dof} joints, this one {given.dof}"
    if trained.kinds != given.kinds:
        return f"its joints are {list(trained.kinds)}, this arm's {list(given.kinds)}"
    for name in ("lower", "upper"):
        a, b = getattr(trained, name), getattr(given, name)
        if not np.allclose(a, b, rtol=0, atol=1e-3):
            return f"its {name} limits are {a.tolist()}, this arm's {b.tolist()}"
    gaps = np.abs(trained.T_link - given.T_link).max((1, 2))
    worst = int(gaps.argmax())
    return f"the link from joint {worst + 1} to joint {worst + 2} differs by {gaps[worst]:.3g} (m or rad)"
