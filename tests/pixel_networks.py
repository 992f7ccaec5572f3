"""Networks from pixels that are small, and trained for a moment."""

from __future__ import annotations

from hybrid_ik.learning.networks import NetworkConfig
from hybrid_ik.learning.pixels import PixelConfig

SMALL = NetworkConfig(width=24, depth=2, trunk_width=32, trunk_depth=2)


def small_config(out) -> PixelConfig:
    return PixelConfig(
        epochs=4, batch=64, sizes=(32, 16), warmup=5, log_interval=10, checkpoint_interval=1000, tensorboard=False,
        device="cpu", network=SMALL, noises_per_row=2, ema_decay=0.9, out=out,
    )  # fmt: skip
