"""Homes with a made-up campaign of many individuals, or of names that nobody would choose in good faith."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evolve.home.home import Home
from population.clock import ManualClock
from population.files.local_files import LocalFiles
from population.lineage import Commit, LineageWriter
from population.lineage.format.records import Measure
from tests.evolve.cli.conftest import write_config
from tests.population.lineage.lineage_samples import identity, sample_births, sample_campaign, sample_commit

#: Ends a script, opens an element, leaves an attribute, begins a comment, breaks a line of a script, asks a template.
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`&amp;<!--]]>"
    "\u2028\u202e\x07{{ 7 * 7 }}{% x %}</style>"
)


def many(folder: Path, births: int, a_step: int = 1000) -> Home:
    """Returns the home of a campaign of so many births, each with two parents some ten and some forty births before it; the
    last one is published."""
    home, handle = _begun(folder)
    with LineageWriter(LocalFiles(), home.root, handle, ManualClock()) as writer:
        for step in range(births // a_step):
            commit = sample_commit(step, a_step, handle)
            events = commit.births[0].event.tolist()
            writer.commit(replace(commit, births=(sample_births(events[0], a_step, **_deep(events)),), events=()))
        block = {"block": "bafyr4ihmade", "individual": identity(births - 1), "campaign": handle, "bytes": 3}
        writer.commit(Commit(births // a_step, rows={"blocks": [block]}))
    return home


def parents_of(event: int) -> tuple[str, ...]:
    """Returns the parents of a birth of ``many``."""
    return (identity(event - 7 - event % 13), identity(event - 20 - event % 31)) if event >= 100 else ()


def _deep(events: list[int]) -> dict[str, Any]:
    parents = tuple(parents_of(event) for event in events)
    return {"parents": parents, "roles": tuple(("parent", "mate")[: len(found)] for found in parents)}


def named(folder: Path, text: str) -> Home:
    """Returns the home of a campaign in which whatever may hold text holds this one."""
    home, handle = _begun(folder)
    count = 40
    births = sample_births(
        0,
        count,
        operator=tuple(f"{text}{event % 3}@{text}" for event in range(count)),
        settings=tuple(f'{{"rate":{event}}}' if event % 2 else text for event in range(count)),
        verdict=tuple(text if event % 7 == 3 else "ok" for event in range(count)),
        detail=(text,) * count,
        roles=tuple(((text,) * len(sample_births(e, 1).parents[0])) for e in range(count)),
        sandbox_level=text,
        environment=text,
        skill_measures=tuple(Measure(text, "validation", "ultimate", f"{n} {text}") for n in range(10)),
        skills=np.linspace(0, 1, count * 10).reshape(count, 10),
    )
    campaign = sample_campaign(handle, state=text, environment=text, forked_from=text, forked_at=3, campaign_key=text)
    rows = {
        **sample_commit(0, 0, handle).rows,
        "campaigns": [campaign],
        "blocks": [{"block": text, "individual": identity(8), "campaign": handle, "tiers": {"lite": {text: 8}}, "bytes": 3}],
        "promotions": [
            {"stage": text, "name": text, "sequence": 1, "block": text, "decision": text, "reason": f"{text}; {text}",
             "campaign": handle, "individual": identity(8), "look": 1, "alpha": 0.025, "decided": 5.0}
        ],
    }  # fmt: skip
    with LineageWriter(LocalFiles(), home.root, handle, ManualClock()) as writer:
        writer.commit(Commit(0, (births,), (), rows, ({"kind": text, "judge_s": text},)))
    return home


def _begun(folder: Path) -> tuple[Home, str]:
    home = Home.create(folder)
    handle = home.new_handle("tiny")
    write_config(home.campaign_dir(handle)).rename(home.campaign_dir(handle) / "config.yaml")
    return home, handle
