"""The page in a real browser: it loads, the frame is dragged with the mouse, the numbers follow."""

from __future__ import annotations

import ctypes
import shutil
import time

import numpy as np
import pytest

from hybrid_ik.apps.explorer import Settings
from hybrid_ik.apps.web import serve
from hybrid_ik.pose import Pose

pytest.importorskip("viser", reason="no viser here: pip install hybrid-ik[viewer]")
pytest.importorskip("selenium", reason="no selenium here: pip install hybrid-ik[dev]")

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no chromium with chromedriver here (Debian: chromium, chromium-driver)"
)
FLAGS = (
    "--headless=new --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist "
    "--disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync "
    "--window-size=760,640 --force-device-scale-factor=0.5"  # few pixels: they are drawn without a GPU
)
PATIENCE = 120  # s: it is quick on an idle machine, and the pictures starve on a busy one
STATE = "const s = document.querySelector('#hybrid-ik-state'); return s && {...s.dataset}"
CHECKBOX = (
    "const label = [...document.querySelectorAll('label')].find(l => l.textContent == %r);"
    "return label && document.getElementById(label.htmlFor)"
)


@pytest.fixture(scope="module")
def page():
    with serve("panda", port=0, settings=Settings(n_solutions=3, sampler="network")) as page:
        yield page


def _no_realtime():
    """What is started from here on may not make its threads realtime ones.

    As root Chromium does, and on two cores two pages that draw in software then starve all else, themselves included.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(24, 23, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SYS_NICE; fails, and need not succeed, where one is not root


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    from selenium import webdriver

    _no_realtime()
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get(page.url)
        yield driver
    finally:
        driver.quit()


def _wait(condition, what):
    """Returns what a condition gives once that is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail(f"waited {PATIENCE} s for {what}")


def _state(browser):
    """The numbers that the page shows, by name."""
    return {name: float(value) for name, value in (browser.execute_script(STATE) or {}).items()}


def _on_screen(browser, page, point):
    """Where a point of the world is in the window [CSS pixels], by the camera that the browser reports."""
    camera = _wait(page._server.get_clients, "the browser's camera")
    camera = next(iter(camera.values())).camera
    box = browser.execute_script("return document.querySelector('canvas').getBoundingClientRect().toJSON()")
    ahead = camera.look_at - camera.position
    ahead = ahead / np.linalg.norm(ahead)
    side = np.cross(ahead, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    way = np.asarray(point) - camera.position
    scale = box["height"] / 2 / np.tan(camera.fov / 2) / (way @ ahead)
    x, y = way @ side, way @ np.cross(side, ahead)
    place = box["x"] + box["width"] / 2 + scale * x, box["y"] + box["height"] / 2 - scale * y
    return np.round(place).astype(int)


@needs_browser
def test_the_page_loads_and_shows_answers(browser, page):
    _wait(lambda: _state(browser).get("answers") == 3, "three answers")
    assert _state(browser)["positionError"] < 1e-6
    assert _wait(lambda: browser.execute_script("return !!document.querySelector('canvas')"), "the picture")
    assert "panda" in browser.page_source


@needs_browser
def test_the_frame_is_dragged_with_the_mouse_and_the_answers_follow(browser, page):
    from selenium.webdriver import ActionChains

    start, scale = page._scene.gizmo.position.copy(), page._scene.gizmo.scale
    R_world_target = page.explorer.target.rotation_matrix()
    grip = _on_screen(browser, page, start + 0.6 * scale * R_world_target[:, 0])
    goal = _on_screen(browser, page, start + 1.4 * scale * R_world_target[:, 0])
    before, (dx, dy) = page.explorer.q, (goal - grip).tolist()

    def dragged():
        mouse = ActionChains(browser, duration=50)
        mouse.w3c_actions.pointer_action.move_to_location(*grip.tolist())
        mouse.pause(0.3).click_and_hold().move_by_offset(dx // 2, dy // 2).pause(0.2)
        mouse.move_by_offset(dx - dx // 2, dy - dy // 2).pause(0.2).release().perform()
        return np.linalg.norm(page._scene.gizmo.position - start) > 0.02

    _wait(dragged, "the frame to follow the mouse")
    page.worker.settle()
    target = page.explorer.target
    assert np.allclose(target.position, page._scene.gizmo.position)
    n = len(page.explorer.shown.result)
    _wait(lambda: _state(browser).get("answers") == n, "the new number of answers")
    assert page.explorer.shown.reached and not np.array_equal(page.explorer.q, before)
    tip = page.explorer.robot.forward_kinematics(page.explorer.q)
    assert np.linalg.norm(tip.position - target.position) < 1e-5
    assert _state(browser)["positionError"] < 1e-6


@needs_browser
def test_refinement_is_switched_off_and_on(browser, page):
    box = _wait(lambda: browser.execute_script(CHECKBOX % "Refine"), "the box of the page")
    box.click()
    _wait(lambda: _state(browser)["positionError"] > 1e-3, "errors of centimetres")
    assert not page.explorer.settings.refine
    box.click()
    _wait(lambda: _state(browser)["positionError"] < 1e-6, "errors below a micrometre")


@needs_browser
def test_a_row_is_clicked_and_its_joints_can_be_copied(browser, page):
    from selenium.webdriver.common.by import By

    wanted = page.explorer.shown.result.q[page._order[2]]
    browser.find_element(By.CSS_SELECTOR, "tr[data-pick='3'] td:nth-child(2)").click()
    _wait(lambda: np.array_equal(page.explorer.q, wanted), "the third answer to be the solid one")
    text = "[" + ", ".join(f"{value:.6f}" for value in wanted) + "]"
    shown = "return document.querySelector('#hybrid-ik-joints').value"
    _wait(lambda: browser.execute_script(shown) == text, "its joints in the page")
    button = browser.find_element(By.CSS_SELECTOR, "#hybrid-ik-joints + button")
    button.click()
    assert button.text == "copied"


@needs_browser
def test_a_click_on_a_ghost_makes_it_the_solid_arm(browser, page):
    from selenium.webdriver import ActionChains

    before, ghosts = page.explorer.q, iter(page._scene._ghosts[2:5] * 10)
    position, quaternion = page._scene._place(page.explorer.shown.result.q[page._order[-1:]])

    def clicked():
        body, handle = next(ghosts)
        R_world_body = Pose(position[0, body], quaternion[0, body]).rotation_matrix()
        middle = R_world_body @ handle.vertices.mean(0) + position[0, body]
        mouse = ActionChains(browser, duration=50)
        mouse.w3c_actions.pointer_action.move_to_location(*_on_screen(browser, page, middle).tolist())
        mouse.pause(0.5).click().pause(0.5).perform()
        return not np.array_equal(page.explorer.q, before)

    _wait(clicked, "another arm to be solid")


@needs_browser
def test_the_picture_can_be_saved(browser, page, tmp_path):
    from PIL import Image

    browser.execute_script("window.requestAnimationFrame = () => 0")  # or else pictures without a GPU keep it busy
    assert browser.save_screenshot(str(tmp_path / "page.png"))
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
    scene = pixels[:, : pixels.shape[1] // 2]
    assert len(np.unique(scene.reshape(-1, 3), axis=0)) > 500, "an arm, its ghosts and the floor"
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
