"""The piano of the page, in a real browser: touched, typed and by MIDI; and MIDI's clock."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from .test_page import MIDI, PHONES, Page, browser, layers, page, pytestmark, settings  # noqa: F401 - fixtures


def keys(page: Page) -> list[tuple[str, Any]]:  # noqa: F811
    """What pages have asked of keys and the pedal."""
    return [(path, args[0]) for path, args in page.sets if path.startswith(("/key/", "/pedal"))]


def opened(page: Page, width: int = 1280, height: int = 800) -> None:  # noqa: F811
    page.start()
    page.resize(width, height)
    page.run("document.querySelector('#piano-open').click()")
    page.until(lambda: page.find("#piano-keys").is_displayed())


def test_the_piano_is_touched_and_slid_over(page: Page) -> None:  # noqa: F811
    opened(page)
    page.drag(page.middle("[data-key='60']"), page.middle("[data-key='62']"))
    page.until(lambda: len(keys(page)) == 4)
    assert [(path, value > 0) for path, value in keys(page)] == [
        ("/key/60", True), ("/key/60", False), ("/key/62", True), ("/key/62", False),
    ]  # fmt: skip
    x, y = page.middle("[data-key='61']")
    page.drag((x, y))
    page.until(lambda: len(keys(page)) == 6)
    assert keys(page)[4][0] == "/key/61"
    box = page.run("const { top, height } = document.querySelector(\"[data-key='64']\").getBoundingClientRect();"
                   "return [top, height]")  # fmt: skip
    for place in (0.7, 0.95):
        page.drag((page.middle("[data-key='64']")[0], box[0] + place * box[1]))
    page.until(lambda: len(keys(page)) == 10)
    assert 0.7 < keys(page)[6][1] < keys(page)[8][1] <= 1.0
    page.until(lambda: page.run("return document.querySelectorAll('#piano-keys .down').length") == 0)


def test_two_fingers_play_two_keys_on_a_phone(page: Page) -> None:  # noqa: F811
    opened(page, 360, 800)
    page.run("document.querySelector('#piano').scrollIntoView()")
    page.fingers("touchStart", page.middle("[data-key='48']"), page.middle("[data-key='52']"))
    page.until(lambda: len(keys(page)) == 2)
    page.until(lambda: page.run("return document.querySelectorAll('#piano-keys .down').length") == 2)
    page.fingers("touchEnd")
    page.until(lambda: len(keys(page)) == 4)
    assert sorted(path for path, value in keys(page) if value) == ["/key/48", "/key/52"]
    assert sorted(path for path, value in keys(page) if not value) == ["/key/48", "/key/52"]


@pytest.mark.parametrize(("width", "height"), PHONES)
def test_the_piano_fits_on_a_phone(page: Page, width: int, height: int) -> None:  # noqa: F811
    opened(page, width, height)
    page.until(lambda: page.run("return [document.documentElement.scrollWidth, innerWidth]") == [width, width])
    narrow = page.run("return [...document.querySelectorAll('#piano-keys .white')]"
                      ".filter((one) => one.getBoundingClientRect().width < 38).length")  # fmt: skip
    assert narrow == 0


def test_the_computers_keys_play_or_mean_what_they_meant(page: Page) -> None:  # noqa: F811
    opened(page)
    page.keys("x")
    page.click("#typed")
    page.keys("v", "d", "r", "2", "f", "l")
    page.until(lambda: len(keys(page)) == 8)
    assert [path for path, value in keys(page) if value] == ["/key/53", "/key/51", "/key/65", "/key/61"]
    assert {value for _, value in keys(page) if value} == {0.8}
    assert page.find("[data-brush='freeze']").get_attribute("aria-checked") == "true"  # no key moved the page
    page.click("#higher")
    page.keys("z")
    page.until(lambda: len(keys(page)) == 10)
    assert keys(page)[8][0] == "/key/60"
    assert not [path for path, _ in page.sets if path.startswith(("/bank/2", "/rec"))]
    page.click("#typed")
    page.keys("f")
    page.until(lambda: page.find("[data-brush='forget']").get_attribute("aria-checked") == "true")
    assert len(keys(page)) == 10


def test_whoever_looks_away_lets_go(page: Page) -> None:  # noqa: F811
    opened(page)
    page.click("#typed")
    ActionChains(page.browser).key_down("z").perform()
    page.until(lambda: keys(page) == [("/key/48", 0.8)])
    page.run("dispatchEvent(new Event('blur'))")
    page.until(lambda: keys(page)[-1] == ("/key/48", 0))
    ActionChains(page.browser).key_up("z").perform()
    page.keys("x")
    page.until(lambda: len(keys(page)) == 4)


def test_midi_plays_the_piano_where_that_is_chosen(page: Page) -> None:  # noqa: F811
    page.start()
    page.run(MIDI)
    page.wait_for("fugue.midi.open().then(done)")
    page.run("fugue.controls.set('/bank/1/store'); fugue.play('pads', 0x90, 36, 100)")
    page.until(lambda: ("/bank/1/arm", []) in page.sets or ("/bank/1/fire", [2]) in page.sets)
    assert keys(page) == []
    page.run("document.querySelector('#midi').showModal(); document.querySelector('#midi-plays').click();"
             "document.querySelector('#midi').close()")  # fmt: skip
    page.run("fugue.play('pads', 0x90, 36, 127); fugue.play('synth', 0x90, 36, 127);"
             "for (const at of [3, 70, 90, 127, 63, 10]) fugue.play('pads', 0xb0, 64, at);"
             "fugue.play('pads', 0x80, 36, 0); fugue.play('synth', 0x90, 36, 0);")  # fmt: skip
    page.until(lambda: len(keys(page)) == 5)
    assert keys(page) == [("/key/36", 1), ("/key/36", 1), ("/pedal", 1), ("/pedal", 0), ("/key/36", 0)]
    page.run("fugue.midi.learning = '/hush'; fugue.play('pads', 0x90, 40, 1); fugue.play('pads', 0x80, 40, 1);"
             "fugue.play('pads', 0x90, 40, 90)")  # fmt: skip
    assert page.asked("/hush") is None
    assert len(keys(page)) == 5
    page.run("fugue.midi.reset()")


def test_a_device_that_is_gone_lets_go(page: Page) -> None:  # noqa: F811
    page.start()
    page.run(MIDI)
    page.wait_for("fugue.midi.open().then(done)")
    page.run("fugue.midi.play(true); fugue.play('pads', 0x90, 50, 64); fugue.play('synth', 0x90, 52, 64);"
             "fugue.play('pads', 0xb0, 64, 127);")  # fmt: skip
    page.until(lambda: len(keys(page)) == 3)
    page.run("for (const [id, input] of fugue.midi.access.inputs) if (id === 'pads in') input.state = 'disconnected';"
             "fugue.midi.access.onstatechange()")  # fmt: skip
    page.until(lambda: len(keys(page)) == 5)
    assert keys(page)[3:] == [("/key/50", 0), ("/pedal", 0)]
    page.run("fugue.midi.play(false)")
    page.until(lambda: keys(page)[-1] == ("/key/52", 0))


def test_what_a_lost_page_held_is_let_go(page: Page) -> None:  # noqa: F811
    opened(page)
    page.run("fugue.piano.press(60, 0.5, 'midi 1 ')")
    page.until(lambda: page.performance.held == [("/key/60", 0)])
    page.run("fugue.control.socket.close()")
    page.until(lambda: page.performance.held == [])
    page.until(lambda: page.run("return fugue.control.open"))
    assert page.run("return fugue.piano.holds.size") == 0


def test_the_chords_of_the_keys_are_chosen(page: Page) -> None:  # noqa: F811
    opened(page)
    page.click("#key-chords-open")
    menus = page.browser.find_elements(By.CSS_SELECTOR, "#key-chords select")
    assert len(menus) == 12
    assert [menu.find_elements(By.CSS_SELECTOR, "option")[0].text for menu in menus][:3] == [
        "C, by itself", "C, by itself", "Dm, by itself",
    ]  # fmt: skip
    Select(menus[1]).select_by_visible_text("Bdim")
    assert page.asked("/keys/2/chord") == "Bdim"
    Select(menus[1]).select_by_index(0)
    page.until(lambda: ("/keys/2/chord", [""]) in page.sets)


def test_another_devices_clock_is_followed(page: Page) -> None:  # noqa: F811
    page.start()
    page.run("""
      fugue.midi.beatIn.on = true;
      const late = (i) => 4 * Math.sin(7 * i);  // of ticks, in ms
      for (let i = 0; i < 100; i++) fugue.midi.take([0xf8], undefined, 1000 + late(i) + (i * 60000) / (24 * 96));
    """)
    page.until(lambda: any(path == "/tempo" for path, _ in page.sets))
    told = [args[0] for path, args in page.sets if path == "/tempo"]
    assert told[-1] == pytest.approx(96, abs=1.5)
    page.run("fugue.midi.take([0xfc])")
    page.until(lambda: [args for path, args in page.sets if path == "/play"][-1] == [0])
    page.run("fugue.midi.take([0xfb])")
    page.until(lambda: [args for path, args in page.sets if path == "/play"][-1] == [1])
    count = len(page.sets)
    page.run("fugue.midi.beatIn.on = false; fugue.midi.take([0xfc])")
    page.run("fugue.controls.set('/ping')")
    page.until(lambda: page.sets[-1][0] == "/ping")
    assert len(page.sets) == count + 1


def test_the_clock_is_sent_to_a_device(page: Page) -> None:  # noqa: F811
    page.start()
    page.run(MIDI)
    page.wait_for("fugue.midi.open().then(done)")
    page.run("fugue.controls.set('/tempo', [120])")
    page.until(lambda: page.run("return fugue.controls.told.get('/tempo')") == 120)
    page.run("""
      document.querySelector('#midi').showModal();
      const menu = document.querySelector('#midi-lead');
      fugue.out.at = [];
      const { out } = fugue;
      for (const output of fugue.midi.access.outputs.values()) {
        const send = output.send;
        output.send = (data, at) => { send(data); if (output.name.startsWith('other')) out.at.push([data[0], at]); };
        output.id = output.name;
      }
      fugue.midi.dispatchEvent(new Event('changed'));
      menu.value = 'other MIDI Out';
      menu.dispatchEvent(new Event('change', { bubbles: true }));
      document.querySelector('#midi').close();
    """)
    page.until(lambda: len(page.run("return fugue.out.at")) > 40)
    sent = page.run("return fugue.out.at")
    assert sent[0][0] == 0xFA
    times = [at for status, at in sent if status == 0xF8]
    steps = [two - one for one, two in itertools.pairwise(times)]
    assert max(abs(step - 60_000 / (24 * 120)) for step in steps) < 0.01
    page.run("fugue.controls.set('/play', [0])")
    page.until(lambda: page.run("return fugue.out.at.at(-1)[0]") == 0xFC)
    page.run("fugue.controls.set('/play', [1])")
    page.until(lambda: 0xFB in [status for status, _ in page.run("return fugue.out.at")])
    page.run("fugue.midi.beatOut.lead(null)")
