"""``evolve ui``: the MLflow UI on this home, on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from typing import IO, TYPE_CHECKING, Annotated

import typer

from evolve.cli.shared import options, output
from evolve.driver.trackers import catch_up
from fitness.processes.child_process import python_command, python_variables

if TYPE_CHECKING:
    from evolve.home.home import Home

HOST = "127.0.0.1"
FIRST_PORT = 5000
START_WITHIN_S = 120.0
#: What the server is told by its environment: nothing leaves this machine.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}


def ui(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port.", show_default="5000, or the next that is free")
    ] = None,
    home: options.HomeOption = None,
) -> None:
    """Watch campaigns in the MLflow UI, on this machine only. Ctrl-C ends it.

    Examples:
      evolve ui
      evolve ui --port 5005
    """
    opened = options.open_home(home)
    if opened.tracking_uri and not opened.tracking_uri.startswith("sqlite:"):
        output.say(f"MLFLOW_TRACKING_URI names the server that shows these campaigns: {opened.tracking_uri}")
        return
    catch_up(opened)
    chosen = _free_port(port)
    address = f"http://{HOST}:{chosen}"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    output.note("starting MLflow (Ctrl-C ends it)")
    # Not a pipe: nobody would empty it. And a folder with nothing in it: uvicorn puts the current one on its import path.
    with tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory(prefix="tbe-ui-") as nowhere:
        server = subprocess.Popen(
            _command(opened, chosen),
            stdout=said,
            stderr=said,
            env=os.environ | QUIET | python_variables(),
            cwd=nowhere,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it
        )
        try:
            _wait_until_it_answers(server, chosen, said)
            output.say(address)
            server.wait()
            raise _ended_by_itself(server, said)
        except KeyboardInterrupt:
            output.note("\nended")
        finally:
            _end(server)


def _command(home: Home, port: int) -> list[str]:
    home.files.make_dirs(home.artifacts_root)
    return python_command(
        "-m", "mlflow", "ui", "--backend-store-uri", home.mlflow_uri,
        "--default-artifact-root", home.artifacts_root.absolute().as_uri(),
        "--host", HOST, "--port", str(port), "--workers", "1",
    )  # fmt: skip


def _free_port(wanted: int | None) -> int:
    from population.errors import InputError

    ports = [wanted] if wanted else range(FIRST_PORT, FIRST_PORT + 100)
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise InputError(f"--port {wanted or FIRST_PORT}: something else listens there; choose another port")


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    from population.errors import InfrastructureError

    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise _ended_by_itself(server, said)
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.2)
    raise InfrastructureError(f"MLflow did not answer within {START_WITHIN_S:.0f} s; try `evolve doctor`")


def _ended_by_itself(server: subprocess.Popen[bytes], said: IO[bytes]) -> Exception:
    from population.errors import InfrastructureError

    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return InfrastructureError(
        f"MLflow ended by itself (exit code {server.returncode}): {lines[-1] if lines else 'no word'}"
    )


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends the server and what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is not None:
            return
        os.killpg(server.pid, number)
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
