"""What a home knows of a block before anybody judges it for production: whose it is, from whom it comes, what it fits.

Nouns: *candidate* (a block that somebody wants in production), *objection* (a reason to refuse it unseen).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evolve import operators
from evolve.config.campaign import CampaignConfig, check_config
from evolve.home.home import Home
from evolve.home.kept_data import located
from evolve.home.origins import IMPORTED, UNKNOWN, Leaf, leaves_of
from evolve.planning.isolation_rules import lowest
from evolve.planning.plan import Plan, make_plan
from population.blocks.block import TensorBlock, load_block
from population.errors import DamageError, InputError
from population.graphs.graph import OpGraph
from population.lineage.sql.connection import open_connection

_MISSING = """
    FROM (SELECT CAST($1 AS VARCHAR) AS individual UNION FROM ancestors($1))
    ANTI JOIN individuals USING (individual) ORDER BY 1"""

_ROOTS = """
    SELECT DISTINCT individual, operator || '@' || version FROM recipes
    JOIN (SELECT CAST($1 AS VARCHAR) AS individual UNION FROM ancestors($1)) USING (individual)
    WHERE individual NOT IN (SELECT child FROM parents) ORDER BY 1"""


@dataclass(frozen=True)
class Candidate:
    """A block with its place in the lineage.

    Attributes:
        level: the lowest isolation that its scores were made at; None where it has none.
        objections: empty where it may be judged; ``plan`` is None where its benchmark cannot be made again.
    """

    block_id: str
    block: TensorBlock
    individual: str | None
    campaign: str | None
    plan: Plan | None
    objections: tuple[str, ...]
    level: str | None = None


def find_candidate(home: Home, block_id: str, plan: Plan | None = None) -> Candidate:
    """Returns what is known of a block of the store. Raises DamageError.

    Args:
        plan: one that is at hand; it is used where the block comes from its campaign.
    """
    connection = open_connection(home.lineage_reader())
    try:
        return _find(home, connection, block_id, plan)
    finally:
        connection.close()


def _find(home: Home, connection: Any, block_id: str, known: Plan | None) -> Candidate:
    block = load_block(home.block_store(), block_id)
    query = "SELECT individual, campaign FROM individuals WHERE block = $1 ORDER BY step DESC, individual LIMIT 1"
    found = connection.execute(query, [block_id]).fetchone()
    if found is None:
        return Candidate(
            block_id, block, None, None, None, ("no lineage of this home has an individual with this block",)
        )
    individual, campaign = found
    unread: list[str] = []
    objections = _gaps(connection, individual, leaves_of(home, unread.append), unread)
    plan: Plan | None = None
    try:
        plan = _plan_of(home, _config_of(connection, campaign), known)
    except InputError as error:
        objections.append(f"the config of campaign {campaign!r} cannot be used again: {error}")
    else:
        objections += _data_objections(connection, individual, campaign, plan)
    query = "SELECT DISTINCT sandbox_level FROM scores WHERE individual = $1 AND split = 'validation'"
    level = lowest(row[0] for row in connection.execute(query, [individual]).fetchall())
    return Candidate(block_id, block, individual, campaign, plan, tuple(objections), level)


def _plan_of(home: Home, config: CampaignConfig, known: Plan | None) -> Plan:
    """Returns the plan of a recorded config, without its origin."""
    if known is not None and (known.config.key, known.config.promote) == (config.key, config.promote):
        return replace(known, key=config.key)
    return make_plan(located(config, home))


def _config_of(connection: Any, campaign: str) -> CampaignConfig:
    row = connection.execute("SELECT config FROM campaigns WHERE campaign = $1", [campaign]).fetchone()
    if row is None or row[0] is None:
        raise InputError(f"the lineage holds no config of campaign {campaign!r}")
    return check_config(json.loads(row[0]), f"campaign {campaign}")


def _gaps(connection: Any, individual: str, leaves: Mapping[str, Leaf], unread: Sequence[str]) -> list[str]:
    """Returns what is missing between an individual and the first ones: born without parents, or imported.

    Raises DamageError where that depends on a record of a fork that cannot be read (``unread``).
    """
    found = [
        (row[0], leaves.get(row[0], Leaf(UNKNOWN))) for row in connection.execute(_MISSING, [individual]).fetchall()
    ]
    missing = [(name, leaf) for name, leaf in found if leaf.what != IMPORTED]
    if unread and any(leaf.what == UNKNOWN for _, leaf in missing):
        raise DamageError(unread[0])
    if missing:
        name, leaf = missing[0]
        return [f"its lineage is not complete: {len(missing)} ancestors are missing, the first is {name} ({leaf})"]
    roots = connection.execute(_ROOTS, [individual]).fetchall()
    return [
        f"its lineage is not complete: {root} was made by {operator}, which needs parents, and has none"
        for root, operator in roots
        if operators.get(operator).num_parents
    ]


def _data_objections(connection: Any, individual: str, campaign: str, plan: Plan) -> list[str]:
    """Returns why the benchmark made again from the config is not the one that the individual was selected on."""
    query = "SELECT DISTINCT benchmark FROM scores WHERE individual = $1 AND split = 'validation'"
    names = [row[0] for row in connection.execute(query, [individual]).fetchall()]
    if plan.benchmark_name in names:
        return []
    found = f"its campaign {campaign!r} was judged on {', '.join(names) or 'nothing'}"
    reason = "the data changed, or a program brought its own; name them in a config"
    return [f"{found}, and its config gives {plan.benchmark_name} now: {reason}"]


def interface_objections(new: TensorBlock, standing: TensorBlock, name: str) -> list[str]:
    """Returns why callers of a standing head could not call the new block in its place."""
    objections = []
    for what, found, wanted in (
        ("input", _inputs(new.graph), _inputs(standing.graph)),
        ("output", _outputs(new.graph), _outputs(standing.graph)),
    ):
        if found != wanted:
            objections.append(
                f"its {what} channels {_shown(found)} are not those of the head {name!r}: {_shown(wanted)}"
            )
    lacking = [tier for tier in standing.tier_names if tier not in new.tier_names]
    if lacking:
        objections.append(f"it lacks the tier {', '.join(lacking)}, which the head {name!r} answers with")
    return objections


Channels = dict[str, tuple[tuple[int, ...], str]]


def _inputs(graph: OpGraph) -> Channels:
    return {channel.name: (tuple(channel.shape), channel.dtype) for channel in graph.inputs}


def _outputs(graph: OpGraph) -> Channels:
    return {name: (_widest(graph, graph.value_shapes[node]), "float32") for name, node in graph.outputs}


def _widest(graph: OpGraph, shape: Sequence[Sequence[tuple[str | None, int]]]) -> tuple[int, ...]:
    return tuple(sum(f * (1 if symbol is None else graph.symbols[symbol]) for symbol, f in dim) for dim in shape)


def _shown(channels: Channels) -> str:
    return ", ".join(f"{name} {list(shape)} {dtype}" for name, (shape, dtype) in sorted(channels.items()))
