"""Points carried from one frame to the next by pyramidal Lucas-Kanade, and back again to see whether that holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pixels.dots.pictures import Array, Frame, opencv

SIDE = 31  # px, of the window that is compared
LEVELS = 3  # halvings of the picture
MARGIN = 100  # px about the points that are looked at; a window at the coarsest level reaches 4 SIDE = 124
RETURN = 1.0  # px, by which a point may miss its origin on the way back
STOP = (3, 20, 0.02)  # both criteria of OpenCV: 20 steps, or one shorter than 0.02 px

Points = NDArray[np.float32]


class Flow:
    """Keeps the last two frames, in grey, and carries points from one to the other."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] | None = None
        self._now: NDArray[np.uint8] | None = None

    def push(self, frame: Frame) -> None:
        """Take in the next frame `(height, width, 3)`."""
        cv2 = opencv()
        self._before, self._now = self._now, cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)

    def carry(self, points: Array, guess: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Where points of the frame before are in this one.

        Args:
            points: `(n, 2)` [px].
            guess: where they may be `(n, 2)` [px].

        Returns:
            Positions `(n, 2)` [px], and which of them lead back to within 1 px of where they came from `(n,)`.
        """
        if self._before is None or self._now is None or not len(points):
            return guess.copy(), np.zeros(len(points), bool)
        rows, columns, corner = self._part(np.concatenate([points, guess]))
        before = np.ascontiguousarray(self._before[rows, columns])
        now = np.ascontiguousarray(self._now[rows, columns])
        start, first = (points - corner).astype(np.float32), (guess - corner).astype(np.float32)
        there, found = _follow(before, now, start, first)
        back, returned = _follow(now, before, there, there + (start - first))
        missed = np.linalg.norm(back - start, axis=1)
        return there + corner, found & returned & (missed <= RETURN)

    def _part(self, points: Array) -> tuple[slice, slice, Array]:
        """Rows and columns about points, and the corner x y of that part."""
        assert self._now is not None
        height, width = self._now.shape
        low = np.clip(np.floor(points.min(0)) - MARGIN, 0, [width - 1, height - 1]).astype(int)
        high = np.clip(np.ceil(points.max(0)) + MARGIN, 1, [width, height]).astype(int)
        return slice(low[1], high[1]), slice(low[0], high[0]), low.astype(np.float64)


def _follow(
    before: NDArray[np.uint8], after: NDArray[np.uint8], points: Points, guess: Points
) -> tuple[Points, NDArray[np.bool_]]:
    cv2 = opencv()
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        points,
        guess.copy(),
        winSize=(SIDE, SIDE),
        maxLevel=LEVELS,
        criteria=STOP,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return moved, status.ravel().astype(bool)
