"""Every setting with its default, frozen and validated; defaults are defined nowhere else."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from fugue_state.errors import shown, unknown
from fugue_state.limits import MEMORY_LABELS, MEMORY_NAME, MEMORY_WINDOW
from fugue_state.settings import MisplacedError, Settings

SEED_MAX = 2**31 - 1
DEFAULT_MEMORY = "guitar"
InverterName = Literal["vocoder", "lobes", "updates", "joint", "pseudo-inverse", "original"]
VOCODER: InverterName = "vocoder"
WITHOUT_VOCODER: InverterName = "lobes"  # for a memory without a vocoder
LossName = Literal["hinge", "relativistic"]
StrumSetName = Literal["guitar", "chords", "notes"]
QualityName = Literal["draft", "live", "final"]
LiveQualityName = Literal["draft", "live"]  # higher quality is not possible in real time
DEFAULT_QUALITY: QualityName = "final"
ThemeName = Literal["night", "paper"]
DEFAULT_THEME: ThemeName = "night"
# Sounds generated and inverted in a batch; the samples of a piece depend on it.
EVENT_BATCH = 16
FULL_ACTIVATION = 0.28  # the activation at which a unit is shown at 1 - 1/e of its brightness
ACTIVATION_STEPS = 64  # moments of a sound at which its units' activations are sampled
SAMPLE_COUNT = 16
CHECKPOINT_S = 20.0  # seconds of rendering between two saved places to continue from
MEASURE_PER_CLASS = 32
# While training: sounds of each chord that are named, by their beginning; number of mels compared in total.
EXAMINE_PER_CLASS = 8
EXAMINE_HEARD_S = 1.5
EXAMINE_MELS = 256
# Windows and highest frequency for comparing sounds, when a vocoder is trained and when one is measured.
COMPARED_WINDOWS = (512, 1024, 2048, 4096)
COMPARED_HZ = 8000.0
HEARING_PER_CLASS = 4  # held-out clips of each class that a vocoder is tested with
LOG_EVERY_STEPS = 20
PREVIEW_COLUMNS = 8
PREVIEW_CHORD_S = 0.75
PATH_STEPS = 8
WholeOrderName = Literal["random", "layerwise", "saliency", "activation", "cluster", "frequency"]
OrderName = Literal[WholeOrderName, "list"]  # a list is written in a score
# What replaces the forgotten part of a unit.
ReplacementName = Literal["zero", "mean", "noise", "frozen", "other"]
DEFAULT_REPLACEMENT: ReplacementName = "zero"
MEAN_LATENTS = 256  # latents over which mean activations are taken, divided among the labels
# A recording as a voice: how many sounds of the memory are compared with each segment, its fades at both ends, and how
# long it is at least.
RECORDING_CANDIDATES, RECORDING_EDGE_S, RECORDING_LEAST_S = 64, 0.01, 0.1
HELD_LUFS = -20.0  # the loudness at which chords are held: about that of a memory's intact chords
GAIN_MAX = 8.0  # the greatest factor by which a unit can be amplified
# Live playing.
PLAYED_VOLUME = 0.25  # -12 dB, of a performance or take that sets none: older takes rely on it
# Playing by keys: the most that sound until they are let go, how many begin in a block, and how many times faster or
# slower than the score a tempo may be.
KEYS_AT_ONCE, KEYS_EACH_BLOCK, TEMPO_TIMES = 8, 1, 8.0
RELEASE_S = 0.12  # of a sound that is let go, as a key is
HUSH_S, SWAP_S = 0.5, 0.5  # lengths of the fades to silence and to another memory
LIVE_LOOK_AHEAD_S = 0.005  # of the limiter, which delays the sound by this much
# A piece in a page of its own.
SHARED_ROOM_BYTES = 4_000_000  # the most that its room may take
SHARED_LISTENED, SHARED_LISTENED_S = 2000, 3600.0  # chords, seconds that an adaptive forgetting hears beforehand
SHARED_HEARD = 240  # chords that are rendered to find out how loud the piece is
# Frequency regions in which a unit is heard: below, between and above the borders.
REGIONS = ("bass", "body", "air")
REGION_BORDERS_HZ = (200.0, 2000.0)
Seed = Field(default=0, ge=0, le=SEED_MAX)
AUTO: Literal["auto"] = "auto"
PrecisionName = Literal["auto", "bf16", "fp32"]
LayoutName = Literal["auto", "channels_last", "contiguous"]
# Steps after which chords are named as asked (docs/training.md), and the widths used instead if too few steps of
# a wider network fit into the time. The same for a vocoder; its number of steps is a guess not confirmed by a run yet.
STEPS_NEEDED, SMALLER_MAPS = 1000, (48, 32, 24)
FEW_CLIPS, FEW_STEPS_NEEDED = 200, 3000  # of fewer clips than this, whatever they are, so many steps
HEARING_STEPS_NEEDED, SMALLER_CHANNELS = 3000, (128, 96)


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
            raise MisplacedError(("n_fft",), MEMORY_WINDOW.passed(self.n_fft))
        highest = self.sample_rate_hz / 2
        if self.fmax_hz > highest:
            raise MisplacedError(("fmax_hz",), f"must be at most {highest:g} Hz, got {self.fmax_hz:g}")
        if self.fmin_hz >= self.fmax_hz:
            why = f"must be below the highest frequency, {self.fmax_hz:g} Hz, got {self.fmin_hz:g}"
            raise MisplacedError(("fmin_hz",), why)
        if self.n_fft % self.hop or self.n_fft // self.hop < 2:
            raise MisplacedError(
                ("hop",), f"must divide the window, {self.n_fft} samples, twice or more, got {self.hop}"
            )
        return self

    @property
    def samples(self) -> int:
        """Number of samples N in an image of `frames` frames."""
        return self.frames * self.hop

    @property
    def duration_s(self) -> float:
        """Length of an image in seconds."""
        return self.samples / self.sample_rate_hz

    @property
    def floor_db(self) -> float:
        """The level that maps to -1."""
        return self.ceiling_db - self.range_db

    @classmethod
    def preset(cls, name: str) -> MelSpec:
        """Return the preset of this name; InputError for an unknown name."""
        if name not in MEL_PRESETS:
            raise unknown("mel preset", name, MEL_PRESETS)
        return MEL_PRESETS[name]


MEL_PRESETS = {
    "default": MelSpec.model_construct(),
    # The mel used by the original piece: short window, Slaney bands of equal area. Their
    # gain is about 2 / bandwidth, hence the lower ceiling.
    "original": MelSpec.model_construct(n_fft=1024, hop=256, scale="slaney", norm="area", ceiling_db=-34.0),
}


# Units of each layer, as multiples of the feature maps, nearest the latent first.
WIDTHS = (8.0, 4.0, 2.0, 1.0, 0.5)


class ModelConfig(Settings):
    """The shape of the generator; its length in frames comes from the MelSpec."""

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
    """How far real and generated mels are changed alike before the discriminator sees them; 0 is not at all."""

    shift_s: float = Field(default=0.03, ge=0, le=1)
    level_db: float = Field(default=3.0, ge=0, le=20)
    pitch_semitones: float = Field(default=0.25, ge=0, le=2)
    tilt_db: float = Field(default=3.0, ge=0, le=20)

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return any(self.model_dump().values())


class PhaseConfig(Settings):
    """How phase is found for magnitudes: in real time, from the whole, or drawn by seed; then refined by iteration."""

    method: Literal["realtime", "gradient", "random"]
    iterations: int = Field(default=0, ge=0, le=1000)


ROUGH: QualityName = "draft"  # the quality that does not use the vocoder's network
QUALITIES: dict[QualityName, PhaseConfig] = {
    "draft": PhaseConfig.model_construct(method="gradient", iterations=1),
    "live": PhaseConfig.model_construct(method="realtime", iterations=4),
    "final": PhaseConfig.model_construct(method="gradient", iterations=6),
}


class VocoderConfig(Settings):
    """The shape of the network that predicts magnitudes from a mel."""

    channels: int = Field(default=192, ge=8, le=1024)
    blocks: int = Field(default=4, ge=1, le=32)
    expansion: int = Field(default=3, ge=1, le=8)
    kernel: int = Field(default=7, ge=2, le=31)
    entry: int = Field(default=5, ge=2, le=31)  # mel frames that a frame's prediction reads directly
    look_ahead: int = Field(default=2, ge=1, le=15)  # ... of which this many lie ahead
    low: int = Field(default=192, ge=0, le=8193)  # lowest bins of the first guess that the global part reads
    patch: int = Field(default=16, ge=2, le=256, multiple_of=2)  # bins that the local part corrects together
    local: int = Field(default=96, ge=4, le=1024)
    air: int = Field(default=16, ge=2, le=256)  # points of the curve above the highest band

    @model_validator(mode="after")
    def _sees_now(self) -> Self:
        if self.look_ahead >= self.entry:
            raise ValueError(f"look_ahead must be below entry = {self.entry}, got {self.look_ahead}")
        return self


class HearConfig(Settings):
    """How a vocoder is trained; `precision` as in TrainConfig."""

    batch: int = Field(default=4, ge=2, le=1024)
    rate: float = Field(default=1.5e-3, gt=0, le=1)
    sound_weight: float = Field(default=1.0, ge=0)
    convergence_weight: float = Field(default=1.0, ge=0)
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    degraded: float = Field(default=0.3, ge=0, le=1)  # share of spectrograms that are degraded, as by forgetting
    mixed: float = Field(default=0.12, ge=0, le=1)  # ... of sounds mixed with another one
    noisy: float = Field(default=0.15, ge=0, le=1)  # ... of sounds with noise
    clips: int = Field(default=4000, ge=1)  # the most clips kept in memory
    precision: PrecisionName = AUTO
    seed: int = Seed


class TrainConfig(Settings):
    """How a memory is trained."""

    batch: int = Field(default=32, ge=2, le=4096)
    generator_rate: float = Field(default=2e-4, gt=0, le=1)
    discriminator_rate: float = Field(default=4e-4, gt=0, le=1)
    beta1: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.9, ge=0, lt=1)
    loss: LossName = "hinge"
    smoothness: float = Field(default=0.0, ge=0)  # weight of the gradient penalties R1 and R2
    smoothness_step: float = Field(default=0.05, gt=0, le=1)  # distance over which they are taken, mels are -1..1
    decode_weight: float = Field(default=0.0, ge=0)  # of what the discriminator must tell of a real mel
    mel_loss_weight: float = Field(default=1.0, ge=0)
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    discriminator_maps: int | None = Field(default=None, ge=2, le=512, multiple_of=2)
    minibatch_statistics: bool = True
    augment: AugmentConfig = AugmentConfig.model_construct()
    # How a step is computed; this affects only rounding. auto: whichever is faster here, or fp32 if nothing is timed.
    precision: PrecisionName = AUTO
    layout: LayoutName = AUTO  # memory layout of maps; auto: likewise, or channels_last
    seed: int = Seed


class ComputeConfig(Settings):
    """Where training runs; apart from rounding, none of this changes what is learned."""

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
    """How a recording becomes a training clip."""

    onset_db: float = Field(default=-20.0, ge=-80, lt=0)
    lead_s: float = Field(default=0.01, ge=0, le=1)
    fade_s: float = Field(default=0.03, ge=0, le=1)
    level_dbfs: float = Field(default=-18.0, ge=-60, le=0)


class SliceConfig(Settings):
    """How a long recording is cut into clips."""

    recordings_s: float = Field(default=2.0, gt=1)  # in image lengths: longer recordings without a label are cut
    one_shot_s: float = Field(default=15.0, gt=0)  # recordings with a label are one clip up to this length
    onset_db: float = Field(default=10.0, gt=0)  # above the level before the onset
    heard_db: float = Field(default=40.0, gt=0)  # below the loudest second: quieter parts are left out
    decay_db: float = Field(default=6.0, gt=0)  # below the level at the onset: beyond this, a sound has died away
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    fewest_recordings: int = Field(default=5, ge=2)  # with fewer, the end of each is held out instead of whole ones
    fewest_clips: int = Field(default=20, ge=2)  # with fewer, none are held out


class AdviceConfig(Settings):
    """Thresholds for warnings about a folder of sounds, before it is learned."""

    fewest_clips: int = Field(default=FEW_CLIPS, ge=1)
    fewest_in_class: int = Field(default=20, ge=1)
    evenness: float = Field(default=4.0, ge=1)  # ratio of the largest class to the smallest
    quiet_dbfs: float = Field(default=-45.0, ge=-120, le=0)
    quiet_share: float = Field(default=0.1, ge=0, le=1)
    short_part: float = Field(default=0.5, ge=0, le=1)  # of an image's length
    short_share: float = Field(default=0.25, ge=0, le=1)
    band_part: float = Field(default=0.9, ge=0, le=1)  # of the highest band
    band_share: float = Field(default=0.05, ge=0, le=0.5)
    alike_db: float = Field(default=2.0, ge=0)


class ClusterConfig(Settings):
    """How unlabelled clips are put into clusters that replace labels."""

    fewest: int = Field(default=2, ge=2)
    most: int = Field(default=16, ge=2)
    # `auto` makes at most clips / clips_each clusters: of fewer clips, a network learns one sound for each.
    clips_each: int = Field(default=25, ge=2)
    least_silhouette: float = Field(default=0.15, ge=0, le=1)
    nearly_best: float = Field(default=0.95, gt=0, le=1)  # of the best silhouette: of these, the most clusters
    least_spread: float = Field(default=0.03, ge=0)  # RMS; clips with less spread form a single cluster
    stray_part: float = Field(default=0.25, ge=0, le=1)  # of an even split: smaller ones join their neighbours
    spare: int = Field(default=4, ge=0)
    timbre_weight: float = Field(default=0.5, ge=0)  # beside harmony
    # Where no silhouette is as clear as this, timbre is tried with a weight that outdoes harmony.
    clear_silhouette: float = Field(default=0.45, ge=0, le=1)
    outdoing_timbre_weight: float = Field(default=8.0, ge=0)
    starts: int = Field(default=10, ge=1)
    compared: int = Field(default=2000, ge=2)
    seed: int = Seed


SLICE_AUTO, SLICE_OFF = AUTO, "off"
# Where labels come from: class folders (or clusters, in a flat folder), or the pitch of each sound.
LabelsName = Literal["auto", "pitch"]
DEFAULT_LABELS: LabelsName = AUTO
PITCH: LabelsName = "pitch"


def cluster_labels(count: int) -> tuple[str, ...]:
    """Return the labels of `count` clusters; none for a single cluster."""
    return tuple(str(i) for i in range(1, count + 1)) if count > 1 else ()


class StrumConfig(Settings):
    """How chords are strummed from single notes, or the notes themselves are plucked."""

    what: StrumSetName = "guitar"  # the eight chords of the original, 36 in common use, or E2 to E5
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

    order: WholeOrderName = "saliency"
    reverse: bool = False
    latents: int = Field(default=16, ge=1, le=4096)
    steps: int = Field(default=21, ge=2, le=1001)  # even fractions; a third as many more where most is lost
    quality: QualityName = "draft"
    seed: int = Seed


class ProfileConfig(Settings):
    """How the units of a memory are measured; latent counts are rounded up so that every label gets equally many."""

    latents: int = Field(default=8, ge=1, le=1024)  # latents in which each unit is ablated
    observed: int = Field(default=64, ge=2, le=65_536)  # latents over which activations are taken
    clusters: int = Field(default=24, ge=1, le=4096)  # of units that fire alike; those that never change add one
    seed: int = Seed


class EnvelopeConfig(Settings):
    """How a chord starts, holds, dies away and ends."""

    attack_s: float = Field(default=0.003, ge=0, le=10, description="Seconds of the attack.")
    hold_s: float = Field(default=0.0, ge=0, le=120, description="Seconds at full level before it decays.")
    decay_rt60_s: float = Field(default=8.0, ge=0.01, le=120, description="Seconds to decay by 60 dB.")
    release_s: float = Field(default=0.6, ge=0, le=10, description="Seconds of the fade at the end.")


# For previews: clicks at both ends are avoided, the sound in between is unchanged.
PREVIEW_ENVELOPE = EnvelopeConfig.model_construct(attack_s=0.005, decay_rt60_s=120.0, release_s=0.06)


class ToneConfig(Settings):
    """How bright the whole mix is: dB from bass to treble."""

    tilt_db: float = Field(
        default=0.0, ge=-12, le=12, description="Brighter (up to 12) or darker (down to -12): dB from bass to treble."
    )


class ReverbConfig(Settings):
    """A synthesized stereo room, or the impulse response in `impulse`.

    Below `low_hz` it decays in `low_ratio` times `rt60_s`, above `damping_hz` in `high_ratio` times `rt60_s`.
    """

    rt60_s: float = Field(default=3.0, ge=0.01, le=30, description="Seconds to decay by 60 dB.")
    low_ratio: float = Field(default=1.0, ge=0.25, le=2, description="Decay of the lows, as a factor of `rt60_s`.")
    low_hz: float = Field(default=250.0, ge=60, le=1000, description="Upper limit of the lows, in Hz.")
    high_ratio: float = Field(default=0.5, ge=0.1, le=2, description="Decay of the highs, as a factor of `rt60_s`.")
    damping_hz: float = Field(default=5000.0, ge=200, le=20_000, description="Lower limit of the highs, in Hz.")
    pre_delay_s: float = Field(default=0.02, ge=0, le=1, description="Seconds before the reverb starts.")
    wet_db: float = Field(default=-9.0, ge=-120, le=12, description="Level of the reverb.")
    impulse: str | None = Field(
        None, max_length=1024, description="Impulse response (a sound file), used instead of the synthetic room."
    )


class MasterConfig(Settings):
    """Loudness and ceiling of the finished file."""

    normalize: bool = Field(True, description="Bring the file to `loudness_lufs`; a take stays as it was heard.")
    loudness_lufs: float = Field(default=-18.0, ge=-60, le=-5, description="Integrated loudness in LUFS.")
    ceiling_dbtp: float = Field(default=-1.0, ge=-24, le=0, description="True-peak ceiling in dB.")


class ResynthConfig(Settings):
    """How a sound of any length is sent through a mel: in segments that are crossfaded."""

    segment_s: float = Field(default=20.0, ge=0.1, le=120)
    fade_s: float = Field(default=1.0, ge=0.01, le=10)
    context_s: float = Field(default=0.5, ge=0, le=10)  # context on both sides of a segment, cut off afterwards
    subtype: Literal["PCM_16", "PCM_24"] = "PCM_24"

    @model_validator(mode="after")
    def _fades_inside(self) -> Self:
        if self.fade_s > self.segment_s:
            raise ValueError(f"fade_s must be at most segment_s = {self.segment_s:g}, got {self.fade_s:g}")
        return self


class FileConfig(Settings):
    """Format of the finished file."""

    sample_rate_hz: Literal[44100, 48000] = Field(44_100, description="Sample rate: 44100 or 48000.")
    subtype: Literal["PCM_16", "PCM_24", "FLOAT"] = Field(
        "PCM_24", description="Sample format: PCM_16, PCM_24 or FLOAT."
    )


class SamplerConfig(Settings):
    """What a sampler's pack holds of each label."""

    stages: int = Field(default=6, ge=2, le=32)  # of forgetting, from intact to all that is forgotten
    latents: int = Field(default=2, ge=1, le=64)  # played in turn


# For a sampler, which has an envelope of its own: both ends are faded, what lies between stays as it was learned.
SAMPLER_ENVELOPE = EnvelopeConfig.model_construct(decay_rt60_s=120.0, release_s=0.3)


FILM_SIZES = {"1080p": (1920, 1080), "720p": (1280, 720), "square": (1080, 1080), "vertical": (1080, 1920)}
FILM_SHORTEST, FILM_LONGEST = 240, 4096  # least and most pixels of a side


class FilmConfig(Settings):
    """Format of the film."""

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


# Buffered sound between the engine and the ear, by name.
BUFFERS_MS = {"live": 60.0, "safe": 150.0, "studio": 400.0}


class PageConfig(Settings):
    """How a piece is shared as a page."""

    theme: ThemeName = Field(DEFAULT_THEME, description="night (dark) or paper (light).")
    title: str = Field("", max_length=120, description="Title of the page; default: the score's.")
    locked: bool = Field(default=False, description="Nobody may take over: the piece only plays.")
    vocoder: bool = Field(default=True, description="The memory's vocoder travels, too.")


class LiveConfig(Settings):
    """How a memory is played live: network addresses, and limits for clients."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    port: int = Field(default=8000, ge=0, le=65_535)  # 0: any free port
    origins: tuple[str, ...] = ()  # of proxies through which the page is reached
    osc: bool = True
    osc_host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    osc_port: int = Field(default=9700, ge=0, le=65_535)
    osc_reply_port: int = Field(default=9701, ge=1, le=65_535)
    buffer_ms: float = Field(default=BUFFERS_MS["live"], ge=20, le=2000)
    takes: str = "takes"
    quality: LiveQualityName = "live"
    # 0 dB at the start: a voice that plays intact chords has about -23 LUFS; the limiter makes room for more voices.
    volume: float = Field(default=1.0, ge=0, le=1)
    # Per client: messages per second, and how many more in a burst.
    messages_per_s: float = Field(default=1000.0, gt=0)
    messages_at_once: float = Field(default=2000.0, ge=1)
    message_bytes: int = Field(default=16_384, ge=1024)  # longer ones are refused, ...
    socket_bytes: int = Field(default=1_048_576, ge=1024)  # ... and beyond this size close the socket
    clients: int = Field(default=32, ge=1)
    waiting: int = Field(default=10_000, ge=16)  # messages queued for a client, then it is disconnected
    patches: int = Field(default=4096, ge=1)  # kept for clients that reconnect
    gestures: int = Field(default=200, ge=1)  # the most that can be undone
    gesture_s: float = Field(default=0.5, ge=0)  # seconds: closer moves of one control are undone together
    frames_per_s: float = Field(default=30.0, gt=0)
    meters_per_s: float = Field(default=10.0, gt=0)
    units_per_s: float = Field(default=4.0, gt=0)  # for what a score forgets; changes by hand go at once
    lease_s: float = Field(default=30.0, gt=0)  # of an OSC subscription
    blocks_waiting: int = Field(default=8, ge=1)  # queued for a listener without credit; then the oldest are dropped
    behind: float = Field(default=0.125, ge=0)  # share of the buffer: beyond it, the next block generates nothing anew
    # Shares of a block's duration: above `load_high` the quality steps down, below `load_low` (smoothed over
    # `recover_s`) it steps up again, after twice as long each time, since draft may save more than lies between them.
    load_high: float = Field(default=0.75, gt=0)
    late_blocks: int = Field(default=8, ge=0)  # with more blocks in a row late by half the buffer, it steps down, too
    load_low: float = Field(default=0.6, gt=0)
    recover_s: float = Field(default=30.0, gt=0)
    sync_s: float = Field(default=1.0, gt=0)  # how often a take is flushed to the disk
    take_waiting_s: float = Field(default=30.0, gt=0)  # of sound buffered for a slow disk
