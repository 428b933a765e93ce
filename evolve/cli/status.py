"""``evolve status``: the campaigns of a home and where each of them stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.cli import options, output

if TYPE_CHECKING:
    from evolve.home import Home

#: What every object of ``--json`` has, in this order; a finished campaign's summary has more.
FIELDS = (
    "campaign",
    "state",
    "seed",
    "generations",
    "evaluations",
    "population",
    "lineage",
    "champion",
    "scores",
    "heldout",
)


def status(
    campaign: Annotated[str | None, typer.Argument(help="Only this one.", show_default="all")] = None,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Show the campaigns of this home: running, interrupted, failed or done.

    Works from another terminal while campaigns run.

    Examples:
      evolve status
      evolve status digits --json
    """
    from population.errors import NotFound

    opened = options.open_home(home)
    handles = opened.campaigns()
    if campaign is not None and campaign not in handles:
        raise NotFound(f"no campaign {campaign!r} in {opened.root}; there are: {', '.join(handles) or 'none yet'}")
    found = [describe(opened, handle) for handle in handles if campaign in (None, handle)]
    if as_json:
        output.show_json(found)
    elif found:
        output.show(_as_table(found))
        for entry in found:
            if entry["state"] == "interrupted":
                from evolve.display import program

                output.note(f"go on with it: {program()} resume {entry['campaign']}")
    else:
        output.note(f"no campaigns yet in {opened.root}")


def describe(home: Home, handle: str) -> dict[str, Any]:
    """Returns where a campaign stands: its summary when it is over, what its lineage says so far otherwise."""
    state = home.state_of(handle)
    summary = home.summary_of(handle)
    if summary is not None and state != "running":
        return {**dict.fromkeys(FIELDS), **summary, "state": state}
    return {
        **dict.fromkeys(FIELDS),
        **_so_far(home, handle),
        "campaign": handle,
        "state": state,
        "scores": {},
        "heldout": {},
    }


def _so_far(home: Home, handle: str) -> dict[str, Any]:
    from evolve.config import load_config
    from evolve.home import CONFIG_FILE

    config = load_config(home.campaign_dir(handle) / CONFIG_FILE)
    reader = home.lineage_reader()
    found: dict[str, Any] = {"seed": config.seed, "generations": 0, "evaluations": 0, "best": {}}
    if handle not in reader.handles():
        return found
    last: dict[str, Any] | None = None
    for commit in reader.commits(handle):
        for row in commit.rows.get("generations", ()):
            last = dict(row)
    if last is not None:
        found |= {"generations": last["generation"], "evaluations": last["evaluations"]}
        found |= {"population": last["population"], "best": last["best"], "lineage": reader.content_hash(handle)}
    return found


def _as_table(found: list[dict[str, Any]]) -> Any:
    from evolve.display import number, short_id

    columns = ("campaign", "state", "seed", "generations", "evaluations", "best on validation", "champion", "took")
    rows = [
        (
            entry["campaign"],
            entry["state"],
            str(entry["seed"]),
            f"{entry['generations'] or 0:,}",
            f"{entry['evaluations'] or 0:,}",
            ", ".join(f"{name} {number(value)}" for name, value in _best(entry).items()) or "-",
            short_id(entry["champion"]),
            _took(entry),
        )
        for entry in found
    ]
    return output.table(columns, rows, right=("seed", "generations", "evaluations", "took"))


def _best(entry: dict[str, Any]) -> dict[str, float]:
    """Returns the values of the best individual by objective; of a champion only the leading ones."""
    scores: dict[str, dict[str, float]] = entry.get("scores") or {}
    top = scores.get("ultimate", {})
    return {name: top[name] for name in ("accuracy", "cross_entropy") if name in top} or dict(entry.get("best") or {})


def _took(entry: dict[str, Any]) -> str:
    from evolve.display import duration

    return duration(entry["seconds"]) if entry.get("seconds") else "-"
