"""Limits on what comes from outside: sizes, counts, rates and times, each with the message for exceeding it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fugue_state.errors import shown

Area = Literal["sounds", "folders", "memories", "scores", "takes", "sockets", "OSC"]


@dataclass(frozen=True)
class Limit:
    """The most that is accepted of something from outside.

    `line` is the message for exceeding it; `{got}` in it is the value, `{most}` the limit with its unit.
    """

    area: Area
    what: str
    most: float
    unit: str
    line: str

    def passed(self, got: object) -> str:
        """Return the message for a value above the limit."""
        return self.line.format(got=shown(got), most=f"{self.most:,.12g} {self.unit}".strip())


SOUND_CHANNELS = Limit("sounds", "channels of a file", 64, "channels", "{got} channels are too many (at most {most})")
SOUND_RATE = Limit(
    "sounds", "sample rate of a file", 768_000, "Hz", "{got} Hz is too high a sample rate (at most {most})"
)
SOUND_HELD = Limit(
    "sounds",
    "samples of a file that are held at once, over all channels that are kept",
    2**29,
    "samples",
    "too long to be read at once: more than {most}; cut it into parts",
)
SOUND_TOLD = Limit(
    "sounds",
    "length of what a file says of how it was made",
    2**26,
    "bytes",
    "{got} bytes are too many: at most {most}",
)
SOUND_LENGTH = Limit(
    "sounds", "length of a file of which parts are read", 48 * 3600, "s", "too long: it goes on after {most}"
)

# OSC: contents of a datagram, waiting messages, and receivers.
OSC_BYTES = Limit("OSC", "bytes of a datagram", 8192, "bytes", "{got} bytes are too many: at most {most}")
OSC_MESSAGES = Limit("OSC", "messages of a bundle", 512, "messages", "{got} messages are too many: at most {most}")
OSC_NESTED = Limit("OSC", "bundles within each other", 8, "deep", "bundles {got} deep: at most {most}")
OSC_PATTERN = Limit("OSC", "length of an address", 256, "characters", "an address of {got} characters: at most {most}")
OSC_WILDCARDS = Limit("OSC", "wildcards of a part", 8, "wildcards", "{got} wildcards in a part: at most {most}")
OSC_MATCHES = Limit("OSC", "addresses of a pattern", 1024, "addresses", "it stands for {got} addresses: at most {most}")
OSC_AHEAD_S = Limit(
    "OSC", "time of a bundle", 600, "s ahead", "it is for {got} s from now: at most {most}; is a clock wrong?"
)
OSC_WAITING = Limit("OSC", "messages that wait", 8192, "messages", "{got} messages wait already: at most {most}")
OSC_WAITING_EACH = Limit("OSC", "of one sender", 2048, "messages", "{got} of yours wait already: at most {most}")
OSC_EACH_TURN = Limit("OSC", "messages followed in a turn of the loop", 64, "messages", "{got} at once: at most {most}")
OSC_SENDERS = Limit("OSC", "senders that are remembered", 64, "senders", "{got} senders: at most {most}")
OSC_LEASES = Limit("OSC", "subscriptions", 32, "subscriptions", "{got} subscriptions are too many: at most {most}")
OSC_LEASES_EACH = Limit("OSC", "of one machine", 8, "subscriptions", "{got} of one machine: at most {most}")
OSC_PROOF_S = Limit("OSC", "age of a proof", 300, "s", "a proof {got} s old: at most {most}")
OSC_PROOFS_PER_S = Limit("OSC", "wrong answers in a second", 20, "answers", "{got} are wrong: at most {most} a second")
OSC_UNPROVED = Limit("OSC", "bytes told for one that was heard, unproved", 3, "bytes", "{got} bytes: at most {most}")

# Scores.
SCORE_BYTES = Limit(
    "scores", "size of a file", 16_000_000, "bytes", "{got} bytes are too many for a score: at most {most}"
)
SCORE_NESTING = Limit("scores", "brackets within brackets", 64, "", "brackets within brackets: at most {most} deep")
SCORE_DIGITS = Limit(
    "scores", "digits of a number", 4000, "digits", "a number of {got} digits is too long: at most {most}"
)
SCORE_TIME_S = Limit("scores", "any time", 604_800, "seconds", "a time of {got} s is too long: at most {most}")
SCORE_NAME = Limit(
    "scores", "a name, a line or a path", 1024, "characters", "{got} characters are too many: at most {most}"
)
SCORE_TEXT = Limit(
    "scores", "what a score is about", 20_000, "characters", "{got} characters are too many: at most {most}"
)
SCORE_VOICES = Limit("scores", "voices", 16, "voices", "{got} voices are too many: at most {most}")
SCORE_STEPS = Limit("scores", "chords of a voice's loop", 4096, "chords", "{got} chords are too many: at most {most}")
SCORE_RECORDING_S = Limit(
    "scores", "length of a voice's recording", 1800, "s", "a recording of more than {most} is too long for a voice"
)
SCORE_CHORDS = Limit(
    "scores",
    "chords that sound in a piece",
    1_000_000,
    "in all",
    "about {got} chords would sound, too many: {most}, so it needs longer beats, fewer voices or a shorter piece",
)
SCORE_TEMPOS = Limit(
    "scores", "changes of tempo, or of metre", 4096, "changes", "{got} changes are too many: at most {most}"
)
SCORE_CUES = Limit("scores", "cues", 10_000, "cues", "{got} cues are too many: at most {most}")
SCORE_EVEN = Limit(
    "scores", "cues of the pace even", 100, "cues", '{got} cues of the pace "even", each measured, are too many: {most}'
)
SCORE_POINTS = Limit(
    "scores", "points of a pace or a plan", 1000, "points", "{got} points are too many: at most {most}"
)
SCORE_UNITS = Limit("scores", "names of units", 10_000, "names", "{got} names of units are too many: at most {most}")
SCORE_BENDS = Limit("scores", "bends", 1000, "bends", "{got} bends are too many: at most {most}")
SONG_BYTES = Limit("scores", "size of a MIDI file", 4_000_000, "bytes", "{got} bytes are too many: at most {most}")
SONG_NOTES_PER_S = Limit(
    "scores",
    "notes of a voice in a second, on average",
    100,
    "a second",
    "{got} notes a second are too many: at most {most}",
)
CHART_BYTES = Limit("scores", "size of a chart", 1_000_000, "bytes", "{got} bytes are too many: at most {most}")

# Sockets: number of connections, timeouts, and how much is read from one before the others get their turn.
CONNECTIONS = Limit("sockets", "open connections", 128, "connections", "{got} are too many: at most {most}")
LISTENERS = Limit(
    "sockets", "who listens to the sound", 32, "listeners", "{got} listeners are too many: at most {most}"
)
REQUEST_S = Limit("sockets", "time for a request to come whole", 10, "s", "no request within {most}")
SLOW_S = Limit("sockets", "time in which nothing is read of what was sent", 20, "s", "nothing was read for {most}")
BEHIND_S = Limit("sockets", "age of what is told and not read", 30, "s", "what was told is not read within {most}")
IDLE_S = Limit("sockets", "time without asking for sound", 60, "s", "no sound was asked for within {most}")
EACH_TURN = Limit("sockets", "messages read in a turn of the loop", 16, "messages", "{got} at once: at most {most}")
PAUSE_S = Limit("sockets", "pause after that for one who says too much", 0.01, "s", "{got} s: at most {most}")
HELLO_AGAIN = Limit("sockets", "messages that saying hello again counts for", 50, "messages", "{got}: at most {most}")

# Takes, memories.
TAKE_WAITING = Limit(
    "takes", "changes that wait to be written", 10**6, "changes", "{got} changes wait for the disk: at most {most}"
)
MEMORY_NAME = Limit("memories", "length of a name", 200, "characters", "a name of {got} is too long: at most {most}")
MEMORY_LABELS = Limit("memories", "labels", 4096, "labels", "{got} labels are too many: at most {most}")
MEMORY_WINDOW = Limit(
    "memories", "samples of a mel's window (n_fft)", 16_384, "samples", "a window of {got} is too long: at most {most}"
)
MEMORY_LATENTS = Limit("memories", "latents drawn at once", 1_000_000, "latents", "{got} latents: at most {most}")
MEMORY_FRAMES = Limit(
    "memories",
    "frames of mel made at once, over all latents",
    2**19,
    "frames",
    "{got} frames of mel are too many at once: at most {most}; give fewer latents at a time",
)
MEMORY_STEPS = Limit("memories", "steps of activations over time", 65_536, "steps", "{got} steps: at most {most}")
