"""What is installed only by whoever needs it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fugue_state.errors import InputError


def needed(module: str, what: str) -> Any:
    """Return a module of the extra `learn`; InputError that says what to install where it is not there."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise InputError(f'{what} needs {module}; install it with: pip install "fugue-state[learn]"') from None
