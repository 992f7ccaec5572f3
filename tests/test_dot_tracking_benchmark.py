"""The benchmark of dots that are followed: it counts what it says."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import dot_tracking


def test_lost_wrong_and_invented_are_counted():
    error = np.array([0.5, 1.5, np.nan, 9.0, 0.5, np.nan])
    shares = np.array([1.0, 0.6, 0.5, 0.8, 0.05, 0.2], np.float32)
    found = dot_tracking.rates(error, shares)
    assert found["median [px]"] == 1.0 and found["reported"] == pytest.approx(4 / 6)
    assert found["lost"] == pytest.approx(1 / 4)  # of the four that are visible
    assert found["wrong"] == pytest.approx(1 / 4)  # of the four that are reported
    assert found["invented"] == pytest.approx(1 / 6)


def test_dots_that_were_proposed_the_other_way_round_are_not_wrong():
    pixels = np.random.default_rng(0).uniform(0, 640, (20, 2, 2, 2))
    truth = SimpleNamespace(pixels=pixels)
    for positions in (pixels + 0.1, pixels[:, :, ::-1] + 0.1):
        np.testing.assert_allclose(dot_tracking.in_order_of_truth(positions, truth), pixels + 0.1)
