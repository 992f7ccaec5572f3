"""Curves in joint space as points with tangents: cubic polynomials between them, their lengths, their crossings.

Every segment is Hermite's: joints q0, q1 and unit tangents t0, t1 at its ends, scaled by its length, so that the
parameter u in [0, 1] is the share of the way along it, but for terms of fourth order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.kernels.curves import load_curve_loops

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Segments:
    """Segments of curves, one after another; all arrays `(n, dof)`."""

    q0: Array
    q1: Array
    t0: Array
    t1: Array

    @cached_property
    def length(self) -> Array:
        """Of each segment `(n,)`, by quadrature of the speed."""
        length = np.empty(len(self.q0))
        load_curve_loops()["measure_segments"](*self.ends, length)
        return length

    @cached_property
    def ends(self) -> tuple[Array, Array, Array, Array]:
        """As the compiled functions take them."""
        q0, q1, t0, t1 = (np.ascontiguousarray(x) for x in (self.q0, self.q1, self.t0, self.t1))
        return q0, q1, t0, t1

    @cached_property
    def coefficients(self) -> Array:
        """Of the powers of u, `(4, n, dof)`."""
        coefficients = np.empty((4, *self.q0.shape))
        load_curve_loops()["list_cubics"](*self.ends, self.length, coefficients)
        return coefficients

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Least and largest value of each joint on each segment, `(n, dof)`: those of Bezier's control points."""
        third = self.length[:, None] / 3.0
        inner = self.q0 + third * self.t0, self.q1 - third * self.t1
        controls = np.stack([self.q0, self.q1, *inner])
        return controls.min(0), controls.max(0)

    def at(self, segment: Indices, u: Array) -> tuple[Array, Array]:
        """Joints and unit tangents `(m, dof)` at the shares u of these segments."""
        q, tangent = np.empty((2, len(segment), self.q0.shape[1]))
        rows = np.ascontiguousarray(segment, dtype=np.int64), np.ascontiguousarray(u)
        load_curve_loops()["place_on_segments"](*self.ends, self.length, *rows, q, tangent)
        return q, tangent
