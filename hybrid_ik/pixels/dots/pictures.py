"""What every module that follows dots needs: OpenCV, and pictures and positions of the right form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.packages import vision_package

Array = NDArray[np.float64]
Frame = NDArray[np.uint8]
"""A picture `(height, width, 3)`: red, green, blue."""
Weights = NDArray[np.float32]


def opencv() -> Any:
    """The module `cv2`; see `vision_package`."""
    return vision_package("cv2")


def check_frame(frame: ArrayLike) -> Frame:
    """The picture as an array `(height, width, 3)` of bytes without gaps.

    Raises:
        InvalidInputError: another shape or type, or no pixels.
    """
    picture = np.asarray(frame)
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise InvalidInputError(
            "frame: expected shape (height, width, 3), red, green, blue, and uint8, "
            f"got {picture.shape} {picture.dtype}"
        )
    return np.ascontiguousarray(picture)


def check_positions(positions: ArrayLike, camera: str) -> Array:
    """Positions `(n_dots, 2)` [px] from such an array, or from numbers x y x y.

    Raises:
        InvalidInputError: not pairs of finite numbers.
    """
    points = np.asarray(positions, dtype=np.float64)
    if points.ndim == 1 and points.size % 2 == 0:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        raise InvalidInputError(
            f"dots of camera {camera}: expected x y of each dot [px], as shape (n_dots, 2) and finite, "
            f"got {np.array2string(points, threshold=12)} of shape {points.shape}"
        )
    return points
