"""``evolve fork``: begins a new campaign from a committed step of another, with other settings."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evolve.cli.campaigns.run import DISK_WAIT_S, Address, DiskWait, Seed, Workers, as_overrides, carried_out
from evolve.cli.shared import options


def fork(
    campaign: Annotated[
        str, typer.Argument(metavar="CAMPAIGN[@STEP]", help="Whose members; at which committed step, else the newest.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of its config to set otherwise.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the new campaign is called.", show_default="the origin's name and -fork")
    ] = None,
    seed: Seed = None,
    workers: Workers = None,
    address: Address = None,
    disk_wait: DiskWait = DISK_WAIT_S,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Begin a new campaign with the members of another one, with other settings; both keep their lineage.

    The members are adopted as they are and judged anew; stop rules count from the fork on. Benchmark and graph stay those
    of the origin, all else may change. The pedigree runs across: `evolve lineage` and `parents` name ancestors in the
    origin. Works while the origin runs, and is resumed like any campaign.

    Examples:
      evolve fork digits operators.burst.settings.learning_rate=0.01
      evolve fork digits@12 strategy.kind=ga stop.generations=40 --name digits-ga
    """
    from evolve.config.campaign import load_config
    from evolve.home.home import CONFIG_FILE
    from evolve.recovery.fork import make_origin
    from evolve.recovery.forked_plan import plan_in, with_origin

    opened = options.open_home(home)
    handle, step = _target(opened, campaign)
    path = opened.campaign_dir(handle) / CONFIG_FILE
    before = load_config(path)
    called = f"name={name or before.name + '-fork'}"
    config = load_config(path, [*(overrides or ()), *as_overrides(seed, workers, address), called])
    plan = plan_in(opened, config)  # what does not fit is said before anything is computed
    plan = with_origin(plan, make_origin(opened, handle, step, config))
    carried_out(plan, opened, as_json=as_json, disk_wait_s=disk_wait)


def _target(home: Any, text: str) -> tuple[str, int | None]:
    from evolve.cli.campaigns.pause import the_one
    from population.errors import InputError

    handle, at, step = text.partition("@")
    if at and not (step.isascii() and step.isdigit() and len(step) < 16):
        raise InputError(f"{text!r}: write CAMPAIGN@STEP with a committed step, e.g. {handle}@12")
    return the_one(home, handle, (), "fork"), int(step) if at else None
