"""Meshes with fewer corners: those in one cell of a grid become one, placed where the planes around it meet best.

P. Lindstrom: Out-of-Core Simplification of Large Polygonal Models, SIGGRAPH 2000. Such a mesh may have seams and thin
parts that have fallen flat, which does no harm where it is only looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Faces = NDArray[np.int64]

SOFT = 1e-2  # weight that pulls a corner to the mean of its cell, where planes do not fix it
ROUNDS = 12  # of halving the interval that holds the size of cells


def cluster_size(parts: Sequence[Array], most_vertices: int) -> float:
    """Length of the cells that leave at most `most_vertices` of the corners `(n, 3)` in all; 0 if all may stay."""
    if sum(map(len, parts)) <= most_vertices:
        return 0.0
    low, high = 0.0, float(np.ptp(np.concatenate(parts), axis=0).max())
    for _ in range(ROUNDS):
        cell = (low + high) / 2
        many = sum(len(np.unique(_keys(part, cell))) for part in parts) > most_vertices
        low, high = (cell, high) if many else (low, cell)
    return high


def clustered(vertices: Array, faces: Faces, cell: float) -> tuple[Array, Faces]:
    """Corners `(k, 3)`, one for each cell that has any, and the faces `(l, 3)` that are left, each of them once."""
    _, cluster = np.unique(_keys(vertices, cell), return_inverse=True)
    cluster = cluster.reshape(-1)
    corners = _best_corners(vertices, faces, cluster, cell)
    kept = cluster[faces]
    a, b, c = kept.T
    kept = kept[(a != b) & (b != c) & (c != a)]
    if not len(kept):
        return corners, kept
    first = kept.argmin(axis=1)[:, None]
    turned = np.take_along_axis(kept, (first + np.arange(3)) % 3, axis=1)  # the same face begins with the same corner
    return corners, np.unique(turned, axis=0)


def _keys(vertices: Array, cell: float) -> NDArray[np.int64]:
    """One number for the cell of each corner `(n,)`."""
    place = np.floor((vertices - vertices.min(0)) / cell).astype(np.int64)
    size = place.max(0) + 1
    return np.asarray((place[:, 0] * size[1] + place[:, 1]) * size[2] + place[:, 2])


def _best_corners(vertices: Array, faces: Faces, cluster: NDArray[np.int64], cell: float) -> Array:
    """The points `(k, 3)` nearest to the planes of the faces of each cell, by their areas squared; within the cell.

    Minimises `sum_i a_i^2 (n_i . (x - m))^2 + w |x - m|^2` for the mean m of the cell's corners.
    """
    k = int(cluster.max()) + 1
    count = np.bincount(cluster, minlength=k)[:, None]
    mean = np.stack([np.bincount(cluster, column, k) for column in vertices.T], 1) / count
    p = vertices[faces]
    normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]) / cell**2
    A, b = np.zeros((k, 3, 3)), np.zeros((k, 3))
    for corner in faces.T:
        cells = cluster[corner]
        away = np.einsum("ij,ij->i", normal, p[:, 0] - mean[cells])
        for i in range(3):
            b[:, i] += np.bincount(cells, normal[:, i] * away, k)
            for j in range(3):
                A[:, i, j] += np.bincount(cells, normal[:, i] * normal[:, j], k)
    A += (SOFT * np.einsum("kii->k", A) + 1e-12)[:, None, None] * np.eye(3)
    shift = np.linalg.solve(A, b[..., None])[..., 0]
    longest = np.maximum(np.abs(shift).max(1, keepdims=True) / (cell / 2), 1.0)
    return np.asarray(mean + shift / longest)
