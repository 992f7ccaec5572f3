"""The loss: its target against a case with a known answer, its derivative against finite differences, its parts."""

import math

import pytest
import torch

from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.meanflow import (
    APART_EARLIER,
    APART_LATER,
    MeanFlowConfig,
    dispersive_loss,
    meanflow_loss,
    meanflow_target,
    sample_times,
)
from hybrid_ik.learning.networks import NetworkConfig, build_network

# torch's own derivative rules are written with it, and loaded at the first jvp
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

CPU = torch.device("cpu")
S = 0.5  # standard deviation of the data in the known case


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sigma(t):
    return torch.sqrt((1 - t) ** 2 * S**2 + t**2)


def exact_u(z, r, t):
    """Mean velocity for data N(0, S^2): the flow scales z_t by sigma_r / sigma_t."""
    return z * ((1 - sigma(r) / sigma(t)) / (t - r)).unsqueeze(-1)


def exact_v(z, t):
    """Velocity at one time for the same data: z times d log(sigma_t) / dt."""
    return z * ((t - (1 - t) * S**2) / sigma(t) ** 2).unsqueeze(-1)


def known_case(n=1000):
    g = generator()
    times = torch.rand((2, n), generator=g, dtype=torch.float64)
    r, t = 0.95 * times.amin(0), 0.05 + 0.95 * times.amax(0)
    z = torch.randn((n, 3), generator=g, dtype=torch.float64)
    return z, r, t, exact_v(z, t)


def test_the_target_of_the_exact_mean_velocity_is_itself():
    z, r, t, v = known_case()
    u, target = meanflow_target(exact_u, z, r, t, v)
    torch.testing.assert_close(u, exact_u(z, r, t), rtol=0, atol=0)
    assert (u - target).abs().max() < 1e-12


def test_a_wrong_sign_or_swapped_tangents_would_be_seen():
    z, r, t, v = known_case()
    u, target = meanflow_target(exact_u, z, r, t, v)
    assert (u - (2 * v - target)).abs().max() > 0.5
    _, swapped = torch.func.jvp(exact_u, (z, r, t), (v, torch.ones_like(r), torch.zeros_like(t)))
    assert (u - (v - (t - r).unsqueeze(-1) * swapped)).abs().max() > 0.5


def test_one_step_of_the_exact_mean_velocity_gives_the_data():
    noise = torch.randn((200_000, 1), generator=generator(), dtype=torch.float64)
    zero, one = torch.zeros(len(noise), dtype=torch.float64), torch.ones(len(noise), dtype=torch.float64)
    assert (noise - exact_u(noise, zero, one)).std().item() == pytest.approx(S, rel=0.01)


@pytest.mark.parametrize("architecture", ["modulated", "residual"])
def test_the_derivative_in_the_target_meets_finite_differences(architecture):
    torch.manual_seed(0)
    network = build_network(NetworkConfig(architecture=architecture, width=16, trunk_width=16), 4, 9).double()
    condition = torch.randn((5, 9), dtype=torch.float64)
    z, v = torch.randn((2, 5, 4), dtype=torch.float64).unbind(0)
    r, t = torch.rand((2, 5), dtype=torch.float64).sort(0).values.unbind(0)
    u = lambda z, r, t: network(z, r, t, condition)[0]  # noqa: E731
    _, target = meanflow_target(u, z, r, t, v)
    h = 1e-6
    slope = (u(z + h * v, r, t + h) - u(z - h * v, r, t - h)) / (2 * h)
    torch.testing.assert_close(target, v - (t - r).unsqueeze(-1) * slope, rtol=0, atol=1e-7)


def test_the_target_has_no_gradient_and_the_value_has():
    scale = torch.tensor(2.0, requires_grad=True)
    z, r, t, v = (x.float() for x in known_case(4))
    u, target = meanflow_target(lambda z, r, t: scale * exact_u(z, r, t), z, r, t, v)
    assert u.requires_grad and not target.requires_grad


def test_a_tangent_of_ones_own_only_moves_the_derivative():
    """With the marginal velocity as tangent the identity holds up to the noise of v, whatever v is."""
    z, r, t, marginal = known_case()
    v = marginal + torch.randn(z.shape, generator=generator(1), dtype=torch.float64)
    u, target = meanflow_target(exact_u, z, r, t, v, tangent=marginal)
    torch.testing.assert_close(target - u, v - marginal, rtol=0, atol=1e-12)
    _, with_data = meanflow_target(exact_u, z, r, t, v)
    assert (with_data - target).abs().max() > 0.1


def test_slope_weight_scales_what_is_taken_from_the_velocity():
    z, r, t, v = known_case()
    _, whole = meanflow_target(exact_u, z, r, t, v)
    _, half = meanflow_target(exact_u, z, r, t, v, slope_weight=0.5)
    _, none = meanflow_target(exact_u, z, r, t, v, slope_weight=0.0)
    torch.testing.assert_close(v - half, 0.5 * (v - whole))
    torch.testing.assert_close(none, v, rtol=0, atol=0)


def test_slope_clip_shortens_long_rows_and_leaves_the_others():
    z, r, t, v = known_case()
    _, free = meanflow_target(exact_u, z, r, t, v)
    _, bound = meanflow_target(exact_u, z, r, t, v, slope_clip=0.5)
    before, after = (v - free).norm(dim=-1), (v - bound).norm(dim=-1)
    assert 0.1 < (before > 0.5).double().mean() < 0.9
    torch.testing.assert_close(after, before.clamp_max(0.5))
    torch.testing.assert_close((v - bound) * before[:, None], (v - free) * after[:, None])


@pytest.mark.parametrize("times", ["uniform", "logit_normal"])
def test_times_are_sorted_and_shared_out_as_asked(times):
    config = MeanFlowConfig(times=times, share_full=0.25)
    r, t = sample_times(config, 1000, (3000, 8), generator(), CPU)
    assert r.shape == t.shape == (3000, 8)
    assert (0 <= r).all() and (r <= t).all() and (t <= 1).all()
    assert (r[:1000] == t[:1000]).all() and (r[1000:] < t[1000:]).all()
    full = (r[1000:] == 0) & (t[1000:] == 1)
    assert full.float().mean().item() == pytest.approx(0.25, abs=0.02)
    if times == "logit_normal":
        assert (t[:1000].logit().mean().abs() < 0.05) and (t[:1000].logit().std() - 1).abs() < 0.05
    else:
        assert t[:1000].mean().item() == pytest.approx(0.5, abs=0.02)


def test_times_apart_have_distributions_of_their_own():
    r, t = sample_times(MeanFlowConfig(times="apart", share_full=0.0), 1000, (3000, 8), generator(), CPU)
    assert (0 <= r).all() and (r <= t).all() and (t <= 1).all()
    assert (r[:1000] == t[:1000]).all()
    expected_mean, expected_std = APART_LATER
    assert t.logit().mean().item() == pytest.approx(expected_mean, abs=0.05)
    assert t.logit().std().item() == pytest.approx(expected_std, abs=0.05)
    # half of a normal distribution's draws lie below its mean; min(r, t) only adds to them
    assert (r[1000:].logit() < APART_EARLIER[0]).float().mean().item() == pytest.approx(0.51, abs=0.02)


def test_times_from_data_begin_there():
    r, t = sample_times(MeanFlowConfig(times="from_data"), 1000, (3000, 8), generator(), CPU)
    assert (r[:1000] == t[:1000]).all() and (r[1000:] == 0).all()
    assert t[:1000].mean().item() == pytest.approx(0.5, abs=0.02)
    assert (t[1000:] == 1).float().mean().item() == pytest.approx(0.25, abs=0.02)


def small_problem(**options):
    torch.manual_seed(0)
    network = build_network(NetworkConfig(width=16, trunk_width=16, **options), 3, 9)
    x, condition = torch.rand((64, 3)) * 2 - 1, torch.randn((64, 9))
    return network, x, condition


def test_baseline_is_flow_matching():
    network, x, condition = small_problem()
    loss = meanflow_loss(network, x, condition, 4, MeanFlowConfig(mode="baseline"), generator())
    g = generator()
    _, t = sample_times(MeanFlowConfig(), 64, (64, 4), g, CPU)
    noise = torch.randn((64, 4, 3), generator=g)
    z = (1 - t[..., None]) * x[:, None] + t[..., None] * noise
    u, _ = network(z, t, t, condition[:, None])
    expected = (u - (noise - x[:, None])).square().mean()
    torch.testing.assert_close(loss, expected)


def test_alpha_zero_leaves_the_instant_rows_only():
    network, x, condition = small_problem()
    loss = meanflow_loss(network, x, condition, 4, MeanFlowConfig(alpha=0.0), generator())
    everything = meanflow_loss(network, x, condition, 4, MeanFlowConfig(), generator())
    assert 0 < loss < everything
    g = generator()
    _, t = sample_times(MeanFlowConfig(), 32, (64, 4), g, CPU)
    v = torch.randn((64, 4, 3), generator=g) - x[:, None]
    u, _ = network(x[:32, None] + t[:32, :, None] * v[:32], t[:32], t[:32], condition[:32, None])
    torch.testing.assert_close(loss, (u - v[:32]).square().mean() / 2)


def expected_interval_loss(network, x, condition, tangent_of, weight=1.0):
    """The loss with r < t in every row, written out with the pose's part inside the derivative."""
    g = generator()
    r, t = sample_times(MeanFlowConfig(), 0, (64, 4), g, CPU)
    v = torch.randn((64, 4, 3), generator=g) - x[:, None]
    z = x[:, None] + t[..., None] * v
    u = lambda z, r, t: network(z, r, t, condition[:, None])[0]  # noqa: E731
    tangents = (tangent_of(u, z, t, v), torch.zeros_like(r), torch.ones_like(t))
    value, slope = torch.func.jvp(u, (z, r, t), tangents)
    return (value - (v - weight * (t - r)[..., None] * slope).detach()).square().mean()


TANGENTS = {
    "data": lambda u, z, t, v: v,
    "predicted": lambda u, z, t, v: u(z, t, t),
    "time": lambda u, z, t, v: torch.zeros_like(v),
}


@pytest.mark.parametrize("tangent", TANGENTS)
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_derivative_is_along_the_tangent_asked_for(tangent, weight):
    network, x, condition = small_problem()
    config = MeanFlowConfig(share_instant=0.0, tangent=tangent, slope_weight=weight)
    loss = meanflow_loss(network, x, condition, 4, config, generator())
    torch.testing.assert_close(loss, expected_interval_loss(network, x, condition, TANGENTS[tangent], weight))


def test_a_tight_slope_clip_leaves_flow_matching():
    network, x, condition = small_problem()
    losses = [
        meanflow_loss(network, x, condition, 4, MeanFlowConfig(share_instant=0.0, **options), generator())
        for options in ({"slope_clip": 1e-9}, {"slope_weight": 0.0}, {"slope_clip": 1e9}, {})
    ]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[2], losses[3])
    assert abs(losses[0] - losses[2]) > 1e-4


def test_adaptive_weights_bound_each_row():
    network, x, condition = small_problem()
    loss = meanflow_loss(network, x, condition, 4, MeanFlowConfig(adaptive_power=1.0), generator())
    assert 0 < loss < 1 / 3  # every row is at most 1, the mean is per joint


@pytest.mark.parametrize("options", [{}, {"mode": "baseline"}, {"tangent": "predicted"}, {"times": "apart"}])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_every_weight_gets_a_gradient_and_the_mode_of_the_network_is_kept(options, norm):
    network, x, condition = small_problem(norm=norm, dropout=0.1)
    config = MeanFlowConfig(dispersive_weight=0.1, **options)
    network.train()
    meanflow_loss(network, x, condition, 2, config, generator()).backward()
    assert network.training
    for name, weight in network.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name


def test_dispersive_loss_against_its_formula():
    h = torch.randn((50, 6), generator=generator(), dtype=torch.float64)
    distances = torch.cdist(h, h).square() / 6
    expected = torch.log(torch.exp(-distances / 0.5).mean())
    torch.testing.assert_close(dispersive_loss(h.reshape(10, 5, 6)), expected)


def test_dispersive_loss_falls_as_features_spread():
    h = torch.randn((64, 4), generator=generator())
    assert dispersive_loss(torch.zeros(64, 4)).item() == pytest.approx(0.0, abs=1e-6)
    assert dispersive_loss(h).item() > dispersive_loss(3 * h).item() > -math.log(64) - 1e-5
    assert torch.isfinite(dispersive_loss(torch.randn((5000, 4), generator=generator())))


@pytest.mark.parametrize(
    "options",
    [
        {"share_instant": 1.5},
        {"share_full": -0.1},
        {"logit_std": 0.0},
        {"dispersive_temperature": -1.0},
        {"slope_clip": -1.0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InvalidInputError, match=f"loss.{next(iter(options))}"):
        MeanFlowConfig(**options)
