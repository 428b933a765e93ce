"""kill -9 at any moment of a campaign's life, of its recoveries too: nothing acknowledged is lost, nothing is there twice,
and what comes out in the end is what the campaign that nobody killed came to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from evolve.config.campaign import load_config
from evolve.driver.launch import launch
from evolve.home.home import Home
from evolve.recovery.forked_plan import plan_in
from evolve.tracking.protocol import NullTracker
from tests.evolve import whole
from tests.evolve.foundry import Foundry, Task

ES = str(whole.ROOT / "configs" / "digits-es.yaml")
ES_SMALL = ("strategy.population=8", "stop.generations=5", "promote=null", "keyframe=2")
CARTPOLE = str(whole.ROOT / "configs" / "cartpole.yaml")
CARTPOLE_SMALL = (
    "strategy.population=8",
    "stop.generations=5",
    "stop.target={}",
    "benchmark.environment.max_steps=40",
    "promote=null",
    "keyframe=2",
)
#: A config and what makes it small, by strategy, and one of episodes.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ga": (str(whole.DIGITS), (*whole.SMALL, "strategy.kind=ga")),
    "openai_es": (ES, ES_SMALL),
    "episodes": (CARTPOLE, CARTPOLE_SMALL),
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
        notes = [note for note in self.noted if "hash" in note]
        acknowledged = {note["step"]: note["hash"] for note in notes}
        assert len(acknowledged) == len(notes)  # no step was committed twice
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


Begin = Callable[[str], Campaigns]


@pytest.fixture(scope="module")
def begin(foundry: Foundry, tmp_path_factory: pytest.TempPathFactory) -> Begin:
    """A function that gives the campaigns of a kind; what they must come to is found out once."""
    return cache(lambda kind: _begun(kind, tmp_path_factory.mktemp(kind), foundry))


def _begun(kind: str, root: Path, foundry: Foundry) -> Campaigns:
    """Returns the campaigns of a kind, once one of them was run with executed workers and one with forked ones."""
    config, overrides = KINDS[kind]
    loaded = load_config(Path(config), [*overrides, "run.address=local", "run.workers=1"])
    home = Home.create(root / f"{kind}-reference")
    tracker = NullTracker()
    summary = launch(
        plan_in(home, loaded),
        home,
        progress=lambda _: None,
        tracker=tracker,
        interrupted=threading.Event(),
    )
    made = Campaigns(kind, root, whole.hashes(summary), whole.facts_of(home.root, summary["campaign"]))
    began = time.monotonic()
    assert foundry.wait(foundry.start(made.task())) == 0
    made.seconds = time.monotonic() - began
    made.changes = made.noted[-1]["changes"]
    made.check_acknowledged()
    made.check_end()
    made.number += 1
    return made


def live_and_die(made: Campaigns, foundry: Foundry, rng: np.random.Generator) -> tuple[bool, bool]:
    """Starts a driver and kills it somewhere; returns whether it died, and whether that was in its recovery."""
    handle = made.handle()
    before = len(whole.commits_of(made.home, handle)) if handle else 0
    soon = 0.15 if before and rng.random() < 0.5 else 1.0
    task = made.task(workers=int(rng.integers(1, 3)), checkpoint_births=[None, 1, 10][rng.integers(3)])
    by_count = bool(rng.random() < 0.5)
    if by_count:
        moment = str(rng.choice(["before", "midst", "after"]))
        last = 1 + int(rng.integers(0, max(2, int(soon * made.changes))))
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


def _kill(kinds: list[str], kills: int, seed: int, begin: Begin, foundry: Foundry, told: Callable[[str], None]) -> None:
    rng = np.random.default_rng(seed)
    campaigns = [begin(kind) for kind in kinds]
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
        made.number, made.life = made.number + 1, 0
        assert whole.all_end(made.below, 15.0), whole.living(made.below)
    told(
        f"{num_killed} drivers killed ({', '.join(kinds)}), {num_recoveries} of them before the first commit of their "
        f"recovery; {num_ended + len(campaigns)} campaigns ended with the hashes of the one nobody killed; "
        "0 acknowledged commits lost, 0 twice"
    )


@pytest.mark.parametrize("kind", ["steady", pytest.param("episodes", marks=pytest.mark.slow)])
def test_drivers_killed_at_random_moments_lose_nothing(
    begin: Begin, foundry: Foundry, scaled: Callable[[int], int], told: Callable[[str], None], kind: str
) -> None:
    _kill([kind], scaled(3), 1, begin, foundry, told)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_hundreds_of_drivers_killed_at_random_moments_lose_nothing(
    begin: Begin, foundry: Foundry, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    _kill(list(KINDS), scaled(270), 2, begin, foundry, told)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_drivers_of_episodes_killed_at_random_moments_lose_nothing(
    begin: Begin, foundry: Foundry, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    _kill(["episodes"], scaled(100), 4, begin, foundry, told)


def test_a_home_whose_making_was_cut_short_anywhere_is_made_by_the_next_driver(
    tmp_path: Path, foundry: Foundry, told: Callable[[str], None]
) -> None:
    """A temporary file that a killed driver left was once taken for somebody else's: "not a home, and not empty"."""
    config, overrides = KINDS["ga"]
    last, moments = 0, ("before", "midst", "after")
    while last < 60:
        last += 1
        for moment in moments:
            home = tmp_path / f"{last}-{moment}"
            task = Task(str(home), config, overrides, f"{home}.log", die_at=last, moment=moment, only_home=True)
            if foundry.wait(foundry.start(task)) == 0:
                told(f"{last - 1} changes of the disk, 0 homes spoilt")
                assert last > 10
                return
            assert Home.create(home).campaigns() == []


# ---- workers and those who fork them --------------------------------------------------------------------------------------


def _kill_below(kills: int, seed: int, made: Campaigns, foundry: Foundry, told: Callable[[str], None]) -> None:
    """Kills workers, and what forks their judges, of campaigns under way: one between two commits, so none is hit thrice."""
    rng = np.random.default_rng(seed)
    num_killed = num_again = num_campaigns = 0
    while num_killed < kills:
        pid = foundry.start(made.task(workers=int(rng.integers(1, 3))))
        step, below, here = -1, {}, 0
        driver = whole.known(pid)
        while whole.living(driver):
            found = whole.num_commits(made.home, made.handle()) if made.home.exists() else 0
            if found <= step or num_killed + here >= kills:
                time.sleep(0.005)
                continue
            time.sleep(rng.uniform(0.0, made.seconds / len(made.facts)))
            below |= whole.family(pid)
            workers = list(whole.children(pid))
            candidates = [*workers, *(one for worker in workers for one in whole.children(worker))]
            if candidates and found:
                with suppress(ProcessLookupError):
                    os.kill(int(rng.choice(candidates)), signal.SIGKILL)
                    here += 1
            step = found
        assert foundry.wait(pid) == 0
        made.life += 1
        made.check_acknowledged()
        made.check_end()
        commits = Home.open(made.home).lineage_reader().commits(made.handle())
        again = [i for commit in commits for i in commit.incidents if i["kind"] == "retry"]
        assert len(again) <= here, again
        assert whole.all_end(below, 15.0), whole.living(below)
        num_killed, num_again, num_campaigns = num_killed + here, num_again + len(again), num_campaigns + 1
        made.number, made.life = made.number + 1, 0
    told(
        f"{num_killed} workers and nurseries killed in {num_campaigns} campaigns, the same hashes; {num_again} tiles "
        "judged again; 0 orphans"
    )


@pytest.mark.parametrize("kind", ["steady", "episodes"])
def test_workers_killed_at_work_cost_a_tile_each_and_nothing_else(
    begin: Begin, foundry: Foundry, scaled: Callable[[int], int], told: Callable[[str], None], kind: str
) -> None:
    _kill_below(scaled(3), 1, begin(kind), foundry, told)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["steady", "episodes"])
def test_a_hundred_workers_killed_at_work_cost_a_tile_each_and_nothing_else(
    begin: Begin, foundry: Foundry, scaled: Callable[[int], int], told: Callable[[str], None], kind: str
) -> None:
    _kill_below(scaled(100), 2, begin(kind), foundry, told)


# ---- with Ray -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_drivers_with_ray_killed_at_random_moments_lose_nothing(
    tmp_path: Path, scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    """The program as it is executed, its own Ray beneath it; what it leaves behind must end by itself."""
    rng, kills = np.random.default_rng(3), scaled(30)
    reference, facts = whole.run_in(tmp_path / "reference"), whole.facts_of(tmp_path / "reference")
    number = num_killed = num_ended = 0
    seconds, below = 20.0, {}
    while num_killed < kills:
        home = tmp_path / str(number)
        before = whole.commits_of(home) if home.exists() else []
        with whole.Driver(whole.run_command(home, "--workers", "1", "--address", "")) as driver:
            began = time.monotonic()
            wanted = rng.uniform(0.0, seconds) if num_ended else 1000.0  # the first one tells how long a life is
            with suppress(subprocess.TimeoutExpired):
                driver.process.communicate(timeout=wanted)
            below |= whole.family(driver.process.pid)
            driver.process.kill()
            code, _, err = driver.finish()
        assert code in (0, -signal.SIGKILL), err
        there = whole.commits_of(home) if home.exists() else []
        assert there[: len(before)] == before
        assert whole.facts_of(home) == facts[: len(there)] if there else True
        num_killed += code != 0
        if code == 0:
            seconds = time.monotonic() - began if not num_ended else seconds
            assert whole.hashes(whole.run_in(home)) == whole.hashes(reference)  # shown, not computed again
            num_ended, number = num_ended + 1, number + 1
    last = tmp_path / str(number)
    assert whole.hashes(whole.run_in(last)) == whole.hashes(reference)  # gone on with, without Ray
    assert whole.facts_of(last) == facts
    assert whole.all_end(below, 15.0), whole.living(below)
    told(f"{num_killed} drivers with Ray killed, {num_ended + 1} campaigns ended with the same hashes, 0 orphans")
