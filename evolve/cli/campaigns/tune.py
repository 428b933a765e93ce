"""``evolve tune``: tries settings of a campaign, a campaign each, and prints the best ones as a config."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolve import display
from evolve.cli.campaigns.run import DISK_WAIT_S, AcceptLevel, Address, DiskWait, Seed, Workers, as_overrides
from evolve.cli.shared import options, output

if TYPE_CHECKING:
    from evolve.campaign.summary import Progress
    from evolve.home.home import Home
    from evolve.tuning.study import Study, Trial
    from evolve.tuning.tuning import Tuning

#: So many trials stand in the table at the end.
SHOWN = 5


def tune(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file with a section `tune`.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the config to set otherwise.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="How many trials the study has in all.", show_default="the config's"),
    ] = None,
    seed: Seed = None,
    workers: Workers = None,
    address: Address = None,
    accept_level: AcceptLevel = None,
    disk_wait: DiskWait = DISK_WAIT_S,
    as_json: options.JsonOption = False,
    home: options.HomeOption = None,
) -> None:
    """Find better settings for a campaign: a study of trials, each of them a campaign with settings of its own.

    The section `tune` of the config names keys and their ranges. The first trial is the config as it stands; the others are
    drawn by a sampler (TPE) that learns from those before. A trial is scored by its champion on validation rows, never on
    held-out ones; one that lies behind is stopped early. All end in the same lineage, and in MLflow below one run.

    The study is kept in the home. Killed, interrupted, or done with fewer trials than are asked for now, it is gone on with
    by the same command, with the campaign that was under way. The best settings go to standard output as YAML that
    `evolve run` takes, all else to standard error.

    Examples:
      evolve tune configs/digits-tune.yaml > best.yaml && evolve run best.yaml
      evolve tune configs/digits-tune.yaml --trials 60 --workers 4
      evolve tune configs/digits-tune.yaml stop.flops=2e10 tune.objective=accuracy --json
    """
    from evolve.config.campaign import read_config
    from evolve.driver.requests import Interrupted
    from evolve.tuning.tuning import make_tuning, uneven_budget

    extra = [*(overrides or ()), *as_overrides(seed, workers, address, accept_level)]
    extra += [f"tune.trials={trials}"] if trials is not None else []
    tuning = make_tuning(read_config(config, extra), str(config))
    warning = uneven_budget(tuning)
    if warning:
        output.note(f"note: {warning}")
    opened = options.create_home(home)
    opened.check_current()
    try:
        found = _carry_out(tuning, opened, disk_wait)
    except Interrupted as stopped:
        output.note(f"{str(stopped).partition(';')[0]}; the same command goes on with the study")
        raise typer.Exit(130) from None
    if as_json:
        output.show_json(found)
    else:
        _show(tuning, found)
    raise typer.Exit(0 if found["best"] else 1)


def _carry_out(tuning: Tuning, home: Home, disk_wait_s: float) -> dict[str, Any]:
    """Runs the study to its end; returns what came of it, for scripts."""
    from evolve.cli.shared.interruption import Interruption
    from evolve.driver.trackers import tracking_a_study
    from evolve.tuning.study import opened
    from evolve.tuning.tuning import Means
    from evolve.tuning.tuning import tune as run_study

    assert tuning.config.tune is not None
    limit = tuning.config.tune.trials
    with opened(home.files, home.root, tuning.rules) as study:
        before = len(study.trials)
        output.note(f"study {study.rules.name}: {before} of {limit} trials are there, in {home.root}")
        with (
            tracking_a_study(home, output.note) as (above, below),
            Interruption() as interruption,
            _display() as display,
        ):

            def show(_: Trial, progress: Progress) -> None:
                interruption.hold()
                display(progress)

            def ended(trial: Trial) -> None:
                output.note(_line(tuning, study, trial))

            means = Means(home, above, below, show, ended, interruption.event, output.note, disk_wait_s)
            run_study(tuning, study, means, limit)
        return _outcome(tuning, study, home)


@contextmanager
def _display() -> Iterator[Callable[[Progress], None]]:
    """Shows the campaign under way on a terminal; elsewhere a line a trial is enough."""
    from evolve.cli.shared.progress import shown

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with shown() as display:
        yield display


def _outcome(tuning: Tuning, study: Study, home: Home) -> dict[str, Any]:
    from evolve.tuning.tuning import trial_facts, trial_values

    best = study.best
    trials = study.trials
    return {
        "study": study.rules.name,
        "home": str(home.root),
        "objective": tuning.objective,
        "direction": "max" if study.rules.is_maximised else "min",
        "trials": [trial_facts(trial) for trial in trials],
        "ranking": [trial.number for trial in study.ranked],
        "start": trial_facts(trials[0]) if trials else None,
        "best": trial_facts(best) if best else None,
        "config": trial_values(tuning, best) if best else None,
    }


def _line(tuning: Tuning, study: Study, trial: Trial) -> str:
    """Returns what is said of a trial when it has ended."""
    from evolve.display import duration, number

    best = study.best
    if trial.state == "done":
        is_best = best is not None and best.number == trial.number
        rank = "the best so far" if is_best else f"best {number(best.value)} of trial {best.number}" if best else ""
        what = f"{tuning.objective} {number(trial.value)}  ({rank})"
    else:
        what = f"{trial.state}: {trial.facts.get('reason', '')}"
    seconds = duration(trial.facts.get("seconds") or 0.0)
    settings = "the config as it stands" if trial.number == 0 else _settings(trial.settings)
    return f"trial {trial.number:>3}  {what}  {seconds}  {settings}"


def _settings(settings: Mapping[str, Any]) -> str:
    return "  ".join(f"{key}={_short(value)}" for key, value in settings.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _show(tuning: Tuning, found: Mapping[str, Any]) -> None:
    """Prints the best trials on standard error, and the best settings as YAML on standard output."""
    import yaml

    from evolve.display import visible

    ranking = found["ranking"]
    listed = ranking[:SHOWN] + [number for number in ranking[SHOWN:] if number == 0]
    states = [trial["state"] for trial in found["trials"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("done", "pruned", "failed") if state in states)
    columns = ("trial", tuning.objective, "campaign", "settings")
    rows = [_row(found["trials"][number]) for number in listed]
    title = f"The best trials of {found['study']} ({counts})"
    output.show(display.table(columns, rows, right=("trial", tuning.objective), title=title), file=sys.stderr)
    if not found["best"]:
        output.note("no trial came to a score: the lines above say why")
        return
    best = found["best"]
    score = f"{tuning.objective} {best['value']:.6g} on validation rows"
    output.say(f"# Trial {best['trial']} of the study {found['study']}: {score}.")
    text = yaml.safe_dump(found["config"], sort_keys=False, allow_unicode=True)
    is_plain = visible(text) == text  # else every letter by its number, which is the same YAML
    output.say((text if is_plain else yaml.safe_dump(found["config"], sort_keys=False)).rstrip("\n"))


def _row(trial: Mapping[str, Any]) -> tuple[str, ...]:
    settings = "as the config stands: " if trial["trial"] == 0 else ""
    value = f"{trial['value']:.5g}"
    return (str(trial["trial"]), value, str(trial["campaign"]), settings + _settings(trial["settings"]))
