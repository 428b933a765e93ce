"""``evolve store fsck``: whether the block store holds what was written, and which heads are concerned where it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from evolve.cli.shared import options, output
from evolve.cli.shared.helptext import help_of

if TYPE_CHECKING:
    from population.store.damage import StoreReport

app = typer.Typer(no_args_is_help=True, help="Look after the block store.")

#: The shortest time between two lines of progress.
LINE_EVERY_S = 2.0


def fsck(as_json: options.JsonOption = False, home: options.HomeOption = None) -> None:
    """Check every object, pack and head of the block store.

    Every object is read and hashed, every manifest followed to its leaves, every signature verified. Nothing is changed;
    works while campaigns run. Exit code 0: whole; 1: damage found, each with its file and the production heads that it
    concerns; 3: some files could not be read (no permission, say), and the others are whole.

    Examples:
      evolve store fsck
      evolve store fsck --json
    """
    from evolve.home.store_fsck import check_home, to_value

    opened = options.open_home(home)
    check = check_home(opened, _progress())
    if as_json:
        output.show_json(to_value(check))
    else:
        _tell(check)
    raise typer.Exit(1 if check.damaged else 3 if check.unreadable else 0)


def _progress() -> Callable[[int, int], None]:
    """Returns a function that shows the progress on standard error, from a few seconds on."""
    next_s = time.monotonic() + LINE_EVERY_S

    def tell(done: int, total: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + LINE_EVERY_S
            output.note(f"{done:,} of {total:,} objects read")

    return tell


def _tell(check: StoreReport) -> None:
    counts = f"{check.objects:,} objects, {check.packs:,} packs, {check.heads:,} heads"
    if check.damaged:
        output.say(f"DAMAGED: {len(check.damaged):,} of {counts}")
    elif check.unreadable:
        output.say(f"not all of it could be read: {counts}")
    else:
        output.say(f"whole: {counts}")
    for each in check.damaged:
        output.say(f"  {each.object}: {each.kind}\n    {each.path}: {each.what}")
        if each.standing:
            output.say(f"    heads that use it now: {', '.join(each.standing)}")
        if earlier := [head for head in each.heads if head not in each.standing]:
            output.say(f"    heads that used it before: {', '.join(earlier)}")
        if each.needed_by:
            output.say(f"    needed by: {', '.join(each.needed_by)}")
    for path, what in check.unreadable:
        output.say(f"  {path}: could not be read, it may be whole: {what}")
    for note in check.notes:
        output.say(f"  note: {note}")


app.command("fsck", help=help_of(fsck))(fsck)
