"""Made-up births and commits for the lineage's tests: deterministic, with every odd value a column may hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from population.lineage.format.records import Births, Commit, Measure

TIERS = ("lite", "pro", "ultimate")
MEASURES = tuple(
    Measure("digits", "validation", tier, name) for tier in TIERS for name in ("accuracy", "cross_entropy")
)
SKILLS = tuple(Measure("digits", "validation", "ultimate", f"class {digit}") for digit in range(10))


def identity(event: int) -> str:
    """Returns a made-up individual id."""
    return f"{event * 0x9E3779B97F4A7C15 % 2**128:032x}"


def sample_births(first: int, count: int, **changes: Any) -> Births:
    """Returns births with events ``first, first + 1, ...``; every column a function of the event alone."""
    events = np.arange(first, first + count, dtype=np.int64)
    scores = (events[:, None] * 31 + np.arange(len(MEASURES)) * 7) % 1000 / 1000
    failed = events % 7 == 3
    scores[failed] = np.nan
    scores[events % 11 == 5, 1] = -0.0
    columns: dict[str, Any] = {
        "measures": MEASURES,
        "skill_measures": SKILLS,
        "tiers": TIERS,
        "num_samples": 359,
        "sandbox_level": "reduced",
        "environment": "cpu-avx2",
        "event": events,
        "individual": tuple(identity(e) for e in events.tolist()),
        "operator": tuple(("gaussian@1", "uniform_crossover@1", "gradient_burst@2")[e % 3] for e in events.tolist()),
        "seed": (events.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1 << 63),
        "settings": tuple('{"rate":0.1}' if e % 2 else '{"rate":0.25}' for e in events.tolist()),
        "inputs": tuple(("ab" * 32,) if e % 3 == 2 else () for e in events.tolist()),
        "parents": tuple(_parents(e) for e in events.tolist()),
        "roles": tuple(("parent", "mate")[: len(_parents(e))] for e in events.tolist()),
        "generation": events // 64,
        "species": tuple("5e" * 32 for _ in range(count)),
        "coordinate": tuple(f"L0_G0_N2_{e % 5}:0:0" for e in events.tolist()),
        "weights_digest": tuple(None if e % 5 == 4 else f"{e:064x}" for e in events.tolist()),
        "status": tuple("quarantined" if bad else "born" for bad in failed),
        "verdict": tuple("timeout" if bad else "ok" for bad in failed),
        "detail": tuple("after 2.0 s: é€𝄞" if bad else "" for bad in failed),
        "repeat_of": tuple(identity(e - 1) if e % 13 == 12 else "" for e in events.tolist()),
        "flops": np.stack([events + 100, events + 400, events + 1600], axis=1),
        "scores": scores,
        "skills": (events[:, None] + np.arange(10.0)) / 7,
    }
    return Births(**(columns | changes))


def _parents(event: int) -> tuple[str, ...]:
    """One parent, two for every third event, none for the first ones."""
    if event < 8:
        return ()
    return (identity(event // 2), identity(event // 3)) if event % 3 == 1 else (identity(event // 2),)


def sample_commit(step: int, births: int = 16, handle: str = "digits-1") -> Commit:
    """Returns commit ``step`` of a campaign that makes ``births`` individuals a step."""
    batch = sample_births(step * births, births)
    rows: dict[str, list[dict[str, Any]]] = {
        "generations": [
            {
                "campaign": handle,
                "generation": step,
                "step": step,
                "evaluations": (step + 1) * births,
                "births": (step + 1) * births,
                "best": {"accuracy": 0.5 + step / 1000, "cross_entropy": -0.0},
                "population": f"{step:064x}",
                "front_size": 3,
                "seconds": 0.25,
            }
        ]
    }
    if step == 0:
        rows["campaigns"] = [sample_campaign(handle)]
    if births:
        rows["lifecycle"] = [
            {"individual": batch.individual[0], "campaign": handle, "status": "active", "reason": "elite"}
        ]
    events = ({"kind": "accepted", "unit": step, "seed": 2**64 - 1, "rate": -0.0, "nested": [None, True, "é"]},)
    return Commit(step, (batch,), events, rows, ({"kind": "retry", "host": "a", "seconds": 0.5},))


def sample_campaign(handle: str = "digits-1", **changes: Any) -> dict[str, Any]:
    """Returns the row that opens a campaign."""
    row: dict[str, Any] = {
        "campaign": handle,
        "campaign_key": "c0" * 32,
        "config_hash": "cf" * 32,
        "seed": 2**64 - 1,
        "state": "running",
        "forked_from": None,
        "started": 1_700_000_000.5,
        "config": {"population": 16, "workers": 2},
        "environment": "cpu-avx2",
    }
    return row | changes


def flat(commits: Any) -> list[Any]:
    """Returns commits as nested plain values in which equal means equal to the bit (NaN, -0.0, absent keys, dtypes)."""
    return [_plain(commit) for commit in commits]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Births | Commit | Measure):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
