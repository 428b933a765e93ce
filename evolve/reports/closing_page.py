"""The last page of a campaign: what was reached, beside plain methods, by which operators, at what cost, and what to type next.

Nouns: *page* (rich text and tables, printed one after the other).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve import display
from evolve.display import count, duration, number, short_id, thinned
from fitness.measures.metrics import sign_of

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from evolve.config.campaign import CampaignConfig
    from evolve.home.home import Home
    from evolve.promotion.promote import Decision
    from evolve.reports.baselines import Baseline

MAX_FRONT = 8
BEST_BY_OPERATOR = (
    "SELECT operator, count(DISTINCT individual) AS births, {best}(value) AS best FROM individuals JOIN scores "
    "USING (individual) WHERE objective = '{objective}' AND split = 'validation' AND tier = 'ultimate' "
    "GROUP BY 1 ORDER BY 3{order}"
)
#: Where a project keeps a few rows of a benchmark to try a block on.
SAMPLES = "experiments/{dataset}/samples.npz"


def last_page(
    summary: Mapping[str, Any],
    decision: Decision | None,
    config: CampaignConfig,
    home: Home,
    baselines: Sequence[Baseline] = (),
) -> list[Any]:
    """Returns the page of a finished campaign."""
    parts: list[Any] = [_opening(summary), _reached(summary, decision, baselines)]
    objective = summary.get("objective", "accuracy")
    tables = (_front(summary["front"], objective), _operators(summary["operators"], objective))
    parts += [part for part in tables if part is not None]
    return [*parts, _promotion(decision, config), _places(summary, home), _next(summary, decision, config, home)]


def _opening(summary: Mapping[str, Any]) -> Text:
    from rich.text import Text

    text = Text("\n").append(display.visible(str(summary["campaign"])), style="bold")
    state = "is done" if summary["state"] == "done" else f"ended: {summary['state']}"
    cost = f"{summary['evaluations']:,} evaluations in {summary['generations']} generations, "
    cost += f"{duration(summary['seconds'])}, {count(summary['flops'])} FLOPs counted"
    if summary.get("already_done"):
        text.append(f" was done in this home before; this is its result, nothing was computed again ({cost})")
    else:
        text.append(f" {state}: {cost}")
    if summary.get("reason"):
        text.append(f"; it stopped by: {display.visible(str(summary['reason']))}")
    if summary.get("quarantined"):
        text.append(f"; {summary['quarantined']} candidates failed and are in quarantine")
    return text.append(_again(summary.get("again")))


def _again(compared: Mapping[str, Any] | None) -> str:
    if not compared:
        return ""
    names = ("population", "lineage", "champion")
    same = [name for name in names if compared[f"{name}_same"]]
    other = [name for name in names if name not in same]
    earlier = compared.get("earlier", "the earlier run")
    told = [f"the same {', '.join(same)}"] if same else []
    told += [f"ANOTHER {', '.join(other)}"] if other else []
    return f"\ncompared with {earlier}: {'; '.join(told)}"


def _reached(summary: Mapping[str, Any], decision: Decision | None, baselines: Sequence[Baseline]) -> Table:
    from rich.text import Text

    heldout = (decision.heldout if decision else None) or summary.get("heldout") or {}
    metric = summary.get("metric", "accuracy")
    table = _table(f"What was reached: {metric}", ("", "validation", "held-out", "FLOPs a sample"))
    largest = max((scores.get("flops", 0.0) for scores in summary["scores"].values()), default=0.0)
    for tier, scores in summary["scores"].items():
        flops = scores.get("flops")
        share = f" ({flops / largest:.0%})" if flops and largest and flops < largest else ""
        found = heldout.get(tier, {}).get(metric)
        table.add_row(f"evolved, {tier}", number(scores.get(metric)), number(found), f"{number(flops)}{share}")
    if baselines:
        table.add_section()
    for baseline in baselines:
        reached = (number(baseline.scores.get(split)) for split in ("validation", "heldout"))
        missing = f" (missing: {baseline.missing})" if baseline.missing else ""
        table.add_row(Text(f"{baseline.name}{missing}"), *reached, number(baseline.flops))
    return table


def _front(front: Sequence[Mapping[str, Any]], objective: str) -> Table | None:
    if not front:
        return None
    table = _table(
        f"The front of {objective} against FLOPs, on validation",
        ("FLOPs a sample", objective, "tier", "by", "individual"),
    )
    ordered = sorted(front, key=lambda point: point["flops"])
    for point in thinned(ordered, MAX_FRONT):
        cells = (number(point["flops"]), number(point.get(objective)), str(point.get("tier", "")))
        table.add_row(*cells, str(point["operator"]), short_id(point["individual"]))
    if len(ordered) > MAX_FRONT:
        table.caption = f"{MAX_FRONT} of {len(ordered)} points; all of them: evolve status --json"
        table.caption_justify = "left"
    return table


def _operators(operators: Sequence[Mapping[str, Any]], objective: str) -> Table | None:
    if not operators:
        return None
    total = sum(entry["flops"] for entry in operators) or 1.0
    table = _table("By which operators", ("operator", "births", "best", "share of the cost"))
    sign = sign_of(objective)
    known = [entry for entry in operators if entry["best"] is not None]
    unknown = [entry for entry in operators if entry["best"] is None]
    for entry in [*sorted(known, key=lambda entry: -sign * entry["best"]), *unknown]:
        table.add_row(entry["operator"], f"{entry['births']:,}", number(entry["best"]), f"{entry['flops'] / total:.0%}")
    return table


def _promotion(decision: Decision | None, config: CampaignConfig) -> Text:
    from rich.text import Text

    if decision is None or config.promote is None:
        return Text("\nNothing was promoted: the config has no `promote` section.")
    style = "green" if decision.exit_code == 0 else "yellow"
    text = Text("\nThe gate, for the head ").append(config.promote.name, style="bold").append(": ")
    text.append(decision.decision, style=style)
    for reason in decision.reasons:
        text.append(f"\n  {display.visible(reason)}")
    return text


def _places(summary: Mapping[str, Any], home: Home) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.title, table.title_justify, table.title_style = "\nWhere everything lies", "left", "bold"
    folder = home.campaign_dir(str(summary["campaign"]))
    for name, value in (
        ("home", display.path(home.root)),
        ("campaign", display.path(folder)),
        ("champion", str(summary["champion"])),
        ("MLflow", home.mlflow_uri),
        ("population", str(summary["population"])),
        ("lineage", str(summary["lineage"])),
    ):
        table.add_row(f"  {name}", value)
    return table


def _next(summary: Mapping[str, Any], decision: Decision | None, config: CampaignConfig, home: Home) -> Text:
    from rich.text import Text

    text = Text("\n").append("What to type next\n", style="bold")
    for command in next_commands(summary, decision, config, home):
        text.append(f"  {display.visible(command)}\n")
    text.no_wrap, text.overflow = True, "ignore"  # a command is one line, to be copied
    return text


def best_by_operator(objective: str) -> str:
    """Returns the statement that shows what each operator reached on an objective, the best first."""
    best, order = ("max", " DESC") if sign_of(objective) > 0 else ("min", "")
    return BEST_BY_OPERATOR.format(objective=objective, best=best, order=order)


def next_commands(
    summary: Mapping[str, Any], decision: Decision | None, config: CampaignConfig, home: Home
) -> list[str]:
    """Returns the five commands to type next, as they work in this shell and folder."""
    promoted_to = config.promote.name if config.promote and decision and decision.sequence else None
    name = promoted_to or short_id(summary["champion"])
    samples = SAMPLES.format(dataset=config.benchmark.dataset)
    tier = next(iter(summary["scores"]), "ultimate")
    commands = [
        "heads",
        f"lineage {name} --ancestors",
        f'query "{best_by_operator(summary.get("objective", "accuracy"))}"',
        f"infer {name}@{tier} --input {samples if Path(samples).is_file() else 'FILE'}",
        "ui",
    ]
    return [f"{display.program()} {command}{_home_option(home)}" for command in commands]


def _home_option(home: Home) -> str:
    """Returns the option that leads to this home, or nothing where it is found without."""
    from evolve.home.home import Home

    if Home.find(Path.cwd(), None, os.environ.get("EVOLVE_HOME")) == home.root.absolute():
        return ""
    return f" --home {shlex.quote(display.path(home.root))}"


def _table(title: str, columns: Sequence[str]) -> Table:
    texts = {"", "tier", "by", "individual", "operator"}
    made: Table = display.table(columns, right=[name for name in columns if name not in texts], title=f"\n{title}")
    made.title_style = "bold"
    return made
