"""The rows of the ablation: changes of the recipe, one at a time, and two other recipes as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hybrid_ik.learning.matching import MatchingConfig
from hybrid_ik.learning.meanflow import MeanFlowConfig
from hybrid_ik.learning.networks import NetworkConfig
from hybrid_ik.learning.training import TrainConfig

Change = Callable[[TrainConfig], TrainConfig]


@dataclass(frozen=True)
class Variant:
    """One row."""

    label: str
    """What it is, in words."""
    change: Change
    """Its options, from those of the base."""


def _run(**changes: Any) -> Change:
    return lambda base: replace(base, **changes)


def _loss(**changes: Any) -> Change:
    return lambda base: replace(base, loss=replace(base.loss, **changes))


def _network(**changes: Any) -> Change:
    return lambda base: replace(base, network=replace(base.network, **changes))


def _logit_normal(mean: float, std: float) -> Change:
    return _loss(times="logit_normal", logit_mean=mean, logit_std=std)


def _matching(**changes: Any) -> Change:
    """MeanFlow for half of the time, then matching with these options."""
    return lambda base: replace(base, matching=MatchingConfig(**changes))


SEED_NETWORK = NetworkConfig(
    architecture="residual", width=512, depth=6, norm="batch", activation="gelu", dropout=0.1, encoding="rotation6d"
)


def _seed_000(base: TrainConfig) -> TrainConfig:
    """shared/seeds/000: every row has an r and a t of its own, nothing is trained at r = t."""
    loss = MeanFlowConfig(times="logit_normal", share_instant=0.0, share_full=0.0, dispersive_weight=0.25)
    return replace(base, batch_poses=2048, noises_per_pose=1, network=SEED_NETWORK, loss=loss)


def _seed_001(base: TrainConfig) -> TrainConfig:
    """shared/seeds/001: |u - v|^2 + alpha |u - (v - t du/dt)|^2 on the same rows, r = 0, alpha = 0.1.

    But for a constant and the factor 1 + alpha that is |u - (v - a t du/dt)|^2 with a = alpha / (1 + alpha), and the
    factor moves over to the dispersive weight.
    """
    alpha, dispersive = 0.1, 0.01
    loss = MeanFlowConfig(
        times="from_data",
        share_instant=0.0,
        share_full=0.0,
        tangent="time",
        slope_weight=alpha / (1 + alpha),
        dispersive_weight=dispersive / (1 + alpha),
    )
    network = replace(SEED_NETWORK, depth=8, encoding="quaternion")
    return replace(base, batch_poses=1024, noises_per_pose=1, lr=1e-4, network=network, loss=loss)


VARIANTS: dict[str, Variant] = {
    "base": Variant("the recipe of the shipped network, shorter", lambda base: base),
    "flow_matching": Variant("flow matching alone, sampled in one step", _loss(mode="baseline")),
    "instant_025": Variant("a quarter of the poses at r = t", _loss(share_instant=0.25)),
    "instant_075": Variant("three quarters of the poses at r = t", _loss(share_instant=0.75)),
    "logit_normal_0": Variant("times logit-normal (0, 1)", _logit_normal(0.0, 1.0)),
    "logit_normal_04": Variant("times logit-normal (-0.4, 1)", _logit_normal(-0.4, 1.0)),
    "uniform": Variant("times uniform, sorted", _loss(times="uniform")),
    "adaptive_05": Variant("adaptive weights, p = 0.5", _loss(adaptive_power=0.5)),
    "adaptive_1": Variant("adaptive weights, p = 1", _loss(adaptive_power=1.0)),
    "predicted": Variant("derivative along the network's own velocity", _loss(tangent="predicted")),
    "slope_clip": Variant("(t - r) du/dt of a row at most 5 long", _loss(slope_clip=5.0)),
    "dispersive_025": Variant("dispersive loss, weight 0.25", _loss(dispersive_weight=0.25)),
    "dispersive_05": Variant("dispersive loss, weight 0.5", _loss(dispersive_weight=0.5)),
    "set_answers": Variant("noises paired with 32 answers spread over the whole set", _run(answers_per_pose=32)),
    "instant_first": Variant("r = t alone for the first quarter of the steps", _run(instant_first=0.25)),
    "matching": Variant("MeanFlow for half the time, then matching", _matching()),
    "matching_256": Variant(
        "matching in blocks of 16, 64 and 256 in turn, 4096 rows", _matching(levels=(16, 64, 256), rows=4096)
    ),
    "drifting": Variant("the same with attraction and repulsion in place of matching", _matching(loss="drifting")),
    "consistency": Variant("matching, and a distance of poses (weight 1)", _matching(consistency=1.0)),
    "consistency_rising": Variant(
        "matching, and a distance of poses (weight rising to 1)", _matching(consistency=1.0, rising=True)
    ),
    "distillation": Variant(
        "matching, and the distance from what the refiner makes of a sample (weight 1)", _matching(distillation=1.0)
    ),
    "distillation_rising": Variant(
        "matching, and the distance from what the refiner makes of a sample (weight rising to 1)",
        _matching(distillation=1.0, rising=True),
    ),
    "matching_alone": Variant("matching from the start, no MeanFlow", _run(steps=0, matching=MatchingConfig())),
    "one_noise": Variant("2048 poses with one noise each", _run(batch_poses=2048, noises_per_pose=1)),
    "invariant": Variant("told what the outer joints leave unchanged", _network(encoding="invariant")),
    "rotation6d": Variant("told the whole pose, two columns of R", _network(encoding="rotation6d")),
    "quaternion": Variant("told the whole pose, a quaternion", _network(encoding="quaternion")),
    "octaves_4": Variant("told sines and cosines of the pose's features as well", _network(octaves=4)),
    "flat": Variant("one residual MLP of 3 x 192 on everything", _network(architecture="residual", width=192)),
    "width_64": Variant("decoder 64 wide", _network(width=64)),
    "width_96": Variant("decoder 96 wide", _network(width=96)),
    "width_128": Variant("decoder 128 wide", _network(width=128)),
    "width_192": Variant("decoder 192 wide", _network(width=192)),
    "trunk_512": Variant("trunk 512 wide", _network(trunk_width=512)),
    "depth_2": Variant("decoder 2 deep", _network(depth=2)),
    "depth_4": Variant("decoder 4 deep", _network(depth=4)),
    "seed_000": Variant(
        "design note 000: 6 residual blocks of 512, BatchNorm, GELU, dropout 0.1, logit-normal, dispersive 0.25; "
        "not as there: distances of the dispersive loss over the feature size, derivative in evaluation mode, low time "
        "frequencies, batch 2048 and optimiser of the base (it names none)",
        _seed_000,
    ),
    "seed_001": Variant(
        "design note 001: r = 0, derivative in t alone with alpha 0.1, dispersive 0.01, 8 residual blocks of 512, "
        "batch 1024, lr 1e-4; not as there: form of the dispersive loss, derivative in evaluation mode, low time "
        "frequencies, gradient clip and learning rate curve of the base; blocks as in 000 (it names no norm)",
        _seed_001,
    ),
}


def is_the_base(name: str, base: TrainConfig) -> bool:
    """Whether a row under another name would be trained exactly as the base is."""
    return name != "base" and VARIANTS[name].change(base) == base
