"""Small recordings whose pictures say which frame they are."""

from __future__ import annotations

import numpy as np

from hybrid_ik.pixels.recordings.writer import DatasetWriter

LENGTHS = 12, 1, 25, 11  # frames of the episodes of the usual one
CAMERAS = {"front": (64, 96), "top": (96, 64)}
SIDE, COLUMNS = 16, 4  # pixels of a square, squares in a row; 16 squares are the bits of a number


def picture(camera: str, episode: int, frame: int) -> np.ndarray:
    """A picture with camera, episode and frame written into it as black and white squares, on a coloured ground."""
    number = list(CAMERAS).index(camera) << 15 | episode << 10 | frame
    out = np.empty((*CAMERAS[camera], 3), np.uint8)
    out[:] = 40 * episode % 200, 90, 8 * frame % 200
    for bit in range(16):
        row, column = (SIDE * place for place in divmod(bit, COLUMNS))
        out[row : row + SIDE, column : column + SIDE] = 230 * (number >> bit & 1) + 10
    return out


def label(image: np.ndarray) -> tuple[int, int, int]:
    """Camera, episode and frame that a picture says it is."""
    squares = image[: 4 * SIDE, : COLUMNS * SIDE].reshape(4, SIDE, COLUMNS, SIDE, 3)
    number = int((squares.mean((1, 3, 4)).ravel() > 127) @ (1 << np.arange(16)))
    return number >> 15, number >> 10 & 31, number & 1023


def joints(episode: int, n: int) -> np.ndarray:
    """Joints `(n, 6)` of an episode in degrees, in single precision as they are stored."""
    rng = np.random.default_rng(episode)
    return rng.uniform([-90] * 5 + [0], [90] * 5 + [100], (n, 6)).astype(np.float32)


def writer(root, **settings) -> DatasetWriter:
    return DatasetWriter(root, **{"fps": 10, "cameras": CAMERAS, "units": "degrees", **settings})


def add_frames(recorder, episode: int, n: int) -> None:
    q = joints(episode, n)
    for frame in range(n):
        recorder.add(q[frame], {name: picture(name, episode, frame) for name in CAMERAS}, q[frame] + 1)


def record(root, lengths, **settings) -> DatasetWriter:
    """Record episodes of these lengths, or go on with them where some are there."""
    made = writer(root, **settings)
    for episode in range(made.n_episodes, len(lengths)):
        with made.episode(f"task {episode % 2}") as recorder:
            add_frames(recorder, episode, lengths[episode])
    return made
