"""Videos of episodes: pictures are encoded as they come, and whole videos are joined without encoding them again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.pixels.packages import vision_package

Codec = Literal["av1", "h264"]

# No B frames: pictures lie in the file in the order they are shown, and its first n packets are its first n pictures.
# Preset 10: 12 is quicker by half, and warned of by SVT-AV1 itself for its artefacts.
ENCODERS: dict[Codec, tuple[str, dict[str, str]]] = {
    "av1": ("libsvtav1", {"preset": "10", "crf": "30", "svtav1-params": "lp=1:pred-struct=1"}),
    "h264": ("libx264", {"preset": "veryfast", "crf": "23", "bf": "0"}),
}
KEYFRAME_INTERVAL = 10  # frames; a jump decodes 9 more than it wants at worst, some 12 ms at 640 x 480


class VideoWriter:
    """A video that is being written; the file is whole after `close` only.

    Args:
        path: where to.
        fps: frames a second.
        height: of a picture [pixels], even.
        width: of a picture [pixels], even.
        codec: "av1" or "h264".

    Raises:
        MissingPackageError: PyAV is not installed.
    """

    def __init__(self, path: Path, fps: int, height: int, width: int, codec: Codec = "av1") -> None:
        os.environ.setdefault("SVT_LOG", "1")  # errors only; else it writes 20 lines on the screen
        self._av = vision_package("av")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.height, self.width, self.n_frames = path, height, width, 0
        self._container = self._av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        name, options = ENCODERS[codec]
        self._stream = self._container.add_stream(name, rate=fps, options={"g": str(KEYFRAME_INTERVAL), **options})
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.thread_count = 1

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Encode the next picture `(height, width, 3)`, RGB."""
        frame = self._av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = self.n_frames
        self._container.mux(self._stream.encode(frame))
        self.n_frames += 1

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def discard(self) -> None:
        """Stop, and remove the file."""
        self._container.close()
        self.path.unlink(missing_ok=True)


def join_videos(path: Path, parts: Sequence[tuple[Path, int]], fps: int) -> None:
    """Write the first n frames of each video, for parts `(video, n)`, one after the other, as one video.

    The videos must be of the same `VideoWriter` settings (`can_join`).
    """
    av = vision_package("av")
    count = 0
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as target:
        out = None
        for part, n_frames in parts:
            with av.open(str(part)) as source:
                stream = source.streams.video[0]
                out = out or target.add_stream_from_template(stream, opaque=True)
                for packet, _ in zip(_packets(source, stream), range(n_frames), strict=False):
                    packet.pts = packet.dts = count * round(1 / (fps * Fraction(stream.time_base)))
                    packet.stream = out
                    target.mux_one(packet)
                    count += 1


def can_join(first: Path, second: Path) -> bool:
    """Whether two videos have the same codec, size and encoder settings, so that one decoder reads both."""
    return _heading(first) == _heading(second)


def _heading(path: Path) -> tuple[object, ...]:
    with vision_package("av").open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        return stream.time_base, context.codec.id, context.width, context.height, context.extradata


def _packets(source: Any, stream: Any) -> Iterator[Any]:
    """Packets with pictures in them."""
    return (packet for packet in source.demux(stream) if packet.size)
