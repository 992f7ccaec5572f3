"""Dots drawn into the frames they were found in, to be looked at: as pictures and as a video."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ik.checkpoint import write_atomically
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.dots.pictures import Array, Frame, check_frame, opencv
from hybrid_ik.pixels.dots.tracks import Tracks
from hybrid_ik.pixels.packages import vision_package

TRAIL = 20  # frames
CROSS = 8  # px, from its middle
COLOURS = ((255, 220, 0), (0, 230, 255), (255, 90, 220), (120, 255, 90))  # of the dots, one after the other
LOST = (255, 255, 255)
CODECS = ("libx264", "mpeg4")  # the first that there is
FINE = 16  # parts of a pixel, in which OpenCV is told where to draw


def draw_dots(frame: Frame, tracks: Tracks, index: int) -> Frame:
    """A copy of a frame with a cross on every dot, its way of the last 20 frames, and its number.

    Beside that stands how sure the tracker was; nothing where that is NaN.

    Where a dot is not seen, a white square with a question mark stands where it was seen last.

    Args:
        frame: `(height, width, 3)`.
        tracks: of the whole recording.
        index: of the frame in it.

    Raises:
        InvalidInputError: a frame of another form, or one that the recording does not have.
    """
    picture = check_frame(frame).copy()
    if not 0 <= index < len(tracks.positions):
        raise InvalidInputError(f"frame {index}: the dots were followed through {len(tracks.positions)} frames")
    for dot in range(tracks.positions.shape[1]):
        way = tracks.positions[: index + 1, dot]
        _draw_way(picture, way[-TRAIL:], COLOURS[dot % len(COLOURS)])
        if np.isfinite(way[-1]).all():
            sure = tracks.confidence[index, dot]
            words = f"{dot + 1} {sure:.2f}" if np.isfinite(sure) else f"{dot + 1}"
            _draw_cross(picture, way[-1], words, COLOURS[dot % len(COLOURS)])
        else:
            _draw_lost(picture, way, f"{dot + 1} ?")
    return picture


def write_annotated_video(path: str | Path, frames: Iterable[Frame], tracks: Tracks, fps: float) -> None:
    """Write the frames with the dots drawn as an mp4; one frame at a time, and atomically.

    Args:
        path: of the file, which ends in `.mp4`.
        frames: each `(height, width, 3)`; an odd last row or column is left out.
        tracks: of these frames.
        fps: frames a second.

    Raises:
        InvalidInputError: no frames, more than there are positions, or no positive rate.
        MissingPackageError: PyAV or OpenCV is not installed.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise InvalidInputError(f"fps: expected a positive number of frames a second, got {fps}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = (draw_dots(frame, tracks, index) for index, frame in enumerate(frames))
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".mp4", dir=path.parent)
    os.close(handle)
    try:
        _encode(temporary, drawn, fps)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_annotated_frames(
    folder: str | Path, frames: Iterable[Frame], tracks: Tracks, every: int = 30, camera: str = "cam1", first: int = 0
) -> list[Path]:
    """Write every so many frames with the dots drawn as PNG files, and return their paths; `first` is in their names.

    Raises:
        InvalidInputError: a frame that the tracks do not have, or `every` below 1.
    """
    if every < 1:
        raise InvalidInputError(f"every: expected at least 1 frame, got {every}")
    paths = []
    for index, frame in enumerate(frames):
        if index % every == 0:
            paths.append(Path(folder) / f"{camera}_{first + index:06d}.png")
            _, data = opencv().imencode(".png", draw_dots(frame, tracks, index)[..., ::-1])
            write_atomically(paths[-1], data.tobytes())
    return paths


def _encode(path: str, frames: Iterator[Frame], fps: float) -> None:
    av = vision_package("av")
    stream: Any = None
    with av.open(path, "w") as file:
        for frame in frames:
            even = np.ascontiguousarray(frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2])
            stream = stream or _new_stream(av, file, even, fps)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(even, "rgb24")))
        if stream is None:
            raise InvalidInputError("a video needs at least one frame, got none")
        file.mux(stream.encode(None))


def _new_stream(av: Any, file: Any, frame: Frame, fps: float) -> Any:
    codec = next(name for name in CODECS if name in av.codecs_available)
    stream = file.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
    stream.height, stream.width, stream.pix_fmt = frame.shape[0], frame.shape[1], "yuv420p"
    return stream


def _draw_cross(picture: Frame, place: Array, text: str, colour: tuple[int, int, int]) -> None:
    for step in (np.array([CROSS, 0.0]), np.array([0.0, CROSS])):
        _line(picture, place - step, place - 0.25 * step, colour)  # free in the middle, where the dot is
        _line(picture, place + 0.25 * step, place + step, colour)
    _write(picture, place, text, colour)


def _draw_lost(picture: Frame, way: Array, text: str) -> None:
    known = np.flatnonzero(np.isfinite(way[:, 0]))
    if not len(known):
        return
    place = way[known[-1]]
    corners = place + CROSS * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    for begin, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        _line(picture, begin, end, LOST)
    _write(picture, place, text, LOST)


def _draw_way(picture: Frame, way: Array, colour: tuple[int, int, int]) -> None:
    for begin, end in pairwise(way):
        if np.isfinite(begin).all() and np.isfinite(end).all():
            _line(picture, begin, end, colour)


def _line(picture: Frame, begin: Array, end: Array, colour: tuple[int, int, int]) -> None:
    cv2 = opencv()
    points = [np.rint(point * FINE).astype(int).tolist() for point in (begin, end)]
    cv2.line(picture, *points, colour, 1, cv2.LINE_AA, 4)


def _write(picture: Frame, place: Array, text: str, colour: tuple[int, int, int]) -> None:
    cv2 = opencv()
    corner = np.rint(place + np.array([CROSS + 2, -CROSS])).astype(int).tolist()
    cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 2, cv2.LINE_AA)
    cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
