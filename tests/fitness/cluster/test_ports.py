from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from fitness.cluster.ports import Port, descendants, listening, without_token


def test_a_listening_socket_is_found_with_its_process_and_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inner, socket.create_server(("0.0.0.0", 0)) as outer:
        found = {port.number: port for port in listening([os.getpid()])}
        at_home, open_to_all = found[inner.getsockname()[1]], found[outer.getsockname()[1]]
    assert (at_home.pid, at_home.address, at_home.is_loopback) == (os.getpid(), "127.0.0.1", True)
    assert (open_to_all.address, open_to_all.is_loopback, open_to_all.reachable_at) == ("0.0.0.0", False, "127.0.0.1")


def test_a_socket_of_the_sixth_protocol_is_found() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        (found,) = [port for port in listening([os.getpid()]) if port.number == server.getsockname()[1]]
    assert (found.address, found.is_loopback) == ("::", False)


def test_a_port_that_speaks_neither_tongue_is_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    assert without_token(Port(0, "closed", "127.0.0.1", number)) == "unknown"


def test_descendants_are_all_below_and_not_oneself() -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    try:
        while len(found := descendants(child.pid)) < 1:
            pass
        assert child.pid in descendants(os.getpid())
        assert child.pid not in found
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait()


EVERY_PORT = """
import json, os, sys
if sys.argv[1] == "loaded":
    import ray
from fitness.cluster.ports import descendants, listening, without_token
from fitness.cluster.ray_evaluator import RayEvaluator
from tests.fitness.contract import run
from tests.fitness.toys import MATERIALISE, PLUGINS, toy_benchmark, toy_graph, unit_of

evaluator = RayEvaluator(toy_benchmark(), MATERIALISE, plugins=PLUGINS)
run(evaluator, unit_of(toy_graph(), seeds=[1]))
below = descendants(os.getpid())
words = {pid: open(f"/proc/{pid}/cmdline").read() for pid in below}
ours = [pid for pid, line in words.items() if "fitness.judges.judge_process" in line]
token = os.environ["RAY_AUTH_TOKEN"]
beyond = [port for port in listening([os.getpid(), *below]) if not port.is_loopback]
answers = [[p.program, without_token(p), without_token(p, "0" * 64), without_token(p, token)] for p in beyond]
evaluator.close()
json.dump({"ours": len(ours), "listening": len(listening(ours)), "answers": answers}, sys.stdout)
"""


@pytest.mark.slow
@pytest.mark.parametrize("before", ["not loaded", "loaded"])
def test_rays_ports_refuse_callers_without_the_token_and_ours_do_not_exist(
    before: str, told: Callable[[str], None]
) -> None:
    import json

    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", EVERY_PORT, before],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**variables, "RAY_AUTH_MODE": "disabled"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["ours"] > 0
    assert found["listening"] == 0
    programs = [answer[0] for answer in found["answers"]]
    assert programs.count("raylet") == 2
    assert "gcs_server" in programs
    assert [answer[1:] for answer in found["answers"]] == [["refuses", "refuses", "answers"]] * len(programs)
    told(f"{len(programs)} ports of Ray's ({', '.join(programs)}), 0 answer without the token; 0 ports of ours")
