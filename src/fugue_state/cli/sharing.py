"""The command that shares a piece as a page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fugue_state.cli.composing import instead, laid_out, names_of, terminable
from fugue_state.cli.options import USER_PATH, forced, themed
from fugue_state.cli.telling import examples, note, note_letters, say, tracked
from fugue_state.config import FilmConfig, PageConfig
from fugue_state.score.model import Score
from fugue_state.settings import checked

if TYPE_CHECKING:
    from fugue_state.look.theme import Theme
    from fugue_state.piece.piece import Piece

PAGE, TOML = ".html", ".toml"
MADE = {".wav", ".flac", ".mp4", ".png", ".svg", ".json"}  # that know how they were made
MEGABYTE = 1e6


@click.command(
    epilog=examples(
        "fugue share forget-and-recall -o recall.html",
        "fugue share piece.toml -o piece.html --theme paper --poster piece.png",
        "fugue share takes/take-001.toml -o take.html --locked",
        "fugue share piece.wav -o piece.html",
        "fugue share guitar -o guitar.html",
    )
)
@click.argument("what", metavar="MODEL|SCORE|SOUND")
@click.option("-o", "--out", required=True, type=USER_PATH, help="Output file: .html.")
@click.option("-m", "--model", help="Use this memory instead of the piece's.")
@click.option("--title", default="", help="Title of the page; default: the score's.")
@click.option("--locked", is_flag=True, help="Nobody may take over: the page only plays.")
@click.option("--no-vocoder", is_flag=True, help="Leave the memory's vocoder out: a smaller file with a rougher sound.")
@click.option("--poster", type=USER_PATH, help="Also write a picture of the page's beginning (PNG).")
@themed
@forced
def share(
    what: str,
    out: Path,
    model: str | None,
    title: str,
    locked: bool,
    no_vocoder: bool,
    poster: Path | None,
    theme: Theme,
    force: bool,
) -> None:
    """Share a piece as one HTML file that plays in a browser, offline and from anywhere.

    It holds the memory, the piece and the instrument. SCORE is a score or a take (a TOML file, or the name of a score
    that ships), SOUND a file that fugue rendered, or its picture. Of a MODEL (a memory's name, checkpoint or run
    folder) the usual loop is played. A score goes on endlessly, unless it fades out; a take ends.
    """
    from fugue_state.files import output_path, replacing

    output_path(out, force=force, suffixes=(PAGE,))
    if poster is not None:
        output_path(poster, force=force, suffixes=(".png",))
    config = checked(PageConfig, {"theme": theme.name, "title": title, "locked": locked, "vocoder": not no_vocoder})
    with terminable():
        piece = _piece(what, model)
        from fugue_state.share.page import page

        made = page(piece, config, track=tracked, cores=os.cpu_count() or 1)
        for line in made.notices:
            note(line)
        with replacing(out) as beside:
            beside.write_text(made.text, encoding="utf-8", newline="\n")
        if poster is not None:
            _draw(piece, poster, theme, force)
    say(f"open {out} in a browser: {len(made.text.encode()) / MEGABYTE:.1f} MB, and it needs nothing else")


def _piece(what: str, model: str | None) -> Piece:
    """Return the piece that a score, a sound or a memory stands for."""
    from fugue_state.score.shipped import find_score, shipped_scores

    path = Path(what)
    if path.suffix.casefold() in MADE:
        return laid_out(_of_sound(path, model), None)
    if path.suffix == TOML or (what in shipped_scores() and not path.exists()):
        found = find_score(what)
        return laid_out(instead(found, memory=model), found, named=model is not None)
    return laid_out(checked(Score, {"memory": model or what}), None)


def _of_sound(sound: Path, model: str | None) -> Score:
    """Return the score of a finished sound."""
    from fugue_state.memory.traced import traced
    from fugue_state.output.provenance import reopened

    return traced(reopened(sound), sound.parent, str(sound), model)


def _draw(piece: Piece, out: Path, theme: Theme, force: bool) -> None:
    from fugue_state.picture.film import poster

    note_letters(*names_of(piece))
    say(f"drew {poster(piece, out, FilmConfig(theme=theme.name), force=force)}")
