"""The middle of a disc that is cut, by the moments of what is left of it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from hybrid_ik.pixels.dots.ball import disc, round_part, towards_hidden
from hybrid_ik.pixels.dots.blobs import Box, find_blobs

FINE, SIDE = 8, 40  # parts of a pixel, pixels
BOX = Box(0, 0, SIDE, SIDE)


def _patch(centre, radius, cut, angle, way=(0.0, 0.0)):
    """The patch of a disc that a line cuts off beyond `cut` radii in a direction, moving along a way meanwhile."""
    places = (np.arange(SIDE * FINE) + 0.5) / FINE - 0.5
    x, y = np.meshgrid(places, places)
    share = np.zeros((SIDE, SIDE))
    for part in np.linspace(-0.5, 0.5, 9):
        dx, dy = x - centre[0] - part * way[0], y - centre[1] - part * way[1]
        inside = (np.hypot(dx, dy) < radius) & (dx * np.cos(angle) + dy * np.sin(angle) < cut * radius)
        share += inside.reshape(SIDE, FINE, SIDE, FINE).mean((1, 3)) / 9
    return find_blobs(share.astype(np.float32), BOX)[0]


@pytest.mark.parametrize("angle", np.linspace(0.2, 6.0, 5))
@pytest.mark.parametrize("cut", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_middle_of_a_cut_disc_is_found(cut, angle):
    centre, radius = np.array([19.3, 20.6]), 6.0
    patch = _patch(centre, radius, cut, angle)
    missed = patch.position + towards_hidden(patch.spread, patch.skew) - centre
    assert np.linalg.norm(missed) < 0.06 * radius
    if cut < 0.6:  # without it, the centre of what is seen is far off
        assert np.linalg.norm(patch.position - centre) > 0.15 * radius
    assert disc(patch.spread) == pytest.approx(np.pi * radius**2, rel=0.15)


def test_the_way_of_a_moving_disc_is_no_cut():
    way = np.array([4.0, 3.0])  # while the shutter is open: half of the time
    patch = _patch(np.array([20.0, 20.0]), 5.0, 1.0, 0.0, way)
    assert np.linalg.norm(towards_hidden(round_part(patch, 2 * way), np.ones(2))) < 0.25
    assert np.linalg.norm(towards_hidden(round_part(patch, 0 * way), np.ones(2))) > 0.5
