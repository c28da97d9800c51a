"""The folder for files that can be made again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from fugue_state.errors import InputError
from fugue_state.files import output_folder

VARIABLE = "FUGUE_CACHE"


@dataclass(frozen=True)
class Cache:
    """A folder that can be written to, or None; problems with it are reported through `say`."""

    folder: Path | None
    say: Callable[[str], None] = lambda _: None

    def path(self, kind: str, name: str) -> Path | None:
        """Return the path for a file of a kind, making its folder; None if nothing can be stored."""
        if self.folder is None:
            return None
        try:
            return output_folder(self.folder / kind, parents=True) / name
        except InputError as error:
            self.say(f"{error}; it is made anew each time")
            return None


def cache_folder() -> Path:
    """Return the folder for files that can be made again; FUGUE_CACHE overrides it."""
    return Path(os.environ.get(VARIABLE) or platformdirs.user_cache_dir("fugue-state"))


def find_cache(say: Callable[[str], None] = lambda _: None) -> Cache:
    """Return the cache folder. If it is not writable, use a temporary folder, else none; both are reported."""
    own = cache_folder()
    try:
        return Cache(output_folder(own, parents=True), say)
    except (InputError, OSError) as error:
        reason = str(error)
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    scratch = Path(tempfile.gettempdir()) / f"fugue-state-{user}"
    try:
        scratch.mkdir(mode=0o700, exist_ok=True)
        if hasattr(os, "getuid") and scratch.stat().st_uid != os.getuid():
            raise InputError(f"{scratch}: belongs to somebody else")
        found = output_folder(scratch)
    except (OSError, InputError):
        say(f"{reason}; what is made is not kept for the next time; {VARIABLE} names another folder")
        return Cache(None, say)
    say(f"{reason}; what is made is kept in {found} for now; {VARIABLE} names another folder")
    return Cache(found, say)
