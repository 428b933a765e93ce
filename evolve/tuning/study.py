"""A study's trials, kept in Optuna's tables in the home's ``tune.db``, and what Optuna decides: what to try, what to stop.

A trial is written whole, with its settings, before its campaign begins, and is told whole when that has ended: a driver that
is killed leaves one trial "running", and the next one takes it up. What trial n tries follows from the trials before it and
the study's name alone, however often the study was interrupted.

Nouns: *study*, *trial* (one campaign with settings of its own), *facts* (what is noted of a trial beside its score).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from evolve.config.tune import PrunerConfig, RangeConfig
from evolve.tuning.search_space import Settings, label_of
from population.errors import DamageError, StorageError
from population.files.local_files import FileSystem

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

STUDY_FILE = "tune.db"
LOCK_FILE = "tune.lock"
#: In so many parts the budget is cut: at the end of each a trial's best value is reported, and it may be stopped.
PARTS = 10
#: Optuna's states in our words.
STATES = {"RUNNING": "running", "WAITING": "running", "COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class Trial:
    """One trial as it stands. values: the best value at the end of each part of the budget; value: the score of a done one."""

    number: int
    state: str
    settings: Settings
    value: float | None
    values: Mapping[int, float]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """How a study goes. name: follows from the content of its config; is_maximised: whether more is better."""

    name: str
    is_maximised: bool
    ranges: Mapping[str, RangeConfig]
    start: Settings
    startup: int
    pruner: PrunerConfig


class Study:
    """The trials of one study; for one process at a time (``opened``).

    Every method that writes is whole when it returns. Raises StorageError where the disk refuses.
    """

    def __init__(self, inner: optuna.Study, rules: Rules) -> None:
        self._inner, self.rules = inner, rules

    @property
    def trials(self) -> list[Trial]:
        """All trials, in order."""
        return [_trial_of(found) for found in self._inner.get_trials(deepcopy=False)]

    @property
    def ranked(self) -> list[Trial]:
        """The trials that have a score, the best first; of equals the first."""
        done = [trial for trial in self.trials if trial.state == "done"]
        sign = -1.0 if self.rules.is_maximised else 1.0
        return sorted(done, key=lambda trial: (sign * (trial.value or 0.0), trial.number))

    @property
    def best(self) -> Trial | None:
        """The trial with the best score; None while there is none."""
        return next(iter(self.ranked), None)

    def next(self, limit: int) -> Trial | None:
        """Returns the trial that was left running, or a new one while there are fewer than ``limit``; else None."""
        from optuna.trial import TrialState, create_trial

        trials = self.trials
        left = next((trial for trial in trials if trial.state == "running"), None)
        if left is not None or len(trials) >= limit:
            return left
        settings = self.rules.start if not trials else self._drawn(len(trials))
        distributions = _distributions(self.rules.ranges)
        self._inner.add_trial(
            create_trial(state=TrialState.RUNNING, params=dict(settings), distributions=distributions)
        )
        return self.trials[-1]

    def report(self, number: int, part: int, value: float) -> bool:
        """Notes a trial's best value after a part of the budget; returns whether it had better be stopped. Saying it again
        changes nothing, and is answered alike."""
        from optuna.trial import Trial as Handle

        found = self._inner.get_trials(deepcopy=False)[number]
        handle = Handle(self._inner, found._trial_id)  # noqa: SLF001 - Optuna's own way to name a trial across processes
        if part in found.intermediate_values:
            return part == max(found.intermediate_values) and handle.should_prune()
        handle.report(value, part)
        return handle.should_prune()

    def tell(self, number: int, state: str, value: float | None = None, **facts: Any) -> Trial:
        """Ends a trial as "done" with a value, "pruned" or "failed"; returns it."""
        from optuna.trial import Trial as Handle
        from optuna.trial import TrialState

        handle = Handle(self._inner, self._inner.get_trials(deepcopy=False)[number]._trial_id)  # noqa: SLF001
        for name, fact in facts.items():
            handle.set_user_attr(name, fact)
        states = {ours: TrialState[theirs] for theirs, ours in STATES.items() if ours != "running"}
        self._inner.tell(number, value if state == "done" else None, state=states[state])
        return self.trials[number]

    def _drawn(self, number: int) -> Settings:
        """Returns what trial ``number`` tries: drawn by a sampler of its own, which knows the trials before it."""
        import optuna

        digest = blake3(f"{self.rules.name} {number}".encode(), derive_key_context="evolve 2026 trial of a study")
        seed = int.from_bytes(digest.digest(4), "little")
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.rules.startup)
        memory = optuna.create_study(sampler=sampler, direction=_direction(self.rules))
        memory.add_trials(self._inner.get_trials(deepcopy=False))
        params = memory.ask(_distributions(self.rules.ranges)).params
        return {key: params[key] for key in self.rules.ranges}


@contextmanager
def opened(files: FileSystem, root: Path, rules: Rules) -> Iterator[Study]:
    """Yields the study of this name in the home at ``root``, made new where there is none; nobody else may tune there.

    Raises:
        Locked: another process tunes in this home. DamageError: the file holds no studies. StorageError: the disk refuses.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = root / STUDY_FILE
    with files.lock(root / LOCK_FILE), _told(path):
        storage = _storage(path)
        try:
            inner = optuna.create_study(
                storage=storage,
                study_name=rules.name,
                direction=_direction(rules),
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(seed=0),  # never asked: see _drawn
                pruner=_pruner(rules.pruner),
            )
            yield Study(inner, rules)
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _storage(path: Path) -> optuna.storages.RDBStorage:
    """Returns the tables of studies; new ones are made aside and moved into place, since Optuna cannot go on with half of
    them."""
    from optuna.storages import RDBStorage

    if not path.exists():
        making = path.with_name(f"{path.name}.making")
        making.unlink(missing_ok=True)
        made = RDBStorage(f"sqlite:///{making}")
        made.remove_session()
        made.engine.dispose()
        making.rename(path)
    _check_database(path)
    return RDBStorage(f"sqlite:///{path}")


def _check_database(path: Path) -> None:
    """Reads the list of tables, since Optuna leaves its connection open where that fails. Raises: DamageError."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        return  # in use, or the disk refuses: Optuna waits, or says so
    except sqlite3.DatabaseError as error:
        raise DamageError(f"{path}: holds no studies ({error}); move it away, and tune anew") from error


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what SQLite refuses into our errors."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DatabaseError, OperationalError

    try:
        yield
    except (StorageInternalError, OperationalError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise StorageError(
            f"{path}: cannot be read or written ({reason}); free some space, or check its mode"
        ) from error
    except DatabaseError as error:
        raise DamageError(f"{path}: holds no studies ({str(error.orig)[:80]}); move it away, and tune anew") from error


def _direction(rules: Rules) -> Any:
    return "maximize" if rules.is_maximised else "minimize"


def _pruner(config: PrunerConfig) -> optuna.pruners.BasePruner:
    import optuna

    if config.kind == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(config.startup, round(config.warmup * PARTS))


def _distributions(ranges: Mapping[str, RangeConfig]) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    made: dict[str, BaseDistribution] = {}
    for key, found in ranges.items():
        if found.choices:
            made[key] = CategoricalDistribution([label_of(found, choice) for choice in found.choices])
            continue
        assert found.low is not None
        assert found.high is not None
        if found.is_whole:
            made[key] = IntDistribution(int(found.low), int(found.high), log=found.log, step=int(found.step or 1))
        else:
            made[key] = FloatDistribution(float(found.low), float(found.high), log=found.log, step=found.step)
    return made


def _trial_of(found: optuna.trial.FrozenTrial) -> Trial:
    state = STATES[found.state.name]
    value = found.value if state == "done" else None
    values = dict(sorted(found.intermediate_values.items()))
    return Trial(found.number, state, dict(found.params), value, values, dict(found.user_attrs))
