"""The page in a real browser, against a stand-in for the server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import hilbert
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By

from tests.live_fake import BLOCK, LAYERS, RATE, Fake, Served

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="no browser: Debian's chromium and chromium-driver are needed"
)
PATIENCE_S = 20.0
TONE_HZ = 441.0
# A microphone in the audio graph.
LISTEN = """
    if (!fugue.ear) {
      fugue.ear = fugue.sound.context.createAnalyser();
      fugue.ear.fftSize = 8192;
      fugue.sound.node.connect(fugue.ear);
    }
    const heard = new Float32Array(8192);
    fugue.ear.getFloatTimeDomainData(heard);
    return Math.sqrt(heard.reduce((sum, x) => sum + x * x, 0) / heard.length);
"""


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

    def __init__(self, browser: Chrome, served: Served) -> None:
        self.browser, self.served, self.fake = browser, served, served.fake

    def open(self, query: str = "", width: int = 1280, height: int = 800) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.browser.get(self.served.address + query)
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
        self.until(lambda: any(one == path for one, _ in self.fake.sets), f"{path} was not set: {self.fake.sets}")
        args = [args for one, args in self.fake.sets if one == path][-1]
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


@pytest.fixture
def page(browser: Chrome) -> Iterator[Page]:
    served = Served(Fake())
    yield Page(browser, served)
    browser.get("about:blank")
    served.stop()


@pytest.mark.parametrize("form", [0, 1])
def test_sound_waits_for_a_press_and_then_plays(page: Page, form: int) -> None:
    page.fake.form = form
    page.open()
    page.run("document.querySelector('#start').click()")  # by no hand
    page.until(lambda: "keeps sound back" in page.text("#start-note"))
    assert page.find("#veil").is_displayed()
    page.click("#start")
    assert page.asked("/play") == 1
    page.until(lambda: page.run("return Boolean(fugue.sound.node)"))
    page.until(lambda: 0.05 < page.loudness() < 0.2)
    assert not page.find("#veil").is_displayed()
    page.until(lambda: page.text("#state") == "playing")


def test_a_fader_is_sent_and_changes_the_sound(page: Page) -> None:
    page.start()
    page.until(lambda: page.loudness() > 0.05)
    fader = page.find("[data-path='/forget']")
    box = fader.rect
    middle = box["x"] + box["width"] / 2
    page.drag((middle, box["y"] + box["height"] - 12), (middle, box["y"] + 100), (middle, box["y"] + 4))
    page.until(lambda: page.asked("/forget") == 1)
    page.until(lambda: page.loudness() < 0.001, "it still sounds")
    page.until(lambda: page.text("#remembered b") == "0")
    fader.send_keys(Keys.ARROW_DOWN)
    page.until(lambda: page.asked("/forget") < 1)


def test_what_others_move_is_shown_but_not_what_a_hand_holds(page: Page) -> None:
    page.open()
    page.run("fugue.control.dispatchEvent(new CustomEvent('patch', {detail: {at_sample: 0, changes: "
             "{'/layer/2/forget': 0.5}}}))")  # fmt: skip
    fader = "return Number(document.querySelector(`[data-path='/layer/2/forget']`).value)"
    assert page.run(fader) == 0.5
    page.find("[data-path='/layer/2/forget']").send_keys(Keys.ARROW_UP)
    page.run("fugue.control.dispatchEvent(new CustomEvent('patch', {detail: {at_sample: 0, changes: "
             "{'/layer/2/forget': 0.1}}}))")  # fmt: skip
    assert page.run(fader) == pytest.approx(0.505)


def test_the_grid_paints_what_is_heard(page: Page) -> None:
    page.start()
    page.until(lambda: page.run("return fugue.cells().glow[0] > 0.3"))
    layer = LAYERS["deconv1"]
    page.fake.brushed[1][:2] = 0.0
    page.fake.brushed[1][2] = 0.5
    page.until(lambda: page.run("return fugue.cells().size[0] < 0.02 && fugue.cells().flare[0] < 0.01"))
    page.until(lambda: sum(page.pixels(0)) < sum(page.pixels(layer - 1)))
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
    page.until(lambda: len([path for path, _ in page.fake.sets if path.endswith("strength")]) == 5)
    assert [(p, a) for p, a in page.fake.sets if p.endswith("strength")] == [
        (f"/unit/2/{unit - 511}/strength", [0]) for unit in range(600, 605)
    ]
    assert list(page.fake.brushed[2][88:93]) == [0.0] * 5
    page.click("[data-brush=recall]")
    page.drag(page.cell(602), page.cell(602))
    page.until(lambda: page.fake.brushed[2][90] == 1.0)
    page.click("[data-brush=freeze]")
    page.drag(page.cell(602), page.cell(603))
    page.until(lambda: list(page.fake.frozen[2][89:94]) == [0, 1, 1, 0, 0])
    page.drag(page.cell(602), page.cell(602))
    page.until(lambda: page.fake.frozen[2][90] == 0)


def test_what_is_asked_for_is_hatched_until_it_is_heard(page: Page) -> None:
    page.start()
    due = "return fugue.cells().due[0]"
    page.run("fugue.control.open = false; fugue.brush.apply([0], 'forget', 1, true)")
    # The server has not heard of it.
    assert page.run("return fugue.cells().due[0] === Infinity")
    assert "not heard yet" in page.run("fugue.brush.point(0); return fugue.brush.active.textContent")
    page.run("fugue.control.open = true")
    page.until(lambda: page.run(due) == 0)
    assert page.run("return fugue.cells().heard[0]") == 0


def test_played_by_keys_alone(page: Page) -> None:
    page.open()
    page.run("document.querySelector('#start').focus()")
    page.keys(Keys.ENTER)
    page.until(lambda: page.fake.values["/play"] == 1)
    page.run("document.activeElement.blur()")
    page.keys(Keys.SPACE)
    page.until(lambda: page.fake.values["/play"] == 0)
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
    page.until(lambda: 2 in page.fake.banks)
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
    page.until(lambda: page.fake.values["/freeze"] == 1)
    page.until(lambda: page.text("#state") == "frozen")
    page.keys(Keys.SPACE)
    page.until(lambda: page.fake.values["/play"] == 0)
    assert page.fake.values["/freeze"] == 1


def test_undo_and_redo(page: Page) -> None:
    page.open()
    page.find("[data-path='/layer/3/forget']").send_keys(Keys.END)
    page.until(lambda: page.fake.values["/layer/3/forget"] == 1)
    page.run("document.activeElement.blur()")
    page.chord(Keys.CONTROL, "z")
    fader = "return Number(document.querySelector(`[data-path='/layer/3/forget']`).value)"
    page.until(lambda: page.fake.values["/layer/3/forget"] == 0)
    page.until(lambda: page.run(fader) == 0)
    page.click("[data-path='/redo']")
    page.until(lambda: page.run(fader) == 1)


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
    assert [path for path, _ in page.fake.sets if path.startswith("/bank")] == [
        "/bank/5/store",
        "/bank/5/arm",
        "/bank/5/fire",
    ]


def test_a_killed_server_leaves_a_loop_and_is_found_again(page: Page) -> None:
    page.start()
    page.until(lambda: page.loudness() > 0.05)
    time.sleep(2)  # for the loop, of what was heard
    page.fake.deaf = True
    page.run("fugue.controls.set('/layer/2/forget', [0.125])")
    time.sleep(0.2)
    page.served.stop()
    page.fake.deaf = False
    page.until(lambda: page.text("#state") == "reconnecting")
    page.until(lambda: page.run("return fugue.sound.report.holding"))
    time.sleep(0.5)
    assert page.loudness() > 0.05
    page.run("fugue.controls.set('/layer/4/forget', [0.75]); fugue.controls.set('/hush')")
    page.served.start()
    page.until(lambda: page.text("#state") == "playing")
    page.until(lambda: not page.run("return fugue.sound.report.holding"))
    page.until(lambda: page.fake.values["/layer/4/forget"] == 0.75, "the fader's place was lost")
    page.until(lambda: page.fake.values["/layer/2/forget"] == 0.125, "what was not answered was lost")
    assert "/hush" not in [path for path, _ in page.fake.sets]
    assert page.loudness() > 0.05
    assert page.run("return fugue.control.rev") is not None


def test_where_no_sound_can_be_the_page_says_where_it_can(page: Page) -> None:
    page.browser.get(page.served.address.replace("127.0.0.1", "stage.test"))
    page.until(lambda: page.run("return globalThis.fugue?.control.open"))
    assert f"http://localhost:{page.served.port}" in page.text("#banner")
    assert page.find("#banner").is_displayed()
    assert not page.find("#start").is_displayed()


def test_a_watcher_sees_and_cannot_set(page: Page) -> None:
    page.open("?view=1")
    page.click("#watch")
    assert page.text("#state") == "watching"
    page.keys(Keys.SPACE, "r")
    page.drag(page.cell(3), page.cell(9))
    page.fake.values["/play"] = 1
    page.until(lambda: page.run("return fugue.cells().glow[0] > 0.3"))
    assert page.fake.sets == []


def test_a_controller_takes_over_where_the_value_stands(page: Page) -> None:
    page.open()
    page.run("fugue.controls.set('/layer/1/forget', [0.5])")
    page.run("for (const value of [0, 20, 40]) fugue.midi.take([0xb0, 20, value])")
    page.until(lambda: page.asked("/layer/1/forget") == 0.5)
    page.run("for (const value of [60, 80]) fugue.midi.take([0xb3, 20, value])")
    page.until(lambda: page.asked("/layer/1/forget") == pytest.approx(80 / 127))
    page.run("fugue.controls.follow('/layer/1/forget', 0); fugue.midi.take([0xb0, 20, 90])")
    page.run("fugue.midi.take([0xb0, 64, 127]); fugue.midi.take([0xb0, 120, 0])")
    assert page.asked("/freeze") == 1
    assert page.asked("/hush") is None
    assert page.asked("/layer/1/forget") == pytest.approx(80 / 127)
    page.run("fugue.midi.learning = '/volume'; fugue.midi.take([0xb0, 33, 1])")
    assert page.run("const found = fugue.midi.map['cc:33']; fugue.midi.reset(); return found") == "/volume"


def test_a_note_in_the_log_outlives_a_reload(page: Page) -> None:
    page.start()
    page.until(lambda: page.run("return fugue.cells().glow[0] > 0.3"))
    page.run("fugue.log.add(0, 'before')")
    page.fake.brushed[3][:7] = 0.0
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


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (768, 1024)])
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


@pytest.mark.parametrize("layers", [LAYERS, {name: 2 * units for name, units in LAYERS.items()}])
def test_the_cells_of_any_memory_fit(page: Page, layers: dict[str, int]) -> None:
    page.fake.layers = layers
    page.fake.brushed = Fake(layers).brushed
    page.fake.frozen = Fake(layers).frozen
    page.open()
    height, bottom, least = page.run(
        "const last = fugue.grid.bands.at(-1);"
        "return [fugue.grid.root.clientHeight, last.y + last.rows * last.pitch, "
        "Math.min(...fugue.grid.bands.map((band) => band.pitch))]"
    )
    assert bottom <= height
    assert least >= 7
    units = sum(layers.values())
    assert page.run(
        "return Array.from({length: arguments[0]}, (_, u) => u).filter((u) => {"
        "const {x, y, pitch} = fugue.grid.cell(u); return fugue.grid.unitAt(x + pitch / 2, y + pitch / 2) !== u})",
        units,
    ) == []  # fmt: skip


def test_whatever_happens_a_layer_does_not_flash(page: Page) -> None:
    page.open()
    steepest = page.wait_for("""
        import('/static/cells.js').then(({ Cells }) => {
          const all = [0, 255].map((value) => new Uint8Array(64).fill(value));
          const cells = new Cells([{ name: 'one', number: 0, start: 0, units: 64 }], all[1]);
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


# Words that stand out too little (WCAG 1.4.3): as painted, as browsers mix colours in ways that axe cannot read.
FAINT = """
    const pen = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
    const painted = (...colours) => {
      pen.clearRect(0, 0, 1, 1);
      for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
      return [...pen.getImageData(0, 0, 1, 1).data];
    };
    const light = (colours) => painted(...colours).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const grounds = (one) => (one ? [...grounds(one.parentElement), getComputedStyle(one).backgroundColor] : []);
    const words = [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && !one.disabled
      && [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
    return words.map((one) => {
      const style = getComputedStyle(one);
      const [ink, ground] = [light([...grounds(one), style.color]), light(grounds(one))];
      const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
      return [ratio, parseFloat(style.fontSize) >= 24 ? 3 : 4.5, one.outerHTML.slice(0, 90)];
    }).filter(([ratio, least]) => ratio < least);
"""


def test_no_serious_barrier_is_found(page: Page) -> None:
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    page.start()
    page.run("for (const path of ['/freeze', '/layer/1/freeze', '/layer/2/lock']) fugue.controls.set(path, [1]);"
             "fugue.controls.set('/rec/start'); fugue.controls.set('/bank/1/store')")  # fmt: skip
    page.until(lambda: page.text("#record").startswith("Stop"))
    page.run(axe)
    for opened in (None, "#help", "#midi", "#takes"):
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
    assert [one for one in asked if not one.startswith(page.served.address)] == []
