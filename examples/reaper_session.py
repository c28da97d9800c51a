"""Makes a REAPER session of a render with stems: python reaper_session.py piece.wav -o piece.rpp.

Render first: fugue render PIECE -o piece.wav --stems --labels
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

import soundfile

from fugue_state.errors import FugueError, InputError
from fugue_state.files import belonging, output_path, replacing
from fugue_state.output.provenance import read_provenance

RENDER = "render it with --stems --labels"


def tracks(piece: Path) -> dict[Path, bool]:
    """Return the piece, its stems, and which of them are muted, because others together are the same sound."""
    stems = sorted(stems_of(piece), key=lambda path: path.stem.endswith("-reverb"))
    dry, reverb = (belonging(piece, f"-{name}.wav") for name in ("dry", "reverb"))
    voices = [path for path in stems if path not in {dry, reverb}]  # these add up to dry, dry and reverb to the piece
    if not {dry, reverb} <= set(stems):
        raise InputError(f"{piece}: has no stems of its own beside it; {RENDER}")
    return {piece: True, **{path: path == dry and bool(voices) for path in stems}}


def stems_of(piece: Path) -> list[Path]:
    """Return the sounds beside a piece that were written with it."""
    made, found = read_provenance(piece), []
    for path in sorted(piece.parent.glob(belonging(piece, "-*.wav").name)):
        with contextlib.suppress(InputError):  # not one of this software's
            told = read_provenance(path)
            if told.pop("stem", None) is not None and told == made:
                found.append(path)
    return found


def markers(piece: Path) -> list[tuple[float, str]]:
    """Return where chords and cues begin, in seconds, from the labels beside a piece."""
    labels = belonging(piece, ".txt")
    try:
        lines = [line.split("\t") for line in labels.read_text(encoding="utf-8").splitlines()]
        return list(dict.fromkeys((float(start), name) for start, _, name in lines))
    except OSError:
        raise InputError(f"{labels}: no such file; {RENDER}") from None
    except ValueError:
        raise InputError(f"{labels}: no labels as `fugue render --labels` writes them") from None


def quoted(text: str) -> str:
    """Return a text as REAPER quotes it: by a quotation mark that is not in it."""
    mark = next((mark for mark in "\"'`" if mark not in text), "`")
    return f"{mark}{text.replace('`', chr(39)) if mark == '`' else text}{mark}"


def track(path: Path, session: Path, *, muted: bool) -> list[str]:
    """Return the lines of a track that holds one sound."""
    info = soundfile.info(path)
    kind = "FLAC" if info.format == "FLAC" else "WAVE"
    here = os.path.relpath(path.resolve(), session.resolve().parent)
    return [
        "  <TRACK", f"    NAME {quoted(path.stem)}", f"    MUTESOLO {int(muted)} 0 0", "    <ITEM", "      POSITION 0",
        f"      LENGTH {info.duration:.6f}", f"      NAME {quoted(path.name)}", f"      <SOURCE {kind}",
        f"        FILE {quoted(here)}", "      >", "    >", "  >",
    ]  # fmt: skip


def session(piece: Path, out: Path) -> str:
    """Return a session as text: a marker at each chord and cue, a track for each sound."""
    found = tracks(piece)
    lines = ['<REAPER_PROJECT 0.1 "7.0" 0', f"  SAMPLERATE {soundfile.info(piece).samplerate} 1 0"]
    for number, (at, name) in enumerate(markers(piece), 1):
        lines.append(f"  MARKER {number} {at:.6f} {quoted(name)} 0")
    for path, muted in found.items():
        lines += track(path, out, muted=muted)
    return "\n".join([*lines, ">", ""])


def main() -> None:
    """Write a session."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("piece", type=Path, help="the sound that fugue render wrote")
    parser.add_argument("-o", "--out", type=Path, help="the session (default: beside the piece)")
    parser.add_argument("--force", action="store_true", help="overwrite a session")
    asked = parser.parse_args()
    try:
        out = output_path(asked.out or belonging(asked.piece, ".rpp"), force=asked.force, suffixes=(".rpp",))
        text = session(asked.piece, out)
        with replacing(out) as beside:
            beside.write_text(text, encoding="utf-8", newline="\n")
    except (FugueError, soundfile.LibsndfileError) as error:
        print(error, file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
    print(out)


if __name__ == "__main__":
    main()
