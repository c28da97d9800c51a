"""The scripts among the examples: sessions of renders, takes of sensor data."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from fugue_state.memory.memory import Memory
from fugue_state.output.render import render
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score, Voice
from fugue_state.score.text import load_score

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(script: str, *words: str | Path) -> str:
    """What is said of wrong input: a line."""
    done = run(script, *words)
    assert done.returncode == 2, done
    [line] = done.stderr.splitlines()
    return line


@pytest.fixture
def rendered(tmp_path: Path, tiny_memory: Memory) -> Path:
    score = Score(duration_s=3.0, quality="draft", voices=(Voice(name="low"), Voice(name='"high"', level_db=-6.0)))
    render(Piece(score, tiny_memory), tmp_path / "piece.wav", stems=True, labels=True)
    return tmp_path / "piece.wav"


def test_a_session_holds_stems_and_markers(rendered: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "piece-other.wav", [0.0] * 10, 44_100)  # no stem of it
    assert run("reaper_session.py", rendered).returncode == 0
    text = (tmp_path / "piece.rpp").read_text()
    opened = re.findall(r"^ *<", text, re.MULTILINE)
    assert len(opened) == len(re.findall(r"^ *>$", text, re.MULTILINE))
    files = re.findall(r'FILE "(.*)"', text)
    assert files == ["piece.wav", "piece-dry.wav", "piece-high.wav", "piece-low.wav", "piece-reverb.wav"]
    assert all((tmp_path / name).is_file() for name in files)
    assert re.findall(r"MUTESOLO (\d)", text) == ["1", "1", "0", "0", "0"]
    assert {float(length) for length in re.findall(r"LENGTH (.*)", text)} == {3.0}
    labels = (tmp_path / "piece.txt").read_text().splitlines()
    said = {(line.split("\t")[0], line.split("\t")[2]) for line in labels}
    assert set(re.findall(r'MARKER \d+ (\S+) "(.*)" 0', text)) == said
    assert "exists already" in refused("reaper_session.py", rendered)
    assert run("reaper_session.py", rendered, "--force").returncode == 0


def test_what_is_no_render_with_stems_makes_no_session(rendered: Path, tmp_path: Path) -> None:
    assert "no such file" in refused("reaper_session.py", tmp_path / "nothing.wav")
    assert "no stems" in refused("reaper_session.py", tmp_path / "piece-dry.wav")
    assert "made" in refused("reaper_session.py", EXAMPLES / "fugue.pd")
    assert "'.txt'" in refused("reaper_session.py", rendered, "-o", tmp_path / "session.txt")
    (tmp_path / "piece.txt").write_text("not\ta time\tAm\n")
    assert "no labels" in refused("reaper_session.py", rendered)
    (tmp_path / "piece.txt").unlink()
    assert "--labels" in refused("reaper_session.py", rendered)
    assert not list(tmp_path.glob("*.rpp"))


def test_sensors_play_a_take_that_renders(tmp_path: Path, tiny_memory: Memory) -> None:
    take = tmp_path / "take.toml"
    maps = ["--map", "light=/forget", "--map", "touch=/layer/1/forget:0..2", "--map", "touch=/freeze:1..0"]
    assert run("take_from_csv.py", EXAMPLES / "sensors.csv", *maps, "-o", take).returncode == 0
    score = load_score(take)
    rows = list(csv.DictReader((EXAMPLES / "sensors.csv").read_text().splitlines()))
    light = [float(row["light"]) for row in rows]
    moved = {change.at: change.value for change in score.changes if change.path == "/forget"}
    for row in rows:
        if (at := float(row["time"])) in moved:
            share = (float(row["light"]) - min(light)) / (max(light) - min(light))
            assert moved[at] == pytest.approx(share, abs=1e-4)
    assert (min(moved.values()), max(moved.values())) == (0.0, 1.0)
    touched = [(change.at, change.value) for change in score.changes if change.path == "/layer/1/forget"]
    assert touched == [(0.0, 0.0), (3.0, 0.5), (5.0, 0.0), (8.0, 0.5), (9.0, 0.0)]
    frozen = [change.value for change in score.changes if change.path == "/freeze"]
    assert frozen == [1, 0, 1, 0, 1]
    assert score.forgetting.to == 0.0
    render(Piece(score, tiny_memory), tmp_path / "take.wav")
    assert soundfile.info(tmp_path / "take.wav").duration == pytest.approx(score.duration_s)


def test_a_score_is_played_by_sensors(tmp_path: Path) -> None:
    words = (EXAMPLES / "sensors.csv", "--map", "light=/volume", "--score", "slow-darkness", "-o", tmp_path / "t.toml")
    assert run("take_from_csv.py", *words).returncode == 0
    score = load_score(tmp_path / "t.toml")
    assert score.title == "Slow darkness"
    assert (score.duration_s, score.forgetting.to) == (12.0, 0.0)


@pytest.mark.parametrize(
    ("text", "mapped", "said"),
    [
        ("time,x\n0,1\n1,2\n", "x", "COLUMN=/PATH"),
        ("time,x\n0,1\n1,2\n", "y=/forget", "unknown column 'y'"),
        ("t,x\n0,1\n1,2\n", "x=/forget", "unknown column 'time'"),
        ("time,x\n0,1\n1,2\n", "x=/forgot", "did you mean '/forget'"),
        ("time,x\n0,1\n1,2\n", "x=/recall", "faders and switches"),
        ("time,x\n0,1\n1,2\n", "x=/clock", "faders and switches"),
        ("time,x\n0,1\n1,2\n", "x=/forget:a..2", "'a' is no number"),
        ("time,x\n0,1\n1,2\n", "x=/forget:2..2", "the same"),
        ("time,x\n0,1\n1,warm\n", "x=/forget", "sensors.csv:3: x: 'warm' is no number"),
        ("time,x\n0,1\n1\n", "x=/forget", "sensors.csv:3"),
        ("time,x\n0,1\ninf,2\n", "x=/forget", "'inf' is no number"),
        ("time,x\n1,1\n0,2\n", "x=/forget", "goes back"),
        ("time,x\n", "x=/forget", "no rows"),
        ("", "x=/forget", "unknown column 'time'"),
        ("time,x\n0,1\n1e9,2\n", "x=/forget", "too long"),
        ("time,x\n0,1\n1e5,2\n", "x=/forget", "sensors.csv: duration_s"),
    ],
)
def test_wrong_data_and_wrong_maps_are_named(tmp_path: Path, text: str, mapped: str, said: str) -> None:
    data = tmp_path / "sensors.csv"
    data.write_text(text)
    assert said in refused("take_from_csv.py", data, "--map", mapped, "-o", tmp_path / "take.toml")
    assert not (tmp_path / "take.toml").exists()


def test_no_data_and_what_is_no_text_are_named(tmp_path: Path) -> None:
    assert "No such file" in refused("take_from_csv.py", tmp_path / "no.csv", "--map", "x=/forget")
    (tmp_path / "odd.csv").write_bytes(b"time,x\n\xff\xfe,1\n")
    assert "UTF-8" in refused("take_from_csv.py", tmp_path / "odd.csv", "--map", "x=/forget")
