"""The gallery of examples: every example is in it, its pictures are there and small, and they can be drawn again."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from hybrid_ik.apps import motion, rendering
from hybrid_ik.apps.cli import main
from hybrid_ik.apps.offscreen import REMEDY, working_backend

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

import demo
import gallery
from test_examples import FROM_PIXELS, check_example, skip_where_it_cannot_run

EXAMPLES = gallery.EXAMPLES
TEXT = (EXAMPLES / "README.md").read_text()
LINKS = re.findall(r"\]\((?!https?:|#)([^)]+)\)", TEXT)
SHOWN = re.findall(r'src="([^"]+)"', TEXT)
MOST_BYTES = {".png": 500_000, ".gif": 1_500_000}
needs_rendering = pytest.mark.skipif(working_backend() is None, reason=f"no EGL and no OSMesa here. {REMEDY}")


def test_every_example_has_its_place_and_every_picture_is_there_and_small():
    assert {f"{name}.py" for name in gallery.PICTURES} <= set(LINKS)
    assert [name for name in (*LINKS, *SHOWN) if not (EXAMPLES / name).is_file()] == []
    assert {Path(name).stem for name in SHOWN} >= set(gallery.PICTURES)
    for path in (EXAMPLES.parent / "docs" / "images" / "examples").iterdir():
        assert path.stat().st_size < MOST_BYTES[path.suffix], path.name


def test_pictures_are_drawn_from_what_the_examples_find(tmp_path, capsys):
    gallery.main(str(tmp_path / "new"), "02_many_solutions")
    assert (tmp_path / "new" / "02_many_solutions.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == "drew 02_many_solutions\n"


def check_picture(name, folder, monkeypatch):
    """Draws the picture of an example, small."""
    monkeypatch.setattr(gallery, "SIZE", {"width": 48, "height": 36})
    monkeypatch.setattr(gallery, "FILM", {"width": 48, "height": 36})
    monkeypatch.setattr(motion, "FRAMES", (6, 6))
    gallery.main(str(folder), name)
    (path,) = folder.iterdir()
    assert path.stem == name and path.name in {Path(shown).name for shown in SHOWN}


@needs_rendering
@pytest.mark.parametrize("name", [name for name in gallery.PICTURES if name not in ("02_many_solutions", FROM_PIXELS)])
def test_every_picture_can_be_drawn_again(tmp_path, monkeypatch, name):
    check_picture(name, tmp_path, monkeypatch)


@needs_rendering
def test_pixels_are_explained_and_drawn_again_from_what_the_first_run_left(tmp_path, monkeypatch):
    """One test, because the example takes minutes where it finds nothing; its joints are of an unseen episode."""
    skip_where_it_cannot_run(FROM_PIXELS)
    rows = check_example(EXAMPLES / f"{FROM_PIXELS}.py", tmp_path, timeout=600).splitlines()
    rows = [re.split(r" {2,}", line.strip()) for line in rows]
    tips = {row[0]: float(row[1]) for row in rows if len(row) == 5 and row[1][0].isdigit()}
    assert tips["MLP"] < 60.0 and tips["MeanFlow"] < 60.0
    assert tips["MLP, refined"] < 2.0 and tips["MeanFlow, refined, best of 16"] < 2.0
    left = (tmp_path / "runs" / "so100_from_pixels").glob("*.mp4")
    assert {path.name for path in left} == {"front.mp4", "side.mp4"}
    monkeypatch.chdir(tmp_path)
    check_picture(FROM_PIXELS, tmp_path / "pictures", monkeypatch)


@needs_rendering
def test_the_film_that_the_demo_names_is_drawn(tmp_path, monkeypatch, capsys):
    render_motion = rendering.render_motion
    small = {"width": 48, "height": 36}
    monkeypatch.setattr(rendering, "render_motion", lambda *given, **more: render_motion(*given, **more, **small))
    monkeypatch.setattr(motion, "FRAMES", (6, 6))
    monkeypatch.chdir(tmp_path)
    program, *words = demo.film_command().split()
    assert Path(program).name == "hybrid-ik" and main(words) == 0
    assert (tmp_path / "demo.gif").read_bytes().startswith(b"GIF89a")
    assert "1 answer in" in capsys.readouterr().out


def test_the_demo_names_the_program_as_it_can_be_typed_here(tmp_path, monkeypatch):
    place = tmp_path / ".venv" / "bin"
    place.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    assert demo.film_command().startswith("hybrid-ik solve --position 0.45 ")
    (place / "hybrid-ik").touch()
    assert demo.film_command().startswith(".venv/bin/hybrid-ik solve --position 0.45 0.15 0.45 --quaternion 0 1 0 0 ")
    monkeypatch.chdir(place)
    assert demo.film_command().startswith("hybrid-ik solve ") or demo.film_command().startswith(str(place))
