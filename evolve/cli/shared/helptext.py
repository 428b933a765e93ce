"""What ``--help`` prints of a command: its docstring, with the lines of its examples kept as they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

#: Tells the help's layout to leave the paragraph that follows alone.
_AS_IT_IS = "\b\n"


def help_of(command: Callable[..., Any]) -> str:
    """Returns the help of a command."""
    return kept(inspect.getdoc(command) or "")


def kept(text: str) -> str:
    """Returns a text in which paragraphs that begin with "Example" or "A first tour" keep their lines."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(_AS_IT_IS + p if p.startswith(("Example", "A first tour")) else p for p in paragraphs)
