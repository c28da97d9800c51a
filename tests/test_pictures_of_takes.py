"""Pictures, markers and films of takes: as long as the take, not as long as the piece it was played from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fugue_state.audio import io
from fugue_state.cli import main
from fugue_state.config import FilmConfig
from fugue_state.memory.memory import Memory
from fugue_state.output.markers import markers
from fugue_state.picture.film import _telling_moment, still
from fugue_state.picture.frames import Frames, Run
from fugue_state.picture.heard import Heard
from fugue_state.picture.panels import PLOT_IN, named_cues
from fugue_state.picture.plan import overview_figure, table
from fugue_state.picture.portrait import portrait_figure
from fugue_state.picture.summary import overview
from fugue_state.picture.watch import Watch
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.text import dump_score
from fugue_state.settings import checked

RATE = 44_100
SMALL = FilmConfig(size="320x240", fps=24)
PAUSED = [{"at": 2.0, "path": "/play", "value": 0}, {"at": 5.0, "path": "/play", "value": 1}]
NEVER = [{"at": 0.0, "path": "/play", "value": 0}]


def take(of: Memory, **changes: Any) -> Piece:
    """Lay out a take of a piece of 4 s with cues at 1, 3 and 3.9 s, which was played for 12 s."""
    values: dict[str, Any] = {
        "duration_s": 4.0,
        "played_s": 12.0,
        "resolution": "block",
        "tempo_bpm": 60,
        "quality": "draft",
        "title": "A take",
        "credits": ["by hand"],
        "forgetting": {"order": "random"},
        "master": {"normalize": False},
        "cues": [{"do": "jump", "to": to, "at": at, "name": f"at {at}"} for at, to in ((1, 0.2), (3, 0.5), (3.9, 0.9))],
    }
    return Piece(checked(Score, values | changes), of)


def silence(folder: Path, samples: int) -> Path:
    path = folder / "take.wav"
    noise = 1e-3 * np.random.default_rng(0).standard_normal((samples, 2))
    io.write(path, noise.astype(np.float32), RATE)
    return path


@pytest.mark.parametrize("played_s", [12.0, 2.5])
def test_every_axis_is_as_long_as_the_take(tmp_path: Path, tiny_memory: Memory, played_s: float) -> None:
    piece = take(tiny_memory, played_s=played_s)
    sound = silence(tmp_path, piece.score.samples)
    portrait, plan = portrait_figure(piece, sound), overview_figure(piece)
    for axes in (*portrait.axes, *plan.axes):
        assert axes.get_xlim() == (0.0, played_s)
    assert portrait.axes[0].get_images()[0].get_extent()[1] == played_s
    for figure in (portrait, plan):
        layers = next(axes for axes in figure.axes if axes.get_ylabel() == "% remembered")
        assert all(np.asarray(line.get_xdata())[-1] == played_s for line in layers.get_lines())
        shown = [text.get_text() for text in figure.texts]
        assert any({12.0: "0:12", 2.5: "0:02.5"}[played_s] in text for text in shown), shown
    assert np.abs(overview(piece).times_s - np.arange(len(overview(piece).times_s))).max() < 0.03
    assert len(overview(piece).times_s) == {12.0: 12, 2.5: 3}[played_s]
    assert table(piece, overview(piece))[11].split()[0] == {12.0: "0:12", 2.5: "0:02.5"}[played_s]


def test_cues_and_chords_of_a_take_are_where_they_are_heard(tiny_memory: Memory) -> None:
    def at(piece: Piece) -> list[tuple[str, float]]:
        return [(span.cue.name, span.start_s) for span in piece.cues]

    assert at(take(tiny_memory)) == [("at 1", 1.0), ("at 3", 3.0), ("at 3.9", pytest.approx(3.9))]
    assert at(take(tiny_memory, played_s=2.0)) == [("at 1", 1.0)]
    assert at(take(tiny_memory, changes=NEVER)) == []
    paused = take(tiny_memory, changes=PAUSED)
    assert at(paused) == [
        ("at 1", 1.0),
        ("at 3", pytest.approx(6.0, abs=0.05)),
        ("at 3.9", pytest.approx(6.9, abs=0.05)),
    ]
    named, _ = named_cues(paused)
    assert [one.span.start_s * PLOT_IN / 12.0 < PLOT_IN for one in named] == [True] * 3
    strengths = dict(paused.moves())
    for span in paused.cues:  # what is remembered moves when the cue says
        assert min(abs(time_s - span.start_s) for time_s in strengths) < 0.05
    planned = take(tiny_memory, changes=PAUSED, loudness={"plan": [[0, 0], [4, -8]]})
    assert planned.heard_lu(6.0) == pytest.approx(-6.0, abs=0.1)
    for piece in (take(tiny_memory, played_s=2.0), take(tiny_memory, played_s=2.01), paused):
        marked = markers(piece)
        assert all(0 <= marker.sample < piece.score.samples for marker in marked)
        assert [m.sample for m in marked if m.name == "at 1"] == [RATE]


def test_a_film_of_a_take_counts_to_its_end(tmp_path: Path, tiny_memory: Memory) -> None:
    piece = take(tiny_memory)
    sound = silence(tmp_path, piece.score.samples)

    def shown(at_s: float) -> tuple[str, bool]:
        """Return the clock of a frame, and whether a card lies over it."""
        with Heard(sound) as heard:
            frames = Frames(piece, heard, SMALL, int(at_s * SMALL.fps))
            frames.draw()
            runs: Any = frames._written[frames._layout.time]
            return "".join(run.text for run in runs if isinstance(run, Run)), frames._shown is not frames._planes

    assert shown(0.5) == ("0:00 / 0:12", True)
    assert shown(3.9) == ("0:03 / 0:12", False)
    assert shown(6.5) == ("0:06 / 0:12", False)
    assert shown(11.5) == ("0:11 / 0:12", True)
    still(sound, piece, tmp_path / "late.png", SMALL, at_s=11.0)
    assert 3.0 < _telling_moment(take(tiny_memory, changes=PAUSED)) < 12.0


def test_a_film_of_a_take_shows_what_the_hand_does_between_chords(tiny_memory: Memory) -> None:
    changes = [{"at": 5.5, "path": "/forget", "value": 1.0}]
    watch = Watch(take(tiny_memory, cues=[], tempo_bpm=10, changes=changes, forgetting={"order": "random", "to": 0}))
    assert watch.at(5.4).strengths.mean() == 1.0
    assert watch.at(5.6).strengths.mean() == 0.0  # no chord begins before 6 s


@pytest.mark.parametrize("played_s", [0.01, 0.5])
def test_a_take_in_which_nothing_begins_is_rendered_and_drawn(tmp_path: Path, tiny_path: Path, played_s: float) -> None:
    memory = Memory.load(tiny_path, quality="draft")
    piece = take(memory, memory=str(tiny_path), voices=[{"start": 0.9}], played_s=played_s)
    assert list(piece.events()) == []
    (tmp_path / "take.toml").write_text(dump_score(piece.score))
    words = ["render", str(tmp_path / "take.toml"), "-o", str(tmp_path / "a.wav"), "--poster", str(tmp_path / "b.png")]
    words += ["--film", str(tmp_path / "a.mp4"), "--size", "320x240", "--labels"]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for name in ("a.wav", "a.png", "a.json", "a.txt", "b.png", "a.mp4"):
        assert (tmp_path / name).is_file()
    for more in ([], ["-o", str(tmp_path / "plan.svg")]):
        done = CliRunner().invoke(main, ["score", "show", str(tmp_path / "take.toml"), *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
