"""What every unit of a memory contributes: measured by ablating it, and by observing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fugue_state.arrays import Array, Whole, Wide
from fugue_state.audio.compiled import in_threads, one_thread
from fugue_state.audio.mel import hz_to_mel, mel_to_hz
from fugue_state.config import REGION_BORDERS_HZ, REGIONS, MelSpec, ProfileConfig
from fugue_state.errors import counted
from fugue_state.look.figure import page
from fugue_state.look.text import HEADLINE_PT, SMALL_PT, shortened
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.measure.chords import template
from fugue_state.measure.describe import Describer, triads
from fugue_state.measure.kept import Tensors, kept
from fugue_state.measure.ranks import ranks
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track, untracked
from fugue_state.score.pitches import chord_of
from fugue_state.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


KIND = "profile"
FORMULA = 1  # raised whenever measurements of the same memory change
UNITS_AT_ONCE, PARTS_AT_ONCE = 4, 16
OBSERVED_AT_ONCE = 64
UNHEARD_DB = 1e-3  # smaller differences are rounding errors
STILL = 1e-6  # a unit whose activation varies by less never changes
DIGITS = 4  # significant digits stored: further ones differ between machines
TOP = 10
TITLE_IN = 8.0  # the legend takes the rest of the width
MARKERS = ("o", "^", "s")  # for bass, body and air


class ProfileHeader(Settings):
    """Everything that a profile on disk depends on."""

    fingerprint: str
    config: ProfileConfig
    formula: int = FORMULA


@dataclass(frozen=True, eq=False)
class Profile:
    """Measurements of all units, in arrays over U, `deconv1` first.

    `mel_db`: how much the mel changes when only this unit is ablated, RMS over bands, frames and latents.
    `clarity`: how much the cosine of the chroma with the sound's own chord then falls, mean over latents; negative if
    the chord gets clearer. `activation`: mean over latents and map. `centroid_hz`: centre of the bands that the
    ablation changes, weighted by the energy of that change. `regions` (U, 3): shares of bass, body and air in
    that energy, taken per band (the bass has far fewer). An inaudible unit has 0 in all of these but `activation`.
    `cluster`: units of the same number fire alike; 0 are those that never change.
    """

    layers: Mapping[str, int]
    mel_db: Wide
    clarity: Wide
    activation: Wide
    centroid_hz: Wide
    regions: Wide
    cluster: Whole

    @classmethod
    def of(
        cls,
        memory: Memory,
        name_or_path: str | Path | None = None,
        config: ProfileConfig | None = None,
        *,
        rebuild: bool = False,
        track: Track = untracked,
        say: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Return the profile of a memory, from disk if it was made before.

        `kept` says where it is stored, and when it is made again.
        """
        config = config or ProfileConfig()
        found = kept(
            KIND,
            ProfileHeader(fingerprint=memory.fingerprint, config=config),
            memory,
            name_or_path,
            make=lambda: _measured(memory, config, track),
            fault=lambda tensors: _fault(tensors, memory.units),
            rebuild=rebuild,
            say=say,
        )
        cluster = found.pop("cluster").astype(np.int64)
        arrays = {key: tensor.astype(np.float64) for key, tensor in found.items()}
        return cls(memory.layers, cluster=cluster, **arrays)

    @property
    def saliency(self) -> Wide:
        """Mean of a unit's ranks (U,) in `mel_db` and in `clarity`, scaled: 0 is lowest in both, 1 highest."""
        mean = ranks(np.stack([self.mel_db, self.clarity], axis=1)).mean(axis=1)
        return np.asarray((mean - 1.0) / max(1, len(mean) - 1))

    @property
    def region(self) -> Whole:
        """Number (U,) of the region with the largest share; -1 for an inaudible unit."""
        return np.where(self.regions.any(axis=1), self.regions.argmax(axis=1), -1)

    @property
    def names(self) -> list[str]:
        """The name of every unit, counted from 1: `deconv1:1` is the first."""
        return [f"{layer}:{number}" for layer, size in self.layers.items() for number in range(1, size + 1)]

    @property
    def parts(self) -> dict[str, slice]:
        """The slice of each layer's units within U."""
        ends = np.cumsum(list(self.layers.values())).tolist()
        return {layer: slice(end - size, end) for (layer, size), end in zip(self.layers.items(), ends, strict=True)}

    def summary(self) -> dict[str, dict[str, float]]:
        """Return for each layer: number of units, median and maximum of saliency and mel change, and region shares."""
        return {layer: self._summed(part) for layer, part in self.parts.items()}

    def _summed(self, part: slice) -> dict[str, float]:
        shares = dict(zip(REGIONS, self.regions[part].mean(axis=0), strict=True))
        values = {
            "saliency_median": np.median(self.saliency[part]),
            "saliency_largest": self.saliency[part].max(),
            "mel_db_median": np.median(self.mel_db[part]),
            "mel_db_largest": self.mel_db[part].max(),
        } | shares
        return {"units": len(self.mel_db[part])} | {key: round(float(v), 3) for key, v in values.items()}

    def top(self, count: int = TOP) -> dict[str, dict[str, Any]]:
        """Return the measurements of the most salient units by name, most salient first."""
        order = np.argsort(-self.saliency, kind="stable")[:count]
        return {self.names[i]: self._told(int(i)) for i in order}

    def _told(self, unit: int) -> dict[str, Any]:
        columns = {
            "saliency": self.saliency,
            "mel_db": self.mel_db,
            "clarity": self.clarity,
            "activation": self.activation,
            "centroid_hz": self.centroid_hz,
        }
        region = int(self.region[unit])
        told = {key: float(f"{column[unit]:.{DIGITS}g}") for key, column in columns.items()}
        return told | {"region": REGIONS[region] if region >= 0 else "none", "cluster": int(self.cluster[unit])}


def _measured(memory: Memory, config: ProfileConfig, track: Track) -> Tensors:
    """Measure every unit; values are rounded as they will be stored."""
    ablation = _Ablation(memory, config)
    parts = [
        (layer, range(start, min(start + UNITS_AT_ONCE, size)))
        for layer, size in memory.layers.items()
        for start in range(0, size, UNITS_AT_ONCE)
    ]
    rounds = [parts[start : start + PARTS_AT_ONCE] for start in range(0, len(parts), PARTS_AT_ONCE)]
    probed = [done for some in track(rounds, len(rounds), "ablating") for done in in_threads(ablation, some)]
    energy, clarity = (np.concatenate(column) for column in zip(*probed, strict=True))
    activations = _activations(memory, config)
    hz = band_hz(memory.spec)
    values = {
        "mel_db": np.sqrt(energy.mean(axis=1)),
        "clarity": clarity,
        "activation": activations.mean(axis=0),
        "centroid_hz": np.einsum("um,m->u", _shared(energy), hz),
        "regions": _shared(_regional(energy, hz)),
    }
    tensors = {key: _rounded(value).astype(np.float32) for key, value in values.items()}
    return tensors | {"cluster": clusters(activations, config.clusters)}


class _Ablation:
    """Intact sounds of some latents, to compare with those without a unit."""

    @one_thread()
    def __init__(self, memory: Memory, config: ProfileConfig) -> None:
        self._generator = memory.generator
        self._to_db = memory.spec.range_db / 2.0
        names = triads(memory.labels)
        self._describer = Describer(memory.spec, names)
        count = _fair(config.latents, memory)
        z = memory.latents(count, config.seed)
        self._label = [number % max(1, len(memory.labels)) for number in range(count)]
        self._maps: list[dict[str, Array]] = [{} for _ in range(count)]  # (H, W, C) by layer
        self._intact = np.stack(
            [
                self._generator(one, label, seen=maps.__setitem__)
                for one, label, maps in zip(z, self._label, self._maps, strict=True)
            ]
        )
        own = [self._own(i, memory) for i in range(count)]
        self._templates = np.stack([template(chord) if chord else np.zeros(12) for chord in own])
        self._clarity = self._clear(self._intact)[0]

    def _own(self, index: int, memory: Memory) -> str:
        """Return the chord that a sound should have; empty for silence."""
        label = memory.labels[index % len(memory.labels)] if memory.labels else ""
        return label if chord_of(label) else self._describer(self._intact[index : index + 1])[0].chord

    def _clear(self, mels: Array) -> Wide:
        """Return how clearly mels (k * n, M, T) show the own chords of all latents (k, n)."""
        chroma = self._describer.chroma(mels).reshape(-1, *self._templates.shape)
        return np.asarray((chroma * self._templates).sum(axis=2))

    def __call__(self, part: tuple[str, Sequence[int]]) -> tuple[Wide, Wide]:
        """Ablate k units of a layer one by one: mean squared change in dB by band (k, M), loss of clarity (k,)."""
        layer, units = part
        mels = np.stack([self._without(layer, unit, item) for unit in units for item in range(len(self._intact))])
        change_db = (mels.reshape(-1, *self._intact.shape) - self._intact) * np.float32(self._to_db)
        energy = (change_db**2).mean(axis=(1, 3)).astype(np.float64)
        fall = (self._clarity - self._clear(mels)).mean(axis=1)
        heard = energy.mean(axis=1) > UNHEARD_DB**2
        return energy * heard[:, None], fall * heard

    def _without(self, layer: str, unit: int, item: int) -> Array:
        """Return the mel (M, T) of a latent without a unit."""
        maps = self._maps[item][layer].copy()
        maps[..., unit] = 0.0
        return self._generator.after(layer, maps, self._label[item])


def _fair(count: int, memory: Memory) -> int:
    """Return the smallest number of latents, at least `count`, that gives every label equally many."""
    labels = max(1, len(memory.labels))
    return -(-count // labels) * labels


def _activations(memory: Memory, config: ProfileConfig) -> Wide:
    """Return the mean activation of every unit for latents of all labels (n, U)."""
    z = memory.latents(_fair(config.observed, memory), config.seed)
    turns = [memory.labels[i % len(memory.labels)] for i in range(len(z))] if memory.labels else []
    parts = [slice(start, start + OBSERVED_AT_ONCE) for start in range(0, len(z), OBSERVED_AT_ONCE)]
    seen = [memory.observe(z[part], turns[part] or None)[1] for part in parts]
    return np.concatenate(seen).astype(np.float64)


def clusters(activations: Wide, count: int) -> Whole:
    """Put units that fire alike into at most `count` clusters: numbers (U,) from 1, from activations (n, U).

    Similarity is correlation over latents; clusters are joined by mean distance. Units that never change
    are in cluster 0.
    """
    found = np.zeros(activations.shape[1], dtype=np.int64)
    moving = np.flatnonzero(np.ptp(activations, axis=0) > STILL)
    found[moving] = 1
    if len(moving) > 1:
        from scipy.cluster.hierarchy import fcluster, linkage

        tree = linkage(activations[:, moving].T, "average", "correlation")
        found[moving] = fcluster(tree, count, "maxclust")
    return found


def band_hz(spec: MelSpec) -> Wide:
    """Return the centre frequencies (M,) of a mel's bands in Hz."""
    low, high = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.scale)
    return np.asarray(mel_to_hz(np.linspace(low, high, spec.n_mels + 2)[1:-1], spec.scale))


def _regional(energy: Wide, hz: Wide) -> Wide:
    """Return the mean energy per band in each region (k, 3); 0 for a region without bands."""
    inside = np.digitize(hz, REGION_BORDERS_HZ)[:, None] == np.arange(len(REGIONS))
    return np.asarray(np.einsum("um,mr->ur", energy, inside / np.maximum(inside.sum(axis=0), 1)))


def _shared(energy: Wide) -> Wide:
    """Return each value's share (k, n) of its row's sum; rows of zeros stay zeros."""
    total = energy.sum(axis=1, keepdims=True)
    return np.asarray(energy / np.where(total > 0.0, total, 1.0))


def _rounded(values: Wide) -> Wide:
    """Round to the digits that are stored."""
    rounded = [float(f"{value:.{DIGITS - 1}e}") for value in values.ravel()]
    return np.array(rounded).reshape(values.shape)


def _fault(tensors: Tensors, units: int) -> str:
    """Say why these tensors cannot be a profile; empty if they can."""
    shapes = {key: [units] for key in ("mel_db", "clarity", "activation", "centroid_hz", "cluster")}
    if {key: list(tensor.shape) for key, tensor in tensors.items()} != shapes | {"regions": [units, len(REGIONS)]}:
        return f"not a profile of {counted(units, 'unit')}"
    whole = all(bool(np.isfinite(tensor).all()) for tensor in tensors.values())
    return "" if whole and bool((tensors["cluster"] >= 0).all()) else "holds values that cannot be"


def profile_figure(profile: Profile, title: str, theme: Theme = DEFAULT) -> Figure:
    """Draw the audible units of every layer, by their change of the mel, largest first, and where they are heard."""
    with page(theme, 6.0) as figure:
        figure.headline(shortened(title, TITLE_IN, HEADLINE_PT))
        rows = figure.subplots(2, len(profile.layers), sharex="col", sharey="row", squeeze=False)
        for (layer, size), part, column in zip(profile.layers.items(), profile.parts.values(), rows.T, strict=True):
            order = np.argsort(-profile.mel_db[part], kind="stable")
            order = order[profile.mel_db[part][order] > 0.0]
            for axes, values in zip(column, (profile.mel_db, profile.centroid_hz), strict=True):
                _draw_units(axes, values[part][order], profile.region[part][order], theme)
                if profile.mel_db.any():
                    _set_logarithmic(axes)
                else:  # nothing to draw on a logarithmic axis
                    axes.set_yticks([])
            column[0].set_title(f"{layer} ({size})")
        rows[0, 0].set_ylabel("change of the mel, dB")
        rows[1, 0].set_ylabel("its centre, Hz")
        figure.supxlabel("units, those that change the mel most first", fontsize=SMALL_PT, color=theme.faint)
        handles, names = rows[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="upper right", ncols=len(names), markerscale=2)
    return figure


def _draw_units(axes: Axes, values: Wide, regions: Whole, theme: Theme) -> None:
    """Draw one value per unit, with the marker and colour of its region."""
    from matplotlib.ticker import MaxNLocator

    places = np.arange(1, len(values) + 1)
    for number, (region, marker) in enumerate(zip(REGIONS, MARKERS, strict=True)):
        mine = regions == number
        colour = theme.layer(number, len(REGIONS))
        axes.scatter(places[mine], values[mine], s=14, marker=marker, color=colour, linewidths=0, label=region)
    axes.set_xlim(0, len(values) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _set_logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator

    axes.set_yscale("log")
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
