"""``evolve quarantine list``: what failed, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evolve import display
from evolve.cli.shared import options, output
from evolve.cli.shared.helptext import help_of

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at the candidates that failed.")
_SQL = (
    "SELECT individual, verdict, detail, campaign, generation FROM quarantine {where} ORDER BY campaign, generation, 1"
)


def list_quarantine(
    campaign: Annotated[str | None, typer.Argument(help="Only of this one.", show_default="all")] = None,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """List the candidates that failed, with the verdict and its reason.

    Examples:
      evolve quarantine list
      evolve quarantine list digits --json
    """
    from evolve.cli.campaigns.pause import the_one
    from population.lineage.format.schema import check_handle
    from population.lineage.sql.query import run_query

    opened = options.open_home(home)
    where = ""
    if campaign is not None:
        where = f"WHERE campaign = '{check_handle(the_one(opened, campaign, (), 'list'))}'"  # no quote passes the check
    found = run_query(opened.lineage_reader(), _SQL.format(where=where)).to_pylist()
    if as_json:
        output.show_json(found)
    elif found:
        output.show(_as_table(found))
    else:
        output.note(f"nothing is in quarantine in {opened.root}" + (f" of {campaign}" if campaign else ""))


def _as_table(found: list[dict[str, Any]]) -> Any:
    from evolve.display import short_id

    columns = ("individual", "verdict", "detail", "campaign", "generation")
    rows = [
        (short_id(row["individual"]), row["verdict"], row["detail"] or "-", row["campaign"], f"{row['generation']:,}")
        for row in found
    ]
    return display.table(columns, rows, right=("generation",))


app.command("list", help=help_of(list_quarantine))(list_quarantine)
