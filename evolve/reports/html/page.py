"""Writes a report: one HTML page with its style, its drawing and its few lines of script inside, which asks nothing of a network.

Whatever comes from a lineage is text: the template escapes all of it, data for the script is JSON in which no tag can end,
and a content security policy names the style and the script by their hashes, so that a browser runs and loads nothing else.

Nouns: *report* (the page with what it is about).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

from evolve.display import count, duration, number, short_id
from evolve.home.origins import Leaf, leaves_of
from evolve.planning.environment import fields
from evolve.reports.html import plots, sections
from evolve.reports.html.ancestry import ancestry_of
from evolve.reports.html.evidence import Evidence
from evolve.reports.status import advice, describe
from population.clock import Clock, SystemClock
from population.errors import NotFound
from population.lineage.sql.connection import open_connection

if TYPE_CHECKING:
    from evolve.home.home import Home

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class CampaignPage:
    """The page of a campaign. html: UTF-8. num_shown, num_left_out: individuals of its family tree."""

    campaign: str
    state: str
    html: bytes
    num_shown: int
    num_left_out: int


def make_report(
    home: Home, handle: str, clock: Clock | None = None, unread: Callable[[str], None] = lambda text: None
) -> CampaignPage:
    """Returns the report of a campaign as it stands, whether it is over or not; nothing is changed or computed again.

    Args:
        unread: as in ``leaves_of``.

    Raises:
        NotFound: there is no such campaign. LineageCorrupt: a lineage of the home is damaged; the message says where.
    """
    if handle not in home.campaigns():
        raise NotFound(f"no campaign {handle!r} in {home.root}; there are: {', '.join(home.campaigns()) or 'none yet'}")
    standing = describe(home, handle, with_lineage=False)
    config = home.config_of(handle).model_dump(mode="json")
    with closing(open_connection(home.lineage_reader())) as connection:
        evidence = Evidence(connection, handle, str(config["objectives"][0]))
        content = _content(home, evidence, standing, config, leaves_of(home, unread))
    content["made"] = datetime.fromtimestamp((clock or SystemClock()).now(), UTC)
    ancestry = content["family"]["ancestry"]
    return CampaignPage(handle, standing["state"], render(content), len(ancestry.kinsmen), ancestry.num_left_out)


def _content(
    home: Home, evidence: Evidence, standing: dict[str, Any], config: dict[str, Any], leaves: Mapping[str, Leaf]
) -> dict[str, Any]:
    handle = evidence.campaign
    champion = evidence.champion()
    individual = champion["individual"]
    progress = sections.progress(evidence, config["objectives"])
    standing = dict.fromkeys(_SUMMED) | standing
    if progress["rows"]:
        standing |= {name: progress["rows"][-1][key] for name, key in _COUNTED}
    operators = sections.operators(evidence, standing)
    colours = {row["operator"]: min(i, sections.NUM_COLOURS - 1) for i, row in enumerate(operators)}
    front = sections.front(evidence)
    ancestry = ancestry_of(evidence, individual, [point["individual"] for point in front["points"]], leaves)
    row = evidence.identity()
    return {
        "campaign": handle,
        "standing": standing,
        "advice": advice(standing, "evolve"),
        "lead": evidence.lead,
        "champion": champion,
        "tiers": sections.tier_rows(evidence, individual, config) if individual else [],
        "progress": progress,
        "front": front,
        "skills": sections.skills(evidence, individual) if individual else {"rows": []},
        "family": sections.family(ancestry, colours, handle),
        "operators": operators,
        "colours": colours,
        "costs": sections.costs(evidence, standing),
        "statuses": evidence.statuses(),
        "levels": evidence.levels(),
        "failures": evidence.failures(),
        "incidents": evidence.incidents(),
        "decisions": evidence.decisions(),
        "waves": sections.waves(home.campaign_rows(handle)),
        "row": row,
        "config": config,
        "config_text": sections.configuration(config),
        "environment": sorted(fields(row.get("environment") or "").items()),
    }


#: What a summary has, and the standing of an unfinished campaign has not.
_SUMMED = ("benchmark", "population", "lineage", "flops", "seconds", "reason", "inexact")
_COUNTED = (("evaluations", "evaluations"), ("generations", "generation"))


def render(content: dict[str, Any]) -> bytes:
    """Returns the page of what ``make_report`` gathers, UTF-8; characters that have no place in text become question marks."""
    import jinja2
    from markupsafe import Markup

    shell = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    shell.lstrip_blocks = True
    shell.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    shell.filters |= {
        "number": number,
        "count": count,
        "duration": duration,
        "short": short_id,
        "percent": _percent,
        "score": _score,
    }
    style, script = _text("report.css"), _text("walk.js")
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_source(style)}; script-src {_source(script)}"
    )
    # Ours, not a lineage's: the only texts that are not escaped.
    inside = {"style": Markup(style), "script": Markup(script), "policy": policy, "paper": plots}  # noqa: S704
    return shell.get_template("report.html").render(content | inside).encode("utf-8", "replace")


def _text(name: str) -> str:
    return (resources.files("evolve.reports.html") / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """Returns how a content security policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _score(value: float | None) -> str:
    """Returns a score with three decimals, so that columns of them line up."""
    return number(value) if value is None or abs(value) >= 10 else f"{value:.3f}"
