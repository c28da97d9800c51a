"""Letters that the package's own typeface lacks are drawn with fonts of the system, or named."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import get_data_path

from fugue_state.look import letters
from fugue_state.look.figure import drawing, page
from fugue_state.look.letters import FIRST, Font, Run, letters_of, missing, runs
from fugue_state.look.planes import width_of, words
from fugue_state.look.saved import save_figure
from fugue_state.look.theme import DEFAULT

DEJAVU = Font(FIRST, str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"))


@pytest.fixture(autouse=True)
def _fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    letters._font_of.cache_clear()
    monkeypatch.setattr(letters, "system_fonts", lambda: (Font("none", "none.ttf"), DEJAVU))


def test_letters_are_found_in_a_font_that_has_them() -> None:
    assert runs("Am Жизнь Ω") == [Run(None, "Am "), Run(DEJAVU, "Жизнь Ω")]
    assert runs("Überfluß") == [Run(None, "Überfluß")]
    assert missing("Жизнь, Λήθη, ذاكرة, é") == ""
    assert letters_of("none.ttf") == frozenset()


def test_letters_that_no_font_has_are_named_once() -> None:
    assert missing("忘却と忘 A") == "忘却と"
    assert runs("忘 A") == [Run(None, "□ A")]
    assert words("忘", 40).max() > 0.5


@pytest.mark.parametrize("title", ["Жизнь", "Λήθη", "ذاكرة"])
def test_a_film_draws_them(title: str) -> None:
    drawn = words(title, 40)
    assert drawn.max() > 0.9
    assert drawn.shape[1] == round(width_of(title, 40)) + 2
    assert len({words(letter, 40).tobytes() for letter in title}) == len(set(title))


def test_a_picture_takes_the_font_for_its_text(tmp_path: Path) -> None:
    with drawing(DEFAULT), page(DEFAULT, 1.0) as figure:
        figure.headline("Жизнь")
        save_figure(figure, tmp_path / "a.png")
        assert FIRST in figure.texts[0].get_fontfamily()
