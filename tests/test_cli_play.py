"""`fugue play`, where it cannot."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from fugue_state.cli import main
from fugue_state.config import LiveConfig
from fugue_state.live.guard import address, is_local
from fugue_state.live.programme import House
from fugue_state.memory.catalogue import shipped_memories
from fugue_state.score.model import Score


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "unknown memory 'nobody'"),
        (["nothing.toml"], "no such score"),
        (["--buffer", "quick"], "--buffer is live, safe, studio or milliseconds"),
        (["--buffer", "5"], "--buffer: "),
        (["--buffer", "nan"], "--buffer: "),
        (["--port", "70000"], "port: "),
        (["--quality", "final"], "'final' is not one of 'draft', 'live'"),
        (["--host", "203.0.113.7", "--port", "0"], "203.0.113.7:0 cannot be used"),
        (["--takes", "taken.txt", "--port", "0", "--no-osc"], "is a file"),
    ],
)
def test_what_cannot_be_played_is_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.txt").touch()
    result = CliRunner().invoke(main, ["play", *words])
    assert result.exit_code == 2, result.output
    assert said in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.output


@pytest.mark.parametrize("osc", [False, True])
def test_what_cannot_be_bound_is_said_before_anything_is_printed_or_made(
    osc: bool, tmp_path: Path, tiny_path: Path, taken_port: int
) -> None:
    takes = tmp_path / "takes"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        ports = ["--port", "0", "--osc-port", str(taken.getsockname()[1])] if osc else ["--port", str(taken_port)]
        result = CliRunner().invoke(main, ["play", str(tiny_path), *ports, "--takes", str(takes)])
    assert result.exit_code == 2
    assert result.stdout == ""
    [line] = result.stderr.strip().splitlines()
    assert ("choose another --osc-port" if osc else "choose another --port") in line
    assert not takes.exists()


def test_the_memories_of_a_piece_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def played(score: Score, config: LiveConfig, house: House, tell: Callable[[Sequence[str]], None]) -> None:
        tell(["http://somewhere/"])
        offered.extend(house.memories)

    offered: list[str] = []
    monkeypatch.setattr("fugue_state.live.server.play", played)
    score = tmp_path / "piece.toml"
    score.write_text('memory = "guitar"\n[[voices]]\nmemory = "guitar-long"\n[[voices]]\n', encoding="utf-8")
    result = CliRunner().invoke(main, ["play", str(score), "--no-osc"])
    assert result.exit_code == 0, result.output
    assert "play guitar-long and guitar at http://somewhere/ (Ctrl-C ends)" in result.output
    assert sorted(offered) == sorted(shipped_memories())
    score.write_text('[[voices]]\nmemory = "nobody"\n', encoding="utf-8")
    result = CliRunner().invoke(main, ["play", str(score), "--no-osc"])
    assert result.exit_code == 2
    assert "unknown memory 'nobody'" in result.stderr.splitlines()[-1]


def test_a_score_that_cannot_be_played_leaves_no_empty_folder(tmp_path: Path, tiny_path: Path) -> None:
    score = tmp_path / "piece.toml"
    score.write_text(f'memory = "{tiny_path}"\n[[voices]]\nchords = ["H"]\n', encoding="utf-8")
    takes = tmp_path / "takes"
    words = ["play", str(score), "--port", "0", "--no-osc", "--takes", str(takes)]
    assert CliRunner().invoke(main, words).exit_code == 2
    assert not takes.exists()


def test_the_address_says_the_token_only_where_it_is_needed() -> None:
    assert address("127.0.0.1", 8000, None) == "http://127.0.0.1:8000/"
    assert address("::1", 8000, None) == "http://[::1]:8000/"
    assert address("10.0.0.2", 8000, "abc") == "http://10.0.0.2:8000/?token=abc"
    assert [is_local(host) for host in ("localhost", "127.0.0.9", "::1", "10.0.0.2", "stage")] == [
        True, True, True, False, False,
    ]  # fmt: skip
