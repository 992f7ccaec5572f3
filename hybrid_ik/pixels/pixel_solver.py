"""Joints from pixels: a network proposes, the refiner on pixels polishes, what explains the pixels best is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.cameras.pixel_refiner import PixelRefinerConfig
from hybrid_ik.pixels.cameras.pixel_result import PixelResult
from hybrid_ik.pixels.cameras.triangulation import views
from hybrid_ik.pixels.rig import Rig, checked_gripper
from hybrid_ik.samplers.base import check_count
from hybrid_ik.samplers.pixel import GRIPPER, PixelSampler, pixel_features

Array = NDArray[np.float64]

N_STARTS = 16
# px per rad, of frames in which a dot is lost, towards those around: half a pixel weighs as much as 10 degrees. Of such
# frames of a drawn recording of 20 minutes (gaps of 23 frames, median) 95 % were off by less than 4.9 mm with 0, by 4.3
# with 1, 3.7 with 3, 5.4 with 10, 11.2 with 30: what lies between is a guess, the worse the longer the gap.
PULL = 3.0
AT_ONCE = 4096  # starts that are refined side by side; bounds the memory


class PixelSolver:
    """Joints from the pixels of dots, for the cameras of a rig. Each thread needs one of its own.

    A network starts the refiner: an MLP once, MeanFlow from `n_starts` samples (from its one answer where that is 1).
    Frames in which it cannot, since a dot is lost, and all frames without a network, are started from `n_starts` random
    joints. The start that ends with the least pixel error counts.

    Where that misses the pixels, and enough of them are seen, one dot of one camera is left out (`n_views` says so):
    it was followed wrongly. With 2 % of the dots of a synthetic SO-100 20 px off, and 0.3 px of noise, errors of the
    tip [mm] were, started by a network that is 0.1 rad off (at random):

    ================ ============= =============
    way              95 %          99 %
    ================ ============= =============
    squares          10.3 (4.3)    26.3 (25.0)
    robust_scale=1   2.5 (2.1)     25.6 (18.7)
    robust_scale=2   3.5 (2.2)     25.0 (19.8)
    robust_scale=4   5.5 (2.8)     25.0 (23.6)
    leave_one_out    1.4 (1.6)     2.8 (4.7)
    ================ ============= =============

    Without wrong dots all are alike: 1.3 (1.3) and 1.6 (1.7).

    Args:
        rig: arm, dots and cameras.
        sampler: a network trained on a recording of the same cameras; None for random starts.
        n_starts: of a frame, where there are several.
        seed: of the random starts.
        leave_one_out: try frames that miss their pixels again without each of the dots in each camera.
        config: of the refiner.

    Raises:
        InvalidInputError: `n_starts` is below 1, or the network was trained on other joints or cameras.
    """

    def __init__(
        self,
        rig: Rig,
        sampler: PixelSampler | None = None,
        *,
        n_starts: int = N_STARTS,
        seed: int = 0,
        leave_one_out: bool = True,
        config: PixelRefinerConfig = PixelRefinerConfig(),  # noqa: B008
    ) -> None:
        self.rig, self.sampler, self.n_starts, self.seed = rig, sampler, check_count(n_starts), seed
        self.leave_one_out, self.refiner = leave_one_out, rig.refiner(config)
        self._pulled = rig.refiner(replace(config, prior_weight=max(PULL, config.prior_weight)))
        if sampler is not None:
            check_sampler(rig, sampler)

    def solve(self, dots: ArrayLike, gripper: ArrayLike = GRIPPER) -> PixelResult:
        """Joints of the arm's model that explain the pixels; `Rig.from_model` makes recorded ones of them.

        Args:
            dots: `(*batch, n_cameras, n_dots, 2)` [pixels], in the rig's order; NaN where a dot is not seen.
            gripper: from 0, closed, to 100; one, or `(*batch,)`.

        Returns:
            Results over `(*batch,)`. Frames that tell fewer numbers than there are joints, or whose gripper is NaN,
            have `Status.INVALID_INPUT`.

        Raises:
            InvalidInputError: another shape.
        """
        seen = views(tuple(self.rig.cameras.values()), dots, self.rig.dots.n_dots)
        batch = seen.shape[:-3]
        rows = seen.reshape(-1, *seen.shape[-3:])
        opened = np.broadcast_to(checked_gripper(gripper, batch), batch).reshape(-1)
        rows = np.where(self._tell_enough(rows)[:, None, None, None], rows, np.nan)
        starts = self._proposed(rows, opened)
        known = np.isfinite(starts).all(-1).all(-1)
        parts = (np.flatnonzero(known), starts), (np.flatnonzero(~known), self._random_starts(opened))
        found = [self._refined(rows[i], some[i]) for i, some in parts]
        order = np.argsort(np.concatenate([i for i, _ in parts]))
        return _joined(found)[order].reshape(*batch)

    def follow(self, dots: ArrayLike, gripper: ArrayLike = GRIPPER, frames: ArrayLike | None = None) -> PixelResult:
        """As `solve`, for frames in the order of time: where a dot is lost, joints are those near the frames around.

        With a dot lost in one of two cameras two postures fit the other three as often as not, mirrored at the line of
        sight. So these frames are started from joints between those of the nearest frames before and after in which
        all dots were explained, and pulled there by `PULL`. Three dots hardly fix five joints: `deviation` tells by how
        much a pixel moves them, 0.17 rad in such frames of a drawn recording and 0.03 with all dots (medians).

        Args:
            dots: `(m, n_cameras, n_dots, 2)` [pixels] of one motion; NaN where a dot is not seen.
            gripper: from 0, closed, to 100; one, or `(m,)`.
            frames: their numbers `(m,)`, rising; by default one after the other.

        Raises:
            InvalidInputError: another shape, or frames that do not rise.
        """
        found = self.solve(dots, gripper)
        seen = np.asarray(dots, dtype=float)
        times = _checked_times(seen, frames)
        whole = found.success & (found.n_views == seen.shape[1] * seen.shape[2])
        rows = np.flatnonzero(~whole & np.isfinite(found.q).all(-1))
        if not whole.any() or not len(rows):
            return found
        between = found.q[rows]  # of the jaw, it is what it was
        for joint in range(len(self.rig.joint_names)):
            between[:, joint] = np.interp(times[rows], times[whole], found.q[whole, joint])
        again = self._pulled.refine(seen[rows], between)
        _put(found, rows[again.success], again[again.success])
        return found

    def _tell_enough(self, rows: Array) -> NDArray[np.bool_]:
        """Whether as many numbers are seen as there are joints to be found `(m,)`."""
        return np.asarray(np.isfinite(rows).sum((1, 2, 3)) >= len(self.rig.joint_names))

    def _refined(self, rows: Array, starts: Array) -> PixelResult:
        """The best of starts `(m, k, dof)`, a block of frames after the other."""
        step = max(1, AT_ONCE // starts.shape[1])
        blocks = [slice(i, i + step) for i in range(0, max(1, len(rows)), step)]
        found = _joined([self.refiner.search(rows[block], starts[block]) for block in blocks])
        return self._without_one(rows, starts, found) if self.leave_one_out else found

    def _without_one(self, rows: Array, starts: Array, found: PixelResult) -> PixelResult:
        """Frames that miss their pixels again, where more numbers than joints are left without one of the dots."""
        missed = np.flatnonzero(~found.success & (2 * (found.n_views - 1) > len(self.rig.joint_names)))
        near = starts[missed, 0] if starts.shape[1] == 1 else found.q[missed]
        again = self.refiner.refine_without_one(rows[missed], near)
        _put(found, missed[again.success], again[again.success])
        return found

    def _proposed(self, rows: Array, gripper: Array) -> Array:
        """What the network says `(m, k, dof)`, within the limits; NaN where it says nothing, as there is none."""
        robot = self.rig.robot
        if self.sampler is None:
            return np.full((len(rows), 1, robot.dof), np.nan)
        told = pixel_features(rows, self.sampler.features)
        several = self.sampler.gives_several and self.n_starts > 1
        joints = self.sampler.sample(told, self.n_starts) if several else self.sampler.predict(told)[:, None]
        return self.rig.clipped_to_model(joints, gripper[:, None])

    def _random_starts(self, gripper: Array) -> Array:
        """The same random joints for all frames, but for the jaw `(m, n_starts, dof)`."""
        robot = self.rig.robot
        low, high = np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi)  # of joints without limits, a turn
        drawn = np.random.default_rng(self.seed).uniform(low, high, (self.n_starts, robot.dof))
        starts = np.repeat(drawn[None], len(gripper), 0)
        if self.rig.has_jaw:
            starts[..., -1] = self.rig.jaw_angle(gripper)[:, None]
        return starts


def check_sampler(rig: Rig, sampler: PixelSampler) -> None:
    """That a network answers joints of the rig, for pixels of its cameras.

    Raises:
        InvalidInputError: it was trained on other joints, units or cameras; the message says which.
    """
    for name, learned, own in (
        ("joints", sampler.joint_names, rig.joint_names),
        ("units", sampler.units, rig.units),
        ("cameras", sampler.camera_names, tuple(rig.cameras)),
    ):
        if learned != own:
            raise InvalidInputError(
                f"sampler: the network {sampler.file.path} was trained with the {name} {learned}, the rig has {own}; "
                "take the recording it was trained on, or train another"
            )


def _checked_times(seen: Array, frames: ArrayLike | None) -> Array:
    """Numbers of frames `(m,)` that go with dots `(m, n_cameras, n_dots, 2)`."""
    try:
        times = np.arange(len(seen), dtype=float) if frames is None else np.asarray(frames, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"expected rising frames (m,), numbers, got {frames!r}") from error
    if seen.ndim != 4 or times.shape != (len(seen),) or not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise InvalidInputError(
            "expected dots (m, n_cameras, n_dots, 2) of one motion and finite, rising frames (m,), got dots "
            f"{seen.shape} and frames {times.shape}, {np.array2string(times, threshold=8)}"
        )
    return times


def _put(found: PixelResult, rows: NDArray[np.intp], better: PixelResult) -> None:
    """Write other answers into some rows."""
    for field in fields(PixelResult):
        getattr(found, field.name)[rows] = getattr(better, field.name)


def _joined(parts: Sequence[PixelResult]) -> PixelResult:
    """Rows of all parts, one after the other."""
    return PixelResult(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(PixelResult))
    )
