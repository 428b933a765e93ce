"""kill -9 at any moment of a campaign's life, of its recoveries too: nothing acknowledged is lost, nothing is there twice,
and what comes out in the end is what the campaign that nobody killed came to."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from evolve.config import load_config
from evolve.home import Home
from evolve.launch import launch
from evolve.tracker import NullTracker
from tests.evolve import whole
from tests.evolve.foundry import Foundry, Task

ES = str(whole.ROOT / "configs" / "digits-es.yaml")
ES_SMALL = ("strategy.population=8", "stop.generations=5", "promote=null", "keyframe=2")
#: A config and what makes it small, by strategy.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ga": (str(whole.DIGITS), (*whole.SMALL, "strategy.kind=ga")),
    "openai_es": (ES, ES_SMALL),
    "steady": (
        str(whole.DIGITS),
        (*whole.SMALL, "strategy.kind=steady", "strategy.settings.batch=3", "strategy.settings.window=3"),
    ),
}


@dataclass
class Campaigns:
    """The campaigns of one kind: what they must come to, and the one that is under way."""

    kind: str
    root: Path
    hashes: dict[str, Any] = field(default_factory=dict)
    facts: list[bytes] = field(default_factory=list)
    seconds: float = 0.0
    changes: int = 0
    number: int = 0
    life: int = 0
    below: dict[int, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / f"{self.kind}-{self.number}"

    def task(self, **changes: Any) -> Task:
        config, overrides = KINDS[self.kind]
        return replace(Task(str(self.home), config, overrides, f"{self.home}.log"), **changes)

    @property
    def noted(self) -> list[dict[str, Any]]:
        """What drivers noted of this campaign: the commits that were acknowledged, and the summary of one that ended."""
        lines = Path(f"{self.home}.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def handle(self) -> str:
        handles = Home.open(self.home).campaigns() if (self.home / "VERSION").exists() else []
        assert len(handles) <= 1
        return handles[0] if handles else ""

    def check_acknowledged(self) -> int:
        """Checks that the log begins with what was acknowledged, and is the beginning of what it must become."""
        handle = self.handle()
        there = whole.commits_of(self.home, handle) if handle else []
        acknowledged = {note["step"]: note["hash"] for note in self.noted if "hash" in note}
        found = {step: blake3(commit).hexdigest() for step, commit in enumerate(there)}
        assert {step: found.get(step) for step in acknowledged} == acknowledged
        assert len(there) - len(acknowledged) <= self.life  # each driver may die between the log and its note
        facts = whole.facts_of(self.home, handle) if handle else []
        assert facts == self.facts[: len(facts)]
        return len(there)

    def check_end(self) -> None:
        """Checks that it came to what the campaign that nobody killed came to."""
        summary = self.noted[-1]["done"]
        assert whole.hashes(summary) == self.hashes
        assert whole.facts_of(self.home, self.handle()) == self.facts
        assert Home.open(self.home).state_of(self.handle()) == "done"
        births = [b for c in Home.open(self.home).lineage_reader().commits(self.handle()) for b in c.births]
        individuals = [name for batch in births for name in batch.individual]
        assert len(individuals) == len(set(individuals))


@pytest.fixture(scope="module")
def foundry() -> Iterator[Foundry]:
    with Foundry() as made:
        yield made


def begun(kind: str, root: Path, foundry: Foundry) -> Campaigns:
    """Returns the campaigns of a kind, once one of them was run by an executed program's workers and one by forked ones."""
    config, overrides = KINDS[kind]
    loaded = load_config(Path(config), [*overrides, "run.address=local", "run.workers=1"])
    home = Home.create(root / f"{kind}-reference")
    tracker = NullTracker()
    summary = launch(loaded, home, progress=lambda _: None, tracker=tracker, interrupted=_never())
    made = Campaigns(kind, root, whole.hashes(summary), whole.facts_of(home.root, summary["campaign"]))
    began = time.monotonic()
    assert foundry.wait(foundry.start(made.task())) == 0
    made.seconds = time.monotonic() - began
    made.check_acknowledged()
    made.check_end()
    made.number += 1
    return made


def _never() -> Any:
    import threading

    return threading.Event()


def live_and_die(made: Campaigns, foundry: Foundry, rng: np.random.Generator) -> tuple[bool, bool]:
    """Starts a driver and kills it somewhere; returns whether it died, and whether that was in its recovery."""
    handle = made.handle()
    before = len(whole.commits_of(made.home, handle)) if handle else 0
    soon = 0.2 if before and rng.random() < 0.4 else 1.0
    task = made.task(workers=int(rng.integers(1, 3)), checkpoint_births=[None, 1, 10][rng.integers(3)])
    by_count = bool(rng.random() < 0.5)
    if by_count:
        moment = str(rng.choice(["before", "midst", "after"]))
        last = 1 + int(rng.integers(0, max(2, int(soon * CHANGES_OF_A_LIFE))))
        pid = foundry.start(replace(task, die_at=last, moment=moment))
    else:
        pid = foundry.start(task)
        time.sleep(rng.uniform(0.0, soon * made.seconds))
        made.below |= whole.family(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    code = foundry.wait(pid)
    assert code in (0, -signal.SIGKILL)
    made.life += 1
    after = made.check_acknowledged()
    if code == 0:
        made.check_end()
        made.number, made.life = made.number + 1, 0
    return code != 0, code != 0 and before > 0 and after == before


#: Changes of the disk in the life of one driver of a small campaign, roughly.
CHANGES_OF_A_LIFE = 150


def _kill(kinds: list[str], kills: int, seed: int, root: Path, foundry: Foundry, told: Callable[[str], None]) -> None:
    rng = np.random.default_rng(seed)
    campaigns = [begun(kind, root, foundry) for kind in kinds]
    num_killed = num_recoveries = num_ended = 0
    while num_killed < kills:
        made = campaigns[num_killed % len(campaigns)]
        died, recovering = live_and_die(made, foundry, rng)
        num_killed, num_recoveries, num_ended = num_killed + died, num_recoveries + recovering, num_ended + (not died)
    for made in campaigns:
        assert foundry.wait(foundry.start(made.task())) == 0
        made.life += 1
        made.check_acknowledged()
        made.check_end()
        assert whole.all_end(made.below, 15.0), whole.living(made.below)
    told(
        f"{num_killed} drivers killed ({', '.join(kinds)}), {num_recoveries} of them before the first commit of their "
        f"recovery; {num_ended + len(campaigns)} campaigns ended with the hashes of the one nobody killed; "
        "0 acknowledged commits lost, 0 twice"
    )


def test_drivers_killed_at_random_moments_lose_nothing(
    tmp_path: Path, foundry: Foundry, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    _kill(["steady"], scaled(3), 1, tmp_path, foundry, told)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_hundreds_of_drivers_killed_at_random_moments_lose_nothing(
    tmp_path: Path, foundry: Foundry, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    _kill(list(KINDS), scaled(240), 2, tmp_path, foundry, told)
