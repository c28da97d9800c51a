from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from fugue_state.audio.mel import MelTransform
from fugue_state.config import ClipConfig, ClusterConfig, MelSpec, cluster_labels
from fugue_state.corpus.clips import prepare
from fugue_state.errors import InputError
from fugue_state.memory.clusters import cluster_mels, features
from fugue_state.memory.dataset import MelSet

from .conftest import RATE, Sound

SPEC = MelSpec()
CHORDS = {"Am": (57, 60, 64), "F": (53, 57, 60), "G": (55, 59, 62)}
EACH = 6


def tone(notes: Sequence[int], bright: float, take: int) -> Sound:
    """A chord whose partials fall as `bright`, slightly out of tune and of another balance every take."""
    random = np.random.default_rng(take)
    time = np.arange(SPEC.samples) / RATE
    sound = np.zeros(SPEC.samples)
    for note in notes:
        f0 = 440.0 * 2.0 ** ((note - 69 + random.normal(0, 0.05)) / 12)
        level = random.uniform(0.6, 1.0)
        for k in range(1, 16):
            sound += (
                level * bright ** (k - 1) * np.sin(2 * np.pi * f0 * k * time + random.uniform(0, 6)) * np.exp(-time)
            )
    return prepare((0.1 * sound).astype(np.float32), RATE, SPEC.samples, ClipConfig())


def mel_set(sounds: list[Sound]) -> MelSet:
    mel = MelTransform(SPEC).encode(torch.from_numpy(np.stack(sounds))).half()
    return MelSet(mel, torch.zeros(len(mel), dtype=torch.int64), (), [], "key")


@pytest.fixture(scope="module")
def chords() -> MelSet:
    """Three chords in two timbres: clip i is of chord i // 12 and, within it, of timbre i // 6."""
    return mel_set(
        [
            tone(notes, bright, 100 * i + take)
            for i, notes in enumerate(CHORDS.values())
            for bright in (0.3, 0.85)
            for take in range(EACH)
        ]
    )


def same_partition(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    pairs = {(int(a), int(b)) for a, b in zip(found, wanted, strict=True)}
    return len(pairs) == len(set(found.tolist())) == len(set(wanted.tolist()))


def test_chords_cluster_whatever_their_timbre(chords: MelSet) -> None:
    found = cluster_mels(chords, SPEC, 3)
    assert found.labels == ("1", "2", "3")
    assert same_partition(found.label, torch.arange(36) // 12)
    assert same_partition(cluster_mels(chords, SPEC, 6).label, torch.arange(36) // 6)
    assert torch.equal(found.mels, chords.mels)


def pure(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Every cluster holds clips of one kind only, and every kind has one."""
    return len({(int(a), int(b)) for a, b in zip(found, wanted, strict=True)}) == len(set(found.tolist()))


def test_auto_hears_every_chord(chords: MelSet) -> None:
    found = cluster_mels(chords, SPEC)
    assert pure(found.label, torch.arange(36) // 12)
    assert len(found.labels) in {3, 6}
    again = cluster_mels(chords, SPEC, len(found.labels))  # as a resumed run asks
    assert torch.equal(found.label, again.label)


def test_timbre_alone_clusters_too() -> None:
    data = mel_set([tone(CHORDS["F"], bright, take) for bright in (0.3, 0.85) for take in range(EACH)])
    assert same_partition(cluster_mels(data, SPEC).label, torch.arange(12) // EACH)


def test_clusters_are_the_same_every_time_and_numbered_by_size(chords: MelSet) -> None:
    kept = torch.cat([torch.arange(4), torch.arange(12, 36)])
    fewer = replace(chords, mels=chords.mels[kept], label=chords.label[kept])
    first, again = (cluster_mels(fewer, SPEC, 3) for _ in range(2))
    assert torch.equal(first.label, again.label)
    assert torch.bincount(first.label).tolist() == [12, 12, 4]
    assert first.label.tolist() == [2] * 4 + [0] * 12 + [1] * 12  # of equal ones the first in the folder


def test_strays_get_no_cluster_of_their_own(chords: MelSet) -> None:
    random = torch.Generator().manual_seed(0)
    stray = torch.rand((1, 128, 128), generator=random).mul(2).sub(1).half()
    data = replace(chords, mels=torch.cat([chords.mels, stray]), label=torch.zeros(37, dtype=torch.int64))
    found = cluster_mels(data, SPEC, 3)
    assert same_partition(found.label[:36], torch.arange(36) // 12)
    assert torch.bincount(cluster_mels(data, SPEC).label).min() >= EACH


def test_one_cluster_is_no_label(chords: MelSet) -> None:
    named = replace(chords, labels=("a", "b"), label=torch.arange(36) % 2)
    plain = cluster_mels(named, SPEC, 1)
    assert plain.labels == ()
    assert plain.label.tolist() == [0] * 36
    assert cluster_labels(1) == ()


def test_what_is_all_alike_stays_together(chords: MelSet) -> None:
    copies = chords.mels[:1].repeat(30, 1, 1)
    copies[:15] = (copies[:15].float() - 0.002).half()  # a little softer, as after another gain
    alike = replace(chords, mels=copies, label=torch.zeros(30, dtype=torch.int64))
    assert cluster_mels(alike, SPEC).labels == ()
    with pytest.raises(InputError, match=r"3 clusters of 30 clips, \d of them different: at most \d"):
        cluster_mels(alike, SPEC, 3)
    noise = torch.rand((400, 128, 128), generator=torch.Generator().manual_seed(0)).mul(2).sub(1).half()
    assert cluster_mels(replace(chords, mels=noise, label=torch.zeros(400).long()), SPEC).labels == ()


def test_more_clusters_than_clips_are_refused_and_as_many_are_not(chords: MelSet) -> None:
    few = replace(chords, mels=chords.mels[::6], label=chords.label[::6])
    assert sorted(cluster_mels(few, SPEC, 6).label.tolist()) == list(range(6))
    with pytest.raises(InputError, match="7 clusters of 6 clips, 6 of them different: at most 6"):
        cluster_mels(few, SPEC, 7)
    two = replace(chords, mels=chords.mels[[0, 20]], label=chords.label[:2])
    assert cluster_mels(two, SPEC).labels == ()  # too few to tell


@pytest.mark.parametrize("note", [45, 52, 60, 66])
def test_the_chroma_is_of_the_note_that_sounds(note: int) -> None:
    data = mel_set([tone((note,), 0.5, 1)])
    heard = features(data.mels, SPEC, ClusterConfig().timbre_weight)
    assert heard.shape == (1, 21)
    assert np.linalg.norm(heard[0, :12]) == pytest.approx(1.0, abs=1e-4)
    assert heard[0, :12].argmax() == note % 12


def test_timbre_is_brightness_and_decay_as_heavy_as_asked() -> None:
    time = np.linspace(0, 6, SPEC.samples, dtype=np.float32)
    dull, bright = tone(CHORDS["F"], 0.3, 1), tone(CHORDS["F"], 0.85, 1)
    data = mel_set([dull, bright, dull * np.exp(-time)])
    heard, twice = (features(data.mels, SPEC, weight) for weight in (0.5, 1.0))
    assert np.linalg.norm(heard[0, 12:20] - heard[1, 12:20]) > 0.05
    assert heard[2, 20] > heard[0, 20] + 0.02
    np.testing.assert_allclose(twice[:, 12:], 2 * heard[:, 12:], atol=2e-6)
    np.testing.assert_array_equal(twice[:, :12], heard[:, :12])


def test_the_seed_decides_where_nothing_else_does(chords: MelSet) -> None:
    noise = torch.rand((60, 128, 128), generator=torch.Generator().manual_seed(0)).mul(2).sub(1).half()
    data = replace(chords, mels=noise, label=torch.zeros(60, dtype=torch.int64))
    found = [cluster_mels(data, SPEC, 5, ClusterConfig(seed=seed, starts=1)).label.tolist() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_images_of_other_lengths_are_heard_alike(chords: MelSet) -> None:
    longer = torch.cat([chords.mels, chords.mels], dim=2)[:, :, :224]
    spec = SPEC.model_copy(update={"frames": 224})
    found = cluster_mels(replace(chords, mels=longer), spec, 3)
    assert same_partition(found.label, torch.arange(36) // 12)
