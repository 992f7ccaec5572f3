"""The rows of the comparison: one solver class, with its parts replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hybrid_ik.refiners.base import LMConfig
from hybrid_ik.refiners.baselines import AdamRefiner, DmControlRefiner, MinimizeRefiner, ScipyRefiner
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

# Without a refiner, or with one of first order, a micrometre is out of reach: such rows look for answers to a
# centimetre and 0.01 rad, and are judged by both bounds.
COARSE_CONFIG = LMConfig(max_iterations=100, position_tolerance=1e-2, orientation_tolerance=1e-2)


@dataclass(frozen=True)
class Variant:
    """One row."""

    label: str
    """What the table calls it."""
    make: Callable[[Robot, int], HybridSolver]
    """The solver, of an arm and a seed."""
    share: float = 1.0
    """Of the poses: slow rows get fewer of them, and the table says how many."""
    many_share: float = 0.2
    """Of the poses for many answers each."""


def _solver(sampler: str, refiner: Callable[[Robot], Any] = lambda robot: "lanes", **options: Any) -> Any:
    return lambda robot, seed: HybridSolver(robot, sampler=sampler, refiner=refiner(robot), seed=seed, **options)


VARIANTS: dict[str, Variant] = {
    "hybrid": Variant("hybrid (auto)", _solver("auto")),
    "network_lm": Variant("network + LM, lanes", _solver("meanflow")),
    "uniform_lm": Variant("random + LM, lanes", _solver("uniform")),
    "lookup_lm": Variant("lookup + LM, lanes", _solver("lookup")),
    "network": Variant("network alone, best of 256", _solver("meanflow", lambda robot: None, config=COARSE_CONFIG)),
    "network_adam": Variant(
        "network + Adam", _solver("meanflow", lambda robot: AdamRefiner(robot, COARSE_CONFIG)), 0.02, 0.003
    ),
    "uniform_mujoco": Variant("random + LM, MuJoCo", _solver("uniform", lambda robot: "mujoco"), 0.1, 0.01),
    "scipy": Variant("random + scipy", _solver("uniform", ScipyRefiner), 0.05, 0.01),
    "minimize": Variant("random + mujoco.minimize", _solver("uniform", MinimizeRefiner), 0.05, 0.01),
    "dm_control": Variant("random + dm_control", _solver("uniform", DmControlRefiner), 0.05, 0.01),
}
