"""Closed curves of joints that meet one pose, limits aside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.solution_sets.hermite import Segments

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

TURN = 2.0 * np.pi


@dataclass(frozen=True)
class Loops:
    """Closed curves, or points of arms without a spare joint, and how they were found."""

    segments: Segments
    first: Indices
    """Number of the first segment of each curve, and at the end how many there are: `(k + 1,)`."""
    winding: Array
    """By how much joints that go round are farther on at the end of each curve, `(k, dof)` [rad]."""
    hits: NDArray[np.int64]
    """How many starts led to each, `(k,)`."""
    kind: Indices
    """A number for each, the same for those that are twins; see `twins.Twins` `(k,)`."""
    n_starts: int
    """Starts tried."""
    n_lost: int = 0
    """Answers within the limits that starts led to, but no curve could be followed from: singular ones."""

    @cached_property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What `cut_loops.Curves` is made of."""
        length, first = self.segments.length, np.ascontiguousarray(self.first, dtype=np.int64)
        total = np.concatenate([[0.0], np.cumsum(length)])
        begin = total[:-1] - np.repeat(total[first[:-1]], np.diff(first))
        return *self.segments.ends, length, begin, first, np.diff(total[first]), np.ascontiguousarray(self.winding)

    @cached_property
    def unseen(self) -> float:
        """See `missing_chance`; a start that leads to a curve has found its twins too, so they count as one thing."""
        hits = np.bincount(self.kind, weights=self.hits).astype(int)
        return missing_chance(hits[hits > 0])

    @property
    def missing(self) -> float:
        """The chance that a curve was not seen, or the share of starts that led to answers on none, if it is larger.

        The latter are singular: there the answers may be a surface, of which curves are a small part.
        """
        return max(self.unseen, self.n_lost / max(1, int(self.hits.sum()) + self.n_lost))


def missing_chance(hits: NDArray[np.int64]) -> float:
    """The chance that something is missing, where each thing found was led to by so many starts; 1 where there is none.

    The larger of two estimates. Good's and Turing's (Good, 1953): the share of starts that led to what no other one led
    to is the chance that the next one leads to something new. Where each thing was hit more than once it says nothing;
    then the chance counts with which all starts would have missed a thing as rare as the rarest of these.
    """
    n = int(hits.sum())
    if len(hits) == 0:
        return 1.0
    return max(int((hits == 1).sum()) / n, (1.0 - int(hits.min()) / n) ** n)
