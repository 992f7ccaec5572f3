"""The web page: the newest drag wins, every control does what it says, nothing is left behind."""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
import time

import numpy as np
import pytest
from models import GANTRY

from hybrid_ik.apps import web
from hybrid_ik.apps.cli import main
from hybrid_ik.apps.explorer import Explorer, Settings, distance_colours
from hybrid_ik.apps.web import serve, time_updates
from hybrid_ik.apps.web_server import PORTS_TRIED, ViewerUnavailableError
from hybrid_ik.apps.web_text import amount, css, joints_html, state_html
from hybrid_ik.apps.worker import Worker
from hybrid_ik.errors import InvalidInputError
from hybrid_ik.pose import Pose

pytest.importorskip("viser", reason="no viser here: pip install hybrid-ik[viewer]")

DOWN = Pose([0.4, 0.1, 0.5], [0, 1, 0, 0])


@pytest.fixture(scope="module")
def shared():
    with serve("panda", port=0, settings=Settings(sampler="network")) as page:
        yield page


@pytest.fixture
def page(shared):
    """The page, on the Panda with the settings it begins with."""
    if shared.explorer.robot.name != "panda":
        shared.switch_robot("panda")
        shared.worker.settle()
    shared.glide(False)
    for name, value in vars(Settings(sampler="network")).items():
        shared.change(name, value)
    shared.drag(DOWN)
    assert shared.worker.settle()
    return shared


def _state(page):
    """The numbers of the page's state, by name, and its text."""
    content = page._panel._state.content
    return {k: float(v) for k, v in re.findall(r'data-([\w-]+)="([^"]+)"', content)}, re.sub("<[^>]+>", "\n", content)


def _do(page, job, *arguments):
    getattr(page, job)(*arguments)
    assert page.worker.settle()


def test_the_newest_job_of_a_name_wins_and_order_is_kept():
    done, go, began = [], threading.Event(), threading.Event()
    worker = Worker(lambda: done.append("after"), lambda error: done.append(str(error)), lambda: done.append("tick"))
    try:
        worker.ask("wait", lambda: (began.set(), go.wait(10)))
        assert began.wait(10)
        for i in range(100):
            worker.ask("drag", lambda i=i: done.append(i))
            worker.ask("other", lambda: done.append("other"))
        go.set()
        assert worker.settle() and done == ["after", 99, "other", "after"]
    finally:
        worker.close()
    assert not any(thread.name == "hybrid-ik worker" for thread in threading.enumerate())


def test_a_job_that_fails_is_told_and_the_next_one_is_done():
    done = []
    worker = Worker(lambda: done.append("after"), lambda error: done.append(repr(error)), lambda: None)
    worker.ask("bad", lambda: 1 / 0)
    worker.settle()
    worker.ask("good", lambda: done.append("good"))
    worker.settle()
    worker.close()
    assert done == ["ZeroDivisionError('division by zero')", "good", "after"]


def test_ticks_come_until_they_are_stopped():
    ticks = []
    worker = Worker(lambda: None, lambda error: None, lambda: ticks.append(time.perf_counter()))
    worker.ask("start", lambda: setattr(worker, "period", 0.01))
    time.sleep(0.3)
    worker.ask("stop", lambda: setattr(worker, "period", None))
    worker.settle()
    n = len(ticks)
    time.sleep(0.05)
    worker.close()
    assert 3 <= n <= 31 and len(ticks) == n


def test_it_listens_on_this_machine_only_and_says_nothing(capfd):
    before = set(threading.enumerate())
    page = serve("panda", port=0)
    assert page.url == f"http://127.0.0.1:{page.port}" and page._server.get_host() == "127.0.0.1"
    with socket.create_connection(("127.0.0.1", page.port), 5) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert line.recv(15).startswith(b"HTTP/1.1 200")
    page.close()
    page.close()
    page.wait()
    assert capfd.readouterr() == ("", "")
    assert [thread for thread in set(threading.enumerate()) - before if thread.is_alive()] == []


def test_a_port_in_use_gives_the_next_free_one():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with serve("panda", port=port) as page:
            assert page.asked_port == port < page.port <= port + PORTS_TRIED


@pytest.mark.parametrize("wrong", [-1, 65536, 80.5, True, "8080"])
def test_a_port_that_is_none_is_refused(wrong):
    with pytest.raises(InvalidInputError, match="port: expected a whole number from 0"):
        serve("panda", port=wrong)


def test_a_host_of_another_machine_is_refused():
    with pytest.raises(InvalidInputError, match=r"host: cannot listen at '192\.0\.2\.1'"):
        serve("panda", host="192.0.2.1", port=0)


def test_without_viser_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ViewerUnavailableError, match=r"pip install 'hybrid-ik\[viewer\]'"):
        serve("panda")


def test_the_page_says_how_many_answers_there_are_and_how_exact(page):
    state, text = _state(page)
    assert state["answers"] == 16 and state["reached"] == 1 and "16 answers" in text
    assert state["position-error"] == pytest.approx(page.explorer.shown.result.position_error.max(), rel=1e-6)
    assert page._panel._table.content.count("<tr data-pick") == 16
    assert page._panel._plot.content.count("<circle data-pick") == 16
    assert page._panel._plot.content.count("<polyline") == len(page.explorer.curves)


def test_ghosts_and_solid_arm_are_where_mujoco_puts_them(page):
    scene, result = page._scene, page.explorer.shown.result[page._order]
    for body, handle in scene._solid:
        scene._place(result.q[:1])
        assert np.allclose(handle.position, scene.data.xpos[body], atol=1e-6)
    body, ghost = scene._ghosts[3]
    for i, q in enumerate(result.q[1:]):
        scene._place(q[None])
        assert np.allclose(ghost.batched_positions[i], scene.data.xpos[body], atol=1e-5)
        assert np.allclose(ghost.batched_wxyzs[i], scene.data.xquat[body], atol=1e-5)
    assert (ghost.batched_scales[:15] == 1).all() and (ghost.batched_scales[15:] == 0).all()
    hand = scene._ghosts[-1][1]  # the same in all answers: the solid arm's will do
    assert (hand.batched_scales == 0).all()


def test_of_many_drags_the_newest_is_answered(page):
    for y in np.linspace(-0.2, 0.2, 200):
        page.drag(Pose([0.4, y, 0.5], [0, 1, 0, 0]))
    assert page.worker.settle()
    assert page.explorer.target.position[1] == 0.2 and _state(page)[0]["reached"] == 1


def test_a_target_out_of_reach_is_said_and_home_is_the_way_back(page):
    _do(page, "drag", Pose([2.0, 0.0, 0.5], [0, 1, 0, 0]))
    state, text = _state(page)
    assert state["answers"] == 0 and "Beyond reach" in text and "closest posture is off by" in text
    assert page._scene._miss.visible
    _do(page, "go_home")
    assert _state(page)[0]["reached"] == 1 and not page._scene._miss.visible
    home = page.explorer.robot.forward_kinematics(page.explorer.robot.home)
    assert np.allclose(page._scene.gizmo.position, home.position)


def test_without_refinement_errors_are_centimetres(page):
    _do(page, "change", "refine", False)
    state, text = _state(page)
    assert 1e-3 < state["position-error"] < 1 and "16 starts, not refined" in text
    _do(page, "change", "refine", True)
    assert _state(page)[0]["position-error"] < 1e-6


@pytest.mark.parametrize("number", [2, 7, 16])
def test_a_picked_row_becomes_the_solid_one(page, number):
    wanted = page.explorer.shown.result.q[page._order[number - 1]]
    _do(page, "pick", number)
    assert np.array_equal(page.explorer.q, wanted)
    assert f"{wanted[3]:.6f}" in page._panel._joints.content


def test_a_row_that_is_not_there_is_no_harm_and_next_shows_all_in_turn(page):
    _do(page, "pick", 30)
    seen = set()
    for _ in range(16):
        _do(page, "pick_next")
        seen.add(round(float(page.explorer.q[0]), 6))
    assert len(seen) == 16


def test_the_slider_turns_a_joint_within_its_range(page):
    panel = page._panel
    low, high = panel._value.min, panel._value.max
    assert low < high and not panel._value.disabled
    _do(page, "turn", panel.joint, low + 0.3 * (high - low))
    assert page.explorer.q[panel.joint] == pytest.approx(low + 0.3 * (high - low), abs=5e-3)


def test_it_glides_until_a_drag_comes(page):
    before = page.explorer.q.copy()
    page.glide(True)
    time.sleep(0.5)
    page.drag(Pose([0.4, 0.1, 0.52], [0, 1, 0, 0]))
    assert page.worker.settle()
    assert np.linalg.norm(page.explorer.q - before) > 0.05
    assert page.worker.period is None and page._panel._glide.value is False


def test_robots_are_switched_and_keep_the_numbers_that_were_set(page):
    _do(page, "change", "n_solutions", 5)
    _do(page, "switch_robot", "panda_rail")
    assert page.explorer.robot.name == "panda_rail" and len(page.explorer.shown.result) == 5
    assert page._panel._value.disabled and "<polyline" not in page._panel._plot.content
    _do(page, "glide", True)
    time.sleep(0.2)
    _do(page, "switch_robot", "panda")
    assert page.explorer.robot.name == "panda" and page.worker.period is None


def test_a_robot_that_cannot_be_had_is_said_and_the_old_one_stays(caplog):
    with serve("panda", port=0, robots=["no_such_robot"]) as page, caplog.at_level(logging.ERROR):
        _do(page, "switch_robot", "no_such_robot")
        assert "no robot &#x27;no_such_robot&#x27;" in page._panel._state.content
        assert caplog.records and page.explorer.robot.name == "panda"
        _do(page, "drag", DOWN)
        assert _state(page)[0]["reached"] == 1


@pytest.mark.parametrize("count", [1, 2, 32])
def test_any_number_of_answers_and_the_slider_says_so(page, count):
    _do(page, "change", "n_solutions", count)
    assert _state(page)[0]["answers"] == count == page._panel._controls["n_solutions"].value


def test_the_noise_scale_is_for_the_network_only(page):
    assert not page._panel._controls["noise_scale"].disabled
    _do(page, "change", "sampler", "random")
    assert page._panel._controls["noise_scale"].disabled and _state(page)[0]["answers"] == 16


def test_settings_beyond_the_sliders_are_no_harm():
    settings = Settings(n_solutions=8, min_distance=1e-3, noise_scale=5.0, sampler="network")
    with serve("panda", port=0, settings=settings) as page:
        assert _state(page)[0]["answers"] == 8


def test_every_robot_of_the_tests_has_a_page(robot):
    with serve(robot, port=0) as page:
        assert _state(page)[0]["reached"] == 1
        _do(page, "drag", Pose([0.2, 0.1, 0.3], [0, 1, 0, 0]))
        state, text = _state(page)
        if robot.dof < 6 and not state["reached"]:
            assert f"With {robot.dof} joints" in text


def test_small_models_with_slides_and_unlimited_joints_have_a_page():
    import mujoco

    with serve(mujoco.MjSpec.from_string(GANTRY), tip="tip", port=0, robots=[]) as page:
        assert _state(page)[0]["answers"] >= 1 and page._panel._glide.disabled


def test_an_update_is_timed(page):
    targets = Pose(np.linspace([0.4, 0.0, 0.5], [0.4, 0.2, 0.5], 5), np.tile([0.0, 1, 0, 0], (5, 1)))
    seconds = time_updates(page, targets)
    assert seconds.shape == (5,) and 0 < np.median(seconds) < 1


def test_the_command_serves_the_explorer_that_it_made(monkeypatch, capsys):
    made = []
    monkeypatch.setattr(Explorer, "__init__", _noting(made, Explorer.__init__))
    served = []
    monkeypatch.setattr(web.Page, "wait", lambda page, seconds: served.append(page.explorer))
    assert main(["view", "--web", "--port", "0", "-n", "3", "--sampler", "lookup"]) == 0
    assert served == made and served[0].settings == Settings(n_solutions=3, sampler="lookup")
    assert "in a browser" in capsys.readouterr().out


def _noting(made, init):
    def noted(self, *arguments, **more):
        init(self, *arguments, **more)
        made.append(self)

    return noted


def test_amounts_have_three_digits_and_a_prefix():
    amounts = [(0.0378, "37.8 mm"), (1.84e-9, "1.84 nm"), (0.0, "0 m"), (2.5, "2.50 m"), (1.2345e-7, "123 nm")]
    assert [amount(value, "m") for value, _ in amounts] == [text for _, text in amounts]


def test_colours_change_with_distance_and_texts_are_escaped():
    colours = distance_colours(np.array([0.0, 1.0, 3.0, 6.0, 60.0]))
    assert len({css(c) for c in colours}) == 4 and np.array_equal(colours[3], colours[4])
    assert "&lt;b&gt;" in state_html("<b>", ["<i>"], good=True) and "0.500000" in joints_html(np.array([0.5]))
