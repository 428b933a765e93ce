"""The lineage at size: written durably, opened after a kill, queried beside the writer and by pedigree.

The numbers are told; what is asserted is what must hold on any machine, and multiples of the targets that are generous.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.lineage import study

Told = Callable[[str], None]


def check(found: dict[str, Any], told: Told) -> None:
    """Asserts that every answer was right (``study.measure`` compares with what was written) and a prefix of commits."""
    assert found["reader_prefixes"] == found["reader_answers"] > 0
    assert found["reader_is_monotone"]
    assert found["ancestors"] > 0
    told(
        f"{found['individuals']:,} individuals: {found['durable_per_s']:,.0f} durable/s ({found['durable_per_cpu_s']:,.0f} "
        f"per CPU second), opened after a kill in {found['reopen_s']:.2f} s, counted in {found['individuals_s']:.3f} s, "
        f"scores in {found['scores_s']:.3f} s, {found['ancestors']:,} ancestors in {found['ancestors_s']:.3f} s "
        f"(by a query of one's own {found['recursive_s']:.3f} s); {found['reader_answers']} answers beside the writer, each a "
        f"prefix of its commits, its commits slower beside them by {found['median_commit_slower_beside_by']:.0%}"
    )


def test_twenty_thousand_individuals_are_read_as_they_were_written(tmp_path: Path, told: Told) -> None:
    check(study.measure(tmp_path / "home", 20), told)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(1800)
def test_a_million_individuals_are_read_as_they_were_written(tmp_path: Path, told: Told) -> None:
    found = study.measure(tmp_path / "home", 1024)
    check(found, told)
    assert found["reader_answers"] >= 10
    assert found["durable_per_cpu_s"] > 25_000
    assert found["reopen_s"] < 10
    assert found["individuals_s"] < 5
    assert found["ancestors_s"] < 5
    assert found["ancestors_cpu_s"] < 1
