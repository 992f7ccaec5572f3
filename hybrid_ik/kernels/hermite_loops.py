"""Cubic segments of curves in joint space: their lengths, points on them, and roots."""

from __future__ import annotations

import numpy as np

from hybrid_ik.kernels.entries import compiled, inlined

NEWTON = 6  # steps to a root that lies between two values of different sign

# Gauss and Legendre's three points of [0, 1], and their weights.
OUTER, MIDDLE_WEIGHT, OUTER_WEIGHT = 0.5 - 0.1 * np.sqrt(15.0), 4.0 / 9.0, 5.0 / 18.0


@compiled
def measure_segments(q0, q1, t0, t1, length):
    """Lengths of segments, (n,), by quadrature of the speed; the chord gives the first scale of the tangents."""
    for i in range(len(q0)):
        square = 0.0
        for j in range(q0.shape[1]):
            square += (q1[i, j] - q0[i, j]) ** 2
        size = np.sqrt(square)
        for _ in range(2):
            outer = speed(q0, q1, t0, t1, i, size, OUTER) + speed(q0, q1, t0, t1, i, size, 1.0 - OUTER)
            size = OUTER_WEIGHT * outer + MIDDLE_WEIGHT * speed(q0, q1, t0, t1, i, size, 0.5)
        length[i] = size


@compiled
def place_on_segments(q0, q1, t0, t1, length, segment, u, q, tangent):
    """Joints and unit tangents, (m, dof), at the shares u of these segments, (m,)."""
    for i in range(len(segment)):
        k, x, square = segment[i], u[i], 0.0
        for j in range(q0.shape[1]):
            c0, c1, c2, c3 = cubic(q0, q1, t0, t1, k, length[k], j)
            q[i, j] = c0 + x * (c1 + x * (c2 + x * c3))
            tangent[i, j] = c1 + x * (2.0 * c2 + 3.0 * x * c3)
            square += tangent[i, j] ** 2
        for j in range(q0.shape[1]):
            tangent[i, j] /= np.sqrt(max(square, 1e-300))


@compiled
def list_cubics(q0, q1, t0, t1, length, c):
    """Coefficients of the powers of u of all joints on all segments, (4, n, dof)."""
    for i in range(len(q0)):
        for j in range(q0.shape[1]):
            c[0, i, j], c[1, i, j], c[2, i, j], c[3, i, j] = cubic(q0, q1, t0, t1, i, length[i], j)


@inlined
def cubic(q0, q1, t0, t1, k, size, j):
    """Coefficients of the powers of u of a joint on a segment."""
    a, b, chord = size * t0[k, j], size * t1[k, j], q1[k, j] - q0[k, j]
    return q0[k, j], a, 3.0 * chord - 2.0 * a - b, a + b - 2.0 * chord


@inlined
def speed(q0, q1, t0, t1, k, size, u):
    """Length of the derivative by u."""
    square = 0.0
    for j in range(q0.shape[1]):
        _, c1, c2, c3 = cubic(q0, q1, t0, t1, k, size, j)
        square += (c1 + u * (2.0 * c2 + 3.0 * u * c3)) ** 2
    return np.sqrt(square)


@inlined
def turning_points(c1, c2, c3):
    """Where the slope is 0, in order and within [0, 1]; at an end of it where there is no such place."""
    a, b = 3.0 * c3, c2
    larger = -(b + np.copysign(np.sqrt(max(b * b - a * c1, 0.0)), b))
    first = larger / a if a != 0.0 else 0.0
    second = c1 / larger if larger != 0.0 else 0.0
    first, second = min(max(first, 0.0), 1.0), min(max(second, 0.0), 1.0)
    return min(first, second), max(first, second)


@inlined
def root(c0, c1, c2, c3, low, high, f_low, f_high):
    """The root between two places with values of different sign: Newton's steps, or secants where they lead astray."""
    rising, u = f_high > f_low, 0.5 * (low + high)
    for _ in range(NEWTON):
        f, slope = c0 + u * (c1 + u * (c2 + u * c3)), c1 + u * (2.0 * c2 + 3.0 * u * c3)
        if (f > 0.0) == rising:
            high, f_high = u, f
        else:
            low, f_low = u, f
        new = u - f / slope if slope != 0.0 else -1.0
        if not (new >= low and new <= high):
            new = low + (high - low) * (f_low / (f_low - f_high)) if f_low != f_high else low
        u = new
    return u
