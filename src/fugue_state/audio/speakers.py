"""The speakers that a sound file's channels are meant for, and mixing them to mono or stereo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fugue_state.arrays import Array

LEFT = frozenset({"FL", "FLC", "BL", "SL", "TFL", "TBL", "TSL", "WL", "DL", "SDL", "BFL", "SSL", "TTL"})
RIGHT = frozenset(name[:-1] + "R" for name in LEFT - {"FLC"}) | {"FRC"}
CENTRE = frozenset({"FC", "BC", "TC", "TFC", "TBC", "BFC"})
LOW = frozenset({"LFE", "LFE2"})  # an extra for the subwoofer, left out of the mix
WHOLE = frozenset({"FL", "FR", "DL", "DR"})
PART = 0.5**0.5  # gain of centre and surrounds (ITU-R BS.775)

# The speakers of a WAV file's mask, from its lowest bit.
MASK = (
    "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR",
    "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR",
)  # fmt: skip
# The usual speakers of six and eight channels without names; three, four, five or seven may be anything.
USUAL = {6: MASK[:6], 8: (*MASK[:6], "SL", "SR")}


def of_mask(mask: int) -> tuple[str, ...]:
    """Return the speakers of a WAV file's channel mask."""
    return tuple(name for bit, name in enumerate(MASK) if mask >> bit & 1)


def mono(block: Array, speakers: Sequence[str]) -> Array:
    """Mix a block (n, channels) to one channel (n,) by its speakers; if they are unknown, take the mean."""
    ears, channels = _ears(speakers, block.shape[1]), block.shape[1]
    if ears is None and channels <= 2:  # equals the mean below, five times as fast
        return block[:, 0] if channels == 1 else (block[:, 0] + block[:, 1]) / np.float32(2.0)
    mixed = block.mean(axis=1, dtype=np.float32) if ears is None else block @ ears.mean(axis=1)
    return np.asarray(mixed, dtype=np.float32)


def stereo(block: Array, speakers: Sequence[str]) -> Array:
    """Mix a block (n, channels) to left and right (n, 2) by its speakers; if unknown, take the first and the last."""
    ears = _ears(speakers, block.shape[1])
    return block[:, [0, -1]] if ears is None else np.asarray(block @ ears, dtype=np.float32)


def _ears(speakers: Sequence[str], channels: int) -> Array | None:
    """Return each channel's gain for each ear (channels, 2), without exceeding full scale; None if unknown."""
    known = LEFT | RIGHT | CENTRE | LOW
    if channels <= 2 or len(speakers) != channels or not known.issuperset(speakers):
        return None
    parts = [1.0 if name in WHOLE else PART for name in speakers]
    ears = np.array(
        [(p * (s in LEFT | CENTRE), p * (s in RIGHT | CENTRE)) for s, p in zip(speakers, parts, strict=True)],
        dtype=np.float32,
    )
    heard = float(ears.sum(axis=0).max())
    return ears / np.float32(heard) if heard > 0.0 else None
