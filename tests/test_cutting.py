"""What of made curves lies within made limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hybrid_ik.chain import Chain
from hybrid_ik.solution_sets.cutting import LOWER, UPPER, WHOLE, cut
from hybrid_ik.solution_sets.hermite import Segments
from hybrid_ik.solution_sets.loops import Loops

TURN = 2.0 * np.pi
INF = np.inf


def _chain(*limits, kinds=None):
    """A chain of which only the kinds of joints and their limits matter."""
    n = len(limits)
    lower, upper = np.array(limits, dtype=float).T
    links = np.tile(np.eye(4), (n - 1, 1, 1))
    names = tuple(f"j{i}" for i in range(n))
    return Chain(np.eye(4), links, np.eye(4), kinds or ("hinge",) * n, lower, upper, names)


def _loops(*curves):
    """Loops of curves that are given by their points, tangents and windings."""
    segments, first = [], [0]
    for q, t, winding in curves:
        after = np.concatenate([q[1:], q[:1] + winding])
        segments.append((q, after, t, np.roll(t, -1, axis=0)))
        first.append(first[-1] + len(q))
    parts = Segments(*(np.concatenate(part) for part in zip(*segments, strict=True)))
    windings = np.array([winding for _, _, winding in curves])
    return Loops(
        parts,
        np.array(first),
        windings,
        np.full(len(curves), 5),
        np.arange(len(curves)),
        np.ones(len(curves), bool),
        64,
    )


def _circle(center=(0.0, 0.0), radius=1.0, begin=0.0, n=60, rest=(0.3,)):
    """A circle in the first two joints, counterclockwise from the angle `begin`, while the others rest."""
    a = begin + TURN * np.arange(n) / n
    zero = np.zeros((n, len(rest)))
    q = np.concatenate([np.stack([np.cos(a), np.sin(a)], 1) * radius + center, zero + rest], 1)
    t = np.concatenate([np.stack([-np.sin(a), np.cos(a)], 1), zero], 1)
    return q, t, np.zeros(q.shape[1])


def _line(turns, begin=(0.1, -0.4, 0.3), wave=0.0, n=240):
    """Joints that go round by whole turns, evenly, and the last one to and fro on the way."""
    turns, s = np.array(turns, dtype=float), np.arange(n) / n
    q = np.array(begin) + TURN * s[:, None] * turns
    t = np.tile(TURN * turns, (n, 1))
    q[:, -1] += wave * np.sin(TURN * s)
    t[:, -1] += wave * TURN * np.cos(TURN * s)
    return q, t / np.linalg.norm(t, axis=1, keepdims=True), TURN * turns


class Places:
    """Places along closed curves, as lengths from their first points."""

    def __init__(self, loops):
        self.loops, self.sum = loops, np.concatenate([[0.0], np.cumsum(loops.segments.length)])
        self.start = self.sum[loops.first]
        self.length = np.diff(self.start)

    def at(self, curve, place):
        """Joints and tangents; a curve goes on beyond its length, as far as joints have gone round."""
        loops, rounds = self.loops, np.floor(place / self.length[curve])
        total = self.start[curve] + place - rounds * self.length[curve]
        segment = np.searchsorted(self.sum, total, side="right") - 1
        segment = np.clip(segment, loops.first[curve], loops.first[curve + 1] - 1)
        q, tangent = loops.segments.at(segment, (total - self.sum[segment]) / loops.segments.length[segment])
        return q + rounds[:, None] * loops.winding[curve], tangent


class Part:
    """One span of all that `cut` gives, with points along it."""

    def __init__(self, places, spans, k):
        self.curve, (self.begin, self.end), self.shift = spans.curve[k], spans.place[k], spans.shift[k]
        self.joint, self.side = spans.joint[k].tolist(), spans.side[k].tolist()
        self.length = self.end - self.begin
        self.middle = 0.5 * (self.begin + self.end) % places.length[self.curve]
        s = np.linspace(self.begin, self.end, 101)
        self.q = places.at(np.full(101, self.curve), s)[0] + self.shift


def _parts(loops, chain):
    places = Places(loops)
    found = [Part(places, spans, k) for spans in cut(loops, chain) for k in range(len(spans.curve))]
    for part in found:
        check_part(part, chain)
    return sorted(found, key=lambda part: -part.length)


def check_part(part, chain, tolerance=1e-4):
    """A part lies within the limits, and its ends on the limits that it names."""
    assert (part.q >= chain.lower - tolerance).all() and (part.q <= chain.upper + tolerance).all()
    for q, joint, side in zip(part.q[[0, -1]], part.joint, part.side, strict=True):
        if side != WHOLE:
            assert_allclose(q[joint], chain.lower[joint] if side == LOWER else chain.upper[joint], atol=tolerance)


def expected_length(loops, chain):
    """Length of all answers: that of each curve times the ways in which whole turns take its joints within the limits.

    A joint without limits is within them in one way.
    """
    places = Places(loops)
    total = 0.0
    for curve, length in enumerate(places.length):
        s = (np.arange(20000) + 0.5) / 20000 * length
        q, _ = places.at(np.full(len(s), curve), s)
        ways = np.ones(len(s))
        for x, kind, lower, upper in zip(q.T, chain.kinds, chain.lower, chain.upper, strict=True):
            if kind == "slide":
                ways *= (lower <= x) & (x <= upper)
            elif np.isfinite(upper - lower):
                ways *= np.floor((upper - x) / TURN) - np.ceil((lower - x) / TURN) + 1
        total += ways.mean() * length
    return total


def test_a_curve_within_the_limits_stays_whole():
    loops = _loops(_circle())
    (part,) = _parts(loops, _chain((-1.5, 1.2), (-2, 2), (0, 1)))
    assert (part.joint, part.side) == ([-1, -1], [WHOLE, WHOLE])
    assert (part.begin, part.shift.tolist()) == (0.0, [0.0, 0.0, 0.0])
    assert_allclose(part.length, TURN, rtol=1e-5)


@pytest.mark.parametrize(
    "limits",
    [((-1.5, 1.5), (-2, 2), (0.4, 1)), ((1.1, 1.5), (-2, 2), (0, 1)), ((-0.5, 0.5), (-0.5, 0.5), (0, 1))],
    ids=["a joint that rests", "a joint that moves", "two joints in turn"],
)
def test_nothing_is_left_of_a_curve_beyond_the_limits(limits):
    assert _parts(_loops(_circle()), _chain(*limits)) == []


@pytest.mark.parametrize("begin", [0.0, 0.3, 1.0, 3.0, 6.0])
def test_one_limit_leaves_one_arc_wherever_the_curve_begins(begin):
    """cos a <= 0.5: from 60 to 300 degrees."""
    (part,) = _parts(_loops(_circle(begin=begin)), _chain((-2, 0.5), (-2, 2), (0, 1)))
    assert (part.joint, part.side) == ([0, 0], [UPPER, UPPER])
    assert_allclose(part.length, TURN * 2 / 3, atol=1e-4)
    assert_allclose(part.q[[0, -1], 1], [np.sqrt(0.75), -np.sqrt(0.75)], atol=1e-4)
    assert_allclose(part.q[50], [-1.0, 0.0, 0.3], atol=1e-4)


def test_two_limits_of_a_joint_leave_two_arcs():
    parts = _parts(_loops(_circle()), _chain((-0.6, 0.8), (-2, 2), (0, 1)))
    length = np.arccos(-0.6) - np.arccos(0.8)
    assert_allclose([part.length for part in parts], [length, length], atol=1e-4)
    assert {(*part.joint, *part.side) for part in parts} == {(0, 0, UPPER, LOWER), (0, 0, LOWER, UPPER)}


def test_limits_of_two_joints_leave_the_corner_arcs():
    """Of a circle in a square of half its diameter's diagonal eight crossings leave four arcs."""
    parts = _parts(_loops(_circle()), _chain((-0.8, 0.8), (-0.8, 0.8), (0, 1)))
    assert_allclose([part.length for part in parts], [np.arcsin(0.8) - np.arccos(0.8)] * 4, atol=1e-4)
    ends = {(*part.joint, *part.side) for part in parts}
    assert ends == {
        (0, 1, UPPER, UPPER),
        (1, 0, UPPER, LOWER),
        (0, 1, LOWER, LOWER),
        (1, 0, LOWER, UPPER),
    }


@pytest.mark.parametrize("turns", [(1, 0, 0), (-2, 1, 3)])
def test_whole_turns_take_a_curve_within_the_limits(turns):
    center = TURN * np.array(turns[:2])
    loops = _loops(_circle(center, rest=(0.3 + TURN * turns[2],)))
    (part,) = _parts(loops, _chain((-1.5, 1.2), (-2, 2), (0, 1)))
    assert_allclose(part.shift, -TURN * np.array(turns), atol=1e-12)
    (part,) = _parts(loops, _chain((-1.5, 0.5), (-2, 2), (0, 1)))
    assert_allclose(part.length, TURN * 2 / 3, atol=1e-4)


def test_whole_turns_take_no_slide_anywhere():
    loops = _loops(_circle((TURN, 0.0)))
    assert len(_parts(loops, _chain((-1.5, 1.5), (-2, 2), (0, 1)))) == 1
    assert _parts(loops, _chain((-1.5, 1.5), (-2, 2), (0, 1), kinds=("slide", "hinge", "hinge"))) == []


def test_a_range_wider_than_a_turn_has_copies():
    parts = _parts(_loops(_circle()), _chain((-1.5, 1.5), (-2, 2), (0.5 - TURN, TURN + 1)))
    assert all(part.side == [WHOLE, WHOLE] for part in parts)
    assert_allclose(sorted(part.shift[2] for part in parts), [0.0, TURN], atol=1e-12)
    parts = _parts(_loops(_circle()), _chain((-TURN - 0.5, TURN + 2), (-2, 2), (-1, 1)))
    assert [part.side for part in parts] == [[WHOLE] * 2] * 2 + [[LOWER] * 2]
    assert_allclose(sorted(part.shift[0] for part in parts), [-TURN, 0.0, TURN], atol=1e-12)
    assert_allclose(parts[2].length, TURN * 2 / 3, atol=1e-4)


def test_copies_of_two_wide_joints_are_combined():
    parts = _parts(_loops(_circle()), _chain((-8, 8), (-2, 2), (-6.9, 6.9)))
    assert {tuple(np.round(part.shift / TURN)) for part in parts} == {(i, 0, k) for i in (-1, 0, 1) for k in (-1, 0, 1)}


def test_a_joint_without_limits_stays_where_it_is():
    loops = _loops(_circle((9.0, 0.0)))
    (part,) = _parts(loops, _chain((-INF, INF), (-2, 2), (0, 1)))
    assert part.shift.tolist() == [0.0, 0.0, 0.0] and part.side == [WHOLE, WHOLE]


def test_a_curve_that_goes_round_without_limits_is_whole():
    (part,) = _parts(_loops(_line((0, 0, 1))), _chain((0, 1), (-1, 1), (-INF, INF)))
    assert part.side == [WHOLE, WHOLE]
    assert_allclose(part.length, TURN, rtol=1e-12)


@pytest.mark.parametrize("limits", [(-1.0, 2.0), (-3.0, 3.0), (2.0, 2.5), (5.0, 7.0)])
@pytest.mark.parametrize("turns", [1, -1])
def test_a_curve_that_goes_round_is_cut_into_the_range_of_its_joint(limits, turns):
    (part,) = _parts(_loops(_line((0, 0, turns))), _chain((0, 1), (-1, 1), limits))
    assert (part.joint, part.side) == ([2, 2], [LOWER, UPPER][::turns])
    assert_allclose(part.q[:: 100 * turns, 2], limits, atol=1e-9)


@pytest.mark.parametrize("limits", [(-3.5, 3.5), (-6.1, 6.1), (-1.0, 8.0), (-20.0, 21.0)])
@pytest.mark.parametrize("turns", [1, -1])
def test_a_curve_that_goes_round_fills_a_range_wider_than_a_turn(limits, turns):
    (part,) = _parts(_loops(_line((0, 0, turns))), _chain((0, 1), (-1, 1), limits))
    assert (part.joint, part.side) == ([2, 2], [LOWER, UPPER][::turns])
    assert_allclose(part.q[:: 100 * turns, 2], limits, atol=1e-9)


def test_a_curve_that_goes_round_twice_gives_two_arcs_in_a_wide_range():
    """Half a turn of its joint is a quarter of it: the two ways of being at one angle are different answers."""
    parts = _parts(_loops(_line((1, 0, 2))), _chain((-INF, INF), (-1, 1), (-6.1, 6.1)))
    length = 12.2 * np.sqrt(5) / 2
    assert_allclose([part.length for part in parts], [length, length], rtol=1e-6)
    assert all(set(part.side) == {LOWER, UPPER} for part in parts)


def test_a_joint_that_only_just_reaches_its_limit_is_cut_there_or_not_at_all():
    for short in (1e-3, 1e-6, 1e-9, 0.0, -1e-9):
        parts = _parts(_loops(_circle(begin=0.02)), _chain((-2, 1.0 - short), (-2, 2), (0, 1)))
        assert len(parts) == 1
        assert_allclose(parts[0].length, TURN, atol=2.5 * np.sqrt(max(2 * short, 1e-7)))


def test_a_curve_that_only_just_enters_the_limits_leaves_a_short_arc_or_none():
    for deep in (1e-3, 1e-6, 0.0, -1e-6):
        parts = _parts(_loops(_circle(begin=0.02)), _chain((1.0 - deep, 2.0), (-2, 2), (0, 1)))
        assert sum(part.length for part in parts) < 3.0 * np.sqrt(max(deep, 1e-7))
        assert (len(parts) == 1) == (deep > 1e-5) or deep <= 1e-5


@pytest.mark.parametrize("n", [6, 12, 60, 96])
@pytest.mark.parametrize("radius", [0.1, 0.7, 1.0])
def test_a_limit_that_goes_through_points_of_the_curve_cuts_it_once_at_each(n, radius):
    loops = _loops(_circle(n=n, radius=radius))
    for k in range(1, n // 2):
        limit = loops.segments.q0[k, 0]
        parts = _parts(loops, _chain((-2, limit), (-2, 2), (0, 1)))
        assert len(parts) == 1
        assert_allclose(parts[0].length, radius * TURN * (1 - 2 * k / n), atol=1e-3 + 0.03 * radius * (n == 6))


def test_curves_are_cut_each_by_itself():
    curves = _circle(), _circle((0.0, 0.0), rest=(5.0,)), _circle((0.2, 0.0), radius=0.25), _circle(radius=0.4)
    parts = _parts(_loops(*curves), _chain((-2, 0.42), (-2, 2), (0, 1)))
    assert [part.curve for part in parts] == [0, 3, 2]
    angle = np.arccos(0.22 / 0.25)
    expected = TURN - 2 * np.arccos(0.42), 0.4 * TURN, 0.25 * (TURN - 2 * angle)
    assert_allclose([part.length for part in parts], expected, atol=2e-4)


def test_nothing_is_cut_out_of_no_curves():
    none = np.empty((0, 3))
    loops = Loops(
        Segments(none, none, none, none),
        np.zeros(1, int),
        none,
        np.zeros(0, int),
        np.zeros(0, int),
        np.zeros(0, bool),
        64,
    )
    assert _parts(loops, _chain((-1, 1), (-8, 8), (-INF, INF))) == []


bound = st.floats(-4.0, 4.0).map(lambda x: round(x, 2))
interval = st.tuples(bound, bound).filter(lambda ends: ends[0] + 0.1 < ends[1])
some_limits = st.one_of(interval, st.just((-INF, INF)), st.tuples(st.just(-7.3), bound.map(lambda x: 8 + x)))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    limits=st.tuples(some_limits, some_limits, some_limits),
    turns=st.tuples(*[st.integers(-2, 2)] * 3),
    angle=st.floats(0.0, 6.0).map(lambda x: round(x, 2) + 0.005),  # no joint rests on a limit
)
def test_the_parts_are_as_long_together_as_what_is_within_random_limits(limits, turns, angle):
    """Circles, one that goes round in some joints, and one turned by whole turns: length counts what is there."""
    curves = [_circle(begin=angle, rest=(0.305,)), _circle((TURN + 1.0, -0.5), 0.7, begin=angle, rest=(2.505,))]
    if any(turns):
        curves.append(_line(turns, (angle, 1.205, -0.7), wave=0.4))
    loops, chain = _loops(*curves), _chain(*limits)
    parts = _parts(loops, chain)
    # 20,000 samples of each curve see an end to half a sample; limits that are only just touched count as they like
    assert_allclose(sum(part.length for part in parts), expected_length(loops, chain), rtol=2e-3, atol=0.03)
    keys = [(part.curve, round(part.middle, 4), *np.round(part.q[50], 4)) for part in parts]
    assert len(set(keys)) == len(keys)
