"""A shared page in a real browser, opened from a disk: with a test double of the engine."""

from __future__ import annotations

import base64
import json
import statistics
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.signal import correlate
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By

from fugue_state.audio.io import resample
from fugue_state.audio.loudness import event_lufs
from fugue_state.audio.mel import MelTransform
from fugue_state.cli import main
from fugue_state.config import PageConfig
from fugue_state.engine.performance import Performance
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.text import load_score
from fugue_state.settings import checked
from fugue_state.share.page import page as page_of

from .browsing import FAINT, LISTEN
from .share_stage import fake_page

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="no browser: Debian's chromium and chromium-driver are needed"
)
PATIENCE_S = 60.0
# What a page lacks or has otherwise, before its own scripts run.
WITHOUT = {
    "wasm": "delete globalThis.WebAssembly;",
    "audio": "delete globalThis.AudioContext;",
    "unpacking": "delete globalThis.DecompressionStream;",
    "worklets": "delete BaseAudioContext.prototype.audioWorklet;",
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--autoplay-policy=document-user-activation-required",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = Chrome(options=options, service=ChromeService(str(DRIVER)))
    driver.downloads = downloads  # type: ignore[attr-defined]
    yield driver
    driver.quit()


class Shared:
    """A shared page at hand."""

    def __init__(self, browser: Chrome, make: Callable[..., Path]) -> None:
        self.browser, self._make = browser, make
        self._scripts: list[str] = []

    def open(self, width: int = 1280, height: int = 800, without: str = "", **piece: Any) -> None:
        path = self._make(**piece)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        if without:
            told = self.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WITHOUT[without]})
            self._scripts.append(told["identifier"])
        self.browser.get(path.as_uri())

    def close(self) -> None:
        for one in self._scripts:
            self.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": one})
        self.browser.get("about:blank")

    def ready(self, **how: Any) -> None:
        self.open(**how)
        self.state("armed")

    def play(self, **how: Any) -> None:
        self.ready(**how)
        self.click("#start")
        self.sounds()

    def sounds(self) -> None:
        self.until(lambda: self.run("return fugue.sound.report?.sample") is not None)

    def run(self, script: str, *args: Any) -> Any:
        return self.browser.execute_script(script, *args)

    def find(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def shown(self, selector: str) -> bool:
        return bool(self.find(selector).is_displayed())

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector)).strip()

    def keys(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def state(self, word: str) -> None:
        self.until(lambda: self.run("return globalThis.fugue?.state()") == word)

    def values(self) -> dict[str, Any]:
        found: dict[str, Any] = self.run("return Object.fromEntries(fugue.controls.told)")
        return found

    def until(self, what: Callable[[], Any]) -> Any:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := what():
                return found
            time.sleep(0.02)
        raise TimeoutError(str(self.log()))

    def log(self) -> list[Any]:
        """Return what the browser has complained of since it was asked last."""
        found: list[Any] = self.browser.get_log("browser")  # type: ignore[no-untyped-call]
        return found

    def set_range(self, path: str, value: float) -> None:
        self.run(
            "const one = document.querySelector(`input[data-path='${arguments[0]}']`); one.value = arguments[1];"
            "one.dispatchEvent(new Event('input', { bubbles: true }));",
            path,
            value,
        )


@pytest.fixture
def page(browser: Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    found = Shared(browser, lambda **piece: fake_page(tmp_path, monkeypatch, **piece))
    found.log()
    yield found
    found.close()


def test_a_page_from_a_disk_shows_the_piece_and_plays_at_a_press(page: Shared) -> None:
    page.ready(title="Untold <b>&", credits_=("A <i>", "B"), left=0.75)
    assert (page.text("#title"), page.text("#credits")) == ("Untold <b>&", "A <i> · B")
    page.until(lambda: page.text("#remembered b") == "75")
    assert page.run("return fugue.grid.drawn.filter((look) => look > 0).length") == 96
    assert not page.shown("#hands")
    page.click("#start")
    page.sounds()
    page.until(lambda: page.run(LISTEN) > 0.2)
    page.until(lambda: page.text("#chord") == "Am")
    assert not page.shown("#veil")
    assert page.run("return document.querySelectorAll('#memory, #worker').length") == 0  # they are needed once
    assert (
        page.run("return performance.getEntriesByType('resource').filter((one) => !/^(data|blob):/.test(one.name))")
        == []
    )
    assert page.log() == []


def test_a_piece_plays_in_its_own_engine_and_what_was_done_is_a_take(
    page: Shared, tmp_path: Path, tiny_path: Path
) -> None:
    score = checked(Score, {"title": "Tiny", "quality": "draft", "reverb": {"rt60_s": 0.5}, "forgetting": {"to": 0.0}})
    path = tmp_path / "tiny.html"
    path.write_text(page_of(Piece(score, Memory.load(tiny_path))).text, "utf-8")
    page.browser.get(path.as_uri())
    page.state("armed")
    page.click("#start")
    page.sounds()
    page.until(lambda: page.run(LISTEN) > 1e-3)
    page.until(lambda: page.text("#chord"))
    page.click("#take")
    page.set_range("/layer/1/forget", 1)
    page.run("fugue.brush.apply([fugue.scene.cells.layers[1].start], 'forget', 1, false)")
    page.click("#moment [data-path='/freeze']")
    page.until(lambda: page.values().get("/freeze") == 1)
    page.state("frozen")
    page.click("#keep")
    kept = page.browser.downloads / "tiny-take.toml"  # type: ignore[attr-defined]
    page.until(kept.exists)
    assert {change.path for change in load_score(kept).changes} >= {"/layer/1/forget", "/unit/2/1/strength", "/freeze"}
    out = tmp_path / "take.wav"
    done = CliRunner().invoke(main, ["render", str(kept), "-m", str(tiny_path), "-o", str(out)])
    assert done.exit_code == 0, done.output
    page.click("#take")
    page.until(lambda: page.text("#remembered b") == "100")
    page.state("playing")
    assert page.log() == []


# Keeps what is heard from now on, on the thread that plays it: the page's own thread could miss some of it.
KEEP = """
    const { context, node } = fugue.sound;
    const done = arguments[arguments.length - 1];
    const ear = `registerProcessor("ear", class extends AudioWorkletProcessor {
      process([[left, right]]) {
        if (left) this.port.postMessage(Float32Array.from({ length: 256 }, (_, n) => (n % 2 ? right : left)[n >> 1]));
        return true;
      }
    });`;
    context.audioWorklet.addModule(`data:text/javascript,${encodeURIComponent(ear)}`).then(() => {
      const hears = new AudioWorkletNode(context, "ear", { channelCount: 2, channelCountMode: "explicit" });
      fugue.kept = [];
      hears.port.onmessage = ({ data }) => fugue.kept.push(data);
      node.connect(hears);
      hears.connect(context.destination);
      done(context.sampleRate);
    });
"""
# Returns it: 32-bit floats, left and right in turn, in base64.
KEPT = """
    const bytes = fugue.kept.flatMap((part) => [...new Uint8Array(part.buffer)]);
    let text = '';
    for (let n = 0; n < bytes.length; n += 8192) text += String.fromCharCode(...bytes.slice(n, n + 8192));
    return btoa(text);
"""


@pytest.mark.alone
def test_what_the_browser_plays_is_what_python_plays(page: Shared, tmp_path: Path) -> None:
    score = checked(
        Score, {"tempo_bpm": 60, "master": {"normalize": False}, "forgetting": {"order": "random", "to": 0}}
    )
    memory = Memory.load("guitar")
    path = tmp_path / "guitar.html"
    path.write_text(page_of(Piece(score, memory), PageConfig(locked=True)).text, "utf-8")
    page.browser.get(path.as_uri())
    page.state("armed")
    page.click("#start")
    page.sounds()
    rate = page.browser.execute_async_script(KEEP)
    page.until(lambda: page.run("return fugue.kept.length * 128") > 6 * rate)
    if page.run("return fugue.sound.report.underruns") or page.values()["/quality"] != "live":
        pytest.skip("this machine is too slow to play it without a gap")
    heard = np.frombuffer(base64.b64decode(page.run(KEPT)), dtype="<f4").reshape(-1, 2)
    heard = resample(heard.T, rate, 44_100).T if rate != 44_100 else heard
    performance = Performance(score, memory)
    performance.change("/volume", 1.0)
    played = np.concatenate([performance.next().samples for _ in range(500)])
    lag = int(correlate(played.mean(1), heard.mean(1), "valid", "fft").argmax())
    played = played[lag : lag + len(heard)]
    assert event_lufs(heard, 44_100) == pytest.approx(event_lufs(played, 44_100), abs=0.5)
    spec = memory.spec.model_copy(update={"sample_rate_hz": 44_100, "n_fft": 4096, "hop": 1024})
    own, theirs = MelTransform(spec).encode(np.stack([heard.mean(1), played.mean(1)]))
    assert np.abs(own - theirs).mean() * spec.range_db / 2.0 < 1.0


def test_whoever_opens_it_may_take_over_and_give_back(page: Shared) -> None:
    page.play()
    page.click("#take")
    assert page.shown("#hands")
    page.set_range("/forget", 0.5)
    page.until(lambda: page.text("#remembered b") == "50")
    page.run("fugue.brush.apply([0, 1, 2], 'forget', 1, false)")
    page.until(lambda: page.run("return fugue.scene.cells.heard[1]") == 0)
    page.click("#chords [data-value='C']")
    page.until(lambda: page.values()["/chord"] == "C")
    page.click("#take")
    page.until(lambda: page.text("#remembered b") == "100")
    page.until(lambda: page.values()["/chord"] == "")
    assert not page.shown("#hands")


def test_a_chord_that_the_piece_does_not_know_is_refused_in_words(page: Shared) -> None:
    page.play()
    page.click("#take")
    page.run("fugue.controls.set('/chord', ['X'])")
    page.until(lambda: page.text("#notice") == "no chord X")
    assert page.run("return fugue.controls.values.get('/chord')") == ""


def test_what_was_done_is_kept_as_a_file(page: Shared) -> None:
    page.play(title="My, piece!", name="x")
    assert not page.shown("#keep")
    page.click("#take")
    page.set_range("/forget", 0.25)
    page.until(lambda: page.values().get("/forget") == 0.25)
    page.click("#keep")
    kept = page.browser.downloads / "my-piece-take.toml"  # type: ignore[attr-defined]
    page.until(kept.exists)
    told = json.loads(kept.read_text("utf-8"))
    assert [one["value"] for one in told["log"] if one["path"] == "/forget"] == [0.25]


def test_a_locked_page_has_no_hands(page: Shared) -> None:
    page.play(config=PageConfig(locked=True))
    assert not page.shown("#take")
    page.run("fugue.brush.apply([0], 'forget', 1, false); fugue.engine.set('/forget', [1])")
    page.until(lambda: page.text("#notice") == "This piece plays by itself.")
    assert page.text("#remembered b") == "100"
    page.keys(Keys.SPACE)
    page.state("paused")


def test_a_take_ends_in_silence_and_plays_again(page: Shared) -> None:
    page.play(samples=44_100)
    page.state("ended")
    assert page.text("#start-note") == "The take is over."
    page.until(lambda: page.run(LISTEN) < 1e-4)
    assert page.text("#start") == "Play again"
    page.click("#start")
    page.until(lambda: page.run(LISTEN) > 0.2)


def test_it_is_played_by_keys_alone(page: Shared) -> None:
    page.ready()
    page.run("document.body.focus()")
    page.keys(Keys.SPACE)
    page.sounds()
    page.keys(Keys.SPACE)
    page.state("paused")
    page.until(lambda: page.run(LISTEN) < 1e-4)
    page.keys(Keys.SPACE)
    page.state("playing")
    page.run("document.querySelector('#take').focus()")
    page.keys(Keys.ENTER)
    assert page.shown("#hands")
    page.run("document.querySelector('#grid .field').focus()")
    page.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    page.until(lambda: page.run("return fugue.scene.cells.heard[1]") == 0)
    page.keys("d", Keys.ENTER)
    page.until(lambda: page.run("return fugue.scene.cells.heard[1]") == 1)
    page.keys(Keys.ESCAPE)
    page.state("paused")


@pytest.mark.parametrize(
    ("lacks", "words"), [("wasm", "WebAssembly"), ("audio", "Web Audio"), ("unpacking", "DecompressionStream")]
)
def test_a_browser_that_lacks_something_is_told_what(page: Shared, lacks: str, words: str) -> None:
    page.open(without=lacks)
    page.state("failed")
    assert words in page.text("#start-note")
    assert not page.shown("#start")
    assert page.text("#title") == "Untold"


@pytest.mark.parametrize(
    ("first", "words"),
    [(1, "This device has too little memory for the piece."), (2, "The piece cannot be opened: it is damaged")],
)
def test_an_engine_that_cannot_be_opened_is_told_of(page: Shared, first: int, words: str) -> None:
    page.open(kernels=bytes([first]))
    page.state("failed")
    assert page.text("#start-note") == words
    assert not page.shown("#start")


def test_an_engine_that_fails_is_told_of_and_can_begin_again(page: Shared) -> None:
    page.play(breaks_at=20480)
    page.state("failed")
    assert "a weight is missing" in page.text("#start-note")
    page.until(lambda: page.run(LISTEN) < 1e-4)
    page.click("#start")
    page.sounds()


def test_without_worklets_blocks_are_scheduled(page: Shared) -> None:
    page.play(without="worklets")
    page.until(lambda: page.run("return (fugue.sound.report.sample ?? 0) > 30_000"))
    assert page.run("return fugue.sound.node.constructor.name") == "Scheduled"
    page.until(lambda: page.run("return fugue.scene.shown?.at_sample > 20_000"))


def test_sound_that_the_browser_refuses_waits_for_a_press(page: Shared) -> None:
    page.ready()
    page.run("document.querySelector('#start').click()")  # a script's click is no press
    page.until(lambda: "until you press" in page.text("#start-note"))
    page.click("#start")
    page.sounds()


def test_a_device_at_another_rate_plays_it_all(page: Shared) -> None:
    page.open()
    page.run(
        "const Context = AudioContext;"
        "globalThis.AudioContext ="
        "  class extends Context { constructor(how) { super({ ...how, sampleRate: 96000 }); } };"
    )
    page.state("armed")
    page.click("#start")
    page.sounds()
    assert page.run("return fugue.sound.context.sampleRate") == 96_000
    page.until(lambda: page.run(LISTEN) > 0.2)
    page.run(
        "globalThis.paces = []; const { port } = fugue.sound.node; const take = port.onmessage;"
        "port.onmessage = (event) => { const [one, other] = [fugue.sound.report, event.data]; take(event);"
        "  if (one.sample && other.sample) paces.push((other.sample - one.sample) / (other.time - one.time)); };"
    )
    page.until(lambda: page.run("return paces.length > 40"))
    assert statistics.median(page.run("return paces")) == pytest.approx(44_100, rel=0.01)


def test_it_goes_on_in_a_tab_that_is_put_aside(page: Shared) -> None:
    page.play()
    own = page.browser.current_window_handle
    page.browser.switch_to.new_window("tab")
    other = page.browser.current_window_handle
    time.sleep(3.0)
    page.browser.switch_to.window(own)
    assert page.run("return fugue.scene.mel.next") > 30  # pictures that came meanwhile
    page.browser.switch_to.window(other)
    page.browser.close()
    page.browser.switch_to.window(own)
    page.until(lambda: page.run("return fugue.scene.shown.at_sample") > 3 * 44_100)


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_scrolls_sideways_and_all_can_be_touched(page: Shared, width: int) -> None:
    page.play(width=width, height=740, title="A rather long title of a piece, with Donaudampfschifffahrtsgesellschaft")
    page.click("#take")
    phone = width == 360
    assert page.find("#hands").is_displayed() != phone
    if phone:  # the hands are in a drawer
        assert page.find("#grid").location["y"] < page.find("#heard").location["y"]
        page.click("#drawer button")
        assert page.find("#hands").is_displayed()
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    small = page.run(
        "return [...document.querySelectorAll('button, select, summary, input[type=range]')]"
        ".filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 40).map((one) => one.outerHTML)"
    )
    if width < 900:
        assert small == []
    if phone:
        page.click("#take")
        assert not page.find("#drawer").is_displayed()


def test_what_is_remembered_is_said_in_words(page: Shared) -> None:
    page.play(left=0.5)
    page.until(lambda: page.text("#words") == "Half is remembered.")
    assert page.find("#words").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("theme", ["night", "paper"])
def test_no_serious_barrier_is_found(page: Shared, theme: Any) -> None:
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    page.play(config=PageConfig(theme=theme))
    page.click("#take")
    page.until(lambda: page.text("#chord"))
    page.run(axe)
    page.browser.set_script_timeout(60)
    found = page.browser.execute_async_script(
        "axe.run({ rules: { 'color-contrast': { enabled: false } } })"
        ".then(({ violations }) => arguments[arguments.length - 1](violations))"
    )
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert page.run(FAINT) == []
