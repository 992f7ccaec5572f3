"""Joints from pixels, learned and refined, on a recording whose dots were followed: `python benchmarks/pixels.py`.

Trains four networks on four fifths of the episodes, calibrates the cameras from the same ones, and compares all ways to
joints on the other episodes. First draw a recording of 20 minutes (an hour of one core) and follow its dots:

    hybrid-ik pixels record --out made --episodes 40 --seconds 30
    hybrid-ik pixels find-dots --data made            # and the command that it prints
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from record import RESULTS, cores, print_table, record, restart_in_one_thread, timed, write_json

from hybrid_ik import HybridSolver, LMConfig, Robot
from hybrid_ik.checkpoint import NetworkFile
from hybrid_ik.learning.loop import STATE_FILE
from hybrid_ik.learning.pixels import PixelConfig, train_pixels
from hybrid_ik.pixels.cameras.arm_dots import with_middle
from hybrid_ik.pixels.cameras.pixel_refiner import refine_on_point
from hybrid_ik.pixels.cameras.triangulation import triangulate
from hybrid_ik.pixels.evaluation import Answers, compare_ways, held_out_episodes
from hybrid_ik.pixels.processed import ProcessedRecording, load_processed
from hybrid_ik.pixels.rig import Rig, calibrate_rig
from hybrid_ik.samplers.pixel import PixelSampler, pixel_features

Array = NDArray[np.float64]

SITES = "dot_fixed_jaw", "dot_moving_jaw"
TIPS = "between_dots", "gripperframe"  # the middle of the open jaws, and the end of the fixed one
FEATURES = {"the middle of the dots": "middle", "all dots": "dots"}
MODELS: dict[str, dict[str, Any]] = {
    "MLP": {"model": "mlp", "epochs": 100},
    "MeanFlow": {"model": "meanflow", "epochs": 40, "lr": 2e-3},
}
N_FRAMES, N_SAMPLES, N_STARTS = 300, 16, 64  # that tell whether several joints fit the same dots
APART = 0.1  # rad, Euclidean: joints that differ
FITTING = 2.0  # px
OTHER_SEEDS = 1, 2, 3


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    processed: Path = Path("runs/pixels/processed.npz")
    """What `hybrid-ik pixels preprocess` wrote."""
    out: Path = Path("runs/pixels/benchmark")
    """Folder of the networks; those that are there are not trained again."""
    json: Path = RESULTS / "pixels.json"
    """Where to save the results."""
    epochs: float = 1.0
    """Times the epochs of all trainings; for a quick look."""


def train(data: ProcessedRecording, options: Options, out: Path, **changes: Any) -> NetworkFile:
    """A network in a folder, which is not trained again where it is there."""
    epochs = max(1, round(options.epochs * changes["epochs"]))
    settings = {**changes, "epochs": epochs, "out": out, "device": "cpu", "tensorboard": False}
    config = PixelConfig(**settings, checkpoint_interval=1000)
    return train_pixels(data, config, resume=(out / STATE_FILE).is_file())


def trained(data: ProcessedRecording, options: Options) -> tuple[dict[str, PixelSampler], list[dict[str, Any]]]:
    """The four networks by their names, and what each of them is and took."""
    samplers, rows = {}, []
    for told, features in FEATURES.items():
        for name, changes in MODELS.items():
            out = options.out / f"{changes['model']}_{features}"
            file = train(data, options, out, **changes, features=features)
            samplers[f"{name} on {told}"] = PixelSampler(file)
            rows.append({"network": f"{name} on {told}", "steps": file.record["steps"], **file.record["measures"]})
    return samplers, rows


def of_other_seeds(
    data: ProcessedRecording, kept: ProcessedRecording, rig: Rig, options: Options
) -> list[dict[str, Any]]:
    """Medians of the tip's errors [mm] of the same MLP trained with other seeds, alone: how far they differ."""
    rows = []
    for told, features in FEATURES.items():
        row: dict[str, Any] = {"network": f"MLP on {told}"}
        for seed in OTHER_SEEDS:
            out = options.out / f"mlp_{features}_{seed}"
            sampler = PixelSampler(train(data, options, out, **MODELS["MLP"], features=features, seed=seed))
            q = rig.clipped_to_model(sampler.predict(pixel_features(kept.dots, features)), kept.gripper)
            row[str(seed)] = float(np.nanmedian(tip_errors(q, rig, kept, TIPS[0])))
        rows.append(row)
    return rows


def tip_errors(q: Array, rig: Rig, data: ProcessedRecording, tip: str) -> Array:
    """Distances of a tip from where the recorded joints have it `(m,)` [mm], for joints of the model `(m, dof)`."""
    arm, q_true = Robot(rig.robot, tip=tip), rig.to_model(data.joints, data.gripper)
    positions = [arm.forward_kinematics(rows[:, : arm.dof]).position for rows in (q, q_true)]
    return 1e3 * np.linalg.norm(positions[0] - positions[1], axis=-1)


def row_of(answers: Answers, rig: Rig, data: ProcessedRecording) -> dict[str, Any]:
    """Errors of the tips and of the joints."""
    errors = {tip: tip_errors(answers.q, rig, data, tip) for tip in TIPS}
    tips = {tip: {"median": np.nanmedian(e), "p95": np.nanquantile(e, 0.95)} for tip, e in errors.items()}
    return {
        "way": answers.name,
        "tip [mm]": tips,
        "joints [deg]": {share: answers.joint_quantile(float(share)) for share in ("0.5", "0.95")},
        "answered": answers.answered,
        "ms a frame": 1e3 * answers.seconds,
    }


def choices(data: ProcessedRecording, rig: Rig, sampler: PixelSampler) -> dict[str, float]:
    """Median distance of the tip [mm] for answers that can be made of MeanFlow's samples."""
    frames = some_frames(data)
    told = pixel_features(data.dots[frames], sampler.features)
    samples = sampler.sample(told, N_SAMPLES)
    arm = Robot(rig.robot, tip=TIPS[0])

    def tips(joints: Array) -> Array:
        return arm.forward_kinematics(rig.clipped_to_model(joints)[..., : arm.dof]).position

    true = tips(data.joints[frames])
    errors = 1e3 * np.linalg.norm(tips(samples) - true[:, None], axis=-1)
    made = {"the noise 0": sampler.predict(told), "mean of the samples": samples.mean(1)}
    found = {name: float(np.median(1e3 * np.linalg.norm(tips(q) - true, axis=-1))) for name, q in made.items()}
    return {**found, "one sample": float(np.median(errors[:, 0])), "nearest sample": float(np.median(errors.min(1)))}


def several_for_the_middle(data: ProcessedRecording, rig: Rig, sampler: PixelSampler) -> dict[str, Any]:
    """Samples of MeanFlow for the middle of the dots, moved until the middle is where it was triangulated."""
    frames = some_frames(data)
    pixels = data.dots[frames].astype(float)
    middle = triangulate(tuple(rig.cameras.values()), np.moveaxis(pixels, 1, -2)).mean(-2)
    arm = with_middle(rig.dots, rig.to_model(data.joints[0], data.gripper[0]))
    solver = HybridSolver(arm, sampler="uniform", config=LMConfig(orientation_weight=0.0))
    joints = sampler.sample(pixel_features(pixels, "middle"), N_SAMPLES)
    starts = rig.clipped_to_model(joints)[..., : arm.dof]
    found = refine_on_point(solver, np.repeat(middle[:, None], N_SAMPLES, 1), starts)
    q = np.where(found.success[..., None], found.q, np.nan)
    ranges = np.degrees(np.nanmax(q, 1) - np.nanmin(q, 1))
    moved = np.degrees(np.abs(q - starts).max(-1))
    return {
        "samples": N_SAMPLES,
        "put on the middle": float(found.success.mean()),
        "largest joint's move for that [deg], median": float(np.nanmedian(moved)),
        "range of each joint [deg], median": np.median(ranges, 0),
        "distinct, mean": float(np.mean([n_distinct(rows[np.isfinite(rows[:, 0])]) for rows in q])),
    }


def several_for_all_dots(data: ProcessedRecording, rig: Rig) -> dict[str, Any]:
    """How many joints explain all dots, of many random starts."""
    frames, robot = some_frames(data), rig.robot
    starts = np.random.default_rng(0).uniform(robot.lower, robot.upper, (len(frames), N_STARTS, robot.dof))
    starts[..., -1] = rig.to_model(data.joints[frames], data.gripper[frames])[:, None, -1]
    found = rig.refiner().refine(data.dots[frames, None].astype(float), starts)
    counts = [n_distinct(q[fits]) for q, fits in zip(found.q, found.pixel_error <= FITTING, strict=True)]
    return {"starts": N_STARTS, "distinct": {str(k): counts.count(k) for k in sorted(set(counts))}}


def some_frames(data: ProcessedRecording) -> NDArray[np.intp]:
    """Frames in which all dots were seen, evenly spaced."""
    whole = np.flatnonzero(np.isfinite(data.dots).all((1, 2, 3)))
    return whole[np.linspace(0, len(whole) - 1, min(N_FRAMES, len(whole))).astype(int)]


def n_distinct(q: Array) -> int:
    """How many of joints `(n, dof)` differ from all before them."""
    kept: list[Array] = []
    for row in q:
        if all(np.linalg.norm(row - other) > APART for other in kept):
            kept.append(row)
    return len(kept)


def main(options: Options) -> None:
    """Trains what is not trained, measures, prints and saves."""
    data = load_processed(options.processed)
    with cores(1):
        samplers, networks = trained(data, options)
        episodes = held_out_episodes(samplers)
        learned, kept = data.without_episodes(episodes), data.of_episodes(episodes)
        seconds, rig = timed(lambda: calibrate_rig(learned, Robot("so100", tip=SITES[1]), SITES))
        seeds = of_other_seeds(data, kept, rig, options)
        answers = compare_ways(kept, rig, samplers, Robot("so100", tip=TIPS[0]))
        several = {
            "the middle": several_for_the_middle(kept, rig, samplers["MeanFlow on the middle of the dots"]),
            "all dots": several_for_all_dots(kept, rig),
        }
    rows = [row_of(answer, rig, kept) for answer in answers]
    result = {
        **record(),
        "frames": len(data),
        "held out": {"episodes": episodes, "frames": len(kept), "with all dots": 1 - kept.n_lost / len(kept)},
        "joint names": data.joint_names,
        "rig": {"seconds": seconds, "pixel error [px]": rig.pixel_error},
        "networks": networks,
        "other seeds [mm]": seeds,
        "rows": rows,
        "choices [mm]": {
            name: choices(kept, rig, sampler) for name, sampler in samplers.items() if sampler.gives_several
        },
        "several": several,
    }
    write_json(options.json, result)
    short = ("network", "steps", "validation_loss", "joint_rmse", "joint_rmse_best_of_16")
    print_table("networks", [{name: row.get(name) for name in short} for row in networks])
    print_table(
        f"{len(kept)} frames of {len(episodes)} episodes: tip, median and 95 % [mm]", [printed(row) for row in rows]
    )
    print_table("MLP with other seeds: tip, median [mm]", seeds)
    print_table("MeanFlow: tip, median [mm]", [{"network": k, **v} for k, v in result["choices [mm]"].items()])


def printed(row: dict[str, Any]) -> dict[str, Any]:
    """A row in short."""
    tips = {f"{tip} {share}": row["tip [mm]"][tip][share] for tip in TIPS for share in ("median", "p95")}
    return {"way": row["way"], **tips, "answered": row["answered"], "ms a frame": row["ms a frame"]}


if __name__ == "__main__":
    restart_in_one_thread()
    main(tyro.cli(Options, description=__doc__))
