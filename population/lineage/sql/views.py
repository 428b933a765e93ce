"""The views over a lineage, as SQL text: what users query, over physical tables that they need not know.

Noun: a *derived* view is one whose rows are unfolded from births; the others are rare-row tables shown as they are. Every
view and column has a comment (``SELECT column_name, comment FROM duckdb_columns()``). SQL text only: no DuckDB here.
"""

from __future__ import annotations

from dataclasses import dataclass

from population.lineage.format.schema import TABLES, VIEW_NAMES, Column

#: Orders rows of one subject: what the home's log says comes after what the campaign's own log says.
_ORDER = "{'home': handle = '_home', 'step': commit_step, 'position': position}"
_CAMPAIGN = "coalesce(campaign, nullif(handle, '_home'))"


@dataclass(frozen=True)
class View:
    """A view's meaning, its columns (name, meaning) and the SELECT behind it."""

    doc: str
    columns: tuple[tuple[str, str], ...]
    select: str


_INDIVIDUAL = ("individual", "id of one birth in one campaign, 32 hex characters")
_REPEAT = (
    "0: judged then; 1: refers to the judgement of an earlier individual with the same recipe or weights; on held-out rows: "
    "how often it had been judged before"
)
_JUDGED = (
    _INDIVIDUAL,
    ("benchmark", "the benchmark it was judged on"),
    ("split", "train, validation or heldout"),
    ("tier", "lite, pro or ultimate"),
    ("repeat", _REPEAT),
)

_LATEST_BLOCK = f"""
    SELECT individual, arg_max(block, {_ORDER}) AS block, arg_max(tiers, {_ORDER}) AS tiers
    FROM physical.blocks WHERE individual IS NOT NULL GROUP BY individual"""

_LATEST_STATUS = f"""
    SELECT individual, arg_max(status, {_ORDER}) AS status FROM physical.lifecycle GROUP BY individual"""


def _judged(kind: str, measures: str, name: str, extra: str, later: str) -> str:
    """Returns the SELECT that unfolds scores or skills: one row per individual and measure, for repeats by reference,
    then the judgements that came later. extra, later: further columns of the ones and of the others."""
    shown = f"""m.benchmark, m.split, m.tier, %d AS repeat, m.name AS {name},
        CASE WHEN isnan(b.{kind}[m.position]) THEN NULL ELSE b.{kind}[m.position] END AS value{extra}"""
    return f"""
    SELECT b.individual, {shown % 0}
    FROM physical.births b JOIN physical.{measures} m ON m.layout = b.layout WHERE b.repeat_of = ''
    UNION ALL
    SELECT r.individual, {shown % 1}
    FROM physical.births r JOIN physical.births b ON b.individual = r.repeat_of
        JOIN physical.{measures} m ON m.layout = b.layout WHERE r.repeat_of <> ''
    UNION ALL
    SELECT individual, benchmark, split, tier, CAST(coalesce(repeat, 0) AS INTEGER), unnest(map_keys({kind})),
        unnest(map_values({kind})){later}
    FROM physical.judgements"""


_DERIVED = {
    "individuals": View(
        "one row per birth, survivor or not",
        (
            _INDIVIDUAL,
            ("block", "content id of its block, NULL for what was not stored"),
            ("weights_digest", "BLAKE3 of its tensors, hex; NULL where it was never materialised"),
            ("campaign", "the campaign's handle"),
            ("generation", "the generation it was born in"),
            ("species", "digest of its op graph, hex"),
            ("coordinate", "its coordinate, L2_G0_N1_5:3:0"),
            ("operator", "the operator that made it; its version is in recipes"),
            ("status", "what became of it: the newest entry of its lifecycle"),
            ("event", "number of the birth in its campaign"),
            ("step", "the committed step it was born in"),
        ),
        f"""
    SELECT b.individual, s.block, b.weights_digest, b.handle AS campaign, b.generation, b.species, b.coordinate,
        split_part(b.operator, '@', 1) AS operator, coalesce(l.status, b.status) AS status, b.event, b.step
    FROM physical.births b
        LEFT JOIN ({_LATEST_STATUS}) l ON l.individual = b.individual
        LEFT JOIN ({_LATEST_BLOCK}) s ON s.individual = b.individual""",
    ),
    "parents": View(
        "one row per child and parent",
        (
            ("child", "the individual that was made"),
            ("parent", "an individual it was made from"),
            ("role", "parent, mate, centre, ...: as what it took part"),
            ("position", "0, 1, ...: the order in which the operator took its parents"),
        ),
        """
    SELECT individual AS child, unnest(parents) AS parent, unnest(roles) AS role,
        unnest(range(len(parents))) AS position
    FROM physical.births""",
    ),
    "leaves": View(
        "ancestors that have no row in this home: where pedigrees end",
        (
            ("individual", "the id that its children name"),
            ("what", "imported model, campaign not in this home (purged, say), or missing"),
            ("campaign", "the campaign that it was born in; NULL for an import"),
        ),
        """
    SELECT n.individual, CASE WHEN NOT bool_or(n.is_adopted) THEN 'missing'
            WHEN max(c.forked_from) IS NULL THEN 'imported model' ELSE 'campaign not in this home' END AS what,
        max(c.forked_from) AS campaign
    FROM (SELECT handle, unnest(parents) AS individual, starts_with(operator, 'adopt@') AS is_adopted FROM physical.births) n
        LEFT JOIN physical.births b ON b.individual = n.individual
        LEFT JOIN (SELECT DISTINCT handle, forked_from FROM physical.campaigns WHERE forked_from IS NOT NULL) c
            ON c.handle = n.handle
    WHERE b.individual IS NULL GROUP BY n.individual""",
    ),
    "recipes": View(
        "how each individual was made: enough to make it again",
        (
            _INDIVIDUAL,
            ("operator", "the operator's name"),
            ("version", "the operator's version"),
            ("inputs", "hex digests of the data it read"),
            ("seed", "its 64-bit seed; 0 where the operator draws nothing"),
            ("settings", "every hyperparameter, canonical JSON"),
        ),
        """
    SELECT individual, split_part(operator, '@', 1) AS operator, split_part(operator, '@', 2) AS version, inputs, seed,
        settings
    FROM physical.births""",
    ),
    "scores": View(
        "one row per individual and measure",
        (
            *_JUDGED,
            ("objective", "the objective"),
            ("value", "its value; NULL where it was not judged or failed"),
            ("num_samples", "samples the value rests on"),
            ("flops", "counted FLOPs per sample at this tier"),
            ("sandbox_level", "isolation it was judged in: full, reduced or none"),
            ("environment", "fingerprint of the environment it was judged in"),
        ),
        _judged(
            "scores",
            "measures",
            "objective",
            ", m.num_samples, b.flops[m.tier_position] AS flops, m.sandbox_level, m.environment",
            ", num_samples, flops, sandbox_level, environment",
        ),
    ),
    "skills": View(
        "one row per individual and skill",
        (
            *_JUDGED,
            ("skill", "the skill, a named part of the benchmark"),
            ("value", "its value; NULL where not judged"),
        ),
        _judged("skills", "skill_measures", "skill", "", ""),
    ),
    "tiers": View(
        "one row per individual and tier",
        (
            _INDIVIDUAL,
            ("block", "content id of its block, NULL for what was not stored"),
            ("campaign", "the campaign's handle"),
            ("tier", "lite, pro or ultimate"),
            ("flops", "counted FLOPs per sample at this tier"),
            ("widths", "width symbol -> width, JSON; NULL for what was not stored"),
        ),
        f"""
    SELECT b.individual, s.block, b.handle AS campaign, t.tier, b.flops[t.position] AS flops,
        CAST(json_extract(s.tiers, '$."' || t.tier || '"') AS VARCHAR) AS widths
    FROM physical.births b JOIN physical.layout_tiers t ON t.layout = b.layout
        LEFT JOIN ({_LATEST_BLOCK}) s ON s.individual = b.individual""",
    ),
    "quarantine": View(
        "candidates that failed, with the cause",
        (
            _INDIVIDUAL,
            ("verdict", "the one cause: crash, timeout, memory, nan, ..."),
            ("detail", "one line of reason"),
            ("campaign", "the campaign's handle"),
            ("generation", "the generation it was born in"),
        ),
        """
    SELECT individual, verdict, detail, handle AS campaign, generation FROM physical.births WHERE verdict <> 'ok'""",
    ),
    "lifecycle": View(
        "what became of each individual, beginning with the status of its birth",
        (
            _INDIVIDUAL,
            ("campaign", "the campaign's handle"),
            ("step", "the committed step that said so"),
            ("status", "born, active, not_viable, quarantined, promoted or archived"),
            ("reason", "why"),
            ("position", "order within a step; 0 is the birth"),
        ),
        f"""
    SELECT individual, handle AS campaign, step, status, CASE verdict WHEN 'ok' THEN 'birth' ELSE verdict END AS reason,
        CAST(0 AS BIGINT) AS position
    FROM physical.births
    UNION ALL
    SELECT individual, {_CAMPAIGN}, coalesce(step, commit_step), status, reason, position + 1 FROM physical.lifecycle""",
    ),
    "incidents": View(
        "retries, hosts, timings, torn ends: recorded beside the lineage, outside its content hash",
        (
            ("campaign", "the campaign's handle"),
            ("step", "the committed step it was recorded with"),
            ("kind", "what it was"),
            ("detail", "everything known about it, JSON"),
            ("is_recovery", "whether the log itself found it while opening"),
        ),
        "SELECT handle AS campaign, step, kind, detail, is_recovery FROM physical.incidents",
    ),
}


def _shown(column: Column, table: str) -> str:
    """Returns the expression that shows one column of a rare-row table."""
    if column.kind == "time":
        return f"make_timestamp(CAST(round({column.name} * 1e6) AS BIGINT)) AS {column.name}"
    if column.name == "campaign":
        return f"{_CAMPAIGN} AS campaign"
    if column.name == "step":
        return "coalesce(step, commit_step) AS step"
    return column.name


def _table_view(name: str) -> View:
    """Returns the view of a rare-row table; of ``campaigns`` the newest value of each column wins."""
    columns = TABLES[name]
    source = f"physical.{name}"
    if name == "campaigns":
        newest = [f"arg_max({c.name}, {_ORDER}) AS {c.name}" for c in columns if c.name != "campaign"]
        source = f"(SELECT handle, {_CAMPAIGN} AS campaign, {', '.join(newest)} FROM {source} GROUP BY ALL)"
    docs = tuple((column.name, column.doc) for column in columns)
    return View(_TABLE_DOCS[name], docs, f"SELECT {', '.join(_shown(c, name) for c in columns)} FROM {source}")


_TABLE_DOCS = {
    "campaigns": "one row per campaign: the newest that is known of it",
    "generations": "one row per generation of a campaign",
    "promotions": "every decision about a production head, and every look at held-out rows",
    "blocks": "blocks that were stored, and for whom",
    "executions": "what the runtime ran (not written yet)",
    "exits": "how often each exit gate was taken (not written yet)",
    "families": "members and routes of families (not written yet)",
    "usage": "what blocks were used for, by period (not written yet)",
}


def all_views() -> dict[str, View]:
    """Returns every view by name, in the order of ``VIEW_NAMES``."""
    return {name: _DERIVED[name] if name in _DERIVED else _table_view(name) for name in VIEW_NAMES}


def definitions(*, is_recursive: bool = False) -> list[str]:
    """Returns the statements that make the views and say what they and their columns mean.

    With ``is_recursive`` the rows of ``parents`` are unfolded into a table first.
    """
    statements = []
    for name, view in all_views().items():
        select = view.select
        if name == "parents" and is_recursive:
            statements.append(f"CREATE TABLE physical.edges AS {select}")
            select = "SELECT * FROM physical.edges"
        statements.append(f"CREATE VIEW {name} AS {select}")
        statements.append(f"COMMENT ON VIEW {name} IS {_quoted(view.doc)}")
        statements.extend(f"COMMENT ON COLUMN {name}.{column} IS {_quoted(doc)}" for column, doc in view.columns)
    return statements


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
