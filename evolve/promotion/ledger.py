"""The ledger of looks at held-out rows: which question each was taken for, and whether it was answered.

A look belongs to one question: this block, this head as it stands, these rows, these terms, this environment. A question
whose look was cut short takes it up again at the same number, and one that was answered has its answer: neither pays twice.
Any other question takes a look of its own. Rows that older programs wrote name no question and answer none.

Nouns: *question* (a hash of all that an answer follows from), *look* (as in ``fitness.measures.heldout_tests``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from evolve.planning.isolation_rules import objections_to
from population.encoding.cbor import encode
from population.store.heads import Head

PROMOTED, REFUSED, LOOKED = "promoted", "refused", "looked"
_CONTEXT = "evolve 2026 question of a look at held-out rows, version 1"


def question_of(row: Mapping[str, Any], standing: Head | None, facts: Mapping[str, Any]) -> str:
    """Returns the question of a promotion, in hex.

    Args:
        row: stage, name, block, campaign and individual. standing: the head that the block is compared with.
        facts: what else decides: rows, floors, margin, level, environment, campaign key; plain values.
    """
    who = {name: row[name] for name in ("stage", "name", "block", "campaign", "individual")}
    before = None if standing is None else [standing.sequence, standing.block]
    return blake3(encode({**who, "standing": before, **facts}), derive_key_context=_CONTEXT).hexdigest()


@dataclass(frozen=True)
class Ledger:
    """The looks that the rows of ``promotions`` tell of, oldest first."""

    rows: Sequence[Mapping[str, Any]]

    def open_look(self, question: str) -> int | None:
        """Returns the number of the look that was begun for this question and not concluded; None where there is none."""
        number = None
        for row in self.rows:
            if (row["evidence"] or {}).get("question") == question:
                number = row["look"] if row["decision"] == LOOKED else None
        return number

    def next_look(self, benchmark: str) -> int:
        """Returns the number of the next look at these held-out rows, by their digest."""
        evidence = [row["evidence"] or {} for row in self.rows]
        return 1 + max((e.get("look", 0) for e in evidence if e.get("benchmark") == benchmark), default=0)

    def refusal(self, question: str, accepted_level: str) -> Mapping[str, Any] | None:
        """Returns the row that answers this question with no; None where it was not answered, or promoted.

        A candidate or head that could not be judged, or a jail that was too weak, is no answer: asked again, it may be
        another one, and takes a look of its own.
        """
        found = [row for row in self.rows if (row["evidence"] or {}).get("question") == question]
        if not found or found[-1]["decision"] != REFUSED:
            return None
        evidence = found[-1]["evidence"]
        compared = [evidence["heldout"]] + ([evidence["heldout_of_standing"]] if "compared_with" in evidence else [])
        is_answer = all(compared) and not objections_to(evidence["sandbox_level"], accepted_level)
        return found[-1] if is_answer else None
