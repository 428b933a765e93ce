"""Family trees and recipes as text: each individual is unfolded once, as near to the top as can be.

Nouns: none beyond those of ``evolve.reports.pedigree``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from evolve.display import visible
from evolve.home.origins import Leaf
from evolve.reports.pedigree import FamilyTree, distances
from population.errors import NotFound


def tree_text(tree: FamilyTree) -> list[Any]:
    """Returns a family tree as text: each individual is unfolded once, where it is met first."""
    from rich.tree import Tree

    if tree.root not in tree.relatives:
        raise NotFound(f"individual {tree.root} is not in this home's lineage")
    if tree.kind == "kin":
        return [*_kin_text(tree)]
    top = Tree(_label(tree, tree.root), guide_style="dim")
    _grow(tree, [(tree.root, top)], _next_of(tree), {tree.root})
    rest = tree.total - (len(tree.relatives) - 1)
    told = f"{tree.total:,} {tree.kind}" if tree.total != 1 else f"1 {tree.kind[:-1]}"
    more = f", {rest:,} of them further away: --depth 0 prints all" if rest else ""
    return [top, f"\n{told}{more}; {tree.objective} is that of validation at ultimate"]


def _next_of(tree: FamilyTree) -> dict[str, list[tuple[str, str]]]:
    """Returns individual -> (next individual, its role) in the direction of the tree."""
    edges = [
        ((child, parent) if tree.kind == "ancestors" else (parent, child), role) for child, parent, role in tree.edges
    ]
    return _gathered(edges)


def _gathered(edges: Iterable[tuple[tuple[str, str], str]]) -> dict[str, list[tuple[str, str]]]:
    """Returns near -> (far, roles) for edges ((near, far), role); who took part twice is named once, with both roles."""
    roles: dict[tuple[str, str], list[str]] = {}
    for edge, role in edges:
        roles.setdefault(edge, []).append(role)
    found: dict[str, list[tuple[str, str]]] = {}
    for (near, far), names in roles.items():
        found.setdefault(near, []).append((far, " and ".join(names)))
    return found


def _grow(
    tree: FamilyTree,
    level: Sequence[tuple[str, Any]],
    next_of: Mapping[str, Sequence[tuple[str, str]]],
    unfolded: set[str],
) -> None:
    """Hangs everyone under those they belong to, level by level; each is unfolded once, as near to the top as can be."""
    while level:
        below = []
        for name, branch in level:
            for other, role in next_of.get(name, ()):
                is_new = other not in unfolded
                added = branch.add(_label(tree, other, role, is_again=not is_new))
                if is_new:
                    unfolded.add(other)
                    below.append((other, added))
        level = below


def _label(tree: FamilyTree, name: str, role: str = "", *, is_again: bool = False) -> Any:
    from rich.text import Text

    from evolve.display import number, short_id

    relative = tree.relatives[name]
    text = Text(f"{visible(role)}: " if role not in ("", "parent") else "", style="dim")
    text.append(short_id(name), style="bold")
    if is_again:
        return text.append("  (see elsewhere in this tree)", style="dim")
    if relative.missing is not None:
        text.append(f"  {visible(str(Leaf(relative.missing, relative.campaign or '')))}", style="yellow")
    else:
        text.append(f"  {visible(relative.operator or '')}", style="cyan")
        text.append(f"  generation {relative.generation}")
    if relative.score is not None:
        text.append(f"  {visible(tree.objective)} {number(relative.score)}")
    if relative.status in ("quarantined", "not_viable", "promoted"):
        text.append(f"  {visible(relative.status)}", style="yellow")
    if relative.block:
        text.append(f"  block {short_id(relative.block)}", style="green")
    return text


def _kin_text(tree: FamilyTree) -> Iterator[Any]:
    from rich.tree import Tree

    yield _label(tree, tree.root)
    if tree.total < 1 or not any(child == tree.root for child, _, _ in tree.edges):
        yield "it has no parents, and so no kin"
        return
    is_above = distances([tree.root], tree.edges, is_upwards=True)
    next_of = _gathered(((parent, child), role) for child, parent, role in tree.edges if child not in is_above)
    unfolded = set(is_above)
    for ancestor in sorted(is_above, key=lambda name: is_above[name]):
        if ancestor != tree.root and ancestor in next_of:
            branch = Tree(_label(tree, ancestor, f"{_births(is_above[ancestor])} up"), guide_style="dim")
            _grow(tree, [(ancestor, branch)], next_of, unfolded)
            yield branch
    if len(tree.relatives) == len(is_above):
        yield "nobody else comes from the same parents; --depth 2 looks one generation further"


def _births(number: int) -> str:
    return "1 birth" if number == 1 else f"{number} births"


def recipe_text(recipe: Mapping[str, Any]) -> list[Any]:
    """Returns a recipe as text."""
    from rich.table import Table
    from rich.text import Text

    from evolve.display import program, short_id

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    for name in ("individual", "operator", "version", "seed", "weights_digest", "campaign", "generation"):
        table.add_row(name.replace("_", " "), Text(visible(str(recipe[name]))))
    for entry in recipe["parents"]:
        table.add_row(Text(visible(entry["role"])), Text(visible(entry["parent"])))
    for digest in recipe["inputs"] or ():
        table.add_row("input", Text(str(digest)))
    settings = recipe["settings"]
    lines = (
        [f"{key}: {json.dumps(value)}" for key, value in settings.items()]
        if isinstance(settings, Mapping)
        else [settings]
    )
    table.add_row("settings", Text(visible("\n".join(str(line) for line in lines))))
    return [table, f"\nmake it again: {program()} rebuild {short_id(recipe['individual'])}"]
