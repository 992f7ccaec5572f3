"""Dots followed frame by frame: Lucas-Kanade says where to look, the centre of the colour there says where they are.

Positions are measured anew in every frame, so that errors do not add up. A dot is reported only where its colour is
found with the size that is expected of it; elsewhere it is masked, and looked for in more and more of the picture.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.dots.blobs import Blob
from hybrid_ik.pixels.dots.dot import Dot
from hybrid_ik.pixels.dots.exposure import Exposure
from hybrid_ik.pixels.dots.flow import Flow
from hybrid_ik.pixels.dots.learning import learn_dots
from hybrid_ik.pixels.dots.pictures import Array, Frame, check_frame, check_positions
from hybrid_ik.pixels.dots.search import find_decoys, fits, half_of_search, is_dot, is_near, look, reach
from hybrid_ik.pixels.dots.tracks import DotView, Tracks

DRIFT = 3.0  # px a frame: how fast the gripper may turn a hidden dot away from where it is expected
PATIENCE = 4  # frames after which a patch that keeps its size is the dot turned aside, not half hidden
TURNED = (0.4, 2.5)  # its area, in parts of the expected one
OUTSTANDING = 0.6  # at most, of the next largest patch
SHORT = 3  # frames for which lost dots of one colour are told apart by where they were alone
SAME = 0.2  # largest change of its area meanwhile


class DotTracker:
    """Follows coloured dots through the frames of one fixed camera; of a recording, only positions are kept.

    Args:
        positions: x y of each dot in the first frame `(n_dots, 2)` [px], at most 5 px beside it. Colours and sizes are
            learned there. Dots of the same colour are told apart by where they were. All of them are on one gripper:
            one that is lost is looked for beside those that are seen.
        camera: its name, for messages.

    Raises:
        InvalidInputError: positions of another form; from the first frame on, no dot at one of them.
        MissingPackageError: OpenCV is not installed.
    """

    def __init__(self, positions: ArrayLike, camera: str = "cam1") -> None:
        self._first, self.camera = check_positions(positions, camera), camera
        self._dots: list[Dot] = []
        self._before: Frame = np.zeros((0, 0, 3), np.uint8)
        self._flow, self._gains = Flow(), np.ones(3)
        self._exposure: Exposure | None = None
        self._size = np.zeros(2, int)
        self._apart = np.zeros((len(self._first), len(self._first), 2))

    @property
    def dots(self) -> tuple[Dot, ...]:
        """The dots with their colours and sizes; none before the first frame."""
        return tuple(self._dots)

    def follow(self, frames: Iterable[Frame]) -> Tracks:
        """The dots in the frames that come next.

        Args:
            frames: each `(height, width, 3)`, red, green, blue; taken one by one.

        Raises:
            InvalidInputError: a frame of another form or size; no dot at a first position.
        """
        views = [self.step(frame) for frame in frames]
        count = len(self._first)
        positions = np.array([view.positions for view in views]).reshape(-1, count, 2)
        return Tracks(positions, np.array([view.confidence for view in views]).reshape(-1, count))

    def restart(self) -> None:
        """Another recording of the same camera comes next: colours are kept, places are forgotten."""
        self._flow = Flow()
        for dot in self._dots:
            dot.lost, dot.velocity, dot.placed = int(self._size.max()), np.zeros(2), False
            dot.decoys, dot.waiting, dot.waited = np.zeros((0, 3)), None, 0

    def step(self, frame: Frame) -> DotView:
        """The dots in the next frame `(height, width, 3)`.

        Raises:
            InvalidInputError: a frame of another form or size; no dot at a first position.
        """
        frame = check_frame(frame)
        self._check_size(frame)
        self._flow.push(frame)
        if self._exposure is None:
            self._before = frame
            return self._begin(frame)
        self._gains = self._exposure.gains(frame)
        guesses, held = self._predict()
        patches = [self._look(frame, index, guesses, held) for index in range(len(self._dots))]
        view = self._report(self._choose(patches, guesses, held), patches, guesses, held)
        self._before = frame
        return view

    def _check_size(self, frame: Frame) -> None:
        size = np.array(frame.shape[1::-1])
        if self._dots and (size != self._size).any():
            raise InvalidInputError(
                f"camera {self.camera}: a frame of {size[0]} x {size[1]} pixels after frames of "
                f"{self._size[0]} x {self._size[1]}"
            )
        self._size = size

    def _begin(self, frame: Frame) -> DotView:
        dots = learn_dots(frame, self._first, self.camera)
        self._dots, self._exposure = dots, Exposure(frame)
        self._remember_pairs()
        return DotView(np.array([dot.position for dot in dots]), np.ones(len(dots)))

    def _predict(self) -> tuple[Array, NDArray[np.bool_]]:
        """Where dots may be now `(n_dots, 2)` [px], and which Lucas-Kanade leads there and back `(n_dots,)`."""
        last = np.array([dot.position for dot in self._dots])
        guesses = last + np.array([dot.velocity for dot in self._dots])
        seen = np.array([dot.lost == 0 for dot in self._dots])
        there, returned = self._flow.carry(last[seen], guesses[seen])
        held = np.zeros(len(last), bool)
        held[seen] = returned
        guesses[held] = there[returned]
        for index in np.flatnonzero(~seen):
            mates = np.flatnonzero(seen)
            if len(mates) and self._dots[index].waiting is None:
                guesses[index] = guesses[mates[0]] + self._apart[index, mates[0]]
        return guesses, held

    def _look(self, frame: Frame, index: int, guesses: Array, held: NDArray[np.bool_]) -> list[Blob]:
        """Patches of a dot's colour about its place, of any size.

        Where Lucas-Kanade led to none that is the dot, it followed something else, and its word is taken back.
        """
        dot = self._dots[index]
        if held[index]:
            others = [guesses[other] for other in self._alike(index) if held[other]]
            patches = look(frame, dot, self._gains, guesses[index], half_of_search(dot, True, True), others)
            if any(is_dot(dot, blob, True) for blob in patches):
                return patches
            held[index], guesses[index] = False, dot.position + dot.velocity
        if dot.lost == 0:
            self._remember_decoys(index)
        return look(frame, dot, self._gains, guesses[index], half_of_search(dot, False, self._is_led(index)))

    def _is_led(self, index: int) -> bool:
        """Whether another dot was seen in the frame before."""
        return any(dot.lost == 0 for other, dot in enumerate(self._dots) if other != index)

    def _alike(self, index: int) -> list[int]:
        """The other dots of the same colour."""
        dots = self._dots
        return [other for other in range(len(dots)) if other != index and dots[index].is_like(dots[other])]

    def _choose(self, patches: list[list[Blob]], guesses: Array, held: NDArray[np.bool_]) -> dict[int, Blob]:
        """The patch of each dot that is seen."""
        chosen: dict[int, Blob] = {}
        for index in sorted(range(len(self._dots)), key=lambda index: (not held[index], self._dots[index].lost)):
            options = self._within_reach(index, patches[index], guesses[index], bool(held[index]))
            blob = self._pick(index, self._free(index, options, chosen), guesses, held, chosen)
            if blob is not None:
                chosen[index] = blob
        return chosen

    def _within_reach(self, index: int, patches: list[Blob], guess: Array, held: bool) -> list[Blob]:
        """Patches that can be the dot, where it can have come to."""
        dot = self._dots[index]
        farthest = reach(dot, held, self._is_led(index))
        return [
            blob for blob in patches if is_dot(dot, blob, held) and np.linalg.norm(blob.position - guess) <= farthest
        ]

    def _free(self, index: int, blobs: list[Blob], chosen: dict[int, Blob]) -> list[Blob]:
        """Those that no other dot of the same colour was given."""
        taken = [chosen[other].position for other in self._alike(index) if other in chosen]
        radius = self._dots[index].radius
        return [blob for blob in blobs if all(np.linalg.norm(blob.position - place) > radius for place in taken)]

    def _pick(
        self, index: int, options: list[Blob], guesses: Array, held: NDArray[np.bool_], chosen: dict[int, Blob]
    ) -> Blob | None:
        """The nearest one, unless another dot or another patch would do about as well."""
        rivals = [other for other in self._alike(index) if other not in chosen]
        if not (self._dots[index].placed or rivals or self._is_led(index)):
            return _outstanding(options)
        options = sorted(options, key=lambda blob: float(np.linalg.norm(blob.position - guesses[index])))
        if not options or held[index]:
            return options[0] if options else None
        if rivals:
            return self._pick_of_pair(index, rivals, options, guesses)
        if len(options) == 1:
            return options[0]
        near, far = (float(np.linalg.norm(blob.position - guesses[index])) for blob in options[:2])
        return options[0] if near < 0.5 * far else None

    def _pick_of_pair(self, index: int, rivals: list[int], options: list[Blob], guesses: Array) -> Blob | None:
        """Of lost dots with one colour: by how they lay to each other, or the one that was much nearer."""
        if len(rivals) == 1 and len(options) == 2:
            apart = self._apart[index, rivals[0]]
            between = options[0].position - options[1].position
            cosine = between @ apart / max(1e-9, np.linalg.norm(between) * np.linalg.norm(apart))
            return None if abs(cosine) < 0.3 else options[0 if cosine > 0 else 1]
        mine = np.linalg.norm(options[0].position - guesses[index])
        theirs = min(np.linalg.norm(options[0].position - guesses[other]) for other in rivals)
        recent = max(self._dots[other].lost for other in (index, *rivals)) <= SHORT
        return options[0] if len(options) == 1 and recent and mine < 0.35 * theirs else None

    def _report(
        self, chosen: dict[int, Blob], patches: list[list[Blob]], guesses: Array, held: NDArray[np.bool_]
    ) -> DotView:
        positions = np.full((len(self._dots), 2), np.nan)
        confidence = np.zeros(len(self._dots))
        for index, dot in enumerate(self._dots):
            blob = chosen.get(index)
            if blob is None:
                blob = self._wait(index, self._free(index, patches[index], chosen), guesses[index])
            if blob is not None:
                confidence[index] = _confidence(dot, blob, bool(held[index]))
                dot.see(blob)
                positions[index] = dot.position
        self._remember_pairs()
        return DotView(positions, confidence)

    def _wait(self, index: int, patches: list[Blob], guess: Array) -> Blob | None:
        """Go on with a dot that is not seen; the patch in its place once that has kept its size for long enough."""
        dot = self._dots[index]
        farthest = 2 * dot.radius + 3.0 + DRIFT * dot.lost
        near = [
            blob
            for blob in patches
            if np.linalg.norm(blob.position - guess) < farthest and not is_near(dot.decoys, blob.position)
        ]
        part = max(near, key=lambda blob: blob.area, default=None)
        dot.miss(self._size)
        if part is None:
            dot.waiting, dot.waited = None, 0
            return None
        dot.position = part.position
        before, dot.waiting = dot.waiting, part
        same = before is not None and abs(np.log(part.area / before.area)) < SAME
        dot.waited = dot.waited + 1 if same else 0
        if dot.waited < PATIENCE or not fits(dot, part, TURNED):
            return None
        dot.area = part.area
        return part

    def _remember_decoys(self, index: int) -> None:
        """What else had the colour of a dot in the frame before, in which the dot was seen."""
        assert self._exposure is not None
        if not any(self._dots[other].lost for other in self._alike(index)):
            gains = self._exposure.gains(self._before)
            self._dots[index].decoys = find_decoys(self._before, self._dots[index], gains, self._dots)

    def _remember_pairs(self) -> None:
        """How dots lie to each other, where both are seen."""
        for first, dot in enumerate(self._dots):
            for second, other in enumerate(self._dots):
                if not dot.lost and not other.lost:
                    self._apart[first, second] = dot.position - other.position


def _outstanding(options: list[Blob]) -> Blob | None:
    """The largest one, if it is much larger than the others."""
    ranked = sorted(options, key=lambda blob: -blob.area)
    alone = len(ranked) == 1 or (len(ranked) > 1 and ranked[1].area < OUTSTANDING * ranked[0].area)
    return ranked[0] if alone else None


def _confidence(dot: Dot, blob: Blob, held: bool) -> float:
    """How well a patch agrees with the dot, 0 to 1."""
    size = np.exp(-abs(np.log(blob.area / dot.area)))
    return float(np.clip(size * min(1.0, blob.peak) * (1.0 if held else 0.7), 0.05, 1.0))
