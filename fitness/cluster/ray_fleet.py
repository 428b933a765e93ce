"""The workers of a campaign on a Ray cluster: placed on its nodes, checked when they start, asked whether they live.

Nouns: a *member* is one worker's actor, on one node, from its start to its end; the *fleet* is all of them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fitness.cluster.placement import place
from fitness.cluster.ray_cluster import RayCluster
from fitness.cluster.ray_worker import WorkerActor
from fitness.processes import verdicts
from fitness.processes.zygote import ZygoteGone
from population.errors import EvaluatorFailed

START_TIMEOUT_S = 180.0
#: How often the cluster is looked at and a busy worker asked, and how long its answer may take.
LOOK_EVERY_S = 2.0
PULSE_EVERY_S = 5.0
PULSE_PATIENCE_S = 30.0
#: A node where this many workers in a row did not start gets no more.
MAX_FAILED_STARTS = 3
PULSE = "pulse"


@dataclass(eq=False)
class Member:
    """One worker. waits_for: its answer to ``ready`` while it starts, later to a pulse; None where none is under way."""

    actor: Any
    node: str
    waits_for: Any
    deadline: float
    is_ready: bool = False
    pid: int = 0
    next_pulse: float = 0.0


class Fleet:
    """Keeps as many workers as wanted, as far as nodes fit and have CPUs; nodes may come and go. Not thread-safe.

    Args:
        shared: reference to what a worker is made from. fingerprint: what every worker's machine must be like.
        tell: is given a line where the person ought to know something.
    """

    def __init__(
        self,
        cluster: RayCluster,
        shared: Any,
        fingerprint: Mapping[str, str],
        wanted: int,
        tell: Callable[[str], None],
    ) -> None:
        self._cluster, self._shared, self._fingerprint = cluster, shared, fingerprint
        self._wanted, self._tell = wanted, tell
        self.members: list[Member] = []
        self.level: str | None = None
        self.refused: dict[str, str] = {}
        self._failures: Counter[str] = Counter()
        self._cpus: dict[str, int] = {}
        self._next_look = self._last_seen = 0.0
        self._lonely_since: float | None = None
        self._told_num = wanted
        self._make = _maker(cluster.variables)

    @property
    def waited_for(self) -> dict[Any, Member]:
        """Returns what is under way: reference -> member."""
        return {member.waits_for: member for member in self.members if member.waits_for is not None}

    def tend(self, now: float, busy: Collection[Member]) -> list[tuple[Member, str]]:
        """Looks after the fleet; returns the members that are lost, and why. They are out of it already.

        Raises:
            EvaluatorFailed: the cluster is gone, or there has been no worker for too long.
        """
        if now - self._last_seen > PULSE_PATIENCE_S / 2:  # this process itself was stopped, or busy elsewhere
            self._forgive(now)
        self._last_seen = now
        lost = [(member, _late(member)) for member in self.members if member.waits_for and now >= member.deadline]
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY_S
            cpus = self._cluster.nodes()
            if cpus is not None:
                self._cpus = cpus
            vanished = [member for member in self.members if member.node not in self._cpus]
            lost += [(member, "its node is gone") for member in vanished if member not in dict(lost)]
        for member, _ in lost:
            self.drop(member, has_failed=member.node in self._cpus)
        self._grow(now)
        for member in busy:
            if member in self.members and now >= member.next_pulse:
                self.ask(member, now)
        return lost

    def answered(self, ref: Any, now: float) -> tuple[Member, str]:
        """Takes the answer behind a reference; returns the member, and why it is lost, or an empty text where it lives."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        member = self.waited_for[ref]
        member.waits_for, was_ready = None, member.is_ready
        try:
            answer = ray.get(ref)
        except RayError as error:
            if isinstance(error, RayTaskError) and not isinstance(error.cause, ZygoteGone):
                # raised by our own code, not by something that was killed: a second try would raise it again
                self._refuse(member, verdicts.one_line(str(error.cause or error)[-400:], 400))
                return member, "it does not start"
            reason = verdicts.one_line(str(error), 200)
            self.drop(member, has_failed=not was_ready, reason=reason)
            return member, reason
        if was_ready:
            member.next_pulse = now + PULSE_EVERY_S
            return member, ""
        return self._admit(member, answer)

    def drop(self, member: Member, *, has_failed: bool = False, reason: str = "") -> None:
        """Takes a member out and ends its actor, whatever state it is in."""
        import ray
        from ray.exceptions import RayError

        if member not in self.members:
            return
        self.members.remove(member)
        with contextlib.suppress(RayError):
            ray.kill(member.actor)
        if has_failed and not member.is_ready:
            self._failures[member.node] += 1
            if self._failures[member.node] >= MAX_FAILED_STARTS:
                self._refuse(member, f"{MAX_FAILED_STARTS} workers in a row did not start; {reason}")

    def close(self) -> None:
        """Ends all members."""
        for member in list(self.members):
            self.drop(member)

    def _admit(self, member: Member, answer: Mapping[str, Any]) -> tuple[Member, str]:
        differences = list(answer["differences"])
        if not differences and self.level not in (None, answer["level"]):
            differences = [f"isolation is {answer['level']} there and {self.level} elsewhere"]
        if differences:
            self._refuse(member, "; ".join(differences))
            return member, "it differs"
        self.level, self._failures[member.node] = str(answer["level"]), 0
        member.is_ready, member.pid = True, int(answer["pid"])
        self._tell_number()
        return member, ""

    def _refuse(self, member: Member, reason: str) -> None:
        self.drop(member)
        if member.node not in self.refused:
            self.refused[member.node] = reason
            self._tell(f"node {member.node[:12]} of the Ray cluster is not used: {reason}")

    def _grow(self, now: float) -> None:
        seated = [member.node for member in self.members]
        for node in place(self._wanted, self._cpus, seated, self.refused, self._failures):
            actor = self._make(node, self._shared)
            waits_for = actor.ready.remote(dict(self._fingerprint))
            self.members.append(Member(actor, node, waits_for, now + START_TIMEOUT_S))
        self._check_hope(now)

    def _check_hope(self, now: float) -> None:
        if any(member.is_ready for member in self.members):
            self._lonely_since = None
            return
        since = self._lonely_since = now if self._lonely_since is None else self._lonely_since
        lines = [f"node {node[:12]}: {reason}" for node, reason in self.refused.items()]
        usable = [node for node, num in self._cpus.items() if num and node not in self.refused]
        if not usable and self._cpus and (lines or not any(self._cpus.values())):
            reason = "\n".join(lines) or "no node has a CPU"
            raise EvaluatorFailed(f"no node of the Ray cluster can be used:\n{reason}")
        if now - since >= START_TIMEOUT_S + LOOK_EVERY_S:
            raise EvaluatorFailed(
                "\n".join([f"no CPU of the Ray cluster came free in {START_TIMEOUT_S:.0f} s", *lines])
            )

    def _tell_number(self) -> None:
        ready = sum(member.is_ready for member in self.members)
        room = sum(num for node, num in self._cpus.items() if node not in self.refused)
        if ready == len(self.members) and ready != self._told_num and ready == min(self._wanted, room):
            self._told_num = ready
            more = (
                ""
                if ready >= self._wanted
                else f" of {self._wanted}: the Ray cluster has no more CPUs; others may join"
            )
            self._tell(f"{ready} workers{more}")

    def ask(self, member: Member, now: float) -> None:
        """Asks a worker for a sign of life, unless that is under way."""
        if member.waits_for is None:
            pulse = member.actor.pulse.options(concurrency_group=PULSE)  # answered beside a unit
            member.waits_for, member.deadline = pulse.remote(), now + PULSE_PATIENCE_S

    def _forgive(self, now: float) -> None:
        """Begins all waiting anew: what was late was this process."""
        for member in self.members:
            patience = PULSE_PATIENCE_S if member.is_ready else START_TIMEOUT_S
            member.deadline = max(member.deadline, now + patience)


def _late(member: Member) -> str:
    return "the worker's process gives no sign of life" if member.is_ready else "it did not start in time"


def _maker(variables: Mapping[str, str]) -> Callable[[str, Any], Any]:
    """Returns what makes an actor on a node; it dies with the node, and nobody starts it again but the fleet."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(concurrency_groups={PULSE: 1})(WorkerActor)
    options: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
    options["runtime_env"] = {"env_vars": dict(variables)}

    def make(node: str, shared: Any) -> Any:
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        return remote.options(**options, scheduling_strategy=strategy).remote(shared)

    return make
