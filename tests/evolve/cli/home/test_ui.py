from __future__ import annotations

import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from evolve.cli.home import ui
from population.errors import InputError
from tests.evolve.cli.conftest import Done, Program, command, environment


def test_the_ui_answers_on_loopback_and_ctrl_c_ends_it_with_0(finished: Done) -> None:
    """Also where a shell started it in the background, which has SIGINT ignored: it went on then, for ever."""
    heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = subprocess.Popen(
        command("ui", "--home", finished.home),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, heeded)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.communicate()
        with urllib.request.urlopen(f"{address}/health", timeout=30) as answer:
            assert answer.status == 200
    finally:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in err
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(address.rsplit(":", 1)[1]))) != 0  # nothing is left behind


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: something else listens there"):
            ui._free_port(port)


def test_where_a_server_is_named_its_address_is_printed(
    program: Program, finished: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker.example:5000")
    answer = program("ui", "--home", finished.home)
    assert answer.code == 0
    assert "http://tracker.example:5000" in answer.out


def test_a_server_that_ends_by_itself_is_an_infrastructure_failure(
    program: Program, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "_command", lambda *_: ["/bin/sh", "-c", "echo no database >&2; exit 4"])
    monkeypatch.setattr(ui, "catch_up", lambda *_: None)
    answer = program("ui", "--home", own_home)
    assert answer.code == 3
    assert "ended by itself (exit code 4): no database" in answer.err
