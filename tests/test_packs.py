"""A memory in one file, and memories that are added by name."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fugue_state.cli import main
from fugue_state.errors import CheckpointError, InputError
from fugue_state.limits import Limit
from fugue_state.memory import packs
from fugue_state.memory.catalogue import find_memory
from fugue_state.memory.packs import add_memory, remove_memory, write_pack


def run(*words: str | Path, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=typed)


@pytest.fixture
def packed(tiny_path: Path, tmp_path: Path) -> Path:
    return write_pack(tiny_path, tmp_path / "tiny.fugue")


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_a_pack_is_found_by_name_elsewhere(tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("what it learned")
    packed = tmp_path / "tiny.fugue"
    assert run("pack", tiny_path, "-o", packed).exit_code == 0
    with zipfile.ZipFile(packed) as file:
        assert sorted(file.namelist()) == [
            "LICENCE.txt", "card.md", "memory.profile.safetensors", "memory.safetensors", "pack.json",
        ]  # fmt: skip
    assert run("models", "add", packed).exit_code == 0
    assert find_memory("tiny").read_bytes() == tiny_path.read_bytes()
    listed = json.loads(run("models", "--json").stdout)
    assert listed["tiny"]["licences"] == ["unknown"]
    assert not listed["tiny"]["ships"]
    assert listed["guitar"]["ships"]
    assert run("measure", "tinny").stderr.startswith("fugue: unknown memory 'tinny'; did you mean 'tiny'?")
    assert "fugue models add" in run("measure", "tinny").stderr


def test_the_same_memory_gives_the_same_bytes(tiny_path: Path, packed: Path, tmp_path: Path) -> None:
    other = write_pack(tiny_path, tmp_path / "again.fugue")
    assert other.read_bytes() == packed.read_bytes()


def test_names_that_are_taken(packed: Path) -> None:
    with pytest.raises(InputError, match="'guitar' ships"):
        add_memory(packed, name="guitar", force=True)
    add_memory(packed)
    with pytest.raises(InputError, match="'tiny' is there already"):
        add_memory(packed)
    add_memory(packed, force=True)
    for name in ("../out", "", ".hidden", "a/b"):
        with pytest.raises(InputError, match="cannot be added by the name"):
            packs.check_name(name)


def test_removing_asks(packed: Path, tmp_path: Path) -> None:
    add_memory(packed)
    assert run("models", "remove", "tiny", typed="n\n").exit_code == 1
    assert find_memory("tiny").is_file()
    assert run("models", "remove", "tiny", typed="y\n").exit_code == 0
    with pytest.raises(InputError, match="unknown memory 'tiny'"):
        find_memory("tiny")
    with pytest.raises(InputError, match="'tiny' cannot be removed: none was added"):
        remove_memory("tiny")
    with pytest.raises(InputError, match="'guitar' ships"):
        remove_memory("guitar")
    add_memory(packed)
    assert run("models", "remove", "tiny", "--yes").exit_code == 0


def wrong_sum(members: dict[str, bytes]) -> None:
    members["LICENCE.txt"] += b"!"


def escapes(members: dict[str, bytes]) -> None:
    members["../../escaped"] = b"x"


def pickled(members: dict[str, bytes]) -> None:
    members.clear()
    members["archive/data.pkl"] = pickle.dumps([1])


def bare(members: dict[str, bytes]) -> None:
    del members["pack.json"]


def unlisted(members: dict[str, bytes]) -> None:
    members["card.md"] = b"x"


def no_list(members: dict[str, bytes]) -> None:
    members["pack.json"] = b"{"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (wrong_sum, "the checksum of LICENCE.txt is wrong"),
        (escapes, "holds '../../escaped'"),
        (pickled, "pickled"),
        (bare, "not a pack"),
        (unlisted, "card.md is not listed"),
        (no_list, "pack.json cannot be read"),
    ],
)
def test_what_no_pack_holds_is_refused(
    packed: Path, change: Callable[[dict[str, bytes]], None], said: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=said):
        add_memory(rewritten(packed, change))
    assert not list((tmp_path / "data").rglob("*.safetensors"))


def truncated(members: dict[str, bytes]) -> None:
    """A checkpoint that cannot be played, in a pack that is whole."""
    members["memory.safetensors"] = members["memory.safetensors"][:-100]
    listed = json.loads(members["pack.json"])
    listed["sha256"]["memory.safetensors"] = hashlib.sha256(members["memory.safetensors"]).hexdigest()
    members["pack.json"] = json.dumps(listed).encode()


@pytest.mark.parametrize("name", [None, "mine"])
def test_what_cannot_be_played_is_refused_by_any_name(packed: Path, name: str | None, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        add_memory(rewritten(packed, truncated), name=name)
    assert not list((tmp_path / "data").rglob("*.safetensors"))


def test_damaged_and_large_packs_are_refused(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = packed.read_bytes()
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged or not a pack"):
        add_memory(packed)
    packed.write_bytes(whole)
    monkeypatch.setattr(packs, "PACK_BYTES", Limit("memories", "size", 1000, "bytes", "{got} bytes: at most {most}"))
    with pytest.raises(CheckpointError, match="at most 1,000 bytes"):
        add_memory(packed)


def test_a_run_folder_is_added(tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    tiny_path.rename(tmp_path / "run" / "memory.safetensors")
    assert add_memory(tmp_path / "run", name="mine")[1] == find_memory("mine")
