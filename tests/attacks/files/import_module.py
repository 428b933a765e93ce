"""Imports a module that nothing has needed so far, which reads a file; success is the module."""

import importlib
import sys

from tests.attacks.toolkit import Plants


def attack(plants: Plants) -> str | None:
    unused = next(
        name for name in ("this", "antigravity", "chunk", "sndhdr", "nntplib", "cgi") if name not in sys.modules
    )
    try:
        return f"imported {importlib.import_module(unused).__file__}"
    except ImportError as error:
        raise OSError(str(error)) from error
