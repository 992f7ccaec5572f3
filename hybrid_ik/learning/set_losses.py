r"""Losses between the samples of a pose and its whole solution set, for the second phase of training.

Samples and answers are given in half joint ranges, that is in rad (or m): `(n_poses, n, n_joints)`.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hybrid_ik.encoding import Encoder
from hybrid_ik.learning.data import inner_poses_torch

SMOOTH = 0.01  # rad, or m: below it a distance is rounded off, for its gradient has a jump at 0
TEMPERATURES = (0.02, 0.05, 0.2)  # of the drifting loss, in units of the mean distance; those of its paper
SELF = 1e6  # distance of a sample from itself, so that it does not push itself


def matched_distance(samples: Tensor, answers: Tensor) -> Tensor:
    r"""Mean distance between samples and the answers they are matched with, one to one.

    For each pose the permutation :math:`\pi` that minimises :math:`\sum_i |x_i - y_{\pi(i)}|^2` is found (scipy's
    `linear_sum_assignment`, after Crouse, 2016: "On implementing 2D rectangular assignment algorithms"); the loss is
    the mean of :math:`\sqrt{|x_i - y_{\pi(i)}|^2 + \epsilon^2}`. Distances and not their squares: a noise that could
    go to either of two branches then settles on one, where squares would leave it halfway between them.

    Args:
        samples: `(m, n, n_joints)` [rad, or m].
        answers: `(m, n, n_joints)` [rad, or m].

    Returns:
        A scalar [rad, or m], differentiable in the samples.
    """
    squared = torch.cdist(samples.detach(), answers).square().cpu().numpy()
    order = torch.from_numpy(np.stack([linear_sum_assignment(cost)[1] for cost in squared])).to(answers.device)
    return smooth_distance(samples, torch.take_along_dim(answers, order[..., None], 1)).mean()


def drifting_loss(samples: Tensor, answers: Tensor) -> Tensor:
    r"""Mean of :math:`|x - \mathrm{sg}(x + V)|^2`: samples drift to the answers and away from each other.

    V is attraction less repulsion, each a mean over answers, or over the other samples, weighted by a softmax of
    distances; where samples and answers are distributed alike the two cancel (Deng et al., 2026, "Generative Modeling
    via Drifting", arXiv 2602.04770, algorithm 2). With few samples the repulsion wins: 8 of them flee for ever, for the
    mean of the others lies on the far side of the answers.

    Args:
        samples: `(m, n, n_joints)` [rad, or m].
        answers: `(m, n, n_joints)` [rad, or m].
    """
    with torch.no_grad():
        attracting = torch.cdist(samples, answers)
        repelling = torch.cdist(samples, samples) + SELF * torch.eye(samples.shape[1], device=samples.device)
        scale = attracting.mean((1, 2), keepdim=True)
        distances = torch.cat([attracting, repelling], -1) / scale
        drift = torch.zeros_like(samples)
        for temperature in TEMPERATURES:
            logits = -distances / temperature
            weights = (logits.softmax(-1) * logits.softmax(-2)).sqrt()
            to_answers, to_samples = weights.split(samples.shape[1], -1)
            balance = to_samples.sum(-1, keepdim=True), to_answers.sum(-1, keepdim=True)
            drift += to_answers * balance[0] @ answers - to_samples * balance[1] @ samples
    return (samples - (samples + drift).detach()).square().sum(-1).mean()


def consistency_loss(encoder: Encoder, x: Tensor, condition: Tensor) -> Tensor:
    """Mean distance between what a pose is told as and what the poses of its samples would be told as.

    By forward kinematics. With the "invariant" encoding that is the error which is left when the outer joints are set
    in closed form.

    Args:
        encoder: the arm; any encoding but "quaternion".
        x: `(m, n, n_joints)` normalised samples.
        condition: `(m, n_features)`.
    """
    lower, upper = (torch.as_tensor(limit, dtype=x.dtype, device=x.device) for limit in (encoder.lower, encoder.upper))
    proposed = (x + 1.0) * (0.5 * (upper - lower)) + lower
    outer = encoder.proposed.start, encoder.chain.dof - encoder.proposed.stop
    p, R = inner_poses_torch(encoder.chain, torch.nn.functional.pad(proposed, outer))
    rows = [row.unbind(-1) for row in R.unbind(-2)]
    told = torch.stack(encoder.features(p.unbind(-1), rows), -1)
    return smooth_distance(told, condition[:, None]).mean() - SMOOTH


def smooth_distance(a: Tensor, b: Tensor) -> Tensor:
    r""":math:`\sqrt{|a - b|^2 + \epsilon^2}` over the last axis."""
    return ((a - b).square().sum(-1) + SMOOTH**2).sqrt()
