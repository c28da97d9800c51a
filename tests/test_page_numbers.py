"""What the page and Python must agree on, read from both."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from fugue_state.config import HUSH_S
from fugue_state.live.protocol import AUDIO_HEADER, MAGIC
from fugue_state.look import cell
from fugue_state.score.paths import BANKS

FOLDERS = [resources.files("fugue_state") / folder for folder in ("live/static", "look/page")]


def text(name: str) -> str:
    [found] = [folder / name for folder in FOLDERS if (folder / name).is_file()]
    return found.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("script", "name", "value"),
    [
        ("worklet.js", "HUSH_S", HUSH_S),
        ("feed.js", "HEADER", AUDIO_HEADER.size),
        ("feed.js", "MAGIC", f'"{MAGIC.decode()}"'),
        ("banks.js", "COUNT", BANKS),
    ],
)
def test_the_page_has_the_same_numbers(script: str, name: str, value: float | str) -> None:
    [written] = re.findall(rf"^const {name} = ([^;]+);", text(script), re.MULTILINE)
    assert written == str(value)


def test_units_are_drawn_by_the_same_numbers_as_in_films() -> None:
    written = dict(re.findall(r"^export const (\w+) = ([\d.]+);$", cell.script(), re.MULTILINE))
    assert {name: float(value) for name, value in written.items()} == {
        name: value for name, value in vars(cell).items() if name.isupper()
    }
    for script in ("cells.js", "grid.js"):
        [names] = re.findall(r'^import \{ ([\w, ]+) \} from "./cell.js"', text(script), re.MULTILINE)
        assert set(names.split(", ")) <= set(written)
        assert not [name for name in written if re.search(rf"const {name}\b", text(script))]


def test_style_and_script_agree_on_what_a_phone_is() -> None:
    [asked] = re.findall(r'matchMedia\("(.+)"\)', text("drawer.js"))
    assert f"@media {asked} {{" in text("style.css")
