"""Files that a score names, and the memory a piece was made with: found beside the score, at home, by hash."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fugue_state.cli import main
from fugue_state.config import ReverbConfig
from fugue_state.errors import InputError
from fugue_state.memory.catalogue import find_memory, shipped_memories
from fugue_state.memory.checkpoint import file_hash
from fugue_state.memory.traced import traced
from fugue_state.score.model import MadeFor, Score
from fugue_state.score.places import at_home, settled, travelling

GUITAR = shipped_memories()["guitar"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "proj"
    (folder / "ir").mkdir(parents=True)
    (folder / "run").mkdir()
    (folder / "ir" / "hall.wav").touch()
    (folder / "run" / "memory.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return folder


def named(memory: str, impulse: str | None = None) -> Score:
    return Score(memory=memory, reverb=ReverbConfig(impulse=impulse))


def test_what_a_score_names_is_looked_for_beside_it_first(project: Path) -> None:
    found = settled(named("run", "ir/hall.wav"), Path("proj"), ())
    assert (found.memory, found.reverb.impulse) == ("proj/run", "proj/ir/hall.wav")
    Path("run").mkdir()
    assert settled(named("run"), Path("proj"), ()).memory == "proj/run"
    assert settled(named("other", "x.wav"), Path("proj"), ()) == named("other", "x.wav")
    assert settled(named("guitar"), project, {"guitar": 1}).memory == "guitar"
    assert settled(named(str(project), "~/hall.wav"), Path("elsewhere"), ()) == named(str(project), "~/hall.wav")


def test_names_travel_with_a_score(project: Path) -> None:
    Path("out").mkdir()
    score = settled(named("run", "ir/hall.wav"), Path("proj"), ())
    sent = travelling(score, Path("out"), ())
    assert (sent.memory, sent.reverb.impulse) == ("../proj/run", "../proj/ir/hall.wav")
    assert travelling(score, Path("proj"), ()).memory == "./run"
    back = settled(sent, Path("out"), ())
    assert (Path(back.memory).resolve(), Path(back.reverb.impulse or "").resolve()) == (
        project / "run",
        project / "ir" / "hall.wav",
    )


def test_a_name_that_ships_is_no_folder(project: Path) -> None:
    Path("guitar").mkdir()
    Path("guitar/memory.safetensors").touch()
    assert find_memory("guitar") == GUITAR
    assert find_memory("./guitar") == Path("guitar/memory.safetensors")
    (project / "guitar").mkdir()
    assert settled(named("./guitar"), Path("proj"), shipped_memories()).memory == "proj/guitar"
    assert travelling(named("proj/guitar"), Path("proj"), shipped_memories()).memory == "./guitar"


def test_home_is_meant_everywhere(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    (home / "run" / "memory.safetensors").touch()
    assert find_memory("~/run") == home / "run" / "memory.safetensors"
    assert at_home("~nobody-is-called-so/x") == Path("~nobody-is-called-so/x")
    said = CliRunner().invoke(main, ["score", "new", "~/piece.toml"])
    assert said.exit_code == 0, said.output
    assert (home / "piece.toml").is_file()
    assert not (project / "~").exists()


def test_the_memory_of_a_piece_is_found_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made_for = MadeFor(sha256=file_hash(GUITAR))
    score = Score(memory="own/run", made_for=made_for)
    assert traced(score, tmp_path / "pieces", "x.wav").memory == str(GUITAR)  # it ships
    other = Score(memory="own/run", made_for=MadeFor(sha256="0" * 16))
    with pytest.raises(InputError, match=r"x\.wav: its memory, 'own/run' \(SHA-256 000000000000\).* name it with -m"):
        traced(other, tmp_path / "pieces", "x.wav")
    run = tmp_path / "pieces" / "moved"
    run.mkdir(parents=True)
    shutil.copy(GUITAR, run / "memory.safetensors")
    monkeypatch.setattr("fugue_state.memory.traced.named_memories", dict)
    assert traced(score, tmp_path / "pieces", "x.wav").memory == str(run / "memory.safetensors")
    there = Score(memory=str(run), made_for=made_for)
    assert traced(there, tmp_path, "x.wav") is there
    unbound = Score(memory="own/run")
    assert traced(unbound, tmp_path, "x.wav") is unbound


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('memory = "/etc/passwd"', "memory: "),
        ('memory = "a\\u0000b"', "memory: "),
        (f'memory = "{"m" * 1000}"', "memory: "),
        ('[reverb]\nimpulse = "none.wav"', "reverb.impulse: "),
    ],
)
def test_a_score_whose_files_are_none_says_the_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'title = "x"\n{line}\n')
    result = CliRunner().invoke(main, ["score", "check", str(path)])
    number = 1 + line.count("\n") + 1
    assert result.exit_code == 2
    assert f"a.toml:{number}: {said}" in result.output
