"""The refiner for many poses at once on a GPU: the steps of `LaneRefiner`, a lane of the device for each search.

Nothing here waits for the device: rows that have their answer are taken off a list that the kernels keep themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hybrid_ik.chain import Chain
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.kernels.gpu import WARP, launch, load_kernels
from hybrid_ik.kernels.gpu_loops import CONVERGED, I_STATUS, INVALID_INPUT, N_INFO, O_COARSE
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import Array, LMConfig, Refiner
from hybrid_ik.refiners.gpu_rows import ROUNDS, Found, Open, Problem, Round, picked, result_of
from hybrid_ik.refiners.lanes import OTHERS, kernel_options, one_table, patient_config
from hybrid_ik.result import ARRAYS, IKResult
from hybrid_ik.tensor_pose import TensorPose, as_tensor, is_tensor

if TYPE_CHECKING:
    import torch

BLOCK = WARP  # searches that wait for the slowest of them: one warp, whose lanes agree without a barrier
ALIGNED = 4  # int32 from one counter to the next: Triton compiles anew for pointers that are not 16 bytes apart


class GpuRefiner(Refiner):
    """Levenberg-Marquardt on a GPU; the twin of `LaneRefiner`, for batches of thousands.

    Poses and starts may be tensors (`TensorPose`) or numpy's; where either is a tensor, the results are tensors on the
    device, and no call waits for it.

    Joints agree with those of `LaneRefiner` to rounding where all steps are in double precision. Steps in single
    precision round differently on each device: where a redundant arm can meet a pose in many ways, answers then lie
    elsewhere among them, and errors are judged in double precision all the same.

    Args:
        chain: the arm with its mount and tool.
        config: steps and tolerances.
        device: of torch, as "cuda" or "cuda:1".
        single_first: see `LaneRefiner`.
        block: searches in a block, a power of 2. Results do not depend on it.

    Raises:
        InvalidInputError: there is no Triton, or no such device.
    """

    def __init__(
        self,
        chain: Chain,
        config: LMConfig = LMConfig(),  # noqa: B008
        device: Any = "cuda",
        single_first: bool = True,
        block: int = BLOCK,
    ) -> None:
        self._kernels = load_kernels(chain, with_posture=config.regularization > 0)
        self.chain, self.config, self.device, self.block = chain, config, usable_device(device), block
        options = kernel_options(chain, config, single_first)
        self._single_first = bool(options[O_COARSE] > 0)
        self._options = self.tensor(options)
        self._patient_options = self.tensor(kernel_options(chain, patient_config(config), single_first))
        self._wanted = self.tensor(config.wanted_posture(chain))
        half = (chain.sample_upper - chain.sample_lower) / 2
        self._ranges = self.tensor(np.stack([chain.middle, half, chain.periods]))
        self._mount_tool = self.tensor(chain.mount_and_tool)
        self.p_base_first = self.tensor(chain.T_base_first[:3, 3])

    def refine(self, target: Pose | TensorPose, q0: Array | torch.Tensor) -> IKResult:
        """See `Refiner.refine`."""
        starts = self._starts(q0, target.shape)
        n = starts.shape[-2]
        problem = self._problem(target, starts, n, 1)
        found = self._empty(problem.n_rows)
        self._refine(problem, self._options, self._all_rows(problem.n_rows), found, Round(1, 1, 1, 0))
        return result_of(self.chain, found, (*target.shape, n), is_tensor(target, q0))

    def search(
        self,
        target: Pose | TensorPose,
        q0: Array | torch.Tensor,
        found: IKResult | None = None,
        out_of_reach: torch.Tensor | None = None,
    ) -> IKResult:
        """See `Refiner.search`.

        Args:
            target: poses of the tip, `(*batch,)`.
            q0: starts `(*batch, n, dof)`, or `(n, dof)` for all targets.
            found: `(*batch,)`, of which rows that were solved stay as they are.
            out_of_reach: `(*batch,)`, rows for which nothing is tried: they hold NaN, for `closest` to fill.
        """
        problem = self._searching(target, q0)
        best = self._no_answers(problem.n_rows) if found is None else self._records(found)
        if out_of_reach is not None:
            problem = problem._replace(hopeful=problem.hopeful & ~out_of_reach.reshape(-1))
        fresh = found is None and out_of_reach is None
        rows = self._all_rows(problem.n_rows) if fresh else self._without_answer(problem, best)
        self._search(problem, self._options, best, rows, ROUNDS)
        return result_of(self.chain, best, target.shape, is_tensor(target, q0))

    def distinct(
        self,
        target: Pose | TensorPose,
        rounds: Sequence[Array | torch.Tensor],
        n: int,
        min_distance: float,
        near: torch.Tensor | None = None,
        far: float = np.inf,
    ) -> IKResult:
        """Different answers for each target: the picks of `kernels.distinct` among what all its starts lead to.

        They come in the order of their distance from the joint limits, spread over what was found; with `near` in the
        order of their distance from it, the nearest ones. Rows without so many hold NaN and `Status.NOT_FOUND`.

        Args:
            target: poses of the tip, `(*batch,)`.
            rounds: starts, each `(*batch, n_starts, dof)` or `(n_starts, dof)` for all targets. From the second round
                on they are for the targets that lack answers.
            n: how many answers.
            min_distance: between two of them, Euclidean [rad, or m].
            near: joints `(*batch, dof)`.
            far: a target whose answers are not all nearer than this to `near` lacks answers [rad, or m].

        Returns:
            Results over `(*batch, n)`.
        """
        poses = self.poses(target)
        problems = [self._searching(poses, q0) for q0 in rounds]
        m, total = problems[0].n_rows, sum(problem.n_starts for problem in problems)
        found, rule = self._empty(m * total), self._filled((2, 1), min_distance**2)
        rule[1].fill_(far)
        picks, cost = self._filled((m, n), -1, "int32"), self._filled((m, n), np.inf)
        rows, tried = self._all_rows(m), 0
        at = self._ranges if near is None else near.reshape(m, self.chain.dof).contiguous()
        for problem, left in zip(problems, self._lists(m, len(problems)), strict=True):
            here = Round(problem.n_starts, problem.n_starts, m * problem.n_starts, 0)
            self._refine(problem, self._options, rows, found, here, (total, tried))
            tried += problem.n_starts
            given = found.q, found.info, problem.valid, at, self._ranges, rule
            self._pick(rows, left, *given, picks, cost, tried, total, n, near is not None)
            rows = left
        chosen = picked(found, picks, cost, poses.valid.reshape(m, 1), total)
        return result_of(self.chain, chosen, (*poses.shape, n), is_tensor(target, *rounds))

    def closest(self, target: Pose | TensorPose, found: IKResult, q0: Array | torch.Tensor) -> IKResult:
        """See `Refiner.closest`; rows that were solved stay as they are, and targets may share their starts."""
        if self.config.max_iterations == 0:
            return found
        best, options = self._records(found), self._patient_options
        others = self._searching(target, q0)
        others = others._replace(n_starts=min(OTHERS, others.n_starts))
        own = others._replace(starts=best.q.clone(), n_starts=1, row_stride=self.chain.dof)
        left = self._search(own, options, best, self._without_answer(others, best), 1)
        self._search(others, options, best, left, 1)
        return result_of(self.chain, best, target.shape, is_tensor(target, q0))

    def _starts(self, q0: Any, shape: tuple[int, ...]) -> torch.Tensor:
        """Starts on the device, `(*shape, n, dof)`; anything else is refused."""
        starts = as_tensor("starts", q0, self.chain.dof, self.device)
        if starts.ndim < 2 or tuple(starts.shape[:-2]) != shape:
            batch = "".join(f"{n}, " for n in shape)
            raise InvalidInputError(
                f"starts: expected shape ({batch}n, {self.chain.dof}) for targets of shape {shape}, "
                f"got {tuple(starts.shape)}"
            )
        return starts

    def _problem(self, target: Pose | TensorPose, starts: torch.Tensor, group: int, n_starts: int) -> Problem:
        """Rows of `n_starts` starts each, `group` of them for each target."""
        poses = self.poses(target)
        n_poses, dof = poses.valid.numel(), self.chain.dof
        shared = starts.ndim == 2 and poses.shape != ()
        return Problem(
            poses.position.reshape(n_poses, 3).contiguous(),
            poses.quaternion.reshape(n_poses, 4).contiguous(),
            *(poses.valid.reshape(n_poses).contiguous(),) * 2,
            starts.contiguous(),
            group,
            n_poses * group,
            n_starts,
            0 if shared else n_starts * dof,
        )

    def _searching(self, target: Pose | TensorPose, q0: Any) -> Problem:
        """A row for each target, with starts of its own or with those that all share."""
        table: Any = q0 if is_tensor(q0) else one_table(np.asarray(q0))
        starts = self._starts(table, () if table.ndim == 2 else target.shape)
        return self._problem(target, starts, 1, starts.shape[-2])

    def _without_answer(self, problem: Problem, best: Found) -> Open:
        """The rows that have no answer, where there is hope of one."""
        left = self._lists(problem.n_rows, 1)[0]
        self._choose(problem, self._options, self._all_rows(problem.n_rows), best, best, left, Round(0, 0, 1, 0))
        return left

    def _search(self, problem: Problem, options: torch.Tensor, best: Found, rows: Open, most: int) -> Open:
        """Up to `most` rounds of starts, in order, for the rows that are open; `best` holds the best search so far.

        Returns:
            The rows that stay open, of whose starts none is tried.
        """
        rounds = problem.rounds(most)
        found = self._empty(problem.lanes(rounds[0].capacity))
        for here, left in zip(rounds, self._lists(problem.n_rows, len(rounds)), strict=True):
            self._refine(problem, options, rows, found, here)
            self._choose(problem, options, rows, found, best, left, here)
            rows = left
        rows.state[1].zero_()
        return rows

    def _refine(
        self,
        problem: Problem,
        options: torch.Tensor,
        rows: Open,
        found: Found,
        here: Round,
        places: tuple[int, int] = (0, 0),
    ) -> None:
        """A round of starts of the open rows into `found`: one after another, or into their own places in each row.

        Args:
            problem: what the rows are.
            options: see `kernel_options`.
            rows: those that are open.
            found: written.
            here: how starts are dealt out.
            places: how many `found` has for each row, and the first of them that is written.
        """
        import torch

        given = problem.position, problem.quaternion, problem.valid.view(torch.int8), self._mount_tool, problem.starts
        self._launch("refine", problem.lanes(here.capacity))(
            *(*given, options, self._wanted, *rows, *found, *here, problem.group, problem.row_stride, *places),
            SINGLE_FIRST=self._single_first,
            REPEAT=bool(here.last),
        )

    def _choose(
        self,
        problem: Problem,
        options: torch.Tensor,
        rows: Open,
        found: Found,
        best: Found,
        left: Open,
        here: Round,
    ) -> None:
        """See `gpu_loops.choose`."""
        import torch

        self._launch("choose", problem.n_rows)(
            *(*rows, *found, *best, problem.hopeful.view(torch.int8), *left, options, *here), DOF=self.chain.dof
        )

    def _pick(
        self, rows: Open, left: Open, q: torch.Tensor, info: torch.Tensor, valid: torch.Tensor, *given: Any
    ) -> None:
        """See `gpu_loops.pick`: a block for each row."""
        import torch

        *arrays, tried, total, n, by_distance = given
        block = max(WARP, 1 << (tried - 1).bit_length())
        launch(self._kernels.pick, len(rows.rows) * block, block, self.device)(
            *(*rows, q, info, valid.view(torch.int8), *arrays, *left, tried, total, n),
            BY_DISTANCE=by_distance,
            DOF=self.chain.dof,
        )

    def _launch(self, name: str, lanes: int) -> Callable[..., None]:
        return launch(getattr(self._kernels, name), lanes, self.block, self.device)

    def poses(self, target: Pose | TensorPose) -> TensorPose:
        """Poses on the device."""
        return target.to(self.device) if isinstance(target, TensorPose) else TensorPose.of_pose(target, self.device)

    def tensor(self, values: Array) -> torch.Tensor:
        """Numbers as a float64 tensor on the device."""
        import torch

        return torch.tensor(values, dtype=torch.float64, device=self.device)

    def _filled(self, shape: tuple[int, ...], value: float, dtype: str = "float64") -> torch.Tensor:
        import torch

        return torch.full(shape, value, dtype=getattr(torch, dtype), device=self.device)

    def _all_rows(self, n: int) -> Open:
        import torch

        state = torch.zeros(ALIGNED, dtype=torch.int32, device=self.device)
        state[0].fill_(n)
        return Open(torch.arange(n, dtype=torch.int32, device=self.device), state)

    def _lists(self, n_rows: int, n: int) -> list[Open]:
        """Lists of rows, empty so far; every second one uses the memory of the one before last, which nobody reads."""
        import torch

        states = torch.zeros((n, ALIGNED), dtype=torch.int32, device=self.device)
        rows = [torch.empty(n_rows, dtype=torch.int32, device=self.device) for _ in range(min(n, 2))]
        return [Open(rows[i % 2], state) for i, state in enumerate(states)]

    def _empty(self, n: int) -> Found:
        import torch

        q, errors = (torch.empty((n, k), dtype=torch.float64, device=self.device) for k in (self.chain.dof, 2))
        return Found(q, errors, torch.empty((n, N_INFO), dtype=torch.int32, device=self.device))

    def _no_answers(self, n: int) -> Found:
        found = self._empty(n)
        found.q.fill_(np.nan)
        found.errors.fill_(np.nan)
        found.info.zero_()
        found.info[:, I_STATUS].fill_(INVALID_INPUT)
        return found

    def _records(self, results: IKResult) -> Found:
        """What was found, with the rows that were not solved marked as open."""
        import torch

        fields = {name: torch.as_tensor(getattr(results, name), device=self.device) for name in ARRAYS}
        status = torch.where(fields["success"], CONVERGED, INVALID_INPUT)
        info = torch.stack([fields["iterations"], status, fields["start_clipped"]], -1)
        errors = torch.stack([fields["position_error"], fields["orientation_error"]], -1)
        return Found(
            fields["q"].reshape(-1, self.chain.dof).clone(),
            errors.reshape(-1, 2),
            info.to(torch.int32).reshape(-1, N_INFO),
        )


def usable_device(device: Any) -> torch.device:
    """The device, if kernels can run there."""
    import torch

    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidInputError(f"device {device!r} is none of torch's: expected 'cuda' or 'cuda:0'") from error
    there = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if chosen.type == "cuda" and (there if chosen.index is None else f"cuda:{chosen.index}" in there):
        return chosen
    if chosen.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1":  # the kernels without a GPU, for tests
        return chosen
    raise InvalidInputError(
        f"device {device!r} cannot run the GPU refiner: torch {torch.__version__} finds "
        f"{', '.join(there) or 'no CUDA device'}. Install a CUDA build of torch (https://pytorch.org/get-started) on a "
        "machine that has one; LaneRefiner runs on any processor"
    )
