"""OSCQuery: every address with its type, range and value, by HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any

from fugue_state.live.addresses import ROOT, Node, tree
from fugue_state.live.guard import EVERYWHERE
from fugue_state.live.part import OF_LAYERS
from fugue_state.live.protocol import bytes_of
from fugue_state.live.session import Session
from fugue_state.score.paths import KEY, Path

TAGS = {"float": "f", "int": "i", "string": "s", "bytes": "b", "trigger": ""}
ATTRIBUTES = frozenset({"FULL_PATH", "CONTENTS", "TYPE", "ACCESS", "DESCRIPTION", "RANGE", "VALUE"})
HOST_INFO = "HOST_INFO"
MARK = "@@"  # encloses a path in the text, where its value is inserted


class Query:
    """Answers OSCQuery clients; the description of the tree is made once and kept until something changes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: tuple[object, bytes] | None = None
        self._forms: tuple[Node, Set[str], dict[str, list[str]]] | None = None

    def host(self, osc_port: int | None) -> bytes:
        """Return the answer to HOST_INFO: name, OSC port (None: no OSC), and the supported attributes."""
        host = self._session.config.osc_host
        extensions = {"ACCESS": True, "VALUE": True, "RANGE": True, "DESCRIPTION": True, "LISTEN": False}
        heard: dict[str, Any] = {} if osc_port is None else {"OSC_PORT": osc_port, "OSC_TRANSPORT": "UDP"}
        if heard and host not in EVERYWHERE:
            heard["OSC_IP"] = host
        return _json({"NAME": "Fugue State", **heard, "EXTENSIONS": extensions})

    def one(self, address: str, asked: Set[str] = frozenset()) -> bytes | None:
        """Return the node at an address, or one of its attributes: empty if it has none, None for no such address."""
        node = self._top
        for part in address.strip("/").split("/") if address.strip("/") else ():
            found = node.parts.get(part)
            if found is None:
                return None
            node = found
        told = self._below(node) if node.parts else _json(self._leaf(node))
        if not asked:
            return told
        chosen = {key: value for key, value in json.loads(told).items() if key in asked}
        return _json(chosen) if chosen else b""

    def _leaf(self, node: Node) -> dict[str, Any]:
        value = self._session.value(_path(node))
        return _described(node, {} if value is None else {_path(node): int(value) if value is True else value})

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
        if self._forms is None or self._forms[0] is not self._top or self._forms[1] != paths:
            self._forms = self._top, paths, {}
        forms = self._forms[2]
        if node.address not in forms:
            told = _text(_described(node, {path: f"{MARK}{path}{MARK}" for path in paths}))
            forms[node.address] = told.replace(f'"{MARK}', MARK).replace(f'{MARK}"', MARK).split(MARK)
        return forms[node.address]

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


def _described(node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"FULL_PATH": node.address}
    if node.known is not None:
        told |= _control(node.known, values.get(_path(node)))
    if node.parts:
        told["CONTENTS"] = {part: _described(inner, values) for part, inner in node.parts.items()}
    return told


def _path(node: Node) -> str:
    return node.address.removeprefix(ROOT)


def _control(known: Path, value: Any) -> dict[str, Any]:
    tells_nothing = known.kind == "trigger" or not known.recorded or known.pattern == KEY
    access = 1 if known.told else 2 if tells_nothing else 3
    told: dict[str, Any] = {"TYPE": TAGS[known.kind], "ACCESS": access, "DESCRIPTION": known.about}
    if known.kind in {"float", "int"} and not known.told:
        told["RANGE"] = [{"MIN": known.minimum, "MAX": known.maximum}]
    if value is not None and access != 2:
        told["VALUE"] = [value]
    return told


def _text(told: Any) -> str:
    return json.dumps(told, separators=(",", ":"))


def _json(told: dict[str, Any]) -> bytes:
    return _text(told).encode()
