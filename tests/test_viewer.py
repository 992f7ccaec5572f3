"""The window: what its keys and its target do, what it draws, and that it opens where there is a display."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mujoco
import numpy as np
import pytest
from conftest import MODELS
from models import HINGES, arm

from hybrid_ik.apps import display, viewer
from hybrid_ik.apps.cli import main
from hybrid_ik.apps.display import DisplayUnavailableError, check_display
from hybrid_ik.apps.explorer import Explorer
from hybrid_ik.apps.ghosts import OPACITY, Ghosts
from hybrid_ik.apps.stage import FLOOR, TARGET, build_stage
from hybrid_ik.errors import RobotError
from hybrid_ik.pose import Pose
from hybrid_ik.robot import Robot

RED = np.array([[1.0, 0.0, 0.0]])
PROGRAMS = ("Xvfb", "xdotool")
MISSING = [name for name in PROGRAMS if not shutil.which(name)]
needs_display = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


class Handle:
    """A window that nobody sees. Like MuJoCo's, it locks itself when it is given texts."""

    def __init__(self, model):
        self.user_scn = mujoco.MjvScene(model, 5000)
        self.perturb, self.cam = mujoco.MjvPerturb(), mujoco.MjvCamera()
        self.texts, self.frames, self.locked = [], 0, False

    @contextlib.contextmanager
    def lock(self):
        assert not self.locked, "MuJoCo's lock cannot be taken twice"
        self.locked = True
        yield
        self.locked = False

    def sync(self):
        self.frames += 1

    def is_running(self):
        return self.frames < 3

    def set_texts(self, texts):
        with self.lock():
            self.texts = texts


def _window(robot):
    model = build_stage(robot)
    return viewer.Window(Explorer(robot), model, mujoco.MjData(model), Handle(model))


@pytest.fixture
def window(panda):
    return _window(panda)


def _move_target(window, T_base_target):
    window.place_target(T_base_target)
    window.frame(1 / 60)


def test_every_robot_stands_on_a_stage_with_its_own_joints(robot):
    model, data = build_stage(robot), None
    data = mujoco.MjData(model)
    assert [model.joint(i).name for i in range(model.njnt)] == [
        robot.model.joint(i).name for i in range(robot.model.njnt)
    ]
    assert model.body(TARGET).mocapid[0] >= 0
    data.qpos = robot.model_qpos(robot.home)
    mujoco.mj_forward(model, data)
    frames = {robot.model.site(i).name: data.site(i).xpos for i in range(robot.model.nsite)}
    frames |= {robot.model.body(i).name: data.body(robot.model.body(i).name).xpos for i in range(1, robot.model.nbody)}
    tip = (robot.T_world_base @ robot.forward_kinematics(robot.home)).position
    assert np.allclose(frames[robot.tip], tip, atol=1e-9)


def test_a_model_of_mujoco_cannot_be_given_a_target(panda):
    with pytest.raises(RobotError, match="give its file, or an MjSpec"):
        build_stage(Robot(panda.model))


@pytest.mark.parametrize(
    ("shape", "rest"),
    [
        ("", ""),
        ("<geom type='mesh' mesh='gone'/>", "<asset><mesh name='gone' file='gone.stl'/></asset>"),
        (
            "<geom type='mesh' mesh='gone' contype='0' conaffinity='0'/><geom size='.03'/>",
            "<asset><mesh name='gone' file='gone.stl'/></asset>",
        ),
    ],
    ids=["no shapes", "missing meshes", "missing meshes, but shapes for collision"],
)
def test_an_arm_is_seen_whatever_is_missing(shape, rest):
    text = arm(*HINGES, rest=rest).replace("<geom size='.02 .02 .02' type='box'/>", shape)
    model = build_stage(Robot(mujoco.MjSpec.from_string(text)))
    moving = model.geom_type[model.body_weldid[model.geom_bodyid] != 0]
    wanted = mujoco.mjtGeom.mjGEOM_SPHERE if "size" in shape else mujoco.mjtGeom.mjGEOM_CAPSULE
    assert len(moving) > 3 and (moving[:3] == wanted).all()


def test_the_floor_lies_where_the_arm_stands_and_a_floor_of_its_own_stays():
    lifted = arm(*HINGES).replace("<worldbody>", "<worldbody><body name='table' pos='0 0 .7'/>")
    assert build_stage(Robot(mujoco.MjSpec.from_string(lifted))).geom(FLOOR).pos[2] == 0.7
    floored = arm(*HINGES).replace("<worldbody>", "<worldbody><geom name='own' type='plane' size='1 1 1'/>")
    model = build_stage(Robot(mujoco.MjSpec.from_string(floored)))
    assert (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE).sum() == 1


def test_ghosts_are_the_arm_where_the_joints_put_it(panda):
    model = build_stage(panda)
    data, scene = mujoco.MjData(model), mujoco.MjvScene(model, 2000)
    q = np.stack([panda.home, panda.home + 0.3])
    ghosts = Ghosts(model, panda)
    ghosts.draw(scene, q, np.repeat(RED, 2, 0), panda.home - 0.3)
    drawn = scene.ngeom // 2
    assert scene.ngeom == 2 * drawn > 20
    for k in range(2):
        data.qpos = panda.model_qpos(q[k])
        mujoco.mj_kinematics(model, data)
        for geom in scene.geoms[k * drawn : (k + 1) * drawn]:
            assert np.allclose(geom.pos, data.geom_xpos[geom.objid], atol=1e-6)
            assert geom.rgba[3] == pytest.approx(OPACITY) and geom.rgba[0] > 0.1 and geom.rgba[1:3].max() == 0
    turned = panda.home + np.array([0.0, 0, 0, 0.4, 0, 0, 0])  # what comes before the fourth joint stays
    ghosts.draw(scene, turned[None], RED, panda.home)
    bodies = {model.body(model.geom_bodyid[geom.objid]).name for geom in scene.geoms[: scene.ngeom]}
    assert {"link4", "link6", "hand"} <= bodies and not {"link0", "link1", "link3"} & bodies
    ghosts.draw(scene, q[:0], RED[:0], panda.home)
    assert scene.ngeom == 0


def test_no_more_ghosts_than_the_scene_has_room_for(panda):
    model = build_stage(panda)
    scene = mujoco.MjvScene(model, 2 * model.ngeom)
    Ghosts(model, panda).draw(scene, np.tile(panda.home + 0.1, (50, 1)), np.repeat(RED, 50, 0), panda.home)
    assert 0 < scene.ngeom <= scene.maxgeom


def test_the_arm_follows_the_target(window, panda):
    for shift in np.linspace(0.0, 0.1, 5):
        T_base_target = Pose(panda.forward_kinematics(panda.home).position + shift * np.array([0, 1, -1]), [0, 1, 0, 0])
        _move_target(window, T_base_target)
        reached = panda.forward_kinematics(window.explorer.q)
        assert np.allclose(reached.position, T_base_target.position, atol=1e-5)
        assert np.array_equal(window.data.qpos, panda.model_qpos(window.explorer.shown.result.q[0]))
    assert 0.0 < window.work < 1.0
    shown = window.work
    window.frame(1 / 60)
    assert window.work == shown, "nothing moved, so nothing was done"


def test_a_target_in_another_base_is_followed_too(panda):
    moved = Robot(panda, base="link2")
    window = _window(moved)
    target = moved.forward_kinematics(moved.home + 0.1)
    _move_target(window, target)
    assert window.explorer.shown.reached
    assert np.allclose(window.explorer.target.position, target.position, atol=1e-12)


def test_out_of_reach_it_says_how_far(window):
    _move_target(window, Pose([3.0, 0.0, 0.3], [1, 0, 0, 0]))
    text = window.handle.texts[0][3]
    assert "none: the nearest joints are" in text and "mm away" in text
    assert window.handle.user_scn.ngeom == 0


@pytest.mark.parametrize(
    ("key", "name", "values"),
    [
        (viewer.UP, "n_solutions", (17, 18)),
        (viewer.DOWN, "n_solutions", (15, 14)),
        (viewer.SIX, "posture", ("limits", "manipulability", "nearest")),
        (viewer.SEVEN, "sampler", ("random", "lookup", "network")),
        (viewer.NINE, "refine", (False, True)),
    ],
)
def test_a_key_changes_a_setting_and_what_is_shown(window, key, name, values):
    for value in values:
        before = window.handle.texts
        window.press(key)
        assert getattr(window.explorer.settings, name) == value
        assert window.handle.texts != before
    rows = len(window.explorer.shown.result)
    assert 1 <= rows <= window.explorer.settings.n_solutions


def test_numbers_of_answers_stay_between_one_and_the_most(window):
    for key, end in ((viewer.DOWN, 1), (viewer.UP, viewer.MOST_ANSWERS)):
        for _ in range(viewer.MOST_ANSWERS + 2):
            window.press(key)
        assert window.explorer.settings.n_solutions == end == len(window.explorer.shown.result)


def test_next_and_previous_answers(window):
    first, second = window.explorer.shown.result.q[:2]
    window.press(viewer.RIGHT)
    assert np.array_equal(window.explorer.q, second)
    window.press(viewer.LEFT)
    assert np.array_equal(window.explorer.q, first)
    for _ in range(len(window.explorer.shown.result)):
        window.press(viewer.RIGHT)
    assert np.array_equal(window.explorer.q, first)


def test_gliding_moves_the_arm_and_not_its_tip(window, panda):
    start = window.explorer.q
    window.press(viewer.EIGHT)
    for _ in range(20):
        window.frame(1 / 60)
        tip = panda.forward_kinematics(window.explorer.q)
        assert np.allclose(tip.position, window.explorer.target.position, atol=2e-6)
    assert np.linalg.norm(window.explorer.q - start) > 0.1
    window.press(viewer.EIGHT)
    assert not window.gliding


def test_home_brings_the_target_back_and_enter_hides_the_help(window):
    first = window.explorer.target
    _move_target(window, Pose([0.4, 0.2, 0.4], [0, 1, 0, 0]))
    window.press(viewer.HOME)
    window.frame(1 / 60)
    assert np.allclose(window.explorer.target.position, first.position, atol=1e-12)
    assert len(window.handle.texts) == 2
    window.press(viewer.ENTER)
    assert len(window.handle.texts) == 1
    window.press(ord("Q"))  # a key of MuJoCo's own


def test_frames_end_when_the_window_is_closed_or_the_time_is_up(window):
    keys = viewer.SimpleQueue()
    keys.put(viewer.RIGHT)
    window.run(keys)
    assert window.handle.frames == 3 and keys.empty()
    window.run(keys, duration=0.0)
    assert window.handle.frames == 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not Linux: there is always a display")
@pytest.mark.parametrize("name", [None, ":98765"])
def test_without_a_display_the_command_says_what_to_do_and_ends_with_2(name, monkeypatch, capsys):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if name:
        monkeypatch.setenv("DISPLAY", name)
    assert main(["view", "--seconds", "1"]) == 2
    message = capsys.readouterr().err
    assert "no window can be opened here" in message and "hybrid-ik view --web" in message
    assert ("no display answers" if name else "neither DISPLAY nor WAYLAND_DISPLAY is set") in message


def test_a_display_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(display, "PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(display, "PATIENCE", 0.3)
    with pytest.raises(DisplayUnavailableError, match=r"within 0\.3 s"):
        check_display()
    monkeypatch.setattr(display, "PROBE", "import os; os.abort()")
    monkeypatch.setattr(display, "PATIENCE", 30.0)
    with pytest.raises(DisplayUnavailableError, match="status -6"):
        check_display()


@pytest.mark.parametrize(("words", "message"), [(["-n", "0"], "1 to 32"), (["--network", "gone.st"], "gone.st")])
def test_misuse_of_the_command(words, message, capsys):
    assert main(["view", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def screen(monkeypatch):
    """A virtual screen; its name is in DISPLAY."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "900x700x24"], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as names:
        name = f":{names.readline().strip()}"
    monkeypatch.setenv("DISPLAY", name)
    yield name
    server.terminate()
    server.wait(10)


def _xdotool(*words):
    subprocess.run(["xdotool", *map(str, words)], check=True, timeout=20)


def _picture(name):
    from PIL import ImageGrab

    return np.asarray(ImageGrab.grab(xdisplay=name), dtype=int)


def _listen_to_ctrl_c():
    """Programs that were started in the background are deaf to it, and so are those that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _coloured(picture):
    """Share of its pixels that have a colour: ghosts do, arm and floor hardly."""
    return (np.ptp(picture, axis=-1) > 40).mean()


def _wait_for(condition, otherwise, limit=120.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.3)


@needs_display
@pytest.mark.parametrize("source", ["panda", str(MODELS / "kuka_iiwa_14" / "iiwa14.xml")], ids=["panda", "meshes"])
def test_the_window_opens_follows_the_mouse_and_closes(screen, source, tmp_path):
    if not (source == "panda" or Path(source).is_file()):
        pytest.skip(f"no model {source}; set HYBRID_IK_ROBOTS to a folder that has it")
    command = [sys.executable, "-W", "error", "-m", "hybrid_ik.apps.cli", "view", "--robot", source, "-n", "4"]
    with (tmp_path / "err.txt").open("w") as err:
        running = subprocess.Popen([*command, "--seconds", "300"], stderr=err, preexec_fn=_listen_to_ctrl_c)
        try:
            _wait_for(lambda: _coloured(_picture(screen)) > 0.003 or running.poll() is not None, "no ghosts")
            before = _picture(screen)
            _xdotool("mousemove", 300, 230, "keydown", "ctrl", "mousedown", 3)

            steps = itertools.cycle([8] * 12 + [-8] * 12)  # to and fro: a slow window must not lose the mouse

            def drag():
                by = next(steps)
                _xdotool("mousemove_relative", "--", by, by // 2)
                return (np.abs(before - _picture(screen)).max(-1) > 20).mean() > 0.01

            _wait_for(drag, "the arm does not follow")
            _xdotool("mouseup", 3, "keyup", "ctrl")
        finally:
            running.send_signal(signal.SIGINT)  # Ctrl-C closes the window
            status = running.wait(60)
    assert status == 0, (tmp_path / "err.txt").read_text()
