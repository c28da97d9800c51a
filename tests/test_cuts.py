"""Parts of a piece, written with the samples that they have in the whole."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from fugue_state.arrays import Array
from fugue_state.cli import main
from fugue_state.engine.performance import Performance
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.output.markers import markers
from fugue_state.output.part import part_folder
from fugue_state.output.provenance import part_of, read_provenance, reopened
from fugue_state.output.render import cut_of, render
from fugue_state.picture.film import film
from fugue_state.picture.portrait import portrait_figure
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.text import dump_score, load_score
from fugue_state.settings import checked

from .test_render import Break, interrupt, names
from .test_riff import marked

RATE = 44_100
BASE: dict[str, Any] = {
    "duration_s": 6.0,
    "tempo_bpm": 120,
    "seed": 4,
    "quality": "draft",
    "voices": [{"name": "low", "event_s": 1.4}, {"beats": 1.5, "event_s": 1.4, "curves": {"pan": [[0, -1], [6, 1]]}}],
    "forgetting": {"order": "random", "pace": "linear"},
    "reverb": {"rt60_s": 0.5},
    "fade_out_s": 2.0,
}


def score(**changes: Any) -> Score:
    return checked(Score, BASE | changes)


def read(path: Path) -> Array:
    return np.asarray(soundfile.read(path, dtype="int32", always_2d=True)[0])


def floats(path: Path) -> Array:
    return np.asarray(soundfile.read(path, dtype="float32", always_2d=True)[0])


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_part_has_the_samples_of_the_whole(
    subtype: str, normalize: bool, tmp_path: Path, tiny_memory: Memory
) -> None:
    piece = Piece(score(file={"subtype": subtype}, master={"normalize": normalize}), tiny_memory)
    whole = render(piece, tmp_path / "whole.wav", stems=True)
    part = render(piece, tmp_path / "part.wav", stems=True, start="25 %", until="bar 2.7")
    first, end = round(1.5 * RATE), round(3.4 * RATE)
    assert names(tmp_path) == [
        f"{name}{ending}"
        for name in ("part", "whole")
        for ending in ("-dry.wav", "-low.wav", "-reverb.wav", "-voice-2.wav", ".json", ".wav")
    ]
    for name in ("", "-dry", "-reverb", "-low", "-voice-2"):
        own, all_ = (floats(tmp_path / f"{kind}{name}.wav") for kind in ("part", "whole"))
        np.testing.assert_array_equal(own, all_[first:end])
        assert np.abs(own).max() > 1e-3
    assert part.duration_s == 1.9
    assert part.loudness_lufs != whole.loudness_lufs
    assert part.true_peak_dbtp <= whole.true_peak_dbtp


def test_what_is_loud_is_limited_as_in_the_whole(tmp_path: Path, tiny_memory: Memory) -> None:
    piece = Piece(score(master={"loudness_lufs": -8}), tiny_memory)
    render(piece, tmp_path / "whole.wav")
    for start, until in ((0, 2.123), (2.123, 4.2), (4.2, None)):
        render(piece, tmp_path / "part.wav", start=start, until=until, force=True)
        first, end = round(start * RATE), 6 * RATE if until is None else round(until * RATE)
        np.testing.assert_array_equal(read(tmp_path / "part.wav"), read(tmp_path / "whole.wav")[first:end])


def test_no_more_is_played_than_has_a_say(tmp_path: Path, tiny_memory: Memory) -> None:
    asked = []

    def watch(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        seen = list(items)
        asked.append((what, len(seen), total))
        yield from seen

    for normalize, seconds in ((False, 3), (True, 6)):
        piece = Piece(score(master={"normalize": normalize}), tiny_memory)
        render(piece, tmp_path / "a.wav", start=1, until=2.9, force=True, track=watch)
        assert [counts for what, *counts in asked if what == "playing"] == [[seconds, seconds]]
        asked.clear()


@pytest.mark.parametrize("quality", ["live", "final"])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_part_of_a_take(quality: str, normalize: bool, tmp_path: Path, tiny_memory: Memory) -> None:
    performance = Performance(score(quality=quality, fade_out_s=0), tiny_memory)
    for number in range(200):
        if number == 60:
            performance.change("/forget", 0.3)
        performance.next()
    take = performance.take().model_copy(update={"quality": quality, "recorded_from_s": 1.0})
    take = take.model_copy(update={"master": take.master.model_copy(update={"normalize": normalize})})
    piece = Piece(take, tiny_memory)
    render(piece, tmp_path / "whole.wav")
    render(piece, tmp_path / "part.wav", start=2, until=3)
    np.testing.assert_array_equal(read(tmp_path / "part.wav"), read(tmp_path / "whole.wav")[2 * RATE : 3 * RATE])
    with pytest.raises(InputError, match="--from-record says where the file starts"):
        render(piece, tmp_path / "no.wav", start=2, from_record=True)


def test_what_names_a_part_goes_on_and_makes_it_again(tmp_path: Path, tiny_memory: Memory) -> None:
    piece = Piece(score(duration_s=8.0, fade_out_s=0), tiny_memory)
    out = tmp_path / "part.wav"
    with pytest.raises(KeyboardInterrupt):
        render(piece, out, start=2, until=5, track=Break("playing", 4, interrupt), checkpoint_s=0)
    assert part_folder(out).exists()
    with pytest.raises(InputError, match="was started with part = "):
        render(piece, out, start=2, until=6, resume=True)
    render(piece, out, start=2, until=5, resume=True)
    render(piece, tmp_path / "again.wav", start=2.0, until="0:05")
    assert out.read_bytes() == (tmp_path / "again.wav").read_bytes()
    assert part_of(out) == part_of(out.with_suffix(".json")) == (2 * RATE, 5 * RATE)
    assert reopened(out) == reopened(tmp_path / "again.wav")


def test_markers_are_those_of_the_part(tmp_path: Path, tiny_memory: Memory) -> None:
    cues = [{"do": "recall", "at": 2.5, "over": 1, "name": "back"}, {"do": "jump", "to": 1, "at": 5}]
    piece = Piece(score(cues=cues), tiny_memory)
    render(piece, tmp_path / "part.wav", start=2, until=4, labels=True)
    wanted = [(m.sample - 2 * RATE, m.label) for m in markers(piece) if 2 * RATE <= m.sample < 4 * RATE]
    assert (RATE // 2, "back") in wanted
    assert marked(tmp_path / "part.wav") == wanted
    assert "0.500000\t0.500000\tback\n" in (tmp_path / "part.txt").read_text()


def test_all_of_a_piece_is_the_piece(tmp_path: Path, tiny_memory: Memory) -> None:
    piece = Piece(score(), tiny_memory)
    render(piece, tmp_path / "a.wav")
    render(piece, tmp_path / "b.wav", start=0, until="100 %")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert part_of(tmp_path / "b.wav") is None


@pytest.mark.parametrize(
    ("start", "until", "message"),
    [
        (7, None, "--from: 7 is past the end of the piece (0:06)"),
        (None, "110 %", "--until: 110 % is past the end of the piece (0:06)"),
        (4, 3, "--from 0:04 --until 0:03 is no part: it ends before it begins"),
        (3, 3, "--from 0:03 --until 0:03 is no part"),
        (6, None, "--from 0:06 --until 0:06 is no part"),
        ("soon", None, "--from: a time is 90,"),
        (None, -1, "--until: a time is finite and not negative"),
        (float("nan"), None, "--from: a time is finite"),
        (None, True, "--until: a time is 90,"),
        (None, [3], "--until: a time is 90,"),
        ("bar 0", None, "--from: bars count from 1, got 'bar 0'"),
    ],
)
def test_what_is_no_part_is_told(start: Any, until: Any, message: str, tmp_path: Path, tiny_memory: Memory) -> None:
    with pytest.raises(InputError) as refused:
        render(Piece(score(), tiny_memory), tmp_path / "a.wav", start=start, until=until)
    assert message in str(refused.value)
    assert names(tmp_path) == []


def test_parts_on_the_command_line(tmp_path: Path, tiny_path: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, [*words])
        assert done.exit_code == code, done.output
        return done.stderr

    piece, whole, part = (tmp_path / name for name in ("piece.toml", "whole.wav", "part.wav"))
    piece.write_text(dump_score(score(memory=str(tiny_path))), encoding="utf-8")
    run("render", str(piece), "-o", str(whole))
    told = run("render", str(piece), "-o", str(part), "--from", "1.234567", "--until", "50 %")
    assert "fugue film" not in told
    first = round(1.234567 * RATE)
    np.testing.assert_array_equal(read(part), read(whole)[first : 3 * RATE])
    assert part.with_suffix(".png").is_file()

    again = tmp_path / "again.toml"
    words = shlex.split(re.search(r"next: fugue (.*)", run("reopen", str(part), "-o", str(again)))[1])  # type: ignore[index]
    assert words[-4::2] == ["--from", "--until"]
    run(*[str(tmp_path / "again.wav") if word == "again.wav" else word for word in words])
    np.testing.assert_array_equal(read(tmp_path / "again.wav"), read(part))

    for wrong in (["--from", "3", "--until", "2"], ["--until", "9:00"], ["--from", "nowhere"]):
        told = run("render", str(piece), "-o", str(tmp_path / "no.wav"), *wrong, code=2)
        assert told.count("\n") == 1
    filmed = run("render", str(piece), "-o", str(tmp_path / "no.wav"), "--from", "3", "--film", "b.mp4", code=2)
    assert "do not go with --film" in filmed
    assert "holds a part" in run("film", str(part), code=2)
    assert not list(tmp_path.glob("no*"))
    words = ["forget", "-m", str(tiny_path), "-o", str(tmp_path / "f.wav"), "--duration", "4", "--quality", "draft"]
    run(*words, "--from", "1", "--until", "75 %")
    assert len(read(tmp_path / "f.wav")) == 2 * RATE
    assert load_score(again).samples == 6 * RATE


def test_a_part_is_drawn_in_its_place(tmp_path: Path, tiny_memory: Memory) -> None:
    piece = Piece(score(), tiny_memory)
    render(piece, tmp_path / "part.wav", start=2, until=3)
    panel = portrait_figure(piece, tmp_path / "part.wav", begin=2 * RATE).axes[0]
    assert tuple(panel.get_images()[0].get_extent())[:2] == (2.0, 3.0)
    assert panel.get_xlim() == (0.0, 6.0)


def test_a_film_of_a_part(tmp_path: Path, tiny_memory: Memory) -> None:
    piece = Piece(score(), tiny_memory)
    render(piece, tmp_path / "a.wav")
    film(tmp_path / "a.wav", piece, tmp_path / "whole.mp4")
    film(tmp_path / "a.wav", piece, tmp_path / "part.mp4", start=4, until=5)
    with av.open(tmp_path / "part.mp4") as part, av.open(tmp_path / "whole.mp4") as whole:
        shown = [frame.to_ndarray(format="gray") for frame in part.decode(video=0)]
        all_ = [frame.to_ndarray(format="gray") for frame in whole.decode(video=0)]
        assert len(shown) == 30
        assert part.streams.audio[0].duration == pytest.approx(RATE, abs=2048)
        for number in (0, 20):
            near = [float(np.abs(shown[number].astype(float) - other).mean()) for other in all_]
            assert int(np.argmin(near)) == 120 + number
    assert part_of(tmp_path / "part.mp4") == (4 * RATE, 5 * RATE)
    with pytest.raises(InputError, match="is no part"):
        film(tmp_path / "a.wav", piece, tmp_path / "no.mp4", start=4, until=2)


def test_a_damaged_part_is_told(tmp_path: Path, tiny_memory: Memory) -> None:
    piece = Piece(score(), tiny_memory)
    render(piece, tmp_path / "part.wav", start=2, until=3)
    path = tmp_path / "part.json"
    wrong: Any
    for wrong in ("soon", [1], [1, "2"], [True, 2], {}):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"part": wrong}))
        with pytest.raises(InputError, match=r"how it was made is damaged \(part is"):
            part_of(path)
    assert read_provenance(path)["part"] == {}


def test_a_part_is_cut_to_the_sample() -> None:
    cut = cut_of(score(master={"normalize": False}), 1 / RATE, 3 / RATE)
    assert (cut.first, cut.end) == (1, 3)
    assert 3 < cut.needed < RATE
