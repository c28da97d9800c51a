"""Where every block of sound comes to be, offline and live: mix, tone control, room, gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.audio.reverb import Convolver, Tail, room
from fugue_state.audio.tone import Tilt
from fugue_state.engine.voice import Passage, ramp_of
from fugue_state.piece.conductor import Ramp
from fugue_state.piece.seen import Seen
from fugue_state.score.model import Score

FULL: Ramp = (1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Ringing:
    """State that a chain carries from one block to the next; never modified in place."""

    tone: Wide
    tail: Tail


@dataclass(frozen=True, eq=False)
class PlannedBlock:
    """A block that is decided but may not have sounded yet: what plays in its `length` samples, and what shows.

    `gain` and, where it is not 1, `fade` (N,) are those after the room. If it `failed`, it fades to silence at once.
    After a `silenced` one, nothing rings on.
    """

    position: int
    length: int
    passages: Sequence[Passage]
    seen: Seen
    mel: Array
    gain: Ramp = FULL
    failed: bool = False
    silenced: bool = False
    fade: Array | None = None

    @property
    def settled(self) -> bool:
        """Whether everything heard in it is known by now."""
        return all(passage.voice.settled for passage in self.passages)


@dataclass(frozen=True, eq=False)
class Block:
    """Sound (N, 2) from sample `position` on, and what shows as it begins: `seen`, and the `mel` column (M,).

    `stems`, where asked for, are (N, 2 S): dry, reverb, then (if there are several voices) each voice, dry. Dry and
    reverb add up to `samples`, the voices add up to dry. Where it is heard at once, `lufs` is its momentary loudness,
    and `overloaded` says that the sound was NaN or far too loud, and fades to silence here.
    """

    position: int
    samples: Array
    seen: Seen
    mel: Array
    stems: Array | None = None
    lufs: float = -math.inf
    overloaded: bool = False


class Chain:
    """Mix, tone control, reverb and gain of a score; with `stems`, each of its voices is also mixed by itself."""

    def __init__(self, score: Score, *, stems: bool = False) -> None:
        rate, voices = score.file.sample_rate_hz, len(score.voices)
        self._tilt = Tilt(score.tone, rate)
        self._convolver = Convolver(room(score.reverb, rate, score.seed))
        self._wet = np.float32(10.0 ** (score.reverb.wet_db / 20.0))
        self._stems = stems
        self._parts = 2 + 2 * (voices if stems and voices > 1 else 0)  # channels: the mix, each voice apart, ...
        self._sends = 2 if any(voice.curves.wet_db for voice in score.voices) else 0  # ... what the room hears

    def silence(self) -> Ringing:
        """Return the state before any sound."""
        return Ringing(self._tilt.silence(self._parts + self._sends), self._convolver.silence())

    def __call__(self, planned: PlannedBlock, ringing: Ringing) -> tuple[Block, Ringing]:
        """Make a block sound, given the state; return it, and the new state.

        The room hears the mix, or, where curves say how much of a voice it hears, a mix of its own.
        """
        mix = np.zeros((planned.length, self._parts + self._sends), dtype=np.float32)
        send = mix[:, self._parts :] if self._sends else None
        for passage in planned.passages:
            passage.add_to(mix[:, : self._parts], send)
        made, tone = self._tilt(mix, ringing.tone)
        dry = made[:, : self._parts]
        wet, tail = self._convolver(made[:, self._parts :] if self._sends else dry[:, :2], ringing.tail)
        wet *= self._wet
        if planned.fade is not None:
            dry, wet = dry * planned.fade[:, None], wet * planned.fade[:, None]
        sound = dry[:, :2] + wet
        if planned.gain != FULL:
            sound *= ramp_of(planned.gain, planned.length)
        stems = np.concatenate([dry[:, :2], wet, dry[:, 2:]], axis=1) if self._stems else None
        return Block(planned.position, sound, planned.seen, planned.mel, stems), Ringing(tone, tail)
