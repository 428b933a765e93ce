from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from fitness.benchmarks import registry as datasets
from tests.evolve.cli.conftest import Done, Program


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    benchmark = datasets.load("digits", split_seed=0)
    path = tmp_path / "samples.npz"
    np.savez(path, image=benchmark.inputs["image"][:30])
    return path


def test_an_answer_carries_outputs_and_provenance(program: Program, finished: Done, samples: Path) -> None:
    found = json.loads(program("infer", "tiny@lite", "--input", samples, "--json", "--home", finished.home).out)
    assert np.shape(found["outputs"]["logits"]) == (30, 10)
    provenance = found["provenance"]
    assert {"block", "tier", "nest", "exit", "delegated_to", "flops", "seconds"} <= set(provenance)
    assert (provenance["block"], provenance["tier"], provenance["nest"]) == (finished.summary["champion"], "lite", 0)
    assert provenance["flops"] == finished.summary["scores"]["lite"]["flops"]


def test_the_table_shows_the_first_rows_and_who_answered(program: Program, finished: Done, samples: Path) -> None:
    answer = program("infer", "tiny", "--input", samples, "--home", finished.home)
    assert answer.code == 0
    assert "the first 20 of 30 rows" in answer.err
    assert f"block {finished.summary['champion'][:12]}, tier ultimate" in answer.out


def test_auto_says_which_tier_answered_how_many_rows(program: Program, finished: Done, samples: Path) -> None:
    answer = program("infer", "tiny", "--tier", "auto", "--input", samples, "--home", finished.home)
    found = re.search(r"rows answered by lite: (\d+), ultimate: (\d+)", answer.out)
    assert found is not None
    assert int(found[1]) + int(found[2]) == 30


def test_a_tier_that_is_said_twice_differently_is_refused(program: Program, finished: Done, samples: Path) -> None:
    answer = program("infer", "tiny@lite", "--tier", "ultimate", "--input", samples, "--home", finished.home)
    assert answer.code == 2
    assert "say it once" in answer.err
    answer = program("infer", "tiny@pro", "--input", samples, "--home", finished.home)
    assert answer.code == 2
    assert "no tier 'pro'; it has lite, ultimate" in answer.err
