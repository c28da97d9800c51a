"""Commands that make scores of what was written elsewhere: MIDI files, charts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fugue_state.cli.options import USER_PATH, forced, of_options, option
from fugue_state.cli.telling import examples, note, say, typed
from fugue_state.config import DEFAULT_MEMORY
from fugue_state.errors import InputError, counted
from fugue_state.limits import CHART_BYTES
from fugue_state.score.model import Score
from fugue_state.score.places import at_home
from fugue_state.score.times import told

if TYPE_CHECKING:
    from fugue_state.score.arranging import Arranged, Player

MOST_ROWS = 16  # of a table
HEAD = ("track", "asked", "played", "times")
STDIN = "-"

played_by = click.option(
    "-m",
    "--memory",
    default=DEFAULT_MEMORY,
    show_default=True,
    help="The memory that plays it: its name, checkpoint or run folder.",
)
written_to = click.option("-o", "--out", type=USER_PATH, help="Write the score to this file; without it, print it.")


@click.command(
    "from-midi",
    epilog=examples(
        "fugue score from-midi song.mid -o song.toml",
        "fugue score from-midi song.mid -o song.toml --memory notes --voice piano=chords",
        "fugue score from-midi song.mid -o song.toml --track piano --track bass",
    ),
)
@click.argument("song", type=USER_PATH)
@written_to
@played_by
@click.option(
    "--voice",
    "voices",
    multiple=True,
    metavar="NAME=MEMORY",
    help="Let another memory play this track; may be repeated.",
)
@click.option("--track", "tracks", multiple=True, metavar="NAME", help="Only this track; may be repeated.")
@forced
def from_midi(
    song: Path, out: Path | None, memory: str, voices: Sequence[str], tracks: Sequence[str], force: bool
) -> None:
    """Write the score of SONG, a MIDI file: tracks, tempo, metre and markers.

    A memory of notes plays the notes, a memory of chords the chords they make. What it does not know is played as the
    nearest that it knows, and listed. A marker such as "forget", "recall 40 %", "jump 50 %" or "hold over 8" becomes
    that cue, any other marker a place with a name.
    """
    from fugue_state.score.arranging import arranged
    from fugue_state.score.midi import read_midi
    from fugue_state.score.song import chosen

    _check_out(out, force, song)
    read = read_midi(song)
    others = dict(map(_voice, voices))
    chosen(read, others)
    kept, player = chosen(read, tracks), _player(memory)
    players = {name: _player(another) for name, another in others.items()}
    try:
        made = arranged(kept, player, players)
    except InputError as error:
        raise InputError(f"{song}: {error}") from None
    _finish(made, out)


@click.command(
    "from-chart",
    epilog=examples(
        "fugue score from-chart chart.txt -o song.toml",
        'fugue score from-chart --text "| Am | F G | C |" -o song.toml --tempo 72 --rounds 4',
        "fugue score from-chart - -o song.toml < chart.txt",
    ),
)
@click.argument("chart", required=False, type=click.Path(allow_dash=True))
@click.option("--text", help="The chart itself, instead of a file.")
@written_to
@played_by
@option(Score, "title", kind_of=str, about="Name of the piece; default: that of the file.")
@option(Score, "tempo_bpm", "--tempo", kind_of=float, about="Beats in a minute.")
@option(Score, "beats_per_bar", "--beats", kind_of=int, about="Beats in a bar.")
@click.option(
    "--rounds", type=click.IntRange(1, 1_000_000), help="How often it is played; default: as often as fits 90 seconds."
)
@forced
def from_chart(
    chart: str | None,
    text: str | None,
    out: Path | None,
    memory: str,
    title: str,
    tempo_bpm: float,
    beats_per_bar: int,
    rounds: int | None,
    force: bool,
) -> None:
    """Write the score of CHART, a text file (or - for what is piped in): chords in bars.

    The chords of a bar share it evenly: | Am | F G | C . . G | % |. A dot plays the chord again, % the bar before, -
    rests. |: and :| or x4 repeat, [Chorus] names a place, and # begins a comment.
    """
    from fugue_state.score.arranging import charted
    from fugue_state.score.chart import chart_of, load_chart, read_chart

    if (chart is None) == (text is None):
        raise InputError("a chart is a file, - or --text: give one of them")
    said = of_options(Score, {"title": title, "tempo_bpm": tempo_bpm, "beats_per_bar": beats_per_bar})
    path = None if chart in {None, STDIN} else at_home(str(chart))
    _check_out(out, force, path)
    if text is not None:
        read = read_chart(text)
    elif path is not None:
        read = load_chart(path)
    else:
        read = chart_of(sys.stdin.buffer.read(int(CHART_BYTES.most) + 1))
    titled = said.title or ("" if path is None else path.stem)
    _finish(charted(read, _player(memory), titled, said.tempo_bpm, said.beats_per_bar, rounds), out)


def _check_out(out: Path | None, force: bool, source: Path | None) -> None:
    """Refuse a score that cannot be written before any work is done."""
    from fugue_state.files import output_path

    if out is not None:
        output_path(out, force=force, suffixes=(".toml",), reads=[] if source is None else [source])


def _voice(said: str) -> tuple[str, str]:
    """Return the track and the memory that `NAME=MEMORY` says."""
    name, _, memory = said.rpartition("=")
    if not name or not memory:
        raise InputError(f"--voice {said}: it is a track and the memory that plays it, like piano=chords")
    return name, memory


def _player(memory: str) -> Player:
    """Return what is known of a memory without loading it."""
    from fugue_state.memory.catalogue import find_memory, read_header
    from fugue_state.score.arranging import Player

    header = read_header(find_memory(memory))
    return Player(memory, header.model.labels, header.mel.duration_s)


def _finish(arranged: Arranged, out: Path | None) -> None:
    """Write or print a score, and say what had to be changed."""
    from fugue_state.files import replacing
    from fugue_state.memory.catalogue import named_memories
    from fugue_state.score.explained import editable
    from fugue_state.score.places import travelling

    score = travelling(arranged.score, Path() if out is None else out.parent, named_memories())
    for notice in arranged.notices:
        note(notice)
    for row in _table(arranged.changed):
        say(row)
    if out is None:
        click.echo(editable(score), nl=False)
        return
    with replacing(out) as beside:
        beside.write_text(editable(score), encoding="utf-8")
    holds = f"{counted(len(score.voices), 'voice')}, {counted(len(score.cues), 'cue')}, {told(score.duration_s)}"
    named, sound = map(typed, (out, out.with_suffix(".wav")))
    say(f"wrote {out}: {holds}; next: fugue score check {named}, fugue render {named} -o {sound}")


def _table(changed: Sequence[tuple[str, str, str, int]]) -> Iterator[str]:
    """Yield the lines of a table of what is played instead of what was asked for, the commonest first."""
    rows = sorted(changed, key=lambda row: -row[3])
    shown = [HEAD, *((track, asked, played, str(times)) for track, asked, played, times in rows[:MOST_ROWS])]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown if rows else []:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if more := len(rows) - MOST_ROWS if len(rows) > MOST_ROWS else 0:
        yield f"and {more} more"
