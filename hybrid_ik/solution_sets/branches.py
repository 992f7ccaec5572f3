"""All answers of arms without a spare joint: isolated points of joint space."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solution_sets.following import FIRST_STARTS, MOST_STARTS, CurveFollower
from hybrid_ik.solution_sets.loops import missing_chance
from hybrid_ik.solution_sets.solution_set import Piece

Array = NDArray[np.float64]

PATIENT = 60  # steps from a start: near singularities, where answers are close to each other, many are needed
SAME = 1e-3  # rad, or m: answers nearer than this are one
BARELY = 1e-4  # rad, or m: answers as little beyond a limit may lie on it
EXACTLY = 1e-9  # m and rad
TURN = 2.0 * np.pi


def find_branches(
    follower: CurveFollower, target: Array, miss: float, tolerance: tuple[float, float]
) -> tuple[list[Piece], float, int]:
    """Every answer of a target as a piece of one point, the chance that one is missing, and the starts tried."""
    starts, n, tried = UniformSampler(follower.chain), FIRST_STARTS, 0
    around = follower.chain.hinges
    answers, hits = np.empty((0, follower.chain.dof)), np.empty(0, int)
    while True:
        settled = follower.settle(target, starts.table(n)[tried:], most_steps=PATIENT)
        found = settled.q[settled.success]
        for k, q in enumerate(answers):
            same = _same(found - q, around)
            hits[k] += same.sum()
            found = found[~same]
        while len(found):
            same = _same(found - found[0], around)
            answers, hits = np.concatenate([answers, found[:1]]), np.append(hits, same.sum())
            found = found[~same]
        if missing_chance(hits) <= miss or n >= MOST_STARTS:
            break
        tried, n = n, 2 * n
    copies = [copy for q in answers for copy in _within(follower.chain, q)]
    q = np.array(copies).reshape(-1, follower.chain.dof)
    exact = follower.settle(target, q, np.zeros_like(q), tolerance=(EXACTLY, EXACTLY))
    near = np.abs(exact.q - q).max(1, initial=0.0) < BARELY
    q = np.clip(np.where(near[:, None], exact.q, q), follower.chain.lower, follower.chain.upper)
    judged = follower.settle(target, q, np.zeros_like(q), tolerance=tolerance, most_steps=0)
    pieces = [
        Piece(q, np.zeros_like(q), e[:1], e[1:], False, 0.0, None, np.zeros(q.shape[1]))
        for q, e in zip(judged.q[judged.success][:, None], judged.errors[judged.success], strict=True)
    ]
    return sorted(pieces, key=lambda piece: tuple(piece.q[0])), missing_chance(hits), n


def _same(d: Array, around: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which differences `(m, dof)` are none, whole turns aside."""
    return np.asarray(np.linalg.norm(d - around * TURN * np.round(d / TURN), axis=1) < SAME)


def _within(chain: Chain, q: Array) -> list[Array]:
    """The same answer wherever whole turns take it within the limits, or barely beyond; joints without stay near 0."""
    values = []
    for x, hinge, lower, upper in zip(q, chain.hinges, chain.lower - BARELY, chain.upper + BARELY, strict=True):
        if not hinge:
            values.append([x] if lower <= x <= upper else [])
        elif np.isinf(upper - lower):
            values.append([x - TURN * np.round(x / TURN)])
        else:
            turns = np.arange(np.ceil((lower - x) / TURN), np.floor((upper - x) / TURN) + 1)
            values.append(list(x + TURN * turns))
    return [np.array(copy) for copy in product(*values)]
