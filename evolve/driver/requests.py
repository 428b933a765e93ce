"""How other terminals talk to a campaign's driver: a note in the campaign's folder, read by the driver within a second.

    driver.json    who drives: process, host, and a token that no other driver ever had
    request.json   what somebody asks of the driver with that token: to pause, or to stop

A request names the token, so a driver never obeys what was asked of the one before it, whatever process numbers say.

Noun: *request* (a state that the campaign is asked to end in).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolve.side_files import read_record
from population.errors import DamageError, EvolveError, NotFound, StorageError
from population.files.local_files import FileSystem

DRIVER_FILE = "driver.json"
REQUEST_FILE = "request.json"
#: What may be asked for: the verb that people type, and the state that it leads to.
REQUESTS = {"pause": "paused", "stop": "stopped"}


@dataclass(frozen=True)
class Request:
    """The state a campaign is to end in: "paused", "stopped" or "interrupted"; after the step under way, or at once."""

    state: str
    at_once: bool = False


class Interrupted(Exception):
    """The campaign was asked to end; its lineage is whole and it can be resumed. state: as a request's; campaign: its handle,
    where somebody knows it."""

    def __init__(self, message: str, state: str = "interrupted") -> None:
        super().__init__(message)
        self.state = state
        self.campaign = ""


@dataclass(frozen=True)
class RequestFolder:
    """Where the notes of one campaign lie."""

    files: FileSystem
    folder: Path

    def take(self) -> str:
        """Says who drives from now on, forgets what was asked of others; returns the token. For the lock's holder."""
        token = secrets.token_hex(8)
        value = {"token": token, "process": os.getpid(), "host": socket.gethostname()}
        self.forget()
        self._write(DRIVER_FILE, value)
        return token

    def leave(self) -> None:
        """Takes the notes away, so that nobody waits for a driver that has ended. Never fails."""
        for name in (REQUEST_FILE, DRIVER_FILE):
            with suppress(EvolveError):
                self.files.remove(self.folder / name)

    def forget(self) -> None:
        """Takes away what was asked for."""
        with suppress(NotFound):
            self.files.remove(self.folder / REQUEST_FILE)

    def request(self, token: str) -> Request | None:
        """Returns what is asked of the driver with this token; cheap where nothing is."""
        if not self.files.exists(self.folder / REQUEST_FILE):
            return None
        value = self._read(REQUEST_FILE)
        state = REQUESTS.get(str(value.get("wish")))
        return Request(state, bool(value.get("at_once"))) if state and value.get("token") == token else None

    def driver(self) -> Mapping[str, Any] | None:
        """Returns what the driver wrote about itself, or None."""
        value = self._read(DRIVER_FILE)
        return value if isinstance(value.get("token"), str) else None

    def ask(self, request: str, token: str, *, at_once: bool = False) -> None:
        """Asks the driver with this token to "pause" or to "stop". Raises StorageError."""
        self._write(REQUEST_FILE, {"wish": request, "token": token, "at_once": at_once})

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        data = json.dumps(dict(value), sort_keys=True).encode() + b"\n"
        self.files.write_atomic(self.folder / name, data, mode=0o644, replace=True)

    def _read(self, name: str) -> Mapping[str, Any]:
        try:
            return read_record(self.files, self.folder / name, "remove it")
        except (NotFound, StorageError, DamageError):
            return {}
