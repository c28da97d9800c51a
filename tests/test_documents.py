"""What README and tutorials tell people to type does what they say."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from fugue_state.cli import main
from fugue_state.cli.options import FolderPath, UserPath
from fugue_state.score.text import parse_score

from .test_corpus import write_notes
from .test_midi import SCALE, midi

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TUTORIALS = ("first-piece.md", "film.md", "your-own-sounds.md", "composing.md", "performing.md", "sharing.md")
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
RUN = ("bash", "console", "python", "toml")
BLOCK = re.compile(r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)

# What the tutorials say, and what is run instead: the same commands, on less.
SMALLER = (
    (r"^(fugue forget .*)$", r"\1 --duration 5"),  # the last one counts
    (r"^(fugue (film|forget|render) .*--film.*|fugue film .*)$", r"\1 --size 480x270 --fps 24"),
    (r"--from 20 --until", "--from 1 --until"),
    (r'size="720p"', 'size="480x270", fps=24'),
    (r"^(fugue (forget|render|sample|measure|curve) .*)$", r"\1 --quality draft"),
    (r'^duration_s = .*$', "duration_s = 45"),
    (r"^(fugue corpus build \w+)$", r"\1 --notes notes --clips 48 --test-clips 8 --duration-s 1"),
    (r"--minutes 10$", "--steps 3"),
    (r"^(fugue train .*)--minutes \d+$", r"\1--steps 2 --feature-maps 2 --latent-size 8 --batch 4"),
    (r"^(fugue vocoder train .*)--minutes \d+$", r"\1--steps 2 --channels 8 --blocks 1 --batch 2"),
    (r"^(fugue measure .*)$", r"\1 --per-class 4"),
    (r"^(fugue atlas \w+)", r"\1 --latents 64"),
    (r"^(fugue profile .*)$", r"\1 --latents 1 --observed 8"),
    (r"^(fugue curve .*)$", r"\1 --latents 1 --steps 3"),
    (r"^(fugue sample .*)$", r"\1 -n 2"),
    (r"^(fugue card run) --against \w+", r"\1"),
    (r"duration_s=30", "duration_s=5"),
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A block of a page: its language, the file it is said to be, and its text."""

    language: str
    title: str
    text: str


def blocks(path: Path, *languages: str) -> list[Block]:
    found = [Block(*parts) for parts in BLOCK.findall(path.read_text(encoding="utf-8"))]
    return [block for block in found if not languages or block.language in languages]


def smaller(text: str) -> str:
    for said, run in SMALLER:
        text = re.sub(said, run, text, flags=re.MULTILINE)
    return text


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def fugue_lines() -> Iterator[tuple[str, str]]:
    for path in PAGES:
        for block in blocks(path):
            for line in block.text.splitlines():
                if line.startswith("fugue ") and "OPTIONS" not in line:
                    yield path.name, line


COMMANDS = list(fugue_lines())


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_is_understood(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderPath, "convert", UserPath.convert)  # as if all folders were there
    words = words_of(line)[1:]
    command: click.Command = main
    while (
        isinstance(command, click.Group) and words and not words[0].startswith("-")
    ):  # some do something by themselves
        command = command.get_command(click.Context(command), words.pop(0)) or pytest.fail(line)
    command.make_context("fugue", words, click.Context(main, **main.context_settings))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_score_is_one(path: Path) -> None:
    for block in blocks(path, "toml"):
        parse_score(block.text)


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_can_be_followed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block in order, in a folder that holds nothing but what the page says one brings."""
    monkeypatch.chdir(tmp_path)
    write_notes(tmp_path / "notes")
    shutil.copytree(tmp_path / "notes" / "guitar0", tmp_path / "recordings")
    (tmp_path / "piano").mkdir()
    for path in (tmp_path / "notes").rglob("*.wav"):
        shutil.copy(path, tmp_path / "piano" / f"{path.parent.name}_{path.name}")
    midi(tmp_path / "song.mid", {"piano": SCALE})
    done = 0
    for block in blocks(DOCS / name, *RUN, "text"):
        text = smaller(block.text)
        if block.language == "python":
            exec(text, {})  # noqa: S102
        elif block.language == "text":
            if block.title:
                (tmp_path / block.title).write_text(text, encoding="utf-8")
        elif block.language == "toml":
            (tmp_path / (block.title or "score.toml")).write_text(text, encoding="utf-8")
        else:
            for line in text.splitlines():
                follow(line)
                done += 1
    assert done >= 3


def follow(line: str) -> None:
    words = words_of(line)
    assert words[0] == "fugue", f"a tutorial uses {words[0]}"
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, f"{line}\n{result.output}"
    for flag in ("-o", "--sheet", "--plot", "--score", "--film", "--poster"):
        for file in (after for word, after in pairwise(words) if word == flag):
            assert Path(file).exists(), f"{line} left no {file}"


def test_nothing_of_a_tutorial_is_replaced_in_vain() -> None:
    told = "\n".join(block.text for name in TUTORIALS for block in blocks(DOCS / name))
    for said, run in SMALLER:
        before, told = told, re.sub(said, run, told, flags=re.MULTILINE)
        assert told != before, said


def test_the_python_of_the_readme_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code.text, names)  # noqa: S102
    assert isinstance(names["mel"], np.ndarray)
    assert isinstance(names["audio"], np.ndarray)
    assert names["mel"].shape == (4, 128, 128)
    assert names["audio"].shape == (4, 65536)
    assert (tmp_path / "piece.wav").is_file()


def test_an_environment_for_conda_has_what_the_package_asks_for() -> None:
    wanted = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, _, pip = wanted["dependencies"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert wanted["name"] == project["name"]
    assert float(python.removeprefix("python=3.")) >= float(project["requires-python"].removeprefix(">=3."))
    assert pip["pip"] == ["--constraint constraints.txt", "."]
    assert (ROOT / "constraints.txt").is_file()
