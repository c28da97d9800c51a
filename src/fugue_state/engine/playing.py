"""Any piece played to its end: what is composed, and what was played by hand."""

from __future__ import annotations

from collections.abc import Generator

from fugue_state.engine.chain import Block
from fugue_state.engine.performance import played
from fugue_state.engine.whole import Instrument, ResumePoint, play_on
from fugue_state.piece.conductor import block_of
from fugue_state.piece.piece import Piece


def length_of(piece: Piece, block: int) -> int:
    """Return the length of the blocks in which a piece is played: `block`, or for a take that of the performance."""
    return block_of(piece) if piece.score.resolution == "block" else block


def blocks(
    piece: Piece, block: int, *, stems: bool = False, place: ResumePoint | None = None
) -> Generator[tuple[Block, ResumePoint | None]]:
    """Play a piece, from `place` on, in blocks of `block` samples, each with the place after it.

    A take is played in the blocks of its performance, without stems; there is no place to go on from.
    """
    if piece.score.resolution == "block":
        yield from ((heard, None) for heard in played(piece))
    else:
        instrument = Instrument(piece, stems=stems)
        yield from play_on(instrument, piece.events(), piece.score.samples, block, place)
