"""``evolve run`` and ``evolve resume``: launches a campaign, shows how it goes, promotes its winner, prints the last page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve import display
from evolve.cli.campaigns.table_notes import show_table
from evolve.cli.shared import options, output
from evolve.cli.shared.interruption import Interruption

if TYPE_CHECKING:
    from evolve.campaign.events import Extended
    from evolve.config.campaign import CampaignConfig
    from evolve.driver.carry_out import CarriedOut, Watch
    from evolve.home.home import Home
    from evolve.planning.plan import Plan

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
    asked: dict[str, Any] = {"as_json": as_json, "again": again, "disk_wait_s": disk_wait}
    if checked.model is not None:
        _improve(checked, options.create_home(home), **asked)
        return
    plan = make_plan(checked)  # everything that can be wrong is found before anything is made
    if plan.benchmark.preparation is not None:
        show_table(plan.benchmark.preparation.report)
    carried_out(plan, options.create_home(home), **asked)


def _improve(config: CampaignConfig, home: Home, **asked: Any) -> None:
    """Takes a model in, and carries its campaign out."""
    from evolve.models.founder import with_model
    from evolve.recovery.forked_plan import plan_in

    assert config.model is not None
    output.note(f"taking {config.model.path} in: its code runs in the jail ...")
    config, origin = with_model(config, home)
    plan = plan_in(home, config, origin=origin)
    output.note(f"it is block {config.model.block if config.model else ''}; the campaign begins with it")
    carried_out(plan, home, **asked)


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
    from evolve.recovery.forked_plan import plan_in

    opened = options.open_home(home)
    extension = _extension(evaluations, generations)
    states = ("done",) if extension else ("interrupted", "paused", "stopped", "failed")
    handle = the_one(opened, campaign, states, "resume")
    overrides = as_overrides(None, workers, address, accept_level)
    plan = plan_in(opened, load_config(opened.campaign_dir(handle) / CONFIG_FILE, overrides), handle=handle)
    asked: dict[str, Any] = {"extension": extension, "inexactly": continue_inexact, "disk_wait_s": disk_wait}
    carried_out(plan, opened, as_json=as_json, handle=handle, **asked)


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


def carried_out(plan: Plan, home: Home, *, as_json: bool, handle: str | None = None, **asked: Any) -> None:
    """Carries a campaign out, shows how it goes, and prints what came of it.

    Args:
        asked: what ``launch`` is asked besides.
    """
    from evolve.display import program
    from evolve.driver.carry_out import carry_out
    from evolve.driver.requests import Interrupted
    from evolve.driver.trackers import tracking

    asked |= {"handle": handle, "watching": _watching(), "say": output.note}
    try:
        with tracking(home, output.note) as tracker:
            found = carry_out(plan, home, tracker=tracker, **asked)
    except Interrupted as stopped:
        output.note(str(stopped))
        name = stopped.campaign or handle
        output.note(f"go on with it: {program()} resume{' ' + name if name else ''}")
        raise typer.Exit(130) from None
    if as_json:
        output.show_json(found.summary)
    else:
        _show_page(plan, home, found)
        _show_improved(found.summary.get("improved"))
    if found.summary["state"] == "failed":
        output.note(
            'the campaign ended without a champion: no candidate could be judged; see `evolve query "FROM quarantine"`'
        )
        raise typer.Exit(1)


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
    output.show("", display.table(headings, rows, right=("FLOPs a sample", "of the model's", "parameters")))


def _show_page(plan: Plan, home: Home, found: CarriedOut) -> None:
    from evolve.reports.baselines import baselines_of
    from evolve.reports.closing_page import last_page

    output.note("comparing with plain methods on the same rows")
    baselines = baselines_of(plan, home, found.summary["campaign"])
    output.show(*last_page(found.summary, found.decision, plan.config, home, baselines))


@contextmanager
def _watching() -> Iterator[Watch]:
    """Shows how a campaign goes, and turns Ctrl-C into a wish to end."""
    from evolve.cli.shared.progress import shown
    from evolve.driver.carry_out import Watch

    with Interruption() as interruption, shown() as progress:

        def held(state: Any) -> None:
            interruption.hold()
            progress(state)

        yield Watch(held, interruption.event)
