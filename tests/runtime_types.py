"""The run-time type check that --runtime-types puts on every function of the three packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

Checked = TypeVar("Checked", bound=Callable[..., Any])

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a fine float, as mypy holds too


def check(function: Checked) -> Checked:
    """The function with its annotations checked at each call; itself where one cannot be checked while running.

    A Protocol that is not `runtime_checkable` is such an annotation; mypy checks those.
    """
    try:
        return _beartype(function)
    except BeartypeDecorHintException:
        return function
