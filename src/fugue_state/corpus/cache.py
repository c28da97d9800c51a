"""Where what can be made again is kept."""

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
    """A folder that can be written to, or none; `say` is told what is odd about what is in it."""

    folder: Path | None
    say: Callable[[str], None] = lambda _: None

    def path(self, kind: str, name: str) -> Path | None:
        """Return where something of a kind is kept, in a folder that is there; None if nothing can be kept."""
        if self.folder is None:
            return None
        try:
            return output_folder(self.folder / kind) / name
        except InputError as error:
            self.say(f"{error}; it is made anew each time")
            return None


def cache_folder() -> Path:
    """Return the folder for what can be made again; FUGUE_CACHE names another one."""
    return Path(os.environ.get(VARIABLE) or platformdirs.user_cache_dir("fugue-state"))


def find_cache(say: Callable[[str], None] = lambda _: None) -> Cache:
    """Return the cache folder; where it cannot be written to one for scratch, else none: either is said."""
    own = cache_folder()
    try:
        return Cache(output_folder(own), say)
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
