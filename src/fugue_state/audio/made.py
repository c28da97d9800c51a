"""The record of how a file was made, found by its text wherever a tag editor or another program has moved it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from fugue_state.limits import SOUND_TOLD

MAKER = "fugue-state"
RECORD = re.compile(rb'\{\s*"made_by"\s*:\s*"fugue-state')
# Text ends at the first control character, as between the fields of every file format.
_TEXT = re.compile(rb"[^\x00-\x08\x0b\x0c\x0e-\x1f]*")


def records(path: Path) -> Iterator[bytes]:
    """Yield every text in a file that starts like this project's record; bytes after the record may be included.

    Searches both ends of a file of any kind, up to SOUND_TOLD bytes each: the metadata of a sound, film or picture
    comes before or after its content.
    """
    most = int(SOUND_TOLD.most)
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        for start in (0, max(most, end - most)):
            file.seek(start)
            part = file.read(most)
            for found in RECORD.finditer(part):
                text = _TEXT.match(part, found.start())
                yield text.group() if text else b""
