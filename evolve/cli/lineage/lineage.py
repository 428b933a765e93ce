"""``evolve lineage`` and ``evolve rebuild``: where a block comes from, and making it again to check that."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evolve.cli.shared import options, output

Target = Annotated[
    str,
    typer.Argument(
        metavar="BLOCK", help="A production name, a block's id or an individual's id; 8 characters of an id will do."
    ),
]


def lineage(
    target: Target,
    ancestors: Annotated[bool, typer.Option("--ancestors", help="Who it comes from (this is the default).")] = False,
    descendants: Annotated[bool, typer.Option("--descendants", help="Who comes from it.")] = False,
    kin: Annotated[bool, typer.Option("--kin", help="Who shares ancestors with it.")] = False,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="How it was made: operator, parents, inputs, seed, settings.")
    ] = False,
    depth: Annotated[
        int | None, typer.Option(min=0, help="Generations to print; 0 prints all.", show_default="4, of kin 1")
    ] = None,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Show the pedigree of a block as a tree.

    Examples:
      evolve lineage digits --ancestors
      evolve lineage digits --recipe
      evolve lineage bafyr4ihzwcb --descendants --depth 0
      evolve lineage 3f09aa51c2d4 --kin --json
    """
    from evolve.reports import pedigree, pedigree_text
    from population.errors import InputError

    chosen = [
        name
        for name, is_wanted in (
            ("ancestors", ancestors),
            ("descendants", descendants),
            ("kin", kin),
            ("recipe", recipe),
        )
        if is_wanted
    ] or ["ancestors"]
    if len(chosen) > 1:
        raise InputError(f"choose one of --{' and --'.join(chosen)}")
    opened = options.open_home(home)
    with pedigree.opened(opened, output.note) as book:
        individual = pedigree.find(opened, book, target)
        if chosen == ["recipe"]:
            made = book.recipe(individual)
            output.show_json(made) if as_json else output.show(*pedigree_text.recipe_text(made))
            return
        steps = depth if depth is not None else pedigree.DEFAULT_DEPTH[chosen[0]]
        tree = book.relatives(individual, chosen[0], steps or None)
    output.show_json(tree.to_value()) if as_json else output.show(*pedigree_text.tree_text(tree))


def rebuild(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A production name, a block's id or an individual's id; 8 characters will do."
        ),
    ],
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Make an individual again from its pedigree, and check that it has the same bits.

    Works for every individual ever judged, also for those that nobody kept. Ancestors that have no row in this home (an
    imported model, a purged campaign) are read from the store, and named. Exit code 0: the same; 1: not the
    same; 3: it cannot be said here (data missing, another environment), with the reason.

    Examples:
      evolve rebuild digits
      evolve rebuild 3f09aa51c2d4 --json
    """
    from evolve.recovery.rebuild import rebuild as make_again
    from evolve.reports import pedigree

    opened = options.open_home(home)
    with pedigree.opened(opened, output.note) as book:
        individual = pedigree.find(opened, book, target)
    found = make_again(opened, individual)
    if as_json:
        output.show_json(found)
    else:
        _tell(found)
    raise typer.Exit({True: 0, False: 1}.get(found["same"], 3))


def _tell(found: dict[str, Any]) -> None:
    from evolve.display import short_id

    name, births = short_id(str(found["id"])), found["steps"]
    for leaf in found["leaves"]:
        output.note(f"read from the store, not made again: {short_id(leaf['individual'])}, {leaf['what']}")
    if found["same"] is None:
        output.note(f"{name}: it cannot be said here whether it can be rebuilt: {found.get('reason', '')}")
    elif found["same"]:
        output.say(f"{name}: rebuilt in {births} births to the same digest, {found['rebuilt']}")
    else:
        output.say(
            f"{name}: NOT the same: rebuilt in {births} births to {found['rebuilt']}; {found.get('reason') or ''}"
        )
