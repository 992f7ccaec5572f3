"""Pictures of a video, one after the other, each known to be the right one by its time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.errors import DatasetError
from hybrid_ik.pixels.packages import vision_package

if TYPE_CHECKING:
    from av import VideoFrame

Image = NDArray[np.uint8]
LEAVE_OUT = "leave this episode out (leave_out, or --leave-out)"


@dataclass(frozen=True)
class Clip:
    """The part of a video file that belongs to one episode."""

    path: Path
    """The file, which other episodes may share."""
    label: str
    """What errors begin with: dataset, episode and camera."""
    start_time: float
    """Time of the episode's first frame in the file [s]."""
    fps: float
    """Frames a second."""
    length: int
    """Number of frames."""
    height: int
    """Of a picture [pixels]."""
    width: int
    """Of a picture [pixels]."""

    def place(self, ticks: int | None, time_base: Fraction) -> float:
        """Number of a frame in the episode, between whole numbers where times are not exact; NaN where unknown."""
        return math.nan if ticks is None else (float(ticks * time_base) - self.start_time) * self.fps

    def error(self, frame: int, what: str) -> DatasetError:
        """What is wrong with a frame."""
        return DatasetError(
            f"{self.label}, frame {frame} of {self.length}: {what} ({self.path}). Fetch the file again, or {LEAVE_OUT}"
        )


def read_frames(clip: Clip, start: int, stop: int) -> Iterator[Image]:
    """Pictures `(height, width, 3)`, uint8 RGB, of the frames from `start` up to `stop`; one in memory at a time.

    Frame k is the picture whose time is nearest to `start_time + k / fps`; that no other frame lies between is checked.

    Raises:
        DatasetError: a file that is missing or damaged, a frame that is missing, damaged or of another size.
        MissingPackageError: PyAV is not installed.
    """
    if start == stop:
        return
    expected = start
    with _opened(clip) as (container, stream):
        for place, frame in _frames_around(clip, container, stream, start):
            if place < expected - 0.5:  # on the way from a keyframe
                continue
            if not place <= expected + 0.5:
                raise clip.error(expected, f"it is missing; the next frame in the video is {place:.4g}")
            yield _picture(clip, frame, expected)
            expected += 1
            if expected == stop:
                return
    raise clip.error(expected, "the video ends before it")


def check_video(clip: Clip) -> None:
    """Check that there is a video, of the right size, that lasts to the end of the episode; nothing is decoded.

    Raises:
        DatasetError: it is missing, damaged, of another size or too short.
        MissingPackageError: PyAV is not installed.
    """
    with _opened(clip) as (_, stream):
        _check_size(clip, stream.height, stream.width, 0)
        if stream.duration is None or stream.time_base is None:
            return
        end = round(clip.place((stream.start_time or 0) + stream.duration, stream.time_base))
        if end < clip.length:
            raise clip.error(max(0, end), "the video ends before it")


@contextmanager
def _opened(clip: Clip) -> Iterator[tuple[Any, Any]]:
    """The container of a clip and its stream of pictures."""
    av = vision_package("av")
    if not clip.path.is_file():
        raise clip.error(0, "there is no such video file")
    try:
        container = av.open(str(clip.path))
    except (av.FFmpegError, ValueError) as error:
        raise clip.error(0, f"it is no video that can be read: {_reason(error)}") from error
    with container:
        if not container.streams.video:
            raise clip.error(0, "it is no video that can be read: there are no pictures in it")
        stream = container.streams.video[0]
        if stream.codec_context.codec.name == "libdav1d":  # with more, frames before a damaged one are lost
            stream.codec_context.options = {"max_frame_delay": "1"}
        yield container, stream


def _frames_around(clip: Clip, container: Any, stream: Any, first: int) -> Iterator[tuple[float, VideoFrame]]:
    """Frames, and their places, from a keyframe at or before `first`.

    From the beginning of the file where its index leads beyond it.
    """
    time = max(0.0, clip.start_time + first / clip.fps)
    container.seek(round(time / stream.time_base), stream=stream)
    frames = _decoded(clip, container, stream)
    head = next(frames, None)
    if head is not None and head[0] <= first + 0.5:
        return chain([head], frames)
    container.seek(0, stream=stream)
    return _decoded(clip, container, stream)


def _decoded(clip: Clip, container: Any, stream: Any) -> Iterator[tuple[float, VideoFrame]]:
    """Frames as they are decoded, and their places; those before a damaged one are handed out before it is an error."""
    av = vision_package("av")
    for packet in container.demux(stream):
        failed = None
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            failed, frames = error, _left_over(stream)
        for frame in frames:
            yield clip.place(frame.pts, stream.time_base), frame
        if failed is not None:
            place = clip.place(packet.pts, stream.time_base)
            number = 0 if math.isnan(place) else round(place)
            raise clip.error(number, f"it cannot be decoded: {_reason(failed)}") from failed


def _reason(error: Exception) -> str:
    """What FFmpeg says, without the number and place of its error."""
    return getattr(error, "strerror", None) or str(error)


def _left_over(stream: Any) -> list[VideoFrame]:
    """What a decoder still holds of frames that came before a damaged one."""
    try:
        return list(stream.codec_context.decode(None))
    except vision_package("av").FFmpegError:
        return []


def _picture(clip: Clip, frame: VideoFrame, number: int) -> Image:
    if frame.is_corrupt:
        raise clip.error(number, "it is damaged")
    _check_size(clip, frame.height, frame.width, number)
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _check_size(clip: Clip, height: int, width: int, number: int) -> None:
    if (height, width) != (clip.height, clip.width):
        raise clip.error(
            number, f"the picture has {width} x {height} pixels, and the metadata says {clip.width} x {clip.height}"
        )
