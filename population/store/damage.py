"""What a check of the store finds: kinds of damage, and the heads that each concerns.

Nouns: *damage* (one object, pack or head that is not what was written), *check* (the whole answer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Kinds of damage, with what each means; STORE.md lists them too.
KINDS: Final[Mapping[str, str]] = {
    "missing": "something needs it, and it is not there",
    "changed": "its bytes do not hash to its name",
    "empty": "the file has no bytes",
    "truncated": "the file is shorter than the manifest says",
    "swapped": "the file holds the bytes of another object",
    "misplaced": "it is in a folder where no reader looks",
    "foreign": "a name that no object has",
    "no file": "a link, folder or pipe in the place of a file",
    "manifest": "its bytes are what was written, and are no manifest that this version reads",
    "pack": "a pack's index or rows are not what was written",
    "head": "a head's log is damaged, unsigned or does not lead to where it stands",
    "format": "FORMAT cannot be read",
}


@dataclass(frozen=True)
class Damage:
    """One thing that is not what was written.

    Attributes:
        object: a CID, a pack's name, ``STAGE/NAME`` of a head, or the name of a foreign file.
        kind: one of ``KINDS``. path: the file. what: the fact, with the remedy.
        heads: ``STAGE/NAME`` of every head that leads to it, now or at an earlier decision; standing: those that do now.
        needed_by: blocks, campaigns and forks that need it.
    """

    object: str
    kind: str
    path: Path
    what: str
    heads: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    needed_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoreReport:
    """The answer. objects, packs, heads: how many were looked at; unreadable: files that the machine did not give, and why."""

    objects: int
    packs: int
    heads: int
    damaged: tuple[Damage, ...] = ()
    unreadable: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether everything was read, and is what was written."""
        return not self.damaged and not self.unreadable
