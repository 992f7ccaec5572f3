"""What the files of a recording hold: checked, changed, damaged, or written as other programs do."""

from __future__ import annotations

import json

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.testing import assert_allclose, assert_array_equal
from recordings import CAMERAS, LENGTHS, joints, label, picture

from hybrid_ik.pixels.recordings.dataset import open_dataset

DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
FRONT = "videos/observation.images.front/chunk-000/file-000.mp4"


def check_whole(root, lengths=LENGTHS):
    """Everything in a recording is what `record` put in."""
    dataset = open_dataset(root)
    dataset.verify()
    assert [episode.length for episode in dataset.episodes] == list(lengths)
    for episode in dataset.episodes:
        expected = joints(episode.index, episode.length)
        assert_array_equal(episode.joints, expected)
        assert_array_equal(episode.actions, expected + 1)
        assert_allclose(episode.timestamps, np.arange(episode.length) / 10, rtol=1e-6)
        for number, camera in enumerate(CAMERAS):
            found = [label(image) for image in episode.frames(camera)]
            assert found == [(number, episode.index, frame) for frame in range(episode.length)]


def change_info(root, change):
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def change_table(path, change):
    """Rewrite a parquet file; `change` gets its columns as lists."""
    columns = pq.read_table(path).to_pydict()
    change(columns)
    pq.write_table(pa.table(columns), path)


def overwrite(path, frame, with_bytes):
    """Put other bytes in the place of a frame's packet."""
    with av.open(str(path)) as container:
        packets = [(packet.pts, packet.pos, packet.size) for packet in container.demux() if packet.size]
    _, start, size = sorted(packets)[frame]
    data = bytearray(path.read_bytes())
    data[start : start + size] = with_bytes(size, data[start : start + size])
    path.write_bytes(data)


def write_out_of_order(path, **options):
    """The front camera's video as an encoder makes it that refers to later pictures."""
    options = {"g": "20", "bf": "3", "b_strategy": "0", **options}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for episode, length in enumerate(LENGTHS):
            for frame in range(length):
                image = av.VideoFrame.from_ndarray(picture("front", episode, frame), format="rgb24")
                container.mux(stream.encode(image))
        container.mux(stream.encode(None))
