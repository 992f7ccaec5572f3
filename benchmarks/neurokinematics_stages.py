"""The stages of NeuroKinematics: what each of them trains, and what its author found on an arm of his own making.

His figures are of a synthetic "KR6-class" arm and data set that he does not describe further; ours are of the real arm
in metres and radians. So they stand side by side for their order, not for their size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hybrid_ik.learning.postures import posture_signs
from hybrid_ik.learning.regression import RegressionConfig
from hybrid_ik.robot import Robot

LAMBDAS = (5.0, 2.0, 1.0, 0.5, 0.1, 0.0)

# As wide as makes the network as large as the MeanFlow network beside it. The original goes over its data 100 times; as
# many steps do more good on more poses.
BASE = RegressionConfig(
    poses=100_000, epochs=20, sizes=(384, 384, 384), device="cpu", tensorboard=False, checkpoint_interval=2000
)


@dataclass(frozen=True)
class Run:
    """One training."""

    name: str
    """Of its folder."""
    changes: dict[str, Any]
    """What differs from `BASE`."""


@dataclass(frozen=True)
class Stage:
    """One stage, which looks at the validation pairs of one run."""

    name: str
    """As the original numbers it, which is the name of its folder of artifacts."""
    title: str
    """What it is about."""
    run: str
    """The training that it looks at."""
    published: dict[str, float] = field(default_factory=dict)
    """What its author found: distances as in `distance_statistics`, and `joint_mse`."""


def run_name(weight: float) -> str:
    """The run with this weight of the tip's distance."""
    return f"lambda_{weight:g}"


RUNS = {
    run.name: run
    for run in (
        *(Run(run_name(weight), {"position_weight": weight}) for weight in LAMBDAS),
        Run("hard_samples", {"hardness": 1.0}),
        Run("fk_only", {"joint_weight": 0.0}),
        Run("curriculum", {"schedule": "linear"}),
        Run("physical", {"output": "bounded", "orientation_weight": 0.3}),
    )
}

_ABLATION = {  # mean, p95 and max of the distance [his unit of length], joint MSE
    5.0: (0.0251, 0.0387, 0.0531, 5.6017),
    2.0: (0.0353, 0.0603, 0.0693, 5.5289),
    1.0: (0.0416, 0.0492, 0.1917, 5.4431),
    0.5: (0.3146, 0.4212, 0.5006, 4.4626),
    0.1: (1.5708, 1.7696, 2.7919, 3.2332),
    0.0: (5.3487, 6.3704, 6.5510, 1.8709),
}
_VALIDATION = {"mean": 0.0416, "std": 0.0063, "p95": 0.0492, "p99": 0.0530, "max": 0.1917}

STAGES = (
    Stage("a_4_2", "joints only", run_name(0.0)),
    Stage("a_4_3_1", "joints and FK", run_name(1.0)),
    Stage("a_4_3_2", "hard samples", "hard_samples"),
    Stage("a_4_3_3", "hard samples, analysed", "hard_samples", _VALIDATION),
    Stage("a_4_4_1", "joints only, analysed", run_name(0.0)),
    Stage("a_4_4_2", "FK only", "fk_only"),
    *(
        Stage(
            f"a_4_4_3/{run_name(weight)}",
            f"FK weight {weight:g}",
            run_name(weight),
            dict(zip(("mean", "p95", "max", "joint_mse"), _ABLATION[weight], strict=True)),
        )
        for weight in LAMBDAS
    ),
    Stage(
        "a_4_4_4",
        "FK weight rising to 1",
        "curriculum",
        {"mean": 0.0419, "p95": 0.0515, "p99": 0.0601, "joint_mse": 5.36},
    ),
    Stage("a_5", "limits by construction, FK with orientation", "physical"),
)

# One branch: the home posture's shoulder, elbow and wrist, and A1, A4 and A6 within 120 degrees of their middle, where
# joints follow from a pose without a jump. Whole: the same posture, and these within half a turn, whose ends meet.
DOMAINS = {"one": "one branch", "all": "all branches"}
WHOLE = "whole"
TURNS = {"one": 2 * np.pi / 3, WHOLE: np.pi}


def config_of(robot: Robot, domain: str, run: Run, quick: bool) -> RegressionConfig:
    """The options of a run over joints of a domain."""
    config = replace(BASE, **run.changes)
    if domain in TURNS:
        shoulder, elbow, wrist = posture_signs(robot.chain, robot.home[None])[0].tolist()
        config = replace(config, posture=(shoulder, elbow, wrist), turn=TURNS[domain])
    return replace(config, poses=6_000, epochs=2, sizes=(64, 64)) if quick else config
