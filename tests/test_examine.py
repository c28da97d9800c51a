from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from fugue_state.arrays import Array
from fugue_state.config import MelSpec
from fugue_state.corpus.cache import Cache
from fugue_state.corpus.folder import Corpus, read_corpus
from fugue_state.corpus.mels import MelSet, load_mels
from fugue_state.errors import CheckpointError, InputError, TrainingError
from fugue_state.learning.memory_exam import Examiner, score
from fugue_state.learning.preview import preview_sound, write_preview
from fugue_state.learning.trend import trend
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory

from .conftest import LABELS, changed

COUNT = 8
SPEC = MelSpec()


class Puppet(Generator):
    """A generator that gives real mels instead: `turns[label]`, one after the other."""

    def __init__(self, generator: Generator, turns: Sequence[Array]) -> None:
        super().__init__(generator.config, generator.frames, generator.tensors)
        self.turns = turns

    def __call__(self, z: Array, label: int, *_: object, **__: object) -> Array:
        # The latent chooses, so that other latents give other mels.
        turns = self.turns[label]
        return np.asarray(turns[int(abs(z[0]) * 1000) % len(turns)])


@pytest.fixture
def corpus(make_corpus: Callable[..., Path]) -> Corpus:
    return read_corpus(make_corpus({"Am": COUNT, "C": COUNT, "G": COUNT}))


@pytest.fixture
def learned(corpus: Corpus, tmp_path: Path) -> MelSet:
    return load_mels(corpus, SPEC, Cache(tmp_path / "cache"))


@pytest.fixture
def examiner(corpus: Corpus, learned: MelSet) -> Examiner:
    return Examiner(SPEC, LABELS, learned, corpus, per_class=4, mels=24)


@pytest.fixture
def puppet(tiny_generator: Generator) -> Callable[[Sequence[Array]], Generator]:
    """Make a generator of given mels out of the tiny one."""
    return partial(Puppet, tiny_generator)


def by_class(learned: MelSet) -> list[Array]:
    return [learned.mels[learned.label == i].astype(np.float32) for i in range(len(LABELS))]


def test_real_mels_in_place_of_a_memory_score_well(
    examiner: Examiner,
    learned: MelSet,
    tiny_header: MemoryHeader,
    tiny_generator: Generator,
    puppet: Callable[[Sequence[Array]], Generator],
) -> None:
    good = examiner(puppet(by_class(learned)), tiny_header)
    assert good["accuracy"] == good["worst_class"] == 1.0
    assert good["clarity"] > 0.8
    assert good["held_out"] == 0
    assert good["spread"] == pytest.approx(1.0, abs=0.4)
    assert good["score"] == score(good["frechet"], 1.0, good["spread"])
    bad = examiner(tiny_generator, tiny_header)
    assert bad["frechet"] > 20 * good["frechet"]
    assert bad["kid"] > good["kid"] + 1
    assert bad["score"] > 20 * good["score"]
    assert bad["frechet_real"] == good["frechet_real"] < bad["frechet"] / 20


def test_one_chord_for_all_is_found_out(
    examiner: Examiner,
    learned: MelSet,
    tiny_header: MemoryHeader,
    puppet: Callable[[Sequence[Array]], Generator],
) -> None:
    figures = examiner(puppet([by_class(learned)[1]] * 3), tiny_header)
    assert figures["accuracy"] == pytest.approx(1 / 3)
    assert figures["worst_class"] == 0
    assert figures["score"] == pytest.approx(score(figures["frechet"], 1 / 3, figures["spread"]))


def test_one_sample_for_each_chord_is_no_spread(
    examiner: Examiner,
    learned: MelSet,
    tiny_header: MemoryHeader,
    puppet: Callable[[Sequence[Array]], Generator],
) -> None:
    figures = examiner(puppet([part[:1] for part in by_class(learned)]), tiny_header)
    assert figures["accuracy"] == 1.0
    assert figures["spread"] == pytest.approx(0.0, abs=1e-6)


def test_a_score_weighs_a_point_of_accuracy_as_eight_of_distance() -> None:
    assert score(100.0) == score(100.0, 1.0) == 100.0
    assert score(100.0, 0.99) == pytest.approx(108.4, abs=0.1)
    assert np.isfinite(score(100.0, 0.0))


def test_a_score_weighs_what_spread_is_missing() -> None:
    assert score(100.0, 1.0, 0.5) == score(100.0, None, 0.5) == 200.0
    assert score(100.0, 1.0, 1.0) == score(100.0, 1.0, 1.3) == 100.0  # more than real clips have is no merit
    assert np.isfinite(score(100.0, 1.0, 0.0))


def test_an_examination_repeats_and_leaves_no_trace(
    examiner: Examiner, tiny_header: MemoryHeader, tiny_generator: Generator
) -> None:
    before = {name: tensor.copy() for name, tensor in tiny_generator.tensors.items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = examiner(tiny_generator, tiny_header)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(np.array_equal(tensor, before[name]) for name, tensor in tiny_generator.tensors.items())
    assert examiner(tiny_generator, tiny_header) == first


def test_held_out_clips_are_preferred(
    make_corpus: Callable[..., Path], tmp_path: Path, tiny_header: MemoryHeader, tiny_generator: Generator
) -> None:
    make_corpus({"Am": 6, "C": 6, "G": 6}, "split/Training")
    make_corpus({"Am": 4, "C": 3, "G": 2}, "split/Test")
    corpus = read_corpus(tmp_path / "split")
    taught = load_mels(corpus, SPEC, Cache(tmp_path / "cache"))
    figures = Examiner(SPEC, LABELS, taught, corpus, per_class=2, mels=12)(tiny_generator, tiny_header)
    assert figures["held_out"] == 9
    # The held-out clips are the first of the training clips again.
    assert 0 < figures["frechet_real"] < figures["frechet"] / 20


def test_what_cannot_be_named_is_only_compared(
    corpus: Corpus, learned: MelSet, tiny_header: MemoryHeader, tiny_generator: Generator
) -> None:
    names = ("door", "rain", "wind")
    renamed = Corpus(corpus.root, [], names)
    taught = MelSet(learned.mels, learned.label, names, [], "key")
    header = tiny_header.model_copy(update={"model": tiny_header.model.model_copy(update={"labels": names})})
    figures = Examiner(SPEC, names, taught, renamed, mels=12)(tiny_generator, header)
    assert "accuracy" not in figures
    assert figures["score"] == score(figures["frechet"], None, figures["spread"])


def test_a_memory_without_labels_is_compared_with_all_clips(
    corpus: Corpus, learned: MelSet, tiny_header: MemoryHeader, tiny_generator: Generator
) -> None:
    header = tiny_header.model_copy(update={"model": tiny_header.model.model_copy(update={"labels": ()})})
    figures = Examiner(SPEC, (), learned, corpus, mels=12)(tiny_generator, header)
    assert set(figures) == {"score", "frechet", "kid", "frechet_real", "spread", "held_out"}


def test_too_few_clips_leave_open_what_they_cannot_tell(
    corpus: Corpus, learned: MelSet, tiny_header: MemoryHeader, tiny_generator: Generator
) -> None:
    few = MelSet(learned.mels[::COUNT], learned.label[::COUNT], LABELS, [], "key")
    figures = Examiner(SPEC, LABELS, few, corpus, per_class=1, mels=3)(tiny_generator, tiny_header)
    assert set(figures) == {"accuracy", "worst_class", "clarity", "held_out"}


def test_other_labels_and_broken_memories_are_refused(
    corpus: Corpus, learned: MelSet, examiner: Examiner, tiny_header: MemoryHeader, tiny_generator: Generator
) -> None:
    with pytest.raises(InputError, match="are not those of the training mels"):
        Examiner(SPEC, ("Am", "F"), learned, corpus)
    with pytest.raises(InputError, match="unknown inverter 'fats'"):
        Examiner(SPEC, LABELS, learned, corpus, inverter="fats")
    other = tiny_header.model_copy(update={"model": tiny_header.model.model_copy(update={"labels": ("Am",)})})
    with pytest.raises(CheckpointError, match="memory 'tiny' has labels"):
        examiner(tiny_generator, other)
    broken = changed(tiny_generator, {"output.weight": np.nan})
    with pytest.raises(TrainingError, match="not numbers"):
        examiner(broken, tiny_header)


def test_a_preview_is_a_sheet_and_a_sound_without_clicks(tmp_path: Path, tiny_memory: Memory) -> None:
    sheet, sound = write_preview(tmp_path / "samples", tiny_memory, 125)
    assert (sheet.name, sound.name) == ("step_0000125.png", "step_0000125.flac")
    assert sheet.read_bytes()[1:4] == b"PNG"
    first = sound.read_bytes()
    samples, rate = soundfile.read(sound, dtype="float32")
    length = int(0.75 * rate)
    assert samples.shape == (len(LABELS) * length,)
    assert 0.01 < np.abs(samples).max() <= 0.98
    write_preview(tmp_path / "samples", tiny_memory, 125)
    assert sound.read_bytes() == first


def test_chords_of_a_preview_meet_in_silence(
    tiny_memory: Memory, learned: MelSet, puppet: Callable[..., Generator]
) -> None:
    memory = Memory(puppet(by_class(learned)), tiny_memory.header)
    samples = preview_sound(memory)
    length = len(samples) // len(LABELS)
    jumps = np.abs(np.diff(samples, prepend=0.0, append=0.0))
    for seam in range(0, len(samples) + 1, length):
        assert jumps[max(0, seam - 20) : seam + 20].max() < 0.03 * np.abs(samples).max()
    assert jumps.max() < 0.25


def history(scores: Iterable[float], **more: Iterable[float]) -> list[dict[str, float]]:
    entries = [{"step": 500.0 * (i + 1), "score": float(value)} for i, value in enumerate(scores)]
    for key, values in more.items():
        for entry, value in zip(entries, values, strict=True):
            entry[key] = float(value)
    return entries


def test_trend_of_a_falling_score() -> None:
    falling = 1000 * 0.9 ** np.arange(8)
    assert trend(history(falling)) == (
        "Still getting better: the score is 19 % lower than around step 3000; another 1000 steps are worth it."
    )
    told = trend(history(falling, minutes=np.arange(8) * 3.0, accuracy=[0.5] * 6 + [0.9, 1.0]))
    assert told == (
        "Still getting better: the score is 19 % lower than around step 3000, 95 % are named as asked "
        "(50 % then); another 6 minutes are worth it."
    )


def test_trend_of_a_score_that_turned() -> None:
    scores = [1000, 700, 500, 520, 540, 530, 560, 550]
    assert trend(history(scores)) == "No better since step 1500; the memory of step 1500 is kept."


def test_trend_says_when_it_cannot_know() -> None:
    assert trend([]) == "Too early to say: 0 so far of the 4 checkpoints that it takes."
    assert trend([{"step": 1.0}, *history([3, 2, 1])]).startswith("Too early to say: 3 so far of the 4")
    assert trend(history([1000, 500, 1000, 490])) == (
        "Too early to say: since step 500 the score has fallen by 1 %, and it wavers by 57 % from one checkpoint to "
        "the next."
    )


@pytest.mark.parametrize("count", [4, 8, 20])
def test_trend_is_seldom_fooled_by_noise(count: int) -> None:
    fooled = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).standard_normal(count)
        fooled += trend(history(1000 * np.exp(0.1 * noise))).startswith("Still")
    assert fooled < 0.15 * 200
