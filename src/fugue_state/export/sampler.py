"""A memory as a pack for samplers: sounds, an SFZ file, a preset for DecentSampler, and what to know about them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fugue_state.audio import io
from fugue_state.config import SamplerConfig
from fugue_state.errors import InputError, counted
from fugue_state.export.sampler_keys import keys_of
from fugue_state.export.sampler_presets import FOLDER, Pack, dspreset, plain, sfz
from fugue_state.export.sampler_readme import README, readme
from fugue_state.export.sampler_sounds import Sounds
from fugue_state.files import replaceable_folder, replacing_folder
from fugue_state.limits import PACK_SOUNDS
from fugue_state.output.provenance import MADE_BY, made_with, provenance, write_json
from fugue_state.piece.piece import Piece
from fugue_state.progress import Track, untracked
from fugue_state.score.times import told

RECORD = "pack.json"
LISTED = "files"
SUBTYPE = "PCM_24"
MEGABYTE = 1e6


@dataclass(frozen=True)
class Packed:
    """What was written: how many sounds and keys, seconds of sound in all, megabytes on the disk."""

    sounds: int
    keys: int
    seconds: float
    megabytes: float


def check_pack(folder: Path, *, force: bool) -> Path:
    """Return where a pack goes; InputError if it cannot be written, or would replace something that is no pack."""
    return replaceable_folder(folder, force=force, listed=_listed)


def check_size(labels: int, config: SamplerConfig) -> None:
    """Raise InputError for more sounds than a pack holds."""
    count = labels * config.latents * config.stages
    if count > PACK_SOUNDS.most:
        raise InputError(PACK_SOUNDS.passed(count))


def write_pack(
    piece: Piece,
    config: SamplerConfig,
    folder: Path,
    *,
    command: str,
    force: bool = False,
    track: Track = untracked,
    say: Callable[[str], None] = lambda _: None,
) -> Packed:
    """Write a pack of the piece's memory into a folder, all or nothing; the piece is that of `pack_score`.

    `command` is what its README says to make it again. Raises InputError for a folder that is in the way, too many
    sounds or an inverter that cannot be used; OutputError if the disk is full.
    """
    folder = check_pack(folder, force=force)
    sounds, memory = Sounds(piece, config), piece.memory
    check_size(len(sounds.names), config)
    pack = Pack(plain(memory.header.name), sounds.names, keys_of(sounds.names), config.stages, config.latents)
    seconds = pack.count * sounds.length / sounds.rate
    size = pack.count * sounds.length * io.BYTES[SUBTYPE] / MEGABYTE
    say(f"{counted(pack.count, 'sound')}, {told(round(seconds))} in all, about {size:.0f} MB")
    record = provenance(piece, folder) | {"sampler": config.model_dump(mode="json")}
    with replacing_folder(folder) as made:
        (made / FOLDER).mkdir()
        for path, sound, about in track(_sounds(pack, sounds, made_with(memory)), pack.count, "sampling"):
            io.write(made / FOLDER / path, sound, sounds.rate, subtype=SUBTYPE, comment=json.dumps(about))
        texts = {
            f"{pack.name}.sfz": sfz(pack, f"{pack.name}, made by {MADE_BY}"),
            f"{pack.name}.dspreset": dspreset(pack, f"{pack.name}, made by {MADE_BY}"),
            README: readme(pack, piece, sounds, command),
        }
        for name, text in texts.items():
            (made / name).write_text(text, encoding="utf-8", newline="\n")
        files = sorted([*(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()), RECORD])
        write_json(made / RECORD, record | {LISTED: files})
    with contextlib.suppress(OSError):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MEGABYTE
    return Packed(pack.count, pack.keys.count, round(seconds, 1), round(size, 1))


def _sounds(pack: Pack, sounds: Sounds, made: Mapping[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield each sound with its file's name, and what the file says of itself."""
    for family in sounds:
        for stage, sound in enumerate(family.stages):
            gone = round(1.0 - float(sounds.strengths[stage].mean()), 4)
            about = {"label": pack.labels[family.label], "latent": family.latent + 1, "stage": stage, "forgotten": gone}
            yield pack.file(family.label, stage, family.latent), sound, dict(made) | {"sampler": about}


def _listed(folder: Path) -> list[str]:
    """Return what the pack in a folder lists; nothing if there is none."""
    try:
        files = json.loads((folder / RECORD).read_text(encoding="utf-8"))[LISTED]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [name for name in files if isinstance(name, str)] if isinstance(files, list) else []
