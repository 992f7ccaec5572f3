"""Dots learned from the frame in which their positions are given, or a message that says what is there instead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.dots.ball import disc, towards_hidden
from hybrid_ik.pixels.dots.blobs import Blob, Box, box_around, find_blobs, opponents, shares
from hybrid_ik.pixels.dots.dot import Dot
from hybrid_ik.pixels.dots.pictures import Array, Frame, Weights, opencv

LOOK = 40  # px, half of the part of the frame that a dot is learned from
SNAP = 5.0  # px, that a given position may lie beside its dot
WEAKEST = 25.0  # least difference in colour between a dot and what is around it, of 255
SMALLEST, LARGEST = 8.0, 2500.0  # px²
LEAST_FILL, LEAST_SLIMNESS = 0.6, 0.3  # see `Blob`


class _NoDotError(Exception):
    """There is no dot; says what there is instead."""


def learn_dots(frame: Frame, positions: Array, camera: str, frame_index: int = 0) -> list[Dot]:
    """The dots at positions of a frame, with their centres, colours and sizes.

    Args:
        frame: `(height, width, 3)`.
        positions: x y of each `(n_dots, 2)` [px], at most 5 px beside the dot.
        camera, frame_index: where the frame comes from, for messages.

    Raises:
        InvalidInputError: a position outside the picture or without a small patch of one colour, or two for the same
            dot; says which, where, and what is there.
    """
    dots = [learn_dot(frame, position, camera, frame_index) for position in positions]
    for second, dot in enumerate(dots):
        for first in range(second):
            if np.linalg.norm(dot.position - dots[first].position) < dot.radius:
                x, y = dot.position
                raise InvalidInputError(
                    f"camera {camera}, frame {frame_index}: dots {first + 1} and {second + 1} are the same one, at "
                    f"({x:.1f}, {y:.1f}), in the picture of {_size(frame)}; give each dot its own position"
                )
    return dots


def learn_dot(frame: Frame, position: Array, camera: str, frame_index: int = 0) -> Dot:
    """The dot at one position `(2,)`, see `learn_dots`.

    Raises:
        InvalidInputError: see `learn_dots`.
    """
    height, width = frame.shape[:2]
    where = f"camera {camera}, frame {frame_index}, dot at ({position[0]:.1f}, {position[1]:.1f})"
    if not (0 <= position[0] <= width - 1 and 0 <= position[1] <= height - 1):
        raise InvalidInputError(
            f"{where}: outside the picture of {_size(frame)}; give x to the right and y downwards, from the upper left"
        )
    try:
        return _learn(frame, position)
    except _NoDotError as problem:
        raise InvalidInputError(
            f"{where}: {problem}, in the picture of {_size(frame)}; look at the frame, or let `hybrid-ik pixels "
            "find-dots` propose positions"
        ) from None


def _size(frame: Frame) -> str:
    return f"{frame.shape[1]} x {frame.shape[0]} pixels"


def _learn(frame: Frame, position: Array) -> Dot:
    box = box_around(position, LOOK, frame)
    chroma = opponents(frame, box)
    beside = np.median(chroma.reshape(-1, 2), axis=0).astype(np.float64)
    seed = _most_colourful(frame, position, beside)
    colour = _colour_around(frame, seed)
    if np.linalg.norm(colour - beside) < WEAKEST:
        red, green, blue = (int(value) for value in frame[int(position[1]), int(position[0])])
        raise _NoDotError(f"nothing coloured there (red {red}, green {green}, blue {blue}, much as around it)")
    for _ in range(3):  # its colour from its inside, its inside from its colour
        share = shares(chroma, colour, beside)
        blob = _nearest(find_blobs(share, box), seed)
        inside = _inside(share, box, blob)
        if not inside.any():
            raise _NoDotError("a patch of one colour there, but with no pixel that is all of it")
        colour = chroma[inside].mean(0).astype(np.float64)
    _check_form(blob)
    rgb = frame[box.slices][inside].mean(0)
    return _dot(blob, colour, beside, rgb)


def _dot(blob: Blob, colour: Array, beside: Array, rgb: Array) -> Dot:
    shift = towards_hidden(blob.spread, blob.skew)
    seen = colour, beside, rgb, blob.area, blob.fill, blob.position + shift
    return Dot(*seen, whole=disc(blob.spread), lean=blob.skew, shift=shift)


def _most_colourful(frame: Frame, position: Array, beside: Array) -> Array:
    """The position, or the place near it that differs most from what is around `(2,)`."""
    if np.linalg.norm(_colour_around(frame, position) - beside) >= 2 * WEAKEST:
        return position
    box = box_around(position, SNAP, frame)
    smooth = opencv().blur(opponents(frame, box), (3, 3))
    strength = np.linalg.norm(smooth - beside, axis=-1)
    row, column = np.unravel_index(np.argmax(strength), strength.shape)
    return np.array([box.left + column, box.top + row], float)


def _colour_around(frame: Frame, position: Array) -> Array:
    """Median colour of the 3 x 3 pixels about a point."""
    chroma = opponents(frame, box_around(np.rint(position), 1, frame))
    return np.median(chroma.reshape(-1, 2), axis=0).astype(np.float64)


def _nearest(blobs: list[Blob], seed: Array) -> Blob:
    """The one whose rim is nearest to a point."""
    gaps = [np.linalg.norm(blob.position - seed) - 1.2 * np.sqrt(blob.area / np.pi) for blob in blobs]
    if not blobs or min(gaps) > SNAP:
        raise _NoDotError("no patch of one colour there")
    return blobs[int(np.argmin(gaps))]


def _inside(share: Weights, box: Box, blob: Blob) -> NDArray[np.bool_]:
    """Pixels of a part that have most of the colour and lie well within the blob."""
    x, y = np.arange(box.left, box.right), np.arange(box.top, box.bottom)[:, None]
    near = np.hypot(x - blob.position[0], y - blob.position[1]) <= max(1.5, 0.7 * np.sqrt(blob.area / np.pi))
    return np.asarray(near & (share > 0.7 * blob.peak))


def _check_form(blob: Blob) -> None:
    if not SMALLEST <= blob.area <= LARGEST:
        raise _NoDotError(
            f"a patch of one colour of {blob.area:.0f} px² there, and dots have {SMALLEST:.0f} to {LARGEST:.0f}"
        )
    if blob.fill < LEAST_FILL or blob.slimness < LEAST_SLIMNESS:
        raise _NoDotError(f"a patch of one colour there ({blob.area:.0f} px²), but ragged or long")
