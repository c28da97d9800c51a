"""The forgetting curve: what is still heard of a memory against the fraction forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.audio.loudness import SILENT_LUFS, event_lufs
from fugue_state.config import EVENT_BATCH, CurveConfig, MelSpec
from fugue_state.errors import InputError, counted
from fugue_state.look.figure import page
from fugue_state.look.text import SMALL_PT
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.measure.chords import chroma, match, template
from fugue_state.measure.describe import triads
from fugue_state.measure.naming import naming_of
from fugue_state.measure.notes import Note, name_note
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track, untracked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Way = Callable[[float], Array]  # fraction forgotten to strengths (U,)

OVERALL = "overall"
RESOLVED = 0.01  # intervals up to this width are not divided further
ROWS = 11  # rows of a table
TINY = 1e-12

# Traits other than chords: name, heading, unit, digits.
TRAITS = (
    ("distance_db", "distance from intact", "dB", 1),
    ("loudness_lu", "loudness against intact", "LU", 1),
    ("brightness_hz", "brightness", "Hz", 0),
)


def mel_distance_db(one: Array, other: Array, spec: MelSpec) -> Wide:
    """Return the distance of mels (B, M, T) in [-1, 1] from their counterparts: mean |difference| in dB, (B,).

    InputError for different shapes.
    """
    if one.shape != other.shape:
        raise InputError(f"mels of shapes {one.shape} and {other.shape} cannot be compared")
    apart = np.abs(one.astype(np.float64) - other)
    return np.asarray(apart.mean(axis=(1, 2)) * (spec.range_db / 2.0))


def distances(
    memory: Memory,
    latents: Array,
    chords: Sequence[str] | None,
    path: Way,
    fractions: Sequence[float] | Wide,
    *,
    bend: Any = None,
    frames: int | None = None,
) -> Wide:
    """Return the mel distance from intact in dB, (F, B), of latents (B, Z) at fractions (F,) along a path.

    No sound is made for this. `chords`, `frames` and `bend` are as in `Memory.generate`.
    """
    how = {"frames": frames} | ({} if bend is None else {"bend": bend})
    intact = _generated(memory, latents, chords, None, frames=frames)
    count, asked = len(latents), list(chords or _in_turn(memory.labels, len(latents)))
    found = np.empty((len(fractions), count))
    at_once = max(1, EVENT_BATCH // max(count, 1))
    for start in range(0, len(fractions), at_once):
        part = slice(start, start + at_once)
        strengths = np.stack([path(float(fraction)) for fraction in fractions[part]])
        together = np.tile(latents, (len(strengths), 1)), asked * len(strengths), np.repeat(strengths, count, axis=0)
        mels = _generated(memory, *together, **how).reshape(-1, *intact.shape)
        found[part] = [mel_distance_db(each, intact, memory.spec) for each in mels]
    return found


def _generated(memory: Memory, z: Array, chords: Sequence[str] | None, strengths: Array | None, **how: Any) -> Array:
    """Return mels (B, M, T), made in batches; without chords, the memory's labels take turns."""
    asked = chords or _in_turn(memory.labels, len(z))
    if chords and len(chords) != len(z):
        raise InputError(f"{counted(len(chords), 'chord')} for {counted(len(z), 'latent')}; one for each is needed")
    parts = [slice(start, start + EVENT_BATCH) for start in range(0, len(z), EVENT_BATCH)]
    left = [strengths[part] if strengths is not None and strengths.ndim == 2 else strengths for part in parts]
    made = [memory.generate(z[part], asked[part] or None, own, **how) for part, own in zip(parts, left, strict=True)]
    return np.concatenate(made)


def _in_turn(labels: Sequence[str], count: int) -> list[str]:
    return [labels[i % len(labels)] for i in range(count)] if labels else []


@dataclass(frozen=True)
class Curve:
    """What is heard of B latents at fractions (F,) forgotten, from none to all.

    `traits` are (F, B): `distance_db` of the mel from intact, `loudness_lu` relative to intact, `brightness_hz`
    (spectral centroid). For the sounds that can be named when intact, if any, there are also `named` (1 if the chord
    or note is named as asked, else 0) and `clarity` (cosine with that chord's template, or how periodic a note is).
    """

    fractions: Wide
    traits: dict[str, Wide]

    @property
    def share(self) -> Wide | None:
        """The share of the chords named as asked (F,)."""
        return self.traits["named"].mean(axis=1) if "named" in self.traits else None

    @property
    def half_life(self) -> float | None:
        """The fraction at which the share of chords named as asked first falls to half of its intact value.

        Interpolated; None if it never does, or if nothing can be named.
        """
        share = self.share
        if share is None or not share[0] > 0:
            return None
        below = np.flatnonzero(share <= share[0] / 2.0)
        if len(below) == 0:
            return None
        part = slice(below[0] - 1, below[0] + 1)
        return float(np.interp(-share[0] / 2.0, -share[part], self.fractions[part]))

    @property
    def last_recognised(self) -> float | None:
        """The largest fraction up to which some latent was named as asked at every smaller fraction too.

        Even noise is given some name, which is sometimes right by chance; so a chord once lost counts as lost.
        None if no chord is named as asked to begin with.
        """
        if "named" not in self.traits:
            return None
        still = np.logical_and.accumulate(self.traits["named"] > 0, axis=0)
        return float(self.fractions[still.any(axis=1)].max()) if still[0].any() else None

    def quartiles(self, trait: str) -> Wide:
        """Return the quartiles (3, F) of a trait over the latents."""
        return np.quantile(self.traits[trait], (0.25, 0.5, 0.75), axis=1)

    def told(self) -> dict[str, Any]:
        """Return all figures for use by programs; None where nothing can be named."""
        share = self.share
        spread: dict[str, Any] = {"clarity": None}
        for trait in [name for name in self.traits if name != "named"]:
            lower, median, upper = self.quartiles(trait).round(3).tolist()
            spread[trait] = {"median": median, "lower": lower, "upper": upper}
        return {
            "half_life": _rounded(self.half_life),
            "last_recognised": _rounded(self.last_recognised),
            "fraction": self.fractions.round(4).tolist(),
            "named": None if share is None else share.round(3).tolist(),
        } | spread


def _rounded(fraction: float | None) -> float | None:
    return None if fraction is None else round(fraction, 4)


class Listener:
    """Listens to `count` latents under any strengths.

    Each latent's own chord or note is the memory's label, taken in turn, if labels can be named; otherwise it is the
    triad that its intact sound is named as.
    """

    def __init__(self, memory: Memory, count: int, seed: int) -> None:
        self._memory = memory
        self._z = memory.latents(count, seed)
        self._mel = _generated(memory, self._z, None, None)
        sounds = memory.invert(self._mel)
        self._lufs = self._loudness(sounds)
        self._naming = naming_of(memory.labels)
        if self._naming:
            self._names, own = memory.labels, _in_turn(memory.labels, count)
        else:
            self._names = triads(memory.labels)
            own = [self._named(heard) for heard in self._chroma(sounds, self._lufs)]
        self._own = {i: name for i, name in enumerate(own) if name}

    def __call__(self, strengths: Array) -> dict[str, Wide]:
        """Return the traits (B,) of a `Curve` under strengths (U,)."""
        mel = _generated(self._memory, self._z, None, strengths)
        sounds = self._memory.invert(mel)
        lufs = self._loudness(sounds)
        traits = {
            "distance_db": mel_distance_db(mel, self._mel, self._memory.spec),
            "loudness_lu": lufs - self._lufs,
            "brightness_hz": self._brightness_hz(sounds),
        }
        if self._naming == "notes":
            notes = {i: self._note(sounds[i], lufs[i]) for i in self._own}
            traits["named"] = np.array([float(notes[i].name == name) for i, name in self._own.items()])
            traits["clarity"] = np.array([note.clarity for note in notes.values()])
        elif self._own:
            heard = self._chroma(sounds, lufs)
            traits["named"] = np.array([float(self._named(heard[i]) == name) for i, name in self._own.items()])
            traits["clarity"] = np.array([heard[i] @ template(name) for i, name in self._own.items()])
        return traits

    def _note(self, sound: Array, lufs: float) -> Note:
        audible = sound if lufs > SILENT_LUFS else np.zeros_like(sound)
        return name_note(audible, self._memory.spec.sample_rate_hz, self._names)

    def _loudness(self, sounds: Array) -> Wide:
        return np.array([event_lufs(sound, self._memory.spec.sample_rate_hz) for sound in sounds])

    def _chroma(self, sounds: Array, lufs: Wide) -> Wide:
        """Return the unit chroma (B, 12) of sounds; zeros for inaudible ones."""
        heard = np.zeros((len(sounds), 12))
        for i in np.flatnonzero(lufs > SILENT_LUFS):
            heard[i] = chroma(sounds[i], self._memory.spec.sample_rate_hz)
        return heard

    def _named(self, heard: Wide) -> str:
        return match(heard, self._names).name if heard.any() else ""

    def _brightness_hz(self, sounds: Array) -> Wide:
        """Return the power-weighted spectral centroid (B,) in Hz; 0 for silence."""
        power = np.abs(np.fft.rfft(sounds)) ** 2
        hz = np.fft.rfftfreq(sounds.shape[1], 1.0 / self._memory.spec.sample_rate_hz)
        return np.asarray(power @ hz / np.maximum(power.sum(axis=1), TINY))


def measure_curves(
    memory: Memory,
    overall: Way,
    layers: Mapping[str, Way] | None = None,
    config: CurveConfig | None = None,
    *,
    track: Track = untracked,
) -> dict[str, Curve]:
    """Return the forgetting curve of a path, as `overall`, and those of paths that each take one layer.

    Measured at `config.steps` evenly spaced fractions, and at a third as many more where most changes; layers get half
    as many. The memory's quality and the order of the paths are up to the caller.
    """
    config = config or CurveConfig()
    listen = Listener(memory, config.latents, config.seed)
    paths = {OVERALL: overall} | dict(layers or {})
    steps = dict.fromkeys(paths, max(2, (config.steps + 1) // 2)) | {OVERALL: config.steps}
    intact = listen(overall(0.0))
    found = {name: {0.0: intact} for name in paths}
    plan = [name for name, count in steps.items() for _ in range(count - 1 + count // 3)]
    for name in track(plan, len(plan), "forgetting"):
        fraction = _next_fraction(found[name], steps[name], paths[name])
        if fraction is not None:
            found[name][fraction] = listen(paths[name](fraction))
    return {name: _curve(points) for name, points in found.items()}


def _curve(points: Mapping[float, dict[str, Wide]]) -> Curve:
    fractions = sorted(points)
    traits = {trait: np.stack([points[f][trait] for f in fractions]) for trait in points[0.0]}
    return Curve(np.array(fractions), traits)


def _next_fraction(points: Mapping[float, dict[str, Wide]], steps: int, path: Way) -> float | None:
    """Return the fraction to measure next: first the evenly spaced ones, then where most changes; None if done."""
    if len(points) < steps:
        return len(points) / (steps - 1)
    # While a single unit is being forgotten, changes are smooth.
    narrow = max(RESOLVED, 1.0 / max(1, int((path(1.0) < 1.0).sum())))
    return _steepest(_curve(points), narrow)


def _steepest(curve: Curve, narrow: float) -> float | None:
    """Return the middle of the interval around the half-life, or of the one in which most changes.

    None if only intervals up to the width `narrow` are left.
    """
    distance = curve.traits["distance_db"].mean(axis=1)
    change = np.abs(np.diff(distance)) / max(float(distance.max()), TINY)
    if curve.share is not None:
        change += np.abs(np.diff(curve.share))
    if curve.half_life is not None:
        change[np.searchsorted(curve.fractions, curve.half_life) - 1] += len(curve.fractions)
    change[np.diff(curve.fractions) <= narrow] = 0.0
    best = int(change.argmax())
    return float(curve.fractions[best : best + 2].mean()) if change[best] > 0 else None


def table(curves: Mapping[str, Curve]) -> list[str]:
    """Return lines for people: the overall curve, then the state of each layer when all of it is forgotten."""
    whole = curves[OVERALL]
    rows = dict.fromkeys(int(np.abs(whole.fractions - f).argmin()) for f in np.linspace(0.0, 1.0, ROWS))
    columns = f"{'named':>7}  {'clarity':>7}  {'distance':>9}  {'loudness':>9}  {'brightness':>10}"
    lines = [f"forgotten  {columns}"]
    lines += [f"{_percent(whole.fractions[i]):>9}  {_row(whole, i)}" for i in rows]
    lines += [f"half-life {_percent(whole.half_life)}, last recognised {_percent(whole.last_recognised)}"]
    layers = {name: curve for name, curve in curves.items() if name != OVERALL}
    if layers:
        lines += ["", f"{'without':9}  {columns}  half-life  last recognised"]
    for name, curve in layers.items():
        ends = f"{_percent(curve.half_life):>9}  {_percent(curve.last_recognised):>15}"
        lines.append(f"{name:9}  {_row(curve, -1)}  {ends}")
    return lines


def _row(curve: Curve, i: int) -> str:
    share = curve.share
    cells = [f"{'-':>7}"] * 2
    if share is not None:
        cells = [f"{_percent(share[i]):>7}", f"{curve.quartiles('clarity')[1, i]:7.2f}"]
    for (trait, _, unit, digits), width in zip(TRAITS, (9, 9, 10), strict=True):
        cells.append(f"{f'{curve.quartiles(trait)[1, i]:.{digits}f} {unit}':>{width}}")
    return "  ".join(cells)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.0f} %"


def curve_figure(curves: Mapping[str, Curve], title: str, theme: Theme = DEFAULT, *, about: str = "") -> Figure:
    """Draw curves: medians with quartiles, the layers in small panels below."""
    layers = {name: curve for name, curve in curves.items() if name != OVERALL}
    parts_in = (5.4, 4.6)[: 1 + bool(layers)]
    with page(theme, sum(parts_in)) as figure:
        figure.headline(title, about)
        parts = figure.subfigures(len(parts_in), 1, squeeze=False, height_ratios=parts_in)[:, 0]
        _draw_overall(parts[0], curves[OVERALL], theme)
        if layers:
            _draw_layers(parts[1], layers, theme)
    return figure


def _draw_overall(part: SubFigure, curve: Curve, theme: Theme) -> None:
    places = list(part.subplots(2, 2, sharex=True).flat)
    _draw_chords(places[0], curve, theme, theme.glow)
    places[0].set_title(_named("chords", curve))
    if curve.share is not None:
        handles, names = places[0].get_legend_handles_labels()
        part.legend(handles, names, loc="outside upper right", ncols=len(names))
    for place, (trait, heading, unit, _) in zip(places[1:], TRAITS, strict=True):
        _draw_trait(place, curve, trait, theme.glow, "-")
        place.set_title(f"{heading}, {unit}")
    for place in places[2:]:
        place.set_xlabel("% of all units forgotten")


def _draw_layers(part: SubFigure, layers: Mapping[str, Curve], theme: Theme) -> None:
    places = part.subplots(2, len(layers), sharex=True, sharey="row", squeeze=False)
    for i, (name, curve) in enumerate(layers.items()):
        colour = theme.layer(i, len(layers))
        _draw_chords(places[0, i], curve, theme, colour)
        places[0, i].set_title(_named(name, curve))
        _draw_trait(places[1, i], curve, "distance_db", colour, "-")
        places[1, i].set_xticks((0, 50, 100))
    places[0, 0].set_ylabel("chords")
    places[1, 0].set_ylabel("distance, dB")
    part.supxlabel("% of the layer forgotten", fontsize=SMALL_PT, color=theme.faint)


def _named(name: str, curve: Curve) -> str:
    return name if curve.half_life is None else f"{name}: half-life {_percent(curve.half_life)}"


def _draw_chords(place: Axes, curve: Curve, theme: Theme, colour: str) -> None:
    _prepare(place)
    place.set_ylim(0.0, 1.04)
    if curve.share is None:
        place.text(50, 0.5, "nothing to name", color=theme.faint, ha="center")
        return
    place.plot(100 * curve.fractions, curve.share, color=colour, label="share named as asked")
    _draw_trait(place, curve, "clarity", colour, "--")
    if curve.half_life is not None:
        place.axvline(100 * curve.half_life, color=theme.faint, linewidth=0.8, linestyle=":")


def _draw_trait(place: Axes, curve: Curve, trait: str, colour: str, style: str) -> None:
    _prepare(place)
    low, median, high = curve.quartiles(trait)
    place.fill_between(100 * curve.fractions, low, high, color=colour, alpha=0.2, linewidth=0)
    place.plot(100 * curve.fractions, median, color=colour, linestyle=style, label=trait)


def _prepare(place: Axes) -> None:
    place.set_xlim(0, 100)
    place.grid(visible=True)
