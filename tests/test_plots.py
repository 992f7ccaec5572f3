"""Plots of results: what is drawn, what is left out, and what a result must know for it."""

from __future__ import annotations

import dataclasses
import pickle
import sys

import mujoco
import numpy as np
import pytest
from models import GANTRY

from hybrid_ik.errors import HybridIKError, InvalidInputError, MissingPackageError
from hybrid_ik.plotting import HINGE, MOST_TICKS, SLIDE, _round_values, answer_colours
from hybrid_ik.pose import Pose
from hybrid_ik.refiners.lanes import LaneRefiner
from hybrid_ik.refiners.mujoco import MujocoRefiner
from hybrid_ik.result import IKResult, concatenate, result_as_tensors
from hybrid_ik.robot import Robot
from hybrid_ik.solver import HybridSolver

POSE = Pose([0.45, 0.15, 0.45], [0, 1, 0, 0])


@pytest.fixture(scope="module")
def many(panda):
    return HybridSolver(panda).solve(POSE, n_solutions=4)


def _lines(figure):
    """The lines of answers: those that have a point for each joint."""
    (axes,) = figure.axes
    return [line for line in axes.lines if len(line.get_xdata()) > 2]


def _words(figure):
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def test_each_answer_is_a_line_in_its_colour_from_limit_to_limit(panda, many):
    figure = many.plot()
    lines = _lines(figure)
    assert len(lines) == 4
    heights = np.array([line.get_ydata() for line in lines])
    assert np.allclose(heights, (many.q - panda.lower) / (panda.upper - panda.lower))
    assert np.allclose([line.get_color() for line in lines], answer_colours(4))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == list(panda.joint_names)
    degrees = [f"{round(x):d}°".replace("-", "\N{MINUS SIGN}") for x in np.degrees([panda.lower[0], panda.upper[3]])]
    assert set(degrees) <= set(_words(figure))


def test_the_figure_is_written_without_a_warning(many, tmp_path):
    many.plot().savefig(tmp_path / "a.png", dpi=30)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_one_answer_and_a_batch_of_single_answers_are_drawn(panda):
    solver = HybridSolver(panda)
    assert len(_lines(solver.solve(POSE).plot())) == 1
    q = np.linspace(panda.home, panda.home + 0.2, 5)
    assert len(_lines(solver.solve(panda.forward_kinematics(q)).plot())) == 5
    assert len(_lines(solver.solve(panda.forward_kinematics(q), n_solutions=2)[3].plot())) == 2


def test_results_of_tensors_are_drawn_as_well(many):
    for result in (many, many[0]):
        tensors = result_as_tensors(result, "cpu")
        heights = [line.get_ydata() for line in _lines(tensors.plot())]
        assert np.array_equal(heights, [line.get_ydata() for line in _lines(result.plot())])


def test_rows_without_joints_are_left_out_and_those_that_miss_are_grey_and_dashed(panda):
    missed = HybridSolver(panda).solve(Pose([[5.0, 0, 0], [0.45, 0.15, 0.45], [np.nan, 0, 0]], [0.0, 1, 0, 0]))
    assert missed.success.tolist() == [False, True, False] and np.isnan(missed.q[2]).all()
    grey, blue = _lines(missed.plot())
    assert grey.get_linestyle() == "--" and grey.get_color() == "0.55"
    assert blue.get_linestyle() == "-" and np.allclose(blue.get_color(), answer_colours(3)[1])


def test_slides_are_in_millimetres_and_endless_joints_come_back_into_their_turn():
    robot = Robot(mujoco.MjSpec.from_string(GANTRY))
    q = np.array([[0.5, 0.25, 1.0, 7.0, 0.5]])
    figure = HybridSolver(robot, refiner="mujoco").refiner.refine(robot.forward_kinematics(q), q[:, None])[0].plot()
    (line,) = _lines(figure)
    assert line.get_ydata()[3] == pytest.approx((7.0 - 2 * np.pi + np.pi) / (2 * np.pi), abs=1e-3)
    assert "1000 mm" in _words(figure) and "\N{MINUS SIGN}180°" in _words(figure)
    (axes,) = figure.axes
    styles = [line.get_linestyle() for line in axes.lines if len(line.get_xdata()) == 2]
    assert styles == ["-", "-", "-", ":", "-"]


@pytest.mark.parametrize(("lower", "upper"), [(-166.0, 166.0), (0.0, 1.0), (-0.2, 0.3), (-1e6, 3e6), (179.0, 181.0)])
def test_ticks_are_few_round_and_clear_of_the_limits(lower, upper):
    for _, _, steps in (HINGE, SLIDE):
        values = _round_values(lower, upper, steps)
        assert ((lower < values) & (values < upper)).all()
        if upper - lower < MOST_TICKS * steps[-1]:
            assert len(values) <= MOST_TICKS + 1


def test_what_cannot_be_plotted_is_refused_by_name(panda, many):
    batch = HybridSolver(panda).solve(panda.forward_kinematics(np.stack([panda.home] * 2)), n_solutions=2)
    with pytest.raises(InvalidInputError, match=r"shape \(2, 2\).*result\[0\]\.plot\(\)"):
        batch.plot()
    with pytest.raises(InvalidInputError, match=r"does not know its arm.*HybridSolver\.solve.*chain=robot\.chain"):
        dataclasses.replace(many, chain=None).plot()


def test_a_missing_matplotlib_is_named_with_what_brings_it(panda, many, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    answers = HybridSolver(panda).solve_all(POSE)
    for plot in (many.plot, answers.plot):
        with pytest.raises(MissingPackageError, match=r"matplotlib.*pip install hybrid-ik\[viewer\]") as caught:
            plot()
        assert isinstance(caught.value, HybridIKError) and isinstance(caught.value, ImportError)


@pytest.mark.parametrize("make", [lambda robot: LaneRefiner(robot.chain), MujocoRefiner], ids=["lanes", "mujoco"])
def test_results_know_their_arm_whatever_is_done_with_them(panda, make):
    q = np.stack([panda.home, panda.home + 0.1])
    refined = make(panda).refine(panda.forward_kinematics(q), q[:, None])
    searched = make(panda).search(panda.forward_kinematics(q), q[:, None])
    one = make(panda).search(panda.forward_kinematics(q[0]), q[:1])
    for result in (refined, searched, one, refined[0], refined[:, 0], searched.reshape(2, 1)):
        assert result.chain is panda.chain
    assert concatenate([searched, searched]).chain is panda.chain
    searched.put(np.array([0]), searched[[1]])
    assert searched.chain is panda.chain and np.allclose(searched.q[0], searched.q[1])


@pytest.mark.parametrize(
    "ask",
    [
        {},
        {"n_solutions": 3},
        {"near": np.zeros(7)},
        {"near": np.full(7, 0.3), "max_step": 0.1},
        {"prefer": "limits"},
        {"n_solutions": 2, "near": np.zeros(7)},
    ],
    ids=lambda ask: "+".join(ask) or "one",
)
def test_whatever_is_solved_knows_its_arm(panda, ask):
    solver = HybridSolver(panda)
    for pose in (POSE, Pose([5.0, 0, 0], [1, 0, 0, 0]), POSE.reshape(1)):
        assert solver.solve(pose, **ask).chain is panda.chain


def test_the_arm_is_no_part_of_what_a_result_says(panda):
    one = HybridSolver(panda).solve(POSE)
    plain = dataclasses.replace(one, chain=None)
    assert "chain" not in repr(one) and repr(one) == repr(plain)
    scalars = {"q": 0.0}
    assert dataclasses.replace(one, **scalars) == dataclasses.replace(plain, **scalars)
    again = pickle.loads(pickle.dumps(one))
    assert np.array_equal(again.q, one.q) and again.success == one.success
    assert again.chain is not None and again.chain.matches(panda.chain)
    assert isinstance(again, IKResult) and len(_lines(again.plot())) == 1
