from __future__ import annotations

import numpy as np

from fitness.processes import messages
from fitness.work.codec import result_from_parts, result_to_parts, unit_from_parts, unit_to_parts
from fitness.work.work_unit import CANDIDATE, UnitResult
from population.encoding.cbor import decode, encode
from tests.fitness.toys import toy_graph, unit_of


def test_a_candidate_takes_less_than_64_bytes_on_the_wire() -> None:
    assert CANDIDATE.itemsize <= 64
    small, large = (unit_to_parts(unit_of(toy_graph(), seeds=range(n))) for n in (1, 2))
    sizes = [len(encode(fields)) + sum(map(len, blobs)) for fields, blobs in (small, large)]
    assert sizes[1] - sizes[0] <= 64


def test_a_unit_survives_the_wire() -> None:
    tiers = {"ultimate": {}, "lite": {"hidden": 8}}
    unit = unit_of(toy_graph(), seeds=[1, 2**64 - 1], parents=[b"p" * 32], inputs=[b"i" * 32], tiers=tiers)
    fields, blobs = unit_to_parts(unit)
    found = unit_from_parts(decode(encode(fields)), blobs)
    assert found.candidates.tobytes() == unit.candidates.tobytes()
    assert list(found.judging.tiers) == ["ultimate", "lite"]
    for name in ("unit_id", "parents", "inputs", "operators", "settings", "judging", "keep"):
        assert getattr(found, name) == getattr(unit, name)
    assert encode(found.graph) == encode(unit.graph)


def test_a_result_survives_the_wire() -> None:
    scores = np.full((2, 1, 4), np.nan)
    scores[0] = -0.0
    result = UnitResult(
        3, [b"d" * 32, None], ["ok", "nan"], ["", "why"], scores, scores[:, :, :3].copy(),
        np.array([[5], [0]], dtype=np.int64), [{"kind": "timing", "judge_s": 0.5}],
    )  # fmt: skip
    fields, blobs = result_to_parts(result)
    found = result_from_parts(decode(encode(fields)), [memoryview(blob) for blob in blobs])
    assert found.scores.tobytes() == scores.tobytes()
    assert found.flops.tolist() == [[5], [0]]
    assert (found.unit_id, list(found.digests), list(found.verdicts)) == (3, [b"d" * 32, None], ["ok", "nan"])
    assert list(found.incidents) == list(result.incidents)
    assert found.scores.flags.writeable
    assert len(encode(fields)) < messages.MAX_HEADER_BYTES
