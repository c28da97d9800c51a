"""What a file of ours says of how it was made: found by its shape, wherever a tag editor or another program put it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from fugue_state.limits import SOUND_TOLD

MAKER = "fugue-state"
RECORD = re.compile(rb'\{\s*"made_by"\s*:\s*"fugue-state')
# Where text ends: at what no text holds, as between the fields of every kind of file.
_TEXT = re.compile(rb"[^\x00-\x08\x0b\x0c\x0e-\x1f]*")


def records(path: Path) -> Iterator[bytes]:
    """Yield every text in a file that begins as ours do; what follows it in the file may follow it here.

    It is looked for at both ends of a file of any kind, as far as SOUND_TOLD goes: what is said beside a sound, a film
    or a picture comes before it or after.
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
