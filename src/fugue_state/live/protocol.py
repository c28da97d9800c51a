"""The messages of the two sockets."""

from __future__ import annotations

import base64
import json
import struct
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fugue_state.config import FULL_ACTIVATION
from fugue_state.errors import in_a_line
from fugue_state.score.paths import PATHS, Path, written

Code = Literal["unknown_path", "bad_value", "view_only", "too_fast", "bad_message", "not_now"]
Format = Literal["pcm16", "float32"]
AUDIO_HEADER = struct.Struct("<4sBBHIIQ")  # magic, kind, channels, reserved, rate, sequence, first sample
MAGIC = b"FUG1"
FORMATS: dict[Format, int] = {"pcm16": 0, "float32": 1}
MEL_FLOOR = -1.0  # a mel's values are within -1..1
LONGEST_PATH = 64
LARGEST_ID = 2**53  # JavaScript's numbers are exact up to here


class RefusedError(Exception):
    """A refused message: code, reason, and the message's number."""

    def __init__(self, code: Code, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.number = code, in_a_line(message), number


class Message(BaseModel):
    """A client's message; unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Hello(Message):
    """The greeting of a client, with the last session and revision it knows."""

    type: Literal["hello"]
    session: str | None = Field(None, max_length=64)
    rev: int | None = Field(None, ge=0, le=LARGEST_ID)
    view: bool = False
    name: str = Field("", max_length=40)


class Set(Message):
    """A request to move a control."""

    type: Literal["set"]
    path: str = Field(max_length=LONGEST_PATH)
    args: list[float | int | str | bool] = Field([], max_length=4)
    id: int = Field(ge=0, le=LARGEST_ID)
    by: Literal["midi"] | None = None


class Credit(Message):
    """A listener's credit: how many more blocks it takes, and in which format."""

    type: Literal["credit"]
    blocks: int = Field(ge=0, le=10_000)
    format: Format = "float32"


CONTROL: TypeAdapter[Hello | Set] = TypeAdapter(Annotated[Hello | Set, Field(discriminator="type")])
AUDIO: TypeAdapter[Credit] = TypeAdapter(Credit)


def read_control(text: str | bytes, longest: int) -> Hello | Set:
    """Read a message of the control socket, up to `longest` bytes; RefusedError if it is malformed."""
    found: Hello | Set = _read(CONTROL, text, longest)
    return found


def read_audio(text: str | bytes, longest: int) -> Credit:
    """Read a message of the audio socket, up to `longest` bytes; RefusedError if it is malformed."""
    found: Credit = _read(AUDIO, text, longest)
    return found


def _read(kind: TypeAdapter[Any], text: str | bytes, longest: int) -> Any:
    if isinstance(text, bytes):
        raise RefusedError("bad_message", "a message is JSON text, not bytes")
    if len(text) > longest:
        raise RefusedError("bad_message", f"a message has up to {longest} characters, this one {len(text)}")
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"][1:]) if len(first["loc"]) > 1 else ""
        raise RefusedError(
            "bad_message", f"{place + ': ' if place else ''}{first['msg']}"[:200], _number(text)
        ) from None


def _number(text: str) -> int | None:
    """Return the number of a malformed message, if it has one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    number = found.get("id") if isinstance(found, dict) else None
    return number if isinstance(number, int) and 0 <= number <= LARGEST_ID else None


def write(kind: str, **values: Any) -> str:
    """Return a message of the server as JSON."""
    return json.dumps({"type": kind, **values}, separators=(",", ":"), allow_nan=False)


def tree() -> list[dict[str, Any]]:
    """Return the description of all controls for `welcome`."""
    return [_described(path) for path in PATHS if not path.told]


def _described(path: Path) -> dict[str, Any]:
    default = None if path.default is None else written(path.default)
    told = {"path": path.pattern, "kind": path.kind, "default": default, "about": path.about}
    return told | {"min": path.minimum, "max": path.maximum} if path.kind in {"float", "int"} else told


def bytes_of(values: npt.ArrayLike) -> str:
    """Return values within 0..1 as bytes in base64."""
    return base64.b64encode(levels(values)).decode()


def levels(values: npt.ArrayLike) -> bytes:
    """Return values within 0..1 as a byte each."""
    shown = np.nan_to_num(np.asarray(values, dtype=np.float32))
    return bytes(np.rint(255.0 * np.clip(shown, 0.0, 1.0)).astype(np.uint8).data)


def brightness(activations: npt.ArrayLike) -> str:
    """Return activations (at least 0) as bytes in base64; the stronger, the closer to 255."""
    return bytes_of(1.0 - np.exp(-np.maximum(np.asarray(activations), 0.0) / FULL_ACTIVATION))


def column(mel: npt.ArrayLike) -> str:
    """Return a column of a mel, within -1..1, as bytes in base64."""
    return bytes_of((np.asarray(mel) - MEL_FLOOR) / (1.0 - MEL_FLOOR))


def audio_block(samples: npt.NDArray[np.float32], form: Format, rate: int, sequence: int, first: int) -> bytes:
    """Return samples (N, channels) as a message of the audio socket."""
    header = AUDIO_HEADER.pack(MAGIC, FORMATS[form], samples.shape[1], 0, rate, sequence % 2**32, first)
    if form == "float32":
        return header + bytes(samples.astype("<f4").data)
    return header + bytes(np.rint(np.clip(samples, -1.0, 1.0) * 32_767.0).astype("<i2").data)


def read_audio_block(message: bytes) -> tuple[int, int, int, npt.NDArray[np.float32]]:
    """Return rate, sequence, first sample and samples (N, channels) of a message of the audio socket."""
    _, kind, channels, _, rate, sequence, first = AUDIO_HEADER.unpack_from(message)
    if kind == FORMATS["float32"]:
        samples = np.frombuffer(message, "<f4", offset=AUDIO_HEADER.size)
    else:
        samples = np.frombuffer(message, "<i2", offset=AUDIO_HEADER.size) / np.float32(32_767.0)
    return rate, sequence, first, samples.reshape(-1, channels)
