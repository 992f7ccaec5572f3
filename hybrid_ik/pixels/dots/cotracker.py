"""Dots followed by CoTracker3, a network for points of any kind; an option, and not for commercial use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hybrid_ik.errors import InvalidInputError, MissingPackageError
from hybrid_ik.pixels.dots.pictures import Array, Frame, check_frame, check_positions
from hybrid_ik.pixels.dots.tracks import Tracks

REPOSITORY, MODEL = "facebookresearch/co-tracker", "cotracker3_online"
LICENCE = "CoTracker3 is licensed CC-BY-NC 4.0: not for commercial use"


class CoTracker:
    """Follows dots, or any points, with CoTracker3 of Meta, in windows of 16 frames.

    Its licence is CC-BY-NC 4.0: code and weights are not for commercial use. They are fetched by `torch.hub` when the
    first frame comes, and kept in its folder; nothing of them is part of this package. Positions are as that network
    gives them, without the correction by the colour that `DotTracker` makes. Not tried with the real weights here.

    Args:
        positions: x y of each dot in the first frame `(n_dots, 2)` [px].
        camera: its name, for messages.
        device: of torch, such as `cuda`.

    Raises:
        InvalidInputError: positions of another form.
    """

    def __init__(self, positions: ArrayLike, camera: str = "cam1", device: str = "cpu") -> None:
        self._first, self.camera, self.device = check_positions(positions, camera), camera, device
        self._model: Any = None

    def follow(self, frames: Iterable[Frame]) -> Tracks:
        """The dots in one recording, as `DotTracker.follow`; the confidence is 1 where a dot is seen.

        Raises:
            InvalidInputError: no frames, or a frame of another form.
            MissingPackageError: torch, or CoTracker3, could not be loaded.
        """
        model = self._model = self._model or _load(self.device)
        positions, seen = self._run(model, (check_frame(frame) for frame in frames))
        return Tracks(np.where(seen[..., None], positions, np.nan), seen.astype(np.float64))

    def _run(self, model: Any, frames: Iterator[Frame]) -> tuple[Array, Array]:
        """Positions and visibility from windows that overlap by half; the model keeps what it has found so far."""
        import torch

        step = int(model.step)
        window = list(islice(frames, 2 * step))
        if not window:
            raise InvalidInputError(f"camera {self.camera}: expected at least one frame, got none")
        queries = np.c_[np.zeros(len(self._first)), self._first]
        with torch.no_grad():
            model(
                video_chunk=self._tensor(window),
                is_first_step=True,
                queries=torch.as_tensor(queries, dtype=torch.float32, device=self.device)[None],
            )
            while True:
                tracks, visible = model(video_chunk=self._tensor(window))
                more = list(islice(frames, step))
                if not more:
                    break
                window = window[step:] + more
        flags = visible[0].reshape(visible.shape[1], -1)
        return tracks[0].double().cpu().numpy(), flags.bool().cpu().numpy()

    def _tensor(self, window: list[Frame]) -> Any:
        """Frames as the model takes them `(1, n, 3, height, width)`, 0 to 255."""
        import torch

        return torch.as_tensor(np.stack(window)).permute(0, 3, 1, 2)[None].float().to(self.device)


@cache
def _load(device: str) -> Any:
    try:
        import torch

        return torch.hub.load(REPOSITORY, MODEL, trust_repo=True).to(device)
    except Exception as error:
        raise MissingPackageError(
            f"CoTracker3 could not be loaded by torch.hub from {REPOSITORY} ({type(error).__name__}: {error}); that "
            f"needs torch, and the network once; DotTracker needs neither. {LICENCE}"
        ) from error
