"""Pictures: they show the arms and the target; where nothing can be drawn, the error says which package is missing."""

from __future__ import annotations

import os
import sys
import types
import zlib

import mujoco
import numpy as np
import pytest
from models import HINGES, arm, mjcf

from hybrid_ik.apps import offscreen
from hybrid_ik.apps.composition import Composition
from hybrid_ik.apps.image_files import save_gif, save_png
from hybrid_ik.apps.offscreen import RenderingUnavailableError, open_context, wanted_backends, working_backend
from hybrid_ik.apps.outline import Outline, floor_height
from hybrid_ik.apps.rendering import render_answers, render_motion
from hybrid_ik.errors import InvalidInputError, MissingPackageError
from hybrid_ik.plotting import answer_colours
from hybrid_ik.robot import Robot

BACKEND = working_backend()
needs_rendering = pytest.mark.skipif(BACKEND is None, reason=f"no EGL and no OSMesa here. {offscreen.REMEDY}")
SIZE = {"width": 160, "height": 120}
_picture = Composition.picture


def _differs(a, b):
    """Share of pixels that differ visibly."""
    return (np.abs(a.astype(int) - b.astype(int)).max(-1) > 12).mean()


@needs_rendering
def test_a_picture_shows_the_arm_before_a_pale_background(panda):
    picture = render_answers(panda, panda.home, **SIZE)
    assert picture.shape == (120, 160, 3) and picture.dtype == np.uint8
    corners = picture[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners > 200).all()
    assert 0.03 < _differs(picture, np.broadcast_to(picture[0, 0], picture.shape)) < 0.7


@needs_rendering
def test_the_same_call_gives_the_same_picture_and_other_joints_another(panda):
    first = render_answers(panda, panda.home, **SIZE)
    assert np.array_equal(first, render_answers(panda, panda.home, **SIZE))
    assert _differs(first, render_answers(panda, panda.home + 0.3, **SIZE)) > 0.02


@needs_rendering
def test_the_target_is_drawn_as_red_green_and_blue(panda):
    q = np.stack([panda.home, panda.home + 0.2])
    target = panda.forward_kinematics(panda.home)
    picture = render_answers(panda, q, target, width=320, height=240).astype(int)
    for channel in range(3):
        others = [c for c in range(3) if c != channel]
        pure = (picture[..., channel] > 120) & (picture[..., others].max(-1) < picture[..., channel] - 70)
        assert pure.sum() > 5, f"no arrow in channel {channel}"


@needs_rendering
def test_answers_are_translucent_and_one_may_be_solid(panda):
    q = np.stack([panda.home, panda.home + 0.6 * np.eye(7)[0]])
    veiled, solid = render_answers(panda, q, **SIZE), render_answers(panda, q, solid=1, **SIZE)
    assert _differs(veiled, solid) > 0.01
    assert _differs(render_answers(panda, q, alpha=0.1, **SIZE), render_answers(panda, q, alpha=0.9, **SIZE)) > 0.01


@needs_rendering
def test_rows_without_an_answer_are_left_out(panda):
    q = np.stack([panda.home, np.full(7, np.nan)])
    assert _differs(render_answers(panda, q, **SIZE), render_answers(panda, panda.home, **SIZE)) == 0
    empty = render_answers(panda, np.full((2, 7), np.nan), **SIZE)
    assert empty.shape == (120, 160, 3)


@needs_rendering
@pytest.mark.parametrize("shape", ["<geom size='.02 .02 .02' type='box'/>", "<geom type='mesh' mesh='gone'/>", ""])
def test_models_with_few_shapes_or_none_are_drawn(shape):
    model = arm(*HINGES, rest="<asset><mesh name='gone' file='gone.stl'/></asset>" if "mesh" in shape else "")
    robot = Robot(mujoco.MjSpec.from_string(model.replace("<geom size='.02 .02 .02' type='box'/>", shape)))
    q = np.stack([robot.home, robot.home + 0.3])
    picture = render_answers(robot, q, robot.forward_kinematics(robot.home), **SIZE)
    assert _differs(picture, np.broadcast_to(picture[0, 0], picture.shape)) > 0.01


@needs_rendering
def test_a_target_in_another_base_lands_where_the_tip_is(panda):
    moved = Robot(panda, base="link2")
    q = np.stack([panda.home] * 2)
    target = moved.forward_kinematics(panda.home[-moved.dof :])
    assert render_answers(moved, q[:, -moved.dof :], target, **SIZE).shape == (120, 160, 3)
    world = moved.T_world_base @ target
    reference = Robot(panda).forward_kinematics(np.r_[panda.model.qpos0[: 7 - moved.dof], panda.home[-moved.dof :]])
    assert np.allclose(world.position, reference.position, atol=1e-9)


@needs_rendering
def test_the_environment_is_left_alone(panda, monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    before = {key: value for key, value in os.environ.items() if key != "PYOPENGL_PLATFORM"}
    render_answers(panda, panda.home, **SIZE)
    assert {key: value for key, value in os.environ.items() if key != "PYOPENGL_PLATFORM"} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"q": np.zeros((2, 6))}, r"\(n, 7\).*\(2, 6\)"),
        ({"q": np.zeros(7), "width": 4}, "16 to 8192"),
        ({"q": np.zeros(7), "alpha": 0.0}, "alpha"),
        ({"q": np.zeros(7), "solid": 1}, "solid"),
    ],
)
def test_wrong_arguments_are_refused_before_drawing(panda, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        render_answers(panda, **arguments)


@needs_rendering
def test_frames_of_a_motion_have_one_camera_and_what_comes_again_is_drawn_once(panda, monkeypatch):
    drawn = []
    monkeypatch.setattr(Composition, "picture", lambda self, *given: drawn.append(given) or _picture(self, *given))
    q = panda.home + np.array([0.0, 0.3, 0.6, 0.3])[:, None] * np.eye(7)[0]
    frames = render_motion(panda, q, panda.forward_kinematics(panda.home), **SIZE)
    assert frames.shape == (4, 120, 160, 3) and frames.dtype == np.uint8 and len(drawn) == 3
    assert np.array_equal(frames[1], frames[3])
    assert 0.01 < _differs(frames[0], frames[2]) < 0.6
    still = (np.ptp(frames.astype(int), axis=0).max(-1) == 0) & (frames[0].min(-1) < 100)
    assert still.sum() > 20  # the dark foot stands where it stood


@needs_rendering
def test_ghosts_stand_behind_and_rows_without_an_answer_are_left_out(panda):
    q = panda.home + np.array([[0.0], [0.2]]) * np.eye(7)[0]
    wide = np.stack([panda.home + 0.9 * np.eye(7)[0], panda.home - 0.9 * np.eye(7)[0]])
    seen = np.concatenate([q, wide])
    haunted = render_motion(panda, q, ghosts=wide, **SIZE)
    assert np.array_equal(haunted, render_motion(panda, q, ghosts=[*wide, np.full(7, np.nan)], **SIZE))
    alone = render_motion(panda, seen, **SIZE)[:2]
    veiled = (haunted.astype(int) - alone).min(-1) < -12
    assert 0.02 < veiled.mean() < 0.5 and np.abs(haunted.astype(int) - alone).max() < 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"q": np.zeros((2, 6))}, r"q.*\(n, 7\).*\(2, 6\)"),
        ({"q": np.zeros((0, 7))}, "at least one frame"),
        ({"q": np.full(7, np.nan)}, "finite joints"),
        ({"q": np.zeros(7), "ghosts": np.zeros(3)}, r"ghosts.*\(n, 7\)"),
        ({"q": np.zeros(7), "height": 9000}, "16 to 8192"),
    ],
)
def test_wrong_frames_are_refused_before_drawing(panda, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        render_motion(panda, **arguments)


@needs_rendering
def test_bodies_without_mass_are_drawn_with_their_shapes():
    bare = "<body><joint name='more' axis='0 1 0' range='-1 1'/><site name='end' pos='0 0 .1'/></body>"
    model = arm(*HINGES).replace("<site name='tip'", bare + "<site name='tip'")
    robot = Robot(mujoco.MjSpec.from_string(model), tip="end")
    assert robot.drawable_model().ngeom == 3


def test_the_outline_holds_every_shape_tightly():
    shapes = {
        "<geom type='box' size='.1 .2 .3' euler='.4 .5 .6'/>": np.hypot(np.hypot(0.1, 0.2), 0.3),
        "<geom type='capsule' size='.1 .5'/>": 0.6,
        "<geom type='cylinder' size='.1 .5' euler='1 0 0'/>": np.hypot(0.1, 0.5),
        "<geom type='sphere' size='.2'/>": 0.2,
    }
    for shape, farthest in shapes.items():
        model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody><body>{shape}</body></worldbody></mujoco>")
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        centres, radii = Outline(model).spheres(data)
        assert (np.linalg.norm(centres, axis=1) + radii).max() == pytest.approx(farthest)


def test_the_floor_lies_under_what_stands(full_panda, panda):
    table = "<geom type='box' size='.5 .5 .02' pos='0 0 -.02'/>"
    raised = mjcf(f"<body pos='0 0 .7'>{table}<body>{HINGES[0]}<geom size='.1'/></body></body>")
    for robot, height in ((panda, 0.0), (Robot(full_panda), 0.0), (Robot(mujoco.MjSpec.from_string(raised)), 0.66)):
        model = robot.drawable_model()
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        assert floor_height(model, data, data.xpos) == pytest.approx(height, abs=2e-3)


def test_mujoco_gl_chooses_the_backend(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert wanted_backends() == ("osmesa",)
    monkeypatch.setenv("MUJOCO_GL", "off")
    assert wanted_backends() == () and working_backend() is None
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(sys, "platform", "linux")
    assert wanted_backends() == ("egl", "osmesa")


def test_without_a_backend_the_error_names_the_packages(panda, monkeypatch):
    monkeypatch.setattr(offscreen, "_open", _fails)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert working_backend() is None
    with pytest.raises(RenderingUnavailableError, match=r"egl: no library.*osmesa: no library.*libegl1.*libosmesa6"):
        render_answers(panda, panda.home, **SIZE)


def test_the_second_backend_is_taken_where_the_first_fails(monkeypatch):
    made = object()
    monkeypatch.setattr(offscreen, "_open", lambda backend, *size: made if backend == "osmesa" else _fails())
    monkeypatch.setattr(offscreen, "wanted_backends", lambda: ("egl", "osmesa"))
    assert open_context(8, 8) is made


def test_a_failed_backend_leaves_nothing_behind(monkeypatch):
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)

    def half_loaded(name):
        os.environ["PYOPENGL_PLATFORM"] = "egl"
        sys.modules["OpenGL.half_loaded"] = types.ModuleType("OpenGL.half_loaded")
        raise ImportError("Cannot initialize")

    monkeypatch.setattr(offscreen.importlib, "import_module", half_loaded)
    with pytest.raises(ImportError):
        offscreen._open("egl", 8, 8)
    assert "OpenGL.half_loaded" not in sys.modules and "PYOPENGL_PLATFORM" not in os.environ


def _fails(*arguments):
    raise ImportError("no library\nand a long story")


def test_png_files_hold_the_picture(tmp_path):
    rgb = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    save_png(tmp_path / "new" / "a.png", rgb)
    data = (tmp_path / "new" / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[16:24] == bytes([0, 0, 0, 4, 0, 0, 0, 5])
    start = data.index(b"IDAT") + 4
    lines = np.frombuffer(zlib.decompress(data[start:]), np.uint8).reshape(5, 13)
    assert (lines[:, 0] == 0).all() and np.array_equal(lines[:, 1:].reshape(5, 4, 3), rgb)
    with pytest.raises(InvalidInputError, match="height, width, 3"):
        save_png(tmp_path / "b.png", rgb[..., 0])


FRAMES = (
    np.zeros((3, 20, 30, 3), np.uint8) + np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], "u1")[:, None, None]
)


def test_gif_files_hold_the_frames_and_begin_again(tmp_path):
    from PIL import Image

    save_gif(tmp_path / "new" / "a.gif", FRAMES, fps=10)
    with Image.open(tmp_path / "new" / "a.gif") as film:
        assert film.n_frames == 3 and film.size == (30, 20) and film.info["duration"] == 100 and film.info["loop"] == 0
        for i, frame in enumerate(FRAMES):
            film.seek(i)
            assert np.abs(np.asarray(film.convert("RGB")).astype(int) - frame).max() <= 4
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.gif"]


def test_small_bright_things_keep_their_colour_in_a_gif(tmp_path):
    from PIL import Image

    shades = np.random.default_rng(0).integers(180, 256, (4, 90, 120, 1)).astype(np.uint8)
    frames = np.repeat(shades, 3, axis=-1)
    frames[:, 10:13, 10:13] = [230, 40, 40]
    save_gif(tmp_path / "a.gif", frames)
    with Image.open(tmp_path / "a.gif") as film:
        assert np.abs(np.asarray(film.convert("RGB"))[11, 11].astype(int) - [230, 40, 40]).max() < 12


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (FRAMES[0], 20, r"m, height, width, 3.*\(20, 30, 3\)"),
        (FRAMES[:0], 20, "m, height, width, 3"),
        (FRAMES.astype(float), 20, "uint8.*float64"),
        (FRAMES, 0, "1 to 50 frames a second, got 0"),
        (FRAMES, 100, "1 to 50 frames a second"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path, frames, fps, message):
    with pytest.raises(InvalidInputError, match=message):
        save_gif(tmp_path / "a.gif", frames, fps)


def test_a_missing_pillow_is_named_with_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingPackageError, match=r"Pillow.*pip install hybrid-ik\[viewer\]"):
        save_gif(tmp_path / "a.gif", FRAMES)
    assert not list(tmp_path.iterdir())


def test_answers_have_different_colours():
    colours = answer_colours(16)
    assert colours.shape == (16, 3) and (0 <= colours).all() and (colours <= 1).all()
    assert len(np.unique(colours.round(6), axis=0)) == 16
    assert answer_colours(1).shape == (1, 3)
