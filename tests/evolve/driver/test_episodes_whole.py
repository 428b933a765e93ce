"""What campaigns promise holds for those of policies too: on any number of workers, with Ray or without, killed, forked and
made again, they come to the same."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from evolve.config.campaign import load_config
from evolve.driver import launch as launching
from evolve.driver.launch import launch
from evolve.home.home import Home
from evolve.recovery.fork import make_origin
from evolve.recovery.forked_plan import plan_in
from evolve.recovery.rebuild import rebuild
from evolve.tracking.protocol import NullTracker
from fitness.evaluators.in_process import InProcessEvaluator
from tests.evolve import small, whole

CARTPOLE = whole.ROOT / "configs" / "cartpole.yaml"
HANDLE = "cartpole"
#: configs/cartpole.yaml with two worlds, two tiers and few short episodes; several units a generation.
SMALL = (
    "strategy.population=8",
    "stop.generations=4",
    "stop.target={}",
    "operators={gaussian: {settings: {rate: 0.3}}, uniform: {}}",
    "benchmark.environment.episodes={train: 2, validation: 2, heldout: 2}",
    "benchmark.environment.max_steps=40",
    "benchmark.environment.variants={plain: {}, long: {attributes: {length: 1.0}}}",
    "keyframe=2",
    "promote=null",
)


def launch_in(home: Path, *overrides: str, origin_step: int | None = None) -> dict[str, Any]:
    """Launches the small campaign in this process; ``origin_step``: as a fork from that step of the one that is there."""
    config = load_config(CARTPOLE, [*SMALL, "run.address=local", "run.workers=1", *overrides])
    opened = Home.create(home)
    origin = make_origin(opened, HANDLE, origin_step, config) if origin_step is not None else None
    return launch(
        plan_in(opened, config, origin=origin),
        opened,
        progress=lambda _: None,
        tracker=NullTracker(),
        interrupted=threading.Event(),
    )


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Home and summary of the campaign that every other way to compute it must come to."""
    home = tmp_path_factory.mktemp("one") / "home"
    return home, launch_in(home)


def test_two_workers_give_what_one_gives(one_worker: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    home, found = one_worker
    assert whole.hashes(launch_in(tmp_path / "h", "run.workers=2")) == whole.hashes(found)
    assert whole.facts_of(tmp_path / "h", HANDLE) == whole.facts_of(home, HANDLE)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_ray_gives_what_child_processes_give(
    one_worker: tuple[Path, dict[str, Any]], tmp_path: Path, ray_session: ModuleType, workers: int
) -> None:
    assert ray_session.is_initialized()
    home, found = one_worker
    assert whole.hashes(launch_in(tmp_path / "h", f"run.workers={workers}", 'run.address=""')) == whole.hashes(found)
    assert whole.facts_of(tmp_path / "h", HANDLE) == whole.facts_of(home, HANDLE)


def test_every_policy_and_the_champion_are_made_again(
    one_worker: tuple[Path, dict[str, Any]], scaled: Callable[[int], int], told: Callable[[str], None]
) -> None:
    opened = Home.open(one_worker[0])
    births = [born for commit in opened.lineage_reader().commits(HANDLE) for born in commit.births]
    names = sorted({name for born in births for name in born.individual})
    drawn = np.random.default_rng(1).permutation(names)[: scaled(10)].tolist()
    champion = next(
        name
        for born in births
        for name, status in zip(born.individual, born.status, strict=True)
        if status == "active" and born.operator[0] == "adopt@1"
    )
    for name in {champion, *drawn}:
        again = rebuild(opened, name)
        assert (again["same"], again["reason"]) == (True, ""), again
    told(f"{len(drawn)} of {len(names)} individuals and the champion made again to the same digest")


def test_a_fork_is_exact_and_its_pedigree_runs_across(
    one_worker: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))
    changes = ("name=branch", "strategy.population=6", "stop.generations=2")
    homes = [shutil.copytree(one_worker[0], tmp_path / name) for name in ("h", "other")]
    found, other = (launch_in(home, *changes, origin_step=2) for home in homes)
    assert found["state"] == "done"
    assert whole.hashes(found) == whole.hashes(other)
    assert found["lineage"] != one_worker[1]["lineage"]
    opened = Home.open(homes[0])
    births = [born for commit in opened.lineage_reader().commits("branch") for born in commit.births]
    assert tuple(births[0].operator) == ("adopt@1",) * 6
    again = rebuild(opened, births[-1].individual[0])
    assert again["same"], again
    assert again["steps"] >= 3  # the finalist, who it was, and its founder in the other campaign
