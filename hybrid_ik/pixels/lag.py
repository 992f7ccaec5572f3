"""By how many frames the pictures of a recording are late against its joints."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.dots.pictures import Array

FEWEST = 20  # frames more than coefficients, below which nothing can be said
ENOUGH = 8  # frames for each coefficient of a polynomial
DEGREE = 3  # of it, at most
WEAK = 0.7  # correlation below which the dots do not go where the joints are
LOBE = 3  # frames beside the best offset, which are nearly as good where motion is smooth
MARGIN = 1.15  # what is left at offsets farther off, in parts of what is left at the best one
EDGE = 1e-9


class Lag(NamedTuple):
    """An offset between pictures and joints."""

    offset: int
    """The picture of frame `t` shows the joints of frame `t - offset`; positive where pictures are late."""
    quality: float
    """Correlation of the dots with where the joints of that offset put them, 0 to 1."""
    clear: bool
    """Whether the offset can be relied on."""
    words: str
    """What was found, and why it is not clear, in a sentence."""
    correlations: Array
    """Of all offsets, from `-most` to `most` `(2 most + 1,)`; NaN where too little is seen."""


def estimate_lag(motion_in_pixels: Sequence[ArrayLike], motion_of_joints: Sequence[ArrayLike], most: int = 30) -> Lag:
    r"""The offset at which joints say best where the dots are, over all episodes together.

    $\mathrm{argmax}_k R(p_t, f_k(q_{t-k}))$, with the middle $p$ of the dots that are seen, and the polynomial $f_k$ of
    the joints $q$ that fits best; $R$ is the multiple correlation, corrected for the number of its coefficients. The
    camera has to be the same in all episodes.

    Args:
        motion_in_pixels: of each episode, positions `(n_frames, n_dots, 2)` [px], NaN where a dot is not seen.
        motion_of_joints: of each episode, joints `(n_frames, dof)`, in any unit.
        most: largest offset looked for, in frames, either way.

    Raises:
        InvalidInputError: no episodes, or numbers of episodes or frames that differ, or nothing that moves together.
    """
    dots = [_in_rows(episode, f"pixels of episode {index}") for index, episode in enumerate(motion_in_pixels)]
    joints = [_in_rows(episode, f"joints of episode {index}") for index, episode in enumerate(motion_of_joints)]
    _check_pairs(dots, joints)
    places, terms = [_middles(episode) for episode in dots], _polynomials(joints)
    return _judge(np.array([_correlation(places, terms, offset) for offset in range(-most, most + 1)]), most)


def _in_rows(episode: ArrayLike, name: str) -> Array:
    values = np.asarray(episode, dtype=np.float64)
    if values.ndim < 2 or not values.size:
        raise InvalidInputError(f"{name}: expected one row a frame, as (n_frames, ...), got shape {values.shape}")
    return values.reshape(len(values), -1)


def _check_pairs(dots: list[Array], joints: list[Array]) -> None:
    if not dots or len(dots) != len(joints):
        raise InvalidInputError(f"expected as many episodes of pixels as of joints, got {len(dots)} and {len(joints)}")
    for index, (seen, turned) in enumerate(zip(dots, joints, strict=True)):
        if len(seen) != len(turned):
            raise InvalidInputError(f"episode {index}: {len(seen)} frames of pixels and {len(turned)} of joints")
        if seen.shape[1] % 2:
            raise InvalidInputError(
                f"pixels of episode {index}: expected x and y of each dot, got {seen.shape[1]} numbers a frame"
            )


def _middles(rows: Array) -> Array:
    """Middle of the dots where all are seen `(n_frames, 2)` [px]; NaN elsewhere."""
    return rows.reshape(len(rows), -1, 2).mean(1)


def _polynomials(joints: list[Array]) -> list[Array]:
    """Products of the joints, of the highest degree for which there are frames enough `(n_frames, n_terms)`.

    The correlation of mere speeds was tried first: on made-up arms with 480 frames it was right in 73 of 195 cases, and
    one or two frames off in most others. Velocities against joint velocities, with a Jacobian linear in the joints:
    in 70. One frame changes a smooth velocity by a tenth, and a position by several pixels.
    """
    together = np.concatenate(joints)
    spread = np.maximum(together.std(0), EDGE)
    scaled = [(episode - together.mean(0)) / spread for episode in joints]
    chosen: list[tuple[int, ...]] = []
    for degree in range(1, DEGREE + 1):
        more = list(combinations_with_replacement(range(together.shape[1]), degree))
        if degree == 1 or len(together) >= ENOUGH * (len(chosen) + len(more)):
            chosen += more
    return [np.stack([episode[:, term].prod(1) for term in map(list, chosen)], 1) for episode in scaled]


def _correlation(places: list[Array], terms: list[Array], offset: int) -> float:
    """Of the dots with the polynomials of the joints `offset` frames before."""
    pairs = [_overlap(seen, moved, offset) for seen, moved in zip(places, terms, strict=True)]
    dots, joints = (np.concatenate(column) for column in zip(*pairs, strict=True))
    known = np.isfinite(dots).all(1) & np.isfinite(joints).all(1)
    dots, joints = dots[known], joints[known]
    spare = len(dots) - joints.shape[1] - 1
    if spare < FEWEST:
        return np.nan
    dots, joints = dots - dots.mean(0), joints - joints.mean(0)
    total, square = np.square(dots).sum(), joints.T @ joints
    if min(total, np.trace(square)) < EDGE:
        return np.nan
    fit = np.linalg.solve(square + EDGE * np.trace(square) * np.eye(len(square)), joints.T @ dots)
    left = np.square(dots - joints @ fit).sum() / total * (len(dots) - 1) / spare
    return float(np.sqrt(max(0.0, 1.0 - left)))


def _overlap(seen: Array, moved: Array, offset: int) -> tuple[Array, Array]:
    length = len(seen) - abs(offset)
    if length <= 0:
        return seen[:0], moved[:0]
    late, early = max(offset, 0), max(-offset, 0)
    return seen[late : late + length], moved[early : early + length]


def _judge(correlations: Array, most: int) -> Lag:
    if np.isnan(correlations).all():
        raise InvalidInputError(
            f"the lag needs at least {FEWEST} frames, and more for many joints, in which joints move and all dots are "
            "seen; record more motion"
        )
    best = int(np.nanargmax(correlations))
    offset, quality = best - most, float(correlations[best])
    beside = np.abs(np.arange(len(correlations)) - best) > LOBE
    others = correlations[beside & np.isfinite(correlations)]
    second = float(others.max()) if len(others) else 0.0
    problem = _problem(offset, quality, second, most)
    words = f"pictures are {offset} frames late (correlation {quality:.3f}, elsewhere at most {second:.3f})"
    return Lag(offset, quality, not problem, words + (f"; not clear: {problem}" if problem else ""), correlations)


def _problem(offset: int, quality: float, second: float, most: int) -> str:
    if quality < WEAK:
        return "the dots are hardly where the joints would put them"
    if abs(offset) == most:
        return f"the best offset is the largest one that was looked at, {most}"
    if 1.0 - second**2 < MARGIN**2 * (1.0 - quality**2) + EDGE:
        return "another offset is about as good; faster or less regular motion tells them apart"
    return ""
