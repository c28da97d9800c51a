"""Charts, chords in bars, become scores."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fugue_state.cli import main
from fugue_state.errors import InputError
from fugue_state.limits import CHART_BYTES
from fugue_state.score.arranging import Arranged, Player, charted
from fugue_state.score.chart import Chart, load_chart, read_chart
from fugue_state.score.model import Score
from fugue_state.score.pitches import charted as chord_in_chart
from fugue_state.score.pitches import chord_of
from fugue_state.score.text import load_score

GUITAR = Player("guitar", ("Am", "Bb", "C", "Dm", "Em", "F", "G", "F#m"), 3.0)
NOTES = Player("notes", ("E2", "G2", "A2", "C3", "E3"), 3.0)


def bars(text: str) -> list[str]:
    """A chart's bars, each as its slots: - is a rest."""
    return [" ".join(slot.name or "-" for slot in bar) for bar in read_chart(text).bars]


def arranged(text: str, player: Player = GUITAR, beats: int = 4, rounds: int | None = 1) -> Arranged:
    return charted(read_chart(text), player, "", 60.0, beats, rounds)


def steps(text: str, player: Player = GUITAR, beats: int = 4) -> list[str]:
    return list(arranged(text, player, beats).score.model_dump(mode="json")["voices"][0]["chords"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("| Am | F G | C |", ["Am", "F G", "C"]),
        ("|Am|F G|C|", ["Am", "F G", "C"]),
        ("|| Am | F ||\n| C |]", ["Am", "F", "C"]),
        ("| Am . . G | . | / C |", ["Am Am Am G", "G", "G C"]),
        ("| Am G | % | C | % |", ["Am G", "Am G", "C", "C"]),
        ("| Am - | N.C. | NC F |", ["Am -", "-", "- F"]),
        ("# a song\n| Am | F#m |  # the end | G |\n\n", ["Am", "F#m"]),
        ("| Am | F | x3\n| C |", ["Am", "F"] * 3 + ["C"]),
        ("| Am | 2x | F | \u00d72", ["Am", "Am", "F", "F"]),
        ("|: Am | F :| C |", ["Am", "F", "Am", "F", "C"]),
        ("||: Am | F :|| x3\n| C |", ["Am", "F"] * 3 + ["C"]),
        ("|: Am :|: F :|", ["Am", "Am", "F", "F"]),
        ("|: Am |\n| F :|\n|: C :| x1", ["Am", "F", "Am", "F", "C"]),
        ("| C |: Am :| x2 | F | x2", ["C", "Am", "Am", "F", "F"]),
        ("[Verse]\n| Am | [Chorus] F |", ["Am", "F"]),
        ("| B\u266dmaj7 | F\u266fm |", ["Bbmaj7", "F#m"]),
    ],
)
def test_bars_are_read(text: str, found: list[str]) -> None:
    assert bars(text) == found


def test_texts_are_places_and_cues() -> None:
    made = arranged("[Verse] |: Am | F :| [Chorus]\n[forget 50 %]\n| C | G | [] [recall over 4] F |").score
    assert [cue.model_dump(exclude_defaults=True) for cue in made.cues] == [
        {"do": "hold", "name": "Verse", "over": 0.0, "at": "bar 1"},
        {"do": "forget", "name": "Chorus", "to": 0.5, "at": "bar 5"},
        {"do": "recall", "over": 4.0, "at": "bar 7"},
    ]
    assert made.forgetting.to == 0.0


def test_the_chords_of_a_bar_share_it() -> None:
    assert steps("| Am | F G | C . . G | C F G |") == [
        "Am*4", "F*2", "G*2", "C", "C", "C", "G", "C*1.3333", "F*1.3334", "G*1.3333",
    ]  # fmt: skip
    assert steps("| Am | F - |", beats=3) == ["Am*3", "F*1.5", "-*1.5"]
    assert steps("| - | C - F |", beats=2) == ["-*2", "C*0.6667", "-*0.6666", "F*0.6667"]


def test_a_chart_is_played_as_often_as_fits_or_as_one_says() -> None:
    for rounds, played in ((None, 7), (1, 1), (3, 3)):
        score = arranged("| Am | F | C |", rounds=rounds).score
        assert (score.voices[0].rounds, score.duration_s) == (played, played * 12.0 + 3.0 + 0.1)
    assert arranged("| Am | F | x40", rounds=None).score.voices[0].rounds == 1


@pytest.mark.parametrize(
    ("name", "played"),
    [
        ("Amin", None),
        ("A#", None),
        ("Am7", "Am"),
        ("Bbmaj7", "Bb"),
        ("C/E", "C"),
        ("C6/9", "C"),
        ("C6", "C"),
        ("A7", "Am"),
        ("G7sus4", "G"),
        ("Cadd9", "C"),
        ("Gm7", "Bb"),
    ],
)
def test_chords_are_the_nearest_that_the_memory_has_and_listed(name: str, played: str | None) -> None:
    found = arranged(f"| {name} | . |")
    assert found.changed == (() if played is None else (("", name, played, 2),))
    assert found.score.voices[0].chords[0].chord == played or played is None


def test_any_label_can_be_played_and_notes_where_the_memory_has_notes() -> None:
    assert steps("| rain wind |", Player("weather", ("rain", "wind"), 3.0), 2) == ["rain", "wind"]
    assert steps("| E2 A2 E5 D3 |", NOTES) == ["E2", "A2", "E3", "C3"]


@pytest.mark.parametrize(
    ("name", "semitones"),
    [
        ("C", (0, 4, 7)),
        ("Cmi7", (0, 3, 7, 10)),
        ("C-7b5", (0, 3, 6, 10)),
        ("C\u00f8", (0, 3, 6, 10)),
        ("C\u0394", (0, 4, 7, 11)),
        ("CM7", (0, 4, 7, 11)),
        ("CmMaj7", (0, 3, 7, 11)),
        ("C\u00b07", (0, 3, 6, 9)),
        ("C+", (0, 4, 8)),
        ("C6", (0, 4, 7, 9)),
        ("C9", (0, 2, 4, 7, 10)),
        ("C7(b9)", (0, 1, 4, 7, 10)),
        ("C7#9", (0, 3, 4, 7, 10)),
        ("C13", (0, 2, 4, 7, 9, 10)),
        ("Csus2", (0, 2, 7)),
        ("C5", (0, 7)),
        ("Cmadd9", (0, 2, 3, 7)),
        ("C7no5", (0, 4, 10)),
        ("Caug7", (0, 4, 8, 10)),
    ],
)
def test_chords_are_spelled_in_many_ways(name: str, semitones: tuple[int, ...]) -> None:
    assert chord_in_chart(name) == (0, semitones)


def test_what_a_label_can_be_means_the_same_in_a_chart() -> None:
    for kind in ("", "m", "maj", "min", "dim", "aug", "sus", "sus2", "sus4", "7", "maj7", "m7", "min7", "dim7"):
        assert chord_in_chart(f"Bb{kind}") == chord_of(f"Bb{kind}")
    assert [chord_in_chart(name) for name in ("H", "am", "E3", "C7x", "", "x4", "Cm8")] == [None] * 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "chart: no bars; bars stand between |, like | Am | F G | C |"),
        ("# only\n[Verse]", "chart: no bars"),
        ("Am F G", "chart:1: 'Am' stands before the first |"),
        ("| Am | F", "chart:1: the bar 'F' is not closed"),
        ("| Am |\n| F G\n| C |", "chart:2: the bar 'F G' is not closed"),
        ("| Am | | F |", "chart:1: bar 2 is empty: - is a rest, % the bar before again"),
        ("| | Am |", "chart:1: bar 1 is empty"),
        ("| Am |\n|: F | C |", "chart:2: the repeat |: is not closed by :|"),
        ("| Am :|", "chart:1: the repeat :| was not opened by |:"),
        ("|: Am |\n|: F :|", "chart:2: a repeat within the one that began in line 1"),
        ("|: :|", "chart:1: :| repeats nothing"),
        ("x4", "chart:1: x4 repeats nothing"),
        ("| Am | x0", "chart:1: x0 repeats nothing"),
        ("| Am x4 |", "chart:1: 'x4' stands within a bar"),
        ("| Am [Verse] |", "chart:1: '[Verse]' stands within a bar"),
        ("| . |", "chart:1: . has nothing before it"),
        ("| % |", "chart:1: % has nothing before it"),
        ("| Am | F % |", "chart:1: % stands alone in a bar"),
        ("| Am: |", "chart:1: ':' means nothing here"),
        ("| - | N.C. |", "chart: no chords, only rests"),
        ("| Am | x9999", "chart:1: 9999 chords are too many: at most 4,096"),
        ("| Am | x4000\n| F G |", ""),
        ("| Am | x4000\n| F G | x60", "chart: 4120 chords are too many: at most 4,096"),
        ("| Am |\n| Hm |", "chart:2: 'Hm' is no chord, like Am, F#m7, Bbmaj7 or C/E, and no label of Am, Bb, C"),
        ("| Am |\n| E3 |", "chart:2: 'E3' is no chord"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_chart_is_said_with_its_line(text: str, message: str) -> None:
    if not message:
        assert len(arranged(text).score.voices[0].chords) == 4002
        return
    with pytest.raises(InputError) as caught:
        arranged(text)
    assert str(caught.value).startswith(message)


def test_a_chord_in_a_chart_needs_a_memory_of_chords() -> None:
    with pytest.raises(InputError, match=r"chart:1: 'Am' is a chord, and memory 'notes' knows none \(E2, G2, A2"):
        arranged("| Am |", NOTES)


PIECES = st.lists(
    st.sampled_from(["|", "||", "|:", ":|", ":||:", "Am", "F", ".", "%", "-", "x2", "[A]", "\n", "#", ":", "C/E", " "])
)


@given(pieces=PIECES)
@example(pieces=["|:", "Am", ":|", "x2", "|", "F", "|"])
@settings(max_examples=200, deadline=None)
def test_any_chart_is_read_or_refused(pieces: list[str]) -> None:
    made: Score | None = None
    with contextlib.suppress(InputError):
        made = arranged(" ".join(pieces)).score
    if made is None:
        return
    beats = sum(step.beats or 1.0 for step in made.voices[0].chords)
    assert beats == pytest.approx(4 * len(read_chart(" ".join(pieces)).bars))


def run(*args: str | Path, given: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["score", "from-chart", *map(str, args)], input=given)


def test_the_command_reads_a_file_what_is_piped_in_or_its_option(tmp_path: Path) -> None:
    file, text = tmp_path / "Night song.txt", "|: Am7 | F :|\n"
    file.write_text(text, encoding="utf-8-sig")
    out = tmp_path / "song.toml"
    done = run(file, "-o", out, "--tempo", "72", "--beats", "3")
    assert done.exit_code == 0, done.output
    score = load_score(out)
    assert (score.title, score.tempo_bpm, score.beats_per_bar) == ("Night song", 72.0, 3)
    assert [line.split() for line in done.stderr.splitlines()[1:2]] == [["Am7", "Am", "2"]]
    for options in (["-"], ["--text", text]):
        how = ("--force", "--tempo", "72", "--beats", "3", "--title", "Night song")
        again = run(*options, "-o", out, *how, given=text.encode())
        assert again.exit_code == 0, again.output
        assert load_score(out) == score
    assert 'chords = ["Am*3", "F*3"' in run("--text", text, "--beats", "3").stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "a chart is a file, - or --text: give one of them"),
        (["-", "--text", "| Am |"], "a chart is a file, - or --text: give one of them"),
        (["none.txt"], "none.txt: no such file"),
        (["."], ".: is a folder, a file is needed"),
        (["-"], "chart: no chart (not text in UTF-8)"),
        (["--text", "| Am |", "--tempo", "0"], "--tempo: must be greater than or equal to 0.05 (got 0.0)"),
        (["--text", "| Am |", "--beats", "65"], "--beats: must be less than or equal to 64 (got 65)"),
        (["--text", "| Am |", "--rounds", "0"], "--rounds: 0 is not in the range 1<=x<=1000000"),
        (["--text", "| Am |", "--rounds", "1000000"], "'' lasts"),
        (["--text", "| Am |", "-m", "gitar"], "unknown memory 'gitar'; did you mean 'guitar'?"),
        (["--text", "| Am |", "-o", "a.txt"], "unknown file ending '.txt'"),
    ],
)
def test_what_is_asked_wrongly_is_refused_in_a_line(args: list[str], message: str) -> None:
    done = run(*args, given=b"| Am \xff |")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"fugue: {message}")
    assert done.stderr.count("\n") == 1


def test_files_that_are_no_charts(tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_text("| Am |\n" * (int(CHART_BYTES.most) // 7 + 1))
    (tmp_path / "a.txt").write_bytes(b"| \xff |")
    for name, message in (("large.txt", "bytes are too many"), ("a.txt", "not text in UTF-8")):
        with pytest.raises(InputError, match=message):
            load_chart(tmp_path / name)
    (tmp_path / "b.txt").write_text("| Am |")
    assert isinstance(load_chart(tmp_path / "b.txt"), Chart)
