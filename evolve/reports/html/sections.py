"""What stands in each section of a report, as plain values for a template: rows, facts, and plots.

Nouns: *fact* (a name with its value as people read it), *chart* (a plot with its title, caption and description).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import yaml

from evolve.display import count, duration, number, short_id, thinned
from evolve.reports.html import plots
from evolve.reports.html.ancestry import Ancestry, Kinsman
from evolve.reports.html.evidence import MAX_FRONT, MAX_ROWS, Evidence
from fitness.measures.metrics import sign_of

TIERS = ("lite", "pro", "ultimate")
MAX_CHARTS = 4
CELL = 5
MAX_CONFIG_CHARS = 60_000
#: So many colours there are for operators; the others share the last one.
NUM_COLOURS = 8

Row = Mapping[str, Any]


# ---- what was reached -------------------------------------------------------------------------------------------------


def tier_rows(evidence: Evidence, individual: str, config: Row) -> list[dict[str, Any]]:
    """Returns the champion's tiers, the cheapest first: scores by split, FLOPs, widths, and the gate that stands after."""
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for row in evidence.judgements(individual):
        scores.setdefault(row["tier"], {}).setdefault(row["split"], {})[row["objective"]] = row["value"]
    tiers = evidence.tiers(individual)
    dearest = max((row["flops"] or 0 for row in tiers), default=0)
    gates = {gate.get("tier"): gate.get("when") for gate in config.get("gates") or ()}
    return [
        {
            "tier": row["tier"],
            "validation": scores.get(row["tier"], {}).get("validation", {}),
            "heldout": scores.get(row["tier"], {}).get("heldout", {}),
            "flops": row["flops"],
            "share": row["flops"] / dearest if dearest and row["flops"] else None,
            "widths": _widths(row["widths"]),
            "gate": json.dumps(gates[row["tier"]])
            if isinstance(gates.get(row["tier"]), dict)
            else gates.get(row["tier"]),
        }
        for row in tiers
        if scores.get(row["tier"])
    ]


def _widths(text: str | None) -> str:
    found = json.loads(text) if text else {}
    return ", ".join(f"{name} {width}" for name, width in found.items())


# ---- progress ---------------------------------------------------------------------------------------------------------


def progress(evidence: Evidence, objectives: Sequence[str]) -> dict[str, Any]:
    """Returns the generations, and of each objective a chart of the best so far over what was born."""
    told = evidence.best_so_far()
    for row in told:
        row["best"] = dict(row["best"] or {})
    charts = [_progress_chart(name, told, evidence.spread(name)) for name in objectives[:MAX_CHARTS]]
    return {"rows": told, "charts": [chart for chart in charts if chart]}


def _progress_chart(name: str, told: Sequence[Row], spread: Sequence[Row]) -> dict[str, Any] | None:
    best = [(row["generation"], row["best"][name]) for row in told if _is_number(row["best"].get(name))]
    if not best:
        return None
    sign = sign_of(name)
    values = [sign * value for _, value in best] + [sign * row[q] for row in spread for q in ("low", "high")]
    begin = plots.begin_of_interest(values, sorted(values)[round(0.15 * (len(values) - 1))])
    bounds = sorted((sign * begin, sign * max(values)))
    generations = [row["generation"] for row in (*told, *spread)]
    x, y = plots.across(min(generations), max(generations), is_whole=True), plots.upwards(*bounds)
    line = [(x.place(g), y.place(v)) for g, v in best]
    quartiles = {
        q: [(x.place(row["generation"]), y.place(row[q])) for row in spread] for q in ("low", "middle", "high")
    }
    cut = sum(value < begin for value in values)
    return {
        "name": name,
        "x": x,
        "y": y,
        "best": plots.steps(line),
        "end": line[-1],
        "middle": plots.curve(quartiles["middle"]) if len(spread) > 1 else "",
        "band": plots.band(quartiles["high"], quartiles["low"]) if len(spread) > 1 else "",
        "note": "Earlier, worse values lie outside the axis." if cut else "",
        "text": f"{name} by generation: the best so far went from {number(best[0][1])} to {number(best[-1][1])}",
    }


# ---- the front --------------------------------------------------------------------------------------------------------


def front(evidence: Evidence) -> dict[str, Any]:
    """Returns the front, thinned where it is long, and a chart of it before everything that was judged."""
    points, ranges = evidence.front(), evidence.ranges()
    shown = thinned(points, MAX_FRONT)
    found = {"points": shown, "total": len(points), "judgements": ranges.get("count", 0), "chart": None}
    return found | {"chart": _front_chart(evidence, shown, ranges)} if points else found


def _front_chart(evidence: Evidence, points: Sequence[Row], ranges: Row) -> dict[str, Any]:
    sign = evidence.sign
    begin = plots.begin_of_interest([ranges["worst"], ranges["best"]], ranges["low"])
    begin = min([begin, *(sign * point["value"] for point in points)])
    y = plots.upwards(*sorted((sign * begin, sign * ranges["best"])))
    is_log = ranges["cheapest"] > 0 and ranges["dearest"] / ranges["cheapest"] > 4
    x = plots.across(ranges["cheapest"], ranges["dearest"], is_log=is_log)
    cells = evidence.cells(x.sql("flops"), y.sql("value"), CELL)
    inside = [cell for cell in cells if plots.TOP <= cell["y"] * CELL < plots.HEIGHT - plots.BOTTOM]
    outside = sum(cell["count"] for cell in cells) - sum(cell["count"] for cell in inside)
    return {
        "x": x,
        "y": y,
        "clouds": [plots.squares(((c["x"], c["y"]) for c in group), CELL) for group in _by_count(inside)],
        "front": plots.steps((x.place(p["flops"]), y.place(p["value"])) for p in points) + f"H{x.end}",
        "points": [{**p, "x": x.place(p["flops"]), "y": y.place(p["value"])} for p in points],
        "note": f"{outside:,} of {ranges['count']:,} judgements lie outside the axes." if outside else "",
    }


def _by_count(cells: Sequence[Row]) -> list[list[Row]]:
    """Returns the cells in four groups: one judgement in it, a few, tens, hundreds."""
    groups: list[list[Row]] = [[], [], [], []]
    for cell in cells:
        groups[min(3, int(math.log10(cell["count"]) * 2))].append(cell)
    return groups


# ---- skills -----------------------------------------------------------------------------------------------------------


def skills(evidence: Evidence, individual: str) -> dict[str, Any]:
    """Returns per skill the champion's values by split and tier, and the best that anybody had."""
    table: dict[str, dict[str, Any]] = {}
    for row in evidence.skills(individual):
        entry = table.setdefault(row["skill"], {"skill": row["skill"], "best": row["best"], "holder": row["holder"]})
        if row["split"] is not None:
            entry.setdefault(row["split"], {})[row["tier"]] = row["value"]
    splits = [split for split in ("validation", "heldout") if any(split in entry for entry in table.values())]
    tiers = [tier for tier in TIERS if any(tier in entry.get(s, {}) for s in splits for entry in table.values())]
    rows = list(table.values())
    chart = _skill_chart(rows, splits[-1], tiers) if splits else None
    return {"rows": rows, "splits": splits, "tiers": tiers, "total": evidence.num_skills(), "chart": chart}


def _skill_chart(rows: Sequence[Row], split: str, tiers: Sequence[str]) -> dict[str, Any] | None:
    values = [value for row in rows for value in row.get(split, {}).values() if _is_number(value)]
    if not values:
        return None
    x = plots.across(min(values), max(values))
    height = 17
    lines = [
        {
            "skill": row["skill"],
            "y": plots.TOP + height * (place + 0.5),
            "dots": [(tier, x.place(row[split][tier])) for tier in tiers if _is_number(row.get(split, {}).get(tier))],
        }
        for place, row in enumerate(rows)
    ]
    return {"x": x, "lines": lines, "split": split, "bottom": plots.TOP + height * len(rows)}


# ---- operators --------------------------------------------------------------------------------------------------------


def operators(evidence: Evidence, summary: Row) -> list[dict[str, Any]]:
    """Returns what each operator did and earned; its counted FLOPs once the campaign is over."""
    costs: dict[str, float] = {}
    for entry in summary.get("operators") or ():
        name = str(entry["operator"]).partition("@")[0]
        costs[name] = costs.get(name, 0.0) + entry["flops"]
    total, rows = sum(costs.values()), evidence.operators()
    most = max((row["gain"] for row in rows), default=0.0)
    return [
        {
            **row,
            "cost": costs.get(row["operator"]),
            "cost_share": costs[row["operator"]] / total if total and row["operator"] in costs else None,
            "gain_share": row["gain"] / most if most else 0.0,
            "success": row["better"] / row["compared"] if row["compared"] else None,
        }
        for row in rows
    ]


# ---- family -----------------------------------------------------------------------------------------------------------


def family(ancestry: Ancestry, colours: Mapping[str, int], campaign: str) -> dict[str, Any]:
    """Returns the kinsmen with their paths for the drawing, and what a walk through them needs."""
    kinsmen = ancestry.kinsmen
    return {
        "ancestry": ancestry,
        "marks": [{"kinsman": kin, "colour": colours.get(_operator(kin), NUM_COLOURS - 1)} for kin in kinsmen],
        "edges": [edge for kin in kinsmen for edge in _edges(kin, kinsmen)],
        "walk": [_step(kin, kinsmen, campaign) for kin in kinsmen],
    }


def _operator(kin: Kinsman) -> str:
    return str(kin.facts["operator"] or kin.facts["missing"])


def _edges(kin: Kinsman, kinsmen: Sequence[Kinsman]) -> Iterable[dict[str, Any]]:
    for index in dict.fromkeys(index for index, _, _ in kin.parents if index is not None):
        parent = kinsmen[index]
        middle = (kin.y + parent.y) / 2
        path = f"M{kin.x} {kin.y}C{kin.x} {middle} {parent.x} {middle} {parent.x} {parent.y}"
        yield {"child": kin.index, "parent": index, "path": path, "in_line": kin.in_line and parent.in_line}


def _step(kin: Kinsman, kinsmen: Sequence[Kinsman], campaign: str) -> dict[str, Any]:
    facts = kin.facts
    told = [["status", str(facts["missing"])]] if facts["missing"] else _told(kin, campaign)
    values = [kinsmen[i].facts.get("value") for i, _, _ in kin.parents if i is not None]
    return {
        "id": kin.individual,
        "short": short_id(kin.individual),
        "operator": _operator(kin),
        "value": number(facts.get("value")),
        "parent_value": number(max((v for v in values if v is not None), default=None)),
        "facts": told,
        "parents": [[index, short_id(parent), role] for index, parent, role in kin.parents],
        "children": list(kin.children),
    }


def _told(kin: Kinsman, campaign: str) -> list[list[str]]:
    facts = kin.facts
    return [
        ["generation", f"{facts['generation']:,}" if facts.get("generation") is not None else "-"],
        ["status", str(facts["status"])],
        ["made by", f"{_operator(kin)}@{facts['version']}"],
        ["seed", str(facts["seed"])],
        ["settings", _settings(facts.get("settings"))],
        *([["campaign", str(facts["campaign"])]] if facts.get("campaign", campaign) != campaign else []),
    ]


def _settings(text: str | None) -> str:
    """Returns an operator's settings with spaces to break lines at."""
    try:
        found = json.loads(text or "{}")
    except ValueError:  # cut, since it was very long
        return str(text)
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in found.items()) if found else "none"


# ---- what was tried, and what it ran as -------------------------------------------------------------------------------


def costs(evidence: Evidence, standing: Row) -> list[tuple[str, str]]:
    """Returns how much was tried, and at what cost."""
    counts = evidence.counts()
    timing = next((row for row in evidence.incidents() if row["kind"] == "timing"), {})
    facts = [
        ("individuals born", f"{counts['births']:,}"),
        ("evaluations", f"{standing.get('evaluations') or 0:,}"),
        ("not judged again (same recipe or weights)", f"{counts['repeats']:,}"),
        ("in quarantine", f"{counts['quarantined']:,}"),
        ("generations", f"{standing.get('generations') or 0:,}"),
        ("FLOPs of judging", count(counts["judging_flops"])),
    ]
    if standing.get("flops"):
        facts.append(("FLOPs in all (making and judging)", count(standing["flops"])))
    if timing.get("judge_s") is not None:
        facts.append(("workers' seconds, judging", duration(timing["judge_s"])))
        facts.append(("workers' seconds, making children", duration(timing["materialise_s"] or 0.0)))
    if standing.get("seconds"):
        facts.append(("wall clock", duration(standing["seconds"])))
    if standing.get("reason"):
        facts.append(("it stopped by", str(standing["reason"])))
    return facts


def configuration(config: Row) -> str:
    """Returns the resolved config as YAML, cut where it is very long."""
    text = yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False, allow_unicode=True, width=100)
    return text if len(text) <= MAX_CONFIG_CHARS else text[:MAX_CONFIG_CHARS] + "\n# ... and more: see the home\n"


def waves(rows: Sequence[Row]) -> list[tuple[str, datetime | None]]:
    """Returns how a campaign's state changed: each state with the moment that it was recorded, if it was."""
    found = [(str(row["state"]), row["started"]) for row in rows if row.get("state")]
    changes = [now for before, now in pairwise([("", None), *found]) if now[0] != before[0]]
    return [(state, datetime.fromtimestamp(at, UTC) if at else None) for state, at in changes[-MAX_ROWS:]]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
