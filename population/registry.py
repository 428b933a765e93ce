"""Things that are found by name: ours, registered on import, and those of other packages, by their entry points.

Nouns: *member* (what is registered under a name), *version* (the number after the ``@`` of a name, where names have one).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Generic, TypeVar

from population.errors import InputError, NotFound

Member = TypeVar("Member")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like an unknown one, or None where none comes near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


@dataclass
class Registry(Generic[Member]):
    """Members by name.

    Attributes:
        noun: what a member is, for messages. group: the entry points under which other packages offer members.
        is_versioned: whether names end in ``@version``; a name without it then means the newest version.
        offers_members: whether an entry point is itself a member, under its own name, and is loaded when that name is asked
            for; else it is a module that registers its members, and all of them are loaded at the first unknown name.
        error: what an unknown name raises. verb, hint: how its message says that, and how it suggests the nearest name.
        members: those known so far.
    """

    noun: str
    group: str
    is_versioned: bool = False
    offers_members: bool = False
    error: type[InputError] = NotFound
    verb: str = "called"
    hint: str = ". Did you mean {!r}?"
    members: dict[str, Member] = field(default_factory=dict)
    _is_loaded: bool = field(default=False, init=False)

    def add(self, name: str, member: Member) -> Member:
        """Adds a member and returns it. Raises: ValueError where another one has its name."""
        if self.members.get(name, member) != member:
            what = "name or version" if self.is_versioned else "name"
            raise ValueError(f"{self.noun} {name!r} is registered twice: give the new one another {what}")
        self.members[name] = member
        return member

    def get(self, name: str) -> Member:
        """The member of this name; other packages are asked before giving up. Raises: `error` with the nearest name."""
        if self._key_of(name) not in self.members:
            self._ask_packages(name)
        key = self._key_of(name)
        if key not in self.members:
            raise self.error(self._unknown(str(name)))
        return self.members[key]

    def names(self) -> tuple[str, ...]:
        """The names known without loading another package's code, sorted."""
        return tuple(sorted({*self.members, *(self._offered if self.offers_members else ())}))

    def load_packages(self) -> None:
        """Loads all entry points of the group, once."""
        if not self._is_loaded:
            for entry in metadata.entry_points(group=self.group):
                entry.load()
            self._is_loaded = True

    @cached_property
    def _offered(self) -> Mapping[str, metadata.EntryPoint]:
        return {entry.name: entry for entry in metadata.entry_points(group=self.group)}

    def _ask_packages(self, name: str) -> None:
        if not self.offers_members:
            self.load_packages()
        elif name in self._offered:
            member = self._offered[name].load()
            self.members.setdefault(name, member)

    def _key_of(self, name: str) -> str:
        if not self.is_versioned or name in self.members:
            return name
        keys = [key for key in self.members if key.rpartition("@")[0] == name]
        return max(keys, key=lambda key: int(key.rpartition("@")[2]), default=name)

    def _unknown(self, name: str) -> str:
        known = self.names()
        bare = [key.rpartition("@")[0] for key in known] if self.is_versioned else []
        near = nearest(name, [*known, *bare])
        end = "." if near is None else self.hint.format(near)
        return f"no {self.noun} is {self.verb} {name[:80]!r}{end} Known: {', '.join(known) or 'none'}"
