"""The part of a family tree that a page shows: chosen, bounded, and laid out in layers.

Shown are the line of best parents from the champion back to a first individual, then whoever is nearest to the champion and
the front. A layer is a birth back: everyone stands below all of their children.

Nouns: *kinsman* (an individual with its place on paper), *line* (the champion, its best parent, that one's best parent, and
so on), *layer*, *leaf* (as in ``evolve.home.origins``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evolve.home.origins import UNKNOWN, Leaf
from evolve.reports.html.evidence import Evidence

MAX_SHOWN = 180
MAX_LINE = 90
STEP_X, STEP_Y, MARGIN = 38, 54, 26
#: Room at the left for what the line is worth.
GUTTER = 56
_SWEEPS = 8


@dataclass(frozen=True)
class Kinsman:
    """One individual. parents: (index among the shown or None, id, role); x, y: its place; facts: its lineage row."""

    individual: str
    index: int
    x: float
    y: float
    is_front: bool
    in_line: bool
    parents: tuple[tuple[int | None, str, str], ...]
    children: tuple[int, ...]
    facts: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Ancestry:
    """Kinsmen, the champion first, then by layer. total: how many there are, whether shown or not; width, height: of paper."""

    kinsmen: tuple[Kinsman, ...]
    total: int
    width: float
    height: float

    @property
    def num_left_out(self) -> int:
        """How many individuals of the pedigree are not shown."""
        return self.total - len(self.kinsmen)


def ancestry_of(
    evidence: Evidence, champion: str | None, front: Sequence[str], leaves: Mapping[str, Leaf] | None = None
) -> Ancestry:
    """Returns the champion's ancestors and the front with theirs, at most ``MAX_SHOWN``; leaves: what has no row here."""
    starts = list(dict.fromkeys([*([champion] if champion else []), *front]))
    if not starts:
        return Ancestry((), 0, 0, 0)
    line = _line(evidence, starts[0])
    shown, edges = _nearest(evidence, starts, line)
    layers = _layers(shown, edges)
    places = _places(layers, edges)
    facts: dict[str, Mapping[str, Any]] = {
        row["individual"]: {**row, "missing": None} for row in evidence.described(shown)
    }
    facts |= {name: _facts_of_leaf((leaves or {}).get(name, Leaf(UNKNOWN))) for name in shown if name not in facts}
    order = sorted(shown, key=lambda name: (name != starts[0], layers[name], places[name]))
    kinsmen = _kinsmen(order, edges, places, layers, facts, set(front), set(line))
    width = max(places.values()) + MARGIN
    return Ancestry(kinsmen, evidence.num_ancestors(starts), width, max(layers.values()) * STEP_Y + 2 * MARGIN)


def _facts_of_leaf(leaf: Leaf) -> dict[str, Any]:
    """Returns what stands in the place of a lineage row for an ancestor that has none."""
    known = {"status": leaf.what, "missing": str(leaf), "campaign": leaf.campaign or None}
    return dict.fromkeys(("operator", "version", "seed", "settings", "generation", "value")) | known


def _line(evidence: Evidence, start: str) -> list[str]:
    line = [start]
    while len(line) < MAX_LINE:
        found = [row for row in evidence.parents([line[-1]]) if row["parent"] not in line]
        if not found:
            break
        sign, worst = evidence.sign, float("-inf")
        best = max(found, key=lambda row: worst if row["value"] is None else sign * row["value"])
        line.append(str(best["parent"]))
    return line


def _nearest(
    evidence: Evidence, starts: Sequence[str], line: Sequence[str]
) -> tuple[list[str], dict[str, list[tuple[str, str]]]]:
    """Returns who is shown, and of each of them the parents with their roles, shown or not."""
    shown = dict.fromkeys([*line, *starts][:MAX_SHOWN])
    edges: dict[str, list[tuple[str, str]]] = {}
    waiting = list(shown)
    while waiting:
        for row in evidence.parents(waiting):
            edges.setdefault(row["child"], []).append((row["parent"], row["role"]))
        found = dict.fromkeys(parent for name in waiting for parent, _ in edges.get(name, ()))
        fresh = [name for name in found if name not in shown]
        waiting = fresh[: MAX_SHOWN - len(shown)]
        shown |= dict.fromkeys(waiting)
    return list(shown), edges


def _layers(shown: Sequence[str], edges: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, int]:
    """Returns how many births back each stands: below its lowest child."""
    known = set(shown)
    waiting = dict.fromkeys(shown, 0)
    for name in shown:
        for parent in {parent for parent, _ in edges.get(name, ()) if parent in known}:
            waiting[parent] += 1
    layers = dict.fromkeys(shown, 0)
    ready = [name for name in shown if not waiting[name]]
    while ready:
        name = ready.pop()
        for parent in {parent for parent, _ in edges.get(name, ()) if parent in known}:
            layers[parent] = max(layers[parent], layers[name] + 1)
            waiting[parent] -= 1
            if not waiting[parent]:
                ready.append(parent)
    return layers


def _places(layers: Mapping[str, int], edges: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, float]:
    """Returns where across the paper each stands: near its relatives, evenly within its layer (barycentres)."""
    near: dict[str, list[str]] = {name: [] for name in layers}
    for child, parents in edges.items():
        for parent, _ in parents:
            if parent in near:
                near[child].append(parent)
                near[parent].append(child)
    rows: dict[int, list[str]] = {}
    for name, layer in layers.items():
        rows.setdefault(layer, []).append(name)
    widest = max(map(len, rows.values()))
    places: dict[str, float] = {}
    for sweep in range(_SWEEPS + 1):
        for layer in sorted(rows, reverse=bool(sweep % 2)):
            if sweep:
                middle = {
                    n: sum(places[o] for o in near[n]) / len(near[n]) if near[n] else places[n] for n in rows[layer]
                }
                rows[layer].sort(key=lambda name: (middle[name], name))
            left = GUTTER + MARGIN + (widest - len(rows[layer])) * STEP_X / 2
            places |= {name: left + position * STEP_X for position, name in enumerate(rows[layer])}
    return places


def _kinsmen(
    order: Sequence[str],
    edges: Mapping[str, Sequence[tuple[str, str]]],
    places: Mapping[str, float],
    layers: Mapping[str, int],
    facts: Mapping[str, Mapping[str, Any]],
    front: set[str],
    line: set[str],
) -> tuple[Kinsman, ...]:
    index = {name: number for number, name in enumerate(order)}
    children: dict[str, list[int]] = {name: [] for name in order}
    for child in order:
        for parent in dict.fromkeys(parent for parent, _ in edges.get(child, ())):
            if parent in children:
                children[parent].append(index[child])
    return tuple(
        Kinsman(
            individual=name,
            index=index[name],
            x=round(places[name], 1),
            y=layers[name] * STEP_Y + MARGIN,
            is_front=name in front,
            in_line=name in line,
            parents=tuple((index.get(parent), parent, role) for parent, role in edges.get(name, ())),
            children=tuple(children[name]),
            facts=facts.get(name, {}),
        )
        for name in order
    )
