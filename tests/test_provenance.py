"""How a file was made is found whatever else it says, and a file that is damaged is refused in one line."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, PngImagePlugin

from fugue_state.audio import io, riff
from fugue_state.cli import main
from fugue_state.errors import InputError
from fugue_state.look.figure import page
from fugue_state.look.saved import save_figure
from fugue_state.look.theme import DEFAULT
from fugue_state.memory.memory import Memory
from fugue_state.output.provenance import known_of, read_provenance, reopened
from fugue_state.score.model import Score

OTHERS = '{"artist":"Ann"}; mixed by Ann'
TONE = 0.1 * np.ones(2000, dtype=np.float32)


@pytest.fixture
def told(tiny_memory: Memory) -> dict[str, Any]:
    return known_of(tiny_memory) | {"score": Score(title="Ein Stück").model_dump(mode="json")}


def compact(told: object) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode()


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def atom(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body


def wav(path: Path, *comments: bytes) -> None:
    io.write(path, TONE, 44_100)
    lists = (chunk(b"LIST", b"INFO" + chunk(b"IART", b"Ann") + chunk(b"ICMT", said + b"\0")) for said in comments)
    riff.append(path, b"".join(lists))


def wav_in_one_list(path: Path, *comments: bytes) -> None:
    io.write(path, TONE, 44_100)
    riff.append(path, chunk(b"LIST", b"INFO" + b"".join(chunk(b"ICMT", said + b"\0") for said in comments)))


def wav_with_id3(path: Path, *comments: bytes) -> None:
    io.write(path, TONE, 44_100)
    for said in comments:
        frame = b"\0eng\0" + said
        size = len(frame)
        header = b"COMM" + struct.pack(">IH", size, 0)
        whole = len(header) + size
        safe = bytes(whole >> shift & 127 for shift in (21, 14, 7, 0))
        riff.append(path, chunk(b"id3 ", b"ID3\3\0\0" + safe + header + frame))


def flac(path: Path, *comments: bytes) -> None:
    """Write a FLAC with several fields of one name, as RFC 9639 has it."""
    io.write(path, TONE, 44_100)
    data = path.read_bytes()
    fields = [b"ARTIST=Ann", *(b"COMMENT=" + said for said in comments)]
    body = struct.pack("<I", 0) + struct.pack("<I", len(fields))
    body += b"".join(struct.pack("<I", len(field)) + field for field in fields)
    first = 4 + 4 + 34  # the stream's own block, which is not the last one any more
    rest, last = first, False
    while not last:
        last = bool(data[rest] & 128)
        rest += 4 + int.from_bytes(data[rest + 1 : rest + 4], "big")
    head = data[:4] + bytes([data[4] & 127]) + data[5:first]
    path.write_bytes(head + bytes([4 | 128]) + len(body).to_bytes(3, "big") + body + data[rest:])


def mp4(path: Path, *comments: bytes) -> None:
    with av.open(path, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=24)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), dtype=np.uint8))
        out.mux([*stream.encode(frame), *stream.encode()])
    data = path.read_bytes()
    at = data.index(b"moov") - 4  # the last one, so nothing that is pointed at moves
    size = int.from_bytes(data[at : at + 4], "big")
    items = b"".join(atom(b"\xa9cmt", atom(b"data", bytes([0, 0, 0, 1, 0, 0, 0, 0]) + said)) for said in comments)
    handler = atom(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    tags = atom(b"udta", atom(b"meta", bytes(4) + handler + atom(b"ilst", items)))
    old = data[at + 8 : at + size]
    kept = old[: old.index(b"udta") - 4] if b"udta" in old else old
    path.write_bytes(data[:at] + atom(b"moov", kept + tags))


def png(path: Path, *comments: bytes) -> None:
    texts = PngImagePlugin.PngInfo()
    for said in comments:
        texts.add(b"tEXt", b"Comment\0" + said)
    Image.new("RGB", (2, 2)).save(path, pnginfo=texts)


MAKERS: dict[str, Callable[..., None]] = {
    "a.wav": wav, "list.wav": wav_in_one_list, "id3.wav": wav_with_id3, "a.flac": flac, "a.mp4": mp4, "a.m4a": mp4,
    "a.png": png,
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_ours_is_found_wherever_it_is_among_others(tmp_path: Path, told: dict[str, Any], name: str) -> None:
    path, ours, others = tmp_path / name, compact(told), OTHERS.encode()
    broken = compact(told)[:-5]
    for comments in ([ours], [others, ours], [ours, others], [others, b"caf\xe9", b"[1]", ours], [broken, ours]):
        MAKERS[name](path, *comments)
        assert read_provenance(path) == told
    if name == "a.flac":
        path.write_bytes(b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + path.read_bytes())
        assert read_provenance(path) == told


@pytest.mark.parametrize("name", ["a.wav", "list.wav", "a.flac", "a.mp4"])
@pytest.mark.parametrize(
    ("comment", "said"),
    [
        (b"caf\xe9", r"damaged \(not JSON\)"),
        (b'{"made_by":"fugue-state 1","memory":"\xe9"}', r"damaged \(not JSON\)"),
        (b'{"made_by":"fugue-state 1","score":' + b"[" * 100_000, r"damaged \(not JSON\)"),
        (b'{"made_by":"fugue-state 1","seed":' + b"1" * 100_000 + b"}", r"damaged \(not JSON\)"),
        (b"[" * 100_000, r"damaged \(not JSON\)"),
        (b"[1, 2]", r"damaged \(a list or a number\)"),
        (b"17", r"damaged \(a list or a number\)"),
        (b'{"made_by":["fugue-state"]}', "was not made by fugue-state"),
        (b"Mixed by Ann", "does not say how it was made"),
    ],
)
def test_a_comment_that_is_none_of_ours_is_told_in_one_line(
    tmp_path: Path, name: str, comment: bytes, said: str
) -> None:
    if name == "a.flac" and not comment.isascii() and b"made_by" not in comment:
        said = "does not say how it was made"  # its reader mends it
    MAKERS[name](tmp_path / name, comment)
    with pytest.raises(InputError, match=said) as caught:
        reopened(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_is_nested_as_deep_as_can_be_read_is_refused(tmp_path: Path, told: dict[str, Any]) -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    for where in ("title", "voices", "changes", "reverb", "new"):
        wav(tmp_path / "a.wav", compact(told | {"score": told["score"] | {where: deep}}))
        done = CliRunner().invoke(main, ["reopen", str(tmp_path / "a.wav")])
        assert done.exit_code == 2, done.output
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 500


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp4", "a.png", "a.json"])
def test_no_damage_ends_in_a_traceback(tmp_path: Path, told: dict[str, Any], name: str) -> None:
    path = tmp_path / name
    if name == "a.json":
        path.write_text(json.dumps(told, indent=1))
    else:
        MAKERS[name](path, OTHERS.encode(), compact(told))
    whole, rng = path.read_bytes(), np.random.default_rng(7)
    at, codes = whole.index(b'"made_by"'), set()
    for number in range(100):
        data = bytearray(whole[: int(rng.integers(1, len(whole)))] if number % 5 == 0 else whole)
        low = at if number % 2 else 0  # every other time in what is told
        for place in rng.integers(min(low, len(data) - 1), len(data), 1 + number % 4):
            data[place] = int(rng.integers(256)) if number % 3 else ord(rng.choice(list('"{}[],:0\\eE-')))
        path.write_bytes(bytes(data))
        done = CliRunner().invoke(main, ["reopen", str(path)])
        codes.add(done.exit_code)
        assert done.exit_code in {0, 2}, (number, done.output, done.exception)
        assert done.exit_code == 0 or done.stderr.count("\n") == 1, done.stderr
    assert 2 in codes


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_a_picture_says_how_it_was_made(tmp_path: Path, told: dict[str, Any], ending: str) -> None:
    told["score"]["title"] = "<Q&A> \N{SNOWMAN}\\"
    path = tmp_path / f"a{ending}"
    with page(DEFAULT, 1.0) as figure:
        save_figure(figure, path, told)
    assert read_provenance(path) == told
    before = path.read_bytes()
    save_figure(figure, path, told)
    assert path.read_bytes() == before
    save_figure(figure, path)
    with pytest.raises(InputError, match="does not say how it was made"):
        read_provenance(path)


def test_pictures_of_a_piece_give_its_score_back_and_others_say_what_they_are(tmp_path: Path, tiny_path: Path) -> None:
    def fugue(*words: object) -> str:
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return done.stdout

    piece = tmp_path / "piece.wav"
    fugue("forget", "-m", tiny_path, "-o", piece, "--duration", 2, "--rt60", 0.1, "--quality", "draft", "--poster",
          tmp_path / "poster.png", "--size", "480x360", "--score", tmp_path / "piece.toml")  # fmt: skip
    again = fugue("reopen", piece)
    assert fugue("reopen", tmp_path / "piece.png") == again
    assert fugue("reopen", tmp_path / "poster.png") == again
    fugue("score", "show", tmp_path / "piece.toml", "-o", tmp_path / "plan.svg")
    assert fugue("reopen", tmp_path / "plan.svg") == again
    fugue("sample", "-m", tiny_path, "-n", 1, "-o", tmp_path / "s", "--quality", "draft")
    for path in (tmp_path / "s").iterdir():
        with pytest.raises(InputError, match="was made by fugue-state, but from no score"):
            read_provenance(path)
