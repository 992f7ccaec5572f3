"""Which solvers are compared, each at the settings its documentation gives and at tight ones; why, in plain words."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from peer_adaptors import Ours, Peer, Refined
from peer_closed_forms import Eaik, Frankik, Ssik
from peer_loops import Mink, Pink, Pinocchio, Placo
from peer_numeric import Klampt, Optik, PytorchKinematics, RoboticsToolbox, TracIK

from hybrid_ik.pose import Pose
from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.refiners.baselines import DmControlRefiner, MinimizeRefiner, ScipyRefiner
from hybrid_ik.robot import Robot


@dataclass(frozen=True)
class PeerRow:
    """One solver at one choice of settings."""

    label: str
    """What the tables call it."""
    make: Callable[[Robot, int], Peer]
    """The peer, of an arm and a seed."""
    settings: str
    """What was chosen, and what to beware of."""


def _refined(refiner: Any, package: str, steps: int) -> Callable[[Robot, int], Peer]:
    return partial(Refined, refiner=lambda robot: refiner(robot, LMConfig(max_iterations=steps)), package=package)


OURS = "hybrid"  # the row that ratios are taken to

ROWS: dict[str, PeerRow] = {
    OURS: PeerRow("hybrid_ik (auto)", Ours, "as it comes; with `near=` where joints are given"),
    "random_lm": PeerRow("hybrid_ik, random starts", partial(Ours, sampler="uniform"), 'sampler="uniform"'),
    "optik": PeerRow("OptiK", Optik, "as it comes (tol_f 1e-6, a sum of squares: up to 1 mm), 100 ms, one thread"),
    "optik_tight": PeerRow("OptiK, tight", partial(Optik, tol_f=1e-12), "tol_f 1e-12, 100 ms, one thread"),
    "ssik": PeerRow("ssik", Ssik, "its prebuilt Panda, max_solutions=1; residuals are rounding, nothing to tighten"),
    "frankik": PeerRow(
        "frankik", Frankik, "as it comes: 60 angles of the last joint over 40 degrees about the start's"
    ),
    "frankik_wide": PeerRow(
        "frankik, all of q7",
        partial(Frankik, samples=128, interval=332, every=True),
        "128 angles of the last joint over all of its range (the interval is the whole width), global_solution=True",
    ),
    "eaik": PeerRow(
        "EAIK, q7 locked",
        Eaik,
        "solves six joints, so the last one is locked at 128 angles in turn, by us; least-squares answers are dropped",
    ),
    "rtb": PeerRow("Robotics Toolbox", RoboticsToolbox, "ets.ik_LM as it comes (tol 1e-6 on half a sum of squares)"),
    "rtb_tight": PeerRow("Robotics Toolbox, tight", partial(RoboticsToolbox, tol=1e-13), "ets.ik_LM, tol 1e-13"),
    "trac_ik": PeerRow("TRAC-IK", TracIK, "5 ms, epsilon 1e-5, Speed; its two threads share the core"),
    "trac_ik_tight": PeerRow(
        "TRAC-IK, tight", partial(TracIK, timeout=0.1, epsilon=1e-7), "100 ms, epsilon 1e-7, Speed"
    ),
    "klampt": PeerRow("Klampt", Klampt, "solve_global as it comes (tol 1e-3, 1000 iterations, 100 restarts)"),
    "klampt_tight": PeerRow(
        "Klampt, tight", partial(Klampt, tol=1e-7, iters=100), "solve_global, tol 1e-7, 100 iterations, 100 restarts"
    ),
    "placo": PeerRow("placo", partial(Placo, tolerance=1e-4, steps=30), "30 steps, ended at 1e-4 m and rad"),
    "placo_tight": PeerRow("placo, tight", partial(Placo, steps=30), "30 steps, ended at 1e-6"),
    "mink": PeerRow("mink", partial(Mink, tolerance=1e-4, steps=30), "DAQP, dt 1, 30 steps, ended at 1e-4 m and rad"),
    "mink_tight": PeerRow("mink, tight", partial(Mink, lm_damping=0.1, steps=30), "lm_damping 0.1, ended at 1e-6"),
    "pink": PeerRow("pink", partial(Pink, tolerance=1e-4, steps=30), "DAQP, dt 1, 30 steps, ended at 1e-4 m and rad"),
    "pink_tight": PeerRow("pink, tight", partial(Pink, lm_damping=0.1, steps=30), "lm_damping 0.1, ended at 1e-6"),
    "pinocchio": PeerRow(
        "pinocchio, example",
        partial(Pinocchio, dt=0.1, damping=1e-12, tolerance=1e-4, steps=1000),
        "the loop of its documentation: dt 0.1, damping 1e-12, 1000 steps, 1e-4; beyond the limits is a failure",
    ),
    "pinocchio_tight": PeerRow(
        "pinocchio, tuned",
        partial(Pinocchio, dt=1.0, damping=0.01, clamp=True, steps=30),
        "the same with dt 1, damping 0.01 e^2, joints moved onto their limits after each step, 30 steps, 1e-6",
    ),
    "pk": PeerRow(
        "pytorch_kinematics",
        partial(PytorchKinematics, max_iterations=30, early_stopping_no_improvement="all"),
        "10 starts, 30 iterations, 1e-3 m and 1e-2 rad; one pose at a time, made for batches",
    ),
    "pk_tight": PeerRow(
        "pytorch_kinematics, tight",
        partial(
            PytorchKinematics,
            retries=30,
            max_iterations=30,
            early_stopping_no_improvement="all",
            pos_tolerance=1e-6,
            rot_tolerance=1e-6,
        ),
        "30 starts, 30 iterations, 1e-6",
    ),
    "dm_control": PeerRow(
        "dm_control", _refined(DmControlRefiner, "dm_control", 15), "15 steps, tol 1e-6, inplace; knows no limits"
    ),
    "minimize": PeerRow(
        "mujoco.minimize", _refined(MinimizeRefiner, "mujoco", 25), "our residual and derivative, bounds, 25 steps"
    ),
    "scipy": PeerRow(
        "scipy least_squares", _refined(ScipyRefiner, "scipy", 25), "dogbox, our residual and derivative, bounds, 25"
    ),
}

ALL_ANSWERS: dict[str, PeerRow] = {
    "hybrid_16": PeerRow("hybrid_ik, 16 answers", partial(Ours, n_solutions=16), "n_solutions=16"),
    "hybrid_64": PeerRow("hybrid_ik, 64 answers", partial(Ours, n_solutions=64), "n_solutions=64"),
    "ssik": PeerRow("ssik, all it samples", Ssik, "solve(pose)"),
    "eaik_32": PeerRow("EAIK, 32 of q7", partial(Eaik, samples=32), "32 locked angles"),
    "eaik_128": PeerRow("EAIK, 128 of q7", partial(Eaik, samples=128), "128 locked angles"),
    "frankik_32": PeerRow("frankik, 32 of q7", partial(Frankik, samples=32, interval=332), "ik_sample_q7, full_ik"),
    "frankik_128": PeerRow("frankik, 128 of q7", partial(Frankik, samples=128, interval=332), "ik_sample_q7, full_ik"),
}


def make_peers(
    rows: dict[str, PeerRow], robot: Robot, seed: int
) -> tuple[dict[str, Peer], dict[str, float | None], dict[str, str]]:
    """The peers that work here, how far their forward kinematics are from ours, and why the others are left out.

    Other people's code may fail in any way while it is made or at its first pose; whatever it says is the reason.
    """
    peers: dict[str, Peer] = {}
    disagreements: dict[str, float | None] = {}
    left_out: dict[str, str] = {}
    example = robot.forward_kinematics(robot.home)
    for name, row in rows.items():
        try:
            with silent_files():
                peer = row.make(robot, seed)
                disagreements[name] = peer.disagreement()
                _warm_up(peer, example)
            peers[name] = peer
        except Exception as error:
            left_out[name] = f"{type(error).__name__}: {error}"
    return peers, disagreements, left_out


def _warm_up(peer: Peer, example: Pose) -> None:
    """Every kind of call once, for what is compiled or allocated then."""
    for q_start in (None, peer.robot.home)[: 2 if peer.takes_start else 1]:
        peer.solve(peer.goal(example), q_start)
    far = peer.robot.forward_kinematics((peer.robot.chain.sample_lower + 2 * peer.robot.chain.sample_upper) / 3)
    if peer.takes_start:
        peer.solve(peer.goal(far), peer.robot.home)
    peer.solve_all(peer.goal(example))


@contextmanager
def silent_files() -> Iterator[None]:
    """Libraries that write to the terminal from C++ are kept from it."""
    sys.stdout.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
        for descriptor in (nowhere, *kept):
            os.close(descriptor)
