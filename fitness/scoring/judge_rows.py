"""Judges the rows of a stack: cuts them into tiles, isolates what fails, scores outputs with labels the judge never sees.

Shapes: n rows, T tiers, M objectives, K skills, N rows of the split.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from fitness.benchmarks.benchmark import Benchmark
from fitness.judges.judge import Failure, Judge
from fitness.judges.scorer import Scorer
from fitness.judges.tile_plan import DEFAULT_PLANS, PlanTable
from fitness.judges.tiles import Outputs, Tile
from fitness.processes import verdicts
from fitness.processes.jailed_process import Meanwhile, nothing
from fitness.scoring import user_scores
from fitness.scoring.measure import measure
from fitness.scoring.score_sheet import ScoreSheet, Sheet, check_graph, has_plugins
from fitness.scoring.user_scores import OwnScores
from fitness.work.work_unit import Judging
from population.errors import BenchmarkError, InvalidGraph
from population.stacks.stack import Stack

#: How many tiles are judged with one question at most; how many bytes of outputs they may give and how long they may
#: take, unless one does more: limits hold for a question, so that only small tiles share one. No bit depends on it.
TILES_AT_ONCE = 16
BYTES_AT_ONCE = 64 << 20
SECONDS_AT_ONCE = 0.1
#: How many outputs are scored in one go.
VALUES_AT_ONCE = 1 << 17


def judge_stack(
    stack: Stack,
    benchmark: Benchmark,
    judge: Judge,
    judging: Judging,
    plans: PlanTable = DEFAULT_PLANS,
    meanwhile: Meanwhile = nothing,
    scorer: Scorer | None = None,
) -> ScoreSheet:
    """Judges the rows of a stack on one split, each tier in its order; all tiers in one pass.

    A row that crashes, hangs, eats memory or is not finite gets its verdict; the other rows of its tile are run again, each
    alone in a fresh judge and in a tile of the same size, which gives them the same bits. Where operations of plugins are
    in the graph every row is run so at once, since they could answer for the others of their tile.

    Args:
        meanwhile: something short to do while the judge is at work with the first tile.
        scorer: of the benchmark's own function, where it has one; None: one is started for this call.
    """
    with user_scores.lent(scorer, benchmark, judge) as lent:
        session = _Session(stack, benchmark, judge, judging, plans, meanwhile, lent)
        session.run()
    return session.sheet.judged


class _Session:
    """One judging of one stack: cuts it into tiles, collects verdicts and scores."""

    def __init__(
        self,
        stack: Stack,
        benchmark: Benchmark,
        judge: Judge,
        judging: Judging,
        plans: PlanTable,
        meanwhile: Meanwhile,
        scorer: Scorer | None,
    ) -> None:
        self._stack, self._benchmark, self._judge, self._judging = stack, benchmark, judge, judging
        self._meanwhile, self._scorer = meanwhile, scorer
        # what a strategy carries with a row is no part of what it computes, nor are entries beyond a row's widths
        self._bare = stack.replace(state={}).masked()
        self._plan = plans.plan_for(stack.graph)
        self._key = benchmark.digest(judging.split)
        self._targets = benchmark.targets_of(judging.split)
        self._num_samples = len(self._targets[0])
        self._tile_s: float | None = None
        self.sheet = Sheet(stack, benchmark, judging)

    def run(self) -> None:
        rows = self.sheet.finite_rows()
        scoring = self._benchmark.scoring
        if scoring is not None and scoring.takes == "stack":
            self._score_by_stack(rows)
            return
        try:
            check_graph(self._stack.graph, self._benchmark)
        except (BenchmarkError, InvalidGraph) as error:
            for row in rows:
                self.sheet.fail(row, Failure(verdicts.OUTPUT, verdicts.one_line(str(error))))
            return
        if not self._judge.holds(self._key):
            self._judge.load(self._key, self._benchmark.inputs_of(self._judging.split))
        while rows:
            count = 1 if has_plugins(self._stack.graph) else self._plan.candidates * self._tiles_at_once()
            self._run_tiles(rows[:count])
            rows = rows[count:]

    def _tiles_at_once(self) -> int:
        """Returns how many tiles the next question holds: one until it is known how long one takes."""
        if self._tile_s is None:
            return 1
        num_outputs = len(self._judging.tiers) * self._benchmark.num_outputs * self._num_samples
        by_bytes = BYTES_AT_ONCE // max(4 * num_outputs * self._plan.candidates, 1)
        by_time = int(min(SECONDS_AT_ONCE / max(self._tile_s, 1e-9), TILES_AT_ONCE))
        return max(min(by_bytes, by_time), 1)

    def _run_tiles(self, rows: Sequence[int]) -> None:
        """Has several tiles judged with one question, since asking costs as much as a small tile; each alone if that fails."""
        size = self._plan.candidates
        if len(rows) <= size:
            began = time.monotonic()
            self._run_tile(rows)
            self._tile_s = time.monotonic() - began
            return
        answer = self._judge.run(self._tile(rows))
        if not isinstance(answer, Failure):
            self._score(rows, answer)
            return
        for start in range(0, len(rows), size):
            self._run_tile(rows[start : start + size])

    def _run_tile(self, rows: Sequence[int]) -> None:
        meanwhile, self._meanwhile = self._meanwhile, nothing
        answer = self._judge.run(self._tile(rows), meanwhile=meanwhile)
        self.sheet.settle(rows, answer, lambda row: self._judge.run(self._tile([row]), fresh=True), self._score)

    def _tile(self, rows: Sequence[int]) -> Tile:
        graph = self._stack.graph
        return Tile(
            key=self._key,
            graph=graph.encoded,
            rows=self._bare.gather(rows),
            tiers=tuple(self._judging.tiers.items()),
            plan=self._plan,
            outputs=self._benchmark.answers_of([name for name, _ in graph.outputs]),
            has_plugins=has_plugins(graph),
        )

    def _score(self, rows: Sequence[int], outputs: Outputs) -> None:
        """Scores rows some at a time, so that what is computed on the way stays in the processor's caches."""
        size = max(1, VALUES_AT_ONCE // max(outputs[0][0].size, 1))
        for start in range(0, len(rows), size):
            self._score_some(rows[start : start + size], tuple(array[start : start + size] for array in outputs))

    def _score_some(self, rows: Sequence[int], outputs: Outputs) -> None:
        finite = np.ones(len(rows), dtype=np.bool_)
        for array in outputs:
            finite &= np.isfinite(array).all(axis=(1, 2))
        for row, is_finite in zip(rows, finite, strict=True):
            if not is_finite:
                self.sheet.fail(row, Failure(verdicts.NAN, "an output is NaN or infinite"))
        positions = np.flatnonzero(finite).tolist()
        own, kept = self._own_scores(rows, positions, outputs)
        good = [rows[positions[place]] for place in kept]
        for tier, array in enumerate(outputs if good else ()):
            some = array if len(good) == len(rows) else array[[positions[place] for place in kept]]
            measured = measure(some, self._targets, self._benchmark)
            scores = {**measured.scores, **own.at(kept, tier)}
            self.sheet.score(good, tier, scores, skills=measured.skills, merits=measured.merits)

    def _own_scores(
        self, rows: Sequence[int], positions: Sequence[int], outputs: Outputs
    ) -> tuple[OwnScores, list[int]]:
        """Returns what the benchmark's own function says of the rows at these positions, and which it gives numbers for."""
        if self._scorer is None or not positions:
            return OwnScores(), list(range(len(positions)))
        some = tuple(array[list(positions)] for array in outputs)
        own = user_scores.score_outputs(self._scorer, self._benchmark, some, self._targets)
        return own, self._without_failures([rows[position] for position in positions], own)

    def _score_by_stack(self, rows: Sequence[int]) -> None:
        """Scores rows by a function of stacks; nothing is computed of them, and no data is read."""
        assert self._scorer is not None, "whoever judges brings the scorer of such a benchmark"
        self._meanwhile()
        if not rows:
            return
        bare = self._bare.gather(rows)
        own = user_scores.score_stack(self._scorer, self._benchmark, bare, self._judging, self._plan)
        kept = self._without_failures(rows, own)
        good = [rows[place] for place in kept]
        for tier in range(len(self._judging.tiers) if good else 0):
            self.sheet.score(good, tier, own.at(kept, tier))

    def _without_failures(self, rows: Sequence[int], own: OwnScores) -> list[int]:
        for place, failure in own.failures.items():
            self.sheet.fail(rows[place], failure)
        return [place for place in range(len(rows)) if place not in own.failures]
