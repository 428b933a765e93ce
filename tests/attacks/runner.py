"""Lays the plants out, runs attacks in a world, outside or inside, and judges each by what was planted.

Nouns: a *trial* is one attack's run; it *succeeded* when a planted secret came back, a witness stands, or something was felt.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitness.jail.namespaces import NOBODY
from fitness.processes.child_process import module_path, start_process
from tests.attacks.driver import load_attack, module_of
from tests.attacks.worlds import ORDINARY, WORLDS, can_have_namespaces
from tests.orphans import children_of

HERE = Path(__file__).parent
KINDS = ("file", "environment", "memory", "descriptor", "shared", "socket")
DEADLINE_S = 1.0
MEMORY_BYTES = 512 << 20
WALL_S = 240.0


@dataclass(frozen=True)
class Trial:
    """One attack's run: its name, whether it succeeded, and what shows it; ``late_s`` is how long killing it took.

    begun: what it said before it began: its name, its user, the walls around it; nothing where it did not run.
    is_fault: it failed by a fault of its own, and says nothing.
    """

    name: str
    succeeded: bool
    what: str
    late_s: float = 0.0
    begun: Mapping[str, Any] = field(default_factory=dict)
    is_fault: bool = False


def attack_names() -> list[str]:
    """The attacks kept here, one file each, in a folder for each group; those in ``judged`` are a plugin's operations."""
    return sorted(
        str(path.relative_to(HERE).with_suffix("")) for path in HERE.glob("*/*.py") if path.parent.name != "judged"
    )


def run(world: str, *, inside: bool, names: Sequence[str] | None = None, **walls: Any) -> list[Trial]:
    """Runs attacks one after the other, each in a process of its own, and says what came of them.

    Args:
        walls: what else ``fitness.jail.Walls`` is given, such as the layers that are not put up.
    """
    trials = _run_once(world, list(names or attack_names()), walls, inside=inside)
    late = [trial.name for trial in trials if not _has_begun(trial)]  # killed before they began, on a busy machine
    again = {trial.name: trial for trial in _run_once(world, late, walls, inside=inside)} if late else {}
    trials = [again.get(trial.name, trial) for trial in trials]
    _check_all_ran(trials, world, walls, inside=inside)
    return trials


def _run_once(world: str, names: Sequence[str], walls: Mapping[str, Any], *, inside: bool) -> list[Trial]:
    more = {"names": list(names), "is_inside": inside, "walls": walls}
    with _field(world) as (orders, prey):
        trials = list(_trials(orders | more, prey))
    assert [trial.name for trial in trials] == list(names), "an attack ended the process that runs them"
    return trials


def _has_begun(trial: Trial) -> bool:
    return trial.begun.get("started") == module_of(trial.name)


def _check_all_ran(trials: Sequence[Trial], world: str, walls: Mapping[str, Any], *, inside: bool) -> None:
    """Fails where an attack did not begin, was somebody else, was behind other walls than its world has, or is broken."""
    silent = [trial.name for trial in trials if not _has_begun(trial)]
    assert not silent, f"attacks that did not run: {silent}"
    broken = [f"{trial.name}: {trial.what}" for trial in trials if trial.is_fault and not trial.succeeded]
    assert not broken, f"attacks with faults of their own: {broken}"
    missing = set(walls.get("without", ()))
    has_namespaces = inside and "namespaces" not in missing and can_have_namespaces(world)
    user = _owner(world)
    if inside and (has_namespaces if user else "own user" not in missing):
        user = NOBODY
    users = {trial.begun["uid"] for trial in trials}
    assert users == {user}, f"{users} are the users of a world of user {user}"
    walled = {"namespaces" in trial.begun["layers"] for trial in trials}
    assert walled == {has_namespaces}, f"namespaces stand: {walled}; they can be had: {has_namespaces}"
    if not WORLDS[world].has_landlock:
        assert not any("Landlock" in trial.begun["layers"] for trial in trials), "a world without Landlock has it"


@contextmanager
def jailed_sleeper(world: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A zygote in a world and the id of a jailed child of it that sleeps for ever, deaf to every signal."""
    more = {"names": ["bombs/sleep"], "is_inside": True, "walls": {}, "is_patient": True}
    with _field(world) as (orders, _prey):
        zygote, connection = _ordered({**orders, **more})
        with connection:
            deadline = time.monotonic() + 60.0
            while not (children := children_of(zygote.pid)):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(0.5)  # until its walls stand
            try:
                yield zygote, children[0]
            finally:
                zygote.kill()
                zygote.wait()


@contextmanager
def _field(world: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """A folder and a neighbour with plants; yields the orders for the driver, and the neighbour."""
    sown = {kind: f"PLANT-{kind}-{secrets.token_hex(12)}" for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        Path(folder, "secret").write_text(sown["file"])
        orders = {"world": world, "folder": folder, "secrets": sown}
        environment = {**os.environ, "PYTHONPATH": module_path(), "PLANT": sown["environment"]}
        command = [sys.executable, "-P", "-m", "tests.attacks.prey"]
        prey = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert prey.stdin is not None
        try:
            prey.stdin.write(json.dumps(orders) + "\n")
            prey.stdin.flush()
            places = json.loads(_line(prey))
            yield {**orders, "plants": {"folder": folder, "memory_bytes": MEMORY_BYTES, **places}}, prey
            prey.stdin.close()
            prey.wait(10)
        finally:
            prey.kill()
            prey.wait()
            for stream in (prey.stdin, prey.stdout):
                assert stream is not None
                stream.close()


def _trials(orders: dict[str, Any], prey: subprocess.Popen[str]) -> Iterator[Trial]:
    folder = orders["plants"]["folder"]
    process, connection = _ordered(orders)
    with connection, connection.makefile("rw", encoding="utf-8") as stream:
        for line in stream:
            outcome = json.loads(line)
            felt = [*outcome["traces"], *_asked(prey), *_changes(folder, orders["world"])]
            yield _judged(outcome, felt, orders["secrets"], orders["is_inside"])
            stream.write("on\n")
            stream.flush()
    process.wait(10)


def _ordered(orders: dict[str, Any]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Starts the driver and tells it what to do; returns it and the connection on which it answers."""
    ours, theirs = socket.socketpair()
    source, sink = os.pipe()
    os.write(sink, orders["secrets"]["memory"].encode())
    os.close(sink)
    _lay_victim(orders["plants"]["folder"], orders["world"])
    process = _start_driver(orders, theirs, source)
    theirs.close()
    os.close(source)
    ours.settimeout(WALL_S)
    sent = {key: value for key, value in orders.items() if key not in ("secrets", "folder")}
    ours.sendall(json.dumps({**sent, "memory_pipe": source, "deadline_s": DEADLINE_S}).encode() + b"\n")
    return process, ours


def _start_driver(orders: Mapping[str, Any], connection: socket.socket, source: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "tests.attacks.driver", str(connection.fileno())]
    if orders["is_inside"]:
        return start_process(command, connection.fileno(), source)
    environment = {**os.environ, "PYTHONPATH": module_path(), "PLANT": orders["secrets"]["environment"]}
    with open(f"{orders['plants']['folder']}/said", "wb") as said:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=said, pass_fds=(connection.fileno(), source)
        )


def _judged(outcome: dict[str, Any], felt: Sequence[str], sown: Mapping[str, str], inside: bool) -> Trial:
    """Believes no attack that claims a secret without showing it; what was felt is a success whatever it says."""
    name = outcome["name"]
    rest = {"late_s": outcome["late_s"], "begun": outcome.get("begun", {}), "is_fault": outcome.get("is_fault", False)}
    module = load_attack(name)
    proof = getattr(module, "PROOF", None)
    if "evidence" in outcome:
        shown = sown[proof] in outcome["evidence"] if proof else True
        if shown and not getattr(module, "WITNESS", False):
            return Trial(name, True, "; ".join([outcome["evidence"], *felt]), **rest)
    if felt:
        return Trial(name, True, "; ".join(felt), **rest)
    if getattr(module, "LASTS", False) and not inside and not outcome["ended_itself"]:
        return Trial(name, True, "SIGTERM at the deadline did not end it", **rest)
    return Trial(name, False, _why(outcome), **rest)


def _why(outcome: Mapping[str, Any]) -> str:
    if "evidence" in outcome:
        return f"claims without proof: {outcome['evidence']}"
    if "refused" in outcome:
        return f"refused: {outcome['refused']}"
    status = outcome["status"]
    return f"killed by signal {status & 0x7F}" if os.WIFSIGNALED(status) else f"ended with {os.WEXITSTATUS(status)}"


def _asked(prey: subprocess.Popen[str]) -> list[str]:
    """Asks the neighbour what it felt."""
    assert prey.stdin is not None
    prey.stdin.write("report\n")
    prey.stdin.flush()
    return [f"the neighbour: {felt}" for felt in json.loads(_line(prey))]


def _line(prey: subprocess.Popen[str]) -> str:
    assert prey.stdout is not None
    line = prey.stdout.readline()
    assert line, "the neighbour is gone"
    return line


def _lay_victim(folder: str, world: str) -> None:
    victim = Path(folder, "victim")
    victim.unlink(missing_ok=True)
    victim.write_text("as it was")
    victim.chmod(0o666)
    if os.getuid() == 0:
        os.chown(victim, owner := _owner(world), owner)


def _owner(world: str) -> int:
    return os.getuid() if WORLDS[world].is_root else os.getuid() or ORDINARY


def _changes(folder: str, world: str) -> list[str]:
    """Returns what an attack did to the folder, and sets it right."""
    felt = []
    for path in sorted(Path(folder).iterdir()):
        if path.name not in ("secret", "victim", "socket", "said"):
            felt.append(f"{path.name} was made")
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    victim, found = Path(folder, "victim"), "removed"
    if victim.is_file():
        state = victim.stat()
        names = os.listxattr(victim)
        found = f"{victim.read_text()} {state.st_mode & 0o7777:o} {state.st_uid} {state.st_mtime == 1} {names}"
    if found != f"as it was 666 {_owner(world)} False []":
        felt.append(f"the victim: {found}")
        _lay_victim(folder, world)
    return felt
