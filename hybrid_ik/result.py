"""What a solve returns: one record, whatever was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hybrid_ik.chain import Chain


class Status(IntEnum):
    """Why the work on a row ended; `message` says it in a sentence."""

    CONVERGED = 0
    MAX_ITERATIONS = 1
    STALLED = 2
    INVALID_INPUT = 3
    NOT_FOUND = 4
    BEYOND_REACH = 5
    TOO_FAR = 6

    @property
    def message(self) -> str:
        """One sentence: what happened and what may help."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.CONVERGED: "Both errors are within tolerance and every joint is within its limits.",
    Status.MAX_ITERATIONS: "The step limit was reached first; allow more steps or more seeds.",
    Status.STALLED: "No step improves the pose any more: a local minimum, or a target beyond reach or limits.",
    Status.INVALID_INPUT: "The target or the start was not a pose or not a number; this row was not solved.",
    Status.BEYOND_REACH: "The target is farther away than all links together are long; the nearest joints are given.",
    Status.TOO_FAR: "The nearest answer is farther away than the largest step; these joints lie on the way to it.",
    Status.NOT_FOUND: "Fewer distinct answers were found than asked for; allow more seeds or a smaller distance.",
}


@dataclass(frozen=True)
class IKResult:
    """Joint angles and how well they reach the target, over `(*batch, [n_solutions])`.

    A single answer (shape `()`) holds numpy scalars, so `if result.success:` reads as it should. Where poses came as
    tensors, the fields are tensors of the same types.
    """

    q: NDArray[np.float64]
    """Joints `(*shape, dof)` [rad, or m for slides]; NaN where nothing was found."""
    success: NDArray[np.bool_]
    """Both errors within tolerance, every joint within its limits, by forward kinematics of `q`."""
    status: NDArray[np.int8]
    """`Status` as a number; `Status(result.status).message` for one answer."""
    position_error: NDArray[np.float64]
    """Distance of the tip from the target [m], by forward kinematics of `q`."""
    orientation_error: NDArray[np.float64]
    """Angle between the tip and the target [rad], by forward kinematics of `q`."""
    iterations: NDArray[np.int32]
    """Levenberg-Marquardt steps that led to `q`."""
    start_clipped: NDArray[np.bool_]
    """True where the start given lay outside the joint limits and was moved onto them."""
    chain: Chain | None = field(default=None, kw_only=True, compare=False, repr=False)
    """The arm, whose limits `plot` draws: one for all rows. Solvers and refiners tell it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`()`, `(*batch,)` or `(*batch, n_solutions)`."""
        return np.shape(self.success)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single answer has no length")
        return self.shape[0]

    def __getitem__(self, index: Any) -> IKResult:
        """Rows, as with an array."""
        if not self.shape:
            raise IndexError("a single answer has no rows")
        return self._map(lambda array: array[index])

    def reshape(self, *shape: int) -> IKResult:
        """The same rows under another batch shape."""
        lead = len(self.shape)
        return self._map(lambda array: array.reshape((*shape, *array.shape[lead:]))[()])

    def put(self, rows: Any, other: IKResult) -> None:
        """Replaces `rows` (an index or a mask) by those of `other`, in place."""
        for name in ARRAYS:
            getattr(self, name)[rows] = getattr(other, name)

    def plot(self) -> Figure:
        """A line for each answer across all joints, each joint an axis from its lower to its upper limit.

        Answers have the colours of `render_answers`; joints that miss their pose are grey and dashed, rows where
        nothing was found are left out. Needs matplotlib, which comes with the extra `viewer`. A notebook shows the
        figure by itself; `figure.savefig("answers.png")` writes it.

        Raises:
            InvalidInputError: several answers for each of several poses, or a result that does not know its arm.
            MissingPackageError: matplotlib is not installed.
        """
        if len(self.shape) > 1:
            raise InvalidInputError(
                "plot: draws the answers of one pose, or one answer for each pose; this result has shape "
                f"{self.shape}: plot one pose of it, as result[{', '.join('0' * (len(self.shape) - 1))}].plot()"
            )
        if self.chain is None:
            raise InvalidInputError(
                "plot: this result does not know its arm; those of HybridSolver.solve and of refiners do, or give it "
                "one: dataclasses.replace(result, chain=robot.chain).plot()"
            )
        from hybrid_ik.plotting import plot_answers

        rows = result_as_arrays(self) if hasattr(self.q, "cpu") else self
        return plot_answers(self.chain, np.atleast_2d(rows.q), np.atleast_1d(rows.success))

    def _map(self, function: Any) -> IKResult:
        return IKResult(**{name: function(getattr(self, name)) for name in ARRAYS}, chain=self.chain)


ARRAYS = tuple(field.name for field in fields(IKResult) if field.name != "chain")
"""Names of the fields that have a row for each answer: all but the arm."""


def concatenate(results: list[IKResult], axis: int = 0) -> IKResult:
    """Results of one arm, joined along a batch axis."""
    joined = {name: np.concatenate([getattr(result, name) for result in results], axis) for name in ARRAYS}
    return IKResult(**joined, chain=results[0].chain)


def result_as_tensors(result: IKResult, device: Any) -> IKResult:
    """The same with torch tensors on a device in place of arrays."""
    import torch

    return result._map(lambda array: torch.as_tensor(array, device=device))


def result_as_arrays(result: IKResult) -> IKResult:
    """The same with arrays in place of tensors, and numpy's scalars for a single answer."""
    return result._map(lambda tensor: tensor.cpu().numpy()[()])
