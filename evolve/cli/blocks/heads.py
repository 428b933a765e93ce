"""``evolve promote``, ``evolve rollback`` and ``evolve heads``: the gate, and what is in production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve import display
from evolve.cli.shared import options, output
from evolve.driver.trackers import catch_up, tracking

#: As people read them: the narrowest first.
TIERS = ("lite", "pro", "ultimate")
LEVELS = ("full", "reduced", "none")

if TYPE_CHECKING:
    from evolve.promotion.promote import Decision
    from population.store.heads import Head


def promote(
    block: Annotated[str, typer.Argument(metavar="BLOCK", help="A block's id, or at least its first 8 characters.")],
    name: Annotated[str, typer.Option(help="The production name that is to point to it.")],
    floor: Annotated[
        list[str] | None,
        typer.Option(
            "--floor",
            metavar="TIER=VALUE",
            help="Held-out accuracy (R2 of numbers) that a first head must reach; repeatable.",
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="How much worse a later head may be, at its bound.", show_default="the config's, or 0.02"
        ),
    ] = None,
    accept_level: Annotated[
        str, typer.Option(metavar="LEVEL", help="The least isolation of its scores: full, reduced or none.")
    ] = "full",
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Ask the gate to put a block into production.

    The block is judged on held-out rows, which nothing else ever sees; every such look is counted and makes the next one
    stricter. A first head must reach the floors (those of its campaign's config by default); a later one must not be
    worse than the head that stands. Exit code 0: promoted, or already there; 1: refused, with the reasons.

    Examples:
      evolve promote bafyr4ihzwcb --name digits
      evolve promote bafyr4ihzwcb --name digits --floor ultimate=0.97 --floor lite=0.95
    """
    from evolve.home.block_names import resolve_block
    from evolve.promotion import promote as promotion

    if accept_level not in LEVELS:
        raise typer.BadParameter(
            f"expected one of {', '.join(LEVELS)}, got {accept_level!r}", param_hint="--accept-level"
        )
    opened = options.open_home(home)
    cid, floors = resolve_block(opened, block), _floors(floor)
    with tracking(opened, output.note) as tracker:
        decision = promotion.promote(
            opened, cid, name, floors=floors, margin=margin, accept_level=accept_level, tracker=tracker
        )
    if as_json:
        output.show_json(to_value(decision, name))
    else:
        tell(decision, name)
    raise typer.Exit(decision.exit_code)


def rollback(
    name: Annotated[str, typer.Argument(help="The production name.")],
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Point a production name back at the block that stood before; nothing is erased.

    Example:
      evolve rollback digits
    """
    from evolve.promotion import promote as promotion

    opened = options.open_home(home)
    with tracking(opened, output.note) as tracker:
        decision = promotion.rollback(opened, name, tracker=tracker)
    if as_json:
        output.show_json(to_value(decision, name))
    else:
        tell(decision, name)
    raise typer.Exit(decision.exit_code)


def heads(
    history: Annotated[bool, typer.Option("--history", help="Every decision, not only the standing ones.")] = False,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Show the production heads: which block every name points to.

    Examples:
      evolve heads
      evolve heads --history --json
    """
    from evolve.display import program

    opened = options.open_home(home)
    kept = opened.heads()
    found = [
        head
        for stage in kept.stages()
        for name in kept.names(stage)
        for head in kept.history(name, stage)[0 if history else -1 :]
    ]
    if as_json:
        output.show_json([_to_value(head) for head in found])
    elif found:
        output.show(_as_table(found, with_kind=history))
    else:
        output.note(f"nothing is promoted yet; {program()} promote BLOCK --name NAME does that")
    catch_up(opened)


def tell(decision: Decision, name: str) -> None:
    """Prints a decision with its reasons."""
    output.say(f"{name}: {decision.decision}")
    for reason in decision.reasons:
        output.say(f"  {reason}")


def to_value(decision: Decision, name: str) -> dict[str, Any]:
    """Returns a decision as scripts read it."""
    return {
        "name": name,
        "block": decision.block,
        "decision": decision.decision,
        "reasons": list(decision.reasons),
        "sequence": decision.sequence,
        "heldout": decision.heldout,
        "look": decision.look,
        "alpha": decision.alpha,
    }


def _floors(given: list[str] | None) -> dict[str, float] | None:
    from population.errors import InputError

    if not given:
        return None
    floors = {}
    for text in given:
        tier, _, value = text.partition("=")
        try:
            floors[tier] = float(value)
        except ValueError:
            raise InputError(f"--floor {text!r}: write TIER=VALUE, e.g. lite=0.95") from None
        if tier not in ("lite", "pro", "ultimate") or not 0 <= floors[tier] <= 1:
            raise InputError(f"--floor {text!r}: the tier is lite, pro or ultimate, and the value lies between 0 and 1")
    return floors


def _to_value(head: Head) -> dict[str, Any]:
    return {
        "stage": head.stage,
        "name": head.name,
        "block": head.block,
        "sequence": head.sequence,
        "signed_by": head.signed_by,
        "heldout": head.evidence.get("heldout", {}),
        "kind": head.kind,
        "decided": head.decided,
    }


def _as_table(found: list[Head], with_kind: bool) -> Any:
    from evolve.display import number, short_id

    columns = ["name", "stage", "block", "sequence", "held-out", "decided", "signed by"]
    rows = []
    for head in found:
        heldout = head.evidence.get("heldout", {})
        metric = head.evidence.get("metric", "accuracy")
        scores = ", ".join(f"{tier} {number(heldout[tier].get(metric))}" for tier in TIERS if tier in heldout)
        scores = f"{metric}: {scores}" if scores else "-"
        cells = [head.name, head.stage, short_id(head.block), str(head.sequence), scores]
        rows.append(
            [*cells, head.decided[:16].replace("T", " "), short_id(head.signed_by), *([head.kind] if with_kind else [])]
        )
    return display.table([*columns, *(["by"] if with_kind else [])], rows, right=("sequence",))
