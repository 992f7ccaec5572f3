"""How a network sees an arm: what the outer joints leave unchanged, and how they follow from the joints between."""

import numpy as np
import pytest
import torch

from hybrid_ik.chain import Chain
from hybrid_ik.encoding import Encoder
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.learning.data import PairStream, ValidationSet, inner_poses

ENCODINGS = ["invariant", "rotation6d", "quaternion"]


def bent_arm(kinds: str, lower: float = -2.0, upper: float = 2.0) -> Chain:
    """An arm of skew axes, from a letter for each joint: h for a hinge, s for a slide."""
    rng = np.random.default_rng(len(kinds))
    n = len(kinds)
    return Chain.from_axes(
        kinds=tuple({"h": "hinge", "s": "slide"}[kind] for kind in kinds),
        origins=np.cumsum(rng.normal(size=(n, 3)) * 0.3, axis=0),
        axes=rng.normal(size=(n, 3)),
        T_base_tip=np.eye(4),
        lower=[lower] * n,
        upper=[upper] * n,
        joint_names=tuple(f"j{i}" for i in range(n)),
    )


KINDS = ["hhh", "hhhhhhh", "shhhh", "hhhs", "shhs"]


def draw(chain, n=200, seed=0):
    q = np.random.default_rng(seed).uniform(chain.sample_lower, chain.sample_upper, (n, chain.dof))
    return q, *inner_poses(chain, q)


def round_trip(encoder, q, position, rotation):
    proposed = encoder.denormalise(encoder.normalise(q))
    return complete(encoder, proposed, position, rotation)


def complete(encoder, proposed, position, rotation):
    return encoder.complete(proposed[:, None], position, rotation, lambda q: inner_poses(encoder.chain, q))[:, 0]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_joints_come_back_from_those_proposed_and_the_pose(robot, encoding):
    q, position, rotation = draw(robot.chain)
    difference = round_trip(Encoder(robot.chain, encoding), q, position, rotation) - q
    difference[:, -1] -= 2 * np.pi * np.round(difference[:, -1] / (2 * np.pi))  # where the range holds whole turns
    np.testing.assert_allclose(difference, 0, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("lower", "upper"), [(-2.0, 2.0), (0.5, 1.5), (-3.0, -1.0)])
@pytest.mark.parametrize("kinds", KINDS)
def test_the_joints_come_back_for_slides_at_the_ends_and_ranges_without_0(kinds, lower, upper):
    chain = bent_arm(kinds, lower, upper)
    q, position, rotation = draw(chain)
    completed = round_trip(Encoder(chain, "invariant"), q, position, rotation)
    np.testing.assert_allclose(completed, q, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kinds", KINDS)
def test_the_outer_joints_change_no_feature(kinds):
    chain = bent_arm(kinds)
    encoder = Encoder(chain, "invariant")
    q, position, rotation = draw(chain)
    moved = draw(chain, seed=1)[0]
    moved[:, encoder.proposed] = q[:, encoder.proposed]
    assert np.abs(moved - q).max() > 1
    np.testing.assert_allclose(
        encoder.encode(*inner_poses(chain, moved)), encoder.encode(position, rotation), atol=1e-5
    )


@pytest.mark.parametrize("kinds", KINDS)
def test_every_proposed_joint_changes_a_feature(kinds):
    chain = bent_arm(kinds)
    encoder = Encoder(chain, "invariant")
    q, position, rotation = draw(chain)
    for joint in range(encoder.proposed.start, encoder.proposed.stop):
        moved = q.copy()
        moved[:, joint] += 0.3
        change = np.abs(encoder.encode(*inner_poses(chain, moved)) - encoder.encode(position, rotation)).max(-1)
        assert np.median(change) > 1e-3


@pytest.mark.parametrize(
    ("kinds", "n_joints", "n_features"), [("hhhhhhh", 5, 5), ("shhhh", 3, 5), ("hhhs", 3, 8), ("shhs", 3, 8)]
)
def test_sizes(kinds, n_joints, n_features):
    encoder = Encoder(bent_arm(kinds), "invariant")
    assert (encoder.n_joints, encoder.n_features) == (n_joints, n_features)
    for encoding, n in (("rotation6d", 9), ("quaternion", 7)):
        other = Encoder(bent_arm(kinds), encoding)
        assert (other.n_joints, other.n_features) == (len(kinds), n)


def test_no_turn_of_the_outer_joints_comes_nearer_than_the_completed_ones(panda):
    """With inner joints that miss the pose, the outer ones are at a minimum of the weighted error."""
    chain, encoder = panda.chain, Encoder(panda.chain, "invariant")
    q, position, rotation = draw(chain, 100)
    proposed = np.clip(q + np.random.default_rng(5).normal(size=q.shape) * 0.05, chain.lower, chain.upper)
    best = complete(encoder, proposed[:, encoder.proposed], position, rotation)
    free = ((best > chain.lower + 0.1) & (best < chain.upper - 0.1))[:, [0, -1]].all(-1)

    def axis_error(q):
        p, R = inner_poses(chain, q)
        return ((p - position) ** 2).sum(-1) + 0.25**2 * ((R[:, :, 2] - rotation[:, :, 2]) ** 2).sum(-1)

    def turn_error(q):
        return ((inner_poses(chain, q)[1] - rotation) ** 2).sum((-1, -2))

    assert free.sum() > 50
    for step in (-0.05, -1e-3, 1e-3, 0.05):
        first, last = best.copy(), best.copy()
        first[:, 0] += step
        last[:, -1] += step
        assert (axis_error(first) > axis_error(best))[free].all()
        assert (turn_error(last) > turn_error(best))[free].all()


def test_joints_beyond_their_limits_are_moved_onto_them():
    chain = bent_arm("hhhhhh", -0.5, 0.5)
    encoder = Encoder(chain, "invariant")
    wide = bent_arm("hhhhhh", -3.0, 3.0)
    _, position, rotation = draw(wide)
    q = complete(encoder, np.full((200, 4), 9.0), position, rotation)
    assert ((q >= chain.lower) & (q <= chain.upper)).all() and (q[:, 1:-1] == 0.5).all()
    assert (np.abs(q[:, 0]) == 0.5).any() and (np.abs(q[:, 0]) < 0.5).any()


@pytest.mark.parametrize("radius", [0.0, 1e-13, 1e-8])
def test_a_target_on_the_first_axis_is_encoded_and_completed(panda, radius):
    encoder = Encoder(panda.chain, "invariant")
    position, rotation = np.array([[radius, 0.0, 0.5]]), np.eye(3)[None]
    assert np.isfinite(encoder.encode(position, rotation)).all()
    q = complete(encoder, np.zeros((1, 5)), position, rotation)
    assert np.isfinite(q).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_poses_are_encoded_near_one_and_without_double_cover(panda, encoding):
    poses = ValidationSet.from_chain(panda.chain, 500)
    encoder = Encoder(panda.chain, encoding)
    features = encoder.encode(poses.position, poses.rotation)
    assert features.shape == (500, encoder.n_features) and features.dtype == np.float32
    assert np.abs(features).max() <= 1 + 1e-6
    if encoding == "rotation6d":
        np.testing.assert_allclose(features[:, 3:6], poses.rotation[:, :, 0], atol=1e-6)
    if encoding == "quaternion":
        assert (features[:, 3] >= 0).all()
        np.testing.assert_allclose(np.linalg.norm(features[:, 3:], axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode(poses.position[0], poses.rotation[0]), features[0])


@pytest.mark.parametrize("kinds", KINDS)
def test_the_features_of_tensors_are_those_of_arrays(kinds):
    encoder = Encoder(bent_arm(kinds), "invariant")
    _, position, rotation = draw(encoder.chain, 50)
    p, R = torch.from_numpy(position), torch.from_numpy(rotation)
    tensors = encoder.features(p.unbind(-1), [row.unbind(-1) for row in R.unbind(-2)])
    np.testing.assert_allclose(torch.stack(tensors, -1).numpy(), encoder.encode(position, rotation), atol=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_stream_gives_the_proposed_joints(panda, encoding):
    encoder = Encoder(panda.chain, encoding)
    x, condition = PairStream(encoder, torch.Generator().manual_seed(0)).next_batch(50)
    assert x.shape == (50, encoder.n_joints) and condition.shape == (50, encoder.n_features)
    assert x.abs().max() <= 1


def test_an_arm_without_inner_joints_is_told_what_to_use():
    with pytest.raises(InvalidInputError, match=r"needs a joint between.*has 2: use .rotation6d"):
        Encoder(bent_arm("hh"), "invariant")
    assert Encoder(bent_arm("hs"), "invariant").n_joints == 1  # a last joint that slides is proposed


def test_an_unknown_encoding_is_refused():
    with pytest.raises(InvalidInputError, match=r"one of invariant, rotation6d, quaternion, got .euler"):
        Encoder(bent_arm("hhh"), "euler")
