"""What this machine's jail is worth, found by attacking it from within: the level that everything judged in it carries.

    full: files, network, processes and memory are all closed; every attack is refused.
    reduced: a process of its own with limits that hold; something else is open.
    none: not even that.

Nouns: *report* (layers that stand, attacks and what came of them, and the level that follows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fitness.jail.attacks import KINDS, NOT_RUN, REFUSED, SUCCEEDED, UNAVAILABLE
from fitness.processes.zygote import Zygote

FULL, REDUCED, NONE = "full", "reduced", "none"
LEVELS = (NONE, REDUCED, FULL)
LIMITS = "memory"

#: layer -> what to do where it is missing.
REMEDIES: Mapping[str, str] = {
    "namespaces": "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
    "user.max_user_namespaces=15000 or kernel.apparmor_restrict_unprivileged_userns=0, or the container's "
    "seccomp profile), or run as root",
    "empty root": "needs a mount namespace",
    "Landlock": "use a kernel from 5.13 on with Landlock among its security modules (lsm=landlock,...)",
    "system calls": "use Linux with seccomp filters on x86-64 or 64-bit ARM",
}


@dataclass(frozen=True)
class Attack:
    """One attempt from within. kind: what it is about. outcome: "refused", "succeeded", "unavailable" here or "not run"."""

    name: str
    kind: str
    outcome: str
    detail: str


@dataclass(frozen=True)
class IsolationReport:
    """What a jailed process is behind and can still do. An attack that did not run counts as open.

    Attributes:
        level: "full", "reduced" or "none".
        layers: wall -> what it covers. missing: wall -> why it is not there.
    """

    level: str
    layers: Mapping[str, str]
    missing: Mapping[str, str]
    attacks: Sequence[Attack]

    @property
    def succeeded(self) -> list[Attack]:
        """The attacks that were not refused."""
        return [attack for attack in self.attacks if attack.outcome == SUCCEEDED]

    @property
    def not_run(self) -> list[Attack]:
        """The attacks that say nothing, since they did not start or failed by themselves."""
        return [attack for attack in self.attacks if attack.outcome == NOT_RUN]

    def line(self) -> str:
        """Returns the report in one line: level, attacks by kind, layers that are missing."""
        counts = []
        for kind in KINDS:
            ours = [attack for attack in self.attacks if attack.kind == kind]
            refused = sum(attack.outcome in (REFUSED, UNAVAILABLE) for attack in ours)
            counts.append(f"{kind} {refused}/{len(ours)}")
        missing = "".join(f"; no {layer}: {why}" for layer, why in self.missing.items())
        return f"level {self.level}; attacks refused: {', '.join(counts)}; layers: {', '.join(self.layers)}{missing}"

    def remedy(self) -> str:
        """Returns what to do about what is open; empty where nothing is."""
        if self.level == FULL:
            return ""
        ways = [", ".join(attack.name for attack in self.succeeded)] if self.succeeded else []
        if self.not_run:
            ways.append("perhaps " + ", ".join(attack.name for attack in self.not_run) + " (not tried)")
        open_ways = " and ".join(ways) or "do anything: no attack ran"
        hints = [f"{layer}: {hint}" for layer, hint in REMEDIES.items() if layer in self.missing]
        return f"a candidate could {open_ways}. {'; '.join(hints)}".strip()


def report_of(fields: Mapping[str, Any]) -> IsolationReport:
    """Returns the report of what ``fitness.jail.attacks.try_walls`` found."""
    attacks = [Attack(each["name"], each["kind"], each["outcome"], each["detail"]) for each in fields["attacks"]]
    open_kinds = {attack.kind for attack in attacks if attack.outcome in (SUCCEEDED, NOT_RUN)}
    level = FULL if not open_kinds and attacks else NONE if LIMITS in open_kinds or not attacks else REDUCED
    return IsolationReport(level, dict(fields["layers"]), dict(fields["missing"]), attacks)


def probe(memory_bytes: int = 512 << 20, without: Sequence[str] = ()) -> IsolationReport:
    """Starts a zygote, attacks from within a child of it, and ends both.

    Raises:
        EvaluatorFailed: no zygote can be started.
    """
    from fitness.processes.messages import Message

    zygote = Zygote({"plugins": [], "without": list(without), "memory_bytes": memory_bytes, "cpu_s": 60})
    zygote.await_ready()
    try:
        return report_of(zygote.call(Message("probe", {})).fields)
    finally:
        zygote.close()
