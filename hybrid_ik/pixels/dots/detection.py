"""First positions of dots: proposed from the first frames, or given by hand and checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.dots.blobs import Box, find_blobs, opponents
from hybrid_ik.pixels.dots.dot import Dot
from hybrid_ik.pixels.dots.learning import learn_dot, learn_dots
from hybrid_ik.pixels.dots.pictures import Array, Frame, Weights, check_frame, check_positions, opencv
from hybrid_ik.pixels.dots.tracking import DotTracker

LEVELS = (35.0, 60.0, 90.0, 130.0)  # differences in colour from what is around, of 255; a blob is found at one at least
AROUND = 61  # px, side of the square that a pixel is compared with
CANDIDATES = 24  # that are followed
STILL = 0.15  # score of what never moves, in parts of that of what does; dots sit on a gripper
MOVED = 1.0  # times its radius, that a dot has to move to count as moving


class FoundDot(NamedTuple):
    """A dot that was found."""

    position: Array
    """x y in the first frame `(2,)` [px]."""
    rgb: Array
    """Its colour `(3,)`, 0 to 255."""
    radius: float
    """[px]"""
    score: float
    """0 to 1: round, colourful, seen in all frames, and moving."""


def find_dots(frames: Iterable[Frame], n: int = 2, most: int = 30) -> list[FoundDot]:
    """Propose first positions of dots: small round colourful blobs in the first frame that move in the next ones.

    Args:
        frames: consecutive frames `(height, width, 3)` of one camera, from the one that is followed first.
        n: how many are asked for.
        most: frames that are looked at; with one, nothing is known of motion.

    Returns:
        At most `n` dots, the best first; fewer where there are fewer.

    Raises:
        InvalidInputError: no frame, or one of another form or size; `n` or `most` below 1.
        MissingPackageError: OpenCV is not installed.
    """
    for name, value in (("n", n), ("most", most)):
        if value < 1:
            raise InvalidInputError(f"find_dots: {name}: expected at least 1, got {value}")
    some = [check_frame(frame) for frame in islice(frames, most)]
    if not some:
        raise InvalidInputError("find_dots: expected at least one frame, got none")
    found: list[FoundDot] = []
    for seed in sorted(_colourful_blobs(some[0]), key=_form, reverse=True):
        if len(found) == n and found[-1].score >= _form(seed):  # which no way makes better
            break
        found = sorted([*found, _score(seed, some)], key=lambda dot: -dot.score)[:n]
    return found


def in_order_of(reference: Sequence[FoundDot | Dot], dots: Sequence[FoundDot]) -> list[FoundDot]:
    """The same dots, each where the reference has the one of its colour: so cameras list them alike."""
    from scipy.optimize import linear_sum_assignment

    if not reference or not dots:
        return list(dots)
    apart = np.array([[np.linalg.norm(one.rgb - other.rgb) for other in dots] for one in reference])
    _, order = linear_sum_assignment(apart)
    return [dots[int(i)] for i in order] + [dot for i, dot in enumerate(dots) if i not in order]


def check_dots(positions: ArrayLike, frame: Frame, camera: str = "cam1", frame_index: int = 0) -> Array:
    """Positions given by hand, moved to the centres of the dots there.

    Args:
        positions: x y of each dot, `(n_dots, 2)` or one after the other [px], at most 5 px beside it.
        frame: the picture `(height, width, 3)`.
        camera, frame_index: where it comes from, for the message.

    Returns:
        Centres `(n_dots, 2)` [px].

    Raises:
        InvalidInputError: a position outside the picture or without a dot, or two for the same dot; says which.
    """
    frame = check_frame(frame)
    dots = learn_dots(frame, check_positions(positions, camera), camera, frame_index)
    return np.array([dot.position for dot in dots])


def _colourful_blobs(frame: Frame) -> list[Dot]:
    """What can be learned as a dot in a frame, the most colourful first."""
    height, width = frame.shape[:2]
    box = Box(0, 0, width, height)
    contrast = _contrast(opponents(frame, box))
    found: list[Dot] = []
    for level in reversed(LEVELS):
        for blob in find_blobs(np.clip(contrast / level - 0.6, 0.0, 1.0).astype(np.float32), box):
            if all(np.linalg.norm(blob.position - dot.position) > dot.radius for dot in found):
                found += _learned(frame, blob.position)
    return found[:CANDIDATES]


def _contrast(chroma: Weights) -> Weights:
    """How far the colour of each pixel is from the mean around it `(height, width)`."""
    cv2 = opencv()
    smooth = cv2.GaussianBlur(chroma, (0, 0), 1.0)
    around = cv2.blur(chroma, (AROUND, AROUND))
    return np.asarray(np.linalg.norm(smooth - around, axis=-1), np.float32)


def _learned(frame: Frame, position: Array) -> list[Dot]:
    """The dot there, if there is one that is found from its own centre too."""
    try:
        dot = learn_dot(frame, position, "cam1")
        learn_dot(frame, dot.position, "cam1")
        return [dot]
    except InvalidInputError:
        return []


def _form(dot: Dot) -> float:
    """How round and colourful a thing is, 0 to 1."""
    return min(1.0, dot.fill) * min(1.0, float(np.linalg.norm(dot.colour - dot.beside)) / 130.0)


def _score(dot: Dot, frames: Sequence[Frame]) -> FoundDot:
    """How much a thing in the first frame is like a dot, from its form and its way."""
    form = _form(dot)
    if len(frames) > 1:
        tracks = DotTracker(dot.position).follow(frames)
        form *= float(tracks.seen.mean()) * (1.0 if _moves(tracks.positions[:, 0], dot.radius) else STILL)
    return FoundDot(dot.position, dot.rgb, dot.radius, form)


def _moves(way: Array, radius: float) -> bool:
    seen = way[np.isfinite(way[:, 0])]
    return bool(np.linalg.norm(seen - seen[0], axis=1).max() > MOVED * radius)
