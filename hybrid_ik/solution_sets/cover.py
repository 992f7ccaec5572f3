"""An even cover of the answers of arms with two spare joints or more: points, none of them too near to another."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_ik.chain import Chain
from hybrid_ik.kinematics import tip_jacobian
from hybrid_ik.pose import Pose, n_rows
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.result import IKResult, concatenate
from hybrid_ik.samplers.uniform import UniformSampler
from hybrid_ik.solution_sets.solution_set import Piece

Array = NDArray[np.float64]

CLOSEST = 0.7  # least distance of two points, in units of the spacing: with 1 gaps stay open that no point fits into
JOINED = 1.5  # points nearer than this, in the same units, belong to one piece
STARTS = 1024  # that see what is not covered yet
MOST_ROUNDS = 16
AT_ONCE = 4096  # points whose neighbours are looked for together


def find_cover(
    chain: Chain, config: LMConfig, pose: Pose, spacing: float, miss: float, most_points: int
) -> tuple[list[Piece], float, int]:
    """Points spread over all answers, as pieces that hang together; the share that is not covered; the starts tried.

    From every point its neighbours are looked for along the null space, until there is none left that is not near
    another point. Random starts then tell the share of answers farther than `spacing` from all points, and are points
    to go on from themselves. The cover ends when that share is at most `miss`, or when it has `most_points` points.
    """
    cover = _Cover(chain, config, pose, spacing, most_points)
    sampler, seen = UniformSampler(chain), 0  # answers since the cover has grown
    for k in range(1, MOST_ROUNDS + 1):
        starts = sampler.table(k * STARTS)[-STARTS:]
        answers = cover.refine(starts)
        far = cover.distances(answers.q) > spacing
        missing = (far.sum() + 1.0) / (seen + len(far) + 1.0)
        seen = 0 if far.any() else seen + len(far)
        cover.grow(answers[far])
        if missing <= miss or len(cover.q) >= most_points or not len(far):
            break
    return cover.pieces(), float(missing), k * STARTS


class _Cover:
    def __init__(self, chain: Chain, config: LMConfig, pose: Pose, spacing: float, most_points: int) -> None:
        self.chain, self.pose, self.spacing, self.most_points = chain, pose.reshape(), spacing, most_points
        self._refiner = LaneRefiner(chain, config)
        self._rows = n_rows(config.orientation_weight > 0)
        self._box = chain.periods
        self._results: list[IKResult] = []
        self.q = np.empty((0, chain.dof))

    def refine(self, q: Array) -> IKResult:
        """Answers that joints `(m, dof)` lead to."""
        found = self._refiner.refine(self.pose, q)
        return found[found.success]

    def distances(self, q: Array) -> Array:
        """From joints `(m, dof)` to the nearest point; infinite where there is none."""
        if not len(self.q) or not len(q):
            return np.full(len(q), np.inf)
        return np.asarray(self._tree(self.q).query(self._folded(q))[0])

    def grow(self, answers: IKResult) -> None:
        """Adds answers, and what can be reached from them in steps of the spacing."""
        front = self._keep(answers)
        while len(front) and len(self.q) < self.most_points:
            front = np.concatenate(
                [self._keep(self.refine(self._around(front[i : i + AT_ONCE]))) for i in range(0, len(front), AT_ONCE)]
            )

    def _keep(self, answers: IKResult) -> Array:
        """Adds those of some answers that are near no point and near no other of them."""
        apart = CLOSEST * self.spacing
        answers = answers[self.distances(answers.q) > apart]
        if not len(answers):
            return answers.q
        tree, free = self._tree(answers.q), np.ones(len(answers), bool)
        kept: list[int] = []
        for i in range(len(answers)):
            if free[i] and len(self.q) + len(kept) < self.most_points:
                kept.append(i)
                free[tree.query_ball_point(tree.data[i], apart)] = False
        self._results.append(answers[np.array(kept, int)])
        self.q = np.concatenate([self.q, answers.q[kept]])
        return answers.q[kept]

    def _around(self, q: Array) -> Array:
        """Joints one spacing away from each row, along the axes and the diagonals of the null space."""
        spare = self.chain.dof - self._rows
        corners = np.array(list(product((-1.0, 1.0), repeat=spare))) / np.sqrt(spare)
        directions = np.concatenate([np.eye(spare), -np.eye(spare), corners])
        null = np.linalg.svd(tip_jacobian(self.chain, q)[:, : self._rows])[2][:, self._rows :]
        return (q[:, None] + self.spacing * directions @ null).reshape(-1, self.chain.dof)

    def pieces(self) -> list[Piece]:
        """The points, those that hang together as one piece, the largest piece first."""
        if not len(self.q):
            return []
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        pairs = self._tree(self.q).query_pairs(JOINED * self.spacing, output_type="ndarray")
        n = len(self.q)
        _, label = connected_components(coo_matrix((np.ones(len(pairs)), pairs.T), shape=(n, n)), directed=False)
        found, pieces = concatenate(self._results), []
        for k in range(label.max() + 1):
            own = found[label == k]
            none, errors = np.zeros((len(own), self.chain.dof)), (own.position_error, own.orientation_error)
            pieces.append(Piece(own.q, none, *errors, False, 0.0, None, none[0]))
        return sorted(pieces, key=lambda piece: -len(piece))

    def _tree(self, q: Array) -> Any:
        from scipy.spatial import cKDTree  # 0.1 s to be imported

        return cKDTree(self._folded(q), boxsize=self._box if self._box.any() else None)

    def _folded(self, q: Array) -> Array:
        return np.where(self._box > 0, np.mod(q, np.where(self._box > 0, self._box, 1.0)), q)
