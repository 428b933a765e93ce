"""A Ray cluster as a campaign sees it: started here or joined, which nodes live, and whether it still answers.

Nouns: a *node* is a machine of the cluster, named by its hex id.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fitness.cluster.reaper import Leftovers
from fitness.processes import verdicts
from fitness.processes.child_process import KEPT_VARIABLES, python_variables
from population.errors import EvaluatorFailed

#: So long the cluster's head may be silent. Ray itself ends a process whose head was silent for 60 s.
HEAD_PATIENCE_S = 15.0
HEAD_TIMEOUT_S = 4.0
#: Ray reads these when it starts: a token on its ports, no usage reports, no notes on the console, its own memory guard.
LOCAL_VARIABLES = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_memory_usage_threshold": "0.95",
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_SOCKETS = Path("/proc/net/unix")
#: The name of a socket has at most 107 bytes; the rest of the path, below this folder, needs the bytes subtracted here.
MAX_FOLDER_BYTES = 107 - len("/tbe-12345678/r/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store")
OPEN_PORTS = (
    "this Ray cluster asks for no token, so whoever reaches its ports runs programs on it; "
    "keep it on a private network, or start it with RAY_AUTH_MODE=token"
)


class RayCluster:
    """A connection to Ray. One that this object started ends with ``close``; one that was there before is left running.

    Args:
        address: a cluster's address; None or empty starts Ray on this machine.
        tell: is given a line where the person ought to know something.

    Raises:
        EvaluatorFailed: Ray cannot be started or reached.
    """

    def __init__(
        self, address: str | None, num_cpus: int, object_store_bytes: int, tell: Callable[[str], None]
    ) -> None:
        self._address = address
        self._silent_since: float | None = None
        self._leftovers: Leftovers | None = None
        self._is_ours = self._start(num_cpus, object_store_bytes)
        self._own_socket = _own_socket()
        if not has_token():
            tell(OPEN_PORTS)

    @property
    def variables(self) -> dict[str, str]:
        """Returns what a worker's environment needs: one thread, what changes kernels, and here also what to import."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        if self._address:
            bits = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA")
            return {**{name: value for name, value in kept.items() if name in bits}, **ONE_THREAD}
        return {**kept, **ONE_THREAD, **python_variables()}

    @property
    def own_node(self) -> str:
        """Returns the node that this process belongs to."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def nodes(self) -> dict[str, int] | None:
        """Returns the CPUs of each living node, or None where the head is silent, but not for long yet.

        Raises:
            EvaluatorFailed: the head or this machine's own node is gone.
        """
        from ray.exceptions import RayError

        now = time.monotonic()
        try:
            found = _head().get_all_node_info(timeout=HEAD_TIMEOUT_S)
        except (RayError, OSError, RuntimeError) as error:
            self._silent_since = now if self._silent_since is None else self._silent_since
            if time.monotonic() - self._silent_since >= HEAD_PATIENCE_S:
                raise self._gone(f"its head gives no answer: {verdicts.one_line(str(error), 120)}") from error
            return None
        self._silent_since = None
        alive = {
            node_id.hex(): int(node.resources_total.get("CPU", 0)) for node_id, node in found.items() if node.state == 0
        }
        if self.own_node not in alive:
            raise self._gone("its node on this machine is gone")
        return alive

    def check_own_node(self) -> None:
        """Looks whether this machine's node still listens: without it the next call into Ray may end this process unheard.

        Raises:
            EvaluatorFailed: it does not.
        """
        try:
            sockets = _SOCKETS.read_text(encoding="utf-8", errors="replace")
        except OSError:  # no Linux: the head's word, some seconds later, must do
            return
        if self._own_socket not in sockets:
            raise self._gone("its node on this machine is gone")

    def close(self) -> None:
        """Ends the Ray that this object started, or leaves the cluster it joined; closing twice changes nothing."""
        import ray

        if self._is_ours:
            self._is_ours = False
            try:
                ray.shutdown()
            finally:
                if self._leftovers is not None:
                    self._leftovers.close()

    def _start(self, num_cpus: int, object_store_bytes: int) -> bool:
        """Starts or joins Ray, where none runs in this process; returns whether it is ours to stop."""
        if _is_running():
            return False
        if self._address:
            _join(self._address)
            return True
        self._leftovers = new_leftovers()
        try:
            with self._leftovers.marked(), _isolated():
                _start_here(num_cpus, object_store_bytes, self._leftovers.inner)
        except BaseException:
            self._leftovers.close()
            raise
        return True

    def _gone(self, reason: str) -> EvaluatorFailed:
        where = f"the Ray cluster at {self._address}" if self._address else "Ray on this machine"
        return EvaluatorFailed(
            f"{where} is lost, {reason}. Nothing that was committed is; `evolve resume` goes on from there"
        )


def has_token() -> bool:
    """Returns whether Ray in this process names itself by a token, and asks its callers for it."""
    from ray import _raylet

    compiled: Any = _raylet
    return bool(compiled.get_authentication_mode() == compiled.AuthenticationMode.TOKEN)


def _head() -> Any:
    """Returns the client of the cluster's head, the one of Ray's that gives up after a stated time."""
    from ray._private.worker import global_worker

    return global_worker.gcs_client


def _own_socket() -> str:
    """Returns the path of the socket on which this machine's node (raylet) listens."""
    from ray._private.worker import global_worker

    return str(global_worker.node.raylet_socket_name)


def short_folder() -> Path:
    """Returns where Ray's folder is made: RAY_TMPDIR, else the temporary folder, else /tmp where sockets need a shorter path.

    Raises:
        EvaluatorFailed: RAY_TMPDIR is too long.
    """
    named = os.environ.get("RAY_TMPDIR", "")
    if len(os.fsencode(named)) > MAX_FOLDER_BYTES:
        raise EvaluatorFailed(
            f"RAY_TMPDIR={named} is too long for Ray's sockets: name a folder of at most {MAX_FOLDER_BYTES} bytes"
        )
    usual = tempfile.gettempdir()
    return Path(named or (usual if len(os.fsencode(usual)) <= MAX_FOLDER_BYTES else "/tmp"))  # noqa: S108 - it is private


def new_leftovers() -> Leftovers:
    """Returns a folder for Ray, and what removes it later. Raises: EvaluatorFailed where no folder can be made."""
    try:
        return Leftovers(short_folder())
    except OSError as error:
        raise EvaluatorFailed(
            f"no folder for Ray can be made ({error.strerror}: {error.filename}): set RAY_TMPDIR to a folder that you may "
            f"write in, of at most {MAX_FOLDER_BYTES} bytes"
        ) from error


def _join(address: str) -> None:
    _init(f"the Ray cluster at {address}", address=address)


def _start_here(num_cpus: int, object_store_bytes: int, folder: Path) -> None:
    where = "Ray on this machine"
    _guard_ports()
    _init(
        where,
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=object_store_bytes,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder),
    )
    if not has_token():
        import ray

        ray.shutdown()
        raise EvaluatorFailed(
            f"{where} would listen without asking for a token: unset RAY_AUTH_MODE; --address local works without Ray"
        )


def _init(where: str, **options: Any) -> None:
    import ray
    from ray.exceptions import RayError
    from ray.job_config import JobConfig

    job = JobConfig()
    job._py_driver_sys_path = _NoMore()  # noqa: SLF001 - Ray has no public switch for it
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, job_config=job, **options)
    except (RayError, ConnectionError, RuntimeError, OSError, ValueError) as error:
        raise EvaluatorFailed(f"{where} cannot be used: {error}; --address local works without Ray") from error
    _silence()


class _NoMore(list[str]):
    """Folders that workers import from first. Ray would add the one that `evolve` was called in (Ray 2.60), where any file
    that is called like a module is run in its place; what workers import from is said by their ``PYTHONPATH``."""

    def extend(self, folders: Iterable[str]) -> None:
        del folders


@contextmanager
def _isolated() -> Iterator[None]:
    """Lets what is started meanwhile, and all below it, import nothing that only the current folder or user's site has."""
    wanted = {
        name: value for name, value in python_variables().items() if name in ("PYTHONSAFEPATH", "PYTHONNOUSERSITE")
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _silence() -> None:
    """Keeps Ray's notes about dying nodes off standard output, which belongs to a program's result.

    ``log_to_driver=False`` does not: a listener prints what the cluster publishes as errors (Ray 2.60).
    """
    from ray._private import worker

    settings: Any = worker
    settings._worker_logs_enabled = False  # noqa: SLF001 - Ray has no public switch for it


def _is_running() -> bool:
    if "ray" not in sys.modules:
        return False
    import ray

    return bool(ray.is_initialized())


def _guard_ports() -> None:
    """Makes Ray's ports ask for a token, made for this process alone unless there is one; its processes inherit it."""
    os.environ.update(LOCAL_VARIABLES)
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    if "ray" in sys.modules:  # it has read the variables already
        from ray import _raylet

        compiled: Any = _raylet
        compiled.Config.initialize("")
        compiled.AuthenticationTokenLoader.instance().reset_cache()
