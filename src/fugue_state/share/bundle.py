"""Joins the modules of a page into one script: each becomes a function, and what it exports is what that returns.

Only the forms that the modules use are understood; all others are refused, with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fugue_state.errors import InputError

NAME = r"[A-Za-z_$][\w$]*"
COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.DOTALL | re.MULTILINE)
STATEMENT = re.compile(r"^(?:import|export)\b", re.MULTILINE)
IMPORT = re.compile(rf'import \{{\s*((?:{NAME}(?:,\s*{NAME})*),?)\s*\}} from "\./([\w.-]+)";')
EXPORT = re.compile(rf"export (?=(?:(?:async )?function\*? |class |const )({NAME})\b)")
UNKNOWN = re.compile(r"\bimport\s*\(|\bimport\.meta\b")
CALLED = re.compile(r"\W")
UNDERSTOOD = (
    'a module may `import { a, b } from "./x.js";`, at the beginning of a line, and `export` a function, class or const'
)


@dataclass(frozen=True)
class Module:
    """A file, its text as the body of a function, what it exports, and what it imports: names, by file and line."""

    path: Path
    body: str
    exports: tuple[str, ...]
    imports: tuple[tuple[str, tuple[str, ...], int], ...]


@dataclass(frozen=True)
class _Sources:
    """Where modules come from: folders, the first that has a file, and texts made elsewhere."""

    folders: Sequence[Path]
    made: Mapping[str, str]

    def find(self, name: str, line: str) -> tuple[Path, str]:
        """Return a module's path and text."""
        if name in self.made:
            return Path(name), self.made[name]
        for folder in self.folders:
            if (folder / name).is_file():
                return folder / name, (folder / name).read_text(encoding="utf-8")
        raise InputError(f"{line or 'entry'}: {name} is in none of {', '.join(map(str, self.folders))}")


def bundle(entry: str, folders: Sequence[Path], made: Mapping[str, str] | None = None) -> str:
    """Return a script that does what the module `entry` does, with all that it imports.

    Each file is taken from the first of these folders that has it, or from `made`: texts by the name of a file.
    Raises InputError for a file that none has, a form that is not understood, a name that is imported and not exported,
    and modules that import each other.
    """
    modules = list(_sorted(entry, _Sources(folders, made or {}), {}, ()))
    names = {module.path.name: f"m{i}_{CALLED.sub('_', module.path.stem)}" for i, module in enumerate(modules)}
    exports = {module.path.name: module.exports for module in modules}
    for module in modules:
        _check(module, exports)
    parts = "".join(f"const {names[one.path.name]} = {_function(one, names)};\n" for one in modules)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _function(module: Module, names: dict[str, str]) -> str:
    """Return a module as a function that is called at once and returns what it exports."""
    taken = "".join(f"const {{ {', '.join(wanted)} }} = {names[file]};\n" for file, wanted, _ in module.imports)
    return f"(() => {{\n{taken}{module.body}\nreturn {{ {', '.join(module.exports)} }};\n}})()"


def _sorted(
    name: str, sources: _Sources, done: dict[str, Module], above: tuple[str, ...], line: str = ""
) -> Iterator[Module]:
    """Yield a module after all that it imports, each once."""
    if name in above:
        raise InputError(f"{line}: modules import each other in a circle: {' -> '.join([*above, name])}")
    if name in done:
        return
    module = _read(*sources.find(name, line))
    for file, _, number in module.imports:
        yield from _sorted(file, sources, done, (*above, name), f"{module.path}:{number}")
    done[name] = module
    yield module


def _read(path: Path, text: str) -> Module:
    code = COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)  # every sign where it was
    if found := UNKNOWN.search(code):
        raise _refused(path, text, found.start())
    imports, exports, cuts = [], [], []
    for start in (found.start() for found in STATEMENT.finditer(code)):
        if taken := IMPORT.match(code, start):
            names = tuple(name.strip() for name in taken[1].split(",") if name.strip())
            imports.append((taken[2], names, _line(text, start)))
            cuts.append(taken.span())
        elif given := EXPORT.match(code, start):
            exports.append(given[1])
            cuts.append(given.span())
        else:
            raise _refused(path, text, start)
    return Module(path, _without(text, cuts), tuple(exports), tuple(imports))


def _without(text: str, cuts: Iterable[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in cuts:
        parts.append(text[at:start])
        at = end
    return "".join([*parts, text[at:]]).strip()


def _check(module: Module, exports: dict[str, tuple[str, ...]]) -> None:
    for file, wanted, line in module.imports:
        for name in wanted:
            if name not in exports[file]:
                raise InputError(f"{module.path}:{line}: {file} does not export {name}")


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _refused(path: Path, text: str, place: int) -> InputError:
    line = _line(text, place)
    return InputError(f"{path}:{line}: {text.splitlines()[line - 1].strip()!r} is not understood; {UNDERSTOOD}")
