"""A first guess of a camera from points and their pixels, some of which are wrong: linear, by random samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pixels.cameras.camera import Camera
from hybrid_ik.pose import Pose

Array = NDArray[np.float64]

SAMPLE, N_SAMPLES = 8, 300  # pairs of a sample; a third of all pairs may be wrong: 0.04 of the samples are then clean
MOST_JUDGES = 1000  # pairs that judge a sample
FOCAL_GUESSES = (0.5, 0.8, 1.3, 2.2)  # in widths: 90, 64, 42 and 26 degrees


def first_guesses(points: Array, pixels: Array, size: tuple[int, int], rng: np.random.Generator) -> list[Camera]:
    """Cameras to start from, without distortion, one for each of `FOCAL_GUESSES` and one for the focal length found.

    The projection matrix P of the direct linear transform (Abdel-Aziz and Karara, 1971) is that of the sample with the
    least median error (Rousseeuw, 1984), mended twice on the pairs near to it. In small scenes P is uncertain in how it
    divides into a lens and a pose; so the lens is guessed, and the nearest pose to K^-1 P is taken.

    Args:
        points: `(n, 3)` [m].
        pixels: `(n, 2)`.
        size: width and height [pixels].
        rng: chooses the samples.
    """
    to_unit = _normalizer(points)
    spread, half = to_unit @ _homogeneous(points).T, 0.5 * max(size)
    middle = 0.5 * (np.array(size) - 1.0)
    seen = (pixels - middle) / half
    P = _consensus(spread[:3].T, seen, rng) @ to_unit  # from metres to units of half a picture, about its middle
    focal = [2.0 * share for share in FOCAL_GUESSES]
    own = _focal_length(P)
    if np.isfinite(own):
        focal.append(own)
    return [_camera(P, f, half, size, points) for f in focal]


def _consensus(points: Array, pixels: Array, rng: np.random.Generator) -> Array:
    """P (3, 4) of the least median error."""
    judges = rng.permutation(len(points))[:MOST_JUDGES]
    chosen = judges[np.argsort(rng.random((N_SAMPLES, len(judges))), -1)[:, :SAMPLE]]
    Ps = _linear(points[chosen], pixels[chosen])
    medians = np.median(_errors(Ps, points[judges], pixels[judges]), -1)
    best = Ps[np.argmin(medians)]
    for _ in range(2):
        errors = _errors(best[None], points, pixels)[0]
        near = errors <= 2.5 * np.median(errors)
        best = _linear(points[near][None], pixels[near][None])[0]
    return best


def _linear(points: Array, pixels: Array) -> Array:
    """P (m, 3, 4) with |P| = 1 and least |A P| for samples `(m, n, 3)` and `(m, n, 2)`."""
    X = _homogeneous(points)
    zero = np.zeros_like(X)
    u, v = pixels[..., :1], pixels[..., 1:]
    A = np.concatenate([np.concatenate([X, zero, -u * X], -1), np.concatenate([zero, X, -v * X], -1)], -2)
    return np.linalg.eigh(np.swapaxes(A, -1, -2) @ A)[1][..., 0].reshape(-1, 3, 4)


def _errors(P: Array, points: Array, pixels: Array) -> Array:
    """(m, n) distances between projected points and pixels."""
    projected = _homogeneous(points) @ np.swapaxes(P, -1, -2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        errors = np.linalg.norm(projected[..., :2] / projected[..., 2:] - pixels, axis=-1)
    return np.where(np.isfinite(errors), errors, 1e9)


def _focal_length(P: Array) -> float:
    """Of square pixels with the centre in the middle: the rows of K^-1 P must be orthogonal and of equal length.

    With rows a, b, c of P's left part: |a|^2 / f^2 = |c|^2, and the same for b.
    """
    a, b, c = np.linalg.norm(P[:, :3], axis=-1)
    return float(np.sqrt(a * b) / c) if c > 1e-9 * a else np.inf


def _camera(P: Array, focal: float, half: float, size: tuple[int, int], points: Array) -> Camera:
    """The camera with this focal length [half pictures] whose pose is nearest to P."""
    M = P / np.array([focal, focal, 1.0])[:, None]
    M = M * np.sign(np.median(_homogeneous(points) @ M[2]))  # the points are before the camera
    U, stretch, Vt = np.linalg.svd(M[:, :3])
    R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    middle = points.mean(0)
    M_middle = M @ np.append(middle, 1.0) / stretch.mean()  # the middle of the points keeps its place in the picture
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, M_middle - R @ middle
    K = np.array([[focal * half, 0, 0.5 * (size[0] - 1)], [0, focal * half, 0.5 * (size[1] - 1)], [0, 0, 1]])
    return Camera(matrix=K, T_camera_world=Pose.from_matrix(T), width=size[0], height=size[1])


def _normalizer(points: Array) -> Array:
    """(4, 4) that moves points to the origin and to unit distance: the linear problem is then well conditioned."""
    middle = points.mean(0)
    scale = 1.0 / np.sqrt(np.square(points - middle).sum(-1).mean())
    T = np.diag([scale, scale, scale, 1.0])
    T[:3, 3] = -scale * middle
    return T


def _homogeneous(points: Array) -> Array:
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], -1)
