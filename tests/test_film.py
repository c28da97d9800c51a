from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image

from fugue_state.cli import main
from fugue_state.config import FILM_SIZES, FilmConfig, ModelConfig
from fugue_state.errors import AudioError, InputError, OutputError
from fugue_state.look.cell import STEPS
from fugue_state.look.planes import Planes, width_of
from fugue_state.look.theme import find_theme, rgb
from fugue_state.memory.memory import Memory
from fugue_state.output.provenance import read_provenance, reopened
from fugue_state.output.render import render
from fugue_state.picture import cells as cells_module
from fugue_state.picture import film as film_module
from fugue_state.picture.cells import Cells, Shapes, block
from fugue_state.picture.film import film, still
from fugue_state.picture.frame_layout import Box, UnitGrid, edges, lay_out
from fugue_state.picture.frame_parts import lay_out_parts
from fugue_state.picture.frames import Frames, Strip, _whole
from fugue_state.picture.heard import WINDOW, Heard
from fugue_state.picture.watch import Watch
from fugue_state.piece.piece import Piece
from fugue_state.piece.seen import Seen
from fugue_state.score.model import Score
from fugue_state.settings import checked

from .conftest import load_benchmark

SMALL = FilmConfig(size="320x240", fps=24)
PLAIN: dict[str, Any] = {
    "duration_s": 6.0,
    "tempo_bpm": 100,
    "quality": "draft",
    "voices": [{"chords": ["C", "Am"]}],
    "forgetting": {"order": "random", "pace": "linear", "to": 1.0},
    "reverb": {"rt60_s": 0.5},
}


def made(memory: Memory, folder: Path, **changes: Any) -> tuple[Path, Piece]:
    piece = Piece(checked(Score, PLAIN | changes), memory)
    render(piece, folder / "piece.wav", force=True)
    return folder / "piece.wav", piece


def units(maps: int) -> dict[str, int]:
    return ModelConfig(feature_maps=maps).layers


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


@pytest.mark.parametrize("maps", [4, 16, 24, 32, 64, 128])
@pytest.mark.parametrize("size", [*FILM_SIZES, "1280x800", "3840x2160"])
def test_nothing_overlaps_or_leaves_the_frame(size: str, maps: int) -> None:
    width, height = FilmConfig(size=size).pixels
    layers = units(maps)
    layout = lay_out(width, height, layers)
    boxes = [layout.chord, layout.remembered, layout.time, layout.title, layout.mel]
    for grid in layout.grids:
        boxes += [grid.box, grid.name, grid.count]
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= width
        assert box.y + box.height <= height
        assert {value % 2 for value in (box.x, box.y, box.width, box.height)} == {0}
    for one, other in combinations(boxes, 2):
        assert not overlap(one, other), (one, other)
    for grid in layout.grids:
        assert grid.columns * grid.rows >= layers[grid.layer] == grid.units
        assert grid.rows * grid.pitch <= grid.box.height
        assert grid.columns * grid.pitch <= grid.box.width
        assert width_of(grid.layer, layout.small) <= grid.name.width
        assert width_of(f"{grid.units}/{grid.units}", layout.small) <= grid.count.width
        assert layout.small * 1.2 <= grid.count.height
    assert [grid.layer for grid in layout.grids] == list(layers)
    if width >= height:  # as seen when the film is 480 pixels wide
        assert layout.small * 480 / width >= 7


@pytest.mark.parametrize("maps", [(4, 6), (32, 48), (48, 48), (64, 64), (48, 32, 48), (16,) * 4])
@pytest.mark.parametrize("size", ["1280x720", "1080x1920", "640x360", "1080x1080"])
def test_nothing_of_several_parts_overlaps_or_leaves_the_frame(size: str, maps: tuple[int, ...]) -> None:
    width, height = FilmConfig(size=size).pixels
    parts = [units(one) for one in maps]
    layout = lay_out_parts(width, height, parts)
    assert len(layout.headings) == len(parts)
    boxes = [layout.remembered, layout.time, layout.title, layout.mel]
    boxes += [box for heading in layout.headings for box in (heading.chord, heading.name, heading.share)]
    boxes += [box for grid in layout.grids for box in (grid.box, grid.name, grid.count)]
    for box in boxes:
        assert min(box.x, box.y, box.width, box.height) >= 0
        assert box.x + box.width <= width
        assert box.y + box.height <= height
        assert {value % 2 for value in (box.x, box.y, box.width, box.height)} == {0}
    for one, other in combinations(boxes, 2):
        assert not overlap(one, other), (one, other)
    assert [(grid.layer, grid.units) for grid in layout.grids] == [one for part in parts for one in part.items()]
    for grid in layout.grids:
        assert grid.columns * grid.rows >= grid.units
        assert grid.rows * grid.pitch <= grid.box.height
        assert grid.columns * grid.pitch <= grid.box.width
        assert width_of(grid.layer, layout.small) <= grid.name.width
        assert width_of(f"{grid.units}/{grid.units}", layout.small) <= grid.count.width
        assert layout.small * 1.2 <= grid.count.height
    if width >= height:  # as seen when the film is 480 pixels wide
        assert layout.small * 480 / width >= 6.5
    assert layout.mel.height >= 0.16 * height


def test_one_part_is_laid_out_as_ever() -> None:
    layout = lay_out(1280, 720, units(32))
    assert layout.headings == ()
    assert [(grid.box, grid.pitch) for grid in layout.grids][:2] == [
        (Box(42, 178, 272, 272), 17),
        (Box(340, 178, 136, 272), 17),
    ]


def test_a_frame_too_small_for_several_parts_is_refused() -> None:
    with pytest.raises(InputError, match="320 x 240 is too small to show 3968 units"):
        lay_out_parts(320, 240, [units(128), units(128)])


def test_a_film_shows_each_part_by_itself(tiny_memory: Memory, notes_memory: Memory, tmp_path: Path) -> None:
    lost = {"order": "random", "pace": "linear", "until": 1.0}
    voices = [{"name": "ground", "chords": ["C", "Am"]}, {"name": "melody", "memory": "notes", "forgetting": lost}]
    score = checked(Score, PLAIN | {"voices": voices, "forgetting": {"to": 0.0}, "memory": "tiny"})
    piece = Piece(score, tiny_memory, {"notes": notes_memory})
    config = FilmConfig(size="640x360", fps=24)
    frames = Frames(piece, None, config, first=60)
    for _ in range(24):
        frames.draw()
    picture = frames.rgb().astype(float)
    layout = lay_out_parts(640, 360, [tiny_memory.layers, notes_memory.layers], 0.0)
    ground, scar = (255 * rgb(colour) for colour in (find_theme("night").ground, find_theme("night").scar))
    for grid, units_of in edges(layout.grids):
        inside = picture[grid.box.y : grid.box.y + grid.box.height, grid.box.x : grid.box.x + grid.box.width]
        lit = np.abs(inside - ground).max(axis=2)
        if units_of.start < tiny_memory.units:
            assert (lit > 16).mean() > 0.3
        else:  # strokes alone
            assert 0.02 < (lit > 16).mean() < 0.3
            assert inside.max() <= scar.max() + 8
    still(render(piece, tmp_path / "piece.wav", force=True).path, piece, tmp_path / "still.png", config)
    with Image.open(tmp_path / "still.png") as picture_file:
        assert picture_file.size == (640, 360)


def test_the_watch_knows_the_chord_of_each_part(tiny_memory: Memory, notes_memory: Memory) -> None:
    voices = [{"chords": ["C"]}, {"memory": "notes", "chords": ["G3"], "start": 1.5}]
    piece = Piece(checked(Score, PLAIN | {"voices": voices, "memory": "tiny"}), tiny_memory, {"notes": notes_memory})
    watch, (tiny, notes) = Watch(piece), piece.parts
    watch.at(1.0)
    assert (watch.chord(tiny), watch.chord(notes)) == ("C", None)
    both = watch.at(1.6)
    assert (watch.chord(tiny), watch.chord(notes)) == ("C", "G3")
    assert both.activations[tiny.within].max() > 0
    assert both.activations[notes.within].max() > 0
    latest = {event.voice: event.strengths for event in piece.events() if event.onset <= 1.6 * 44_100}
    assert np.array_equal(both.strengths, np.concatenate([latest[0], latest[1]]))


def test_a_frame_too_small_for_the_units_is_refused() -> None:
    with pytest.raises(InputError, match="320 x 240 is too small to show 1984 units"):
        lay_out(320, 240, units(128))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("641x360", "H.264 needs even sides, got 641x360; 642x360 would do"),
        ("huge", "a size is 1080p, 720p, square, vertical or like 1280x720"),
        ("100x100", "a side has 240 to 4096 pixels"),
        ("3x3", "a side has 240 to 4096 pixels"),
        ("99999x99999", "a side has 240 to 4096 pixels"),
    ],
)
def test_wrong_sizes_say_what_would_be_right(size: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        checked(FilmConfig, {"size": size})


def test_what_is_drawn_has_the_colours_of_the_theme() -> None:
    theme = find_theme("night")
    planes = Planes(32, 18 * 2, theme.ground)
    whole = np.ones((16, 16), dtype=np.float32)
    planes.blend(8, 8, [(whole, theme.glow)])
    assert planes.rgb()[0, 0] / 255 == pytest.approx(rgb(theme.ground), abs=0.015)
    assert planes.rgb()[16, 16] / 255 == pytest.approx(rgb(theme.glow), abs=0.015)
    before = planes.pixels.copy()
    copy = planes.copy()
    copy.cover(np.ones((36, 32), dtype=np.float32), theme.ink)
    assert copy.rgb()[20, 20] / 255 == pytest.approx(rgb(theme.ink), abs=0.015)
    assert (planes.pixels == before).all()
    planes.clear(8, 8, 16, 16)
    assert (planes.luma == planes.luma[0, 0]).all()


def test_numbers_say_nothing_and_all_only_where_that_is_so() -> None:
    assert [_whole(v, 512) for v in (0.0, 0.2, 1.4, 511.7, 512.0)] == [0, 1, 1, 511, 512]


def test_the_watch_sees_what_the_events_are_made_with(tiny_memory: Memory) -> None:
    piece = Piece(checked(Score, PLAIN), tiny_memory)
    watch = Watch(piece)
    rate = piece.score.file.sample_rate_hz
    for event in list(piece.events()):
        onset_s = event.onset / rate
        if onset_s:
            before = watch.at(onset_s - 1e-4)
            assert not np.array_equal(before.strengths, event.strengths)
        seen = watch.at(onset_s + 1e-4)
        assert seen.chord == event.chord
        assert np.array_equal(seen.strengths, event.strengths)
    gone = seen.strengths == 0.0
    assert gone.any()
    after = watch.at(onset_s + 2.6)  # when what sounded before has ended
    assert (after.activations[gone] == 0.0).all()
    silent = watch.at(piece.score.duration_s + 60.0)
    assert silent.chord is None
    assert (silent.activations == 0.0).all()


def test_activations_follow_sound_through_time(tiny_memory: Memory) -> None:
    score = checked(Score, PLAIN | {"tempo_bpm": 10, "forgetting": {"to": 0.0}})
    piece = Piece(score, tiny_memory)
    watch, event = Watch(piece), next(piece.events())
    maps = tiny_memory.observe(event.latent[None], event.label, steps=4)[1][0]
    quarter = tiny_memory.spec.duration_s / 4
    seen = [watch.at(quarter * (i + 0.5)).activations for i in range(4)]
    for i in (0, 1):
        alike = np.corrcoef(seen[i], maps[:, i])[0, 1]
        assert alike > 0.9 > np.corrcoef(seen[0], maps[:, 3])[0, 1] - 0.09
    assert seen[3].mean() < seen[0].mean()  # the envelope


def test_a_voice_that_forgets_nothing_does_not_hide_what_is_forgotten(tiny_memory: Memory) -> None:
    voices = [{"chords": ["C"]}, {"chords": ["Am"], "forgets": False, "start": 0.3}]
    piece = Piece(checked(Score, PLAIN | {"voices": voices}), tiny_memory)
    seen = Watch(piece).at(2.8)  # the other voice began later
    assert seen.strengths.mean() == pytest.approx(0.2)
    assert seen.chord == "C"


SIZES = (8, 4)


def seen(*strengths: float, firing: float = 0.3) -> Seen:
    values = np.repeat(np.array(strengths, dtype=np.float32), SIZES)
    return Seen("C", values, firing * values)


def test_a_lost_unit_flares_at_once_and_leaves_a_scar() -> None:
    theme = find_theme("night")
    cells = Cells([SIZES], theme, seen(1, 1))
    cells.step(seen(1, 1), 1 / 30)
    assert cells.flare.max() == 0.0
    cells.step(Seen("C", np.array([0, *[1] * 11], dtype=np.float32), np.zeros(12, dtype=np.float32)), 1 / 30)
    assert cells.flare[0] > 0.5
    assert cells.flare[1:].max() == 0.0
    for _ in range(90):
        cells.step(Seen("C", cells.strength, np.zeros(12, dtype=np.float32)), 1 / 30)
    assert cells.flare[0] < 0.001
    assert cells.size[0] < 0.001
    assert cells.size[1] == 1.0
    for _ in range(90):
        cells.step(seen(1, 1), 1 / 30)
    assert cells.size[0] > 0.99


def test_state_is_shape_too() -> None:
    theme, shapes = find_theme("night"), Shapes(24)
    grid = UnitGrid("deconv1", 3, 2, 2, 24, Box(0, 0, 48, 48), Box(0, 0, 0, 0), Box(0, 0, 0, 0))
    strengths = np.array([1.0, 0.25, 0.0], dtype=np.float32)
    cells = Cells([(3,)], theme, Seen("C", strengths, np.full(3, 9.0, dtype=np.float32)))
    light, flares, scars = block(grid, shapes, cells, slice(0, 3))
    areas = [light[:24, :24].sum(), light[:24, 24:].sum(), light[24:, :24].sum(), light[24:, 24:].sum()]
    assert areas[1] / areas[0] == pytest.approx(0.25, abs=0.03)
    assert areas[2] == areas[3] == 0.0
    assert flares.max() == 0.0
    assert scars[:24].max() == 0.0
    scar = scars[24:, :24]
    assert scar.max() == 1.0
    assert scar[0].max() == scar[-1].max() == 0.0
    assert np.allclose(scar, scar.T[::-1, ::-1], atol=1e-6)  # a rising stroke
    assert scar[15, 8] > scar[8, 8]
    sizes = [float(square.sum()) for square in shapes.squares]
    assert np.diff(sizes).min() > 0.0
    assert sizes[STEPS // 2] / sizes[-1] == pytest.approx(0.5, abs=0.03)


def relative_luminance(frame: npt.NDArray[np.uint8]) -> float:
    value = frame / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float((linear @ [0.2126, 0.7152, 0.0722]).mean())


def flashes(levels: Iterable[float]) -> int:
    """Count pairs of opposite changes by a tenth of full luminance or more (WCAG 2.3.1)."""
    turns, extreme, direction = 0, None, 0
    for level in levels:
        if extreme is None or (direction and (level - extreme) * direction >= 0):
            extreme = level
        elif abs(level - extreme) >= 0.1:
            turns, direction, extreme = turns + 1, 1 if level > extreme else -1, level
    return turns // 2


def alternating(frames: int, fps: int) -> Iterator[Seen]:
    """Everything dies and comes back five times a second, firing as hard as it can."""
    for i in range(frames):
        yield seen(*[float(i * 10 // fps % 2)] * 2, firing=50.0)


def shown_levels(frames: int, fps: int) -> list[float]:
    theme = find_theme("night")
    cells, shapes = Cells([SIZES], theme, seen(1, 1)), Shapes(24)
    grid = UnitGrid("deconv1", 4, 2, 2, 24, Box(0, 0, 48, 48), Box(0, 0, 0, 0), Box(0, 0, 0, 0))
    planes, levels = Planes(48, 48, theme.ground), []
    for one in alternating(frames, fps):
        cells.step(one, 1 / fps)
        light, flares, scars = block(grid, shapes, cells, slice(8, 12))
        planes.blend(0, 0, [(light, theme.layer(1, 2)), (flares, theme.flare), (scars, theme.scar)])
        levels.append(relative_luminance(planes.rgb()))
    return levels


@pytest.mark.parametrize("fps", [24, 60])
def test_the_whole_field_never_flashes_more_than_three_times_a_second(
    fps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = shown_levels(4 * fps, fps)
    worst = max(flashes(levels[start : start + fps]) for start in range(0, len(levels) - fps, fps // 6))
    assert worst <= 3
    assert max(levels) - min(levels) > 0.03  # it moves
    monkeypatch.setattr(cells_module, "CALMEST_CHANGE", 1e9)
    wild = shown_levels(4 * fps, fps)
    assert max(flashes(wild[start : start + fps]) for start in range(0, len(wild) - fps, fps // 6)) > 3


def test_a_sound_is_seen_wherever_one_looks(tmp_path: Path) -> None:
    rate = 44_100
    time = np.arange(3 * rate) / rate
    sound = np.where(time < 1.5, np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 2000 * time)).astype(np.float32)
    soundfile.write(tmp_path / "two.flac", np.stack([sound, sound], axis=1), rate)
    with Heard(tmp_path / "two.flac") as heard:
        forward = [heard.column(centre) for centre in range(0, 3 * rate, 1500)]
        again = [heard.column(centre) for centre in reversed(range(0, 3 * rate, 1500))][::-1]
        assert np.allclose(forward, again)
        bands = [int(np.argmax(column)) for column in forward]
        assert bands[5] < bands[-5]
        marks, names = heard.marks()
        assert marks[names.index("2000")] == pytest.approx(bands[-5] + 0.5, abs=1.5)
        assert heard.overview(7).shape == (heard.spec.n_mels, 7)
        assert heard.column(3 * rate + WINDOW).max() == pytest.approx(-120.0)
    with pytest.raises(AudioError, match="no such file"):
        Heard(tmp_path / "missing.wav")


def test_silence_is_drawn_as_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros((44_100, 2)), 44_100)
    theme = find_theme("night")
    planes = Planes(64, 32, theme.ground)
    with Heard(tmp_path / "silent.wav") as heard:
        Strip(Box(0, 0, 64, 32), heard, 24, theme, 0).draw(planes)
    picture = planes.rgb()[:, 8:40].astype(float)
    assert np.abs(picture - 255 * rgb(theme.ground)).max() < 4


def decoded(path: Path) -> tuple[list[npt.NDArray[np.uint8]], list[float]]:
    with av.open(path) as file:
        frames = list(file.decode(file.streams.video[0]))
    lightness = [frame.to_ndarray()[: frame.height].astype(np.uint8) for frame in frames]
    return lightness, [float(frame.time or 0.0) for frame in frames]


@pytest.fixture(scope="module")
def piece_and_film(tmp_path_factory: pytest.TempPathFactory, tiny_generator: Any, tiny_header: Any) -> Any:
    folder = tmp_path_factory.mktemp("film")
    memory = Memory(tiny_generator, tiny_header)
    sound, piece = made(memory, folder, title="A loop", credits=["by nobody"])
    return sound, piece, film(sound, piece, folder / "piece.mp4", SMALL)


def test_the_film_is_what_players_want(piece_and_film: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, piece, path = piece_and_film
    told = load_benchmark("film", monkeypatch).streams(path)
    assert told["constant_rate"]
    assert told["index_first"]
    assert (told["fps"], told["pixels"], told["width"], told["height"]) == (24, "yuv420p", 320, 240)
    assert told["video_s"] == pytest.approx(piece.score.duration_s, abs=1 / 24)
    assert told["audio_s"] == pytest.approx(told["video_s"], abs=1 / 24)
    with av.open(path) as file:
        assert file.metadata["title"] == "A loop"
        assert file.metadata["artist"] == "by nobody"
        context = file.streams.video[0].codec_context
        assert (context.color_range, context.colorspace) == (1, 1)
    assert read_provenance(path) == read_provenance(sound)
    assert reopened(path) == reopened(sound)


def test_the_film_sounds_as_the_piece(piece_and_film: Any) -> None:
    sound, _, path = piece_and_film
    whole, rate = soundfile.read(sound, dtype="float32")
    heard = np.zeros_like(whole)
    with av.open(path) as file:
        for part in file.decode(file.streams.audio[0]):
            start = round(float(part.time or 0.0) * rate)
            samples = part.to_ndarray().T
            inside = samples[max(0, -start) :][: len(heard) - max(0, start)]
            heard[max(0, start) : max(0, start) + len(inside)] = inside
    assert np.corrcoef(heard[:, 0], whole[:, 0])[0, 1] > 0.99  # sample by sample, so not a millisecond off


def test_the_film_shows_what_is_drawn(piece_and_film: Any) -> None:
    sound, piece, path = piece_and_film
    frames, times = decoded(path)
    assert len(frames) == 144
    assert np.allclose(np.diff(times), 1 / 24, atol=1e-3)
    with Heard(sound) as heard:
        drawn = Frames(piece, heard, SMALL)
        for frame in frames:
            plain = drawn.draw()[:240].astype(float)
            assert np.abs(plain - frame).mean() < 3.0


def test_a_still_is_a_frame_of_the_film(piece_and_film: Any, tmp_path: Path) -> None:
    sound, piece, path = piece_and_film
    frames, _ = decoded(path)
    at_s = 3.5
    with Image.open(still(sound, piece, tmp_path / "still.png", SMALL, at_s=at_s)) as picture:
        lightness = np.asarray(picture.convert("L"), dtype=float)
    video = (frames[int(at_s * 24)].astype(float) - 16) * 255 / 219
    assert np.abs(lightness - video).mean() < 4.0
    assert np.abs(lightness - (frames[0].astype(float) - 16) * 255 / 219).mean() > 6.0
    with pytest.raises(InputError, match=r"within 0\.\.6 s of the piece, got 7"):
        still(sound, piece, tmp_path / "other.png", SMALL, at_s=7.0)


def test_the_poster_shows_where_half_of_what_goes_is_gone(piece_and_film: Any) -> None:
    _, piece, _ = piece_and_film
    shares = [float(event.strengths.mean()) for event in piece.events()]
    moment = film_module._telling_moment(piece)
    left = float(Watch(piece).at(moment).strengths.mean())
    assert left == min(shares, key=lambda share: abs(share - (max(shares) + min(shares)) / 2))


def test_titles_open_and_credits_close(piece_and_film: Any, tmp_path: Path, tiny_memory: Memory) -> None:
    _, piece, path = piece_and_film
    frames, _ = decoded(path)
    other = tmp_path / "other"
    other.mkdir()
    sound, plain_piece = made(tiny_memory, other)
    plain, _ = decoded(film(sound, plain_piece, other / "piece.mp4", SMALL))
    apart = [float(np.abs(a.astype(float) - b).mean()) for a, b in zip(frames, plain, strict=True)]
    assert min(apart[:12]) > 5.0
    assert min(apart[-8:]) > 2.0
    assert max(apart[60:84]) < 2.0
    assert piece.score.title == "A loop"


def test_a_death_is_seen_when_it_is_heard(tiny_memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = load_benchmark("film", monkeypatch)
    deaths = (3.1, 20.0)
    config = FilmConfig(size="320x240", fps=25)
    score = measuring.constructed(26.0, deaths, voices=[{"chords": ["C", "Am"]}], reverb={"rt60_s": 0.5})
    sounds = measuring.dying_and_intact(tmp_path, score, tiny_memory)
    films = []
    for sound, changes in zip(sounds, (score.changes, ()), strict=True):
        piece = Piece(score.model_copy(update={"changes": changes}), tiny_memory)
        films.append(film(sound, piece, sound.with_suffix(".mp4"), config))
    found = measuring.deaths_in(tuple(films), score, tiny_memory.layers, deaths, config)
    for death in found:
        assert death["heard_s"] == pytest.approx(death["meant_s"], abs=0.01)
        assert death["apart_frames"] <= 1.0


def test_the_same_film_has_the_same_bytes(piece_and_film: Any, tmp_path: Path) -> None:
    sound, piece, path = piece_and_film
    assert film(sound, piece, tmp_path / "again.mp4", SMALL).read_bytes() == path.read_bytes()


def test_an_interrupted_film_leaves_nothing(piece_and_film: Any, tmp_path: Path) -> None:
    sound, piece, _ = piece_and_film

    def broken(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        assert (total, what) == (144, "filming")
        for i, item in enumerate(items):
            if i == 30:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        film(sound, piece, tmp_path / "never.mp4", SMALL, track=broken)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_filmed_is_refused_before_any_work(piece_and_film: Any, tmp_path: Path) -> None:
    sound, piece, path = piece_and_film
    with pytest.raises(InputError, match="exists already"):
        film(sound, piece, path, SMALL)
    with pytest.raises(InputError, match=r"unknown file ending '\.avi'"):
        film(sound, piece, tmp_path / "x.avi", SMALL)
    with pytest.raises(InputError, match="no such folder"):
        film(sound, piece, tmp_path / "nowhere" / "x.mp4", SMALL)
    short = tmp_path / "short.wav"
    samples, rate = soundfile.read(sound, dtype="float32")
    soundfile.write(short, samples[:-100], rate)
    with pytest.raises(InputError, match="it was changed since, render it again"):
        film(short, piece, tmp_path / "x.mp4", SMALL)
    assert not (tmp_path / "x.mp4").exists()


def test_a_missing_encoder_is_named(piece_and_film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, piece, _ = piece_and_film
    monkeypatch.setattr(film_module, "VIDEO", "libnothing")
    with pytest.raises(InputError, match=r"no encoder for H.264 \(libnothing\); its binary wheel has: pip install"):
        film(sound, piece, tmp_path / "x.mp4", SMALL)


def test_a_full_disk_leaves_nothing(piece_and_film: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, piece, _ = piece_and_film

    def full(*given: Any) -> None:
        raise av.error.OSError(28, "No space left on device", "x.mp4")

    monkeypatch.setattr(film_module, "_encode", full)
    with pytest.raises(OutputError, match="could not be written"):
        film(sound, piece, tmp_path / "x.mp4", SMALL)
    assert list(tmp_path.iterdir()) == []


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def test_the_command_films_a_file_and_a_render(tiny_path: Path, tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    command = ["forget", "-m", str(tiny_path), "-o", str(sound), "--duration", "5", "--chords", "C,Am", "--every", "1"]
    looks = ["--size", "320x240", "--fps", "24", "--theme", "paper"]
    filmed = str(tmp_path / "a.mp4")
    result = run(*command, "--film", filmed, "--poster", str(tmp_path / "p.png"), *looks)
    assert result.exit_code == 0, result.output
    assert {p.name for p in tmp_path.iterdir()} >= {"a.wav", "a.json", "a.png", "a.mp4", "p.png"}
    with Image.open(tmp_path / "p.png") as poster:
        assert poster.size == (320, 240)
    again = run("film", str(sound), "-o", str(tmp_path / "b.mp4"), *looks)
    assert again.exit_code == 0, again.output
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "a.mp4").read_bytes()
    assert run("film", str(sound)).exit_code == 2  # a.mp4 is there
    told = run("reopen", filmed)
    assert "tempo_bpm = 60.0" in told.output
    assert json.loads((tmp_path / "a.json").read_text())["score"]["duration_s"] == 5


def test_a_poster_does_not_take_the_place_of_the_portrait(tiny_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.wav"
    result = run("forget", "-m", str(tiny_path), "-o", str(out), "--poster", str(tmp_path / "a.png"))
    assert result.exit_code == 2
    assert "would be portrait and poster at once" in result.output
    assert list(tmp_path.iterdir()) == [tiny_path]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x.wav",), "x.wav: no such file"),
        (("plain.wav",), "plain.wav: does not say how it was made"),
        (("plain.wav", "--size", "641x360"), "H.264 needs even sides"),
        (("plain.wav", "--fps", "29"), "fps: must be 24, 25, 30 or 60 (got 29)"),
        (("plain.wav", "--poster", "p.jpg"), "unknown file ending '.jpg'"),
        (("broken.mp4",), "broken.mp4"),
    ],
)
def test_wrong_commands_get_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("plain.wav", np.zeros((100, 2)), 44_100)
    Path("broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 50)
    result = run("film", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert result.output.count("\n") == 1


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here to play the film")
def test_a_browser_plays_it(piece_and_film: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"""<!doctype html><video muted src="{piece_and_film[2].as_uri()}"></video><pre></pre><script>
        const video = document.querySelector("video");
        video.ontimeupdate = video.onerror = () => {{
          document.querySelector("pre").textContent = JSON.stringify({{
            error: video.error?.message ?? null, at: video.currentTime, size: [video.videoWidth, video.videoHeight],
            length: video.duration, frames: video.getVideoPlaybackQuality().totalVideoFrames,
            sound: video.webkitAudioDecodedByteCount}})
        }};
        video.play()</script>""")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    command = ["chromium", *flags, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    told = json.loads(shown.partition("<pre>")[2].partition("</pre>")[0])
    assert told["error"] is None
    assert told["size"] == [320, 240]
    assert told["length"] == pytest.approx(6.0, abs=1 / 24)
    assert told["at"] > 0.0
    assert told["frames"] > 0
    assert told["sound"] > 0


def test_cells_of_every_layer_are_drawn_in_their_own_block(piece_and_film: Any) -> None:
    sound, piece, _ = piece_and_film
    with Heard(sound) as heard:
        frames = Frames(piece, heard, FilmConfig(size="480x270", fps=24), first=48)
        frames.draw()
        picture = frames.rgb()
    ground = np.rint(255 * rgb(find_theme("night").ground))
    for grid, _ in edges(lay_out(480, 270, piece.memory.layers).grids):
        inside = picture[grid.box.y : grid.box.y + grid.box.height, grid.box.x : grid.box.x + grid.box.width]
        assert (np.abs(inside.astype(float) - ground).max(axis=2) > 8).mean() > 0.1
    assert (np.abs(picture[:, :8].astype(float) - ground) <= 2).all()
