"""The tables of the lineage: every column with its kind, its meaning, and whether it counts for the content hash.

Nouns: a *table* is a kind of rare row that a commit may carry; a *kind* is what a column holds ("text", "int", "uint",
"float", "json", "map", "time"). Births have a layout of their own (``births.py``). No Arrow at import time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from population.errors import InputError

#: The handle of the log that keeps what belongs to no running campaign.
HOME_HANDLE = "_home"

_HANDLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def check_handle(handle: str) -> str:
    """Returns the handle. Raises InputError where it could not be the name of a folder of its own."""
    if not _HANDLE.fullmatch(handle):
        raise InputError(
            f"campaign handle {handle!r}: use letters, digits, '.', '_' and '-', not beginning with '.' or '-'"
        )
    return handle


@dataclass(frozen=True)
class Column:
    """One column: "json" takes any JSON-able value (or JSON text), "map" a mapping of text to numbers, "time" seconds
    since 1970 (shown as a UTC timestamp). ``is_hashed`` is false for clocks, handles and storage positions."""

    name: str
    kind: str
    doc: str
    is_hashed: bool = True


def _clock(name: str, doc: str) -> Column:
    return Column(name, "time", doc + " (wall clock, outside the content hash)", is_hashed=False)


_CAMPAIGN = Column("campaign", "text", "the campaign's handle", is_hashed=False)
_STEP = Column("step", "int", "the committed step that wrote the row", is_hashed=False)
_SECONDS = Column("seconds", "float", "wall-clock seconds it took (outside the content hash)", is_hashed=False)

#: The rare-row tables: what ``Commit.rows`` may hold. Every table is also a view of the same name and columns, but
#: ``judgements``, which the views ``scores`` and ``skills`` unfold.
TABLES: dict[str, tuple[Column, ...]] = {
    "campaigns": (
        _CAMPAIGN,
        Column("campaign_key", "text", "BLAKE3 of resolved config and seed, hex: the root of randomness and ids"),
        Column("config_hash", "text", "BLAKE3 of the resolved config, hex"),
        Column("seed", "uint", "the campaign's seed"),
        Column("state", "text", "running, paused, stopped, interrupted, failed or done", is_hashed=False),
        Column("forked_from", "text", "handle of the campaign this one was forked from, or NULL", is_hashed=False),
        Column("forked_at", "int", "the committed step it was forked at, or NULL"),
        _clock("started", "when it was started"),
        Column("config", "json", "the resolved config; config_hash stands for it in the content hash", is_hashed=False),
        Column("environment", "text", "fingerprint of the environment it runs in"),
    ),
    "generations": (
        _CAMPAIGN,
        Column("generation", "int", "0, 1, 2, ..."),
        _STEP,
        Column("evaluations", "int", "candidates judged so far"),
        Column("births", "int", "candidates born in the step"),
        Column("best", "map", "the best value so far of each objective"),
        Column("population", "text", "population id: hash of the sorted (individual, weights digest) pairs"),
        Column("front_size", "int", "members of the Pareto front"),
        _SECONDS,
    ),
    "promotions": (
        Column("stage", "text", "the stage of the head, production by default"),
        Column("name", "text", "the head's name"),
        Column("sequence", "int", "the head's sequence number after the decision"),
        Column("block", "text", "the block that was looked at"),
        Column("decision", "text", "promoted, refused, rolled_back or looked"),
        Column("reason", "text", "why"),
        _CAMPAIGN,
        Column("individual", "text", "the individual whose block it is, or NULL"),
        Column("look", "int", "which look at the held-out rows this was: 1, 2, ...; NULL where none was taken"),
        Column("alpha", "float", "the level the look was tested at"),
        Column("evidence", "json", "scores, bounds and digests the decision rests on"),
        _clock("decided", "when it was decided"),
    ),
    "blocks": (
        Column("block", "text", "content id (CID) of the block"),
        Column("individual", "text", "the individual it was stored for"),
        _CAMPAIGN,
        Column("tiers", "json", "tier -> width symbol -> width"),
        Column("bytes", "int", "bytes of its tensors"),
    ),
    "lifecycle": (
        Column("individual", "text", "whose status changed"),
        _CAMPAIGN,
        _STEP,
        Column("status", "text", "born, active, not_viable, quarantined, promoted or archived"),
        Column("reason", "text", "why"),
    ),
    "judgements": (
        Column("individual", "text", "who was judged later than at its birth: on held-out rows, for a promotion"),
        _CAMPAIGN,
        Column("benchmark", "text", "the benchmark it was judged on"),
        Column("split", "text", "train, validation or heldout"),
        Column("tier", "text", "lite, pro or ultimate"),
        Column("repeat", "int", "how often it had been judged so before"),
        Column("num_samples", "int", "samples each score rests on"),
        Column("flops", "int", "counted FLOPs per sample at this tier"),
        Column("sandbox_level", "text", "isolation it was judged in: full, reduced or none"),
        Column("environment", "text", "fingerprint of the environment it was judged in"),
        Column("scores", "map", "objective -> value"),
        Column("skills", "map", "skill -> value"),
    ),
    "executions": (
        Column("block", "text", "the block that was asked"),
        Column("tier", "text", "the tier that answered"),
        Column("nest", "int", "the nest level that answered: 0 lite, 1 pro, 2 ultimate"),
        Column("exit", "text", "the exit gate that ended the computation, or NULL"),
        Column("delegated_to", "text", "the block that the input was handed on to, or NULL"),
        _CAMPAIGN,
        Column("individual", "text", "the individual whose block it is, or NULL"),
        Column("num_samples", "int", "samples in the request"),
        Column("flops", "int", "counted FLOPs per sample"),
        _SECONDS,
        _clock("executed", "when it ran"),
    ),
    "exits": (
        Column("block", "text", "the block"),
        Column("individual", "text", "the individual whose block it is, or NULL"),
        _CAMPAIGN,
        Column("tier", "text", "the tier that was run"),
        Column("gate", "text", "the exit gate"),
        Column("benchmark", "text", "the benchmark"),
        Column("split", "text", "train, validation or heldout"),
        Column("num_samples", "int", "samples that reached the gate"),
        Column("num_taken", "int", "samples that left by it"),
        Column("objective", "text", "the objective measured on the samples that left, or NULL"),
        Column("value", "float", "its value"),
        Column("flops", "int", "counted FLOPs per sample up to the gate"),
    ),
    "families": (
        Column("family", "text", "content id of the family"),
        Column("block", "text", "a member"),
        Column("individual", "text", "the individual whose block it is, or NULL"),
        _CAMPAIGN,
        Column("coordinate", "text", "the member's coordinate"),
        Column("skill", "text", "the skill that is routed, or NULL"),
        Column("interface", "text", "the interface that is routed, or NULL"),
        Column("route", "text", "the address pattern the skill resolves to, or NULL"),
    ),
    "usage": (
        Column("block", "text", "the block"),
        Column("tier", "text", "the tier"),
        _CAMPAIGN,
        Column("num_requests", "int", "requests in the period"),
        Column("num_samples", "int", "samples in the period"),
        Column("flops", "int", "counted FLOPs in the period"),
        _SECONDS,
        _clock("period_start", "when the period began"),
        _clock("period_end", "when the period ended"),
    ),
}

#: Every table that is sealed into segments: the rare ones and three of the lineage's own.
SEALED = ("births", "commits", "incidents", *TABLES)

#: The names of the views, as a reader may list them.
VIEW_NAMES = (
    "campaigns", "generations", "individuals", "parents", "leaves", "recipes", "scores", "skills", "tiers", "quarantine",
    "promotions", "blocks", "lifecycle", "executions", "exits", "families", "usage", "incidents",
)  # fmt: skip
