"""Single notes for a machine that has none: two packages, by exact version and hash."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from fugue_state.audio.io import replacing
from fugue_state.errors import CorpusError


@dataclass(frozen=True)
class Source:
    """A package whose files hold notes, and the licence they come under."""

    package: str
    version: str
    sha256: str
    form: str
    ending: str
    licence: str


SOURCES = (
    Source(
        "guitarsounds",
        "1.2.0",
        "ee26363876ba1473e19fbaf359f4cb3b6cb3dcefc6bdac945a8a1b8cb242c29b",
        "--no-binary",
        ".wav",
        "MIT, Olivier Chabot, Ecole de Lutherie Bruand",
    ),
    Source(
        "pretty_midi",
        "0.2.11.post0",
        "a3e2321736245a9c92259716d85a4762f16b7bde2f591fb0dba95bdb6e793d8a",
        "--only-binary",
        ".sf2",
        "GPL-2.0 (the sound font TimGM6mb): for your own use, not to be shipped",
    ),
)
FONT_GUITARS = ("N Guitar", "Steel AcGtr", "Jazz Guitar", "Strat")


def cache_folder() -> Path:
    """Return the folder for what can be made again; FUGUE_CACHE names another one."""
    return Path(os.environ.get("FUGUE_CACHE") or platformdirs.user_cache_dir("fugue-state"))


def fetch_notes(say: Callable[[str], None]) -> list[Path]:
    """Return a folder for each source, fetching what is not in the cache yet.

    Raises CorpusError if a package cannot be had or is not the one expected.
    """
    return [_fetched(source, cache_folder() / "notes", say) for source in SOURCES]


def _fetched(source: Source, cache: Path, say: Callable[[str], None]) -> Path:
    folder = cache / f"{source.package}-{source.version}"
    label = f"{source.package} {source.version} ({source.licence})"
    if any(folder.rglob(f"*{source.ending}")):
        say(f"using {label} from {folder}")
        return folder
    say(f"fetching {label}")
    with tempfile.TemporaryDirectory() as scratch:
        _extract(_download(source, Path(scratch)), source.ending, folder)
    return folder


def _download(source: Source, folder: Path) -> Path:
    """Let pip fetch one package; the hash makes sure that it is the one meant."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        source.form,
        ":all:",
        "--dest",
        str(folder),
        "--requirement",
        str(wanted),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = [p for p in folder.iterdir() if p.suffix in (".gz", ".whl")]
    if done.returncode or not archives:
        reason = next((line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "no network?")
        raise CorpusError(
            f"{source.package} {source.version} could not be fetched: {reason.strip()}; "
            "or name folders of your own notes with --notes"
        )
    return archives[0]


def _extract(archive: Path, ending: str, folder: Path) -> None:
    """Take only the sounds, each into a folder named like the one it came from."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            found = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(ending)}
    else:
        with tarfile.open(archive) as tar:
            files = [m for m in tar.getmembers() if m.isfile() and m.name.endswith(ending)]
            found = {m.name: tar.extractfile(m).read() for m in files}  # type: ignore[union-attr]
    for name, data in found.items():
        place = folder / Path(name).parent.name / Path(name).name
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as beside:
            beside.write_bytes(data)
