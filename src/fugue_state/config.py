"""Every setting and its default: frozen, validated, and nowhere else."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fugue_state.errors import InputError, shown, unknown
from fugue_state.limits import MEMORY_LABELS, MEMORY_NAME, MEMORY_WINDOW

VERSION = "0.1.0"
SEED_MAX = 2**31 - 1
DEFAULT_MEMORY = "guitar"
InverterName = Literal["vocoder", "lobes", "updates", "joint", "pseudo-inverse", "original"]
VOCODER: InverterName = "vocoder"
WITHOUT_VOCODER: InverterName = "lobes"  # for a memory that has no vocoder of its own
QualityName = Literal["draft", "live", "final"]
LiveQualityName = Literal["draft", "live"]  # nothing finer can be had at once
DEFAULT_QUALITY: QualityName = "final"
ThemeName = Literal["night", "paper"]
DEFAULT_THEME: ThemeName = "night"
# Sounds generated and inverted together: a part of what makes a piece repeat exactly.
EVENT_BATCH = 16
FULL_ACTIVATION = 0.28  # at which a unit is shown at 1 - 1/e of its brightness
ACTIVATION_STEPS = 64  # of a sound, at which is seen what its units do
SAMPLE_COUNT = 16
CHECKPOINT_S = 20.0  # of rendering, from one place to go on from to the next
MEASURE_PER_CLASS = 32
# While training: sounds of each chord that are named, by their beginning; mels in all that are compared.
EXAMINE_PER_CLASS = 8
EXAMINE_HEARD_S = 1.5
EXAMINE_MELS = 256
# Sounds are compared, when a vocoder learns and when one is measured, with these windows and below this frequency.
COMPARED_WINDOWS = (512, 1024, 2048, 4096)
COMPARED_HZ = 8000.0
HEARING_PER_CLASS = 4  # held-out clips that a vocoder is tried with
LOG_EVERY_STEPS = 20
PREVIEW_COLUMNS = 8
PREVIEW_CHORD_S = 0.75
PATH_STEPS = 8
OrderName = Literal["random", "layerwise", "saliency", "activation", "cluster", "frequency", "list"]
# What stands in for the forgotten part of a unit.
ReplacementName = Literal["zero", "mean", "noise", "frozen", "other"]
DEFAULT_REPLACEMENT: ReplacementName = "zero"
MEAN_LATENTS = 256  # whose activations make the mean, shared among the labels
HELD_LUFS = -20.0  # where the loudness of a chord is held: about that of a memory's intact ones
GAIN_MAX = 8.0  # how much stronger a unit can be made to fire
# What is played live.
PLAYED_VOLUME = 0.25  # -12 dB to begin with: there is room above
HUSH_S, SWAP_S = 0.5, 0.5  # fades: to silence, to another memory
LIVE_LOOK_AHEAD_S = 0.005  # of the limiter, which makes the sound so much later
# Where in frequency a unit is heard: up to, between and above the borders.
REGIONS = ("bass", "body", "air")
REGION_BORDERS_HZ = (200.0, 2000.0)
Seed = Field(default=0, ge=0, le=SEED_MAX)
AUTO: Literal["auto"] = "auto"
PrecisionName = Literal["auto", "bf16", "fp32"]
LayoutName = Literal["auto", "channels_last", "contiguous"]
# Steps after which chords are named as asked (docs/training.md), and the widths that are taken where too few steps of
# a wider network fit into the time. Likewise for a vocoder, whose number of steps is a guess that no run confirms yet.
STEPS_NEEDED, SMALLER_MAPS = 1000, (48, 32, 24)
HEARING_STEPS_NEEDED, SMALLER_CHANNELS = 3000, (128, 96)


class Settings(BaseModel):
    """A frozen group of settings; an unknown key or a value out of range is an InputError."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(first_problem(error, type(self))[1]) from None

    # As that of pydantic's own class: settings within others are made without it, and keep their place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


AnySettings = TypeVar("AnySettings", bound=Settings)


Place = tuple[str | int, ...]


class SettingsError(InputError, ValueError):
    """What is wrong with settings, with the key; a ValueError, too, as within settings errors are."""


class MisplacedError(InputError, ValueError):
    """What is wrong between parts of settings, and the place of the part to blame."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(f"{path_of(place)}: {message}")
        self.place, self.message = place, message


@contextlib.contextmanager
def placed(place: Place) -> Iterator[None]:
    """Say which part of a score an InputError is about."""
    try:
        yield
    except MisplacedError:
        raise
    except InputError as error:
        raise MisplacedError(place, str(error)) from None


def checked(kind: type[AnySettings], values: dict[str, Any]) -> AnySettings:
    """Build settings from untrusted values.

    Raises InputError naming the first wrong key, its value and what would be right.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        _, message = first_problem(error, kind)
        raise InputError(message) from None


def first_problem(error: ValidationError, kind: type[Settings]) -> tuple[Place, str]:
    """Return where the first wrong value of settings is, and a line on what is wrong and would be right."""
    errors = error.errors()
    # A misspelt key is also a missing one: the first says what would be right.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    inner = first.get("ctx", {}).get("error")
    # A choice between types has parts that stand for the type.
    parts, own = first["loc"], first["loc"][-1:] if first["type"] == "extra_forbidden" else ()
    typed = parts[: len(parts) - len(own)]
    stated: Place = (*(part for part in typed if isinstance(part, int) or "[" not in part), *own)
    place: Place = (*stated, *(inner.place if isinstance(inner, MisplacedError) else ()))
    if first["type"] == "extra_forbidden":
        holder = _settings_at(kind, place[:-1])
        what = f"key of {path_of(place[:-1])}" if len(place) > 1 else f"{kind.__name__} key"
        return place, str(unknown(what, str(place[-1]), holder.model_fields))
    name = path_of(place)
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return place, str(unknown(name, first["input"], choices))
    got = f" (got {shown(first['input'])})" if name and inner is None else ""
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = inner.message if isinstance(inner, MisplacedError) else message
    return place, f"{name + ': ' if name else ''}{message}{got}"


def path_of(place: Place) -> str:
    """Return a place as one writes it: `voices[1].chords[2].beats`; lists count from 1."""
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{shown(part)[1:-1]}" for part in place]
    return "".join(parts).removeprefix(".")


def _settings_at(kind: type[Settings], place: Place) -> type[Settings]:
    """Return the settings that a place in others leads to."""
    for part in place:
        if isinstance(part, str) and part in kind.model_fields:
            inner = list(kinds(kind.model_fields[part].annotation))
            kind = inner[0] if inner else kind
    return kind


def kinds(annotation: Any) -> Iterator[type[Settings]]:
    """Find the settings within a type."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in get_args(annotation):
        yield from kinds(inner)


class MelSpec(Settings):
    """The one description of a mel-spectrogram; it travels inside the checkpoint.

    Frame t is centred on sample t * hop, so `frames` frames stand for frames * hop samples.
    Amplitudes are window-normalized (a full-scale sine reads 0 dB in its bin); the span
    from `ceiling_db - range_db` to `ceiling_db` maps linearly to [-1, 1].
    """

    sample_rate_hz: int = Field(default=22_050, ge=4_000, le=192_000)
    n_fft: int = Field(default=2048, ge=64)
    hop: int = Field(default=512, ge=16, le=4096)
    n_mels: int = Field(default=128, ge=8, le=512)
    frames: int = Field(default=128, ge=32, le=1024, multiple_of=32)
    fmin_hz: float = Field(default=50.0, ge=0.0)
    fmax_hz: float = Field(default=8000.0, gt=0.0)
    scale: Literal["htk", "slaney"] = "htk"
    norm: Literal["none", "area"] = "none"
    power: Literal[1, 2] = 1
    range_db: float = Field(default=80.0, gt=0.0, le=200.0)
    ceiling_db: float = Field(default=-10.0, ge=-60.0, le=60.0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.n_fft > MEMORY_WINDOW.most:
            raise ValueError(MEMORY_WINDOW.passed(self.n_fft))
        if not self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"fmin_hz < fmax_hz <= {self.sample_rate_hz / 2:g} Hz is needed, "
                f"got {self.fmin_hz:g} to {self.fmax_hz:g}"
            )
        if self.n_fft % self.hop or self.n_fft // self.hop < 2:
            raise ValueError(f"hop must divide n_fft at least twice, got {self.hop}, {self.n_fft}")
        return self

    @property
    def samples(self) -> int:
        """Samples N that one image of `frames` frames stands for."""
        return self.frames * self.hop

    @property
    def duration_s(self) -> float:
        """Seconds that one image stands for."""
        return self.samples / self.sample_rate_hz

    @property
    def floor_db(self) -> float:
        """The level that maps to -1."""
        return self.ceiling_db - self.range_db

    @classmethod
    def preset(cls, name: str) -> MelSpec:
        """Return the preset of this name; InputError for a name that is not known."""
        if name not in MEL_PRESETS:
            raise unknown("mel preset", name, MEL_PRESETS)
        return MEL_PRESETS[name]


MEL_PRESETS = {
    "default": MelSpec(),
    # The image of the piece that started this: short window, Slaney bands of equal area. Their
    # gain is about 2 / bandwidth, hence the lower ceiling.
    "original": MelSpec(n_fft=1024, hop=256, scale="slaney", norm="area", ceiling_db=-34.0),
}


# Units of each layer, nearest the latent first, in feature maps.
WIDTHS = (8.0, 4.0, 2.0, 1.0, 0.5)


class ModelConfig(Settings):
    """The shape of the generator; its length in frames is the MelSpec's."""

    latent_size: int = Field(default=100, ge=1, le=1024)
    feature_maps: int = Field(default=64, ge=2, le=256, multiple_of=2)
    labels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be distinct, got {shown(self.labels)}")
        if len(self.labels) > MEMORY_LABELS.most:
            raise ValueError(MEMORY_LABELS.passed(len(self.labels)))
        if (longest := max(map(len, self.labels), default=0)) > MEMORY_NAME.most:
            raise ValueError(f"label {shown(max(self.labels, key=len))}: {MEMORY_NAME.passed(longest)}")
        return self

    @property
    def layers(self) -> dict[str, int]:
        """Units per layer, nearest the latent first."""
        return {f"deconv{i}": int(w * self.feature_maps) for i, w in enumerate(WIDTHS, 1)}

    @property
    def units(self) -> int:
        """Number of units U of the whole generator."""
        return sum(self.layers.values())


class AugmentConfig(Settings):
    """How far real and generated mels are moved alike before the discriminator sees them; 0 is not at all."""

    shift_s: float = Field(default=0.03, ge=0, le=1)
    level_db: float = Field(default=3.0, ge=0, le=20)
    pitch_semitones: float = Field(default=0.25, ge=0, le=2)
    tilt_db: float = Field(default=3.0, ge=0, le=20)

    @property
    def active(self) -> bool:
        """Whether anything is moved at all."""
        return any(self.model_dump().values())


class PhaseConfig(Settings):
    """How the phase of magnitudes is found: in time, from the whole, or drawn by seed; then by iteration."""

    method: Literal["realtime", "gradient", "random"]
    iterations: int = Field(default=0, ge=0, le=1000)


ROUGH: QualityName = "draft"  # the quality that does without the vocoder's network
QUALITIES: dict[QualityName, PhaseConfig] = {
    "draft": PhaseConfig(method="gradient", iterations=1),
    "live": PhaseConfig(method="realtime", iterations=4),
    "final": PhaseConfig(method="gradient", iterations=8),
}


class VocoderConfig(Settings):
    """The shape of the network that reads magnitudes from a mel."""

    channels: int = Field(default=192, ge=8, le=1024)
    blocks: int = Field(default=4, ge=1, le=32)
    expansion: int = Field(default=3, ge=1, le=8)
    kernel: int = Field(default=7, ge=2, le=31)
    entry: int = Field(default=5, ge=2, le=31)  # mel frames that one frame sees directly
    look_ahead: int = Field(default=2, ge=1, le=15)  # ... of which are still to come
    low: int = Field(default=192, ge=0, le=8193)  # bins of the first guess that the global part sees
    patch: int = Field(default=16, ge=2, le=256, multiple_of=2)  # bins that the local part corrects together
    local: int = Field(default=96, ge=4, le=1024)
    air: int = Field(default=16, ge=2, le=256)  # points of the curve above the highest band

    @model_validator(mode="after")
    def _sees_now(self) -> Self:
        if self.look_ahead >= self.entry:
            raise ValueError(f"look_ahead must be below entry = {self.entry}, got {self.look_ahead}")
        return self


class HearConfig(Settings):
    """How a vocoder is learned; `precision` as in TrainConfig."""

    batch: int = Field(default=4, ge=2, le=1024)
    rate: float = Field(default=1.5e-3, gt=0, le=1)
    sound_weight: float = Field(default=1.0, ge=0)
    convergence_weight: float = Field(default=1.0, ge=0)
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    degraded: float = Field(default=0.3, ge=0, le=1)  # share of spectrograms as forgetting may leave them
    mixed: float = Field(default=0.12, ge=0, le=1)  # ... of sounds with another one in them
    noisy: float = Field(default=0.15, ge=0, le=1)  # ... with noise
    clips: int = Field(default=4000, ge=1)  # kept in memory
    precision: PrecisionName = AUTO
    seed: int = Seed


class TrainConfig(Settings):
    """How a memory is learned."""

    batch: int = Field(default=32, ge=2, le=4096)
    generator_rate: float = Field(default=2e-4, gt=0, le=1)
    discriminator_rate: float = Field(default=4e-4, gt=0, le=1)
    beta1: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.9, ge=0, lt=1)
    mel_loss_weight: float = Field(default=1.0, ge=0)
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    discriminator_maps: int | None = Field(default=None, ge=2, le=512, multiple_of=2)
    minibatch_statistics: bool = True
    augment: AugmentConfig = AugmentConfig()
    # How a step is computed: it only rounds differently. auto: whichever is fastest here; untimed, it is fp32.
    precision: PrecisionName = AUTO
    layout: LayoutName = AUTO  # of maps in memory; auto: likewise, untimed channels_last
    seed: int = Seed


class ComputeConfig(Settings):
    """Where training runs; none of this changes what is learned, but for rounding."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = Field(default=1, ge=1, le=1024)
    nodes: int = Field(default=1, ge=1, le=1024)
    strategy: Literal["auto", "ddp"] = "auto"


class Budget(Settings):
    """When training ends and how often it saves; none of this changes what is learned."""

    steps: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    save_minutes: float = Field(default=2.0, gt=0)

    @model_validator(mode="after")
    def _has_end(self) -> Self:
        if self.steps is None and self.minutes is None:
            raise ValueError("a budget is needed: steps or minutes")
        return self


class ClipConfig(Settings):
    """How a recording becomes a clip to learn from."""

    onset_db: float = Field(default=-20.0, ge=-80, lt=0)
    lead_s: float = Field(default=0.01, ge=0, le=1)
    fade_s: float = Field(default=0.03, ge=0, le=1)
    level_dbfs: float = Field(default=-18.0, ge=-60, le=0)


class SliceConfig(Settings):
    """How a long recording is cut into clips."""

    recordings_s: float = Field(default=2.0, gt=1)  # images that a recording without a label holds before it is cut
    one_shot_s: float = Field(default=15.0, gt=0)  # up to this length, a recording with a label is one clip
    onset_db: float = Field(default=10.0, gt=0)  # above what was heard before
    heard_db: float = Field(default=40.0, gt=0)  # below the loudest second: quieter parts are not learned from
    decay_db: float = Field(default=6.0, gt=0)  # below the second at an onset: what falls further has died away
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    fewest_recordings: int = Field(default=5, ge=2)  # with fewer, a part of each is held out instead of whole ones
    fewest_clips: int = Field(default=20, ge=2)  # with fewer, none are held out


class AdviceConfig(Settings):
    """From where on a folder of sounds is warned about before it is learned."""

    fewest_clips: int = Field(default=200, ge=1)
    fewest_in_class: int = Field(default=20, ge=1)
    evenness: float = Field(default=4.0, ge=1)  # largest class to smallest
    quiet_dbfs: float = Field(default=-45.0, ge=-120, le=0)
    quiet_share: float = Field(default=0.1, ge=0, le=1)
    short_part: float = Field(default=0.5, ge=0, le=1)  # of an image's length
    short_share: float = Field(default=0.25, ge=0, le=1)
    band_part: float = Field(default=0.9, ge=0, le=1)  # of the highest band
    band_share: float = Field(default=0.05, ge=0, le=0.5)
    alike_db: float = Field(default=2.0, ge=0)


class ClusterConfig(Settings):
    """How clips without labels are put into clusters that stand in for labels."""

    fewest: int = Field(default=2, ge=2)
    most: int = Field(default=16, ge=2)
    clips_each: int = Field(default=5, ge=2)  # `auto` never makes more clusters than clips / clips_each
    least_silhouette: float = Field(default=0.15, ge=0, le=1)
    nearly_best: float = Field(default=0.95, gt=0, le=1)  # of the best silhouette: then the more clusters, the purer
    least_spread: float = Field(default=0.03, ge=0)  # RMS; clips nearer to each other are all one
    stray_part: float = Field(default=0.25, ge=0, le=1)  # of an even share: smaller ones join their neighbours
    spare: int = Field(default=4, ge=0)
    timbre_weight: float = Field(default=0.5, ge=0)
    starts: int = Field(default=10, ge=1)
    compared: int = Field(default=2000, ge=2)
    seed: int = Seed


SLICE_AUTO, SLICE_OFF = AUTO, "off"


def cluster_labels(count: int) -> tuple[str, ...]:
    """Return the labels of `count` clusters; a single one has none."""
    return tuple(str(i) for i in range(1, count + 1)) if count > 1 else ()


class StrumConfig(Settings):
    """What varies between players when chords are strummed from single notes."""

    clips: int = Field(default=3200, ge=1, le=1_000_000)
    duration_s: float = Field(default=3.2, ge=0.1, le=60)
    sample_rate_hz: int = Field(default=22_050, ge=8_000, le=48_000)
    hold_out: tuple[str, ...] = ()
    test_clips: int = Field(default=640, ge=0, le=1_000_000)
    seed: int = Seed


class AtlasConfig(Settings):
    """Which latents an atlas describes."""

    count: int = Field(default=2048, ge=2, le=65_536)
    seed: int = Seed


class CurveConfig(Settings):
    """How a forgetting curve is measured."""

    order: OrderName = "saliency"
    reverse: bool = False
    latents: int = Field(default=16, ge=1, le=4096)
    steps: int = Field(default=21, ge=2, le=1001)  # even fractions; a third as many more go where most is lost
    quality: QualityName = "draft"
    seed: int = Seed


class ProfileConfig(Settings):
    """What the units of a memory are measured with; every label gets as many latents, so there may be some more."""

    latents: int = Field(default=8, ge=1, le=1024)  # that each unit is ablated in
    observed: int = Field(default=64, ge=2, le=65_536)  # whose activations are taken
    clusters: int = Field(default=24, ge=1, le=4096)  # of units that fire alike; those that never change are one more
    seed: int = Seed


class EnvelopeConfig(Settings):
    """How an event sets in, stays, dies away and ends."""

    attack_s: float = Field(default=0.003, ge=0, le=10, description="Seconds of the rise.")
    hold_s: float = Field(default=0.0, ge=0, le=120, description="Seconds it stays before it decays.")
    decay_rt60_s: float = Field(default=8.0, ge=0.01, le=120, description="Seconds in which it decays by 60 dB.")
    release_s: float = Field(default=0.6, ge=0, le=10, description="Seconds of the fade at its end.")


# A chord of a preview: its beginning and end without clicks, in between as it is.
PREVIEW_ENVELOPE = EnvelopeConfig(attack_s=0.005, decay_rt60_s=120.0, release_s=0.06)


class ToneConfig(Settings):
    """How bright the whole mix is: dB from bass to treble."""

    tilt_db: float = Field(
        default=0.0, ge=-12, le=12, description="Brighter (up to 12) or darker (down to -12): dB from bass to treble."
    )


class ReverbConfig(Settings):
    """A synthesized stereo room, or the impulse response in `impulse`.

    Below `low_hz` it decays in `low_ratio` times `rt60_s`, above `damping_hz` in `high_ratio` times that.
    """

    rt60_s: float = Field(default=3.0, ge=0.01, le=30, description="Seconds in which it decays by 60 dB.")
    low_ratio: float = Field(default=1.0, ge=0.25, le=2, description="How long its lows decay, in times of that.")
    low_hz: float = Field(default=250.0, ge=60, le=1000, description="What is below counts as low.")
    high_ratio: float = Field(default=0.5, ge=0.1, le=2, description="How long its highs decay, in times of that.")
    damping_hz: float = Field(default=5000.0, ge=200, le=20_000, description="What is above counts as high.")
    pre_delay_s: float = Field(default=0.02, ge=0, le=1, description="Seconds before it sets in.")
    wet_db: float = Field(default=-9.0, ge=-120, le=12, description="Its level.")
    impulse: str | None = Field(
        None, max_length=1024, description="Impulse response (sound file) instead of the synthetic room."
    )


class MasterConfig(Settings):
    """Loudness and ceiling of the finished file."""

    normalize: bool = Field(True, description="Bring it to that loudness; a take is left as it was heard.")
    loudness_lufs: float = Field(default=-18.0, ge=-60, le=-5, description="Integrated loudness.")
    ceiling_dbtp: float = Field(default=-1.0, ge=-24, le=0, description="True-peak ceiling in dB.")


class ResynthConfig(Settings):
    """How a sound of any length goes through a mel: in segments that fade into each other."""

    segment_s: float = Field(default=20.0, ge=0.1, le=120)
    fade_s: float = Field(default=1.0, ge=0.01, le=10)
    context_s: float = Field(default=0.5, ge=0, le=10)  # heard on both sides of a segment, and then cut off
    subtype: Literal["PCM_16", "PCM_24"] = "PCM_24"

    @model_validator(mode="after")
    def _fades_inside(self) -> Self:
        if self.fade_s > self.segment_s:
            raise ValueError(f"fade_s must be at most segment_s = {self.segment_s:g}, got {self.fade_s:g}")
        return self


class FileConfig(Settings):
    """Form of the finished file."""

    sample_rate_hz: Literal[44100, 48000] = Field(44_100, description="44100 or 48000.")
    subtype: Literal["PCM_16", "PCM_24", "FLOAT"] = Field("PCM_24", description="PCM_16, PCM_24 or FLOAT.")


FILM_SIZES = {"1080p": (1920, 1080), "720p": (1280, 720), "square": (1080, 1080), "vertical": (1080, 1920)}
FILM_SHORTEST, FILM_LONGEST = 240, 4096  # pixels of a side


class FilmConfig(Settings):
    """Form of the film."""

    size: str = Field("1080p", description="1080p, 720p, square, vertical, or WIDTHxHEIGHT, both even.")
    fps: Literal[24, 25, 30, 60] = Field(30, description="Frames in a second: 24, 25, 30 or 60.")
    theme: ThemeName = Field(DEFAULT_THEME, description="night (dark) or paper (light).")

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of a frame."""
        if self.size in FILM_SIZES:
            return FILM_SIZES[self.size]
        width, height = self.size.split("x")
        return int(width), int(height)

    @field_validator("size")
    @classmethod
    def _possible(cls, size: str) -> str:
        if size in FILM_SIZES:
            return size
        if not re.fullmatch(r"\d{1,5}x\d{1,5}", size):
            raise ValueError(f"a size is {', '.join(FILM_SIZES)} or like 1280x720, got {size!r}")
        sides = [int(side) for side in size.split("x")]
        if not all(FILM_SHORTEST <= side <= FILM_LONGEST for side in sides):
            raise ValueError(f"a side has {FILM_SHORTEST} to {FILM_LONGEST} pixels, got {size}")
        if any(side % 2 for side in sides):
            raise ValueError(f"H.264 needs even sides, got {size}; {'x'.join(str(s + s % 2) for s in sides)} would do")
        return size


# What of a live instrument's sound may lie between the engine and the ear, by name.
BUFFERS_MS = {"live": 60.0, "safe": 150.0, "studio": 400.0}


class LiveConfig(Settings):
    """How a memory is played live: where it is reached, and what is asked of those who play it."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    port: int = Field(default=8000, ge=0, le=65_535)  # 0: any that is free
    origins: tuple[str, ...] = ()  # of proxies, by which the page is reached
    osc: bool = True
    osc_host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    osc_port: int = Field(default=9700, ge=0, le=65_535)
    osc_reply_port: int = Field(default=9701, ge=1, le=65_535)
    buffer_ms: float = Field(default=BUFFERS_MS["live"], ge=20, le=2000)
    takes: str = "takes"
    quality: LiveQualityName = "live"
    # Of each client: messages in a second, and how many more at once.
    messages_per_s: float = Field(default=1000.0, gt=0)
    messages_at_once: float = Field(default=2000.0, ge=1)
    message_bytes: int = Field(default=16_384, ge=1024)  # a longer one is refused, ...
    socket_bytes: int = Field(default=1_048_576, ge=1024)  # ... and from here on closes the socket
    clients: int = Field(default=32, ge=1)
    waiting: int = Field(default=10_000, ge=16)  # messages to a client that does not read, before it is let go
    patches: int = Field(default=4096, ge=1)  # kept for those who come back
    gestures: int = Field(default=200, ge=1)  # that can be undone
    gesture_s: float = Field(default=0.5, ge=0)  # moves of one control, nearer to each other, are undone at once
    frames_per_s: float = Field(default=30.0, gt=0)
    meters_per_s: float = Field(default=10.0, gt=0)
    units_per_s: float = Field(default=4.0, gt=0)  # of what a score forgets by itself; what hands do is told at once
    lease_s: float = Field(default=30.0, gt=0)  # of a subscription by OSC
    blocks_waiting: int = Field(default=8, ge=1)  # for a listener without credit; then the oldest are left out
    behind: float = Field(default=0.125, ge=0)  # of the buffer: from there on the next block makes nothing anew
    # Of the time that a block lasts: from where on the quality steps down, and below which, smoothed over so long, it
    # steps up again, twice as long each time: draft may save more than lies between them.
    load_high: float = Field(default=0.75, gt=0)
    late_blocks: int = Field(default=8, ge=0)  # in a row, by half the buffer: then, too
    load_low: float = Field(default=0.6, gt=0)
    recover_s: float = Field(default=30.0, gt=0)
    sync_s: float = Field(default=1.0, gt=0)  # how often a take is made safe
    take_waiting_s: float = Field(default=30.0, gt=0)  # of sound that waits for a slow disk
