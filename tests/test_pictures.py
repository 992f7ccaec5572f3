"""The pictures of one pose are drawn from what is stored and shipped."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import metrics
import oracle
import pictures

from hybrid_ik.samplers.meanflow import MeanFlowSampler


def test_both_pictures_are_drawn(panda, tmp_path):
    poses, sets, _ = oracle.load_sets()
    pictures.draw_curves(panda, poses[0], sets[0], tmp_path / "curves.png")
    pictures.draw_noise(panda, poses[0], sets[0], tmp_path / "noise.png")
    for name in ("curves.png", "noise.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_one_pass_gives_the_starts_of_the_sampler_but_for_spares(panda):
    pose = oracle.load_sets()[0][0]
    noise, starts = pictures._one_pass(panda, pose, 16)
    assert noise.shape == (16, 5) and starts.shape == (16, 7)
    sampler = MeanFlowSampler(pictures.NETWORK, panda.chain, noise_scale=1.0)
    same = np.isclose(sampler.sample(pose, 16), starts, atol=1e-5).all(-1)
    assert same.mean() >= 0.75  # every four have one spare
    assert metrics.judge(panda, pose, starts).inside_limits.all()
