"""Fugue State: an instrument for machine forgetting."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fugue_state.version import VERSION

if TYPE_CHECKING:
    from fugue_state.learning.lesson import learn as learn
    from fugue_state.measure.atlas import Atlas as Atlas
    from fugue_state.memory.memory import Memory as Memory
    from fugue_state.output.render import render as render
    from fugue_state.output.render import samples as samples
    from fugue_state.picture.film import film as film
    from fugue_state.piece.piece import Piece as Piece
    from fugue_state.score.model import Score as Score
    from fugue_state.score.text import load_score as load_score
__version__ = VERSION

_HOMES = {
    "Atlas": "fugue_state.measure.atlas",
    "Memory": "fugue_state.memory.memory",
    "Piece": "fugue_state.piece.piece",
    "Score": "fugue_state.score.model",
    "film": "fugue_state.picture.film",
    "learn": "fugue_state.learning.lesson",
    "load_score": "fugue_state.score.text",
    "render": "fugue_state.output.render",
    "samples": "fugue_state.output.render",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fugue_state' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
