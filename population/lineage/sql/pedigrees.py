"""Pedigrees as SQL text: the table functions ``ancestors(ID)`` and ``descendants(ID)``, and what is made for them first.

A statement that names them is answered over numbers in the place of ids, which are joined at the end: a recursion over text
takes three times as long. On a connection that is not told its statement, a notebook's, they walk the view ``parents``.
"""

from __future__ import annotations

import re

#: Table function -> what it is reached from, what is reached (columns of ``parents``), and what it means.
FUNCTIONS = {
    "ancestors": ("child", "parent", "everyone an individual descends from, over all generations; itself not counted"),
    "descendants": ("parent", "child", "everyone who descends from an individual; itself not counted"),
}
_NAMED = re.compile(rf"\b(?:{'|'.join(FUNCTIONS)})\b", re.IGNORECASE)
_RECURSIVE = re.compile(r"\brecursive\b.*\bparents\b", re.IGNORECASE | re.DOTALL)

#: Births by number; who bears several (two campaigns of one config have one key) is the first of them. Then edges by number.
_NUMBERS = (
    """CREATE TEMP TABLE numbered AS
    SELECT CAST(row_number() OVER () AS INTEGER) AS number, individual, parents FROM physical.births""",
    "CREATE TEMP TABLE named AS SELECT number AS child, unnest(parents) AS parent FROM numbered",
    "CREATE TABLE physical.people AS SELECT individual, min(number) AS number FROM numbered GROUP BY individual",
    """INSERT INTO physical.people
    SELECT parent, CAST(-row_number() OVER () AS INTEGER)
    FROM (SELECT DISTINCT parent FROM named ANTI JOIN physical.people ON individual = parent)""",
    """CREATE TABLE physical.edges_by_number AS
    SELECT child, number AS parent FROM named JOIN physical.people ON individual = parent""",
    "DROP TABLE named",
    "DROP TABLE numbered",
)

#: Whom a text means: an id, or the beginning of just one.
_MEANT = """(SELECT CASE
        WHEN whole IS NOT NULL THEN whole
        WHEN found = 1 THEN first
        WHEN found = 0 THEN error('there is no individual ' || coalesce(CAST(id AS VARCHAR), 'NULL'))
        ELSE error('more than one individual begins with ' || CAST(id AS VARCHAR)) END
    FROM (SELECT min({key}) FILTER (WHERE individual = CAST(id AS VARCHAR)) AS whole, min({key}) AS first,
        count(DISTINCT individual) AS found FROM {people} WHERE starts_with(individual, CAST(id AS VARCHAR))))"""

#: Who was born here, or is a parent of one: an ancestor may have no row in this home.
_NAMED_ANYWHERE = "(SELECT individual FROM physical.births UNION SELECT parent FROM main.parents)"

_BY_NUMBER = """CREATE MACRO {name}(id) AS TABLE
    WITH RECURSIVE reached(number) AS (
        SELECT {reached} FROM physical.edges_by_number
        WHERE {source} = {meant}
        UNION SELECT e.{reached} FROM physical.edges_by_number e JOIN reached r ON e.{source} = r.number)
    SELECT p.individual FROM reached r JOIN physical.people p ON p.number = r.number"""

_BY_ID = """CREATE MACRO {name}(id) AS TABLE
    WITH RECURSIVE reached(individual) AS (
        SELECT {reached} FROM main.parents WHERE {source} = {meant}
        UNION SELECT e.{reached} FROM main.parents e JOIN reached r ON e.{source} = r.individual)
    SELECT individual FROM reached"""


def is_named(sql: str) -> bool:
    """Returns whether a statement may call one of the functions."""
    return _NAMED.search(sql) is not None


def is_recursive(sql: str) -> bool:
    """Returns whether a statement walks ``parents`` itself, so that unfolding the view first pays."""
    return _RECURSIVE.search(sql) is not None


def functions(*, by_number: bool) -> list[str]:
    """Returns the statements that make the functions, after the views; ``by_number`` makes the numbers first."""
    shape = _BY_NUMBER if by_number else _BY_ID
    key, people = ("number", "physical.people") if by_number else ("individual", _NAMED_ANYWHERE)
    meant = _MEANT.format(key=key, people=people)
    statements = list(_NUMBERS) if by_number else []
    for name, (source, reached, doc) in FUNCTIONS.items():
        statements.append(shape.format(name=name, source=source, reached=reached, meant=meant))
        statements.append(f"COMMENT ON MACRO TABLE {name} IS '{doc}'")
    return statements
