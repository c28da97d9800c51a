"""`fugue share`: what it writes, and what it refuses."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.numpy import load

from fugue_state.cli import main
from fugue_state.memory.checkpoint import load_memory
from fugue_state.share import page

from .share_stage import NODE, run_node

PIECE = """
title = "A <b>piece"
credits = ["Someone & I"]
memory = "{memory}"
duration_s = 4
quality = "draft"

[[voices]]
chords = ["C", "Am"]

[reverb]
rt60_s = 0.5
"""


def fugue(*words: Any) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


def shared(*words: Any) -> str:
    """Share something, and return what was said."""
    done = fugue("share", *words)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: Any) -> str:
    done = fugue("share", *words)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return done.output


def held(path: Path, name: str) -> bytes:
    """What a page holds under a name."""
    found = re.search(rf'id="{name}">([^<]*)</script>', path.read_text("utf-8"))
    assert found is not None
    return found[1].encode() if name == "about-piece" else zlib.decompress(base64.b64decode(found[1]))


@pytest.fixture
def score(tmp_path: Path, tiny_path: Path) -> Path:
    path = tmp_path / "secret folder" / "piece.toml"
    path.parent.mkdir()
    path.write_text(PIECE.format(memory=tiny_path.as_posix()), "utf-8")
    return path


def test_a_page_holds_the_piece_its_memory_and_nothing_of_the_machine(
    score: Path, tmp_path: Path, tiny_path: Path
) -> None:
    out, poster = tmp_path / "out.html", tmp_path / "out.png"
    told = shared(score, "-o", out, "--poster", poster)
    assert "has no vocoder" in told
    assert f"open {out} in a browser" in told
    about = json.loads(held(out, "about-piece"))
    assert (about["title"], about["credits"]) == ("A <b>piece", ["Someone & I"])
    assert about["settings"]["memory"] == "tiny"
    assert json.loads(held(out, "piece"))["samples"] is None
    text = out.read_text("utf-8")
    assert not re.search("secret|tmp/|pytest", text + held(out, "piece").decode())
    assert held(out, "kernels") == (page._folder(page.ENGINE) / page.KERNELS).read_bytes()
    with Image.open(poster) as picture:
        assert picture.size == (1920, 1080)


@pytest.mark.skipif(NODE is None, reason="no Node")
def test_the_memory_travels_whole_in_half_precision(score: Path, tmp_path: Path, tiny_path: Path) -> None:
    out = tmp_path / "out.html"
    shared(score, "-o", out)
    packed = base64.b64encode(zlib.compress(held(out, "memory"))).decode()
    script = (
        f'import {{ tensors }} from "./unpack.js";\ntensors("{packed}").then((found) => console.log(JSON.stringify('
    )
    found = load(bytes(run_node(f"{script}Array.from(found))));\n", tmp_path)))
    generator, _, _ = load_memory(tiny_path)
    needed = {name: tensor for name, tensor in generator.tensors.items() if tensor.ndim}
    assert found.keys() == needed.keys()
    for name, tensor in needed.items():
        assert np.allclose(found[name], tensor, rtol=1e-3, atol=1e-6), name


def test_titles_themes_and_locks_are_as_asked_for(score: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    shared(score, "-o", out, "--title", "Mine", "--theme", "paper", "--locked")
    about = json.loads(held(out, "about-piece"))
    assert (about["title"], about["settings"]["locked"]) == ("Mine", True)
    assert 'content="light"' in out.read_text("utf-8")


def test_a_sound_and_a_memory_can_be_shared_too(score: Path, tmp_path: Path, tiny_path: Path) -> None:
    sound, out = score.parent / "piece.wav", tmp_path / "out.html"
    assert fugue("render", score, "-o", sound).exit_code == 0
    for made in (sound, sound.with_suffix(".png")):
        shared(made, "-o", out, "--force")
        assert json.loads(held(out, "about-piece"))["title"] == "A <b>piece"
    shared(tiny_path, "-o", out, "--force")
    assert json.loads(held(out, "about-piece"))["title"] == page.UNTITLED


def test_a_take_ends_where_it_ended(score: Path, tmp_path: Path) -> None:
    take, out = score.with_name("take.toml"), tmp_path / "out.html"
    changes = 'resolution = "block"\nplayed_s = 2.0\n'
    moved = '\n[[changes]]\nat = 1.0\npath = "/forget"\nvalue = 0.5\n'
    take.write_text(changes + score.read_text("utf-8") + moved, "utf-8")
    shared(take, "-o", out)
    assert json.loads(held(out, "piece"))["samples"] == 88_200


def test_what_cannot_be_shared_is_refused_before_anything_is_written(score: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    out.write_text("mine", "utf-8")
    assert "exists already" in refused(score, "-o", out)
    assert out.read_text("utf-8") == "mine"
    assert "did you mean '.html'" in refused(score, "-o", tmp_path / "out.htm")
    assert "unknown memory 'nobody'" in refused("nobody", "-o", tmp_path / "a.html")
    assert "file ending" in refused(score, "-o", tmp_path / "a.html", "--poster", tmp_path / "a.jpg")
    assert "title" in refused(score, "-o", tmp_path / "a.html", "--title", "x" * 200)
    assert "no such folder" in refused(score, "-o", tmp_path / "nowhere" / "a.html")
    score.write_text(score.read_text("utf-8").replace("duration_s = 4", "duration_s = -4"), "utf-8")
    assert "piece.toml:5" in refused(score, "-o", tmp_path / "a.html")
    sound = tmp_path / "noise.wav"
    soundfile.write(sound, np.zeros((100, 2)), 44_100)
    assert "noise.wav" in refused(sound, "-o", tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()
