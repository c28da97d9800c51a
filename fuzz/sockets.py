"""What comes to the page's server and its two sockets: requests, messages and frames that are malformed."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .mutations import changed, mutated, wild
from .running import PATIENCE_S, Case, Make
from .stage import AT_ONCE, TAKE, TOKEN, RefusedError, Stage, cut_at_will, moved

TEXT, BYTES = 1, 2  # kinds of frames
OPCODES = (0, 1, 1, 2, 3, 7, 8, 9, 10, 11, 15)
DEPTHS = (1, 50, 200, 3000, 16_000)
LONGS = (16_384, 16_385, 1_048_576, 1_048_577)
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "CONNECT", "get", "G\0T", "X" * 300)
TARGETS = (
    "/", "/health", "/osc", "/fugue", "/fugue/forget", "/fugue/unit/1/1/strength", "/fugue/grid/1", "/fugue/undo",
    "/fugue/unit/0/9999/strength", f"/takes/{TAKE}.toml", f"/takes/{TAKE}.flac", "/takes/", "/static/app.js", "/static",
    "/static/theme.css", "/static/fonts/Inter-Light.otf", "/static/fonts/", "/ws/control", "/ws/audio", "*", "",
    "http://localhost/health", "//", "/nothing",
)  # fmt: skip
TAILS = (
    "", "", "", "?VALUE", "?HOST_INFO", "?RANGE&TYPE", "?", "?&&==&", "?VALUE=%00", "?%ff=%fe", "#x",
    "?" + "a=b&" * 2000,
    "?" + "VALUE&" * 500, "%00", "%ff", "%2e%2e/%2e%2e/etc/passwd", "/../../../etc/passwd", "/..%5c..%5cx", "%", "%zz",
    "//", "/" * 3000, ";x", "\xff\xfe", " x", "\t", "?token=x", "?token=%ff", "?token=" + "x" * 5000, "/\u0130",
)  # fmt: skip
NAMES = (
    "localhost", "localhost:PORT", "127.0.0.1:PORT", "[::1]:PORT", "localhost:PORT", "localhost.", "evil.example", "",
    "[::1", "[::1%25lo]", "[v1.x]", "a b", "x@localhost", "localhost:99999", "localhost:-1", "localhost:x",
    "localhost:\xb2", "\xff", "xn--\xff", "localhost/x", "localhost:0", "0", "127.1", "0x7f.1", "a" * 5000, "null",
    "127.0.0.1.evil.example", "localhost\0", "[::ffff:127.0.0.1]", "999.999.999.999", "\x1b[31m",
)  # fmt: skip
HEADERS = {
    "Cookie": ("a=b", "\xff=\xfe", "fugue-=x", "x" * 9000, 'a="\\', "a=b; a; =; ;;", "fugue-0=\x7f"),
    "Range": ("bytes=0-", "bytes=-1", "bytes=99999999999999999999-", "bytes=5-2", "bytes=0-0,1-1,2-2", "bytes=x", "x",
              "bytes=" + "0-0," * 2000, "bytes=-", "bytes=" + "9" * 5000 + "-"),
    "If-Range": ("x", '"x"', "Thu, 01 Jan 1970 00:00:00 GMT"),
    "If-None-Match": ("*", '"x"', "W/", "\xff"),
    "If-Modified-Since": ("x", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 99 Jan 99999 00:00:00 GMT", "0"),
    "Accept": ("text/html", "*/*", "", "\xff", ";q=2"),
    "Content-Length": ("0", "-1", "5", "x", "99999999999999999999", "1, 1", "\xb2"),
    "Transfer-Encoding": ("chunked", "gzip", "chunked, chunked", "x"),
    "Expect": ("100-continue", "x"),
    "Connection": ("upgrade", "close", "keep-alive, upgrade", "x" * 500),
    "Upgrade": ("websocket", "h2c", "websocket, x", "\xff"),
    "Sec-WebSocket-Key": ("dGhlIHNhbXBsZSBub25jZQ==", "x", "", "=" * 24),
    "Sec-WebSocket-Version": ("13", "12", "x", "13, 8", "9" * 5000),
    "Sec-WebSocket-Protocol": ("x", ",", "a, b", "\xff"),
    "Sec-WebSocket-Extensions": ("permessage-deflate", "x; y=z; ", "permessage-deflate; server_max_window_bits=99"),
    "Sec-Fetch-Site": ("cross-site", "same-origin", "x"),
    "X-Forwarded-For": ("1.2.3.4", "x" * 300),
    "\xff": ("x",), "": ("x",), " x": ("y",), "x" * 70_000: ("y",),
}  # fmt: skip
SOCKET = {
    "Connection": "upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip
BODIES = (b"", b"", b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"GET / HTTP/1.1\r\n\r\n")
LAST = {"type": "set", "path": "/ping", "args": [], "id": 2**52}  # its answer comes after all others


@contextlib.contextmanager
def sockets(folder: Path) -> Iterator[Make]:
    """Send requests, messages and frames of which bytes or values are wrong, one or a few after each other."""
    kinds: tuple[Callable[[random.Random, Stage], tuple[str, Callable[[], None]]], ...] = (
        _request, _request, _talk, _talk, _talk, _frames, _audio, _mass,
    )  # fmt: skip
    with Stage(folder).opened() as stage:

        def make(source: random.Random) -> Case:
            what, send = source.choice(kinds)(source, stage)
            return Case(what[:300], lambda: _tried(stage, send))

        yield make


def _tried(stage: Stage, send: Callable[[], None]) -> None:
    """Send something; whatever is said to it, the session answers as before."""
    try:
        send()
    finally:
        stage.check()


# Requests.


def _request(source: random.Random, stage: Stage) -> tuple[str, Callable[[], None]]:
    parts = [_asked(source, stage.port) for _ in range(source.choice((1, 1, 1, 2, 5)))]
    return repr(parts[0]), lambda: _raw(stage, b"".join(parts))


def _asked(source: random.Random, port: int) -> bytes:
    """Return the bytes of a request."""
    target = source.choice(TARGETS) + source.choice(TAILS)
    if source.random() < 0.7:
        target += ("&" if "?" in target else "?") + f"token={TOKEN}"
    headers = {"Host": NAMES[source.randrange(3 if source.random() < 0.6 else len(NAMES))]}
    if source.random() < 0.3:
        headers["Origin"] = source.choice(("http://", "https://", "", "file://", "http:")) + source.choice(NAMES)
    headers |= SOCKET if source.random() < 0.3 else {}
    for name in source.choices([*HEADERS], k=source.choice((0, 0, 1, 2, 4))):
        headers[name] = source.choice(HEADERS[name])
    method, version = source.choice(METHODS), source.choice(("1.1", "1.1", "1.1", "1.0", "2.0", "9.9", "x"))
    lines = [f"{method} {target} HTTP/{version}", *(f"{name}: {value}" for name, value in headers.items())]
    text = source.choice(("\r\n", "\r\n", "\r\n", "\n")).join([*lines, "", ""]).replace("PORT", str(port))
    data = text.encode("latin-1", "replace") + source.choice(BODIES)
    return mutated(source, data) if source.random() < 0.3 else data


def _raw(stage: Stage, data: bytes) -> None:
    """Send bytes and read all that is answered."""
    heard = b""
    with socket.create_connection(("127.0.0.1", stage.port), PATIENCE_S) as line, cut_at_will():
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        while more := line.recv(65_536):
            heard += more
    found = re.findall(rb"HTTP/1\.1 (\d{3}) ([^\r]*)", heard)
    if any(code.startswith(b"5") and code != b"501" for code, _ in found):
        raise AssertionError(f"answered {found}")
    if not found or found[0][0] >= b"400":
        raise RefusedError(b" ".join(found[0]).decode() if found else "cut")


# Messages and frames.


def _talk(source: random.Random, stage: Stage) -> tuple[str, Callable[[], None]]:
    """Return messages of a page of which some are not right, and how they are sent."""
    messages: Any = [{"type": "hello", "session": None, "rev": 0, "view": source.random() < 0.1, "name": "someone"}]
    for number in range(source.choice((1, 1, 2, 4, 8))):
        path, args = moved(source, stage)
        values = [base64.b64encode(arg).decode() if isinstance(arg, bytes) else arg for arg in args]
        messages.append({"type": "set", "path": path, "args": values, "id": number, "by": None})
    if source.random() < 0.7:
        messages = changed(source, messages)
    texts = [_text(message) for message in (messages if isinstance(messages, list) else [messages])]
    if source.random() < 0.3 and texts:
        place = source.randrange(len(texts))
        texts[place] = mutated(source, texts[place])
    frames = [_frame(source, TEXT, text) for text in texts]
    return repr(texts), lambda: _told(stage, "control", [*frames, _frame(source, TEXT, _text(LAST))], ends=False)


def _audio(source: random.Random, stage: Stage) -> tuple[str, Callable[[], None]]:
    form = source.choice(("pcm16", "float32"))
    message = {"type": "credit", "blocks": source.choice((0, 1, 9, 10_000)), "format": form}
    texts = [_text(changed(source, message) if source.random() < 0.7 else message) for _ in range(source.randint(1, 4))]
    if source.random() < 0.3:
        texts[0] = mutated(source, texts[0])
    plays = source.random() < 0.3
    return repr(texts), lambda: _told(stage, "audio", [_frame(source, TEXT, text) for text in texts], plays=plays)


def _frames(source: random.Random, stage: Stage) -> tuple[str, Callable[[], None]]:
    """Return frames of which lengths, kinds, masks or texts are wrong."""
    frames = [_frame(source, TEXT, b'{"type":"hello"}')]
    for _ in range(source.randint(1, 4)):
        said = source.choice((_text(LAST), _text(wild(source)), b"", source.randbytes(20), b"\xff\xfe", b"x" * 126))
        frames.append(_frame(source, source.choice(OPCODES), said, source.choice((8, 8, 8, 0, 12, 10, 9))))
    data = b"".join(frames)
    data = mutated(source, data) if source.random() < 0.6 else data
    where = source.choice(("control", "audio"))
    return repr(data), lambda: _told(stage, where, [data])


def _mass(source: random.Random, stage: Stage) -> tuple[str, Callable[[], None]]:
    """Return what is deep, long, or too much at once."""
    what = source.randrange(5)
    opening, closing = source.choice((("[", "]"), ('{"type":', "}"), ('{"type":"set","args":[[', "]]}")))
    depth, long = source.choice(DEPTHS), source.choice(LONGS)
    if what == 0:
        text = (opening * depth + "1" + closing * source.choice((0, depth))).encode()
    elif what == 1:
        text = b"x" * long if source.random() < 0.5 else b'{"type":"hello","name":"' + b"x" * (long - 26) + b'"}'
    else:
        text = _text(LAST) if what < 4 else b'{"type":"hello"}'
    count = 1 if what < 2 else source.choice((2, AT_ONCE + 200))
    where = source.choice(("control", "control", "audio"))
    frames = [_frame(source, source.choice((TEXT, TEXT, BYTES)), text)] * count
    return f"{count} * {len(text)} bytes {text[:100]!r}", lambda: _told(stage, where, frames)


def _text(message: Any) -> bytes:
    """Return a message as JSON, and what JSON does not know as Python writes it."""
    return json.dumps(message).encode()


def _frame(source: random.Random, opcode: int, said: bytes, flags: int = 8) -> bytes:
    """Return a frame of a client; `flags` say whether it is the last of its message, and what is reserved."""
    size, mask = len(said), source.randbytes(4)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = b"\xfe" + size.to_bytes(2) if size < 2**16 else b"\xff" + size.to_bytes(8)
    key = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(said) ^ int.from_bytes(key)).to_bytes(size)
    return bytes([flags << 4 | opcode]) + length + mask + masked


def _told(stage: Stage, where: str, frames: list[bytes], *, ends: bool = True, plays: bool = False) -> None:
    """Send frames and read what is said, to the end if nothing more is said, else until the last one is answered."""
    if plays:
        with stage.hand() as hand:
            hand.set("/play", 1)
    refused = ""
    address = f"ws://127.0.0.1:{stage.port}/ws/{where}?token={TOKEN}"
    with connect(address, compression=None, max_size=None, close_timeout=0.2) as client:
        with cut_at_will():
            client.socket.sendall(b"".join(frames))
            if ends:
                client.socket.shutdown(socket.SHUT_WR)
        with cut_at_will():
            refused = _answers(stage, client, ends)
    if refused:
        raise RefusedError(refused)


def _answers(stage: Stage, client: ClientConnection, ends: bool) -> str:
    """Return what is refused first."""
    refused = ""
    try:
        while True:
            said = client.recv(timeout=PATIENCE_S)
            answer = json.loads(said) if isinstance(said, str) else {}
            if answer.get("type") in {"nack", "bye"}:
                why = str(answer.get("message", answer.get("reason")))
                stage.note(why)
                refused = refused or why
            if not ends and answer.get("id") == LAST["id"]:
                return refused
    except ConnectionClosed as closed:
        return refused or (f"closed with {closed.rcvd.code}" if closed.rcvd else "")
