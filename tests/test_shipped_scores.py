"""Scores that ship, by name, from wherever one stands."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fugue_state.cli.playing import _score
from fugue_state.errors import InputError
from fugue_state.score.explained import beginning
from fugue_state.score.shipped import FOLDER, find_score, shipped_scores
from fugue_state.score.text import load_score

from .test_cli import refused, run

NAME = "forget-and-recall"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_they_are_part_of_the_package() -> None:
    kept = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"{FOLDER}/*.toml" in kept["tool"]["setuptools"]["package-data"]["fugue_state"]
    assert NAME in shipped_scores()


def test_a_name_is_the_one_that_ships_unless_a_file_is_called_so(tmp_path: Path) -> None:
    assert find_score(NAME) == shipped_scores()[NAME]
    for mine in (NAME, "piece.toml"):
        (tmp_path / mine).touch()
        assert find_score(mine) == Path(mine)
    assert find_score(tmp_path / "none.toml") == tmp_path / "none.toml"  # which is told where it is read


def test_what_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match=f"unknown score 'forget-and-recal'; did you mean '{NAME}'"):
        find_score("forget-and-recal")
    with pytest.raises(InputError, match=f"no such score; the one that ships is called {NAME}"):
        find_score(f"scores/{NAME}.toml")
    for command in (["render", "forgt", "-o", "x.wav"], ["score", "check", "forgt"], ["score", "show", "forgt"]):
        refused(run(*command), 2, "unknown score 'forgt'", NAME)
    refused(run("score", "new", "a.toml", "--from", "forgt"), 2, "unknown score 'forgt'", NAME)
    refused(run("score", "new", "a.toml", "--from", NAME, "--every-key"), 2, "choose one")
    assert not Path("a.toml").exists()


def test_a_new_score_begins_with_one_that_ships() -> None:
    assert run("score", "new", "mine.toml", "--from", NAME).exit_code == 0
    assert Path("mine.toml").read_bytes() == shipped_scores()[NAME].read_bytes()
    assert run("score", "new", "plain.toml").exit_code == 0
    assert load_score("plain.toml") == beginning()


def test_one_that_ships_is_played_by_its_name() -> None:
    assert _score(NAME, "draft").title == "Forget and recall"
    assert _score("guitar", "draft").memory == "guitar"
