from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from fugue_state.cli import main
from fugue_state.config import TrainConfig
from fugue_state.corpus.folder import read_corpus
from fugue_state.errors import InputError
from fugue_state.learning.card import Card, escape, read_card, write_card, write_run_card
from fugue_state.memory.catalogue import DataSource, MemoryHeader
from fugue_state.memory.checkpoint import save_memory
from fugue_state.memory.layers import Generator

FIGURES = {"score": 812.3, "accuracy": 0.984, "worst_class": 0.75, "frechet": 715.0, "spread": 0.2, "held_out": 64.0}
HISTORY = [{"step": 100.0 * i, "minutes": 2.0 * i, "score": 1000.0 * 0.8**i, "accuracy": 0.9} for i in range(1, 31)]


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.fixture
def folder(tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader) -> Path:
    """A run folder that holds no more than a memory."""
    path = tmp_path / "my run"
    path.mkdir()
    save_memory(path / "memory.safetensors", tiny_generator, tiny_header.model_copy(update={"metrics": FIGURES}))
    return path


def text(folder: Path) -> str:
    return (folder / "card.md").read_text(encoding="utf-8")


def test_a_card_tells_all_that_is_known(folder: Path, tiny_header: MemoryHeader) -> None:
    data = (DataSource(name="chords", clips=3200, licence="CC0-1.0"), DataSource(name="more", clips=5, licence="MIT"))
    header = tiny_header.model_copy(update={"data": data})
    measured = {
        "chords": {"generated": {"count": 24, "accuracy": 0.5, "per_class": {"Am": 0.5}}, "real": {"accuracy": 1.0}},
        "timbre": {"generated": {"decay_s": float("inf")}},
        "novelty": {"copies": 3},
        "coverage": {"guitars": {"nylon": 0.25}},
    }
    card = Card.of(
        header, measures=FIGURES, history=HISTORY, train=TrainConfig(batch=7), measured=measured,
        sheet="samples/latest.png",
    )  # fmt: skip
    written = write_card(folder, card)
    assert written == (folder / "card.md", folder / "card.json")
    told = text(folder)
    for part in (
        "# tiny\n", "3 classes (Am, C, G), 2.97 s each", "](samples/latest.png)", "| chords | 3200 | CC0-1.0 |",
        "128 htk bands 50-8000 Hz, 128 frames", "16-d latent, 4 feature maps, 62 units", "batch 7",
        "1 step, 60 minutes",
        "| named as asked | 98.4 % |", "| Frechet distance to real clips | 715 |", "Still getting better",
        "| generated | 24 | 50.0 % |", "| real |  | 100.0 % |", "| nearest to nylon | 25 % |",
        "compared with 64 clips that were held out", "3 sounds are nearly copies",
        "knows worst is named as asked 75.0 %", "lie 0.20 times as far apart",
    ):  # fmt: skip
        assert part in told
    assert "Warning" not in told
    # Of thirty checkpoints a dozen are shown, the last among them.
    assert len(re.findall(r"^\| \d+00 \|", told, re.MULTILINE)) == 12
    assert "| 3000 | 60 |" in told
    card = read_card(folder)
    assert (card.steps, card.minutes, card.measures, len(card.history)) == (1, 60.0, FIGURES, 30)
    assert card.measured["timbre"] == {"generated": {"decay_s": None}}
    assert len(card.fingerprint) == 16


@pytest.mark.parametrize("data", [(), (DataSource(name="a", clips=1, licence="MIT"), DataSource(name="b", clips=1))])
def test_an_unknown_licence_is_a_warning(folder: Path, tiny_header: MemoryHeader, data: tuple[DataSource, ...]) -> None:
    write_card(folder, Card.of(tiny_header.model_copy(update={"data": data})))
    assert "> **Warning:** the licence of these sounds is not known" in text(folder)
    assert "Nothing was measured" in text(folder)


def test_names_of_files_stay_names(folder: Path, tiny_header: MemoryHeader) -> None:
    name = "a|b\n# c <script> [x](y) `k` \udcff"
    hostile = folder.rename(folder.with_name("$(rm x) `run`"))
    header = tiny_header.model_copy(update={"name": name, "data": (DataSource(name=name, clips=1, licence=name),)})
    write_card(hostile, Card.of(header, measures={name: 1.0}))
    told = text(hostile)
    safe = r"a\|b \# c \<script\> \[x\](y) \`k\` ?"
    assert escape(name) == safe
    assert f"# {safe}\n" in told
    assert f"| {safe} | 1 | {safe} |" in told
    assert "<script>" not in told
    assert "fugue sample -m '$(rm x) `run`' -o sounds" in told
    assert f"| {safe} | 1 |\n" in told
    assert read_card(hostile).name == name


def test_the_commands_of_a_card_are_understood(folder: Path, tiny_header: MemoryHeader) -> None:
    write_card(folder, Card.of(tiny_header))
    lines = [line for line in text(folder).splitlines() if line.startswith("fugue ")]
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)[1:]
        command = main.get_command(click.Context(main), words.pop(0))
        assert command is not None
        assert (
            command.make_context("fugue", words, click.Context(main, **main.context_settings)).params["model"]
            == "my run"
        )


def test_a_card_is_not_overwritten_nor_written_with_what_is_no_number(folder: Path, tiny_header: MemoryHeader) -> None:
    with pytest.raises(InputError, match=r"measures\.score"):
        Card.of(tiny_header, measures={"score": float("nan")})
    assert sorted(p.name for p in folder.iterdir()) == ["memory.safetensors"]
    write_card(folder, Card.of(tiny_header))
    with pytest.raises(InputError, match="exists already"):
        write_card(folder, Card.of(tiny_header, measures=FIGURES))
    write_card(folder, Card.of(tiny_header, measures=FIGURES), force=True)
    assert read_card(folder).measures == FIGURES


def test_a_card_is_written_for_a_run_and_keeps_what_it_knew(folder: Path, tiny_header: MemoryHeader) -> None:
    result = run("card", folder)
    assert result.exit_code == 0, result.output
    assert read_card(folder).measures == FIGURES
    assert (folder / "card.png").read_bytes()[1:4] == b"PNG"
    again = run("card", folder)
    assert again.exit_code == 2
    assert "exists already; choose another name or add --force" in again.stderr
    measured = {"novelty": {"copies": 0}}
    known = {"measures": FIGURES, "history": HISTORY, "measured": measured, "train": TrainConfig(batch=9)}
    write_card(folder, Card.of(tiny_header, **known), force=True)
    assert run("card", folder, "--force").exit_code == 0
    card = read_card(folder)
    assert (len(card.history), card.minutes, card.measured) == (30, 60.0, measured)
    assert card.train == TrainConfig(batch=9)


def test_figures_of_another_memory_are_not_kept(
    folder: Path, tiny_generator: Generator, tiny_header: MemoryHeader
) -> None:
    write_card(folder, Card.of(tiny_header, measures=FIGURES, history=HISTORY, measured={"novelty": {"copies": 0}}))
    save_memory(folder / "memory.safetensors", tiny_generator, tiny_header.model_copy(update={"steps": 9}))
    write_run_card(folder, force=True)
    card = read_card(folder)
    assert (card.measures, card.measured, len(card.history)) == ({}, {}, 30)


def test_a_damaged_card_is_told_and_replaced(folder: Path) -> None:
    (folder / "card.json").write_text("[1]")
    result = run("card", folder, "--force")
    assert result.exit_code == 0, result.output
    assert "card.json: damaged or of another version" in result.stderr
    assert isinstance(read_card(folder), Card)


def test_a_card_is_measured_beside_a_corpus(folder: Path, make_corpus: Callable[..., Path]) -> None:
    corpus = read_corpus(make_corpus({"Am": 4, "C": 4, "G": 4}))
    write_run_card(folder, corpus, per_class=4)
    card = read_card(folder)
    assert card.measures["held_out"] == 0
    assert card.measures["frechet"] > 0
    assert card.measured["novelty"]["copies"] == 0
    assert card.measured["chords"]["real"]["accuracy"] == 1.0
    assert "No clips were held out" in text(folder)
    assert "None of the sounds measured is a copy" in text(folder)


def test_another_corpus_is_refused(folder: Path, make_corpus: Callable[..., Path]) -> None:
    result = run("card", folder, "--against", make_corpus({"Am": 2, "C": 2}))
    assert result.exit_code == 2
    assert "are not those of the training mels, ('Am', 'C')" in result.stderr
    assert not (folder / "card.md").exists()


@pytest.mark.parametrize("words", ["card {run} --against {sounds}", "measure {run} --per-class 4 --against {sounds}"])
def test_where_nothing_can_be_kept_it_is_said_once(
    tmp_path: Path, folder: Path, make_corpus: Callable[..., Path], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"run": folder, "sounds": make_corpus({"Am": 2, "C": 2})}
    (tmp_path / "file").touch()
    monkeypatch.setenv("FUGUE_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    told = run(*(word.format(**given) for word in words.split())).stderr
    said = [line for line in told.splitlines() if "is not kept for the next time; FUGUE_CACHE names another" in line]
    assert len(said) == 1, told
    assert said[0].startswith("note: ")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["{tmp}/none"], "none: no such folder"),
        (["{tmp}/empty"], "no memory.safetensors is in this folder"),
        (["{run}", "--against", "{tmp}/none"], "none: no such folder"),
    ],
)
def test_wrong_requests_get_one_line(tmp_path: Path, folder: Path, words: list[str], part: str) -> None:
    (tmp_path / "empty").mkdir()
    result = run("card", *[w.replace("{tmp}", str(tmp_path)).replace("{run}", str(folder)) for w in words])
    assert result.exit_code == 2
    assert part in result.stderr.splitlines()[-1]
    assert not (folder / "card.md").exists()
