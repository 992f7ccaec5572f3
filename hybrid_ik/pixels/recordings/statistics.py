"""What LeRobot keeps of every feature: least, greatest, mean, standard deviation and count; gathered as it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Summary = dict[str, Any]
"""min, max, mean and std (lists), and count (a list of one number)."""

EVERY, STRIDE = 10, 4  # pictures, and pixels of each along a side, that are looked at: one in 160


def summarise(values: ArrayLike) -> Summary:
    """Of the columns of values `(n, d)`, or of values `(n,)`."""
    rows = np.asarray(values, dtype=float)
    rows = rows.reshape(len(rows), -1)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    return {**{name: value.tolist() for name, value in found.items()}, "count": [len(rows)]}


class PictureSummary:
    """Of the colours of pictures, in [0, 1], by some of their pixels; every `EVERY`th picture given is looked at."""

    def __init__(self) -> None:
        self._given = self._count = 0
        self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)
        self._sum, self._squares = np.zeros(3), np.zeros(3)

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Take in a picture `(height, width, 3)`."""
        self._given += 1
        if self._given % EVERY != 1:
            return
        pixels = picture[::STRIDE, ::STRIDE].reshape(-1, 3) / 255.0
        self._low = np.minimum(self._low, pixels.min(0))
        self._high = np.maximum(self._high, pixels.max(0))
        self._sum += pixels.mean(0)
        self._squares += (pixels**2).mean(0)
        self._count += 1

    def result(self) -> Summary:
        """The summary, of shape (3, 1, 1); its count is of pictures."""
        mean = self._sum / self._count
        std = np.sqrt(np.maximum(0.0, self._squares / self._count - mean**2))
        found = {"min": self._low, "max": self._high, "mean": mean, "std": std}
        return {**{key: value.reshape(3, 1, 1).tolist() for key, value in found.items()}, "count": [self._count]}


def merge(summaries: Sequence[Mapping[str, Any]]) -> Summary:
    """The summary of all values of several summaries."""
    low, high, mean, std = (np.array([s[key] for s in summaries], float) for key in ("min", "max", "mean", "std"))
    count = np.array([s["count"][0] for s in summaries])
    weight = (count / count.sum()).reshape(-1, *[1] * (mean.ndim - 1))
    centre = (weight * mean).sum(0)
    spread = np.sqrt((weight * (std**2 + (mean - centre) ** 2)).sum(0))
    found = {"min": low.min(0), "max": high.max(0), "mean": centre, "std": spread}
    return {**{key: value.tolist() for key, value in found.items()}, "count": [int(count.sum())]}
