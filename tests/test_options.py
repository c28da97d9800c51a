"""What the options of the commands say of themselves when they are wrong, useless or in each other's way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest

from fugue_state.audio import io
from fugue_state.cli import main

from .conftest import RATE, pluck
from .test_cli import commands, refused, run


def options() -> list[tuple[tuple[str, ...], click.Option]]:
    """Every option of a number of every command."""
    found = []
    for path in commands(main):
        command: click.Command = main
        for name in path:
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), name) or main
        numbers = (click.INT, click.FLOAT, click.IntRange, click.FloatRange)
        found += [
            (path, option)
            for option in command.params
            if isinstance(option, click.Option)
            and (option.type in numbers[:2] or isinstance(option.type, numbers[2:]))
            and not {"--devices", "--nodes", "--near"} & set(option.opts)
        ]
    return found


NEEDED = {
    "card": ["{tmp}"],
    "corpus build": ["{tmp}/made"],
    "corpus inspect": ["{tmp}"],
    "export sampler": ["guitar", "-o", "{tmp}/pack", "--pace", "steps"],
    "film": ["none.wav"],
    "forget": ["-o", "{tmp}/a.wav", "--poster", "{tmp}/p.png", "--pace", "steps"],
    "render": ["forget-and-recall", "-o", "{tmp}/a.wav", "--poster", "{tmp}/p.png"],
    "sample": ["-o", "{tmp}/s"],
    "score from-chart": ["--text", "| Am |"],
    "train": ["{tmp}", "-o", "{tmp}/run", "--dry-run"],
    "vocoder train": ["{tmp}", "-o", "{tmp}/run"],
}


@pytest.mark.parametrize(("path", "option"), options(), ids=lambda value: getattr(value, "name", None) or None)
def test_a_number_that_cannot_be_is_said_to_be_the_option_that_was_typed(
    tmp_path: Path, path: tuple[str, ...], option: click.Option
) -> None:
    io.write(tmp_path / "a.wav.d.wav", pluck(57), RATE)
    name = max(option.opts, key=len)
    words = [word.replace("{tmp}", str(tmp_path)) for word in NEEDED.get(" ".join(path), [])]
    refused(run(*path, *words, f"{name}=-100000"), 2, f"fugue: {name}: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("atlas --latents 0", "--latents: must be greater than or equal to 2 (got 0)"),
        ("forget -o a.wav --every nan", "--every: nan is not in the range"),
        ("forget -o a.wav --event -1", "--event: must be"),
        ("forget -o a.wav --decay 0", "--decay: must be"),
        ("forget -o a.wav --duration soon", "--duration: a length is"),
        ("forget -o a.wav --replacement nothing", "unknown --replacement 'nothing'"),
        ("forget -o a.wav --film a.mp4 --size 3x3", "--size: a side has"),
        (f"forget -o a.wav -m {'x' * 1100}", "--model: 1100 characters are too many"),
        ("forget -o a.wav --duration 4 --chords Am,Hm", "--chords: unknown chord 'Hm'"),
        ("atlas --clarity nan", "--clarity: nan is not in the range 0<=x<=1"),
        ("sample -o s --seconds nan", "--seconds: nan is not in the range"),
        ("play --buffer 1", "--buffer: must be"),
        ("train . -o run --fmin 9000", "--fmin: must be below the highest frequency, 8000 Hz, got 9000"),
        ("train . -o run --fmax 20000", "--fmax: must be at most 11025 Hz, got 20000"),
        ("train . -o run --hop 500", "--hop: must divide the window, 2048 samples, twice or more, got 500"),
    ],
)
def test_what_was_typed_is_named_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    io.write(tmp_path / "clip.wav", pluck(57), RATE)
    refused(run(*words.split()), 2, f"fugue: {said}")


def test_a_key_of_a_score_is_named_by_its_key(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("tempo_bpm = 0\n")
    refused(run("render", tmp_path / "a.toml", "-o", tmp_path / "a.wav"), 2, "a.toml:1", "tempo_bpm")


@pytest.mark.parametrize(
    ("words", "not_there"),
    [
        ("forget -o a.wav --order nosuch", "list"),
        ("forget -o a.wav --pace nosuch", "points"),
        ("forget -o a.wav --latents nosuch", "path"),
        ("curve --order list", ", list"),
        ("curve --order nosuch", "list"),
    ],
)
def test_a_choice_that_needs_a_score_is_not_offered(words: str, not_there: str) -> None:
    result = run(*words.split())
    refused(result, 2, "known: ")
    assert not_there not in result.stderr.split("known: ")[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", None),
        ("frogt", "No such command 'frogt'"),
        ("score shwo", "No such command 'shwo'"),
        ("forget", "Missing option '-o' / '--out' (see fugue forget --help)"),
        ("score show", "Missing argument 'SCORE' (see fugue score show --help)"),
        ("sample -o s -n 0", "--count: 0 is not in the range 1<=x<=4096 (see fugue sample --help)"),
        ("forget -o a.wav --quality best", "--quality: 'best' is not one of 'draft', 'live', 'final' (see fugue"),
        ("--nosuch", "No such option '--nosuch'"),
        ("sample -o s more", "Got unexpected extra argument (more) (see fugue sample --help)"),
    ],
)
def test_what_click_refuses_is_one_line(words: str, line: str | None) -> None:
    result = run(*words.split())
    assert result.exit_code == 2
    if line is None:  # without a command, the help
        assert "Commands:" in result.output
        return
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"fugue: {line}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("forget -o a.wav --size 720p", "--size: has no effect without --film or --poster"),
        ("render forget-and-recall -o a.wav --fps 25", "--fps: has no effect without --film or --poster"),
        ("forget -o a.wav --steps 4", "--steps: has no effect without --pace steps"),
        ("forget -o a.wav --rt60 2 --impulse clip.wav", "--rt60: has no effect with --impulse"),
        ("forget -o a.wav --low-ratio 2 --impulse clip.wav", "--low-ratio: has no effect with --impulse"),
        ("atlas --steps 3", "--steps: has no effect without --path"),
        ("atlas --near 3 --draw 3", "--draw: has no effect but on sounds chosen by -n, --chord or a trait"),
        ("atlas --theme paper", "--theme: has no effect without -o"),
        ("measure --theme paper", "--theme: has no effect without --sheet"),
        ("measure --slice 3", "--slice: has no effect without --against"),
        ("curve --theme paper", "--theme: has no effect without --plot"),
        ("profile --theme paper", "--theme: has no effect without --plot"),
        ("score show forget-and-recall --theme paper", "--theme: has no effect without -o"),
        ("corpus inspect . --theme paper", "--theme: has no effect without --sheet"),
        ("card . --slice 3", "--slice: has no effect without --against"),
        ("play --no-osc --osc-port 9000", "--osc-port: has no effect with --no-osc"),
        ("vocoder train . -o run --resume --start clip.wav", "--start: has no effect with --resume"),
        ("train . -o run --resume --force", "--resume goes on with the run in the folder, --force replaces it"),
        ("forget -o a.wav --chords=", "--chords '' names no chord"),
    ],
)
def test_what_would_have_no_effect_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    io.write(tmp_path / "clip.wav", pluck(57), RATE)
    refused(run(*words.split()), 2, said)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.wav"]


@pytest.mark.parametrize(
    "words",
    [
        "resynth clip.wav -o clip.wav --force",
        "resynth clip.wav -o linked.wav --force",
        "forget -o clip.wav --impulse clip.wav --force --duration 4",
        "film film.mp4 -o film.mp4 --force",
        "vocoder add ears.safetensors mine.safetensors -o mine.safetensors --force",
        "vocoder add ears.safetensors mine.safetensors -o ears.safetensors --force",
        "vocoder train . -o ears --start ears/vocoder.safetensors --force",
    ],
)
def test_what_is_read_is_never_written_over(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    io.write(tmp_path / "clip.wav", pluck(57), RATE)
    (tmp_path / "linked.wav").symlink_to("clip.wav")
    (tmp_path / "film.mp4").write_bytes(b"0000ftyp")
    (tmp_path / "ears").mkdir()
    for name in ("mine.safetensors", "ears.safetensors", "ears/vocoder.safetensors"):
        shutil.copyfile(tiny_path, tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    refused(run(*words.split()), 2, "read for this" if "--start" not in words else "copy it elsewhere first")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize(
    "words",
    [
        "forget -o none/a.wav",
        "forget -o a.wav --film none/a.mp4",
        "sample -o none/s",
        "atlas -n 1 -o none/s",
        "corpus build none/c --notes .",
        "train . -o none/run",
        "vocoder train . -o none/run",
        "score new none/a.toml",
        "play --takes none/takes",
        "resynth clip.wav -o none/a.wav",
        "curve --plot none/a.png",
    ],
)
def test_a_folder_in_which_to_write_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    io.write(tmp_path / "clip.wav", pluck(57), RATE)
    refused(run(*words.split()), 2, "none: no such folder; make it first")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("words", ["forget -o .", "forget -o a.wav --score .", "score new .", "curve --plot ."])
def test_a_folder_where_a_file_is_to_be_is_called_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run(*words.split()), 2, ".: is a folder, a file is needed")


@pytest.mark.parametrize(
    "words",
    [
        "corpus inspect closed",
        "train closed -o run",
        "measure --against closed",
        "corpus build c --notes closed",
        "resynth closed.wav -o a.wav",
        "reopen closed.wav",
        "render closed.toml -o a.wav",
        "score check closed.toml",
        "play closed.toml",
        "play closed",
        "sample -m closed.safetensors -o s",
        "vocoder add closed guitar -o a.safetensors",
        "forget -o a.wav --impulse closed.wav",
    ],
)
def test_what_the_user_may_not_read_is_wrong_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closed").mkdir()
    for name in ("closed.wav", "closed.toml", "closed.safetensors"):
        (tmp_path / name).touch()
    real: Callable[..., bool] = os.access  # root may read everything
    monkeypatch.setattr(os, "access", lambda path, *how: "closed" not in str(path) and real(path, *how))
    refused(run(*words.split()), 2, "closed", "permission denied")


def test_a_folder_that_is_missing_is_said_before_what_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fugue_state.learning.lesson", None)  # its import would fail
    refused(run("train", tmp_path / "none", "-o", tmp_path / "run"), 2, "none: no such folder")


@pytest.mark.parametrize("command", ["film", "reopen"])
def test_what_cannot_be_reopened_says_what_can(tmp_path: Path, command: str) -> None:
    refused(run(command, tmp_path / "none.wav"), 2, "none.wav: no such file")
    refused(run(command, tmp_path), 2, f"{tmp_path}: is a folder, a file is needed")
    io.write(tmp_path / "other.wav", np.zeros(100, dtype=np.float32), RATE)
    refused(run(command, tmp_path / "other.wav"), 2, "name a file that fugue rendered, or the .json beside it")
