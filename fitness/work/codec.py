"""Work units and results as messages between a campaign and its worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fitness.work.work_unit import CANDIDATE, Judging, UnitResult, WorkUnit

Blob = bytes | memoryview


def unit_to_parts(unit: WorkUnit) -> tuple[dict[str, Any], list[Blob]]:
    """Returns a unit as plain fields and one blob, its candidates."""
    fields = {
        "unit_id": unit.unit_id,
        "graph": unit.graph,
        "parents": list(unit.parents),
        "inputs": list(unit.inputs),
        "operators": list(unit.operators),
        "settings": list(unit.settings),
        "split": unit.judging.split,
        "tiers": [[name, dict(widths)] for name, widths in unit.judging.tiers.items()],
        "seed": unit.judging.seed,
        "keep": unit.keep,
    }
    return fields, [unit.candidates.tobytes()]


def unit_from_parts(fields: Mapping[str, Any], blobs: Sequence[Blob]) -> WorkUnit:
    """Returns the unit of ``unit_to_parts``."""
    return WorkUnit(
        unit_id=fields["unit_id"],
        graph=fields["graph"],
        parents=tuple(fields["parents"]),
        inputs=tuple(fields["inputs"]),
        operators=tuple(fields["operators"]),
        settings=tuple(fields["settings"]),
        candidates=np.frombuffer(bytes(blobs[0]), dtype=CANDIDATE),
        judging=Judging(fields["split"], dict(fields["tiers"]), fields["seed"]),
        keep=fields["keep"],
    )


def result_to_parts(result: UnitResult) -> tuple[dict[str, Any], list[Blob]]:
    """Returns a result as plain fields and three blobs: scores, skills and FLOPs."""
    fields = {
        "unit_id": result.unit_id,
        "digests": list(result.digests),
        "verdicts": list(result.verdicts),
        "details": list(result.details),
        "incidents": [dict(incident) for incident in result.incidents],
        "shapes": [list(array.shape) for array in (result.scores, result.skills, result.flops)],
    }
    return fields, [array.tobytes() for array in (result.scores, result.skills, result.flops)]


def result_from_parts(fields: Mapping[str, Any], blobs: Sequence[Blob]) -> UnitResult:
    """Returns the result of ``result_to_parts``."""
    scores, skills, flops = (_array(blob, shape) for blob, shape in zip(blobs, fields["shapes"], strict=True))
    return UnitResult(
        unit_id=fields["unit_id"],
        digests=fields["digests"],
        verdicts=fields["verdicts"],
        details=fields["details"],
        scores=scores.view(np.float64),
        skills=skills.view(np.float64),
        flops=flops.view(np.int64),
        incidents=fields["incidents"],
    )


def _array(blob: Blob, shape: Sequence[int]) -> npt.NDArray[Any]:
    return np.frombuffer(bytearray(blob), dtype="<i8").reshape(shape)
