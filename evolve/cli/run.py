"""``evolve run`` and ``evolve resume``: launches a campaign, shows how it goes, promotes its winner, prints the last page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.cli import options, output
from evolve.cli.interruption import Interruption
from evolve.cli.trackers import tracking

if TYPE_CHECKING:
    from evolve.config import CampaignConfig
    from evolve.home import Home
    from evolve.promotion import Decision
    from evolve.tracker import Tracker

Seed = Annotated[int | None, typer.Option(min=0, help="The root of all randomness.", show_default="the config's")]
Workers = Annotated[
    int | None, typer.Option(min=1, max=4096, help="How many workers judge.", show_default="the config's")
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDR",
        help="Where: 'local' for child processes without Ray, '' for Ray on this machine, or a Ray cluster's address.",
        show_default="the config's",
    ),
]
AcceptLevel = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL",
        help="The least isolation for plugins' code and for promotions: full, reduced or none.",
        show_default="the config's",
    ),
]


def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file; configs/ holds some.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the config to set otherwise.")
    ] = None,
    seed: Seed = None,
    workers: Workers = None,
    address: Address = None,
    accept_level: AcceptLevel = None,
    again: Annotated[bool, typer.Option("--again", help="Compute a finished campaign anew and compare.")] = False,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Launch a campaign; where its config says so, promote the winner.

    The same config and seed give the same result on any number of workers. A campaign that this home has finished is
    shown, not computed twice; one that was interrupted goes on where it stopped. Ctrl-C ends after the current step.

    Examples:
      evolve run configs/digits.yaml
      evolve run configs/digits.yaml strategy.population=48 stop.generations=10 --seed 7
      evolve run configs/digits.yaml --address local --workers 2 --json
    """
    from evolve.config import load_config
    from evolve.plan import make_plan

    extra = [*(overrides or ()), *_as_overrides(seed, workers, address, accept_level)]
    checked = load_config(config, extra)
    make_plan(checked)  # everything that can be wrong is found before anything is made
    _carry_out(checked, options.create_home(home), again=again, as_json=as_json)


def resume(
    campaign: Annotated[str, typer.Argument(help="Its name in the home, as `evolve status` lists it.")],
    workers: Workers = None,
    address: Address = None,
    accept_level: AcceptLevel = None,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Go on with a campaign that was interrupted, exactly as if it never had been.

    Examples:
      evolve resume digits
      evolve resume digits-2 --workers 4
    """
    from evolve.config import load_config
    from evolve.home import CONFIG_FILE
    from population.errors import NotFound

    opened = options.open_home(home)
    if campaign not in opened.campaigns():
        known = ", ".join(opened.campaigns()) or "none yet"
        raise NotFound(f"no campaign {campaign!r} in {opened.root}; there are: {known}")
    config = load_config(
        opened.campaign_dir(campaign) / CONFIG_FILE, _as_overrides(None, workers, address, accept_level)
    )
    _carry_out(config, opened, handle=campaign, as_json=as_json)


def _as_overrides(
    seed: int | None, workers: int | None, address: str | None, accept_level: str | None = None
) -> list[str]:
    given = {"seed": seed, "run.workers": workers, "run.address": address, "run.accept_level": accept_level}
    return [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def _carry_out(
    config: CampaignConfig, home: Home, *, as_json: bool, again: bool = False, handle: str | None = None
) -> None:
    from evolve.display import program
    from evolve.shell import Interrupted

    try:
        with tracking(home) as tracker:
            summary = _launch(config, home, tracker, again, handle)
            decision = _promote(config, home, summary, tracker)
    except Interrupted as stopped:
        output.note(str(stopped))
        for handle, state in home.campaign_by_key(config.key.hex()):
            if state == "interrupted":
                output.note(f"go on with it: {program()} resume {handle}")
        raise typer.Exit(130) from None
    if as_json:
        output.show_json(summary)
    else:
        _show_page(summary, decision, config, home)
    if summary["state"] == "failed":
        output.note(
            'the campaign ended without a champion: no candidate could be judged; see `evolve query "FROM quarantine"`'
        )
        raise typer.Exit(1)


def _show_page(summary: dict[str, Any], decision: Decision | None, config: CampaignConfig, home: Home) -> None:
    from evolve.baselines import baselines_of
    from evolve.page import last_page

    output.note("comparing with plain methods on the same rows")
    output.show(*last_page(summary, decision, config, home, baselines_of(config, home, summary["campaign"])))


def _launch(config: CampaignConfig, home: Home, tracker: Tracker, again: bool, handle: str | None) -> dict[str, Any]:
    from evolve.cli.progress import shown
    from evolve.launch import launch

    with Interruption() as interruption, shown() as progress:

        def held(state: Any) -> None:
            interruption.hold()
            progress(state)

        event = interruption.event
        return launch(config, home, again=again, handle=handle, progress=held, tracker=tracker, interrupted=event)


def _promote(config: CampaignConfig, home: Home, summary: dict[str, Any], tracker: Tracker) -> Decision | None:
    """Promotes the champion where the config asks for it, and adds the held-out scores to the summary."""
    if config.promote is None or not summary.get("champion"):
        return None
    from evolve.promotion import promote

    name = config.promote.name
    output.note(f"the gate: is the champion fit for the head {name!r}? (held-out rows are looked at where it must be)")
    floors = {str(tier): floor for tier, floor in config.promote.floors.items()}
    margin = config.promote.margin
    level = config.run.accept_level
    decision = promote(
        home, summary["champion"], name, floors=floors, margin=margin, accept_level=level, tracker=tracker
    )
    summary["heldout"] = {tier: dict(scores) for tier, scores in decision.heldout.items()}
    home.write_summary(summary["campaign"], summary)
    return decision
