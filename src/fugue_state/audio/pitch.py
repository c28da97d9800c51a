"""The pitch of a sound: YIN (de Cheveigne and Kawahara, 2002), and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.errors import AudioError

FROM_S, TO_S = 0.1, 0.9  # what is listened to, from the beginning of a sound
# A dip below this value counts as a period. At 0.05 a strong second partial is taken for the first in one of a hundred
# plucked notes, at 0.02 two periods for one in one of 500, at this neither in 1184 (by the usual 0.1, still more).
CLEAR = 0.03
SILENT = 1e-9  # energy of a frame in which there is no pitch
AGREE_CENTS = 50.0
PARTIAL = 0.4  # semitones around a partial in which its peak is looked for
BINS = 2**16
TINY = 1e-12


@dataclass(frozen=True)
class Reach:
    """The pitches that are looked for, and the window in samples: usual, and shortest.

    A window holds at least two periods of the lowest pitch.
    """

    lowest_hz: float
    highest_hz: float
    window: int
    shortest: int


GUITAR = Reach(60.0, 1500.0, 4096, 4096)
ANY = Reach(27.0, 4400.0, 8192, 4096)  # a piano's


@dataclass(frozen=True)
class Pitch:
    """The pitch of a sound: MIDI number (C4 = 60, fractional), and how sure it is.

    Above 4 % of the sample rate it may be an octave too low. `clear`, up to 1, says how well one period repeats the one
    before; `steady`, up to 1, how much of the sound agrees within 50 cents. `fundamental_db` is the level of the
    partial at that pitch below the strongest one: several notes at once have a common period, too, but nothing sounds
    there.
    """

    midi: float
    clear: float
    steady: float
    fundamental_db: float


def pitch_of(samples: Array, sample_rate_hz: int, reach: Reach = ANY) -> Pitch:
    """Return the pitch of a sound (N,) over 0.1 to 0.9 s; AudioError if it is too short for that."""
    part = samples[int(FROM_S * sample_rate_hz) : int(TO_S * sample_rate_hz)].astype(np.float64)
    least, most = int(sample_rate_hz / reach.highest_hz), int(sample_rate_hz / reach.lowest_hz)
    window = min(len(part), max(reach.window, 2 * most))
    if window < max(reach.shortest, 2 * most):
        raise AudioError("too short for its pitch to be measured")
    frames = np.lib.stride_tricks.sliding_window_view(part, window)[:: window // 4]
    found = [_period(frame, least, most) for frame in frames]
    periods = np.array([period for period, _ in found])
    middle = float(np.median(periods))
    off_cents = 1200.0 * np.abs(np.log2(periods / middle))
    return Pitch(
        midi=float(69.0 + 12.0 * np.log2(sample_rate_hz / middle / 440.0)),
        clear=1.0 - float(np.median([dip for _, dip in found])),
        steady=float((off_cents < AGREE_CENTS).mean()),
        fundamental_db=_fundamental_db(part, sample_rate_hz, sample_rate_hz / middle),
    )


def _period(frame: Wide, least: int, most: int) -> tuple[float, float]:
    """Return the period of a frame in samples, interpolated, and how unlike its repetition is, 0 to 1."""
    width = len(frame) - most - 1
    spectrum = np.fft.rfft(frame)
    # Correlation of the frame's beginning with all that follows, by the Wiener-Khinchin theorem.
    shared = np.fft.irfft(spectrum * np.conj(np.fft.rfft(frame[:width], len(frame))))[: most + 2]
    energy = np.concatenate([[0.0], np.cumsum(frame**2)])
    lags = np.arange(most + 2)
    apart = np.maximum(energy[width] + energy[lags + width] - energy[lags] - 2.0 * shared, 0.0)
    total = np.cumsum(apart[1:])
    even = np.concatenate([[1.0], apart[1:] * lags[1:] / np.maximum(total, TINY)])
    inside = np.arange(max(1, least), most + 1)
    lows = inside[(even[inside] < even[inside - 1]) & (even[inside] <= even[inside + 1])]
    clear = lows[even[lows] < CLEAR]
    best = int(clear[0]) if len(clear) else int(lows[even[lows].argmin()]) if len(lows) else int(inside[-1])
    before, here, after = apart[best - 1 : best + 2]
    bend = before - 2.0 * here + after
    period = best + (0.5 * (before - after) / bend if bend > 0.0 else 0.0)
    return period, min(1.0, float(even[best])) if energy[-1] > SILENT and len(lows) else 1.0


def _fundamental_db(part: Wide, sample_rate_hz: int, hz: float) -> float:
    """Return the level in dB of the strongest peak near a frequency, relative to the strongest of all."""
    bins = max(BINS, len(part))
    magnitude = np.abs(np.fft.rfft(part * np.hanning(len(part)), bins))
    at = hz * bins / sample_rate_hz
    near = magnitude[int(at * 2.0 ** (-PARTIAL / 12.0)) : int(at * 2.0 ** (PARTIAL / 12.0)) + 2]
    return 20.0 * float(np.log10((near.max(initial=0.0) + TINY) / (magnitude.max() + TINY)))
