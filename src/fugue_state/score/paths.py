"""All controls by name: one table of paths for takes, page, OSC and MIDI."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from fugue_state.config import PLAYED_VOLUME, SEED_MAX, LiveQualityName
from fugue_state.errors import InputError, shown, unknown
from fugue_state.limits import SCORE_VOICES

Kind = Literal["float", "int", "string", "trigger", "bytes"]
Value = float | int | str | bytes | None
QUALITY_NAMES: tuple[str, ...] = get_args(LiveQualityName)
BANKS = 16
KEYS = range(128)  # MIDI numbers
CLASSES = range(1, 13)  # pitch classes, C first
HOLD = "/hold/<n>"
KEY, KEY_CHORD = "/key/<m>", "/keys/<c>/chord"
TEMPO_BPM = (0.05, 600.0)  # slowest and fastest
PART = "/part/<n>/forget"
MOST_UNITS = 4096  # units of a layer in one message
KEPT = 8192  # size of the cache of `find`, which is called several times per change
NUMBERED = re.compile(r"<[nkbmc]>")
NUMBER = r"(\d{1,4})"
COUNTED = {"<b>": ("banks", range(1, BANKS + 1)), "<m>": ("keys", KEYS), "<c>": ("pitch classes", CLASSES)}


@dataclass(frozen=True)
class Path:
    """A control: `<n>` in its pattern is a layer (or a part), `<k>` a unit, `<b>` a bank, `<c>` a pitch class.

    All of them count from 1. `<m>` is a key by its MIDI number, from 0 on. `minimum` and `maximum` limit a number, or
    the length of a string or of bytes. A `recorded` control changes the sound and is stored in takes; a `told` one is
    only sent out. A string with `choices` must be one of them. Of a control with `each`, every change counts, not only
    the newest of a block. Those `by_keys` belong to playing by keys, which shared pages do not have.
    """

    pattern: str
    kind: Kind
    minimum: float
    maximum: float
    default: Value
    about: str
    recorded: bool = True
    told: bool = False
    choices: tuple[str, ...] = ()
    each: bool = False
    by_keys: bool = False


def _switch(pattern: str, about: str, default: int = 0) -> Path:
    return Path(pattern, "int", 0, 1, default, about)


def _by_keys(
    pattern: str, kind: Kind, ends: tuple[float, float], default: Value, about: str, *, each: bool = False
) -> Path:
    return Path(pattern, kind, *ends, default, about, each=each, by_keys=True)


def _does(pattern: str, about: str, *, recorded: bool = True) -> Path:
    return Path(pattern, "trigger", 0, 0, None, about, recorded)


def _told(pattern: str, kind: Kind, about: str) -> Path:
    return Path(pattern, kind, -math.inf, math.inf, None, about, recorded=False, told=True)


PATHS = (
    Path("/forget", "float", 0, 1, 0.0, "How much of everything is forgotten, along the order of the score."),
    _does("/recall", "Everything comes back, frozen or locked or not."),
    Path(PART, "float", 0, 1, 0.0, "How much is forgotten of a part: of voices that forget together."),
    _does("/part/<n>/recall", "A part comes back, frozen or not; what the master has forgotten of it stays so."),
    Path("/layer/<n>/forget", "float", 0, 1, 0.0, "How much of a layer is forgotten."),
    _does("/layer/<n>/recall", "A layer comes back, frozen or not; what the master has forgotten of it stays so."),
    _switch("/layer/<n>/lock", "The master leaves the layer alone; its own fader and brushes still play it."),
    Path("/layer/<n>/order", "string", 0, 32, "", "Order in which its fader forgets its units; empty: the score's."),
    _switch("/layer/<n>/freeze", "The units of a layer stay as they are, whatever moves."),
    Path("/unit/<n>/<k>/strength", "float", 0, 1, 1.0, "How much of a unit brushes leave; faders take from that."),
    _switch("/unit/<n>/<k>/freeze", "A unit stays as it is, whatever moves."),
    Path("/grid/<n>", "bytes", 1, MOST_UNITS, None, "The same of a layer's units: a byte each, 255 is remembered."),
    Path(HOLD, "bytes", 1, MOST_UNITS, None, "Frozen units of a layer: a byte each, 0 free, 1 to 255 what is held."),
    _switch("/freeze", "The sound of this moment goes on, and time stands still."),
    _does("/hush", "Fades to silence in half a second, and stops."),
    _switch("/play", "Time goes on, or the dry sound pauses.", 1),
    Path("/volume", "float", 0, 1, PLAYED_VOLUME, "Gain of all before the limiter: 1 is 0 dB, .5 is -6 dB."),
    Path("/seed", "int", 0, SEED_MAX, 0, "Seed of the latents from the next chords on."),
    _does("/rest", "Nothing that sounds is made anew in the next block; the clock asks for it when it is behind."),
    Path(
        "/quality", "string", 1, 16, "live", "Care for the sound of all that begins from now on.", choices=QUALITY_NAMES
    ),
    Path("/chord", "string", 0, 64, "", "Chord of all that begins from now on; empty: the score's."),
    _by_keys(KEY, "float", (0, 1), 0.0, "A key: how hard it is pressed, 0 lets it go.", each=True),
    _by_keys("/pedal", "int", (0, 1), 0, "While it is down, keys that are let go ring on.", each=True),
    _by_keys("/loop", "int", (0, 1), 1, "The score's own chords go on, or only keys sound."),
    _by_keys("/keys/voice", "int", (1, SCORE_VOICES.most), 1, "The voice that the keys play."),
    _by_keys(KEY_CHORD, "string", (0, 64), "", "What keys of a pitch class play; empty: the chord with that root."),
    _by_keys("/tempo", "float", TEMPO_BPM, 60.0, "Tempo in beats a minute: how fast the piece goes on."),
    _does("/bank/<b>/store", "A bank keeps the strengths of now.", recorded=False),
    _does("/bank/<b>/arm", "A bank is the next to fire.", recorded=False),
    Path("/bank/<b>/fire", "float", 0, 600, 0.0, "Strengths go to those of a bank, in so many seconds.", False),
    Path("/ab", "float", 0, 1, 0.0, "Between what was when a bank was armed, and that bank.", False),
    _does("/undo", "Takes back what was done last.", recorded=False),
    _does("/redo", "Does again what was taken back.", recorded=False),
    Path("/mark", "string", 0, 120, "", "A note in the log.", False),
    _does("/rec/start", "Begins a take.", recorded=False),
    _does("/rec/stop", "Ends a take.", recorded=False),
    Path("/memory", "string", 1, 1024, None, "Another memory, by name.", False),
    Path("/replay", "string", 0, 64, "", "A take, by name, is played again; empty: back to where one was.", False),
    Path("/render", "string", 1, 64, None, "A take, by name, is rendered to a WAV at quality final.", False),
    _does("/ping", "Is answered.", recorded=False),
    Path("/subscribe", "int", 1, 65_535, 9701, "Port to send what is told to, for half a minute.", False),
    _told("/strengths/<n>", "bytes", "What brushes, faders and plan leave of a layer's units, a byte each."),
    _told("/frozen/<n>", "bytes", "Which units of a layer are frozen, a byte each."),
    _told("/state/remembered", "float", "Layer, and how much of it is remembered."),
    _told("/event/forgotten", "int", "Layer and unit that was forgotten."),
    _told("/meter/peak", "float", "Peak in dB."),
    _told("/meter/lufs", "float", "Momentary loudness in LUFS."),
    _told("/clock", "int", "First sample of the next block."),
    _told("/stats/underruns", "int", "Blocks that came too late."),
)
_FORMS = tuple((path, re.compile(NUMBERED.sub(lambda _: NUMBER, path.pattern), re.ASCII)) for path in PATHS)


@lru_cache(maxsize=KEPT)
def find(path: str) -> tuple[Path, tuple[int, ...]]:
    """Return the control that a path names, and the numbers in it; InputError for an unknown path."""
    for known, form in _FORMS:
        if found := form.fullmatch(path):
            numbers = tuple(map(int, found.groups()))
            for mark, (what, there) in COUNTED.items():
                if mark in known.pattern and numbers[0] not in there:
                    raise InputError(f"{path}: there are {what} {there[0]} to {there[-1]}")
            return known, numbers
    raise unknown("path", path, [known.pattern for known in PATHS if not known.told])


def check(path: str, args: Sequence[object]) -> Value:
    """Return the value for a path from its arguments: a number, a string, bytes, or None if it takes none.

    Bytes may be given as base64. A trigger ignores any value that a button sends. /bank/<b>/fire and /subscribe use
    their default if no value is given. Raises InputError for anything else.
    """
    known, _ = find(path)
    if known.told:
        raise InputError(f"{path} is only told, not set")
    if len(args) > 1:
        raise InputError(f"{path} takes one value, got {len(args)}")
    if known.kind == "trigger":
        return None
    if not args:
        if known.pattern in {"/bank/<b>/fire", "/subscribe"}:
            return known.default
        raise InputError(f"{path} needs a value")
    if known.kind == "bytes":
        return _bytes(path, known, args[0])
    return _text(path, known, args[0]) if known.kind == "string" else _number(path, known, args[0])


def pressed(path: str, args: Sequence[object]) -> bool:
    """Say whether a button's message triggers anything: 0 or False, sent on release, does nothing on a trigger.

    Without a value, or with any other number, it acts. Raises InputError for values that no button sends.
    """
    known, _ = find(path)
    if known.kind != "trigger" or not args:
        return True
    value = args[0]
    # Only floats can be NaN, and a huge integer could not be converted.
    if not isinstance(value, int | float) or (isinstance(value, float) and math.isnan(value)):
        raise InputError(f"{path} acts without a value or with 1, and 0 does nothing; got {shown(value)}")
    return value != 0


def _number(path: str, known: Path, value: object) -> float | int:
    low, high = f"{known.minimum:.10g}", f"{known.maximum:.10g}"
    # NaN fails the range check.
    if not isinstance(value, int | float) or not known.minimum <= value <= known.maximum:
        raise InputError(f"{path} takes a number from {low} to {high}, got {_shown(value)}")
    if known.kind == "float":
        return float(value)
    if value != int(value):
        raise InputError(f"{path} takes a whole number from {low} to {high}, got {_shown(value)}")
    return int(value)


def _text(path: str, known: Path, value: object) -> str:
    fits = isinstance(value, str) and known.minimum <= len(value) <= known.maximum and value.isprintable()
    if not isinstance(value, str) or not fits:
        raise InputError(f"{path} takes a line of up to {known.maximum:g} characters, got {_shown(value)}")
    if known.choices and value not in known.choices:
        raise unknown(path.removeprefix("/"), value, known.choices)
    return value


def _bytes(path: str, known: Path, value: object) -> bytes:
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise InputError(f"{path} takes bytes, as base64 where they are text, got {_shown(value)}") from None
    if not isinstance(value, bytes) or not known.minimum <= len(value) <= known.maximum:
        raise InputError(f"{path} takes {known.minimum:g} to {known.maximum:g} bytes, got {_shown(value)}")
    return value


def written(value: Value) -> float | int | str:
    """Return a checked value as stored in a take: bytes as base64, None as 0."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return 0.0 if value is None else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."
