"""``evolve pause`` and ``evolve stop``: asks the driver of a campaign, from any terminal, to end after its step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve.cli.shared import options, output

if TYPE_CHECKING:
    from evolve.driver.requests import RequestFolder
    from evolve.home.home import Home

POLL_S = 0.1
#: Whether somebody drives is seen by trying the lock, which a driver that begins just then would run into: not so often.
LOOK_EVERY_S = 1.0
WAIT_S = 60.0

Campaign = Annotated[
    str | None, typer.Argument(help="Its name in the home.", show_default="the one that runs, if it is the only one")
]
Wait = Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait until it has ended.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Ask, and do not wait for what becomes of it.")]
Now = Annotated[bool, typer.Option("--now", help="Do not wait for the step under way: it is done again by resume.")]


def pause(
    campaign: Campaign = None,
    wait: Wait = WAIT_S,
    no_wait: NoWait = False,
    now: Now = False,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Pause a running campaign after its step; `evolve resume` goes on with it, to the same bits.

    Works from any terminal. Exit code 0: it is paused (with --no-wait: asked); 1: it does not run, it ended otherwise, or
    its step takes longer than the wait (the request stands).

    Examples:
      evolve pause
      evolve pause digits --wait 300
      evolve pause digits --now --json
    """
    _ask("pause", campaign, 0.0 if no_wait else wait, now, as_json, options.open_home(home))


def stop(
    campaign: Campaign = None,
    wait: Wait = WAIT_S,
    no_wait: NoWait = False,
    now: Now = False,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Stop a running campaign after its step, for good as far as you know now; `evolve resume` still goes on with it.

    Works from any terminal. Exit code 0: it is stopped (with --no-wait: asked); 1: it does not run, it ended otherwise, or
    its step takes longer than the wait (the request stands).

    Examples:
      evolve stop
      evolve stop digits --no-wait
    """
    _ask("stop", campaign, 0.0 if no_wait else wait, now, as_json, options.open_home(home))


def the_one(home: Home, campaign: str | None, states: tuple[str, ...], verb: str) -> str:
    """Returns the campaign that is meant: the one named, or the only one in one of these states.

    Raises:
        NotFound: there is none such. InputError: there are several, which are named.
    """
    from population.errors import InputError, NotFound

    handles = home.campaigns()
    if campaign is not None:
        if campaign not in handles:
            raise NotFound(f"no campaign {campaign!r} in {home.root}; there are: {', '.join(handles) or 'none yet'}")
        return campaign
    found = [handle for handle in handles if home.state_as_far_as_known(handle) in states]
    if not found:
        raise NotFound(
            f"there is no campaign to {verb} in {home.root}: none is {' or '.join(states)}; see `evolve status`"
        )
    if len(found) > 1:
        raise InputError(f"several campaigns could be meant: {', '.join(found)}; name one")
    return found[0]


def _ask(verb: str, campaign: str | None, wait_s: float, now: bool, as_json: bool, home: Home) -> None:
    from evolve.driver.requests import REQUESTS, RequestFolder

    handle = the_one(home, campaign, ("running",), verb)
    wanted = REQUESTS[verb]
    began = time.monotonic()
    is_asked = home.is_running(handle)
    if is_asked:
        _wait(home, handle, RequestFolder(home.files, home.campaign_dir(handle)), verb, now, began + wait_s)
    state = home.state_of(handle)
    is_obeyed = state == wanted
    value = {
        "campaign": handle,
        "state": state,
        "asked": is_asked,
        "obeyed": is_obeyed,
        "seconds": round(time.monotonic() - began, 3),
    }
    if as_json:
        output.show_json(value)
    else:
        _tell(value, verb, wanted)
    raise typer.Exit(0 if is_obeyed or (is_asked and not wait_s) else 1)


def _wait(home: Home, handle: str, requests: RequestFolder, verb: str, now: bool, deadline: float) -> None:
    """Asks, and asks whoever drives next too, until nobody drives or the time is up."""
    asked, next_look = "", 0.0
    while True:
        driver = requests.driver()
        if driver is not None and driver["token"] != asked:
            asked = str(driver["token"])
            requests.ask(verb, asked, at_once=now)
        moment = time.monotonic()
        if moment >= next_look or driver is None:
            if not home.is_running(handle):
                return
            next_look = moment + LOOK_EVERY_S
        if moment >= deadline and asked:
            return
        time.sleep(POLL_S)


def _tell(value: dict[str, Any], verb: str, wanted: str) -> None:
    from evolve.display import program

    handle, state = value["campaign"], value["state"]
    if not value["asked"]:
        output.say(
            f"{handle} does not run: it is {state}" + ("" if value["obeyed"] else f"; there is nothing to {verb}")
        )
    elif value["obeyed"]:
        output.say(f"{handle} is {wanted}, after {value['seconds']:.1f} s; {program()} resume {handle} goes on with it")
    elif state == "running":
        output.say(
            f"{handle} was asked to {verb}, and ends after its step; {program()} {verb} {handle} --now does not wait"
        )
    else:
        output.say(f"{handle} ended before it could be {wanted}: it is {state}")
