"""The page in a real browser, on the real server with a test double of the engine."""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from scipy.signal import hilbert
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from fugue_state.errors import CheckpointError
from fugue_state.live.clients import Listener
from fugue_state.live.people import People
from fugue_state.live.programme import House
from fugue_state.live.protocol import Credit, Format, RefusedError
from fugue_state.live.wishes import Wishes
from fugue_state.score.paths import check

from .browsing import FAINT, LISTEN
from .fake_performance import FakePerformance, fake_memory
from .live_stage import Stage, render

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="no browser: Debian's chromium and chromium-driver are needed"
)
PATIENCE_S = 120.0
WIDTH, HEIGHT = 1280, 800  # of the page, unless a test is about another size
LAYERS = {"deconv1": 512, "deconv2": 256, "deconv3": 128, "deconv4": 64, "deconv5": 32}
SECOND = LAYERS["deconv1"]  # the first unit of deconv2
SMALL = {"deconv1": 64, "deconv2": 32}
# Two parts of two layers each.
PARTS = {"melody/deconv1": 64, "melody/deconv2": 32, "the chords/deconv1": 48, "the chords/deconv2": 16}
CHORDS_FROM = 96  # the first unit of the second part
CHORDS = ("Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G")
RATE, BLOCK = 44_100, 1024
TONE_HZ = 441.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--autoplay-policy=document-user-activation-required",
        "--host-resolver-rules=MAP stage.test 127.0.0.1",
    ):
        options.add_argument(argument)
    driver = Chrome(options=options, service=ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


class Page:
    """A page at hand: what a performer does and sees."""

    def __init__(self, browser: Chrome, stage: Stage) -> None:
        self.browser, self.stage = browser, stage
        self.resize()  # whatever a test before left, or the browser begins with

    @property
    def address(self) -> str:
        return f"{self.stage.http}/"

    @property
    def performance(self) -> FakePerformance:
        return self.stage.performance

    @property
    def sets(self) -> list[tuple[str, list[Any]]]:
        """Return what pages have asked for."""
        return self.stage.session.sets

    @property
    def forgotten(self) -> list[int]:
        """Return the units that brushes have taken away."""
        return [int(unit) for unit in np.flatnonzero(self.performance.brushed == 0)]

    def resize(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        phone = min(width, height) < 500  # whose scroll bars take no room
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, query: str = "", width: int = WIDTH, height: int = HEIGHT) -> None:
        self.resize(width, height)
        self.browser.get(self.address + query)
        self.until(lambda: self.run("return globalThis.fugue?.control.open && document.fonts.status === 'loaded'"))

    def start(self) -> None:
        self.open()
        self.click("#start")
        self.until(lambda: self.run("return fugue.sound.report?.sample") is not None)

    def run(self, script: str, *args: Any) -> Any:
        return self.browser.execute_script(script, *args)

    def wait_for(self, script: str, *args: Any) -> Any:
        """Run a script that tells its result to `done`."""
        self.browser.set_script_timeout(30)
        return self.browser.execute_async_script("const done = arguments[arguments.length - 1];" + script, *args)

    def find(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector)).strip()

    def keys(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def chord(self, held: str, key: str) -> None:
        ActionChains(self.browser).key_down(held).send_keys(key).key_up(held).perform()

    def record(self) -> None:
        """Keep a take."""
        self.click("#record")
        self.until(lambda: self.text("#record") > "Stop 0:00")
        self.click("#record")
        self.until(lambda: "take-001 kept" in self.text("#log"))

    def loudness(self) -> float:
        return float(self.run(LISTEN))

    def until(self, true: Callable[[], Any], what: str = "") -> None:
        """Wait for something that is to happen."""
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end, what or "it did not happen"
            time.sleep(0.03)

    def asked(self, path: str) -> Any:
        """Return the newest value that was set, once it is there."""
        self.until(lambda: any(one == path for one, _ in self.sets), f"{path} was not set: {self.sets}")
        args = [args for one, args in self.sets if one == path][-1]
        return args[0] if args else None

    def cell(self, unit: int) -> tuple[float, float]:
        """Return the middle of a unit's cell in the window."""
        x, y = self.run(
            "const {x, y, pitch} = fugue.grid.cell(arguments[0]);"
            "const box = fugue.grid.root.getBoundingClientRect();"
            "return [box.left + x + pitch / 2, box.top + y + pitch / 2]",
            unit,
        )
        return x, y

    def pixels(self, unit: int) -> list[int]:
        """Return the pixels of a unit's cell."""
        script = (
            "const {x, y, pitch} = fugue.grid.cell(arguments[0]);"
            "return [...fugue.grid.context.getImageData(Math.round(x), Math.round(y), pitch, pitch).data]"
        )
        return list(self.run(script, unit))

    def drag(self, *places: tuple[float, float]) -> None:
        steps = [("mousePressed", places[0]), *(("mouseMoved", place) for place in places[1:])]
        for kind, (x, y) in [*steps, ("mouseReleased", places[-1])]:
            moved = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            self.browser.execute_cdp_cmd("Input.dispatchMouseEvent", moved)

    def middle(self, selector: str) -> tuple[float, float]:
        """Return the middle of an element in the window."""
        x, y = self.run(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.left + box.width / 2, box.top + box.height / 2]",
            selector,
        )
        return x, y

    def fingers(self, kind: str, *places: tuple[float, float]) -> None:
        """Let fingers be at places: `touchStart`, `touchMove`, or `touchEnd` at none."""
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        self.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def leave(self) -> None:
        """Go, from all windows."""
        first, *others = self.browser.window_handles
        for other in others:
            self.browser.switch_to.window(other)
            self.browser.close()
        self.browser.switch_to.window(first)
        self.browser.get("about:blank")


def house(layers: Mapping[str, int]) -> House:
    """What can be played: a memory of these layers, a small one, and one that is damaged."""

    def load(name: str) -> Any:
        if name == "damaged":
            raise CheckpointError("damaged.safetensors: damaged or not a checkpoint")
        return fake_memory(name, layers if name == "fake" else SMALL, CHORDS)

    return House(("fake", "small", "damaged"), load, FakePerformance, render)


@pytest.fixture
def layers() -> Mapping[str, int]:
    return LAYERS


@pytest.fixture
def settings() -> Mapping[str, Any]:
    return {}


@pytest.fixture
def page(browser: Chrome, tmp_path: Path, layers: Mapping[str, int], settings: Mapping[str, Any]) -> Iterator[Page]:
    with Stage(tmp_path / "takes", house(layers), **settings) as stage:
        page = Page(browser, stage)
        yield page
        page.leave()


def encoded(levels: list[int]) -> str:
    return base64.b64encode(bytes(levels)).decode()


@pytest.mark.parametrize("form", ["pcm16", "float32"])
def test_sound_waits_for_a_press_and_then_plays(page: Page, form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    give = Listener.give

    def as_if_asked_for(listener: Listener, credit: Credit) -> None:
        give(listener, credit.model_copy(update={"format": form}))

    monkeypatch.setattr(Listener, "give", as_if_asked_for)
    page.open()
    page.run("document.querySelector('#start').click()")  # by no hand
    page.until(lambda: "keeps sound back" in page.text("#start-note"))
    assert page.find("#veil").is_displayed()
    page.click("#start")
    assert page.asked("/play") == 1
    page.until(lambda: page.run("return Boolean(fugue.sound.node)"))
    page.until(lambda: 0.05 < page.loudness() < 0.08)
    assert not page.find("#veil").is_displayed()
    page.until(lambda: page.text("#state") == "playing")
    page.keys(Keys.ESCAPE)
    page.until(lambda: page.text("#state") == "armed")
    page.until(lambda: page.loudness() < 0.001, "it still sounds")


@pytest.mark.parametrize("way", ["button", "key", "replay"])
def test_whatever_starts_to_play_opens_the_sound(page: Page, way: str) -> None:
    if way == "replay":
        with page.stage.hand() as hand:
            hand.done("/rec/start")
            hand.done("/play", 1)
            hand.until("stats")
            hand.keep()
            hand.done("/play", 0)
    page.open()
    assert page.find("#veil").is_displayed()
    if way == "key":
        page.keys(Keys.SPACE)
    elif way == "button":
        page.click("[data-path='/play']")
    else:
        page.click("#takes-open")
        page.click("[data-path='/replay']")
    page.until(lambda: page.run("return Boolean(fugue.sound.node)"))
    assert page.asked("/replay" if way == "replay" else "/play")
    assert not page.find("#veil").is_displayed()
    if way != "replay":  # the take is shorter than a look at it
        page.until(lambda: page.loudness() > 0.05)


def test_what_the_browser_lets_nobody_hear_does_not_play(page: Page) -> None:
    page.open()
    page.run("fugue.controls.toggle('/play', 'midi')")  # which is no press to the browser
    page.until(lambda: "keeps sound back" in page.text("#notice"))
    page.run("fugue.controls.set('/replay', ['take-001'])")
    assert page.sets == []
    assert page.find("[data-path='/play']").get_attribute("aria-pressed") == "false"
    page.click("#watch")  # who wants no sound here may play all the same
    page.run("fugue.controls.toggle('/play', 'midi')")
    assert page.asked("/play") == 1
    assert not page.run("return Boolean(fugue.sound.node)")


def test_a_press_while_the_memory_loads_is_not_lost(browser: Chrome, tmp_path: Path) -> None:
    ready = threading.Event()
    here = house(LAYERS)

    def load(name: str) -> Any:
        ready.wait(PATIENCE_S)
        return here.load(name)

    with Stage(tmp_path / "takes", dataclasses.replace(here, load=load), waits=False) as stage:
        page = Page(browser, stage)
        page.browser.get(page.address)
        page.until(lambda: page.run("return Boolean(globalThis.fugue)"))
        assert page.run("return [innerWidth, innerHeight]") == [WIDTH, HEIGHT]
        page.click("#start")
        page.until(lambda: "it sounds as soon as it is there" in page.text("#start-note"))
        assert page.find("#veil").is_displayed()
        assert not page.find("#start").is_enabled()
        ready.set()
        page.until(lambda: page.loudness() > 0.05)
        assert page.sets == [("/play", [1])]
        assert not page.find("#veil").is_displayed()
        page.leave()


def test_a_fader_is_sent_and_changes_the_sound(page: Page) -> None:
    page.start()
    page.until(lambda: page.loudness() > 0.05)
    fader = page.find("[data-path='/forget']")
    box = fader.rect
    middle = box["x"] + box["width"] / 2
    page.drag((middle, box["y"] + box["height"] - 12), (middle, box["y"] + 100), (middle, box["y"] + 4))
    page.until(lambda: page.performance.values["/forget"] == 1)
    page.until(lambda: page.loudness() < 0.001, "it still sounds")
    page.until(lambda: page.text("#remembered b") == "0")
    fader.send_keys(Keys.ARROW_DOWN)
    page.until(lambda: page.performance.values["/forget"] < 1)


def test_what_others_move_is_shown_but_not_what_a_hand_holds(page: Page) -> None:
    page.open()
    fader = "return Number(document.querySelector(`[data-path='/layer/2/forget']`).value)"
    with page.stage.hand() as other:
        other.done("/layer/2/forget", 0.5)
    page.until(lambda: page.run(fader) == 0.5)
    page.find("[data-path='/layer/2/forget']").send_keys(Keys.ARROW_UP)
    page.run("fugue.control.dispatchEvent(new CustomEvent('patch', {detail: {at_sample: 0, changes: "
             "{'/layer/2/forget': 0.1}}}))")  # fmt: skip
    assert page.run(fader) == pytest.approx(0.505)


def test_the_grid_paints_what_is_heard(page: Page) -> None:
    page.start()
    page.until(lambda: page.run("return fugue.cells().glow[0] > 0.3"))
    with page.stage.hand() as other:
        for number, strength in enumerate((0.0, 0.0, 0.5), 1):
            other.done(f"/unit/1/{number}/strength", strength)
    still = "const {size, flare, due} = fugue.cells(); return size[0] < 0.02 && flare[0] < 0.01 && !due[0]"
    page.until(lambda: page.run(still))
    page.until(lambda: sum(page.pixels(0)) < sum(page.pixels(SECOND - 1)))
    assert page.pixels(0) == page.pixels(1)
    # The stroke of a forgotten unit rises.
    pitch = round((len(page.pixels(0)) / 4) ** 0.5)
    picture = np.array(page.pixels(0)).reshape(pitch, pitch, 4).sum(axis=2)
    low, high = round(0.35 * pitch), round(0.6 * pitch)
    assert picture[high, low] > picture[low, low]
    before = page.pixels(0)
    page.run("fugue.controls.set('/unit/1/1/freeze', [1])")
    page.until(lambda: page.pixels(0) != before)
    assert page.run("return fugue.cells().frozen[0]") == 1


def test_a_brush_touches_what_it_crosses(page: Page) -> None:
    page.start()
    page.drag(page.cell(600), page.cell(604))
    page.until(lambda: page.forgotten == [600, 601, 602, 603, 604])
    assert [(p, a) for p, a in page.sets if p != "/play"] == [
        (f"/unit/2/{unit - 511}/strength", [0]) for unit in range(600, 605)
    ]
    page.click("[data-brush=recall]")
    page.drag(page.cell(602), page.cell(602))
    page.until(lambda: page.forgotten == [600, 601, 603, 604])
    page.click("[data-brush=freeze]")
    page.drag(page.cell(602), page.cell(603))
    page.until(lambda: np.flatnonzero(page.performance.frozen).tolist() == [602, 603])
    page.drag(page.cell(602), page.cell(602))
    page.until(lambda: np.flatnonzero(page.performance.frozen).tolist() == [603])


def test_played_by_several_fingers(page: Page) -> None:
    page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 5})
    page.open(width=768, height=1024)  # where a page may scroll under a finger
    page.fingers("touchStart", page.middle("#start"))
    page.fingers("touchEnd")
    page.until(lambda: page.run("return Boolean(fugue.sound.node)"))
    page.until(lambda: page.loudness() > 0.05)
    x, y = page.middle("[data-path='/layer/2/forget']")
    columns = page.run("return fugue.grid.bands[0].columns")
    page.fingers("touchStart", (x, y))
    page.fingers("touchStart", (x, y), page.cell(0))
    for row in range(1, 5):  # one finger on a fader, another one in the grid
        page.fingers("touchMove", (x, y - 16 * row), page.cell(columns * row))
    page.fingers("touchEnd")
    page.until(lambda: page.forgotten == [columns * row for row in range(5)])
    page.until(lambda: page.performance.values["/layer/2/forget"] > 0.6)
    page.fingers("touchStart", page.cell(3))
    for row in range(1, 5):
        page.fingers("touchMove", page.cell(3 + columns * row))
    page.fingers("touchEnd")
    page.until(lambda: page.forgotten == sorted(columns * row + unit for row in range(5) for unit in (0, 3)))
    assert page.run("return document.documentElement.scrollHeight > innerHeight")
    assert page.run("return scrollY") == 0
    bank = page.middle("[data-bank='3']")
    page.fingers("touchStart", bank)
    page.until(lambda: "stored" in page.find("[data-bank='3']").get_attribute("class"))
    page.fingers("touchEnd")
    page.fingers("touchStart", bank)
    page.fingers("touchEnd")
    page.until(lambda: "armed" in page.find("[data-bank='3']").get_attribute("class"))
    page.fingers("touchStart", bank)
    page.fingers("touchEnd")
    page.until(lambda: "fired" in page.find("[data-bank='3']").get_attribute("class"))
    page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_a_wide_stroke_is_one_message_and_touches_nothing_else(page: Page) -> None:
    page.start()
    page.drag(page.cell(SECOND), page.cell(SECOND + 12))
    page.until(lambda: page.forgotten == [*range(SECOND, SECOND + 13)])
    # The first unit is under the press itself.
    assert [path for path, _ in page.sets if path != "/play"] == ["/unit/2/1/strength", "/grid/2"]
    assert set(page.performance.brushed.tolist()) == {0.0, 1.0}
    page.until(lambda: page.run("return fugue.cells().due.every((due) => due === 0)"))
    heard = f"return [...fugue.cells().heard.slice({SECOND}, {SECOND + 14})]"
    page.until(lambda: page.run(heard) == [0] * 13 + [1])


def test_a_brush_sets_its_own_strength_whatever_a_fader_takes_from_it(page: Page) -> None:
    page.start()
    with page.stage.hand() as other:
        other.done("/unit/2/1/strength", 0.2)
        other.done("/layer/2/forget", 0.5)
    page.until(lambda: page.run(f"return fugue.cells().heard[{SECOND}]") == pytest.approx(0.1, abs=0.003))
    page.find("#brush-amount input").send_keys(Keys.ARROW_LEFT * 10)
    page.click("[data-brush=recall]")
    page.drag(page.cell(SECOND), page.cell(SECOND))
    assert page.asked("/unit/2/1/strength") == pytest.approx(0.7)
    page.until(lambda: page.performance.brushed[SECOND] == pytest.approx(0.7))
    page.until(lambda: page.run(f"return fugue.cells().heard[{SECOND}]") == pytest.approx(0.35, abs=0.003))


def test_two_pages_brush_the_same_layer_and_both_strokes_are_kept(page: Page) -> None:
    page.start()
    first = page.browser.current_window_handle
    page.run("fugue.control.open = false")  # what it asks for is on its way
    page.drag(page.cell(SECOND), page.cell(SECOND + 3))
    page.browser.switch_to.new_window("window")
    page.open()
    page.click("#watch")
    page.drag(page.cell(SECOND + 100), page.cell(SECOND + 119))
    many = [*range(SECOND + 100, SECOND + 120)]
    page.until(lambda: page.forgotten == many)
    page.browser.switch_to.window(first)
    page.run("fugue.control.open = true")
    few = [*range(SECOND, SECOND + 4)]
    page.until(lambda: page.forgotten == few + many)
    page.until(lambda: page.run(f"return fugue.cells().brushed[{many[-1]}]") == 0)
    page.drag(page.cell(SECOND + 130), page.cell(SECOND + 145))
    page.until(lambda: page.forgotten == few + many + [*range(SECOND + 130, SECOND + 146)])


def test_recalling_in_vain_is_explained_once(page: Page) -> None:
    page.start()
    why = "a fader or the score has forgotten these"
    page.click("[data-brush=recall]")
    page.drag(page.cell(SECOND), page.cell(SECOND + 2))
    assert why not in page.text("#log")
    with page.stage.hand() as other:
        other.done("/layer/2/forget", 1.0)
    page.until(lambda: page.run(f"return fugue.cells().heard[{SECOND}] === 0 && !fugue.cells().due[{SECOND}]"))
    page.drag(page.cell(SECOND), page.cell(SECOND + 2))
    assert page.text("#log").count(why) == 1
    assert page.text("[role=gridcell]") == "deconv2, unit 1, forgotten by a fader or the score"
    assert [path for path, _ in page.sets] == ["/play", "/layer/2/forget"]


def test_what_is_asked_for_is_hatched_until_it_is_heard(page: Page) -> None:
    page.start()
    due = "return fugue.cells().due[0]"
    page.run("fugue.control.open = false; fugue.brush.apply([0], 'forget', 1, true)")
    # The server has not heard of it.
    assert page.run("return fugue.cells().due[0] === Infinity")
    assert "not heard yet" in page.run("fugue.brush.point(0); return fugue.brush.active.textContent")
    page.run("fugue.control.open = true")
    page.until(lambda: page.run(due) == 0)
    page.until(lambda: page.run("return fugue.cells().heard[0]") == 0)


def test_what_is_asked_for_before_anything_plays_is_hatched_until_it_does(page: Page) -> None:
    page.open()
    page.click("#watch")
    page.drag(page.cell(3), page.cell(3))
    page.until(lambda: page.forgotten == [3])
    page.until(lambda: page.run("return fugue.control.sent.size") == 0)
    waiting = "return [...fugue.cells().due.keys()].filter((unit) => fugue.cells().due[unit])"
    assert page.run(waiting) == [3]
    page.run("fugue.brush.describe()")
    assert page.text("[role=gridcell]") == "deconv1, unit 4, forgotten, not heard yet"
    with page.stage.hand() as other:
        other.done("/unit/1/9/strength", 0.0)
        page.until(lambda: page.run(waiting) == [3, 8])
        other.done("/play", 1)
    page.until(lambda: page.run(waiting) == [])
    page.until(lambda: page.run("return fugue.cells().heard[3]") == 0)


def test_played_by_keys_alone(page: Page) -> None:
    page.open()
    page.run("document.querySelector('#start').focus()")
    page.keys(Keys.ENTER)
    page.until(lambda: page.stage.session.state == "playing")
    page.run("document.activeElement.blur()")
    page.keys(Keys.SPACE)
    page.until(lambda: page.performance.values["/play"] == 0)
    page.keys("x", "]", "]")
    assert page.run("return [fugue.brush.kind, fugue.brush.size]") == ["freeze", 3]
    page.keys("d")
    assert page.text("[data-brush][aria-checked=true]") == "Recall"
    page.keys("f", "[", "[", "[")
    page.run("document.querySelector('[role=grid]').focus()")
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)
    assert page.asked("/unit/1/3/strength") == 0
    assert page.text("[role=gridcell]").startswith("deconv1, unit 3, forgotten")
    page.keys(Keys.PAGE_DOWN, Keys.END, Keys.ENTER)
    assert page.asked("/unit/2/256/strength") == 0
    page.keys(Keys.ARROW_DOWN)
    assert page.text("[role=gridcell]").startswith("deconv3")
    page.run("document.activeElement.blur()")
    page.chord(Keys.SHIFT, "2")
    page.until(lambda: 2 in page.stage.session.desk.banks)
    page.until(lambda: "stored" in page.find("[data-bank='2']").get_attribute("class"))
    page.keys("2")
    page.until(lambda: page.run("return document.querySelector('.armed')?.dataset.bank") == "2")
    page.keys(Keys.ENTER)
    assert page.asked("/bank/2/fire") == 2
    page.keys("r")
    page.until(lambda: page.text("#record").startswith("Stop"))
    page.keys("m")
    page.keys("the bass goes", Keys.ENTER)
    assert page.asked("/mark") == "the bass goes"
    page.keys(Keys.ESCAPE)
    assert page.asked("/hush") is None
    page.keys("?")
    assert page.find("#help").is_displayed()


def test_tab_reaches_the_grid_once_and_a_pressed_button_leaves_space_alone(page: Page) -> None:
    page.start()
    stops = page.run("return [...document.querySelectorAll('#grid *')].filter((one) => one.tabIndex >= 0 "
                     "&& one.checkVisibility()).length")  # fmt: skip
    assert stops == 1
    page.click("[data-path='/freeze']")
    page.until(lambda: page.performance.values["/freeze"] == 1)
    page.until(lambda: page.text("#state") == "frozen")
    page.keys(Keys.SPACE)
    page.until(lambda: page.performance.values["/play"] == 0)
    assert page.performance.values["/freeze"] == 1


def test_undo_and_redo(page: Page) -> None:
    page.open()
    page.find("[data-path='/layer/3/forget']").send_keys(Keys.END)
    page.until(lambda: page.performance.values["/layer/3/forget"] == 1)
    page.run("document.activeElement.blur()")
    page.chord(Keys.CONTROL, "z")
    fader = "return Number(document.querySelector(`[data-path='/layer/3/forget']`).value)"
    page.until(lambda: page.performance.values["/layer/3/forget"] == 0)
    page.until(lambda: page.run(fader) == 0)
    page.click("[data-path='/redo']")
    page.until(lambda: page.run(fader) == 1)
    assert page.performance.values["/layer/3/forget"] == 1


def test_a_layers_order_is_chosen(page: Page) -> None:
    page.open()
    order = Select(page.find("[data-path='/layer/2/order']"))
    for option in order.options:
        assert not option.is_enabled() or check("/layer/2/order", [option.get_attribute("value")])
    order.select_by_visible_text("random")
    page.until(lambda: page.performance.values.get("/layer/2/order") == "random")


def test_a_bank_is_held_tapped_and_tapped_again(page: Page) -> None:
    page.open()
    pad = page.find("[data-bank='5']")
    pad.click()  # it is empty
    page.run("fugue.controls.set('/layer/1/forget', [0.25])")
    ActionChains(page.browser).click_and_hold(pad).pause(0.8).release().perform()
    page.until(lambda: pad.get_attribute("aria-label") == "Bank 5, stored")
    page.run("fugue.controls.set('/layer/1/forget', [1])")
    pad.click()
    page.until(lambda: pad.get_attribute("aria-label") == "Bank 5, stored, armed")
    pad.click()
    page.until(lambda: pad.get_attribute("aria-label") == "Bank 5, stored, fired")
    page.until(lambda: page.run("return fugue.controls.values.get('/layer/1/forget')") == 0.25)
    assert page.performance.values["/layer/1/forget"] == 0.25
    assert [path for path, _ in page.sets if path.startswith("/bank")] == [
        "/bank/5/store",
        "/bank/5/arm",
        "/bank/5/fire",
    ]
    page.run("fugue.controls.set('/ab', [0.5])")
    page.until(lambda: page.performance.values["/layer/1/forget"] == pytest.approx(0.625))
    pad.click()
    page.until(lambda: page.run("return document.querySelector(`[data-path='/ab']`).value") == "0")
    pad.click()
    page.until(lambda: pad.get_attribute("aria-label") == "Bank 5, stored, fired")
    page.open()  # someone who comes later
    assert page.find("[data-bank='5']").get_attribute("aria-label") == "Bank 5, stored"


def test_a_killed_server_leaves_a_loop_and_is_found_again(page: Page, tmp_path: Path) -> None:
    page.start()
    page.until(lambda: page.loudness() > 0.05)
    page.run("fugue.controls.set('/bank/1/store'); fugue.controls.set('/bank/1/arm')")
    page.until(lambda: page.find("[data-bank='1']").get_attribute("aria-label") == "Bank 1, stored, armed")
    time.sleep(2)  # for the loop, of what was heard
    page.stage.session.deaf = True
    page.run("fugue.controls.set('/layer/2/forget', [0.125])")
    page.until(lambda: page.run("return fugue.control.sent.size") == 1)
    page.stage.kill()
    page.until(lambda: page.text("#state") == "reconnecting")
    page.until(lambda: page.run("return fugue.sound.report.holding"))
    time.sleep(0.5)
    assert page.loudness() > 0.05
    page.run("fugue.controls.set('/layer/4/forget', [0.75])")
    page.keys(Keys.ESCAPE)
    page.until(lambda: page.loudness() < 0.001, "the loop cannot be hushed")
    with Stage(tmp_path / "takes", house(LAYERS), port=page.stage.port) as again:
        page.stage = again
        page.until(lambda: page.text("#state") == "armed")
        assert page.find("[data-bank='1']").get_attribute("aria-label") == "Bank 1, empty"
        page.until(lambda: page.performance.values["/layer/4/forget"] == 0.75, "the fader's place was lost")
        page.until(lambda: page.performance.values["/layer/2/forget"] == 0.125, "what was not answered was lost")
        assert "/hush" not in [path for path, _ in page.sets]
        page.click("[data-path='/play']")
        page.until(lambda: page.text("#state") == "playing")
        page.until(lambda: not page.run("return fugue.sound.report.holding"))
        page.until(lambda: page.loudness() > 0.05)
        assert page.run("return fugue.control.session") == again.session.people.name
        page.leave()


def test_a_page_that_was_away_hears_what_it_has_missed(page: Page) -> None:
    page.open()
    told = page.run("fugue.control.socket.close(); return fugue.control.rev")
    with page.stage.hand() as other:
        other.done("/layer/2/forget", 0.5)
        other.done("/grid/1", encoded([0, 51, *[255] * 510]))
    page.until(lambda: page.run("return fugue.control.open && fugue.control.rev") == told + 2)
    assert page.run("return Number(document.querySelector(`[data-path='/layer/2/forget']`).value)") == 0.5
    assert page.run("return [...fugue.cells().brushed.slice(0, 3)]") == pytest.approx([0, 0.2, 1])


def test_another_memory_brings_its_own_grid(page: Page) -> None:
    page.start()
    memory = Select(page.find("[data-path='/memory']"))
    memory.select_by_visible_text("small")
    page.until(lambda: page.run("return document.title") == "small · Fugue State")
    assert page.run("return fugue.grid.bands.map(({layer}) => layer.units)") == [*SMALL.values()]
    with page.stage.hand() as other:
        other.done("/memory", "fake")
    page.until(lambda: page.run("return document.title") == "fake · Fugue State")
    assert memory.first_selected_option.text == "fake"
    memory.select_by_visible_text("damaged")
    page.until(lambda: "what plays plays on" in page.text("#log"))
    assert memory.first_selected_option.text == "fake"
    page.until(lambda: page.loudness() > 0.05)


def test_a_take_is_recorded_fetched_and_replayed(page: Page) -> None:
    page.start()
    page.record()
    page.click("#takes-open")
    links = page.browser.find_elements(By.CSS_SELECTOR, "#takes-list a")
    assert [httpx.get(str(link.get_attribute("href"))).status_code for link in links] == [200, 200]
    before = page.performance
    page.click("[data-path='/replay'][data-value='take-001']")
    page.until(lambda: page.text("#state") == "replaying")
    page.click("#replay-end")
    page.until(lambda: page.text("#state") == "playing")
    assert page.performance is before
    assert page.find("[data-path='/replay'][data-value='take-001']").get_attribute("aria-pressed") == "false"


def test_a_take_is_rendered_finer_beside_what_plays(page: Page) -> None:
    page.start()
    page.record()
    page.click("#takes-open")
    page.click("[data-path='/render'][data-value='take-001']")
    page.until(lambda: page.run("return document.querySelector('#takes-list progress')?.value") == 0.25)
    (page.stage.session.tapes.folder / "go").touch()
    page.until(lambda: "take-001 rendered" in page.text("#log"))
    links = page.browser.find_elements(By.CSS_SELECTOR, "#takes-list a")
    assert [link.text for link in links] == ["toml", "flac", "wav"]
    assert not page.browser.find_elements(By.CSS_SELECTOR, "#takes-list progress, [data-path='/render']")


@pytest.mark.parametrize("settings", [{"host": "stage.test", "token": "a-token"}])
def test_where_no_sound_can_be_the_page_says_where_it_can(page: Page) -> None:
    page.browser.get(f"http://stage.test:{page.stage.port}/?token=a-token")
    page.until(lambda: page.run("return globalThis.fugue?.control.open"))
    assert page.find("#banner").is_displayed()
    assert not page.find("#start").is_displayed()
    [there] = [word for word in page.text("#banner").split() if word.startswith("http:")]
    assert there == f"http://localhost:{page.stage.port}/?token=a-token"
    page.browser.get(there)
    page.until(lambda: page.run("return globalThis.fugue?.control.open"))
    page.click("#start")
    page.until(lambda: page.run("return Boolean(fugue.sound.node)"))
    page.until(lambda: page.loudness() > 0.05)


def test_a_watcher_sees_and_cannot_set(page: Page) -> None:
    page.open("?view=1")
    page.click("#watch")
    assert page.text("#state") == "watching"
    page.keys(Keys.SPACE, "r")
    page.drag(page.cell(3), page.cell(9))
    with page.stage.hand() as other:
        other.done("/play", 1)
    page.until(lambda: page.run("return fugue.cells().glow[0] > 0.3"))
    assert page.sets == [("/play", [1])]


def test_a_controller_takes_over_where_the_value_stands(page: Page) -> None:
    page.open()
    page.run("fugue.controls.set('/layer/1/forget', [0.5])")
    page.run("for (const value of [0, 20, 40]) fugue.midi.take([0xb0, 20, value])")
    page.until(lambda: page.asked("/layer/1/forget") == 0.5)
    page.run("for (const value of [60, 80]) fugue.midi.take([0xb3, 20, value])")
    page.until(lambda: page.asked("/layer/1/forget") == pytest.approx(80 / 127))
    page.until(lambda: page.run("return performance.now() - fugue.midi.places.get('cc:20').moved > 400"))
    page.run("fugue.controls.follow('/layer/1/forget', 0); fugue.midi.take([0xb0, 20, 90])")
    page.run("fugue.midi.take([0xb0, 64, 127]); fugue.midi.take([0xb0, 120, 0])")
    assert page.asked("/freeze") == 1
    assert page.asked("/hush") is None
    assert page.asked("/layer/1/forget") == pytest.approx(80 / 127)
    page.run("fugue.midi.learning = '/volume'; fugue.midi.take([0xb0, 33, 1])")
    assert page.run("const found = fugue.midi.map['cc:33']; fugue.midi.reset(); return found") == "/volume"


def test_a_controller_that_is_turned_fast_keeps_its_fader(page: Page) -> None:
    page.start()
    page.wait_for("(async () => { for (let value = 0; value < 128; value++) { fugue.midi.take([0xb0, 20, value]);"
                  "await new Promise((go) => setTimeout(go, 4)); } done(); })()")  # fmt: skip
    page.until(lambda: page.performance.values["/layer/1/forget"] == 1)


def test_a_note_in_the_log_outlives_a_reload(page: Page) -> None:
    page.start()
    page.until(lambda: page.run("return fugue.cells().glow[0] > 0.3"))
    page.run("fugue.log.add(0, 'before')")
    with page.stage.hand() as other:
        other.done("/grid/3", encoded([0] * 7 + [255] * 121))
    page.until(lambda: "7 units of deconv3 forgotten" in page.text("#log"))
    page.run("const note = document.querySelector('#log input'); note.value = 'here';"
             "note.dispatchEvent(new Event('change', {bubbles: true}))")  # fmt: skip
    assert page.asked("/mark") == "here"
    page.open()
    page.until(lambda: page.run("return document.querySelector('#log input')?.value") == "here")
    page.run("document.querySelector('#log input').focus()")
    page.keys(Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    assert page.run("return [...document.querySelectorAll('#log input')].indexOf(document.activeElement)") == 1


def test_the_table_does_what_the_grid_does(page: Page) -> None:
    page.start()
    page.click("#table-open")
    page.run("const layer = document.querySelector('#table select'); layer.value = '4';"
             "layer.dispatchEvent(new Event('change'))")  # fmt: skip
    rows = page.browser.find_elements(By.CSS_SELECTOR, "#table tbody tr")
    assert len(rows) == LAYERS["deconv5"]
    rows[2].find_element(By.CSS_SELECTOR, "[data-kind=turn]").click()
    assert page.asked("/unit/5/3/strength") == 0
    rows[3].find_element(By.CSS_SELECTOR, "[data-kind=freeze]").click()
    assert page.asked("/unit/5/4/freeze") == 1
    page.until(lambda: rows[2].text.split()[1:3] == ["0", "%"])


@pytest.mark.parametrize("layers", [LAYERS, PARTS])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (768, 1024), (390, 844), (360, 740), (640, 360)])
def test_nothing_is_cut_off(page: Page, width: int, height: int) -> None:
    page.open("", width, height)
    wide, high = page.run("const all = document.scrollingElement; return [all.scrollWidth, all.scrollHeight]")
    assert wide <= width
    if width == 1280:
        assert high <= height
    outside = page.run("return [...document.querySelectorAll('button, input, select, p')].filter((one) => "
                       "one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)"
                       ".map((one) => one.outerHTML)")  # fmt: skip
    assert outside == []


PHONES = [(360, 740), (390, 844), (640, 360)]
# What a finger cannot hit, of what is there to be pressed or moved.
SMALL_TARGETS = """
    return [...document.querySelectorAll('button, input, select, a')].filter((one) => one.checkVisibility())
      .filter((one) => one.type !== 'checkbox' && !one.closest('[hidden]'))
      .map((one) => [one.getBoundingClientRect(), one.outerHTML.slice(0, 90)])
      .filter(([{ width, height }]) => Math.min(width, height) < 40).map(([{ width, height }, what]) =>
        `${width.toFixed(1)} x ${height.toFixed(1)}: ${what}`);
"""
# Choices of the orders that are wider than their menus.
CUT_ORDERS = """
    const pen = document.createElement('canvas').getContext('2d');
    return [...document.querySelectorAll('select.order')].flatMap((menu) => {
      const style = getComputedStyle(menu);
      pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
      const room = menu.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
      return [...menu.options].map((one) => one.text).filter((text) => pen.measureText(text).width > room);
    });
"""
# How far the text of each fader's name is from what is beside it.
BESIDE_NAMES = """
    return [...document.querySelectorAll('.fader')].filter((one) => one.checkVisibility()).map((fader) => {
      const words = document.createRange();
      words.selectNodeContents(fader.querySelector('.name'));
      return fader.querySelector('input').getBoundingClientRect().left - words.getBoundingClientRect().right;
    });
"""


@pytest.mark.parametrize(("width", "height"), PHONES)
def test_a_phone_shows_the_grid_first_and_the_faders_in_a_drawer(page: Page, width: int, height: int) -> None:
    page.open("", width, height)
    wide = "return [document.documentElement.scrollWidth, innerWidth]"
    assert page.run(wide) == [width, width]
    top, bottom = page.run("const { top, bottom } = document.querySelector('#grid').getBoundingClientRect();"
                           "return [top, bottom]")  # fmt: skip
    assert top < 0.6 * height
    assert bottom - top > 0.5 * height
    assert not page.find("#faders").is_displayed()
    button = page.find("#drawer button")
    assert button.get_attribute("aria-expanded") == "false"
    assert page.run(SMALL_TARGETS) == []
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    assert page.run("return document.activeElement.dataset.path") == "/forget"
    assert page.run(wide) == [width, width]
    assert page.run(SMALL_TARGETS) == []
    assert page.run(CUT_ORDERS) == []
    assert min(page.run(BESIDE_NAMES)) > 4
    page.find("[data-path='/layer/2/forget']").send_keys(Keys.END)
    assert page.asked("/layer/2/forget") == 1
    page.find("#drawer button").click()
    assert not page.find("#faders").is_displayed()
    assert page.run("return document.activeElement.textContent") == "Faders"


def test_the_drawer_is_opened_and_closed_by_keys(page: Page) -> None:
    page.open("", *PHONES[0])
    page.run("document.querySelector('#drawer button').focus()")
    page.keys(Keys.ENTER)
    assert page.find("#faders").is_displayed()
    page.keys(Keys.ARROW_UP)  # the focus is on the master fader
    page.until(lambda: page.performance.values["/forget"] > 0)
    page.keys(Keys.ESCAPE)
    assert not page.find("#faders").is_displayed()
    button = page.find("#drawer button")
    assert button.get_attribute("aria-expanded") == "false"
    assert page.run("return document.activeElement === arguments[0]", button)
    assert "/hush" not in [path for path, _ in page.sets]
    page.keys(Keys.ESCAPE)
    assert page.asked("/hush") is None
    button.click()
    page.resize()  # wide: the faders stand where they always do
    page.until(lambda: page.find("#drawer button").get_attribute("aria-expanded") == "false")
    assert page.find("#faders").is_displayed()
    assert not page.find("#drawer button").is_displayed()
    assert page.run("return document.querySelector('.fader input').ariaOrientation") == "vertical"


@pytest.mark.parametrize(("width", "height"), PHONES)
def test_the_dialogs_fit_on_a_phone(page: Page, width: int, height: int) -> None:
    page.start()
    page.record()
    page.resize(width, height)
    for name in ("takes", "help", "midi", "table", "key-chords"):
        page.run("document.querySelector(arguments[0]).click()", f"#{name}-open")
        page.until(lambda: page.run("return [document.documentElement.scrollWidth, innerWidth]") == [width, width])
        dialog = page.find(f"#{name}")
        assert page.run("return arguments[0].scrollWidth <= arguments[0].clientWidth", dialog)
        inside = page.run("return [...arguments[0].querySelectorAll('button, a, select')]"
                          ".filter((one) => one.checkVisibility())"
                          ".map((one) => one.getBoundingClientRect()).filter(({left, right, height, width}) =>"
                          " left < 0 || right > innerWidth || height < 40 || width < 40).length", dialog)  # fmt: skip
        assert inside == 0, name
        page.run("arguments[0].close()", dialog)


# Units that are not found where they are drawn.
MISPLACED = """
    const [first, last] = arguments;
    return Array.from({length: last - first}, (_, i) => first + i).filter((unit) => {
      const {x, y, pitch} = fugue.grid.cell(unit);
      return fugue.grid.unitAt(x + pitch / 2, y + pitch / 2) !== unit;
    });
"""


@pytest.mark.parametrize("layers", [LAYERS, {name: 2 * units for name, units in LAYERS.items()}])
def test_the_cells_of_any_memory_fit(page: Page, layers: Mapping[str, int]) -> None:
    page.open()
    height, bottom, least = page.run(
        "const last = fugue.grid.bands.at(-1);"
        "return [fugue.grid.root.clientHeight, last.y + last.rows * last.pitch, "
        "Math.min(...fugue.grid.bands.map((band) => band.pitch))]"
    )
    assert bottom <= height
    assert least >= 7
    assert page.run(MISPLACED, 0, sum(layers.values())) == []


def seen(page: Page, selector: str) -> list[str]:
    """Return the text of what can be seen of a selector."""
    found = page.browser.find_elements(By.CSS_SELECTOR, selector)
    return [" ".join(one.text.split()) for one in found if one.is_displayed()]


def part(number: int | str) -> str:
    """Return a selector of the switch to a part, from 0 on; empty: to all."""
    return f"#stage .parts [data-part='{number}']"


@pytest.mark.parametrize("layers", [PARTS])
def test_parts_are_shown_together_or_one_by_one(page: Page) -> None:
    page.open()
    page.until(lambda: seen(page, "#grid .head") == ["melody of melody 100 %", "the chords of the chords 100 %"])
    assert seen(page, ".fader .name") == [
        *("Forget", "melody", "deconv1", "deconv2"),
        *("the chords", "deconv1", "deconv2"),
    ]
    assert "melody7" in seen(page, "#chords button")
    assert "the chords7" in seen(page, "#chords button")
    assert page.run(MISPLACED, 0, 160) == []
    sides = page.run("return [0, 95, 96, 159].map((unit) => fugue.grid.cell(unit).x)")
    assert max(sides[:2]) < min(sides[2:])
    page.click(part(1))
    assert seen(page, "#grid .head") == []
    assert seen(page, ".fader .name") == ["Forget", "the chords", "deconv1", "deconv2"]
    assert "melody7" not in seen(page, "#chords button")
    assert page.run(MISPLACED, CHORDS_FROM, 160) == []
    page.click("#start")
    page.drag(page.cell(CHORDS_FROM + 2), page.cell(CHORDS_FROM + 4))
    page.until(lambda: page.forgotten == [98, 99, 100])
    page.run("document.querySelector('#grid .field').focus()")
    page.keys(Keys.HOME, Keys.PAGE_UP, Keys.ARROW_LEFT)  # there is nothing before it
    assert page.text("#active-unit") == "the chords/deconv1, unit 1, remembered"
    page.click(part(""))
    page.drag(page.cell(40), page.cell(40))
    page.until(lambda: page.forgotten == [40, 98, 99, 100])


@pytest.mark.parametrize("layers", [PARTS])
def test_a_part_has_a_fader_and_a_recall(page: Page) -> None:
    page.start()
    page.click(part(1))
    page.find("[data-path='/part/2/forget']").send_keys(Keys.END)
    assert page.asked("/part/2/forget") == 1
    page.until(lambda: page.performance.strengths[CHORDS_FROM:].max() == 0)
    assert page.performance.strengths[:CHORDS_FROM].min() == 1
    page.until(lambda: seen(page, ".parts button") == ["All", "melody 100 %", "the chords 0 %"])
    page.until(lambda: page.text("#remembered b") == "60")
    page.run("fugue.controls.set('/layer/4/forget', [1]); fugue.controls.set('/layer/1/forget', [1])")
    page.until(lambda: page.performance.strengths[:64].max() == 0)
    page.click("[data-path='/part/2/recall']")
    page.until(lambda: page.performance.strengths[CHORDS_FROM:].min() == 1)
    assert page.performance.strengths[:64].max() == 0
    page.until(lambda: "the chords recalled" in page.text("#log"))
    page.until(lambda: page.find("[data-path='/part/2/forget']").get_attribute("value") == "0")
    page.chord(Keys.CONTROL, "z")
    page.until(lambda: page.performance.strengths[CHORDS_FROM:].max() == 0)


@pytest.mark.parametrize("layers", [PARTS])
def test_a_phone_shows_one_part_at_a_time(page: Page) -> None:
    page.open("", *PHONES[0])
    page.until(lambda: seen(page, ".parts button") == ["melody 100 %", "the chords 100 %"])
    assert page.run(MISPLACED, 0, CHORDS_FROM) == []
    assert page.run(SMALL_TARGETS) == []
    page.click("#drawer button")
    page.click("#hands .parts [data-part='1']")
    assert seen(page, "#hands .name") == ["Forget", "the chords", "deconv1", "deconv2"]
    assert page.run(SMALL_TARGETS) == []
    assert min(page.run(BESIDE_NAMES)) > 4
    assert page.run("return fugue.grid.bands.map(({ layer }) => layer.start)") == [96, 144]


def test_one_part_needs_no_switch(page: Page) -> None:
    page.open()
    assert seen(page, ".parts, .parts button, .lead, #grid .head") == []
    assert page.run("return document.querySelectorAll(\"[data-path^='/part']\").length") == 0


def test_whatever_happens_a_layer_does_not_flash(page: Page) -> None:
    page.open()
    steepest = page.wait_for("""
        import('/static/cells.js').then(({ Cells }) => {
          const all = [0, 255].map((value) => new Uint8Array(64).fill(value));
          const cells = new Cells([{ name: 'one', number: 0, start: 0, units: 64, tone: 'layer-1' }], all[1], all[1]);
          const light = () => cells.size.reduce((sum, size, u) => sum + 0.64 * (size * cells.glow[u] ** 2.2
            * cells.lights[0] + cells.flare[u] ** 2.2 * cells.flareLight), 0) / 64;
          let steepest = 0;
          for (let i = 0; i < 240; i++) {
            if (i % 6 === 0) cells.hear(all[(i / 6) % 2], all[(i / 6) % 2]);
            const before = light();
            cells.step(1 / 60, 0);
            steepest = Math.max(steepest, 60 * Math.abs(light() - before));
          }
          done(steepest);
        });
    """)
    assert 0.1 < steepest <= 0.51


def test_two_starts_at_once_give_one_sound(page: Page) -> None:
    page.open()
    page.keys("f")  # a hand is there
    page.run("const start = document.querySelector('#start'); start.click(); start.click(); fugue.sound.start()")
    page.until(lambda: page.run("return Boolean(fugue.sound.node)"))
    page.wait_for("fugue.sound.start().then(done)")
    page.until(lambda: page.loudness() > 0.05)
    assert len(page.stage.session.people.listeners) == 1
    page.until(lambda: page.loudness() < 0.08)


def test_sound_that_cannot_be_fetched_is_opened_by_a_later_press(page: Page) -> None:
    page.open()
    page.run("globalThis.RightWorker = Worker; Worker = class extends RightWorker {"
             "constructor(from, how) { super(new URL('/static/nothing.js', from), how); } }")  # fmt: skip
    page.click("#start")
    page.until(lambda: "Sound cannot be opened: the server does not answer" in page.text("#start-note"))
    page.run("Worker = RightWorker")
    page.click("#start")
    page.until(lambda: page.run("return Boolean(fugue.sound.node)"))
    page.until(lambda: page.loudness() > 0.05)


def test_sound_that_the_browser_pauses_goes_on(page: Page) -> None:
    page.start()
    page.until(lambda: page.loudness() > 0.05)
    page.run("fugue.sound.context.suspend()")
    page.until(lambda: page.run("return fugue.sound.context.state") == "running")
    page.until(lambda: page.loudness() > 0.05)


@pytest.mark.parametrize("wakes", ["visibilitychange", "pageshow", "key", "press"])
def test_sound_that_stays_paused_says_so_and_wakes(page: Page, wakes: str) -> None:
    page.start()
    page.until(lambda: page.text("#state") == "playing")
    page.run("fugue.sound.context.resume = () => Promise.reject(new Error()); fugue.sound.context.suspend()")
    page.until(lambda: page.text("#state") == "sound paused")
    page.until(lambda: "The browser has paused the sound" in page.text("#notice"))
    assert "sound paused by the browser" in page.text("#status")
    page.run("delete fugue.sound.context.resume")
    if wakes == "key":
        page.keys("f")
    elif wakes == "press":
        page.drag(page.middle("#log-head"), page.middle("#log-head"))
    else:
        page.run("(arguments[0] === 'pageshow' ? window : document).dispatchEvent(new Event(arguments[0], "
                 "{bubbles: true}))", wakes)  # fmt: skip
    page.until(lambda: page.text("#state") == "playing")
    page.until(lambda: page.run("return fugue.sound.context.state") == "running")


def cut(page: Page) -> None:
    """Let the page lose the server until `mend`."""
    page.run("fugue.right = fugue.control.address; fugue.control.address += '/nowhere';"
             "fugue.control.socket.close()")  # fmt: skip
    page.until(lambda: not page.run("return fugue.control.open"))


def mend(page: Page) -> None:
    page.run("fugue.control.address = fugue.right; fugue.control.wait = 50")
    page.until(lambda: page.run("return fugue.control.open"))
    page.until(lambda: page.run("return fugue.control.sent.size + fugue.control.queue.size") == 0)


@pytest.mark.parametrize(
    ("path", "args", "called"),
    [
        ("/bank/3/fire", [2], "Fire bank 3"),
        ("/bank/3/store", [], "Store bank 3"),
        ("/bank/3/arm", [], "Arm bank 3"),
        ("/replay", ["take-001"], "Replay"),
        ("/render", ["take-001"], "Render"),
        ("/memory", ["small"], "Memory"),
        ("/mark", ["here"], "Mark"),
        ("/rec/start", [], "Record"),
        ("/rec/stop", [], "Stop"),
        ("/undo", [], "Undo"),
        ("/redo", [], "Redo"),
        ("/recall", [], "Recall all"),
        ("/hush", [], "the server was not hushed"),
        ("/play", [1], "Play"),
        ("/freeze", [1], "Freeze"),
        ("/chord", ["Am"], "Chord"),
        ("/seed", [5], "Seed"),
        ("/layer/1/lock", [1], "Lock layer 1"),
        ("/layer/1/order", ["random"], "Order layer 1"),
        ("/unit/1/1/freeze", [1], "Freeze"),
    ],
)
def test_what_is_pressed_without_a_connection_is_refused_for_good(
    page: Page, path: str, args: list[Any], called: str
) -> None:
    page.open()
    before = page.run("return fugue.controls.values.get(arguments[0]) ?? null", path)
    cut(page)
    page.run("fugue.controls.set(arguments[0], arguments[1])", path, args)
    page.until(lambda: called in page.text("#notice"))
    assert page.text("#notice").startswith("No connection: ")
    assert page.text("#log").count(called) == 1
    assert page.run("return fugue.controls.values.get(arguments[0]) ?? null", path) == before
    page.run("fugue.controls.set('/layer/2/forget', [0.25]); fugue.controls.set('/layer/2/forget', [0.5])")
    mend(page)
    assert page.sets == [("/layer/2/forget", [0.5])]


def test_a_choice_that_is_refused_is_shown_as_it_was(page: Page) -> None:
    page.open()
    cut(page)
    Select(page.find("[data-path='/memory']")).select_by_visible_text("small")
    assert page.run("return document.querySelector(`[data-path='/memory']`).value") == "fake"
    page.find("[data-path='/seed']").send_keys("7", Keys.ENTER)
    assert page.run("return document.querySelector(`[data-path='/seed']`).value") == "0"
    page.click("[data-path='/freeze']")
    assert page.find("[data-path='/freeze']").get_attribute("aria-pressed") == "false"
    page.click("#watch")
    page.click("[data-brush=freeze]")
    page.drag(page.cell(600), page.cell(604))
    assert page.run("return fugue.cells().frozen.every((one) => one === 0)")
    assert page.text("#log").count("“Freeze” was not done") <= 2  # one line for many units
    mend(page)
    assert page.sets == []


def test_a_pedal_that_is_let_go_without_a_connection_does_not_stay_down(page: Page) -> None:
    page.open()
    page.run("fugue.midi.take([0xb0, 64, 127])")
    page.until(lambda: page.performance.values["/freeze"] == 1)
    cut(page)
    page.run("fugue.midi.take([0xb0, 64, 0])")
    mend(page)
    page.until(lambda: page.performance.values["/freeze"] == 0)


def test_what_was_under_way_when_the_connection_broke_is_not_sent_again(page: Page) -> None:
    page.open()
    page.click("#watch")  # so that Play does not wait for the sound
    page.stage.session.deaf = True
    page.run("for (const [path, ...args] of [['/bank/3/store'], ['/mark', 'here'], ['/play', 1], "
             "['/layer/2/forget', 0.5]]) fugue.controls.set(path, args)")  # fmt: skip
    page.until(lambda: page.run("return fugue.control.sent.size") == 4)
    cut(page)
    page.stage.session.deaf = False
    for name in ("Store bank 3", "Mark", "Play"):
        assert f"“{name}” may not have been done" in page.text("#log")
    mend(page)
    assert page.sets == [("/layer/2/forget", [0.5])]
    assert page.run("return fugue.controls.values.get('/play')") == 0
    page.run("fugue.control.socket.close()")
    page.until(lambda: page.run("return fugue.control.open"))
    assert page.sets == [("/layer/2/forget", [0.5])]


def test_what_is_pressed_twice_at_once_is_done_twice(page: Page) -> None:
    page.open()
    page.run("for (const text of ['one', 'two']) fugue.controls.set('/mark', [text]);"
             "for (const value of [0.1, 0.2, 0.3]) fugue.controls.set('/layer/2/forget', [value]);"
             "for (let i = 0; i < 2; i++) fugue.controls.set('/bank/1/store')")  # fmt: skip
    page.until(lambda: page.run("return fugue.control.sent.size + fugue.control.queue.size") == 0)
    assert [args for path, args in page.sets if path == "/mark"] == [["one"], ["two"]]
    assert [path for path, _ in page.sets].count("/bank/1/store") == 2
    assert [args for path, args in page.sets if path == "/layer/2/forget"] == [[0.3]]


def test_an_armed_bank_that_is_pressed_twice_fires_once(page: Page) -> None:
    page.start()
    page.run("fugue.controls.set('/bank/5/store'); fugue.controls.set('/bank/5/arm')")
    page.until(lambda: page.run("return fugue.banks.armed") == 5)
    page.run("const pad = document.querySelector(`[data-bank='5']`); pad.click(); pad.click(); fugue.banks.fire()")
    page.until(lambda: page.find("[data-bank='5']").get_attribute("aria-label") == "Bank 5, stored, fired")
    page.until(lambda: page.run("return fugue.control.sent.size + fugue.control.queue.size") == 0)
    assert [path for path, _ in page.sets].count("/bank/5/fire") == 1
    page.click("[data-bank='5']")
    page.until(lambda: page.run("return fugue.banks.armed") == 5)
    page.click("[data-bank='5']")
    page.until(lambda: [path for path, _ in page.sets].count("/bank/5/fire") == 2)


def test_what_comes_too_fast_is_said_or_sent_again(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.open()
    left = [3]

    def full(_: Any, client: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise RefusedError("too_fast", "too fast")

    monkeypatch.setattr(People, "let_through", full)
    page.run("for (const [path, ...args] of [['/layer/1/forget', 0.5], ['/layer/2/forget', 0.5], ['/undo']])"
             "fugue.controls.set(path, args); fugue.controls.set('/layer/1/forget', [0.75])")  # fmt: skip
    page.until(lambda: "Too much at once: “Undo” was not done. Press it again." in page.text("#notice"))
    page.until(lambda: page.performance.values["/layer/2/forget"] == 0.5)
    page.until(lambda: page.performance.values["/layer/1/forget"] == 0.75)
    assert [path for path, _ in page.sets].count("/undo") <= 1


def test_what_the_server_refuses_is_shown_as_it_is(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.open()

    def refuse(*_: Any) -> None:
        raise RefusedError("not_now", "a take is replaying; end it first")

    monkeypatch.setattr(Wishes, "do", refuse)
    page.click("[data-path='/freeze']")
    page.until(lambda: page.text("#notice") == "a take is replaying; end it first")
    assert page.find("[data-path='/freeze']").get_attribute("aria-pressed") == "false"


# Pads and a synthesizer with a way in and out, a port that gives back what it gets, and one that only sounds.
MIDI = """
    fugue.out = { pads: [], synth: [], loop: [], other: [] };
    const port = (name, more) => ({ name, manufacturer: name, state: 'connected', ...more });
    const inputs = new Map(['pads', 'synth', 'loop'].map((name) => [`${name} in`, port(name)]));
    const outputs = new Map(['other', 'loop', 'synth', 'pads'].map((name) => [name, port(`${name} MIDI Out`, {
      manufacturer: name, send: (data) => {
        fugue.out[name].push([...data]);
        if (name === 'loop') setTimeout(() => inputs.get('loop in').onmidimessage({ data: Uint8Array.from(data) }), 2);
      } })]));
    fugue.opened = 0;
    navigator.requestMIDIAccess = async () => { fugue.opened += 1; return { inputs, outputs }; };
    fugue.play = (name, ...data) => inputs.get(`${name} in`).onmidimessage({ data: Uint8Array.from(data) });
"""


def test_lights_go_to_what_plays_and_an_echo_plays_nothing(page: Page) -> None:
    page.start()
    page.run(MIDI)
    page.wait_for("Promise.all([fugue.midi.open(), fugue.midi.open()]).then(done)")
    assert page.run("return fugue.opened") == 1
    page.run("fugue.controls.set('/bank/1/store')")
    page.until(lambda: page.run("return fugue.midi.lights.get('note:36') > 0"))
    page.run("fugue.play('synth', 0x90, 90, 100); fugue.play('synth', 0xb0, 1, 0); fugue.play('loop', 0x90, 36, 99)")
    page.until(lambda: [0x90, 36, 38] in page.run("return fugue.out.loop"))
    page.run("fugue.play('pads', 0x90, 36, 100)")
    page.until(lambda: [0x90, 36, 38] in page.run("return fugue.out.pads"))
    page.run("fugue.controls.set('/bank/1/arm'); fugue.controls.set('/freeze', [1])")
    page.until(lambda: [0x90, 36, 127] in page.run("return fugue.out.loop"))
    page.run("fugue.controls.set('/volume', [0.5]); fugue.controls.set('/mark', ['end'])")
    page.until(lambda: page.asked("/mark") == "end")
    page.until(lambda: page.run("return fugue.control.sent.size + fugue.control.queue.size") == 0)
    page.wait_for("setTimeout(done, 300)")  # for several rounds of what would go round
    assert [path for path, _ in page.sets].count("/bank/1/fire") == 2
    assert page.run("return fugue.out.other") == []
    # Nothing that a synthesizer would play, or be held by.
    assert {tuple(message[:2]) for message in page.run("return fugue.out.synth")} <= {
        (0xB0, number) for number in (1, *range(20, 25))
    }
    page.run("dispatchEvent(new PageTransitionEvent('pagehide'))")
    for name in ("pads", "loop"):
        sounding = set()
        for status, key, level in page.run("return fugue.out[arguments[0]]", name):
            if status == 0x90 and level:
                sounding.add(key)
            elif status in {0x80, 0x90}:
                sounding.discard(key)
        assert not sounding


def test_lights_can_be_turned_off_and_a_motor_goes_back(page: Page) -> None:
    page.open()
    page.run(MIDI)
    page.wait_for("fugue.midi.open().then(done)")
    page.run("fugue.play('pads', 0xb0, 20, 0)")
    page.until(lambda: page.run("return fugue.control.sent.size") == 0)
    light = "return fugue.out.pads.filter(([status, key]) => status === 0xb0 && key === 20).map((one) => one[2])"
    page.until(lambda: page.run("return performance.now() - fugue.midi.places.get('cc:20').moved > 400"))
    with page.stage.hand() as other:
        other.done("/layer/1/forget", 0.5)
        page.until(lambda: page.run(light) == [64])
        page.run("fugue.play('pads', 0xb0, 20, 100)")
        page.run("fugue.play('pads', 0xb0, 20, 64); fugue.play('pads', 0xb0, 20, 90)")
        page.until(lambda: page.performance.values["/layer/1/forget"] == pytest.approx(90 / 127))
        page.until(lambda: page.run("return performance.now() - fugue.midi.places.get('cc:20').moved > 400"))
        other.done("/layer/1/forget", 0.5)
        page.until(lambda: page.run(light) == [64, 64])
        page.run("fugue.midi.light(false)")
        other.done("/layer/1/forget", 0.1)
        page.until(lambda: page.run("return fugue.controls.values.get('/layer/1/forget')") == 0.1)
        page.wait_for("setTimeout(done, 100)")
        assert page.run(light) == [64, 64]


@pytest.mark.parametrize(
    "blocked",
    [
        "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, {get() {throw 1}})",
        "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { value: null });",
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };",
        "Storage.prototype.getItem = () => '{damaged';",
        "Storage.prototype.getItem = () => '[1, null]';",
    ],
)
def test_the_page_works_without_what_the_browser_keeps(page: Page, blocked: str) -> None:
    added = page.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": blocked})
    try:
        page.start()
        page.until(lambda: page.loudness() > 0.05)
        page.run("fugue.log.add(0, 'here'); fugue.midi.reset()")
        page.run("fugue.midi.take([0xb0, 20, 0]); fugue.midi.take([0xb0, 20, 64])")
        page.until(lambda: page.performance.values["/layer/1/forget"] > 0.4)
        assert ("keeps nothing for this page" in page.text("#log")) == ("getItem" not in blocked)
    finally:
        page.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


# The worklet alone, on a clock of its own: blocks of a sine come as they would, and what it plays comes back.
WORKLET = """
    const [plan, seconds, device, hertz] = arguments;
    (async () => {
      const context = new OfflineAudioContext(1, seconds * device, device);
      await context.audioWorklet.addModule('/static/worklet.js');
      const node = new AudioWorkletNode(context, 'player', { numberOfInputs: 0, outputChannelCount: [2] });
      const { port1, port2 } = new MessageChannel();
      node.port.postMessage({ feed: port1 }, [port1]);
      node.connect(context.destination);
      let report = null;
      node.port.onmessage = ({ data }) => (report = data);
      const rate = %(rate)d, block = %(block)d;
      for (const { at, first, gone } of plan) {
        context.suspend(at).then(() => {
          if (gone) port2.postMessage({ gone: true });
          else {
            const samples = new Float32Array(2 * block);
            for (let i = 0; i < block; i++) {
              samples[2 * i] = samples[2 * i + 1] = 0.5 * Math.sin(2 * Math.PI * hertz * (first + i) / rate);
            }
            port2.postMessage({ first, rate, samples });
          }
          setTimeout(() => context.resume(), 4);
        });
      }
      const sound = await context.startRendering();
      await new Promise((go) => setTimeout(go, 50));
      done([[...sound.getChannelData(0)], report]);
    })();
""" % {"rate": RATE, "block": BLOCK}  # noqa: UP031 - braces are the script's


def played(
    page: Page, plan: list[dict[str, float]], seconds: float, device: int, hertz: float = TONE_HZ
) -> tuple[list[float], dict[str, Any]]:
    page.open()
    sound, report = page.wait_for(WORKLET, plan, seconds, device, hertz)
    return sound, report


def blocks(start_s: float, end_s: float) -> list[dict[str, float]]:
    """Blocks as a clock makes them, beginning with three at once."""
    count = int((end_s - start_s) * RATE / BLOCK)
    times = [start_s + max(0, i - 2) * BLOCK / RATE for i in range(count)]
    return [{"at": 0.003 + 0.003 * i + when, "first": i * BLOCK} for i, when in enumerate(times[:3])] + [
        {"at": 0.012 + when, "first": (i + 3) * BLOCK} for i, when in enumerate(times[3:])
    ]


def step(sound: list[float]) -> float:
    return float(np.abs(np.diff(sound)).max())


@pytest.mark.parametrize("device", [44_100, 48_000, 96_000])
def test_the_worklet_plays_a_pure_tone_at_the_devices_rate(page: Page, device: int) -> None:
    sound, report = played(page, blocks(0, 0.9), 0.8, device, 5000.0)
    turning = hilbert(np.array(sound[int(0.2 * device) : int(0.78 * device)]))
    edge = int(0.1 * device)
    level, phase = np.abs(turning)[edge:-edge], np.unwrap(np.angle(turning))[edge:-edge]
    assert level == pytest.approx(0.5, rel=0.002)
    # While the ring settles the pace may be a little off, and change slowly.
    times = np.linspace(-1, 1, len(phase))
    pace = np.polynomial.Polynomial.fit(times, phase, 5)
    assert np.abs(phase - pace(times)).max() < 0.002
    frequency = (phase[-1] - phase[0]) / (2 * np.pi * (len(phase) - 1) / device)
    assert frequency == pytest.approx(5000, rel=0.002)
    assert report["underruns"] == 0
    assert report["rate"] == RATE


def test_missing_sound_is_faded_and_counted(page: Page) -> None:
    plan = [one for one in blocks(0, 1.2) if not 0.4 < one["at"] < 0.6]
    sound, report = played(page, plan, 1.1, 48_000)
    assert report["underruns"] == 1
    assert report["cushion_ms"] == pytest.approx(75)
    assert max(map(abs, sound[26_000:27_000])) == 0.0
    assert max(map(abs, sound[-4000:])) > 0.4
    # 48 samples of fade add at most 1/48 of the level to the tone's own steps.
    assert step(sound) < 2 * 0.5 * 6.2832 * TONE_HZ / 48_000


def test_when_the_server_is_gone_the_sound_goes_on_and_comes_back(page: Page) -> None:
    plan = blocks(0, 1.9) + [{"at": 1.84, "gone": 1}] + [
        {"at": 4.5 + 0.0232 * i, "first": 500_000 + i * BLOCK} for i in range(60)
    ]  # fmt: skip
    sound, report = played(page, plan, 5.6, 48_000)
    assert report["underruns"] == 0
    assert not report["holding"]
    assert report["sample"] > 500_000
    windows = [max(map(abs, sound[i : i + 480])) for i in range(int(0.3 * 48_000), len(sound) - 480, 480)]
    assert min(windows) > 0.15
    assert step(sound) < 2 * 0.5 * 6.2832 * TONE_HZ / 48_000


@pytest.mark.parametrize("layers", [LAYERS, PARTS])
def test_no_serious_barrier_is_found(page: Page) -> None:
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    page.start()
    page.click("#record")
    page.until(lambda: page.text("#record").startswith("Stop"))
    page.click("#record")
    page.until(lambda: "take-001 kept" in page.text("#log"))
    page.run("for (const path of ['/freeze', '/layer/1/freeze', '/layer/2/lock']) fugue.controls.set(path, [1]);"
             "fugue.controls.set('/rec/start'); fugue.controls.set('/bank/1/store')")  # fmt: skip
    page.until(lambda: page.text("#record").startswith("Stop"))
    page.run("document.querySelector('#piano-open').click()")
    page.run(axe)
    for opened in (None, "#help", "#midi", "#takes", "#key-chords"):
        if opened:
            page.run("document.querySelector(arguments[0]).showModal()", opened)
        found = page.wait_for(
            "axe.run({ rules: { 'color-contrast': { enabled: false } } }).then(({ violations }) => done(violations))"
        )
        serious = [one for one in found if one["impact"] in {"serious", "critical"}]
        bad = [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in serious]
        assert not bad, json.dumps(bad, indent=1)
        assert page.run(FAINT) == []
        if opened:
            page.run("document.querySelector(arguments[0]).close()", opened)


def test_the_page_asks_for_nothing_from_elsewhere(page: Page) -> None:
    page.start()
    asked = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert asked
    assert [one for one in asked if not one.startswith(page.address)] == []
