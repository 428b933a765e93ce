"""Real Ray nodes on this machine, in a process of their own: ``python -m tests.fitness.ray_nodes`` obeys lines of JSON.

``{"add": {variable: value}}`` starts a node of one CPU; ``{"kill": pid of its raylet}`` ends it with all that runs on it, as
a machine that loses power; ``{"kill_raylet": pid}`` and ``{"kill_head": true}`` end one process. Each is answered by one
line of JSON. The nodes end with this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from fitness.cluster.ports import descendants
from fitness.processes.child_process import module_path

#: The head misses a dead raylet after three seconds; by itself it takes twenty.
QUICK_LOOKS = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 3,
}
TOKEN = "5eed" * 16
STORE_BYTES = 96 << 20


class Nodes:
    """The nodes as a test sees them. ``address`` is the cluster's; ``variables`` are what a program needs to join it."""

    def __init__(self, num: int) -> None:
        self.folder = tempfile.mkdtemp(prefix="tbe-", dir="/tmp")  # sockets' paths must be short
        self.variables = {"RAY_TMPDIR": self.folder, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fitness.ray_nodes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": module_path(), **self.variables},  # nodes find plugins and toys by it
            start_new_session=True,
        )
        self.raylets = [self.add() for _ in range(num)]

    @property
    def pid(self) -> int:
        """Returns the process that all nodes are below of."""
        return self._process.pid

    def add(self, **variables: str) -> int:
        """Starts a node; returns the process id of its raylet."""
        answer = self._ask({"add": variables})
        self.address = str(answer["address"])
        return int(answer["raylet"])

    def kill(self, raylet: int) -> None:
        """Ends a node and all processes on it."""
        self._ask({"kill": raylet})

    def kill_raylet(self, raylet: int) -> None:
        """Ends a raylet alone."""
        self._ask({"kill_raylet": raylet})

    def kill_head(self) -> None:
        """Ends the head's own process (GCS)."""
        self._ask({"kill_head": True})

    def close(self) -> None:
        """Ends all nodes."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()
        below = descendants(self._process.pid)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            for pid in below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert self._process.stdout is not None
        self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _pipe(self) -> Any:
        assert self._process.stdin is not None
        return self._process.stdin

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdout is not None
        self._pipe.write(json.dumps(command).encode() + b"\n")
        self._pipe.flush()
        line = self._process.stdout.readline()
        assert line, f"the nodes' process ended at {command}"
        return dict(json.loads(line))


@contextlib.contextmanager
def ray_nodes(num: int) -> Iterator[Nodes]:
    """Gives so many nodes of one CPU each, and ends them."""
    nodes = Nodes(num)
    try:
        yield nodes
    finally:
        nodes.close()


def main() -> None:
    """Obeys until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever Ray prints is no answer
    from ray.cluster_utils import Cluster

    cluster, nodes = Cluster(), {}
    for line in sys.stdin:
        command = json.loads(line)
        if "add" in command:
            options = {} if nodes else {"include_dashboard": False, "_system_config": QUICK_LOOKS}
            node = cluster.add_node(
                num_cpus=1, object_store_memory=STORE_BYTES, env_vars=command["add"] or None, **options
            )
            raylet = node.all_processes["raylet"][0].process.pid
            nodes[raylet] = node
            answer = {"address": cluster.address, "raylet": raylet}
        else:
            answer = {}
            _end(cluster, nodes, command)
        answers.write(json.dumps(answer) + "\n")
    cluster.shutdown()


def _end(cluster: Any, nodes: dict[int, Any], command: dict[str, Any]) -> None:
    if "kill_head" in command:
        os.kill(cluster.head_node.all_processes["gcs_server"][0].process.pid, signal.SIGKILL)
    elif "kill_raylet" in command:
        os.kill(command["kill_raylet"], signal.SIGKILL)
    else:
        doomed = [command["kill"], *descendants(command["kill"])]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
