"""Every picture, in both themes and forms: whole, legible, the same each time, and true."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from fugue_state.audio import io
from fugue_state.look import letters
from fugue_state.look.saved import DOTS_PER_INCH, save_figure
from fugue_state.look.saved import PICTURES as PICTURE_SUFFIXES
from fugue_state.look.sheet import CAPTION, GAP, LARGEST, MOST_ROWS, sheet_figure
from fugue_state.look.theme import THEMES, Theme, rgb
from fugue_state.measure.curve import OVERALL, Curve, curve_figure
from fugue_state.measure.memory import memory_figure
from fugue_state.measure.profile import Profile, profile_figure
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.checkpoint import save_memory
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.picture.panels import COLUMNS, told_apart
from fugue_state.picture.plan import overview_figure, table
from fugue_state.picture.portrait import portrait_figure
from fugue_state.picture.summary import overview
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.settings import checked

from .test_cli import refused, run

LONG = "a name that goes on and on for much longer than there is room for in any picture, $ and all \n of it"
Draw = Callable[[Theme], Figure]


def drawn_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return every text that is drawn, with the pixels it takes."""
    found: dict[Text, tuple[str, Bbox]] = {}
    draw = Text.draw

    def watched(text: Text, renderer: Any) -> None:
        draw(text, renderer)
        if text.get_visible() and text.get_text().strip():
            found[text] = (text.get_text(), text.get_window_extent(renderer))

    figure.draw_without_rendering()  # the layout settles
    with patch.object(Text, "draw", watched):
        figure.draw_without_rendering()
    return list(found.values())


def within(box: Bbox, outer: Bbox) -> bool:
    return bool(box.x0 >= outer.x0 and box.y0 >= outer.y0 and box.x1 <= outer.x1 and box.y1 <= outer.y1)


def faults(figure: Figure) -> list[str]:
    """Say which texts lie outside a figure or on each other."""
    texts = drawn_texts(figure)
    outside = [f"{text!r} is outside" for text, box in texts if not within(box, figure.bbox.padded(0.5))]
    shrunk = [(text, box.padded(-1)) for text, box in texts]
    overlapping = [f"{one!r} overlaps {other!r}" for (one, a), (other, b) in combinations(shrunk, 2) if a.overlaps(b)]
    return outside + overlapping


def piece(memory: Memory, **changes: Any) -> Piece:
    plan = {"order": "random", "pace": "linear"} | changes.pop("forgetting", {})
    values = {"duration_s": 12, "tempo_bpm": 120, "quality": "draft", "seed": 4} | changes
    return Piece(checked(Score, values | {"forgetting": plan}), memory)


def cues(count: int, duration_s: float, name: str = "it comes back") -> list[dict[str, Any]]:
    step_s = duration_s / count
    return [
        {"do": ("recall", "forget")[i % 2], "name": f"{name} {i}", "at": i * step_s, "over": step_s / 2}
        for i in range(count)
    ]


PIECES: dict[str, dict[str, Any]] = {
    "one event": {"duration_s": 3.2, "tempo_bpm": 10},
    "one second": {"duration_s": 1},
    "no title": {"title": ""},
    "long names": {"title": LONG, "voices": [{"name": LONG}, {"name": f"{LONG} 2"}], "cues": cues(3, 12, LONG)},
    "four voices": {"voices": [{"name": n, "beats": 3 + i} for i, n in enumerate("abcd")], "duration_s": 60},
    "sixteen voices": {"voices": [{"forgets": i > 0, "beats": 2 + i} for i in range(16)]},
    "thirty cues": {"cues": cues(30, 180), "duration_s": 180, "loudness": {"plan": [[0, 0], [100, -30]]}},
    "cues at the end": {"cues": [{"do": "jump", "to": 1, "at": 11 + i / 4, "name": "the very end"} for i in range(4)]},
    "swung": {"voices": [{"chords": ["Am*2", "C*0.5", "-*4", "G"], "swing": 0.6}], "duration_s": 40},
    "quick voices": {"voices": [{}, {"beats": 0.5, "swing": 0.3}], "duration_s": 90},
    "a night": {"duration_s": "6:30:00", "tempo_bpm": 0.5, "cues": cues(5, 20_000)},
    "other letters": {"title": "Überfluß, 忘却, $^$", "cues": cues(2, 12, "воспоминание")},
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to make a portrait of; whether it is the piece makes no difference to its looks."""
    path = tmp_path_factory.mktemp("sound") / f"{'long_' * 30}.wav"
    noise = np.random.default_rng(1).standard_normal((22_050, 2)).astype(np.float32)
    io.write(path, 0.1 * noise * np.linspace(1, 0, 22_050, dtype=np.float32)[:, None], 44_100)
    return path


def curves(layers: int, share: float | None = 1.0) -> dict[str, Curve]:
    fractions = np.linspace(0, 1, 5)
    falling: Any = np.linspace(1, 0, 5)[:, None] * np.linspace(1, 0.5, 4)
    traits = {"distance_db": 40 * (1 - falling), "loudness_lu": -9 * (1 - falling), "brightness_hz": 4000 * falling}
    named = {} if share is None else {"clarity": falling, "named": (falling > 0.5) * share}
    names = [OVERALL, *(f"deconv{i}" for i in range(1, layers + 1))]
    return {name: Curve(fractions, named | traits) for name in names}


def profile(scale: float = 1.0) -> Profile:
    layers = {f"deconv{i + 1}": 32 >> i for i in range(5)}
    units, draw = sum(layers.values()), np.random.default_rng(0)
    regions = draw.dirichlet((1, 1, 1), units) * (scale > 0)
    return Profile(
        layers, scale * draw.uniform(0.01, 5, units), draw.uniform(-1, 1, units), draw.uniform(0, 1, units),
        scale * draw.uniform(60, 8000, units), regions, draw.integers(0, 4, units),
    )  # fmt: skip


def mels(count: int, shape: tuple[int, int] = (128, 128)) -> list[Any]:
    return list(np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype(np.float32))


PICTURES: dict[str, Draw] = {
    "sheet": lambda theme: sheet_figure([(("Am",), mels(3)), (["C", LONG, "G"], mels(3))], theme),
    "sheet of one": lambda theme: sheet_figure([((LONG,), mels(1, (8, 32)))], theme),
    "sheet of too many": lambda theme: sheet_figure([((str(i),), mels(1, (8, 32))) for i in range(99)], theme),
    "sheet of nothing": lambda theme: sheet_figure([(("no clip",), [])], theme),
    "curve": lambda theme: curve_figure(curves(5), LONG, theme, about="random order, 62 units, 16 latents"),
    "curve of one": lambda theme: curve_figure(curves(0), "tiny", theme, about=LONG),
    "curve without chords": lambda theme: curve_figure(curves(2, None), "tiny", theme),
    "profile": lambda theme: profile_figure(profile(), LONG, theme),
    "profile of silence": lambda theme: profile_figure(profile(0.0), "tiny, 62 units", theme),
}


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
@pytest.mark.parametrize("draw", PICTURES.values(), ids=list(PICTURES))
def test_pictures_are_whole_and_legible(draw: Draw, theme: Theme) -> None:
    assert faults(draw(theme)) == []


@pytest.mark.parametrize("changes", PIECES.values(), ids=list(PIECES))
def test_pictures_of_pieces_are_whole_and_legible(tiny_memory: Memory, sound: Path, changes: dict[str, Any]) -> None:
    made = piece(tiny_memory, **changes)
    for figure in (overview_figure(made), portrait_figure(made, sound)):
        assert faults(figure) == []


APART = {"forgetting": {"order": "random", "pace": "linear"}}
ENSEMBLES: dict[str, list[dict[str, Any]]] = {
    "two": [{"name": "melody", "memory": "notes"}, {"name": "chords"}],
    "one that forgets nothing": [{"memory": "notes", "forgets": False}, {"name": "chords"}],
    "four": [{"memory": "notes"}, {}, {"name": "a", **APART}, {"name": "b", "memory": "notes", **APART}],
    "long names": [{"name": LONG, "memory": "notes"}, {"name": f"{LONG} 2", **APART}],
}


def ensemble(memory: Memory, notes: Memory, **changes: Any) -> Piece:
    plan = {"order": "random", "pace": "linear"}
    values = {"duration_s": 12, "tempo_bpm": 120, "quality": "draft", "memory": "tiny", "forgetting": plan} | changes
    return Piece(checked(Score, values), memory, {"notes": notes})


@pytest.mark.parametrize("voices", ENSEMBLES.values(), ids=list(ENSEMBLES))
def test_pictures_of_several_parts_are_whole_and_legible(
    tiny_memory: Memory, notes_memory: Memory, sound: Path, voices: list[dict[str, Any]]
) -> None:
    made = ensemble(tiny_memory, notes_memory, voices=voices, cues=cues(3, 12))
    for figure in (overview_figure(made), portrait_figure(made, sound)):
        assert faults(figure) == []
        names = [axes.get_title(loc="left") for axes in figure.axes if axes.get_ylabel() == "% remembered"]
        assert all(part.name.startswith(name.rstrip("…")) for part, name in zip(made.parts, names, strict=True))
        texts = [text for text, _ in drawn_texts(figure)]
        assert sum("order, " in text or "forgets nothing, " in text for text in texts) == len(made.parts)


def test_each_part_has_a_band_of_what_it_remembers(tiny_memory: Memory, notes_memory: Memory, sound: Path) -> None:
    half = {"forgetting": {**APART["forgetting"], "to": 0.5}}
    made = ensemble(tiny_memory, notes_memory, voices=[{"name": "ground"}, {**ENSEMBLES["two"][0], "beats": 3, **half}])
    bands = portrait_figure(made, sound).axes[-2:]
    assert [axes.get_title(loc="left") for axes in bands] == ["ground", "melody"]
    for number, (axes, part) in enumerate(zip(bands, made.parts, strict=True)):
        lines = {str(line.get_label()): line for line in axes.get_lines()}
        assert next(iter(lines)) == f"deconv1 ({part.memory.layers['deconv1']})"
        assert list(lines)[-1] == f"all ({part.units})"
        own = [event for event in made.events() if event.voice == number]
        times, left = (np.asarray(values) for values in lines[f"all ({part.units})"].get_data())
        for event in own:
            now = left[np.searchsorted(times, event.onset / 44_100 + 1e-6, side="right") - 1]
            assert now == pytest.approx(100 * event.strengths.mean(), abs=1e-3)
        first = own[-1].strengths[: part.memory.layers["deconv1"]]
        assert np.asarray(lines[next(iter(lines))].get_ydata())[-1] == pytest.approx(100 * first.mean(), abs=1e-3)


def test_the_table_says_what_each_part_remembers(tiny_memory: Memory, notes_memory: Memory) -> None:
    made = ensemble(tiny_memory, notes_memory, voices=[{"name": "ground", "forgets": False}, ENSEMBLES["two"][0]])
    lines = table(made, overview(made))
    assert (lines[0], lines[13]) == ("ground: tiny", "melody: notes")
    assert lines[12].split()[1:7] == ["100%"] * 6
    assert lines[25].split()[6] == f"{list(made.events())[-1].strengths.mean():.0%}"


def test_what_is_wrong_with_a_picture_is_found() -> None:
    figure = Figure(figsize=(2, 1))
    figure.text(0.1, 0.5, "over")
    figure.text(0.15, 0.52, "another")
    figure.text(0.9, 0.1, "outside")
    assert faults(figure) == ["'outside' is outside", "'over' overlaps 'another'"]


@pytest.mark.parametrize("duration_s", [20, 90, 616])
def test_a_plan_names_as_many_chords_as_are_legible_and_says_how_many(tiny_memory: Memory, duration_s: int) -> None:
    quick = {"chords": ["C", "G*0.5", "-", "Am*4"], "beats": 2}
    made = piece(tiny_memory, duration_s=duration_s, voices=[{}, quick, {"beats": 20}], title="a plan")
    figure = overview_figure(made)
    assert faults(figure) == []
    widest = max(box.width for text, box in drawn_texts(figure) if text.strip() == "Am") / figure.bbox.width
    rows: dict[int, list[str]] = {number: [] for number in range(3)}
    for text in figure.axes[0].texts:
        rows[round(getattr(text, "xy", text.get_position())[1])].append(text.get_text())
    events = list(made.events())
    for number in range(3):
        chords = [event.chord for event in events if event.voice == number]
        told = [text for text in rows[number] if text.endswith("is named")]
        names = [text.strip() for text in rows[number] if text not in told]
        nth = int(told[0].split()[2]) if told else 1
        assert names == chords[::nth][: len(names)]
        assert len(chords[::nth]) - len(names) <= (nth > 1)  # the last would run into what stands beside
        assert set(names) == set(chords)
        assert not told or len(names) * widest > 0.25  # no fewer than need be


def test_of_many_moves_a_picture_shows_what_it_can_tell_apart() -> None:
    times, row = np.sort(np.random.default_rng(0).uniform(0, 50, 20 * COLUMNS)), np.random.default_rng(1)
    values = row.standard_normal(len(times))
    assert told_apart(times[:COLUMNS], 100, values[:COLUMNS]).tolist() == list(range(COLUMNS))
    shown = told_apart(times, 100, values)
    assert len(shown) < 4 * COLUMNS / 2 + 4
    for begin in range(0, COLUMNS // 2, 50):
        column = (times >= begin * 100 / COLUMNS) & (times < (begin + 1) * 100 / COLUMNS)
        inside = np.flatnonzero(column)
        kept = np.intersect1d(shown, inside)
        assert (kept[0], kept[-1]) == (inside[0], inside[-1])
        assert (values[kept].min(), values[kept].max()) == (values[column].min(), values[column].max())
    assert len(told_apart(np.zeros(0), 100, np.zeros(0))) == 0


@pytest.fixture
def all_pictures(tiny_memory: Memory, sound: Path) -> dict[str, Draw]:
    made = piece(tiny_memory, cues=cues(2, 12))
    return PICTURES | {
        "memory": lambda theme: memory_figure(tiny_memory, theme),
        "overview": lambda theme: overview_figure(made, theme),
        "portrait": lambda theme: portrait_figure(made, sound, theme),
    }


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
@pytest.mark.parametrize("name", ["sheet", "curve", "profile", "memory", "overview", "portrait"])
def test_pictures_come_as_png_and_svg_in_their_theme(
    tmp_path: Path, all_pictures: dict[str, Draw], name: str, theme: Theme
) -> None:
    for form in ("png", "svg"):
        paths = [tmp_path / f"{i}.{form}" for i in range(2)]
        for path in paths:
            save_figure(all_pictures[name](theme), path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
    with Image.open(tmp_path / "0.png") as image:
        assert np.allclose(np.array(image.convert("RGB").getpixel((0, 0))) / 255.0, rgb(theme.ground), atol=0.01)
        levels = np.asarray(image.convert("L"), dtype=float)
        assert np.abs(levels - levels[0, 0]).max() > 100  # something is written
    written = (tmp_path / "0.svg").read_text(encoding="utf-8")
    assert "<text" not in written
    assert theme.ground in written
    others = {t for other in THEMES.values() for t in (other.ground, other.faint, other.glow)}
    assert not [t for t in others - {theme.ground, theme.faint, theme.glow, theme.ink} if t in written]


def test_a_notebook_shows_a_figure() -> None:
    figure = profile_figure(profile(), "tiny")
    assert figure._repr_png_()[1:4] == b"PNG"  # type: ignore[attr-defined]


def test_a_sheet_shows_every_mel_pixel_by_pixel(tmp_path: Path) -> None:
    theme = THEMES["night"]
    ramp = np.linspace(-1, 1, 128 * 128, dtype=np.float32).reshape(128, 128)
    sheet = sheet_figure([(("Am", "C"), [ramp, -ramp]), (("G",), [ramp])], theme)
    save_figure(sheet, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    assert pixels.shape == (GAP + 2 * (CAPTION + 128 + GAP), GAP + 2 * (128 + GAP), 3)
    for mel, top, left in ((ramp, 0, 0), (-ramp, 0, 1), (ramp, 1, 0)):
        y, x = GAP + CAPTION + top * (CAPTION + 128 + GAP), GAP + left * (128 + GAP)
        wanted = 255.0 * theme.colours((mel[::-1] + 1.0) / 2.0)[..., :3]
        assert np.abs(pixels[y : y + 128, x : x + 128] - wanted).max() < 12


def test_large_mels_are_reduced_and_many_rows_counted() -> None:
    figure = sheet_figure([(("Am",), mels(1, (512, 1024)))])
    assert figure.get_size_inches()[0] * DOTS_PER_INCH == pytest.approx(LARGEST + 2 * GAP, abs=0.1)
    many = sheet_figure([((str(i),), mels(1, (8, 32))) for i in range(MOST_ROWS + 5)])
    assert drawn_texts(many)[-1][0] == "… and 5 rows more"


def test_the_portrait_shows_what_each_layer_remembers(tiny_memory: Memory, sound: Path) -> None:
    made = piece(tiny_memory, voices=[{}, {"forgets": False, "beats": 3}], cues=cues(2, 12))
    bottom = portrait_figure(made, sound).axes[-1]
    lines = {str(line.get_label()): line for line in bottom.get_lines()}
    assert list(lines) == ["deconv1 (32)", "deconv2 (16)", "deconv3 (8)", "deconv4 (4)", "deconv5 (2)", "all (62)"]
    assert len({str(line._dash_pattern) for line in lines.values()}) == 5  # type: ignore[attr-defined]
    ends = np.cumsum([0, *tiny_memory.layers.values()])
    parts = [*(slice(a, b) for a, b in pairwise(ends)), slice(None)]
    forgetting = [event for event in made.events() if event.voice == 0]
    for line, part in zip(lines.values(), parts, strict=True):
        wanted = [100.0, *(100.0 * event.strengths[part].mean() for event in forgetting)]
        assert np.allclose(line.get_ydata(), [*wanted, wanted[-1]])
        assert np.allclose(line.get_xdata(), [0.0, *(event.onset / 44_100 for event in forgetting), 12.0])


def test_cues_have_their_names_in_every_picture_of_a_piece(tiny_memory: Memory, sound: Path) -> None:
    made = piece(tiny_memory, cues=cues(30, 180, "cue"), duration_s=180)
    for figure in (overview_figure(made), portrait_figure(made, sound)):
        texts = [text for text, _ in drawn_texts(figure)]
        assert [text for text in texts if text.startswith("cue")] == [f"cue {i}" for i in range(30)]


def test_silence_is_drawn_as_silence(tmp_path: Path, tiny_memory: Memory) -> None:
    io.write(tmp_path / "a.wav", np.zeros((44_100, 2), np.float32), 44_100)
    image = portrait_figure(piece(tiny_memory), tmp_path / "a.wav").axes[0].get_images()[0]
    assert np.asarray(image.norm(np.asarray(image.get_array()))).max() <= 0


def test_units_are_drawn_in_the_shape_of_their_region() -> None:
    made = profile()
    figure = profile_figure(made, "tiny")
    drawn = [len(np.asarray(dots.get_offsets())) for dots in figure.axes[0].collections]
    assert drawn == [int((made.region[:32] == i).sum()) for i in range(3)]
    shapes = {np.asarray(dots.get_paths()[0].vertices).tobytes() for dots in figure.axes[0].collections}
    assert len(shapes) == 3


def ground(path: Path) -> str:
    """Return the colour of a picture's corner, or of the first thing drawn."""
    if path.suffix == ".svg":
        found = re.search(r"fill: (#[0-9a-f]{6})", path.read_text(encoding="utf-8"))
        assert found is not None
        return found[1]
    with Image.open(path) as image:
        return "#" + bytes(image.convert("RGB").getpixel((0, 0))).hex()  # type: ignore[arg-type]


COMMANDS = {
    "corpus inspect": "{corpus} --sheet {out}/a.svg",
    "sample": "-m {memory} -o {out} -n 2",
    "atlas": "{memory} --latents 8 -n 2 -o {out}",
    "profile": "{memory} --latents 2 --observed 4 --plot {out}/a.svg",
    "curve": "{memory} --latents 2 --steps 2 --plot {out}/a.svg",
    "measure": "{memory} --per-class 4 --sheet {out}/a.svg",
    "score show": "{score} -o {out}/a.png",
    "render": "{score} -o {out}/a.wav --portrait {out}/b.svg",
    "forget": "-m {memory} -o {out}/a.wav --duration 3 --order random --pace linear --quality draft",
    "train": "{corpus} -o {out}/run --steps 1 --feature-maps 2 --batch 2",
    "card": "{run}",
}


@pytest.fixture
def strange_path(tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader) -> Path:
    """A memory whose name and a label hold a letter that no font has."""
    model = tiny_header.model.model_copy(update={"labels": ("Am", "忘", "G")})
    path = tmp_path / "tiny.safetensors"
    save_memory(path, tiny_generator, tiny_header.model_copy(update={"name": "忘", "model": model}))
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_draws_takes_a_theme_and_names_letters_that_no_font_has(
    tmp_path: Path,
    strange_path: Path,
    make_corpus: Callable[..., Path],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    letters._font_of.cache_clear()
    monkeypatch.setattr(letters, "system_fonts", tuple)
    score, tiny_path = tmp_path / "a.toml", strange_path
    score.write_text(
        f'memory = "{tiny_path}"\nduration_s = 3\nquality = "draft"\n[forgetting]\norder = "random"\npace = "linear"\n',
        encoding="utf-8",
    )
    (tmp_path / "run").mkdir()
    shutil.copy(tiny_path, tmp_path / "run" / "memory.safetensors")
    given = {"memory": tiny_path, "score": score, "run": tmp_path / "run", "out": tmp_path / "out"}
    given["corpus"] = make_corpus({"Am": 2, "C": 2})
    (given["corpus"] / "C").rename(given["corpus"] / "忘")
    (tmp_path / "out").mkdir()
    done = run(*name.split(), *COMMANDS[name].format(**given).split(), "--theme", "paper")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("note: no font here has 忘: boxes stand in their place") == 1
    drawn = [path for suffix in PICTURE_SUFFIXES for path in tmp_path.rglob(f"*{suffix}")]
    assert drawn
    assert {ground(path) for path in drawn} == {THEMES["paper"].ground}
    again = run(*name.split(), "--theme", "papier")
    assert again.exit_code == 2
    assert "'papier' is not one of 'night', 'paper'" in again.output


def test_a_portrait_goes_where_it_is_asked_for(tmp_path: Path, tiny_path: Path) -> None:
    words = ["forget", "-m", tiny_path, "-o", tmp_path / "a.wav", "--portrait"]
    refused(run(*words, tmp_path / "a.gif"), 2, "unknown file ending '.gif'")
    (tmp_path / "b.svg").touch()
    refused(run(*words, tmp_path / "b.svg"), 2, "exists already")
    assert not (tmp_path / "a.wav").exists()
