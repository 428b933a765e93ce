"""A worker in a process of its own; run as ``python -m``, it serves the connection whose descriptor is its first argument.

The second argument is a connection on which it gives signs of life. What takes long to import is imported after its judge
was started, so that both start side by side.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading

from fitness.processes import messages
from fitness.processes.jailed_process import begin
from fitness.processes.limits import Limits
from fitness.processes.zygote import PROCESS, Zygote
from population.errors import EvaluatorFailed

BEAT_S = 1.0


def main() -> None:
    """Serves until the campaign is gone, then ends its judge."""
    connection, pulse = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    threading.Thread(target=_beat, args=(connection, pulse), daemon=True).start()
    try:
        start = messages.receive(connection)
        begun = _begin(start)
        from fitness.evaluators.worker_server import serve  # torch, which takes seconds

        serve(connection, start, begun)
    except messages.Closed:
        return


def _begin(start: messages.Message) -> Zygote | None:
    """Returns the zygote of the judge, on its way; None where it cannot be had, which the judge then finds out itself."""
    settings = start.fields["settings"]
    if not settings["is_jailed"]:
        return None
    with contextlib.suppress(EvaluatorFailed):
        return begin(PROCESS, {"plugins": list(settings["plugins"])}, Limits(**settings["limits"]))
    return None


def _beat(connection: socket.socket, pulse: socket.socket) -> None:
    """Gives a sign of life every second, and ends this process with the campaign, also in the midst of a long unit."""
    poll = select.poll()
    poll.register(connection, 0)  # a hang-up alone is told
    pulse.setblocking(False)
    while not poll.poll(BEAT_S * 1000.0):
        with contextlib.suppress(OSError):  # nobody reads while the campaign itself is stopped
            pulse.send(b".")
    os._exit(0)


if __name__ == "__main__":
    main()
