"""What every compiled loop does with a quaternion; numba and Triton compile this same text, each for itself."""

from __future__ import annotations


def rotation_of(w, x, y, z):
    """Rotation matrix of a unit quaternion, by rows."""
    return (
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    )
