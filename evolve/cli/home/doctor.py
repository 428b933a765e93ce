"""``evolve doctor``: what this machine can do, and what to do about what is missing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from evolve import display
from evolve.cli.shared import options, output


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what starts processes (the judge, Ray).")] = False,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Say what this machine can do: versions, cores, memory, GPU, judge, Ray, MLflow, the home.

    Exit code 0: campaigns can run here; 3: something necessary is missing, with its remedy.

    Examples:
      evolve doctor
      evolve doctor --quick --json
    """
    from evolve.doctor import examine

    checks = list(examine(options.find_home(home), options.tracking_uri(), is_quick=quick))
    is_able = all(check.state != "missing" for check in checks)
    if as_json:
        output.show_json({"ok": is_able, "checks": [asdict(check) for check in checks]})
    else:
        output.show(_as_table(checks))
        output.say(
            "\nCampaigns can run here." if is_able else "\nSomething necessary is missing; see the remedies above."
        )
    raise typer.Exit(0 if is_able else 3)


def _as_table(checks: list[Any]) -> Any:
    marks = {"ok": "ok", "note": "note", "missing": "MISSING"}
    rows = [(check.name, marks[check.state], check.found, check.remedy or "") for check in checks]
    return display.table(("what", "", "found", "what to do"), rows)
