"""A plugin's operation that attacks the connection it is judged over, as its parameter ``trick`` says.

0: nothing. 1: garbage. 2: closes every descriptor. 3: stops itself. 4: floods. 5: announces a huge message. 6: claims a
verdict that is not its own to give. 7: answers for itself with another size, and goes. 8: half a message, then sleeps.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import time
from collections.abc import Sequence

import torch

from population.encoding.cbor import encode
from population.operations import Call, Inferred, Operation, ParameterSpec, register
from population.operations.dimensions import Shape, fixed
from population.operations.registry import Attributes, Sizes

DESCRIPTORS = range(3, 64)


def _infer(inputs: Sequence[Shape], attributes: Attributes) -> Inferred:
    return Inferred(inputs[0], {"trick": ParameterSpec((fixed(1),))})


def _flops(inputs: Sequence[Sizes], output: Sizes, attributes: Attributes) -> int:
    return 0


def _run(call: Call) -> torch.Tensor:
    for trick in sorted({int(code) for code in call.parameters["trick"][:, 0].tolist()}):
        _play(trick)
    return call.inputs[0]


def _play(trick: int) -> None:
    if trick == 1:
        _write(b"\x10\x00\x00\x00" + b"\xff" * 4096)
    elif trick == 2:
        os.closerange(0, 64)
    elif trick == 3:
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(3600)
    elif trick == 4:
        while True:
            _write(_message("outputs", {"bytes": 1}) * 1000)
    elif trick == 5:
        _write(struct.pack("<I", 0xFFFF_FFFF))
        time.sleep(3600)
    elif trick == 6:
        _write(_message("failed", {"cause": "infra_failure", "detail": "it was the machine"}))
    elif trick == 7:
        _write(_message("outputs", {"bytes": 12}))
        os._exit(0)
    elif trick == 8:
        _write(_message("outputs", {"bytes": 12})[:9])
        time.sleep(3600)


def _write(data: bytes) -> None:
    for descriptor in DESCRIPTORS:
        with contextlib.suppress(OSError):
            os.write(descriptor, data)


def _message(kind: str, fields: dict[str, object]) -> bytes:
    header = encode({"kind": kind, "fields": fields, "blobs": []})
    return struct.pack("<I", len(header)) + header


forger = register(Operation("forger", _infer, _flops, _run, _run))
