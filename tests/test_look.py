from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fugue_state.errors import InputError
from fugue_state.look.figure import drawing, page
from fugue_state.look.saved import save_figure
from fugue_state.look.text import shortened, text_width_in
from fugue_state.look.theme import THEMES, Theme, find_theme, font, rgb

DIGITS = "0123456789"


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2)."""
    value = rgb(colour)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
def test_words_can_be_read_and_levels_rise_without_colour(theme: Theme) -> None:
    assert contrast(theme.ink, theme.ground) >= 12
    assert contrast(theme.faint, theme.ground) >= 4.5
    for colours in (theme.levels, theme.layers):
        away = [contrast(colour, theme.ground) for colour in colours]
        assert (np.diff(away) > 0).all() or (np.diff(away) < 0).all()


def test_layers_take_their_colours_from_the_first_to_the_last() -> None:
    night = find_theme("night")
    assert [night.layer(i, 5) for i in range(5)] == list(night.layers)
    assert (night.layer(0, 2), night.layer(1, 2), night.layer(0, 1)) == (
        night.layers[0],
        night.layers[-1],
        night.layers[0],
    )


def test_unknown_theme_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'night'"):
        find_theme("nigth")


def test_digits_have_one_width() -> None:
    for weight in ("Light", "Regular"):
        face = font(40, weight)
        assert len({face.getlength(digit) for digit in DIGITS}) == 1


@pytest.mark.parametrize("form", ["png", "svg"])
def test_a_figure_gives_the_same_bytes_in_its_theme(tmp_path: Path, form: str) -> None:
    from matplotlib.figure import Figure

    written = []
    for i in range(2):
        with drawing(find_theme("paper")):
            figure = Figure(figsize=(2, 1))
            figure.subplots().plot([0, 1], [0, 1])
        path = tmp_path / f"{i}.{form}"
        save_figure(figure, path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    if form == "png":
        corner = np.asarray(Image.open(tmp_path / "0.png").convert("RGB"))[0, 0] / 255.0
        assert np.allclose(corner, rgb(find_theme("paper").ground), atol=0.01)
    else:
        assert "<text" not in written[0].decode()


def test_what_is_made_only_when_a_figure_is_drawn_is_in_its_theme() -> None:
    theme = find_theme("paper")
    with page(theme, 2) as figure:
        axes = figure.subplots()
    figure.draw_without_rendering()
    assert {tick.label1.get_color() for tick in axes.xaxis.get_major_ticks()} == {theme.faint}


def test_text_is_shortened_to_its_room() -> None:
    assert shortened("two\n words", 1.0, 9) == "two words"
    short = shortened("a name that does not fit", 1.0, 9)
    assert short.endswith("…")
    assert 0.8 < text_width_in(short, 9) <= 1.0
    assert shortened("nothing fits", 0.0, 9) == "…"
