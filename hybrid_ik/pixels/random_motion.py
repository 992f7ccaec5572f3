"""Smooth random motion of an arm, as of a person who moves it about: B-splines whose speed has a bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError

Array = NDArray[np.float64]
Allowed = Callable[[Array], NDArray[np.bool_]]
"""Which of postures `(n, dof)` the motion may pass through."""

INTERVAL = 0.4  # s between control points
LOOKS = 8  # postures of a span that are tried
SLOWEST = 0.2  # of a joint on its way to a target, as a share of the greatest speed
LONGEST_REST = 3  # intervals at a target
TRIES, STEPS_BACK = 30, 4  # targets from one place, and control points taken back when all of them were refused
MOST_DRAWS = 20_000  # postures drawn for one target
MOST_RETREATS = 200

BASIS = np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6.0  # rows: powers of time


@dataclass(frozen=True, eq=False)
class Motion:
    """Joints over time: a uniform cubic B-spline, whose second derivative has no jumps.

    q(t) = (1, u, u^2, u^3) B (c_i, ..., c_i+3) with u from 0 to 1 along span i. It stays in the hull of its control
    points; its speed is |c_i+1 - c_i| / interval at most, its acceleration |c_i+2 - 2 c_i+1 + c_i| / interval^2.
    """

    controls: Array
    """Control points `(n_spans + 3, dof)` [rad, or m]."""
    start: float
    """Where it begins [s]."""
    interval: float = INTERVAL
    """Duration of a span [s]."""

    @property
    def end(self) -> float:
        """Where it ends [s]."""
        return self.start + self.interval * (len(self.controls) - 3)

    def __call__(self, times: ArrayLike) -> Array:
        """Joints `(*batch, dof)` at times `(*batch,)` [s].

        Raises:
            InvalidInputError: a time before the beginning, or after the end.
        """
        t = np.asarray(times, dtype=float)
        if not np.all((t >= self.start - 1e-9) & (t <= self.end + 1e-9)):
            raise InvalidInputError(f"times: expected {self.start:g} to {self.end:g} s, got {t.min():g} to {t.max():g}")
        along = (t - self.start) / self.interval
        span = np.clip(along.astype(int), 0, len(self.controls) - 4)
        return np.einsum("...k,...kd->...d", _weights(along - span), self.controls[span[..., None] + np.arange(4)])


def random_motion(
    rng: np.random.Generator,
    lower: ArrayLike,
    upper: ArrayLike,
    duration: float,
    *,
    allowed: Allowed,
    speed: float = 1.5,
    start: float = 0.0,
) -> Motion:
    """A motion from one random target to another, each joint at a pace of its own, with rests.

    No joint is faster than `speed`, nor accelerates by more than 2 `speed` / `INTERVAL`. The same generator state gives
    the same motion. A joint whose bounds are equal stands still.

    Args:
        rng: where chance comes from.
        lower: bounds of the joints `(dof,)` [rad, or m].
        upper: bounds of the joints `(dof,)` [rad, or m].
        duration: how long it must be at least [s].
        allowed: which postures it may pass through; asked at `LOOKS` places of every span.
        speed: greatest one of a joint [rad/s, or m/s].
        start: the time it begins at [s].

    Raises:
        InvalidInputError: bounds or numbers out of range, or hardly any posture is allowed.
    """
    low, high = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
    if low.shape != high.shape or low.ndim != 1 or not np.all(low <= high):
        raise InvalidInputError(f"lower and upper: expected bounds (dof,), lower <= upper, got {low} and {high}")
    if not (duration > 0 and speed > 0):
        raise InvalidInputError(f"duration and speed must be positive, got {duration} and {speed}")
    walk = _Walk(rng, low, high, allowed, speed * INTERVAL)
    n_controls = int(np.ceil(duration / INTERVAL)) + 3
    retreats = 0
    while len(walk.controls) < n_controls:
        if not walk.advance():
            walk.retreat()
            retreats += 1
        if retreats > MOST_RETREATS:
            raise InvalidInputError("the motion is stuck: too few of the postures between its targets are allowed")
    return Motion(np.array(walk.controls), start)


class _Walk:
    """Control points, one after the other, each so that the span it completes is allowed."""

    def __init__(self, rng: np.random.Generator, low: Array, high: Array, allowed: Allowed, stride: float) -> None:
        self._rng, self._low, self._high, self._allowed, self._stride = rng, low, high, allowed, stride
        self.controls = [self._draw()] * 4
        self._aim()

    def advance(self) -> bool:
        """Add a control point on the way to the target, or to another one; False if all were refused."""
        for _ in range(TRIES):
            last = self.controls[-1]
            step = self._target - last
            candidate = np.where(np.abs(step) <= self._paces, self._target, last + np.sign(step) * self._paces)
            span = _weights(np.linspace(0, 1, LOOKS)) @ np.stack([*self.controls[-3:], candidate])
            if self._allowed(span).all():
                self.controls.append(candidate)
                self._arrive(candidate)
                return True
            self._aim()
        return False

    def retreat(self) -> None:
        """Take back the last control points, and go somewhere else."""
        self.controls = self.controls[: max(4, len(self.controls) - STEPS_BACK)]
        self._aim()

    def _arrive(self, candidate: Array) -> None:
        if (candidate == self._target).all():
            self._rest -= 1
        if self._rest < 0:
            self._aim()

    def _aim(self) -> None:
        self._target = self._draw()
        self._paces = self._stride * self._rng.uniform(SLOWEST, 1.0, len(self._low))
        self._rest = int(self._rng.integers(0, LONGEST_REST + 1))

    def _draw(self) -> Array:
        """A random posture that is allowed `(dof,)`."""
        for _ in range(MOST_DRAWS):
            posture = self._rng.uniform(self._low, self._high)
            if self._allowed(posture[None]).all():
                return posture
        raise InvalidInputError(f"none of {MOST_DRAWS} random postures between the bounds is allowed; widen the bounds")


def _weights(u: Array) -> Array:
    """Of the four control points of a span `(*batch, 4)`, where u from 0 to 1 along it."""
    return np.asarray(u[..., None] ** np.arange(4) @ BASIS)
