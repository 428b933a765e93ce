"""Judges the rows of a stack by episodes: a simulator and the candidates take turns, each in a jail of its own.

Every candidate, at every tier, plays the same seeded episodes in lanes of its own; all of them move in lockstep. What passes
between the jails is checked here: answers that are not finite end their candidate's play, observations and rewards that are
not finite are the simulator's fault, and a failure of the campaign rather than of whoever was playing.

Nouns: a *lane*, a *match* (some rows that play together).

Shapes: n rows of a match, T tiers, L lanes of a row at a tier, K numbers of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fitness.benchmarks.episodes import OBSERVATION, Episodes
from fitness.judges.judge import Failure, Judge
from fitness.judges.policy_player import Player
from fitness.judges.tile_plan import DEFAULT_PLANS, PlanTable, policy_plan
from fitness.judges.tiles import Tile
from fitness.processes import verdicts
from fitness.processes.jailed_process import Meanwhile, nothing
from fitness.processes.zygote import ZygoteGone
from fitness.scoring.score_sheet import ScoreSheet, Sheet, check_graph, has_plugins
from fitness.simulators.simulator import Environment
from fitness.work.work_unit import Judging
from population.errors import BenchmarkError, InvalidGraph, SimulatorFailed
from population.stacks.stack import Stack

#: How many lanes are simulated side by side, unless one candidate has more. No bit depends on it.
LANES_AT_ONCE = 4096

Floats = npt.NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class Played:
    """What a match gave. returns, steps: float64 ``[T, n, L]``, the sum of rewards and the length of every episode;
    finite: bool ``[n]``, whose answers were numbers as long as they were looked at."""

    returns: Floats
    steps: Floats
    finite: npt.NDArray[np.bool_]


def play_stack(
    stack: Stack,
    episodes: Episodes,
    judge: Judge,
    simulator: Environment,
    judging: Judging,
    plans: PlanTable = DEFAULT_PLANS,
    meanwhile: Meanwhile = nothing,
) -> ScoreSheet:
    """Judges the rows of a stack by the episodes of a split, all tiers at once; merits are the returns.

    A row that crashes, hangs, eats memory or answers NaN gets its verdict; the others of its match play again, each alone in
    a fresh jail, which gives them the same bits. Where operations of plugins are in the graph every row plays so at once.

    Args:
        meanwhile: something short to do before the first episode begins.

    Raises:
        SimulatorFailed: the simulator raised, hung or gave NaN. EvaluatorFailed: no jail can be had.
    """
    session = _Session(stack, episodes, judge, simulator, judging, plans)
    meanwhile()
    session.run()
    return session.sheet.judged


class _Session:
    """One judging of one stack: cuts it into matches, collects verdicts and scores."""

    def __init__(
        self,
        stack: Stack,
        episodes: Episodes,
        judge: Judge,
        simulator: Environment,
        judging: Judging,
        plans: PlanTable,
    ) -> None:
        self._stack, self._episodes, self._judge, self._simulator = stack, episodes, judge, simulator
        self._judging = judging
        self.sheet = Sheet(stack, episodes, judging)
        self._bare = stack.replace(state={}).masked()
        self._plan = policy_plan(plans.plan_for(stack.graph))
        self._seeds, self._variants = episodes.lanes(judging.split, judging.seed)

    def run(self) -> None:
        rows = self.sheet.finite_rows()
        try:
            check_graph(self._stack.graph, self._episodes)
        except (BenchmarkError, InvalidGraph) as error:
            for row in rows:
                self.sheet.fail(row, Failure(verdicts.OUTPUT, verdicts.one_line(str(error))))
            return
        lanes_of_row = len(self._judging.tiers) * len(self._seeds)
        count = 1 if has_plugins(self._stack.graph) else max(LANES_AT_ONCE // lanes_of_row, 1)
        for start in range(0, len(rows), count):
            self._play_some(rows[start : start + count])

    def _play_some(self, rows: Sequence[int]) -> None:
        self.sheet.settle(rows, self._play(rows), lambda row: self._play([row], fresh=True), self._score)

    def _play(self, rows: Sequence[int], *, fresh: bool = False) -> Played | Failure:
        """Plays a match, from the beginning again where a jail was lost, which is nobody's doing here."""
        try:
            return self._play_once(rows, fresh)
        except ZygoteGone:
            return self._play_once(rows, fresh)

    def _play_once(self, rows: Sequence[int], fresh: bool) -> Played | Failure:
        graph = self._stack.graph
        tile = Tile(
            key=b"",
            graph=graph.encoded,
            rows=self._bare.gather(rows),
            tiers=tuple(self._judging.tiers.items()),
            plan=self._plan,
            outputs=self._episodes.answers_of([name for name, _ in graph.outputs]),
            has_plugins=has_plugins(graph),
        )
        player = self._judge.play(tile, OBSERVATION, len(self._seeds), fresh=fresh)
        if isinstance(player, Failure):
            return player
        with closing(player):
            return self._rounds(player, len(tile.tiers), len(rows))

    def _rounds(self, player: Player, num_tiers: int, num_rows: int) -> Played | Failure:
        """Lets simulator and player take turns until every episode is over."""
        episodes, shape = self._episodes, (num_tiers, num_rows, len(self._seeds))
        times = num_tiers * num_rows
        seen = self._trusted(self._simulator.reset(np.tile(self._seeds, times), np.tile(self._variants, times)))
        returns, steps = np.zeros(shape), np.zeros(shape)
        by_lane = (*shape, *episodes.observation)
        lanes_last = (0, 1, *range(3, len(by_lane)), 2)
        goes_on, finite = np.ones(shape, dtype=np.bool_), np.ones(num_rows, dtype=np.bool_)
        for _ in range(episodes.max_steps):
            answers = player.act(np.ascontiguousarray(seen.reshape(by_lane).transpose(lanes_last)))  # [T, n, K, L]
            if isinstance(answers, Failure):
                return answers
            is_number: npt.NDArray[np.bool_] = np.isfinite(answers)
            if not is_number.all():
                lane_is_number = np.asarray(is_number.all(axis=2))  # [T, n, L]
                finite &= np.asarray((lane_is_number | ~goes_on).all(axis=(0, 2)))
                answers = np.where(np.expand_dims(lane_is_number, 2), answers, np.float32(0))
            goes_on &= finite[:, None]
            if not goes_on.any():
                break
            chosen = episodes.actions.of(answers.transpose(0, 1, 3, 2).reshape(-1, answers.shape[2]))
            step = self._trusted(self._simulator.step(chosen))
            returns += np.where(goes_on, step.rewards.reshape(shape).astype(np.float64), 0.0)
            steps += goes_on
            goes_on &= ~(step.terminated | step.truncated).reshape(shape)
            if not goes_on.any():
                break
            seen = step.observations
        return Played(returns, steps, finite)

    def _trusted(self, found: T | Failure) -> T:
        """Returns what a simulator gave. Raises: SimulatorFailed."""
        if isinstance(found, Failure):
            raise SimulatorFailed(f"the simulator of {self._episodes.name} failed ({found.cause}): {found.detail}")
        return found

    def _score(self, rows: Sequence[int], played: Played) -> None:
        for row, is_finite in zip(rows, played.finite, strict=True):
            if not is_finite:
                self.sheet.fail(row, Failure(verdicts.NAN, "an answer is NaN or infinite"))
        good = [row for row, is_finite in zip(rows, played.finite, strict=True) if is_finite]
        if not good:
            return
        num_variants = len(self._episodes.variants)
        for tier in range(len(self._judging.tiers)):
            returns, steps = played.returns[tier, played.finite], played.steps[tier, played.finite]  # [n, L]
            by_variant = returns.reshape(len(good), num_variants, -1)
            scores = {"return": _mean(returns), "steps": _mean(steps)}
            self.sheet.score(good, tier, scores, skills=_mean(by_variant), merits=returns)


def _mean(values: Floats) -> Floats:
    """Returns the mean over the last axis by a running sum, so that no bit depends on the other candidates."""
    found: Floats = np.cumsum(values, axis=-1)[..., -1] / values.shape[-1]
    return found
