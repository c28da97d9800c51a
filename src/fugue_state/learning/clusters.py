"""Labels for unlabelled clips: clusters of clips that are alike in harmony and timbre, judged by their mels."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import librosa
import numpy as np
from scipy import fft
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from fugue_state.arrays import Array, Whole, Wide
from fugue_state.audio.magnitudes import Updates
from fugue_state.config import ClusterConfig, MelSpec, cluster_labels
from fugue_state.corpus.advice import Mels
from fugue_state.corpus.mels import MelSet
from fugue_state.errors import InputError, counted

# Fundamentals and low partials (170 to 660 Hz at half weight) tell a chord; higher partials have other pitch classes.
CENTRE_OCTAVE, OCTAVES = 3.6, 1.0
SHAPE = 8  # cepstral coefficients of the spectrum's shape
CHUNK = 256
DIGITS = 6
TINY = 1e-9


def cluster_mels(
    data: MelSet, spec: MelSpec, clusters: int | None = None, config: ClusterConfig | None = None
) -> MelSet:
    """Return the same mels with clusters as labels, "1" the largest; a single cluster means no labels.

    Without a number, the one with the clearest silhouette is taken: the higher one if in doubt, and a single cluster
    if nothing is clear. Clips are compared by harmony; where that is not clear, perhaps by timbre. The same mels give
    the same clusters. Raises InputError for more clusters than distinct clips.
    """
    config = config or ClusterConfig()
    plain = replace(data, label=np.zeros_like(data.label), labels=())
    if clusters == 1:
        return plain
    found = features(data.mels, spec)
    fits = _Fits(weighed := found.weighed(config.timbre_weight), _spread(weighed), config)
    if clusters is not None and clusters > fits.different:
        raise InputError(
            f"{counted(clusters, 'cluster')} of {counted(len(fits.found), 'clip')}, {fits.different} of them "
            f"different: at most {fits.different}"
        )
    if fits.clearest.silhouette < config.clear_silhouette:
        by_timbre = _Fits(found.weighed(config.outdoing_timbre_weight), _spread(found.timbre), config)
        fits = max(fits, by_timbre, key=lambda one: one.clearest.silhouette)
    index = fits.clearest.index if clusters is None else fits.of(clusters)
    if index is None:
        return plain
    ordered = _by_size(index)
    return replace(data, label=ordered, labels=cluster_labels(int(ordered.max()) + 1))


@dataclass(frozen=True)
class Heard:
    """What clips are compared by: unit chroma (n, 12), and timbre (n, 9)."""

    chroma: Wide
    timbre: Wide

    def weighed(self, timbre_weight: float) -> Wide:
        """Return both beside each other (n, 21); rounded, as meaningless differences must not make clips distinct."""
        return np.concatenate([self.chroma, timbre_weight * self.timbre], axis=1).round(DIGITS)


@dataclass(frozen=True)
class _Clearest:
    """Clusters (n,), or None if nothing is clear, and the silhouette of the clearest."""

    index: Whole | None
    silhouette: float


def features(mels: Mels, spec: MelSpec) -> Heard:
    """Return the features by which clips (n, M, T) are compared.

    The chroma is folded from the linear magnitudes of the mean over time. Timbre is the rough shape of the
    mean spectrum (its cepstrum), and how far the level falls from the first half to the second.
    """
    magnitudes = Updates(spec)
    fold = librosa.filters.chroma(sr=spec.sample_rate_hz, n_fft=spec.n_fft, ctroct=CENTRE_OCTAVE, octwidth=OCTAVES)
    chunks = (mels[start : start + CHUNK].astype(np.float32) for start in range(0, len(mels), CHUNK))
    chroma, timbre = zip(*(_features(chunk, magnitudes, fold) for chunk in chunks), strict=True)
    return Heard(np.concatenate(chroma), np.concatenate(timbre))


def _features(mels: Array, magnitudes: Updates, fold: Array) -> tuple[Wide, Wide]:
    transform = magnitudes.transform
    spec = transform.spec
    amplitude = transform.amplitude(mels).mean(-1)
    level_db = 20.0 * np.log10(np.maximum(amplitude, TINY))
    mean = np.clip((level_db - spec.floor_db) * (2.0 / spec.range_db) - 1.0, -1.0, 1.0)
    # All clips as the frames of one mel: one matrix product instead of many. The square root keeps one loud string
    # from dominating the chord.
    linear = magnitudes(mean.T[None].astype(np.float32))[0]
    chroma = np.sqrt(linear) @ fold.T
    chroma /= np.linalg.norm(chroma, axis=1, keepdims=True) + TINY
    shape = fft.dct(mels.mean(-1), norm="ortho", axis=1)[:, 1 : SHAPE + 1] / np.sqrt(spec.n_mels)
    over_time, half = mels.mean(1), mels.shape[2] // 2
    decay = over_time[:, :half].mean(1) - over_time[:, half:].mean(1)
    return chroma.astype(np.float64), np.concatenate([shape, decay[:, None]], axis=1).astype(np.float64)


def _spread(found: Wide) -> float:
    """Return how far features (n, d) lie from their mean (RMS)."""
    return float(np.sqrt(found.var(axis=0).sum()))


class _Fits:
    """Clusterings of the same features with different numbers of clusters."""

    def __init__(self, found: Wide, spread: float, config: ClusterConfig) -> None:
        self.found, self.spread, self.config = found, spread, config
        self.different = len(np.unique(found, axis=0))
        self.means = functools.cache(self._means)

    def _means(self, count: int) -> KMeans:
        return KMeans(count, n_init=self.config.starts, random_state=self.config.seed).fit(self.found)

    @functools.cached_property
    def clearest(self) -> _Clearest:
        """The largest number of clusters whose silhouette is nearly the best.

        Splitting one kind of sound does no harm, but merging two does.
        """
        config, count = self.config, len(self.found)
        if self.spread < config.least_spread:
            return _Clearest(None, -1.0)
        tried = range(config.fewest, min(config.most, count // config.clips_each, self.different) + 1)
        settled = [index for index in map(self.settled, tried) if index is not None]
        compared = min(count, config.compared)
        scores = [silhouette_score(self.found, i, sample_size=compared, random_state=config.seed) for i in settled]
        best = max(scores, default=-1.0)
        if best < config.least_silhouette:
            return _Clearest(None, best)
        last = [i for i, score in zip(settled, scores, strict=True) if score >= config.nearly_best * best][-1]
        return _Clearest(last, best)

    def of(self, count: int) -> Whole:
        """Return `count` clusters (n,), with those of strays if there is no other way."""
        index = self.settled(count)
        return self.means(count).labels_.astype(np.int64) if index is None else index

    def settled(self, count: int) -> Whole | None:
        """Return `count` clusters (n,), none of them made of a few strays; None if that is not possible.

        Strays would take up a cluster, so a few more clusters are tried, and those of strays are merged into their
        neighbours.
        """
        for tried in range(count, min(count + self.config.spare, self.different) + 1):
            index = self._without_strays(self.means(tried))
            if len(np.unique(index)) == count:
                return index
        return None

    def _without_strays(self, means: KMeans) -> Whole:
        even = len(self.found) / means.n_clusters
        sizes = np.bincount(means.labels_, minlength=means.n_clusters)
        kept = np.flatnonzero(sizes >= self.config.stray_part * even)
        nearest = kept[means.transform(self.found)[:, kept].argmin(axis=1)]
        return np.asarray(np.where(np.isin(means.labels_, kept), means.labels_, nearest), dtype=np.int64)


def _by_size(index: Whole) -> Whole:
    """Return clusters (n,) renumbered by size, the largest 0; ties by first occurrence."""
    names, firsts, sizes = np.unique(index, return_index=True, return_counts=True)
    order = np.lexsort((firsts, -sizes))
    place = np.empty(int(names.max()) + 1, dtype=np.int64)
    place[names[order]] = np.arange(len(names))
    return place[index]
