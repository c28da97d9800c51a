"""Everything that decides how a piece sounds, and its defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from pydantic.fields import FieldInfo

from fugue_state.config import (
    DEFAULT_MEMORY,
    DEFAULT_QUALITY,
    GAIN_MAX,
    SEED_MAX,
    EnvelopeConfig,
    FileConfig,
    InverterName,
    MasterConfig,
    OrderName,
    QualityName,
    ReplacementName,
    ReverbConfig,
    ToneConfig,
)
from fugue_state.errors import InputError, shown, unknown
from fugue_state.limits import (
    SCORE_BENDS,
    SCORE_CHORDS,
    SCORE_CUES,
    SCORE_EVEN,
    SCORE_NAME,
    SCORE_POINTS,
    SCORE_STEPS,
    SCORE_TEMPOS,
    SCORE_TEXT,
    SCORE_VOICES,
)
from fugue_state.score.cues import PACE, AtMost, Course, Cue, PaceName, Share, ShortText, Texts, spans
from fugue_state.score.names import quote, unquoted
from fugue_state.score.paths import Value, check, find
from fugue_state.score.pitches import VELOCITY_MOST, velocity_db
from fugue_state.score.tempo import (
    FASTEST_BPM,
    MOST_BEATS,
    SLOWEST_BPM,
    MetreChange,
    TempoChange,
    check_rises,
    tempo_of,
)
from fugue_state.score.times import Clock, Seconds, Time, told
from fugue_state.settings import AnySettings, MisplacedError, Place, Settings, placed

REST = "-"
SHORTEST_S = 0.01  # from a chord to the next, on average: a day of less would fill the memory
STEP = re.compile(
    r"""^(?P<chord>"[^"]+"|'[^']+'|.*?)(?:@(?P<entry>\d+))?(?:\*(?P<beats>\d+(?:\.\d+)?))?(?:\^(?P<velocity>\d+))?$""",
    re.DOTALL,
)
# What a performer does to units, which acts at onsets too.
REACHING_UNITS = ("/forget", "/recall", "/part/", "/layer/", "/unit/", "/grid/", "/hold/")
MOST_SEMITONES = 60
ResolutionName = Literal["event", "block"]
LatentsName = Literal["loop", "walk", "path", "fresh"]
TraitName = Literal["clarity", "margin", "bright", "attack", "sustain", "level"]


def _step(value: Any) -> Any:
    """Read a step from its short form.

    That is `Am`, `Am*2` (beats), `Am@12` (atlas entry), `Am^90` (velocity), `-` (rest) or `"F*2"` (a name).
    """
    if not isinstance(value, str):
        return value
    if len(value) > SCORE_NAME.most:
        raise ValueError(SCORE_NAME.passed(len(value)))
    found = STEP.match(value.strip())
    if found is None:
        raise ValueError("a step is like Am, Am*2 (beats), Am@12 (atlas entry), Am^90 (velocity) or - (rest)")
    step: dict[str, Any] = {key: part for key, part in found.groupdict().items() if part}
    if step.get("chord") == REST:
        step = {key: part for key, part in step.items() if key != "chord"} | {"rest": True}
    elif "chord" in step:
        step["chord"] = unquoted(step["chord"])
    return step


class Step(Settings):
    """One chord or note of a progression, or a rest."""

    chord: ShortText | None = Field(None, description="The chord's name; default: the memory chooses.")
    beats: float | None = Field(None, gt=0, le=1024, description="Beats until the next step; default: as in the voice.")
    rest: bool = Field(False, description="A rest: nothing sounds.")
    entry: int | None = Field(None, ge=0, description="Take the latent from this entry of the memory's atlas.")
    seed: int | None = Field(None, ge=0, le=SEED_MAX, description="Seed of the latent; default: the voice's.")
    velocity: int | None = Field(
        None, ge=1, le=VELOCITY_MOST, description="How hard it is struck: 127 fully, 64 is 12 dB softer; default: 127."
    )
    level_db: float = Field(0.0, ge=-60, le=12, description="Level relative to the voice's other steps.")
    pan: float | None = Field(None, ge=-1, le=1, description="Position, -1 left to 1 right; default: from the seed.")

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Write the short form where it says everything."""
        said = {key: value for key, value in handler(self).items() if value != Step.model_fields[key].default}
        if set(said) - {"chord", "beats", "rest", "entry", "velocity"}:
            return said
        entry = "" if self.entry is None else f"@{self.entry}"
        beats = "" if self.beats is None else f"*{self.beats:g}"
        velocity = "" if self.velocity is None else f"^{self.velocity}"
        short = f"{REST if self.rest else quote(self.chord or '')}{entry}{beats}{velocity}"
        return short if Step.model_validate(_step(short)) == self else said

    @property
    def struck_db(self) -> float:
        """Level relative to the voice's other steps, with what its velocity takes."""
        return self.level_db if self.velocity is None else self.level_db + velocity_db(self.velocity)


Steps = Annotated[Step, BeforeValidator(_step)]


class Adaptive(Settings):
    """Forgetting that listens: it keeps the chords at a target clarity."""

    clarity: Share = Field(0.7, description="Target clarity of the chords.")
    rate: float = Field(0.02, gt=0, le=1, description="Largest fraction forgotten or recalled per second.")
    reaction: float = Field(
        4.0, gt=0, le=100, description="Share of that rate used for each 0.1 of clarity above or below the target."
    )
    quiet_db: float = Field(
        -18.0, ge=-60, le=0, description="Level below which it recalls, relative to the intact chord."
    )
    density: float = Field(
        0.5, ge=0, le=4, description="How much faster it forgets for each additional sound at the same time."
    )


class BendConfig(Settings):
    """A change to units that are remembered."""

    units: Texts = Field(description='Layers or units, like "deconv3" or "deconv2:1-64"; numbers start at 1.')
    gain: float = Field(1.0, ge=0, le=GAIN_MAX, description="Factor on what the units put out.")
    invert: Share = Field(0.0, description="How far their output is inverted: 0 not at all, 1 fully.")


class Forgetting(Course):
    """How the memory is forgotten, from the start on, unless cues say otherwise."""

    pace: PaceName = Field("even", description=PACE)
    start: Time = Field(0.0, description="When forgetting begins.")
    until: Time | None = Field(
        None, description="When forgetting ends; default: when a cue takes over, or at the last chord."
    )
    to: Share = Field(1.0, description="Fraction of the units in scope forgotten at the end.")
    order: OrderName = Field(
        "saliency",
        description="Which units go first: saliency (the least important), layerwise, random, activation, cluster, "
        "frequency or list.",
    )
    reverse: bool = Field(False, description="Reverse the order.")
    units: Texts = Field((), description='The units of the order "list", first to go first.')
    scope: Texts = Field(
        (), description="Layers, units or regions (bass, body, air) that may be forgotten; empty: all."
    )
    locks: Texts = Field((), description="Layers, units or regions that are never forgotten.")
    fade_s: float = Field(0.0, ge=0, le=600, description="Seconds that each unit takes to fade.")
    replacement: ReplacementName | dict[str, ReplacementName] = Field(
        "zero",
        description="Output of a forgotten unit: zero, mean, noise, frozen or other; one for all, or by layer name.",
    )
    frozen_at: Time = Field(0.0, description="The moment at which `frozen` units stop.")
    other_seed: int | None = Field(
        None, ge=0, le=SEED_MAX, description="Seed of the latent of `other`; default: the next."
    )
    other_chord: ShortText | None = Field(None, description="Chord of the `other` latent; default: the first one.")
    other_memory: ShortText | None = Field(
        None, description="Memory whose units stand in for forgotten ones as `other`; default: its own."
    )
    adaptive: Adaptive | None = Field(None, description="Forget by listening instead of by a pace.")
    bends: Annotated[tuple[BendConfig, ...], AtMost(SCORE_BENDS)] = Field(
        (), description="Changes to units that are remembered."
    )

    @model_validator(mode="after")
    def _listed(self) -> Self:
        if (self.order == "list") != bool(self.units):
            raise ValueError('order = "list" and units go together')
        named = {self.replacement} if isinstance(self.replacement, str) else set(self.replacement.values())
        if self.other_memory is not None and "other" not in named:
            raise MisplacedError(("other_memory",), 'it stands in only with replacement = "other"')
        if self.adaptive is not None and self.pace != Forgetting.model_fields["pace"].default:
            raise ValueError(f"adaptive listens instead of keeping a pace, so pace = {self.pace!r} means nothing")
        return self


Levels = Annotated[tuple[tuple[Time, Annotated[float, Field(ge=-120, le=12)]], ...], AtMost(SCORE_POINTS)]
Places = Annotated[tuple[tuple[Time, Annotated[float, Field(ge=-2, le=2)]], ...], AtMost(SCORE_POINTS)]


class Curves(Settings):
    """What of a voice moves over time, also while it sounds: straight lines through points, held at both ends."""

    level_db: Levels = Field(
        (), description='Level over time, e.g. [[0, -20], ["25 %", 0]] in dB, added to what sounds; -120 is silence.'
    )
    pan: Places = Field((), description='Position over time, e.g. [[0, -1], ["50 %", 1]], added to that of each chord.')
    wet_db: Levels = Field(
        (), description="Level at which the room hears the voice over time, in dB relative to the others."
    )


# What a voice of chords has, and one of a recording has not.
OF_CHORDS = (
    *("chords", "transpose", "beats", "gate", "swing", "latents", "towards_seed", "wander", "variation", "like"),
    *("event_s", "spread", "envelope"),
)


LIVE_RECORDING = 'a recording is not played live, nor with resolution = "block"; fugue render plays it'


class Voice(Settings):
    """A line of chords or notes that repeats, or a recording."""

    name: ShortText = Field("", description="Name in stems and pictures.")
    chords: Annotated[tuple[Steps, ...], AtMost(SCORE_STEPS)] = Field(
        (), description='The loop, e.g. ["Am", "F*2", "-"]; empty: Am, F, C, G as far as the memory knows them.'
    )
    transpose: int = Field(
        0, ge=-MOST_SEMITONES, le=MOST_SEMITONES, description="Semitones by which the names of its chords are moved."
    )
    rounds: int | None = Field(
        None, ge=1, le=1_000_000, description="How often the loop is played; default: until the voice ends."
    )
    beats: float = Field(1.0, gt=0, le=1024, description="Beats from one chord to the next.")
    gate: float | None = Field(
        None, gt=0, le=4, description="Share of a step's beats after which its sound is let go; default: it rings out."
    )
    swing: float = Field(0.0, ge=0, le=0.9, description="Delay of every second step, as a share of its beats.")
    start: Time = Field(0.0, description="When the voice starts.")
    until: Time | None = Field(None, description="When the voice ends; default: at the end of the piece.")
    latents: LatentsName = Field(
        "loop",
        description="Latents in each round: the same (loop), wandering (walk), moving towards another seed (path), "
        "or always new (fresh).",
    )
    latent_seed: int | None = Field(None, ge=0, le=SEED_MAX, description="Seed of the latents; default: the score's.")
    towards_seed: int | None = Field(None, ge=0, le=SEED_MAX, description="Seed that a path moves towards.")
    wander: Share = Field(0.2, description="How far each round of a walk moves: 0 stays the same, 1 is new.")
    variation: Share = Field(0.0, description="How much a chord varies each time it plays.")
    like: dict[TraitName, Share] = Field(
        {}, description="How its latents should sound, as quantiles of the memory's atlas, e.g. {bright = 0.8}."
    )
    event_s: float | None = Field(
        None, ge=0.1, le=120, description="Stretch each chord to this many seconds; default: as learned."
    )
    level_db: float = Field(0.0, ge=-60, le=12, description="Level relative to the other voices.")
    pan: float = Field(0.0, ge=-1, le=1, description="Centre of the voice, -1 left to 1 right.")
    spread: Share = Field(0.5, description="How far the chords spread around that centre.")
    envelope: EnvelopeConfig | None = Field(None, description="Envelope of this voice; default: the score's.")
    recording: ShortText | None = Field(
        None,
        description="A sound file that is played instead of chords: it is forgotten with the memory, or, with "
        "forgets = false, heard as it is.",
    )
    forgets: bool = Field(True, description="Whether this voice forgets.")
    memory: ShortText | None = Field(None, description="The memory that it plays; default: the score's.")
    forgetting: Forgetting | None = Field(
        None, description="How this voice forgets, apart from the others; default: as the score says."
    )
    curves: Curves = Field(
        Curves.model_construct(), description="What of this voice moves over time, also while its chords sound."
    )

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if (self.latents == "path") != (self.towards_seed is not None):
            raise ValueError('latents = "path" and towards_seed go together')
        if self.chords and all(step.rest for step in self.chords):
            raise MisplacedError(("chords",), "a voice needs at least one chord, not only rests")
        if self.recording is not None:
            for key in OF_CHORDS:
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise MisplacedError((key,), f"a recording plays no chords, so it has no {key}")
        if self.forgetting is not None and not self.forgets:
            raise MisplacedError(("forgetting",), "a voice that does not forget (forgets = false) has no forgetting")
        return self


class Loudness(Settings):
    """How loud the piece is while it is forgotten."""

    hold: bool = Field(True, description="Keep the level while units are forgotten, as far as `lift_db` allows.")
    lift_db: float = Field(24.0, ge=0, le=60, description="Largest gain for a sound that has become quiet.")
    plan: Annotated[tuple[tuple[Time, Annotated[float, Field(ge=-60, le=12)]], ...], AtMost(SCORE_POINTS)] = Field(
        (), description='Level over time, e.g. [[0, 0], ["50 %", 0], ["100 %", -12]] in LU; empty: even.'
    )


class Made(Settings):
    """A memory that a score was rendered with."""

    sha256: str = Field(description="SHA-256 of its checkpoint.")
    chords: tuple[str, ...] = Field((), description="The chords it knows by name.")
    layers: dict[str, int] = Field({}, description="Number of units in each layer.")


class MadeFor(Made):
    """The memories that a score was rendered with: its own, and those that voices name."""

    others: dict[ShortText, Made] = Field({}, description="The memories of voices, by the names that the voices say.")
    recordings: dict[ShortText, str] = Field(
        {}, description="SHA-256 of the recordings of voices, by the paths that the voices say."
    )


class Change(Settings):
    """A control that a performer moved."""

    at: Time = Field(description="When the control moved.")
    path: str = Field(
        description="The control, like /forget, /recall, /layer/N/forget or /unit/N/K/strength; numbers start at 1."
    )
    value: int | float | str = Field(0.0, description="The new value; ignored for /recall.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        with placed(("path",)):
            known, _ = find(self.path)
            if not known.recorded:
                raise InputError(f"{self.path} is no part of a take")
        with placed(("value",)):
            check(self.path, [self.value])
        return self

    @property
    def played(self) -> Value:
        """Its value as it is played."""
        return check(self.path, [self.value])


def _renamed(settings: AnySettings, key: str, renamed: Callable[[str], str]) -> AnySettings:
    """Return settings with what a key of theirs names called otherwise, if it names anything."""
    name = getattr(settings, key)
    return settings if name is None else settings.model_copy(update={key: renamed(name)})


@dataclass(frozen=True)
class Together:
    """Voices that forget together, by number: the name of their memory, how they forget, and the cues that reach them.

    `place` is where their forgetting is in the score. If not even one `forgets`, nothing is forgotten.
    """

    memory: str
    voices: tuple[int, ...]
    forgets: bool
    forgetting: Forgetting
    place: Place
    cues: frozenset[int]


class Score(Settings):
    """Everything that decides how a piece sounds; the same score and memory give the same samples."""

    title: ShortText = Field("", description="Name of the piece.")
    about: Annotated[str, AtMost(SCORE_TEXT)] = Field("", description="A few words about the piece.")
    credits: tuple[Annotated[str, Field(max_length=120)], ...] = Field(
        (), max_length=12, description="Closing lines of the film: who made it."
    )
    memory: ShortText = Field(DEFAULT_MEMORY, description="A memory that ships, a checkpoint or a run folder.")
    duration_s: Seconds = Field(90.0, ge=1.0, le=24 * 3600.0, description='Length: seconds, or "6:30:00".')
    fade_in_s: Seconds = Field(0.0, ge=0, description="Seconds in which everything fades in, from the beginning on.")
    fade_out_s: Seconds = Field(0.0, ge=0, description="Seconds in which everything fades out, up to the end.")
    freeze_at: Time | None = Field(
        None, description='From here on the sound of this moment goes on, with resolution = "block"; default: never.'
    )
    seed: int = Field(0, ge=0, le=SEED_MAX, description="Seed of every random choice.")
    quality: QualityName = Field(
        DEFAULT_QUALITY, description="Quality of the sound: draft (fastest), live or final (best)."
    )
    resolution: ResolutionName = Field(
        "event",
        description="When strengths act: at the onset of each chord (event), or at once, as in live playing (block).",
    )
    inverter: InverterName | None = Field(
        None, description="How mels become sound; default: the memory's own vocoder, or lobes if it has none."
    )
    tempo_bpm: float = Field(
        50.0, ge=SLOWEST_BPM, le=FASTEST_BPM, description="Beats in a minute, until the tempo changes."
    )
    beats_per_bar: int = Field(
        4, ge=1, le=MOST_BEATS, description='Beats in a bar, for times like "bar 5", until the metre changes.'
    )
    tempo: Annotated[tuple[TempoChange, ...], AtMost(SCORE_TEMPOS)] = Field((), description="Changes of tempo.")
    metre: Annotated[tuple[MetreChange, ...], AtMost(SCORE_TEMPOS)] = Field((), description="Changes of metre.")
    voices: Annotated[tuple[Voice, ...], AtMost(SCORE_VOICES)] = Field(
        (Voice.model_construct(),), min_length=1, description="Lines of chords that sound together."
    )
    forgetting: Forgetting = Field(Forgetting.model_construct(), description="What is forgotten, and how.")
    cues: Annotated[tuple[Cue, ...], AtMost(SCORE_CUES)] = Field(
        (), description="Moves at set times: forget, recall, hold, jump."
    )
    changes: tuple[Change, ...] = Field((), description="Moves of a performer; a score with changes is a take.")
    played_s: Seconds | None = Field(
        None,
        gt=0,
        description="How long a take was played; its loop can go on past the piece. Default: the length of the piece.",
    )
    recorded_from_s: Seconds | None = Field(
        None, ge=0, description="When in a take its recording began: fugue render --from-record starts there."
    )
    loudness: Loudness = Field(Loudness.model_construct(), description="How loud the piece is.")
    envelope: EnvelopeConfig = Field(
        EnvelopeConfig.model_construct(), description="How each chord starts and dies away."
    )
    tone: ToneConfig = Field(ToneConfig.model_construct(), description="How bright the mix is.")
    reverb: ReverbConfig = Field(ReverbConfig.model_construct(), description="The room.")
    master: MasterConfig = Field(MasterConfig.model_construct(), description="Loudness and ceiling of the file.")
    file: FileConfig = Field(FileConfig.model_construct(), description="Format of the file.")
    made_for: MadeFor | None = Field(None, description="The memory it was rendered with; any other is refused.")

    @property
    def samples(self) -> int:
        """Length of the piece, or of what was played of it, in samples at the file's rate."""
        return round(self.length_s * self.file.sample_rate_hz)

    @property
    def length_s(self) -> float:
        """Seconds of the piece, or of what was played of it."""
        return self.duration_s if self.played_s is None else self.played_s

    @property
    def clock(self) -> Clock:
        """What its times are measured by; made anew whenever it is asked for."""
        return Clock(self.duration_s, tempo_of(self.tempo_bpm, self.beats_per_bar, self.tempo, self.metre))

    def of_quality(self, quality: QualityName) -> Self:
        """Return it at one quality from the beginning to the end, whatever a take stepped down to."""
        changes = tuple(change for change in self.changes if change.path != "/quality")
        return self.model_copy(update={"quality": quality, "changes": changes})

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_rises("tempo", [change.bar for change in self.tempo])
        check_rises("metre", [change.bar for change in self.metre])
        clock = self.clock
        self._check_times(clock)
        self._check_reached()
        together = self.together
        spans(self.cues, clock, [group.cues for group in together])
        even = sorted(i for group in together for i in group.cues if self.cues[i].pace == "even")
        if len(even) > SCORE_EVEN.most:
            raise MisplacedError(("cues", even[int(SCORE_EVEN.most)], "pace"), SCORE_EVEN.passed(len(even)))
        for group in together:
            for i in sorted(group.cues) if group.forgetting.adaptive is not None else ():
                if self.cues[i].pace == "even":
                    why = "where an adaptive forgetting has come to is known only when it is there"
                    raise MisplacedError(("cues", i, "pace"), f"even cannot be measured: {why}")
        self._check_chords(clock)
        if self.resolution == "block":
            for place in self.recordings.values():
                raise MisplacedError(place, LIVE_RECORDING)
        if self.inverter == "original" and any(voice.recording and voice.forgets for voice in self.voices):
            raise MisplacedError(("inverter",), "original cannot take the phases of a recording; choose another")
        return self

    @property
    def together(self) -> tuple[Together, ...]:
        """Its voices by what they forget together, in the order of their first voices.

        Voices that do not forget are with the first that have their memory.
        """
        every = frozenset(i for i, cue in enumerate(self.cues) if not cue.voices)
        some: dict[str, set[int]] = {}
        for i, cue in enumerate(self.cues):
            for name in cue.voices:
                some.setdefault(name, set()).add(i)
        groups: dict[tuple[str, int | None, frozenset[int]], list[int]] = {}
        keys = [
            (self.memory_of(number), None if voice.forgetting is None else number, frozenset(some.get(voice.name, ())))
            for number, voice in enumerate(self.voices)
        ]
        forgetting = [key for key, voice in zip(keys, self.voices, strict=True) if voice.forgets]
        for number, (key, voice) in enumerate(zip(keys, self.voices, strict=True)):
            alike = key if voice.forgets else (key[0], None, frozenset[int]())
            if not voice.forgets:
                alike = next((other for other in forgetting if other[0] == key[0]), alike)
            groups.setdefault(alike, []).append(number)
        return tuple(self._group(*key, tuple(voices), every) for key, voices in groups.items())

    def _group(
        self, memory: str, own: int | None, some: frozenset[int], voices: tuple[int, ...], every: frozenset[int]
    ) -> Together:
        plan = None if own is None else self.voices[own].forgetting
        place: Place = ("forgetting",) if own is None else ("voices", own, "forgetting")
        forgets = any(self.voices[number].forgets for number in voices)
        return Together(memory, voices, forgets, plan or self.forgetting, place, every | some)

    def memories(self) -> Iterator[tuple[str, Place, str]]:
        """Yield every memory that it names, with its place and what it is for: its own first, then those of voices."""
        yield self.memory, ("memory",), "its memory"
        for i, voice in enumerate(self.voices):
            if voice.memory is not None:
                yield voice.memory, ("voices", i, "memory"), f"the memory of voice {shown(voice.name or i + 1)}"
        for group in self.together:
            if (other := group.forgetting.other_memory) is not None:
                yield other, (*group.place, "other_memory"), "the memory that stands in for what is forgotten"

    def with_memories(self, renamed: Callable[[str], str]) -> Self:
        """Return it with all memories called otherwise, also those that it was made for."""
        voices = tuple(_renamed(voice, "memory", renamed) for voice in self.voices)
        voices = tuple(
            voice
            if voice.forgetting is None
            else voice.model_copy(update={"forgetting": _renamed(voice.forgetting, "other_memory", renamed)})
            for voice in voices
        )
        made_for = self.made_for
        if made_for is not None and made_for.others:
            others = {renamed(name): made for name, made in made_for.others.items()}
            made_for = made_for.model_copy(update={"others": others})
        forgetting = _renamed(self.forgetting, "other_memory", renamed)
        changed = {"memory": renamed(self.memory), "voices": voices, "forgetting": forgetting, "made_for": made_for}
        return self.model_copy(update=changed)

    def with_recordings(self, moved: Callable[[str], str]) -> Self:
        """Return it with the paths of all recordings changed, also of those that it was made for."""
        voices = tuple(_renamed(voice, "recording", moved) for voice in self.voices)
        made_for = self.made_for
        if made_for is not None and made_for.recordings:
            recordings = {moved(path): sha256 for path, sha256 in made_for.recordings.items()}
            made_for = made_for.model_copy(update={"recordings": recordings})
        return self.model_copy(update={"voices": voices, "made_for": made_for})

    @property
    def recordings(self) -> dict[str, Place]:
        """The recordings that its voices play, by their paths, with their places in the score."""
        named = [(voice.recording, i) for i, voice in enumerate(self.voices)]
        return {path: ("voices", i, "recording") for path, i in reversed(named) if path is not None}

    def memory_of(self, voice: int) -> str:
        """Return the name of the memory that a voice, by number, plays."""
        return self.voices[voice].memory or self.memory

    def _check_reached(self) -> None:
        """Refuse voices that share a name, and cues that reach none that is there and forgets."""
        names = [voice.name for voice in self.voices if voice.name]
        if len(set(names)) != len(names):
            raise MisplacedError(("voices",), f"names of voices must differ, got {shown(names)}")
        forgetting = {voice.name for voice in self.voices if voice.forgets}
        for i, cue in enumerate(self.cues):
            for k, name in enumerate(cue.voices):
                if not names:
                    raise MisplacedError(("cues", i, "voices", k), f"no voice has a name, so none is {shown(name)}")
                if name not in names:
                    raise MisplacedError(("cues", i, "voices", k), str(unknown("voice", name, names)))
            if cue.voices and forgetting.isdisjoint(cue.voices):
                told_of = ", ".join(shown(name) for name in cue.voices)
                raise MisplacedError(("cues", i, "voices"), f"no voice that it reaches forgets (it reaches {told_of})")

    def _check_chords(self, clock: Clock) -> None:
        """Refuse more chords than can be played, all in all or one after the other."""
        chords, tempo = 0.0, clock.tempo
        for i, voice in enumerate(self.voices):
            if voice.recording is not None:
                continue
            lengths = [step.beats or voice.beats for step in voice.chords] or [voice.beats]
            average = sum(lengths) / len(lengths)
            # The loop goes on past the end when it is played live, so the fastest tempo counts wherever it is.
            if (average_s := tempo.shortest_beat_s * average) < SHORTEST_S:
                why = f"chords every {average_s:.3g} s are too many: {SHORTEST_S:g} s is the least on average"
                raise MisplacedError(("voices", i, "beats"), why)
            end_s = self.duration_s if voice.until is None else clock.seconds(voice.until)
            played = (tempo.beats(end_s) - tempo.beats(clock.seconds(voice.start))) / average
            chords += played if voice.rounds is None else min(played, voice.rounds * len(lengths))
            if chords > SCORE_CHORDS.most:
                raise MisplacedError(("voices", i), SCORE_CHORDS.passed(round(chords)))

    def _check_times(self, clock: Clock) -> None:
        """Refuse times past the end, and ends before their beginning."""
        for place, part in self._plans():
            begin = self._inside(clock, (*place, "start"), part.start)
            if part.until is not None and self._inside(clock, (*place, "until"), part.until) <= begin:
                raise MisplacedError((*place, "until"), f"it ends ({part.until}) before it starts ({part.start})")
            if isinstance(part, Forgetting):
                self._inside(clock, (*place, "frozen_at"), part.frozen_at)
        self._check_rising(clock, ("loudness", "plan"), self.loudness.plan, "the plan")
        self._check_motion(clock)
        if self.played_s is not None and self.resolution == "event":
            raise MisplacedError(("played_s",), 'only what is played with resolution = "block" has a length of its own')
        if self.recorded_from_s is not None and (self.played_s is None or self.recorded_from_s >= self.played_s):
            raise MisplacedError(
                ("recorded_from_s",), "a take is recorded from a moment before the end of its played_s"
            )
        for i, change in enumerate(self.changes):
            if clock.seconds(change.at) > self.length_s:
                raise MisplacedError(("changes", i, "at"), f"{change.at} is past the end ({told(self.length_s)})")
            if self.resolution == "event" and not change.path.startswith(REACHING_UNITS):
                raise MisplacedError(("changes", i, "path"), f'{change.path} is played with resolution = "block"')

    def _plans(self) -> Iterator[tuple[Place, Voice | Forgetting]]:
        """Yield what has a start and an end of its own, with its place."""
        yield from ((("voices", i), voice) for i, voice in enumerate(self.voices))
        yield ("forgetting",), self.forgetting
        for i, voice in enumerate(self.voices):
            if voice.forgetting is not None:
                yield ("voices", i, "forgetting"), voice.forgetting

    def _check_motion(self, clock: Clock) -> None:
        """Refuse curves that are not in order, fades longer than the piece, and a freeze that cannot be."""
        for i, voice in enumerate(self.voices):
            for key in Curves.model_fields:
                self._check_rising(clock, ("voices", i, "curves", key), getattr(voice.curves, key), "a curve")
        for key, fade_s in (("fade_in_s", self.fade_in_s), ("fade_out_s", self.fade_in_s + self.fade_out_s)):
            if fade_s > self.duration_s:
                both = "fading in and out takes" if key == "fade_out_s" and self.fade_in_s else "it takes"
                raise MisplacedError((key,), f"{both} {told(fade_s)}, and the piece {told(self.duration_s)}")
        if self.freeze_at is not None:
            self._inside(clock, ("freeze_at",), self.freeze_at)
            if self.resolution == "event":
                raise MisplacedError(("freeze_at",), 'a sound is frozen while it sounds: with resolution = "block"')

    def _check_rising(self, clock: Clock, place: Place, points: Sequence[tuple[float | str, float]], what: str) -> None:
        """Refuse points over time that are past the end or not in order."""
        times = [self._inside(clock, (*place, i), time) for i, (time, _) in enumerate(points)]
        if times != sorted(set(times)):
            raise MisplacedError(place, f"the times of {what} must rise")

    def _inside(self, clock: Clock, place: Place, time: float | str) -> float:
        seconds = clock.seconds(time)
        if seconds > self.duration_s:
            raise MisplacedError(place, f"{time} is past the end of the piece ({told(self.duration_s)})")
        return seconds


# What of a score shapes the sound, in the order the sound passes it.
CHAIN = ("envelope", "tone", "reverb", "master")
UNITS = {"s": "s", "hz": "Hz", "db": "dB", "lufs": "LUFS", "dbtp": "dBTP"}


@dataclass(frozen=True)
class Range:
    """What a continuous setting may be; `unit` is empty where it has none."""

    name: str
    default: float
    minimum: float
    maximum: float
    unit: str


def ranges() -> tuple[Range, ...]:
    """Return the range of every continuous setting of the sound chain, named like `reverb.rt60_s`."""
    fields = {key: Score.model_fields[key] for key in CHAIN}
    return tuple(found for key, field in fields.items() for found in _ranges(key, field))


def _ranges(name: str, field: FieldInfo) -> Iterator[Range]:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, Settings):
        for key, inner in kind.model_fields.items():
            yield from _ranges(f"{name}.{key}", inner)
    elif kind is float:
        minimum = next(bound.ge for bound in field.metadata if hasattr(bound, "ge"))
        maximum = next(bound.le for bound in field.metadata if hasattr(bound, "le"))
        unit = UNITS.get(name.rpartition("_")[2], "")
        yield Range(name, field.default, float(minimum), float(maximum), unit)
