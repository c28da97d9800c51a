"""The one engine: controls in, blocks of sound out, offline and live alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fugue_state.audio.io import Samples, resample
from fugue_state.audio.mix import add_at, envelope, pan
from fugue_state.audio.reverb import Convolver, Tail, room
from fugue_state.audio.tone import Tilt
from fugue_state.bending.strengths import Strengths
from fugue_state.config import EVENT_BATCH, EnvelopeConfig, ReverbConfig, ToneConfig
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory


@dataclass(frozen=True, eq=False)
class Event:
    """One remembered chord in time: `onset` in samples, latent (Z,), strengths (U,), pan -1..1.

    `frames` is how long it lasts (a multiple of 32); None is as long as learned.
    """

    onset: int
    chord: str | None
    latent: Tensor
    strengths: Strengths
    pan: float
    frames: int | None = None


@dataclass(frozen=True)
class Controls:
    """What the player asks for in one block: its length, and events from now on."""

    samples: int
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, eq=False)
class Voice:
    """An event made audible: stereo samples (N, 2), its mel (M, T) and unit activations (U,)."""

    event: Event
    samples: Samples
    mel: npt.NDArray[np.float32]
    activations: npt.NDArray[np.float32]


@dataclass(frozen=True)
class State:
    """All that one block leaves to the next."""

    position: int
    voices: tuple[Voice, ...]
    tone: npt.NDArray[np.float64]
    tail: Tail


@dataclass(frozen=True, eq=False)
class Block:
    """Sound (N, 2) from sample `position` on, and what the newest sounding event shows at its start.

    `strengths` and `activations` are (U,), `mel` is the column (M,) heard; None in silence.
    """

    position: int
    samples: Samples
    chord: str | None = None
    strengths: Strengths | None = None
    activations: npt.NDArray[np.float32] | None = None
    mel: npt.NDArray[np.float32] | None = None


class Instrument:
    """A memory that is played: events become voices, voices are mixed, toned and put into a room."""

    def __init__(
        self,
        memory: Memory,
        *,
        sample_rate_hz: int,
        envelope: EnvelopeConfig,
        tone: ToneConfig,
        reverb: ReverbConfig,
        seed: int,
    ) -> None:
        self.memory = memory
        self._rate = sample_rate_hz
        self._envelope = envelope
        self._tilt = Tilt(tone, sample_rate_hz)
        self._convolver = Convolver(room(reverb, sample_rate_hz, seed))
        self._wet = np.float32(10.0 ** (reverb.wet_db / 20.0))

    def start(self) -> State:
        """Return the state before the first block."""
        return State(0, (), self._tilt.silence(), self._convolver.silence())

    def step(self, controls: Controls, state: State) -> tuple[Block, State]:
        """Play one block. Raises InputError for an event that lies in the past."""
        late = [e.onset for e in controls.events if e.onset < state.position]
        if late:
            raise InputError(f"an event at sample {late[0]} came after sample {state.position} was played")
        voices = state.voices + tuple(self._voices(controls.events))
        dry = np.zeros((controls.samples, 2), dtype=np.float32)
        for voice in voices:
            add_at(dry, state.position, voice.samples, voice.event.onset)
        dry, tone = self._tilt(dry, state.tone)
        wet, tail = self._convolver(dry, state.tail)
        end = state.position + controls.samples
        ringing = tuple(v for v in voices if v.event.onset + len(v.samples) > end)
        block = self._seen(Block(state.position, dry + self._wet * wet), voices)
        return block, State(end, ringing, tone, tail)

    def _voices(self, events: tuple[Event, ...]) -> Iterator[Voice]:
        """Make events audible, batch by batch."""
        for start in range(0, len(events), EVENT_BATCH):
            for frames, part in groupby(events[start : start + EVENT_BATCH], key=lambda e: e.frames):
                yield from self._batch(tuple(part), frames)

    def _batch(self, events: tuple[Event, ...], frames: int | None) -> Iterator[Voice]:
        """Generate, invert, shape and place events of one length together."""
        strengths = torch.from_numpy(np.stack([e.strengths for e in events]))
        named = [e.chord for e in events if e.chord is not None]
        latents = torch.stack([e.latent for e in events])
        mels, activations = self.memory.observe(latents, named or None, strengths, frames)
        audio = self.memory.invert(mels).numpy()
        placed = [resample(sound, self.memory.spec.sample_rate_hz, self._rate) for sound in audio]
        gain = envelope(len(placed[0]), self._rate, self._envelope)
        for event, sound, mel, activation in zip(events, placed, mels.numpy(), activations.numpy(), strict=True):
            yield Voice(event, pan(sound * gain, event.pan), mel, activation)

    def _seen(self, block: Block, voices: tuple[Voice, ...]) -> Block:
        """Add to a block what the newest voice that sounds at its start shows."""
        sounding = [v for v in voices if v.event.onset <= block.position < v.event.onset + len(v.samples)]
        if not sounding:
            return block
        voice = sounding[-1]
        column = int((block.position - voice.event.onset) / len(voice.samples) * voice.mel.shape[1])
        return replace(
            block,
            chord=voice.event.chord,
            strengths=voice.event.strengths,
            activations=voice.activations,
            mel=voice.mel[:, column],
        )


def play(instrument: Instrument, events: Iterable[Event], samples: int, block: int) -> Iterator[Block]:
    """Play events that are known beforehand, for `samples` samples in blocks of `block`.

    Events are handed over in whole batches, ahead of time, whatever the block: so the sound does
    not depend on its length.
    """
    if block < 1:
        raise InputError(f"a block holds at least 1 sample, got {block}")
    waiting = iter(events)
    state = instrument.start()
    batch = tuple(islice(waiting, EVENT_BATCH))
    while state.position < samples:
        length = min(block, samples - state.position)
        due: tuple[Event, ...] = ()
        while batch and batch[0].onset < state.position + length:
            due += batch
            batch = tuple(islice(waiting, EVENT_BATCH))
        heard, state = instrument.step(Controls(length, due), state)
        yield heard
