"""The gate to production: yes or no with its reasons, recorded either way; and the way back.

Order of a promotion: the look is written down before it is taken; then the decision, its scores and the sequence that the
head is about to have; then the head moves; then the tracker is told. What a crash leaves undone, ``catch_up`` completes,
which every promotion and rollback begins with: heads are the truth of what stands, the home's log of what was decided.
A promotion that is taken up again after a crash goes on with the look that it had begun (``evolve.promotion.ledger``).

Nouns: *decision* (the gate's answer), *look* (see `fitness.measures.heldout_tests`), *question* (see `evolve.promotion.ledger`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from evolve.home.home import Home
from evolve.planning.isolation_rules import objections_to
from evolve.planning.plan import Plan
from evolve.promotion.acceptance import GateSettings, Terms, terms_of, tests_of
from evolve.promotion.candidate import Candidate, find_candidate, interface_objections
from evolve.promotion.heldout import SPLIT, HeldoutScores, judge_for, look
from evolve.promotion.ledger import LOOKED, PROMOTED, REFUSED, Ledger
from evolve.runtime.bundle import export_block
from evolve.tracking.mlflow_tracker import SEQUENCES_FILE
from evolve.tracking.protocol import NullTracker, Tracker
from fitness.judges.judge import Judge
from fitness.measures.heldout_tests import alpha_of_look
from fitness.processes.isolation import FULL
from population.blocks.block import load_block
from population.clock import Clock, SystemClock
from population.errors import DamageError, NotFound
from population.lineage.format.records import Commit
from population.lineage.format.schema import HOME_HANDLE
from population.lineage.journal.writer import LineageWriter
from population.store.heads import Head, Heads, Kind, block_before, check_name

STAGE = "production"
ALREADY, ROLLED_BACK = "already there", "rolled_back"


@dataclass(frozen=True)
class Decision:
    """The gate's answer.

    Attributes:
        decision: "promoted", "refused", "already there" or "rolled_back".
        sequence: the head's sequence afterwards; 0 where none stands.
        heldout: tier -> objective -> value of the block; empty where it was not judged. heldout_of_standing: the same of the
            head that stood before, compared_with: whose block that was; empty where none was looked at.
        look: which look at these held-out rows it took, alpha: the level that look was tested at; None without a look.
    """

    decision: str
    reasons: list[str]
    sequence: int
    block: str
    heldout: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    look: int | None = None
    alpha: float | None = None
    heldout_of_standing: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    compared_with: str = ""

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 1 where the answer is no."""
        return int(self.decision == REFUSED)


def promote(
    home: Home,
    block_prefix: str,
    name: str,
    *,
    floors: Mapping[str, float] | None = None,
    margin: float | None = None,
    accept_level: str = FULL,
    clock: Clock | None = None,
    tracker: Tracker | None = None,
    judge: Judge | None = None,
    plan: Plan | None = None,
) -> Decision:
    """Decides whether a block becomes the production head ``name``, and makes it so.

    Args:
        block_prefix: at least 8 characters of the block's id.
        floors: accuracy or R2 on held-out rows by tier that a first head must reach; the campaign's config's where None.
        margin: how much worse a later head may be at the edge of its bound; the config's, else 0.02, where None.
        accept_level: the least isolation that the scores it rests on may have been made at.
        judge: a process of its own where None; it is closed here only then. plan: as of ``find_candidate``.

    Raises:
        NotFound: no such block. Locked: another process decides. EvaluatorFailed: no judge can be had; the look that was
            begun counts, and the same promotion goes on with it. ConfigError: code of others needs a better jail.
    """
    clock = clock or SystemClock()
    block_id = home.block_store().resolve(block_prefix)
    check_name(name)
    with LineageWriter(home.files, home.root, HOME_HANDLE, clock) as log:
        gate = _Gate(home, log, clock)
        gate.complete()
        standing = gate.heads.current(name)
        if standing is not None and standing.block == block_id:
            decision = _already(standing)
        else:
            settings = GateSettings(floors, margin, accept_level)
            decision = gate.decide(find_candidate(home, block_id, plan), name, standing, settings, judge)
    _announce(home, tracker)
    return decision


def install(home: Home, block_id: str, name: str, reason: str, *, clock: Clock | None = None) -> bool:
    """Makes a block that came in from outside the first head of a name, unjudged; returns whether it did.

    A first head without floors is taken as it is; later ones are compared with it. Where a head stands, nothing changes.

    Raises: NotFound: no such block. Locked: another process decides.
    """
    clock = clock or SystemClock()
    load_block(home.block_store(), block_id)
    check_name(name)
    with LineageWriter(home.files, home.root, HOME_HANDLE, clock) as log:
        gate = _Gate(home, log, clock)
        gate.complete()
        if gate.heads.current(name) is not None:
            return False
        gate.install(block_id, name, reason)
    return True


def rollback(home: Home, name: str, *, clock: Clock | None = None, tracker: Tracker | None = None) -> Decision:
    """Points ``name`` back to the block that stood before; nothing is judged or erased.

    Raises:
        NotFound: there is no such head. InputError: nothing stood before it. Locked: another process decides.
    """
    clock = clock or SystemClock()
    check_name(name)
    with LineageWriter(home.files, home.root, HOME_HANDLE, clock) as log:
        gate = _Gate(home, log, clock)
        gate.complete()
        decision = gate.roll_back(name)
    _announce(home, tracker)
    return decision


def catch_up(home: Home, *, clock: Clock | None = None, tracker: Tracker | None = None) -> None:
    """Completes what a crash, or a tracker that was away, left undone; changes nothing otherwise."""
    if home.heads().names() or HOME_HANDLE in home.lineage_reader().handles():
        with LineageWriter(home.files, home.root, HOME_HANDLE, clock or SystemClock()) as log:
            _Gate(home, log, clock or SystemClock()).complete()
        _announce(home, tracker)


class _Gate:
    """One decision about heads, under the lock of the home's log."""

    def __init__(self, home: Home, log: LineageWriter, clock: Clock) -> None:
        self.heads: Heads = home.heads()
        self._home, self._log, self._clock = home, log, clock

    def complete(self) -> None:
        """Moves heads whose decision is written, and writes decisions of heads that moved without one."""
        rows = [row for row in self._rows() if row["decision"] in (PROMOTED, ROLLED_BACK)]
        written = {(row["name"], row["sequence"]): row for row in rows}
        for (name, sequence), row in sorted(written.items(), key=lambda item: item[0]):
            head = self.heads.current(name)
            if sequence == (head.sequence if head else 0) + 1 and self._home.block_store().has(row["block"]):
                self._move(row)
        for name in self.heads.names():
            for head in self.heads.history(name):
                if (name, head.sequence) not in written:
                    self._write(_row_of(head))

    def decide(
        self, candidate: Candidate, name: str, standing: Head | None, settings: GateSettings, judge: Judge | None
    ) -> Decision:
        """Refuses unseen, or looks and decides; everything is written down."""
        sequence = standing.sequence if standing else 0
        old = load_block(self._home.block_store(), standing.block) if standing else None
        weak = objections_to(candidate.level, settings.accepted_level)
        objections = [*candidate.objections, *weak, *(interface_objections(candidate.block, old, name) if old else ())]
        row = {"stage": STAGE, "name": name, "sequence": sequence, "block": candidate.block_id}
        row |= {"campaign": candidate.campaign, "individual": candidate.individual}
        if objections or candidate.plan is None:
            self._write({**row, "decision": REFUSED, "reason": "; ".join(objections)})
            return Decision(REFUSED, objections, sequence, candidate.block_id)
        terms, ledger = terms_of(row, standing, candidate.plan, settings), Ledger(self._rows())
        refusal = ledger.refusal(terms.evidence["question"], settings.accepted_level)
        if refusal is not None:
            return _refused_before(refusal)
        with judge_for(candidate.plan, judge, settings.accepted_level) as taken:
            terms = self._begin_look(row, terms, ledger)
            findings = look([candidate.block, *([old] if old else [])], candidate.plan.benchmark, taken)
            terms.evidence["sandbox_level"] = taken.level
        if standing is not None:
            terms.evidence.update(compared_with=standing.block, heldout_of_standing=findings[1].scores)
        return self._conclude(candidate, row, terms, findings)

    def install(self, block: str, name: str, reason: str) -> None:
        """Writes down a first head that nobody judged, then moves it there."""
        row = {"stage": STAGE, "name": name, "sequence": 1, "block": block, "decision": PROMOTED, "reason": reason}
        row |= {"evidence": {"reasons": [reason]}}
        self._write(row)
        self._move(row)

    def roll_back(self, name: str) -> Decision:
        """Writes down where the head goes back to, then moves it."""
        history = self.heads.history(name)
        back = block_before(history)
        if not history or back is None:
            self.heads.rollback(name, decided=self._now())  # says why not
            raise AssertionError("unreachable")
        left, sequence = history[-1], history[-1].sequence + 1
        restored = next(head for head in reversed(history) if head.block == back)
        reason = f"rolled back from {left.block}"
        row = {
            "stage": STAGE,
            "name": name,
            "sequence": sequence,
            "block": back,
            "decision": ROLLED_BACK,
            "reason": reason,
        }
        row |= self._owner_of(back)
        evidence = dict(restored.evidence)
        self._write({**row, "evidence": evidence}, lifecycle=self._statuses_after(name, left.block, back))
        self._move(row | {"evidence": evidence})
        return Decision(ROLLED_BACK, [reason], sequence, back, evidence.get("heldout", {}))

    def _begin_look(self, row: Mapping[str, Any], terms: Terms, ledger: Ledger) -> Terms:
        """Writes down that held-out rows are about to be looked at, so that no look is ever uncounted; a look that was begun
        for the same question and cut short is that look."""
        evidence = terms.evidence
        begun = ledger.open_look(evidence["question"])
        number = ledger.next_look(evidence["benchmark"]) if begun is None else begun
        alpha = alpha_of_look(number)
        if begun is None:
            facts = {name: evidence[name] for name in ("benchmark", "benchmark_name", "question")}
            reason = f"look {number} at these held-out rows begins"
            looked = {"decision": LOOKED, "reason": reason, "look": number, "alpha": alpha}
            self._write({**row, **looked, "evidence": {**facts, "look": number, "alpha": alpha}})
        return replace(terms, look=number, alpha=alpha, evidence={**evidence, "look": number, "alpha": alpha})

    def _conclude(
        self, candidate: Candidate, row: dict[str, Any], terms: Terms, findings: Sequence[HeldoutScores]
    ) -> Decision:
        assert candidate.plan is not None
        tests = tests_of(findings, terms, candidate.plan.benchmark)
        reasons = [reason for test in tests for reason in test.reasons]
        accepted = all(test.accepted for test in tests)
        new, sequence = findings[0], row["sequence"] + accepted
        terms.evidence.update(heldout=new.scores, reasons=reasons)
        row |= {"look": terms.look, "alpha": terms.alpha, "sequence": sequence, "evidence": terms.evidence}
        row |= {"decision": PROMOTED if accepted else REFUSED, "reason": "; ".join(reasons)}
        status = {"individual": candidate.individual, "campaign": candidate.campaign, "status": "promoted"}
        lifecycle = [{**status, "reason": f"to {row['name']}, sequence {sequence}"}] if accepted else []
        self._write(row, lifecycle=lifecycle, judgements=self._judgements(candidate, terms, new))
        if accepted:
            self._move(row)
        return Decision(
            row["decision"],
            reasons,
            sequence,
            candidate.block_id,
            new.scores,
            terms.look,
            terms.alpha,
            findings[1].scores if len(findings) > 1 else {},
            terms.evidence.get("compared_with", ""),
        )

    def _judgements(self, candidate: Candidate, terms: Terms, finding: HeldoutScores) -> list[dict[str, Any]]:
        """Returns one row a tier: what the views ``scores`` and ``skills`` show of the look."""
        assert candidate.plan is not None
        earlier = [
            row for rows in self._table("judgements") for row in rows if row["individual"] == candidate.individual
        ]
        common = {
            "individual": candidate.individual,
            "campaign": candidate.campaign,
            "benchmark": candidate.plan.benchmark_name,
            "split": SPLIT,
            "repeat": len({row["repeat"] for row in earlier}),
            "num_samples": candidate.plan.benchmark.num_samples(SPLIT),
            "sandbox_level": terms.evidence["sandbox_level"],
            "environment": candidate.plan.environment,
        }
        return [
            {**common, "tier": tier, "flops": finding.flops[tier], "scores": scores, "skills": finding.skills[tier]}
            for tier, scores in finding.scores.items()
        ]

    def _statuses_after(self, name: str, left: str, restored: str) -> list[dict[str, Any]]:
        """Returns the lifecycle rows of a rollback; a block that stands under another name stays promoted."""
        others = {head.block for head in map(self.heads.current, self.heads.names()) if head and head.name != name}
        found = []
        for block, status, reason in ((left, "active", "rolled back from"), (restored, "promoted", "rolled back to")):
            owner = self._owner_of(block)
            if owner and (status == "promoted" or block not in others):
                found.append({**owner, "status": status, "reason": f"{reason} {name}"})
        return found

    def _owner_of(self, block: str) -> dict[str, Any]:
        """Returns the individual and campaign that a block was last decided on as."""
        rows = [row for row in self._rows() if row["block"] == block and row.get("individual")]
        return {"individual": rows[-1]["individual"], "campaign": rows[-1]["campaign"]} if rows else {}

    def _move(self, row: Mapping[str, Any]) -> None:
        """Makes the head what a written row says; moving it again changes nothing."""
        kind: Kind = "rollback" if row["decision"] == ROLLED_BACK else "promote"
        evidence, before = row.get("evidence") or {}, row["sequence"] - 1
        self.heads.advance(row["name"], row["block"], evidence, before, decided=self._now(), stage=STAGE, kind=kind)

    def _write(self, row: Mapping[str, Any], **others: Sequence[Mapping[str, Any]]) -> None:
        rows = {"promotions": [{**row, "decided": self._clock.now()}], **{name: r for name, r in others.items() if r}}
        self._log.commit(Commit(self._log.next_step, rows=rows))

    def _rows(self) -> list[dict[str, Any]]:
        """Returns the promotions so far, oldest first; keys that no row has are None."""
        blank = dict.fromkeys(("evidence", "individual", "campaign", "look"))
        return [{**blank, **row} for rows in self._table("promotions") for row in rows]

    def _table(self, table: str) -> Iterator[Sequence[Mapping[str, Any]]]:
        for commit in self._home.lineage_reader().commits(HOME_HANDLE):
            yield commit.rows.get(table, ())

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="seconds")


def _already(standing: Head) -> Decision:
    """Returns the answer where the name points to the block already: nothing is looked at."""
    return Decision(
        ALREADY,
        [f"{standing.name} has pointed to this block since {standing.decided}"],
        standing.sequence,
        standing.block,
        standing.evidence.get("heldout", {}),
        heldout_of_standing=standing.evidence.get("heldout_of_standing", {}),
        compared_with=standing.evidence.get("compared_with", ""),
    )


def _refused_before(row: Mapping[str, Any]) -> Decision:
    """Returns the answer that the same question had: nothing is looked at again."""
    evidence = row["evidence"]
    return Decision(
        REFUSED,
        [*evidence["reasons"], f"decided before, by look {row['look']}: the same question has the same answer"],
        row["sequence"],
        row["block"],
        evidence["heldout"],
        row["look"],
        row["alpha"],
        evidence.get("heldout_of_standing", {}),
        evidence.get("compared_with", ""),
    )


def _row_of(head: Head) -> dict[str, Any]:
    """Returns the row that a head should have."""
    decision = ROLLED_BACK if head.kind == "rollback" else PROMOTED
    row = {"stage": head.stage, "name": head.name, "sequence": head.sequence, "block": head.block, "decision": decision}
    reason = f"found standing since {head.decided}; its row was missing"
    return {**row, "reason": reason, "evidence": dict(head.evidence)}


def _announce(home: Home, tracker: Tracker | None) -> None:
    """Tells the tracker where every head stands; what it knows already changes nothing there."""
    if tracker is None or isinstance(tracker, NullTracker):
        return
    heads = home.heads()
    standing = [head for head in map(heads.current, heads.names()) if head is not None]
    for head in standing:
        folder = home.root / "exports" / head.block
        try:
            export_block(home.files, load_block(home.block_store(), head.block), folder / "block")
        except (DamageError, NotFound):
            continue  # a head whose block is damaged stands as signed; fsck and infer say what is wrong with it
        sequences = {other.name: other.sequence for other in standing if other.block == head.block}
        home.files.write_atomic(folder / SEQUENCES_FILE, json.dumps(sequences).encode(), 0o644, replace=True)
        tracker.promoted(head.name, head.block, folder / "block")
