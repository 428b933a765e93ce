"""A campaign forked from a step of another: exact, with a pedigree that runs across, and refused where it means nothing."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from evolve.campaign.summary import Progress
from evolve.driver import launch as launching
from evolve.driver.launch import launch
from evolve.driver.requests import Interrupted
from evolve.home.home import Home
from evolve.home.origins import ORIGIN_FILE
from evolve.recovery import checkpoints, replay
from evolve.recovery.fork import make_origin
from evolve.recovery.forked_plan import plan_in
from evolve.recovery.rebuild import rebuild
from evolve.reports import pedigree
from evolve.tracking.protocol import NullTracker
from fitness.evaluators.in_process import InProcessEvaluator
from population.errors import ConfigError, DamageError, EvaluatorFailed, InputError, JailUnavailable, NotFound
from population.lineage.sql.query import run_query
from tests.evolve import small, whole

OTHERWISE = ("name=branch", "stop.generations=4", "operators.burst.settings.steps=6")
ES = ("strategy.kind=openai_es", "objectives=[cross_entropy]", "viability=null", "tiers.trained=search")


@pytest.fixture(autouse=True)
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges in this process."""
    monkeypatch.setattr(launching, "make_evaluator", lambda plan: InProcessEvaluator(plan.benchmark, small.MATERIALISE))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a finished campaign; tests get copies of it."""
    path = tmp_path_factory.mktemp("finished") / "h"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "make_evaluator", lambda p: InProcessEvaluator(p.benchmark, small.MATERIALISE))
        whole.run_in(path)
    return path


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Home:
    """A home with a finished campaign."""
    return Home.open(shutil.copytree(finished, tmp_path / "h"))


def _fork(home: Home, step: int | None, *overrides: str, stop_after: int | None = None) -> dict[str, Any]:
    config = whole.config(*OTHERWISE, *overrides)
    interrupted = threading.Event()

    def progress(_: Progress) -> None:
        if stop_after is not None and whole.num_commits(home.root, "branch") >= stop_after:
            interrupted.set()

    origin = make_origin(home, whole.HANDLE, step, config)
    return launch(
        plan_in(home, config, origin=origin),
        home,
        progress=progress,
        tracker=NullTracker(),
        interrupted=interrupted,
    )


def _resume(home: Home, handle: str) -> dict[str, Any]:
    return launch(
        plan_in(home, home.config_of(handle), handle=handle),
        home,
        handle=handle,
        progress=lambda _: None,
        tracker=NullTracker(),
        interrupted=threading.Event(),
    )


def test_a_fork_begins_with_the_members_of_that_step_and_says_so(home: Home) -> None:
    before = whole.commits_of(home.root)
    summary = _fork(home, 3)
    assert (summary["campaign"], summary["state"], summary["generations"]) == ("branch", "done", 4)
    assert whole.commits_of(home.root) == before
    (row,) = run_query(home.lineage_reader(), "SELECT * FROM campaigns WHERE campaign = 'branch'").to_pylist()
    assert (row["forked_from"], row["forked_at"]) == (whole.HANDLE, 3)
    sql = (
        "SELECT c.weights_digest = o.weights_digest AS same, o.campaign AS origin, o.step AS step, p.role AS role "
        "FROM individuals c JOIN parents p ON p.child = c.individual JOIN individuals o ON o.individual = p.parent "
        "WHERE c.campaign = 'branch' AND c.operator = 'adopt'"
    )
    rows = run_query(home.lineage_reader(), sql).to_pylist()
    assert len(rows) == 6
    assert all(
        row["same"] and row["origin"] == whole.HANDLE and row["step"] <= 3 and row["role"] == "origin" for row in rows
    )
    assert summary["campaign_key"] != whole.config(*OTHERWISE).key.hex()


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(), ES], ids=["the same kind", "another kind"])
def test_a_fork_interrupted_after_any_commit_ends_with_the_same_hashes(home: Home, overrides: tuple[str, ...]) -> None:
    summary = _fork(home, None, *overrides)
    length = whole.num_commits(home.root, "branch") or len(whole.commits_of(home.root, "branch"))
    for stop_after in (1, 2, 3, length - 1):
        other = Home.create(home.root.with_name(f"after-{stop_after}"))
        whole.run_in(other.root)
        with pytest.raises(Interrupted):
            _fork(other, None, *overrides, stop_after=stop_after)
        assert other.state_of("branch") == "interrupted"
        assert whole.hashes(_resume(other, "branch")) == whole.hashes(summary)


SHORT = ("stop.generations=3",)
KINDS = {
    "the same kind": (),
    "another kind": ES,
    "asynchronous": ("strategy.kind=steady", "strategy.settings.batch=2", "strategy.settings.window=3"),
}


@pytest.mark.parametrize(
    ("kind", "ends"),
    [("the same kind", (2,)), *(pytest.param(kind, (2, 3, 4), marks=pytest.mark.slow) for kind in KINDS)],
)
def test_a_fork_resumed_with_and_without_its_checkpoint_ends_with_the_same_hashes(
    finished: Path, home: Home, kind: str, ends: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each state after the first: as long as founders live, while both live, and when only their children do."""
    monkeypatch.setattr(checkpoints, "EVERY_BIRTHS", 1)
    begun_at: list[int] = []
    replay_of = replay.replay

    def noted(plan: Any, commits: Any, state: Any = None) -> Any:
        begun_at.append(state.step if state is not None else 0)
        return replay_of(plan, commits, state)

    monkeypatch.setattr(replay, "replay", noted)
    hashes, used = [whole.hashes(_fork(home, 3, *SHORT, *KINDS[kind]))], []
    for stop_after, is_kept in itertools.product(ends, (True, False)):
        here = Home.open(shutil.copytree(finished, home.root.with_name(f"{stop_after}-{is_kept}")))
        with pytest.raises(Interrupted):
            _fork(here, 3, *SHORT, *KINDS[kind], stop_after=stop_after)
        (path,) = here.campaign_dir("branch").glob("*.evck")
        if not is_kept:
            path.unlink()
        begun_at.clear()
        hashes.append(whole.hashes(_resume(here, "branch")))
        used.append((is_kept, [step > 0 for step in begun_at]))
    assert used == [(True, [True]), (False, [False])] * len(ends)
    assert hashes == [hashes[0]] * (1 + 2 * len(ends))


def test_the_pedigree_runs_across_and_every_ancestor_is_rebuilt(home: Home) -> None:
    summary = _fork(home, 3)
    with pedigree.opened(home, pytest.fail) as book:
        tree = book.relatives(summary["individual"], "ancestors", None)
    assert {relative.campaign for relative in tree.relatives.values()} == {whole.HANDLE, "branch"}
    roots = {edge[1] for edge in tree.edges} - {edge[0] for edge in tree.edges}
    assert {tree.relatives[root].operator for root in roots} <= {"init"}
    found = rebuild(home, summary["individual"])
    assert found["same"] is True
    assert found["steps"] >= len(tree.relatives)


def test_a_rebuild_that_a_plugin_fails_in_is_undecided_and_one_without_a_jail_is_an_error(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = home.lineage_reader().commits(whole.HANDLE)
    individual = next(births.individual[0] for commit in commits for births in commit.births)
    words = "flip@1 makes nothing in its jail (crash): ArithmeticError"
    for error in (EvaluatorFailed(words), JailUnavailable("no process")):

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("evolve.recovery.remaker.Remaker.make", fail)
        if isinstance(error, JailUnavailable):
            with pytest.raises(JailUnavailable):
                rebuild(home, individual)
        else:
            found = rebuild(home, individual)
            assert (found["same"], found["reason"]) == (None, words)


@pytest.mark.slow
def test_a_fork_of_a_fork_is_a_campaign_too(home: Home) -> None:
    _fork(home, 3)
    config = whole.config(*OTHERWISE, "name=twig", "stop.generations=2")
    origin = make_origin(home, "branch", 2, config)
    summary = launch(
        plan_in(home, config, origin=origin),
        home,
        progress=lambda _: None,
        tracker=NullTracker(),
        interrupted=threading.Event(),
    )
    with pedigree.opened(home, pytest.fail) as book:
        tree = book.relatives(summary["individual"], "ancestors", None)
    assert {relative.campaign for relative in tree.relatives.values()} == {whole.HANDLE, "branch", "twig"}
    assert rebuild(home, summary["individual"])["same"] is True


@pytest.mark.slow
def test_the_same_fork_is_found_done_and_another_step_is_another_fork(home: Home) -> None:
    first = _fork(home, 3)
    again = _fork(home, 3)
    assert again["already_done"]
    assert whole.hashes(again) == whole.hashes(first)
    other = _fork(home, 4)
    assert other["campaign"] == "branch-2"
    assert other["campaign_key"] != first["campaign_key"]


def test_a_fork_outlives_its_origin(home: Home) -> None:
    with pytest.raises(Interrupted):
        _fork(home, 3, stop_after=1)
    for folder in (home.campaign_dir(whole.HANDLE), home.lineage_root / whole.HANDLE):
        shutil.rmtree(folder)
    assert _resume(home, "branch")["state"] == "done"


@pytest.mark.parametrize(
    ("step", "overrides", "message"),
    [
        (99, (), r"digits@99: there is no such step; 'digits' has the steps 0 to \d+"),
        (0, (), "nobody lives at this step yet"),
        (3, ("benchmark.split_seed=9",), "benchmark: a fork keeps the benchmark of its origin"),
        (3, ("graph.symbols.hidden=8",), "graph: a fork keeps the graph of its origin"),
    ],
)
def test_what_cannot_be_forked_is_refused_and_leaves_nothing(
    home: Home, step: int, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _fork(home, step, *overrides)
    assert home.campaigns() == [whole.HANDLE]


def test_a_founder_that_the_store_has_lost_and_a_record_that_is_none_are_typed_errors(home: Home) -> None:
    with pytest.raises(Interrupted):
        _fork(home, 3, stop_after=1)
    path = home.campaign_dir("branch") / ORIGIN_FILE
    text = path.read_text()
    value = json.loads(text)
    value["founders"][0]["digest"] = "00" * 32
    path.write_text(json.dumps(value))
    with pytest.raises((NotFound, ConfigError)):
        _resume(home, "branch")
    path.write_text(text[: len(text) // 2])
    with pytest.raises(DamageError, match="not readable as JSON"):
        _resume(home, "branch")
    path.write_text(text)
    assert _resume(home, "branch")["state"] == "done"
