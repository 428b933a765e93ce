"""A worker in a process of its own; run as ``python -m``, it serves the connection whose descriptor is its first argument.

The second argument is a connection on which it gives signs of life.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import sys
import threading
import time
import traceback

import torch

from fitness import verdict, wire
from fitness.dispatch import kind_of
from fitness.evaluator import WorkUnit
from fitness.jail.zygote import ZygoteGone
from fitness.objects import kept_rows, missing_object
from fitness.tasks import task_from_parts
from fitness.unit_codec import result_to_parts, unit_from_parts
from fitness.worker import Worker, WorkerSettings, make_worker
from population.errors import InfrastructureError

BEAT_S = 1.0


def main() -> None:
    """Serves until the campaign is gone, then ends its judge."""
    connection, pulse = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    torch.set_num_threads(1)
    threading.Thread(target=_beat, args=(connection, pulse), daemon=True).start()
    try:
        worker = _start(connection, wire.receive(connection))
        if worker is not None:
            gc.freeze()  # the collector need not look at the libraries again
            _Service(connection, worker).serve()
    except wire.Closed:
        return


def _beat(connection: socket.socket, pulse: socket.socket) -> None:
    """Gives a sign of life every second, and ends this process with the campaign, also in the midst of a long unit."""
    poll = select.poll()
    poll.register(connection, 0)  # a hang-up alone is told
    pulse.setblocking(False)
    while not poll.poll(BEAT_S * 1000.0):
        with contextlib.suppress(OSError):  # nobody reads while the campaign itself is stopped
            pulse.send(b".")
    os._exit(0)


def _start(connection: socket.socket, start: wire.Message) -> Worker | None:
    try:
        settings = WorkerSettings.from_value(start.fields["settings"])
        benchmark = task_from_parts(start.fields["benchmark"], [bytes(blob) for blob in start.blobs])
        worker = make_worker(settings, benchmark)
        level = worker.sandbox_level  # attacks the jail, so that no unit waits for that
    except ZygoteGone as error:  # perhaps killed from outside: another worker may do better
        wire.send(connection, _failure("unstarted", error))
        return None
    except Exception as error:  # noqa: BLE001 - whatever a plugin or a broken installation raises reaches the campaign
        wire.send(connection, _failure("failed", error))
        return None
    wire.send(connection, wire.Message("ready", {"sandbox_level": level}))
    return worker


class _Service:
    """Answers units one after the other and holds the objects that travelled here."""

    def __init__(self, connection: socket.socket, worker: Worker) -> None:
        self._connection = connection
        self._worker = worker
        self._objects: dict[bytes, bytes] = {}

    def serve(self) -> None:
        """Answers until the campaign is gone."""
        while True:
            while not wire.is_readable(self._connection, time.monotonic() + BEAT_S):
                self._worker.reap_dead()
            message = wire.receive(self._connection)
            for digest in message.fields["forget"]:
                self._objects.pop(digest, None)
            digests = message.fields["objects"]
            for digest, blob in zip(digests, message.blobs[: len(digests)], strict=True):
                self._objects[digest] = bytes(blob)
            unit = unit_from_parts(message.fields["unit"], message.blobs[len(digests) :])
            wire.send(self._connection, self._answer(unit))

    def _answer(self, unit: WorkUnit) -> wire.Message:
        try:
            result, rows = self._worker.evaluate(unit, self._read)
        except InfrastructureError as error:
            return _failure("retry", error, kind=kind_of(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours: the campaign raises it with its traceback
            return _failure("failed", error)
        kept = dict(kept_rows(unit, result, rows))
        self._objects.update(kept)
        fields, blobs = result_to_parts(result)
        return wire.Message("result", {**fields, "kept": list(kept)}, [*blobs, *kept.values()])

    def _read(self, digest: bytes) -> bytes:
        if digest not in self._objects:
            raise missing_object(digest)
        return self._objects[digest]


def _failure(name: str, error: Exception, **fields: str) -> wire.Message:
    text = "".join(traceback.format_exception(error))
    reason = verdict.one_line(f"{type(error).__name__}: {error}")
    return wire.Message(name, {"reason": reason, "traceback": text[-8000:], **fields})


if __name__ == "__main__":
    main()
