"""Carries a campaign out: launches it, promotes its champion where its config says so, and writes down what came of both.

Nouns: *gate* (what decides whether a block goes into production; see ``evolve.promotion.promote``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from evolve.campaign.summary import Progress
from evolve.driver.launch import launch
from evolve.home.home import Home
from evolve.planning.plan import Plan
from evolve.promotion.comparison import comparison
from evolve.promotion.promote import Decision, install, promote
from evolve.tracking.protocol import Tracker


@dataclass(frozen=True)
class Watch:
    """Who looks on while a campaign is launched. interrupted: set by whoever wants it to end after its step."""

    progress: Callable[[Progress], None]
    interrupted: threading.Event


@dataclass(frozen=True)
class CarriedOut:
    """What came of a campaign. summary: as ``evolve run --json`` prints it; decision: the gate's, where it was asked."""

    summary: dict[str, Any]
    decision: Decision | None = None


def carry_out(
    plan: Plan,
    home: Home,
    *,
    watching: AbstractContextManager[Watch],
    tracker: Tracker,
    say: Callable[[str], None],
    **asked: Any,
) -> CarriedOut:
    """Returns what came of a campaign, computed now or found done in this home.

    Args:
        plan: as ``evolve.recovery.forked_plan.plan_in`` makes it of a config.
        watching: entered while the campaign is launched, and left before its champion is promoted.
        say: tells a person what is done besides. asked: what ``launch`` is asked besides.

    Raises: as ``launch`` and ``promote``.
    """
    with watching as watch:
        summary = launch(
            plan, home, progress=watch.progress, interrupted=watch.interrupted, tracker=tracker, say=say, **asked
        )
    if plan.config.promote is None or not summary.get("champion"):
        return CarriedOut(summary)
    decision = _promote(plan, home, summary["champion"], tracker, say)
    summary["heldout"] = {tier: dict(scores) for tier, scores in decision.heldout.items()}
    home.write_summary(summary["campaign"], summary)
    if plan.config.model is not None:
        block = plan.config.model.block
        entries = comparison(home, block, decision)
        summary["improved"] = {"decision": decision.decision, "model": block, "compared": entries}
    return CarriedOut(summary, decision)


def _promote(plan: Plan, home: Home, champion: str, tracker: Tracker, say: Callable[[str], None]) -> Decision:
    config = plan.config
    assert config.promote is not None
    name = config.promote.name
    say(f"the gate: is the champion fit for the head {name!r}? (held-out rows are looked at where it must be)")
    if config.model is not None:
        install(home, config.model.block, name, "the model as it came in: what follows is compared with it")
    return promote(
        home,
        champion,
        name,
        floors={str(tier): floor for tier, floor in config.promote.floors.items()},
        margin=config.promote.margin,
        accept_level=config.run.accept_level,
        tracker=tracker,
        plan=plan,
    )
