"""All that can be named of a memory, as a tree, and the addresses that a pattern of OSC 1.0 stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from fugue_state.errors import InputError, shown
from fugue_state.limits import OSC_MATCHES, OSC_PATTERN, OSC_WILDCARDS
from fugue_state.score.paths import BANKS, PATHS, Path

ROOT = "/fugue"
SPECIAL = frozenset("*?[]{}")
# Of which starts within a name it makes which ends, both as bits: bit i stands before the i-th character.
Token = Callable[[str, int], int]


@dataclass
class Node:
    """A part of addresses: a control, or what has parts of its own."""

    address: str
    known: Path | None = None
    parts: dict[str, Node] = field(default_factory=dict)


@lru_cache(maxsize=8)
def tree(sizes: tuple[int, ...]) -> Node:
    """Return the tree of all addresses, for layers of so many units."""
    top = Node("/")
    for known in PATHS:
        *above, last = f"{ROOT}{known.pattern}".split("/")[1:]
        nodes = [top]
        for part in above:
            nodes = [inner for node in nodes for inner in _parts(node, part, sizes)]
        for node in nodes:
            for inner in _parts(node, last, sizes):
                inner.known = known
    return top


def _parts(node: Node, part: str, sizes: Sequence[int]) -> list[Node]:
    """Return what a part of a pattern of the table stands for below a node, made if it is not there yet."""
    if part == "<k>":  # of a layer, whose number comes before
        names: Iterable[object] = range(1, sizes[int(node.address.rpartition("/")[2]) - 1] + 1)
    elif part in {"<n>", "<b>"}:
        names = range(1, (BANKS if part == "<b>" else len(sizes)) + 1)
    else:
        names = [part]
    return [node.parts.setdefault(str(name), Node(f"{node.address.rstrip('/')}/{name}")) for name in names]


def is_pattern(address: str) -> bool:
    """Say whether an address may stand for several."""
    return not SPECIAL.isdisjoint(address)


def matching(pattern: str, sizes: tuple[int, ...]) -> list[Node]:
    """Return all controls that a pattern stands for, in their order; InputError for none, too many, or no pattern."""
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
    found = [node for node in nodes if node.known is not None]
    if not found:
        raise InputError(f"no address fits {shown(pattern)}; all begin with {ROOT}/")
    if len(found) > OSC_MATCHES.most:
        raise InputError(f"{shown(pattern)}: {OSC_MATCHES.passed(len(found))}")
    return found


def fits(pattern: str, name: str) -> bool:
    """Say whether a part of a pattern stands for a name; InputError for a bracket that does not close."""
    return _fits(_tokens(pattern), name)


def _fits(tokens: Sequence[Token], name: str) -> bool:
    """Follow all ways through a pattern at once: no pattern takes longer than its length times the name's."""
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
    """Go from the first place to all after it."""
    return (2 << len(name)) - (places & -places)


def _one(takes: Callable[[str], bool]) -> Token:
    """Take one character."""

    def token(name: str, places: int) -> int:
        return sum(2 << i for i, character in enumerate(name) if places >> i & 1 and takes(character))

    return token


def _either(words: frozenset[str]) -> Token:
    """Take one of some words."""

    def token(name: str, places: int) -> int:
        ends = 0
        for i in range(len(name) + 1):
            if places >> i & 1:
                for word in words:
                    ends |= (1 << i + len(word)) * name.startswith(word, i)
        return ends

    return token


def _class(inside: str) -> Callable[[str], bool]:
    """Return whether a character is one of those in brackets: a-c is a range, ! at the start means any other."""
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
