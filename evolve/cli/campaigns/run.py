"""``evolve run`` and ``evolve resume``: launches a campaign, shows how it goes, promotes its winner, prints the last page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.cli.campaigns.table_notes import show_table
from evolve.cli.shared import options, output
from evolve.cli.shared.interruption import Interruption
from evolve.cli.shared.trackers import tracking

if TYPE_CHECKING:
    from evolve.campaign.events import Extended
    from evolve.config.campaign import CampaignConfig
    from evolve.home.home import Home
    from evolve.promotion.promote import Decision
    from evolve.tracking.protocol import Tracker

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
DiskWait = Annotated[
    float,
    typer.Option(
        "--disk-wait", min=0, metavar="SECONDS", help="How long to wait for space before a full disk pauses it."
    ),
]
DISK_WAIT_S = 600.0
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
    disk_wait: DiskWait = DISK_WAIT_S,
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
      evolve run configs/tabular.yaml data.path=houses.csv data.target=price
      evolve run configs/improve.yaml model=net.py:Net model.weights=net.safetensors
    """
    from evolve.config.campaign import load_config
    from evolve.planning.plan import make_plan

    extra = [*(overrides or ()), *as_overrides(seed, workers, address, accept_level)]
    checked = load_config(config, extra)
    if checked.model is not None:
        _improve(checked, options.create_home(home), as_json=as_json, again=again, disk_wait_s=disk_wait)
        return
    plan = make_plan(checked)  # everything that can be wrong is found before anything is made
    if plan.benchmark.preparation is not None:
        show_table(plan.benchmark.preparation.report)
    carry_out(plan.config, options.create_home(home), as_json=as_json, again=again, disk_wait_s=disk_wait)


def _improve(config: CampaignConfig, home: Home, **asked: Any) -> None:
    """Takes a model in, and carries its campaign out."""
    from evolve.models.founder import with_model
    from evolve.planning.plan import make_plan

    assert config.model is not None
    output.note(f"taking {config.model.path} in: its code runs in the jail ...")
    config, origin = with_model(config, home)
    plan = make_plan(config)
    output.note(f"it is block {config.model.block if config.model else ''}; the campaign begins with it")
    carry_out(plan.config, home, origin=origin, **asked)


def resume(
    campaign: Annotated[
        str | None,
        typer.Argument(
            help="Its name in the home, as `evolve status` lists it.", show_default="the only one that is not finished"
        ),
    ] = None,
    evaluations: Annotated[
        str | None, typer.Option(metavar="+N", help="Go on with a finished campaign for N more evaluations.")
    ] = None,
    generations: Annotated[
        str | None, typer.Option(metavar="+N", help="Go on with a finished campaign for N more generations.")
    ] = None,
    continue_inexact: Annotated[
        bool,
        typer.Option("--continue-inexact", help="Go on though this environment is another one; the lineage says so."),
    ] = False,
    workers: Workers = None,
    address: Address = None,
    accept_level: AcceptLevel = None,
    disk_wait: DiskWait = DISK_WAIT_S,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Go on with a campaign that was interrupted, paused, stopped, killed or failed, exactly as if it never had been.

    A finished one goes on for so many more evaluations or generations (the config's stop rules, which have had their say,
    no longer count), and publishes its champion anew. That too is exact, however often it is interrupted.

    Examples:
      evolve resume
      evolve resume digits-2 --workers 4
      evolve resume digits --evaluations +500
    """
    from evolve.cli.campaigns.pause import the_one
    from evolve.config.campaign import load_config
    from evolve.home.home import CONFIG_FILE

    opened = options.open_home(home)
    extension = _extension(evaluations, generations)
    states = ("done",) if extension else ("interrupted", "paused", "stopped", "failed")
    handle = the_one(opened, campaign, states, "resume")
    overrides = as_overrides(None, workers, address, accept_level)
    config = load_config(opened.campaign_dir(handle) / CONFIG_FILE, overrides)
    carry_out(
        config,
        opened,
        as_json=as_json,
        handle=handle,
        extension=extension,
        inexactly=continue_inexact,
        disk_wait_s=disk_wait,
    )


def _extension(evaluations: str | None, generations: str | None) -> Extended | None:
    from evolve.campaign.events import Extended

    more = {"evaluations": evaluations, "generations": generations}
    numbers = {name: _more(name, text) for name, text in more.items() if text is not None}
    return Extended(numbers.get("evaluations"), numbers.get("generations")) if numbers else None


def _more(name: str, text: str) -> int:
    from population.errors import InputError

    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or not 0 < int(digits) < 2**53:
        raise InputError(f"--{name} {text!r}: write how many more, e.g. +500")
    return int(digits)


def as_overrides(
    seed: int | None, workers: int | None, address: str | None, accept_level: str | None = None
) -> list[str]:
    """Returns options as overrides of a config."""
    given = {"seed": seed, "run.workers": workers, "run.address": address, "run.accept_level": accept_level}
    return [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def carry_out(config: CampaignConfig, home: Home, *, as_json: bool, handle: str | None = None, **asked: Any) -> None:
    """Launches a campaign and promotes its champion where the config asks for it; prints what came of it.

    Args:
        asked: what ``launch`` is told besides.
    """
    from evolve.display import program
    from evolve.driver.requests import Interrupted

    try:
        with tracking(home) as tracker:
            summary = _launch(config, home, tracker, handle=handle, **asked)
            decision = _promote(config, home, summary, tracker)
    except Interrupted as stopped:
        output.note(str(stopped))
        name = stopped.campaign or handle
        output.note(f"go on with it: {program()} resume{' ' + name if name else ''}")
        raise typer.Exit(130) from None
    if config.model is not None and decision is not None:
        summary["improved"] = _improved(config, home, decision)
    if as_json:
        output.show_json(summary)
    else:
        _show_page(summary, decision, config, home)
        _show_improved(summary.get("improved"))
    if summary["state"] == "failed":
        output.note(
            'the campaign ended without a champion: no candidate could be judged; see `evolve query "FROM quarantine"`'
        )
        raise typer.Exit(1)


def _improved(config: CampaignConfig, home: Home, decision: Decision) -> dict[str, Any]:
    """Returns how a model and what came of it compare on held-out rows, as the gate saw them."""
    from evolve.models.founder import comparison

    assert config.model is not None
    entries = comparison(home, config.model.block, decision)
    return {"decision": decision.decision, "model": config.model.block, "compared": entries}


def _show_improved(improved: dict[str, Any] | None) -> None:
    if improved is None:
        return
    from evolve.display import count

    rows = [
        (
            entry["what"],
            ", ".join(f"{name} {value:.4g}" for name, value in entry["heldout"].items()) or "-",
            count(entry["flops"]),
            f"{entry['share']:.0%}",
            f"{entry['parameters']:,}",
        )
        for entry in improved["compared"]
    ]
    headings = ("", "on held-out rows", "FLOPs a sample", "of the model's", "parameters")
    output.show("", output.table(headings, rows, right=("FLOPs a sample", "of the model's", "parameters")))


def _show_page(summary: dict[str, Any], decision: Decision | None, config: CampaignConfig, home: Home) -> None:
    from evolve.reports.baselines import baselines_of
    from evolve.reports.closing_page import last_page

    output.note("comparing with plain methods on the same rows")
    output.show(*last_page(summary, decision, config, home, baselines_of(config, home, summary["campaign"])))


def _launch(config: CampaignConfig, home: Home, tracker: Tracker, **asked: Any) -> dict[str, Any]:
    from evolve.cli.shared.progress import shown
    from evolve.driver.launch import launch

    with Interruption() as interruption, shown() as progress:

        def held(state: Any) -> None:
            interruption.hold()
            progress(state)

        event = interruption.event
        return launch(config, home, progress=held, tracker=tracker, interrupted=event, say=output.note, **asked)


def _promote(config: CampaignConfig, home: Home, summary: dict[str, Any], tracker: Tracker) -> Decision | None:
    """Promotes the champion where the config asks for it, and adds the held-out scores to the summary."""
    if config.promote is None or not summary.get("champion"):
        return None
    from evolve.promotion.promote import promote

    name = config.promote.name
    output.note(f"the gate: is the champion fit for the head {name!r}? (held-out rows are looked at where it must be)")
    floors = {str(tier): floor for tier, floor in config.promote.floors.items()}
    margin = config.promote.margin
    level = config.run.accept_level
    if config.model is not None:
        from evolve.promotion.promote import install

        install(home, config.model.block, name, "the model as it came in: what follows is compared with it")
    decision = promote(
        home, summary["champion"], name, floors=floors, margin=margin, accept_level=level, tracker=tracker
    )
    summary["heldout"] = {tier: dict(scores) for tier, scores in decision.heldout.items()}
    home.write_summary(summary["campaign"], summary)
    return decision
