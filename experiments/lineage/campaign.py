"""A made-up campaign of any length for measurements of the lineage: generations of 1,024 births, two parents each.

Every column is a function of seed and generation, so that a writer in another process makes the same rows. As in a real
campaign: digests are random, texts repeat, accuracies are fractions of the rows judged, one birth in a hundred fails, and
the whole generation before leaves the population.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from population.lineage.format.records import Births, Commit, Measure

HANDLE = "made-up"
GENERATION = 1024
TIERS = ("lite", "pro", "ultimate")
OBJECTIVES = ("accuracy", "cross_entropy", "flops")
SKILLS = tuple(f"class {digit}" for digit in range(10))
NUM_SAMPLES = 359
MEASURES = tuple(Measure("digits", "validation", tier, name) for tier in TIERS for name in OBJECTIVES)
SKILL_MEASURES = tuple(Measure("digits", "validation", tier, name) for tier in TIERS for name in SKILLS)
_OPERATORS = ("self_adapted@1", "entropy@1", "uniform@1", "layerwise@1", "burst@2")
_SETTINGS = tuple(f'{{"rate":{k / 50:g},"std":{k / 10:g}}}' for k in range(1, 41))
_DATA = ("d1" * 32, "d2" * 32)


def individual(event: int) -> str:
    """Returns the id of a birth, 32 hex characters."""
    return f"{(event + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def births(generation: int, count: int = GENERATION) -> Births:
    """Returns the births of one generation of ``count``."""
    draw = np.random.default_rng([7, generation])
    events = np.arange(generation * count, (generation + 1) * count, dtype=np.int64)
    kinds = draw.integers(len(_OPERATORS), size=count).tolist()
    failed = draw.random(count) < 0.01
    chosen = (generation - 1) * count + draw.integers(count, size=(count, 2))
    parents = [tuple(individual(e) for e in pair) for pair in chosen.tolist()] if generation else [()] * count
    scores = np.rint(draw.random((count, len(MEASURES))) * NUM_SAMPLES) / NUM_SAMPLES
    scores[:, 1::3] = draw.random((count, len(TIERS)))  # cross-entropies have every bit set
    skills = np.rint(draw.random((count, len(SKILL_MEASURES))) * 36) / 36
    scores[failed], skills[failed] = np.nan, np.nan
    flops = np.array([4160, 9000, 18560]) + draw.integers(3, size=(count, 1)) * 64
    return Births(
        measures=MEASURES,
        skill_measures=SKILL_MEASURES,
        tiers=TIERS,
        num_samples=NUM_SAMPLES,
        sandbox_level="full",
        environment="e5" * 16,
        event=events,
        individual=[individual(event) for event in events.tolist()],
        operator=[_OPERATORS[kind] for kind in kinds],
        seed=draw.integers(2**64, size=count, dtype=np.uint64),
        settings=[_SETTINGS[k] for k in draw.integers(len(_SETTINGS), size=count).tolist()],
        inputs=[_DATA if kind == 4 else () for kind in kinds],
        parents=parents,
        roles=[("parent", "mate") if generation else ()] * count,
        generation=np.full(count, generation, dtype=np.int64),
        species=["5e" * 32] * count,
        coordinate=[f"L0_G0_N2_{place}:{generation}:0" for place in range(count)],
        weights_digest=_hex(draw.bytes(32 * count), 64),
        status=["quarantined" if bad else "active" for bad in failed],
        verdict=["nan" if bad else "ok" for bad in failed],
        detail=["the output at tier lite holds a NaN" if bad else "" for bad in failed],
        repeat_of=[""] * count,
        flops=flops,
        scores=scores,
        skills=skills,
    )


def commit(generation: int, count: int = GENERATION) -> Commit:
    """Returns the commit of one generation: its births, its row, and what left the population."""
    gone = [
        {"individual": individual(event), "step": generation, "status": "archived", "reason": "left the population"}
        for event in range(max(generation - 1, 0) * count, generation * count)
    ]
    row = {
        "campaign": HANDLE,
        "generation": generation,
        "step": generation,
        "evaluations": (generation + 1) * count,
        "births": count,
        "best": {"accuracy": 0.97, "cross_entropy": 0.1},
        "population": f"{generation:064x}",
        "front_size": 3,
        "seconds": 0.25,
    }
    rows: dict[str, list[dict[str, Any]]] = {"generations": [row]}
    if gone:
        rows["lifecycle"] = gone
    event = {"kind": "told", "unit": generation, "seed": 2**63 + generation}
    return Commit(generation, (births(generation, count),), (event,), rows)


def _hex(data: bytes, width: int) -> list[str]:
    text = data.hex()
    return [text[start : start + width] for start in range(0, len(text), width)]


def all_ancestors(last: int, count: int = GENERATION) -> set[int]:
    """Returns the events of everyone that a birth descends from, found without any database."""
    pairs: dict[int, npt.NDArray[np.int64]] = {}
    found: set[int] = set()
    todo = {last}
    for generation in range(last // count, 0, -1):
        draw = np.random.default_rng([7, generation])
        draw.integers(len(_OPERATORS), size=count)
        draw.random(count)
        pairs[generation] = (generation - 1) * count + draw.integers(count, size=(count, 2))
        todo = {int(parent) for event in todo for parent in pairs[generation][event - generation * count]}
        found |= todo
    return found
