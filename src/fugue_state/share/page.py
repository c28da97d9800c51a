"""The page of a shared piece: one HTML text that holds the piece, its memory and what plays them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from safetensors.numpy import save

from fugue_state.config import LiveConfig, PageConfig
from fugue_state.look import cell
from fugue_state.look.theme import Theme, find_theme, font_file, rgb, stylesheet
from fugue_state.memory.checkpoint import memory_bytes
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.progress import Track, untracked
from fugue_state.share.bundle import bundle
from fugue_state.share.parcel import parcel

SHARED, OWN, ENGINE = "look/page", "share/page", "share/engine"
KERNELS = "kernels.wasm"
SCRIPTS = {"script": "page", "worker": "worker", "worklet": "worklet"}  # the modules that they begin with
UNTITLED = "Fugue State"
FONT = re.compile(r'url\("/static/fonts/Inter-(Light|Regular)\.otf"\)')
SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "I16": 2, "U16": 2}  # of numbers, in bytes
PACE = ("load_high", "load_low", "recover_s", "late_blocks")  # settings of playing live that hold here, too


@dataclass(frozen=True)
class Payloads:
    """What a page plays: the engine's WebAssembly, tensors (safetensors) of memory and piece, and the piece as JSON."""

    kernels: bytes
    memory: bytes
    arrays: bytes
    piece: str

    def told(self) -> dict[str, str]:
        """Return them as text, by name."""
        return {
            "kernels": deflated(self.kernels),
            "memory": deflated(in_planes(self.memory)),
            "arrays": deflated(in_planes(self.arrays)),
            "piece": deflated(self.piece.encode()),
        }


@dataclass(frozen=True)
class About:
    """What a page says of a piece: title and credits, and the memory's name."""

    title: str
    credits: tuple[str, ...]
    memory: str

    def told(self, config: PageConfig) -> dict[str, Any]:
        """Return what the page's script reads."""
        live = LiveConfig()
        settings = {
            "locked": config.locked,
            "memory": self.memory,
            "frames_per_s": live.frames_per_s,
            "units_per_s": live.units_per_s,
            "pace": {name: getattr(live, name) for name in PACE},
        }
        return {"title": self.named(config), "credits": list(self.credits), "settings": settings}

    def named(self, config: PageConfig) -> str:
        """Return the title of the page."""
        return config.title or self.title or UNTITLED


@dataclass(frozen=True)
class Shared:
    """The page of a piece as HTML, and what is to be said of it to whoever shares it."""

    text: str
    notices: tuple[str, ...]


def page(piece: Piece, config: PageConfig | None = None, *, track: Track = untracked, cores: int = 1) -> Shared:
    """Return the page of a piece; a score is calibrated for it on `cores` threads.

    Raises InputError for a room that is too large for a page, AudioError for one that cannot be read.
    """
    config = config or PageConfig()
    sent = parcel(piece, hands=not config.locked, vocoder=config.vocoder, track=track, cores=cores)
    kernels = (_folder(ENGINE) / KERNELS).read_bytes()
    payloads = Payloads(kernels, carried(piece.memory, vocoder=config.vocoder), save(dict(sent.arrays)), sent.text)
    about = About(piece.score.title, piece.score.credits, sent.score.memory)
    return Shared(assembled(payloads, about, config), sent.notices)


def carried(memory: Memory, *, vocoder: bool) -> bytes:
    """Return what travels of a memory: its networks in half precision, and of its header what they need."""
    header = memory.header.model_copy(update={"data": (), "metrics": {}, "vocoder": None})
    if not vocoder or memory.header.vocoder is None:
        return memory_bytes(memory.generator, header)
    learned = memory.header.vocoder.model_copy(update={"data": (), "metrics": {}})
    return memory_bytes(memory.generator, header.model_copy(update={"vocoder": learned}), memory.net)


def deflated(data: bytes) -> str:
    """Return bytes as zlib deflates them, in base64."""
    return base64.b64encode(zlib.compress(data, 9)).decode()


def in_planes(tensors: bytes) -> bytes:
    """Return a safetensors file in which the first bytes of a tensor's numbers come first, then the second ones.

    The bytes of a float that hold its exponent are alike, so that they deflate well.
    """
    length = 8 + int.from_bytes(tensors[:8], "little")
    header = json.loads(tensors[8:length])
    out = bytearray(tensors)
    for tensor in header.values():
        if (size := SIZES.get(tensor.get("dtype"), 1)) > 1:
            start, end = (length + place for place in tensor["data_offsets"])
            numbers = np.frombuffer(tensors, np.uint8, end - start, start)
            out[start:end] = numbers.reshape(-1, size).T.tobytes()
    return bytes(out)


def assembled(payloads: Payloads, about: About, config: PageConfig) -> str:
    """Return the page as HTML; a browser loads nothing besides."""
    theme = find_theme(config.theme)
    told = json.dumps(about.told(config), ensure_ascii=False).replace("<", "\\u003c")
    data = [_data("about-piece", "application/json", told)]
    data += [_data(name, "application/octet-stream;base64", text) for name, text in payloads.told().items()]
    scripts = {
        name: in_script(bundle(f"{file}.js", _folders(name), {"cell.js": cell.script()}))
        for name, file in SCRIPTS.items()
    }
    styles = _styles(theme)
    return Template(_read(OWN, "index.html")).substitute(
        scripts,
        title=html.escape(about.named(config)),
        scheme="dark" if rgb(theme.ground).mean() < rgb(theme.ink).mean() else "light",
        styles=styles,
        payloads="\n    ".join(data),
        policy=_policy(scripts["script"], styles),
    )


def in_script(text: str) -> str:
    """Return a script so that it can stand in HTML: nothing in its texts ends it or begins a comment."""
    return re.sub(r"<(?=/script|!--)", r"<\\", text, flags=re.IGNORECASE)


def _data(name: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="{name}">{text}</script>'


def _policy(script: str, styles: str) -> str:
    """Return what the page may load and run: itself, the engine made from its own text, and nothing from elsewhere."""
    allowed: Mapping[str, str] = {
        "default-src": "'none'",
        "script-src": f"{_hash(script)} 'wasm-unsafe-eval' blob: data:",
        "worker-src": "blob:",
        "style-src": _hash(styles),
        "font-src": "data:",
        "img-src": "data:",
        "connect-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{what} {whence}" for what, whence in allowed.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _folders(script: str) -> list[Path]:
    """Return where the modules of a script are: in its own folder, and in the one that all pages share."""
    return [_folder(ENGINE if script == "worker" else OWN), _folder(SHARED)]


def _folder(name: str) -> Path:
    return Path(str(resources.files("fugue_state"))) / name


def _read(folder: str, name: str) -> str:
    return (_folder(folder) / name).read_text(encoding="utf-8")


def _styles(theme: Theme) -> str:
    styles = stylesheet(theme) + _read(SHARED, "style.css") + _read(OWN, "page.css")
    return FONT.sub(lambda found: f"url({_font(found[1])})", styles)


def _font(weight: Any) -> str:
    return f"data:font/otf;base64,{base64.b64encode(font_file(weight).read_bytes()).decode()}"
