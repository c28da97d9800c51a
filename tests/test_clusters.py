from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fugue_state.arrays import Whole
from fugue_state.audio.mel import MelTransform
from fugue_state.config import ClipConfig, ClusterConfig, MelSpec, cluster_labels
from fugue_state.corpus.advice import Mels
from fugue_state.corpus.clips import prepare
from fugue_state.corpus.mels import MelSet
from fugue_state.errors import InputError
from fugue_state.learning.clusters import cluster_mels, features

from .conftest import RATE, Sound

pytestmark = pytest.mark.usefixtures("librosa")

SPEC = MelSpec()
CHORDS = {"Am": (57, 60, 64), "F": (53, 57, 60), "G": (55, 59, 62)}
EACH = 6
SMALL = ClusterConfig(clips_each=5)  # clusters of a few clips


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
    mel = MelTransform(SPEC).encode(np.stack(sounds)).astype(np.float16)
    return MelSet(mel, np.zeros(len(mel), dtype=np.int64), (), [], "key")


def noise(count: int) -> Mels:
    return np.random.default_rng(0).uniform(-1.0, 1.0, (count, 128, 128)).astype(np.float16)


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


def same_partition(found: Whole, wanted: Whole) -> bool:
    pairs = {(int(a), int(b)) for a, b in zip(found, wanted, strict=True)}
    return len(pairs) == len(set(found.tolist())) == len(set(wanted.tolist()))


def test_chords_cluster_whatever_their_timbre(chords: MelSet) -> None:
    found = cluster_mels(chords, SPEC, 3)
    assert found.labels == ("1", "2", "3")
    assert same_partition(found.label, np.arange(36) // 12)
    assert same_partition(cluster_mels(chords, SPEC, 6).label, np.arange(36) // 6)
    np.testing.assert_array_equal(found.mels, chords.mels)


def pure(found: Whole, wanted: Whole) -> bool:
    """Every cluster holds clips of one kind only, and every kind has one."""
    return len({(int(a), int(b)) for a, b in zip(found, wanted, strict=True)}) == len(set(found.tolist()))


def test_auto_hears_every_chord(chords: MelSet) -> None:
    found = cluster_mels(chords, SPEC, config=SMALL)
    assert pure(found.label, np.arange(36) // 12)
    assert len(found.labels) in {3, 6}
    again = cluster_mels(chords, SPEC, len(found.labels), SMALL)  # as a resumed run asks
    np.testing.assert_array_equal(found.label, again.label)


def test_timbre_alone_clusters_too() -> None:
    data = mel_set([tone(CHORDS["F"], bright, take) for bright in (0.3, 0.85) for take in range(EACH)])
    assert same_partition(cluster_mels(data, SPEC, config=SMALL).label, np.arange(12) // EACH)


def test_sounds_that_share_no_harmony_cluster_by_timbre() -> None:
    """Every pitch class once, dull ones and bright ones in turn."""
    data = mel_set([tone((note,), (0.3, 0.85)[note % 2], note) for note in range(50, 62)])
    found = cluster_mels(data, SPEC, config=SMALL)
    assert same_partition(found.label, np.arange(12) % 2)
    np.testing.assert_array_equal(found.label, cluster_mels(data, SPEC, 2, SMALL).label)  # as a resumed run asks
    assert not same_partition(
        cluster_mels(data, SPEC, 2, ClusterConfig(clips_each=5, clear_silhouette=0.0)).label, np.arange(12) % 2
    )


def test_clusters_are_the_same_every_time_and_numbered_by_size(chords: MelSet) -> None:
    kept = np.concatenate([np.arange(4), np.arange(12, 36)])
    fewer = replace(chords, mels=chords.mels[kept], label=chords.label[kept])
    first, again = (cluster_mels(fewer, SPEC, 3) for _ in range(2))
    np.testing.assert_array_equal(first.label, again.label)
    assert np.bincount(first.label).tolist() == [12, 12, 4]
    assert first.label.tolist() == [2] * 4 + [0] * 12 + [1] * 12  # of equal ones the first in the folder


def test_strays_get_no_cluster_of_their_own(chords: MelSet) -> None:
    stray = noise(1)
    data = replace(chords, mels=np.concatenate([chords.mels, stray]), label=np.zeros(37, dtype=np.int64))
    found = cluster_mels(data, SPEC, 3)
    assert same_partition(found.label[:36], np.arange(36) // 12)
    assert np.bincount(cluster_mels(data, SPEC, config=SMALL).label).min() >= EACH


def test_few_clips_are_learned_without_labels(chords: MelSet) -> None:
    """Of five clips of a kind, a network would learn one sound."""
    assert cluster_mels(chords, SPEC).labels == ()
    assert len(cluster_mels(chords, SPEC, 3).labels) == 3  # unless asked


def test_one_cluster_is_no_label(chords: MelSet) -> None:
    named = replace(chords, labels=("a", "b"), label=np.arange(36) % 2)
    plain = cluster_mels(named, SPEC, 1)
    assert plain.labels == ()
    assert plain.label.tolist() == [0] * 36
    assert cluster_labels(1) == ()


def test_what_is_all_alike_stays_together(chords: MelSet) -> None:
    copies = chords.mels[:1].repeat(30, axis=0)
    copies[:15] = copies[:15].astype(np.float32) - 0.002  # a little softer, as after another gain
    alike = replace(chords, mels=copies, label=np.zeros(30, dtype=np.int64))
    assert cluster_mels(alike, SPEC).labels == ()
    with pytest.raises(InputError, match=r"3 clusters of 30 clips, \d of them different: at most \d"):
        cluster_mels(alike, SPEC, 3)
    assert cluster_mels(replace(chords, mels=noise(400), label=np.zeros(400, dtype=np.int64)), SPEC).labels == ()


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
    heard = features(data.mels, SPEC).weighed(ClusterConfig().timbre_weight)
    assert heard.shape == (1, 21)
    assert np.linalg.norm(heard[0, :12]) == pytest.approx(1.0, abs=1e-4)
    assert heard[0, :12].argmax() == note % 12


def test_timbre_is_brightness_and_decay_as_heavy_as_asked() -> None:
    time = np.linspace(0, 6, SPEC.samples, dtype=np.float32)
    dull, bright = tone(CHORDS["F"], 0.3, 1), tone(CHORDS["F"], 0.85, 1)
    data = mel_set([dull, bright, dull * np.exp(-time)])
    heard, twice = (features(data.mels, SPEC).weighed(weight) for weight in (0.5, 1.0))
    assert np.linalg.norm(heard[0, 12:20] - heard[1, 12:20]) > 0.05
    assert heard[2, 20] > heard[0, 20] + 0.02
    np.testing.assert_allclose(twice[:, 12:], 2 * heard[:, 12:], atol=2e-6)
    np.testing.assert_array_equal(twice[:, :12], heard[:, :12])


def test_the_seed_decides_where_nothing_else_does(chords: MelSet) -> None:
    data = replace(chords, mels=noise(60), label=np.zeros(60, dtype=np.int64))
    found = [cluster_mels(data, SPEC, 5, ClusterConfig(seed=seed, starts=1)).label.tolist() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_images_of_other_lengths_are_heard_alike(chords: MelSet) -> None:
    longer = np.concatenate([chords.mels, chords.mels], axis=2)[:, :, :224]
    spec = SPEC.model_copy(update={"frames": 224})
    found = cluster_mels(replace(chords, mels=longer), spec, 3)
    assert same_partition(found.label, np.arange(36) // 12)
