"""Each wall by its effect, in a child process that puts it up; with everything, and with single layers left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fitness.jail.attacks import ATTACKS, KINDS
from fitness.processes.isolation import FULL, LEVELS, NONE, REDUCED, probe, report_of
from fitness.processes.warm_up import warm
from population.operations import get, names
from tests.attacks.worlds import can_have_namespaces

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

ATTACK = """
import os, socket, mmap, signal, time, ctypes

def tried(function):
    try:
        return repr(function())[:80]
    except BaseException as error:
        return type(error).__name__

def attack(targets):
    return {
        "open": tried(lambda: open(targets["file"]).read()),
        "stat": tried(lambda: os.stat(targets["file"])),
        "socket": tried(socket.socket),
        "fork": tried(os.fork),
        "exec": tried(lambda: os.execv("/bin/true", ["true"])),
        "memory": tried(lambda: len(mmap.mmap(-1, 1 << 30))),
        "signal": tried(lambda: os.kill(targets["pid"], 0)),
        "handler": tried(lambda: signal.signal(signal.SIGXCPU, signal.SIG_IGN)),
        "environment": sorted(os.environ),
        "variable": tried(lambda: ctypes.CDLL(None).getenv(b"SECRET")),
        "descriptors": tried(lambda: [n for n in range(3, 64) if tried(lambda: os.write(n, b"")) != "OSError"]),
        "uid": os.getuid(),
        "clock": time.monotonic() > 0,
        "random": len(os.urandom(8)),
    }
"""
DEATHS = {
    "spin": "def attack():\n    while True: pass\n",
    "segfault": "import ctypes\ndef attack():\n    ctypes.string_at(1)\n",
    "abort": "import os\ndef attack():\n    os.abort()\n",
    "x32": "import ctypes\ndef attack():\n    return ctypes.CDLL(None).syscall(0x40000000 + 39)\n",
    "exit": "import os\ndef attack():\n    os._exit(3)\n",
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may read."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def run_inside(folder: Path, *sources: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    files = []
    for number, source in enumerate(sources):
        files.append(folder / f"attack{number}.py")
        files[-1].write_text(source)
    secret = folder / "secret"
    secret.write_text("secret")
    os.chmod(secret, 0o666)
    targets = json.dumps({"file": str(secret), "pid": os.getpid()})
    command = [
        sys.executable,
        "-m",
        "fitness.processes.run_inside",
        *map(str, files),
        "--wall",
        "2",
        "--targets",
        targets,
    ]
    environment = {**ENVIRONMENT, "SECRET": "hunter2", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=120, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


WAYS = {
    "whole": (),
    "without namespaces": ("--without", "user-namespaces"),
    "unprivileged": ("--user", "1234"),
    "nobody": ("--user", "65534"),
    "unprivileged without namespaces": ("--user", "1234", "--without", "user-namespaces"),
}


@pytest.mark.parametrize("way", WAYS)
def test_python_inside_reaches_nothing(folder: Path, way: str) -> None:
    if "--user" in WAYS[way] and os.geteuid() != 0:
        pytest.skip("this is an unprivileged user already")
    (found,) = run_inside(folder, ATTACK, options=("--memory", "256", *WAYS[way]))
    returned = found["returned"]
    world = "an ordinary user" if "--user" in WAYS[way] or os.geteuid() else "root"
    closed = {name: returned[name] for name in ("open", "stat", "socket", "fork", "exec", "signal", "handler")}
    assert set(closed.values()) <= {"PermissionError", "OSError", "FileNotFoundError"}, closed
    assert returned["memory"] in ("OSError", "MemoryError")
    assert returned["environment"] == []
    assert returned["variable"] == "0"
    assert len(json.loads(returned["descriptors"])) <= 1, "the pipe of the answer alone"
    uid = int(WAYS[way][1]) if "--user" in WAYS[way] else os.geteuid()
    assert returned["uid"] == (uid if uid and "namespaces" in found["missing"] else 65534)
    assert (returned["clock"], returned["random"]) == (True, 8)
    assert ("namespaces" in found["missing"]) == ("without" in way or not can_have_namespaces(world))


def test_root_that_may_not_become_nobody_gives_up_its_capabilities() -> None:
    """Some containers have such a root; it kept every capability that it had."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    source = (
        "import codecs, os\n"
        "from fitness.jail import LAYERS, Walls, enter\n"
        "codecs.lookup('ascii')\n"
        "def refuse(groups): raise PermissionError(1, 'Operation not permitted')\n"
        "os.setgroups = refuse\n"
        "entered = enter(Walls(256 << 20, keep_fds=(1, 2), without=set(LAYERS) - {'own user'}))\n"
        "print(entered.missing['own user'], [line for line in open('/proc/self/status') if line.startswith('CapEff')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.stdout == "Operation not permitted ['CapEff:\\t0000000000000000\\n']\n", done.stderr


def test_outside_the_same_code_reaches_all_of_it(folder: Path) -> None:
    """Else the test above would prove nothing."""
    source = ATTACK.replace('"exec"', '"no exec"').replace('os.execv("/bin/true", ["true"])', "0")
    (found,) = run_inside(folder, source, options=("--outside",))
    returned = found["returned"]
    assert returned["open"] == "'secret'"
    assert returned["memory"] == str(1 << 30)
    assert "SECRET" in returned["environment"]
    assert not {"PermissionError", "OSError"} & {returned[name] for name in ("stat", "socket", "fork", "handler")}


def test_each_end_is_told(folder: Path) -> None:
    found = run_inside(folder, *DEATHS.values())
    died = {name: each.get("died") for name, each in zip(DEATHS, found, strict=True)}
    assert died["spin"] == "timeout"
    assert died["segfault"] == "signal 11"
    assert died["exit"] == "exit 3"
    assert died["abort"] in ("exit 6", "signal 6")
    if os.uname().machine == "x86_64":
        assert died["x32"] == "signal 31"
    assert found[0]["seconds"] < 2.25


def test_the_level_is_what_attacks_find(told: Callable[[str], None]) -> None:
    whole = probe()
    told(whole.line())
    assert {attack.name for attack in whole.attacks} == set(ATTACKS)
    assert whole.level in LEVELS
    assert (whole.level == FULL) == (not whole.succeeded) == (not whole.remedy())
    if "system calls" in whole.layers:
        assert whole.level == FULL
        assert probe(without=["namespaces"]).level == FULL, "where user namespaces are forbidden"
    bare = probe(without=["namespaces", "empty root", "Landlock", "system calls"])
    assert bare.level == REDUCED
    others = {"read the zygote's processor time", "see where the zygote may run", "find the zygote by a lock"}
    assert {"read a file", "make a netlink socket", *others} <= {attack.name for attack in bare.succeeded}
    assert bare.not_run == []
    assert "Landlock" in bare.remedy()


def test_an_attack_that_did_not_run_is_not_refused() -> None:
    """One that raised for a fault of its own counted as refused, and so did one whose target was never there."""
    source = (
        "import json, os\n"
        "from fitness.jail import attacks as trial\n"
        "from fitness.jail.walls import Walls\n"
        "names = list(trial.ATTACKS)\n"
        "trial.ATTACKS[names[1]] = ('files', lambda targets: [][1])\n"
        "trial.ATTACKS[names[6]] = ('network', trial._no_target)\n"
        "trial.ATTACKS[names[-3]] = ('memory', lambda targets: os._exit(1))\n"
        "print(json.dumps(trial.try_walls(Walls(256 << 20))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    report = report_of(json.loads(done.stdout))
    names = list(ATTACKS)
    assert {attack.name: attack.detail for attack in report.not_run} == {
        names[1]: "IndexError: list index out of range",
        names[6]: "_NoTarget: ",
        **dict.fromkeys(names[-2:], "it did not start"),
    }
    assert {attack.name for attack in report.succeeded} == {names[-3]}, "one that began and said no more"
    assert report.level == NONE
    assert f"perhaps {names[1]}" in report.remedy()
    assert "files 5/6, network 5/6" in report.line()


@pytest.mark.parametrize("outcome", ["not run", "succeeded"])
def test_without_limits_there_is_no_level(outcome: str) -> None:
    attacks = [{"name": kind, "kind": kind, "outcome": "refused", "detail": ""} for kind in KINDS]
    found = {"layers": {}, "missing": {}, "attacks": attacks}
    assert report_of(found).level == FULL
    attacks[KINDS.index("network")]["outcome"] = outcome
    assert report_of(found).level == REDUCED
    attacks[KINDS.index("memory")]["outcome"] = outcome
    assert report_of(found).level == NONE
    assert report_of({**found, "attacks": []}).level == NONE


def test_every_operation_of_ours_is_warmed() -> None:
    assert set(warm()) == {name for name in names() if not get(name).is_plugin}


@pytest.mark.slow
def test_no_bit_differs_inside_over_the_whole_registry(folder: Path, told: Callable[[str], None]) -> None:
    source = (ROOT / "tests" / "fitness" / "jail" / "registry_bits.py").read_text(encoding="utf-8")
    options = ("--memory", "2048", "--wall", "60")
    (inside,) = run_inside(folder, source, options=options)
    (outside,) = run_inside(folder, source, options=(*options, "--outside"))
    assert set(inside["returned"]) == {name for name in names() if not get(name).is_plugin}
    differing = [name for name, digest in inside["returned"].items() if outside["returned"][name] != digest]
    told(f"{len(inside['returned'])} operations forwards and backwards, {len(differing)} differ inside")
    assert differing == []
