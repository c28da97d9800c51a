"""Carries messages for SuperDirt (Strudel, TidalCycles) to `fugue play`: python dirt_to_fugue.py."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import Any

from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient

NAMES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
HELD = 0.9  # share of its time that a key stays pressed


def key_of(note: float | str) -> int:
    """Return the key of a note as SuperDirt counts it (0 is middle C), or by its name (a3, c#4, eb5)."""
    if not isinstance(note, str):
        return round(note) + 60
    letter, sharps = note[0].lower(), note.count("#") + note.count("s") - note[1:].count("b")
    octave = note[1:].strip("#sb") or "3"
    return 12 * (int(octave) + 1) + NAMES[letter] + sharps


def messages(said: dict[str, Any]) -> list[tuple[str, list[float]]]:
    """Return what an event sets: faders and keys with their values."""
    set_now = [("/fugue/forget", [float(said["forget"])])] if "forget" in said else []
    layers = [key for key in said if key.startswith("layer") and key[5:].isdigit()]
    set_now += [(f"/fugue/layer/{int(key[5:])}/forget", [float(said[key])]) for key in layers]
    if "note" in said:
        velocity = min(127, max(1, round(127 * float(said.get("gain", 0.8)))))
        set_now.append(("/fugue/note", [key_of(said["note"]), velocity]))
    return set_now


def main() -> None:
    """Listen until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", type=int, default=57120, help="port of SuperDirt's messages")
    parser.add_argument("--port", type=int, default=9700, help="port of fugue play")
    asked = parser.parse_args()
    out = SimpleUDPClient("127.0.0.1", asked.port)

    def played(_: str, *args: Any) -> None:
        said = dict(zip(args[::2], args[1::2], strict=False))
        try:
            for path, values in messages(said):
                out.send_message(path, values)
                if path == "/fugue/note":
                    lasts_s = HELD * float(said.get("delta", 0.5))
                    threading.Timer(lasts_s, out.send_message, (path, [values[0], 0])).start()
        except (KeyError, ValueError, IndexError) as error:
            print(f"an event was left out ({error!r}): {said}", file=sys.stderr)

    dispatcher = Dispatcher()
    dispatcher.map("/dirt/play", played)
    try:
        server = BlockingOSCUDPServer(("127.0.0.1", asked.listen), dispatcher)
    except OSError as error:
        sys.exit(f"port {asked.listen} cannot be listened to ({error.strerror}); choose another --listen")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
