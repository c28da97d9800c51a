"""The vocoder for playing: learned magnitudes with integrated phase, for whole mels and frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft

from fugue_state.arrays import Array
from fugue_state.audio.compiled import compiled, one_thread
from fugue_state.audio.integrate import Grid, PhaseState, follow, start_phase
from fugue_state.audio.magnitudes import Lobes
from fugue_state.audio.mel import MelTransform, hann
from fugue_state.audio.phase import LEAST_WEIGHT, overlap_add, polar
from fugue_state.config import MelSpec, VocoderConfig
from fugue_state.errors import InputError
from fugue_state.memory.layers import Shapes, resized

QUIETEST = np.float32(3e-6)  # -110 dB: a bin's magnitude that counts as zero
SPREAD, CENTRE = np.float32(4.0), np.float32(2.0)  # of log magnitudes (nepers): scales them to order 1
SILENT = np.float32(-1.0)
MAPS = ("enter", "leave", "above", "near", "context", "deepen", "shallow", "correct")  # outside the blocks
FEW = 8  # up to this many rows, fetching the weights is most of the work

# erf(x) = x P(x^2) / Q(x^2), a least-squares fit over |x| < 3.925, where it is 1 in single precision: within 4e-7.
ERF_END = 3.925
ERF_OVER = tuple(
    map(np.float32, (1.1283792, 0.18455103, 0.05433181, 3.8357282e-3, 3.8344672e-4, 4.8036727e-6, -1.377e-8))
)
ERF_UNDER = tuple(map(np.float32, (1.0, 0.49688765, 0.11377847, 0.015448473, 1.3098357e-3, 6.4231397e-5)))


class Linear:
    """An affine map of the last axis."""

    def __init__(self, tensors: Mapping[str, Array], name: str) -> None:
        self._weights, self._bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]

    def __call__(self, x: Array) -> Array:
        """Map (..., inputs) to (..., outputs)."""
        rows = x.reshape(-1, x.shape[-1])
        out = np.empty((len(rows), len(self._weights)), dtype=np.float32)
        if len(rows) <= FEW:
            _map_few(rows, self._weights, self._bias, out)
        else:
            np.matmul(rows, self._weights.T, out=out)
            out += self._bias
        return out.reshape(*x.shape[:-1], -1)


@compiled
def _map_few(x: Array, weights: Array, bias: Array, out: Array) -> None:
    """Map rows (R, inputs), fetching each weight only once, since that is most of the work."""
    for n in range(len(weights)):
        for row in range(len(x)):
            total = np.float32(0.0)
            for k in range(x.shape[1]):
                total += weights[n, k] * x[row, k]
            out[row, n] = total + bias[n]


class Norm:
    """Layer normalization of the last axis."""

    def __init__(self, tensors: Mapping[str, Array], name: str) -> None:
        self._weight, self._bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]

    def __call__(self, x: Array) -> Array:
        """Normalize (..., C)."""
        out = np.array(x, order="C")
        _normalize(out.reshape(-1, x.shape[-1]), self._weight, self._bias)
        return out


@compiled
def _normalize(x: Array, weight: Array, bias: Array) -> None:
    rows, channels = x.shape
    for row in range(rows):
        total = np.float32(0.0)
        for c in range(channels):
            total += x[row, c]
        mean, squares = total / np.float32(channels), np.float32(0.0)
        for c in range(channels):
            squares += (x[row, c] - mean) ** 2
        scale = np.float32(1.0) / np.sqrt(squares / np.float32(channels) + np.float32(1e-5))
        for c in range(channels):
            x[row, c] = (x[row, c] - mean) * scale * weight[c] + bias[c]


def gelu(x: Array) -> Array:
    """Apply GELU in place (Hendrycks and Gimpel, 2016), and return the array."""
    _gelu(x.reshape(-1))
    return x


@compiled
def _gelu(x: Array) -> None:
    p0, p1, p2, p3, p4, p5, p6 = ERF_OVER
    q0, q1, q2, q3, q4, q5 = ERF_UNDER
    root, end, half, one = np.float32(math.sqrt(0.5)), np.float32(ERF_END), np.float32(0.5), np.float32(1.0)
    for i in range(len(x)):
        at = min(max(x[i] * root, -end), end)
        t = at * at
        over = p0 + t * (p1 + t * (p2 + t * (p3 + t * (p4 + t * (p5 + t * p6)))))
        under = q0 + t * (q1 + t * (q2 + t * (q3 + t * (q4 + t * q5))))
        x[i] = half * x[i] * (one + at * over / under) if at > -end else np.float32(0.0)


class CausalBlock:
    """A ConvNeXt block (Liu et al., 2022) that looks back only: (B, T, C) to (B, T, C)."""

    def __init__(self, tensors: Mapping[str, Array], name: str) -> None:
        self._taps = np.ascontiguousarray(tensors[f"{name}.taps"].T)  # (kernel, C)
        self._norm = Norm(tensors, f"{name}.norm")
        self._widen, self._narrow = Linear(tensors, f"{name}.widen"), Linear(tensors, f"{name}.narrow")
        self._scale = tensors[f"{name}.scale"]

    def __call__(self, frames: Array, past: Array) -> tuple[Array, Array]:
        """Return the output for frames (B, T, C) after `past` (B, at least kernel - 1, C), and the new past.

        The new past is one frame longer than needed: dropping its last frame gives the past of one frame earlier.
        """
        heard, kernel, count = np.concatenate([past, frames], axis=1), len(self._taps), frames.shape[1]
        first = heard.shape[1] - (kernel - 1) - count
        mixed = heard[:, first : first + count] * self._taps[0]
        for k in range(1, kernel):
            mixed += heard[:, first + k : first + k + count] * self._taps[k]
        out = self._narrow(gelu(self._widen(self._norm(mixed))))
        out *= self._scale
        out += frames
        return out, heard[:, -kernel:]


class MagnitudeNet:
    """Improves a first guess of a mel's log magnitudes (in nepers).

    A global part reads the mel and the lower bins; a local part, the same for every patch of bins, reads the
    guess around it. Both correct the guess; above the highest band a coarse curve continues it. Frame t needs the
    mel up to frame t + look_ahead and nothing after. `tensors` come from a checkpoint, with the shapes of `shapes`.
    """

    def __init__(self, config: VocoderConfig, spec: MelSpec, tensors: Mapping[str, Array]) -> None:
        self.config, self.tensors = config, dict(tensors)
        self.bands, self.bins = spec.n_mels, spec.n_fft // 2 + 1
        self.patches = patches(config, spec)
        self.known = self.patches * config.patch  # bins with a guess
        self._blocks = [CausalBlock(tensors, f"blocks.{number}") for number in range(config.blocks)]
        self._maps = {name: Linear(tensors, name) for name in MAPS}
        self._norm, self._settle = Norm(tensors, "norm"), Norm(tensors, "settle")
        self._place = tensors["place"]

    @staticmethod
    def shapes(config: VocoderConfig, spec: MelSpec) -> Shapes:
        """Return the shape of each of a net's tensors."""
        channels, local, patch = config.channels, config.local, config.patch
        wide, places = config.expansion * channels, patches(config, spec)
        maps = {
            "enter": (channels, config.entry * spec.n_mels + 2 * config.low),
            "leave": (places * patch, channels),
            "above": (config.air, channels),
            "near": (local, 4 * patch + 2),
            "context": (local, channels),
            "deepen": (2 * local, local),
            "shallow": (local, 2 * local),
            "correct": (patch, local),
        }
        found: Shapes = {"place": (places, local)}
        for number in range(config.blocks):
            own = f"blocks.{number}"
            found |= {f"{own}.taps": (channels, config.kernel), f"{own}.scale": (channels,)}
            found |= {f"{own}.norm.{each}": (channels,) for each in ("weight", "bias")}
            maps |= {f"{own}.widen": (wide, channels), f"{own}.narrow": (channels, wide)}
        found |= {f"norm.{each}": (channels,) for each in ("weight", "bias")}
        found |= {f"settle.{each}": (local,) for each in ("weight", "bias")}
        found |= {f"{name}.weight": shape for name, shape in maps.items()}
        return found | {f"{name}.bias": shape[:1] for name, shape in maps.items()}

    @property
    def before(self) -> int:
        """Mel frames before frame t that it reads directly."""
        return self.config.entry - self.config.look_ahead - 1

    def nothing(self, items: int) -> list[Array]:
        """Return the blocks' past before any sound."""
        shape = (items, self.config.kernel, self.config.channels)
        return [np.zeros(shape, dtype=np.float32) for _ in self._blocks]

    def __call__(self, mel: Array, guess: Array) -> Array:
        """Return log magnitudes (B, T, F) for a whole mel (B, M, T) and its guess (B, T, known)."""
        frames = mel.swapaxes(1, 2)
        silence = np.full((len(mel), self.before, self.bands), SILENT, dtype=np.float32)
        held = np.repeat(frames[:, -1:], self.config.look_ahead, axis=1)
        whole = np.concatenate([silence, frames, held], axis=1)
        return self.advance(whole, np.concatenate([guess, guess[:, -1:]], axis=1), self.nothing(len(mel)))[0]

    def advance(self, frames: Array, guess: Array, past: Sequence[Array]) -> tuple[Array, list[Array]]:
        """Return log magnitudes (B, T, F) and the blocks' new past.

        Takes mel frames (B, entry - 1 + T, M), starting `before` frames early, and guesses (B, T + 1, known).
        """
        config, count = self.config, guess.shape[1] - 1
        windows = [frames[:, k : k + count] for k in range(config.entry)]
        guess, after = guess[:, :-1], guess[:, 1:]
        low = guess[..., : config.low]
        hidden = self._maps["enter"](
            np.concatenate([*windows, low / SPREAD + CENTRE, (after[..., : config.low] - low) / SPREAD], axis=-1)
        )
        kept = []
        for block, before in zip(self._blocks, past, strict=True):
            hidden, left = block(hidden, before)
            kept.append(left)
        hidden = self._norm(hidden)
        known = guess + self._maps["leave"](hidden)
        known += self._local(guess, after, hidden)
        return np.concatenate([known, self._air(known, hidden)], axis=-1), kept

    def _local(self, guess: Array, after: Array, hidden: Array) -> Array:
        """Return a correction (B, T, known), computed per patch from the guess in it and half a patch on both sides."""
        items, count, _ = guess.shape
        seen = np.empty((items, count, self.patches, 4 * self.config.patch + 2), dtype=np.float32)
        for one, other, out in zip(guess, after, seen, strict=True):
            _see(one, other, self.config.patch, out)
        inside = self._maps["near"](seen)
        inside += self._place
        inside += self._maps["context"](hidden)[:, :, None]
        gelu(inside)
        inside += self._maps["shallow"](gelu(self._maps["deepen"](self._settle(inside))))
        return self._maps["correct"](inside).reshape(items, count, -1)

    def _air(self, known: Array, hidden: Array) -> Array:
        """Return log magnitudes (B, T, F - known) above the mel's range: a coarse curve continuing its upper end."""
        top = known[..., -self.config.patch :].mean(-1, keepdims=True)
        return np.asarray(top + resized(self._maps["above"](hidden), self.bins - self.known, -1))


@compiled
def _see(guess: Array, after: Array, patch: int, out: Array) -> None:
    """Write the local part's input for guesses (T, known) and the guesses one frame later: (T, patches, 4 * patch + 2).

    Each row holds a patch with half of its neighbours on both sides (at the ends, the outermost bin repeated), now and
    one frame later, relative to the mean; then that mean, and how much it changes.
    """
    spread, centre = np.float32(SPREAD), np.float32(CENTRE)
    known, half = guess.shape[1], patch // 2
    for t in range(len(guess)):
        now, then = guess[t], after[t]
        for number in range(known // patch):
            place, first = out[t, number], number * patch - half
            total = later = np.float32(0.0)
            for k in range(2 * patch):
                at = min(max(first + k, 0), known - 1)
                place[k], place[2 * patch + k] = now[at], then[at]
                total += now[at]
                later += then[at]
            mean, next_mean = total / np.float32(2 * patch), later / np.float32(2 * patch)
            for k in range(4 * patch):
                place[k] = (place[k] - mean) / spread
            place[4 * patch] = mean / spread + centre
            place[4 * patch + 1] = (next_mean - mean) / spread


def patches(config: VocoderConfig, spec: MelSpec) -> int:
    """Return how many patches of bins the guess covers."""
    highest = spec.fmax_hz / spec.sample_rate_hz * spec.n_fft + 2
    return min(math.ceil(highest / config.patch), (spec.n_fft // 2 + 1) // config.patch)


class Unlearned:
    """Takes the place of a network where there is none: returns the guess unchanged."""

    config = VocoderConfig(entry=2, look_ahead=1)

    def __init__(self, spec: MelSpec) -> None:
        self.bands, self.bins = spec.n_mels, spec.n_fft // 2 + 1
        self.known = self.bins

    def nothing(self, items: int) -> list[Array]:
        """Return the empty past."""
        del items
        return []

    def __call__(self, mel: Array, guess: Array) -> Array:
        """Return the guess (B, T, F) for a whole mel."""
        del mel
        return guess

    def advance(self, frames: Array, guess: Array, past: Sequence[Array]) -> tuple[Array, list[Array]]:
        """Return the guesses (B, T, F) of all but the last frame."""
        del frames
        return guess[:, :-1], list(past)


class LearnedMagnitudes:
    """Magnitudes for a mel: a guess that the sound is a sum of window lobes, improved by a network."""

    def __init__(self, net: MagnitudeNet | Unlearned, spec: MelSpec) -> None:
        self.net = net
        self._guess = Lobes(spec)

    @property
    def transform(self) -> MelTransform:
        """The transform whose mels it reads."""
        return self._guess.transform

    def guess(self, mel: Array) -> Array:
        """Return the first guess (B, T, known) in nepers for a mel (B, M, T)."""
        guess = np.maximum(self._guess(mel)[..., : self.net.known], QUIETEST)
        return np.log(guess, out=guess)

    @one_thread()
    def __call__(self, mel: Array) -> Array:
        """Return magnitudes (B, T, F) for a mel (B, M, T), a full-scale sine reading 1."""
        return heard(self.net(np.clip(mel, np.float32(-1.0), np.float32(1.0)), self.guess(mel)))


def heard(logs: Array) -> Array:
    """Return magnitudes from log magnitudes in nepers; those at the floor become 0."""
    return np.maximum(np.exp(logs) - QUIETEST, np.float32(0.0))


@dataclass(frozen=True, eq=False)
class StreamState:
    """What a stream hands on to its next frames: mel, guess, network state, phase and overlap."""

    mel: Array  # (1, entry, M): one frame more than the next step needs
    guess: Array  # (1, up to look_ahead, known): of the frames that still lack their look-ahead
    past: tuple[Array, ...]  # of the blocks, also one frame longer than needed
    magnitude: Array  # (0 or 1, F): its phase needs the next frame
    phase: PhaseState
    skipped: int  # samples dropped so far before the first frame's centre
    tail: Array  # (2, n_fft - hop): samples and window weights not yet complete


@dataclass(frozen=True, eq=False)
class Reading:
    """The next frames for a stream: mel frames (M, n), to be read after a state.

    If `anew`, the first `open` of them replace the newest ones read before.
    """

    frames: Array
    state: StreamState
    anew: bool = False


class Stream:
    """The vocoder frame by frame: it plays what the whole mel would give, `latency` samples late.

    State in, state out; the mel may change at any frame. Phase is integrated from the frames already played, and
    neighbouring frames overlap by three quarters of a window, so no change makes a click.
    """

    def __init__(self, magnitudes: LearnedMagnitudes, seed: int = 0) -> None:
        self._magnitudes, self._net = magnitudes, magnitudes.net
        self.spec = magnitudes.transform.spec
        self._grid = Grid(self.spec.n_fft, self.spec.hop)
        self._turned = self._grid.from_centre()
        self._window = hann(self.spec.n_fft)
        self._seed = seed

    @property
    def latency(self) -> int:
        """Samples by which the sound is late: from reading a frame to hearing its centre.

        The network looks ahead, and the phase needs one frame more; then half a window has to be complete.
        """
        return (self._net.config.look_ahead + 1) * self.spec.hop + self.spec.n_fft // 2

    @property
    def open(self) -> int:
        """How many of the newest frames have no phase yet, and can be read again (`anew`)."""
        return self._net.config.look_ahead + 1

    def start(self) -> StreamState:
        """Return the state before any sound."""
        net = self._net
        return StreamState(
            mel=np.full((1, net.config.entry, net.bands), SILENT, dtype=np.float32),
            guess=np.empty((1, 0, net.known), dtype=np.float32),
            past=tuple(net.nothing(1)),
            magnitude=np.empty((0, net.bins), dtype=np.float32),
            phase=start_phase(self._grid, self._seed),
            skipped=0,
            tail=np.zeros((2, self.spec.n_fft - self.spec.hop), dtype=np.float32),
        )

    def step(self, frames: Array, state: StreamState, *, anew: bool = False) -> tuple[Array, StreamState]:
        """Return the next n * hop samples for n mel frames (M, n), n >= 1, and the new state.

        If `anew`, `open` more frames come first: they replace the newest ones, whose phase is not decided yet. Samples
        already returned stay valid, and the sound continues from them without a click.
        Raises AudioError for frames that are not of this spec or not finite, InputError for too few to begin anew.
        """
        return self.steps([Reading(frames, state, anew)])[0]

    def steps(self, readings: Sequence[Reading]) -> list[tuple[Array, StreamState]]:
        """Return what `step` returns for each of several readings; a batch is faster, but may round differently."""
        with one_thread():
            found: dict[int, tuple[Array, StreamState]] = {}
            for alike in self._alike(readings):
                states = [_back(one.state, self.open) if one.anew else one.state for _, one in alike]
                predicted = self._predict(np.stack([one.frames for _, one in alike]), states)
                for (place, one), (magnitude, state) in zip(alike, predicted, strict=True):
                    sound, after = self._play(magnitude, state)
                    missing = self._new(one) * self.spec.hop - len(sound)
                    found[place] = np.concatenate([np.zeros(missing, dtype=np.float32), sound]), after
            return [found[place] for place in range(len(readings))]

    def _alike(self, readings: Sequence[Reading]) -> Iterable[list[tuple[int, Reading]]]:
        """Group the readings that can run as a batch, each with its index."""
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
        return int(reading.frames.shape[1] - (self.open if reading.anew else 0))

    def finish(self, state: StreamState) -> Array:
        """Return the last `latency` samples if no frame follows, as at the end of a whole mel."""
        if not state.guess.shape[1]:
            return np.zeros(self.latency, dtype=np.float32)
        with one_thread():
            held = np.repeat(state.mel[0, -1:].T, self._net.config.look_ahead, axis=1)
            first, state = self._play(*self._predict(held[None], [state])[0])
            last, state = self._play(np.repeat(state.magnitude, 3, axis=0), state)
            samples, weight = state.tail
            sound = np.concatenate([first, last, samples / np.maximum(weight, LEAST_WEIGHT)])
            missing = max(0, self.latency - len(sound))
            return np.concatenate([np.zeros(missing, dtype=np.float32), sound])[: self.latency]

    def whole(self, mel: Array) -> Array:
        """Return the sound (T * hop,) of a whole mel (M, T): the same as frame by frame, without the latency."""
        sound, state = self.step(mel, self.start())
        return np.concatenate([sound, self.finish(state)])[self.latency :]

    def _predict(self, frames: Array, states: Sequence[StreamState]) -> list[tuple[Array, StreamState]]:
        """Return for each item the magnitudes (n, F) that mel frames (B, M, n) complete, after the one that waited."""
        config, (items, bands, count) = self._net.config, frames.shape
        as_one = np.ascontiguousarray(frames.swapaxes(0, 1)).reshape(1, bands, items * count)  # faster as one item
        guessed = self._magnitudes.guess(as_one).reshape(items, count, -1)
        guess = np.concatenate([np.concatenate([state.guess for state in states]), guessed], axis=1)
        clipped = np.clip(frames.swapaxes(1, 2), np.float32(-1.0), np.float32(1.0))
        mel = np.concatenate([np.concatenate([state.mel for state in states]), clipped], axis=1)
        past = [np.concatenate(blocks) for blocks in zip(*(state.past for state in states), strict=True)]
        ready = max(0, guess.shape[1] - config.look_ahead)
        made = np.empty((items, 0, self._net.bins), dtype=np.float32)
        if ready:
            context = mel[:, mel.shape[1] - (ready + config.entry - 1) :]
            logs, past = self._net.advance(context, guess[:, : ready + 1], past)
            made = heard(logs) / np.float32(self._magnitudes.transform.unit_gain)
        found = []
        for i, state in enumerate(states):
            one = slice(i, i + 1)
            kept = replace(
                state, mel=mel[one, -config.entry :], guess=guess[one, ready:], past=tuple(p[one] for p in past)
            )
            found.append((np.concatenate([state.magnitude, made[i]]), kept))
        return found

    def _play(self, magnitude: Array, state: StreamState) -> tuple[Array, StreamState]:
        """Turn magnitudes (n, F) into sound, except the last, which waits for the next."""
        if len(magnitude) < 2:
            return np.empty(0, dtype=np.float32), replace(state, magnitude=magnitude)
        hop, open_ = self.spec.hop, state.tail.shape[1]
        phases, phase = follow(magnitude, state.phase, self._grid)
        frames: Array = fft.irfft(polar(magnitude[:-1], phases + self._turned), n=self.spec.n_fft)
        added = np.zeros((2, (len(frames) - 1) * hop + self.spec.n_fft), dtype=np.float32)
        added[:, :open_] = state.tail
        overlap_add(frames, self._window, hop, added)
        done, tail = added[:, :-open_], added[:, -open_:]
        skip = min(done.shape[1], self.spec.n_fft // 2 - state.skipped)
        sound = (done[0] / np.maximum(done[1], LEAST_WEIGHT))[skip:]
        state = replace(state, magnitude=magnitude[-1:], phase=phase, skipped=state.skipped + skip, tail=tail)
        return sound, state


def _back(state: StreamState, count: int) -> StreamState:
    """Return a state from before its newest frames were read; samples already returned stay valid."""
    past = tuple(blocks[:, :-1] for blocks in state.past)  # the network had read only one of them
    return replace(state, mel=state.mel[:, :-count], guess=state.guess[:, :0], past=past, magnitude=state.magnitude[:0])
