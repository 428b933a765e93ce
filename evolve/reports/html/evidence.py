"""What the lineage's views say of one campaign, by SQL; every answer is bounded, however long the campaign was.

Two campaigns of one config have one campaign key, hence the same individuals: rows of views that do not name a campaign are
taken once an individual.

Nouns: *evidence* (the rows of one campaign behind an open connection), *lead* (the value of the leading objective on
validation rows at the ultimate tier), *cell* (a small square of a plot, and how many judgements fall into it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fitness.measures.metrics import sign_of

#: So many points along a curve at most; a longer campaign's generations are joined.
MAX_POINTS = 240
MAX_SKILLS = 60
MAX_ROWS = 40
MAX_FRONT = 60

_TABLES = (
    """CREATE TEMP TABLE born AS
    SELECT individual, any_value(operator) AS operator, any_value(generation) AS generation,
        any_value(status) AS status, any_value(event) AS event, any_value(block) AS block
    FROM individuals WHERE campaign = $campaign GROUP BY individual""",
    """CREATE TEMP TABLE judged AS
    SELECT individual, split, tier, repeat, objective, any_value(value) AS value, any_value(flops) AS flops,
        any_value(num_samples) AS num_samples, any_value(sandbox_level) AS level
    FROM scores SEMI JOIN born USING (individual) GROUP BY individual, split, tier, repeat, objective""",
    """CREATE TEMP TABLE leads AS
    SELECT individual, any_value(value) AS value FROM scores
    WHERE objective = $lead AND split = 'validation' AND tier = 'ultimate' AND value IS NOT NULL GROUP BY individual""",
    """CREATE TEMP TABLE edges AS
    SELECT child, parent, role, position, leads.value AS value
    FROM (SELECT DISTINCT child, parent, role, position FROM parents) LEFT JOIN leads ON leads.individual = parent""",
    """CREATE TEMP TABLE points AS
    SELECT individual, tier, value, CAST(flops AS DOUBLE) AS flops, $sign * value AS signed, event, operator, generation
    FROM judged JOIN born USING (individual)
    WHERE objective = $lead AND split = 'validation' AND repeat = 0 AND value IS NOT NULL AND flops IS NOT NULL""",
)


class Evidence:
    """The rows of one campaign. Takes a connection with the views, which may make temporary tables; closing it is the
    caller's."""

    def __init__(self, connection: Any, campaign: str, lead: str) -> None:
        """Unfolds once what is read again and again. lead: the leading objective."""
        self._connection, self.campaign, self.lead = connection, campaign, lead
        self.sign = sign_of(lead)
        values = {"campaign": campaign, "lead": lead, "sign": self.sign}
        for statement in _TABLES:
            connection.execute(statement, {name: value for name, value in values.items() if f"${name}" in statement})

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Returns the rows of a statement with its values bound, by column name."""
        found = self._connection.execute(sql, list(values))
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def row(self, sql: str, values: Sequence[Any] = ()) -> dict[str, Any]:
        """Returns the first row of a statement; nothing where it has none."""
        return next(iter(self.rows(sql, values)), {})

    # ---- the campaign as a whole ---------------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Returns the campaign's key, config hash, origin and environment; None for what is not recorded yet."""
        names = ("campaign_key", "config_hash", "forked_from", "forked_at", "environment")
        found = self.row(f"SELECT {', '.join(names)} FROM campaigns WHERE campaign = ?", [self.campaign])
        return dict.fromkeys(names) | found

    def counts(self) -> dict[str, Any]:
        """Returns births, generations, repeats, quarantined; judgements and the FLOPs counted for judging."""
        births = self.row(
            "SELECT count(*) AS births, max(generation) AS generations, "
            "count(*) FILTER (WHERE status = 'quarantined') AS quarantined FROM born"
        )
        judged = self.row(
            "SELECT count(*) FILTER (WHERE repeat = 0) AS judgements, "
            "count(*) FILTER (WHERE repeat > 0 AND split <> 'heldout') AS repeats, "
            "coalesce(sum(flops * num_samples) FILTER (WHERE repeat = 0), 0) AS judging_flops "
            "FROM judged WHERE objective = ?",
            [self.lead],
        )
        return {**births, **judged}

    def statuses(self) -> list[dict[str, Any]]:
        """Returns what became of the individuals: status and count."""
        return self.rows("SELECT status, count(*) AS count FROM born GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20")

    def levels(self) -> list[str]:
        """Returns the isolations that scores were made at."""
        found = self.rows("SELECT DISTINCT level FROM judged WHERE level IS NOT NULL ORDER BY 1")
        return [str(row["level"]) for row in found]

    def failures(self) -> list[dict[str, Any]]:
        """Returns verdicts with how often they were given, and one of their reasons each."""
        return self.rows(
            "SELECT verdict, count(*) AS count, any_value(left(detail, 300)) AS detail FROM quarantine "
            f"WHERE campaign = ? GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAX_ROWS}",
            [self.campaign],
        )

    def incidents(self) -> list[dict[str, Any]]:
        """Returns kinds of incidents with how many there were; of timings the seconds too."""
        return self.rows(
            "SELECT kind, count(*) AS count, sum(TRY_CAST(detail ->> '$.judge_s' AS DOUBLE)) AS judge_s, "
            "sum(TRY_CAST(detail ->> '$.materialise_s' AS DOUBLE)) AS materialise_s FROM incidents "
            f"WHERE campaign = ? GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAX_ROWS}",
            [self.campaign],
        )

    def decisions(self) -> list[dict[str, Any]]:
        """Returns the newest looks at held-out rows and decisions about this campaign's blocks, oldest first."""
        found = self.rows(
            "SELECT stage, name, sequence, decision, left(reason, 600) AS reason, block, look, alpha, decided "
            f"FROM promotions WHERE campaign = ? AND decision <> 'looked' ORDER BY decided DESC LIMIT {MAX_ROWS}",
            [self.campaign],
        )
        return found[::-1]

    # ---- progress ------------------------------------------------------------------------------------------------------

    def best_so_far(self) -> list[dict[str, Any]]:
        """Returns per generation (joined where there are many) evaluations, the best so far, and the front's size."""
        return self.rows(
            f"""WITH told AS (SELECT *, generation // greatest(1, CAST(ceil(max(generation) OVER () / {MAX_POINTS}.0)
                AS BIGINT)) AS span FROM generations WHERE campaign = ?)
            SELECT max(generation) AS generation, max(evaluations) AS evaluations, sum(births) AS births,
                arg_max(best, step) AS best, arg_max(front_size, step) AS front_size
            FROM told GROUP BY span ORDER BY span""",
            [self.campaign],
        )

    def spread(self, objective: str) -> list[dict[str, Any]]:
        """Returns per generation (joined likewise) the quartiles of what was born and judged in it."""
        return self.rows(
            f"""WITH told AS (SELECT generation, value, generation // greatest(1, CAST(ceil(max(generation) OVER ()
                / {MAX_POINTS}.0) AS BIGINT)) AS span FROM judged JOIN born USING (individual)
                WHERE objective = ? AND split = 'validation' AND tier = 'ultimate' AND value IS NOT NULL)
            SELECT max(generation) AS generation, count(*) AS count, quantile_cont(value, 0.25) AS low,
                quantile_cont(value, 0.5) AS middle, quantile_cont(value, 0.75) AS high
            FROM told GROUP BY span ORDER BY span""",
            [objective],
        )

    # ---- the front -----------------------------------------------------------------------------------------------------

    def front(self) -> list[dict[str, Any]]:
        """Returns every judgement on validation rows that no other dominates in leading objective and FLOPs, each tier a
        point of its own, the cheapest first: as a campaign's summary lists them."""
        return self.rows(
            """WITH ranked AS (SELECT *, row_number() OVER (PARTITION BY flops ORDER BY signed DESC, event) AS place
                FROM points),
            best AS (SELECT *, max(signed) OVER (ORDER BY flops ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                AS below FROM ranked WHERE place = 1)
            SELECT individual, tier, value, flops, operator, generation FROM best
            WHERE below IS NULL OR signed > below ORDER BY flops"""
        )

    def ranges(self) -> dict[str, Any]:
        """Returns how many judgements there are, and within which bounds; of the signed value a low quantile too."""
        return self.row(
            "SELECT count(*) AS count, min(flops) AS cheapest, max(flops) AS dearest, min(signed) AS worst, "
            "max(signed) AS best, quantile_cont(signed, 0.3) AS low FROM points"
        )

    def cells(self, across: str, up: str, size: float) -> list[dict[str, Any]]:
        """Returns the cells that judgements fall into. across, up: SQL of ours for the place on paper of a point."""
        return self.rows(
            f"SELECT CAST(floor(({across}) / {size}) AS INTEGER) AS x, CAST(floor(({up}) / {size}) AS INTEGER) AS y, "
            "count(*) AS count FROM points GROUP BY 1, 2 ORDER BY 1, 2"
        )

    # ---- operators, skills, tiers ----------------------------------------------------------------------------------------

    def operators(self) -> list[dict[str, Any]]:
        """Returns what each operator did: births, failures, best lead, how often and how much a child exceeded its best
        parent."""
        return self.rows(
            """WITH parent AS (SELECT child AS individual, max($sign * value) AS best FROM edges GROUP BY child),
            told AS (SELECT born.operator, born.status, leads.value, $sign * leads.value - parent.best AS gain
                FROM born LEFT JOIN leads USING (individual) LEFT JOIN parent USING (individual))
            SELECT operator, count(*) AS births, count(*) FILTER (WHERE status = 'quarantined') AS failed,
                $sign * max($sign * value) AS best, count(gain) AS compared, count(*) FILTER (WHERE gain > 0) AS better,
                coalesce(sum(gain) FILTER (WHERE gain > 0), 0.0) AS gain
            FROM told GROUP BY operator ORDER BY births DESC, operator LIMIT 40""".replace("$sign", str(self.sign))
        )

    def skills(self, individual: str) -> list[dict[str, Any]]:
        """Returns an individual's skills by split and tier, and the best that anybody of the campaign had of each."""
        return self.rows(
            f"""WITH named AS (SELECT skill FROM skills SEMI JOIN born USING (individual) GROUP BY skill
                ORDER BY TRY_CAST(skill AS BIGINT) NULLS LAST, skill LIMIT {MAX_SKILLS}),
            best AS (SELECT skill, max(value) AS value, arg_max(individual, value) AS holder FROM skills
                SEMI JOIN born USING (individual)
                WHERE split = 'validation' AND tier = 'ultimate' AND value IS NOT NULL GROUP BY skill),
            own AS (SELECT skill, split, tier, arg_max(value, repeat) AS value FROM skills WHERE individual = ?
                GROUP BY skill, split, tier)
            SELECT named.skill, own.split, own.tier, own.value, best.value AS best, best.holder
            FROM named LEFT JOIN own USING (skill) LEFT JOIN best USING (skill)
            ORDER BY TRY_CAST(named.skill AS BIGINT) NULLS LAST, named.skill, own.split, own.tier""",
            [individual],
        )

    def num_skills(self) -> int:
        """Returns how many skills the benchmark names."""
        return int(self.row("SELECT count(DISTINCT skill) AS n FROM skills SEMI JOIN born USING (individual)")["n"])

    def judgements(self, individual: str) -> list[dict[str, Any]]:
        """Returns an individual's newest scores by split, tier and objective."""
        return self.rows(
            "SELECT split, tier, objective, arg_max(value, repeat) AS value, any_value(num_samples) AS num_samples, "
            "any_value(level) AS level FROM judged WHERE individual = ? GROUP BY split, tier, objective ORDER BY ALL",
            [individual],
        )

    def tiers(self, individual: str) -> list[dict[str, Any]]:
        """Returns an individual's tiers with FLOPs and widths, the cheapest first."""
        return self.rows(
            "SELECT tier, any_value(flops) AS flops, any_value(widths) AS widths FROM tiers WHERE individual = ? "
            "GROUP BY tier ORDER BY flops, tier",
            [individual],
        )

    # ---- individuals -----------------------------------------------------------------------------------------------------

    def champion(self) -> dict[str, Any]:
        """Returns the individual whose block was published last, else the best so far; None where none was judged."""
        published = self.row(
            "SELECT blocks.individual, blocks.block FROM blocks JOIN born USING (individual) "
            "WHERE blocks.campaign = ? ORDER BY born.event DESC LIMIT 1",
            [self.campaign],
        )
        best = "SELECT individual, NULL AS block FROM born JOIN leads USING (individual) "
        found = published or self.row(f"{best} ORDER BY {self.sign} * value DESC, event LIMIT 1")
        return {"individual": None, "block": None} | found

    def num_ancestors(self, individuals: Sequence[str]) -> int:
        """Returns how many individuals, these included, they all descend from, over all generations."""
        return int(
            self.row(
                "WITH RECURSIVE reached(name) AS (SELECT unnest(?) UNION SELECT parent FROM edges JOIN reached "
                "ON child = name) SELECT count(*) AS n FROM reached",
                [list(individuals)],
            )["n"]
        )

    def parents(self, individuals: Sequence[str]) -> list[dict[str, Any]]:
        """Returns the edges from these individuals to their parents, with what the parents' leads are."""
        return self.rows(
            "SELECT child, parent, role, value FROM edges WHERE child IN (SELECT unnest(?)) ORDER BY child, position, parent",
            [list(individuals)],
        )

    def described(self, individuals: Sequence[str]) -> list[dict[str, Any]]:
        """Returns what is worth telling about individuals, of other campaigns too."""
        return self.rows(
            """SELECT individual, any_value(operator) AS operator, any_value(version) AS version, any_value(seed) AS seed,
                any_value(left(settings, 600)) AS settings, any_value(generation) AS generation,
                arg_max(campaign, campaign = ?) AS campaign, any_value(status) AS status, any_value(value) AS value
            FROM individuals JOIN recipes USING (individual, operator) LEFT JOIN leads USING (individual)
            WHERE individual IN (SELECT unnest(?)) GROUP BY individual""",
            [self.campaign, list(individuals)],
        )
