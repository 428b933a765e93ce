"""Who descends from whom: ancestors, descendants and kin over the lineage's views, as data.

Nouns: *book* (an open connection to the views), *relative* (an individual with what is worth telling about it), *family
tree* (relatives and the edges between them; a graph, since an individual may be met on several ways), *leaf* (as in
``evolve.home.origins``: it has no operator and no generation, and its ``missing`` says what it is).
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from evolve.home.block_names import is_block_prefix, resolve_block, split_target
from evolve.home.origins import UNKNOWN, Leaf, leaf_of, leaves_of
from population.errors import InputError, NotFound
from population.lineage.sql.connection import open_connection

if TYPE_CHECKING:
    from evolve.home.home import Home

DEFAULT_DEPTH: Mapping[str, int] = {"ancestors": 4, "descendants": 4, "kin": 1}
_INDIVIDUAL_PREFIX = re.compile(r"[0-9a-f]{8,32}")


@dataclass(frozen=True)
class Relative:
    """One individual. distance: births between it and the one that was asked for; score: of the leading objective.

    missing: of an individual that has no row in this home what it is ("imported model"); None of all others.
    """

    individual: str
    distance: int
    operator: str | None
    generation: int | None
    campaign: str | None
    status: str
    block: str | None
    score: float | None
    missing: str | None = None


@dataclass(frozen=True)
class FamilyTree:
    """Relatives by id, and the edges among them, (child, parent, role). total: how many there are at any depth."""

    root: str
    kind: str
    objective: str
    relatives: Mapping[str, Relative]
    edges: Sequence[tuple[str, str, str]] = field(repr=False)
    total: int = 0

    def to_value(self) -> dict[str, Any]:
        """Returns the tree as plain values."""
        return {
            "individual": self.root,
            "kind": self.kind,
            "objective": self.objective,
            "total": self.total,
            "relatives": [asdict(relative) for relative in self.relatives.values()],
            "edges": [{"child": child, "parent": parent, "role": role} for child, parent, role in self.edges],
        }


@contextmanager
def opened(home: Home, unread: Callable[[str], None]) -> Iterator[Book]:
    """Opens the book of a home and closes it. unread: as in ``leaves_of``."""
    connection = open_connection(home.lineage_reader())
    try:
        yield Book(connection, leaves_of(home, unread))
    finally:
        connection.close()


def find(home: Home, book: Book, target: str) -> str:
    """Returns the individual that a production name, a block or an individual's id (or its beginning) names.

    Raises:
        NotFound: nothing is called so, or the block was not made in this home. InputError: more than one begins so.
    """
    name, _ = split_target(target)
    if name not in home.heads().names() and _INDIVIDUAL_PREFIX.fullmatch(name):
        return book.individual(name)
    if name not in home.heads().names() and not is_block_prefix(name):
        raise NotFound(
            f"{name!r} is no head, no block and no individual of {home.root}; heads: "
            f"{', '.join(home.heads().names()) or 'none yet'}. Of an id, at least 8 characters are needed"
        )
    block = resolve_block(home, name)
    made_by = book.maker_of_block(block)
    if made_by is not None:
        book.learn(made_by[0], leaf_of(home, made_by[1]))
    return book.individual_of_block(block)


class Book:
    """The views of a home's lineages behind a DuckDB connection."""

    def __init__(self, connection: Any, leaves: Mapping[str, Leaf] | None = None) -> None:
        """Takes an open connection with the views; edges are unfolded once, since a pedigree reads them again and again.

        leaves: what is known of ancestors that have no row here.
        """
        self._connection = connection
        self._leaves = dict(leaves or {})
        connection.execute("CREATE TEMP TABLE edges AS SELECT DISTINCT child, parent, role, position FROM parents")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Returns the rows of a statement with its values bound."""
        return list(self._connection.execute(sql, list(values)).fetchall())

    def learn(self, individual: str, leaf: Leaf) -> None:
        """Takes in what is known of an individual, for where it has no row here."""
        self._leaves.setdefault(individual, leaf)

    def leaf(self, individual: str) -> Leaf | None:
        """Returns what is known of an individual that has no row in this home; None where it has one."""
        if self.rows("SELECT 1 FROM individuals WHERE individual = ? LIMIT 1", [individual]):
            return None
        return self._leaves.get(individual, Leaf(UNKNOWN))

    def individual(self, prefix: str) -> str:
        """Returns the one individual whose id begins so, born here or named as a parent. Raises NotFound or InputError."""
        found = self.rows(
            "SELECT individual FROM individuals WHERE starts_with(individual, $1) "
            "UNION SELECT parent FROM edges WHERE starts_with(parent, $1) ORDER BY 1 LIMIT 3",
            [prefix],
        )
        if not found:
            raise NotFound(f"no individual's id begins with {prefix!r} in this home's lineage")
        if len(found) > 1:
            raise InputError(
                f"{prefix!r} begins several individuals ({', '.join(row[0] for row in found)}): give more of it"
            )
        return str(found[0][0])

    def maker_of_block(self, block: str) -> tuple[str, str] | None:
        """Returns the individual and the campaign of a block as decisions about heads name them, which outlive a purge."""
        found = self.rows(
            "SELECT individual, campaign FROM promotions WHERE block = ? AND individual IS NOT NULL AND campaign IS NOT NULL "
            "ORDER BY decided DESC LIMIT 1",
            [block],
        )
        return (str(found[0][0]), str(found[0][1])) if found else None

    def individual_of_block(self, block: str) -> str:
        """Returns the individual that a block was stored for, or that came in as it. Raises NotFound where no lineage here
        has it."""
        found = self.rows("SELECT individual FROM blocks WHERE block = ? AND individual IS NOT NULL LIMIT 1", [block])
        imported = [(individual,) for individual, leaf in self._leaves.items() if leaf.block == block]
        maker = self.maker_of_block(block)
        found = found or imported or ([maker[:1]] if maker else [])
        if not found:
            raise NotFound(
                f"block {block} is in the store, but no campaign of this home made it: it has no pedigree here"
            )
        return str(found[0][0])

    def objective(self, individual: str) -> str:
        """Returns the leading objective of an individual's campaign."""
        rows = self.rows(
            "SELECT c.config FROM individuals i JOIN campaigns c USING (campaign) WHERE i.individual = ? LIMIT 1",
            [individual],
        )
        rows = rows or self.rows(
            "SELECT c.config FROM edges e JOIN individuals i ON i.individual = e.child JOIN campaigns c USING (campaign) "
            "WHERE e.parent = ? LIMIT 1",
            [individual],
        )
        config = json.loads(rows[0][0]) if rows and rows[0][0] else {}
        return str((config.get("objectives") or ["accuracy"])[0])

    def recipe(self, individual: str) -> dict[str, Any]:
        """Returns how an individual was made: everything that making it again needs."""
        rows = self.rows(
            "SELECT r.operator, r.version, r.inputs, r.seed, r.settings, i.weights_digest, i.campaign, i.generation "
            "FROM recipes r JOIN individuals i USING (individual) WHERE individual = ? LIMIT 1",
            [individual],
        )
        if not rows:
            raise NotFound(
                f"no recipe of individual {individual} in this home's lineage: {self.leaf(individual) or UNKNOWN}"
            )
        operator, version, inputs, seed, settings, digest, campaign, generation = rows[0]
        parents = self.rows("SELECT parent, role FROM edges WHERE child = ? ORDER BY position", [individual])
        return {
            "individual": individual,
            "operator": operator,
            "version": version,
            "parents": [{"parent": parent, "role": role} for parent, role in parents],
            "inputs": _decoded(inputs),
            "seed": int(seed),
            "settings": _decoded(settings),
            "weights_digest": digest,
            "campaign": campaign,
            "generation": generation,
        }

    def relatives(self, individual: str, kind: str, depth: int | None) -> FamilyTree:
        """Returns the tree of ancestors, descendants or kin up to a depth (None: all).

        Kin at depth d are the other descendants, within d births, of the ancestors within d births: with 1, those that
        share a parent.
        """
        if kind == "kin":
            return self._kin(individual, depth)
        edges = self._closure([individual], is_upwards=kind == "ancestors")
        steps = distances([individual], edges, is_upwards=kind == "ancestors")
        return self._tree(individual, kind, steps, edges, depth)

    def _kin(self, individual: str, depth: int | None) -> FamilyTree:
        up = self._closure([individual], is_upwards=True)
        above = _within(distances([individual], up, is_upwards=True), depth)
        down = self._closure([name for name in above if name != individual], is_upwards=False)
        below = distances([name for name in above if name != individual], down, is_upwards=False)
        steps = {**_within(below, depth), **above}
        edges = list(dict.fromkeys((*up, *down)))
        return self._tree(individual, "kin", steps, edges, None)

    def _closure(self, start: Sequence[str], *, is_upwards: bool) -> list[tuple[str, str, str]]:
        """Returns every edge between these individuals and all their ancestors, or all their descendants."""
        near, far = ("child", "parent") if is_upwards else ("parent", "child")
        return [
            (str(child), str(parent), str(role))
            for child, parent, role, _ in self.rows(
                f"WITH RECURSIVE reached(name) AS (SELECT unnest(?) UNION "  # noqa: S608 -- two fixed column names
                f"SELECT p.{far} FROM edges p JOIN reached r ON p.{near} = r.name) "
                f"SELECT p.child, p.parent, p.role, p.position FROM edges p JOIN reached r ON p.{near} = r.name "
                "ORDER BY p.child, p.position",
                [list(start)],
            )
        ]

    def _tree(
        self,
        root: str,
        kind: str,
        steps: Mapping[str, int],
        edges: Sequence[tuple[str, str, str]],
        depth: int | None,
    ) -> FamilyTree:
        objective = self.objective(root)
        shown = _within(steps, depth)
        kept = [edge for edge in edges if edge[0] in shown and edge[1] in shown]
        return FamilyTree(root, kind, objective, self._described(shown, objective), kept, len(steps) - 1)

    def _described(self, steps: Mapping[str, int], objective: str) -> dict[str, Relative]:
        names = list(steps)
        rows = self.rows(
            "SELECT i.individual, any_value(i.operator), any_value(i.generation), any_value(i.campaign), "
            "any_value(i.status), any_value(i.block), max(s.value) FROM individuals i LEFT JOIN scores s ON "
            "s.individual = i.individual AND s.objective = ? AND s.split = 'validation' AND s.tier = 'ultimate' "
            "WHERE i.individual IN (SELECT unnest(?)) GROUP BY 1",
            [objective, names],
        )
        found = {
            row[0]: Relative(row[0], steps[row[0]], row[1], int(row[2]), row[3], row[4], row[5], row[6]) for row in rows
        }
        found |= {name: self._missing(name, steps[name]) for name in names if name not in found}
        return {name: found[name] for name in sorted(found, key=lambda name: (steps[name], name))}

    def _missing(self, name: str, distance: int) -> Relative:
        leaf = self._leaves.get(name, Leaf(UNKNOWN))
        return Relative(name, distance, None, None, leaf.campaign or None, "missing", leaf.block, None, leaf.what)


def _within(steps: Mapping[str, int], depth: int | None) -> dict[str, int]:
    return {name: number for name, number in steps.items() if depth is None or number <= depth}


def distances(start: Sequence[str], edges: Sequence[tuple[str, str, str]], *, is_upwards: bool) -> dict[str, int]:
    """Returns the least number of births from any of the start to everyone that can be reached."""
    next_to: dict[str, list[str]] = {}
    for child, parent, _ in edges:
        near, far = (child, parent) if is_upwards else (parent, child)
        next_to.setdefault(near, []).append(far)
    steps = dict.fromkeys(start, 0)
    waiting = deque(start)
    while waiting:
        name = waiting.popleft()
        for other in next_to.get(name, ()):
            if other not in steps:
                steps[other] = steps[name] + 1
                waiting.append(other)
    return steps


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value
