from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evolve.home.home import Home
from evolve.home.infer import infer
from evolve.runtime.answer import answer_of
from population.blocks.block import TensorBlock
from population.clock import ManualClock
from population.errors import InputError
from population.stacks.interpreters import run_block
from tests.evolve.blocks import classifier

TIERS = ("lite", "pro", "ultimate")


def rows(count: int) -> dict[str, torch.Tensor]:
    return {"x": torch.cos(torch.arange(count * 4, dtype=torch.float32) * 0.9).reshape(count, 4)}


def oracle(block: TensorBlock, inputs: dict[str, torch.Tensor], threshold: float) -> list[tuple[str, int, list[float]]]:
    """Row by row, tier by tier: the first tier whose confidence is high enough, the cost of all tiers tried, the answer."""
    found = []
    for row in range(len(inputs["x"])):
        cost = 0
        for tier in TIERS:
            cost += block.flops(tier)
            logits = run_block(block, {"x": inputs["x"][row : row + 1]}, tier)["logits"][0]
            if tier == "ultimate" or float(torch.softmax(logits, 0).max()) > threshold:
                found.append((tier, cost, logits.tolist()))
                break
    return found


@given(st.floats(0.34, 0.99), st.integers(1, 40))
def test_auto_is_row_by_row_the_first_tier_that_is_sure_enough(threshold: float, count: int) -> None:
    gates = [{"tier": tier, "when": f"confidence(logits) > {threshold}"} for tier in ("lite", "pro")]
    block, inputs = classifier(gates), rows(count)
    found = answer_of(block, "cid", "auto", inputs, ManualClock())
    expected = oracle(block, inputs, threshold)
    told = found["provenance"]["rows"]
    assert told["tier"] == [tier for tier, _, _ in expected]
    assert told["flops"] == [cost for _, cost, _ in expected]
    np.testing.assert_allclose(found["outputs"]["logits"], [logits for _, _, logits in expected], rtol=1e-5, atol=1e-6)
    assert found["provenance"]["tier"] == max(told["tier"], key=TIERS.index)
    assert found["provenance"]["flops"] == round(sum(told["flops"]) / count)


def test_a_fixed_tier_takes_no_exits_and_counts_its_own_flops() -> None:
    block, inputs = classifier([{"tier": "lite", "when": "confidence(logits) > 0.0"}]), rows(5)
    found = answer_of(block, "cid", "pro", inputs, ManualClock())
    np.testing.assert_allclose(found["outputs"]["logits"], run_block(block, inputs, "pro")["logits"], rtol=1e-6)
    provenance = found["provenance"]
    assert (provenance["tier"], provenance["nest"], provenance["exit"]) == ("pro", 1, None)
    assert provenance["flops"] == block.flops("pro")


def test_a_row_that_leaves_by_an_intermediate_output_is_answered_by_it_alone_and_costs_less() -> None:
    block = classifier([{"output": "glance", "tier": "lite", "when": "confidence(glance) > 0.0"}])
    inputs = rows(3)
    found = answer_of(block, "cid", "auto", inputs, ManualClock())
    assert set(found["outputs"]) == {"glance"}
    np.testing.assert_allclose(found["outputs"]["glance"], run_block(block, inputs, "lite")["glance"], rtol=1e-6)
    assert found["provenance"]["flops"] < block.flops("lite")
    both = classifier([{"output": "glance", "tier": "lite", "when": "confidence(logits) > 0.0"}])
    assert answer_of(both, "cid", "auto", inputs, ManualClock())["provenance"]["flops"] == block.flops("lite")
    assert found["provenance"]["exit"] == "confidence(glance) > 0.0"


def test_a_block_without_gates_goes_all_the_way() -> None:
    block = classifier()
    found = answer_of(block, "cid", "auto", rows(2), ManualClock())
    assert found["provenance"]["tier"] == "ultimate"
    assert found["provenance"]["flops"] == sum(block.flops(tier) for tier in TIERS)


def test_more_rows_than_are_computed_at_once_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    block = classifier([{"tier": "lite", "when": "confidence(logits) > 0.6"}])
    whole = answer_of(block, "cid", "auto", rows(20), ManualClock())
    monkeypatch.setattr("evolve.runtime.answer.SAMPLES_AT_ONCE", 7)
    pieces = answer_of(block, "cid", "auto", rows(20), ManualClock())
    assert pieces["provenance"]["rows"]["tier"] == whole["provenance"]["rows"]["tier"]
    np.testing.assert_allclose(pieces["outputs"]["logits"], whole["outputs"]["logits"], rtol=1e-6)


def test_a_file_with_a_wrong_shape_or_channel_is_named(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    cid = home.block_store().put(classifier())
    np.save(tmp_path / "wide.npy", np.zeros((2, 5)))
    with pytest.raises(InputError, match=r"wide\.npy.*'x'.*\[2, 5\]"):
        infer(home, cid, tmp_path / "wide.npy")
    (tmp_path / "named.json").write_text(json.dumps({"y": [[0, 0, 0, 0]]}))
    with pytest.raises(InputError, match=r"named\.json.*channels x.*y"):
        infer(home, cid, tmp_path / "named.json")


def test_every_kind_of_file_gives_the_same_answer(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "h")
    cid = home.block_store().put(classifier())
    values = rows(6)["x"].numpy().astype(np.float64).round(3)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", x=values)
    np.savetxt(tmp_path / "a.csv", values, delimiter=",", header="a,b,c,d", comments="", fmt="%.3f")
    (tmp_path / "a.json").write_text(json.dumps({"x": values.tolist()}))
    (tmp_path / "b.json").write_text(json.dumps(values.tolist()))
    names = ("a.npy", "a.npz", "a.csv", "a.json", "b.json")
    answers = [infer(home, cid[:12] + "@lite", tmp_path / name)["outputs"] for name in names]
    assert all(answer == answers[0] for answer in answers)
