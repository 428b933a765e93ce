"""Births: who a forked process is, what becomes of one that cannot be finished, and what its parent hears of it."""

from __future__ import annotations

import ast
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fitness.processes.jailed_process import Cell
from fitness.processes.limits import Limits
from fitness.processes.messages import Message, receive
from fitness.processes.shared_memory import Region
from fitness.processes.zygote import Child, Zygote
from population.errors import JailUnavailable
from tests.attacks.worlds import can_have_namespaces
from tests.orphans import no_orphans

ROOT = Path(__file__).resolve().parents[3]
#: a process that forks; what it is and what becomes of its child, a line from each that runs on.
FORKING = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from fitness.jail import namespaces
uid = int(sys.argv[2])
if os.geteuid() == 0 and uid:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
namespaces.prctl(4, 1)
{before}
birth = namespaces.fork_inside()
line = {{"is_child": birth.pid == 0, "namespaces": birth.namespaces, "missing": birth.missing}}
if birth.pid == 0:
    line["uid"] = os.getuid()
    line["map"] = open("/proc/self/uid_map").read().split()
else:
    line["status"] = os.waitpid(birth.pid, 0)[1]
os.write(1, json.dumps(line).encode() + b"\\n")
os._exit(0)
"""
USERS = sorted({0, 1234, 65534, os.geteuid()})


def forked(uid: int, before: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what the child and the parent said; there are no others, whatever failed."""
    if uid != os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    source = FORKING.format(before=before)
    with no_orphans():
        done = subprocess.run(
            [sys.executable, "-c", source, str(ROOT), str(uid)], capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    lines = sorted(map(json.loads, done.stdout.splitlines()), key=lambda line: not line["is_child"])
    assert [line["is_child"] for line in lines] == [True, False]
    assert lines[1]["status"] == 0
    return lines[0], lines[1]


@pytest.mark.parametrize("uid", USERS)
def test_whoever_forks_is_mapped_to_nobody_where_it_has_namespaces(uid: int) -> None:
    """The user was asked for after the clone, when everybody is 65534: it worked as root and as 65534 alone."""
    child, parent = forked(uid)
    assert child["namespaces"] == parent["namespaces"]
    assert child["missing"] == parent["missing"]
    if "user" in child["namespaces"]:
        assert child["uid"] == 65534
        assert child["map"] == ["65534", str(uid), "1"]
    else:
        assert child["uid"] == uid
        assert uid == 0 or "namespaces" in child["missing"]


def test_where_maps_cannot_be_written_it_is_forked_plainly_and_told() -> None:
    """Some systems let everybody make a user namespace and nobody map a user in it; then a layer is missing, no more.

    Here the maps belong to root, since the process may not be looked into.
    """
    child, parent = forked(os.geteuid() or 1234, "namespaces.prctl(4, 0)")
    assert child["namespaces"] == parent["namespaces"] == []
    assert child["missing"]["namespaces"].startswith("with user: ")
    assert "setgroups: Permission denied" in child["missing"]["namespaces"] or not can_have_namespaces(
        "an ordinary user"
    )


@pytest.mark.parametrize("fault", ["None", "lambda *ids: os._exit(3)", "lambda *ids: sys.exit(3)"])
def test_whatever_else_fails_in_a_new_child_ends_it_alone(fault: str) -> None:
    """It ran on as a second copy of its parent, up to the parent's own loop."""
    as_user = "namespaces._AS_ROOT = namespaces._AS_USER"
    child, parent = forked(os.geteuid(), f"{as_user}\nnamespaces._map_user = {fault}")
    assert child["namespaces"] == parent["namespaces"] == []
    assert "the child died before it wrote its maps" in child["missing"]["namespaces"] or not can_have_namespaces(
        "an ordinary user"
    )


def test_a_running_process_that_may_not_write_its_maps_is_told_what_is_missing() -> None:
    """A query goes behind its walls without a fork; what it reads stays readable to it."""
    uid = os.geteuid() or 1234
    source = (
        "import codecs, os, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from fitness.jail import Walls, enter, namespaces\n"
        "codecs.lookup('ascii')\n"
        "if os.geteuid() == 0: os.setresuid(*[int(sys.argv[2])] * 3)\n"
        "namespaces.prctl(4, 0)\n"
        "entered = enter(Walls(256 << 20, keep_fds=(1, 2)))\n"
        "os.write(1, repr([sorted(entered.layers), entered.missing['namespaces']]).encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, str(ROOT), str(uid)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    layers, reason = ast.literal_eval(done.stdout)
    assert {"own user", "limits", "system calls"} <= set(layers)
    assert "setgroups: Permission denied" in reason or not can_have_namespaces("an ordinary user")


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    found = Zygote({"plugins": [], "without": [], "memory_bytes": 256 << 20, "cpu_s": 60})
    found.await_ready()
    with no_orphans():
        yield found
        found.close()


def test_a_child_that_cannot_be_had_is_told_in_words_and_the_zygote_lives_on(zygote: Zygote) -> None:
    """The zygote died of it unheard; its parent was told of a process that does not answer."""
    given, taken = Region(4096, is_writable=False), Region(4096, is_writable=True)
    soft, hard = resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE)
    held = len(os.listdir(f"/proc/{zygote.pid}/fd"))
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (held + 1, hard))
    with pytest.raises(JailUnavailable, match="Too many open files"):
        zygote.fork(given, taken)
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (soft, hard))
    child = zygote.fork(given, taken)
    assert receive(child.connection).kind == "ready"
    assert zygote.reap(child).status in (0, signal.SIGKILL)  # it ends by itself where it hears of the end first
    given.close()
    taken.close()


def test_a_child_that_fails_before_its_walls_stand_tells_why(zygote: Zygote) -> None:
    cell = Cell("", {}, Limits())
    cell.running = zygote
    zygote.fork = partial(fork_with, zygote, given_bytes=1 << 50)  # type: ignore[method-assign]
    with pytest.raises(JailUnavailable, match="mmap length is greater than file size"):
        cell.ready(0, 0)
    assert cell.child is None
    del zygote.fork  # type: ignore[method-assign]
    assert cell.ready(0, 0).pid > 0
    cell.end_child()


def fork_with(zygote: Zygote, given: Region, taken: Region, given_bytes: int) -> Child:
    """Forks a child that is told a size that its memory does not have."""
    ours, theirs = socket.socketpair()
    with theirs:
        fields = {"given_bytes": given_bytes, "taken_bytes": taken.size}
        answer = zygote.call(Message("fork", fields), (theirs.fileno(), given.descriptor, taken.descriptor))
    return Child(int(answer.fields["pid"]), 0, 0, ours, given, taken)
