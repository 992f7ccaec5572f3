"""What a refinement on pixels returns: one record over the batch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PixelResult:
    """Joints and how well they explain the pixels, over `(*batch,)`; the sister of `IKResult`."""

    q: NDArray[np.float64]
    """Joints `(*batch, dof)` [rad, or m for slides]; NaN where nothing was seen, or the start was not finite."""
    success: NDArray[np.bool_]
    """`pixel_error` is within tolerance. That does not say that the pixels fix all joints: `deviation` does."""
    status: NDArray[np.int8]
    """`Status` as a number: STALLED for joints at rest that miss the pixels, INVALID_INPUT for rows with NaN in `q`."""
    pixel_error: NDArray[np.float64]
    """Root of the weighted mean squared distance between the dots seen and projected [pixels]."""
    n_views: NDArray[np.int32]
    """Dots seen, counted in each camera."""
    deviation: NDArray[np.float64]
    """Standard deviation of the joints for pixels that are one pixel off in each direction `(*batch, dof)` [rad or m
    per pixel]; 0 for joints that are held, infinite for those that the pixels do not fix."""
    iterations: NDArray[np.int32]
    """Levenberg-Marquardt steps tried."""
    start_clipped: NDArray[np.bool_]
    """True where the start given lay outside the joint limits and was moved onto them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The batch shape; `()` for one frame."""
        return np.shape(self.success)

    def __getitem__(self, index: Any) -> PixelResult:
        """Rows, as with an array."""
        if not self.shape:
            raise IndexError("a single answer has no rows")
        return PixelResult(*(getattr(self, field.name)[index] for field in fields(self)))

    def reshape(self, *shape: int) -> PixelResult:
        """The same rows under another batch shape."""
        arrays = (getattr(self, field.name) for field in fields(self))
        lead = len(self.shape)
        return PixelResult(*(array.reshape((*shape, *array.shape[lead:]))[()] for array in arrays))
