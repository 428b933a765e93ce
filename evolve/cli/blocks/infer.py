"""``evolve infer``: the reference runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evolve import display
from evolve.cli.shared import options, output

MAX_ROWS = 20
TIERS = ("lite", "pro", "ultimate")


def infer(
    target: Annotated[
        str,
        typer.Argument(metavar="NAME_OR_BLOCK", help="A production name or a block's id; NAME@lite chooses a tier."),
    ],
    input: Annotated[  # noqa: A002 -- the option's name
        Path,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE",
            help=".npz (an array a channel), .npy, .csv or .json; raw rows also .parquet.",
        ),
    ],
    tier: Annotated[
        str | None, typer.Option(help="lite, pro, ultimate, or auto: by the exit gates.", show_default="ultimate")
    ] = None,
    accept_level: options.AcceptOption = "full",
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Run a block on inputs from a file; every answer says which block and tier gave it, and at what cost.

    A .json file holds {channel: nested lists}, or one nested list for a block with a single input. A block that was made
    from a table takes raw rows with the table's own column names, as CSV, Parquet or JSON ([{column: value}, ...]), and
    answers with names of classes, or numbers in the target's own unit; other columns are passed over. With `auto`, each row
    goes to lite first, and on to pro and ultimate until an exit gate is satisfied. A block with an operation of another
    package runs in a jail.

    Examples:
      evolve infer digits@lite --input experiments/digits/samples.npz
      evolve infer digits --tier auto --input rows.csv --json
      evolve infer tabular --input new_rows.csv
    """
    from evolve.home.block_names import split_target
    from evolve.home.infer import infer as answer
    from evolve.planning.isolation_rules import checked_level

    opened = options.open_home(home)
    name, chosen = split_target(target, tier)
    found = answer(opened, f"{name}@{chosen}", input, accept_level=checked_level(accept_level))
    if as_json:
        output.show_json(found)
    else:
        shown = _as_answers(found["answers"]) if found.get("answers") else _as_table(found["outputs"])
        output.show(shown, _provenance(found["provenance"]))


def _as_table(outputs: dict[str, Any]) -> Any:
    """Returns a table with a line a row: of each output the place of its largest value, that value, and the first ones."""
    import numpy as np

    arrays = {channel: np.asarray(values).reshape(len(values), -1) for channel, values in outputs.items()}
    num_rows = len(next(iter(arrays.values())))
    columns = ["row", *(title for channel in arrays for title in (f"{channel}: largest at", "value", "all values"))]
    rows = []
    for row in range(min(num_rows, MAX_ROWS)):
        cells = [str(row)]
        for array in arrays.values():
            top = int(np.argmax(array[row]))
            cells += [str(top), f"{array[row][top]:.3f}", _first_values(array[row])]
        rows.append(cells)
    if num_rows > MAX_ROWS:
        output.note(f"the first {MAX_ROWS} of {num_rows:,} rows; --json gives them all")
    return display.table(columns, rows, right=[name for name in columns if not name.startswith("all")])


def _as_answers(answers: dict[str, dict[str, list[Any]]]) -> Any:
    """Returns a table with a line a row: what is said of each target column, and how sure of a class the block is."""
    from evolve.display import number

    parts = [(column, name, told[name]) for column, told in answers.items() for name in told]
    columns = ["row", *(column if name == "answer" else name for column, name, _ in parts)]
    num_rows = len(parts[0][2])
    rows = [
        [
            str(row),
            *(
                "" if v is None else v if isinstance(v, str) else number(v)
                for _, _, told in parts
                for v in (told[row],)
            ),
        ]
        for row in range(min(num_rows, MAX_ROWS))
    ]
    if num_rows > MAX_ROWS:
        output.note(f"the first {MAX_ROWS} of {num_rows:,} rows; --json gives them all")
    return display.table(columns, rows, right=["row", "confidence"])


def _first_values(values: Any) -> str:
    shown = " ".join(f"{value:.2f}" for value in values[:10])
    return shown + (f" ... {len(values)} in all" if len(values) > 10 else "")


def _provenance(found: dict[str, Any]) -> str:
    from evolve.display import count, duration, short_id

    parts = [f"block {short_id(found['block'])}", _told_by(found)]
    if found.get("exit"):
        parts.append(f"exit by {found['exit']}")
    parts += [f"{count(found['flops'])} FLOPs a sample", duration(found["seconds"])]
    return "\n" + ", ".join(parts)


def _told_by(found: dict[str, Any]) -> str:
    """Returns which tier answered; where rows went different ways, how many were answered by each."""
    if "rows" not in found:
        return f"tier {found['tier']}"
    tiers = found["rows"]["tier"]
    return "rows answered by " + ", ".join(f"{tier}: {tiers.count(tier)}" for tier in TIERS if tier in tiers)
