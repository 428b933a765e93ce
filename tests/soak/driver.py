"""A long-lived process that runs one campaign after the other in one home; ``python -m tests.soak.driver HOME SEED``.

Campaigns of three seeds take turns; some are interrupted and resumed. Every end is printed as a line of JSON. It ends when
its input does.
"""

from __future__ import annotations

import json
import select
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from evolve.campaign.summary import Progress
from evolve.driver.launch import launch
from evolve.driver.loop import Interrupted
from evolve.home.home import Home
from evolve.recovery.forked_plan import plan_in
from evolve.tracking.protocol import NullTracker
from population.errors import EvaluatorFailed
from tests.evolve import whole

NUM_SEEDS = 3


def main() -> None:
    """Runs campaigns until the input ends."""
    home, rng = Home.create(Path(sys.argv[1])), np.random.default_rng(int(sys.argv[2]))
    number = 0
    while not select.select([sys.stdin], [], [], 0.0)[0]:
        _run(home, f"seed={number % NUM_SEEDS}", rng)
        number += 1


def _run(home: Home, seed: str, rng: np.random.Generator) -> None:
    config = whole.config(seed, "run.workers=2", "name=long")
    handle: str | None = None
    while True:
        event = threading.Event()
        last = int(rng.integers(1, 5)) if rng.random() < 0.3 else 10**9

        def progress(found: Progress, event: threading.Event = event, last: int = last) -> None:
            if found.generation >= last:
                event.set()

        before = set(home.campaigns())
        try:
            summary = launch(
                plan_in(home, config, handle=handle),
                home,
                again=handle is None,
                handle=handle,
                progress=progress,
                tracker=NullTracker(),
                interrupted=event,
            )
        except (Interrupted, EvaluatorFailed) as error:
            handle = handle or (set(home.campaigns()) - before or {""}).pop()
            _say({"seed": seed, "state": type(error).__name__, "detail": str(error)})
        else:
            failed = _failed(home, summary["campaign"])
            _say({"seed": seed, "state": "done", "failed": failed, **whole.hashes(summary)})
            return


def _failed(home: Home, campaign: str) -> dict[str, int]:
    """Returns how many candidates of a campaign have which verdict, but for those that are well."""
    births = (births for commit in home.lineage_reader().commits(campaign) for births in commit.births)
    return dict(Counter(verdict for found in births for verdict in found.verdict if verdict != "ok"))


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
