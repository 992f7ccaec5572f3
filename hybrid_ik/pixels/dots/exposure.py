"""How much brighter a fixed camera's picture has become: exposure and white balance, by what stands still in it."""

from __future__ import annotations

import numpy as np

from hybrid_ik.pixels.dots.pictures import Array, Frame

SAMPLES = 4000  # pixels that are compared
DARK, BRIGHT = 30, 225  # those that were darker or brighter tell little
FEWEST = 200  # with less of them, nothing is said


class Exposure:
    """Compares pictures of one camera with its first one.

    Args:
        frame: the first picture `(height, width, 3)`.
    """

    def __init__(self, frame: Frame) -> None:
        self._stride = max(1, int(np.sqrt(frame.shape[0] * frame.shape[1] / SAMPLES)))
        sample = self._sample(frame)
        self._useful = ((sample > DARK) & (sample < BRIGHT)).all(-1)
        self._first = sample[self._useful]

    def gains(self, frame: Frame) -> Array:
        """Red, green and blue of a picture, in the first one's `(3,)`: medians, so that motion does not count."""
        if len(self._first) < FEWEST:
            return np.ones(3)
        return np.clip(np.median(self._sample(frame)[self._useful] / self._first, axis=0), 0.2, 4.0)

    def _sample(self, frame: Frame) -> Array:
        return frame[:: self._stride, :: self._stride].astype(np.float64)
