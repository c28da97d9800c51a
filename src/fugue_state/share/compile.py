"""Compiles the page's loops to WebAssembly: `python -m fugue_state.share.compile` writes engine/kernels.wasm.

It needs the package ziglang; the file it writes is part of the repository.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from fugue_state.errors import FugueError, InputError, NotInstalledError
from fugue_state.files import replacing

ENGINE = Path(__file__).parent / "engine"
SOURCE, KERNELS = ENGINE / "kernels.c", ENGINE / "kernels.wasm"
COMPILER = "ziglang"
FLAGS = (
    "-target", "wasm32-freestanding", "-O3", "-msimd128", "-nostdlib", "-s",
    "-Wl,--no-entry", "-Wl,-z,stack-size=65536", "-Wl,--export=__heap_base",
)  # fmt: skip


def compile_kernels(path: Path = KERNELS) -> None:
    """Write the compiled loops.

    Raises NotInstalledError without the compiler, InputError if it refuses the source.
    """
    if importlib.util.find_spec(COMPILER) is None:
        raise NotInstalledError(f'compiling needs the package {COMPILER}, which is not installed: pip install ".[dev]"')
    with replacing(path) as beside:
        command = [sys.executable, "-m", COMPILER, "cc", *FLAGS, SOURCE.name, "-o", str(beside.resolve())]
        done = subprocess.run(command, cwd=ENGINE, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"{SOURCE.name}: {done.stderr.strip()}")
        beside.chmod(0o644)  # a file to read, whatever the compiler thinks


def main() -> None:
    """Compile; where that is not possible, say why and exit."""
    try:
        compile_kernels()
    except FugueError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
