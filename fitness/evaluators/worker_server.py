"""What a worker's process does once everything is imported: makes its worker, and answers units until the campaign is gone.

Nouns: *service*.
"""

from __future__ import annotations

import gc
import socket
import time
import traceback

import torch

from fitness.benchmarks.from_parts import task_from_parts
from fitness.evaluators.dispatch import kind_of
from fitness.evaluators.worker import Worker, WorkerSettings, judge_of, make_worker
from fitness.processes import messages, verdicts
from fitness.processes.zygote import Zygote, ZygoteGone
from fitness.work.codec import result_to_parts, unit_from_parts
from fitness.work.object_table import kept_rows, missing_object
from fitness.work.work_unit import WorkUnit
from population.errors import InfrastructureError

#: How often an idle worker reaps what was killed below it.
IDLE_S = 1.0


def serve(connection: socket.socket, start: messages.Message, begun: Zygote | None) -> None:
    """Serves until the campaign is gone.

    Args:
        begun: the zygote of its judge, which has been started already.

    Raises:
        Closed: the campaign is gone.
    """
    torch.set_num_threads(1)
    worker = _start(connection, start, begun)
    if worker is not None:
        gc.freeze()  # the collector need not look at the libraries again
        _Service(connection, worker).serve()


def _start(connection: socket.socket, start: messages.Message, begun: Zygote | None) -> Worker | None:
    try:
        settings = WorkerSettings.from_value(start.fields["settings"])
        benchmark = task_from_parts(start.fields["benchmark"], [bytes(blob) for blob in start.blobs])
        worker = make_worker(settings, benchmark, judge_of(settings, begun))
        level = worker.sandbox_level  # attacks the jail, so that no unit waits for that
    except ZygoteGone as error:  # perhaps killed from outside: another worker may do better
        messages.send(connection, _failure("unstarted", error))
        return None
    except Exception as error:  # noqa: BLE001 - whatever a plugin or a broken installation raises reaches the campaign
        messages.send(connection, _failure("failed", error))
        return None
    messages.send(connection, messages.Message("ready", {"sandbox_level": level}))
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
            while not messages.is_readable(self._connection, time.monotonic() + IDLE_S):
                self._worker.reap_dead()
            message = messages.receive(self._connection)
            for digest in message.fields["forget"]:
                self._objects.pop(digest, None)
            digests = message.fields["objects"]
            for digest, blob in zip(digests, message.blobs[: len(digests)], strict=True):
                self._objects[digest] = bytes(blob)
            unit = unit_from_parts(message.fields["unit"], message.blobs[len(digests) :])
            messages.send(self._connection, self._answer(unit))

    def _answer(self, unit: WorkUnit) -> messages.Message:
        try:
            result, rows = self._worker.evaluate(unit, self._read)
        except InfrastructureError as error:
            return _failure("retry", error, kind=kind_of(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours: the campaign raises it with its traceback
            return _failure("failed", error)
        kept = dict(kept_rows(unit, result, rows))
        self._objects.update(kept)
        fields, blobs = result_to_parts(result)
        return messages.Message("result", {**fields, "kept": list(kept)}, [*blobs, *kept.values()])

    def _read(self, digest: bytes) -> bytes:
        if digest not in self._objects:
            raise missing_object(digest)
        return self._objects[digest]


def _failure(name: str, error: Exception, **fields: str) -> messages.Message:
    text = "".join(traceback.format_exception(error))
    reason = verdicts.one_line(f"{type(error).__name__}: {error}")
    return messages.Message(name, {"reason": reason, "traceback": text[-8000:], **fields})
