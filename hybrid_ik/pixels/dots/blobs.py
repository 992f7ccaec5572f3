"""Blobs of one colour in a part of a picture: how much of each pixel has it, and the centres of what hangs together.

A colour is two differences of its channels (red against green, both against blue), which grey light leaves at zero. A
pixel at the rim of a dot, or swept by it while the shutter was open, is a mixture of the dot and of what is beside it,
and its share of the dot is linear in these differences: the centre of the shares is the centre of the dot to a fraction
of a pixel. Brighter or darker pictures change the length of a colour, not its direction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hybrid_ik.pixels.dots.pictures import Array, Frame, Weights, opencv

# Rows of equal length, so that the noise of a camera is the same in all directions.
OPPONENTS = np.array([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]], np.float32) / np.sqrt([[2.0], [1.5]], dtype=np.float32)
FAINT = 0.15  # share of the dot below which a pixel counts as beside it; noise is a third of it
HALF = 0.4  # share above which pixels hang together
ASIDE = 0.15  # how far a pixel may lie from the line between both colours, in parts of its length
FEWEST = 4  # pixels


class Box(NamedTuple):
    """A part of a picture, `left <= x < right` and `top <= y < bottom` [px]."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class Blob(NamedTuple):
    """A patch of one colour."""

    position: Array
    """Its centre x y [px] `(2,)`."""
    area: float
    """Sum of the shares of its pixels [px²]; what moves while the shutter is open keeps it, and becomes paler."""
    peak: float
    """Share of the colour in its inner pixels; 1 is the brightness that the colour was learned with."""
    fill: float
    """Its area at full colour, in those of the ellipse with its second moments: 1 for discs, less for ragged things."""
    slimness: float
    """Its second axis by its first one, 0 to 1."""
    spread: Array
    """Its second moments `(2, 2)` [px²]; of a disc, a quarter of the squared radius."""
    skew: Array
    """Its third moments by the second ones `(2,)` [px]: of a cut disc, they point to the cut."""


def box_around(centre: Array, half: float, frame: Frame) -> Box:
    """The square of side `2 half` [px] about a point, cut at the picture's edges; may be empty."""
    height, width = frame.shape[:2]
    low = np.clip(np.floor(centre - half), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(centre + half) + 1, 0, [width, height]).astype(int)
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def opponents(frame: Frame, box: Box, stride: int = 1) -> Weights:
    """Differences of the channels `(height, width, 2)` in a part of a picture."""
    part = frame[box.top : box.bottom : stride, box.left : box.right : stride].astype(np.float32)
    return np.asarray(opencv().transform(part, OPPONENTS), np.float32)


def shares(chroma: Weights, colour: Array, beside: Array) -> Weights:
    """Which share of each pixel has the colour, `(height, width)`: 0 beside the dot, 1 on it.

    Args:
        chroma: differences of channels `(height, width, 2)`.
        colour: of the dot `(2,)`.
        beside: of what is around it `(2,)`.
    """
    axis = (colour - beside).astype(np.float32)
    square = float(axis @ axis)
    if square < 1.0:
        return np.zeros(chroma.shape[:2], np.float32)
    offset = chroma - beside.astype(np.float32)
    along = offset @ (axis / square)
    aside = np.abs(offset @ (np.array([-axis[1], axis[0]]) / square))
    share = along - 2.0 * np.maximum(aside - ASIDE, 0.0)
    return np.where(share > FAINT, share, 0.0).astype(np.float32)


def find_blobs(share: Weights, box: Box, stride: int = 1) -> list[Blob]:
    """Blobs of pixels that have the colour to more than 0.4, in a part of a picture, the largest first."""
    if not share.size:
        return []
    cv2 = opencv()
    _, labels, stats, _ = cv2.connectedComponentsWithStats((share > HALF).astype(np.uint8), connectivity=8)
    order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:12] + 1
    fewest = max(2, FEWEST // stride**2)
    found = (_measure(share, labels, label, stats[label]) for label in order if stats[label, -1] >= fewest)
    return [_in_picture(blob, box, stride) for blob in found]


def _in_picture(blob: Blob, box: Box, stride: int) -> Blob:
    corner = np.array([box.left, box.top], float)
    place = corner + stride * blob.position
    return blob._replace(
        position=place, area=blob.area * stride**2, spread=blob.spread * stride**2, skew=stride * blob.skew
    )


def _measure(share: Weights, labels: Array, label: int, stats: Array) -> Blob:
    """A blob with its soft rim, without the pixels of others."""
    left, top, width, height = (int(value) for value in stats[:4])
    rows = slice(max(0, top - 3), top + height + 3)
    columns = slice(max(0, left - 3), left + width + 3)
    mine = np.isin(labels[rows, columns], (0, label))
    weight = np.where(mine, share[rows, columns], 0.0).astype(np.float64)
    peak = _peak(weight, int(stats[-1]))
    centre, spread, skew = _moments(np.minimum(weight / peak, 1.0))
    total, corner = float(weight.sum()), np.array([columns.start, rows.start])
    large, small = np.maximum(np.linalg.eigvalsh(spread)[::-1], 1e-3)
    fill = total / peak / (4 * np.pi * np.sqrt(small * large))
    return Blob(corner + centre, total, peak, float(fill), float(np.sqrt(small / large)), spread, skew)


def _moments(weight: Array) -> tuple[Array, Array, Array]:
    """Centre `(2,)`, second moments about it `(2, 2)`, and third ones, of x r² and y r² by those of r² `(2,)`."""
    rows, columns = weight.sum(1), weight.sum(0)
    total = rows.sum()
    x, y = np.arange(len(columns)), np.arange(len(rows))
    centre = np.array([columns @ x, rows @ y]) / total
    x, y = x - centre[0], y - centre[1]
    xx, yy, xy = columns @ x**2, rows @ y**2, y @ weight @ x
    third = np.array([columns @ x**3 + y**2 @ weight @ x, rows @ y**3 + y @ weight @ x**2])
    return centre, np.array([[xx, xy], [xy, yy]]) / total, third / (xx + yy)


def _peak(weight: Array, count: int) -> float:
    """Mean share of the inner quarter of a blob's pixels."""
    inner = max(2, count // 4)
    return float(np.partition(weight, weight.size - inner, axis=None)[-inner:].mean())
