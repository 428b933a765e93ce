"""Launches a campaign in a home: finds it done, goes on with it, or begins it.

Nouns: *summary* (what a campaign ended with, kept beside its config).
"""

from __future__ import annotations

import gc
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from evolve.campaign.events import Extended, Marked
from evolve.campaign.lifecycle import mark_commit
from evolve.campaign.state import State, Turn
from evolve.campaign.summary import Progress, progress_of, summary_of
from evolve.campaign.transition import accept, begin
from evolve.driver.disk_full import DiskFull, Patience, PatientShelf, is_full, keep_reserve, release_reserve
from evolve.driver.evaluators import make_evaluator
from evolve.driver.loop import Hands, drive
from evolve.driver.requests import Interrupted, RequestFolder
from evolve.home.home import CONFIG_FILE, DATA_FILE, SUMMARY_FILE, Home
from evolve.home.kept_data import keep_copy
from evolve.home.origins import ORIGIN_FILE, campaign_by_key
from evolve.home.summary_file import read_summary
from evolve.planning.isolation_rules import check_user_code
from evolve.planning.plan import Plan
from evolve.recovery.checkpoints import Checkpoints
from evolve.recovery.forked_plan import founder_rows
from evolve.recovery.other_environment import recorded_environment, refusal, resume_inexactly
from evolve.recovery.replay import resume
from evolve.recovery.shelf import StoreShelf
from evolve.tracking.protocol import Tracker
from fitness.work.work_unit import Evaluator
from population.clock import Clock, SystemClock
from population.errors import EvolveError, Locked, NotFound, StorageError
from population.lineage.format.records import Commit
from population.lineage.journal.writer import LineageWriter

#: States of campaigns that the same command goes on with, unless they have come to an end.
UNFINISHED = ("running", "interrupted", "paused", "stopped", "failed")
LOCK_TRIES = 5
LOCK_RETRY_S = 0.1
TIMED_TABLES = {"campaigns": "started"}
HANDLED_TABLES = ("campaigns", "generations", "lifecycle", "blocks")


@dataclass(frozen=True)
class _Job:
    """What a launch works with, beside its plan."""

    home: Home
    handle: str
    progress: Callable[[Progress], None]
    tracker: Tracker
    interrupted: threading.Event
    clock: Clock
    extension: Extended | None
    inexactly: bool
    disk_wait_s: float | None
    say: Callable[[str], None]

    @property
    def folder(self) -> Path:
        return self.home.campaign_dir(self.handle)


def launch(
    plan: Plan,
    home: Home,
    *,
    again: bool = False,
    handle: str | None = None,
    progress: Callable[[Progress], None],
    tracker: Tracker,
    interrupted: threading.Event,
    clock: Clock | None = None,
    extension: Extended | None = None,
    inexactly: bool = False,
    disk_wait_s: float | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Returns the summary of a campaign, computed now or found done in this home.

    Args:
        plan: as ``evolve.recovery.forked_plan.plan_in`` makes it of a config.
        again: compute it even where it is done, and compare the hashes.
        handle: go on with this campaign of the home, whatever others have the same key.
        extension: so much more of a finished campaign; ``handle`` names it.
        inexactly: go on also where the environment is not the one it was begun in.
        disk_wait_s: how long to wait for space on a full disk before the campaign is paused; None: not at all, and a full
            disk is an error like any other. say: tells a person about it.

    Raises:
        Interrupted: asked to end; the lineage is whole, and launching again goes on.
        ConfigError: the environment is another one; nothing was computed.
        InputError: an extension of a campaign that is not finished; a home of an older format.
        Locked: another process runs this campaign. DiskFull: and the campaign is paused.
    """
    home.check_current()
    clock = clock or SystemClock()
    job = _Job(home, handle or "", progress, tracker, interrupted, clock, extension, inexactly, disk_wait_s, say)
    return _found_or_run(plan, job, again=again)


def _found_or_run(plan: Plan, job: _Job, *, again: bool) -> dict[str, Any]:
    """Returns the summary of the job's campaign; where it names none, of the one to show, to go on with, or to begin."""
    home = job.home
    states = dict(campaign_by_key(home, plan.key.hex()))
    done = [name for name, state in states.items() if state == "done"]
    wanted = job.handle or (None if again else next(iter(done), None))
    if wanted in done and job.extension is None:
        return {**_required_summary(home, str(wanted)), "already_done": True, "again": None}
    wanted = wanted or (None if again else _unfinished(home, states)) or _begin_folder(home, plan)
    others = (name for name in done if name != wanted)
    earlier = next((name for name in others if not _required_summary(home, name).get("extended")), None)
    return _run(plan, replace(job, handle=wanted), earlier)


def _unfinished(home: Home, known: Mapping[str, str]) -> str | None:
    """Returns the campaign to go on with, of those that the home knows with their states."""
    found = (name for name, state in known.items() if state in UNFINISHED and home.summary_of(name) is None)
    return next(found, None)


def _run(plan: Plan, job: _Job, earlier: str | None) -> dict[str, Any]:
    began = job.clock.monotonic()
    requests = RequestFolder(job.home.files, job.folder)
    with _open_writer(job) as writer:
        token = requests.take()
        patience = Patience(
            job.disk_wait_s or 0.0, job.clock, job.say, job.interrupted, lambda: requests.request(token)
        )
        try:
            state = _drive(plan, job, writer, patience, began)
        finally:
            requests.leave()
        is_sealed = _try_to_seal(writer, job)
    if not is_sealed:
        patience(lambda: _seal(job))
    seconds = job.clock.monotonic() - began
    if job.disk_wait_s is None:
        return _conclude(plan, job, earlier, state, seconds)
    summary = patience(lambda: _conclude(plan, job, earlier, state, seconds))
    release_reserve(job.home.files, job.folder)
    return summary


def _open_writer(job: _Job) -> LineageWriter:
    """Returns the writer of a campaign's log; who only looks whether somebody drives holds the lock for a moment too."""
    for _ in range(LOCK_TRIES):
        with suppress(Locked):
            return LineageWriter(job.home.files, job.home.root, job.handle, job.clock)
        job.interrupted.wait(LOCK_RETRY_S)
    return LineageWriter(job.home.files, job.home.root, job.handle, job.clock)


def _drive(plan: Plan, job: _Job, writer: LineageWriter, patience: Patience, began: float) -> State:
    """Returns the final state; a campaign that cannot go on is marked as failed, or paused where the disk is full."""
    evaluator = make_evaluator(plan)
    try:
        plan = replace(plan, sandbox_level=evaluator.sandbox_level)
        check_user_code(plan.config.run.accept_level, plan.foreign_code, plan.sandbox_level)
        job.tracker.begin(job.handle, plan.config.model_dump(mode="json"), {"campaign_key": plan.key.hex()})
        shelf = StoreShelf(plan, job.home.block_store())
        checkpoints = Checkpoints(plan, job.home.files, job.folder)
        turn = _first_turn(plan, job, writer, evaluator, shelf, checkpoints)
        hands = _hands(plan, job, writer, evaluator, shelf, patience, began, checkpoints)
        try:
            with _quiet_collector():
                return drive(plan, turn, hands)
        except DiskFull as error:
            release_reserve(job.home.files, job.folder)
            _try_to_mark(plan, job, writer, Marked("paused", str(error)))
            raise DiskFull(f"campaign {job.handle!r} is paused: {error}, then resume it") from error
        except Interrupted as ended:
            ended.campaign = job.handle
            raise
        except StorageError:
            raise  # nothing more is asked of such a disk
        except Exception as error:
            _try_to_mark(plan, job, writer, Marked("failed", f"{type(error).__name__}: {error}"[:500]))
            raise
    finally:
        evaluator.close()


_launches = itertools.count()


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """While it lasts the garbage collector passes over what was there before: the third of a million objects of the
    libraries alone, which take it most of a second each time.

    What an earlier campaign of this process left behind in cycles is collected first, or it would be passed over for ever.
    """
    if next(_launches):
        gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _hands(
    plan: Plan,
    job: _Job,
    writer: LineageWriter,
    evaluator: Evaluator,
    shelf: StoreShelf,
    patience: Patience,
    began: float,
    checkpoints: Checkpoints,
) -> Hands:
    def commit(commit: Commit) -> None:
        writer.commit(_signed_off(commit, job.handle, job.clock))

    def committed(state: State) -> None:
        checkpoints.offer(state, writer.last_commit)

    observe = _observer(plan, job.progress, job.tracker, job.clock, began, committed)
    if job.disk_wait_s is None:
        return Hands(evaluator, commit, shelf, job.clock, observe, job.interrupted, patience.request)
    keep_reserve(job.home.files, job.folder)
    patient = PatientShelf(shelf, patience)
    return Hands(
        evaluator,
        lambda found: patience(lambda: commit(found)),
        patient,
        job.clock,
        observe,
        job.interrupted,
        patience.request,
    )


def _try_to_mark(plan: Plan, job: _Job, writer: LineageWriter, event: Marked) -> None:
    """Records what became of the campaign, where its log can still be written; the error that led here matters more."""
    with suppress(StorageError, ValueError):
        writer.commit(_signed_off(mark_commit(plan, writer.next_step, event), job.handle, job.clock))


def _try_to_seal(writer: LineageWriter, job: _Job) -> bool:
    try:
        writer.seal()
    except StorageError as error:
        if job.disk_wait_s is None or not is_full(error):
            raise
        return False
    return True


def _seal(job: _Job) -> None:
    with _open_writer(job) as writer:  # a writer that failed while sealing cannot be used again
        writer.seal()


def _first_turn(
    plan: Plan,
    job: _Job,
    writer: LineageWriter,
    evaluator: Evaluator,
    shelf: StoreShelf,
    checkpoints: Checkpoints,
) -> Turn:
    """Returns the first turn of a new campaign, or the one that goes on after the last commit."""
    founders = begin(plan).state.digests if plan.origin else {}
    for event, row in founder_rows(plan, list(founders)).items():
        evaluator.put(founders[event], row)
    if writer.next_step == 0:
        return begin(plan)
    reader = job.home.lineage_reader()
    recorded = recorded_environment(job.home.campaign_rows(job.handle))
    is_here = recorded == plan.environment
    if not is_here and not job.inexactly:
        raise refusal(job.handle, recorded, plan.environment)
    if is_here:
        turn = resume(
            plan,
            lambda: reader.commits(job.handle),
            evaluator,
            shelf.stored_row,
            checkpoint=checkpoints.newest(lambda step: reader.chain_at(job.handle, step)),
            read_from=lambda step: reader.commits(job.handle, step),
        )
    else:
        turn = resume_inexactly(plan, lambda: reader.commits(job.handle), evaluator, shelf)
    return _going_on(plan, job, turn)


def _going_on(plan: Plan, job: _Job, turn: Turn) -> Turn:
    """Returns the turn with the commit that says that the campaign runs again, where its lineage says otherwise."""
    if job.extension is not None:
        extended = accept(plan, turn.state, job.extension)
        with suppress(NotFound):
            job.home.files.remove(job.folder / SUMMARY_FILE)  # it ends anew, and says so then
        return Turn(extended.state, (*turn.work, *extended.work), (*turn.commits, *extended.commits))
    if turn.commits or turn.state.phase == "done" or job.home.recorded_state(job.handle) == "running":
        return turn
    marked = accept(plan, turn.state, Marked("running"))
    return Turn(marked.state, turn.work, marked.commits)


def _signed_off(commit: Commit, handle: str, clock: Clock) -> Commit:
    """Returns the commit with what only the shell knows: the campaign's handle and wall-clock times."""
    rows = {}
    for table, entries in commit.rows.items():
        extra: dict[str, Any] = {"campaign": handle} if table in HANDLED_TABLES else {}
        if table in TIMED_TABLES:
            extra[TIMED_TABLES[table]] = clock.now()
        rows[table] = [{**entry, **extra} for entry in entries]
    return replace(commit, rows=rows)


def _observer(
    plan: Plan,
    progress: Callable[[Progress], None],
    tracker: Tracker,
    clock: Clock,
    began: float,
    committed: Callable[[State], None],
) -> Callable[[State], None]:
    seen, setup_s = [0], clock.monotonic() - began

    def observe(state: State) -> None:
        report = progress_of(plan, state, clock.monotonic() - began, setup_s)
        progress(report)
        if state.step > seen[0]:
            seen[0] = state.step
            committed(state)
            metrics = {f"best_{name}": value for name, value in report.best.items()}
            shares = {f"share_{name.replace('@', '_v')}": value for name, value in report.operator_shares.items()}
            counts = {"evaluations": float(report.evaluations), "evaluations_per_s": report.evaluations_per_s}
            counts |= {
                "flops": report.flops,
                "quarantined": float(report.quarantined),
                "generation": float(report.generation),
            }
            tracker.generation(state.step, {**metrics, **shares, **counts})

    return observe


def _conclude(plan: Plan, job: _Job, earlier: str | None, state: State, seconds: float) -> dict[str, Any]:
    home, handle = job.home, job.handle
    summary = summary_of(plan, state, handle, home.lineage_reader().content_hash(handle), seconds)
    summary["home"] = str(home.root)
    compared = None
    if earlier is not None:
        before = _required_summary(home, earlier)
        compared = {f"{name}_same": summary[name] == before[name] for name in ("population", "lineage", "champion")}
        compared["earlier"] = earlier
    home.write_summary(handle, summary)
    job.tracker.finish(summary, summary["front"])
    return {**summary, "already_done": False, "again": compared}


def _begin_folder(home: Home, plan: Plan) -> str:
    config = plan.config  # with what follows from the data written out
    keep_copy(config, home)
    handle = home.new_handle(config.name)
    folder: Path = home.campaign_dir(handle)
    home.files.make_dirs(folder)
    if plan.origin is not None:
        value = json.dumps(plan.origin.to_value(), indent=2).encode() + b"\n"
        home.files.write_atomic(folder / ORIGIN_FILE, value, mode=0o644)
    if plan.benchmark.preparation is not None:
        value = json.dumps(dict(plan.benchmark.preparation.report), indent=2, ensure_ascii=False).encode() + b"\n"
        home.files.write_atomic(folder / DATA_FILE, value, mode=0o644)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    home.files.write_atomic(folder / CONFIG_FILE, text.encode(), mode=0o644)
    return handle


def _required_summary(home: Home, handle: str) -> dict[str, Any]:
    summary = read_summary(home.files, home.campaign_dir(handle) / SUMMARY_FILE, handle, must_be_whole=True)
    if summary is None:
        raise EvolveError(f"campaign {handle!r} is done but has no summary")
    return summary
