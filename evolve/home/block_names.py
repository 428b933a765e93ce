"""What people write to name a block: a production name, a block id or its beginning, with ``@tier`` behind it.

Nouns: *address*.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from population.errors import InputError, NotFound

if TYPE_CHECKING:
    from evolve.home.home import Home

#: What may follow the ``@``: a tier, or the choice of one by the exit gates.
CHOICES = ("lite", "pro", "ultimate", "auto")
_BLOCK_PREFIX = re.compile(r"b[a-z2-7]{7,}")


def split_target(target: str, tier: str | None = None) -> tuple[str, str]:
    """Returns the (name or block, tier) of ``NAME@tier`` and a tier option; "ultimate" where neither says one.

    >>> split_target("digits@lite"), split_target("digits", "auto"), split_target("digits")
    (('digits', 'lite'), ('digits', 'auto'), ('digits', 'ultimate'))
    """
    name, at, given = target.partition("@")
    if at and tier is not None and tier != given:
        raise InputError(f"{target!r} names tier {given!r} and --tier {tier!r}: say it once")
    chosen = given if at else tier or "ultimate"
    if chosen not in CHOICES:
        raise InputError(f"tier {chosen!r}: choose lite, pro, ultimate or auto")
    return name, chosen


def is_block_prefix(text: str) -> bool:
    """Returns whether the text can be the beginning of a block's id: at least 8 characters of one."""
    return _BLOCK_PREFIX.fullmatch(text) is not None


def resolve_block(home: Home, text: str) -> str:
    """Returns the id of the block that a production name, an id or its beginning names; a tier behind it changes nothing.

    Raises:
        NotFound: no head and no block is called so; the message says which heads there are.
    """
    name, _ = split_target(text)
    heads = home.heads()
    known = heads.names()
    if name in known:
        head = heads.current(name)
        assert head is not None
        return head.block
    if is_block_prefix(name):
        return home.block_store().resolve(name)
    raise NotFound(
        f"no head is called {name!r} in {home.root}; heads: {', '.join(known) or 'none yet'}. "
        "A block is named by at least 8 characters of its id (evolve blocks list)"
    )
