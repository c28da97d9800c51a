"""The command that plays a memory live."""

from __future__ import annotations

import gc
import io
import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from fugue_state.cli.options import check_used, of_options, option
from fugue_state.cli.telling import examples, note, say
from fugue_state.config import BUFFERS_MS, DEFAULT_MEMORY, LiveConfig, LiveQualityName
from fugue_state.errors import InputError
from fugue_state.score.model import LIVE_RECORDING, Score
from fugue_state.score.places import at_home, settled
from fugue_state.settings import MisplacedError, checked, placed

if TYPE_CHECKING:
    from fugue_state.live.programme import House

TOML = ".toml"
SWITCH_S = 5e-5  # how long another thread may keep the clock's waiting, each time it has let go


@click.command(
    epilog=examples(
        "fugue play",
        "fugue play run --open",
        "fugue play piece.toml --buffer safe --takes tonight",
        "fugue play guitar --host 0.0.0.0 --no-osc",
        "fugue play --origin https://stage.example",
    )
)
@click.argument("what", metavar="[MODEL|SCORE]", default=DEFAULT_MEMORY)
@option(LiveConfig, "port", kind_of=int, about="Port of the page; 0 takes any free port.")
@option(LiveConfig, "host", about="Address of the page; other machines need the printed token.")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="Address of a proxy for the page, like https://stage.example; repeatable. It needs the token, too.",
)
@click.option(
    "--qr/--no-qr",
    default=None,
    help="Draw the address as a QR code; default: on a terminal, if other machines can connect.",
)
@click.option(
    "--buffer",
    default="live",
    show_default=True,
    help=f"{', '.join(f'{name} ({ms:g} ms)' for name, ms in BUFFERS_MS.items())}, or milliseconds.",
)
@click.option(
    "--osc/--no-osc", default=LiveConfig.model_construct().osc, show_default=True, help="Whether to receive OSC."
)
@option(LiveConfig, "osc_port", about="UDP port for OSC; answers go to the next port of the sender.")
@option(LiveConfig, "osc_host", about="Address for OSC, which has no token.")
@option(LiveConfig, "takes", about="Folder for takes.")
@option(
    LiveConfig,
    "quality",
    kind_of=click.Choice(get_args(LiveQualityName)),
    about="Quality of the sound; draft costs less.",
)
@option(LiveConfig, "volume", about="Volume to start with: 1 is 0 dB, 0.5 is -6 dB. A score or take may set its own.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def play(what: str, buffer: str, opens: bool, qr: bool | None, **settings: Any) -> None:
    """Play a MODEL (a memory's name, checkpoint or run folder) or a SCORE live, from a page, by MIDI and OSC.

    SCORE is a file, or the name of a score that ships.

    Ctrl-C ends it and keeps the take that is being recorded.
    """
    from fugue_state.live.guard import is_local
    from fugue_state.live.server import play

    settings["takes"] = str(at_home(settings["takes"]))
    config = of_options(LiveConfig, settings | {"buffer_ms": _buffer_ms(buffer), **_replies(settings["osc_port"])})
    check_used(config.osc, "with --no-osc", "osc_port", "osc_host")
    score = _score(what, config.quality)
    house = _house(score)

    def tell(addresses: Sequence[str]) -> None:
        if config.osc and not is_local(config.osc_host):
            note("OSC knows no token: whoever reaches its port plays along")
        say(f"play {' and '.join(_memories(score))} at {addresses[0]} (Ctrl-C ends)")
        for other in addresses[1:]:
            say(f"also at {other}")
        by_network = "?token=" in addresses[0] and sys.stderr.isatty()
        if by_network if qr is None else qr:
            click.echo(_drawn(addresses[0], sys.stderr.encoding), err=True)
        if opens:
            threading.Thread(target=webbrowser.open, args=(addresses[-1],), daemon=True).start()

    sys.setswitchinterval(SWITCH_S)
    gc.disable()  # until all is loaded: looking through it again and again takes time
    try:
        play(score, config, house, tell)
    finally:
        gc.enable()
    say("ended")


def _buffer_ms(buffer: str) -> float:
    """Return the milliseconds that a name or a number stands for."""
    try:
        return BUFFERS_MS[buffer] if buffer in BUFFERS_MS else float(buffer)
    except ValueError:
        raise InputError(f"--buffer is {', '.join(BUFFERS_MS)} or milliseconds, not {buffer!r}") from None


def _replies(osc_port: int) -> dict[str, int]:
    """Return the setting of the port that OSC is answered at: the next one, and never the port itself."""
    return {"osc_reply_port": osc_port + 1 if osc_port < 65_535 else osc_port - 1} if osc_port else {}


def _drawn(address: str, encoding: str | None) -> str:
    """Return a QR code in lines of text, or why there is none."""
    import segno

    drawn = io.StringIO()
    segno.make(address, error="l", micro=False).terminal(drawn, border=2, compact=True)
    try:
        drawn.getvalue().encode(encoding or "ascii")
    except UnicodeError:
        return f"this terminal, in {encoding}, cannot show a QR code"
    return drawn.getvalue()


def _score(what: str, quality: LiveQualityName) -> Score:
    """Return a score to play: one from a file, or a memory's loop that only hands take anything from."""
    from fugue_state.score.shipped import find_score, shipped_scores

    if Path(what).suffix != TOML and (what not in shipped_scores() or Path(what).exists()):
        return checked(Score, {"memory": what, "forgetting": {"to": 0.0}, "quality": quality})
    from fugue_state.memory.catalogue import named_memories
    from fugue_state.score.text import load_score, located

    path = find_score(what)
    score = settled(load_score(path), path.parent, named_memories())
    with located(path):
        for place in score.recordings.values():
            raise MisplacedError(place, LIVE_RECORDING)
    return score.model_copy(update={"quality": quality})


def _memories(score: Score) -> list[str]:
    """Return the memories that voices of a score play, each once."""
    return list(dict.fromkeys(together.memory for together in score.together))


def _house(score: Score) -> House:
    """Return the memories that can be played: those that the score names, and those that ship; all must be there."""
    from fugue_state.live.programme import House
    from fugue_state.memory.catalogue import find_memory, named_memories, read_header

    def load(name: str) -> Any:
        from fugue_state.memory.memory import Memory

        return Memory.load(name)

    def perform(score: Score, memory: Any) -> Any:
        from fugue_state.engine.performance import Performance

        starting = not gc.isenabled()
        performance = Performance(score, memory, cores=(os.cpu_count() or 1) if starting else 1)
        if starting:
            gc.freeze()  # looking through all that was loaded takes longer than a buffer lasts
            gc.enable()
        return performance

    read_header(find_memory(score.memory))
    named = list(score.memories())
    for name, place, _ in named:
        with placed(place):
            read_header(find_memory(name))
    return House(tuple(dict.fromkeys([*(name for name, _, _ in named), *named_memories()])), load, perform)
