"""Dots proposed at the beginning of a recording: in the frame in which all cameras see all of them best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.dots.detection import FoundDot, find_dots, in_order_of
from hybrid_ik.pixels.recordings.dataset import Episode

UNLIKE = 90.0  # of 0 to 255, distance between the colours of a dot in two cameras that halves the agreement


class FirstDots(NamedTuple):
    """What was found."""

    frame: int
    """The number of the frame in its episode, the same for all cameras."""
    dots: Mapping[str, list[FoundDot]]
    """The dots of each camera, in the same order by their colours; fewer than asked for where there are fewer."""


def find_first_dots(
    episode: Episode, cameras: tuple[str, ...], n: int = 2, frames: int = 30, within: int = 150
) -> FirstDots:
    """Propose dots in one of the first frames of an episode: a dot may be half hidden in the very first one.

    Args:
        episode: of a recording.
        cameras: their names.
        n: dots on the gripper.
        frames: that are looked at from each frame that is tried, and the way from one of these to the next.
        within: frames of the episode of which some are tried.

    Raises:
        InvalidInputError: no camera, or numbers below 1.
        DatasetError: no camera of that name, or a frame that is missing or damaged.
    """
    if not cameras or min(n, frames, within) < 1:
        raise InvalidInputError(
            f"expected a camera and numbers from 1 on, got cameras {cameras}, n {n}, frames {frames}, within {within}"
        )
    starts = range(0, max(1, min(within, episode.length) - frames + 1), frames)
    return max((_found(episode, cameras, n, start, frames) for start in starts), key=lambda one: _agreement(one, n))


def _found(episode: Episode, cameras: tuple[str, ...], n: int, start: int, frames: int) -> FirstDots:
    """The dots in one frame, in the order of the first camera's."""
    dots: dict[str, list[FoundDot]] = {}
    for camera in cameras:
        found = find_dots(episode.frames(camera, start, min(start + frames, episode.length)), n, frames)
        dots[camera] = in_order_of(dots.get(cameras[0], []), found)
    return FirstDots(start, dots)


def _agreement(first: FirstDots, n: int) -> float:
    """How well the dot is seen that is seen worst, less where its colour differs between cameras."""
    views = list(first.dots.values())
    if any(len(dots) < n for dots in views):
        return 0.0
    scores = []
    for same in zip(*views, strict=True):
        apart = max(float(np.linalg.norm(dot.rgb - same[0].rgb)) for dot in same)
        scores.append(min(dot.score for dot in same) * 0.5 ** (apart / UNLIKE))
    return min(scores)
