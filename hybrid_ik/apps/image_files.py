"""Pictures as files: PNG without further packages, GIF by Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.apps.studio import Image
from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.errors import InvalidInputError, MissingPackageError

COLOURS = 255  # of a GIF, and one that means "as before"; with 128, rims are seen around soft shadows
LOOKED_AT = 12  # frames that they are chosen from


def save_png(path: str | Path, rgb: Image) -> None:
    """Write a picture `(height, width, 3)`, uint8, as a PNG file; atomically.

    Raises:
        InvalidInputError: another shape or type.
    """
    if rgb.ndim != 3 or rgb.shape[-1] != 3 or rgb.dtype != np.uint8:
        raise InvalidInputError(
            f"expected a picture of shape (height, width, 3) and uint8, got {rgb.shape} {rgb.dtype}"
        )
    height, width, _ = rgb.shape
    filtered = np.zeros((height, 1 + 3 * width), np.uint8)  # a 0 before each line: no filter
    filtered[:, 1:] = rgb.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits a channel, red, green and blue
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b"")
    write_atomically(path, b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks))


def save_gif(path: str | Path, frames: NDArray[np.uint8], fps: float = 20.0) -> None:
    """Write frames `(m, height, width, 3)`, uint8, as a GIF that begins again when it is over; atomically.

    Needs Pillow, which comes with the extra `viewer`. All frames have the same few colours, so that what stands still
    stays the same and takes no space.

    Raises:
        InvalidInputError: another shape or type, or no rate between 1 and 50 frames a second.
        MissingPackageError: Pillow is not installed.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise InvalidInputError(
            f"expected frames of shape (m, height, width, 3) and uint8, got {frames.shape} {frames.dtype}"
        )
    if not 1 <= fps <= 50:
        raise InvalidInputError(f"fps: expected 1 to 50 frames a second, got {fps}")
    image = _pillow()
    palette = _palette(image, frames)
    first, *others = (image.fromarray(frame).quantize(palette=palette, dither=image.Dither.NONE) for frame in frames)
    file = io.BytesIO()
    duration = 10 * round(100 / fps)  # ms; a GIF counts hundredths of a second
    first.save(file, "GIF", save_all=True, append_images=others, duration=duration, loop=0, optimize=False)
    write_atomically(path, file.getvalue())


def _pillow() -> Any:
    try:
        from PIL import Image as image
    except ImportError as error:
        raise MissingPackageError(
            f"a GIF needs Pillow, which could not be imported ({error}): pip install hybrid-ik[viewer]"
        ) from error
    return image


def _palette(image: Any, frames: NDArray[np.uint8]) -> Any:
    """A picture in the few colours that suit all frames best.

    They are chosen by median cuts, from colours that count by the cube root of how often they occur: by plain numbers
    the target's arrows lost theirs to the background.
    """
    some = frames[np.linspace(0, len(frames) - 1, LOOKED_AT).astype(int)].astype(np.int64) >> 2
    counts = np.bincount((some @ [4096, 64, 1]).ravel(), minlength=1)
    found = np.flatnonzero(counts)
    colours = np.stack([found >> 12, found >> 6 & 63, found & 63], -1) << 2 | 2
    weighted = np.repeat(colours.astype(np.uint8), np.ceil(np.cbrt(counts[found])).astype(int), axis=0)
    return image.fromarray(weighted[None]).quantize(COLOURS, dither=image.Dither.NONE)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
