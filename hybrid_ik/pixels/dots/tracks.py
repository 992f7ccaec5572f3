"""What trackers of dots return, and the interface that they share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pixels.dots.pictures import Array, Frame


class DotView(NamedTuple):
    """The dots of one frame."""

    positions: Array
    """x y of each dot `(n_dots, 2)` [px], the middle of the first pixel at 0; NaN where it is not seen."""
    confidence: Array
    """0 to 1, `(n_dots,)`; 0 where it is not seen."""


class Tracks(NamedTuple):
    """The dots of one recording."""

    positions: Array
    """x y `(n_frames, n_dots, 2)` [px]; NaN where a dot is not seen."""
    confidence: Array
    """0 to 1, `(n_frames, n_dots)`; 0 where it is not seen."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether each dot is seen in each frame `(n_frames, n_dots)`."""
        return self.confidence > 0


class Follower(Protocol):
    """Follows dots through the frames of one camera."""

    def follow(self, frames: Iterable[Frame]) -> Tracks:
        """Positions in all frames `(height, width, 3)`, the first of which shows every dot where it was said to be."""
        ...
