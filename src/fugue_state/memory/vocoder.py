"""The vocoder: learned magnitudes with integrated phase, for whole mels and frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from fugue_state.audio.compiled import one_thread
from fugue_state.audio.integrate import Grid, PhaseState, follow, start_phase
from fugue_state.audio.magnitudes import Lobes
from fugue_state.audio.mel import MelTransform
from fugue_state.audio.phase import LEAST_WEIGHT, overlap_add
from fugue_state.config import MelSpec, VocoderConfig
from fugue_state.errors import InputError

QUIETEST = 3e-6  # -110 dB: what counts as nothing in a bin
NEPER_DB = 20.0 / math.log(10.0)
SPREAD, CENTRE = 4.0, 2.0  # of log magnitudes, in nepers and spreads: what the network sees is of order 1
SILENT = -1.0


class CausalBlock(nn.Module):
    """A ConvNeXt block (Liu et al., 2022) that looks back only: (B, T, C) to the same."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        channels = config.channels
        self.taps = nn.Parameter(torch.randn(channels, config.kernel).div_(math.sqrt(config.kernel)))
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, config.expansion * channels)
        self.narrow = nn.Linear(config.expansion * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 1.0 / config.blocks))

    def forward(self, frames: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Return what comes of frames (B, T, C) after `past` (B, at least kernel - 1, C), and the new past.

        That has one frame more than it needs: without its newest, it is the past of one frame ago.
        """
        heard, kernel = torch.cat([past, frames], dim=1), self.taps.shape[1]
        mixed = (heard[:, 1 - kernel - frames.shape[1] :].unfold(1, kernel, 1) * self.taps).sum(-1)
        out = self.narrow(functional.gelu(self.widen(self.norm(mixed))))
        return frames + self.scale * out, heard[:, -kernel:]


class MagnitudeNet(nn.Module):
    """A mel and a first guess of its log magnitudes (nepers) to better ones.

    A global part reads the mel and the lower bins; a local part, the same for every patch of bins, reads the
    guess around it. Both correct the guess; above the highest band a coarse curve continues it. Frame t needs the
    mel up to frame t + look_ahead and nothing after.
    """

    def __init__(self, config: VocoderConfig, spec: MelSpec) -> None:
        super().__init__()
        self.config = config
        self.bands, self.bins = spec.n_mels, spec.n_fft // 2 + 1
        self.patches = min(
            math.ceil((spec.fmax_hz / spec.sample_rate_hz * spec.n_fft + 2) / config.patch), self.bins // config.patch
        )
        self.known = self.patches * config.patch  # bins with a guess
        local = config.local
        self.enter = nn.Linear(config.entry * spec.n_mels + 2 * config.low, config.channels)
        self.blocks = nn.ModuleList(CausalBlock(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.channels)
        self.leave = nn.Linear(config.channels, self.known)
        self.above = nn.Linear(config.channels, config.air)
        self.near = nn.Linear(4 * config.patch + 2, local)
        self.place = nn.Parameter(torch.randn(self.patches, local).mul_(0.1))
        self.context = nn.Linear(config.channels, local)
        self.deepen = nn.Linear(local, 2 * local)
        self.shallow = nn.Linear(2 * local, local)
        self.settle = nn.LayerNorm(local)
        self.correct = nn.Linear(local, config.patch)
        for last in (self.leave, self.above, self.correct):  # untrained, it returns the guess
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @property
    def before(self) -> int:
        """Mel frames before frame t that it reads directly."""
        return self.config.entry - self.config.look_ahead - 1

    def nothing(self, items: int) -> list[Tensor]:
        """Return what the blocks remember before any sound."""
        shape = (items, self.config.kernel, self.config.channels)
        return [torch.zeros(shape) for _ in self.blocks]

    def forward(self, mel: Tensor, guess: Tensor) -> Tensor:
        """Return log magnitudes (B, T, F) for a whole mel (B, M, T) and its guess (B, T, known)."""
        frames = mel.transpose(1, 2)
        silence = frames.new_full((len(mel), self.before, self.bands), SILENT)
        held = frames[:, -1:].expand(-1, self.config.look_ahead, -1)
        whole = torch.cat([silence, frames, held], dim=1)
        return self.advance(whole, torch.cat([guess, guess[:, -1:]], dim=1), self.nothing(len(mel)))[0]

    def advance(self, frames: Tensor, guess: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return log magnitudes (B, T, F) and what the blocks then remember.

        Takes mel frames (B, entry - 1 + T, M), from `before` the first one on, and guesses (B, T + 1, known).
        """
        config = self.config
        windows = frames.unfold(1, config.entry, 1).transpose(2, 3).flatten(2)  # (B, T, entry * M)
        guess, after = guess[:, :-1], guess[:, 1:]
        low = (guess[..., : config.low] / SPREAD + CENTRE, (after - guess)[..., : config.low] / SPREAD)
        hidden = self.enter(torch.cat([windows, *low], dim=-1))
        kept = []
        for block, before in zip(self.blocks, past, strict=True):
            hidden, left = block(hidden, before)
            kept.append(left)
        hidden = self.norm(hidden)
        known = guess + self.leave(hidden).float() + self._local(guess, after, hidden)
        return torch.cat([known, self._air(known, hidden)], dim=-1), kept

    def _local(self, guess: Tensor, after: Tensor, hidden: Tensor) -> Tensor:
        """Return a correction (B, T, known) that sees the guess up to half a patch around each patch."""
        patch, half = self.config.patch, self.config.patch // 2
        both = functional.pad(torch.stack([guess, after], dim=1).flatten(0, 1), (half, half), mode="replicate")
        around = (
            both.unfold(2, 2 * patch, patch).view(-1, 2, *guess.shape[1:2], self.patches, 2 * patch).transpose(1, 2)
        )
        mean = around.mean(-1, keepdim=True)
        level, change = mean[:, :, :1] / SPREAD + CENTRE, (mean[:, :, 1:] - mean[:, :, :1]) / SPREAD
        shape = (around - mean[:, :, :1]) / SPREAD
        shape = torch.cat([shape[:, :, 0], shape[:, :, 1], level[:, :, 0], change[:, :, 0]], dim=-1)
        inside = functional.gelu(self.near(shape) + self.place + self.context(hidden)[:, :, None])
        inside = inside + self.shallow(functional.gelu(self.deepen(self.settle(inside))))
        out: Tensor = self.correct(inside).float()
        return out.flatten(2)

    def _air(self, known: Tensor, hidden: Tensor) -> Tensor:
        """Return log magnitudes (B, T, F - known) above the mel: a coarse curve that starts from its upper end."""
        top = known[..., -self.config.patch :].mean(-1, keepdim=True)
        curve = functional.interpolate(self.above(hidden).float(), self.bins - self.known, mode="linear")
        return top + curve


class Unlearned(nn.Module):
    """Stands in for a network that there is not: the guess as it is."""

    config = VocoderConfig(entry=2, look_ahead=1)

    def __init__(self, spec: MelSpec) -> None:
        super().__init__()
        self.bands, self.bins = spec.n_mels, spec.n_fft // 2 + 1
        self.known = self.bins

    def nothing(self, items: int) -> list[Tensor]:
        """Return what it remembers before any sound: nothing at all."""
        del items
        return []

    def forward(self, mel: Tensor, guess: Tensor) -> Tensor:
        """Return the guess (B, T, F) for a whole mel."""
        del mel
        return guess

    def advance(self, frames: Tensor, guess: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the guesses (B, T, F) of all but the last frame."""
        del frames
        return guess[:, :-1], list(past)


class LearnedMagnitudes:
    """What a trained network makes of the guess that sound is a sum of window lobes."""

    def __init__(self, net: MagnitudeNet | Unlearned, spec: MelSpec) -> None:
        self.net = net.eval().requires_grad_(False)
        self._guess = Lobes(spec)

    @property
    def transform(self) -> MelTransform:
        """The transform whose mels it reads."""
        return self._guess.transform

    def guess(self, mel: Tensor) -> Tensor:
        """Return the first guess (B, T, known) in nepers for a mel (B, M, T)."""
        return self._guess(mel)[..., : self.net.known].clamp_min(QUIETEST).log()

    def __call__(self, mel: Tensor) -> Tensor:
        """Return magnitudes (B, T, F) for a mel (B, M, T), a full-scale sine reading 1."""
        return heard(self.net(mel.clamp(-1.0, 1.0), self.guess(mel)))


def heard(logs: Tensor) -> Tensor:
    """Return magnitudes of log magnitudes in nepers; what counts as nothing becomes nothing."""
    return (logs.exp() - QUIETEST).clamp_min(0.0)


@dataclass(frozen=True, eq=False)
class StreamState:
    """What the frames so far leave to the next: of the mel, its guess, the network, the phase and the overlap."""

    mel: Tensor  # (1, entry, M): with one frame more than the next needs
    guess: Tensor  # (1, up to look_ahead, known): of the frames that wait for what follows them
    past: tuple[Tensor, ...]  # this, too
    magnitude: Tensor  # (0 or 1, F), whose phase waits for the next
    phase: PhaseState
    skipped: int  # samples before the first frame's centre that were not heard
    tail: Tensor  # (2, n_fft - hop): samples and window weights still open


@dataclass(frozen=True, eq=False)
class Reading:
    """What a stream reads next: mel frames (M, n) after a state.

    If `anew`, the first of them, as many as are `open`, are what the newest before became.
    """

    frames: Tensor
    state: StreamState
    anew: bool = False


class Stream:
    """The vocoder frame by frame: `latency` samples late, it plays what the whole mel gives.

    State in, state out; the mel may change at any frame. Phase is integrated from the frames already played, and
    neighbouring frames overlap by three quarters of a window, so no change makes a click.
    """

    def __init__(self, magnitudes: LearnedMagnitudes, seed: int = 0) -> None:
        self._magnitudes, self._net = magnitudes, magnitudes.net
        self.spec = magnitudes.transform.spec
        self._grid = Grid(self.spec.n_fft, self.spec.hop)
        self._turned = torch.from_numpy(self._grid.from_centre())
        self._window = torch.hann_window(self.spec.n_fft)
        self._seed = seed

    @property
    def latency(self) -> int:
        """Samples by which the sound is late: a frame's centre comes so long after the frame itself.

        The network looks ahead, the phase by one frame more; then half a window has to be complete.
        """
        return (self._net.config.look_ahead + 1) * self.spec.hop + self.spec.n_fft // 2

    @property
    def open(self) -> int:
        """How many of the newest frames have no phase yet, and can be read `anew`."""
        return self._net.config.look_ahead + 1

    def start(self) -> StreamState:
        """Return the state before any sound."""
        net = self._net
        return StreamState(
            mel=torch.full((1, net.config.entry, net.bands), SILENT),
            guess=torch.empty(1, 0, net.known),
            past=tuple(net.nothing(1)),
            magnitude=torch.empty(0, net.bins),
            phase=start_phase(self._grid, self._seed),
            skipped=0,
            tail=torch.zeros(2, self.spec.n_fft - self.spec.hop),
        )

    def step(self, frames: Tensor, state: StreamState, *, anew: bool = False) -> tuple[Tensor, StreamState]:
        """Return the next n * hop samples for n mel frames (M, n), n >= 1, and the new state.

        If `anew`, `open` frames come before these n: what the newest ones become, whose phase is not decided yet.
        What was sounded stays, and goes on without a click into what comes.
        Raises AudioError for frames that are not of this spec or not finite, InputError for too few to begin anew.
        """
        return self.steps([Reading(frames, state, anew)])[0]

    def steps(self, readings: Sequence[Reading]) -> list[tuple[Tensor, StreamState]]:
        """Return what `step` does for each of several: together they take less time, and may round in another way."""
        with torch.inference_mode(), one_thread():
            found: dict[int, tuple[Tensor, StreamState]] = {}
            for alike in self._alike(readings):
                states = [_back(one.state, self.open) if one.anew else one.state for _, one in alike]
                predicted = self._predict(torch.stack([one.frames for _, one in alike]), states)
                for (place, one), (magnitude, state) in zip(alike, predicted, strict=True):
                    sound, after = self._play(magnitude, state)
                    missing = self._new(one) * self.spec.hop - len(sound)
                    found[place] = torch.cat([torch.zeros(missing), sound]), after
            return [found[place] for place in range(len(readings))]

    def _alike(self, readings: Sequence[Reading]) -> Iterable[list[tuple[int, Reading]]]:
        """Return what can be read together, each with its place."""
        groups: dict[tuple[int, int, bool], list[tuple[int, Reading]]] = {}
        for place, one in enumerate(readings):
            if one.anew and (self._new(one) < 1 or not len(one.state.magnitude)):
                raise InputError(
                    f"{self.open} frames are read anew once they have been read, with more that follow them"
                )
            key = one.frames.shape[1], one.state.guess.shape[1], one.anew
            groups.setdefault(key, []).append((place, one))
        return groups.values()

    def _new(self, reading: Reading) -> int:
        return reading.frames.shape[1] - (self.open if reading.anew else 0)

    def finish(self, state: StreamState) -> Tensor:
        """Return the `latency` samples still to come if no frame follows: what a whole mel ends with."""
        if not state.guess.shape[1]:
            return torch.zeros(self.latency)
        with torch.inference_mode(), one_thread():
            held = state.mel[0, -1:].T.expand(-1, self._net.config.look_ahead)
            first, state = self._play(*self._predict(held[None], [state])[0])
            last, state = self._play(state.magnitude.expand(3, -1), state)
            samples, weight = state.tail
            sound = torch.cat([first, last, samples / weight.clamp_min(LEAST_WEIGHT)])
            missing = max(0, self.latency - len(sound))
            return torch.cat([torch.zeros(missing), sound])[: self.latency]

    def whole(self, mel: Tensor) -> Tensor:
        """Return what a whole mel (M, T) sounds like (T * hop,): what it plays frame by frame, without its latency."""
        sound, state = self.step(mel, self.start())
        return torch.cat([sound, self.finish(state)])[self.latency :]

    def _predict(self, frames: Tensor, states: Sequence[StreamState]) -> list[tuple[Tensor, StreamState]]:
        """Return the magnitudes (n, F) that mel frames (B, M, n) complete, each after the one that waited."""
        config, (items, _, count) = self._net.config, frames.shape
        guessed = self._magnitudes.guess(frames.transpose(0, 1).flatten(1)[None])  # as one: that is faster
        guess = torch.cat([torch.cat([state.guess for state in states]), guessed.view(items, count, -1)], dim=1)
        mel = torch.cat([torch.cat([state.mel for state in states]), frames.transpose(1, 2).clamp(-1.0, 1.0)], dim=1)
        past = [torch.cat(blocks) for blocks in zip(*(state.past for state in states), strict=True)]
        ready = max(0, guess.shape[1] - config.look_ahead)
        made = guess.new_empty(items, 0, self._net.bins)
        if ready:
            context = mel[:, mel.shape[1] - (ready + config.entry - 1) :]
            logs, past = self._net.advance(context, guess[:, : ready + 1], past)
            made = heard(logs) / self._magnitudes.transform.unit_gain
        found = []
        for i, state in enumerate(states):
            one = slice(i, i + 1)
            kept = replace(
                state, mel=mel[one, -config.entry :], guess=guess[one, ready:], past=tuple(p[one] for p in past)
            )
            found.append((torch.cat([state.magnitude, made[i]]), kept))
        return found

    def _play(self, magnitude: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """Sound all but the last of magnitudes (n, F), which waits."""
        if len(magnitude) < 2:
            return torch.empty(0), replace(state, magnitude=magnitude)
        hop, open_ = self.spec.hop, state.tail.shape[1]
        phases, phase = follow(magnitude.numpy(), state.phase, self._grid)
        spectrum = torch.polar(magnitude[:-1], torch.from_numpy(phases) + self._turned)
        frames = torch.fft.irfft(spectrum, n=self.spec.n_fft) * self._window
        both = torch.stack([frames, (self._window**2).expand_as(frames)])
        added = overlap_add(both, hop)
        added[:, :open_] += state.tail
        done, tail = added[:, :-open_], added[:, -open_:]
        skip = min(done.shape[1], self.spec.n_fft // 2 - state.skipped)
        sound = (done[0] / done[1].clamp_min(LEAST_WEIGHT))[skip:]
        state = replace(state, magnitude=magnitude[-1:], phase=phase, skipped=state.skipped + skip, tail=tail)
        return sound, state


def _back(state: StreamState, count: int) -> StreamState:
    """Return a state without its newest frames, those whose phase is open; what was sounded stays."""
    past = tuple(blocks[:, :-1] for blocks in state.past)  # the network is behind by all of them but one
    return replace(state, mel=state.mel[:, :-count], guess=state.guess[:, :0], past=past, magnitude=state.magnitude[:0])
