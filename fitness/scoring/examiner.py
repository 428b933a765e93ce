"""Who judges stacks on a task: by rows of a data set, or by episodes, with the simulator or scorer that they need.

Nouns: *examiner*.
"""

from __future__ import annotations

from fitness.benchmarks.benchmark import Benchmark
from fitness.benchmarks.episodes import Episodes
from fitness.judges.judge import Judge, SubprocessJudge
from fitness.judges.tile_plan import DEFAULT_PLANS, PlanTable
from fitness.processes.jailed_process import Meanwhile, nothing
from fitness.scoring.judge_episodes import play_stack
from fitness.scoring.judge_rows import judge_stack
from fitness.scoring.score_sheet import ScoreSheet
from fitness.scoring.user_scores import scorer_of
from fitness.simulators.simulator import Environment
from fitness.work.task import Task
from fitness.work.work_unit import Judging
from population.stacks.stack import Stack


class Examiner:
    """Judges stacks on one task with one judge. One thread at a time.

    The simulator of episodes and the scorer of a user's function are the examiner's own, and closed with it; the judge is not.
    """

    def __init__(self, task: Task, judge: Judge, plans: PlanTable = DEFAULT_PLANS) -> None:
        self._task, self._judge, self._plans = task, judge, plans
        self._simulator: Environment | None = None
        self._scorer = scorer_of(task, judge) if isinstance(task, Benchmark) else None

    def examine(self, stack: Stack, judging: Judging, meanwhile: Meanwhile = nothing) -> ScoreSheet:
        """Returns the score sheet of a stack's rows on a split.

        Args:
            meanwhile: something short to do while the judge is at work, or before.

        Raises:
            EvaluatorFailed: no jail can be had, or the simulator fails (``SimulatorFailed``).
        """
        task = self._task
        if isinstance(task, Episodes):
            return play_stack(stack, task, self._judge, self._simulator_of(task), judging, self._plans, meanwhile)
        assert isinstance(task, Benchmark), "a task is rows or episodes"
        return judge_stack(stack, task, self._judge, judging, self._plans, meanwhile, self._scorer)

    def close(self) -> None:
        """Ends simulator and scorer; closing twice changes nothing."""
        if self._scorer is not None:
            self._scorer.close()
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def reap_dead(self) -> None:
        """Reaps what was killed below while idle; from any thread."""
        for held in (self._simulator, self._scorer):
            if held is not None:
                held.reap_dead()

    def _simulator_of(self, task: Episodes) -> Environment:
        if self._simulator is None:
            without = self._judge.without if isinstance(self._judge, SubprocessJudge) else ()
            self._simulator = task.simulator(without)
        return self._simulator
