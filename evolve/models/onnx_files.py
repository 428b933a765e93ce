"""ONNX files: written by torch from what ``torch.export`` says of a block, run by onnxruntime.

Nouns: none.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

Arrays = Mapping[str, npt.NDArray[np.generic]]


def onnx_of(
    program: torch.export.ExportedProgram, channels: Sequence[str], outputs: Sequence[str], facts: Mapping[str, str]
) -> bytes:
    """The bytes of an ONNX model with these inputs and outputs, the number of samples free.

    Args:
        channels, outputs: names, in the order of the program. facts: kept in the model's metadata.
    """
    with _quiet():
        made = torch.onnx.export(
            program, (), dynamo=True, input_names=list(channels), output_names=list(outputs), verbose=False
        )
    assert made is not None
    model = made.model_proto
    onnx.helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def run_onnx(data: bytes, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """The outputs of a model by name, computed by onnxruntime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps to itself what the exporter prints, logs and warns of: progress, and packages that are not there."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
