"""What `GpuRefiner` keeps on the device: rows to be solved, how their starts are dealt out, and what was found."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple

from hybrid_ik.kernels.gpu_loops import CONVERGED, I_MOVED, I_STATUS, I_STEPS, INVALID_INPUT
from hybrid_ik.result import IKResult, Status, result_as_arrays

if TYPE_CHECKING:
    import torch

    from hybrid_ik.chain import Chain

NOT_FOUND = int(Status.NOT_FOUND)
# Searches that an H200 holds at once: 132 multiprocessors, and in each 8 warps of 250 registers a lane, which is what
# the compiler gives the kernel of the Panda. Where fewer rows are open, later starts are tried at the same time.
LANES_AT_ONCE = 132 * 8 * 32
# Starts of the first round where few rows leave lanes for more: in 16 narrow ones nearly every pose has its answer.
FIRST_STARTS = 16
# Rounds of a search. Each has so many starts for an open row as there are lanes for it, counted on the device, and the
# last one all that are left: for a million poses of which a third stays open in each round, that is the twelfth.
ROUNDS = 12


class Problem(NamedTuple):
    """Rows to be solved, on the device: row r reaches for pose r // group."""

    position: torch.Tensor
    quaternion: torch.Tensor
    valid: torch.Tensor
    hopeful: torch.Tensor
    """Which poses are worth more starts."""
    starts: torch.Tensor
    group: int
    n_rows: int
    n_starts: int
    row_stride: int
    """Numbers from the starts of one row to those of the next; 0 where all rows share them."""

    def lanes(self, capacity: int) -> int:
        """Most searches of a round that has so many lanes."""
        return min(max(self.n_rows, capacity), self.n_rows * self.n_starts)

    def rounds(self, most: int) -> list[Round]:
        """As many rounds as are enough to try all starts, whatever stays open, but not more than `most`."""
        each = max(1, LANES_AT_ONCE // max(1, self.n_rows))
        needed = 1 + max(0, -(-(self.n_starts - min(FIRST_STARTS, each)) // each))
        first, later = (Round(self.n_starts, n, LANES_AT_ONCE, 0) for n in (FIRST_STARTS, self.n_starts))
        rounds = [first, *[later] * (min(needed, most) - 1)]
        return rounds if needed <= most else [*rounds[:-1], rounds[-1]._replace(last=1)]


class Round(NamedTuple):
    """See `gpu_loops.share`."""

    n_starts: int
    most: int
    capacity: int
    last: int


class Open(NamedTuple):
    """The rows that are open, in a list long enough for all of them, and [their number, starts tried of each]."""

    rows: torch.Tensor
    state: torch.Tensor


class Found(NamedTuple):
    """Joints (rows, dof); errors (rows, 2) [m, rad]; `info` (rows, N_INFO)."""

    q: torch.Tensor
    errors: torch.Tensor
    info: torch.Tensor


def result_of(chain: Chain, found: Found, shape: tuple[int, ...], as_tensors: bool) -> IKResult:
    """Results of this shape: tensors on the device, or numpy's."""
    import torch

    q, errors, info = found
    status = info[:, I_STATUS]
    fields: dict[str, Any] = {
        "q": q.reshape(*shape, q.shape[-1]),
        "success": (status == CONVERGED).reshape(shape),
        "status": status.to(torch.int8).reshape(shape),
        "position_error": errors[:, 0].reshape(shape),
        "orientation_error": errors[:, 1].reshape(shape),
        "iterations": info[:, I_STEPS].reshape(shape),
        "start_clipped": info[:, I_MOVED].bool().reshape(shape),
    }
    result = IKResult(**fields, chain=chain)
    return result if as_tensors else result_as_arrays(result)


def picked(found: Found, picks: torch.Tensor, cost: torch.Tensor, valid: torch.Tensor, total: int) -> Found:
    """What was picked, the cheapest first, out of `total` searches of each row; the rest is marked as not found.

    Args:
        found: (m total) searches.
        picks: (m, n), of the searches of a row; -1 for none.
        cost: (m, n), infinite for none.
        valid: (m, 1), which rows are of a pose.
        total: searches of a row.
    """
    import torch

    order = torch.sort(cost, dim=-1, stable=True).indices
    chosen = torch.gather(picks, 1, order).long()
    none = (chosen < 0).reshape(-1, 1)
    at = (chosen.clamp(min=0) + total * torch.arange(len(picks), device=picks.device)[:, None]).reshape(-1)
    q, errors, info = (
        torch.where(none, missing, values[at]) for values, missing in zip(found, (nan, nan, 0), strict=True)
    )
    lacking = torch.where(valid, NOT_FOUND, INVALID_INPUT).expand_as(chosen).reshape(-1)
    info[:, I_STATUS] = torch.where(none[:, 0], lacking, CONVERGED)
    return Found(q, errors, info)
