"""Cubic segments of curves: lengths, points, bounds, and where they cross a level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.testing import assert_allclose

from hybrid_ik.kernels.cut_loops import Curves, cross
from hybrid_ik.solution_sets.hermite import Segments


@njit
def _roots(c0, c1, c2, c3, end):
    """Places in [0, 1] where a polynomial is 0, as the compiled loops find them."""
    one, events, crossed = np.zeros((1, 1)), np.empty(8), np.empty((8, 2), np.int64)
    curves = Curves(one, one, one, one, np.ones(1), np.zeros(1), np.zeros(1, np.int64), np.ones(1), one)
    return events[: cross(curves, 0, c0, c1, c2, c3, end, 0, 1, events, crossed, 0, 0)]


def crossings(coefficients, level, end=None):
    """Which polynomials `(4, m)` cross their level, and where; `end` are their values at 1, if these are known."""
    end = coefficients.sum(0) if end is None else end
    found = [_roots(*(c - [x, 0, 0, 0]), y - x) for c, x, y in zip(coefficients.T, level, end, strict=True)]
    which = np.repeat(np.arange(len(found)), [len(u) for u in found])
    return which, np.concatenate([np.empty(0), *found])


def _circle(n, radius=1.0, begin=0.0, end=2 * np.pi):
    """An arc in three joints, the third of which rests, as n segments."""
    a = np.linspace(begin, end, n + 1)
    q = np.stack([radius * np.cos(a), radius * np.sin(a), np.full_like(a, 0.3)], 1)
    t = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], 1)
    return Segments(q[:-1], q[1:], t[:-1], t[1:])


def _random_segments(n, dof=5, bend=0.3, seed=0):
    rng = np.random.default_rng(seed)
    q0, way = rng.normal(size=(n, dof)), rng.normal(size=(n, dof))
    q1 = q0 + 0.2 * way
    t0, t1 = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in way + bend * rng.normal(size=(2, n, dof)))
    return Segments(q0, q1, t0, t1)


def _all_at(segments, u):
    """Points of every segment at each share u, (n, len(u), dof)."""
    n = len(segments.q0)
    q, t = segments.at(np.repeat(np.arange(n), len(u)), np.tile(u, n))
    return q.reshape(n, len(u), -1), t.reshape(n, len(u), -1)


@pytest.mark.parametrize(("n", "bound"), [(25, 1e-5), (100, 4e-8)])
@pytest.mark.parametrize("radius", [0.01, 1.0, 40.0])
def test_the_length_of_a_circle_is_known(n, bound, radius):
    segments = _circle(n, radius)
    assert_allclose(segments.length.sum(), 2 * np.pi * radius, rtol=bound)
    assert_allclose(segments.length, segments.length[0], rtol=1e-12)


def test_lengths_are_those_of_fine_quadrature():
    segments, u = _random_segments(200), np.linspace(0.0, 1.0, 2001)
    q, _ = _all_at(segments, u)
    chords = np.linalg.norm(np.diff(q, axis=1), axis=-1).sum(1)
    assert_allclose(segments.length, chords, rtol=5e-3)
    gentle = _random_segments(200, bend=0.03)
    q, _ = _all_at(gentle, u)
    assert_allclose(gentle.length, np.linalg.norm(np.diff(q, axis=1), axis=-1).sum(1), rtol=1e-6)


def test_a_straight_segment_is_as_long_as_its_chord_and_evenly_run_through():
    q0, q1 = np.array([[1.0, -2.0, 0.5]]), np.array([[1.0, 2.0, 3.5]])
    t = (q1 - q0) / 5.0
    segments = Segments(q0, q1, t, t)
    assert_allclose(segments.length, [5.0], rtol=1e-14)
    u = np.linspace(0.0, 1.0, 7)
    q, tangent = _all_at(segments, u)
    assert_allclose(q[0], q0 + u[:, None] * (q1 - q0), atol=1e-14)
    assert_allclose(tangent[0], np.tile(t, (7, 1)), atol=1e-14)
    assert_allclose(np.stack(segments.bounds)[:, 0], [q0[0], q1[0]], atol=1e-14)


def test_segments_begin_and_end_at_their_points_and_along_their_tangents():
    segments = _random_segments(50)
    q, t = _all_at(segments, np.array([0.0, 1.0]))
    assert_allclose(q, np.stack([segments.q0, segments.q1], 1), atol=1e-14)
    assert_allclose(t, np.stack([segments.t0, segments.t1], 1), atol=1e-13)


def test_tangents_between_are_unit_vectors_along_the_curve_by_finite_differences():
    segments, h = _random_segments(20), 1e-6
    for u in (0.2, 0.5, 0.9):
        q, t = _all_at(segments, np.array([u - h, u, u + h]))
        way = q[:, 2] - q[:, 0]
        assert_allclose(t[:, 1], way / np.linalg.norm(way, axis=1, keepdims=True), atol=1e-8)
        assert_allclose(np.linalg.norm(t, axis=-1), 1.0, atol=1e-14)


def test_the_parameter_is_nearly_the_share_of_the_way():
    q, _ = _all_at(_circle(25), np.linspace(0.0, 1.0, 11))
    angle = np.unwrap(np.arctan2(q[..., 1], q[..., 0]).ravel()).reshape(25, 11)
    share = (angle - angle[:, :1]) / (angle[:, -1:] - angle[:, :1])
    assert_allclose(share, np.tile(np.linspace(0, 1, 11), (25, 1)), atol=1e-4)


def test_points_of_a_circle_are_off_by_the_fourth_power_of_the_step():
    off = []
    for n in (16, 32):
        q, _ = _all_at(_circle(n), np.linspace(0.0, 1.0, 21))
        off.append(np.abs(np.hypot(q[..., 0], q[..., 1]) - 1.0).max())
    assert off[0] < 1e-4 and 12.0 < off[0] / off[1] < 20.0


def test_bounds_hold_the_whole_curve_and_are_not_far_off():
    segments = _random_segments(300)
    q, _ = _all_at(segments, np.linspace(0.0, 1.0, 101))
    low, high = segments.bounds
    assert (q >= low[:, None] - 1e-14).all() and (q <= high[:, None] + 1e-14).all()
    assert (high - low <= 3.0 * np.ptp(q, axis=1) + 0.5 * segments.length[:, None]).all()


def test_the_coefficients_are_those_of_the_points_and_of_the_slopes_at_both_ends():
    segments = _random_segments(50)
    c, length = segments.coefficients, segments.length[:, None]
    for u in (0.0, 0.3, 1.0):
        assert_allclose(_value(c, u), _all_at(segments, np.array([u]))[0][:, 0], rtol=1e-14)
    assert_allclose(c[1], length * segments.t0, rtol=1e-14)
    assert_allclose(c[1] + 2.0 * c[2] + 3.0 * c[3], length * segments.t1, atol=1e-13)


def test_no_segments_have_no_lengths():
    none = np.empty((0, 3))
    segments = Segments(none, none, none, none)
    assert segments.length.shape == (0,) and segments.coefficients.shape == (4, 0, 3)
    q, t = segments.at(np.empty(0, int), np.empty(0))
    assert q.shape == t.shape == (0, 3)
    which, u = crossings(np.empty((4, 0)), np.empty(0))
    assert len(which) == len(u) == 0


def _value(c, u):
    return c[0] + u * (c[1] + u * (c[2] + u * c[3]))


def _expected_roots(c, level):
    """Roots of a cubic minus a level strictly within (0, 1) by numpy, where it crosses."""
    polynomial = np.trim_zeros([c[3], c[2], c[1], c[0] - level], "f")
    roots = np.roots(polynomial) if len(polynomial) > 1 else np.empty(0)
    return np.sort(roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 0.0) & (roots.real < 1.0)].real)


def _is_plain(c, level):
    """Whether no root lies at an end, and none is nearly a double one: numpy would be no judge there."""
    turning = np.roots(np.trim_zeros([3 * c[3], 2 * c[2], c[1]], "f")) if np.any(c[1:]) else np.empty(0)
    places = [0.0, 1.0, *turning[np.abs(turning.imag) < 1e-9].real]
    return all(abs(_value(c, u) - level) > 0.01 for u in places) and all(
        abs(u.imag) > 0.05 or not u.imag for u in turning
    )


coefficient = st.floats(-2.0, 2.0).map(lambda x: round(x, 4) + 0.0)  # no -0.0


@settings(max_examples=300, deadline=None, derandomize=True)
@given(c=st.tuples(coefficient, coefficient, coefficient, coefficient), level=coefficient)
@example(c=(0.0, 0.0, 0.0, 1.0), level=0.3)
@example(c=(0.0, 0.0, 1.0, 0.0), level=0.3)
@example(c=(0.0, 1.0, 0.0, 0.0), level=0.3)
@example(c=(1.0, 0.0, 0.0, 0.0), level=0.3)
@example(c=(-0.048, 0.44, -1.2, 1.0), level=0.0)  # roots 0.2, 0.4 and 0.6
def test_crossings_are_the_roots_of_numpy(c, level):
    which, u = crossings(np.array(c)[:, None], np.array([level]))
    assert ((u >= 0.0) & (u <= 1.0)).all() and (which == 0).all()
    if _is_plain(c, level):
        assert_allclose(np.sort(u), _expected_roots(c, level), atol=2e-3)


def test_crossings_of_many_polynomials_name_the_right_ones():
    rng = np.random.default_rng(0)
    c, level = rng.normal(size=(4, 2000)), rng.normal(size=2000)
    before = c.copy()
    which, u = crossings(c, level)
    assert (c == before).all()
    values = _value(c[:, which], u) - level[which]
    assert np.abs(values).max() < 2e-3 and np.quantile(np.abs(values), 0.99) < 1e-9
    for i in range(2000):
        if _is_plain(c[:, i], level[i]):
            assert_allclose(np.sort(u[which == i]), _expected_roots(c[:, i], level[i]), atol=2e-3)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(c=st.tuples(coefficient, coefficient, coefficient, coefficient), level=coefficient)
def test_the_number_of_crossings_is_odd_just_where_the_ends_lie_on_two_sides(c, level):
    _, u = crossings(np.array(c)[:, None], np.array([level]))
    begin, end = (_value((c[0] - level, *c[1:]), u) for u in (0.0, 1.0))
    assert len(u) <= 3 and len(u) % 2 == ((begin < 0.0) != (end < 0.0))


@pytest.mark.parametrize("root", [0.25, 0.5, 0.75])
def test_a_double_root_is_crossed_twice_at_one_place_or_not_at_all(root):
    square = np.array([root**2, -2.0 * root, 1.0, 0.0])
    assert len(crossings(square[:, None], np.array([-1e-9]))[1]) == 0
    _, u = crossings(square[:, None], np.array([0.0]))
    assert len(u) in (0, 2) and np.allclose(u, root, atol=1e-6)
    _, u = crossings(square[:, None], np.array([1e-6]))
    assert_allclose(np.sort(u), [root - 1e-3, root + 1e-3], atol=1e-2)


def test_a_level_that_is_met_where_two_segments_join_is_crossed_once():
    """A polyline of four segments that rises through the level exactly at its middle point."""
    level, step = 0.5, 0.25
    begins = level + step * np.arange(-2, 2)
    rising = np.stack([begins, np.full(4, step), np.zeros(4), np.zeros(4)])
    assert len(crossings(rising, np.full(4, level))[1]) == 1
    falling = np.stack([begins[::-1] + step, np.full(4, -step), np.zeros(4), np.zeros(4)])
    assert len(crossings(falling, np.full(4, level))[1]) == 1


def test_a_constant_on_its_level_is_not_crossed():
    assert len(crossings(np.array([[0.3], [0.0], [0.0], [0.0]]), np.array([0.3]))[1]) == 0


def test_steep_and_flat_crossings_are_found_as_well_as_each_other():
    """f = k (u - 0.37): Newton's step is exact whatever the slope."""
    for k in (1e-8, 1.0, 1e8):
        _, u = crossings(np.array([[-0.37 * k], [k], [0.0], [0.0]]), np.array([0.0]))
        assert_allclose(u, [0.37], atol=1e-12)


@pytest.mark.parametrize("bend", [0.2, -0.2])
def test_a_crossing_next_to_an_end_is_as_exact_as_one_in_the_middle(bend):
    """Newton's step from the middle goes beyond an end that is next to the root."""
    for root in (1e-15, 1e-9, 1e-5, 1.0 - 1e-5, 1.0 - 1e-9):
        _, u = crossings(np.array([[-root - bend * root**2], [1.0], [bend], [0.0]]), np.array([0.0]))
        assert_allclose(u, [root], atol=1e-12)
