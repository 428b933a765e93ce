"""Campaigns in MLflow: one run a campaign, one registered model a production name.

MLflow is imported, and everything is said to it, on a thread of its own; the campaign only puts notes into a bounded outbox.
What a server does not take is tried again a few times, then given up and counted: the run itself never waits and never
fails for it.

A study of `evolve tune` is a run too, and its trials' campaigns are runs below it.

Nouns: *session* (the client and the run that notes are said to).
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from evolve.tracking.outbox import Note, Outbox
from population.clock import Clock, SystemClock

EXPERIMENT = "evolve"
ALIAS = "production"
#: The tag that MLflow nests runs by.
PARENT_TAG = "mlflow.parentRunId"
#: Without it the UI opens on its pages for language models, where runs are called evaluations.
KIND_TAG = "mlflow.experimentKind"
#: Runs of one campaign that agree in these tags are the same run, gone on with; the later ones count below a study.
SAME = ("evolve.campaign_key", "evolve.study", "evolve.trial")
#: Beside an export, which sequence number each head had when it was last moved to this block: ``{"digits": 3}``.
SEQUENCES_FILE = "sequences.json"
MAX_TEXT = 500
#: How a run of MLflow ends for a campaign's state; any other state is "KILLED", which may go on.
ENDED = {"done": "FINISHED", "failed": "FAILED"}
#: For MLflow itself; a user's own settings win.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_LOUD = ("mlflow", "alembic", "urllib3.connectionpool")
_BATCH = {"metrics": 1000, "params": 100, "tags": 100}


class Point(NamedTuple):
    """One generation's metrics."""

    step: int
    time_ms: int
    metrics: Mapping[str, float]


class MlflowTracker:
    """A ``Tracker`` that shows campaigns in MLflow.

    Args:
        uri: ``sqlite:////path/mlflow.db`` or a server's address.
        artifacts: where plots and models go when ``uri`` is a database; a server knows its own place.
        project: the experiment's name.
    """

    def __init__(self, uri: str, artifacts: Path, project: str = EXPERIMENT, clock: Clock | None = None) -> None:
        self.uri = uri
        self._clock = clock or SystemClock()
        self.session = _Session(_Server(uri, artifacts, project))
        self._outbox = Outbox("mlflow", self._clock)

    def nested(self) -> MlflowTracker:
        """Returns a tracker whose runs are shown below the one that this tracker has begun. Both say what they are told in
        one order, from one thread, and go on with a run also where it has finished. Close this one, not that."""
        below = copy(self)
        self.session.is_study = True
        below.session = _Session(self.session.server, self.session)
        return below

    @property
    def problem(self) -> str | None:
        """One line for the user when something could not be shown, else None; complete after ``close``."""
        if self._outbox.is_late:
            return f"MLflow at {self.uri} did not answer in time: it does not show all of this (the lineage has it)"
        if not self._outbox.lost:
            return None
        return f"MLflow at {self.uri} does not show all of this (the lineage has it): {self._outbox.reason}"

    def begin(self, campaign: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Opens the run of a campaign, or goes on with the one that an interrupted campaign left."""
        content = (campaign, flatten(config), dict(tags))
        self._outbox.put(Note(self.session.begin, content, is_needed=True))

    def generation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds one point to every named metric; points are sent together, every few seconds."""
        point = Point(step, int(self._clock.now() * 1000), dict(metrics))
        self._outbox.put(Note(self.session.points, point, can_wait=True))

    def finish(self, summary: Mapping[str, Any], front: Sequence[Mapping[str, Any]]) -> None:
        """Records the outcome and the Pareto front, and ends the run."""
        content = (dict(summary), [dict(point) for point in front], int(self._clock.now() * 1000))
        self._outbox.put(Note(self.session.finish, content))

    def promoted(self, name: str, block_id: str, archive: Path) -> None:
        """Points the alias "production" of a registered model to this block; a new version is made where none holds it.

        Saying it again changes nothing, so a move that was missed can be made up for at any time.
        """
        self._outbox.put(Note(self.session.promoted, (name, block_id, archive)))

    def close(self, timeout_s: float = 30.0) -> None:
        """Delivers what can be delivered within the time, then lets go; closing twice changes nothing."""
        self._outbox.close(timeout_s)


class _Server:
    """The MLflow client and the experiment, opened by whoever needs them first."""

    def __init__(self, uri: str, artifacts: Path, project: str) -> None:
        self.uri, self.artifacts, self._project = uri, artifacts, project
        self.client: Any = None
        self.experiment = ""

    def open(self) -> None:
        """Imports MLflow and finds or makes the experiment, the first time."""
        if self.client is None:
            for name, value in SETTINGS.items():
                os.environ.setdefault(name, value)
            from mlflow import MlflowClient

            for name in _LOUD:
                logging.getLogger(name).setLevel(logging.CRITICAL)
            _make_database(self.uri, MlflowClient)
            self.client = MlflowClient(self.uri, self.uri)
        if not self.experiment:
            known = self.client.get_experiment_by_name(self._project)
            place = None if self.uri.startswith("http") else self.artifacts.absolute().as_uri()
            self.experiment = (
                known.experiment_id
                if known
                else self.client.create_experiment(self._project, place, tags={KIND_TAG: "custom_model_development"})
            )


class _Session:
    """A run of MLflow. Used by one thread; raises whatever MLflow raises.

    Each method takes the contents of notes as ``evolve.tracking.outbox`` hands them over: one, or several points.
    """

    def __init__(self, server: _Server, parent: _Session | None = None) -> None:
        self.server, self._parent = server, parent
        self.is_study = False
        self.run: str | None = None

    @property
    def _client(self) -> Any:
        return self.server.client

    @property
    def _experiment(self) -> str:
        return self.server.experiment

    def begin(self, contents: Sequence[tuple[str, Mapping[str, str], Mapping[str, str]]]) -> None:
        """Makes the run, or takes up the one that this campaign of this home left unfinished."""
        ((campaign, params, tags),) = contents
        self.server.open()
        home = blake3(f"{platform.node()} {self.server.artifacts.absolute()}".encode()).hexdigest(8)
        named = {"evolve.campaign": campaign, "evolve.home": home, **{f"evolve.{k}": v for k, v in tags.items()}}
        if self._parent is not None and self._parent.run is not None:
            named[PARENT_TAG] = self._parent.run
        left = self._left_by(campaign, home, named)
        if left is None:
            self.run = self._client.create_run(self._experiment, run_name=campaign).info.run_id
        else:
            self.run = left
            self._client.update_run(left, status="RUNNING")
        self._log(tags=_texts(named), params=params)

    def points(self, points: Sequence[Point]) -> None:
        """Sends points in as few calls as MLflow allows; numbers that are not finite are left out."""
        self.server.open()
        from mlflow.entities import Metric

        metrics = [
            Metric(_key(name), float(value), point.time_ms, point.step)
            for point in points
            for name, value in point.metrics.items()
            if math.isfinite(value)
        ]
        for chunk in _chunks(metrics, _BATCH["metrics"]):
            self._client.log_batch(self._current(), metrics=chunk)

    def finish(self, contents: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], int]]) -> None:
        """Adds scores, hashes, the summary and the plot of the front; ends the run."""
        ((summary, front, time_ms),) = contents
        scores = {
            f"{split}.{tier}.{objective}": value
            for split, key in (("validation", "scores"), ("heldout", "heldout"))
            for tier, objectives in (summary.get(key) or {}).items()
            for objective, value in objectives.items()
            if isinstance(value, int | float)
        }
        step = int(summary.get("generations") or 0)
        self.points([Point(step, time_ms, {f"final.{name}": value for name, value in scores.items()})])
        named = ("state", "champion", "population", "lineage", "seed", "evaluations")
        self._log(tags=_texts({f"evolve.{name}": summary[name] for name in named if summary.get(name) is not None}))
        run = self._current()
        self._client.log_dict(run, json.loads(json.dumps(summary, default=str)), "summary.json")
        if front:
            self._client.log_figure(run, front_figure(front, summary.get("objective", "accuracy")), "front.png")
        self._client.set_terminated(run, ENDED.get(str(summary.get("state")), "KILLED"))

    def promoted(self, contents: Sequence[tuple[str, str, Path]]) -> None:
        """Moves the alias to the version that holds the block, made from its export where there is none."""
        ((head, block_id, archive),) = contents
        self.server.open()
        name = head.replace("/", ".")  # MLflow's names have no slash
        sequence = _sequence(archive, head)
        tags = {"block_id": block_id, "sequence": sequence}
        if self._stands(name, tags):
            return
        version = self._version_of(name, block_id) or self._register(name, block_id, archive)
        for key, value in tags.items():
            self._client.set_model_version_tag(name, version, key, value)
        self._client.set_registered_model_alias(name, ALIAS, version)

    def _current(self) -> str:
        if self.run is None:
            raise RuntimeError("no run was begun")
        return self.run

    def _left_by(self, campaign: str, home: str, named: Mapping[str, str]) -> str | None:
        """Returns the run of this campaign that did not finish: the process ended first. A study's, and those below it, are
        gone on with when they have finished too."""
        goes_on = self.is_study or self._parent is not None
        same = SAME[: None if self._parent else 1]
        query = f"tags.`evolve.campaign` = '{campaign}' and tags.`evolve.home` = '{home}'"
        for run in self._client.search_runs([self._experiment], query, order_by=["attributes.start_time DESC"]):
            is_open = goes_on or run.info.status != "FINISHED"
            if is_open and all(run.data.tags.get(name) == named.get(name) for name in same):
                return str(run.info.run_id)
        return None

    def _log(self, *, tags: Mapping[str, str], params: Mapping[str, str] | None = None) -> None:
        from mlflow.entities import Param, RunTag

        for chunk in _chunks([RunTag(_key(name), value) for name, value in tags.items()], _BATCH["tags"]):
            self._client.log_batch(self._current(), tags=chunk)
        for chunk in _chunks([Param(_key(name), value) for name, value in (params or {}).items()], _BATCH["params"]):
            self._client.log_batch(self._current(), params=chunk)

    def _stands(self, name: str, tags: Mapping[str, str]) -> bool:
        for model in self._client.search_registered_models(f"name = '{name}'"):
            number = (model.aliases or {}).get(ALIAS)
            if number is not None:
                found = self._client.get_model_version(name, number).tags
                return all(found.get(key) == value for key, value in tags.items())
        return False

    def _version_of(self, name: str, block_id: str) -> str | None:
        versions = self._client.search_model_versions(f"name = '{name}'")
        return next((v.version for v in versions if v.tags.get("block_id") == block_id and v.status == "READY"), None)

    def _register(self, name: str, block_id: str, archive: Path) -> str:
        from evolve.runtime.mlflow_model import save_pyfunc

        if not list(self._client.search_registered_models(f"name = '{name}'")):
            self._client.create_registered_model(name)
        with tempfile.TemporaryDirectory(prefix="evolve-model-") as folder:
            place = Path(folder) / "model"
            save_pyfunc(archive, place)
            model = self._client.create_logged_model(self._experiment, name, self.run, {"block_id": block_id})
            self._client.log_model_artifacts(model.model_id, str(place))
        self._client.finalize_logged_model(model.model_id, "READY")
        # by its place, since the registry would look a model's id up at MLflow's global address, which is not ours
        source, tags = model.artifact_location, {"block_id": block_id}
        made = self._client.create_model_version(name, source, self.run, tags, await_creation_for=10)
        return str(made.version)


def _make_database(uri: str, client: Callable[[str, str], Any]) -> None:
    """Makes a missing SQLite file aside and moves it into place: a process killed among MLflow's migrations leaves a file
    that no later one can open."""
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.exists():
        return
    making = path.with_name(f"{path.name}.making-{os.getpid()}")
    making.unlink(missing_ok=True)
    aside = f"sqlite:///{making}"
    client(aside, aside).search_experiments(max_results=1)
    with suppress(FileExistsError):  # another campaign of this home was quicker
        os.link(making, path)
    making.unlink()


def front_figure(front: Sequence[Mapping[str, Any]], objective: str = "accuracy") -> Any:
    """Returns the Pareto front as a figure: an objective against counted FLOPs a sample, on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    known = [p for p in front if all(_is_number(p.get(key)) for key in ("flops", objective)) and p["flops"] > 0]
    for tier in dict.fromkeys(str(point.get("tier", "")) for point in known):
        members = sorted((p["flops"], p[objective]) for p in known if str(p.get("tier", "")) == tier)
        axes.plot(*zip(*members, strict=True), marker="o", linewidth=1, label=tier or "front")
    axes.set_xscale("log")
    axes.set_xlabel("FLOPs a sample")
    axes.set_ylabel(f"{objective} on validation rows")
    axes.grid(visible=True, alpha=0.3)
    if known:
        axes.legend(frameon=False)
    return figure


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns dotted keys and texts of nested mappings; lists are written as JSON, long texts are cut.

    >>> flatten({"stop": {"generations": 3}, "objectives": ["accuracy"], "promote": None})
    {'stop.generations': '3', 'objectives': '["accuracy"]', 'promote': 'null'}
    """
    texts: dict[str, str] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            texts |= flatten(value, f"{key}.")
        else:
            texts[key] = _cut(value if isinstance(value, str) else json.dumps(value, default=str))
    return texts


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _cut(str(value)) for name, value in values.items()}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _key(name: str) -> str:
    """Returns a name that MLflow takes."""
    return re.sub(r"[^\w.\-/ ]", "_", name)[:250]


def _sequence(archive: Path, name: str) -> str:
    try:
        found = json.loads((archive.parent / SEQUENCES_FILE).read_bytes())
    except (OSError, ValueError):
        return ""
    return str(found.get(name, "")) if isinstance(found, dict) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _chunks(entries: Sequence[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(entries)
    while chunk := list(islice(remaining, size)):
        yield chunk
