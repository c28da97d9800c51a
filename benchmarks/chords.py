"""How often a memory's intact chords are named as asked, through its inverter; prints JSON.

    python benchmarks/chords.py [MODEL] [--per-class 32] [--inverter NAME] [--quality final]
        [--against CORPUS] [--ship FILE]

With --against, the held-out clips of a corpus are named too: straight, and after mel -> sound. With --ship, the
memory is rounded to half precision first and then written to FILE with these figures in its header.
"""

from __future__ import annotations

from asked_of import measured

from fugue_state.config import DEFAULT_MEMORY
from fugue_state.measure.memory import name_table

FIGURES = ("accuracy", "worst_class", "clarity")


def main() -> None:
    """Run the measurement."""
    measured(__doc__, DEFAULT_MEMORY, "chords", name_table, FIGURES)


if __name__ == "__main__":
    main()
