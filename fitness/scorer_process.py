"""The zygote of scorers: it imports a user's function; its children apply it. Run as ``python -m``."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fitness import wire
from fitness.verdict import WrongOutput
from fitness.zygote_service import Role, import_named, serve


def prepare(start: wire.Message) -> Role:
    """Returns the role of scorers; the user's function is imported here."""
    function = import_named(start.fields["function"])
    names = tuple(start.fields["names"])

    def answer(message: wire.Message, given: mmap.mmap, taken: mmap.mmap) -> wire.Message:
        return _score(message.fields, function, names, given, taken)

    return Role(answer)


def _score(
    fields: Mapping[str, Any], function: Callable[..., Any], names: tuple[str, ...], given: mmap.mmap, taken: mmap.mmap
) -> wire.Message:
    first, second = fields["offsets"]
    classes, rows = fields["shape"]
    outputs = np.frombuffer(given, dtype="<f4", count=classes * rows, offset=first).reshape(classes, rows)
    targets = np.frombuffer(given, dtype="<i8", count=rows, offset=second)
    found = function(outputs, targets)
    if not isinstance(found, dict) or sorted(map(str, found)) != sorted(names):
        raise WrongOutput(f"the scoring function must return a dict with exactly {', '.join(names)}")
    numbers = np.array([float(found[name]) for name in names], dtype="<f8")
    np.frombuffer(taken, dtype="<f8", count=len(names))[:] = numbers
    return wire.Message("scores", {"count": len(names)})


if __name__ == "__main__":
    serve(prepare)
