"""A whole lesson on a tiny network: everything that is promised lies in the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fugue_state.cli import main
from fugue_state.config import Budget, MelSpec, ModelConfig, TrainConfig
from fugue_state.corpus.cache import find_cache
from fugue_state.corpus.folder import read_corpus
from fugue_state.corpus.mels import load_mels
from fugue_state.errors import InputError
from fugue_state.learning import memory_training
from fugue_state.learning.card import read_card
from fugue_state.learning.lesson import PREVIEWS, Lesson, learn, teach
from fugue_state.learning.memory_training import MemoryRun, read_measures
from fugue_state.learning.run import Begin, Run, Watcher
from fugue_state.memory.claim import claimed
from fugue_state.memory.memory import Memory

SPEC = MelSpec(frames=64)


def lesson(root: Path, out: Path, steps: int, said: list[str], *, resume: bool = False) -> None:
    corpus = read_corpus(root)
    mels = load_mels(corpus, SPEC, find_cache())
    settings = MemoryRun(
        name="t", mel=SPEC, model=ModelConfig(feature_maps=2, latent_size=4, labels=corpus.labels),
        train=TrainConfig(batch=4), data_key=mels.key,
    )  # fmt: skip
    begin = Begin.RESUME if resume else Begin.NEW
    with Run(out, Budget(steps=steps), begin, Watcher(say=said.append)) as run:
        teach(run, Lesson(settings, corpus, clustered=False), mels)


def test_a_lesson_is_measured_heard_and_told(
    tmp_path: Path, make_corpus: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_training, "FIRST_PREVIEW", 2)
    root, out, said = make_corpus({"Am": 8, "C": 8}), tmp_path / "run", []  # type: tuple[Path, Path, list[str]]
    lesson(root, out, 4, said)
    assert sorted(p.name for p in (out / PREVIEWS).iterdir()) == [
        "step_0000002.flac", "step_0000002.png", "step_0000004.flac", "step_0000004.png",
    ]  # fmt: skip
    [measured] = read_measures(out)
    assert measured["step"] == 4
    assert 0 <= measured["accuracy"] <= 1
    assert Memory.load(out).header.metrics == measured
    assert any(line.startswith("step 4: ") and "named as asked" in line for line in said)
    assert said[-1].startswith("Too early to say")
    card = read_card(out)
    assert card.steps == 4
    assert card.measures == measured
    assert (out / "card.md").read_text().startswith("# t\n")
    assert json.loads((out / "card.json").read_text())["sheet"] == "card.png"


def test_a_resumed_lesson_keeps_its_history(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    root, out, said = make_corpus({"Am": 8, "C": 8}), tmp_path / "run", []  # type: tuple[Path, Path, list[str]]
    lesson(root, out, 2, said)
    lesson(root, out, 3, said, resume=True)
    history = read_measures(out)
    assert [m["step"] for m in history] == [2, 3]
    assert history[1]["minutes"] > history[0]["minutes"]
    assert len(read_card(out).history) == 2
    best = min(history, key=lambda m: m["score"])
    assert Memory.load(out).header.steps == best["step"]


def test_a_folder_in_which_a_run_is_at_work_is_refused(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    root, run = make_corpus({"Am": 2, "C": 2}), tmp_path / "run"
    with claimed(run), pytest.raises(InputError, match="run: another run is at work in this folder"):
        learn(root, run, Budget(steps=1))
    assert not run.exists()


def test_the_short_way_in_python_learns_what_the_command_does(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    root = make_corpus({"Am": 4, "C": 4})
    given = ["--steps", "2", "--feature-maps", "2", "--latent-size", "4", "--batch", "2", "--accelerator", "cpu"]
    given += ["--precision", "fp32", "--layout", "contiguous"]  # what is fastest may differ from one time to the next
    (tmp_path / "asked").mkdir()
    done = CliRunner().invoke(main, ["train", str(root), "-o", str(tmp_path / "asked" / "run"), *given])
    assert done.exit_code == 0, done.output
    model, train = (
        ModelConfig(feature_maps=2, latent_size=4),
        TrainConfig(batch=2, precision="fp32", layout="contiguous"),
    )
    learned = learn(root, tmp_path / "run", Budget(steps=2), model=model, train=train)
    other = Memory.load(tmp_path / "asked" / "run")
    headers = [one.header.model_copy(update={"metrics": {}}) for one in (learned, other)]  # they tell the minutes
    assert headers[0] == headers[1]
    z = learned.latents(2, 0)
    np.testing.assert_array_equal(learned.generate(z, "C"), other.generate(z, "C"))
    with pytest.raises(InputError, match="holds a run already"):
        learn(root, tmp_path / "run", Budget(steps=2))
