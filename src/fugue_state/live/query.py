"""OSCQuery: every address with its type, range and value, by HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, get_args

from fugue_state.config import WholeOrderName
from fugue_state.errors import counted
from fugue_state.live.addresses import NOTE, OF_OSC, ROOT, Node, tree
from fugue_state.live.guard import EVERYWHERE
from fugue_state.live.part import OF_LAYERS
from fugue_state.live.protocol import bytes_of
from fugue_state.live.session import Session
from fugue_state.score.paths import KEY, KEY_CHORD, Path

TAGS = {"float": "f", "int": "i", "string": "s", "bytes": "b", "trigger": "I"}
SEVERAL = {
    NOTE.pattern: "ii",
    "/state/remembered": "if",
    "/event/forgotten": "ii",
}  # types of messages of several values
SWITCHES = [{"TYPE": "T"}, {"TYPE": "F"}]  # what a switch takes beside 0 and 1
REQUIRED = frozenset({"FULL_PATH", "CONTENTS", "TYPE"})
OPTIONAL = frozenset({"ACCESS", "VALUE", "RANGE", "DESCRIPTION", "OVERLOADS"})
ATTRIBUTES = REQUIRED | OPTIONAL
# What the proposal has and this server has not: asking for it is no mistake.
ELSEWHERE = frozenset({"TAGS", "EXTENDED_TYPE", "UNIT", "CRITICAL", "CLIPMODE", "HTML"})
ATTRIBUTE = re.compile(r"[A-Z][A-Z_]*")  # all else in a query is not for OSCQuery
HOST_INFO = "HOST_INFO"
ABOUT = {"/": "All addresses.", ROOT: "Fugue State, an instrument for machine forgetting."}
MARK = "@@"  # encloses a path in the text, where its value is inserted


@dataclass(frozen=True)
class Told:
    """What is told of a tree: lines about containers by their address, and the choices of controls by their pattern."""

    about: Mapping[str, str]
    choices: Mapping[str, Sequence[str]]


def asked_of(keys: Iterable[str]) -> tuple[Set[str], str]:
    """Return the attributes that a query asks for, and the first that OSCQuery does not know, or an empty text."""
    asked = {key for key in keys if ATTRIBUTE.fullmatch(key)}
    return asked, next(iter(sorted(asked - ATTRIBUTES - ELSEWHERE - {HOST_INFO})), "")


class Query:
    """Answers OSCQuery clients; the description of the tree is made once and kept until something changes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: tuple[object, bytes] | None = None
        self._forms: tuple[Node, Set[str], Told, dict[str, list[str]]] | None = None

    def host(self, osc_port: int | None) -> bytes:
        """Return the answer to HOST_INFO: name, OSC port (None: no OSC), and the supported attributes."""
        host = self._session.config.osc_host
        heard: dict[str, Any] = {} if osc_port is None else {"OSC_PORT": osc_port, "OSC_TRANSPORT": "UDP"}
        if heard and host not in EVERYWHERE:
            heard["OSC_IP"] = host
        return _json({"NAME": "Fugue State", **heard, "EXTENSIONS": dict.fromkeys(sorted(OPTIONAL), True)})

    def one(self, address: str, asked: Set[str] = frozenset()) -> bytes | None:
        """Return the node at an address, or some of its attributes: empty if it lacks them, None for no such address.

        A value that can be asked for but is not known yet is an empty object.
        """
        node = self._top
        for part in address.strip("/").split("/") if address.strip("/") else ():
            found = node.parts.get(part)
            if found is None:
                return None
            node = found
        told = self._below(node) if node.parts else _json(self._leaf(node))
        if not asked:
            return told
        found = json.loads(told)
        chosen = {key: value for key, value in found.items() if key in asked}
        return _json(chosen) if chosen or ("VALUE" in asked and found["ACCESS"] & 1) else b""

    def _leaf(self, node: Node) -> dict[str, Any]:
        value = None if node.known in OF_OSC else self._session.value(_path(node))
        values = {} if value is None else {_path(node): int(value) if isinstance(value, bool) else value}
        return _described(node, values, self._told())

    def _below(self, node: Node) -> bytes:
        """Return the description of an address and all below it; the unchanging part is cached."""
        session = self._session
        state = (session.people.rev, id(session.part), session.state, node.address)
        if self._made is None or self._made[0] != state:
            values = self._values()
            pieces = self._form(node, frozenset(values))
            filled = [_text(values[piece]) if i % 2 else piece for i, piece in enumerate(pieces)]
            self._made = state, "".join(filled).encode()
        return self._made[1]

    def _form(self, node: Node, paths: Set[str]) -> list[str]:
        """Return the description below an address in pieces, and the paths whose values go between them."""
        told = self._told()
        if self._forms is None or self._forms[0] is not self._top or self._forms[1:3] != (paths, told):
            self._forms = self._top, paths, told, {}
        forms = self._forms[3]
        if node.address not in forms:
            text = _text(_described(node, {path: f"{MARK}{path}{MARK}" for path in paths}, told))
            forms[node.address] = text.replace(f'"{MARK}', MARK).replace(f'{MARK}"', MARK).split(MARK)
        return forms[node.address]

    def _told(self) -> Told:
        """Return what is told of the addresses beside their values."""
        part = self._session.part
        layers = [f"Layer {name}, {counted(units, 'unit')}." for name, units in part.named.items()]
        about = {**ABOUT, **{f"{ROOT}/part/{n}": f"Part {one.name}." for n, one in enumerate(part.parts, 1)}}
        about |= {f"{ROOT}/{kind}/{n}": line for kind in ("layer", "unit") for n, line in enumerate(layers, 1)}
        chords = ("", *part.about_memory()["chords"])
        orders = ("", *get_args(WholeOrderName))
        choices = {"/chord": chords, KEY_CHORD: chords, "/layer/<n>/order": orders}
        return Told(about, choices | {"/memory": self._session.house.memories})

    @property
    def _top(self) -> Node:
        return tree(self._session.part.sizes)

    def _values(self) -> dict[str, Any]:
        """Return the values of all controls."""
        session = self._session
        values = dict(session.values)
        units = session.part.units
        for n, inside in enumerate(session.part.layers(), 1):
            for name, of_layer in OF_LAYERS.items():
                values[name.replace("<n>", str(n))] = bytes_of(getattr(units, of_layer)[inside])
            strengths, frozen = units.brushed[inside].tolist(), units.frozen[inside].astype(int).tolist()
            for k, (strength, freeze) in enumerate(zip(strengths, frozen, strict=True), 1):
                values[f"/unit/{n}/{k}/strength"] = strength
                values[f"/unit/{n}/{k}/freeze"] = freeze
        return values


def _described(node: Node, values: Mapping[str, Any], about: Told) -> dict[str, Any]:
    told: dict[str, Any] = {"FULL_PATH": node.address, "ACCESS": 0}
    if node.address in about.about:
        told["DESCRIPTION"] = about.about[node.address]
    if node.known is not None:
        told |= _control(node.known, values.get(_path(node)), about.choices)
    if node.parts:
        told["CONTENTS"] = {part: _described(inner, values, about) for part, inner in node.parts.items()}
    return told


def _path(node: Node) -> str:
    return node.address.removeprefix(ROOT)


def _control(known: Path, value: Any, choices: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    tells_nothing = known.kind == "trigger" or not known.recorded or known.pattern == KEY
    access = 1 if known.told else 2 if tells_nothing else 3
    tags = SEVERAL.get(known.pattern, TAGS[known.kind])
    told: dict[str, Any] = {"TYPE": tags, "ACCESS": access, "DESCRIPTION": known.about}
    if vals := known.choices or choices.get(known.pattern):
        told["RANGE"] = [{"VALS": list(vals)}]
    elif known.kind in {"float", "int"} and not known.told:
        told["RANGE"] = [{"MIN": known.minimum, "MAX": known.maximum}] * len(tags)
    if (known.kind, known.minimum, known.maximum) == ("int", 0, 1):
        told["OVERLOADS"] = SWITCHES
    if value is not None and access != 2:
        told["VALUE"] = [None if known.kind == "bytes" else value]  # the proposal tells no bytes
    return told


def _text(told: Any) -> str:
    return json.dumps(told, separators=(",", ":"))


def _json(told: dict[str, Any]) -> bytes:
    return _text(told).encode()
