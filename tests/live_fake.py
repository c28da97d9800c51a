"""A server that speaks the protocol of the live instrument, with sines for a memory: the page is tested on it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import struct
import threading
import time
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from fugue_state.look.theme import THEMES

PACKAGE = Path(str(resources.files("fugue_state")))
STATIC, FONTS = PACKAGE / "live/static", PACKAGE / "look/fonts"
LAYERS = {"deconv1": 512, "deconv2": 256, "deconv3": 128, "deconv4": 64, "deconv5": 32}
CHORDS = ("Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G")
RATE, BLOCK = 44_100, 1024
FREQUENCIES = (110.0, 164.81, 220.0, 277.18, 329.63)


def _coded(values: npt.ArrayLike) -> str:
    return base64.b64encode(np.rint(255 * np.clip(np.asarray(values), 0, 1)).astype(np.uint8).tobytes()).decode()


def theme_css() -> str:
    """Return the colours of the night theme as custom properties."""
    theme = THEMES["night"]
    single = {name: getattr(theme, name) for name in ("ground", "ink", "faint", "glow", "flare", "scar")}
    rows = {"layer": theme.layers, "level": theme.levels}
    many = {f"{name}-{i}": colour for name, colours in rows.items() for i, colour in enumerate(colours, 1)}
    return ":root {" + "".join(f"--{name}: {colour};" for name, colour in (single | many).items()) + "}"


class Fake:
    """State, clock and sockets; `sets` is every change a page has asked for."""

    def __init__(self, layers: dict[str, int] | None = None) -> None:
        self.layers = layers or LAYERS
        self.session, self.rev, self.position = "fake", 0, 0
        self.values: dict[str, Any] = {"/forget": 0.0, "/freeze": 0, "/play": 0, "/volume": 0.25, "/seed": 7}
        self.values |= {f"/layer/{n}/forget": 0.0 for n, _ in enumerate(self.layers, 1)} | {"/chord": "", "/ab": 0.0}
        self.brushed = {n: np.ones(units) for n, units in enumerate(self.layers.values(), 1)}
        self.frozen = {n: np.zeros(units) for n, units in enumerate(self.layers.values(), 1)}
        self.banks: dict[int, dict[str, Any]] = {}
        self.recording, self.takes = False, ["take-001"]
        self.form = 1  # of sound: float32; 0 is pcm16
        self.deaf = False  # what is set is neither done nor answered
        self.sets: list[tuple[str, list[Any]]] = []
        self.patches: list[dict[str, Any]] = []
        self.done: list[tuple[str, Any]] = []
        self.undone: list[tuple[str, Any]] = []
        self.pages: dict[WebSocket, dict[str, Any]] = {}
        self.listeners: dict[WebSocket, int] = {}
        self._phases = np.zeros(len(FREQUENCIES))
        self._noise = np.random.default_rng(0)
        self._sequence = 0
        self._gone: dict[int, npt.NDArray[np.bool_]] = {}

    # What is heard.

    def strengths(self, n: int) -> npt.NDArray[np.float64]:
        units = len(self.brushed[n])
        forgotten = max(self.values["/forget"], self.values[f"/layer/{n}/forget"])
        order = np.random.default_rng(n).permutation(units)
        faded = np.clip((1 - forgotten) * units - order, 0, 1) if forgotten else np.ones(units)
        return np.asarray(self.brushed[n] * faded)

    def block(self) -> npt.NDArray[np.float32]:
        sound = np.zeros(BLOCK)
        for n, frequency in enumerate(FREQUENCIES, 1):
            level = self.strengths(n).mean() if n in self.brushed else 0.0
            phases = self._phases[n - 1] + 2 * np.pi * frequency / RATE * np.arange(1, BLOCK + 1)
            self._phases[n - 1] = phases[-1] % (2 * np.pi)
            sound += 0.15 * level * np.sin(phases)
        sound *= self.values["/volume"] * self.values["/play"] * 2
        return np.repeat(sound[:, None], 2, axis=1).astype(np.float32)

    def frame(self) -> dict[str, Any]:
        now = self.position / RATE
        strengths = np.concatenate([self.strengths(n) for n in self.brushed])
        places = np.arange(len(strengths))
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * (0.7 * now + 0.31 * places % 1))
        beat = np.exp(-1.6 * (now % 2))
        bands = np.arange(128)
        mel = sum(np.exp(-(((bands - 18 * n - 6) / 1.6) ** 2)) / n**0.3 for n in range(1, 7)) * (0.35 + 0.6 * beat)
        return {
            "type": "frame",
            "at_sample": self.position,
            "strengths": _coded(strengths),
            "activations": _coded(strengths * wave * (0.25 + 0.75 * beat)),
            "mel": _coded(mel * strengths.mean() + 0.05 * self._noise.random(128)),
            "chord": self.values["/chord"] or CHORDS[int(now / 2) % len(CHORDS)],
        }

    # What is set.

    def keep(self, path: str, value: Any, by: str) -> None:
        """Set a value and tell everyone."""
        parts = path.split("/")
        if parts[1] == "grid":
            self.brushed[int(parts[2])] = np.frombuffer(base64.b64decode(value), np.uint8) / 255
        elif parts[1] == "unit":
            units = self.brushed if parts[4] == "strength" else self.frozen
            units[int(parts[2])][int(parts[3]) - 1] = value
        else:
            self.values[path] = value
        self.rev += 1
        patch = {"type": "patch", "rev": self.rev, "at_sample": self.position, "by": by, "changes": {path: value}}
        self.patches.append(patch)
        self.tell(patch)

    def value(self, path: str) -> Any:
        parts = path.split("/")
        if parts[1] == "grid":
            return _coded(self.brushed[int(parts[2])])
        if parts[1] == "unit":
            units = self.brushed if parts[4] == "strength" else self.frozen
            return float(units[int(parts[2])][int(parts[3]) - 1])
        return self.values.get(path)

    def event(self, what: str, **more: Any) -> None:
        self.tell({"type": "event", "what": what, "at_sample": self.position, **more})

    def state(self) -> str:
        if not self.values["/play"]:
            return "armed"
        return "frozen" if self.values["/freeze"] else "playing"

    def set(self, path: str, args: list[Any], by: str) -> None:
        self.sets.append((path, args))
        before = self.state()
        if path in {"/undo", "/redo"}:
            self._turn_back(path)
        elif path.startswith("/bank/"):
            self._bank(int(path.split("/")[2]), path.split("/")[3])
        elif path in {"/recall", "/hush", "/mark"}:
            self._do(path, args, by)
        elif path.startswith("/rec/"):
            self._record(path.endswith("start"))
        else:
            self.done.append((path, self.value(path)))
            self.undone.clear()
            self.keep(path, args[0], by)
        if self.state() != before:
            self.event("state", state=self.state())

    def _do(self, path: str, args: list[Any], by: str) -> None:
        if path == "/hush":
            self.keep("/play", 0, by)
        elif path == "/mark":
            self.event("mark", text=args[0])
        else:
            self._recall(by)

    def _recall(self, by: str) -> None:
        for other in ("/forget", *(f"/layer/{n}/forget" for n in self.brushed)):
            self.keep(other, 0.0, by)
        for n, units in self.brushed.items():
            self.keep(f"/grid/{n}", _coded(np.ones(len(units))), by)

    def _record(self, on: bool) -> None:
        self.recording = on
        if not on:
            self.takes = [*self.takes, f"take-{len(self.takes) + 1:03d}"]
        self.event("take", did="recording" if on else "kept", take=f"take-{len(self.takes):03d}", takes=self.takes)

    def _turn_back(self, path: str) -> None:
        source, target = (self.done, self.undone) if path == "/undo" else (self.undone, self.done)
        if source:
            moved, value = source.pop()
            target.append((moved, self.value(moved)))
            self.keep(moved, value, "undo")

    def _bank(self, bank: int, action: str) -> None:
        if action == "store":
            self.banks[bank] = {path: value for path, value in self.values.items() if path.endswith("forget")}
        elif action == "fire":
            for path, value in self.banks.get(bank, {}).items():
                self.keep(path, value, f"bank {bank}")
        self.event("bank", did={"store": "stored", "arm": "armed", "fire": "fired"}[action], bank=bank)

    # The sockets.

    def tell(self, message: dict[str, Any]) -> None:
        for page in list(self.pages):
            asyncio.ensure_future(_send(page, message))  # noqa: RUF006 - a page that has gone is no matter

    def welcome(self, hello: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "welcome",
            "session": self.session,
            "rev": self.rev,
            "view": hello["view"],
            "resumed": hello["session"] == self.session,
            "tree": [{"path": path} for path in ("/replay", "/memory")],
            "values": self.values,
            "memory": {
                "name": "fake",
                "layers": list(self.layers.items()),
                "chords": CHORDS,
                "units": sum(self.layers.values()),
            },
            "memories": ["fake", "other"],
            "grid": {
                "strengths": _coded(np.concatenate(list(self.brushed.values()))),
                "frozen": _coded(np.concatenate(list(self.frozen.values()))),
            },
            "state": self.state(),
            "recording": self.recording,
            "takes": self.takes,
            "banks": sorted(self.banks),
            "rate": RATE,
            "block": BLOCK,
            "latency_samples": BLOCK,
        }

    async def control(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            hello = json.loads(await socket.receive_text())
            await socket.send_json(self.welcome(hello))
            self.pages[socket] = hello
            while True:
                message = json.loads(await socket.receive_text())
                if self.deaf:
                    continue
                self.set(message["path"], message["args"], hello["name"])
                ack = {"type": "ack", "id": message["id"], "rev": self.rev, "at_sample": self.position}
                await socket.send_json(ack)
        except (WebSocketDisconnect, RuntimeError):
            self.pages.pop(socket, None)

    async def audio(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                message = json.loads(await socket.receive_text())
                self.listeners[socket] = self.listeners.get(socket, 0) + message["blocks"]
        except (WebSocketDisconnect, RuntimeError):
            self.listeners.pop(socket, None)

    async def play(self) -> None:
        """Make blocks by the clock, and say what is in them."""
        start, first = time.monotonic(), self.position
        while True:
            await asyncio.sleep(max(0.0, start + (self.position - first) / RATE - time.monotonic()))
            sound = self.block()
            coded = sound.tobytes() if self.form else np.rint(32_767 * sound).astype("<i2").tobytes()
            header = struct.pack("<4sBBHIIQ", b"FUG1", self.form, 2, 0, RATE, self._sequence, self.position)
            for socket, credit in list(self.listeners.items()):
                if credit > 0:
                    self.listeners[socket] = credit - 1
                    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                        await socket.send_bytes(header + coded)
            if self.values["/play"]:
                self.tell(self.frame())
                self._tell_lost()
            if self._sequence % 4 == 0:
                peak = 20 * np.log10(max(1e-3, float(np.abs(sound).max())))
                self.tell({"type": "meter", "peak_db": peak, "lufs": peak - 9, "at_sample": self.position})
            if self._sequence % 43 == 0:
                stats = {"load": 0.31, "underruns": 0, "buffer_ms": 23, "clients": len(self.pages), "quality": "live"}
                self.tell({"type": "stats", **stats, "recording_s": 3.0 if self.recording else None})
            self._sequence += 1
            self.position += BLOCK

    def _tell_lost(self) -> None:
        for n in self.brushed:
            gone = self.strengths(n) == 0
            before = self._gone.get(n, np.zeros_like(gone))
            self._gone[n] = gone
            for what, units in (("forgotten", gone & ~before), ("recalled", before & ~gone)):
                if units.any():
                    self.event(what, layer=n, units=(np.flatnonzero(units) + 1).tolist())

    def app(self) -> Starlette:
        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            clock = asyncio.create_task(self.play())
            yield
            clock.cancel()
            self.pages.clear()
            self.listeners.clear()

        def css(_: Request) -> Response:
            return PlainTextResponse(theme_css(), media_type="text/css")

        def page(_: Request) -> Response:
            # As strict as the server itself.
            policy = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
            return FileResponse(STATIC / "index.html", headers={"content-security-policy": policy})

        return Starlette(
            routes=[
                Route("/", page),
                Route("/static/theme.css", css),
                Mount("/static/fonts", StaticFiles(directory=FONTS)),
                Mount("/static", StaticFiles(directory=STATIC)),
                WebSocketRoute("/ws/control", self.control),
                WebSocketRoute("/ws/audio", self.audio),
            ],
            lifespan=lifespan,
        )


async def _send(page: WebSocket, message: dict[str, Any]) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await page.send_json(message)


class Served:
    """A fake on a port, which can be killed and started again."""

    def __init__(self, fake: Fake, port: int = 0) -> None:
        self.fake, self.port = fake, port
        self.start()

    def start(self) -> None:
        config = uvicorn.Config(
            self.fake.app(), host="127.0.0.1", port=self.port, log_level="critical", timeout_graceful_shutdown=0
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


if __name__ == "__main__":
    uvicorn.run(Fake().app(), host="127.0.0.1", port=8123, log_level="warning")
