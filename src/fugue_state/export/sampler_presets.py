"""A sampler's pack as its hosts read it: an SFZ file and a preset for DecentSampler."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from fugue_state.config import RELEASE_S
from fugue_state.export.sampler_keys import Keys, Zone
from fugue_state.score.pitches import note_name

WHEEL, WHEEL_MOST = 1, 127
FOLDER = "Samples"
PLAIN = re.compile(r"[^A-Za-z0-9-]+")
# Of DecentSampler: the first version that has all that is used here, and the size that it advises.
VERSION, WIDTH, HEIGHT = "1.1.7", "812", "375"


@dataclass(frozen=True)
class Pack:
    """What a pack holds: labels on keys, and of each so many latents in so many stages."""

    name: str
    labels: tuple[str, ...]
    keys: Keys
    stages: int
    latents: int

    @property
    def count(self) -> int:
        """Number of its sounds."""
        return len(self.labels) * self.stages * self.latents

    def file(self, label: int, stage: int, latent: int) -> str:
        """Return the name of a sound's file: all that sort as they are here, and mean the same on every system."""
        number = str(label + 1).zfill(max(2, len(str(len(self.labels)))))
        spoken = plain(self.labels[label].replace("#", "s"))
        latent_wide = len(str(self.latents))
        return f"{self.name}_{number}_{spoken}_s{stage:02d}_l{str(latent + 1).zfill(latent_wide)}.wav"

    @property
    def places(self) -> tuple[int, ...]:
        """Where on the wheel each stage sounds alone."""
        return tuple(round(WHEEL_MOST * stage / (self.stages - 1)) for stage in range(self.stages))

    def groups(self) -> Iterator[tuple[int, int, list[Zone]]]:
        """Yield the kinds of chords and the stages, each with the zones that belong together."""
        for kind in range(max(1, len(self.keys.kinds))):
            for stage in range(self.stages):
                yield kind, stage, [zone for zone in self.keys.zones if zone.kind == kind]


def plain(name: str) -> str:
    """Return a name of letters, digits and hyphens only."""
    return PLAIN.sub("-", name).strip("-") or "x"


def sfz(pack: Pack, about: str) -> str:
    """Return the SFZ file; `about` is its first line."""
    lines = [f"// {about}", "", "<control>", f"label_cc{WHEEL}=Forgetting"]
    lines += [f"label_key{pack.keys.switch(kind)}={spoken}" for kind, spoken in enumerate(pack.keys.kinds)]
    lines += ["", "<global>", "loop_mode=no_loop", f"ampeg_release={RELEASE_S:g}", "amp_veltrack=100"]
    lines += [f"seq_length={pack.latents}", "xf_cccurve=gain"]
    if pack.keys.kinds:
        first, last = pack.keys.switch(0), pack.keys.switch(len(pack.keys.kinds) - 1)
        lines += [f"sw_lokey={first} sw_hikey={last} sw_default={first}"]
    for kind, stage, zones in pack.groups():
        lines += ["", "<group>", *_wheel(pack.places, stage)]
        if pack.keys.kinds:
            lines.append(f"sw_last={pack.keys.switch(kind)} sw_label={pack.keys.kinds[kind]}")
        for zone in zones:
            for latent in range(pack.latents):
                sample = pack.file(zone.label, stage, latent)
                where = f"lokey={zone.low} hikey={zone.high} pitch_keycenter={zone.centre}"
                lines.append(f"<region> sample={FOLDER}/{sample} {where} seq_position={latent + 1}")
    return "\n".join(lines) + "\n"


def _wheel(places: tuple[int, ...], stage: int) -> Iterator[str]:
    """Yield where on the wheel a stage is faded in and out."""
    if stage > 0:
        yield f"xfin_locc{WHEEL}={places[stage - 1]} xfin_hicc{WHEEL}={places[stage]}"
    if stage < len(places) - 1:
        yield f"xfout_locc{WHEEL}={places[stage]} xfout_hicc{WHEEL}={places[stage + 1]}"


def dspreset(pack: Pack, about: str) -> str:
    """Return the preset for DecentSampler; `about` is said in a comment."""
    root = ET.Element("DecentSampler", minVersion=VERSION)
    root.append(ET.Comment(f" {about.replace('--', '- -')} "))
    _ui(root, pack)
    groups = _add(
        root, "groups", attack="0.0", release=f"{RELEASE_S:g}", ampVelTrack="1.0", loopEnabled="false",
        seqMode="round_robin" if pack.latents > 1 else "always", seqLength=pack.latents,
    )  # fmt: skip
    for kind, stage, zones in pack.groups():
        group = _add(
            groups, "group", name=_title(pack, kind, stage), enabled="true" if kind == 0 else "false",
            volume="1.0" if stage == 0 else "0.0", ampVelTrack="1.0",
        )  # fmt: skip
        for zone in zones:
            for latent in range(pack.latents):
                _add(
                    group, "sample", path=f"{FOLDER}/{pack.file(zone.label, stage, latent)}", rootNote=zone.centre,
                    loNote=zone.low, hiNote=zone.high, seqPosition=latent + 1,
                )  # fmt: skip
    midi = _add(root, "midi")
    _bind(
        _add(midi, "cc", number=WHEEL), "control", "ui", 0, "VALUE",
        translation="linear", translationOutputMin="0", translationOutputMax="1",
    )  # fmt: skip
    for kind in range(len(pack.keys.kinds)):
        key = _add(midi, "note", note=pack.keys.switch(kind))
        _bind(key, "control", "ui", 1, "VALUE", translation="fixed_value", translationValue=kind + 1)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _title(pack: Pack, kind: int, stage: int) -> str:
    return " ".join([*(pack.keys.kinds[kind : kind + 1]), f"stage {stage}"])


def _ui(root: ET.Element, pack: Pack) -> None:
    """Add a knob that the wheel turns, and a menu of the kinds of chords."""
    tab = _add(_add(root, "ui", width=WIDTH, height=HEIGHT, bgColor="FF16161A"), "tab", name="main")
    knob = _add(
        tab, "labeled-knob", x=60, y=100, width=120, height=140, label="Forgetting", parameterName="Forgetting",
        type="float", minValue="0", maxValue="1", value="0", textColor="FFFFFFFF",
    )  # fmt: skip
    for number, (_, stage, _) in enumerate(pack.groups()):
        table = ";".join(f"{place:g},{gain}" for place, gain in _table(pack.places, stage).items())
        _bind(knob, "amp", "group", number, "AMP_VOLUME", translation="table", translationTable=table)
    if pack.keys.kinds:
        menu = _add(tab, "menu", x=260, y=150, width=200, height=30, value=1, parameterName="Chords")
        for kind, spoken in enumerate(pack.keys.kinds):
            option = _add(menu, "option", name=f"{spoken} ({note_name(pack.keys.switch(kind))})")
            for number, (own, _, _) in enumerate(pack.groups()):
                on = "true" if own == kind else "false"
                _bind(
                    option, "general", "group", number, "ENABLED", translation="fixed_value", translationValue=on
                )  # fmt: skip


def _table(places: tuple[int, ...], stage: int) -> Mapping[float, int]:
    """Return the gain of a stage at places of the knob, 0 to 1; between them it is straight."""
    return {round(place / WHEEL_MOST, 6): int(other == stage) for other, place in enumerate(places)}


def _add(parent: ET.Element, tag: str, **values: object) -> ET.Element:
    return ET.SubElement(parent, tag, {key: str(value) for key, value in values.items()})


def _bind(parent: ET.Element, kind: str, level: str, position: int, parameter: str, **how: object) -> None:
    """Bind what a control or a message says to a part of the instrument."""
    _add(parent, "binding", type=kind, level=level, position=position, parameter=parameter, **how)
