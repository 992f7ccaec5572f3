"""The middle of a ball that is partly hidden: what is seen of its disc is narrower one way, and lopsided.

A dot is often a ball sunk into a jaw, so that the jaw hides a part of it, and the centre of what is left is not the
centre of the ball. A disc cut along a line keeps its long axis and loses of its short one, `gap` (both as diameters
of the disc with these second moments, in radii), and its centre goes along the short axis by `1.1 (gap - 0.08)`:
within 0.03 radii of a cut disc's with 50 to 100 % of it left. To which side, its third moments say, which are small:
they are summed up over frames.
"""

from __future__ import annotations

import numpy as np

from hybrid_ik.pixels.dots.blobs import Blob
from hybrid_ik.pixels.dots.pictures import Array

SLOPE, SLACK = 1.1, 0.08  # see above; from discs cut by lines, with soft rims
WIDEST_GAP = 0.6  # in radii: with more, less than half is seen
SHUTTER = 0.5  # of the time between frames, for which a picture is exposed: usual in rooms
MEMORY = 0.85  # of the side that was hidden, from one frame to the next


def round_part(blob: Blob, velocity: Array) -> Array:
    """Second moments of a patch without what its motion `(2,)` [px a frame] added to them `(2, 2)` [px²]."""
    smear = SHUTTER**2 / 12 * np.outer(velocity, velocity)
    return np.asarray(blob.spread - smear)


def disc(spread: Array) -> float:
    """Area of the disc that has the long one of these second moments `(2, 2)` [px²]."""
    return float(4.0 * np.pi * max(np.linalg.eigvalsh(spread)[1], 1e-3))


def towards_hidden(spread: Array, lean: Array) -> Array:
    """How far the middle of a ball lies from the centre of what is seen of it `(2,)` [px].

    Args:
        spread: second moments `(2, 2)` [px²], see `round_part`.
        lean: third moments `(2,)`, of which the sign along the short axis counts; see `Blob.skew`.
    """
    values, axes = np.linalg.eigh(spread)
    narrow, wide = 2.0 * np.sqrt(np.maximum(values, 1e-3))
    gap = min((wide - narrow) / wide, WIDEST_GAP)
    return np.asarray(axes[:, 0] * np.sign(axes[:, 0] @ lean) * wide * SLOPE * max(gap - SLACK, 0.0))
