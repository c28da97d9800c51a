"""The tree of all addresses of a memory, and the matching of OSC 1.0 patterns against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

from fugue_state.errors import InputError, shown
from fugue_state.limits import OSC_MATCHES, OSC_PATTERN, OSC_WILDCARDS
from fugue_state.score.paths import COUNTED, KEYS, PATHS, Path

ROOT = "/fugue"
OF_PARTS = "part"
# Messages of OSC alone: takes and pages have no such controls, and no pattern matches them.
NOTE = Path(
    "/note", "int", KEYS[0], KEYS[-1], None, "A key and a velocity, 0 lets go, as MIDI has them.", recorded=False
)
ERROR = Path("/error", "string", 0, 0, None, "What could not be done.", recorded=False, told=True)
OF_OSC = (NOTE, ERROR)
SPECIAL = frozenset("*?[]{}")
Sizes = tuple[tuple[int, ...], ...]  # for each part the numbers of units of its layers
# Maps possible start positions in a name to possible end positions. Bit i is the position before character i.
Token = Callable[[str, int], int]


@dataclass
class Node:
    """A node of the tree: a control, a container of other nodes, or both."""

    address: str
    known: Path | None = None
    parts: dict[str, Node] = field(default_factory=dict)


@lru_cache(maxsize=8)
def tree(sizes: Sizes) -> Node:
    """Return the tree of all addresses; those of parts are in it only where there are several."""
    top = Node("/")
    for known in (*PATHS, *OF_OSC):
        if known.pattern.startswith(f"/{OF_PARTS}/") and len(sizes) == 1:
            continue
        *above, last = f"{ROOT}{known.pattern}".split("/")[1:]
        nodes = [top]
        for part in above:
            nodes = [inner for node in nodes for inner in _parts(node, part, sizes)]
        for node in nodes:
            for inner in _parts(node, last, sizes):
                inner.known = known
    return top


def _parts(node: Node, part: str, sizes: Sizes) -> list[Node]:
    """Return the child nodes that one part of a path in the table stands for; missing ones are made."""
    layers, last = list(chain.from_iterable(sizes)), node.address.rpartition("/")[2]
    if part == "<k>":  # units of the layer whose number precedes
        names: Iterable[object] = range(1, layers[int(last) - 1] + 1)
    elif part == "<n>":
        names = range(1, len(sizes if last == OF_PARTS else layers) + 1)
    elif part in COUNTED:
        names = COUNTED[part][1]
    else:
        names = [part]
    return [node.parts.setdefault(str(name), Node(f"{node.address.rstrip('/')}/{name}")) for name in names]


def is_pattern(address: str) -> bool:
    """Return whether an address contains wildcards."""
    return not SPECIAL.isdisjoint(address)


def matching(pattern: str, sizes: Sizes) -> list[Node]:
    """Return all controls that a pattern matches, in order; InputError for none, too many or a malformed pattern."""
    if len(pattern) > OSC_PATTERN.most:
        raise InputError(OSC_PATTERN.passed(len(pattern)))
    nodes = [tree(sizes)]
    for part in pattern.split("/")[1:]:
        tokens = _tokens(part) if is_pattern(part) else None
        if tokens is None:
            nodes = [node.parts[part] for node in nodes if part in node.parts]
        else:
            names = {name for node in nodes for name in node.parts}
            fitting = {name for name in names if _fits(tokens, name)}
            nodes = [inner for node in nodes for name, inner in node.parts.items() if name in fitting]
    found = [node for node in nodes if node.known is not None and node.known not in OF_OSC]
    if not found:
        raise InputError(f"no address fits {shown(pattern)}; all begin with {ROOT}/")
    if len(found) > OSC_MATCHES.most:
        raise InputError(f"{shown(pattern)}: {OSC_MATCHES.passed(len(found))}")
    return found


def fits(pattern: str, name: str) -> bool:
    """Return whether a part of a pattern matches a name; InputError for an unclosed bracket."""
    return _fits(_tokens(pattern), name)


def _fits(tokens: Sequence[Token], name: str) -> bool:
    """Follow all alternatives of a pattern at once, so the time is at most the product of both lengths."""
    places = 1
    for token in tokens:
        if not (places := token(name, places)):
            return False
    return bool(places >> len(name) & 1)


def _tokens(pattern: str) -> list[Token]:
    wildcards = sum(pattern.count(character) for character in "*?[{")
    if wildcards > OSC_WILDCARDS.most:
        raise InputError(OSC_WILDCARDS.passed(wildcards))
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        closing = {"[": "]", "{": "}"}.get(character)
        end = pattern.find(closing, at) if closing else at
        if end < 0 or character in "]}":
            raise InputError(f"the brackets of {shown(pattern)} do not fit each other")
        inside = pattern[at + 1 : end]
        if character == "[":
            tokens.append(_one(_class(inside)))
        elif character == "{":
            tokens.append(_either(frozenset(inside.split(","))))
        elif character == "*":
            tokens.append(_any)
        else:
            tokens.append(_one((lambda _: True) if character == "?" else character.__eq__))
        at = end + 1
    return tokens


def _any(name: str, places: int) -> int:
    """Allow any position from the first one on."""
    return (2 << len(name)) - (places & -places)


def _one(takes: Callable[[str], bool]) -> Token:
    """Match one character."""

    def token(name: str, places: int) -> int:
        return sum(2 << i for i, character in enumerate(name) if places >> i & 1 and takes(character))

    return token


def _either(words: frozenset[str]) -> Token:
    """Match one of some words."""

    def token(name: str, places: int) -> int:
        ends = 0
        for i in range(len(name) + 1):
            if places >> i & 1:
                for word in words:
                    ends |= (1 << i + len(word)) * name.startswith(word, i)
        return ends

    return token


def _class(inside: str) -> Callable[[str], bool]:
    """Return whether brackets match a character: a-c is a range, a leading ! negates."""
    others = inside.startswith("!")
    listed = inside[1:] if others else inside
    taken: set[str] = set()
    at = 0
    while at < len(listed):
        if listed[at + 1 : at + 2] == "-" and at + 2 < len(listed):
            taken |= {chr(code) for code in range(ord(listed[at]), min(ord(listed[at + 2]), 0x7F) + 1)}
            at += 3
        else:
            taken.add(listed[at])
            at += 1
    return lambda character: (character in taken) != others
