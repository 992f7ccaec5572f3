"""Curves in joint space as points with tangents: cubic polynomials between them, their lengths, their crossings.

Every segment is Hermite's: joints q0, q1 and unit tangents t0, t1 at its ends, scaled by its length, so that the
parameter u in [0, 1] is the share of the way along it, but for terms of fourth order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

# Gauss and Legendre's points of [0, 1], and their weights.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(3)
NODES, WEIGHTS = 0.5 * (NODES + 1.0), 0.5 * WEIGHTS
NEWTON = 6  # steps to a root that lies between two values of different sign
TINY = 1e-300


@dataclass(frozen=True)
class Segments:
    """Segments of curves, one after another; all arrays `(n, dof)`."""

    q0: Array
    q1: Array
    t0: Array
    t1: Array

    @cached_property
    def length(self) -> Array:
        """Of each segment `(n,)`, by quadrature of the speed; the chord gives the first scale of the tangents."""
        chord = self.q1 - self.q0
        length = np.sqrt(np.einsum("ij,ij->i", chord, chord))
        for _ in range(2):
            speed = _velocity(chord[:, None], self.t0[:, None], self.t1[:, None], length[:, None, None], NODES[:, None])
            length = np.sqrt(np.einsum("ikj,ikj->ik", speed, speed)) @ WEIGHTS
        return length

    @cached_property
    def coefficients(self) -> Array:
        """Of the powers of u, `(4, n, dof)`."""
        a, b = self.length[:, None] * self.t0, self.length[:, None] * self.t1
        chord = self.q1 - self.q0
        return np.stack([self.q0, a, 3.0 * chord - 2.0 * a - b, a + b - 2.0 * chord])

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Least and largest value of each joint on each segment, `(n, dof)`: those of Bezier's control points."""
        third = self.length[:, None] / 3.0
        inner = self.q0 + third * self.t0, self.q1 - third * self.t1
        controls = np.stack([self.q0, self.q1, *inner])
        return controls.min(0), controls.max(0)

    def at(self, segment: Indices, u: Array) -> tuple[Array, Array]:
        """Joints and unit tangents `(m, dof)` at the shares u of these segments."""
        c, u = self.coefficients[:, segment], u[:, None]
        q = c[0] + u * (c[1] + u * (c[2] + u * c[3]))
        t = c[1] + u * (2.0 * c[2] + 3.0 * u * c[3])
        return q, t / np.maximum(np.sqrt(np.einsum("ij,ij->i", t, t)), TINY)[:, None]


def _velocity(chord: Array, t0: Array, t1: Array, length: Array, u: Array) -> Array:
    a, b = length * t0, length * t1
    return a + u * (2.0 * (3.0 * chord - 2.0 * a - b) + 3.0 * u * (a + b - 2.0 * chord))


def crossings(coefficients: Array, level: Array, end: Array | None = None) -> tuple[Indices, Array]:
    """Where cubic polynomials of u in [0, 1] cross a level.

    Args:
        coefficients: `(4, m)`, of the powers of u.
        level: `(m,)`.
        end: the values at u = 1, if they are known without rounding: polynomials that join there are crossed once.

    Returns:
        Which polynomials cross, once for each crossing, and u there.
    """
    c = coefficients.copy()
    c[0] -= level
    ends = np.stack([np.zeros(c.shape[1]), *_turning_points(c), np.ones(c.shape[1])])
    value = c[0] + ends * (c[1] + ends * (c[2] + ends * c[3]))
    if end is not None:
        value = np.where(ends == 1.0, end - level, value)
    part, which = np.nonzero(np.signbit(value[:-1]) != np.signbit(value[1:]))
    low, high, f_low, f_high = ends[part, which], ends[part + 1, which], value[part, which], value[part + 1, which]
    c, u, rising = c[:, which], 0.5 * (low + high), f_high > f_low
    for _ in range(NEWTON):
        f = c[0] + u * (c[1] + u * (c[2] + u * c[3]))
        slope = c[1] + u * (2.0 * c[2] + 3.0 * u * c[3])
        above = (f > 0.0) == rising
        low, high = np.where(above, low, u), np.where(above, u, high)
        f_low, f_high = np.where(above, f_low, f), np.where(above, f, f_high)
        with np.errstate(divide="ignore", invalid="ignore"):
            new, secant = u - f / slope, low + (high - low) * (f_low / (f_low - f_high))
        u = np.where((new >= low) & (new <= high), new, secant)
    return which, u


def _turning_points(c: Array) -> tuple[Array, Array]:
    """Where the slope is 0, in order and within [0, 1]; at an end of it where there is no such place."""
    a, b = 3.0 * c[3], c[2]
    root = np.sqrt(np.maximum(b * b - a * c[1], 0.0))
    larger = -(b + np.copysign(root, b))
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.stack([larger / a, c[1] / larger])
    roots = np.clip(np.nan_to_num(roots, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    return roots.min(0), roots.max(0)
