"""One dot as it was last seen: its colour, its size and its motion, and what might be taken for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hybrid_ik.pixels.dots.ball import MEMORY, disc, round_part, towards_hidden
from hybrid_ik.pixels.dots.blobs import Blob
from hybrid_ik.pixels.dots.pictures import Array

SHRINK, GROW = 0.06, 0.15  # a frame: how fast a dot may by turning and coming nearer; what hides it is faster
# The same of the whole disc, of which turning hides a part and no more.
SETTLE, WHOLE_SHRINKS, WHOLE_GROWS = 0.2, 0.01, 0.06
SHADE_RATE = 0.05  # how fast its brightness follows the light, where it is not blurred by its own motion
SLOW = 0.7  # radii a frame
SHIFT = 0.8  # share of the last frames' in the way from the centre of what is seen to the middle
ALIKE = 0.25  # distance of colours, in parts of their length, below which dots have the same one


@dataclass
class Dot:
    """A dot as it was last seen."""

    colour: Array
    """Differences of channels `(2,)`, see `hybrid_ik.pixels.dots.blobs`."""
    beside: Array
    """The same of what was around it `(2,)`."""
    rgb: Array
    """The colour itself in the first frame `(3,)`."""
    area: float
    """[px²]"""
    fill: float
    """See `Blob`."""
    position: Array
    """Last known, or guessed while it is lost `(2,)` [px]."""
    velocity: Array = field(default_factory=lambda: np.zeros(2))
    """[px a frame]"""
    shade: float = 1.0
    """Brightness now, in that of the first frame, but for the exposure of the camera."""
    steady: int = 0
    """Frames in a row in which it has been seen after the first one; its velocity is known from 1 on."""
    lost: int = 0
    """Frames since it was last seen."""
    whole: float = 0.0
    """Area of its disc if nothing hid it, by the long axis of what is seen of it [px²]."""
    lean: Array = field(default_factory=lambda: np.zeros(2))
    """Third moments of its last patches, summed up `(2,)`: to which side it is hidden."""
    shift: Array = field(default_factory=lambda: np.zeros(2))
    """From the centre of what is seen of it to its middle, smoothed `(2,)` [px]."""
    placed: bool = True
    """Whether it was seen in this recording; False where only its colour and size are known."""
    decoys: Array = field(default_factory=lambda: np.zeros((0, 3)))
    """Other things of its colour in the picture: x, y and how far around that they reach `(n, 3)` [px]."""
    waiting: Blob | None = None
    """What was seen in the last frame, too small or too large to be taken for the dot."""
    waited: int = 0
    """Frames that this has kept its size."""

    @property
    def radius(self) -> float:
        """Of a disc with its area [px]."""
        return float(np.sqrt(self.area / np.pi))

    def is_like(self, other: Dot) -> bool:
        """Whether both have the same colour."""
        length = max(np.linalg.norm(self.colour), np.linalg.norm(other.colour))
        return bool(np.linalg.norm(self.colour - other.colour) < ALIKE * length)

    def see(self, blob: Blob) -> None:
        """Take a blob for this dot in the present frame."""
        self._see_form(blob, blob.position + self.shift - self.position if self.lost == 0 else self.velocity)
        step = blob.position + self.shift - self.position
        self.velocity = step / (self.lost + 1)
        self.steady = self.steady + 1 if self.lost == 0 else 0
        self.area *= float(np.exp(np.clip(np.log(blob.area / self.area), -SHRINK, GROW)))
        if np.linalg.norm(self.velocity) < 0.5 * self.radius:
            self.shade += SHADE_RATE * (float(np.clip(self.shade * blob.peak, 0.4, 2.0)) - self.shade)
        self.fill += 0.1 * (blob.fill - self.fill)
        self.position, self.lost, self.waiting, self.waited = self.position + step, 0, None, 0

    def _see_form(self, blob: Blob, moved: Array) -> None:
        """Take over what a patch, which moved by so much `(2,)` [px], says of the whole dot."""
        spread = round_part(blob, moved)
        change = np.log(disc(spread) / self.whole)
        self.whole *= float(np.exp(np.clip(SETTLE * change, -WHOLE_SHRINKS, WHOLE_GROWS)))
        self.lean, self.placed = MEMORY * self.lean + blob.skew, True
        if np.linalg.norm(moved) < SLOW * self.radius:  # else its form is that of its way
            self.shift = SHIFT * self.shift + (1 - SHIFT) * towards_hidden(spread, self.lean)

    def miss(self, picture_size: Array) -> None:
        """It is not seen in the present frame: it may go on as it went, more and more slowly."""
        self.lost += 1
        self.steady = 0
        self.velocity, self.lean, self.shift = 0.8 * self.velocity, MEMORY * self.lean, SHIFT * self.shift
        self.position = np.clip(self.position + self.velocity, 0.0, picture_size - 1.0)
