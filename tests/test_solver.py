"""The solver as its users see it."""

import dataclasses

import numpy as np
import pytest

from hybrid_ik import HybridSolver, InvalidInputError, LMConfig, Pose, Robot, Status, UniformSampler, pose_error
from hybrid_ik.errors import CheckpointError

SIX_JOINTS = """
<mujoco><compiler angle="radian"/><worldbody><body pos="0 0 0.4">
  <joint name="a1" axis="0 0 1" range="-2.9 2.9"/>
  <body pos="0.025 0 0"><joint name="a2" axis="0 1 0" range="-3.3 0.78"/>
  <body pos="0.455 0 0"><joint name="a3" axis="0 1 0" range="-2.0 2.7"/>
  <body pos="0 0 0.035"><joint name="a4" axis="1 0 0" range="-3.2 3.2"/>
  <body pos="0.42 0 0"><joint name="a5" axis="0 1 0" range="-2.0 2.0"/>
  <body pos="0.08 0 0"><joint name="a6" axis="1 0 0" range="-6.1 6.1"/><site name="tip" pos="0.05 0 0"/>
  </body></body></body></body></body></body></worldbody></mujoco>
"""


@pytest.fixture(scope="module")
def panda():
    return HybridSolver("panda")


@pytest.fixture(scope="module")
def random_starts():
    return HybridSolver("panda", sampler="uniform")


@pytest.fixture(scope="module")
def six_joints():
    import mujoco

    return HybridSolver(mujoco.MjSpec.from_string(SIX_JOINTS), tip="tip")


def reachable(robot, n, seed=0):
    q = np.random.default_rng(seed).uniform(robot.chain.sample_lower, robot.chain.sample_upper, (n, robot.dof))
    return robot.forward_kinematics(q)


def check_answers(robot, pose, result, tolerance=1e-6):
    """The claim of a result against MuJoCo: errors, limits, success."""
    rows = result.success
    assert np.isfinite(result.q[rows]).all()
    assert (result.q[rows] >= robot.lower).all() and (result.q[rows] <= robot.upper).all()
    error = pose_error(pose, robot.forward_kinematics(result.q))
    position, angle = np.linalg.norm(error[..., :3], axis=-1), np.linalg.norm(error[..., 3:], axis=-1)
    assert (position[rows] <= tolerance * 1.001).all() and (angle[rows] <= tolerance * 1.001).all()
    np.testing.assert_allclose(position, result.position_error, atol=1e-9)
    np.testing.assert_allclose(angle, result.orientation_error, atol=1e-7)


def spread(pose, result):
    """One pose per answer."""
    n = result.shape[-1]
    position, quaternion = (np.repeat(x[..., None, :], n, -2) for x in (pose.position, pose.quaternion))
    return Pose(position, quaternion)


@pytest.mark.parametrize("sampler", ["auto", "uniform", "lookup"])
def test_every_one_of_10000_reachable_poses_is_solved(sampler):
    solver = HybridSolver("panda", sampler=sampler)
    pose = reachable(solver.robot, 10_000)
    result = solver.solve(pose)
    assert result.success.all()
    check_answers(solver.robot, pose, result)


def test_one_pose_gives_scalars(panda):
    result = panda.solve(Pose([0.4, 0.1, 0.5], [0, 1, 0, 0]))
    assert result.q.shape == (7,) and result.shape == ()
    assert result.success
    assert Status(result.status).message.startswith("Both errors")
    assert result.position_error < 1e-6


@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (0,)])
@pytest.mark.parametrize(
    "arguments", [{}, {"n_solutions": 3}, {"near": np.zeros(7)}, {"near": np.zeros(7), "n_solutions": 2}]
)
def test_any_batch_shape(panda, shape, arguments):
    pose = reachable(panda.robot, max(1, int(np.prod(shape)))).reshape(-1)[: int(np.prod(shape))].reshape(*shape)
    result = panda.solve(pose, **arguments)
    expected = shape + ((arguments["n_solutions"],) if "n_solutions" in arguments else ())
    assert result.shape == expected and result.q.shape == (*expected, 7)
    assert np.all(result.success)


@pytest.mark.parametrize("arguments", [{}, {"n_solutions": 4}, {"near": np.full(7, 0.3)}])
@pytest.mark.parametrize("sampler", ["auto", "uniform", "meanflow"])
def test_answers_do_not_depend_on_batch_split_or_threads(monkeypatch, sampler, arguments):
    monkeypatch.setattr("hybrid_ik.refiners.lanes.SMALLEST_PIECE", 64)  # so that there is something for each thread
    solver = HybridSolver("panda", sampler=sampler)
    threaded = HybridSolver("panda", sampler=sampler, n_threads=3)
    pose = reachable(solver.robot, 200)
    whole = solver.solve(pose, **arguments)
    np.testing.assert_array_equal(threaded.solve(pose, **arguments).q, whole.q)
    for i in (0, 7, 199):
        np.testing.assert_array_equal(solver.solve(pose[i], **arguments).q, whole.q[i])
    np.testing.assert_array_equal(solver.solve(pose[50:90], **arguments).q, whole.q[50:90])


def test_the_seed_decides_the_answers():
    pose = reachable(Robot("panda"), 20)
    first, again, other = (
        HybridSolver("panda", sampler="uniform", seed=s).solve(pose, n_solutions=4).q for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_many_answers_are_distinct_valid_and_ranked(panda):
    pose = reachable(panda.robot, 30)
    result = panda.solve(pose, n_solutions=16, min_distance=0.2)
    check_answers(panda.robot, spread(pose, result), result)
    assert result.success.mean() > 0.9
    chain = panda.robot.chain
    used = np.abs((result.q - (chain.lower + chain.upper) / 2) / ((chain.upper - chain.lower) / 2)).max(-1)
    for row in range(len(result)):
        q, ok = result.q[row], result.success[row]
        assert ok[: ok.sum()].all()  # what was not found comes last
        distance = np.linalg.norm(q[ok][:, None] - q[ok], axis=-1) + np.eye(ok.sum())
        assert distance.min() >= 0.2
        assert (np.diff(used[row][ok]) >= 0).all()


def test_answers_that_are_not_there_are_nan_and_not_found(six_joints):
    result = six_joints.solve(reachable(six_joints.robot, 1)[0], n_solutions=40)
    found = result.success.sum()
    assert 1 <= found < 40
    assert np.isnan(result.q[found:]).all()
    assert (result.status[found:] == Status.NOT_FOUND).all()


def test_near_stays_near(random_starts):
    robot = random_starts.robot
    rng = np.random.default_rng(1)
    q = rng.uniform(robot.lower, robot.upper, (300, 7))
    pose = robot.forward_kinematics(np.clip(q + rng.normal(size=q.shape) * 0.03, robot.lower, robot.upper))
    near = random_starts.solve(pose, near=q)
    free = random_starts.solve(pose)
    assert near.success.all()
    check_answers(robot, pose, near)
    distance, anywhere = np.linalg.norm(near.q - q, axis=-1), np.linalg.norm(free.q - q, axis=-1)
    assert np.median(distance) < 0.15
    assert (distance <= anywhere + 1e-9).all()


def test_near_ranks_many_answers_by_distance(random_starts):
    pose = reachable(random_starts.robot, 10)
    near = random_starts.robot.home
    result = random_starts.solve(pose, near=near, n_solutions=5)
    distance = np.linalg.norm(result.q - near, axis=-1)
    assert (np.diff(distance, axis=-1) >= 0).all()


def test_near_outside_the_limits_is_clipped_and_flagged(random_starts):
    robot = random_starts.robot
    near = robot.home + np.array([0, 0, 0, 0, 0, 0, 9.0])
    result = random_starts.solve(robot.forward_kinematics(robot.home), near=near)
    assert result.success and result.start_clipped
    assert not random_starts.solve(robot.forward_kinematics(robot.home), near=robot.home).start_clipped


def test_an_unreachable_pose_gives_the_closest_joints(random_starts):
    robot = random_starts.robot
    far = Pose([[3.0, 0.0, 0.5], [0.0, 2.0, 0.3]], [[0, 1, 0, 0], [1, 0, 0, 0]])
    result = random_starts.solve(far)
    assert not result.success.any()
    assert (result.status == Status.BEYOND_REACH).all()
    check_answers(robot, far, result)
    rng = np.random.default_rng(0)
    others = rng.uniform(robot.lower, robot.upper, (20_000, 7))
    for i in range(2):  # nothing that is found by chance comes nearer, in the sense that the refiner minimizes
        weight = random_starts.refiner.config.orientation_weight
        error = pose_error(far[i], robot.forward_kinematics(others)) * ([1] * 3 + [weight] * 3)
        ours = result.position_error[i] ** 2 + (weight * result.orientation_error[i]) ** 2
        assert ours < (error**2).sum(-1).min()


def test_a_pose_within_reach_that_the_limits_forbid_says_where_it_ended(random_starts):
    """Below the mount: no farther than the links are long, but no joints get there."""
    result = random_starts.solve(Pose([0.0, 0.0, -0.6], [0, 1, 0, 0]))
    assert not result.success and result.status in (Status.STALLED, Status.MAX_ITERATIONS)


def test_no_reachable_pose_is_beyond_reach():
    """The bound holds with the tool, a mount, and slides; an endless slide has none."""
    for model in ("panda", "panda_rail"):
        solver = HybridSolver(model, sampler="uniform")
        assert not solver._host._beyond_reach(reachable(solver.robot, 2000)).any()
    chain = solver.robot.chain
    slide = ~chain.hinges
    assert slide.any() and np.isfinite(chain.span)
    assert dataclasses.replace(chain, upper=np.where(slide, np.inf, chain.upper)).span == np.inf


def test_a_single_row_that_is_no_pose_is_marked(panda):
    position = np.array([[0.4, 0.1, 0.5], [np.nan, 0.1, 0.5]])
    result = panda.solve(Pose(position, [[0, 1, 0, 0], [0, 1, 0, 0]])[1])
    assert result.status == Status.INVALID_INPUT and not result.success and np.isnan(result.q).all()


def test_an_unreachable_pose_has_no_distinct_answers(random_starts):
    result = random_starts.solve(Pose([3.0, 0.0, 0.5], [0, 1, 0, 0]), n_solutions=3)
    assert not result.success.any() and np.isnan(result.q).all()


def test_a_bad_row_is_marked_and_the_others_are_solved(panda):
    good = reachable(panda.robot, 3)
    position, quaternion = good.position.copy(), good.quaternion.copy()
    position[1, 0], quaternion[2] = np.nan, 0.0
    for arguments in ({}, {"n_solutions": 2}, {"near": panda.robot.home}):
        result = panda.solve(Pose(position, quaternion), **arguments)
        assert result.success[0].all()
        assert (result.status[1:] == Status.INVALID_INPUT).all()
        np.testing.assert_array_equal(result.q[0], panda.solve(good, **arguments).q[0])


def test_a_single_bad_pose_is_refused():
    with pytest.raises(InvalidInputError, match="not a pose"):
        Pose([np.nan, 0, 0], [1, 0, 0, 0])
    with pytest.raises(InvalidInputError, match="not a pose"):
        Pose([0, 0, 0], [0, 0, 0, 0])


def test_a_bare_seven_vector_is_refused_with_both_orders(panda):
    with pytest.raises(InvalidInputError, match=r"wxyz.*xyzw"):
        panda.solve([0.4, 0.1, 0.5, 0, 1, 0, 0])


def test_a_matrix_is_taken(panda):
    pose = reachable(panda.robot, 1)[0]
    np.testing.assert_allclose(panda.solve(pose.matrix()).q, panda.solve(pose).q, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_solutions": 0}, "n_solutions"),
        ({"n_solutions": 2.0}, "n_solutions"),
        ({"n_seeds": -1}, "n_seeds"),
        ({"near": np.zeros(6)}, "near: expected 7"),
        ({"near": np.full(7, np.nan)}, "finite"),
        ({"near": "home"}, "near"),
        ({"n_solutions": 2, "min_distance": -1.0}, "min_distance"),
    ],
)
def test_misuse_is_refused_with_the_name_of_the_argument(panda, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        panda.solve(Pose([0.4, 0.1, 0.5], [0, 1, 0, 0]), **arguments)


def test_unknown_parts_are_refused_with_what_there_is():
    with pytest.raises(InvalidInputError, match=r"'auto', 'meanflow', 'uniform' or 'lookup'"):
        HybridSolver("panda", sampler="magic")
    with pytest.raises(InvalidInputError, match=r"'lanes' or 'mujoco'"):
        HybridSolver("panda", refiner="magic")


def test_meanflow_wants_a_network_of_this_arm(six_joints):
    with pytest.raises(CheckpointError, match="hybrid-ik train"):
        HybridSolver(six_joints.robot, sampler="meanflow")
    assert isinstance(six_joints.sampler, UniformSampler)  # what auto takes instead


def test_position_only(random_starts):
    solver = HybridSolver("panda", sampler="uniform", config=LMConfig(orientation_weight=0.0))
    pose = reachable(solver.robot, 100)
    result = solver.solve(pose)
    assert result.success.all() and (result.position_error < 1e-6).all()
    assert result.orientation_error.max() > 0.1


def test_tolerances_are_the_users():
    solver = HybridSolver(
        "panda", sampler="uniform", config=LMConfig(position_tolerance=1e-11, orientation_tolerance=1e-11)
    )
    pose = reachable(solver.robot, 500)
    result = solver.solve(pose)
    assert result.success.all()
    check_answers(solver.robot, pose, result, tolerance=1e-11 + 1e-13)


def test_parts_are_public_and_agree(panda):
    pose = reachable(panda.robot, 4)
    q0 = panda.sampler.sample(pose, 5)
    assert q0.shape == (4, 5, 7)
    assert panda.refiner.refine(pose, q0).shape == (4, 5)


@pytest.mark.parametrize("tip", ["flange", "hand_tcp"])
def test_one_network_serves_any_tool(tip):
    solver = HybridSolver("panda", tip=tip, sampler="meanflow")
    pose = reachable(solver.robot, 50)
    raw = HybridSolver("panda", tip=tip, sampler="meanflow", refiner=None).solve(pose, n_seeds=32)
    assert np.median(raw.position_error) < 0.15  # the network knows where this tool is
    assert solver.solve(pose).success.mean() == 1.0


def test_pure_network_is_judged_as_it_is():
    solver = HybridSolver("panda", sampler="meanflow", refiner=None)
    pose = reachable(solver.robot, 20)
    result = solver.solve(pose)
    check_answers(solver.robot, pose, result)
    assert (result.iterations == 0).all()


def test_loose_tolerances_make_the_network_enough():
    config = LMConfig(position_tolerance=0.2, orientation_tolerance=0.7)
    solver = HybridSolver("panda", sampler="meanflow", refiner=None, config=config)
    assert solver.solve(reachable(solver.robot, 20), n_seeds=64).success.mean() > 0.5


def test_a_config_is_a_frozen_record():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LMConfig().damping = 1.0
    with pytest.raises(InvalidInputError, match="position_tolerance must be positive"):
        LMConfig(position_tolerance=0.0)


def test_large_batches_are_worked_on_in_chunks(monkeypatch, panda):
    pose = reachable(panda.robot, 50).reshape(5, 10)
    near = np.broadcast_to(panda.robot.home, (5, 10, 7))
    for arguments in ({}, {"n_solutions": 3}, {"near": near}):
        whole = panda.solve(pose, **arguments)
        with monkeypatch.context() as patch:
            patch.setattr("hybrid_ik.host_solver.STARTS_AT_ONCE", 7 * 16)
            np.testing.assert_array_equal(panda.solve(pose, **arguments).q, whole.q)


def test_no_more_seeds_are_tried_than_asked_for(monkeypatch, random_starts):
    pose, asked = reachable(random_starts.robot, 1)[0], []
    sample = random_starts.sampler.sample
    monkeypatch.setattr(random_starts.sampler, "sample", lambda pose, n: asked.append(n) or sample(pose, n))
    random_starts.solve(pose, n_solutions=200, n_seeds=30)
    random_starts.solve(pose, n_solutions=200)
    assert asked == [30, 400, 800, 1600, 3200, 6400]
