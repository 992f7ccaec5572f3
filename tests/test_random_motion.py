"""Random motion of an arm: within its bounds, smooth, and where it is allowed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pixels.random_motion import INTERVAL, random_motion


def test_the_motion_keeps_its_bounds():
    low, high, speed = np.array([-1.0, 0.2, 0.5]), np.array([1.0, 1.5, 0.5]), 1.2
    motion = random_motion(
        np.random.default_rng(1), low, high, 30.0, allowed=lambda q: np.ones(len(q), bool), speed=speed
    )
    t = np.linspace(0, 30, 30_001)
    q = motion(t)
    assert (q >= low - 1e-9).all() and (q <= high + 1e-9).all() and np.ptp(q[:, 2]) < 1e-12
    velocity = np.diff(q, axis=0) / t[1]
    assert 0.7 * speed < np.abs(velocity).max() < speed + 1e-6
    assert np.abs(np.diff(velocity, axis=0) / t[1]).max() < 2 * speed / INTERVAL + 1e-3
    assert motion.end >= 30.0


def test_the_motion_is_smooth_and_passes_its_own_times_only():
    motion = random_motion(np.random.default_rng(1), [-1.0], [1.0], 4.0, allowed=lambda q: np.ones(len(q), bool))
    at = INTERVAL * np.arange(1, 9)
    before, after = (motion(at + 1e-3 * k) for k in (-1, 1))
    assert_allclose(before - 2 * motion(at) + after, 0, atol=1e-5)
    with pytest.raises(InvalidInputError, match="times: expected 0 to"):
        motion(motion.end + 1)


def test_the_motion_goes_where_it_is_allowed():
    motion = random_motion(
        np.random.default_rng(5), [-1.0, -1.0], [1.0, 1.0], 30.0, allowed=lambda q: np.linalg.norm(q, axis=-1) > 0.3
    )
    assert np.linalg.norm(motion(np.linspace(0, 30, 3000)), axis=-1).min() > 0.27  # it is asked at some places only
    with pytest.raises(InvalidInputError, match="widen the bounds"):
        random_motion(np.random.default_rng(5), [0.0], [1.0], 1.0, allowed=lambda q: np.zeros(len(q), bool))
