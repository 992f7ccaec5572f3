"""Where a dot may be in a frame, and which patches of its colour may be it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybrid_ik.pixels.dots.blobs import OPPONENTS, Blob, Box, box_around, find_blobs, opponents, shares
from hybrid_ik.pixels.dots.dot import Dot
from hybrid_ik.pixels.dots.pictures import Array, Frame, Weights

NARROW = 2.2  # radii, and 6 px more, about the expected place where a dot is measured
SPREAD, UNSURE = 8.0, 20.0  # px more where Lucas-Kanade did not lead there; the same before a velocity is known
WIDENING, LED = 12.0, 3.0  # px more for each frame that a dot is lost; the same beside a dot that is seen
COARSE = 120.0  # px, half of the part above which every second pixel is looked at first
HELD_AREA = (0.7, 1.6)  # of the expected one; with less, the middle of what is left is not the middle of the dot
LOST_AREA = (0.75, 1.4)  # the same where the dot was not seen in the last frame, or is not where it was expected
WHOLE = 1.2  # most of its whole disc: what was half hidden may come out
HALF_SEEN = 0.35  # least of its whole disc in a recording in which it was not yet seen
GRAIN = 3.0  # px², that codecs add and take: their colours are coarser than their pixels
GROWTH = 0.02  # a frame: how much larger a lost dot may have become by coming nearer
RAGGED, SLIM, PALE = 0.6, 0.25, 0.45  # least fill (of the usual one), slimness, and brightness (of the usual one)


def reach(dot: Dot, held: bool, led: bool) -> float:
    """How far a dot may be from where it is expected [px].

    Args:
        dot: the dot.
        held: whether Lucas-Kanade leads there.
        led: whether another dot on the same gripper is seen, beside which it is expected.
    """
    if held:
        return dot.radius + 6.0
    spread = SPREAD if dot.steady else UNSURE
    return dot.radius + spread + 0.7 * float(np.linalg.norm(dot.velocity)) + (LED if led else WIDENING) * dot.lost


def half_of_search(dot: Dot, held: bool, led: bool) -> float:
    """Half the side of the square in which a dot is looked for [px]; as far as it may reach, and its size."""
    return reach(dot, held, led) + (NARROW - 1.0) * dot.radius


def look(frame: Frame, dot: Dot, gains: Array, place: Array, half: float, others: Sequence[Array] = ()) -> list[Blob]:
    """Patches of the dot's colour within `half` px of a place.

    Args:
        gains: brightness of the picture in that of the first one, red, green, blue `(3,)`.
        others: places of dots of the same colour `(2,)` [px]; what lies nearer to them is theirs.
    """
    if half <= COARSE or dot.radius < 3.0:
        return _blobs(frame, dot, gains, box_around(place, half, frame), 1, place, others)
    rough = _blobs(frame, dot, gains, box_around(place, half, frame), 2, place, others)
    near = NARROW * dot.radius + 6.0
    fine = (
        _blobs(frame, dot, gains, box_around(blob.position, near, frame), 1, place, others)
        for blob in rough[:6]
        if fits(dot, blob, (0.4, 2.5))
    )
    return [blobs[0] for blobs in fine if blobs]


def fits(dot: Dot, blob: Blob, areas: tuple[float, float]) -> bool:
    """Whether a patch has the form, the brightness and the area (in parts of the expected one) of the dot."""
    return (
        areas[0] <= blob.area / dot.area <= areas[1]
        and blob.fill >= RAGGED * dot.fill
        and blob.slimness >= SLIM
        and blob.peak >= PALE
    )


def is_dot(dot: Dot, blob: Blob, held: bool) -> bool:
    """Whether a patch can be taken for the dot."""
    if held:
        least = HELD_AREA[0] - GRAIN / dot.area
        return fits(dot, blob, (least, max(HELD_AREA[1], WHOLE * dot.whole / dot.area)))
    most = max(min(LOST_AREA[1] + GROWTH * dot.lost, 2.5), WHOLE * dot.whole / dot.area)
    least = LOST_AREA[0] if dot.placed else HALF_SEEN * dot.whole / dot.area
    return fits(dot, blob, (least, most)) and not is_near(dot.decoys, blob.position)


def find_decoys(frame: Frame, dot: Dot, gains: Array, dots: Sequence[Dot]) -> Array:
    """Things of a dot's colour that are no dots: x, y and how far around that they reach `(n, 3)` [px]; 16 at most."""
    height, width = frame.shape[:2]
    stride = 1 if dot.radius < 3.0 else 2
    blobs = _blobs(frame, dot, gains, Box(0, 0, width, height), stride, dot.position, ())
    things = [blob for blob in blobs if blob.area > 0.15 * dot.area]
    others = [thing for thing in things if not any(_overlaps(thing, other) for other in dots)]
    new = [
        (*thing.position, 1.3 * np.sqrt(thing.area / np.pi) + 2.0)
        for thing in others
        if not is_near(dot.decoys, thing.position)
    ]
    return np.concatenate([dot.decoys, np.reshape(new, (-1, 3))])[-16:]


def _overlaps(blob: Blob, dot: Dot) -> bool:
    return bool(np.linalg.norm(blob.position - dot.position) < 2 * dot.radius + 2)


def is_near(decoys: Array, position: Array) -> bool:
    """Whether a position `(2,)` lies in one of the decoys `(n, 3)`."""
    return bool((np.linalg.norm(decoys[:, :2] - position, axis=1) < decoys[:, 2]).any())


def _blobs(
    frame: Frame, dot: Dot, gains: Array, box: Box, stride: int, place: Array, others: Sequence[Array]
) -> list[Blob]:
    chroma = opponents(frame, box, stride)
    if not chroma.size:
        return []
    flat = chroma.reshape(-1, 2)
    beside = np.median(flat[:: 1 + len(flat) // 4000], axis=0).astype(np.float64)
    share = shares(chroma, OPPONENTS @ (dot.shade * gains * dot.rgb), beside)
    if len(others):
        share = np.where(_nearest(box, share, stride, place, others), share, np.float32(0.0))
    return [blob for blob in find_blobs(share, box, stride) if not _is_cut(blob, box, frame)]


def _is_cut(blob: Blob, box: Box, frame: Frame) -> bool:
    """Whether a patch goes on beyond the part that was looked at, and the picture too."""
    height, width = frame.shape[:2]
    rim = 0.9 * np.sqrt(blob.area / np.pi)
    x, y = blob.position
    sides = (x - box.left, box.left), (y - box.top, box.top)
    ends = (box.right - 1 - x, width - box.right), (box.bottom - 1 - y, height - box.bottom)
    return any(distance < rim and beyond > 0 for distance, beyond in (*sides, *ends))


def _nearest(box: Box, share: Weights, stride: int, place: Array, others: Sequence[Array]) -> Array:
    """Which pixels lie nearer to a place than to all others."""
    x = box.left + stride * np.arange(share.shape[1])
    y = box.top + stride * np.arange(share.shape[0])[:, None]
    mine = (x - place[0]) ** 2 + (y - place[1]) ** 2
    return np.all([mine <= (x - other[0]) ** 2 + (y - other[1]) ** 2 for other in others], axis=0)
