"""Arithmetic over any scalar type: vectors, and small systems of equations.

A scalar may be a float, a numpy array or a torch tensor (one entry per problem), or the recording scalar of
`hybrid_ik.kernels.program`. Vectors are lists of scalars, matrices lists of rows. What plain arithmetic cannot say
(sines, roots, choices) goes through a `ScalarMath`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

Scalar = Any
Vector = list[Scalar]
Matrix = list[Vector]


class ScalarMath(Protocol):
    """Functions of a scalar type that operators do not give."""

    def sin_cos(self, x: Scalar) -> tuple[Scalar, Scalar]:
        """Sine and cosine of `x` [rad]."""

    def inverse_sqrt(self, x: Scalar) -> Scalar:
        """1 / sqrt(x), x > 0."""

    def maximum(self, x: Scalar, y: Scalar) -> Scalar:
        """The larger of the two."""

    def minimum(self, x: Scalar, y: Scalar) -> Scalar:
        """The smaller of the two."""

    def where_less(self, x: Scalar, y: Scalar, if_less: Scalar, otherwise: Scalar) -> Scalar:
        """`if_less` where x < y, `otherwise` elsewhere."""


class NumpyMath:
    """`ScalarMath` of floats and numpy arrays."""

    def sin_cos(self, x: Scalar) -> tuple[Scalar, Scalar]:
        """See `ScalarMath`."""
        return np.sin(x), np.cos(x)

    def inverse_sqrt(self, x: Scalar) -> Scalar:
        """See `ScalarMath`."""
        return 1.0 / np.sqrt(x)

    def maximum(self, x: Scalar, y: Scalar) -> Scalar:
        """See `ScalarMath`."""
        return np.maximum(x, y)

    def minimum(self, x: Scalar, y: Scalar) -> Scalar:
        """See `ScalarMath`."""
        return np.minimum(x, y)

    def where_less(self, x: Scalar, y: Scalar, if_less: Scalar, otherwise: Scalar) -> Scalar:
        """See `ScalarMath`."""
        chosen: Scalar = np.where(x < y, if_less, otherwise)
        return chosen[()]


def dot(a: Sequence[Scalar], b: Sequence[Scalar]) -> Scalar:
    """Sum of products."""
    return sum((x * y for x, y in zip(a, b, strict=True)), 0.0)


def cross(a: Vector, b: Vector) -> Vector:
    """a x b."""
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def damped_least_squares(J: list[Vector], e: Vector, mu: Scalar, math: ScalarMath) -> Vector:
    """x that minimizes |J x - e|^2 + mu |x|^2, J given by its columns.

    By Cholesky of the smaller of J^T J + mu I and J J^T + mu I; with more joints than rows the second is also the
    better conditioned one, for it has no null space.
    """
    if len(J) <= len(e):
        return solve_positive_definite(J, [dot(column, e) for column in J], mu, math)
    rows = [[column[k] for column in J] for k in range(len(e))]
    y = solve_positive_definite(rows, e, mu, math)
    return [dot(column, y) for column in J]


def solve_positive_definite(rows: list[Vector], b: Vector, mu: Scalar, math: ScalarMath) -> Vector:
    """x with (G + mu I) x = b, where G holds the inner products of `rows`."""
    return Cholesky(rows, mu, math).solve(b)


class Cholesky:
    """Factors L L^T of G + mu I, where G holds the inner products of `rows`."""

    def __init__(self, rows: list[Vector], mu: Scalar, math: ScalarMath) -> None:
        n = len(rows)
        self.L: Matrix = [[0.0] * n for _ in range(n)]
        self.inverse: Vector = []
        for j in range(n):
            pivot = dot(rows[j], rows[j]) + mu - dot(self.L[j][:j], self.L[j][:j])
            self.inverse.append(math.inverse_sqrt(pivot))
            for i in range(j + 1, n):
                self.L[i][j] = (dot(rows[i], rows[j]) - dot(self.L[i][:j], self.L[j][:j])) * self.inverse[j]

    def solve(self, b: Vector) -> Vector:
        """x with L L^T x = b."""
        L, n = self.L, len(b)
        y: Vector = []
        for i in range(n):
            y.append((b[i] - dot(L[i][:i], y)) * self.inverse[i])
        for i in reversed(range(n)):
            y[i] = (y[i] - dot([L[k][i] for k in range(i + 1, n)], y[i + 1 :])) * self.inverse[i]
        return y

    def inverse_trace(self) -> Scalar:
        """The trace of (L L^T)^-1: the sum of squares of the entries of L^-1."""
        total: Scalar = 0.0
        for j in range(len(self.L)):
            column = [self.inverse[j]]
            for i in range(j + 1, len(self.L)):
                column.append(-dot(self.L[i][j:i], column) * self.inverse[i])
            total = total + dot(column, column)
        return total
