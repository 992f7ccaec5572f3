"""Arms whose solution sets are tested, and what is true of every point of a set."""

from __future__ import annotations

from functools import cache

import mujoco
import numpy as np
import pytest
from conftest import MODELS
from models import FIVE_JOINTS, FOUR_JOINTS, HINGES, arm, roll_arm

from hybrid_ik import HybridSolver, LMConfig, pose_error

FULL = {
    "iiwa14": ("kuka_iiwa_14/iiwa14.xml", None),
    "KR6": ("kuka_kr6r900sixx/kr6r900sixx.urdf", None),
    "SO-100": ("trs_so_arm100/so_arm100.xml", "Fixed_Jaw"),
}
MADE = {
    "three joints": arm(*HINGES),
    "four joints": FOUR_JOINTS,
    "five joints": FIVE_JOINTS,
    "endless roll": roll_arm(""),
    "narrow roll": roll_arm("range='-1 2'"),
    "wide roll": roll_arm("range='-6.1 6.1'"),
}
CURVES = ("panda", "iiwa14", "four joints", "endless roll", "narrow roll", "wide roll")
POINTS = ("KR6", "SO-100", "three joints")


@cache
def solver(name, seed=0):
    """A solver of an arm; those made for the tests only have the position of their tip to place."""
    if name in MADE:
        model = mujoco.MjModel.from_xml_string(MADE[name])
        return HybridSolver(model, tip="tip", config=LMConfig(orientation_weight=0.0), seed=seed)
    if name not in FULL:
        return HybridSolver(name, seed=seed)
    path, tip = FULL[name]
    if not (MODELS / path).is_file():
        pytest.skip(f"no model {MODELS / path}; set HYBRID_IK_ROBOTS to a folder that has it")
    return HybridSolver(str(MODELS / path), tip=tip, seed=seed)


def joints(solver, seed):
    """Random joints within the limits."""
    chain = solver.robot.chain
    return np.random.default_rng(seed).uniform(chain.sample_lower, chain.sample_upper)


def reachable(solver, seed):
    """A pose that the arm reaches, with joints that do so."""
    q = joints(solver, seed)
    return solver.robot.forward_kinematics(q), q


def errors(solver, pose, q):
    """Position and orientation error of joints by MuJoCo, (n, 2); the second is 0 where only the position counts."""
    error = pose_error(pose, solver.robot.forward_kinematics(q))
    turn = np.linalg.norm(error[:, 3:], axis=1) * (solver.refiner.config.orientation_weight > 0)
    return np.stack([np.linalg.norm(error[:, :3], axis=1), turn], 1)


def check_answers(solver, pose, q):
    """That joints (n, dof) are answers: within the limits, and on the pose to 1e-6 m and 1e-6 rad by MuJoCo."""
    assert q.ndim == 2 and q.shape[1] == solver.robot.dof
    assert (q >= solver.robot.lower).all() and (q <= solver.robot.upper).all()
    assert (errors(solver, pose, q) <= 1.001e-6).all()


def beside_points(solver, pose):
    """The whole set of a pose, and joints at four places along its curves beside each of its points (n, 4, dof)."""
    found = solver.solve_all(pose)
    rows = np.arange(len(found.q))
    beside = found.along(rows, np.tile([-0.5, 0.0, 0.25, 1.0], (len(rows), 1)))
    assert beside.shape == (len(rows), 4, solver.robot.dof)
    check_answers(solver, pose, beside.reshape(-1, solver.robot.dof))
    return found, beside


def least_singular_value(solver, q):
    """Of the Jacobian of what the arm has to place, for joints (n, dof)."""
    rows = 6 if solver.refiner.config.orientation_weight > 0 else 3
    return np.linalg.svd(solver.robot.jacobian(q)[:, :rows], compute_uv=False)[:, -1]


def to_polyline(q, piece):
    """Distances of joints (n, dof) from the chords between the points of a piece."""
    a, b = piece.segments.q0, piece.segments.q1
    chord = b - a
    way = q[:, None] - a
    u = np.clip((way * chord).sum(-1) / (chord**2).sum(-1), 0.0, 1.0)
    return np.linalg.norm(way - u[..., None] * chord, axis=-1).min(1)


def hausdorff(a, b):
    """Largest distance of a point of one set from the other set, both ways."""
    return max(a.distance(b.q).max(), b.distance(a.q).max())
